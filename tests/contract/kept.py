"""Everything that a home keeps, as the files of its services hold it, to compare with what another home keeps.

Nothing is compared by way of Clearbook or its SDKs: objects with their bytes, and rows with their cells and times.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from infra.localcloud.tablestore import plainbuffer

# What may differ between two plays of one month, and why. Whatever is not named here is equal to the byte.
MAY_DIFFER = {
    "table steps": "the diary for people: what was killed after its last write has no note, and what found its work "
    "done by the attempt before notes that; no correctness rests on it",
    "table quotas": "the places that calls took among those of a second, in moments of the system's time",
    "table access_log": "who looked when, each look a row of a random name",
    "table reports": "how often a run said how far it is; the files that it made are compared",
    "table limits": "how much somebody may ask at the moment",
    "links that messages tell": "the ports of a home are its own; the tokens behind them are compared",
    "RequestId in raw pages": "the provider names each of its answers anew; the rest of the page is equal",
    "anchors of a day": "they name where the streams stood when a sweep looked, and how many nights passed; the heads "
    "that the streams have in the end are compared, and so are the anchors of locks and payouts",
    "drafts of the month after": "a day's draft is of the seals that were there when it was ordered, and those of two "
    "payers come side by side; a draft decides nothing",
    "digests of raw pages in _complete.json": "they cover the RequestId; the pages that they name are equal",
}
_UNCOMPARED = ("steps", "quotas", "access_log", "reports", "limits")
_TELLS_LINKS = "slots"
_COMPLETE = "/_complete.json"
_DAY = re.compile(r".*/anchors/[0-9-]{10}/day\.json")
_DRAFTS_AFTER = re.compile(r".*-work/(?:drafts|settlements|work/settle)/2025-07/.*")
_TEXT_HEAD = 5  # the kind and the length before a text in a cell
_ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+/http/portal/d/")
_REQUEST_ID = re.compile(rb'"RequestId": ?"[^"]*"')


@dataclass(frozen=True, slots=True)
class Kept:
    """Objects by bucket and key, rows by table and key; the heads of the chain's streams are (seq, hash)."""

    objects: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]
    heads: Mapping[str, tuple[int, str]]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each table has, and how many objects there are."""
        return {"objects": len(self.objects), **{name: len(rows) for name, rows in self.tables.items()}}


def kept(home: Path) -> Kept:
    """What the home keeps, without what may differ."""
    tables = {name: rows for name, rows in _tables(home).items() if name not in _UNCOMPARED}
    texts = {name: _texts(rows) for name, rows in tables.items()}
    # The digest of a row would cover the address.
    told = {repr(key): str(_without_address(_cells(row))) for key, row in tables[_TELLS_LINKS].items()}
    return Kept(_objects(home), texts | {_TELLS_LINKS: told}, _heads(tables["chain"]))


def differences(one: Kept, other: Kept) -> list[str]:
    """Each object, row, table and head in which they differ, by name."""
    pairs = [("object", one.objects, other.objects), ("head of", one.heads, other.heads)]
    pairs += [
        (f"row of {name}", one.tables.get(name, {}), other.tables.get(name, {}))
        for name in sorted(one.tables.keys() | other.tables.keys())
    ]
    return [
        f"{what} {key}: {mine.get(key)} is not {theirs.get(key)}"
        for what, mine, theirs in pairs
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    ]


def _objects(home: Path) -> dict[str, str]:
    """Each object's digest, with what OSS says of it besides."""
    query = "SELECT bucket, key, modified, type, headers, file, inline FROM object"
    bodies, said = dict[str, bytes](), dict[str, tuple[object, ...]]()
    with closing(_open(home / "oss" / "oss.db")) as database:
        for bucket, key, modified, type_, headers, file, inline in database.execute(query):
            name = f"{bucket}/{bytes(key).decode()}"
            if _DAY.fullmatch(name) or _DRAFTS_AFTER.fullmatch(name):
                continue
            body = bytes(inline) if file is None else _content(home / "oss" / "objects", file)
            body = _ADDRESS.sub(b"", body) if "/outbox/owners/" in name else body
            bodies[name], said[name] = body, (modified, type_, headers)
    pages = {name: _without_request_id(body) for name, body in bodies.items() if _is_page(name)}
    renamed = {
        digest.encode(): _digest(page).encode()
        for name, page in pages.items()
        for digest in (_digest(bodies[name]), _digest(gzip.decompress(bodies[name])))
    }
    bodies |= pages | {name: _renamed(bodies[name], renamed) for name in bodies if name.endswith(_COMPLETE)}
    # The size and eTag of a page cover its RequestId, so neither is among what OSS says of it.
    return {name: f"{_digest(body)} {said[name]}" for name, body in bodies.items()}


def _is_page(name: str) -> bool:
    return "/raw/" in name and name.endswith(".json.gz")


def _without_request_id(page: bytes) -> bytes:
    text, count = _REQUEST_ID.subn(b"", gzip.decompress(page))
    assert count == 1, f"a raw page has {count} request ids"
    return text


def _renamed(body: bytes, names: Mapping[bytes, bytes]) -> bytes:
    return re.sub(rb"[0-9a-f]{64}", lambda found: names.get(found[0], found[0]), body)


def _content(folder: Path, file: str) -> bytes:
    [path] = folder.rglob(file)
    return path.read_bytes()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _tables(home: Path) -> dict[str, dict[bytes, bytes]]:
    """The rows of each table as they are stored."""
    [path] = (home / "tablestore").glob("*.db")
    with closing(_open(path)) as database:
        found = list(database.execute("SELECT number, name FROM tables"))
        return {
            name: {bytes(key): bytes(row) for key, row in database.execute(f"SELECT key, row FROM rows_{number}")}
            for number, name in found
        }


def _texts(rows: Mapping[bytes, bytes]) -> dict[str, str]:
    return {repr(key): f"{_cells(row)} {_digest(row)}" for key, row in rows.items()}


def _cells(row: bytes) -> dict[str, bytes]:
    cells = plainbuffer.split_row(row).cells.items()
    return {name.decode(): plainbuffer.cell_value(name, cell) for name, cell in cells}


def _without_address(cells: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: _ADDRESS.sub(b"", value) for name, value in cells.items()}


def _heads(chain: Mapping[bytes, bytes]) -> dict[str, tuple[int, str]]:
    """The newest entry of each stream."""
    heads: dict[str, tuple[int, str]] = {}
    for row in chain.values():
        cells = _cells(row)
        entry = json.loads(cells["entry"][_TEXT_HEAD:])
        head = (entry["seq"], cells["hash"][_TEXT_HEAD:].decode())
        heads[entry["stream"]] = max(heads.get(entry["stream"], (0, "")), head)
    return heads


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
