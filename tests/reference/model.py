"""What a settlement means, in plain arithmetic on exact fractions.

This is the second opinion the engine is held against. It shares no code with it: it was written from the
definition of the arithmetic alone, line by line and in loops, so that a person who keeps books can follow
it. The section marks (§) are those of that definition. What the definition leaves open is marked `Reading:`.

    §1      inputs.py, lines.py   what is read; dates, assignments, versions, order
    §2      lines.py              the basis, and other currencies
    §3      refunds.py            links, netting, taking back
    §4-§6   earnings.py           exclusions and rules, what a line earns, scales
    §7      bounds.py             caps, floors, holdback
    §8      model.py              one mechanism: what is due, less what has been posted
    §9      statement.py          rounding, tax, payment
    §10     prices.py             price plans
    §11     checks.py             what adds up

All resellers are settled together here: cycle N once every cycle before it is locked for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from tests.reference.arithmetic import quotient, rounded, spread
from tests.reference.bounds import bind, hold_back, release
from tests.reference.earnings import earn, graduated, owner_of
from tests.reference.inputs import (
    LOOK_BACK,
    NOTHING,
    ZERO,
    Assignment,
    Band,
    BillLine,
    Cycle,
    Earning,
    Known,
    Opening,
    Rule,
    Scale,
    Version,
    check,
    cycle_of,
    cycles,
)
from tests.reference.lines import Line, order, placed
from tests.reference.look import Held, Look, Row
from tests.reference.refunds import link, net_lines, take_back
from tests.reference.statement import Group, statement

__all__ = [
    "Assignment",
    "Band",
    "BillLine",
    "Cycle",
    "Earning",
    "Group",
    "Held",
    "Known",
    "Month",
    "Row",
    "Rule",
    "Scale",
    "Settled",
    "Version",
    "graduated",
    "quotient",
    "rounded",
    "settle",
    "settle_cycle",
    "spread",
    "statement",
]


@dataclass(frozen=True)
class Month:
    """The settled month: what earned or was set aside, and what is open."""

    rows: tuple[Row, ...]
    held: tuple[Held, ...]


@dataclass(frozen=True)
class Settled:
    """A locked settlement: its lines, its cases, and every cycle as it was last looked at."""

    cycle: Cycle
    rows: tuple[Row, ...]
    held: tuple[Held, ...]  # open: those of the cycle, and those of earlier ones that only this look finds
    closed: tuple[Held, ...]  # those of earlier cycles that this look no longer finds
    looks: Mapping[Cycle, Look]


def settle(
    year: int, month: int, bill: Sequence[BillLine], assignments: Sequence[Assignment], versions: Sequence[Version]
) -> Month:
    """Settle one month by itself, for the operator and all resellers at once."""
    found = settle_cycle(Known(bill, assignments, versions), Cycle(year, month))
    return Month(found.rows, found.held)


def settle_cycle(known: Known, cycle: Cycle, before: Sequence[Settled] = ()) -> Settled:
    """Settle a cycle by what is known now; `before` are the locked settlements of earlier cycles, in order."""
    for version in known.versions:
        check(version)
    start = cycle.plus(-LOOK_BACK)
    older = _older(start, before)
    fresh = _looks(known, start, cycle, {one.cycle for one in before})
    looks = {**older, **fresh}

    standing = [piece for look in older.values() for line in look.lines for piece in line.taken]
    link(fresh, [piece for piece in standing if piece.refund.cycle >= start], known)
    for each in sorted(fresh):
        net_lines(fresh[each])
        earn(looks, each, known)
        bind(looks, each, known)
    # What a charge earned is known when every later cycle is: a retroactive scale may still add to it.
    for each in fresh:
        take_back(looks, each)

    now = fresh[cycle]
    hold_back(now, known)
    release(now, [row for one in before for row in one.rows], known)
    rows = [*now.rows, *_approved(known, cycle, before), *_differences(known, fresh, before)]
    opened, closed = _cases(fresh, cycle, before)
    return Settled(cycle, tuple(rows), (*now.held, *opened), closed, looks)


def _older(start: Cycle, before: Sequence[Settled]) -> dict[Cycle, Look]:
    """Cycles no longer looked at, as the last settlement that did left them; each settlement hands them on."""
    looks = before[-1].looks if before else {}
    return {cycle: look for cycle, look in looks.items() if start.plus(-LOOK_BACK) <= cycle < start}


def _looks(known: Known, start: Cycle, cycle: Cycle, settled: set[Cycle]) -> dict[Cycle, Look]:
    """The cycles that are looked at, each with its lines placed and in order."""
    looks = {one: Look(one, []) for one in cycles(start, cycle)}
    for bill in known.lines:
        of_cycle = bill.cycle or cycle
        if of_cycle not in looks:
            continue
        line = placed(bill, of_cycle, known)
        opening = known.opening(line.owner)
        if opening is not None and of_cycle < opening.as_of:
            continue  # settled elsewhere
        if of_cycle < cycle and of_cycle not in settled:
            raise ValueError(f"{of_cycle} has lines and is not settled; cycles are settled in order")
        if line.version is not None and any(rule.basis for rule in line.version.rules) and not line.is_refund:
            # §10: a price names its own basis. Reading: a line that no price is found for has the plan's; so has a
            # refund by itself, which never meets a condition (§4).
            verdict = owner_of(line, line.version)
            line.basis_name = (verdict.basis if isinstance(verdict, Rule) else None) or line.version.basis
        looks[of_cycle].lines.append(line)
    for opening in known.openings:
        _place_past_charges(opening, looks, known)
    for look in looks.values():
        look.lines.sort(key=order)
    return looks


def _place_past_charges(opening: Opening, looks: Mapping[Cycle, Look], known: Known) -> None:
    """§1: charges settled before the opening; of them only what refunds take back is due here.

    Reading: whatever `take_back` says, they are taken back `original`, and in proportion: their month is not
    known here, so it can neither be rated again nor say which lines a fixed amount was earned for. For the same
    reason the basis of what a refund takes of them is its pretax.
    """
    for past in opening.past_charges:
        assert past.line.billing_date is not None
        cycle = cycle_of(past.line.billing_date)
        if cycle not in looks:
            continue
        mine = [one for one in known.versions if one.agreement == past.agreement]
        rule = Rule(past.rule, "`true`", NOTHING)
        version = Version(
            past.agreement,
            past.version,
            opening.reseller,
            cycle.first,
            cycle.last,
            "pretax",
            (rule,),
            currency=mine[0].currency if mine else past.line.currency,
        )
        assignment = Assignment(past.line.account, cycle.first, cycle.last, past.customer, opening.reseller)
        line = Line(past.line, cycle, past.line.billing_date, assignment, version)
        line.is_past = True
        line.taken_before = (past.line.pretax or ZERO) - past.left
        line.rule, line.earning, line.commission = rule, NOTHING, past.earned
        looks[cycle].lines.append(line)


# --- §8: adjustments ----------------------------------------------------------------------------------------


def _approved(known: Known, cycle: Cycle, before: Sequence[Settled]) -> list[Row]:
    """Approved adjustments of this cycle and of earlier ones that have not been posted."""
    posted = {row.approved for one in before for row in one.rows}
    found = []
    for one in known.adjustments:
        if one.cycle <= cycle and one.id not in posted:
            version = known.last_version(one.agreement, one.cycle)
            of_cycle = Look(one.cycle, [])
            of_cycle.add_common(
                version,
                "adjustment",
                one.amount,
                customer=one.customer,
                product=one.product,
                reason=one.cause,
                approved=one.id,
            )
            found += of_cycle.rows
    return found


def _differences(known: Known, looks: Mapping[Cycle, Look], before: Sequence[Settled]) -> list[Row]:
    """What is due for each locked cycle less what has been posted for it, line by line."""
    settled = {one.cycle for one in before}
    amounts: dict[tuple[object, ...], Fraction] = {}
    like: dict[tuple[object, ...], Row] = {}

    def count(row: Row, sign: int) -> None:
        if row.compared is not None and row.cycle in looks:
            key = (row.cycle, *row.compared)
            amounts[key] = amounts.get(key, ZERO) + sign * row.amount
            like.setdefault(key, row)

    for of_cycle, look in looks.items():
        for row in look.rows:
            opening = known.opening(row.owner)
            if of_cycle in settled or (opening is not None and of_cycle < opening.as_of):
                count(row, 1)
    for one in before:
        for row in one.rows:
            count(row, -1)

    found = []
    for key in sorted(amounts, key=str):
        if amounts[key] != 0:
            row = like[key]
            kind = row.corrects if row.kind == "adjustment" else row.kind
            posting = replace(row, kind="adjustment", corrects=kind, amount=amounts[key], basis=ZERO)
            found.append(replace(posting, piece=0, rate=None, reason="due less posted"))
    return found


def _cases(
    looks: Mapping[Cycle, Look], cycle: Cycle, before: Sequence[Settled]
) -> tuple[tuple[Held, ...], tuple[Held, ...]]:
    """Of earlier cycles: the cases that only this look finds, and those that it no longer finds."""
    known = {}
    for one in before:
        known.update({held.key: held for held in one.held})
        for held in one.closed:
            known.pop(held.key, None)
    now = {held.key: held for of_cycle in looks if of_cycle < cycle for held in looks[of_cycle].held}
    opened = tuple(held for key, held in now.items() if key not in known)
    closed = tuple(held for key, held in known.items() if key not in now and held.cycle in looks)
    return opened, closed
