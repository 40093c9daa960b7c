"""Object storage on OSS, with V4 signatures.

Traps of oss2 2.19: its default signature is V1; forbid-overwrite conflicts have no class of their own and come
as a bare ServerError; nothing is retried; a body that breaks off raises what requests and urllib3 raise; CRC64 is
slow Python where crcmod has no C extension.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import requests.exceptions
import urllib3.exceptions

from shared.cloud.credentials import KeySource
from shared.cloud.patience import PassingError, Patience
from shared.cloud.standins import standing_in
from shared.errors import SettingError
from shared.ports import ObjectConflictError, ObjectMissingError, ServiceError, Version


class _Unused:
    """Stands for what the SDK encrypts with on the client's side, which is not used, and would load another SDK."""


_CRYPTO = dict.fromkeys(("LocalRsaProvider", "AliKMSProvider", "RsaProvider", "EncryptionMaterials"), _Unused)
_INSTEAD = {
    "oss2.crypto": SimpleNamespace(**_CRYPTO),
    "oss2.crypto_bucket": SimpleNamespace(CryptoBucket=_Unused),
    "cffi": None,  # what little of that is left then goes by ctypes, which is faster to load
}
with standing_in(**_INSTEAD):
    import oss2

LINK_SECONDS_MAX = 7 * 24 * 3600  # OSS refuses longer V4 links; oss2 signs them without complaint
_ONCE = {"x-oss-forbid-overwrite": "true"}
_PIECE = 1 << 20  # read() without a size goes in pieces of 8 KiB, at half the speed
_FAST_CRC = importlib.util.find_spec("crcmod._crcfunext") is not None


