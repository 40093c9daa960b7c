"""Settlements and day parts that a test process has computed before, so that months played often compute each once.

The engine is a pure function of its day parts and its share, with no call to what is outside: nothing can go wrong in
the middle of it that does not go wrong at the calls around it. So is what builds day parts, of what was read and how.
(Equal inputs giving equal bytes are tests of their own.) What was never met, or failed, is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.bill.parts import Built
from shared.report import pdf
from shared.report.page import Page
from shared.settlement import engine, lines
from shared.settlement.engine import Settled
from shared.settlement.share import Share
from shared.steps import day_parts, ingest_file

_SETTLED: dict[str, Settled] = {}
_WRITTEN: dict[str, tuple[bytes, bytes]] = {}
_SET: dict[str, bytes] = {}
_BUILT: dict[str, tuple[Built, bytes, bytes]] = {}


@contextmanager
def remembering(*, settlements: bool = True) -> Iterator[None]:
    """Within it no day part, nor settlement, is computed that this process has computed before."""
    with pytest.MonkeyPatch.context() as patch:
        if settlements:
            KnownSettlements(patch)
        KnownParts(patch)
        KnownPages(patch)
        yield


@contextmanager
def without_pages() -> Iterator[None]:
    """Within it a PDF is what it would say, by its digest, and nothing is set: where only its being there matters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "render", lambda page, at: b"%PDF " + hashlib.sha256(repr((page, at)).encode()).digest())
        yield


class KnownPages:
    """Stands in for the setting of PDF files, by all that they say."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._render = pdf.render
        patch.setattr(pdf, "render", self.render)

    def render(self, page: Page, at: datetime) -> bytes:
        """What was set the first time."""
        key = repr((page, at))
        if key not in _SET:
            _SET[key] = self._render(page, at)
        return _SET[key]


class KnownParts:
    """Stands in for the building of day parts from pulls, by the digest of what is read and how."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._of_table, self._build = day_parts.of_table, day_parts.build
        self._last: tuple[Built, bytes, bytes] | None = None
        self._of_files = ingest_file._Taking._built
        patch.setattr(ingest_file._Taking, "_built", lambda *of: self.of_files(*of))
        patch.setattr(day_parts, "of_table", self.of_table)
        patch.setattr(day_parts, "build", self.build)

    def of_table(self, services: Any, connection: Any, table: Any, reading: Any, read: str, folder: Path) -> Any:
        """Keep what was built the first time."""
        if read not in _BUILT:
            described = self._of_table(services, connection, table, reading, read, folder)
            if self._last is not None:
                _BUILT[read] = self._last
            return described
        return day_parts.keep(services, reading, read, _drafted(read, folder))

    def of_files(self, taking: Any, splits: Any, days: list[Any]) -> list[tuple[Any, day_parts.Draft]]:
        """What was built the first time of days of bill files."""
        if not all(wanted.read in _BUILT for wanted in days):
            found = self._of_files(taking, splits, days)
            for wanted, draft in found:
                _BUILT[wanted.read] = draft.built, draft.part_path.read_bytes(), draft.trace_path.read_bytes()
            return found
        return [(wanted, _drafted(wanted.read, _made(taking._folder / wanted.read))) for wanted in days]

    def build(self, connection: Any, rows: str, form: Any, folders: Any) -> dict[str, day_parts.Draft]:
        """Build them, and remember what came of the last."""
        drafts = self._build(connection, rows, form, folders)
        for draft in drafts.values():
            self._last = draft.built, draft.part_path.read_bytes(), draft.trace_path.read_bytes()
        return drafts


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _drafted(read: str, folder: Path) -> day_parts.Draft:
    built, part, trace = _BUILT[read]
    draft = day_parts.Draft(built, folder / "part.parquet", folder / "trace.parquet")
    draft.part_path.write_bytes(part)
    draft.trace_path.write_bytes(trace)
    return draft


class KnownSettlements:
    """Stands in for the three steps of a settlement, for connections that day parts were loaded into."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._load, self._settle, self._write = lines.load_parts, engine.settle, engine.write
        self._loaded: tuple[Any, str] = None, ""  # the last connection that parts were loaded into, and their key
        patch.setattr(lines, "load_parts", self.load_parts)
        patch.setattr(engine, "settle", self.settle)
        patch.setattr(engine, "write", self.write)

    def load_parts(
        self, connection: Any, paths: Sequence[str], share: Share, others: Callable[[], Sequence[str]] = list
    ) -> None:
        """Load them, unless what comes of them is known; what may look back to earlier cycles always."""
        if share.earlier:
            self._loaded = None, ""
            self._load(connection, paths, share, others)
            return
        found = hashlib.sha256(repr(share).encode())
        for path in paths:
            found.update(hashlib.sha256(Path(path).read_bytes()).digest())
        self._loaded = connection, found.hexdigest()
        if self._loaded[1] not in _WRITTEN:
            self._load(connection, paths, share)

    def settle(self, connection: Any, share: Share) -> Settled:
        """What came of them the first time; what was loaded otherwise, as examples are, is settled."""
        loaded, key = self._loaded
        if loaded is not connection:
            return self._settle(connection, share)
        if key not in _WRITTEN:
            _SETTLED[key] = self._settle(connection, share)
        return _SETTLED[key]

    def write(self, connection: Any, lines_path: Path, held_path: Path) -> None:
        """Write what was written the first time."""
        loaded, key = self._loaded
        if loaded is not connection or key not in _WRITTEN:
            self._write(connection, lines_path, held_path)
        if loaded is not connection:
            return
        if key not in _WRITTEN:
            _WRITTEN[key] = lines_path.read_bytes(), held_path.read_bytes()
        written = _WRITTEN[key]
        lines_path.write_bytes(written[0])
        held_path.write_bytes(written[1])
