"""The chain as one file: written for an auditor, and checked with nothing but the file (format: README.md here).

A bundle comes from outside when it is checked: its names, sizes and counts are held against bounds before anything
of it is read, and its parts are read side by side.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from shared.chain.checking import Ledger, Part, Problem, Stored, check
from shared.chain.entry import ENTRY_BYTES_MAX, Head
from shared.errors import ClearbookError
from shared.ids import Digest, canonical_json

FORMAT = "clearbook-chain-1"
MEMBER_BYTES = 8 * 1024 * 1024
_HASH_CHARS = 64
_LINE_MAX = _HASH_CHARS + 1 + ENTRY_BYTES_MAX
_MEMBER_MAX = MEMBER_BYTES + _LINE_MAX + 1
_MANIFEST_MAX, _OBJECT_MAX = 256 * 1024 * 1024, 64 * 1024 * 1024
_MEMBERS_MAX = 200_000
_ALONE_MAX = 4 * MEMBER_BYTES  # of entries, up to which starting processes takes longer than it saves
_MANIFEST = "manifest.json"
_NAME = re.compile(
    r"manifest\.json|entries/\d{6}\.txt|anchors/\d{4}-\d\d-\d\d/[A-Za-z0-9._-]{1,200}\.json|objects/[0-9a-f]{64}",
    re.ASCII,
)


class BundleRefusedError(ClearbookError):
    """The file is no bundle."""

    code = "bundle_refused"

    def __init__(self, path: Path | str, place: str, problem: str) -> None:
        super().__init__(
            f"{path}, {place}: {problem}; a bundle is what `clearbook audit export` writes: fetch it once more"
        )
        self._given = (path, place, problem)

    def __reduce__(self) -> tuple[type[BundleRefusedError], tuple[Path | str, str, str]]:
        """As the processes that read parts hand it on."""
        return type(self), self._given


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to."""

    streams: int
    entries: int
    anchors: int
    objects: int
    uncompared: int  # how much is said of streams that are not in the bundle
    problems: Sequence[Problem]
    ledger: Ledger


class Writer:
    """Writes a bundle, which appears under its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._making = path, path.with_name(f".{path.name}.making")
        # An entry is mostly hashes: what stronger compression would save does not pay.
        self._zip = zipfile.ZipFile(self._making, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._lines, self._size, self._members = list[bytes](), 0, 0
        self._objects = set[str]()

    def entries(self, stored: Iterable[Stored]) -> None:
        """Add entries, in the order of streams and seq."""
        for one in stored:
            line = one.hash.encode() + b" " + one.raw + b"\n"
            self._lines.append(line)
            self._size += len(line)
            if self._size >= MEMBER_BYTES:
                self._flush()

    def anchor(self, name: str, body: bytes) -> None:
        """Add an anchor as it is kept."""
        self._put(name, body)

    def object(self, body: bytes) -> None:
        """Add an object that entries name by its digest."""
        name = f"objects/{sha256(body).hexdigest()}"
        if name not in self._objects:
            self._objects.add(name)
            self._put(name, body)

    def close(self, at: str, only: Sequence[str] | None, heads: Mapping[str, Head], entries: int) -> None:
        """Say what the bundle holds, and put it in its place."""
        self._flush()
        said = {
            "format": FORMAT, "at": at, "only": only, "entries": entries,
            "heads": {stream: [head.seq, head.hash] for stream, head in heads.items()},
        }  # fmt: skip
        self._put(_MANIFEST, canonical_json(said))
        self._zip.close()
        self._making.replace(self._path)

    def give_up(self) -> None:
        """Leave nothing behind."""
        self._zip.close()
        self._making.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._lines:
            self._members += 1
            self._put(f"entries/{self._members:06d}.txt", b"".join(self._lines))
            self._lines, self._size = [], 0

    def _put(self, name: str, body: bytes) -> None:
        # The same content gives the same bytes, whenever it is written.
        self._zip.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), body, zipfile.ZIP_DEFLATED, 1)


def check_bundle(path: Path, processes: int | None = None) -> Checked:
    """Check a whole bundle; raises BundleRefusedError where the file cannot be read as one."""
    try:
        with zipfile.ZipFile(path) as file:
            names = _names(path, file)
            manifest = _manifest(path, file)
            anchors = {name: heads_of(path, name, _body(path, file, name, _OBJECT_MAX)) for name in names["anchors"]}
            size = sum(file.getinfo(name).file_size for name in names["entries"])
            changed = [name for name in names["objects"] if not _is_named_by_content(path, file, name)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
        raise BundleRefusedError(path, "file", f"it is no zip file that can be read ({exc})") from exc

    ledger = Ledger()
    for name, heads in anchors.items():
        ledger.expect(name, heads)
    ledger.expect("the manifest", manifest["heads"])
    count = 1 if size <= _ALONE_MAX else min(processes or os.cpu_count() or 1, len(names["entries"]))
    for part in _parts(path, names["entries"], count):
        ledger.take(part)
    problems, uncompared = ledger.finish(manifest["only"])
    met = ledger.heads()
    beyond = [
        Problem(stream, head.seq, "the manifest does not know it: it was put in at the end")
        for stream, head in met.items()
        if stream not in manifest["heads"] or manifest["heads"][stream].seq < head.seq
    ]
    renamed = [Problem(name, 0, "the object does not have the digest that is its name") for name in changed]
    found = sorted([*problems, *beyond, *renamed])
    return Checked(len(met), ledger.entries, len(anchors), len(names["objects"]), uncompared, found, ledger)


def heads_of(path: Path | str, name: str, body: bytes) -> dict[str, Head]:
    """The heads that an anchor names."""
    return _heads(path, name, _json(path, name, body))


# -- reading ------------------------------------------------------------------------------------------------------


def _names(path: Path, file: zipfile.ZipFile) -> dict[str, list[str]]:
    """The members by their folder, in order."""
    listed = file.namelist()
    if len(listed) > _MEMBERS_MAX:
        raise BundleRefusedError(path, "file", f"it has {len(listed)} members, at most {_MEMBERS_MAX} are read")
    if len(set(listed)) != len(listed):
        raise BundleRefusedError(path, "file", "a member is there twice")
    found: dict[str, list[str]] = {"entries": [], "anchors": [], "objects": []}
    for name in sorted(listed):
        if not _NAME.fullmatch(name):
            raise BundleRefusedError(path, repr(name[:200]), "a bundle has no such member")
        if name != _MANIFEST:
            found[name.partition("/")[0]].append(name)
    return found


def _body(path: Path, file: zipfile.ZipFile, name: str, at_most: int) -> bytes:
    """A member's content; never more than `at_most`, whatever the file says of its size."""
    try:
        with file.open(name) as member:
            body = member.read(at_most + 1)
    except KeyError as exc:
        raise BundleRefusedError(path, name, "it is missing") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise BundleRefusedError(path, name, f"it cannot be unpacked ({exc})") from exc
    if len(body) > at_most:
        raise BundleRefusedError(path, name, f"it has more than {at_most} bytes")
    return body


