"""Buckets of the local OSS, by the genuine oss2 SDK, and what is not implemented."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oss2
import pytest

from tests.contract.oss_cloud import (
    Cloud,
    code_in,
    code_of,
    running,
    sign_by_hand,
)


def test_the_life_of_a_bucket(cloud: Cloud) -> None:
    bucket = cloud.new_bucket("life-of-a-bucket")
    bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE)  # one's own again: nothing changes
    service = oss2.Service(bucket.auth, bucket.endpoint, region=cloud.keys.region)

    info = bucket.get_bucket_info()
    assert (info.name, info.acl.grant, info.owner.id) == (bucket.bucket_name, "private", cloud.keys.account_id)
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    assert bucket.get_bucket_versioning().status is None
    assert bucket.get_bucket_acl().acl == "private"
    assert "life-of-a-bucket" in [found.name for found in oss2.BucketIterator(service, max_keys=2)]
    bucket.put_object("x", b"")
    assert code_of(bucket.delete_bucket) == (409, "BucketNotEmpty")
    bucket.delete_object("x")
    bucket.delete_bucket()
    assert code_of(bucket.get_bucket_info) == (404, "NoSuchBucket")


@pytest.mark.parametrize("name", ["ab", "-ab", "ab-", "A-b", "a_b", "a" * 64])
def test_a_bucket_name_outside_the_rules_is_refused(cloud: Cloud, name: str) -> None:
    query = sign_by_hand(cloud.keys, "PUT", name, "")

    assert code_in(cloud.raw("PUT", f"/{name}?{query}", b"")) == (400, "InvalidBucketName")


def test_what_is_not_implemented_says_so(bucket: Any) -> None:
    bucket.put_object("x", b"")
    calls: dict[str, Callable[[], object]] = {
        "GetObjectSymlink": lambda: bucket.get_symlink("x"),
        "GetBucketTagging": bucket.get_bucket_tagging,
        "ListObjectVersions": bucket.list_object_versions,
        "a version of an object": lambda: bucket.get_object("x", params={"versionId": "null"}),
        "PutObjectAcl": lambda: bucket.put_object_acl("x", "private"),
        "PutBucketAcl": lambda: bucket.put_bucket_acl("public-read"),
        "GetBucketCors": bucket.get_bucket_cors,
        "a bucket policy": bucket.get_bucket_policy,
        "the bucket ACL public-read": lambda: bucket.create_bucket("public-read"),
        "processing of an object": lambda: bucket.get_object("x", process="image/resize,w_1"),
        "a conditional PutObject": lambda: bucket.put_object("y", b"", headers={"If-None-Match": "*"}),
    }
    for operation, call in calls.items():
        with pytest.raises(oss2.exceptions.ServerError) as caught:
            call()
        refusal = (caught.value.status, caught.value.code, caught.value.message)
        assert refusal == (501, "NotImplemented", f"{operation} is not implemented here")
    assert not bucket.object_exists("y")


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE d [<!ENTITY a "b">]><LifecycleConfiguration><Rule><ID>&a;</ID><Status>Enabled</Status>'
        "<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
        "<LifecycleConfiguration>",
        "<Other/>",
        "<LifecycleConfiguration/>",
        "<LifecycleConfiguration><Rule><Status>On</Status></Rule></LifecycleConfiguration>",
        "<LifecycleConfiguration><Rule><Status>Enabled</Status><Expiration/></Rule></LifecycleConfiguration>",
    ],
)
def test_a_document_that_is_not_as_expected_is_refused(bucket: Any, body: str) -> None:
    assert code_of(lambda: bucket.put_bucket_lifecycle(body)) == (400, "MalformedXML")
    assert code_of(bucket.get_bucket_lifecycle) == (404, "NoSuchLifecycle")


def test_the_versioning_state_is_remembered_and_shown(cloud: Cloud) -> None:
    bucket = cloud.new_bucket("versioned-state")
    bucket.put_object("x", b"1")
    for status in ("Enabled", "Suspended"):
        bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig(status))

        assert bucket.get_bucket_versioning().status == status
        assert bucket.get_bucket_info().versioning_status == status
    body = "<VersioningConfiguration><Status>Disabled</Status></VersioningConfiguration>"
    assert code_of(lambda: bucket.put_bucket_versioning(body)) == (400, "MalformedXML")
    assert bucket.get_bucket_versioning().status == "Suspended"


def test_what_would_need_versions_of_objects_is_refused(bucket: Any) -> None:
    bucket.put_object("x", b"1")
    bucket.append_object("log", 0, b"1")
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))

    changes: list[Callable[[], object]] = [
        lambda: bucket.put_object("new", b"2"),
        lambda: bucket.delete_object("x"),
        lambda: bucket.batch_delete_objects(["x"]),
        lambda: bucket.copy_object(bucket.bucket_name, "x", "new"),
        lambda: bucket.append_object("log", 1, b"2"),
        lambda: bucket.init_multipart_upload("new"),
    ]
    for change in changes:
        assert code_of(change) == (501, "NotImplemented")
    assert bucket.get_object("x").read() == b"1"
    assert [found.key for found in bucket.list_objects_v2().object_list] == ["log", "x"]


def test_a_folder_of_before_versioning_is_brought_up_to_date(tmp_path: Path) -> None:
    with running(tmp_path) as before:
        before.new_bucket("kept").put_object("x", b"1")
    database = sqlite3.connect(tmp_path / "oss" / "oss.db")
    database.execute("ALTER TABLE bucket DROP COLUMN versioning")
    database.close()

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        assert bucket.get_bucket_versioning().status is None
        bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
        assert bucket.get_object("x").read() == b"1"


def test_versioning_and_a_retention_policy_do_not_meet_here(bucket: Any) -> None:
    versioning = oss2.models.BucketVersioningConfig("Enabled")
    bucket.init_bucket_worm(1)
    assert code_of(lambda: bucket.put_bucket_versioning(versioning)) == (501, "NotImplemented")
    bucket.abort_bucket_worm()

    bucket.put_bucket_versioning(versioning)

    assert code_of(lambda: bucket.init_bucket_worm(1)) == (501, "NotImplemented")
    assert code_of(bucket.get_bucket_worm) == (404, "NoSuchWORMConfiguration")
