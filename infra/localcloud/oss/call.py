"""One request to the local OSS, read: who asks for which bucket and key, and its body."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from infra.localcloud.common import Clock, Keys
from infra.localcloud.oss import errors, sign
from infra.localcloud.oss.blobs import Receiver
from infra.localcloud.oss.database import Cause
from infra.localcloud.oss.documents import BODY_MAX
from infra.localcloud.oss.multipart import Uploads
from infra.localcloud.oss.state import Bucket, Store
from infra.localcloud.ram.authority import Authority

UPLOAD_MAX: Final = 5 << 30  # user-guide/limits: 5 GB in one request
KEY_MAX: Final = 1023
BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class Endpoint:
    """What every request needs: keys, store, clock, and who may do what."""

    def __init__(self, keys: Keys, store: Store, clock: Clock, authority: Authority) -> None:
        self.keys, self.store, self.clock, self.authority = keys, store, clock, authority
        self.uploads = Uploads(store)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, its address and parameters decoded; header names are lower case."""

    endpoint: Endpoint
    request: web.Request
    request_id: str
    bucket_name: str
    key: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    @property
    def params(self) -> dict[str, str]:
        """The query by name."""
        return dict(self.query)

    def signed(self) -> sign.Request:
        """What of it a signature covers."""
        return sign.Request(self.request.method, self.bucket_name, self.key, self.query, self.headers)

    def cause(self) -> Cause:
        """This request as the cause of a change that happens now."""
        return Cause(self.request_id, self.request.remote or "127.0.0.1", self.endpoint.clock.now())

    def bucket(self, now: datetime | None = None) -> Bucket:
        """The bucket as it is now."""
        return self.endpoint.store.bucket(self.bucket_name, now or self.endpoint.clock.now())

    async def receive(self, receiver: Receiver) -> None:
        """Take the body, up to what one request may carry, and check its Content-MD5."""
        self._check_length()
        async for piece in self.request.content.iter_any():
            receiver.write(piece)
            if receiver.size > UPLOAD_MAX:
                raise errors.entity_too_large(UPLOAD_MAX)
        if (stated := self._content_md5()) is not None and stated != receiver.md5:
            raise errors.invalid_digest()

    async def document(self) -> bytes:
        """The body of an operation that takes XML, its Content-MD5 checked."""
        receiver = Receiver(self.endpoint.store.contents)
        pieces = []
        async for piece in self.request.content.iter_any():
            receiver.write(piece)
            pieces.append(piece)
            if receiver.size > BODY_MAX:
                receiver.discard()
                raise errors.malformed_xml(f"the document is longer than {BODY_MAX} bytes")
        receiver.discard()
        if (stated := self._content_md5()) is not None and stated != receiver.md5:
            raise errors.invalid_digest()
        return b"".join(pieces)

    def _check_length(self) -> None:
        if "aws-chunked" in self.headers.get("content-encoding", ""):
            text = "aws-chunked encoding is not supported with the specified x-oss-content-sha256 value."
            raise errors.invalid_argument("x-oss-content-sha256", self.headers.get("x-oss-content-sha256", ""), text)
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return
        if "content-length" not in self.headers:
            raise errors.OssError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if int(self.headers["content-length"]) > UPLOAD_MAX:
            raise errors.entity_too_large(UPLOAD_MAX)

    def _content_md5(self) -> bytes | None:
        stated = self.headers.get("content-md5")
        if stated is None:
            return None
        try:
            digest = base64.b64decode(stated, validate=True)
        except (binascii.Error, ValueError):
            raise errors.invalid_digest() from None
        if len(digest) != 16:
            raise errors.invalid_digest()
        return digest


def read(endpoint: Endpoint, request: web.Request, request_id: str) -> Call:
    """Decode address and query from the request target as it was sent.

    Only the raw target will do: a decoded one cannot tell `%2B` from `+` or `a//b` from `a/b`.
    """
    target = request.raw_path
    if not target.startswith("/"):  # absolute form, as sent through a proxy
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    bucket, key = _address(_decode(path), request.headers.get("Host", ""), endpoint.keys.region)
    pairs = tuple(
        (_decode(name.replace("+", " ")), _decode(value.replace("+", " ")))
        for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)
    )
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(endpoint, request, request_id, bucket, key, pairs, headers)


def new_request_id() -> str:
    """A request id in the form OSS gives them: 24 hexadecimal digits."""
    return os.urandom(12).hex().upper()


def check_bucket_name(name: str) -> None:
    """Refuse a bucket name outside the rules (http-status-code-400, InvalidBucketName)."""
    if not BUCKET_NAME.fullmatch(name):
        raise errors.invalid_bucket_name(name)


def check_key(key: str) -> None:
    """Refuse an object key outside the rules (http-status-code-400, InvalidObjectName)."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        text = key.encode(errors="surrogateescape").decode(errors="replace")
        raise errors.invalid_object_name("The specified object is not valid.", text) from None
    if length == 0:
        raise errors.invalid_object_name("The Object name can not be empty.", key)
    if length > KEY_MAX:
        raise errors.invalid_object_name("The Length of Object name must be less than 1024.", key)
    if key[0] in "/\\":
        raise errors.invalid_object_name("The specified object is not valid.", key)


def _decode(text: str) -> str:
    # Bytes that are no UTF-8 stay recognisable, for the signature; check_key refuses them afterwards.
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _address(path: str, host: str, region: str) -> tuple[str, str]:
    bucket = _bucket_of_host(host, region)
    if bucket:
        return bucket, path[1:]
    bucket, _, key = path[1:].partition("/")
    return bucket, key


def _bucket_of_host(host: str, region: str) -> str:
    """The bucket a host name begins with; an address, a bare name or the region's own host has none."""
    name = host.rsplit(":", 1)[0].lower()
    if name.startswith("["):
        return ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        first, dot, _ = name.partition(".")
        return first if dot and first != f"oss-{region}" else ""
    return ""
