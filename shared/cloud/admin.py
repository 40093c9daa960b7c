"""Making and looking at tables and buckets, for provisioning alone: no function may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import oss2

from shared.cloud.credentials import AccessKey
from shared.cloud.tablestore import client, translated
from shared.ports import ServiceError

FOREVER, ONE_VERSION = -1, 1
_RULE = "clearbook"
_TAKEN = "bucket names are one namespace for all accounts: is it another account's? "


@dataclass(frozen=True, slots=True)
class Index:
    """A global index over columns that hold text; behind them the service sets the key of the table."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableFound:
    """A table as it is: key columns (name, type), how long rows stay (seconds), and versions of a cell.

    `defined` are the predefined columns by name with their type, `indexes` the index columns by index.
    """

    keys: list[tuple[str, str]]
    keeps_s: int
    versions: int
    defined: Mapping[str, str]
    indexes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What goes by itself after how many days: objects (None: never), and parts of uploads (None: never).

    `other` names the rules that are not of our kind, and what they do; the days then say nothing.
    """

    objects_days: int | None
    uploads_days: int | None
    other: str = ""

    def __str__(self) -> str:
        if self.other:
            return self.other
        objects = "objects stay" if self.objects_days is None else f"objects go after {self.objects_days} days"
        uploads = "stay" if self.uploads_days is None else f"go after {self.uploads_days} days"
        return f"{objects}, unfinished uploads {uploads}"


def account_of(endpoint: str, region: str, key: AccessKey) -> str:
    """The id of the main account that `key` belongs to: the owner of all buckets that a listing would show."""
    with _translated("ask which account the access key belongs to", denied="it needs oss:ListBuckets: "):
        owner = oss2.Service(_auth(key), endpoint, region=region).list_buckets(max_keys=1).owner
    account = str(getattr(owner, "id", None) or "")
    if not account:
        problem, remedy = "OSS lists buckets and names no owner", "check CLEARBOOK_OSS_ENDPOINT"
        raise ServiceError("cannot tell which account the access key belongs to", problem, remedy, retryable=False)
    return account


class TableAdmin:
    """The tables of one instance."""

    def __init__(self, endpoint: str, region: str, instance: str, key: AccessKey) -> None:
        self._client = client(endpoint, region, instance, key)

    def names(self) -> frozenset[str]:
        """The tables there are."""
        with translated("list tables"):
            return frozenset(self._client.list_table())

    def describe(self, table: str) -> TableFound:
        """A table that is there."""
        with translated(f"describe table {table}"):
            found = self._client.describe_table(table)
        keys = [(name, kind) for name, kind, *_ in found.table_meta.schema_of_primary_key]
        defined = {name: kind for name, kind, *_ in found.table_meta.defined_columns or []}
        indexes = {one.index_name: tuple(one.primary_key_names) for one in found.secondary_indexes}
        return TableFound(
            keys, found.table_options.time_to_live, found.table_options.max_version, defined, indexes
        )  # fmt: skip

    def create(
        self, table: str, keys: Sequence[tuple[str, str]], indexes: Sequence[Index] = (), keeps_s: int = FOREVER
    ) -> None:
        """Create a table with one version a cell and rows that stay so long, and its indexes."""
        import tablestore as ots

        own = {name for name, _ in keys}
        defined = dict.fromkeys(column for index in indexes for column in index.columns if column not in own)
        meta = ots.TableMeta(table, list(keys), [(column, "STRING") for column in defined])
        with translated(f"create table {table}"):
            throughput = ots.ReservedThroughput(ots.CapacityUnit(0, 0))
            options = ots.TableOptions(keeps_s, ONE_VERSION)
            self._client.create_table(meta, options, throughput, [_index_meta(index) for index in indexes])

    def add_index(self, table: str, index: Index) -> None:
        """Create an index of a table that is there, with its rows; it can be read once the service has built it."""
        with translated(f"create index {index.name} of table {table}"):
            self._client.create_secondary_index(table, _index_meta(index), True)


def _index_meta(index: Index) -> Any:
    import tablestore as ots

    return ots.SecondaryIndexMeta(index.name, list(index.columns), [])


class BucketAdmin:
    """One bucket."""

    def __init__(self, endpoint: str, region: str, name: str, key: AccessKey) -> None:
        self.name = name
        with self._translated("use"):
            self._bucket = oss2.Bucket(_auth(key), endpoint, name, region=region)

    def exists(self) -> bool:
        """Whether the bucket is there, and ours to see."""
        with self._translated("look at"):
            try:
                self._bucket.get_bucket_info()
            except oss2.exceptions.NoSuchBucket:
                return False
        return True

    def create(self) -> None:
        """Create it, private."""
        with self._translated("create"):
            self._bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE)

    def acl(self) -> str:
        """Who may do what without a signature: private for nobody."""
        with self._translated("look at the ACL of"):
            return str(self._bucket.get_bucket_acl().acl)

    def is_versioned(self) -> bool:
        """Whether versions are kept, or were and are suspended; forbid-overwrite would then be ignored."""
        with self._translated("look at the versioning of"):
            return bool(self._bucket.get_bucket_versioning().status)

    def worm(self) -> tuple[str, int] | None:
        """The retention rule's state and days, or None."""
        with self._translated("look at the retention of"):
            try:
                found = self._bucket.get_bucket_worm()
            except oss2.exceptions.ServerError as exc:
                if exc.code == "NoSuchWORMConfiguration":
                    return None
                raise
        return str(found.state), int(found.retention_period_days)

    def keep(self, days: int) -> None:
        """Keep every object for `days`, for good: once locked the rule can only be extended."""
        with self._translated("set the retention of"):
            worm_id = self._bucket.init_bucket_worm(days).worm_id
            self._bucket.complete_bucket_worm(worm_id)

    def lock(self) -> None:
        """Lock a retention rule that was begun."""
        with self._translated("lock the retention of"):
            self._bucket.complete_bucket_worm(self._bucket.get_bucket_worm().worm_id)

    def lifecycle(self) -> Lifecycle | None:
        """What goes by itself, or None where nothing was ever said about it."""
        with self._translated("look at the lifecycle of"):
            try:
                rules = self._bucket.get_bucket_lifecycle().rules
            except oss2.exceptions.NoSuchLifecycle:
                return None
        foreign = [rule for rule in rules if not _is_ours(rule)]
        if foreign:
            return Lifecycle(None, None, "; ".join(_described(rule) for rule in foreign))
        if not rules:
            return None
        [rule] = rules  # ids are unique
        objects = rule.expiration.days if rule.expiration else None
        uploads = rule.abort_multipart_upload.days if rule.abort_multipart_upload else None
        return Lifecycle(objects, uploads)

    def set_lifecycle(self, wanted: Lifecycle) -> None:
        """Let go by itself what `wanted` says; replaces all rules."""
        models = oss2.models
        expiration = None if wanted.objects_days is None else models.LifecycleExpiration(days=wanted.objects_days)
        uploads = None if wanted.uploads_days is None else models.AbortMultipartUpload(days=wanted.uploads_days)
        rule = models.LifecycleRule(_RULE, "", status="Enabled", expiration=expiration, abort_multipart_upload=uploads)
        with self._translated("set the lifecycle of"):
            self._bucket.put_bucket_lifecycle(models.BucketLifecycle([rule]))

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return _translated(f"{doing} bucket {self.name}")


