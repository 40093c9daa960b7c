"""What the SDKs and services do that nobody expects, each held against the shipped adapters by a test of its name."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oss2
import pytest
import tablestore as ots

from infra.localcloud import common, identity
from infra.localcloud.faults.plan import Fault
from infra.provision.plan import TABLES
from shared.cloud import oss as oss_adapter
from shared.cloud import tablestore as rows_adapter
from shared.cloud.admin import BucketAdmin, TableAdmin
from shared.cloud.bss import BssApi
from shared.cloud.credentials import AccessKey
from shared.cloud.oss import OssStore
from shared.cloud.patience import Deadline, Pace, Patience
from shared.cloud.tablestore import TablestoreRows
from shared.ports import Key, ObjectConflictError, ServiceError
from tests.contract.misbehaving_cloud import Misbehaving, misbehaving

PATIENCE = Patience(total_s=30.0, connect_timeout_s=5.0, read_timeout_s=2.0, sleep=lambda _: None)
ONCE = replace(PATIENCE, total_s=0.0)
REGION = "cn-hangzhou"


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traps")


@pytest.fixture(scope="module")
def key(home: Path) -> AccessKey:
    keys = common.load_keys(home)
    return AccessKey(keys.access_key_id, keys.access_key_secret)


# -- object storage -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oss(home: Path, key: AccessKey) -> Iterator[Misbehaving]:
    with misbehaving("oss", home) as service:
        BucketAdmin(f"http://127.0.0.1:{service.port}", REGION, "traps", key).create()
        yield service


@pytest.fixture
def store(oss: Misbehaving, key: AccessKey) -> OssStore:
    oss.behave()
    return OssStore(f"http://127.0.0.1:{oss.port}", REGION, "traps", lambda: key, PATIENCE)


def raw(oss: Misbehaving, key: AccessKey) -> Any:
    """The SDK itself, to look at what is there."""
    return oss2.Bucket(oss2.AuthV4(key.id, key.secret), f"http://127.0.0.1:{oss.port}", "traps", region=REGION)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An HTTP server that answers as it is told, its host and port, and the headers it was sent, call by call."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append({**{name.lower(): value for name, value in self.headers.items()}, "path": self.path})
            answer(self, len(seen))

        do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, *, length: int | None = None, **headers: str
) -> None:
    """An answer; `length` is announced where it is not that of the body."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()
    if length is not None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


def oss_error(code: str, message: str = "told") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_requests_are_signed_v4_with_the_region_although_v1_is_the_default() -> None:
    with answering(lambda handler, _: send(handler, 200, b"one", x_oss_request_id="1")) as (host, seen):
        temporary = AccessKey("STS.one", "secret", "token-of-one")
        OssStore(f"http://{host}", REGION, "traps", lambda: temporary, ONCE).get("a")

    assert seen[0]["authorization"].startswith("OSS4-HMAC-SHA256 Credential=STS.one/")
    assert f"/{REGION}/oss/aliyun_v4_request" in seen[0]["authorization"]
    assert seen[0]["x-oss-security-token"] == "token-of-one"


def test_a_link_is_signed_v4_and_never_for_more_than_seven_days(store: OssStore) -> None:
    query = parse_qs(urlsplit(store.link("a", 604_800, "a.csv")).query)

    assert query["x-oss-signature-version"] == ["OSS4-HMAC-SHA256"]
    assert query["x-oss-expires"] == ["604800"]
    with pytest.raises(Exception, match="give 1 to 604800 seconds"):
        store.link("a", 604_801, "a.csv")


def test_a_conflict_is_known_by_its_code_because_it_has_no_class(
    oss: Misbehaving, key: AccessKey, store: OssStore
) -> None:
    store.put_once("conflict", b"one")
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        raw(oss, key).put_object("conflict", b"two", headers={"x-oss-forbid-overwrite": "true"})

    assert (type(caught.value), caught.value.code) == (oss2.exceptions.ServerError, "FileAlreadyExists")
    with pytest.raises(ObjectConflictError):
        store.put_once("conflict", b"two")


