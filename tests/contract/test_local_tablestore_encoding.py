"""PlainBuffer byte by byte, held against rows written out by hand."""

from __future__ import annotations

import itertools
import struct

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
)
from tablestore.plainbuffer.plain_buffer_builder import PlainBufferBuilder

from infra.localcloud.tablestore import plainbuffer
from infra.localcloud.tablestore.errors import OtsError
from infra.localcloud.tablestore.filters import row_filter
from infra.localcloud.tablestore.messages import filter_pb

# A row with primary key k = "ab", attributes n = -1 and b = true, written out by hand.
PUT_BYTES = bytes.fromhex(
    "75000000" "01" "03 04 01000000 6b 05 07000000 03 02000000 6162 0a e2"
    "02" "03 04 01000000 6e 05 09000000 00 ffffffffffffffff 0a 8c"
    "03 04 01000000 62 05 02000000 02 01 0a 3e" "09 96"
)  # fmt: skip
# k = 1; put s = "é", delete all of d, count c up by 2.
UPDATE_BYTES = bytes.fromhex(
    "75000000" "01" "03 04 01000000 6b 05 09000000 00 0100000000000000 0a 87"
    "02" "03 04 01000000 73 05 07000000 03 02000000 c3a9 0a 00" "03 04 01000000 64 06 01 0a a6"
    "03 04 01000000 63 05 09000000 00 0200000000000000 06 04 0a f3" "09 a0"
)  # fmt: skip
DELETE_BYTES = bytes.fromhex("75000000 01 03 04 01000000 6b 05 09000000 00 0100000000000000 0a 87 08 09 da")
BOUND_BYTES = bytes.fromhex(
    "75000000 01 03 04 01000000 6b 05 01000000 09 0a 5d 03 04 01000000 6c 05 01000000 0a 0a 3f 09 8f"
)


def test_the_bytes_by_hand_are_those_of_the_sdk() -> None:
    build = PlainBufferBuilder
    assert build.serialize_for_put_row([("k", "ab")], [("n", -1), ("b", True)]) == PUT_BYTES
    changes = {"PUT": [("s", "é")], "DELETE_ALL": ["d"], "INCREMENT": [("c", 2)]}
    assert build.serialize_for_update_row([("k", 1)], changes) == UPDATE_BYTES
    assert build.serialize_for_delete_row([("k", 1)]) == DELETE_BYTES
    assert build.serialize_primary_key([("k", INF_MIN), ("l", INF_MAX)]) == BOUND_BYTES


def test_rows_by_hand_are_read() -> None:
    text = b"\x03\x02\x00\x00\x00"
    put_row = plainbuffer.read_change(PUT_BYTES)
    assert [(cell.name, cell.value) for cell in put_row.key] == [(b"k", text + b"ab")]
    assert [(cell.name, cell.value) for cell in put_row.cells] == [(b"n", b"\x00" + b"\xff" * 8), (b"b", b"\x02\x01")]
    update = plainbuffer.read_change(UPDATE_BYTES)
    assert [(cell.name, cell.value, cell.op) for cell in update.cells] == [
        (b"s", text + "é".encode(), 0), (b"d", b"", plainbuffer.DELETE_ALL),
        (b"c", struct.pack("<Bq", 0, 2), plainbuffer.INCREMENT),
    ]  # fmt: skip
    assert plainbuffer.read_change(DELETE_BYTES).deleted
    assert [cell.value for cell in plainbuffer.read_change(BOUND_BYTES).key] == [b"\x09", b"\x0a"]


def test_a_stored_row_is_the_row_sent_with_its_version() -> None:
    cells, position = plainbuffer.read_key(PUT_BYTES)
    checks, names = bytes([cell.check for cell in cells]), plainbuffer.Names([b"k"])
    stored = plainbuffer.read_put_cells(PUT_BYTES, position, checks, names, plainbuffer.Stamps(1))
    assert stored is not None
    row = plainbuffer.join_row(PUT_BYTES[4:position], checks, stored)

    again = plainbuffer.read_change(plainbuffer.HEADER + row)  # verifies every checksum
    assert [(cell.name, cell.timestamp) for cell in again.cells] == [(b"b", 1), (b"n", 1)]
    assert plainbuffer.split_row(row).cells == stored
    assert plainbuffer.cell_value(b"b", stored[b"b"]) == b"\x02\x01"
    assert plainbuffer.only_key(row) == PlainBufferBuilder.serialize_primary_key([("k", "ab")])


