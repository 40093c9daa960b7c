"""The summary of a month for the finance team as JSON, XLSX and PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from shared.cycle import parse_instant
from shared.ids import canonical_json
from shared.money import EXACT, total
from shared.report import xlsx
from shared.report.language import LANGUAGES, Names, figure, kind_label, label, moment, month, named
from shared.report.page import TOTAL, Column, Page, Row, Section

FORMATS = ("json", "xlsx", "pdf")
_HEADLINES_MAX = 4
PLACES = 2


@dataclass(frozen=True, slots=True)
class Share:
    """One agreement of a reseller in the month."""

    reseller: str
    names: Names
    agreement: str
    currency: str
    state: str
    total: Decimal
    tax: Decimal
    payable: Decimal
    paid: Decimal
    balance: Decimal  # still owed, of all months up to this one that are locked


@dataclass(frozen=True, slots=True)
class Compared:
    """What was billed in a currency, and what of it is settled or in cases."""

    currency: str
    billed: Decimal
    settled: Decimal
    unexplained: Decimal


@dataclass(frozen=True, slots=True)
class Case:
    """The open cases of a kind in a currency."""

    kind: str
    currency: str
    count: int
    lines: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Changed:
    """An agreement's total beside that of the run before and of the month before, None where there is none."""

    reseller: str
    names: Names
    agreement: str
    currency: str
    total: Decimal
    run_before: Decimal | None
    month_before: Decimal | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A month of all resellers."""

    cycle: str
    at: str
    operator: Names
    shares: Sequence[Share]
    compared: Sequence[Compared]
    missing: Sequence[str]  # shares that have no final settlement
    cases: Sequence[Case]
    changes: Sequence[Changed]

    @property
    def made_at(self) -> datetime:
        """When it was looked at."""
        return parse_instant(self.at)

    @property
    def currencies(self) -> list[str]:
        """The currencies of its statements."""
        return sorted({one.currency for one in self.shares})

    def sum_of(self, currency: str, what: Callable[[Share], Decimal]) -> Decimal:
        """What the statements in a currency come to."""
        return total([what(one) for one in self.shares if one.currency == currency])

    @property
    def is_final(self) -> bool:
        """Whether nothing of it may change any more: all of it is locked, and every amount is explained."""
        is_locked = all(one.state not in ("draft", "calculated", "in_review") for one in self.shares)
        return is_locked and not self.missing and not any(one.unexplained for one in self.compared)


def files(summary: Summary, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The summary in each format, by what the names of its files end with."""
    found: dict[str, bytes] = {}
    for one in formats:
        if one == "pdf":
            found |= {f"-{language}.pdf": to_pdf(summary, language) for language in LANGUAGES}
        else:
            found[f".{one}"] = {"json": to_json, "xlsx": to_xlsx}[one](summary)
    return found


def to_json(summary: Summary) -> bytes:
    """The summary for other systems; amounts are text."""
    sums = {
        one: {
            name: summary.sum_of(one, lambda share, name=name: Decimal(getattr(share, name)))  # type: ignore[misc]
            for name in ("total", "tax", "payable", "paid", "balance")
        }
        for one in summary.currencies
    }
    return canonical_json({"format": "clearbook-month-1", **asdict(summary), "sums": sums})


def to_xlsx(summary: Summary) -> bytes:
    """A workbook with a sheet in each language."""
    sheets = [xlsx.Sheet(label("summary_sheet", one), page(summary, one)) for one in LANGUAGES]
    return xlsx.workbook(sheets, None, summary.made_at)


def to_pdf(summary: Summary, language: str) -> bytes:
    """The summary to read."""
    from shared.report import pdf

    return pdf.render(page(summary, language), summary.made_at)


def page(summary: Summary, language: str) -> Page:
    """The summary in one language: sums, then what is open, then each reseller, then what has changed."""
    month_ = month(summary.cycle, language)
    return Page(
        language,
        named(summary.operator, language, ""),
        label("summary", language),
        month_,
        label("final" if summary.is_final else "summary_open", language),
        False,
        f"{label('summary', language)} · {month_}",
        _facts(summary, language),
        [
            _totals(summary, language),
            _compared(summary, language),
            _cases(summary, language),
            _shares(summary, language),
            _changes(summary, language),
        ],
        headline=_headline(summary, language),
        is_wide=True,
    )


def _facts(summary: Summary, language: str) -> list[tuple[str, str]]:
    states: dict[str, int] = {}
    for one in {share.reseller: share.state for share in summary.shares}.values():
        states[one] = states.get(one, 0) + 1
    said = ", ".join(f"{kind_label('state', one, language)} {count:,}" for one, count in sorted(states.items()))
    return [
        (label("month", language), month(summary.cycle, language)),
        (label("as_of", language), moment(summary.made_at, language)),
        (label("states_count", language), said or "0"),
    ]