def test_what_is_made_once_forbids_overwriting_and_carries_its_md5() -> None:
    with answering(lambda handler, _: send(handler, 200, b"")) as (host, seen):
        store = OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), ONCE)
        store.put_once("a", b"one")
        store.put_again("a", b"one")

    assert [one.get("x-oss-forbid-overwrite") for one in seen] == ["true", None]
    assert [one["content-md5"] for one in seen] == [base64.b64encode(hashlib.md5(b"one").digest()).decode()] * 2  # noqa: S324


def test_an_object_written_in_parts_is_compared_by_crc_because_its_etag_is_no_md5(
    oss: Misbehaving, key: AccessKey, store: OssStore
) -> None:
    bucket, body = raw(oss, key), bytes(range(256)) * 800
    upload = bucket.init_multipart_upload("parts").upload_id
    parts = [oss2.models.PartInfo(n + 1, bucket.upload_part("parts", upload, n + 1, body[n * 102_400 :][:102_400]).etag)
             for n in range(2)]  # fmt: skip
    bucket.complete_multipart_upload("parts", upload, parts)

    assert store.put_once("parts", body) is False
    with pytest.raises(ObjectConflictError):
        store.put_once("parts", body[:-1] + b"x")
    with pytest.raises(ObjectConflictError):
        store.put_once("parts", body + b"x")


def test_other_content_met_after_a_lost_answer_is_a_conflict(oss: Misbehaving, store: OssStore) -> None:
    store.put_again("race", b"theirs")
    oss.fail(Fault.LOSE_RESPONSE, "PutObject")
    with pytest.raises(ObjectConflictError):
        store.put_once("race", b"mine")
    oss.behave()

    assert store.get("race") == b"theirs"


def test_a_large_file_whose_answer_was_lost_is_compared_and_not_sent_again(
    oss: Misbehaving, store: OssStore, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 5_000_000)
    oss.fail(Fault.LOSE_RESPONSE, "PutObject")

    assert store.upload_once("large", path) is True
    assert (oss.calls(), oss.attempts()) == (["PutObject", "HeadObject"], 2)


def short_then_whole(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, 200, b"half", length=8) if number == 1 else send(handler, 200, b"half+all")


def test_a_short_body_never_passes_as_whole() -> None:
    with answering(short_then_whole) as (host, _):
        assert (
            OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE).get("a") == b"half+all"
        )
    with answering(lambda handler, _: send(handler, 200, b"half", length=8)) as (host, _):
        store = OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), ONCE)
        with pytest.raises(ServiceError) as caught:
            store.get("a")
    assert caught.value.retryable


@pytest.mark.parametrize("said", ["", "<IsTruncated>true</IsTruncated>", "<IsTruncated>maybe</IsTruncated>"])
def test_a_listing_that_does_not_say_whether_it_goes_on_never_passes_as_whole(said: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        ending = said if number == 1 else "<IsTruncated>false</IsTruncated>"
        names = "<Contents><Key>a%2F1%252F+b</Key></Contents><Contents><Key>a%2F%E8%B4%A6</Key></Contents>"
        body = f"<ListBucketResult><EncodingType>url</EncodingType>{ending}{names}</ListBucketResult>"
        send(handler, 200, body.encode())

    with answering(answer) as (host, seen):
        store = OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE)
        assert list(store.keys("a/")) == ["a/1%2F+b", "a/账"]
    assert len(seen) == 2


def test_an_altered_body_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    crc = oss2.utils.Crc64()
    crc.update(b"right")

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 200, b"wrong" if number == 1 else b"right", x_oss_hash_crc64ecma=str(crc.crc))

    def got() -> bytes:
        with answering(answer) as (host, _):
            return OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE).get("a")

    assert got() == b"right"
    # Where crcmod has no C extension its CRC64 takes a second a few megabytes: the length has to do.
    monkeypatch.setattr(oss_adapter, "_FAST_CRC", False)
    assert got() == b"wrong"