class OssStore:
    """One bucket."""

    def __init__(
        self, endpoint: str, region: str, bucket: str, keys: KeySource, patience: Patience | None = None
    ) -> None:
        self._patience = patience or Patience()
        # Bodies are checked here: on the way up by Content-MD5, on the way down by length and CRC64.
        self._bucket = _Bucket(
            oss2.ProviderAuthV4(_Keys(keys)), endpoint, bucket, region=region, session=_Session(self._patience),
            enable_crc=False,
        )  # fmt: skip

    @property
    def bucket(self) -> str:
        """Its name."""
        return str(self._bucket.bucket_name)

    def get(self, key: str) -> bytes:
        """The whole object; raises ObjectMissingError."""
        return self._patience.persist(lambda _: self._get(key))

    def find(self, key: str) -> bytes | None:
        """The whole object, or None."""
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

        def once(_: bool) -> bool:
            with self._translated("look for", key):
                return bool(self._bucket.object_exists(key))

        return self._patience.persist(once)

    def version(self, key: str) -> Version | None:
        """Which version of the object there is, or None where there is no object."""

        def once(_: bool) -> Version | None:
            try:
                with self._translated("look at", key):
                    there = self._bucket.head_object(key)
                    at = datetime.fromtimestamp(there.last_modified, UTC)
                    return Version(str(there.etag).lower(), at)
            except ObjectMissingError:
                return None

        return self._patience.persist(once)

    def put_once(self, key: str, body: bytes) -> bool:
        """Create the object; False if exactly it was there already; raises ObjectConflictError otherwise.

        True also where an earlier try may have made it and its answer was lost.
        """
        content = _Content(len(body), hashlib.md5(body, usedforsecurity=False), lambda: _pieces_of(body))

        def once(is_doubtful: bool) -> bool:
            if self._create(key, body, content):
                return True
            is_same = self._holds(key, content)
            if is_same is None:
                doing = f"cannot write {key!r} in bucket {self.bucket!r}"
                raise PassingError(doing, "its name was taken, and is free again", "run it again later")
            if not is_same:
                raise ObjectConflictError(self.bucket, key)
            return is_doubtful

        return self._patience.persist(once)

    def put_again(self, key: str, body: bytes) -> None:
        """Write the object whether or not it is there: delivers its event once more."""
        headers = {"Content-MD5": _base64(hashlib.md5(body, usedforsecurity=False))}

        def once(_: bool) -> None:
            with self._translated("write", key, writes=True):
                self._bucket.put_object(key, body, headers=headers)

        self._patience.persist(once)

    def upload_once(self, key: str, path: Path) -> bool:
        """Create the object from a file, under a name made from its content; False if it was there already."""
        content = _Content(path.stat().st_size, _md5_in(path), lambda: _pieces_in(path))

        def once(is_doubtful: bool) -> bool:
            if is_doubtful and self._holds(key, content):  # rather than send it all once more
                return True
            with path.open("rb") as file:
                return self._create(key, file, content)

        return self._patience.persist(once)

    def upload_again(self, key: str, path: Path) -> None:
        """Write the object from a file, whether or not it is there: delivers its event once more."""
        headers = {"Content-MD5": _base64(_md5_in(path))}

        def once(_: bool) -> None:
            with self._translated("write", key, writes=True), path.open("rb") as file:
                self._bucket.put_object(key, file, headers=headers)

        self._patience.persist(once)

    def download(self, key: str, path: Path) -> None:
        """Fetch the object into a file, which appears whole or not at all."""
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")  # others may fetch the same at the same time
        try:
            with partial.open("wb") as file:
                taken = _Taken(file)
                self._patience.persist(lambda _: self._take_up(key, taken))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, in order."""
        token = ""
        while True:
            page = self._patience.persist(lambda _, token=token: self._page(prefix, token))  # type: ignore[misc]
            yield from page.keys
            if not page.following:
                return
            token = page.following

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""

        def once(_: bool) -> None:
            with self._translated("delete", key, writes=True):
                self._bucket.delete_object(key)

        self._patience.persist(once)

    def link(self, key: str, expires_s: int, filename: str) -> str:
        """A signed link that downloads the object as `filename` until it expires.

        One that is signed with a temporary key ends with that key's token, however long it was to live.
        """
        if not 1 <= expires_s <= LINK_SECONDS_MAX:
            raise SettingError("link life", f"is {expires_s} s", f"give 1 to {LINK_SECONDS_MAX} seconds (seven days)")
        disposition = f"attachment; filename*=UTF-8''{quote(filename)}"
        params = {"response-content-disposition": disposition}
        return str(self._bucket.sign_url("GET", key, expires_s, params=params, slash_safe=True))

    # -- one try of each ---------------------------------------------------------------------------------------

    def _get(self, key: str) -> bytes:
        with self._translated("read", key), self._bucket.get_object(key) as answer:
            crc, pieces = _crc(), []
            while piece := answer.read(_PIECE):
                crc.update(piece)
                pieces.append(piece)
            body = b"".join(pieces)
            _check_whole(len(body), answer.content_length, crc, answer.server_crc)
            return body

    def _take_up(self, key: str, taken: _Taken) -> None:
        """Fetch what is still missing of the object; from its start where it changed or came out wrong."""
        with self._translated("read", key):
            try:
                self._go_on(key, taken)
            except (oss2.exceptions.PreconditionFailed, _AlteredError):
                taken.start_over()
                raise

    def _go_on(self, key: str, taken: _Taken) -> None:
        byte_range, headers = ((taken.size, None), {"If-Match": f'"{taken.etag}"'}) if taken.size else (None, {})
        with self._bucket.get_object(key, byte_range=byte_range, headers=headers) as answer:
            if answer.status != 206:  # the whole, even if only a part was asked for
                taken.start_over()
            begun, taken.etag = taken.size, answer.etag
            while piece := answer.read(_PIECE):
                taken.take(piece)
            _check_whole(taken.size - begun, answer.content_length, taken.crc, answer.server_crc)

    def _page(self, prefix: str, token: str) -> _Page:
        with self._translated("list", prefix):
            return self._bucket.list_objects_v2(prefix=prefix, continuation_token=token, max_keys=1000)  # type: ignore[no-any-return]

    def _create(self, key: str, body: bytes | IO[bytes], content: _Content) -> bool:
        """Whether it was created; False if something has the name."""
        with self._translated("write", key, writes=True):
            try:
                self._bucket.put_object(key, body, headers={**_ONCE, "Content-MD5": _base64(content.md5)})
            except oss2.exceptions.ServerError as exc:
                if exc.code == "FileAlreadyExists":
                    return False
                raise
        return True

    def _holds(self, key: str, content: _Content) -> bool | None:
        """Whether exactly this is under the name, without fetching it; None when nothing is."""
        try:
            with self._translated("compare", key):
                there = self._bucket.head_object(key)
        except ObjectMissingError:
            return None
        if there.content_length != content.size:
            return False
        # The eTag is the MD5 unless the object was written in parts or encrypted with a KMS key.
        if str(there.etag).lower() == content.md5.hexdigest():
            return True
        crc = _crc_of_nothing().new()
        for piece in content.pieces():
            crc.update(piece)
        return bool(there.server_crc == crc.crcValue)

    # -- errors ------------------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self, verb: str, key: str, *, writes: bool = False) -> Iterator[None]:
        doing = f"cannot {verb} {key!r} in bucket {self.bucket!r}"
        try:
            yield
        except (oss2.exceptions.NoSuchKey, oss2.exceptions.NotFound) as exc:
            if exc.code == "NoSuchBucket":
                raise _no_bucket(doing) from exc
            raise ObjectMissingError(self.bucket, key) from exc
        except oss2.exceptions.NoSuchBucket as exc:
            raise _no_bucket(doing) from exc
        except oss2.exceptions.ServerError as exc:
            raise _refusal(doing, exc, writes) from exc
        except _BROKEN as exc:
            raise PassingError(
                doing, f"OSS was not reached ({exc})", "check the endpoint, or run it again later", is_doubtful=writes
            ) from exc
        except (_BrokenOffError, _AlteredError) as exc:
            raise PassingError(doing, str(exc), "run it again later") from exc
        except oss2.exceptions.OssError as exc:
            remedy = "check the endpoint, the bucket's name and the region in the settings"
            raise ServiceError(doing, f"OSS cannot be asked ({exc})", remedy, retryable=False) from exc


class _Page:
    """The names of a listing, and the token of what follows; "" at its end."""

    def __init__(self, body: bytes) -> None:
        root = ElementTree.fromstring(body)  # noqa: S314 - as oss2 does: it comes from OSS itself, and expat limits entities
        of_names = _unquoted if root.findtext("EncodingType") == "url" else str
        self.keys = [of_names(node.text or "") for node in root.iterfind("Contents/Key")]
        is_cut = root.findtext("IsTruncated")
        self.following = of_names(root.findtext("NextContinuationToken") or "") if is_cut == "true" else ""
        if is_cut != ("true" if self.following else "false"):
            raise _BrokenOffError("the listing does not tell whether it goes on")


def _unquoted(name: str) -> str:
    return unquote(name.replace("%2F", "/"))  # nearly always that is all, and unquote is slow


class _Bucket(oss2.Bucket):  # type: ignore[misc]
    """Of a listing only the names are read: oss2 reads all that is said of each object, in five times the time."""

    @staticmethod
    def _parse_result(answer: Any, parse: object, kind: object) -> Any:
        if kind is oss2.models.ListObjectsV2Result:
            return _Page(answer.read())
        return oss2.Bucket._parse_result(answer, parse, kind)


class _Keys(oss2.credentials.CredentialsProvider):  # type: ignore[misc]
    """The key that is valid now."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def get_credentials(self) -> Any:
        key = self._keys()
        return oss2.credentials.Credentials(key.id, key.secret, key.token)


