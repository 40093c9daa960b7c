"""The command that says how fresh and how good the bills are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.clearbook.bills.showing import observed, refused_files
from infra.clearbook.bills.shown import (
    ID_SHOWN,
    compared,
    counted,
    minute,
    plain_console,
    refusals_lines,
    said,
    say,
)
from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.bill.snapshot import stream_of
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
    console = plain_console()
    for number, one in enumerate(found):
        say(console, *([""] if number else []), *_told(one))


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
        if account in (None, payer) and one.since <= Cycle.parse(current).last and Cycle.parse(current).first <= today
    }
    wanted = sorted(one for one in known if account in (None, one[0]) and cycle in (None, one[1]))
    if not wanted:
        remedy = f"payers are: {', '.join(sorted(parties.connectors))}"
        raise BadInputError("--account, --cycle", "no such bill is known or due", remedy)
    return [_shown(work, quality.figures(work, payer, month, at)) for payer, month in wanted]


def _shown(work: Services, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without what they were read from, and the files that were refused since."""
    entries = work.chain.read(stream_of(figures["account"], figures["cycle"]))
    seals = {seal.seq: seal for _, seal in observed(entries)}
    hidden = ("format", "days", "kept_rejects")
    sources = {
        source: {name: value for name, value in one.items() if name not in hidden}
        | {"refused_files": refused_files(work, seals[one["seq"]])}
        for source, one in figures["sources"].items()
    }
    return {**{name: value for name, value in figures.items() if name not in hidden}, "sources": sources}


def _told(bill: Mapping[str, Any]) -> list[str]:
    """A bill in lines: each source with its figures, and a line for everything that is wrong."""
    lines = [f"{bill['account']} {bill['cycle']}"]
    for source, one in bill["sources"].items():
        name = f"{source}, the settled source" if source == bill["settled_source"] else source
        seen = f"seen {minute(one['seen'])}, {counted(one['lag_hours'], 'hour')} ago"
        lines += [
            f"  {name}",
            f"    {one['kind']}, {one['status']}, {seen}",
            f"    {said(one)}; snapshot {one['snapshot'][:ID_SHOWN]}",
            *(f"    {remark}" for remark in _remarks(one)),
        ]
    if not bill["sources"]:
        lines.append("  nothing was heard of it yet")
    lines += [f"  {one['source']} beside {one['with']}: {compared(one)}" for one in bill["comparisons"]]
    return lines


def _remarks(one: Mapping[str, Any]) -> list[str]:
    """How a source's bill compares with the provider's sums, and whatever else is not as it should be."""
    lines = [_against_sums(one["control"]), *refusals_lines(one["refused_files"])]
    lines += [
        f"{counted(told['count'], 'row is no line', 'rows are no lines')}: {reason} (first: {told['first']})"
        for reason, told in one["rejects"]["reasons"].items()
    ]
    lines += [f"{counted(count, 'line breaks', 'lines break')} {name}" for name, count in one["broken"].items()]
    lines += [
        f"{counted(count, 'line was', 'lines were')} changed by repair {rule}"
        for rule, count in one["repaired"].items()
    ]
    lines += [f"unknown field {field}" for field in one["unknown_fields"]]
    lines += [f"unknown code {code}: {counted(count, 'line')}" for code, count in one["unknown_codes"].items()]
    if one["dates_missing"]:
        lines.append(f"nothing of {', '.join(one['dates_missing'])}")
    return lines if len(lines) > 1 else [*lines, "nothing rejected, broken, unknown or missing"]


def _against_sums(control: Mapping[str, Any]) -> str:
    if not control["key"]:
        return "not compared: the provider's sums are not known"
    if not control["differences"]:
        return "no difference to the provider's sums"
    told = f"{counted(control['differences'], 'difference')} to the provider's sums, {control['open']} open"
    for name, what in (("amounts", "in all"), ("open_amounts", "unexplained")):
        sums = ", ".join(f"{amount} {currency}" for currency, amount in control[name].items())
        told += f", {sums} {what}" if sums else ""
    return told
