"""A reseller's statement as JSON and CSV, and as the pages that PDF and XLSX show: rounded before it comes here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.ids import canonical_json
from shared.money import EXACT, decimals, fixed, rounded, total
from shared.report import layout, xlsx
from shared.report.cells import csv_bytes
from shared.report.language import (
    EN,
    LANGUAGES,
    Names,
    both,
    figure,
    in_both,
    kind_label,
    label,
    moment,
    month,
    named,
    percent,
)
from shared.report.layout import Layout
from shared.report.page import GROUP, TOTAL, Column, Page, Row, Section
from shared.settlement.statement import Statement, StatementLine

if TYPE_CHECKING:
    from shared.agreement.agreement import Agreement

COLUMNS = (
    *("cycle", "reseller", "agreement", "customer", "product", "rule", "version", "kind", "lines"),
    *("basis", "exact", "amount", "currency"),
)
FORMATS = ("csv", "json", "xlsx", "pdf", "own")
_KINDS = ("commission", "retroactive", "cap", "floor", "holdback", "release", "adjustment")  # as people read them
PDF_LINES_MAX = 400  # ten pages; more are a table for machines, and setting 20,000 would take 1.5 GB
_SUMS_MAX = 40  # customers, products that have a row of their own; the others share one


@dataclass(frozen=True, slots=True)
class Lock:
    """Who locked the month, and when."""

    proposed_by: str
    approved_by: str
    at: datetime
    hash: str  # of the lock's entry: whoever holds the statement holds a witness


@dataclass(frozen=True)
class Document:
    """A statement with what its reader needs to know about it."""

    statement: Statement
    cycle: str
    reseller: str
    settlement: str
    as_of: datetime  # when it was calculated
    is_bill_final: bool
    lock: Lock | None  # none: a draft
    carried: Decimal  # owed before this month, as it stood at the lock; below 0 the reseller owes it
    agreements: Sequence[Agreement]  # the versions that it was computed by, in order; the last says how it is paid
    operator: Names
    reseller_names: Names
    customer_names: Mapping[str, Names]
    product_names: Mapping[str, Names]
    opening: Decimal | None = None  # what of it is the opening balance, on the first statement
    forfeited: Decimal = Decimal(0)  # of the balance with this month, for it is below the minimum
    layout: Layout | None = None  # of the reseller's own file
    adjusted: Sequence[Mapping[str, Any]] = ()  # locked cycles: {"cycle", "lines", "amount", "because"}

    @property
    def made_at(self) -> datetime:
        """The time that files of it carry: nothing in them is of the clock."""
        return self.as_of if self.lock is None else self.lock.at

    @cached_property
    def balance(self) -> Decimal:
        """What is owed with this month."""
        return EXACT.subtract(EXACT.add(self.carried, Decimal(self.statement.payable)), self.forfeited)

    @cached_property
    def withheld(self) -> Decimal:
        """What of the balance is kept for the tax office when it is paid."""
        last = self.agreements[-1]
        if not self._is_due or not last.payout.withholding:
            return Decimal(0)
        return rounded(EXACT.multiply(self.balance, last.payout.withholding), last.places, last.mode)

    @cached_property
    def transfer(self) -> Decimal:
        """What is to be transferred; 0 where the balance is carried forward."""
        return EXACT.subtract(self.balance, self.withheld) if self._is_due else Decimal(0)

    @property
    def _is_due(self) -> bool:
        return self.balance > 0 and self.balance >= self.agreements[-1].payout.minimum

    @property
    def amounts(self) -> dict[str, str]:
        """What is carried and what is owed with this month, at the statement's places or those they need."""
        found = {
            "carried": self.carried,
            **({"forfeited": self.forfeited} if self.forfeited else {}),
            "balance": self.balance,
            **({"withheld": self.withheld} if self.withheld else {}),
            "transfer": self.transfer,
        }
        return {name: self._fixed(value) for name, value in found.items()}

    @property
    def opened(self) -> str | None:
        """The opening balance, on the statement that first carries it."""
        return None if self.opening is None else self._fixed(self.opening)

    def _fixed(self, value: Decimal) -> str:
        return fixed(value, max(self.statement.places, decimals(value)))


