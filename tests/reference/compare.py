"""The engine and the reference model on the same inputs, and what they found in one comparable form.

Inputs are those of the engine; the model gets them turned into its own plain values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import duckdb

from shared.agreement.agreement import Agreement, Bound, Earning, Scale
from shared.columnar import insert
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR, Assignment, CustomerClass
from shared.settlement import engine, lines
from shared.settlement.share import Approved, Closed, HeldBack, LinkedByHand, Opened, PastCharge, Share
from shared.settlement.statement import Statement, statements
from tests.reference import inputs as values
from tests.reference import model
from tests.reference.inputs import LOOK_BACK

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
    cycle: str  # the cycle it is due for
    corrects: str | None = None  # of an adjustment: the kind of what it corrects
    account: str | None = None  # of a bound, where its scope has one
    instance: str | None = None


class Case(NamedTuple):
    """A bill line that waits for a person; a basis that is not known holds 0."""

    owner: str
    kind: str
    line_id: str
    basis: Fraction
    cycle: str


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
    """All that is known on the day a month is settled: its own lines, and in a life those of the months before."""

    cycle: Cycle
    bill: Sequence[BillRow]
    assignments: Sequence[Assignment]
    agreements: Sequence[Agreement]
    classes: Sequence[CustomerClass] = ()
    rates: Mapping[tuple[str, str, str], Decimal] = field(default_factory=dict)  # (cycle, currency, to)
    figures: Mapping[tuple[str, str, str], Decimal] = field(default_factory=dict)  # (reseller, figure, cycle)
    adjustments: Sequence[Approved] = ()
    openings: Mapping[str, Opened] = field(default_factory=dict)  # by reseller
    closed: Sequence[Closed] = ()  # cases closed without settling; they say "kind: why"
    links: Sequence[LinkedByHand] = ()

    def shares(self) -> list[Share]:
        """The operator's share and one for each reseller."""
        owners = {OPERATOR, *(one.reseller for one in self.assignments if one.reseller is not None)}
        owners |= {one.reseller for one in self.agreements if one.begins <= self.cycle.last}
        return [self.share(owner) for owner in sorted(owners)]

    def share(self, owner: str, looked_back: Sequence[Cycle] = ()) -> Share:
        """What one owner's settlement reads."""
        return Share(
            owner,
            self.cycle,
            self.assignments,
            [one for one in self.agreements if one.reseller == owner and one.begins <= self.cycle.last],
            [one for one in self.agreements if one.reseller != owner and one.begins <= self.cycle.last],
            looked_back,
            self.classes,
            self.rates,
            {(figure, cycle): value for (of, figure, cycle), value in self.figures.items() if of == owner},
            opened=self.openings.get(owner),
            closed=self.closed,
            links=self.links,
        )

    def begun(self, owner: str) -> list[Agreement]:
        """The owner's versions begun by the end of the cycle, the latest last: that one says how to round."""
        mine = (one for one in self.agreements if one.reseller == owner and one.begins <= self.cycle.last)
        return sorted(mine, key=lambda one: (one.begins, one.version))


# -- by the engine ------------------------------------------------------------------------------------------------


