"""What a settlement of one month means, in plain arithmetic on exact fractions.

This is the second opinion the engine is held against. It shares no code with it: it was written from the
definition of the arithmetic alone, line by line and in loops, so that a person who keeps books can follow
it. The section marks (§) are those of that definition. What the definition leaves open is marked `Reading:`.

It covers one month: dates and versions (§1), the four bases in one currency (§2), refunds linked and netted
within the month (§3), exclusions and rules (§4), percent (§5), graduated scales over the month (§6), and the
rounded statement (§9).
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

import jmespath
import jmespath.exceptions

REFUNDS = ("refund", "chargeback")
CHARGES = ("usage", "subscription")
AMOUNTS = ("gross", "discount", "round_down", "pretax", "paid")
ZERO = Fraction(0)


@dataclass(frozen=True)
class BillLine:
    """One line of the bill: who, when, what and how much. Anything optional may be absent (None)."""

    line_id: str
    account: str
    kind: str
    billing_date: date | None = None
    service_from: date | None = None
    service_until: date | None = None  # the last day served, itself included
    product_code: str | None = None
    commodity_code: str | None = None
    billing_item_code: str | None = None
    instance_id: str | None = None
    subscription_type: str | None = None
    order_type: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_spec: str | None = None
    resource_group: str | None = None
    cost_unit: str | None = None
    tags: Mapping[str, str] | None = None
    currency: str = "CNY"
    payer: str | None = None
    gross: Fraction | None = None
    discount: Fraction | None = None
    round_down: Fraction | None = None
    pretax: Fraction | None = None
    paid: Fraction | None = None


@dataclass(frozen=True)
class Assignment:
    """Whose account it is from one day to another, both included."""

    account: str
    first: date
    last: date | None
    customer: str | None
    reseller: str | None = None  # None: the operator's own, direct or own use
    own_use: bool = False


@dataclass(frozen=True)
class Band:
    """A stretch of a scale; the last has no `upto`."""

    upto: Fraction | None
    percent: Fraction


@dataclass(frozen=True)
class Scale:
    """Bands over the month's total of one customer, one reseller, or one product of a customer."""

    scope: str
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Rule:
    """Lines for which `when` is true earn `percent`, or by the scale of that name."""

    id: str
    when: str
    percent: Fraction | None = None
    scale: str | None = None


@dataclass(frozen=True)
class Version:
    """One version of an agreement and the days it is in force."""

    agreement: str
    number: int
    reseller: str
    first: date
    last: date | None
    basis: str
    rules: tuple[Rule, ...]
    exclusions: tuple[tuple[str, str], ...] = ()  # (condition, reason)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    currency: str = "CNY"
    only_currencies: tuple[str, ...] | None = None
    only_payers: tuple[str, ...] | None = None
    places: int = 2
    mode: str = "half_up"


@dataclass(frozen=True)
class Row:
    """One settlement line. `owner` is the reseller in whose share it stands, None for the operator's."""

    owner: str | None
    line_id: str
    piece: int  # of a refund over several charges, from 0 in the order they were taken; else 0
    kind: str
    customer: str | None
    product: str | None
    agreement: str | None
    version: int | None
    basis: Fraction
    rule: str | None = None
    band: int | None = None  # from 1
    rate: Fraction | None = None
    amount: Fraction = ZERO
    reason: str | None = None


@dataclass(frozen=True)
class Held:
    """A line, or what netting left of it, that waits for a person."""

    owner: str | None
    line_id: str
    case: str
    basis: Fraction | None  # None where the amount that it needs is what is missing


@dataclass(frozen=True)
class Group:
    """One line of the statement."""

    customer: str | None
    product: str | None
    rule: str | None
    version: int | None
    kind: str
    exact: Fraction
    rounded: Fraction


@dataclass(frozen=True)
class Month:
    """The settled month: what earned or was set aside, and what is open."""

    rows: tuple[Row, ...]
    held: tuple[Held, ...]


_Key = tuple[tuple[bool, bytes], tuple[bool, bytes], tuple[bool, bytes], int, str]


