"""The commands that show the books: every transaction, and what is owed to whom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from infra.clearbook.bills.shown import columns, plain_console, say, say_table
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.cycle import Cycle
from shared.journal.balances import Balance, balances
from shared.journal.beancount import to_beancount
from shared.journal.postings import Posting, to_csv
from shared.services import Services
from shared.steps import books

Format = Literal["csv", "beancount"]
_FIGURES = ("carried", "payable", "forfeited", "paid", "withheld", "reopened", "balance", "in_transit", "held")


def export(
    work: Services, cycle: str | None, resellers: Sequence[str], form: Format
) -> tuple[bytes, list[Posting]]:  # fmt: skip
    """The journal as a file, and its postings; whole, it also says the balances that it comes to."""
    found = books.journal(work, resellers)
    if cycle is not None:
        month = str(Cycle.parse(cycle, "--cycle"))
        found = [one for one in found if one.cycle == month]
    if form == "csv":
        return to_csv(found), found
    return to_beancount(found, balances(found) if cycle is None else ()), found


def show_journal(
    cycle: str | None,
    resellers: Sequence[str],
    form: Format,
    output: Path | None,
    home: Path | None,
    json_to: str | None,
) -> None:
    """Write the journal to a file, or print it."""
    body, found = export(services(home), cycle, resellers, form)
    if output is not None:
        output.write_bytes(body)
    if json_to is not None:
        write_json([_posting_json(one) for one in found], json_to)
    if json_to == "-":
        return
    if output is None:
        sys.stdout.buffer.write(body)
        return
    transactions = len({(one.entry, one.reference) for one in found})
    say(plain_console(), f"{output}: {transactions:,} transactions, {len(found):,} postings")


def show_balances(cycle: str | None, resellers: Sequence[str], home: Path | None, json_to: str | None) -> None:
    """Print what is owed to resellers, now or as of a cycle."""
    upto = "" if cycle is None else str(Cycle.parse(cycle, "--cycle"))
    found = balances(books.journal(services(home), resellers), upto)
    if json_to is not None:
        write_json([_balance_json(one) for one in found], json_to)
    if json_to == "-":
        return
    console = plain_console()
    if not found:
        say(console, "nothing is posted")
        return
    names = [name.replace("_", " ").capitalize() for name in _FIGURES]
    table = columns("Reseller", "Agreement", "Currency", *names, right=names)
    for one in found:
        table.add_row(one.reseller, one.agreement, one.currency, *(f"{getattr(one, name):,f}" for name in _FIGURES))
    say_table(console, table)


def _posting_json(one: Posting) -> dict[str, Any]:
    return {
        "date": one.day.isoformat(),
        "reference": one.reference,
        "act": one.act,
        "reseller": one.reseller,
        "agreement": one.agreement,
        "cycle": one.cycle,
        "account": one.account,
        "amount": f"{one.amount:f}",
        "currency": one.currency,
        "memo": one.memo,
        "entry": one.entry,
        "hash": one.hash,
    }


def _balance_json(one: Balance) -> dict[str, str]:
    named = {"reseller": one.reseller, "agreement": one.agreement, "currency": one.currency}
    return named | {name: f"{getattr(one, name):f}" for name in (*_FIGURES, "clawback")}
