"""What a native library asks of the system it is loaded on: read from its ELF tables, without loading it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x7fELF"
_X86_64 = 62
_VERSION_NEEDS = 0x6FFFFFFE  # section type SHT_GNU_verneed (Linux Standard Base, symbol versioning)
# What Debian 11 has, on which Function Compute's python3.12 runs (runtime table, 2026-06-02): glibc 2.31, GCC 10.
CEILINGS = {"GLIBC": (2, 31), "GLIBCXX": (3, 4, 28), "CXXABI": (1, 3, 12), "GCC": (10, 2, 0)}
_TAGS = re.compile(r"\.(cpython-[\w-]+|abi\d+)\.so$")


def is_native(path: Path) -> bool:
    """Whether the file is an ELF file, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def problems(path: Path, name: str) -> list[str]:
    """Why the file cannot load on the target, each naming it as `name`; empty when it can."""
    tag = _TAGS.search(path.name)
    if tag is not None and tag[1] != "abi3" and not tag[1].startswith("cpython-312-x86_64"):
        return [f"{name}: it is built for {tag[1]}; expected cpython-312-x86_64 or abi3"]
    try:
        needs = list(version_needs(path.read_bytes()))
    except (struct.error, ValueError, IndexError) as exc:
        return [f"{name}: it is no x86-64 ELF library ({exc}); build it for Linux on x86-64"]
    found = []
    for need in needs:
        family, _, number = need.partition("_")
        ceiling = CEILINGS.get(family)
        if ceiling is None or not number.replace(".", "").isdigit():
            continue
        if tuple(map(int, number.split("."))) > ceiling:
            most = ".".join(map(str, ceiling))
            found.append(f"{name}: it needs {need}, and the runtime has {family}_{most}; lock a version built for that")
    return found


def version_needs(body: bytes) -> Iterator[str]:
    """The symbol versions that a 64-bit library asks other libraries for, such as GLIBC_2.17."""
    if body[:4] != MAGIC or body[4] != 2 or body[5] != 1:
        raise ValueError("not a 64-bit little-endian ELF file")
    machine = struct.unpack_from("<H", body, 18)[0]
    if machine != _X86_64:
        raise ValueError(f"it is for machine {machine}")
    table, size, count = struct.unpack_from("<Q", body, 40)[0], *struct.unpack_from("<HH", body, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", body, table + index * size) for index in range(count)]
    for _, kind, _, _, at, _, link, entries, _, _ in sections:
        if kind == _VERSION_NEEDS:
            yield from _needs(body, at, entries, sections[link][4])


def _needs(body: bytes, at: int, entries: int, strings: int) -> Iterator[str]:
    for _ in range(entries):
        _, count, _, auxiliary, following = struct.unpack_from("<HHIII", body, at)
        entry = at + auxiliary
        for _ in range(count):
            _, _, _, name, after = struct.unpack_from("<IHHII", body, entry)
            start = strings + name
            yield body[start : body.index(b"\0", start)].decode()
            entry += after
        at += following