@dataclass
class _Line:
    """A bill line on its way: placed, then made net."""

    bill: BillLine
    day: date
    assignment: Assignment | None
    version: Version | None
    taken: list[_Piece] = field(default_factory=list)

    @property
    def basis_name(self) -> str:
        return "pretax" if self.version is None else self.version.basis

    @property
    def owner(self) -> str | None:
        return None if self.assignment is None else self.assignment.reseller

    @property
    def customer(self) -> str | None:
        return None if self.assignment is None else self.assignment.customer

    @property
    def left(self) -> Fraction:
        """What no refund has taken yet."""
        return (self.bill.pretax or ZERO) + sum((piece.amounts["pretax"] or ZERO for piece in self.taken), ZERO)


@dataclass
class _Piece:
    """The part of a refund that one charge bears."""

    refund: _Line
    number: int
    amounts: dict[str, Fraction | None]


def settle(
    year: int,
    month: int,
    bill: Sequence[BillLine],
    assignments: Sequence[Assignment],
    versions: Sequence[Version],
    customer_class: Mapping[str, str] | None = None,
) -> Month:
    """Settle one month for the operator and all resellers at once."""
    book = _Book(customer_class or {})
    lines = sorted((_placed(line, year, month, assignments, versions) for line in bill), key=_order)
    _link(lines, book)
    for line in lines:
        if line.taken:
            _net(line, book)
    members = [line for line in lines if line.bill.kind not in REFUNDS and not _is_gone(line)]
    _earn(members, book)
    return Month(tuple(book.rows), tuple(book.held))


# --- §1: where a line belongs -------------------------------------------------------------------------------


def line_date(line: BillLine, year: int, month: int) -> date:
    """The billing date; else the last service day within the month; else the month's last day."""
    first, last = date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
    if line.billing_date is not None:
        return line.billing_date
    if line.service_until is not None:
        begins = line.service_from or line.service_until
        if begins <= last and line.service_until >= first:
            return min(line.service_until, last)
    return last


def _placed(
    line: BillLine, year: int, month: int, assignments: Sequence[Assignment], versions: Sequence[Version]
) -> _Line:
    day = line_date(line, year, month)
    mine = [a for a in assignments if a.account == line.account and _covers(a.first, a.last, day)]
    assignment = mine[0] if mine else None
    version = None
    if assignment is not None and assignment.reseller is not None:
        in_force = [
            v
            for v in versions
            if v.reseller == assignment.reseller
            and _covers(v.first, v.last, day)
            and (v.only_currencies is None or line.currency in v.only_currencies)
            and (v.only_payers is None or line.payer in v.only_payers)
        ]
        version = in_force[0] if in_force else None
    return _Line(line, day, assignment, version)


def _covers(first: date, last: date | None, day: date) -> bool:
    return first <= day and (last is None or day <= last)


def _order(line: _Line) -> tuple[object, ...]:
    """The one order: absent values first, text by its bytes."""
    bill = line.bill
    texts = (bill.account, bill.product_code, bill.commodity_code, bill.billing_item_code, bill.instance_id)
    return (
        line.day,
        *((text is not None, (text or "").encode()) for text in texts),
        (bill.pretax is not None, bill.pretax or ZERO),
        bill.line_id.encode(),
    )


# --- §2: amounts --------------------------------------------------------------------------------------------


def _basis(amounts: Mapping[str, Fraction | None], name: str) -> Fraction | None:
    """The amount of that name, or None where something it needs is absent."""
    if name != "discounted":
        return amounts[name]
    gross, discount = amounts["gross"], amounts["discount"]
    if gross is None or discount is None:
        return None
    # Reading: a source that names no round-down rounded nothing down; no amount is missing there.
    return gross - discount - (amounts["round_down"] or ZERO)


def _amounts(bill: BillLine) -> dict[str, Fraction | None]:
    return {name: getattr(bill, name) for name in AMOUNTS}


# --- §3: refunds --------------------------------------------------------------------------------------------


