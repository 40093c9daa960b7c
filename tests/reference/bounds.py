"""§7: caps, floors and what is held back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from tests.reference.arithmetic import in_proportion, quotient
from tests.reference.inputs import CHARGES, SCOPES, ZERO, Bound, Cycle, Known, Version
from tests.reference.lines import Line, owned
from tests.reference.look import BoundLine, Look, Row

Key = tuple[str | None, ...]
Order = tuple[int, bool, bool]


class InForce(NamedTuple):
    """A bound, whose it is, and when its turn comes: from narrow to wide, rules first, caps first."""

    order: Order
    rule: str | None
    bound: Bound
    version: Version


def bind(looks: Mapping[Cycle, Look], cycle: Cycle, known: Known) -> None:
    """Write the cap and floor lines of a cycle, narrow scopes first."""
    for agreement, versions in known.begun(cycle).items():
        year = known.year_of(agreement, cycle)
        for one in sorted(_in_force(versions), key=lambda one: one.order):
            over_year = one.bound.over == "contract_year"
            span = [looks[c] for c in year if c <= cycle and c in looks] if over_year else [looks[cycle]]
            for key in _keys(span, one):
                _bind_scope(looks[cycle], span, one, key, last_of_year=cycle == year[-1])


def _in_force(versions: Sequence[Version]) -> Iterator[InForce]:
    """The last version's bounds; for a rule it no longer has, those of the last version that had the rule."""
    for bound in versions[-1].bounds:
        yield InForce(_order(bound, None), None, bound, versions[-1])
    for rule_id in sorted({rule.id for version in versions for rule in version.rules}):
        last = [version for version in versions if version.rule(rule_id) is not None][-1]
        rule = last.rule(rule_id)
        assert rule is not None
        for bound in rule.bounds:
            yield InForce(_order(bound, rule_id), rule_id, bound, last)


def _order(bound: Bound, rule: str | None) -> Order:
    return (SCOPES.index(bound.scope), rule is None, bound.kind == "floor")


def scope_key(line: Line, scope: str) -> Key:
    """Which scope of that width the line is in; a narrower scope's key begins with the wider one's."""
    return (line.customer, line.bill.account, line.bill.instance_id, line.id)[: (4, 3, 1, 0)[SCOPES.index(scope)]]


def _members(look: Look, one: InForce) -> list[Line]:
    """The lines that the bound is about, in order."""
    mine = [line for line in look.earners if owned(line).version.agreement == one.version.agreement]
    return [line for line in mine if one.rule in (None, owned(line).rule.id)]


def _keys(span: Sequence[Look], one: InForce) -> list[Key]:
    keys = {scope_key(line, one.bound.scope) for look in span for line in _members(look, one)}
    return sorted(keys, key=lambda key: [(part is not None, part or "") for part in key])


def _bind_scope(look: Look, span: Sequence[Look], one: InForce, key: Key, *, last_of_year: bool) -> None:
    bound = one.bound
    members = [line for each in span for line in _members(each, one) if scope_key(line, bound.scope) == key]
    total = sum((line.commission for line in members), ZERO)
    total += sum((_part_in(line, one, key) for each in span for line in each.bounds), ZERO)

    if bound.kind == "cap":
        before = sum((b.amount for each in span[:-1] for b in each.bounds if _is_same(b, one, key)), ZERO)
        amount = min(ZERO, bound.amount - total) - before
    else:
        drawn = bound.over == "month" or last_of_year
        earns = any(_so_far(line, one.order) > 0 for line in members)
        amount = bound.amount - total if drawn and earns and total < bound.amount else ZERO
    if amount == 0:
        # Reading: a bound that changes nothing leaves no line.
        return

    # Reading: charges are usage and subscription lines, since only from them a refund can take its share back.
    here = [line for line in members if line.cycle == look.cycle and line.bill.kind in CHARGES]
    bearing = [line for line in here if _so_far(line, one.order) > 0]
    weights = [_so_far(line, one.order) for line in bearing]
    # Reading: where no charge of this cycle earned anything, the line stands and is no charge's.
    shares = list(zip(bearing, in_proportion(amount, weights), strict=True)) if bearing else []
    for line, share in shares:
        line.shares.append((one.order, share))
    look.bounds.append(BoundLine(one.order, one.version.agreement, one.rule, key, amount, shares))
    _write(look, one, key, amount, members)


def _so_far(line: Line, order: Order) -> Fraction:
    """What the line earned by its rule and the bounds before this one."""
    return line.commission + sum((share for earlier, share in line.shares if earlier < order), ZERO)


def _part_in(line: BoundLine, one: InForce, key: Key) -> Fraction:
    """How much of an earlier bound line belongs to the sum of a scope.

    Reading: of a line of the agreement, a rule's sum holds what fell on the rule's own charges; otherwise
    the two bounds would take the same amount twice.
    """
    if line.agreement != one.version.agreement or line.order >= one.order or line.key[: len(key)] != key:
        return ZERO
    if one.rule is None or line.rule == one.rule:
        return line.amount
    if line.rule is not None:
        return ZERO
    return sum((share for bearer, share in line.shares if owned(bearer).rule.id == one.rule), ZERO)


def _is_same(line: BoundLine, one: InForce, key: Key) -> bool:
    return (line.agreement, line.order, line.rule, line.key) == (one.version.agreement, one.order, one.rule, key)


def _write(look: Look, one: InForce, key: Key, amount: Fraction, members: Sequence[Line]) -> None:
    customer, account, instance, line_id = (*key, None, None, None, None)[:4]
    product = members[0].bill.product_code if one.bound.scope == "line" else None
    look.add_common(
        one.version,
        one.bound.kind,
        amount,
        line_id=line_id or "",
        customer=customer,
        product=product,
        account=account,
        instance=instance,
        rule=one.rule,
    )


# --- holdback -----------------------------------------------------------------------------------------------


def hold_back(look: Look, known: Known) -> None:
    """Keep a part of what each agreement earned in the cycle: commission, retroactive and bound lines."""
    for versions in known.begun(look.cycle).values():
        last = versions[-1]
        kinds = ("commission", "retroactive", "cap", "floor")
        mine = [row for row in look.rows if row.agreement == last.agreement and row.kind in kinds]
        earned = sum((row.amount for row in mine), ZERO)
        if last.holdback is not None and earned > 0:
            amount = quotient(earned * last.holdback.percent / 100)
            look.add_common(last, "holdback", -amount)


def release(look: Look, posted: Sequence[Row], known: Known) -> None:
    """Give back what earlier cycles held, each after as many cycles as the version said that held it."""
    for row in posted:
        if row.kind != "holdback" or row.cycle is None or row.agreement is None:
            continue
        held_by = next(v for v in known.versions if (v.agreement, v.number) == (row.agreement, row.version))
        if held_by.holdback is not None and row.cycle.plus(held_by.holdback.months) == look.cycle:
            last = known.last_version(row.agreement, look.cycle)
            look.add_common(last, "release", -row.amount, reason=f"held back in {row.cycle.year}-{row.cycle.month:02d}")
