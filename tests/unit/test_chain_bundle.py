"""The chain checked, in the table and as a bundle: whatever was done to it is found and named."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.chain import bundle, checking
from shared.chain.bundle import BundleRefusedError, check_bundle
from shared.chain.chain import Chain
from shared.chain.checking import Ledger, Problem, Stored
from shared.chain.entry import ENTRY_BYTES_MAX, Draft
from shared.ids import canonical_json
from tests.fakes import MemoryRows

AT = "2025-07-01T00:00:00Z"
ANCHOR = "anchors/2025-07-01/day.json"
A, B = "reseller/a", "parties"


# -- a check from nothing but the description (shared/chain/README.md): no more than 40 lines, and nothing of ours ----


def independent_check(path: Path) -> list[str]:
    problems: list[str] = []
    hashes: dict[str, list[str]] = {}
    reads, heads = [], []
    with zipfile.ZipFile(path) as file:
        names = sorted(file.namelist())
        manifest = json.loads(file.read("manifest.json"))
        heads.append(("manifest", manifest["heads"]))
        for name in (one for one in names if one.startswith("anchors/")):
            heads.append((name, json.loads(file.read(name))["heads"]))
        for name in (one for one in names if one.startswith("objects/")):
            if hashlib.sha256(file.read(name)).hexdigest() != name.split("/")[1]:
                problems.append(f"{name}: changed")
        for name in (one for one in names if one.startswith("entries/")):
            for line in file.read(name).split(b"\n")[:-1]:
                kept, raw = line[:64].decode(), line[65:]
                entry = json.loads(raw)
                stream, seq = entry["stream"], entry["seq"]
                mine = hashes.setdefault(stream, ["0" * 64])
                again = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
                if hashlib.sha256(raw).hexdigest() != kept or again != raw:
                    problems.append(f"{stream} {seq}: edited")
                if seq != len(mine) or entry["previous"] != mine[-1]:
                    problems.append(f"{stream} {seq}: does not follow entry {len(mine) - 1}")
                mine.append(kept)
                reads += [(f"{stream} {seq}", {other: at}) for other, at in entry["reads"].items()]
    for by, named in heads + reads:
        for stream, (seq, kept) in named.items():
            if manifest["only"] is None or stream in manifest["only"]:
                mine = hashes.get(stream, ["0" * 64])
                if seq >= len(mine) or mine[seq] != kept:
                    problems.append(f"{stream} {seq}: not what {by} names")
    for stream, mine in hashes.items():
        if manifest["heads"].get(stream) != [len(mine) - 1, mine[-1]]:
            problems.append(f"{stream} {len(mine) - 1}: not what the manifest ends with")
    return problems


# -- what is tampered with ----------------------------------------------------------------------------------------


def written() -> MemoryRows:
    """Two streams, of which one reads the other."""
    rows = MemoryRows()
    chain = Chain(rows)
    for number in range(1, 4):
        chain.append(B, lambda _, number=number: Draft("noted", "x", AT, {"number": number}))  # type: ignore[misc]
    reads = chain.heads()
    for number in range(1, 7):
        draft = Draft("noted", "张三", AT, {"number": number, "why": '\u2028 é " \\'}, "test", reads)
        chain.append(A, lambda _, draft=draft: draft)  # type: ignore[misc]
    return rows


def export(rows: MemoryRows, path: Path, anchors: Mapping[str, bytes] | None = None) -> Path:
    chain, ledger, writer = Chain(rows), Ledger(), bundle.Writer(path)
    for stored in checking.parts(chain, ledger):
        ledger.take(checking.check(stored))
        writer.entries(stored)
    for name, body in (anchors if anchors is not None else anchored(rows)).items():
        writer.anchor(name, body)
    writer.object(b"a document")
    writer.close(AT, None, ledger.heads(), ledger.entries)
    return path


def anchored(rows: MemoryRows) -> dict[str, bytes]:
    heads = {stream: [head.seq, head.hash] for stream, head in Chain(rows).heads().items()}
    return {ANCHOR: canonical_json({"anchored": "day", "at": AT, "heads": heads})}


def with_lines(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """The bundle with other lines of entries; its manifest says of the heads what it said."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    lines = change(members["entries/000001.txt"].splitlines(keepends=True))
    members["entries/000001.txt"] = b"".join(lines)
    with zipfile.ZipFile(path, "w") as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