def _link(lines: Sequence[_Line], book: _Book) -> None:
    """Give each refund its charges: first the exact pairs, then the rest, each in order."""
    charges: dict[tuple[object, ...], list[_Line]] = {}
    for line in lines:
        if line.bill.kind in CHARGES:
            charges.setdefault(_key(line.bill), []).append(line)

    waiting = []
    for refund in lines:
        if refund.bill.kind not in REFUNDS:
            continue
        pretax = refund.bill.pretax
        if pretax is None:
            book.hold(refund, "missing_value")
        elif pretax > 0:
            book.hold(refund, "refund_sign")
        elif pretax == 0:
            # Without a related record it has no charge to undo; it only has to be found again.
            _place_zero(refund, book)
        else:
            waiting.append((refund, -pretax, charges.get(_key(refund.bill), [])))

    rest = []
    for refund, wanted, candidates in waiting:
        exact = [charge for charge in _open_charges(candidates, refund) if charge.left == wanted]
        if exact:
            _take(refund, [(exact[-1], wanted)], book)
        else:
            rest.append((refund, wanted, candidates))

    for refund, wanted, candidates in rest:
        still_open = _open_charges(candidates, refund)
        if not still_open:
            book.hold(refund, "unlinked_refund")
        elif sum((charge.left for charge in still_open), ZERO) < wanted:
            book.hold(refund, "refund_exceeds_charge")
        else:
            parts: list[tuple[_Line, Fraction]] = []
            for charge in reversed(still_open):
                part = min(charge.left, wanted)
                if part > 0:
                    parts.append((charge, part))
                wanted -= part
            _take(refund, parts, book)


def _key(bill: BillLine) -> tuple[object, ...]:
    return (
        bill.account,
        bill.product_code,
        bill.commodity_code,
        bill.billing_item_code,
        bill.instance_id,
        bill.subscription_type,
        bill.currency,
    )


def _open_charges(candidates: Sequence[_Line], refund: _Line) -> list[_Line]:
    """Charges dated no later than the refund that have something left, oldest first."""
    return [charge for charge in candidates if charge.day <= refund.day and charge.left > 0]


def _take(refund: _Line, parts: Sequence[tuple[_Line, Fraction]], book: _Book) -> None:
    """Cut the refund into a piece for each charge, or hold it whole where an amount is missing."""
    billed = _amounts(refund.bill)
    if any(_basis(billed, charge.basis_name) is None for charge, _ in parts):
        book.hold(refund, "missing_value")
        return

    whole = sum((part for _, part in parts), ZERO)
    covered = ZERO
    so_far: dict[str, Fraction] = dict.fromkeys(AMOUNTS, ZERO)
    for number, (charge, part) in enumerate(parts):
        covered += part
        amounts: dict[str, Fraction | None] = {}
        for name, amount in billed.items():
            if amount is None:
                amounts[name] = None
                continue
            # The running sum is cut, not the piece, so the pieces add up; the last one ends on the whole.
            running = amount if covered == whole else quotient(amount * covered / whole)
            amounts[name] = running - so_far[name]
            so_far[name] = running
        amounts["pretax"] = -part
        charge.taken.append(_Piece(refund, number, amounts))


def _place_zero(refund: _Line, book: _Book) -> None:
    if refund.assignment is None:
        # Reading: nobody's account is a case whatever its line says, be it nothing.
        book.hold(refund, "unmapped_account")
    else:
        # Reading: with no charge there is no basis that it would need another amount for.
        book.add(refund, refund, "netted", _billed_basis(refund) or ZERO)


def _net(charge: _Line, book: _Book) -> None:
    """Write down what netting took out of the month, on both sides."""
    for piece in charge.taken:
        book.add(piece.refund, charge, "netted", _piece_basis(piece, charge), piece=piece.number)
    billed, net = _billed_basis(charge), _net_basis(charge)
    if billed is None or net is None:
        # Reading: nothing can be netted off an amount that is not there.
        book.add(charge, charge, "netted", ZERO)
    elif _is_gone(charge):
        # The whole of it goes, also what the refund's amount may have left of a basis other than pretax.
        book.add(charge, charge, "netted", billed)
    else:
        book.add(charge, charge, "netted", billed - net)


def _is_gone(line: _Line) -> bool:
    return bool(line.taken) and line.left == 0


def _billed_basis(line: _Line) -> Fraction | None:
    return _basis(_amounts(line.bill), line.basis_name)


def _piece_basis(piece: _Piece, charge: _Line) -> Fraction:
    basis = _basis(piece.amounts, charge.basis_name)
    assert basis is not None, "a refund without the amount takes nothing"
    return basis


