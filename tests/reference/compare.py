"""The engine and the reference model on the same inputs, and what they found in one comparable form.

Inputs are those of the engine; the model gets them turned into its own plain values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import duckdb

from shared.agreement.agreement import Agreement
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR, Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share
from shared.settlement.statement import Statement, statements
from tests.reference import model

BillRow = Mapping[str, Any]  # column of a bill line -> value


class Line(NamedTuple):
    """A settlement line."""

    owner: str
    kind: str
    line_id: str
    piece: int
    customer: str | None
    product: str | None
    agreement: str | None
    version: int | None
    rule: str | None
    band: int | None
    basis: Fraction
    rate: Fraction | None
    amount: Fraction
    because: str | None


class Case(NamedTuple):
    """A bill line that waits for a person; a basis that is not known holds 0."""

    owner: str
    kind: str
    line_id: str
    basis: Fraction


class Entry(NamedTuple):
    """A line of a statement."""

    owner: str
    agreement: str
    customer: str
    product: str
    rule: str
    version: int
    kind: str
    exact: Fraction
    rounded: Fraction


@dataclass(frozen=True)
class Outcome:
    """A month over all shares."""

    lines: Counter[Line] = field(default_factory=Counter)
    cases: Counter[Case] = field(default_factory=Counter)
    entries: list[Entry] = field(default_factory=list)
    totals: dict[tuple[str, str], Fraction] = field(default_factory=dict)  # (owner, agreement) -> statement total

    def differences(self, other: Outcome) -> list[str]:
        """What only one of the two found; empty when they agree."""
        found = [f"only left: {one}" for one in [*(self.lines - other.lines), *(self.cases - other.cases)]]
        found += [f"only right: {one}" for one in [*(other.lines - self.lines), *(other.cases - self.cases)]]
        if not found:
            pairs = [*zip(self.entries, other.entries, strict=False)]
            found += [f"statement: {one} or {another}" for one, another in pairs if one != another]
            if len(self.entries) != len(other.entries) or self.totals != other.totals:
                found.append(f"statements: {self.entries} {self.totals} or {other.entries} {other.totals}")
        return sorted(found)


@dataclass(frozen=True)
class Inputs:
    """All that a month's settlement reads."""

    cycle: Cycle
    bill: Sequence[BillRow]
    assignments: Sequence[Assignment]
    agreements: Sequence[Agreement]

    def shares(self) -> list[Share]:
        """The operator's share and one for each reseller."""
        owners = {OPERATOR, *(one.reseller for one in self.assignments if one.reseller is not None)}
        return [
            Share(owner, self.cycle, self.assignments, [one for one in self.agreements if one.reseller == owner])
            for owner in sorted(owners)
        ]

    def begun(self, owner: str) -> list[Agreement]:
        """The owner's versions begun by the end of the cycle, the latest last: that one says how to round."""
        mine = (one for one in self.agreements if one.reseller == owner and one.begins <= self.cycle.last)
        return sorted(mine, key=lambda one: one.begins)