def line(data: Mapping[str, Any]) -> bytes:
    raw = canonical_json(data)
    return hashlib.sha256(raw).hexdigest().encode() + b" " + raw + b"\n"


def data(lines: list[bytes], number: int) -> dict[str, Any]:
    """What entry `number` of A says: those of B are the first three lines."""
    return dict(json.loads(lines[2 + number][65:]))


def edited(lines: list[bytes]) -> list[bytes]:
    lines[6] = lines[6].replace(b'"number":4', b'"number":9')
    return lines


def hashed_anew(lines: list[bytes]) -> list[bytes]:
    lines[6] = line({**data(lines, 4), "body": {"number": 9}})
    return lines


def all_hashed_anew(lines: list[bytes]) -> list[bytes]:
    """The fourth entry is another, and all after it are made to follow."""
    previous = data(lines, 4)["previous"]
    for number in range(4, 7):
        changed = {**data(lines, number), "previous": previous, "actor": "mallory"}
        lines[2 + number] = line(changed)
        previous = lines[2 + number][:64].decode()
    return lines


def missing(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], *lines[7:]]


def missing_first(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:]]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[6], lines[5], *lines[7:]]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], line({**data(lines, 4), "actor": "mallory"}), *lines[7:]]


def inserted(lines: list[bytes]) -> list[bytes]:
    """A further entry between the third and the fourth, and all after it under the next number."""
    new = {**data(lines, 4), "actor": "mallory"}
    return [*lines[:6], line(new), *(line({**data(lines, n), "seq": n + 1}) for n in range(4, 7))]


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:-2]


def appended(lines: list[bytes]) -> list[bytes]:
    last = lines[-1]
    return [*lines, line({**data(lines, 6), "seq": 7, "previous": last[:64].decode()})]


def gone(lines: list[bytes]) -> list[bytes]:
    return lines[3:]


def not_canonical(lines: list[bytes]) -> list[bytes]:
    raw = lines[-1][65:-1].replace(b'"seq":6', b'"seq": 6')
    return [*lines[:-1], hashlib.sha256(raw).hexdigest().encode() + b" " + raw + b"\n"]


TAMPERED: Mapping[Callable[[list[bytes]], list[bytes]], Problem] = {
    edited: Problem(A, 4, "its content does not have its hash"),
    hashed_anew: Problem(A, 5, "it does not name the hash of entry 4: one of the two was changed, put in or replaced"),
    all_hashed_anew: Problem(A, 6, f"{ANCHOR} names it with another hash: it was changed since"),
    missing: Problem(A, 4, "it is missing"),
    missing_first: Problem(A, 1, "it is missing"),
    reordered: Problem(A, 3, "it stands behind a later entry: their order was changed"),
    doubled: Problem(A, 4, "there is another entry of this number: one was inserted"),
    inserted: Problem(A, 5, "it does not name the hash of entry 4: one of the two was changed, put in or replaced"),
    truncated: Problem(A, 5, f"the stream ends before it, and {ANCHOR} names entry 6: the entries 5 to 6 were cut off"),
    appended: Problem(A, 7, "the manifest does not know it: it was put in at the end"),
    gone: Problem(B, 1, f"the stream is not there, and {ANCHOR} names its entry 3"),
    not_canonical: Problem(A, 5, "what stands after it is no entry: it is not canonical JSON"),
}


