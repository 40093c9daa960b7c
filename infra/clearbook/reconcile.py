"""The command that reconciles: a month against its bill and files, against the month before, or a file of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.bills.shown import columns, counted, plain_console, say, say_table
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.agreement.words import figure
from shared.cycle import Cycle
from shared.errors import BadInputError, ClearbookError
from shared.money import EXACT, NotAnAmountError, amount, text
from shared.reconciliation.anomalies import SIGNALS, Anomaly, Policy
from shared.reconciliation.difference import LINES_KEPT, Difference, remainder, unexplained
from shared.reconciliation.expecting import Matched
from shared.reconciliation.placing import PLACES, Group
from shared.report.cells import csv_bytes, safe
from shared.services import Services
from shared.steps.reconcile import Reconciliation, reconcile, summarise
from shared.steps.reconciling.published import Payment

_SHOWN = 50
_DIGITS_MAX = 15  # a spreadsheet holds no more exactly; longer amounts are written as text
_XLSX_ROWS_MAX = 1_048_575
_XLSX, _CSV = ".xlsx", ".csv"
_DIFFERENCE = ("check", "reseller", "what", "reason", "currency", "ours", "theirs", "amount", "explained by")
Table = tuple[str, Sequence[str], list[list[object]]]


class NotReconciledError(ClearbookError):
    """Something differs, and nothing explains it."""

    code = "unexplained"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked."""

    cycle: str
    reseller: str
    home: Path | None
    json_to: str | None
    output: Path | None

    @property
    def limit(self) -> int | None:
        """How many lines a difference names: all of them where they are written to a file."""
        return LINES_KEPT if self.json_to is None and self.output is None else None


def run(
    asked: Asked, against: Path | None, map_: Path | None, months: bool, factor: str | None, minimum: str | None
) -> None:
    """Reconcile what was asked for; ends with an error where something is unexplained."""
    Cycle.parse(asked.cycle)
    if asked.output is not None and asked.output.suffix not in (_XLSX, _CSV):
        raise BadInputError("--output", f"is {asked.output.name}", "name it FILE.xlsx or FILE.csv")
    if (against is None) != (map_ is None):
        raise BadInputError("--against", "goes with --map", "give both, or neither")
    if months and against is not None:
        raise BadInputError("--month-against-month", "and --against are two questions", "ask one after the other")
    if against is not None and map_ is not None:
        _against(asked, against, map_)
    elif months:
        _months(asked, Policy(**_bounds(factor, minimum)))
    else:
        _month(asked)


def _bounds(factor: str | None, minimum: str | None) -> dict[str, Decimal]:
    found = {}
    for name, value in (("factor", factor), ("minimum", minimum)):
        if value is not None:
            try:
                found[name] = amount(value)
            except NotAnAmountError as exc:
                raise BadInputError(f"--{name}", str(exc), "give a decimal number") from exc
    return found


# -- a month ----------------------------------------------------------------------------------------------------


def reconciliation_of(work: Services, cycle: str) -> dict[str, Any]:
    """What was billed and settled in a cycle by currency, amounts as exact text, and shares not settled yet."""
    return _summary(summarise(work, str(Cycle.parse(cycle))), cycle)


def reconciliation_text(found: Mapping[str, Any]) -> str:
    """The reconciliation in a line a currency."""
    lines = [
        f"{one['currency']}: billed {one['billed']}, settled, excluded, netted and in cases {one['settled']}, "
        f"unexplained {one['unexplained']}"
        for one in found["currencies"]
    ]
    if found["not_settled"]:
        lines.append(f"not settled yet: {', '.join(found['not_settled'])}")
    return "\n".join(lines) or f"{found['cycle']}: no bill is sealed"


def _summary(found: Reconciliation, cycle: str) -> dict[str, Any]:
    rows = [
        {
            "currency": one.currency,
            "billed": text(one.billed),
            "settled": text(one.shared),
            "unexplained": text(one.unexplained),
        }
        for one in found.comparisons
    ]
    return {"cycle": cycle, "currencies": rows, "not_settled": found.missing}


def _month(asked: Asked) -> None:
    console = Console(stderr=True)
    with console.status("reading the chain") as status:
        found = reconcile(services(asked.home), asked.cycle, asked.reseller, asked.limit, status.update)
    if asked.output is not None:
        _write(
            asked.output, [_groups_table(found.groups), *_difference_tables(found.differences), _payments_table(found)]
        )
    if asked.json_to is not None:
        write_json(_as_json(asked, found), asked.json_to)
    if asked.json_to != "-":
        _show(plain_console(), asked, found)
    _end(found.differences)


