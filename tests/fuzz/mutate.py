"""Changes to bills that reach deep into their readers: of cells, quotes, line ends, encodings, headers and packing."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz import seeds

CELLS = (
    "", " ", "0", "-0", "+5", " 1 ", "1e400", "1E+3", "1e-10", "1.5e-10", "1.2345678E-10", "9.9999999e9", "NaN", "inf",
    "１２３", "1,234.50", "0x10", "1_000", ".5", "5.", "1.12345678901", "1.10000000000", "9" * 18, "9" * 19,
    "-" + "9" * 18,
    "0." + "9" * 10, "0" * 40 + "1", "1." + "0" * 400, "2025-02-30", "20250230", "20250605", "2025-06-05", "2025-06-31",
    "1999-01-01", "2099-12-31", "2025-06-05T10:00:00Z", "2025-06-05 10:00:00", "2025-13", "202506", "2025-06", "cny",
    "RMB", "CNY", "合计", "总计", "=1+1", '"', '""', "a\nb", "a\r\nb", "a\rb", "\x00", "\x1e", "\x1f", "\ufeff",
    "\u3000",
    "\xa0", "x" * 300, '{"a": "b", "c": [1, 2]}', '{\\"k\\": 1}', "a:1;b:2", "key:a value:b; key:c value:d", "\ud800",
)  # fmt: skip
_BYTES = (
    b'"', b'""', b",", b",,", b"\r", b"\n", b"\r\n", b"\n\n", b"\0", b"\xef\xbb\xbf", b'" ', b' "', b'\t"', b'\\"',
    b"\x1a",
    b"\xff\xfe", "金额".encode("gbk"), "金".encode()[:2], b"\xed\xa0\x80", b"'", b"#", b";",
)  # fmt: skip

Change = Callable[[bytes, random.Random], bytes]


def file(body: bytes, chance: random.Random, byte_by_byte: Change) -> bytes:
    """A bill file, changed once or a few times."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        body = _once(body, chance, byte_by_byte)
    return body


def _once(body: bytes, chance: random.Random, byte_by_byte: Change) -> bytes:
    if body.startswith((b"PK", b"\x1f\x8b", b"PAR1")):
        inner = _inner(body) if chance.random() < 0.6 else None
        if inner is None:
            return byte_by_byte(body, chance)
        return _pack(_once(inner, chance, byte_by_byte), chance)
    if chance.random() < 0.05:
        return _pack(body, chance)
    return chance.choice((_cell, _cell, _cell, _lines, _insert, _insert, _written, _header, byte_by_byte))(body, chance)


def _inner(body: bytes) -> bytes | None:
    try:
        if body.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                return archive.read(archive.namelist()[0])
        return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else None
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        IndexError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
    ):
        return None


