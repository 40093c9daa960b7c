"""Making and looking at tables and buckets, for provisioning alone: no function may."""

from __future__ import annotations

from collections.abc import Sequence

import oss2

from shared.cloud.credentials import AccessKey
from shared.cloud.tablestore import client, translated


class TableAdmin:
    """The tables of one instance."""

    def __init__(self, endpoint: str, region: str, instance: str, key: AccessKey) -> None:
        self._client = client(endpoint, region, instance, key)

    def keys(self, table: str) -> list[tuple[str, str]] | None:
        """The key columns (name, type) of a table, or None when there is no such table."""
        with translated("list tables"):
            if table not in self._client.list_table():
                return None
            meta = self._client.describe_table(table).table_meta
        return [(name, kind) for name, kind, *_ in meta.schema_of_primary_key]

    def create(self, table: str, keys: Sequence[tuple[str, str]]) -> None:
        """Create a table with one version a cell and rows that stay."""
        import tablestore as ots

        with translated(f"create table {table}"):
            throughput = ots.ReservedThroughput(ots.CapacityUnit(0, 0))
            self._client.create_table(ots.TableMeta(table, list(keys)), ots.TableOptions(), throughput)


class BucketAdmin:
    """One bucket."""

    def __init__(self, endpoint: str, region: str, name: str, key: AccessKey) -> None:
        self.name = name
        self._bucket = oss2.Bucket(oss2.AuthV4(key.id, key.secret), endpoint, name, region=region)

    def exists(self) -> bool:
        """Whether the bucket is there."""
        try:
            self._bucket.get_bucket_info()
        except oss2.exceptions.NoSuchBucket:
            return False
        return True

    def create(self) -> None:
        """Create it, private."""
        self._bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE)

    def is_versioned(self) -> bool:
        """Whether versions are kept; forbid-overwrite would then be ignored."""
        return bool(self._bucket.get_bucket_versioning().status)

    def worm(self) -> tuple[str, int] | None:
        """The retention rule's state and days, or None."""
        try:
            found = self._bucket.get_bucket_worm()
        except oss2.exceptions.ServerError as exc:
            if exc.code == "NoSuchWORMConfiguration":
                return None
            raise
        return str(found.state), int(found.retention_period_days)

    def keep(self, days: int) -> None:
        """Keep every object for `days`, for good: once locked the rule can only be extended."""
        worm_id = self._bucket.init_bucket_worm(days).worm_id
        self._bucket.complete_bucket_worm(worm_id)

    def lock(self) -> None:
        """Lock a retention rule that was begun."""
        self._bucket.complete_bucket_worm(self._bucket.get_bucket_worm().worm_id)

    def expiry_days(self) -> int | None:
        """After how many days objects expire, or None."""
        try:
            rules = self._bucket.get_bucket_lifecycle().rules
        except oss2.exceptions.NoSuchLifecycle:
            return None
        return next((int(rule.expiration.days) for rule in rules if rule.expiration and rule.expiration.days), None)

    def expire(self, days: int) -> None:
        """Let every object expire after `days`."""
        rule = oss2.models.LifecycleRule(
            "expire", "", status="Enabled", expiration=oss2.models.LifecycleExpiration(days=days)
        )
        self._bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))