def _as_json(asked: Asked, found: Reconciliation) -> dict[str, Any]:
    return {
        **_summary(found, asked.cycle),
        "reseller": asked.reseller or None,
        "groups": [
            {
                "reseller": one.owner or None, "account": one.account, "product": one.product,
                "currency": one.currency, "lines": one.lines, "billed": text(one.billed),
                **{place: text(one.places[place]) for place in PLACES},
            }
            for one in found.groups
        ],
        "statements": found.statements,
        "files": found.files,
        "payments": [one.as_json() for one in found.payments],
        "differences": [one.as_json() for one in found.differences],
        "unexplained": _left(found.differences),
    }  # fmt: skip


def _left(found: Sequence[Difference]) -> dict[str, Any]:
    return {
        "differences": len(unexplained(found)),
        "amounts": {currency: text(one) for currency, one in remainder(found).items()},
    }


def _show(console: Console, asked: Asked, found: Reconciliation) -> None:
    lines = sum(one.lines for one in found.groups)
    whose = asked.reseller or "every share"
    say(console, f"{asked.cycle}, {whose}: {counted(lines, 'line')} of the bill, each beside what became of it", "")
    table = columns("Reseller", "Currency", *_HEADS, right=_HEADS)
    for owner, currency, sums in _by_owner(found.groups):
        shown = [figure(sums["billed"]), *(figure(sums[place]) for place in PLACES)]
        table.add_row(owner, currency, *(value if value != "0" else "-" for value in shown[:-1]), shown[-1])
    if found.groups:
        say_table(console, table)
    if found.payments:
        table = columns("Instruction", "Currency", "Owed", "Instructed", "Withheld", "Bank", right=_MONEY)
        for one in found.payments:
            amounts = [figure(value) for value in (one.owed, one.instructed, one.withheld)]
            table.add_row(one.instruction, one.currency, *amounts, _bank(one))
        say(console, "")
        say_table(console, table)
    _show_differences(console, found.differences)
    if found.files:
        say(console, f"{counted(found.statements, 'statement')} in {counted(found.files, 'file')} read and compared")
    if not asked.reseller:
        say(console, reconciliation_text(_summary(found, asked.cycle)))
    elif asked.reseller in found.missing:
        say(console, f"{asked.reseller} is not settled yet")
    _say_left(console, found.differences)


_HEADS = ("Billed", "Settled", "Netted", "Excluded", "Direct", "Own use", "In cases", "Waiting", "Unexplained")
_MONEY = ("Owed", "Instructed", "Withheld")


def _bank(one: Payment) -> str:
    if one.answered is None:
        return one.state
    return f"{one.state} {figure(one.answered)}" + (f" ({one.reference})" if one.reference else "")


def _by_owner(groups: Iterable[Group]) -> list[tuple[str, str, dict[str, Decimal]]]:
    """Sums by share and currency, and of all shares where there are several."""
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for one in groups:
        for owner in (one.owner or "nobody yet", _ALL):
            into = sums.setdefault((owner, one.currency), dict.fromkeys(("billed", *PLACES), Decimal(0)))
            for name, value in {"billed": one.billed, **one.places}.items():
                into[name] = EXACT.add(into[name], value)
    ordered = sorted(sums.items(), key=lambda one: (one[0][0] == _ALL, one[0]))
    several = len({owner for owner, _ in sums}) > len((_ALL, "one share"))
    return [(owner, currency, of) for (owner, currency), of in ordered if several or owner != _ALL]


_ALL = "all"


def _show_differences(console: Console, found: Sequence[Difference]) -> None:
    shown = sorted(found, key=lambda one: (bool(one.explained), -abs(one.amount)))
    for one in shown[:_SHOWN]:
        whose = f"{one.owner}: " if one.owner else ""
        mark = "explained" if one.explained else "unexplained"
        say(console, "", f"{mark}, {one.check}: {whose}{one.what}")
        if one.ours is not None or one.theirs is not None:
            sides = f"{_said(one.ours)}, expected {_said(one.theirs)}, difference {figure(one.amount)} {one.currency}"
            say(console, f"  {sides.rstrip()}")
        if one.explained:
            say(console, f"  by {one.explained}")
        if one.count:
            more = f" and {one.count - len(one.lines):,} more (--output FILE)" if one.count > len(one.lines) else ""
            say(console, f"  {counted(one.count, 'line')}: {', '.join(one.lines)}{more}")
    if len(shown) > _SHOWN:
        say(console, "", f"{len(shown) - _SHOWN:,} more differences; --output FILE or --json FILE has all")
    if shown:
        say(console, "")


