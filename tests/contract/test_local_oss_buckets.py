"""Buckets of the local OSS, by the genuine oss2 SDK, and what is not implemented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oss2
import pytest

from tests.contract.oss_cloud import (
    Cloud,
    code_in,
    code_of,
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
        "CopyObject": lambda: bucket.copy_object(bucket.bucket_name, "x", "y"),
        "AppendObject": lambda: bucket.append_object("y", 0, b""),
        "GetObjectTagging": lambda: bucket.get_object_tagging("x"),
        "PutObjectAcl": lambda: bucket.put_object_acl("x", "private"),
        "PutBucketAcl": lambda: bucket.put_bucket_acl("public-read"),
        "GetBucketCors": bucket.get_bucket_cors,
        "a bucket policy": bucket.get_bucket_policy,
        "ListMultipartUploads": bucket.list_multipart_uploads,
        "PutBucketVersioning": lambda: bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled")),
        "x-oss-tagging": lambda: bucket.put_object("y", b"", headers={"x-oss-tagging": "a=b"}),
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
