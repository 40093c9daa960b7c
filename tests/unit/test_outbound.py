"""Where messages may go: only to the internet, to the very address that was looked at, and nowhere it points on to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.cloud import outbound as outbound_module
from shared.cloud.outbound import Outbound
from shared.delivery.targets import is_open, parse_mailbox, parse_target
from shared.errors import BadInputError
from shared.ports import UndeliveredError

HOST = "hooks.example"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.8", "192.0.2.1"),
        *("192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"),
        *("64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        *("2001::1", "2001:10::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "100::1", "4000::1", "no address", ""),
    ],
)
def test_an_address_that_is_not_of_the_internet_is_closed(address: str) -> None:
    assert not is_open(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "47.74.0.1", "100.63.255.255", "100.128.0.1", "2400:3200::1", "2606::1"]
)
def test_an_address_of_the_internet_is_open(address: str) -> None:
    assert is_open(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/", "ftp://hooks.example/", "hooks.example", "", "https://", "https:///path"),
        *("https://user@hooks.example/", "https://user:pw@hooks.example/", "https://hooks.example/#part"),
        *("https://hooks.example:0/", "https://hooks.example:99999/", "https://hooks.example:x/"),
        *("https://hooks.example/a b", "https://hooks.example/\r\nX: y", "https://hóoks.example/", "https://[::1"),
        *("https://hooks.example\\@internal/", "https://" + "a" * 1000, None, 7),
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: object) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_target(url)

    assert caught.value.place == "url"


@pytest.mark.parametrize(
    "text",
    ["a@b", "a b@host.example", "=?a?q?b?=@host.example", "a@=?utf-8?q?host.example?=",
     "a@host.example\r\nBcc: x@y.example", "A <a@host.example>", "a@host.example,b@c.example",
     "a@host..example", ".a@host.example", "a@-host.example", "", None],
)  # fmt: skip
def test_what_is_no_plain_mail_address_is_refused(text: object) -> None:
    with pytest.raises(BadInputError):
        parse_mailbox(text)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "https://0x7f.1/"])
def test_a_spelling_of_this_machine_leads_nowhere(url: str) -> None:
    with pytest.raises(BadInputError):
        Outbound().check(parse_target(url))


def test_one_closed_address_closes_the_name() -> None:
    outbound = Outbound(resolve=lambda *_: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(UndeliveredError, match="network that is not the internet's"):
        outbound.post(parse_target(f"https://{HOST}/"), {}, b"")
    with pytest.raises(BadInputError) as caught:
        outbound.check(parse_target(f"https://{HOST}/"))

    assert "10.0.0.1" not in str(caught.value)


class Server:
    """One https server on this machine; what it answers is said anew for each test."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self.trusted = ssl.create_default_context(cafile=str(pem))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.answer: Callable[[ssl.SSLSocket], None] = lambda tls: tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                came, _ = self._listening.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(came, server_side=True) as tls:
                    self.heard.append(_request(tls))
                    self.answer(tls)
            except OSError:
                continue

    def close(self) -> None:
        self._listening.close()


def _request(tls: ssl.SSLSocket) -> bytes:
    """All of a request, as long as its header says."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += tls.recv(4096)
    head, _, body = heard.partition(b"\r\n\r\n")
    [length] = [int(one.split(b":")[1]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length")]
    while len(body) < length:
        body += tls.recv(4096)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


def outbound(server: Server, timeout_s: float = 5.0, trusted: ssl.SSLContext | None = None) -> Outbound:
    return Outbound(
        timeout_s, resolve=lambda *_: ["127.0.0.1"], is_open=lambda _: True, trusted=trusted or server.trusted
    )


def url(server: Server, host: str = HOST) -> str:
    return f"https://{host}:{server.port}/in?key=1"


def test_a_post_arrives_under_its_name_at_the_address_that_was_looked_at(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # asked by nobody

    answered = outbound(server).post(parse_target(url(server)), {"webhook-id": "msg_1"}, b"{}")

    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert answered.status == 204
    assert head.startswith(b"POST /in?key=1 HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}".encode() in head
    assert b"webhook-id: msg_1" in head
    assert body == b"{}"


def test_a_redirect_is_an_answer_and_is_not_followed(server: Server) -> None:
    moved = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {url(server)}\r\nContent-Length: 0\r\n\r\n".encode()
    server.answer = lambda tls: tls.sendall(moved)

    assert outbound(server).post(parse_target(url(server)), {}, b"{}").status == 307
    assert len(server.heard) == 1


def test_a_certificate_of_nobody_or_of_another_name_is_not_trusted(server: Server) -> None:
    for trusted, host in ((ssl.create_default_context(), HOST), (server.trusted, "other.example")):
        with pytest.raises(UndeliveredError, match="certificate"):
            outbound(server, trusted=trusted).post(parse_target(url(server, host)), {}, b"{}")

    assert server.heard == []


def test_who_answers_byte_by_byte_is_cut_off_at_the_time_in_all(server: Server) -> None:
    waiting = threading.Event()

    def drip(tls: ssl.SSLSocket) -> None:
        for one in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
            tls.sendall(bytes([one]))
            waiting.wait(0.05)

    server.answer = drip
    began = datetime.now(UTC)
    with pytest.raises(UndeliveredError, match="did not answer in time"):
        outbound(server, timeout_s=0.4).post(parse_target(url(server)), {}, b"{}")

    assert datetime.now(UTC) - began < timedelta(seconds=3)


def test_all_addresses_of_a_name_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waited = [0.0], list[float]()

    def swallowed(address: tuple[str, int], timeout: float) -> socket.socket:
        waited.append(timeout)
        clock[0] += timeout
        raise TimeoutError

    monkeypatch.setattr(outbound_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(socket, "create_connection", swallowed)
    addresses = [f"8.8.8.{number}" for number in range(5)]
    with pytest.raises(UndeliveredError, match="could not be connected to"):
        Outbound(12.0, resolve=lambda *_: addresses).post(parse_target(f"https://{HOST}/"), {}, b"")

    assert waited == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200])
def test_what_is_no_http_is_no_answer(server: Server, answer: bytes) -> None:
    server.answer = lambda tls: tls.sendall(answer)
    with pytest.raises(UndeliveredError):
        outbound(server).post(parse_target(url(server)), {}, b"{}")


def test_an_answer_without_end_is_read_as_far_as_anybody_needs(server: Server) -> None:
    server.answer = lambda tls: tls.sendall(b"HTTP/1.1 200 OK\r\nRetry-After: 9\r\n\r\n" + b"x" * 200_000)

    answered = outbound(server).post(parse_target(url(server)), {}, b"{}")

    assert (answered.status, answered.retry_after) == (200, "9")