@pytest.mark.parametrize(
    "data", [PUT_BYTES, UPDATE_BYTES, DELETE_BYTES, BOUND_BYTES], ids=["put", "update", "delete", "bound"]
)
def test_no_damaged_shortened_or_lengthened_row_is_read(data: bytes) -> None:
    for place, bit in itertools.product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        with pytest.raises(OtsError):
            plainbuffer.read_change(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(OtsError):
            plainbuffer.read_change(data[:length])
    with pytest.raises(OtsError, match="has more data"):
        plainbuffer.read_change(data + b"\x09")
    with pytest.raises(OtsError, match="has more data"):
        plainbuffer.read_change(data + b"\x00\x00\x09")
    # What the client for Node.js sends after a row.
    assert plainbuffer.read_change(data + bytes(22)) == plainbuffer.read_change(data)


def test_no_damaged_row_is_put() -> None:
    def put_bytes(data: bytes) -> None:
        cells, position = plainbuffer.read_key(data)
        checks = bytes([cell.check for cell in cells])
        plainbuffer.read_put_cells(data, position, checks, plainbuffer.Names([b"k"]), plainbuffer.Stamps(1))

    put_bytes(PUT_BYTES)
    for place, bit in itertools.product(range(len(PUT_BYTES)), range(8)):
        damaged = bytearray(PUT_BYTES)
        damaged[place] ^= 1 << bit
        with pytest.raises(OtsError):
            put_bytes(bytes(damaged))


def test_the_crc_by_table_is_the_crc_in_c() -> None:
    by_table = plainbuffer._table_crc8()
    assert by_table(b"123456789", 0) == plainbuffer.crc8(b"123456789", 0) == 0xF4
    for data in (b"", b"\x00" * 9, bytes(range(256))):
        assert [by_table(data, start) for start in range(256)] == [
            plainbuffer.crc8(data, start) for start in range(256)
        ]


def test_a_page_of_columns_is_taken_by_name() -> None:
    page = filter_pb.ColumnPaginationFilter(offset=1, limit=2)
    whole = filter_pb.Filter(type=filter_pb.FT_COLUMN_PAGINATION, filter=page.SerializeToString())
    taken = row_filter(whole.SerializeToString(), [])

    assert list(taken.page({b"d": b"4", b"a": b"1", b"c": b"3", b"b": b"2"})) == [b"b", b"c"]
    page.limit = 0
    whole.filter = page.SerializeToString()
    with pytest.raises(OtsError, match="Limit in ColumnPaginationFilter must be greater than 0"):
        row_filter(whole.SerializeToString(), [])


def test_a_row_of_several_versions_is_taken_apart_and_joined_again() -> None:
    cells, position = plainbuffer.read_key(PUT_BYTES)
    checks = bytes([cell.check for cell in cells])
    value = struct.pack("<Bq", plainbuffer.INTEGER, 5)
    column = b"".join(plainbuffer.stored_cell(b"n", value, plainbuffer.Stamps(version)) for version in (9, 7))
    other = plainbuffer.stored_cell(b"a", value, plainbuffer.Stamps(8))
    row = plainbuffer.join_versions(PUT_BYTES[4:position], checks, {b"n": column, b"a": other})

    assert [cell.timestamp for cell in plainbuffer.read_change(plainbuffer.HEADER + row).cells] == [8, 9, 7]
    assert plainbuffer.split_versions(row) == (PUT_BYTES[4:position], checks, {b"a": other, b"n": column})
    assert [plainbuffer.cell_version(cell) for cell in plainbuffer.cells_of(column)] == [9, 7]
    assert plainbuffer.cell_value(b"n", column) == value
    assert plainbuffer.key_part([(b"k", cells[0].value)]) == (PUT_BYTES[4:position], checks)


def test_a_row_to_be_put_with_a_version_of_its_own_is_left_to_the_slow_reader() -> None:
    data = bytes(PlainBufferBuilder.serialize_for_put_row([("k", "ab")], [("n", 1), ("b", 2, 9)]))
    cells, position = plainbuffer.read_key(data)
    checks = bytes([cell.check for cell in cells])

    stamps = plainbuffer.Stamps(1)
    assert plainbuffer.read_put_cells(data, position, checks, plainbuffer.Names([b"k"]), stamps) is None
