"""What the steps need from outside, on a folder of this machine: for measuring what a step itself costs.

No service is asked, so nothing but the step is timed. It keeps the ports' promises for one process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.chain.chain import Chain
from shared.ports import Buckets, Key, ObjectConflictError, ObjectMissingError, Row, Value, Version
from shared.services import Services


class FolderStore:
    """One bucket: an object is a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bucket(self) -> str:
        return self._folder.name

    def _path(self, key: str) -> Path:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise ObjectMissingError(self.bucket, key) from None

    def find(self, key: str) -> bytes | None:
        path = self._path(key)
        return path.read_bytes() if path.is_file() else None

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def version(self, key: str) -> Version | None:
        path = self._path(key)
        if not path.is_file():
            return None
        about = path.stat()
        return Version(f"{about.st_size:x}-{about.st_mtime_ns:x}", datetime.fromtimestamp(about.st_mtime, UTC))

    def put_once(self, key: str, body: bytes) -> bool:
        there = self.find(key)
        if there is not None and there != body:
            raise ObjectConflictError(self.bucket, key)
        self._path(key).write_bytes(body)
        return there is None

    def put_again(self, key: str, body: bytes) -> None:
        self._path(key).write_bytes(body)

    def upload_once(self, key: str, path: Path) -> bool:
        if self.exists(key):
            return False
        os.link(path, self._path(key))  # as in `download`
        return True

    def upload_again(self, key: str, path: Path) -> None:
        shutil.copyfile(path, self._path(key))

    def download(self, key: str, path: Path) -> None:
        if not self.exists(key):
            raise ObjectMissingError(self.bucket, key)
        path.unlink(missing_ok=True)
        os.link(self._path(key), path)  # no copy: what a network takes is not measured, and objects are never changed

    def keys(self, prefix: str) -> Iterator[str]:
        found = (str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def link(self, key: str, expires_s: int, filename: str) -> str:
        raise NotImplementedError("a folder gives no links")


class DictRows:
    """Tables of rows by key."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Key, Row]] = {}

    def get(self, table: str, key: Key) -> Row | None:
        return self._tables.get(table, {}).get(key)

    def create(self, table: str, key: Key, columns: Mapping[str, Value]) -> bool:
        rows = self._tables.setdefault(table, {})
        if key in rows:
            return False
        rows[key] = {**dict(key), **columns}
        return True

    def put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        self._tables.setdefault(table, {})[key] = {**dict(key), **columns}

    def put_newer(self, table: str, rows: Iterable[tuple[Key, Mapping[str, Value]]], column: str) -> int:
        count = 0
        for key, columns in rows:
            self.put(table, key, columns)
            count += 1
        return count

    def range(self, table: str, start: Key, end: Key, **_: Any) -> Iterator[Row]:
        first, last = [value for _, value in start], [value for _, value in end]
        for key in sorted(self._tables.get(table, {})):
            if first <= [value for _, value in key] < last:
                yield self._tables[table][key]


def services(folder: Path, memory_mb: int, threads: int) -> Services:
    """Services on `folder`, as a function of so much memory has them; nothing of others is there."""

    def nobody(_: object) -> Any:
        raise NotImplementedError("nobody else is asked here")

    rows: Any = DictRows()
    outside: Any = nobody
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    buckets = Buckets(*(FolderStore(folder / name) for name in ("inbox", "work", "records", "reports")))
    return Services(buckets, rows, Chain(rows), nobody, nobody, scratch, memory_mb // 2, threads, outside)
