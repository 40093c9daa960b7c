"""How long objects of the local OSS stay: retention policies (WORM) and lifecycle rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from oss2.models import AbortMultipartUpload, BucketLifecycle, LifecycleExpiration, LifecycleRule

from infra.localcloud import common
from tests.contract.oss_cloud import (
    FORBID,
    JUNE,
    code_of,
    upload_parts,
)


def test_a_locked_policy_keeps_objects_until_their_time(bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")
    upload = bucket.init_multipart_upload("x").upload_id
    parts = upload_parts(bucket, "x", upload, {1: b"2"})
    worm = bucket.init_bucket_worm(2).worm_id
    bucket.complete_bucket_worm(worm)

    got = bucket.get_bucket_worm()
    assert (got.worm_id, got.state, got.retention_period_days) == (worm, "Locked", 2)
    clock.set(JUNE + timedelta(days=2) - timedelta(seconds=1))
    for change in (
        lambda: bucket.put_object("x", b"2"),
        lambda: bucket.delete_object("x"),
        lambda: bucket.batch_delete_objects(["y", "x"]),
        lambda: bucket.complete_multipart_upload("x", upload, parts),
    ):
        assert code_of(change) == (409, "FileImmutable")
    assert code_of(bucket.abort_bucket_worm) == (403, "WORMConfigurationLocked")
    assert code_of(lambda: bucket.extend_bucket_worm(worm, 2)) == (400, "InvalidWORMConfiguration")
    assert code_of(lambda: bucket.extend_bucket_worm("other", 3)) == (404, "NoSuchWORMConfiguration")
    bucket.put_object("new", b"1")  # a new object is no change to an old one
    bucket.extend_bucket_worm(worm, 3)
    clock.set(JUNE + timedelta(days=2))
    assert code_of(lambda: bucket.delete_object("x")) == (409, "FileImmutable")
    clock.set(JUNE + timedelta(days=3))
    assert code_of(lambda: bucket.batch_delete_objects(["x", "new"])) == (409, "FileImmutable")
    assert bucket.object_exists("x")  # all or nothing
    bucket.delete_object("x")
    assert code_of(lambda: bucket.delete_object("new")) == (409, "FileImmutable")
    assert bucket.get_object("new").read() == b"1"


def test_a_policy_nobody_locks_is_void_after_a_day(bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")
    worm = bucket.init_bucket_worm(30).worm_id
    assert bucket.get_bucket_worm().state == "InProgress"
    assert code_of(lambda: bucket.delete_object("x")) == (409, "FileImmutable")
    assert code_of(lambda: bucket.init_bucket_worm(1)) == (400, "InvalidWORMConfiguration")

    clock.set(JUNE + timedelta(hours=24))

    assert code_of(bucket.get_bucket_worm) == (404, "NoSuchWORMConfiguration")
    assert code_of(lambda: bucket.complete_bucket_worm(worm)) == (404, "NoSuchWORMConfiguration")
    bucket.delete_object("x")


def test_a_policy_can_be_withdrawn_before_the_lock(bucket: Any) -> None:
    bucket.put_object("x", b"1")
    bucket.init_bucket_worm(1)
    bucket.abort_bucket_worm()

    bucket.put_object("x", b"2")
    assert code_of(bucket.abort_bucket_worm) == (404, "NoSuchWORMConfiguration")
    assert code_of(lambda: bucket.init_bucket_worm(25_551)) == (400, "InvalidArgument")


def expire(prefix: str, days: int, status: str = "Enabled") -> LifecycleRule:
    return LifecycleRule(f"r{prefix}", prefix, status=status, expiration=LifecycleExpiration(days=days))


def test_an_object_goes_when_its_days_are_over(bucket: Any, clock: common.Clock) -> None:
    for key in ["reports/a", "reports/b", "kept", "off/a"]:
        bucket.put_object(key, b"1" * 70_000)
    bucket.put_bucket_lifecycle(BucketLifecycle([expire("reports/", 2), expire("off/", 1, "Disabled")]))
    # Modified on the 10th at noon: rounded up to the 11th, two days later it is the 13th.
    expiration = bucket.head_object("reports/a").headers["x-oss-expiration"]
    assert expiration == 'expiry-date="Fri, 13 Jun 2025 00:00:00 GMT", rule-id="rreports/"'

    clock.set(datetime(2025, 6, 12, 23, 59, 59, tzinfo=UTC))
    assert bucket.object_exists("reports/a")
    clock.set(datetime(2025, 6, 13, tzinfo=UTC))

    assert not bucket.object_exists("reports/a")
    assert [found.key for found in bucket.list_objects_v2().object_list] == ["kept", "off/a"]
    bucket.put_object("reports/a", b"again", headers=dict(FORBID))


def test_retention_wins_over_lifecycle(bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")
    bucket.complete_bucket_worm(bucket.init_bucket_worm(10).worm_id)
    bucket.put_bucket_lifecycle(BucketLifecycle([expire("", 1)]))

    clock.set(JUNE + timedelta(days=9))
    assert bucket.object_exists("x")
    clock.set(JUNE + timedelta(days=11))
    assert not bucket.object_exists("x")


def test_unfinished_uploads_and_old_dates_expire(bucket: Any, clock: common.Clock) -> None:
    upload = bucket.init_multipart_upload("u/x").upload_id
    upload_parts(bucket, "u/x", upload, {1: b"a"})
    bucket.put_object("old", b"1")
    before = LifecycleExpiration(created_before_date=datetime(2025, 6, 11).date())  # noqa: DTZ001 - a date
    rules = [
        LifecycleRule("parts", "u/", abort_multipart_upload=AbortMultipartUpload(days=1)),
        LifecycleRule("date", "o", expiration=before),
    ]
    bucket.put_bucket_lifecycle(BucketLifecycle(rules))

    assert not bucket.object_exists("old")
    clock.set(datetime(2025, 6, 12, tzinfo=UTC))
    assert code_of(lambda: bucket.abort_multipart_upload("u/x", upload)) == (404, "NoSuchUpload")


def test_rules_can_be_read_back_and_removed(bucket: Any) -> None:
    bucket.put_bucket_lifecycle(BucketLifecycle([expire("a/", 7)]))

    (rule,) = bucket.get_bucket_lifecycle().rules
    assert (rule.id, rule.prefix, rule.status, rule.expiration.days) == ("ra/", "a/", "Enabled", 7)
    bucket.delete_bucket_lifecycle()
    assert code_of(bucket.get_bucket_lifecycle) == (404, "NoSuchLifecycle")
    assert code_of(lambda: bucket.put_bucket_lifecycle(BucketLifecycle([expire("a", 1)] * 2)))[0] == 400
