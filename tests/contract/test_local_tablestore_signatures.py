"""Who may call the local Tablestore: both request signatures, the date, the body's digest."""

from __future__ import annotations

import http.client
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tablestore.auth import RequestContext
from tablestore.encoder import NativeEncodedBytes

from infra.localcloud.tablestore.messages import pb
from tests.contract.tablestore_cloud import (
    Cloud,
    invalid,
    refused,
)


def send(
    ots: Cloud, client: Any, api: str, *arguments: Any, path: str = "", **changed: str | None
) -> tuple[int, str, str]:
    """Send a request as the SDK signed it, with some headers changed afterwards; status, code and text."""
    context = RequestContext(client.credentials_provider.get_credentials())
    query, headers, body = client.protocol.make_request(api, client._signer, context, *arguments)
    for name, value in changed.items():
        header = f"x-ots-{name}"
        if value is None:
            del headers[header]
        else:
            headers[header] = value
    connection = http.client.HTTPConnection("127.0.0.1", ots.service.port, timeout=10)
    connection.request("POST", path or query, body, headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.headers["x-ots-requestid"]
    connection.close()
    error = pb.Error.FromString(answer) if response.status != 200 else pb.Error(code="", message="")
    return response.status, error.code, error.message


@pytest.mark.parametrize("v4", [True, False], ids=["v4", "v2"])
def test_a_request_is_as_it_was_signed_or_refused(ots: Cloud, v4: bool) -> None:
    client, signature = ots.client(v4=v4), "signaturev4" if v4 else "signature"
    unsigned: dict[str, Any] = {signature: None}
    mismatch = (403, "OTSAuthFailed", "Signature mismatch.")

    assert send(ots, client, "ListTable")[0] == 200
    assert send(ots, client, "ListTable", **{signature: "A" * 27 + "="}) == mismatch
    assert send(ots, client, "ListTable", extra="header") == mismatch
    assert send(ots, client, "ListTable", path="/DeleteTable") == mismatch
    assert send(ots, client, "ListTable", **unsigned) == (
        400,
        "OTSParameterInvalid",
        "Missing header: 'x-ots-signature'.",
    )
    assert send(ots, client, "ListTable", date=None) == (400, "OTSParameterInvalid", "Missing header: 'x-ots-date'.")
    with refused(403, "OTSAuthFailed", "Signature mismatch."):
        ots.client(v4=v4, secret="wrong").list_table()
    with refused(403, "OTSAuthFailed", "The AccessKeyID does not exist."):
        ots.client(v4=v4, access_key_id="LTAIstranger").list_table()
    with refused(403, "OTSAuthFailed", "The instance is not found."):
        ots.client(v4=v4, instance="elsewhere").list_table()


def test_a_v4_signature_holds_for_its_region_and_day(ots: Cloud) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y%m%d")
    stale = ots.client()
    stale._signer.sign_date, stale._signer.auto_update_v4_sign = yesterday, False
    for client in (stale, ots.client(region="cn-beijing")):
        with refused(403, "OTSAuthFailed", "Signature mismatch."):
            client.list_table()


def test_a_body_must_have_its_md5(ots: Cloud) -> None:
    client = ots.client()
    client.protocol.extra_headers = {"x-ots-contentmd5": "1B2M2Y8AsgTpgAmY7PhCfg=="}  # of nothing; signed as such
    with refused(403, "OTSAuthFailed", "Mismatch between MD5 value of request body and x-ots-contentmd5 in header."):
        client.describe_table("t")


@pytest.mark.parametrize(("minutes", "accepted"), [(-16, False), (-14, True), (14, True), (16, False)])
def test_the_date_may_be_15_minutes_off(ots: Cloud, minutes: int, accepted: bool) -> None:
    client = ots.client()
    date = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    client.protocol.extra_headers = {"x-ots-date": date}
    if accepted:
        client.list_table()
    else:
        with refused(403, "OTSAuthFailed", f"Mismatch between system time and x-ots-date: {date}."):
            client.list_table()
    client.protocol.extra_headers = {"x-ots-date": "yesterday"}
    with invalid("Invalid date format: yesterday."):
        client.list_table()


def test_only_post_is_served(ots: Cloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ots.service.port, timeout=10)
    connection.request("GET", "/ListTable")
    response = connection.getresponse()
    error = pb.Error.FromString(response.read())

    assert (response.status, error.code) == (405, "OTSMethodNotAllowed")
    assert response.headers["x-ots-requestid"]


def test_a_body_that_is_not_the_message_is_refused(ots: Cloud, table: str) -> None:
    client = ots.client()
    for message, text in [
        (b"", "Cannot deserialize the request data."),
        (pb.DescribeTableRequest(table_name=table).SerializeToString(), "Cannot deserialize the request data."),
        (b"\xff\xff", "Parse PBMessage from RawString failed."),
    ]:
        client.protocol.encoder.encode_request = lambda *_, body=message: NativeEncodedBytes(body)
        with invalid(text):
            client._request_helper("PutRow")
