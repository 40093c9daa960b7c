"""Listings of the local OSS, by the genuine oss2 SDK."""

from __future__ import annotations

import html
import random
import re
from typing import Any
from urllib.parse import quote

import oss2

from infra.localcloud import common
from tests.contract.oss_cloud import JUNE, Cloud, code_in, code_of, sign_by_hand, upload_parts

PAGES_MAX = 200  # above what any of these listings has, so that one that runs in circles fails


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
    for _ in range(PAGES_MAX):
        page = bucket.list_objects_v2(prefix, delimiter, token, after, max_keys=size)
        names = [found.key for found in page.object_list] + page.prefix_list
        assert 0 < len(names) <= size or not page.is_truncated
        shown += sorted(names, key=str.encode)
        if not page.is_truncated:
            return shown
        token = page.next_continuation_token
    raise AssertionError(f"the listing does not end: {shown[-3:]}")


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


def test_the_first_version_pages_by_keys(bucket: Any) -> None:
    rng = random.Random(6)  # noqa: S311 - a seed to replay
    alphabet = ["a", "/", "é", "\U0001f4b0", "\x01", "+", "%"]
    keys = {"x" + "".join(rng.choices(alphabet, k=rng.randint(0, 5))) for _ in range(60)}
    for key in keys:
        bucket.put_object(key, b"")

    for delimiter in ("", "/", "a"):
        for size in (1, 3, 1000):
            shown, marker = [], ""
            for _ in range(PAGES_MAX):
                page = bucket.list_objects("x", delimiter, marker, size)  # the SDK asks for URL encoding
                shown += sorted([found.key for found in page.object_list] + page.prefix_list, key=str.encode)
                marker = page.next_marker
                if not page.is_truncated:
                    break
            assert shown == expected_listing(keys, "x", delimiter, ""), (delimiter, size)


def test_an_answer_shows_keys_encoded_only_when_asked(cloud: Cloud, bucket: Any) -> None:
    bucket.put_object("a b/é+%.csv", b"1")
    upload = bucket.init_multipart_upload("a b/é+%.csv").upload_id
    encoded, plain = "a%20b%2F%C3%A9%2B%25.csv", "a b/é+%.csv"
    queries: list[tuple[str, dict[str, str]]] = [
        ("", {"prefix": "a b/", "delimiter": "é"}),
        ("", {"list-type": "2", "prefix": "a b/", "start-after": "a b"}),
        ("", {"uploads": "", "prefix": "a b/", "key-marker": "a b"}),
        (plain, {"uploadId": upload}),
    ]
    for key, params in queries:
        for encoding in ({}, {"encoding-type": "url"}):
            asked = {**params, **encoding}
            query = sign_by_hand(cloud.keys, "GET", bucket.bucket_name, key, asked)
            answer = cloud.raw("GET", f"/{bucket.bucket_name}/{quote(key)}?{query}")
            text = answer.body.decode()
            assert answer.status == 200
            assert ("<EncodingType>url</EncodingType>" in text) is bool(encoding), asked
            values = [html.unescape(value) for value in re.findall(r"<(?:Key|Prefix)>(.+?)</", text)]
            assert values
            assert all((encoded if encoding else plain).startswith(value) for value in values), (asked, values)
    query = sign_by_hand(cloud.keys, "GET", bucket.bucket_name, "", {"encoding-type": "base64"})
    assert code_in(cloud.raw("GET", f"/{bucket.bucket_name}/?{query}")) == (400, "InvalidArgument")


def test_an_object_named_as_the_prefix_does_not_end_the_listing(bucket: Any) -> None:
    for key in ("dir/", "dir/a", "dir/b/1", "dir/b/2", "other"):
        bucket.put_object(key, b"")

    expected = ["dir/", "dir/a", "dir/b/"]
    assert [found.key for found in oss2.ObjectIterator(bucket, "dir/", "/", max_keys=1)] == expected
    assert [found.key for found in oss2.ObjectIteratorV2(bucket, "dir/", "/", max_keys=1)] == expected
    page = bucket.list_objects_v2("dir/", "/", start_after="dir/")
    assert ([found.key for found in page.object_list], page.prefix_list) == (["dir/a"], ["dir/b/"])


