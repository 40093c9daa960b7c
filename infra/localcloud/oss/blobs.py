"""Object contents: received once, digested on the way, small ones kept in memory, larger ones in files.

A content file gets its final, random name only after it is on disk; the database row that names it commits
later. So a row never names a file that is not whole, and a file without a row is an orphan, removed at start.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Final

from infra.localcloud.oss import checksum

SPOOL_MAX: Final = 1 << 20  # above this a body goes to a file while it still arrives
INLINE_MAX: Final = 64 << 10  # up to this the database holds a content; it is quicker there than in a file
CHUNK: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Content:
    """A whole body: `inline`, or the name of its `file`."""

    size: int
    md5: bytes
    crc64: int
    inline: bytes | None
    file: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of bytes to make a content of: of `file` where there is one, of `inline` otherwise."""

    inline: bytes
    file: str | None
    start: int
    end: int


class Folder:
    """The folder of content files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def open_at(self, name: str, offset: int) -> FileIO:
        """The content file `name`, from `offset` on; the caller closes it."""
        file = FileIO(self.path / name)
        file.seek(offset)
        return file

    def link(self, name: str) -> str:
        """A second name for a content file; the content stays until both are removed."""
        other = secrets.token_hex(16)
        os.link(self.path / name, self.path / other)
        self.sync()
        return other

    def remove(self, names: Iterable[str | None]) -> None:
        """Remove content files; absent ones are fine. Readers that have one open keep it."""
        for name in names:
            if name is not None:
                (self.path / name).unlink(missing_ok=True)

    def remove_orphans(self, named: set[str]) -> int:
        """Remove the files that a killed process left behind; the count says how many."""
        orphans = [entry for entry in self.path.iterdir() if entry.name not in named]
        for orphan in orphans:
            orphan.unlink()
        return len(orphans)

    def sync(self) -> None:
        """Put the folder's names themselves on disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Receiver:
    """Takes a body piece by piece; `finish` makes it a Content, `discard` forgets it."""

    def __init__(self, folder: Folder, *, always_file: bool = False) -> None:
        self._folder = folder
        self._always_file = always_file
        self._pieces: list[bytes] = []
        self._file: BufferedWriter | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc64 = 0
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._md5.update(piece)
        self._crc64 = checksum.update(piece, self._crc64)
        self.size += len(piece)
        if self.size > SPOOL_MAX:
            self._opened().write(piece)
        else:
            self._pieces.append(piece)

    @property
    def is_small(self) -> bool:
        """Whether `finish` will not touch the disk."""
        return self.size <= INLINE_MAX and not self._always_file

    @property
    def md5(self) -> bytes:
        """The MD5 of what came so far."""
        return self._md5.digest()

    def finish(self) -> Content:
        """The whole body. A file is on disk and under its final name when this returns, so it may take a while."""
        if self.is_small:
            return Content(self.size, self.md5, self._crc64, b"".join(self._pieces), None)
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        name = secrets.token_hex(16)
        Path(file.name).rename(self._folder.path / name)
        self._file = None
        self._folder.sync()
        return Content(self.size, self.md5, self._crc64, None, name)

    def discard(self) -> None:
        """Forget what is not finished; harmless after `finish`."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None

    def _opened(self) -> BufferedWriter:
        """The file of this body; it begins with what was kept in memory so far."""
        if self._file is None:
            self._file = (self._folder.path / f"incoming-{secrets.token_hex(16)}").open("wb")
            self._file.writelines(self._pieces)
            self._pieces.clear()
        return self._file


def joined(folder: Folder, pieces: Iterable[Piece], *, always_file: bool = True) -> Content:
    """One content made of several, in order; raises FileNotFoundError when a file of them is gone."""
    receiver = Receiver(folder, always_file=always_file)
    try:
        for piece in pieces:
            for chunk in _chunks(folder, piece):
                receiver.write(chunk)
        return receiver.finish()
    finally:
        receiver.discard()


def _chunks(folder: Folder, piece: Piece) -> Iterator[bytes]:
    if piece.file is None:
        yield piece.inline[piece.start : piece.end]
        return
    with folder.open_at(piece.file, piece.start) as file:
        left = piece.end - piece.start
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            yield chunk
            left -= len(chunk)