def test_an_untouched_bundle_passes_here_and_by_its_description_alone(tmp_path: Path) -> None:
    path = export(written(), tmp_path / "chain.zip")
    found = check_bundle(path)

    assert (found.problems, found.uncompared) == ([], 0)
    assert (found.streams, found.entries, found.anchors, found.objects) == (2, 9, 1, 1)
    assert independent_check(path) == []


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda one: one.__name__)
def test_a_tampered_bundle_is_caught_here_and_by_its_description_alone(
    tmp_path: Path, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = with_lines(export(written(), tmp_path / "chain.zip"), tamper)

    found = check_bundle(path).problems
    assert any(one[:2] == TAMPERED[tamper][:2] and TAMPERED[tamper].what in one.what for one in found), found
    assert independent_check(path) != []


def test_an_object_that_is_not_what_its_name_says_is_caught_here_and_by_the_description_alone(tmp_path: Path) -> None:
    path = export(written(), tmp_path / "chain.zip")
    name = f"objects/{hashlib.sha256(b'a document').hexdigest()}"
    with zipfile.ZipFile(path) as file:
        members = {one: file.read(one) for one in file.namelist()} | {name: b"another"}
    with zipfile.ZipFile(path, "w") as file:
        for one, body in members.items():
            file.writestr(one, body)

    assert [one.stream for one in check_bundle(path).problems] == [name]
    assert independent_check(path) == [f"{name}: changed"]


# -- the table while it is written to -----------------------------------------------------------------------------


def test_what_is_appended_while_the_table_is_read_is_no_contradiction(tmp_path: Path) -> None:
    """A stream that was read already goes on, and one that is read later names its new entry."""
    rows = written()
    chain, ledger = Chain(rows), Ledger()
    batches = checking.parts(chain, ledger)
    first = next(batches)
    ledger.take(checking.check([one for one in first if one.place and one.place[0] == B]))
    chain.append(B, lambda _: Draft("noted", "x", AT, {"number": 4}))
    chain.append(A, lambda _: Draft("noted", "x", AT, {"number": 7}, "", {B: chain.heads()[B]}))
    ledger.take(checking.check(checking_of(chain, A)))
    for stored in batches:
        ledger.take(checking.check(stored))

    assert ledger.finish() == ([], 0)
    assert {stream: head.seq for stream, head in ledger.heads().items()} == {B: 4, A: 7}


def checking_of(chain: Chain, stream: str) -> list[Stored]:
    return [one for batch in checking.of_stream(chain, stream) for one in batch]


def test_batches_of_any_size_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = written()
    stored = [*checking_of(Chain(rows), B), *checking_of(Chain(rows), A)]
    del stored[5]
    found = set()
    for size in range(1, len(stored) + 1):
        ledger = Ledger()
        for begin in range(0, len(stored), size):
            ledger.take(checking.check(stored[begin : begin + size]))
        found.add((tuple(ledger.finish()[0]), ledger.entries))

    assert found == {((Problem(A, 3, "it is missing"),), 8)}


def test_plain_data_has_one_spelling_however_it_is_asked_for() -> None:
    data = {"b": ['\u2028é"\\\n\x01\x7f😀', None, True, 1 << 70], "a": {"z": {}, "": -1}}
    assert checking.canonical(data) == canonical_json(data)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"stream":"a"}', "it has not the fields of an entry"),
        (b"[]", "it has not the fields of an entry"),
        (b"\xff", "it is no JSON"),
        (b"[" * 50_000, "it is no JSON"),
        (b'{"a":1,"a":1}', "it is not canonical JSON"),
        (b'{"a":1.5}', "it has a float, 1.5"),
        (b'{"a":NaN}', "it has a float, NaN"),
        (b'{"a":"\\u0041"}', "it is not canonical JSON"),
        (b'{"b":1,"a":1}', "it is not canonical JSON"),
        (b'"' + b"a" * ENTRY_BYTES_MAX + b'"', "of at most 65536"),
    ],
)
def test_bytes_that_are_no_entry_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(checking.UnreadableError, match=said):
        checking.read(raw)


