"""Tags of objects in the local OSS, by the genuine oss2 SDK."""

from __future__ import annotations

from typing import Any

import oss2
import pytest
from oss2.models import Tagging, TaggingRule

from infra.localcloud import common
from tests.contract.oss_cloud import Cloud, code_of, upload_parts

ODD = {"a key": "a+b=c", "x.y_z:/-": "", "A": "a", "a": "A"}
HEADER = {"x-oss-tagging": "month=2025-06&kind=statement"}
TAGS = {"month": "2025-06", "kind": "statement"}


def put_tags(bucket: Any, key: str, tags: dict[str, str]) -> None:
    rule = TaggingRule()
    for name, value in tags.items():
        rule.add(name, value)
    bucket.put_object_tagging(key, Tagging(rule))


def tags_of(bucket: Any, key: str) -> dict[str, str]:
    return dict(bucket.get_object_tagging(key).tag_set.tagging_rule)


def test_tags_are_put_read_replaced_and_removed(bucket: Any) -> None:
    bucket.put_object("x", b"1", headers={"x-oss-meta-a": "1"})
    assert tags_of(bucket, "x") == {}
    assert "x-oss-tagging-count" not in bucket.head_object("x").headers

    put_tags(bucket, "x", ODD)
    assert tags_of(bucket, "x") == ODD
    assert bucket.get_object("x").headers["x-oss-tagging-count"] == "4"
    put_tags(bucket, "x", TAGS)
    assert tags_of(bucket, "x") == TAGS
    assert bucket.delete_object_tagging("x").status == 204

    assert tags_of(bucket, "x") == {}
    head = bucket.head_object("x").headers
    assert "x-oss-tagging-count" not in head
    assert "x-oss-tagging" not in head
    assert head["x-oss-meta-a"] == "1"


def test_every_way_to_make_an_object_takes_tags(bucket: Any) -> None:
    bucket.put_object("put", b"1", headers=dict(HEADER))
    bucket.append_object("append", 0, b"1", headers=dict(HEADER))
    bucket.append_object("append", 1, b"2")
    upload = bucket.init_multipart_upload("parts", headers=dict(HEADER)).upload_id
    bucket.complete_multipart_upload("parts", upload, upload_parts(bucket, "parts", upload, {1: b"1"}))

    for key in ("put", "append", "parts"):
        assert tags_of(bucket, key) == TAGS
        assert bucket.head_object(key).headers["x-oss-tagging-count"] == "2"
        assert "x-oss-tagging" not in bucket.get_object(key).headers
    bucket.put_object("put", b"2")
    assert tags_of(bucket, "put") == {}  # an overwritten object starts anew


def test_the_directive_decides_whose_tags_a_copy_has(bucket: Any) -> None:
    bucket.put_object("x", b"1", headers=dict(HEADER))
    given, replace = {"x-oss-tagging": "new=1"}, {"x-oss-tagging-directive": "Replace"}
    name = bucket.bucket_name

    bucket.copy_object(name, "x", "plain")
    bucket.copy_object(name, "x", "copied", headers={**given, "x-oss-metadata-directive": "REPLACE"})
    bucket.copy_object(name, "x", "replaced", headers={**given, **replace})
    bucket.copy_object(name, "x", "none", headers=dict(replace))

    found = {key: tags_of(bucket, key) for key in ("plain", "copied", "replaced", "none")}
    assert found == {"plain": TAGS, "copied": TAGS, "replaced": {"new": "1"}, "none": {}}
    wrong = {"x-oss-tagging-directive": "Move"}
    assert code_of(lambda: bucket.copy_object(name, "x", "y", headers=wrong)) == (400, "InvalidArgument")


def test_a_header_writes_tags_as_a_form_does(bucket: Any) -> None:
    bucket.put_object("x", b"1", headers={"x-oss-tagging": "a%20key=a%2Bb%3Dc&b+c=d&alone"})

    assert tags_of(bucket, "x") == {"a key": "a+b=c", "b c": "d", "alone": ""}


@pytest.mark.parametrize(
    ("header", "ec"),
    [
        ("aa=bb=cc", "0010-00000219"),
        ("=1", "0010-00000208"),
        ("a=1&", "0010-00000208"),
        ("k" * 129 + "=1", "0010-00000212"),
        ("a%26b=1", "0010-00000212"),
        ("Aliyun-a=1", "0010-00000213"),
        ("a=" + "v" * 257, "0010-00000217"),
        ("a=%E8%B4%A6", "0010-00000217"),
        ("a=1&a=2", "0010-00000217"),
        ("&".join(f"k{number}=1" for number in range(11)), "0010-00000217"),
    ],
)
def test_tags_outside_the_rules_are_refused(bucket: Any, header: str, ec: str) -> None:
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        bucket.put_object("x", b"1", headers={"x-oss-tagging": header})

    assert (caught.value.status, caught.value.code, caught.value.details["EC"]) == (400, "InvalidTag", ec)
    assert not bucket.object_exists("x")
    assert code_of(lambda: bucket.init_multipart_upload("x", headers={"x-oss-tagging": header}))[0] == 400


def test_the_largest_tags_are_fine(bucket: Any) -> None:
    largest = {f"{number}" + "k" * 127: "v" * 256 for number in range(10)}
    bucket.put_object("x", b"1")

    put_tags(bucket, "x", largest)

    assert tags_of(bucket, "x") == largest
    with pytest.raises(oss2.exceptions.ServerError):
        put_tags(bucket, "x", {**largest, "one": "more"})
    assert tags_of(bucket, "x") == largest


def test_tags_need_an_object_and_a_document(cloud: Cloud, bucket: Any) -> None:
    bucket.put_object("x", b"1")

    assert code_of(lambda: bucket.get_object_tagging("no")) == (404, "NoSuchKey")
    assert code_of(lambda: put_tags(bucket, "no", TAGS)) == (404, "NoSuchKey")
    assert code_of(lambda: bucket.delete_object_tagging("no")) == (404, "NoSuchKey")
    assert code_of(lambda: cloud.bucket("nowhere").get_object_tagging("x")) == (404, "NoSuchBucket")
    for body in ("<Tagging/>", "<TagSet/>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "a=b"):
        assert code_of(lambda body=body: bucket.put_object_tagging("x", body)) == (400, "MalformedXML")  # type: ignore[misc]


def test_tags_are_no_change_of_the_object(cloud: Cloud, bucket: Any, clock: common.Clock) -> None:
    bucket.put_object("x", b"1")
    before = bucket.head_object("x")
    clock.set(clock.now().replace(year=2026))

    put_tags(bucket, "x", TAGS)

    after = bucket.head_object("x")
    assert (after.last_modified, after.etag) == (before.last_modified, before.etag)
    assert len(cloud.events(bucket.bucket_name)) == 1