def _auth(key: AccessKey) -> Any:
    if key.token:
        return oss2.StsAuth(key.id, key.secret, key.token, auth_version="v4")
    return oss2.AuthV4(key.id, key.secret)


def _is_ours(rule: Any) -> bool:
    """Whether a lifecycle rule is one that `set_lifecycle` could have set: for the whole bucket, by age alone."""
    due = [one for one in (rule.expiration, rule.abort_multipart_upload) if one is not None]
    return (
        (rule.id, rule.prefix or "", rule.status) == (_RULE, "", "Enabled")
        and all(one.days is not None for one in due)
        and not _moves(rule)
        and not _limits(rule)
    )


def _described(rule: Any) -> str:
    """A lifecycle rule in words: its name, what it is about and what it does."""
    where = f"keys that begin with {rule.prefix!r}" if rule.prefix else "every key"
    about = ", ".join([str(rule.status), where, *_limits(rule)])
    deeds = [*_dues("deletes objects", rule.expiration), *_moves(rule)]
    deeds += _dues("deletes unfinished uploads", rule.abort_multipart_upload)
    return f"rule {rule.id!r} ({about}) {' and '.join(deeds) or 'does what is not known here'}"


def _dues(deed: str, due: Any) -> Iterator[str]:
    """When something happens, for an age or a date."""
    if due is None:
        return
    if due.days is not None:
        yield f"{deed} after {due.days} days"
    elif due.created_before_date is not None:
        yield f"{deed} made before {due.created_before_date}"
    elif getattr(due, "date", None) is not None:
        yield f"{deed} every day from {due.date}"
    else:
        yield f"{deed} (or their markers) at a time that is not known here"