def by_engine(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> Outcome:
    """What the engine makes of the month, share by share."""
    outcome = Outcome()
    for share in inputs.shares():
        lines.load_lines(connection, inputs.bill)
        settled = engine.settle(connection, share)
        _read_tables(connection, share.owner, outcome)
        for statement in statements(settled.groups, inputs.begun(share.owner)):
            _read_statement(statement, share.owner, outcome)
    outcome.entries.sort(key=lambda entry: entry[:2])  # by owner and agreement; their lines stay as they came
    return outcome


def _read_tables(connection: duckdb.DuckDBPyConnection, owner: str, outcome: Outcome) -> None:
    rows = connection.execute(
        "SELECT kind, line_id, piece, customer, product_code, agreement, version, rule, band, basis, rate * 100, "
        "amount, because FROM settled"
    ).fetchall()
    for row in rows:
        basis, percent, amount = row[9:12]
        sums = (Fraction(basis), _fraction(percent), Fraction(amount), row[12])
        outcome.lines[Line._make((owner, *row[:9], *sums))] += 1
    for kind, line_id, basis in connection.execute("SELECT kind, line_id, basis FROM held").fetchall():
        outcome.cases[Case(owner, kind, line_id, Fraction(basis))] += 1


def _read_statement(statement: Statement, owner: str, outcome: Outcome) -> None:
    outcome.totals[owner, statement.agreement] = Fraction(statement.total)
    for one in statement.lines:
        head = (one.customer, one.product, one.rule, one.version, one.kind)
        outcome.entries.append(Entry(owner, statement.agreement, *head, Fraction(one.exact), Fraction(one.amount)))


def by_model(inputs: Inputs) -> Outcome:
    """What the reference model makes of the month."""
    month = model.settle(
        inputs.cycle.year,
        inputs.cycle.month,
        [model_line(row) for row in inputs.bill],
        [_model_assignment(one) for one in inputs.assignments],
        [_model_version(one) for one in inputs.agreements],
    )
    outcome = Outcome()
    for row in month.rows:
        line = Line(
            row.owner or OPERATOR,
            row.kind,
            row.line_id,
            row.piece,
            row.customer,
            row.product,
            row.agreement,
            row.version,
            row.rule,
            row.band,
            row.basis,
            row.rate,
            row.amount,
            row.reason,
        )
        outcome.lines[line] += 1
    for held in month.held:
        outcome.cases[Case(held.owner or OPERATOR, held.case, held.line_id, held.basis or Fraction(0))] += 1
    for owner in sorted(share.owner for share in inputs.shares()):
        for id_, version in {one.id: one for one in inputs.begun(owner)}.items():
            mine = [row for row in month.rows if (row.owner, row.agreement) == (owner, id_)]
            whole, groups = model.statement(mine, version.places, version.mode.value)
            outcome.totals[owner, id_] = whole
            for one in groups:
                head = (one.customer or "", one.product or "", one.rule or "", one.version or 0, one.kind)
                outcome.entries.append(Entry(owner, id_, *head, one.exact, one.rounded))
    outcome.entries.sort(key=lambda entry: entry[:2])
    return outcome


def model_line(row: BillRow) -> model.BillLine:
    """A bill line for the model."""
    day = row["date"]
    return model.BillLine(
        line_id=row["line_id"],
        account=row["account"],
        kind=row["kind"],
        billing_date=date.fromisoformat(day) if isinstance(day, str) else day,
        product_code=row.get("product_code"),
        commodity_code=row.get("commodity_code"),
        billing_item_code=row.get("billing_item_code"),
        instance_id=row.get("instance_id"),
        subscription_type=row.get("subscription_type"),
        order_type=row.get("order_type"),
        region=row.get("region"),
        zone=row.get("zone"),
        instance_spec=row.get("instance_spec"),
        resource_group=row.get("resource_group"),
        cost_unit=row.get("cost_unit"),
        tags=row.get("tags"),
        currency=row["currency"],
        payer=row.get("payer"),
        gross=_fraction(row.get("gross")),
        discount=_fraction(row.get("discount")),
        round_down=_fraction(row.get("round_down")),
        pretax=_fraction(row.get("pretax")),
        paid=_fraction(row.get("payment")),
    )


def _fraction(value: Decimal | str | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _model_assignment(one: Assignment) -> model.Assignment:
    return model.Assignment(one.account, one.begins, one.ends, one.customer, one.reseller, one.how == "own_use")


def _model_version(one: Agreement) -> model.Version:
    return model.Version(
        agreement=one.id,
        number=one.version,
        reseller=one.reseller,
        first=one.begins,
        last=one.ends,
        basis=one.basis,
        rules=tuple(
            model.Rule(
                rule.id,
                rule.when,
                model.Earning(
                    None if rule.earn.rate is None else Fraction(rule.earn.rate) * 100, scale=rule.earn.scale
                ),
            )
            for rule in one.rules
        ),
        exclusions=tuple((exclusion.when, exclusion.because) for exclusion in one.exclusions),
        scales={
            scale.id: model.Scale(
                scale.scope, tuple(model.Band(_fraction(band.upto), Fraction(band.rate) * 100) for band in scale.bands)
            )
            for scale in one.scales.values()
        },
        currency=one.currency,
        only_currencies=one.currencies or None,
        only_payers=one.payers or None,
        places=one.places,
        mode=one.mode.value,
    )
