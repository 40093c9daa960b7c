"""One generated month of one payer in every form that bill files have."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from infra.clearbook.demo.month import month
from infra.localcloud.bss import exports
from infra.localcloud.bss.billfile import Form, write
from infra.localcloud.bss.bills import Bill, Filters
from infra.localcloud.bss.exports import consumption
from infra.localcloud.bss.item import AMOUNTS, PLACES
from infra.localcloud.bss.load import add_items, add_payer
from infra.localcloud.bss.schedule import BillFile, Kind
from infra.localcloud.bss.state import connect

CYCLE = "2025-06"
AS_OF = datetime.fromisoformat("2025-07-04T10:00:00+08:00")  # when the files of the whole month are pushed
NAME = "payer@clearbook.example"
# What a subscriber of the new bill may choose, in an order of his own.
SELECTED = (
    "应付信息/应付金额（含税）", "定价信息/定价币种", "账单信息/账单日期", "账单信息/账单月份", "账单信息/费用类型",
    "账单信息/交易类型", "身份信息/资源归属账号ID", "产品信息/产品Code", "费用信息/目录总价", "标识信息/账单明细ID",
    "身份信息/资源购买账号ID", "产品信息/选型配置",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Billed:
    """The bill of one payer, as the local service answers from it."""

    connection: sqlite3.Connection
    account: str
    customers: tuple[str, ...]

    def sums(self, *by: str) -> dict[tuple[str, ...], dict[str, Decimal]]:
        """Exact sums of the calls' amounts by columns of the tally, such as `owner` and `product`."""
        found = Bill(self.connection, self.account, CYCLE, AS_OF).sums(by, Filters())
        return {
            tuple(row[column] for column in by): {
                name: Decimal(row[f"a{place}"]).scaleb(-PLACES) for place, name in enumerate(AMOUNTS)
            }
            for row in found
        }


@contextmanager
def billed(home: Path, lines: int = 2_000, seed: int = 7) -> Iterator[Billed]:
    """The bill of a payer, whose owners but the first are its customers; `home` becomes a local cloud's."""
    made = month(seed, CYCLE, lines)
    payer = made.payers[0]
    owners = tuple(sorted(owner.account for owner in made.cast.owners_of(payer.account)))
    add_payer(home, payer.account, NAME, "LTAIfiles", "secret", owners[1:])
    add_items(home, payer.account, CYCLE, made.bill(payer.account), batch="month")
    connection = connect(home)
    try:
        yield Billed(connection, payer.account, owners[1:])
    finally:
        connection.close()


def write_all(folder: Path, lines: int = 2_000, seed: int = 7) -> dict[str, Path]:
    """All files of the month, each in a folder of its own under the name that the provider would give it."""
    with billed(folder / "home", lines, seed) as bill:
        return {**classic(folder, bill), **others(folder, bill)}


def classic(folder: Path, bill: Billed) -> dict[str, Path]:
    """The files of the classic subscription."""
    plain = Form(bill.account, NAME, "MA", "zh", with_currency=True, rows_max=None)
    wanted = {
        "classic-zh": (Kind.BILLING_ITEMS, plain),
        "classic-zh-old": (Kind.BILLING_ITEMS, replace(plain, with_currency=False, with_key=False)),
        "classic-zh-zip": (Kind.BILLING_ITEMS, replace(plain, rows_max=500)),
        "classic-zh-monthly": (Kind.BILLING_ITEMS_MONTHLY, plain),
        "classic-zh-instance": (Kind.INSTANCES, plain),
        "classic-zh-split": (Kind.SPLIT_ITEMS, plain),
        "classic-en": (Kind.BILLING_ITEMS, replace(plain, language="en")),
        "classic-en-instance": (Kind.INSTANCES_MONTHLY, replace(plain, language="en")),
    }
    return {key: _classic(_made(folder / key), bill, kind, form) for key, (kind, form) in wanted.items()}


def others(folder: Path, bill: Billed) -> dict[str, Path]:
    """The files of the other forms."""
    of = (bill.connection, bill.account, CYCLE, AS_OF)
    (csv,) = exports.write_partner(_made(folder / "partner-csv"), *of)
    (parquet,) = exports.write_partner(_made(folder / "partner-parquet"), *of, bill_format="parquet")
    return {
        "v2": exports.write_consumption(_made(folder / "v2"), *of),
        "v2-selected": exports.write_consumption(_made(folder / "v2-selected"), *of, fields=SELECTED),
        "v2-zip": exports.write_consumption(_made(folder / "v2-zip"), *of, rows_max=500),
        "console-v2": exports.write_console_consumption(_made(folder / "console-v2"), *of),
        "console-zh": exports.write_console(_made(folder / "console-zh"), *of),
        "console-zh-rounded": exports.write_console(
            _made(folder / "console-zh-rounded"), *of, with_total=False, with_round_down=True
        ),
        "partner-csv": csv,
        "partner-parquet": parquet,
    }


def headers_of_v2() -> tuple[str, ...]:
    """All columns that the new bill has."""
    return consumption.HEADERS


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _classic(folder: Path, bill: Billed, kind: Kind, form: Form) -> Path:
    file = BillFile(kind, CYCLE)
    path = write(folder, bill.connection, file, form, AS_OF)
    assert path is not None, f"the month has rows for {kind}"
    return path.replace(folder / file.name(form.account))