def _said(value: Decimal | None) -> str:
    return "nothing" if value is None else figure(value)


def _say_left(console: Console, found: Sequence[Difference]) -> None:
    by = Counter(one.explained for one in found if one.explained)
    for how, count in sorted(by.items()):
        say(console, f"explained by {how}: {counted(count, 'difference')}")
    if not unexplained(found):
        say(console, "Nothing is unexplained.")


def _end(found: Sequence[Difference]) -> None:
    left = unexplained(found)
    if left:
        sums = ", ".join(f"{figure(one)} {currency}" for currency, one in remainder(left).items())
        what = f"{counted(len(left), 'difference')}{f' of {sums} in all' if sums else ''} unexplained"
        raise NotReconciledError(f"{what}; see what each names, find out who changed it, or open a case of it")


# -- a file of others -------------------------------------------------------------------------------------------


def _against(asked: Asked, file: Path, map_file: Path) -> None:
    from infra.clearbook.expectations import read_expectation, read_rows
    from shared.steps.reconciling import expected
    from shared.steps.reconciling.gathering import gather

    map_, question = read_expectation(map_file)
    with Console(stderr=True).status(f"reading {file.name}") as status:
        rows, sheet = read_rows(file, map_)
        status.update("matching")
        work = services(asked.home)
        found = expected.compare(work, gather(work, asked.cycle), question, rows, asked.reseller, asked.limit)
    if asked.output is not None:
        _write(asked.output, _difference_tables(found.differences))
    if asked.json_to is not None:
        said = {"file": file.name, "name": question.name, "against": question.against, "keys": list(question.keys)}
        write_json({**said, "amount": question.amount, **_matched_json(asked, found, sheet.skipped)}, asked.json_to)
    if asked.json_to != "-":
        console = plain_console()
        what = f"{question.against} by {', '.join(question.keys)}, {question.amount}"
        say(console, f"{file.name} beside {asked.cycle} {asked.reseller}".rstrip() + f": {what}")
        say(console, f"{counted(found.rows, 'row')}, {counted(sheet.skipped, 'row')} of sums skipped")
        _show_differences(console, found.differences)
        counts = Counter(one.reason for one in found.differences)
        said_ = "".join(f", {count:,} {reason}" for reason, count in sorted(counts.items()))
        say(console, f"{found.agreeing:,} agree{said_}")
        for currency in sorted(found.theirs.keys() | found.ours.keys()):
            sides = [one.get(currency, Decimal(0)) for one in (found.theirs, found.ours)]
            say(console, f"{currency}: there {figure(sides[0])}, here {figure(sides[1])}")
        _say_left(console, found.differences)
    _end(found.differences)


def _matched_json(asked: Asked, found: Matched, skipped: int) -> dict[str, Any]:
    return {
        "cycle": asked.cycle,
        "reseller": asked.reseller or None,
        "rows": found.rows,
        "rows_skipped": skipped,
        "agreeing": found.agreeing,
        "theirs": {currency: text(one) for currency, one in sorted(found.theirs.items())},
        "ours": {currency: text(one) for currency, one in sorted(found.ours.items())},
        "differences": [one.as_json() for one in found.differences],
        "unexplained": _left(found.differences),
    }


# -- month against month ----------------------------------------------------------------------------------------


def _months(asked: Asked, policy: Policy) -> None:
    from shared.steps.reconciling import before

    earlier, found = before.compare(services(asked.home), asked.cycle, policy, asked.reseller)
    if asked.output is not None:
        _write(asked.output, [_anomaly_table(found)])
    if asked.json_to is not None:
        said = {"factor": text(policy.factor), "minimum": text(policy.minimum)}
        write_json(
            {"cycle": asked.cycle, "before": earlier, "policy": said, "signals": [one.as_json() for one in found]},
            asked.json_to,
        )
    if asked.json_to == "-":
        return
    console = plain_console()
    bounds = f"{figure(policy.factor)} times as large or small, from {figure(policy.minimum)}"
    say(console, f"{asked.cycle} beside {earlier}: signals for whoever locks, {bounds}", "")
    table = columns("Whose", "What", "Signal", "Before", "Now", "Change", "", right=("Before", "Now", "Change"))
    for one in found[:_SHOWN]:
        named = "/".join(filter(None, one.key[:3]))
        amounts = [figure(value) for value in (one.before, one.now, one.change)]
        table.add_row(named, one.what, SIGNALS[one.signal], *amounts, one.detail or one.key[3])
    if found:
        say_table(console, table)
    if len(found) > _SHOWN:
        say(console, f"{len(found) - _SHOWN:,} more; --output FILE or --json FILE has all")
    say(console, f"{counted(len(found), 'signal')}; they keep nothing from being locked")