def _pack(body: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return gzip.compress(body, 1, mtime=0)
    return seeds.packed({str(number): body for number in range(chance.choice((1, 1, 2)))})


def _table(body: bytes) -> tuple[list[bytes], bytes]:
    end = b"\r\n" if b"\r\n" in body else b"\n"
    return body.split(end), end


def _cell(body: bytes, chance: random.Random) -> bytes:
    """Another text in one cell; the rest of the file as it is."""
    lines, end = _table(body)
    place = chance.randrange(len(lines))
    cells = lines[place].split(b",")
    text = chance.choice(CELLS)
    if chance.random() < 0.4:
        text = _number(chance)
    if chance.random() < 0.6 and any(one in text for one in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    cells[chance.randrange(len(cells))] = text.encode("utf-8", "surrogatepass")
    lines[place] = b",".join(cells)
    return end.join(lines)


def _number(chance: random.Random) -> str:
    digits = "".join(chance.choice("0123456789") for _ in range(chance.choice((1, 2, 5, 17, 18, 19, 20))))
    after = "".join(chance.choice("0001239") for _ in range(chance.choice((0, 1, 7, 8, 10, 11, 18, 19))))
    exponent = chance.choice(("", "", "", f"{chance.choice('eE')}{chance.randrange(-12, 12)}"))
    if exponent:
        digits = digits[:1]
    return chance.choice(("", "", "-", "+")) + digits + (f".{after}" if after else "") + exponent


def _lines(body: bytes, chance: random.Random) -> bytes:
    """A row doubled, dropped, moved, cut, emptied, or two made one."""
    lines, end = _table(body)
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    what = chance.randrange(7)
    if what == 0:
        lines.insert(other, lines[place])
    elif what == 1 and len(lines) > 1:
        del lines[place]
    elif what == 2:
        lines[place], lines[other] = lines[other], lines[place]
    elif what == 3:
        lines[place] = lines[place][: chance.randrange(len(lines[place]) + 1)]
    elif what == 4:
        lines.insert(place, chance.choice((b"", b" ", b",", b'""')))
    elif what == 5:
        lines[place] = lines[place] + lines[other]
    else:
        lines[place] += chance.choice((b",", b',""', b",x", b" ", b'"', b"\r"))
    return end.join(lines)


def _insert(body: bytes, chance: random.Random) -> bytes:
    """Bytes that mean something to a reader, anywhere."""
    place = chance.randrange(len(body) + 1)
    if chance.random() < 0.5:  # beside a comma, where they mean most
        place = max(body.find(b",", place), 0) + chance.randrange(2)
    return body[:place] + chance.choice(_BYTES) + body[place + chance.choice((0, 0, 0, 1, 3)) :]


def _written(body: bytes, chance: random.Random) -> bytes:
    """The whole file in another encoding, or with other line ends."""
    text = body.decode("utf-8", "replace")
    what = chance.randrange(7)
    if what < 3:
        return text.encode(("gbk", "utf-16", "utf-16-le")[what], "replace")
    if what == 3:
        return body.removesuffix(b"\n").removesuffix(b"\r")
    old, new = ((b"\r\n", b"\n"), (b"\n", b"\r\n"), (b"\r\n", b"\r"))[what - 4]
    return body.replace(old, new)


def _header(body: bytes, chance: random.Random) -> bytes:
    """A column away, moved, doubled, or named otherwise, in the header alone or in every row."""
    lines, end = _table(body)
    rows = [line.split(b",") for line in lines]
    if chance.random() < 0.3:
        rows = rows[:1]
    width = len(rows[0])
    place, other = chance.randrange(width), chance.randrange(width)
    what = chance.randrange(4)
    for row in rows:
        if max(place, other) >= len(row):
            continue
        if what == 0 and len(row) > 1:
            del row[place]
        elif what == 1:
            row[place], row[other] = row[other], row[place]
        elif what == 2:
            row.insert(other, row[place])
        elif row is rows[0]:
            row[place] = chance.choice(
                (b"", b" " + row[place] + b" ", b"=1+1", row[place].lower(), b'"' + row[place] + b'"')
            )
    return end.join([b",".join(row) for row in rows] + lines[len(rows) :])


def page(body: bytes, chance: random.Random, byte_by_byte: Change) -> bytes:
    """A page of the API: another value in one of its places, or other bytes."""
    try:
        answer = json.loads(body, parse_float=str, parse_int=str)
        item = chance.choice(answer["Data"]["Items"])
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        return byte_by_byte(body, chance)
    if not isinstance(item, dict) or chance.random() < 0.2:
        return byte_by_byte(body, chance)
    odd: list[Any] = [None, True, [], {}, [[]] * 3, {"a": 1}, 10**30, -1, "\ud800", "\x00"]
    name = chance.choice([*seeds.ITEM, "DeductedByCoupons", "Unknown"])
    where = chance.choice((item, item, item, item, answer["Data"], answer))
    if where is not item:
        name = chance.choice(list(where))
    where[name] = chance.choice((chance.choice(CELLS), _number(chance), chance.choice(odd)))
    if chance.random() < 0.2 and isinstance(answer["Data"], dict) and isinstance(answer["Data"].get("Items"), list):
        answer["Data"]["Items"].append(dict(item))
    return json.dumps(answer, ensure_ascii=chance.random() < 0.7).encode("utf-8", "surrogatepass")


def text(body: bytes, chance: random.Random, byte_by_byte: Change) -> bytes:
    """Tags and names: pieces of others in between."""
    if chance.random() < 0.4:
        return byte_by_byte(body, chance)
    pieces = [
        *seeds.TAGS,
        *seeds.NAMES,
        ";",
        ":",
        "; key:",
        " value:",
        "key:",
        '"',
        "\\",
        "/",
        "_",
        "\x00",
        "２０２５０６",
        "20259913",
        "\\ud800",
    ]
    place = chance.randrange(len(body) + 1)
    piece = chance.choice(pieces).encode()
    return body[:place] + piece + body[place + chance.choice((0, 0, 1, 5, 20)) :]


OF = {"rows": file, "split": file, "pages": page, "tags": text, "names": text}
