"""A classic bill file of any length, for measuring: a generated month's file, repeated with other amounts.

The rows of each repetition are those of one generated bill, so that charges keep their refunds and amounts their
equations; instances, keys, usage and amounts differ. Amounts are multiplied by whole numbers, exactly. The bill is
repeated some rows at a time, so that dates keep their order.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from infra.clearbook.demo.month import LINES_MIN, month
from infra.localcloud.bss.billfile import Form, write
from infra.localcloud.bss.load import add_items, add_payer
from infra.localcloud.bss.schedule import BillFile, Kind, push_on
from infra.localcloud.bss.state import connect

CYCLE, SEED = "2025-06", 7
POOL = 20_000
TOGETHER = 500  # rows of the bill that are repeated at a time
FACTORS = 7  # of amounts; a prime, so that equal rows come back late
AMOUNTS = (
    "原价", "优惠金额", "优惠券抵扣", "应付金额", "现金支付", "代金券抵扣", "储值卡支付金额", "欠费金额",
)  # fmt: skip
QUANTITIES = ("用量", "资源包抵扣")


@dataclass(frozen=True, slots=True)
class Written:
    """What a file holds."""

    account: str
    cycle: str
    lines: int
    gross: Decimal
    pretax: Decimal


def write_classic(path: Path, lines: int, *, seed: int = SEED, pool: int = POOL) -> Written:
    """Write a classic file in Chinese of exactly `lines` rows to `path`, the same bytes for the same arguments."""
    with tempfile.TemporaryDirectory(prefix="bill-csv-") as folder:
        account, source = _month_file(Path(folder), min(pool, lines), seed)
        with duckdb.connect(config={"threads": 1}) as connection:
            held, header = _read(connection, source)
            gross = pretax = Decimal(0)
            with path.open("wb") as file:
                file.write((",".join(header) + "\n").encode())
                for first in range(0, held, TOGETHER):
                    part = Path(folder) / "part.csv"
                    sums = _repeat(connection, part, header, first, *divmod(lines, held))
                    gross, pretax = gross + sums[0], pretax + sums[1]
                    with part.open("rb") as repeated:
                        shutil.copyfileobj(repeated, file)
    return Written(account, CYCLE, lines, gross, pretax)


def _month_file(folder: Path, lines: int, seed: int) -> tuple[str, Path]:
    """The file of a generated month whose first payer has at least `lines` lines."""
    # The first payer of a month has three fifths of its lines.
    made = month(seed, CYCLE, max(LINES_MIN, -(-lines * 5 // 3)))
    payer = made.payers[0]
    add_payer(folder, payer.account, "payer@clearbook.example", "LTAIbench", "secret")
    add_items(folder, payer.account, CYCLE, made.bill(payer.account), batch="month")
    final = push_on(datetime.fromisoformat("2025-07-04").date())
    form = Form(payer.account, "payer@clearbook.example", "MA", "zh", with_currency=True, rows_max=None)
    connection = connect(folder)
    try:
        path = write(folder, connection, BillFile(Kind.BILLING_ITEMS, CYCLE), form, final)
    finally:
        connection.close()
    if path is None:
        raise ValueError(f"a generated month of {made.lines} lines has an empty bill")
    return payer.account, path


def _read(connection: duckdb.DuckDBPyConnection, source: Path) -> tuple[int, list[str]]:
    """Take the file in as text; how many rows it has, and its header."""
    read = f"read_csv('{source}', header = true, all_varchar = true, nullstr = '')"
    connection.execute(f"CREATE TABLE pool AS SELECT row_number() OVER () AS place, * FROM {read}")  # noqa: S608
    held = connection.execute("SELECT count(*) FROM pool").fetchone()
    names = [row[0] for row in connection.execute("DESCRIBE pool").fetchall()]
    return int(held[0]) if held else 0, names[1:]


def _repeat(
    connection: duckdb.DuckDBPyConnection, part: Path, header: Sequence[str], first: int, copies: int, more: int
) -> tuple[Decimal, Decimal]:
    """Write some rows of the pool `copies` times, its first `more` rows once more; their gross and payable amounts."""
    cells = ", ".join(f'{_cell(name)} AS "{name}"' for name in header)
    chosen = (
        f"(SELECT pool.*, copy, copy % {FACTORS} + 1 AS factor FROM pool, range({copies + 1}) AS copies(copy) "  # noqa: S608
        f"WHERE place > {first} AND place <= {first + TOGETHER} AND (copy < {copies} OR place <= {more}))"
    )
    ordered = f"SELECT {cells} FROM {chosen} ORDER BY copy, place"  # noqa: S608 - numbers of our own
    connection.execute(f"COPY ({ordered}) TO '{part}' (FORMAT csv, HEADER false)")
    sums = connection.execute(
        f"SELECT coalesce(sum({_exact('原价')} * factor), 0), coalesce(sum({_exact('应付金额')} * factor), 0) "  # noqa: S608
        f"FROM {chosen}"
    ).fetchone()
    if sums is None:
        raise ValueError("the pool has no rows")
    return sums[0], sums[1]


def _cell(name: str) -> str:
    if name in AMOUNTS or name in QUANTITIES:
        digits = f"CAST({_exact(name)} * factor AS VARCHAR)"
        return f"CASE WHEN contains({digits}, '.') THEN rtrim(rtrim({digits}, '0'), '.') ELSE {digits} END"
    if name == "主键":
        return f"\"{name}\" || lpad(CAST(copy AS VARCHAR), 4, '0')"
    if name == "实例ID":
        # What has no instance gets none.
        return f'CASE WHEN copy = 0 THEN "{name}" ELSE "{name}" || \'-\' || copy END'
    return f'"{name}"'


def _exact(name: str) -> str:
    return f'CAST("{name}" AS DECIMAL(28, 10))'