def test_paging_through_uploads_equals_the_sorted_set(bucket: Any) -> None:
    rng = random.Random(8)  # noqa: S311 - a seed to replay
    alphabet = ["a", "b", "/", "é", "\U0001f4b0"]
    keys = ["x" + "".join(rng.choices(alphabet, k=rng.randint(0, 3))) for _ in range(50)]  # some more than once
    started = sorted(((key, bucket.init_multipart_upload(key).upload_id) for key in keys), key=by_bytes)

    for prefix in ("", "x", "xa", "x/", "y"):
        for delimiter in ("", "/", "a"):
            for size in (1, 4, 1000):
                expected = expected_uploads(started, prefix, delimiter)
                assert listed_uploads(bucket, prefix, delimiter, size) == expected, (prefix, delimiter, size)


def by_bytes(upload: tuple[str, str]) -> tuple[bytes, str]:
    return upload[0].encode(), upload[1]


def expected_uploads(started: list[tuple[str, str]], prefix: str, delimiter: str) -> list[tuple[str, str]]:
    """The uploads, and the common prefixes with no id, written the slow and obvious way."""
    shown = set()
    for key, upload in started:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            shown.add((prefix + head + found, "") if found else (key, upload))
    return sorted(shown, key=by_bytes)


def listed_uploads(bucket: Any, prefix: str, delimiter: str, size: int) -> list[tuple[str, str]]:
    shown: list[tuple[str, str]] = []
    key_marker = id_marker = ""
    for _ in range(PAGES_MAX):
        page = bucket.list_multipart_uploads(prefix, delimiter, key_marker, id_marker, size)
        names = [(found.key, found.upload_id) for found in page.upload_list] + [(name, "") for name in page.prefix_list]
        assert 0 < len(names) <= size or not page.is_truncated
        shown += sorted(names, key=by_bytes)
        if not page.is_truncated:
            return shown
        key_marker, id_marker = page.next_key_marker, page.next_upload_id_marker
    raise AssertionError(f"the listing does not end: {shown[-3:]}")


def test_the_markers_of_uploads_mean_what_the_document_says(bucket: Any, clock: common.Clock) -> None:
    ids = sorted(bucket.init_multipart_upload("b").upload_id for _ in range(3))
    last = bucket.init_multipart_upload("c").upload_id

    def listed(**markers: str) -> list[str]:
        return [found.upload_id for found in bucket.list_multipart_uploads(**markers).upload_list]

    assert listed() == [*ids, last]
    assert listed(key_marker="b") == [last]
    assert listed(key_marker="b", upload_id_marker=ids[0]) == [ids[1], ids[2], last]
    assert listed(key_marker="a", upload_id_marker=ids[2]) == [*ids, last]
    assert listed(upload_id_marker=ids[2]) == [*ids, last]  # ignored without a key
    found = bucket.list_multipart_uploads().upload_list[0]
    assert (found.key, found.initiation_date) == ("b", int(JUNE.timestamp()))


def test_finished_and_aborted_uploads_are_not_listed(bucket: Any) -> None:
    done, gone, left = (bucket.init_multipart_upload("x").upload_id for _ in range(3))
    bucket.complete_multipart_upload("x", done, upload_parts(bucket, "x", done, {1: b"1"}))
    bucket.abort_multipart_upload("x", gone)

    assert [found.upload_id for found in oss2.MultipartUploadIterator(bucket)] == [left]
    assert [found.upload_id for found in oss2.ObjectUploadIterator(bucket, "x")] == [left]
    assert code_of(lambda: bucket.list_multipart_uploads(max_uploads=1001)) == (400, "InvalidArgument")
    assert code_of(lambda: bucket.list_multipart_uploads(max_uploads=0)) == (400, "InvalidArgument")


def test_parts_are_paged_by_their_numbers(bucket: Any) -> None:
    upload = bucket.init_multipart_upload("x").upload_id
    numbers = [1, 2, 5, 9, 10_000]
    upload_parts(bucket, "x", upload, dict.fromkeys(numbers, b"1"))

    for size in (1, 2, 5, 1000):
        found = [part.part_number for part in oss2.PartIterator(bucket, "x", upload, max_parts=size)]
        assert found == numbers, size
    for wrong in ({"max_parts": 1001}, {"max_parts": 0}, {"marker": "x"}):
        assert code_of(lambda wrong=wrong: bucket.list_parts("x", upload, **wrong)) == (400, "InvalidArgument")  # type: ignore[misc]
    assert code_of(lambda: bucket.list_parts("y", upload)) == (404, "NoSuchUpload")
