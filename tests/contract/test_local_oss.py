"""The local OSS against the genuine oss2 SDK: what it does, what it refuses, what it keeps when it dies."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import oss2
import pytest
from oss2.models import (
    AbortMultipartUpload,
    BucketLifecycle,
    LifecycleExpiration,
    LifecycleRule,
    PartInfo,
)

from infra.localcloud import common
from infra.localcloud.oss import checksum

PART = 100 << 10
FORBID = {"x-oss-forbid-overwrite": "true"}
JUNE = datetime(2025, 6, 10, 12, 30, tzinfo=UTC)


@dataclass
class Cloud:
    """A running local OSS and how to talk to it."""

    home: Path
    service: common.Service

    @property
    def keys(self) -> common.Keys:
        return common.load_keys(self.home)

    @property
    def clock(self) -> common.Clock:
        return common.Clock(self.home)

    def bucket(self, name: str, *, secret: str | None = None, region: str | None = None, ak: str | None = None) -> Any:
        keys = self.keys
        auth = oss2.AuthV4(ak or keys.access_key_id, secret or keys.access_key_secret)
        endpoint = f"http://127.0.0.1:{self.service.port}"
        return oss2.Bucket(auth, endpoint, name, region=region or keys.region, is_path_style=True)

    def new_bucket(self, name: str) -> Any:
        bucket = self.bucket(name)
        bucket.create_bucket()
        return bucket

    def raw(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> SimpleNamespace:
        """One request exactly as given; `target` may be a whole URL."""
        parts = urlsplit(target)
        path = target if target.startswith("/") else target.split(parts.netloc, 1)[1]
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=10)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        answer = SimpleNamespace(status=response.status, headers=response.headers, body=response.read())
        connection.close()
        return answer

    def events(self, bucket: str) -> list[tuple[str, str, dict[str, Any]]]:
        database = sqlite3.connect(f"file:{self.home}/oss/oss.db?mode=ro", uri=True)
        rows = database.execute("SELECT name,key,body FROM event WHERE bucket=? ORDER BY id", (bucket,)).fetchall()
        database.close()
        return [(name, key, json.loads(body)) for name, key, body in rows]


@contextmanager
def running(home: Path) -> Iterator[Cloud]:
    service = common.start("oss", home)
    try:
        yield Cloud(home, service)
    finally:
        service.stop()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("oss")) as started:
        yield started


@pytest.fixture
def clock(cloud: Cloud) -> Iterator[common.Clock]:
    cloud.clock.set(JUNE)
    yield cloud.clock
    cloud.clock.set(None)


@pytest.fixture
def bucket(cloud: Cloud, request: pytest.FixtureRequest) -> Any:
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    return cloud.new_bucket(f"b-{digest}")


def code_of(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of the refusal that `call` meets."""
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value.status, caught.value.code


def code_in(answer: SimpleNamespace) -> tuple[int, str]:
    text = answer.body.decode()
    return answer.status, text.partition("<Code>")[2].partition("</Code>")[0]


# Objects