def test_a_download_that_breaks_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    body = bytes(range(256)) * 10_000

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        asked = handler.headers.get("Range") or ""
        if number == 1:
            send(handler, 200, body[: 2 << 20], length=len(body), ETag='"one"')
        else:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            send(handler, 206, body[begin:], ETag='"one"', Content_Range=f"bytes {begin}-{len(body) - 1}/{len(body)}")

    with answering(answer) as (host, seen):
        OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE).download("a", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == body
    assert [(one.get("range"), one.get("if-match")) for one in seen] == [(None, None), ("bytes=2097152-", '"one"')]


def test_a_download_of_what_changed_meanwhile_begins_anew(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            send(handler, 200, b"old" * 500_000, length=2_000_000, ETag='"old"')
        elif number == 2:
            send(handler, 412, oss_error("PreconditionFailed"))
        else:
            send(handler, 200, b"new", ETag='"new"')

    with answering(answer) as (host, seen):
        OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE).download("a", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [one.get("if-match") for one in seen] == [None, '"old"', None]


def test_a_download_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with answering(lambda handler, _: send(handler, 200, b"half", length=8)) as (host, _), pytest.raises(ServiceError):
        OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), ONCE).download("a", tmp_path / "a")

    assert list(tmp_path.iterdir()) == []


def test_files_go_up_and_down_in_flat_memory(tmp_path: Path) -> None:
    """The service runs in a process of its own here: what it holds does not count."""
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for number in range(48):
            file.write(bytes([number]) * (1 << 20))
    service = common.start("oss", tmp_path / "home")
    keys = common.load_keys(tmp_path / "home")
    key, endpoint = AccessKey(keys.access_key_id, keys.access_key_secret), f"http://127.0.0.1:{service.port}"
    try:
        BucketAdmin(endpoint, REGION, "flat", key).create()
        store = OssStore(endpoint, REGION, "flat", lambda: key, PATIENCE)
        tracemalloc.start()
        store.upload_once("flat", source)
        store.download("flat", target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        service.stop()

    assert target.read_bytes() == source.read_bytes()
    assert peak < 8 << 20


@pytest.mark.parametrize(("status", "code"), [(503, "TotalQpsLimitExceeded"), (429, "TooMany"), (500, "InternalError"),
                                               (502, ""), (400, "RequestTimeout"), (400, "InvalidDigest")])  # fmt: skip
def test_oss_is_asked_again_after_what_may_pass(status: int, code: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 200, b"") if number > 2 else send(handler, status, oss_error(code))

    with answering(answer) as (host, seen):
        OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE).put_again("a", b"one")
    assert len(seen) == 3


@pytest.mark.parametrize(("status", "code", "said"), [(403, "AccessDenied", "check the function's role"),
                                                      (409, "FileImmutable", "keeps what is written"),
                                                      (400, "InvalidArgument", "see the OSS error code")])  # fmt: skip
def test_oss_is_not_asked_again_after_what_stays(status: int, code: str, said: str) -> None:
    with answering(lambda handler, _: send(handler, status, oss_error(code))) as (host, seen):
        store = OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE)
        with pytest.raises(ServiceError, match=said) as caught:
            store.put_once("a", b"one")
    assert (len(seen), caught.value.retryable) == (1, False)


BADLY_SIGNED = ("SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId", "RequestTimeTooSkewed",
                "SignatureDoesNotMatch")  # fmt: skip


@pytest.mark.parametrize("code", BADLY_SIGNED)
def test_a_key_that_is_refused_is_tried_once_more_and_then_named(code: str) -> None:
    with answering(lambda handler, _: send(handler, 403, oss_error(code))) as (host, seen):
        store = OssStore(f"http://{host}", REGION, "traps", lambda: AccessKey("a", "b"), PATIENCE)
        with pytest.raises(ServiceError, match="check the access key") as caught:
            store.get("a")
    assert (len(seen), caught.value.retryable) == (2, False)