class _Session(oss2.Session):  # type: ignore[misc]
    """Connections whose timeouts end with the event's time; oss2 has one timeout for all, of 60 s."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def do_request(self, req: Any, timeout: object) -> Any:
        return super().do_request(req, timeout=self._patience.timeouts_s())


@dataclass(frozen=True, slots=True)
class _Content:
    """What is to be stored, to compare with what is."""

    size: int
    md5: Any
    pieces: Callable[[], Iterator[bytes]]


class _Taken:
    """What a download has so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size, self.etag, self.crc = 0, "", _crc()

    def take(self, piece: bytes) -> None:
        self._file.write(piece)
        self.crc.update(piece)
        self.size += len(piece)

    def start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.size, self.etag, self.crc = 0, "", _crc()


class _BrokenOffError(Exception):
    """Fewer bytes than announced."""


class _AlteredError(Exception):
    """Other bytes than are stored."""


class _NoCrc:
    """Where CRC64 would be slow, the length and the connection's own checksums have to do."""

    crcValue = None  # noqa: N815 - crcmod's name

    def update(self, piece: bytes) -> None:
        """Nothing."""


def _crc() -> Any:
    return _crc_of_nothing().new() if _FAST_CRC else _NoCrc()


@functools.cache
def _crc_of_nothing() -> Any:
    return oss2.utils.Crc64().crc64  # made once: its table takes longer than the checksum of a small object