def to_json(document: Document) -> bytes:
    """The statement for other systems; amounts are text."""
    from shared.report.terms import terms  # here: an order that comes again says nothing

    lock = document.lock
    return canonical_json(
        {
            "format": "clearbook-statement-1",
            "cycle": document.cycle,
            "reseller": document.reseller,
            "reseller_name": named(document.reseller_names, EN, document.reseller),
            "settlement": document.settlement,
            "status": "draft" if lock is None else "final",
            "as_of": document.as_of,
            "locked_by": None if lock is None else f"proposed by {lock.proposed_by}, approved by {lock.approved_by}",
            "locked_at": None if lock is None else lock.at,
            "chain_head": None if lock is None else lock.hash,
            **document.statement.as_json(),
            **document.amounts,
            "opening": document.opened,
            "computed_by": [
                {
                    "version": one.version,
                    "digest": one.digest,
                    "basis": one.basis,
                    "terms": {language: terms(one, language) for language in LANGUAGES},
                }
                for one in document.agreements
            ],
            **({"adjusted": [dict(one) for one in document.adjusted]} if document.adjusted else {}),
        }
    )


def to_csv(document: Document) -> bytes:
    """The lines only, one a row, so that a reader adds them up without skipping anything."""
    statement = document.statement
    rows = [
        (
            *(document.cycle, document.reseller, statement.agreement, line.customer, line.product, line.rule),
            *(line.version, line.kind, line.lines, Decimal(line.basis), Decimal(line.exact), Decimal(line.amount)),
            statement.currency,
        )
        for line in statement.lines
    ]
    return csv_bytes(COLUMNS, rows)


def to_xlsx(document: Document) -> bytes:
    """A workbook: what is read first in each language, and all lines."""
    pages = [xlsx.Sheet(label("statement_sheet", one), page(document, one, lines_max=0)) for one in LANGUAGES]
    return xlsx.workbook(pages, xlsx.Table(both("lines_title"), _all_lines(document)), document.made_at)


def to_pdf(document: Document, language: str) -> bytes:
    """The statement to read and to keep."""
    from shared.report import pdf

    return pdf.render(page(document, language), document.made_at)


