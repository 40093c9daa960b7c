"""Settlements that a test process has computed before, so that months played hundreds of times compute each once.

The engine is a pure function of its day parts and its share, with no call to what is outside: nothing can go wrong in
the middle of it that does not go wrong at the calls around it. (Equal inputs giving equal bytes is a test of the
engine's own.) Inputs that were never met, and settlements that fail, are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.settlement import engine, lines
from shared.settlement.engine import Settled
from shared.settlement.lines import Share


class KnownSettlements:
    """Stands in for the three steps of a settlement, for connections that day parts were loaded into."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._load, self._settle, self._write = lines.load_parts, engine.settle, engine.write
        self._loaded: tuple[Any, str] = None, ""  # the last connection that parts were loaded into, and their key
        self._settled: dict[str, Settled] = {}
        self._written: dict[str, tuple[bytes, bytes]] = {}
        patch.setattr(lines, "load_parts", self.load_parts)
        patch.setattr(engine, "settle", self.settle)
        patch.setattr(engine, "write", self.write)

    def load_parts(self, connection: Any, paths: Sequence[str], share: Share) -> None:
        """Load them, unless what comes of them is known."""
        agreements = [(one.id, one.version, one.digest) for one in share.agreements]
        found = hashlib.sha256(repr((share.owner, str(share.cycle), share.assignments, agreements)).encode())
        for path in paths:
            found.update(hashlib.sha256(Path(path).read_bytes()).digest())
        self._loaded = connection, found.hexdigest()
        if self._loaded[1] not in self._written:
            self._load(connection, paths, share)

    def settle(self, connection: Any, share: Share) -> Settled:
        """What came of them the first time; what was loaded otherwise, as examples are, is settled."""
        loaded, key = self._loaded
        if loaded is not connection:
            return self._settle(connection, share)
        if key not in self._written:
            self._settled[key] = self._settle(connection, share)
        return self._settled[key]

    def write(self, connection: Any, lines_path: Path, held_path: Path) -> None:
        """Write what was written the first time."""
        loaded, key = self._loaded
        if loaded is not connection or key not in self._written:
            self._write(connection, lines_path, held_path)
        if loaded is not connection:
            return
        if key not in self._written:
            self._written[key] = lines_path.read_bytes(), held_path.read_bytes()
        written = self._written[key]
        lines_path.write_bytes(written[0])
        held_path.write_bytes(written[1])
