"""Odd bill files, each with its decided answer: refused as a whole, or rows that are no line beside the others.

The answers are listed in shared/bill/formats/README.md. `python -m tests.fuzz` found many of them.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import resource
import struct
import sys
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from shared.bill import api, files, formats, parts, raw, tags
from shared.bill.formats import Format
from shared.bill.normalise import Reading
from shared.errors import BadInputError
from shared.steps import splitting
from shared.steps.ingest_file import told_by
from shared.steps.splitting import Split, place_of
from tests.fuzz import seeds, targets

PAYER, OWNER = "1234567890123456", "2234567890123456"
HEADERS = (
    "Billing Cycle", "User ID", "Linked User ID", "Order Type", "Product Code", "Original Cost",
    "Pretax Cost(Before Round Down Discount)", "Currency", "Consume Time", "Instance Name", "Instance Tag",
)  # fmt: skip
GOOD = {
    "Billing Cycle": "202506", "User ID": PAYER, "Linked User ID": OWNER, "Order Type": "Refund", "Product Code": "ecs",
    "Original Cost": "2", "Pretax Cost(Before Round Down Discount)": "1.5", "Currency": "CNY",
    "Consume Time": "2025-06-05 10:00:00", "Instance Name": "a", "Instance Tag": "",
}  # fmt: skip
PRETAX = "Pretax Cost(Before Round Down Discount)"
MB = 1024**2


def row(**cells: str) -> str:
    """A row of a partner's bill; cells are named by the first word of their header."""
    values = dict(GOOD)
    for name, text in cells.items():
        header = next(header for header in HEADERS if header.startswith(name.replace("_", " ")))
        values[header] = text
    return ",".join(values[header] for header in HEADERS)


def bill(*rows: str, end: str = "\n", header: str = ",".join(HEADERS)) -> bytes:
    """A file of these rows between two good ones."""
    return (end.join([header, row(Instance_Name="first"), *rows, row(Instance_Name="last")]) + end).encode(
        "utf-8", "surrogateescape"
    )


