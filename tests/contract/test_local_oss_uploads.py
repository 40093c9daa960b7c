"""Multipart uploads of the local OSS, by the genuine oss2 SDK."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import oss2
from oss2.models import PartInfo

from tests.contract.oss_cloud import (
    FORBID,
    PART,
    Cloud,
    code_in,
    code_of,
    sign_by_hand,
    upload_parts,
)


def test_parts_become_one_object(cloud: Cloud, bucket: Any) -> None:
    bodies = {7: b"b" * PART, 1: b"a" * PART, 9: b"c"}  # numbers may leave gaps and come in any order
    started = bucket.init_multipart_upload("big", headers={"Content-Type": "text/csv", "x-oss-meta-a": "1"})
    parts = upload_parts(bucket, "big", started.upload_id, bodies)
    assert not bucket.object_exists("big")

    done = bucket.complete_multipart_upload("big", started.upload_id, parts)

    digests = b"".join(hashlib.md5(bodies[n]).digest() for n in (1, 7, 9))  # noqa: S324
    assert done.etag == hashlib.md5(digests).hexdigest().upper() + "-3"  # noqa: S324
    got = bucket.get_object("big")
    assert got.read() == b"a" * PART + b"b" * PART + b"c"
    assert (got.headers["Content-Type"], got.headers["x-oss-meta-a"]) == ("text/csv", "1")
    assert got.headers["x-oss-object-type"] == "Multipart"
    again = code_of(lambda: bucket.complete_multipart_upload("big", started.upload_id, parts))
    assert again == (404, "NoSuchUpload")
    names = [name for name, _, _ in cloud.events(bucket.bucket_name)]
    assert names == [
        "ObjectCreated:InitiateMultipartUpload",
        *["ObjectCreated:UploadPart"] * 3,
        "ObjectCreated:CompleteMultipartUpload",
    ]


def test_parts_that_do_not_fit_are_refused(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    one, two, three = upload_parts(bucket, "x", upload, {1: b"a" * PART, 2: b"b" * (PART - 1), 3: b"c"})

    def complete(*parts: PartInfo) -> tuple[int, str]:
        return code_of(lambda: bucket.complete_multipart_upload("x", upload, list(parts)))

    assert complete(one, two, three) == (400, "EntityTooSmall")
    assert complete(PartInfo(1, three.etag)) == (400, "InvalidPart")
    assert complete(PartInfo(4, three.etag)) == (400, "InvalidPart")
    bucket.complete_multipart_upload("x", upload, [one, two])
    assert bucket.head_object("x").content_length == 2 * PART - 1


def test_parts_out_of_order_are_refused(cloud: Cloud, bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    one, two = upload_parts(bucket, "x", upload, {1: b"a" * PART, 2: b"b" * PART})
    listed = "".join(f"<Part><PartNumber>{p.part_number}</PartNumber><ETag>{p.etag}</ETag></Part>" for p in (two, one))
    query = sign_by_hand(cloud.keys, "POST", bucket.bucket_name, "x", {"uploadId": upload})

    answer = cloud.raw(
        "POST",
        f"/{bucket.bucket_name}/x?{query}",
        f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode(),
    )

    assert code_in(answer) == (400, "InvalidPartOrder")


def test_an_aborted_upload_is_gone(cloud: Cloud, bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    parts = upload_parts(bucket, "x", upload, {1: b"a"})
    before = set((cloud.home / "oss" / "objects").iterdir())
    assert code_of(bucket.delete_bucket) == (409, "BucketNotEmpty")

    bucket.abort_multipart_upload("x", upload)

    assert len(before - set((cloud.home / "oss" / "objects").iterdir())) == 1
    assert code_of(lambda: bucket.upload_part("x", upload, 1, b"a")) == (404, "NoSuchUpload")
    assert code_of(lambda: bucket.complete_multipart_upload("x", upload, parts)) == (404, "NoSuchUpload")
    assert code_of(lambda: bucket.abort_multipart_upload("x", upload)) == (404, "NoSuchUpload")
    bucket.delete_bucket()


def test_completing_can_be_forbidden_to_overwrite(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    parts = upload_parts(bucket, "x", upload, {1: b"late"})
    bucket.put_object("x", b"first")

    def complete() -> object:
        return bucket.complete_multipart_upload("x", upload, parts, headers=dict(FORBID))

    assert code_of(complete) == (409, "FileAlreadyExists")
    assert bucket.get_object("x").read() == b"first"


def test_parts_can_be_listed(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    parts = upload_parts(bucket, "x", upload, {2: b"b", 5: b"e", 1: b"a"})

    page = bucket.list_parts("x", upload, max_parts=2)
    rest = bucket.list_parts("x", upload, marker=page.next_marker)
    listed = [(p.part_number, p.etag, p.size) for p in page.parts + rest.parts]
    assert listed == [(p.part_number, p.etag, 1) for p in parts]
    assert (page.is_truncated, rest.is_truncated) == (True, False)


def test_the_sdk_uploads_a_large_file_in_parts(bucket: Any, tmp_path: Path) -> None:
    body = random.Random(1).randbytes(700_000)  # noqa: S311 - test data
    (tmp_path / "f").write_bytes(body)

    oss2.resumable_upload(bucket, "x", str(tmp_path / "f"), multipart_threshold=200_000, part_size=PART, num_threads=3)

    assert bucket.get_object("x").read() == body
