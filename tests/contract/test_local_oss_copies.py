"""Copies the local OSS makes on its own side, asked for by the genuine oss2 SDK: CopyObject and UploadPartCopy."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import oss2
import pytest
from oss2.models import PartInfo

from infra.localcloud import common
from tests.contract.oss_cloud import FORBID, JUNE, KEYS, PART, Cloud, code_in, code_of, sign_by_hand, upload_parts

REPLACE = {"x-oss-metadata-directive": "REPLACE"}


@pytest.mark.parametrize("size", [0, 10, 300_000])  # in the database, and in a file
def test_a_copy_is_an_object_of_its_own(bucket: Any, size: int) -> None:
    body = random.Random(size).randbytes(size)  # noqa: S311 - test data
    put = bucket.put_object("x", body, headers={"Content-Type": "text/csv", "x-oss-meta-a": "1"})

    copied = bucket.copy_object(bucket.bucket_name, "x", "y")
    bucket.put_object("x", b"other")
    bucket.delete_object("x")

    got = bucket.get_object("y")
    assert got.read() == body
    assert (copied.etag, got.etag, got.server_crc) == (put.etag, put.etag, put.crc)
    assert (got.headers["Content-Type"], got.headers["x-oss-meta-a"]) == ("text/csv", "1")


def test_a_copy_goes_from_bucket_to_bucket_under_any_key(cloud: Cloud, bucket: Any) -> None:
    other = cloud.new_bucket("copies-go-here")
    for key in KEYS:
        bucket.put_object(key, key.encode())
        other.copy_object(bucket.bucket_name, key, f"copy of {key}")

    assert {key: other.get_object(f"copy of {key}").read() for key in KEYS} == {key: key.encode() for key in KEYS}


def test_the_directive_decides_whose_headers_a_copy_has(bucket: Any) -> None:
    bucket.put_object("x", b"1", headers={"Content-Type": "text/csv", "x-oss-meta-a": "1"})
    given = {"Content-Type": "text/html", "x-oss-meta-b": "2"}

    bucket.copy_object(bucket.bucket_name, "x", "copied", headers=dict(given))
    bucket.copy_object(bucket.bucket_name, "x", "replaced", headers={**given, **REPLACE})

    assert headers_of(bucket, "copied") == {"Content-Type": "text/csv", "x-oss-meta-a": "1"}
    assert headers_of(bucket, "replaced") == given
    wrong = {"x-oss-metadata-directive": "MOVE"}
    assert code_of(lambda: bucket.copy_object(bucket.bucket_name, "x", "y", wrong)) == (400, "InvalidArgument")


def headers_of(bucket: Any, key: str) -> dict[str, str]:
    """The type and the user's headers of an object."""
    headers = bucket.head_object(key).headers
    return {name: headers[name] for name in headers if name == "Content-Type" or name.startswith("x-oss-meta-")}


@pytest.mark.parametrize("size", [1, 300_000])
def test_a_copy_onto_itself_changes_the_headers_alone(cloud: Cloud, bucket: Any, size: int) -> None:
    put = bucket.put_object("x", b"1" * size, headers={"x-oss-meta-a": "1"})

    bucket.update_object_meta("x", {"x-oss-meta-b": "2", "Content-Type": "text/csv"})
    assert headers_of(bucket, "x") == {"Content-Type": "text/csv", "x-oss-meta-b": "2"}
    bucket.copy_object(bucket.bucket_name, "x", "x", headers={"x-oss-meta-c": "3", "Content-Type": "text/csv"})

    assert headers_of(bucket, "x") == {"Content-Type": "text/csv", "x-oss-meta-c": "3"}  # whatever the directive
    assert bucket.get_object("x").read() == b"1" * size
    assert bucket.head_object("x").etag == put.etag
    events = [(name, event["oss"]["object"]["deltaSize"]) for name, _, event in cloud.events(bucket.bucket_name)]
    assert events == [("ObjectCreated:PutObject", size), *[("ObjectCreated:CopyObject", 0)] * 2]