def _json(path: Path | str, name: str, body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BundleRefusedError(path, name, f"it is no JSON ({exc})") from exc
    if not isinstance(data, dict):
        raise BundleRefusedError(path, name, "it is no JSON object")
    return data


def _heads(path: Path | str, name: str, data: Mapping[str, Any]) -> dict[str, Head]:
    heads = data.get("heads")
    try:
        if not isinstance(heads, dict):
            raise TypeError("no object")
        return {stream: Head(_seq(seq), Digest(bytes.fromhex(hash_).hex())) for stream, (seq, hash_) in heads.items()}
    except (TypeError, ValueError) as exc:
        raise BundleRefusedError(path, f"{name}, heads", "expected stream: [seq, hash]") from exc


def _seq(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _manifest(path: Path, file: zipfile.ZipFile) -> dict[str, Any]:
    data = _json(path, _MANIFEST, _body(path, file, _MANIFEST, _MANIFEST_MAX))
    if data.get("format") != FORMAT:
        raise BundleRefusedError(path, f"{_MANIFEST}, format", f"it is {data.get('format')!r}, expected {FORMAT!r}")
    only = data.get("only")
    if only is not None and not (isinstance(only, list) and all(isinstance(one, str) for one in only)):
        raise BundleRefusedError(path, f"{_MANIFEST}, only", "expected null or a list of streams")
    return {"only": only, "heads": _heads(path, _MANIFEST, data)}


def _is_named_by_content(path: Path, file: zipfile.ZipFile, name: str) -> bool:
    return sha256(_body(path, file, name, _OBJECT_MAX)).hexdigest() == name.partition("/")[2]


def _parts(path: Path, names: Sequence[str], processes: int) -> Iterator[Part]:
    if processes == 1:
        yield from (_part(path, name) for name in names)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(_part, [path] * len(names), names)


def _part(path: Path, name: str) -> Part:
    with zipfile.ZipFile(path) as file:
        body = _body(path, file, name, _MEMBER_MAX)
    if body and not body.endswith(b"\n"):
        raise BundleRefusedError(path, name, "its last line does not end")
    lines = body.split(b"\n")[:-1]
    return check(_stored(path, name, number, line) for number, line in enumerate(lines, 1))


def _stored(path: Path, name: str, number: int, line: bytes) -> Stored:
    if line[_HASH_CHARS : _HASH_CHARS + 1] != b" " or len(line) > _LINE_MAX:
        problem = f"expected {_HASH_CHARS} digits, a space and an entry"
        raise BundleRefusedError(path, f"{name}, line {number}", problem)
    return Stored(line[:_HASH_CHARS].decode("ascii", "replace"), line[_HASH_CHARS + 1 :])