def test_an_object_comes_back_as_it_was_put(bucket: Any) -> None:
    body = b"\0\xff" * 500
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Disposition": "attachment; filename=a.csv",
        "x-oss-meta-cycle": "2025-06",
    }
    put = bucket.put_object("a/b.csv", body, headers=headers)
    got = bucket.get_object("a/b.csv")

    assert got.read() == body
    assert put.etag == got.etag == hashlib.md5(body).hexdigest().upper()  # noqa: S324 - what an ETag is
    assert {name: got.headers[name] for name in headers} == headers
    assert got.headers["Content-Length"] == "1000"
    assert got.headers["x-oss-object-type"] == "Normal"
    assert len(got.request_id) == 24
    assert got.request_id != put.request_id


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20, (1 << 20) + 1, 3_333_333])
def test_every_way_to_keep_a_content_gives_it_back(bucket: Any, size: int) -> None:
    body = random.Random(size).randbytes(size)  # noqa: S311 - test data

    bucket.put_object("x", body)  # the SDK compares CRC-64 itself

    assert bucket.get_object("x").read() == body
    assert bucket.head_object("x").content_length == size
    assert bucket.get_object("x", byte_range=(size // 2, None)).read() == body[size // 2 :]


def test_overwriting_replaces_content_and_headers(bucket: Any) -> None:
    bucket.put_object("x", b"a" * 2_000_000, headers={"x-oss-meta-a": "1"})
    bucket.put_object("x", b"b")

    assert bucket.get_object("x").read() == b"b"
    assert "x-oss-meta-a" not in bucket.head_object("x").headers


def test_a_gzip_body_is_kept_packed(bucket: Any) -> None:
    packed = gzip.compress(b"line\n" * 100)
    bucket.put_object("p.json.gz", packed, headers={"Content-Encoding": "gzip"})

    assert bucket.head_object("p.json.gz").content_length == len(packed)
    assert bucket.head_object("p.json.gz").etag == hashlib.md5(packed).hexdigest().upper()  # noqa: S324
    assert bucket.head_object("p.json.gz").headers["Content-Encoding"] == "gzip"


def test_a_body_of_unknown_length_arrives_in_chunks(bucket: Any) -> None:
    bucket.put_object("x", iter([b"a" * 700_000, b"b" * 700_000]))

    assert bucket.get_object("x").read() == b"a" * 700_000 + b"b" * 700_000


KEYS = [
    "a b",
    "a+b",
    "a%2Bb",
    "a%b",
    "账单/六月.csv",
    "a//b",
    "a?b&c=d",
    "a#b",
    "trailing/",
    "~'()*!",
    "é",
    "\U0001f4b0",
]


def test_keys_are_bytes_and_nothing_is_read_into_them(bucket: Any) -> None:
    for key in KEYS:
        bucket.put_object(key, key.encode())

    assert {key: bucket.get_object(key).read() for key in KEYS} == {key: key.encode() for key in KEYS}
    listed = [found.key for found in oss2.ObjectIteratorV2(bucket, max_keys=3)]
    assert listed == sorted(KEYS, key=str.encode)
    assert [found.key for found in bucket.list_objects_v2("a b").object_list] == ["a b"]
    assert [found.key for found in bucket.list_objects_v2("a+b").object_list] == ["a+b"]


def test_a_key_with_dots_is_no_path(cloud: Cloud, bucket: Any) -> None:
    # urllib3 folds dots away, so the SDK cannot send such a key: sign it, send it by hand.
    keys = ["a/../b", "../../keys.json", "./x"]
    for key in keys:
        url = bucket.sign_url("PUT", key, 60, slash_safe=True)
        assert cloud.raw("PUT", url, key.encode()).status == 200

    assert [found.key for found in bucket.list_objects_v2().object_list] == sorted(keys)
    assert cloud.raw("GET", bucket.sign_url("GET", "a/../b", 60)).body == b"a/../b"


@pytest.mark.parametrize("key", ["\\x", "/x", "k" * 1024, "é" * 512, b"\xff"])
def test_a_key_outside_the_rules_is_refused(cloud: Cloud, bucket: Any, key: str | bytes) -> None:
    target = f"/{bucket.bucket_name}/{quote(key, safe='')}"
    signed = sign_by_hand(cloud.keys, "PUT", bucket.bucket_name, key)

    assert code_in(cloud.raw("PUT", f"{target}?{signed}", b"")) == (400, "InvalidObjectName")


def test_the_longest_key_is_fine(bucket: Any) -> None:
    bucket.put_object("k" * 1023, b"x")

    assert bucket.object_exists("k" * 1023)


def test_what_is_not_there_is_said_so(cloud: Cloud, bucket: Any) -> None:
    assert code_of(lambda: bucket.get_object("x")) == (404, "NoSuchKey")
    assert code_of(lambda: bucket.head_object("x")) == (404, "NoSuchKey")  # told by x-oss-err
    assert not bucket.object_exists("x")
    nowhere = cloud.bucket("nowhere")
    assert code_of(lambda: nowhere.get_object("x")) == (404, "NoSuchBucket")
    assert code_of(lambda: nowhere.put_object("x", b"")) == (404, "NoSuchBucket")
    assert code_of(lambda: nowhere.object_exists("x")) == (404, "NoSuchBucket")


def test_a_refusal_carries_its_details(bucket: Any) -> None:
    with pytest.raises(oss2.exceptions.NoSuchKey) as caught:
        bucket.get_object("x<&>")

    assert caught.value.details["Key"] == "x<&>"
    assert caught.value.details["RequestId"] == caught.value.request_id
    assert caught.value.details["EC"] == "0026-00000001"


@pytest.mark.parametrize(
    ("header", "standard", "status", "expected"),
    [
        ("bytes=0-1", False, 206, b"01"),
        ("bytes=8-", False, 206, b"89"),
        ("bytes=-3", False, 206, b"789"),
        ("bytes=0-9", False, 206, b"0123456789"),
        ("bytes=2-3,5-6", False, 206, b"23"),
        ("bytes=5-10", False, 200, b"0123456789"),
        ("bytes=10-", False, 200, b"0123456789"),
        ("bytes=-11", False, 200, b"0123456789"),
        ("byte=0-1", False, 200, b"0123456789"),
        ("bytes=3-2", False, 200, b"0123456789"),
        ("bytes=5-10", True, 206, b"56789"),
        ("bytes=-11", True, 206, b"0123456789"),
        ("bytes=10-12", True, 416, None),
        ("bytes=10-", True, 416, None),
    ],
)
def test_ranges_outside_the_object_do_not_take_effect(
    cloud: Cloud, bucket: Any, header: str, standard: bool, status: int, expected: bytes | None
) -> None:
    bucket.put_object("x", b"0123456789")
    headers = {"Range": header} | ({"x-oss-range-behavior": "standard"} if standard else {})
    url = bucket.sign_url("GET", "x", 60, headers=dict(headers))

    answer = cloud.raw("GET", url, headers=headers)

    assert answer.status == status
    if expected is not None:
        assert answer.body == expected
    if status == 206:
        start = b"0123456789".index(answer.body)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(answer.body) - 1}/10"
    if status == 416:
        assert code_in(answer) == (416, "InvalidRange")


def test_conditions_decide_between_object_304_and_412(bucket: Any, clock: common.Clock) -> None:
    etag = bucket.put_object("x", b"1").etag
    at, later = "Tue, 10 Jun 2025 12:30:00 GMT", "Tue, 10 Jun 2025 12:30:01 GMT"
    earlier = "Tue, 10 Jun 2025 12:29:59 GMT"

    def get(**headers: str) -> object:
        return bucket.get_object("x", headers={name.replace("_", "-"): value for name, value in headers.items()})

    for fine in ({"If_Match": f'"{etag}"'}, {"If_None_Match": "other"}, {"If_Modified_Since": earlier}):
        assert get(**fine)
    assert get(If_Unmodified_Since=at)
    assert code_of(lambda: get(If_Match="other"))[0] == 412
    assert code_of(lambda: get(If_Unmodified_Since=earlier)) == (412, "PreconditionFailed")
    assert code_of(lambda: get(If_None_Match=f'"{etag}"'))[0] == 304
    assert code_of(lambda: get(If_Modified_Since=later))[0] == 304


def test_a_link_may_name_the_download(cloud: Cloud, bucket: Any) -> None:
    bucket.put_object("x", b"1", headers={"Content-Type": "text/csv"})
    name = "attachment; filename*=UTF-8''%E8%B4%A6%E5%8D%95.csv"
    url = bucket.sign_url("GET", "x", 60, params={"response-content-disposition": name})

    answer = cloud.raw("GET", url)

    assert (answer.status, answer.headers["Content-Disposition"]) == (200, name)
    assert "Content-Disposition" not in cloud.raw("GET", bucket.sign_url("GET", "x", 60)).headers
    evil = bucket.sign_url("GET", "x", 60, params={"response-content-type": "a\r\nX-Evil: 1"})
    assert code_in(cloud.raw("GET", evil)) == (400, "InvalidArgument")


def test_content_md5_is_checked(bucket: Any) -> None:
    right = base64.b64encode(hashlib.md5(b"abc").digest()).decode()  # noqa: S324
    bucket.put_object("x", b"abc", headers={"Content-MD5": right})

    assert code_of(lambda: bucket.put_object("x", b"abd", headers={"Content-MD5": right})) == (400, "InvalidDigest")
    assert code_of(lambda: bucket.put_object("x", b"abc", headers={"Content-MD5": "no"})) == (400, "InvalidDigest")
    assert bucket.get_object("x").read() == b"abc"


def test_deleting_twice_is_fine(bucket: Any) -> None:
    bucket.put_object("x", b"1")

    assert [bucket.delete_object("x").status for _ in range(2)] == [204, 204]
    assert not bucket.object_exists("x")


def test_many_are_deleted_at_once(cloud: Cloud, bucket: Any) -> None:
    for key in KEYS:
        bucket.put_object(key, b"1")

    assert bucket.batch_delete_objects([*KEYS[:-1], "absent"]).deleted_keys == [*KEYS[:-1], "absent"]
    assert [found.key for found in bucket.list_objects_v2().object_list] == [KEYS[-1]]
    body = f"<Delete><Quiet>true</Quiet><Object><Key>{KEYS[-1]}</Key></Object></Delete>".encode()
    query = sign_by_hand(cloud.keys, "POST", bucket.bucket_name, "", {"delete": ""})
    target = f"/{bucket.bucket_name}/?{query}"
    assert code_in(cloud.raw("POST", target, body)) == (400, "MissingArgument")
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324
    query = sign_by_hand(cloud.keys, "POST", bucket.bucket_name, "", {"delete": ""}, {"content-md5": md5})
    quiet = cloud.raw("POST", f"/{bucket.bucket_name}/?{query}", body, {"Content-MD5": md5})
    assert (quiet.status, quiet.body) == (200, b"")
    assert bucket.list_objects_v2().object_list == []


def test_put_if_absent(bucket: Any) -> None:
    bucket.put_object("x", b"first", headers=dict(FORBID))

    assert code_of(lambda: bucket.put_object("x", b"second", headers=dict(FORBID))) == (409, "FileAlreadyExists")
    assert bucket.get_object("x").read() == b"first"


@pytest.mark.parametrize("size", [10, 300_000])  # in the database, and in a file written by a thread
def test_of_puts_that_start_together_exactly_one_wins(cloud: Cloud, bucket: Any, size: int) -> None:
    rounds, racers = 5, 8
    together = threading.Barrier(racers)

    def put(racer: int) -> list[bool]:
        mine, won = cloud.bucket(bucket.bucket_name), []
        for number in range(rounds):
            together.wait()
            try:
                mine.put_object(f"k{number}", bytes([racer]) * size, headers=dict(FORBID))
                won.append(True)
            except oss2.exceptions.ServerError as refused:
                assert refused.code == "FileAlreadyExists"  # noqa: PT017 - any other refusal fails the test
                won.append(False)
        return won

    with ThreadPoolExecutor(racers) as pool:
        outcomes = list(pool.map(put, range(racers)))

    for number in range(rounds):
        winners = [racer for racer in range(racers) if outcomes[racer][number]]
        assert len(winners) == 1
        assert bucket.get_object(f"k{number}").read() == bytes(winners) * size
    assert len(cloud.events(bucket.bucket_name)) == rounds


# Listing


def test_paging_equals_the_sorted_set(bucket: Any) -> None:
    rng = random.Random(20250610)  # noqa: S311 - a seed to replay
    alphabet = ["a", "b", "/", "é", "\U0001f4b0", "￿", "0"]
    keys = {"x" + "".join(rng.choices(alphabet, k=rng.randint(0, 6))) for _ in range(150)}
    for key in keys:
        bucket.put_object(key, b"")

    for _ in range(25):
        prefix = rng.choice(["", "x", "x/", "xa", "x" + rng.choice(alphabet)])
        delimiter = rng.choice(["", "/", "a", "a/"])
        after = rng.choice(["", *sorted(keys)]) if not delimiter else ""
        size = rng.choice([1, 2, 7, 1000])
        expected = expected_listing(keys, prefix, delimiter, after)
        found = listing(bucket, prefix, delimiter, after, size)
        assert found == expected, (prefix, delimiter, after, size)


def expected_listing(keys: set[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """What a listing shows, written the slow and obvious way."""
    shown = set()
    for key in keys:
        if key.startswith(prefix) and key.encode() > after.encode():
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            shown.add(prefix + head + found if found else key)
    return sorted(shown, key=str.encode)


def listing(bucket: Any, prefix: str, delimiter: str, after: str, size: int) -> list[str]:
    shown: list[str] = []
    token = ""
    while True:
        page = bucket.list_objects_v2(prefix, delimiter, token, after, max_keys=size)
        names = [found.key for found in page.object_list] + page.prefix_list
        assert 0 < len(names) <= size or not page.is_truncated
        shown += sorted(names, key=str.encode)
        if not page.is_truncated:
            return shown
        token = page.next_continuation_token


def test_a_listing_jumps_over_what_is_under_a_prefix(bucket: Any) -> None:
    for key in ["a/1", "a/2", "a/3", "b", "c/1"]:
        bucket.put_object(key, b"1")

    page = bucket.list_objects_v2(delimiter="/", start_after="a/")
    assert (page.prefix_list, [found.key for found in page.object_list]) == (["c/"], ["b"])
    assert bucket.list_objects_v2(delimiter="/", start_after="a/1").prefix_list == ["a/", "c/"]
    marked = [found.key for found in oss2.ObjectIterator(bucket, delimiter="/", max_keys=1)]
    assert marked == ["a/", "b", "c/"]
    owners = {found.owner.id for found in bucket.list_objects_v2(fetch_owner=True).object_list}
    assert owners == {"1000000000000001"}


def test_a_wrong_listing_is_refused(bucket: Any) -> None:
    assert code_of(lambda: bucket.list_objects_v2(max_keys=1001)) == (400, "InvalidArgument")
    assert code_of(lambda: bucket.list_objects_v2(max_keys=0)) == (400, "InvalidArgument")
    assert code_of(lambda: bucket.list_objects_v2(continuation_token="?")) == (400, "InvalidArgument")


# Multipart


def upload_parts(bucket: Any, key: str, upload: str, bodies: dict[int, bytes]) -> list[PartInfo]:
    parts = []
    for number, body in bodies.items():
        put = bucket.upload_part(key, upload, number, body)
        parts.append(PartInfo(number, put.etag, size=len(body), part_crc=put.crc))
    return sorted(parts, key=lambda part: part.part_number)


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


# Buckets


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


# Retention


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


# Lifecycle


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


# Events


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


# Signatures


def sign_by_hand(
    keys: common.Keys,
    method: str,
    bucket: str,
    key: str | bytes,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """The signed query of a request that the SDK would not let out, by the SDK's own algorithm."""
    signer = oss2.AuthV4(keys.access_key_id, keys.access_key_secret)
    request = SimpleNamespace(
        method=method,
        headers=oss2.CaseInsensitiveDict(headers or {}),
        params=dict(params or {}),
        region=keys.region,
        product="oss",
        cloudbox_id=None,
        url="",
    )
    if isinstance(key, bytes):
        with mock.patch.object(
            signer, "_ProviderAuthV4__get_canonical_uri", lambda b, k: f"/{b}/" + quote(k, safe="/~")
        ):
            return str(signer._sign_url(request, bucket, key, 60)).lstrip("?")
    return str(signer._sign_url(request, bucket, key, 60)).lstrip("?")


def changed(url: str, **params: str) -> str:
    """The link with some parameters replaced or added."""
    base, _, query = url.partition("?")
    values = dict(parse_qsl(query, keep_blank_values=True)) | {k.replace("_", "-"): v for k, v in params.items()}
    return f"{base}?{urlencode(values, quote_via=quote)}"


@pytest.fixture
def link(bucket: Any) -> str:
    bucket.put_object("x", b"1")
    bucket.put_object("y", b"2")
    params = {"response-content-disposition": "attachment; filename=a.csv"}
    return str(bucket.sign_url("GET", "x", 60, params=params, slash_safe=True))


def test_a_link_opens_what_it_was_signed_for_and_nothing_else(cloud: Cloud, link: str) -> None:
    assert cloud.raw("GET", changed(link)).status == 200
    last = link[-1]
    wrong = {
        "other method": cloud.raw("HEAD", link).status,
        "other key": code_in(cloud.raw("GET", link.replace("/x?", "/y?"))),
        "longer": code_in(cloud.raw("GET", changed(link, x_oss_expires="3600"))),
        "later": code_in(cloud.raw("GET", changed(link, x_oss_date=f"{datetime.now(UTC):%Y%m%dT%H%M}59Z"))),
        "other name": code_in(cloud.raw("GET", changed(link, response_content_disposition="inline"))),
        "one more parameter": code_in(cloud.raw("GET", changed(link, response_content_type="text/html"))),
        "one character": code_in(cloud.raw("GET", link[:-1] + ("0" if last != "0" else "1"))),
        "one more header": code_in(cloud.raw("GET", link, headers={"x-oss-range-behavior": "standard"})),
    }
    refused = (403, "SignatureDoesNotMatch")
    assert wrong == {name: 403 if name == "other method" else refused for name in wrong}
    assert code_in(cloud.raw("PUT", link, b"evil")) == refused
    assert cloud.raw("DELETE", link).status == 403
    assert cloud.bucket(link.split("/")[3]).get_object("x").read() == b"1"


def test_a_header_that_was_signed_must_come(cloud: Cloud, bucket: Any) -> None:
    url = bucket.sign_url(
        "PUT", "x", 60, headers={"Content-Type": "text/csv", "Host": "h"}, additional_headers=["host"]
    )

    assert cloud.raw("PUT", url, b"1", {"Content-Type": "text/csv", "Host": "h"}).status == 200
    other = cloud.raw("PUT", url, b"1", {"Content-Type": "text/html", "Host": "h"})
    assert code_in(other) == (403, "SignatureDoesNotMatch")
    assert code_in(cloud.raw("PUT", url, b"1", {"Content-Type": "text/csv", "Host": "i"}))[0] == 403


@contextmanager
def signing_at(instant: datetime) -> Iterator[None]:
    """The SDK signs as if it were then; the service has the system's time."""
    with mock.patch("oss2.auth.datetime", SimpleNamespace(utcnow=lambda: instant)):
        yield


def test_a_link_has_its_time(cloud: Cloud, bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")  # under a business clock that stands in 2025: signatures do not care
    now = datetime.now(UTC)

    def link_of(signed: datetime, expires: int) -> tuple[int, str]:
        with signing_at(signed):
            url = bucket.sign_url("GET", "x", expires)
        return code_in(cloud.raw("GET", url))

    assert link_of(now, 604_800) == (200, "")
    assert link_of(now - timedelta(days=6), 604_800) == (200, "")
    assert link_of(now + timedelta(minutes=14), 60) == (200, "")
    assert link_of(now - timedelta(seconds=61), 60) == (403, "AccessDenied")
    assert link_of(now + timedelta(minutes=16), 3600) == (403, "AccessDenied")
    assert link_of(now, 8 * 86_400) == (400, "InvalidArgument")
    assert link_of(now, 0) == (400, "InvalidArgument")
    assert link_of(now, -5) == (400, "InvalidArgument")
    with signing_at(now - timedelta(seconds=61)):
        expired = cloud.raw("GET", bucket.sign_url("GET", "x", 60)).body
    assert b"Request has expired." in expired
    assert b"0002-00000232" in cloud.raw("GET", bucket.sign_url("GET", "x", 604_801)).body


def test_a_call_signed_at_another_time_is_refused(bucket: Any) -> None:
    for minutes, fine in ((-14, True), (14, True), (-16, False), (16, False)):
        with signing_at(datetime.now(UTC) + timedelta(minutes=minutes)):
            if fine:
                bucket.put_object("x", b"1")
            else:
                assert code_of(lambda: bucket.put_object("x", b"2")) == (403, "RequestTimeTooSkewed")


def test_only_the_holder_of_the_key_is_served(cloud: Cloud, bucket: Any) -> None:
    name = bucket.bucket_name
    bucket.put_object("x", b"1")
    wrong_secret = cloud.bucket(name, secret="wrong")
    assert code_of(lambda: wrong_secret.get_object("x")) == (403, "SignatureDoesNotMatch")
    assert code_of(lambda: cloud.bucket(name, ak="LTAIother").get_object("x")) == (403, "InvalidAccessKeyId")
    assert code_of(lambda: cloud.bucket(name, region="cn-beijing").get_object("x")) == (400, "InvalidArgument")
    anonymous = oss2.Bucket(oss2.AnonymousAuth(), bucket.endpoint, name, is_path_style=True)
    assert code_of(lambda: anonymous.get_object("x")) == (403, "AccessDenied")
    assert code_of(lambda: anonymous.put_object("x", b"2")) == (403, "AccessDenied")
    assert code_of(lambda: anonymous.list_objects_v2()) == (403, "AccessDenied")
    assert bucket.get_object("x").read() == b"1"


def test_older_signatures_are_said_not_to_be_here(cloud: Cloud, bucket: Any) -> None:
    keys = cloud.keys
    for auth in (oss2.Auth, oss2.AuthV2):
        old = oss2.Bucket(
            auth(keys.access_key_id, keys.access_key_secret), bucket.endpoint, bucket.bucket_name, is_path_style=True
        )
        assert code_of(partial(old.put_object, "x", b"")) == (501, "NotImplemented")
        assert code_in(cloud.raw("GET", old.sign_url("GET", "x", 60))) == (501, "NotImplemented")
    token = oss2.StsAuth(keys.access_key_id, keys.access_key_secret, "token", auth_version="v4")
    sts = oss2.Bucket(token, bucket.endpoint, bucket.bucket_name, region=keys.region, is_path_style=True)
    assert code_of(lambda: sts.put_object("x", b"")) == (501, "NotImplemented")


@pytest.mark.parametrize(
    "authorization",
    [
        "OSS4-HMAC-SHA256",
        "OSS4-HMAC-SHA256 Signature=1",
        "OSS4-HMAC-SHA256 Credential=a/b,Signature=1",
        "OSS4-HMAC-SHA256 Credential=/////,Signature=",
        "OSS4-HMAC-SHA256 Credential=é/1/2/3/4,Signature=é",
        ",,,=",
    ],
)
def test_a_garbled_signature_is_a_refusal_not_a_crash(cloud: Cloud, authorization: str) -> None:
    headers = {"Authorization": authorization, "x-oss-content-sha256": "UNSIGNED-PAYLOAD"}

    assert cloud.raw("GET", "/abc/x", headers=headers).status in {400, 403, 501}


@pytest.mark.parametrize("host", ["oss.localhost", "oss-cn-hangzhou.localhost"])
def test_a_bucket_can_be_in_the_host_name(cloud: Cloud, bucket: Any, host: str) -> None:
    bucket.put_object("a/b", b"1")
    endpoint = f"http://{host}:{cloud.service.port}"
    hosted = oss2.Bucket(bucket.auth, endpoint, bucket.bucket_name, region=cloud.keys.region)
    url = urlsplit(hosted.sign_url("GET", "a/b", 60))
    assert url.hostname == f"{bucket.bucket_name}.{host}"
    target = f"{url.path}?{url.query}"

    answer = cloud.raw("GET", target, headers={"Host": url.netloc})

    assert (answer.status, answer.body) == (200, b"1")
    short = cloud.raw("GET", target, headers={"Host": f"{bucket.bucket_name}.localhost"})
    assert (short.status, short.body) == (200, b"1")
    assert code_in(cloud.raw("GET", target, headers={"Host": "other.localhost"})) == (403, "SignatureDoesNotMatch")


# Staying alive


def test_what_was_stored_outlives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as before:
        bucket = before.new_bucket("kept")
        bucket.put_object("small", b"1", headers={"x-oss-meta-a": "b"})
        bucket.put_object("large", b"2" * 2_000_000)
        worm = bucket.init_bucket_worm(5).worm_id
        upload = bucket.init_multipart_upload("joined").upload_id
        parts = upload_parts(bucket, "joined", upload, {1: b"3"})
        (tmp_path / "oss" / "objects" / "incoming-1").write_bytes(b"left by a killed process")

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        assert bucket.get_object("small").headers["x-oss-meta-a"] == "b"
        assert bucket.get_object("large").read() == b"2" * 2_000_000
        assert bucket.get_bucket_worm().worm_id == worm
        bucket.complete_multipart_upload("joined", upload, parts)
        assert bucket.get_object("joined").read() == b"3"
        assert len(list((tmp_path / "oss" / "objects").iterdir())) == 2  # large and joined, no orphan


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    sizes = (100, 90_000, 1_500_000)
    with running(tmp_path) as victim:
        victim.new_bucket("kept")
        acknowledged: dict[str, int] = {}
        enough = threading.Event()

        def write(writer: int) -> None:
            mine = victim.bucket("kept")
            for number in range(10_000):
                key, size = f"{writer}/{number}", sizes[(writer + number) % 3]
                try:
                    mine.put_object(key, key.encode()[:1] * size)
                except (oss2.exceptions.RequestError, oss2.exceptions.ServerError):
                    return
                acknowledged[key] = size
                if len(acknowledged) >= 60:
                    enough.set()

        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write, writer) for writer in range(3)]
            assert enough.wait(15)
            os.kill(victim.service.process.pid, signal.SIGKILL)
            for writer in writers:
                writer.result()

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        found = {entry.key: entry.size for entry in oss2.ObjectIteratorV2(bucket, max_keys=1000)}
        assert acknowledged.items() <= found.items()
        for key, size in found.items():
            assert bucket.get_object(key).read() == key.encode()[:1] * size
        assert sorted(key for _, key, _ in after.events("kept")) == sorted(found)
        stored = sum(1 for size in found.values() if size > 64 << 10)
        assert len(list((tmp_path / "oss" / "objects").iterdir())) == stored


def test_one_folder_has_one_service(cloud: Cloud) -> None:
    with pytest.raises(common.LocalCloudError, match="another local OSS already serves"):
        common.start("oss", cloud.home)


def test_an_upload_that_breaks_off_leaves_nothing(cloud: Cloud, bucket: Any) -> None:
    objects = cloud.home / "oss" / "objects"
    before = set(objects.iterdir())
    url = urlsplit(bucket.sign_url("PUT", "x", 60))
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str(8 << 20))
    connection.endheaders()
    connection.send(b"x" * (2 << 20))
    wait_until(lambda: set(objects.iterdir()) != before)
    connection.close()

    wait_until(lambda: set(objects.iterdir()) == before)
    assert not bucket.object_exists("x")


def wait_until(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_large_object_is_not_held_in_memory(cloud: Cloud, bucket: Any) -> None:
    def peak_mib() -> int:
        status = Path(f"/proc/{cloud.service.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) >> 10

    before = peak_mib()
    size = 48 << 20
    bucket.put_object("x", io.BytesIO(b"x" * size))
    got, read = bucket.get_object("x"), 0
    while piece := got.read(1 << 20):
        read += len(piece)

    assert read == size
    assert peak_mib() - before < 24


def test_a_body_above_the_limit_is_refused_at_once(cloud: Cloud, bucket: Any) -> None:
    url = urlsplit(bucket.sign_url("PUT", "x", 60))
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str((5 << 30) + 1))
    connection.endheaders()

    response = connection.getresponse()

    assert (response.status, b"EntityTooLarge" in response.read()) == (400, True)
    connection.close()


# Parts


def test_the_checksum_is_crc_64_ecma_with_and_without_the_extension() -> None:
    data = b"123456789"

    assert checksum.update(data, 0) == checksum._table_driven()(data, 0) == 0x995DC9BBDF1939FA
    assert checksum._table_driven()(data[4:], checksum.update(data[:4], 0)) == 0x995DC9BBDF1939FA


def test_the_service_imports_nothing_of_what_it_is_to_test() -> None:
    folder = Path(checksum.__file__).parent
    found = subprocess.run(
        ["grep", "-rnE", r"^\s*(from|import) (oss2|shared|functions|infra\.clearbook)", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