def _check_whole(size: int, announced: int | None, crc: Any, server_crc: int | None) -> None:
    """A body that is short or altered never passes as whole."""
    if announced is not None and size < announced:
        raise _BrokenOffError(f"the answer broke off after {size} of {announced} bytes")
    if crc.crcValue is not None and server_crc is not None and crc.crcValue != server_crc:
        raise _AlteredError(f"its CRC64 is {crc.crcValue}, and OSS says {server_crc}")


_BROKEN = (
    oss2.exceptions.RequestError,
    oss2.exceptions.InconsistentError,
    # A body that breaks off while it is read comes as these, in spite of oss2's own classes.
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    ElementTree.ParseError,
    ConnectionError,
    TimeoutError,
)
_THROTTLING = {"TotalQpsLimitExceeded", "MetaOperationQpsLimitExceeded", "DownloadTrafficRateLimitExceeded",
               "UploadTrafficRateLimitExceeded"}  # fmt: skip
# The body was altered or too slow on its way; nothing was stored.
_ALTERED = {"InvalidDigest", "BadDigest", "RequestTimeout"}
_REMEDIES = {
    "AccessDenied": "check the function's role: it may use only its own prefixes",
    "FileImmutable": "the bucket keeps what is written; choose another name",
}
# Asked once more, with the key that is valid then and the time of then.
_BADLY_SIGNED = {
    "InvalidAccessKeyId": "check the access key in the settings, and that the function's role still exists",
    "InvalidSecurityToken": "check the access key in the settings: a temporary one goes with its own token",
    "RequestTimeTooSkewed": "check the access key's machine: its clock is more than 15 minutes off",
    "SecurityTokenExpired": "check the access key in the settings: its temporary token has ended",
    "SignatureDoesNotMatch": "check the access key secret and the region in the settings",
}


def _refusal(doing: str, exc: Any, writes: bool) -> ServiceError:
    code = str(exc.code)
    problem = f"OSS answers {exc.status} {code}: {exc.message} (request {exc.request_id})"
    if code in _BADLY_SIGNED:
        return PassingError(doing, problem, _BADLY_SIGNED[code], only_once=True)
    if code in _THROTTLING or exc.status == 429:
        return PassingError(doing, problem, "run it again later", is_throttling=True)
    if code == "PreconditionFailed":
        return PassingError(doing, "the object changed while it was read", "run it again later")
    if exc.status >= 500 or code in _ALTERED:
        return PassingError(doing, problem, "run it again later", is_doubtful=writes and code not in _ALTERED)
    return ServiceError(doing, problem, _REMEDIES.get(code, "see the OSS error code"), retryable=False)


def _no_bucket(doing: str) -> ServiceError:
    return ServiceError(
        doing, "there is no such bucket", "create the buckets with `clearbook provision`", retryable=False
    )


def _base64(md5: Any) -> str:
    return base64.b64encode(md5.digest()).decode()


def _pieces_of(body: bytes) -> Iterator[bytes]:
    yield body


def _md5_in(path: Path) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))


def _pieces_in(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