@pytest.fixture
def outlived(home: Path, key: AccessKey) -> Callable[[], AccessKey]:
    """Keys as the environment of an instance that outlives its token has them: first the ended one, then the next."""
    issued = identity.issue(
        common.load_keys(home), "settle", "settle", "settle-1", datetime.now(UTC) - timedelta(days=3)
    )
    ended = AccessKey(issued.access_key_id, issued.access_key_secret, issued.security_token)
    keys = iter((ended,))
    return lambda: next(keys, key)


def test_an_instance_that_outlives_its_token_goes_on_with_the_next(
    home: Path, oss: Misbehaving, store: OssStore, outlived: Callable[[], AccessKey]
) -> None:
    store.put_again("token", b"one")
    ended = outlived()
    refused = OssStore(f"http://127.0.0.1:{oss.port}", REGION, "traps", lambda: ended, PATIENCE)
    with pytest.raises(ServiceError, match=r"SecurityTokenExpired.*its temporary token has ended"):
        refused.get("token")

    both = iter((ended,))
    follower = OssStore(f"http://127.0.0.1:{oss.port}", REGION, "traps", lambda: next(both, outlived()), PATIENCE)
    assert follower.get("token") == b"one"


# -- rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(home: Path, key: AccessKey) -> Iterator[Misbehaving]:
    with misbehaving("tablestore", home) as service:
        admin = TableAdmin(f"http://127.0.0.1:{service.port}", REGION, common.load_keys(home).instance, key)
        for name in ("chain", "bill_lines"):
            admin.create(name, TABLES[name])
        yield service


@pytest.fixture
def rows(home: Path, tables: Misbehaving, key: AccessKey) -> TablestoreRows:
    tables.behave()
    return TablestoreRows(f"http://127.0.0.1:{tables.port}", REGION, common.load_keys(home).instance, lambda: key,
                          PATIENCE)  # fmt: skip


def line(name: str, number: int, seal: int, **columns: Any) -> tuple[Key, dict[str, Any]]:
    return (("line", f"{name}-{number:05d}"),), {"seal": seal, **columns}


def lines(rows: TablestoreRows, name: str) -> list[Any]:
    return [row["seal"] for row in rows.range("bill_lines", (("line", f"{name}-0"),), (("line", f"{name}-9"),))]


def test_rows_that_failed_alone_are_sent_again_alone(rows: TablestoreRows, tables: Misbehaving) -> None:
    tables.fail(Fault.FAIL_ROWS, "BatchWriteRow")

    assert rows.put_newer("bill_lines", [line("alone", n, 1) for n in range(10)], "seal") == 10
    assert lines(rows, "alone") == [1] * 10
    assert tables.attempts() > 2


