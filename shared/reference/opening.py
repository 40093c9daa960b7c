"""The opening of a reseller: what is owed, and what earlier months came to, when it begins to be settled here.

It stands at the beginning of the cycle `as_of`, the first that is settled. Balances are carried into that cycle's
statements; totals of scales and past charges are kept for what looks back beyond it (contract years, refunds).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from shared.cycle import Cycle, parse_date
from shared.documents import Id, Model, check
from shared.errors import BadInputError
from shared.ids import Digest, canonical_json, digest
from shared.money import NotAnAmountError, amount, text
from shared.reference.currencies import known
from shared.reference.table import Finding, Row, read_table, refuse

BALANCES_MAX = 100  # they stand in an entry of the chain
TOTALS_MAX = 10_000
CHARGES_MAX = 200_000
CYCLES_BACK = 18  # refunds look no further back (semantics, refunds)
CHARGE_COLUMNS = (
    *("id", "date", "account", "customer", "product_code", "commodity_code", "billing_item_code", "instance_id"),
    *("subscription_type", "kind", "currency", "pretax", "left", "agreement", "rule", "version", "basis", "earned"),
)
_NUMBERS = ("pretax", "left", "basis", "earned")
_NEEDED = ("id", "account", "customer", "product_code", "subscription_type", "agreement", "rule")


def _cycle_text(value: str) -> str:
    try:
        return str(Cycle.parse(value))
    except BadInputError as exc:
        raise ValueError(f"{exc.problem}; {exc.remedy}") from exc


def _currency(value: str) -> str:
    if not known(value):
        raise ValueError("is no currency; write its ISO 4217 code, such as CNY")
    return value


def _amount_text(value: object) -> object:
    """Amounts are written as text or whole numbers; they are kept as canonical text."""
    try:
        return text(amount(value))
    except NotAnAmountError as exc:
        raise ValueError(f'{exc}; write it as text, such as "100.00"') from exc


CycleText = Annotated[str, AfterValidator(_cycle_text)]
CurrencyText = Annotated[str, AfterValidator(_currency)]
AmountText = Annotated[str, BeforeValidator(_amount_text)]


class BalanceModel(Model):
    agreement: Id
    currency: CurrencyText
    amount: AmountText  # above 0 it is owed to the reseller


class ScaleTotalModel(Model):
    agreement: Id
    scale: Id
    customer: Id | None = None  # of a scale by customer or by product
    product: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    amount: AmountText


class OpeningDocument(Model):
    reseller: Id
    as_of: CycleText
    balances: Annotated[list[BalanceModel], Field(max_length=BALANCES_MAX)] = Field(default_factory=list)
    scale_totals: Annotated[list[ScaleTotalModel], Field(max_length=TOTALS_MAX)] = Field(default_factory=list)
    past_charges: Annotated[str, Field(min_length=1, max_length=500)] | None = None  # a CSV file beside the document


@dataclass(frozen=True, slots=True)
class PastCharges:
    """What is known of a file of past charges without opening it."""

    digest: Digest
    rows: int
    left: Mapping[str, str]  # currency -> what refunds may still take
    agreements: Collection[str] = field(default_factory=frozenset)
    customers: Collection[str] = field(default_factory=frozenset)


def opening_document(data: Any, name: str) -> OpeningDocument:
    """The checked document; DocumentRefusedError lists everything that is wrong with it by itself."""
    document = check(OpeningDocument, data, name)
    findings: list[Finding] = []
    agreements = [one.agreement for one in document.balances]
    findings += [
        (f"balances.{index}", f"{agreement!r} stands here a second time; add them up")
        for index, agreement in enumerate(agreements)
        if agreement in agreements[:index]
    ]
    scopes: set[tuple[str | None, ...]] = set()
    for index, one in enumerate(document.scale_totals):
        scope = (one.agreement, one.scale, one.customer, one.product)
        if scope in scopes:
            findings.append((f"scale_totals.{index}", "the same scope stands here a second time; keep one"))
        scopes.add(scope)
    if not document.balances and not document.scale_totals and document.past_charges is None:
        findings.append(("document", "opens nothing; give balances, scale_totals or past_charges"))
    refuse(name, findings)
    return document


def opening_body(document: OpeningDocument, past: PastCharges | None) -> bytes:
    """The document in canonical JSON, its past charges named by their digest."""
    kept = None if past is None else {"digest": past.digest, "rows": past.rows, "left": dict(past.left)}
    return canonical_json({**document.model_dump(), "past_charges": kept})


def read_past_charges(body: bytes, name: str, as_of: Cycle) -> PastCharges:
    """Check a CSV file of charges that were settled before `as_of`; DocumentRefusedError lists every wrong row."""
    rows = read_table(body, name, CHARGE_COLUMNS, rows_max=CHARGES_MAX, numbers=_NUMBERS)
    first = as_of
    for _ in range(CYCLES_BACK):
        first = first.previous()
    findings: list[Finding] = []
    left: dict[str, Decimal] = {}
    seen: dict[str, int] = {}
    for row in rows:
        problems, amounts = _charge(row, first.first, as_of.first)
        earlier = seen.setdefault(row.cells["id"], row.line)
        if earlier != row.line:
            problems.append((row.place("id"), f"{row.cells['id'][:40]!r} stands in line {earlier}; keep one"))
        findings += problems
        currency = row.cells["currency"]
        left[currency] = left.get(currency, Decimal(0)) + amounts.get("left", Decimal(0))
    refuse(name, findings)
    return PastCharges(
        digest(body),
        len(rows),
        {currency: text(value) for currency, value in sorted(left.items())},
        frozenset(row.cells["agreement"] for row in rows),
        frozenset(row.cells["customer"] for row in rows),
    )


def _charge(row: Row, first: date, before: date) -> tuple[list[Finding], dict[str, Decimal]]:
    findings = [(row.place(column), "is empty") for column in _NEEDED if not row.cells[column]]
    amounts: dict[str, Decimal] = {}
    for column in _NUMBERS:
        try:
            amounts[column] = amount(row.cells[column])
        except NotAnAmountError as exc:
            findings.append((row.place(column), str(exc)))
    if len(amounts) == len(_NUMBERS) and not 0 < amounts["left"] <= amounts["pretax"]:
        problem = f"is {text(amounts['left'])}; what is left of a charge is above 0 and at most its pretax"
        findings.append((row.place("left"), f"{problem}, {text(amounts['pretax'])}"))
    if not known(row.cells["currency"]):
        findings.append((row.place("currency"), f"{row.cells['currency'][:20]!r} is no ISO 4217 code"))
    if row.cells["kind"] not in ("usage", "subscription"):
        findings.append((row.place("kind"), f"{row.cells['kind'][:40]!r}: expected usage or subscription"))
    if not (row.cells["version"].isascii() and row.cells["version"].isdecimal()):
        findings.append((row.place("version"), f"{row.cells['version'][:40]!r} is no version number"))
    return [*findings, *_day(row, first, before)], amounts


def _day(row: Row, first: date, before: date) -> list[Finding]:
    try:
        day = parse_date(row.cells["date"])
    except BadInputError as exc:
        return [(row.place("date"), f"{exc.problem}; {exc.remedy}")]
    if not first <= day < before:
        expected = f"expected {first} or later and before {before}: refunds look {CYCLES_BACK} cycles back"
        return [(row.place("date"), f"{day} is no past charge; {expected}")]
    return []
