"""AppendObject of the local OSS, by the genuine oss2 SDK."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import oss2
import pytest

from infra.localcloud import common
from tests.contract.oss_cloud import JUNE, Cloud, code_in, code_of, running, sign_by_hand


def test_an_object_grows_at_its_end(cloud: Cloud, bucket: Any) -> None:
    first = bucket.append_object("log", 0, b"one\n", headers={"Content-Type": "text/plain", "x-oss-meta-a": "1"})
    second = bucket.append_object("log", first.next_position, b"two\n", init_crc=first.crc)  # the SDK compares CRC-64

    assert (first.next_position, second.next_position) == (4, 8)
    got = bucket.get_object("log")
    assert got.read() == b"one\ntwo\n"
    assert (got.headers["Content-Type"], got.headers["x-oss-meta-a"]) == ("text/plain", "1")
    head = bucket.head_object("log").headers
    assert (head["x-oss-object-type"], head["x-oss-next-append-position"]) == ("Appendable", "8")
    assert first.etag != second.etag == got.etag
    (listed,) = bucket.list_objects_v2().object_list
    assert (listed.type, listed.size, listed.etag) == ("Appendable", 8, second.etag)
    sizes = [
        (event["oss"]["object"]["size"], event["oss"]["object"]["deltaSize"]) for *_, event in events(cloud, bucket)
    ]
    assert sizes == [(4, 4), (8, 4)]


def events(cloud: Cloud, bucket: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """The appends the bucket recorded."""
    return [event for event in cloud.events(bucket.bucket_name) if event[0] == "ObjectCreated:AppendObject"]


def test_every_size_is_appended_whole(bucket: Any) -> None:
    rng = random.Random(7)  # noqa: S311 - test data
    whole, crc = b"", 0
    for size in (0, 1, 64 << 10, 1 << 20, 1_500_000, 0, 5):  # in the database, then in files
        piece = rng.randbytes(size)
        result = bucket.append_object("log", len(whole), piece, init_crc=crc)
        whole, crc = whole + piece, result.crc

    assert bucket.get_object("log").read() == whole
    assert bucket.get_object("log", byte_range=(100, 70_000)).read() == whole[100:70_001]


def test_a_position_elsewhere_says_where_the_end_is(cloud: Cloud, bucket: Any) -> None:
    bucket.append_object("log", 0, b"12345")

    for position in (0, 4, 6):
        with pytest.raises(oss2.exceptions.PositionNotEqualToLength) as caught:
            bucket.append_object("log", position, b"x")
        assert (caught.value.status, caught.value.next_position) == (409, 5)
        assert caught.value.details["EC"] == "0026-00000016"
    with pytest.raises(oss2.exceptions.PositionNotEqualToLength) as caught:
        bucket.append_object("new", 1, b"x")
    assert caught.value.next_position == 0
    assert not bucket.object_exists("new")
    assert bucket.get_object("log").read() == b"12345"
    assert len(events(cloud, bucket)) == 1


def test_only_what_an_append_began_can_be_continued(bucket: Any) -> None:
    bucket.put_object("x", b"")

    with pytest.raises(oss2.exceptions.ObjectNotAppendable) as caught:
        bucket.append_object("x", 0, b"1")

    assert caught.value.details["EC"] == "0026-00000017"
    bucket.delete_object("x")
    bucket.append_object("x", 0, b"1")
    bucket.put_object("x", b"2")  # replaces it by a normal object
    assert bucket.head_object("x").object_type == "Normal"
    assert code_of(lambda: bucket.append_object("x", 1, b"3")) == (409, "ObjectNotAppendable")


@pytest.mark.parametrize(
    ("params", "ec"),
    [({}, b"0016-00000501"), ({"position": "-1"}, b""), ({"position": "x"}, b""), ({"position": ""}, b"")],
)
def test_a_position_that_is_none_is_refused(cloud: Cloud, bucket: Any, params: dict[str, str], ec: bytes) -> None:
    query = sign_by_hand(cloud.keys, "POST", bucket.bucket_name, "log", {"append": "", **params})

    answer = cloud.raw("POST", f"/{bucket.bucket_name}/log?{query}", b"1")

    assert code_in(answer) == (400, "InvalidArgument")
    assert ec in answer.body
    assert not bucket.object_exists("log")


def test_user_headers_are_given_by_the_first_append_alone(bucket: Any) -> None:
    bucket.append_object("log", 0, b"1", headers={"x-oss-meta-a": "1"})

    again = code_of(lambda: bucket.append_object("log", 1, b"2", headers={"x-oss-meta-a": "2"}))

    assert again == (400, "InvalidArgument")
    bucket.append_object("log", 1, b"2", headers={"Content-Type": "text/html"})
    assert bucket.head_object("log").headers["Content-Type"] != "text/html"
    assert bucket.head_object("log").headers["x-oss-meta-a"] == "1"


def test_a_piece_is_checked_by_its_md5(bucket: Any) -> None:
    wrong = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}  # that of nothing

    assert code_of(lambda: bucket.append_object("log", 0, b"1", headers=wrong)) == (400, "InvalidDigest")
    assert not bucket.object_exists("log")


@pytest.mark.parametrize("size", [1, 300_000])
def test_of_appends_to_one_position_exactly_one_succeeds(cloud: Cloud, bucket: Any, size: int) -> None:
    racers, rounds = 4, 4
    together = threading.Barrier(racers)

    def append(racer: int) -> list[int]:
        mine, won = cloud.bucket(bucket.bucket_name), []
        for number in range(rounds):
            together.wait()
            try:
                mine.append_object("log", number * size, bytes([racer]) * size)
                won.append(number)
            except oss2.exceptions.PositionNotEqualToLength:
                pass
            together.wait()
        return won

    with ThreadPoolExecutor(racers) as pool:
        winners = list(pool.map(append, range(racers)))

    assert sorted(number for won in winners for number in won) == list(range(rounds))
    order = [next(racer for racer, won in enumerate(winners) if number in won) for number in range(rounds)]
    assert bucket.get_object("log").read() == b"".join(bytes([racer]) * size for racer in order)
    assert len(events(cloud, bucket)) == rounds


def test_retention_forbids_to_append(bucket: Any, clock: common.Clock) -> None:
    bucket.append_object("log", 0, b"1")
    bucket.complete_bucket_worm(bucket.init_bucket_worm(1).worm_id)

    assert code_of(lambda: bucket.append_object("log", 1, b"2")) == (409, "FileImmutable")
    clock.set(JUNE + timedelta(days=1))
    assert bucket.append_object("log", 1, b"2").next_position == 2


def test_an_appendable_object_outlives_a_restart_and_leaves_no_content_behind(tmp_path: Path) -> None:
    objects = tmp_path / "oss" / "objects"
    with running(tmp_path) as before:
        bucket = before.new_bucket("kept")
        for position in (0, 200_000, 400_000):
            bucket.append_object("log", position, b"1" * 200_000)
        code_of(lambda: bucket.append_object("log", 0, b"1" * 200_000))
        assert len(list(objects.iterdir())) == 1

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        assert bucket.append_object("log", 600_000, b"2").next_position == 600_001
        assert bucket.get_object("log").read() == b"1" * 600_000 + b"2"