def test_a_row_that_fails_for_good_is_an_error_although_the_batch_is_none(
    rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = SimpleNamespace(is_ok=False, error_code="OTSParameterInvalid", error_message="too wide")
    answer = SimpleNamespace(get_put_by_table=lambda _: [failed])
    monkeypatch.setattr(rows._client, "batch_write_row", lambda _: answer)

    with pytest.raises(ServiceError, match="OTSParameterInvalid: too wide") as caught:
        rows.put_newer("bill_lines", [line("bad", 1, 1)], "seal")
    assert not caught.value.retryable


def test_rows_that_could_not_be_read_alone_are_asked_for_again_alone(
    rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.put_newer("bill_lines", [line("apart", n, 1, n=n) for n in range(250)], "seal")
    asked: list[int] = []
    genuine = rows._client.batch_get_row

    def get_batch(request: Any) -> Any:
        asked.append(len(request.items["bill_lines"].primary_keys))
        answer = genuine(request)
        if len(asked) == 1:
            for item in answer.items["bill_lines"][::2]:
                item.is_ok, item.error_code, item.error_message, item.row = False, "OTSServerBusy", "busy", None
        return answer

    monkeypatch.setattr(rows._client, "batch_get_row", get_batch)
    found = rows.get_many("bill_lines", [line("apart", n, 1)[0] for n in range(250)], ["n"])

    assert [one and one["n"] for one in found] == list(range(250))
    assert asked[0] == 100
    assert max(asked) <= 100
    assert sum(asked) == 250 + 50


def test_a_row_that_cannot_be_read_for_good_is_an_error(rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(is_ok=False, error_code="OTSParameterInvalid", error_message="no such name", row=None)
    answer = SimpleNamespace(get_result_by_table=lambda _: [failed])
    monkeypatch.setattr(rows._client, "batch_get_row", lambda _: answer)

    with pytest.raises(ServiceError, match="OTSParameterInvalid: no such name") as caught:
        rows.get_many("bill_lines", [line("bad", 1, 1)[0]], ["n"])
    assert not caught.value.retryable


def sizes(rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch, busy: int) -> list[int]:
    """How many rows each batch had, when so many of the first batches met a busy service."""
    sent: list[int] = []
    genuine = rows._client.batch_write_row

    def send_batch(request: Any) -> Any:
        sent.append(sum(len(one.row_items) for one in request.items.values()))
        if len(sent) <= busy:
            raise ots.OTSServiceError(503, "OTSServerBusy", "busy", "1")
        return genuine(request)

    monkeypatch.setattr(rows._client, "batch_write_row", send_batch)
    return sent


def test_batches_shrink_while_the_service_is_busy_and_grow_again(
    rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = sizes(rows, monkeypatch, busy=3)

    assert rows.put_newer("bill_lines", (line("busy", n, 1) for n in range(1000)), "seal") == 1000
    assert sent[:4] == [200, 100, 50, 25]
    assert sent[4:7] == [45, 65, 85]
    assert max(sent[4:]) <= 200


def test_a_batch_has_at_most_200_rows_and_4_megabytes(rows: TablestoreRows, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = sizes(rows, monkeypatch, busy=0)
    wide = "x" * 100_000  # counted as four bytes a character: eight fit

    assert rows.put_newer("bill_lines", [line("many", n, 1) for n in range(450)], "seal") == 450
    assert rows.put_newer("bill_lines", [line("wide", n, 1, text=wide) for n in range(20)], "seal") == 20
    assert sent == [200, 200, 50, 8, 8, 4]


def test_the_condition_says_that_a_missing_column_passes(rows: TablestoreRows) -> None:
    condition = rows_adapter._newer("seal", 3).get_column_condition()

    assert condition.get_pass_if_missing() is True
    assert condition.get_latest_version_only() is True


def test_the_sdks_own_retries_are_off_and_updates_are_not_forgotten(rows: TablestoreRows) -> None:
    assert (
        "UpdateRow" not in ots.WriteRetryPolicy().is_repeatable_api.__code__.co_consts
    )  # the misspelling is still there
    refused = ots.OTSServiceError(503, "OTSServerBusy", "busy", "1")
    assert not rows._client.retry_policy.should_retry(0, refused, "GetRow")


def test_network_errors_come_raw_and_are_translated(rows: TablestoreRows, tables: Misbehaving, key: AccessKey) -> None:
    once = TablestoreRows("http://127.0.0.1:9", REGION, "nobody", lambda: key, ONCE)
    with pytest.raises(ServiceError, match="Tablestore was not reached") as caught:
        once.get("chain", (("stream", "a"), ("seq", 1)))
    assert caught.value.retryable


def test_a_host_that_does_not_answer_is_left_when_the_time_is_up(key: AccessKey) -> None:
    """The wait for an answer is no longer than the event's time, whatever the settings say."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deadline = Deadline()
        patience = Patience(read_timeout_s=600.0, deadline=deadline, sleep=lambda _: None)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        adapters: list[Callable[[], object]] = [
            lambda: TablestoreRows(endpoint, REGION, "x", lambda: key, patience).get("t", (("a", 1),)),
            lambda: OssStore(endpoint, REGION, "traps", lambda: key, patience).get("a"),
            lambda: BssApi(endpoint.removeprefix("http://"), "HTTP", REGION, key, patience).call(
                "QueryBillOverview", {}
            ),
        ]
        for call in adapters:
            with deadline.of_event(SimpleNamespace(function=SimpleNamespace(timeout=0.3))):
                with pytest.raises(ServiceError, match="was not reached") as caught:
                    call()
                assert caught.value.retryable


def test_rows_of_an_instance_that_outlives_its_token_go_on_with_the_next(
    home: Path, tables: Misbehaving, outlived: Callable[[], AccessKey]
) -> None:
    endpoint, instance = f"http://127.0.0.1:{tables.port}", common.load_keys(home).instance
    tables.behave()
    rows = TablestoreRows(endpoint, REGION, instance, outlived, PATIENCE)

    assert rows.create("chain", (("stream", "token"), ("seq", 1)), {"entry": "one"}) is True
    assert tables.attempts() == 2


def test_the_chatty_logger_of_the_sdk_stays_quiet(rows: TablestoreRows, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.NOTSET):
        rows.create("chain", (("stream", "quiet"), ("seq", 1)), {"entry": "one"})
        rows.create("chain", (("stream", "quiet"), ("seq", 1)), {"entry": "one"})

    assert [one for one in caplog.records if one.name == "tablestore-client"] == []
    assert logging.getLogger("tablestore-client").level > logging.DEBUG  # else it formats every request all the same


def test_without_the_native_codec_rows_are_the_same(
    home: Path, tables: Misbehaving, key: AccessKey, rows: TablestoreRows
) -> None:
    slow = TablestoreRows(
        f"http://127.0.0.1:{tables.port}", REGION, common.load_keys(home).instance, lambda: key, PATIENCE
    )
    slow._client.protocol = type(slow._client.protocol)(
        common.load_keys(home).instance, "utf8", logging.getLogger("tablestore-client"), enable_native=False
    )
    columns: dict[str, Any] = {"text": "结算", "n": -(1 << 62), "yes": True}
    for one, other, stream in ((slow, rows, "pure"), (rows, slow, "native")):
        at = (("stream", stream), ("seq", 1))
        assert one.create("chain", at, columns) is True
        assert other.get("chain", at) == {"stream": stream, "seq": 1, **columns}
        assert other.create("chain", at, columns) is False


# -- the provider's bill ------------------------------------------------------------------------------------------


def bss(host: str, patience: Patience = PATIENCE, pace: Pace | None = None) -> BssApi:
    return BssApi(host, "HTTP", REGION, AccessKey("LTAIx", "secret"), patience, pace)


def reply(**envelope: object) -> bytes:
    return json.dumps({"Success": True, "Code": "Success", "Data": {}, **envelope}).encode()


def test_throttling_without_its_header_is_an_ordinary_refusal_and_waited_out() -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 200, reply()) if number > 3 else send(handler, 400, reply(Code="Throttling.User"))

    with answering(answer) as (host, seen):
        assert json.loads(bss(host).call("QueryBillOverview", {}))["Success"] is True
    assert len(seen) == 4


def test_throttling_with_its_header_waits_as_long_as_it_says() -> None:
    slept: list[float] = []

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number > 1:
            send(handler, 200, reply())
        else:
            send(handler, 400, reply(Code="Throttling.User"), x_acs_retry_after="1700")

    with answering(answer) as (host, _):
        bss(host, replace(PATIENCE, sleep=slept.append)).call("QueryBillOverview", {})
    assert max(slept) >= 1.7


def test_throttling_that_never_ends_is_told_when_the_patience_is_over() -> None:
    told = pytest.raises(ServiceError, match=r"Throttling\.User.*reserved concurrency")
    with answering(lambda handler, _: send(handler, 400, reply(Code="Throttling.User"))) as (host, _), told as caught:
        bss(host, ONCE).call("QueryBillOverview", {"BillingCycle": "2025-06"})
    assert caught.value.retryable


def test_a_provider_that_wants_to_be_left_alone_for_longer_than_the_event_has_is_not_waited_for() -> None:
    slept: list[float] = []
    deadline, pace = Deadline(lambda: 100.0), Pace(10)
    pace.hold_until(700.0)
    patience = Patience(deadline=deadline, clock=lambda: 100.0, sleep=slept.append)
    context = SimpleNamespace(function=SimpleNamespace(timeout=120))
    told = pytest.raises(ServiceError, match="no place for it in the next 600 s")
    with deadline.of_event(context), told as caught:
        bss("127.0.0.1:1", patience, pace).call("QueryBillOverview", {"BillingCycle": "2025-06"})
    assert caught.value.retryable
    assert slept == []


@pytest.mark.parametrize("code", ["InternalError", "SystemBusy", "Throttling.Api"])
def test_success_false_in_an_http_200_is_asked_again_where_it_may_pass(code: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 200, reply() if number > 1 else reply(Success=False, Code=code, Message="later"))

    with answering(answer) as (host, seen):
        assert json.loads(bss(host).call("QueryBillOverview", {}))["Success"] is True
    assert len(seen) == 2


@pytest.mark.parametrize("code", ["NotApplicable", "NotAuthorized", "InvalidParameter"])
def test_success_false_that_stays_comes_through_for_its_reader(code: str) -> None:
    with answering(lambda handler, _: send(handler, 200, reply(Success=False, Code=code))) as (host, seen):
        assert json.loads(bss(host).call("QueryBillOverview", {}))["Code"] == code
    assert len(seen) == 1


def test_a_line_that_speaks_of_success_false_is_no_refusal() -> None:
    body = reply(Data={"Tag": '"Success":false'}, Message='"Code":"InternalError"')
    with answering(lambda handler, _: send(handler, 200, body)) as (host, seen):
        assert bss(host).call("QueryBillOverview", {}) == body
    assert len(seen) == 1


def test_amounts_pass_without_becoming_floats() -> None:
    body = b'{"Success":true,"Code":"Success","Data":{"PretaxAmount":0.1234567890123456789,"NewField":1}}'
    with answering(lambda handler, _: send(handler, 200, body)) as (host, _):
        assert bss(host).call("QueryBillOverview", {}) == body


@pytest.mark.parametrize(("status", "body"), [(503, b"<html>busy</html>"), (500, b""), (502, b"[]")])
def test_a_gateway_that_answers_no_json_is_asked_again(status: int, body: bytes) -> None:
    with answering(lambda handler, n: send(handler, 200, reply()) if n > 1 else send(handler, status, body)) as (
        host,
        _,
    ):
        assert json.loads(bss(host).call("QueryBillOverview", {}))["Success"] is True


def test_the_endpoint_is_the_one_that_is_given_and_never_the_regions() -> None:
    with answering(lambda handler, _: send(handler, 200, reply())) as (host, seen):
        BssApi(host, "HTTP", "ap-southeast-1", AccessKey("a", "b"), ONCE).call("QueryBillOverview", {"Flag": True})

    assert seen[0]["host"] == host
    assert seen[0]["x-acs-action"] == "QueryBillOverview"
    assert parse_qs(urlsplit(seen[0]["path"]).query) == {"Flag": ["True"]}


def test_a_proxy_in_the_environment_is_named_because_the_sdk_asks_it_for_every_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    told = pytest.raises(ServiceError, match="the proxy in HTTP_PROXY")
    with answering(lambda handler, _: send(handler, 200, reply())) as (host, seen), told as caught:
        bss(host, ONCE).call("QueryBillOverview", {})
    assert (seen, caught.value.retryable) == ([], True)


def test_calls_for_one_account_keep_one_pace() -> None:
    slept: list[float] = []
    clock = iter(range(100_000))
    patience = replace(PATIENCE, clock=lambda: next(clock) / 1e6, sleep=slept.append)
    pace = Pace(10, window_s=1.0)
    with answering(lambda handler, _: send(handler, 200, reply())) as (host, _):
        for api in (bss(host, patience, pace), bss(host, patience, pace)):
            for _ in range(6):
                api.call("QueryBillOverview", {})

    assert len(slept) == 2, "ten at once, and the eleventh and twelfth a second later"
    assert all(0.99 < one <= 1.0 for one in slept)