def _net_basis(line: _Line) -> Fraction | None:
    basis = _billed_basis(line)
    return None if basis is None else basis + sum((_piece_basis(piece, line) for piece in line.taken), ZERO)


# --- §4 to §6: rules and what they earn ---------------------------------------------------------------------


def _earn(lines: Sequence[_Line], book: _Book) -> None:
    """Walk the lines in order; scales remember how far each scope has come."""
    totals: dict[tuple[object, ...], Fraction] = {}
    for line in lines:
        bill, version = line.bill, line.version
        if line.assignment is None:
            book.hold(line, "unmapped_account")
            continue
        if version is None and line.assignment.reseller is not None:
            book.hold(line, "no_agreement")
            continue
        # Reading: a line in a foreign currency that also lacks an amount is first a matter of the rate.
        if version is not None and bill.currency != version.currency:
            book.hold(line, "no_fx_rate")
            continue
        basis = _net_basis(line)
        if basis is None:
            book.hold(line, "missing_value")
            continue
        if version is None:
            kind = "own_use" if line.assignment.own_use else "direct"
            book.add(line, line, kind, basis)
            continue
        verdict = _owner_of(bill, line.customer, version, book.customer_class)
        if isinstance(verdict, Rule):
            _pay(line, verdict, basis, totals, book)
        elif verdict[0] == "excluded":
            book.add(line, line, "excluded", basis, reason=verdict[1])
        else:
            book.hold(line, verdict[0])


def _owner_of(
    bill: BillLine, customer: str | None, version: Version, customer_class: Mapping[str, str]
) -> Rule | tuple[str, str]:
    """The rule that owns the line, or ("excluded", why), or (a case, "")."""
    seen = {
        "kind": bill.kind,
        "subscription_type": bill.subscription_type,
        "order_type": bill.order_type,
        "product_code": bill.product_code,
        "commodity_code": bill.commodity_code,
        "billing_item_code": bill.billing_item_code,
        "region": bill.region,
        "zone": bill.zone,
        "instance_id": bill.instance_id,
        "instance_spec": bill.instance_spec,
        "resource_group": bill.resource_group,
        "cost_unit": bill.cost_unit,
        "tags": None if bill.tags is None else dict(bill.tags),
        "currency": bill.currency,
        "account": bill.account,
        "customer": customer,
        "customer_class": customer_class.get(customer or ""),
    }
    tries: list[tuple[str, Rule | tuple[str, str]]] = [
        (condition, ("excluded", reason)) for condition, reason in version.exclusions
    ]
    tries += [(rule.when, rule) for rule in version.rules]
    for condition, verdict in tries:
        try:
            answer = jmespath.search(condition, seen)
        except jmespath.exceptions.JMESPathError:
            return ("bad_condition", "")
        if answer is True:
            return verdict
        if answer is not False:
            return ("bad_condition", "")
    return ("no_rule", "")


def _pay(
    line: _Line,
    rule: Rule,
    basis: Fraction,
    totals: dict[tuple[object, ...], Fraction],
    book: _Book,
) -> None:
    if rule.scale is None:
        assert rule.percent is not None
        book.commission(line, rule, None, basis, rule.percent)
        return
    assert line.version is not None
    scale = line.version.scales[rule.scale]
    scope: tuple[object, ...] = {
        "reseller": (),
        "customer": (line.customer,),
        "product": (line.customer, line.bill.product_code),
    }[scale.scope]
    member_of = (line.version.agreement, rule.scale, *scope)
    before = totals.get(member_of, ZERO)
    totals[member_of] = before + basis
    for number, part, percent in graduated(scale.bands, before, basis):
        book.commission(line, rule, number, part, percent)


def graduated(bands: Sequence[Band], before: Fraction, basis: Fraction) -> list[tuple[int, Fraction, Fraction]]:
    """Cut a line that begins at the running total `before` into (band, part, percent)."""
    parts = []
    low: Fraction | None = None
    for number, band in enumerate(bands, 1):
        high = band.upto
        if basis == 0:
            if (low is None or before > low) and (high is None or before <= high):
                parts.append((number, ZERO, band.percent))
        else:
            part = _clamp(before + basis, low, high) - _clamp(before, low, high)
            if part != 0:
                parts.append((number, part, band.percent))
        low = high
    return parts