def by_engine(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> Outcome:
    """What the engine makes of the month, share by share."""
    [outcome] = life_by_engine(connection, [inputs])
    return outcome


def life_by_engine(connection: duckdb.DuckDBPyConnection, months: Sequence[Inputs]) -> list[Outcome]:
    """What the engine makes of months that follow each other, each locked before the next is settled."""
    posted: dict[str, list[tuple[Any, ...]]] = {}
    found = []
    for number, inputs in enumerate(months):
        outcome = Outcome()
        for plain in inputs.shares():
            before = posted.setdefault(plain.owner, [])
            share = _looking_back(inputs, plain, [one.cycle for one in months[:number]], before)
            lines.load_lines(connection, inputs.bill)
            load_posted(connection, before)
            settled = engine.settle(connection, share)
            read_tables(connection, share.owner, outcome)
            for statement in statements(settled.groups, inputs.begun(share.owner), inputs.cycle):
                read_statement(statement, share.owner, outcome)
            before += connection.execute(f"SELECT {', '.join(engine.LINE_COLUMNS)} FROM settled").fetchall()
        outcome.entries.sort(key=lambda entry: entry[:2])  # by owner and agreement; their lines stay as they came
        found.append(outcome)
    return found


def _looking_back(inputs: Inputs, plain: Share, cycles: Sequence[Cycle], posted: list[tuple[Any, ...]]) -> Share:
    rows = [dict(zip(engine.LINE_COLUMNS, row, strict=True)) for row in posted]
    done = {row["approved"] for row in rows}
    agreements = {one.id for one in plain.agreements}
    waiting = [one for one in inputs.adjustments if one.agreement in agreements and one.id not in done]
    held = [
        HeldBack(row["agreement"], row["version"], row["cycle"], -row["amount"])
        for row in rows
        if row["kind"] == "holdback"
    ]
    return replace(plain, looked_back=cycles, adjustments=waiting, held_back=held)


def load_posted(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Make `posted` of lines of earlier settlements."""
    typed = ", ".join(f"{name} {type_}" for name, type_ in engine.LINE_TYPES.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE posted ({typed})")
    insert(connection, "posted", rows, len(engine.LINE_COLUMNS))


def read_tables(
    connection: duckdb.DuckDBPyConnection, owner: str, outcome: Outcome, settled: str = "settled", held: str = "held"
) -> None:
    """Add what an owner's lines and cases are, as the tables of the connection have them."""
    bounds = "coalesce(corrects, kind) IN ('cap', 'floor')"
    rows = connection.execute(
        "SELECT kind, line_id, piece, customer, product_code, agreement, version, rule, band, basis, rate * 100, "
        f"amount, because, cycle, corrects, CASE WHEN {bounds} THEN account END, instance_id FROM {settled}"
    ).fetchall()
    for row in rows:
        basis, percent, amount = row[9:12]
        sums = (Fraction(basis), _fraction(percent), Fraction(amount), *row[12:])
        outcome.lines[Line._make((owner, *row[:9], *sums))] += 1
    for kind, line_id, basis, cycle in connection.execute(f"SELECT kind, line_id, basis, cycle FROM {held}").fetchall():
        outcome.cases[Case(owner, kind, line_id, Fraction(basis), cycle)] += 1


def read_statement(statement: Statement, owner: str, outcome: Outcome) -> None:
    """Add what an owner's statement says."""
    outcome.totals[owner, statement.agreement] = Fraction(statement.total)
    for one in statement.lines:
        head = (one.customer, one.product, one.rule, one.version, one.kind)
        outcome.entries.append(Entry(owner, statement.agreement, *head, Fraction(one.exact), Fraction(one.amount)))


# -- by the model -------------------------------------------------------------------------------------------------


def by_model(inputs: Inputs) -> Outcome:
    """What the reference model makes of the month."""
    [outcome] = life_by_model([inputs])
    return outcome


def life_by_model(months: Sequence[Inputs]) -> list[Outcome]:
    """What the reference model makes of months that follow each other."""
    before: list[model.Settled] = []
    found = []
    for inputs in months:
        settled = model.settle_cycle(known_of(inputs), model_cycle(inputs.cycle), before)
        before.append(settled)
        found.append(outcome_of(inputs, settled))
    return found


def outcome_of(inputs: Inputs, settled: model.Settled) -> Outcome:
    """What the model found of a month."""
    outcome = Outcome()
    for row in settled.rows:
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
            _cycle_text(row.cycle),
            row.corrects,
            row.account,
            row.instance,
        )
        outcome.lines[line] += 1
    fresh = settled.cycle.plus(-LOOK_BACK)
    for cycle, look in settled.looks.items():
        for held in look.held if cycle >= fresh else ():
            case = Case(held.owner or OPERATOR, held.case, held.line_id, held.basis or Fraction(0), _cycle_text(cycle))
            outcome.cases[case] += 1
    for owner in sorted(share.owner for share in inputs.shares()):
        for id_, version in {one.id: one for one in inputs.begun(owner)}.items():
            mine = [row for row in settled.rows if (row.owner, row.agreement) == (owner, id_)]
            whole, groups = model.statement(mine, version.places, version.mode.value)
            outcome.totals[owner, id_] = whole
            for one in groups:
                head = (one.customer or "", one.product or "", one.rule or "", one.version or 0, one.kind)
                outcome.entries.append(Entry(owner, id_, *head, one.exact, one.rounded))
    outcome.entries.sort(key=lambda entry: entry[:2])
    return outcome


def _model_past(one: PastCharge) -> values.PastCharge:
    named = ("line_id", "account", "product_code", "commodity_code", "billing_item_code", "instance_id")
    row = {name: getattr(one, name) for name in (*named, "subscription_type", "currency", "pretax")}
    line = model_line({**row, "kind": "usage", "cycle": str(one.cycle), "date": one.day})
    given = (one.customer, Fraction(one.left), one.agreement, one.version, one.rule, Fraction(one.earned))
    return values.PastCharge(line, *given)


def known_of(inputs: Inputs) -> model.Known:
    """The inputs as the model's own values."""
    openings = [
        values.Opening(
            reseller,
            _parsed(one.as_of),
            scale_totals={(t.agreement, t.scale, t.customer, t.product): Fraction(t.amount) for t in one.scale_totals},
            past_charges=tuple(map(_model_past, one.past)),
        )
        for reseller, one in inputs.openings.items()
    ]
    return model.Known(
        [model_line(row) for row in _linked(inputs)],
        [_model_assignment(one) for one in inputs.assignments],
        [_model_version(one) for one in inputs.agreements],
        [values.CustomerClass(one.customer, one.name, one.begins, one.ends) for one in inputs.classes],
        {(_parsed(cycle), of, to): Fraction(rate) for (cycle, of, to), rate in inputs.rates.items()},
        {(of, name, _parsed(cycle)): Fraction(value) for (of, name, cycle), value in inputs.figures.items()},
        [
            values.Approved(
                one.id, one.agreement, _parsed(one.cycle), Fraction(one.amount), one.cause, one.customer, one.product
            )
            for one in inputs.adjustments
        ],
        openings,
        {
            (row["line_id"], one.kind): one.because.removeprefix(f"{one.kind}: ")
            for one in inputs.closed
            for row in inputs.bill
            if _is_in(row, one)
        },
    )


def _linked(inputs: Inputs) -> list[BillRow]:
    """The bill, where refunds that people linked name their charge; one of another account is none."""
    accounts = {row["line_id"]: (row.get("payer"), row["account"]) for row in inputs.bill}
    named = {
        one.refund: one.charge if accounts.get(one.charge) == accounts.get(one.refund) else "none of its account"
        for one in inputs.links
    }
    return [
        {**row, "related_record": named[row["line_id"]]}
        if row["line_id"] in named and row["kind"] in ("refund", "chargeback")
        else row
        for row in inputs.bill
    ]


def _is_in(row: BillRow, case: Closed) -> bool:
    """Whether a line that has the problem of a case is in that case, in whatever currency: all are closed alike."""
    cycle = row.get("cycle") or str(row["date"])[:7]
    of, _, to = case.key.partition("/")
    keys = {
        "unmapped_account": row["account"],
        "no_agreement": row["account"],
        "no_rule": f"{of}/{row.get('product_code') or ''}",
        "no_fx_rate": f"{row['currency']}/{to}",
    }
    return (cycle, keys.get(case.kind, row["line_id"])) == (case.cycle, case.key)


def model_cycle(cycle: Cycle) -> model.Cycle:
    """A cycle for the model."""
    return model.Cycle(cycle.year, cycle.month)


def _parsed(cycle: str) -> model.Cycle:
    return model_cycle(Cycle.parse(cycle))


def _cycle_text(cycle: model.Cycle | None) -> str:
    assert cycle is not None
    return f"{cycle.year:04d}-{cycle.month:02d}"


def model_line(row: BillRow) -> model.BillLine:
    """A bill line for the model."""
    return model.BillLine(
        line_id=row["line_id"],
        account=row["account"],
        kind=row["kind"],
        billing_date=_day(row["date"]),
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
        usage=_fraction(row.get("usage")),
        usage_unit=row.get("usage_unit"),
        service_from=_day(row.get("service_from")),
        service_until=_day(row.get("service_until")),
        related=row.get("related_record"),
        cycle=_parsed(row["cycle"]) if row.get("cycle") else None,
    )


def _day(value: date | str | None) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _fraction(value: Decimal | str | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _model_assignment(one: Assignment) -> model.Assignment:
    return model.Assignment(one.account, one.begins, one.ends, one.customer, one.reseller, one.how == "own_use")


def _model_version(one: Agreement) -> model.Version:
    payout = one.payout
    return model.Version(
        agreement=one.id,
        number=one.version,
        reseller=one.reseller,
        first=one.begins,
        last=one.ends,
        basis=one.basis,
        rules=tuple(
            model.Rule(rule.id, rule.when, _model_earning(rule.earn), _model_bounds(rule.bounds), rule.basis or None)
            for rule in one.rules
        ),
        exclusions=tuple((exclusion.when, exclusion.because) for exclusion in one.exclusions),
        scales={name: _model_scale(scale) for name, scale in one.scales.items()},
        currency=one.currency,
        only_currencies=one.currencies or None,
        only_payers=one.payers or None,
        places=one.places,
        mode=one.mode.value,
        bounds=_model_bounds(one.bounds),
        refunds=values.Refunds(
            one.refunds.take_back,
            "same_month" if one.refunds.is_same_month_netted else "none",
            one.refunds.window_days,
        ),
        holdback=values.Holdback(Fraction(one.holdback.rate) * 100, one.holdback.months) if one.holdback else None,
        payout=values.Payout(
            Fraction(payout.minimum),
            payout.carry_forward,
            payout.requires_invoice,
            Fraction(payout.tax.rate) * 100 if payout.tax else Fraction(0),
            payout.tax.mode if payout.tax else "exclusive",
            Fraction(payout.withholding or 0) * 100,
        ),
    )


def _model_earning(one: Earning) -> model.Earning:
    gate = one.gate
    return model.Earning(
        None if one.rate is None else Fraction(one.rate) * 100,
        _fraction(one.fixed),
        one.per,
        one.is_prorated,
        one.counts_zero,
        one.scale,
        values.Gate(gate.figure, Fraction(gate.at_least), _model_earning(gate.otherwise)) if gate else None,
    )


def _model_scale(one: Scale) -> model.Scale:
    bands = tuple(model.Band(_fraction(band.upto), Fraction(band.rate) * 100) for band in one.bands)
    return model.Scale(
        one.scope, bands, one.method, one.over, one.measure or None, one.unit or None, one.is_retroactive
    )


def _model_bounds(bounds: Sequence[Bound]) -> tuple[values.Bound, ...]:
    return tuple(values.Bound(one.kind, one.scope, Fraction(one.amount), one.over) for one in bounds)
