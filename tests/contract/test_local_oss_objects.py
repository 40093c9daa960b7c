"""Objects of the local OSS, by the genuine oss2 SDK: put, get, head, delete."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import oss2
import pytest

from infra.localcloud import common
from tests.contract.oss_cloud import (
    FORBID,
    KEYS,
    Cloud,
    code_in,
    code_of,
    sign_by_hand,
)


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