# -- tolerances -------------------------------------------------------------------------------------------------


def propose_tolerance(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a version of a tolerance."""
    from infra.clearbook.decisions import propose_file
    from shared.steps.reconciling.gathering import TOLERANCE

    propose_file(TOLERANCE, file, by, why, home, json_to)


# -- files ------------------------------------------------------------------------------------------------------


def _groups_table(groups: Iterable[Group]) -> Table:
    header = ("reseller", "account", "product", "currency", "lines", "billed", *PLACES)
    rows: list[list[object]] = [
        [one.owner, one.account, one.product, one.currency, one.lines, one.billed, *(one.places[of] for of in PLACES)]
        for one in groups
    ]
    return "Bill", header, rows


def _difference_tables(found: Sequence[Difference]) -> list[Table]:
    """The differences, and a row for each line that one names."""
    rows: list[list[object]] = []
    lines: list[list[object]] = []
    for number, one in enumerate(found, 1):
        sides = (one.ours, one.theirs, one.amount)
        rows.append(
            [number, one.check, one.owner, one.what, one.reason, one.currency, *sides, one.explained, one.count]
        )
        lines += [[number, one.check, one.owner, line] for line in one.lines]
    return [
        ("Differences", ("number", *_DIFFERENCE, "lines"), rows),
        ("Lines", ("difference", "check", "reseller", "line"), lines),
    ]


def _payments_table(found: Reconciliation) -> Table:
    header = ("instruction", "reseller", "currency", "owed", "instructed", "withheld", "bank", "answered", "reference")
    rows: list[list[object]] = [
        [one.instruction, one.reseller, one.currency, one.owed, one.instructed, one.withheld, one.state, one.answered,
         one.reference]
        for one in found.payments
    ]  # fmt: skip
    return "Payments", header, rows


def _anomaly_table(found: Iterable[Anomaly]) -> Table:
    header = ("reseller", "customer", "product", "currency", "what", "signal", "before", "now", "change", "detail")
    rows: list[list[object]] = [
        [*one.key, one.what, one.signal, one.before, one.now, one.change, one.detail] for one in found
    ]
    return "Signals", header, rows


def _write(path: Path, tables: Sequence[Table]) -> None:
    """The tables as sheets of a workbook; as CSV the differences alone, a row for each line that one names."""
    if path.suffix == _CSV:
        path.write_bytes(_as_csv(tables))
        return
    longest = max((len(rows) for _, _, rows in tables), default=0)
    if longest > _XLSX_ROWS_MAX:
        raise BadInputError("--output", f"has {longest} rows, more than a spreadsheet holds", "write FILE.csv instead")
    import xlsxwriter

    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        head, money = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0.00########"})
        for title, header, rows in tables:
            sheet = book.add_worksheet(title)
            sheet.write_row(0, 0, header, head)
            for number, row in enumerate(rows, 1):
                for column, value in enumerate(row):
                    _cell(sheet, number, column, value, money)
            sheet.autofilter(0, 0, max(len(rows), 1), len(header) - 1)
            sheet.freeze_panes(1, 0)


def _cell(sheet: Any, row: int, column: int, value: object, money: object) -> None:
    """A number whose digits the cell holds exactly; whatever else as text that cannot run."""
    if isinstance(value, int) and not isinstance(value, bool):
        sheet.write_number(row, column, value)
    elif isinstance(value, Decimal) and len(value.normalize().as_tuple().digits) <= _DIGITS_MAX:
        sheet.write_number(row, column, value, money)
    else:
        sheet.write_string(row, column, safe(value))


def _as_csv(tables: Sequence[Table]) -> bytes:
    by_title = {title: (header, rows) for title, header, rows in tables}
    if "Differences" not in by_title:
        header, rows = next(iter(by_title.values()))
        return csv_bytes(header, rows)
    header, rows = by_title["Differences"]
    lines: dict[object, list[object]] = {}
    for number, _, _, line in by_title["Lines"][1]:
        lines.setdefault(number, []).append(line)
    return csv_bytes((*header, "line"), [[*row, line] for row in rows for line in lines.get(row[0], [""])])