def files(document: Document, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The statement in each format, by what the names of its files end with."""
    found: dict[str, bytes] = {}
    for one in formats:
        if one == "pdf":
            found |= {f"-{language}.pdf": to_pdf(document, language) for language in LANGUAGES}
        elif one == "own":
            own = document.layout
            found |= {} if own is None else {f"-own.{own.format}": layout.write(document, own)}
        else:
            found[f".{one}"] = {"csv": to_csv, "json": to_json, "xlsx": to_xlsx}[one](document)
    return found


# -- what is read ---------------------------------------------------------------------------------------------------


def page(document: Document, language: str, lines_max: int = PDF_LINES_MAX) -> Page:
    """The statement in one language, with at most so many of its lines; with none where `lines_max` is 0."""
    statement, is_draft = document.statement, document.lock is None
    reseller = named(document.reseller_names, language, document.reseller)
    month_ = month(document.cycle, language)
    status = label("draft" if is_draft else "final", language)
    return Page(
        language,
        named(document.operator, language, ""),
        label("statement", language),
        f"{reseller} · {month_}",
        status,
        is_draft,
        " · ".join((reseller, month_, statement.agreement, document.settlement[:12], *([status] if is_draft else []))),
        _facts(document, language),
        [
            *_sums(document, language),
            *_adjusted(document, language),
            *([_lines(document, language, lines_max)] if lines_max else []),
            *_terms(document, language),
        ],
        warning=label("draft_note", language) if is_draft else "",
        headline=_headline(document, language),
        figures=_figures(document, language),
        places=statement.places,
        notes=[*_payment(document, language), label("rounding_note", language)],
    )


def _facts(document: Document, language: str) -> list[tuple[str, str]]:
    statement, lock = document.statement, document.lock
    state = label("bill_final" if document.is_bill_final else "bill_open", language)
    found = [
        ("reseller", f"{named(document.reseller_names, language, document.reseller)} ({document.reseller})"),
        ("month", month(document.cycle, language)),
        ("agreement", statement.agreement),
        ("versions", ", ".join(str(one.version) for one in document.agreements)),
        ("currency", statement.currency),
        ("settlement", document.settlement),
        ("as_of", moment(document.as_of, language)),
        ("bill_state", state),
    ]
    if lock is not None:
        found += [("locked", f"{moment(lock.at, language)}, {lock.proposed_by} / {lock.approved_by}")]
        found += [("lock_hash", lock.hash)]
    return [(label(name, language), value) for name, value in found]


def _headline(document: Document, language: str) -> list[tuple[str, ...]]:
    statement = document.statement

    def money(value: Decimal) -> str:
        return f"{figure(value, statement.places)} {statement.currency}"

    last = ("transfer", document.transfer) if document.transfer else ("forward", document.balance)
    shown = [("total", Decimal(statement.total)), ("payable", Decimal(statement.payable)), last]
    return [(label(name, language), money(value)) for name, value in shown]


def _figures(document: Document, language: str) -> list[tuple[str, Decimal, bool]]:
    """From what each kind of line comes to, to what is transferred."""
    statement, payout = document.statement, document.agreements[-1].payout
    kinds = _totals((line.kind, line.amount) for line in statement.lines)
    ordered = sorted(kinds, key=lambda kind: (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), kind))
    found = [(kind_label("kind", kind, language), kinds[kind], False) for kind in ordered]
    found.append((label("total", language), Decimal(statement.total), True))
    if payout.tax is not None:
        name = "tax_on_top" if payout.tax.mode == "exclusive" else "tax_contained"
        found.append((label(name, language, percent=percent(payout.tax.rate, language)), Decimal(statement.tax), False))
    found.append((label("payable", language), Decimal(statement.payable), True))
    if document.carried:
        name = "opening_balance" if document.opened else "carried"
        found.append((label(name, language), document.carried, False))
    if document.forfeited:
        found.append((label("forfeited", language), -document.forfeited, False))
    if document.carried or document.forfeited:
        found.append((label("balance", language), document.balance, True))
    if document.withheld:
        rate = percent(payout.withholding or Decimal(0), language)
        found.append((label("withheld", language, percent=rate), -document.withheld, False))
    if document.transfer:
        found.append((label("transfer", language), document.transfer, True))
    return found


def _payment(document: Document, language: str) -> list[str]:
    """Why what is owed is not transferred, or what it waits for."""
    payout, currency = document.agreements[-1].payout, document.statement.currency
    if document.balance < 0:
        return [label("note_negative", language)]
    if document.balance > 0 and not document.transfer:
        minimum = figure(payout.minimum, document.statement.places)
        return [label("note_minimum", language, minimum=minimum, currency=currency)]
    return [label("note_invoice", language)] if document.transfer and payout.requires_invoice else []


def _sums(document: Document, language: str) -> list[Section]:
    """What each customer, and each product, comes to: the largest by themselves, the others together."""
    statement = document.statement
    customers = _named(document.customer_names, language, label("no_customer", language))
    products = _named(document.product_names, language, label("no_customer", language))
    found = []
    for title, head, key, name in (
        ("by_customer", "customer", "customer", customers),
        ("by_product", "product", "product", products),
    ):
        sums = _totals((getattr(line, key), line.amount) for line in statement.lines)
        counts = _totals((getattr(line, key), line.lines) for line in statement.lines)
        largest = sorted(sums, key=lambda one: (-abs(sums[one]), one))
        rows = [Row((name(one), int(counts[one]), sums[one])) for one in largest[:_SUMS_MAX]]
        rest = largest[_SUMS_MAX:]
        if rest:
            shared = (total([counts[one] for one in rest]), total([sums[one] for one in rest]))
            rows.append(Row((label("others", language, count=f"{len(rest):,}"), int(shared[0]), shared[1])))
        if rows:
            count = int(total(list(counts.values())))
            rows.append(Row((label("total", language), count, Decimal(statement.total)), TOTAL))
            found.append(Section(label(title, language), _sum_columns(head, statement, language), rows))
    return found


def _sum_columns(head: str, statement: Statement, language: str) -> list[Column]:
    return [
        Column(label(head, language), 1),
        Column(label("lines", language), is_figure=True),
        Column(f"{label('amount', language)} {statement.currency}", is_figure=True, places=statement.places),
    ]


def _adjusted(document: Document, language: str) -> list[Section]:
    if not document.adjusted:
        return []
    places, currency = document.statement.places, document.statement.currency
    columns = [
        Column(label("adjusted_month", language), 1),
        Column(label("lines", language), is_figure=True),
        Column(f"{label('exact', language)} {currency}", is_figure=True, places=places),
        Column(label("cause", language), 3),
    ]
    rows = [
        Row((month(one["cycle"], language), one["lines"], Decimal(one["amount"]), cause(one["because"], language)))
        for one in document.adjusted
    ]
    return [Section(label("adjustments", language), columns, rows)]


def cause(because: str, language: str) -> str:
    """Why a month was adjusted; a settlement says "due less posted in 0c4007b4d127: other bill; refunds of 2025-07"."""
    what, _, rest = because.partition(" in ")
    settlement, _, reasons = rest.partition(": ")
    named = [_reason(one, language) for one in reasons.split("; ") if one]
    join, colon = ("; ", ": ") if language == EN else ("；", "：")
    where = f" ({_reason('in settlement', language)} {settlement})" if settlement else ""
    return _reason(what, language) + where + (colon + join.join(named) if named else "")


def _reason(said: str, language: str) -> str:
    """A reason in a language; some end with the month that they are about. Others stand as they are written."""
    words, _, last = said.rpartition(" ")
    is_month = last[:2] == "20" and last[2:].replace("-", "").isdecimal()
    name, of = (words, f" {last}") if is_month else (said, "")
    found = kind_label("cause", name, language)
    return said if found == name else found + of


def _lines(document: Document, language: str, lines_max: int) -> Section:
    statement = document.statement
    places, currency = statement.places, statement.currency
    columns = [
        Column(label("product", language), 3),
        Column(label("rule", language), 2),
        Column(label("kind", language), 2),
        Column(label("lines", language), is_figure=True),
        Column(label("basis", language), is_figure=True, places=places),
        Column(f"{label('amount', language)} {currency}", is_figure=True, places=places),
    ]
    customer = _named(document.customer_names, language, label("no_customer", language))
    product = _named(document.product_names, language, "")
    sums = _totals((line.customer, line.amount) for line in statement.lines)
    rows: list[Row] = []
    before = None
    for line in statement.lines[:lines_max]:
        if line.customer != before:
            rows.append(Row((customer(line.customer), "", "", "", "", sums[line.customer]), GROUP))
            before = line.customer
        rule = f"{line.rule} · {label('version', language)} {line.version}" if line.rule else ""
        basis: Decimal | str = Decimal(line.basis) if Decimal(line.basis) or line.kind == "commission" else ""
        kind = kind_label("kind", line.kind, language)
        rows.append(Row((product(line.product), rule, kind, line.lines, basis, Decimal(line.amount))))
    count = len(statement.lines)
    notes = [label("no_lines", language)] if not count else []
    if count > lines_max:
        notes = [label("lines_first", language, shown=f"{lines_max:,}", count=f"{count:,}")]
    else:
        whole = (label("total", language), "", "", sum(line.lines for line in statement.lines), "")
        rows += [Row((*whole, Decimal(statement.total)), TOTAL)] if count else []
    return Section(label("lines_title", language), columns, rows, notes)


def _terms(document: Document, language: str) -> list[Section]:
    from shared.report.terms import terms

    columns = [Column(label(name, language), width) for name, width in (("part", 2), ("term", 3), ("says", 5))]
    found = []
    for one in document.agreements:
        title = label("terms_of", language, agreement=one.id, version=one.version)
        rows, before = [], ""
        for part, thing, says in terms(one, language):
            rows.append(Row((part if part != before else "", thing, says)))
            before = part
        found.append(Section(f"{label('how', language)}: {title}", columns, rows))
    return found


def _all_lines(document: Document) -> Section:
    """Every line in a row of its own, for both languages."""
    statement = document.statement
    names = ("customer", "name", "product", "name", "rule", "version_head", "kind", "currency")
    figures = {"lines": 0, "basis": 2, "exact": 2, "amount": statement.places}
    columns = [Column(both(one)) for one in names]
    columns += [Column(both(one), is_figure=True, places=places) for one, places in figures.items()]
    rows = [Row(_line(document, line)) for line in statement.lines]
    lines, nothing = sum(one.lines for one in statement.lines), [""] * 6
    whole = (statement.currency, lines, "", Decimal(statement.exact), Decimal(statement.total))
    rows.append(Row((both("total"), *nothing, *whole), TOTAL))
    return Section(both("lines_title"), columns, rows)


def _line(document: Document, line: StatementLine) -> tuple[str | int | Decimal, ...]:
    kind = " ".join(kind_label("kind", line.kind, one) for one in LANGUAGES)
    return (
        line.customer,
        in_both(document.customer_names.get(line.customer, {}), line.customer),
        line.product,
        in_both(document.product_names.get(line.product, {}), line.product),
        line.rule,
        line.version,
        kind,
        document.statement.currency,
        line.lines,
        Decimal(line.basis),
        Decimal(line.exact),
        Decimal(line.amount),
    )


def _named(names: Mapping[str, Names], language: str, none: str) -> Any:
    """What people call an id, with the id where that is another text."""

    def name(id_: str) -> str:
        if not id_:
            return none
        called = named(names.get(id_, {}), language, id_)
        return called if called == id_ else f"{called} ({id_})"

    return name


def _totals(found: Iterable[tuple[str, str | int]]) -> dict[str, Decimal]:
    """Sums by name, in the order of the first of each."""
    sums: dict[str, Decimal] = {}
    for name, amount in found:
        sums[name] = EXACT.add(sums.get(name, Decimal(0)), Decimal(amount))
    return sums
