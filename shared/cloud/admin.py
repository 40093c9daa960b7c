"""Making and looking at tables and buckets, for provisioning alone: no function may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import oss2

from shared.cloud.credentials import AccessKey
from shared.cloud.tablestore import client, translated
from shared.ports import ServiceError

FOREVER, ONE_VERSION = -1, 1
_RULE = "clearbook"


@dataclass(frozen=True, slots=True)
class TableFound:
    """A table as it is: key columns (name, type), how long rows stay (seconds), and versions of a cell."""

    keys: list[tuple[str, str]]
    keeps_s: int
    versions: int


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What goes by itself after how many days: objects (None: never), and parts of uploads (None: never).

    `other` says what else there is, in a bucket that we did not set up.
    """

    objects_days: int | None
    uploads_days: int | None
    other: str = ""

    def __str__(self) -> str:
        objects = "objects stay" if self.objects_days is None else f"objects go after {self.objects_days} days"
        uploads = "stay" if self.uploads_days is None else f"go after {self.uploads_days} days"
        return f"{objects}, unfinished uploads {uploads}" + (f", and {self.other}" if self.other else "")


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
        return TableFound(keys, found.table_options.time_to_live, found.table_options.max_version)

    def create(self, table: str, keys: Sequence[tuple[str, str]]) -> None:
        """Create a table with one version a cell and rows that stay."""
        import tablestore as ots

        with translated(f"create table {table}"):
            throughput = ots.ReservedThroughput(ots.CapacityUnit(0, 0))
            options = ots.TableOptions(FOREVER, ONE_VERSION)
            self._client.create_table(ots.TableMeta(table, list(keys)), options, throughput)


class BucketAdmin:
    """One bucket."""

    def __init__(self, endpoint: str, region: str, name: str, key: AccessKey) -> None:
        self.name = name
        auth = (
            oss2.StsAuth(key.id, key.secret, key.token, auth_version="v4")
            if key.token
            else oss2.AuthV4(key.id, key.secret)
        )
        self._bucket = oss2.Bucket(auth, endpoint, name, region=region)

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
        if len(rules) != 1 or rules[0].id != _RULE or rules[0].prefix or rules[0].status != "Enabled":
            return Lifecycle(None, None, f"{len(rules)} rules: {', '.join(str(rule.id) for rule in rules)}")
        rule = rules[0]
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

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        doing = f"cannot {doing} bucket {self.name}"
        try:
            yield
        except oss2.exceptions.ServerError as exc:
            problem = f"OSS answers {exc.status} {exc.code}: {exc.message} (request {exc.request_id})"
            remedy = "use an access key whose owner may administer OSS"
            if exc.code in ("BucketAlreadyExists", "AccessDenied"):
                remedy = "bucket names are one namespace for all accounts: is it another account's? " + remedy
            raise ServiceError(doing, problem, remedy, retryable=exc.status >= 500) from exc
        except oss2.exceptions.OssError as exc:
            remedy = "check CLEARBOOK_OSS_ENDPOINT, or run it again later"
            raise ServiceError(doing, f"OSS was not reached ({exc})", remedy, retryable=True) from exc