def _headline(summary: Summary, language: str) -> list[tuple[str, ...]]:
    """For each currency what is payable, and below it what of it is paid and open; then what is not explained."""
    found: list[tuple[str, ...]] = []
    for one in summary.currencies[:_HEADLINES_MAX]:
        paid, open_ = summary.sum_of(one, lambda share: share.paid), summary.sum_of(one, lambda share: share.balance)
        remark = f"{label('paid', language)} {figure(paid, PLACES)} · "
        remark += f"{label('open_balance', language)} {figure(open_, PLACES)}"
        payable = summary.sum_of(one, lambda share: share.payable)
        found.append((label("payable", language), f"{figure(payable, PLACES)} {one}", remark))
    unexplained = [f"{figure(one.unexplained, PLACES)} {one.currency}" for one in summary.compared if one.unexplained]
    found.append((label("unexplained", language), " · ".join(unexplained) or "0"))
    count = sum(one.count for one in summary.cases)
    held = " · ".join(f"{figure(amount, PLACES)} {one}" for one, amount in _held(summary).items())
    found.append((label("cases", language), f"{count:,}", held))
    return found


def _held(summary: Summary) -> dict[str, Decimal]:
    held: dict[str, Decimal] = {}
    for one in summary.cases:
        if one.currency and one.amount:
            held[one.currency] = EXACT.add(held.get(one.currency, Decimal(0)), one.amount)
    return dict(sorted(held.items()))


_AMOUNTS = ("total", "tax", "payable", "paid", "open_balance")


def _totals(summary: Summary, language: str) -> Section:
    columns = [Column(label("currency", language), 1), *_amount_columns(language)]
    rows = [Row((one, *_sums(summary, one))) for one in summary.currencies]
    return Section(label("totals", language), columns, rows)


def _sums(summary: Summary, currency: str) -> list[Decimal]:
    mine = [one for one in summary.shares if one.currency == currency]
    of = [(one.total, one.tax, one.payable, one.paid, one.balance) for one in mine]
    return [total(list(found)) for found in zip(*of, strict=True)]


def _amount_columns(language: str) -> list[Column]:
    return [Column(label(one, language), is_figure=True, places=PLACES) for one in _AMOUNTS]


def _compared(summary: Summary, language: str) -> Section:
    names = ("billed", "explained", "unexplained")
    columns = [Column(label("currency", language), 1)]
    columns += [Column(label(one, language), is_figure=True, places=PLACES) for one in names]
    rows = [Row((one.currency, one.billed, one.settled, one.unexplained)) for one in summary.compared]
    is_explained = not any(one.unexplained for one in summary.compared)
    notes = [label("all_explained" if is_explained else "not_explained", language)]
    if summary.missing:
        notes.append(label("not_settled", language, names=", ".join(summary.missing)))
    return Section(label("differences", language), columns, rows, notes)


def _cases(summary: Summary, language: str) -> Section:
    columns = [
        Column(label("kind", language), 1),
        Column(label("currency", language)),
        Column(label("cases_count", language), is_figure=True),
        Column(label("lines_count", language), is_figure=True),
        Column(label("held", language), is_figure=True, places=PLACES),
    ]
    rows = [
        Row((kind_label("case", one.kind, language), one.currency, one.count, one.lines, one.amount))
        for one in summary.cases
    ]
    notes = [] if rows else [label("none_open", language)]
    return Section(label("cases", language), columns, rows, notes)


def _shares(summary: Summary, language: str) -> Section:
    columns = [
        *(Column(label("reseller", language), 2), Column(label("agreement", language), 2)),
        *(Column(label("state", language)), Column(label("currency", language)), *_amount_columns(language)),
    ]
    rows = [
        Row(
            (
                *(_called(one.names, one.reseller, language), one.agreement),
                *(kind_label("state", one.state, language), one.currency),
                *(one.total, one.tax, one.payable, one.paid, one.balance),
            )
        )
        for one in summary.shares
    ]
    rows += [Row((label("total", language), "", "", one, *_sums(summary, one)), TOTAL) for one in summary.currencies]
    return Section(label("resellers", language), columns, rows)


def _changes(summary: Summary, language: str) -> Section:
    """Agreements that came to something else than in the run or the month before; the largest changes first."""
    names = ("this_month", "before_run", "change", "before_month", "change")
    columns = [
        Column(label("reseller", language), 2), Column(label("agreement", language), 2),
        Column(label("currency", language)),
        *(Column(label(one, language), is_figure=True, places=PLACES) for one in names),
    ]  # fmt: skip
    moved = [one for one in summary.changes if any(_moves(one))]
    moved.sort(key=lambda one: (-max(abs(by or Decimal(0)) for by in _moves(one)), one.reseller, one.agreement))
    rows = [
        Row(
            (
                *(_called(one.names, one.reseller, language), one.agreement, one.currency, one.total),
                *_beside(one.run_before, _moves(one)[0]),
                *_beside(one.month_before, _moves(one)[1]),
            )
        )
        for one in moved
    ]
    notes = [] if rows else [label("none_changed", language)]
    return Section(label("changes", language), columns, rows, notes)


def _moves(one: Changed) -> tuple[Decimal | None, Decimal | None]:
    """By how much it differs from the run before, and from the month before."""
    run, month_ = (
        None if before is None else EXACT.subtract(one.total, before) for before in (one.run_before, one.month_before)
    )
    return run, month_


def _beside(before: Decimal | None, by: Decimal | None) -> tuple[Decimal | str, Decimal | str]:
    return ("", "") if before is None or by is None else (before, by)


def _called(names: Names, id_: str, language: str) -> str:
    called = named(names, language, id_)
    return called if called == id_ else f"{called} ({id_})"
