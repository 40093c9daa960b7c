"""Small months for the reference model: what a test is not about is filled in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

from tests.reference.checks import unexplained
from tests.reference.inputs import AMOUNTS, Assignment, BillLine, Cycle, Earning, Known, Rule, Version, cycle_of
from tests.reference.look import Row
from tests.reference.model import Settled, settle_cycle

JUNE, JULY, AUGUST, SEPTEMBER = (Cycle(2026, month) for month in (6, 7, 8, 9))
ALL = "`true`"
ASSIGNED = (
    Assignment("101", date(2024, 1, 1), None, "acme", "aurora"),
    Assignment("102", date(2024, 1, 1), None, "birch", "aurora"),
)


def bill(line_id: str, pretax: str | None, day: date, kind: str = "usage", **more: Any) -> BillLine:
    """A line of its day's cycle; amounts may be given as text."""
    found: dict[str, Any] = {"account": "101", "product_code": "ecs", "cycle": cycle_of(day), **more}
    for name in AMOUNTS:
        if found.get(name) is not None:
            found[name] = Fraction(found[name])
    return BillLine(line_id, kind=kind, billing_date=day, pretax=None if pretax is None else Fraction(pretax), **found)


def refund(line_id: str, pretax: str, day: date, **more: Any) -> BillLine:
    return bill(line_id, pretax, day, "refund", **more)


def percent(value: str, **more: Any) -> Earning:
    return Earning(percent=Fraction(value), **more)


def fixed(value: str, per: str = "line", **more: Any) -> Earning:
    return Earning(fixed=Fraction(value), per=per, **more)


def scaled(**more: Any) -> Earning:
    return Earning(scale="spend", **more)


def rule(earn: Earning, id_: str = "all", when: str = ALL, **more: Any) -> Rule:
    return Rule(id_, when, earn, **more)


def agreement(*rules: Rule | Earning, **more: Any) -> Version:
    """Aurora's agreement from 2026 on; a lone earning is its only rule."""
    found = tuple(one if isinstance(one, Rule) else rule(one) for one in rules)
    common: dict[str, Any] = {
        "agreement": "aurora-main",
        "number": 1,
        "reseller": "aurora",
        "first": date(2026, 1, 1),
        "last": None,
        "basis": "pretax",
    }
    return Version(**{**common, "rules": found, **more})


def known(lines: Sequence[BillLine], *versions: Version, **more: Any) -> Known:
    return Known(**{"lines": lines, "assignments": ASSIGNED, "versions": versions, **more})


def play(world: Known, *cycles: Cycle, late: Iterable[tuple[Cycle, BillLine]] = ()) -> list[Settled]:
    """Settle and lock one cycle after another; each sees the bill up to itself.

    `late` lines are seen only from the settlement of the cycle they are given with.
    """
    worlds = []
    for cycle in cycles:
        seen = [line for line in world.lines if line.cycle is None or line.cycle <= cycle]
        worlds.append((cycle, replace(world, lines=[*seen, *(line for since, line in late if since <= cycle)])))
    return lock(worlds)


def lock(worlds: Iterable[tuple[Cycle, Known]]) -> list[Settled]:
    """Settle and lock one cycle after another, each by what is known then."""
    before: list[Settled] = []
    for cycle, world in worlds:
        before.append(settle_cycle(world, cycle, before))
        for look in before[-1].looks.values():
            assert list(unexplained(look)) == []
    return before


def month(world: Known) -> Settled:
    """July alone."""
    return play(world, JULY)[0]


def amounts(settled: Settled, *kinds: str) -> dict[str, Fraction]:
    """Line id -> what its rows of these kinds come to; by default commission."""
    found: dict[str, Fraction] = {}
    for row in rows(settled, *(kinds or ("commission",))):
        found[row.line_id] = found.get(row.line_id, Fraction(0)) + row.amount
    return found


def rows(settled: Settled, *kinds: str) -> list[Row]:
    return [row for row in settled.rows if row.kind in kinds]


def total(*settled: Settled) -> Fraction:
    """What settlements come to together."""
    return sum((row.amount for one in settled for row in one.rows), Fraction(0))


def cases(settled: Settled) -> list[tuple[str, str]]:
    return sorted((held.line_id, held.case) for held in settled.held)


def told(found: Iterable[object], *fields: str) -> list[tuple[object, ...]]:
    """These fields of each row or case."""
    return [tuple(getattr(one, field) for field in fields) for one in found]