def test_a_copy_keeps_the_type_and_etag_of_what_was_uploaded_in_parts(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    done = bucket.complete_multipart_upload("x", upload, upload_parts(bucket, "x", upload, {1: b"a"}))

    bucket.copy_object(bucket.bucket_name, "x", "y")

    head = bucket.head_object("y")
    assert (head.etag, head.object_type) == (done.etag, "Multipart")


def test_encryption_is_not_handed_on(bucket: Any) -> None:
    encrypted = {"x-oss-server-side-encryption": "AES256"}
    bucket.put_object("x", b"1", headers=dict(encrypted))

    plain = bucket.copy_object(bucket.bucket_name, "x", "plain")
    again = bucket.copy_object(bucket.bucket_name, "x", "again", headers=dict(encrypted))

    assert "x-oss-server-side-encryption" not in plain.headers
    assert "x-oss-server-side-encryption" not in bucket.head_object("plain").headers
    assert again.headers["x-oss-server-side-encryption"] == "AES256"
    assert bucket.head_object("again").headers["x-oss-server-side-encryption"] == "AES256"


CONDITIONS: list[tuple[dict[str, str], tuple[int, str] | None]] = [
    ({"if-match": '"{etag}"'}, None),
    ({"if-match": "other"}, (412, "PreconditionFailed")),
    ({"if-none-match": "other"}, None),
    ({"if-none-match": '"{etag}"'}, (304, "")),
    ({"if-unmodified-since": "Tue, 10 Jun 2025 12:30:00 GMT"}, None),
    ({"if-unmodified-since": "Tue, 10 Jun 2025 12:29:59 GMT"}, (412, "PreconditionFailed")),
    ({"if-modified-since": "Tue, 10 Jun 2025 12:29:59 GMT"}, None),
    ({"if-modified-since": "Tue, 10 Jun 2025 12:30:00 GMT"}, (304, "")),
]


@pytest.mark.parametrize(("conditions", "refusal"), CONDITIONS)
def test_a_condition_on_the_source_decides(
    bucket: Any, clock: common.Clock, conditions: dict[str, str], refusal: tuple[int, str] | None
) -> None:
    etag = bucket.put_object("x", b"1").etag
    upload = bucket.init_multipart_upload("parts").upload_id
    headers = {f"x-oss-copy-source-{name}": value.format(etag=etag) for name, value in conditions.items()}

    def copy() -> object:
        return bucket.copy_object(bucket.bucket_name, "x", "y", headers=dict(headers))

    def copy_part() -> object:
        return bucket.upload_part_copy(bucket.bucket_name, "x", None, "parts", upload, 1, headers=dict(headers))

    if refusal is None:
        copy()
        copy_part()
    else:
        assert [code_of(copy), code_of(copy_part)] == [refusal, refusal]
    assert bucket.object_exists("y") is (refusal is None)
    assert len(bucket.list_parts("parts", upload).parts) == (1 if refusal is None else 0)


def test_a_copy_can_be_forbidden_to_overwrite(bucket: Any) -> None:
    bucket.put_object("x", b"1")
    bucket.copy_object(bucket.bucket_name, "x", "y", headers=dict(FORBID))
    bucket.put_object("x", b"2")

    again = code_of(lambda: bucket.copy_object(bucket.bucket_name, "x", "y", headers=dict(FORBID)))

    assert again == (409, "FileAlreadyExists")
    assert bucket.get_object("y").read() == b"1"


def test_a_copy_of_what_is_not_there_is_refused(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("y").upload_id
    bucket.put_object("x", b"1")

    def part(source: str, key: str, of: str = upload) -> Callable[[], object]:
        return lambda: bucket.upload_part_copy(source, key, None, "y", of, 1)

    assert code_of(lambda: bucket.copy_object(bucket.bucket_name, "no", "y")) == (404, "NoSuchKey")
    assert code_of(lambda: bucket.copy_object("nowhere", "x", "y")) == (404, "NoSuchBucket")
    assert code_of(part(bucket.bucket_name, "no")) == (404, "NoSuchKey")
    assert code_of(part("nowhere", "x")) == (404, "NoSuchBucket")
    assert code_of(part(bucket.bucket_name, "x", "0" * 32)) == (404, "NoSuchUpload")
    assert not bucket.object_exists("y")


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("{bucket}/x", (400, "InvalidArgument")),
        ("/{bucket}", (400, "InvalidArgument")),
        ("/{bucket}/x?other=1", (400, "InvalidArgument")),
        ("/{bucket}/x?versionId=CAEQ", (501, "NotImplemented")),
        ("/{bucket}/", (400, "InvalidObjectName")),
        ("/A_B/x", (400, "InvalidBucketName")),
        ("/{bucket}/%ff", (400, "InvalidObjectName")),
    ],
)
def test_a_source_that_names_no_object_is_refused(
    cloud: Cloud, bucket: Any, source: str, refusal: tuple[int, str]
) -> None:
    bucket.put_object("x", b"1")
    headers = {"x-oss-copy-source": source.format(bucket=bucket.bucket_name)}
    query = sign_by_hand(cloud.keys, "PUT", bucket.bucket_name, "y", headers=headers)

    assert code_in(cloud.raw("PUT", f"/{bucket.bucket_name}/y?{query}", b"", headers)) == refusal


