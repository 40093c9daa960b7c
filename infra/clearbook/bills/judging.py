"""The command that says how fresh and how good the bills are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.clearbook.bills.showing import totals_text
from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.cycle import Cycle, shanghai_day
from shared.errors import BadInputError
from shared.services import Services
from shared.steps import quality, state


def show_quality(account: str | None, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print the figures of the bills that are meant."""
    found = quality_of(services(home), account, cycle, now(home))
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = Console()
    console.print(_table(found))
    for one in found:
        console.print("".join(_remarks(one)), markup=False, highlight=False, soft_wrap=True, end="")


def quality_of(work: Services, account: str | None, cycle: str | None, at: datetime) -> list[dict[str, Any]]:
    """The figures of each bill, by account and cycle: of all that are known, and of the current cycle of each payer.

    A payer of whose bill nothing was heard is told of, too: that is the least fresh of all.
    """
    if cycle is not None:
        Cycle.parse(cycle, "--cycle")
    parties, _ = state.parties(work)
    prefix = f"{quality.PREFIX}{account}/" if account else quality.PREFIX
    keys = (key.removeprefix(quality.PREFIX).removesuffix(".json") for key in work.buckets.work.keys(prefix))
    known = {(payer, month) for payer, _, month in (key.partition("/") for key in keys)}
    today = shanghai_day(at)
    current = cycle or str(Cycle.of(today))
    known |= {
        (payer, current)
        for payer, one in parties.connectors.items()
        if account in (None, payer) and one.since <= min(today, Cycle.parse(current).last)
    }
    wanted = sorted(one for one in known if account in (None, one[0]) and cycle in (None, one[1]))
    if not wanted:
        remedy = f"payers are: {', '.join(sorted(parties.connectors))}"
        raise BadInputError("--account, --cycle", "no such bill is known or due", remedy)
    return [_shown(quality.figures(work, payer, month, at)) for payer, month in wanted]


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without what they were read from."""
    hidden = ("format", "days", "kept_rejects")
    sources = {
        source: {name: value for name, value in one.items() if name not in hidden}
        for source, one in figures["sources"].items()
    }
    return {**{name: value for name, value in figures.items() if name not in hidden}, "sources": sources}


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(title="Bills: how fresh and how good", title_justify="left")
    for name in ("Payer", "Cycle", "Source", "Seen"):
        table.add_column(name)
    for name in ("Hours ago", "Lines", "Pretax", "Differences (open)", "Rejected", "Broken", "Repaired", "Unknown",
                 "Dates missing"):  # fmt: skip
        table.add_column(name, justify="right")
    for bill in found:
        for source, one in bill["sources"].items():
            compared = one["control"]
            unknown = len(one["unknown_fields"]) + len(one["unknown_codes"])
            table.add_row(
                bill["account"], bill["cycle"], f"{source} {one['kind']}", f"{one['seen']} {one['status']}",
                str(one["lag_hours"]), f"{one['rows']:,}", totals_text(one["totals"]),
                f"{compared['differences']} ({compared['open']})" if compared["key"] else "not compared",
                f"{one['rejects']['count']:,}", f"{sum(one['broken'].values()):,}",
                f"{sum(one['repaired'].values()):,}", str(unknown), str(len(one["dates_missing"])),
            )  # fmt: skip
        if not bill["sources"]:
            table.add_row(bill["account"], bill["cycle"], "", "nothing yet", *[""] * 9)
    return table


def _remarks(bill: Mapping[str, Any]) -> list[str]:
    """What lies behind the counts that are not 0, a line each."""
    lines = []
    for source, one in bill["sources"].items():
        where = f"{bill['account']} {bill['cycle']} {source}: "
        for name, what in (("amounts", "in all"), ("open_amounts", "unexplained")):
            sums = ", ".join(f"{amount} {currency}" for currency, amount in one["control"][name].items())
            lines += [f"{where}differs from the provider's sums by {sums} {what}"] if sums else []
        lines += [
            f"{where}{told['count']:,} rows are no lines: {reason} (first: {told['first']})"
            for reason, told in one["rejects"]["reasons"].items()
        ]
        lines += [f"{where}{count:,} lines break {equation}" for equation, count in one["broken"].items()]
        lines += [f"{where}{count:,} lines were changed by repair {rule}" for rule, count in one["repaired"].items()]
        lines += [f"{where}unknown field {field}" for field in one["unknown_fields"]]
        lines += [f"{where}unknown code {code}: {count:,} lines" for code, count in one["unknown_codes"].items()]
        if one["dates_missing"]:
            lines.append(f"{where}nothing of {', '.join(one['dates_missing'])}")
    lines += [
        f"{bill['account']} {bill['cycle']}: {one['source']} and {one['with']} differ in {one['count']:,} places, "
        f"{one['amount']} in all"
        for one in bill["comparisons"]
    ]
    return [f"{line}\n" for line in lines]
