"""Who the local OSS serves: signatures in header and URL, made by the genuine oss2 SDK and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import oss2
import pytest

from infra.localcloud import common
from tests.contract.oss_cloud import (
    Cloud,
    code_in,
    code_of,
)


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


def test_older_signatures_are_said_not_to_be_here_and_a_foreign_token_is_refused(cloud: Cloud, bucket: Any) -> None:
    keys = cloud.keys
    for auth in (oss2.Auth, oss2.AuthV2):
        old = oss2.Bucket(
            auth(keys.access_key_id, keys.access_key_secret), bucket.endpoint, bucket.bucket_name, is_path_style=True
        )
        assert code_of(partial(old.put_object, "x", b"")) == (501, "NotImplemented")
        assert code_in(cloud.raw("GET", old.sign_url("GET", "x", 60))) == (501, "NotImplemented")
    token = oss2.StsAuth(keys.access_key_id, keys.access_key_secret, "token", auth_version="v4")
    sts = oss2.Bucket(token, bucket.endpoint, bucket.bucket_name, region=keys.region, is_path_style=True)
    assert code_of(lambda: sts.put_object("x", b"")) == (403, "InvalidSecurityToken")


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
