"""The events the local OSS records for triggers."""

from __future__ import annotations

from typing import Any

from infra.localcloud import common
from tests.contract.oss_cloud import (
    FORBID,
    Cloud,
    code_of,
)


def test_an_event_has_the_real_shape(cloud: Cloud, bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("source/账 单+%.png", b"12345")
    put = bucket.put_object("source/账 单+%.png", b"123", headers={"Content-Type": "video/mp4"})
    name, key, event = cloud.events(bucket.bucket_name)[1]

    assert (name, key) == ("ObjectCreated:PutObject", "source/账 单+%.png")
    assert len(event["oss"].pop("ruleId")) == 40
    assert event == {
        "eventName": "ObjectCreated:PutObject",
        "eventSource": "acs:oss",
        "eventTime": "2025-06-10T12:30:00.000Z",
        "eventVersion": "1.0",
        "oss": {
            "bucket": {
                "arn": f"acs:oss:cn-hangzhou:1000000000000001:{bucket.bucket_name}",
                "name": bucket.bucket_name,
                "ownerIdentity": "1000000000000001",
                "virtualBucket": "",
            },
            "object": {
                "deltaSize": -2,
                "eTag": "202CB962AC59075B964B07152D234B70",
                "key": "source/账 单+%.png",
                "objectMeta": {"mimeType": "video/mp4"},
                "size": 3,
            },
            "ossSchemaVersion": "1.0",
        },
        "region": "cn-hangzhou",
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"requestId": put.request_id},
        "userIdentity": {"principalId": "1000000000000001"},
    }


def test_only_what_happened_is_an_event(cloud: Cloud, bucket: Any) -> None:
    bucket.put_object("x", b"1", headers=dict(FORBID))
    code_of(lambda: bucket.put_object("x", b"2", headers=dict(FORBID)))
    bucket.get_object("x").read()
    bucket.delete_object("x")
    bucket.delete_object("x")
    bucket.put_object("y", b"1")
    bucket.batch_delete_objects(["x", "y"])
    bucket.abort_multipart_upload("z", bucket.init_multipart_upload("z").upload_id)

    assert [(name, key) for name, key, _ in cloud.events(bucket.bucket_name)] == [
        ("ObjectCreated:PutObject", "x"),
        ("ObjectRemoved:DeleteObject", "x"),
        ("ObjectCreated:PutObject", "y"),
        ("ObjectRemoved:DeleteObjects", "y"),
        ("ObjectCreated:InitiateMultipartUpload", "z"),
        ("ObjectRemoved:AbortMultipartUpload", "z"),
    ]