def test_retention_forbids_to_copy_over_an_object(bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")
    bucket.complete_bucket_worm(bucket.init_bucket_worm(1).worm_id)
    objects = (bucket.bucket_name, "x")

    assert code_of(lambda: bucket.copy_object(*objects, "x", headers=REPLACE)) == (409, "FileImmutable")
    bucket.copy_object(*objects, "y")
    clock.set(JUNE + timedelta(days=1))
    bucket.copy_object(*objects, "x", headers={**REPLACE, "x-oss-meta-a": "1"})
    assert headers_of(bucket, "x")["x-oss-meta-a"] == "1"


def test_a_copy_is_an_event_with_its_size(cloud: Cloud, bucket: Any) -> None:
    bucket.put_object("x", b"12345", headers={"Content-Type": "text/csv"})
    bucket.put_object("y", b"1")
    bucket.copy_object(bucket.bucket_name, "x", "y")
    code_of(lambda: bucket.copy_object(bucket.bucket_name, "x", "y", headers=dict(FORBID)))

    *_, (name, key, event) = cloud.events(bucket.bucket_name)

    described = event["oss"]["object"]
    assert (len(cloud.events(bucket.bucket_name)), name, key) == (3, "ObjectCreated:CopyObject", "y")
    assert (described["size"], described["deltaSize"]) == (5, 4)
    assert described["objectMeta"] == {"mimeType": "text/csv"}


# Parts


def test_parts_are_copied_from_ranges_of_an_object(cloud: Cloud, bucket: Any) -> None:
    body = random.Random(3).randbytes(3 * PART)  # noqa: S311 - test data
    bucket.put_object("large", body)
    bucket.put_object("small", b"0123456789")
    upload = bucket.init_multipart_upload("x").upload_id
    name = bucket.bucket_name

    first = bucket.upload_part_copy(name, "large", (PART, 2 * PART - 1), "x", upload, 1)
    bucket.put_object("large", b"overwritten")
    last = bucket.upload_part_copy(name, "small", (2, 4), "x", upload, 2)

    expected = body[PART : 2 * PART] + b"234"
    assert first.etag == hashlib.md5(expected[:PART]).hexdigest().upper()  # noqa: S324 - what an ETag is
    assert first.headers["Content-Range"] == f"bytes {PART}-{2 * PART - 1}/{3 * PART}"
    assert last.headers["Content-Range"] == "bytes 2-4/10"
    bucket.complete_multipart_upload("x", upload, [PartInfo(1, first.etag), PartInfo(2, last.etag)])
    assert bucket.get_object("x").read() == expected
    events = [event for event in cloud.events(name) if event[0] == "ObjectCreated:UploadPartCopy"]
    assert [(key, event["oss"]["object"]["size"]) for _, key, event in events] == [("x", PART), ("x", 3)]


@pytest.mark.parametrize("asked", [None, "bytes=5-10", "bytes=10-", "chars=0-1", "bytes=3-2"])
def test_a_range_that_is_none_copies_the_whole_source(bucket: Any, asked: str | None) -> None:
    bucket.put_object("x", b"0123456789")
    upload = bucket.init_multipart_upload("y").upload_id
    headers = {} if asked is None else {"x-oss-copy-source-range": asked}

    part = bucket.upload_part_copy(bucket.bucket_name, "x", None, "y", upload, 1, headers=headers)

    assert "Content-Range" not in part.headers
    assert bucket.list_parts("y", upload).parts[0].size == 10


def test_no_copy_leaves_a_content_behind(cloud: Cloud, bucket: Any) -> None:
    objects = cloud.home / "oss" / "objects"
    before = len(list(objects.iterdir()))
    bucket.put_object("x", b"1" * 300_000)
    bucket.copy_object(bucket.bucket_name, "x", "x", headers=dict(REPLACE))
    bucket.copy_object(bucket.bucket_name, "x", "y")
    bucket.copy_object(bucket.bucket_name, "x", "y")
    code_of(lambda: bucket.copy_object(bucket.bucket_name, "x", "y", headers=dict(FORBID)))
    upload = bucket.init_multipart_upload("z").upload_id
    bucket.upload_part_copy(bucket.bucket_name, "x", None, "z", upload, 1)

    assert len(list(objects.iterdir())) == before + 3  # x, y and the part
    bucket.abort_multipart_upload("z", upload)
    bucket.batch_delete_objects(["x", "y"])
    assert len(list(objects.iterdir())) == before


def test_an_appendable_object_is_only_copied_onto_itself(bucket: Any) -> None:
    bucket.append_object("log", 0, b"1", headers={"x-oss-meta-a": "1"})
    upload = bucket.init_multipart_upload("x").upload_id

    for refused in (
        lambda: bucket.copy_object(bucket.bucket_name, "log", "x"),
        lambda: bucket.upload_part_copy(bucket.bucket_name, "log", None, "x", upload, 1),
    ):
        assert code_of(refused) == (501, "NotImplemented")
    bucket.update_object_meta("log", {"x-oss-meta-b": "2"})

    assert headers_of(bucket, "log").get("x-oss-meta-b") == "2"
    assert bucket.append_object("log", 1, b"2").next_position == 2
    assert headers_of(bucket, "log").get("x-oss-meta-b") == "2"


def test_the_sdk_moves_a_large_object_in_parts(bucket: Any) -> None:
    body = random.Random(2).randbytes(5 * PART + 7)  # noqa: S311 - test data
    bucket.put_object("x", body)
    upload = bucket.init_multipart_upload("y").upload_id
    parts = []
    for number in range(6):
        end = min((number + 1) * PART, len(body)) - 1
        done = bucket.upload_part_copy(bucket.bucket_name, "x", (number * PART, end), "y", upload, number + 1)
        parts.append(PartInfo(number + 1, done.etag, size=end - number * PART + 1, part_crc=done.crc))

    result = bucket.complete_multipart_upload("y", upload, parts)

    assert result.crc == oss2.utils.calc_obj_crc_from_parts(parts)
    assert bucket.get_object("y").read() == body
