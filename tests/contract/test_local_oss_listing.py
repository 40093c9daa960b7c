"""Listings of the local OSS, by the genuine oss2 SDK."""

from __future__ import annotations

import random
from typing import Any

import oss2

from tests.contract.oss_cloud import (
    code_of,
)


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
