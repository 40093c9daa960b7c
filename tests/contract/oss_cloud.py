"""A local OSS that runs, the genuine oss2 SDK to speak to it, and what its tests share."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import quote, urlsplit

import oss2
import pytest
from oss2.models import PartInfo

from infra.localcloud import common

PART = 100 << 10
FORBID = {"x-oss-forbid-overwrite": "true"}
JUNE = datetime(2025, 6, 10, 12, 30, tzinfo=UTC)
KEYS = [
    "a b",
    "a+b",
    "a%2Bb",
    "a%b",
    "账单/六月.csv",
    "a//b",
    "a?b&c=d",
    "a#b",
    "trailing/",
    "~'()*!",
    "é",
    "\U0001f4b0",
]


@dataclass
class Cloud:
    """A running local OSS and how to talk to it."""

    home: Path
    service: common.Service

    @property
    def keys(self) -> common.Keys:
        return common.load_keys(self.home)

    @property
    def clock(self) -> common.Clock:
        return common.Clock(self.home)

    def bucket(self, name: str, *, secret: str | None = None, region: str | None = None, ak: str | None = None) -> Any:
        keys = self.keys
        auth = oss2.AuthV4(ak or keys.access_key_id, secret or keys.access_key_secret)
        endpoint = f"http://127.0.0.1:{self.service.port}"
        return oss2.Bucket(auth, endpoint, name, region=region or keys.region, is_path_style=True)

    def new_bucket(self, name: str) -> Any:
        bucket = self.bucket(name)
        bucket.create_bucket()
        return bucket

    def raw(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> SimpleNamespace:
        """One request exactly as given; `target` may be a whole URL."""
        parts = urlsplit(target)
        path = target if target.startswith("/") else target.split(parts.netloc, 1)[1]
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=10)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        answer = SimpleNamespace(status=response.status, headers=response.headers, body=response.read())
        connection.close()
        return answer

    def events(self, bucket: str) -> list[tuple[str, str, dict[str, Any]]]:
        database = sqlite3.connect(f"file:{self.home}/oss/oss.db?mode=ro", uri=True)
        rows = database.execute("SELECT name,key,body FROM event WHERE bucket=? ORDER BY id", (bucket,)).fetchall()
        database.close()
        return [(name, key, json.loads(body)) for name, key, body in rows]


@contextmanager
def running(home: Path) -> Iterator[Cloud]:
    service = common.start("oss", home)
    try:
        yield Cloud(home, service)
    finally:
        service.stop()


def code_of(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of the refusal that `call` meets."""
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value.status, caught.value.code


def code_in(answer: SimpleNamespace) -> tuple[int, str]:
    text = answer.body.decode()
    return answer.status, text.partition("<Code>")[2].partition("</Code>")[0]


def upload_parts(bucket: Any, key: str, upload: str, bodies: dict[int, bytes]) -> list[PartInfo]:
    parts = []
    for number, body in bodies.items():
        put = bucket.upload_part(key, upload, number, body)
        parts.append(PartInfo(number, put.etag, size=len(body), part_crc=put.crc))
    return sorted(parts, key=lambda part: part.part_number)


def sign_by_hand(
    keys: common.Keys,
    method: str,
    bucket: str,
    key: str | bytes,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """The signed query of a request that the SDK would not let out, by the SDK's own algorithm."""
    signer = oss2.AuthV4(keys.access_key_id, keys.access_key_secret)
    request = SimpleNamespace(
        method=method,
        headers=oss2.CaseInsensitiveDict(headers or {}),
        params=dict(params or {}),
        region=keys.region,
        product="oss",
        cloudbox_id=None,
        url="",
    )
    if isinstance(key, bytes):
        with mock.patch.object(
            signer, "_ProviderAuthV4__get_canonical_uri", lambda b, k: f"/{b}/" + quote(k, safe="/~")
        ):
            return str(signer._sign_url(request, bucket, key, 60)).lstrip("?")
    return str(signer._sign_url(request, bucket, key, 60)).lstrip("?")
