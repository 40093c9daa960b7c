"""Object storage on OSS, with V4 signatures.

Traps of oss2 2.19: its default signature is V1; forbid-overwrite conflicts have no class of their own and come
as a bare ServerError; CRC64 is checked in slow Python where crcmod has no C extension.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import oss2

from shared.cloud.credentials import AccessKey
from shared.errors import SettingError
from shared.ports import ObjectConflictError, ObjectMissingError, ServiceError

LINK_SECONDS_MAX = 7 * 24 * 3600  # OSS refuses longer V4 links; oss2 signs them without complaint
_ONCE = {"x-oss-forbid-overwrite": "true"}
_CONNECT_TIMEOUT_S = 20
_FAST_CRC = importlib.util.find_spec("crcmod._crcfunext") is not None


class OssStore:
    """One bucket."""

    def __init__(self, endpoint: str, region: str, bucket: str, key: AccessKey) -> None:
        if key.token:
            auth = oss2.StsAuth(key.id, key.secret, key.token, auth_version="v4")
        else:
            auth = oss2.AuthV4(key.id, key.secret)
        self._bucket = oss2.Bucket(
            auth, endpoint, bucket, region=region, connect_timeout=_CONNECT_TIMEOUT_S, enable_crc=_FAST_CRC
        )

    @property
    def bucket(self) -> str:
        """Its name."""
        return str(self._bucket.bucket_name)

    def get(self, key: str) -> bytes:
        """The whole object; raises ObjectMissingError."""
        with self._translated("read", key):
            return bytes(self._bucket.get_object(key).read())

    def find(self, key: str) -> bytes | None:
        """The whole object, or None."""
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        with self._translated("look for", key):
            return bool(self._bucket.object_exists(key))

    def put_once(self, key: str, body: bytes) -> bool:
        """Create the object; False if exactly it was there already; raises ObjectConflictError otherwise."""
        if self._create(key, body):
            return True
        # A lost answer makes our own retry look like a stranger's object: compare, then decide.
        if self.get(key) != body:
            raise ObjectConflictError(self.bucket, key)
        return False

    def put_again(self, key: str, body: bytes) -> None:
        """Write the object whether or not it is there: delivers its event once more."""
        with self._translated("write", key):
            self._bucket.put_object(key, body, headers={"Content-MD5": _md5(body)})

    def upload_once(self, key: str, path: Path) -> bool:
        """Create the object from a file, under a name made from its content; False if it was there already."""
        return self._create(key, path.read_bytes()) if path.stat().st_size < 1 << 26 else self._create_large(key, path)

    def download(self, key: str, path: Path) -> None:
        """Fetch the object into a file, which appears whole or not at all."""
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")  # others may fetch the same at the same time
        try:
            with self._translated("read", key):
                self._bucket.get_object_to_file(key, str(partial))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, in order."""
        token = ""
        while True:
            with self._translated("list", prefix):
                page = self._bucket.list_objects_v2(prefix=prefix, continuation_token=token, max_keys=1000)
            yield from (item.key for item in page.object_list)
            if not page.is_truncated:
                return
            token = page.next_continuation_token

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
        with self._translated("delete", key):
            self._bucket.delete_object(key)

    def link(self, key: str, expires_s: int, filename: str) -> str:
        """A signed link that downloads the object as `filename` until it expires."""
        if not 1 <= expires_s <= LINK_SECONDS_MAX:
            raise SettingError("link life", f"is {expires_s} s", f"give 1 to {LINK_SECONDS_MAX} seconds (seven days)")
        disposition = f"attachment; filename*=UTF-8''{quote(filename)}"
        params = {"response-content-disposition": disposition}
        return str(self._bucket.sign_url("GET", key, expires_s, params=params, slash_safe=True))

    def _create(self, key: str, body: bytes) -> bool:
        with self._translated("write", key):
            try:
                self._bucket.put_object(key, body, headers={**_ONCE, "Content-MD5": _md5(body)})
            except oss2.exceptions.ServerError as exc:
                if exc.code == "FileAlreadyExists":
                    return False
                raise
        return True

    def _create_large(self, key: str, path: Path) -> bool:
        with self._translated("write", key):
            try:
                with path.open("rb") as file:
                    self._bucket.put_object(key, file, headers=_ONCE)
            except oss2.exceptions.ServerError as exc:
                if exc.code == "FileAlreadyExists":
                    return False
                raise
        return True

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
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
            problem = f"OSS answers {exc.status} {exc.code}: {exc.message} (request {exc.request_id})"
            retryable = exc.status >= 500 or exc.status == 429
            remedy = "run it again later" if retryable else _REMEDIES.get(str(exc.code), "see the OSS error code")
            raise ServiceError(doing, problem, remedy, retryable=retryable) from exc
        except (oss2.exceptions.RequestError, oss2.exceptions.ClientError, oss2.exceptions.InconsistentError) as exc:
            raise ServiceError(doing, f"OSS was not reached ({exc})", "check the endpoint, or run it again later",
                               retryable=True) from exc  # fmt: skip


_REMEDIES = {
    "AccessDenied": "check the function's role: it may use only its own prefixes",
    "InvalidAccessKeyId": "check the access key in the settings",
    "SignatureDoesNotMatch": "check the access key secret and the region in the settings",
    "FileImmutable": "the bucket keeps what is written; choose another name",
}


def _no_bucket(doing: str) -> ServiceError:
    return ServiceError(
        doing, "there is no such bucket", "create the buckets with `clearbook provision`", retryable=False
    )


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