def _moves(rule: Any) -> list[str]:
    """What a rule does beside deleting by age; ours do none of it."""
    found = [f"moves objects to {one.storage_class}" for one in rule.storage_transitions or []]
    found += [f"moves earlier versions to {one.storage_class}" for one in _versions_moved(rule)]
    return found + (["deletes earlier versions"] if rule.noncurrent_version_expiration is not None else [])


def _versions_moved(rule: Any) -> list[Any]:
    return list(rule.noncurrent_version_sotrage_transitions or [])  # oss2 spells it so


def _limits(rule: Any) -> list[str]:
    """What narrows a rule beside its prefix; ours are narrowed by nothing."""
    tags = rule.tagging.tag_set.tagging_rule if rule.tagging is not None else {}
    found = [f"objects with the tag {name}={value}" for name, value in sorted(tags.items())]
    only = rule.filter
    if only is not None and (only.filter_not or only.object_size_greater_than or only.object_size_less_than):
        found.append("with a filter")
    return found


@contextmanager
def _translated(doing: str, *, denied: str = _TAKEN) -> Iterator[None]:
    """Raise what oss2 raises as ServiceError; `denied` says what may be behind a refusal."""
    doing = f"cannot {doing}"
    try:
        yield
    except oss2.exceptions.ServerError as exc:
        problem = f"OSS answers {exc.status} {exc.code}: {exc.message} (request {exc.request_id})"
        remedy = "use an access key whose owner may administer OSS"
        if exc.code in ("BucketAlreadyExists", "AccessDenied"):
            remedy = denied + remedy
        elif exc.code in ("SignatureDoesNotMatch", "InvalidArgument", "InvalidAccessKeyId"):
            # The region is part of what is signed.
            remedy = "check the access key, and that CLEARBOOK_REGION is the region of CLEARBOOK_OSS_ENDPOINT"
        raise ServiceError(doing, problem, remedy, retryable=exc.status >= 500) from exc
    except oss2.exceptions.OssError as exc:
        if exc.status == oss2.exceptions.OSS_CLIENT_ERROR_STATUS:  # refused before anything was sent
            remedy = "check CLEARBOOK_OSS_ENDPOINT and CLEARBOOK_BUCKET_PREFIX"
            raise ServiceError(doing, f"the SDK refuses ({exc})", remedy, retryable=False) from exc
        remedy = "check CLEARBOOK_OSS_ENDPOINT, or run it again later"
        raise ServiceError(doing, f"OSS was not reached ({exc})", remedy, retryable=True) from exc