def _clamp(value: Fraction, low: Fraction | None, high: Fraction | None) -> Fraction:
    if low is not None and value < low:
        return low
    if high is not None and value > high:
        return high
    return value


# --- §9: the statement --------------------------------------------------------------------------------------


def statement(rows: Sequence[Row], places: int, mode: str) -> tuple[Fraction, tuple[Group, ...]]:
    """The total of one agreement's rows, rounded once, and its lines, which add up to it."""
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        if row.kind not in ("netted", "excluded"):
            key = (_first(row.customer), _first(row.product), _first(row.rule), row.version or 0, row.kind)
            groups.setdefault(key, []).append(row)
    exact = {key: sum((row.amount for row in groups[key]), ZERO) for key in sorted(groups)}
    total = rounded(sum(exact.values(), ZERO), places, mode)

    customers = [[key for key in exact if key[0] == customer] for customer in sorted({key[0] for key in exact})]
    shares = spread(total, [sum((exact[key] for key in mine), ZERO) for mine in customers], places)

    found = []
    for share, mine in zip(shares, customers, strict=True):
        for key, part in zip(mine, spread(share, [exact[key] for key in mine], places), strict=True):
            one = groups[key][0]
            found.append(Group(one.customer, one.product, one.rule, one.version, one.kind, exact[key], part))
    return total, tuple(found)


def spread(total: Fraction, exact: Sequence[Fraction], places: int) -> list[Fraction]:
    """Parts in whole units that add up to `total`: cut each, then give what is missing, one unit each."""
    unit = Fraction(1, 10**places)
    parts = [int(part / unit) for part in exact]  # int() cuts toward zero
    missing = int(total / unit) - sum(parts)
    step = 1 if missing > 0 else -1
    remainders = [(part / unit - cut) * step for part, cut in zip(exact, parts, strict=True)]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-remainders[i], i))
    for i in by_remainder[: abs(missing)]:
        parts[i] += step
    return [part * unit for part in parts]


def rounded(value: Fraction, places: int, mode: str) -> Fraction:
    """**R**: at the half away from zero (`half_up`) or to the even neighbour (`half_even`)."""
    unit = Fraction(1, 10**places)
    whole, rest = divmod(abs(value) / unit, 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (mode == "half_up" or whole % 2 == 1))
    size = (whole + 1 if up else whole) * unit
    return -size if value < 0 else size


def quotient(value: Fraction) -> Fraction:
    """**Q**: 10 places, half away from zero."""
    return rounded(value, 10, "half_up")


def _first(text: str | None) -> tuple[bool, bytes]:
    return (text is not None, (text or "").encode())


class _Book:
    """Where settlement lines and open cases are written down."""

    def __init__(self, customer_class: Mapping[str, str]) -> None:
        self.customer_class = customer_class
        self.rows: list[Row] = []
        self.held: list[Held] = []

    def hold(self, line: _Line, case: str) -> None:
        self.held.append(Held(line.owner, line.bill.line_id, case, _net_basis(line)))

    def add(
        self,
        line: _Line,
        place: _Line,
        kind: str,
        basis: Fraction,
        *,
        piece: int = 0,
        reason: str | None = None,
    ) -> None:
        """A row of `line`, standing where `place` stands: a refund stands with its charge."""
        version = place.version
        self.rows.append(
            Row(
                owner=place.owner,
                line_id=line.bill.line_id,
                piece=piece,
                kind=kind,
                customer=place.customer,
                product=line.bill.product_code,
                agreement=None if version is None else version.agreement,
                version=None if version is None else version.number,
                basis=basis,
                reason=reason,
            )
        )

    def commission(self, line: _Line, rule: Rule, band: int | None, part: Fraction, percent: Fraction) -> None:
        assert line.version is not None
        self.rows.append(
            Row(
                owner=line.owner,
                line_id=line.bill.line_id,
                piece=0,
                kind="commission",
                customer=line.customer,
                product=line.bill.product_code,
                agreement=line.version.agreement,
                version=line.version.number,
                basis=part,
                rule=rule.id,
                band=band,
                rate=percent,
                amount=part * percent / 100,
            )
        )