@pytest.mark.parametrize(
    "change", [{"seq": 0}, {"seq": True}, {"previous": "no"}, {"reads": {"a": [1]}}, {"reads": {"a": ["1", "b"]}}]
)
def test_an_entry_of_other_types_is_refused(change: Mapping[str, Any]) -> None:
    [first, *_] = checking_of(Chain(written()), A)
    with pytest.raises(checking.UnreadableError, match="fields of an entry"):
        checking.read(canonical_json({**json.loads(first.raw), **change}))


def test_several_processes_come_to_what_one_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MEMBER_BYTES", 900)
    path = export(written(), tmp_path / "chain.zip")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    assert len([name for name in members if name.startswith("entries/")]) == 3
    alone = [check_bundle(with_member(path, members, "entries/000002.txt", change)) for change in CHANGES]
    monkeypatch.setattr(bundle, "_ALONE_MAX", 0)
    together = [check_bundle(with_member(path, members, "entries/000002.txt", change), 2) for change in CHANGES]

    assert [(one.entries, one.problems) for one in together] == [(one.entries, one.problems) for one in alone]
    assert [bool(one.problems) for one in together] == [False, True]
    with pytest.raises(BundleRefusedError, match="line 1: expected 64 digits"):
        check_bundle(with_member(path, members, "entries/000002.txt", lambda body: b"x\n"), 2)


CHANGES: tuple[Callable[[bytes], bytes], ...] = (lambda body: body, lambda body: body.replace(b'"noted"', b'"nited"'))


def with_member(path: Path, members: Mapping[str, bytes], name: str, change: Callable[[bytes], bytes]) -> Path:
    return zipped(path, {**members, name: change(members[name])})


# -- files that are no bundle -------------------------------------------------------------------------------------


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


MANIFEST = canonical_json({"format": bundle.FORMAT, "at": AT, "only": None, "entries": 0, "heads": {}})


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "manifest.json: it is missing"),
        ({"manifest.json": b"{}"}, "format: it is None, expected 'clearbook-chain-1'"),
        ({"manifest.json": b"["}, "manifest.json: it is no JSON"),
        ({"manifest.json": MANIFEST.replace(b"null", b'"x"')}, "only: expected null or a list"),
        ({"manifest.json": MANIFEST.replace(b'"heads":{}', b'"heads":{"a":[1,2]}')}, "heads: expected"),
        ({"manifest.json": MANIFEST, "../evil": b""}, "'../evil': a bundle has no such member"),
        ({"manifest.json": MANIFEST, "entries/000001.txt": b"x"}, "its last line does not end"),
        ({"manifest.json": MANIFEST, "entries/000001.txt": b"x\n"}, "line 1: expected 64 digits"),
        ({"manifest.json": MANIFEST, "entries/000001.txt": b"\0" * 9_000_000}, "more than 8454210 bytes"),
        ({"manifest.json": MANIFEST, "anchors/2025-07-01/day.json": b"{}"}, "heads: expected stream"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_file_that_is_no_bundle_is_refused_with_its_place(
    tmp_path: Path, members: Mapping[str, bytes], said: str
) -> None:
    with pytest.raises(BundleRefusedError) as refused:
        check_bundle(zipped(tmp_path / "odd.zip", members))
    assert said in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip_file_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "odd.zip").write_bytes(body)
    with pytest.raises(BundleRefusedError, match="no zip file"):
        check_bundle(tmp_path / "odd.zip")


def test_a_bundle_cut_short_or_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    whole = export(written(), tmp_path / "chain.zip").read_bytes()
    for body in (whole[:-40], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        (tmp_path / "odd.zip").write_bytes(body)
        with pytest.raises(BundleRefusedError):
            check_bundle(tmp_path / "odd.zip")