class Room:
    """Where files are taken apart."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._base, self.folder, self.connection = folder, folder, connection

    def take(self, body: bytes | Path, **reading: str) -> Split:
        """Take a file apart for the payer."""
        self.folder = self._base / str(len(list(self._base.iterdir())))
        self.folder.mkdir()
        path = body if isinstance(body, Path) else self.folder / "file"
        if isinstance(body, bytes):
            path.write_bytes(body)

        def reading_of(form: Format) -> Reading:
            return Reading(form, "negative", PAYER, reading.get("cycle", ""), "", "CNY")

        return splitting.split(self.connection, path, "bill.csv", reading_of, self.folder)

    def amounts(self, found: Split, column: str = "pretax") -> list[Decimal]:
        """An amount of every line, in the order of the file."""
        query = f"SELECT {column} FROM {found.lines} ORDER BY page, row"
        return [amount for (amount,) in self.connection.execute(query).fetchall()]

    def refused(self, body: bytes | Path) -> str:
        """Why a file is refused."""
        with pytest.raises(BadInputError) as caught:
            self.take(body)
        assert len(str(caught.value)) < 1_000
        assert caught.value.remedy
        return str(caught.value)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with duckdb.connect(config={"threads": 1, "temp_directory": str(tmp_path)}) as connection:
        yield Room(tmp_path, connection)


# -- texts of a cell


TAKEN = {
    "-0": "0", " 1 ": "1", "+5": "5", "1e-10": "1E-10", "1E3": "1000", "5.": "5", "1.00000000000": "1", "007.50": "7.5",
    "1.5e-9": "1.5E-9", "9" * 18: "9" * 18, "\u3000-1.5\xa0": "-1.5", '"2"': "2",
}  # fmt: skip
NO_NUMBER = (
    "1e400", "NaN", "nan", "inf", "-Infinity", "１２３", '"1,234.50"', "0x10", "1_000", "1E+3", "1.23E+05", "9" * 19,
    "1.12345678901", "1.5e-10", "1e-11", ".5", "1 000", "--1", "¥1", "1%", "=1+1", "(5)", "'5",
)  # fmt: skip


@pytest.mark.parametrize(("text", "amount"), TAKEN.items())
def test_a_number_is_taken_to_its_last_digit(room: Room, text: str, amount: str) -> None:
    found = room.take(bill(row(Pretax=text)))

    assert room.amounts(found) == [Decimal("1.5"), Decimal(amount), Decimal("1.5")]
    assert str(room.amounts(found)[1])[0] != "-" or amount[0] == "-", "there is no negative zero"


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_no_exact_number_is_a_reject_and_the_rest_goes_on(room: Room, text: str) -> None:
    found = room.take(bill(row(Pretax=text)))

    [reject] = found.rejects
    assert (reject.page, reject.row) == (1, 1)
    assert reject.reason.endswith("is no number that can be held exactly")
    assert room.amounts(found) == [Decimal("1.5")] * 2


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("Consume", "2025-02-30", "Consume Time 2025-02-30 is no date"),
        ("Consume", "2025-06-05T10:00:00Z", "Consume Time 2025-06-05T10:00:00Z is no date"),
        ("Consume", "1925-06-05", "Consume Time 1925-06-05 is no date"),
        ("Consume", "12025-06-05", "Consume Time 12025-06-05 is no date"),
        ("Billing", "202513", "Billing Cycle 202513 is no month"),
        ("Billing", "292506", "Billing Cycle 292506 is no month"),
        ("Billing", "", "Billing Cycle is missing"),
        ("User", OWNER, f"User ID {OWNER} is not the payer"),
        ("User", "", None),
        ("Linked", "", "Linked User ID names no account whose number is known"),
        ("Order", "Gift", "Order Type Gift is of no known kind"),
        ("Pretax", "", f"{PRETAX} is missing"),
        ("Currency", "", "Currency is missing"),
        ("Instance Name", "a\x00b", "holds a NUL character"),
        ("Instance Name", "\udcbd\udcf0", "holds bytes that are no UTF-8"),  # 金 in GBK begins so
    ],
)
def test_a_text_that_is_wrong_is_a_reject_with_its_reason(
    room: Room, column: str, text: str, reason: str | None
) -> None:
    found = room.take(bill(row(**{column.replace(" ", "_"): text})))

    assert [one.reason for one in found.rejects] == ([reason] if reason else [])
    assert sum(found.counts.values()) + len(found.rejects) == found.rows == 3


def test_a_row_of_another_cycle_than_the_name_tells_is_a_reject(room: Room) -> None:
    found = room.take(bill(row(Billing="202507", Consume="2025-07-01 00:00:00")), cycle="2025-06")

    assert [one.reason for one in found.rejects] == ["Billing Cycle 202507 is not 2025-06"]


def test_a_charge_outside_of_its_cycle_has_the_cycles_last_day(room: Room) -> None:
    found = room.take(bill(row(Consume="2099-06-05 10:00:00")))

    assert found.counts[PAYER, "2025-06", "2025-06-30"] == 1


@pytest.mark.parametrize(("text", "is_taken"), [("cny", False), ("RMB", False), ("USD", True)])
def test_a_currency_is_an_iso_code_as_it_is_written(room: Room, text: str, is_taken: bool) -> None:
    found = room.take(bill(row(Currency=text)))

    target = parts.Target(room.folder / "part", room.folder / "trace")
    [place] = (place_of(*place) for place in found.counts)
    built = parts.build(room.connection, found.lines, found.form.tags, [], {place: target})[place]
    assert [one.reason for one in built.rejects] == ([] if is_taken else [f"currency {text} is no ISO 4217 code"])


# -- rows and quotes


def test_a_quote_that_never_closes_at_the_end_refuses_the_file(room: Room) -> None:
    """A plain reader drops the row and says nothing."""
    assert "row 1: cannot be told from what follows" in room.refused(bill().removesuffix(b"\n") + b'"x')
    assert "row 2: cannot be told from what follows" in room.refused(bill() + b'"x')


@pytest.mark.parametrize("rest", [1, 20_000])
def test_a_quote_that_never_closes_in_the_middle_refuses_the_file(room: Room, rest: int) -> None:
    message = room.refused(bill(row(Instance_Name='"a'), *[row()] * rest))

    assert "bill.csv, row 1" in message
    assert "nothing of the file was taken" in message


def test_text_behind_a_closing_quote_refuses_the_file(room: Room) -> None:
    assert "cannot be told from what follows" in room.refused(bill(row(Instance_Name='"a"b')))
    assert "cannot be told from what follows" in room.refused(bill(row(Instance_Name='"a" ')))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('x"y', 'x"y'),
        (' "a"', '"a"'),
        ('"a""b"', 'a"b'),
        ('"a\nb"', "a\nb"),
        ('"a,b"', "a,b"),
        ('"{\\""k\\"": 1, ""x"": ""y""}"', '{\\"k\\": 1, "x": "y"}'),
        ("=1+1", "=1+1"),
    ],
)
def test_a_cell_is_kept_as_it_is_written(room: Room, cell: str, text: str) -> None:
    found = room.take(bill(row(Instance_Name=cell)))

    assert found.rejects == []
    assert room.amounts(found, "instance_name") == ["first", text, "last"]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (row() + ",", "has 12 cells, expected 11"),
        (row(Instance_Name="a,b").removesuffix(",") + ",", "has 12 cells, expected 11"),  # the cells behind have moved
        (row() + ",,", "has 13 cells, expected 11"),
        (row() + ",x", "has 12 cells, expected 11"),
        (row().removesuffix(","), "has 10 cells, expected 11"),
        ("x", "has 1 cells, expected 11"),
        (" ", "has 1 cells, expected 11"),
        (",".join(HEADERS), "User ID User ID is not the payer"),
        ("," * 10, "Billing Cycle is missing"),
    ],
)
def test_a_row_of_another_shape_is_a_reject_and_the_rest_goes_on(room: Room, odd: str, reason: str) -> None:
    found = room.take(bill(odd))

    assert [(one.row, one.reason) for one in found.rejects] == [(1, reason)]
    assert sum(found.counts.values()) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do_and_blank_lines_are_none(room: Room, end: str) -> None:
    for body in (bill(row(), end=end), bill("", row(), "", end=end), bill(row(), end=end).strip()):
        found = room.take(body)
        assert (found.rows, sum(found.counts.values()), found.rejects) == (3, 3, [])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\r\nb", "\r", "\n\n", "a\n\rb"])
def test_line_ends_of_any_kind_may_stand_in_a_quoted_cell(room: Room, text: str, end: str) -> None:
    found = room.take(bill(row(Instance_Name=f'"{text}"'), end=end))

    assert found.rejects == []
    assert room.amounts(found, "instance_name") == ["first", text.strip() or None, "last"]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\r\nb", '"', 'a"b', '"a,b"', "a\x1fb", "\x1f", "a\u2028b"])
def test_any_text_may_stand_in_an_item_of_a_page(room: Room, text: str) -> None:
    pages = [(name, seeds.page(seeds.ITEM | {"NickName": name}, seeds.ITEM)) for name in ("plain", text)]
    table, *_ = raw.write_pages(room.folder / "rows.csv", pages)

    query = f'SELECT "ProductName", "NickName", "Zone", page, row FROM {table.rows} ORDER BY page, row'
    found = room.connection.execute(query).fetchall()

    assert found == [
        ("弹性", "plain", None, 1, 0), ("弹性", None, None, 1, 1),
        ("弹性", text, None, 2, 0), ("弹性", None, None, 2, 1),
    ]  # fmt: skip


def test_a_bill_without_lines_has_no_rows(room: Room) -> None:
    table, *_ = raw.write_pages(room.folder / "rows.csv", [("page 1", seeds.page())])

    assert room.connection.execute(f"SELECT * FROM {table.rows}").fetchall() == []


@pytest.mark.parametrize("lone", ["\r", "\n"])
def test_mixed_line_ends_lose_no_row(room: Room, lone: str) -> None:
    found = room.take(bill(row() + lone + row(), *[row()] * 5, end="\r\n"))

    assert (found.rows, sum(found.counts.values())) == (9, 9)


# -- whole files


HEADER_REFUSED = {
    "nothing": (b"", "is empty"),
    "header alone is no bill of ours": (b"a,b\n", "has no known column"),
    "blank lines": (b"\n\n\r\n", "has no header row"),
    "UTF-16": (bill().decode().encode("utf-16"), "is UTF-16"),
    "UTF-16 without a mark": (bill().decode().encode("utf-16-le"), "NUL character"),
    "GBK": ("账单月份,金额\n".encode("gbk"), "no UTF-8"),
    "NUL in the header": (bill().replace(b"User", b"Us\0er"), "NUL character"),
    "a column twice": (bill(header=",".join((*HEADERS[:-1], HEADERS[0]))), "more than once: Billing Cycle"),
    "a column without a name": (bill(header=",".join((*HEADERS[:-1], ""))), "unknown"),
    "two columns without a name": (bill(header=",".join((*HEADERS[:-2], "", ""))), "more than once: (no name)"),
    "a formula as a column": (bill(header=",".join((*HEADERS[:-1], "=1+1"))), "unknown =1+1"),
    "10,000 columns": (bill(header=",".join(f"c{n}" for n in range(10_000))), "has 10000 columns"),
    "5,000,000 columns": (bill(header="," * 5_000_000), "has 5000001 columns"),
    "an open quote in the header": (b'"' + bill(), "no known column"),
}


@pytest.mark.parametrize("what", HEADER_REFUSED)
def test_a_file_without_a_bills_header_is_refused(room: Room, what: str) -> None:
    body, said = HEADER_REFUSED[what]

    assert said in room.refused(body)


def test_a_header_alone_is_a_bill_without_rows(room: Room) -> None:
    found = room.take((",".join(HEADERS) + "\n").encode())

    assert (found.rows, found.counts, found.rejects) == (0, {}, [])


@pytest.mark.parametrize("marks", [1, 2])
def test_byte_order_marks_are_no_part_of_the_header(room: Room, marks: int) -> None:
    assert room.take(b"\xef\xbb\xbf" * marks + bill()).rows == 2


def test_a_row_in_another_encoding_is_a_reject_in_the_file_alone(room: Room) -> None:
    body = bill(row(Instance_Name="@@")).replace(b"@@", "金额".encode("gbk"))

    found = room.take(body)

    assert [one.reason for one in found.rejects] == ["holds bytes that are no UTF-8"]


@pytest.mark.parametrize("cell", ["金额".encode("gbk"), b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe9\x87"])
def test_a_row_in_another_encoding_is_a_reject_where_nobody_reads_it(room: Room, cell: bytes) -> None:
    header, *rows = bill(row(Instance_Name="@@")).splitlines(keepends=True)
    unread = [header.replace(b"\n", b",SPN ID\n"), *(one.replace(b"\n", b",1\n") for one in rows)]
    unread[2] = unread[2].replace(b",1\n", b"," + cell + b"\n")

    found = room.take(b"".join(unread))

    assert [(one.row, one.reason) for one in found.rejects] == [(1, "holds bytes that are no UTF-8")]


# -- packed files


def zipped(*bodies: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for number, body in enumerate(bodies):
            archive.writestr(f"part-{number}", body)
    return packed.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(room: Room) -> None:
    assert "which no bill does" in room.refused(zipped(b"0" * 80 * MB))
    assert not list(room.folder.glob("member-*"))


def test_a_gzip_bomb_is_refused_while_it_is_unpacked(room: Room) -> None:
    assert "which no bill of its size does" in room.refused(gzip.compress(b"0" * 80 * MB))
    assert next(room.folder.rglob("gunzipped")).stat().st_size <= files.RATIO_FREE


def test_what_is_packed_twice_is_refused(room: Room) -> None:
    for body in (zipped(zipped(bill())), zipped(gzip.compress(bill())), gzip.compress(zipped(bill()))):
        assert "is packed twice" in room.refused(body)


def test_many_members_are_refused_by_their_list_alone(room: Room) -> None:
    assert "has 1001 members" in room.refused(zipped(*[b"x"] * 1_001))
    assert "list of members" in room.refused(zipped(*[b""] * 25_000))


def test_a_zip_that_lies_about_a_size_is_refused(room: Room) -> None:
    body = bytearray(zipped(bill(*[row()] * 1_000)))
    place = body.rfind(b"PK\x01\x02")
    (told,) = struct.unpack_from("<I", body, place + 24)
    for size in (told - 10, told + 10, 5):
        struct.pack_into("<I", body, place + 24, size)
        assert "bill.csv" in room.refused(bytes(body))


def test_a_zip_whose_members_overlap_lie_outside_or_are_locked_is_refused(room: Room) -> None:
    good = zipped(bill())
    place = good.rfind(b"PK\x01\x02")
    outside, locked = bytearray(good), bytearray(good)
    struct.pack_into("<I", outside, place + 42, 0x7FFFFFFF)
    locked[place + 8] |= 1
    locked[6] |= 1
    for body in (bytes(outside), bytes(locked), good[:-30], good[: len(good) // 2]):
        assert "bill.csv" in room.refused(body)


def test_a_zip_whose_names_differ_is_refused_in_few_words(room: Room) -> None:
    body = bytearray(zipped(bill(*[row()] * 500)))
    struct.pack_into("<H", body, 26, 400)  # the name's length: the packed bytes are then its end

    assert "no readable zip file" in room.refused(bytes(body))


def test_other_packings_than_a_zip_usually_has_are_refused(room: Room) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "is packed in a way that bills are not" in room.refused(zipped(bill(), method=method))


def test_tables_of_several_forms_in_one_zip_are_refused(room: Room) -> None:
    other = ",".join(formats.load("console-zh").required) + "\n"

    assert "tables before it" in room.refused(zipped(bill(), other.encode()))


def test_a_damaged_gzip_is_refused(room: Room) -> None:
    good = gzip.compress(bill())
    for body in (good[:-4], good[:20], good[:-8] + bytes(8), good + b"rest"):
        assert "gzip" in room.refused(body)


# -- sums of the file itself


def console(total: str) -> bytes:
    """A file of the console with two rows of 1.5, and a row of sums."""
    form = formats.load("console-zh")
    usual = {"payer": PAYER, "account": OWNER, "cycle": "202506", "date": "20250605", "item": "后付费账单",
             "product_code": "ecs", "gross": "2", "pretax": "1.5", "currency": "CNY"}  # fmt: skip
    line = ",".join(usual[column] for column in form.required.values())
    sums = ",".join({"payer": "合计", "gross": "4", "pretax": total}.get(c, "") for c in form.required.values())
    return "\n".join([",".join(form.required), line, line, sums, ""]).encode()


def test_a_row_of_sums_is_held_against_the_rows(room: Room) -> None:
    assert "says pretax 3.01, its rows come to 3" in room.refused(console("3.01"))
    found = room.take(console("3.000"))
    assert (found.rows, found.totals, sum(found.counts.values())) == (3, 1, 2)


@pytest.mark.parametrize("total", ['"3,000.00"', "3.0.0", "NaN"])
def test_a_row_of_sums_that_cannot_be_read_is_told_of(room: Room, total: str) -> None:
    found = room.take(console(total))

    assert (found.totals, len(found.rejects), sum(found.counts.values())) == (0, 1, 2)


# -- Parquet


def parquet(room: Room, select: str) -> bytes:
    """A partner's bill as Parquet."""
    path = room.folder / "made"
    room.connection.execute(f"COPY (SELECT {select}) TO '{path}' (FORMAT parquet, COMPRESSION uncompressed)")
    return path.read_bytes()


