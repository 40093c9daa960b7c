"""Posts to addresses that others named: only to the world, only by https, and only to the very address looked at.

A name is resolved once; all its addresses must be open, and the connection goes to one of those. The certificate is
that of the name. Redirects are answers like any other, proxies of the environment are not asked, and what takes
longer than `timeout_s` in all is cut off, from when the name was resolved: that has the resolver's own time-outs.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from shared.delivery.targets import is_open
from shared.errors import BadInputError
from shared.ports import Posted, Target, UndeliveredError

TIMEOUT_S = 15.0
ANSWER_MAX = 16 * 1024  # bytes of an answer that are read; nothing rests on them
_TRIED_MAX = 3  # addresses of a name
_LEAST_S = 0.1

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Outbound:
    """Posts; the arguments other than `timeout_s` are for tests, which have no other hosts than this one."""

    def __init__(
        self,
        timeout_s: float = TIMEOUT_S,
        *,
        resolve: Resolve = resolve,
        is_open: Callable[[str], bool] = is_open,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s, self._resolve, self._is_open = timeout_s, resolve, is_open
        self._trusted = trusted

    def check(self, target: Target, place: str = "url") -> None:
        """Raise BadInputError unless the target may be posted to now; what it resolves to is told to nobody."""
        try:
            self._addresses(target)
        except UndeliveredError as exc:
            # Not which: whether our own network knows a name is nobody's to learn.
            problem = "names no host that the whole internet can reach"
            raise BadInputError(place, problem, "give the address of a public https server") from exc

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Posted:
        """Post a body; what was answered, whatever the status. Raises UndeliveredError where nothing was."""
        failed: Exception | None = None
        addresses = self._addresses(target)[:_TRIED_MAX]
        until = time.monotonic() + self._timeout_s
        for number, address in enumerate(addresses):
            # What is left is shared by the addresses that are: one that swallows connections must not take all of it.
            mine = (until - time.monotonic()) / (len(addresses) - number)
            try:
                connected = socket.create_connection((address, target.port), max(mine, _LEAST_S))
            except OSError as exc:
                failed = exc
                continue
            # Not another address from here on: it may have been heard.
            return self._exchange(connected, target, headers, body, max(until - time.monotonic(), _LEAST_S))
        raise UndeliveredError("could not be connected to") from failed

    def _addresses(self, target: Target) -> list[str]:
        try:
            found = list(self._resolve(target.host, target.port))
        except (OSError, UnicodeError):
            found = []
        if not found or not all(self._is_open(one) for one in found):
            # One answer for both: which names there are inside is nobody's business.
            raise UndeliveredError("has no address, or one in a network that is not the internet's")
        return found

    def _exchange(
        self, connected: socket.socket, target: Target, headers: Mapping[str, str], body: bytes, left_s: float
    ) -> Posted:
        context = self._trusted or ssl.create_default_context()
        connected.settimeout(left_s)
        try:
            tls = context.wrap_socket(connected, server_hostname=target.host, do_handshake_on_connect=False)
            with tls, _cut_off(tls, left_s):
                tls.do_handshake()
                return _posted(tls, target, headers, body)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            kind = "has no certificate that can be trusted" if isinstance(exc, ssl.SSLCertVerificationError) else ""
            raise UndeliveredError(kind or "did not answer in time, or not as HTTP does") from exc
        finally:
            connected.close()


def _posted(tls: ssl.SSLSocket, target: Target, headers: Mapping[str, str], body: bytes) -> Posted:
    connection = http.client.HTTPSConnection(target.host, target.port)
    connection.sock = tls
    connection.request("POST", target.path, body, {**headers, "user-agent": "clearbook", "connection": "close"})
    answer = connection.getresponse()
    answer.read(ANSWER_MAX)
    return Posted(answer.status, answer.getheader("retry-after") or "")


@contextmanager
def _cut_off(tls: ssl.SSLSocket, timeout_s: float) -> Iterator[None]:
    """End the connection after a time in all: the socket's own timeout begins anew with every byte."""

    def end() -> None:
        with contextlib.suppress(OSError):
            # That of the class below: TLS's own would say goodbye first, in the middle of another's reading.
            socket.socket.shutdown(tls, socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