def columns(**changed: str) -> str:
    """The columns of one good row, some by another expression."""
    exprs = {header: f"'{GOOD[header]}'" for header in HEADERS}
    for name, expression in changed.items():
        exprs[next(header for header in HEADERS if header.startswith(name))] = expression
    return ", ".join(f'{expression} AS "{header}"' for header, expression in exprs.items())


def test_parquet_holds_amounts_in_exact_types(room: Room) -> None:
    found = room.take(parquet(room, columns(Pretax="1.2500::DECIMAL(38,12)", Original="2::BIGINT")))
    assert room.amounts(found) == [Decimal("1.25")]

    for type_ in ("DOUBLE", "REAL", "VARCHAR[]", "STRUCT(a INTEGER)", "BLOB"):
        value = {"VARCHAR[]": "['1']", "STRUCT(a INTEGER)": "{'a': 1}", "BLOB": "'1'::BLOB"}.get(type_, f"1::{type_}")
        assert "does not hold amounts to their last digit" in room.refused(parquet(room, columns(Pretax=value)))


def test_damaged_parquet_is_refused_wherever_the_damage_lies(room: Room) -> None:
    good = parquet(room, columns(Instance="md5(range::VARCHAR)") + " FROM range(5000)")
    for place in (*range(4, len(good), len(good) // 40), len(good) - 8, len(good) - 5):
        body = bytearray(good)
        body[place : place + 4] = b"\xff\x00\xff\x7f"
        with contextlib.suppress(BadInputError):
            found = room.take(bytes(body))
            assert sum(found.counts.values()) + len(found.rejects) == found.rows == 5000
    assert room.take(good).rows == 5000, "the database has survived it"


def test_text_of_parquet_that_is_no_utf8_is_refused(room: Room) -> None:
    good = parquet(room, columns(Instance="'here ' || range") + " FROM range(50)")

    assert "is no readable Parquet" in room.refused(good.replace(b"here 7", b"\xffere 7"))


def test_parquet_that_unpacks_to_far_more_is_refused(room: Room) -> None:
    many = parquet(room, columns() + " FROM range(3000000)")
    assert "says it holds 3000000 rows" in room.refused(many)
    long = parquet(room, columns(Instance="repeat('x', 100000)") + " FROM range(20000)")
    assert "which no bill does" in room.refused(long)


def test_a_long_or_odd_cell_of_parquet_is_a_reject(room: Room) -> None:
    long = columns(Instance=f"repeat('x', {files.ROW_MAX})")
    body = parquet(room, f"{columns()} UNION ALL SELECT {long} UNION ALL SELECT {columns(Instance='chr(0)')}")

    found = room.take(body)

    assert sorted(one.reason.split(",")[0].split(" ")[0] for one in found.rejects) == ["has", "holds"]


# -- sizes


def test_a_cell_or_line_of_100_mb_is_refused_in_bounded_memory(room: Room) -> None:
    before = _peak_mb()
    big = room.folder / "big"
    for opening, piece, closing in (
        (b'"', b"x" * MB, b'"'),
        (b"", b"x" * MB, b""),
        (b'"', b"x\n" * (MB // 2), b'"'),
        (b"", b"x," * (MB // 2), b""),
    ):
        with big.open("wb") as file:
            file.write(bill().removesuffix(b"\n") + b"\n" + opening)
            for _ in range(100):
                file.write(piece)
            file.write(closing + b"\n")
        assert "bill.csv" in room.refused(big)
    assert _peak_mb() - before < 500


def test_a_row_of_more_than_a_million_characters_is_a_reject(room: Room) -> None:
    found = room.take(bill(row(Instance_Name="x" * 900_000, Instance_Tag="y" * 900_000)))

    [reject] = found.rejects
    assert "characters, at most 1048576 are read" in reject.reason
    assert sum(found.counts.values()) == 2


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MB if sys.platform == "darwin" else 1024)


# -- names


def test_a_name_with_a_month_that_is_none_is_refused() -> None:
    with pytest.raises(BadInputError, match="2025-13"):
        told_by(f"bills/{PAYER}_BillingItemDetail_202513", formats.load("classic-en"))


# -- pages of the API


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"Success": true, "Code": "Success", "Data": {"Items": [], "TotalCount": "１"}}', "no count"),
        ('{"Success": true, "Code": "Success", "Data": {"Items": [], "TotalCount": %s}}' % ("9" * 5000), "no count"),
        ('{"Success": true, "Code": "Success", "Data": {"Items": [], "TotalCount": 0, "NextToken": []}}', "no text"),
        ('{"Success": true, "Code": "Success", "Data": {"Items": [{"A": 1, "A": 2}], "TotalCount": 1}}', "twice"),
        ('{"Success": true, "Code": "Success", "Data": {"Items": [{"A": NaN}], "TotalCount": 1}}', "NaN"),
        ('{"Success": false, "Message": "\\ud800"}', "Message="),
        ("[" * 100_000, "no JSON"),
        ("\x00", "no JSON"),
    ],
)
def test_a_page_that_is_wrong_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        api.parse_page(text.encode(), "page 1")

    targets.readable(str(caught.value))


@pytest.mark.parametrize(
    "value", ["\ud800", "a\x00", ["a"], {"a": 1}, True, "x" * (files.ROW_MAX + 1), "1.5e-10", "NaN"]
)
def test_an_item_that_is_wrong_is_a_reject_of_its_page(value: object) -> None:
    item = {**seeds.ITEM, "PretaxAmount": value}
    data = {"BillingCycle": "2025-06", "AccountID": PAYER, "TotalCount": 2, "Items": [item, seeds.ITEM]}

    assert targets.pages(json.dumps({"Success": True, "Code": "Success", "Data": data}).encode()) == 2


# -- tags


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        ("api", "key:a value:1; key:a value:2"),
        ("pairs", "a:1;b:2;a:3"),
        ("pairs", ":1"),
        ("json", '{"a": "1", "a": "2"}'),
        ("json", '{"a": "\\ud800"}'),
        ("json", '{"a": 1}'),
        ("json", '{"a": NaN}'),
        ("json", "[" * 100_000),
    ],
)
def test_tags_that_say_two_things_or_none_are_refused(notation: str, text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        tags.parse_tags(text, notation)

    targets.readable(str(caught.value))


def test_a_tag_that_is_said_twice_alike_is_one() -> None:
    assert tags.parse_tags("a:1;b:2;a:1", "pairs") == '{"a":"1","b":"2"}'


def test_rows_read_by_several_at_once_keep_their_numbers(tmp_path: Path) -> None:
    """More than one reader's share of a file without quotes, so that what stands in a row tells which it is."""
    count, wide = 400_000, "x" * 100
    path = tmp_path / "file"
    with path.open("w") as file:
        file.write(",".join(HEADERS) + "\n")
        before, after = row(Instance_Name="@").split("@")
        file.writelines(f"{before}{wide}{number}{after}\n" for number in range(count))
    with duckdb.connect(config={"threads": 4, "temp_directory": str(tmp_path)}) as connection:
        found = splitting.split(
            connection, path, "bill.csv", lambda form: Reading(form, "negative", PAYER, "", "", "CNY"), tmp_path
        )
        query = f"SELECT count(*) FROM {found.lines} WHERE instance_name = '{wide}' || row"
        assert (found.rows, connection.execute(query).fetchall()) == (count, [(count,)])
