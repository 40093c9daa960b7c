"""Many small lives settled in one go: a settlement costs as much for one of them as for a hundred.

Each life has accounts, customers, a payer and an agreement of its own, and nothing else of the agreements that apply to
other payers, so a hundred of them in one share are a hundred cases. A life is made from a seed and its number alone:
`pack(lives(seed, [7]))` is that seed's seventh by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from shared.agreement.agreement import (
    Agreement,
    Band,
    Bound,
    Earning,
    Exclusion,
    Gate,
    Holdback,
    Payout,
    Refunds,
    Rule,
    Scale,
    rate,
)
from shared.cycle import Cycle
from shared.ids import digest
from shared.money import Mode
from shared.parties.parties import Assignment
from shared.settlement.share import Opened, ScaleTotal
from tests.reference.compare import Inputs

CYCLES = (Cycle(2026, 6), Cycle(2026, 7), Cycle(2026, 8))
AMOUNTS = ("pretax", "gross", "payment", "usage")
RATES = {(str(cycle), "USD", "CNY"): Decimal("7.1586") for cycle in CYCLES}
FIGURES = {("aurora", "staff", str(cycle)): Decimal(3) for cycle in CYCLES}
_CONDITIONS = ("`true`", "`true`", "product_code == 'ecs'", "product_code != 'oss'", "kind == 'usage'")
_PERCENTS = [rate(text) for text in ("0", "5", "10", "33.333333", "100")]
_SIZES = [*(Decimal(10 * tens) for tens in range(1, 10)), *map(Decimal, ("0.1", "0.0000000001", "33.3333333333"))]
_CHANGE = date(2026, 7, 11)

T = TypeVar("T")


@dataclass(frozen=True)
class Life:
    """Lines, each with the month that first knows it (`arrives`, an index of CYCLES), and what settles them."""

    name: str
    bill: list[dict[str, Any]]
    assignments: list[Assignment]
    versions: list[Agreement]
    before: list[ScaleTotal]  # what its scale came to before the first month


def lives(seed: int, numbers: Iterable[int], months: int = len(CYCLES), *, bounded: int = 15) -> list[Life]:
    """Lives of a seed, of so many months; of `bounded` versions one has bounds, which are what costs."""
    return [
        _Maker(Random(f"{seed}/{number}"), f"{number:03d}", months, bounded).life()  # noqa: S311 - no secret
        for number in numbers
    ]


def pack(lives: Sequence[Life], months: int = len(CYCLES)) -> list[Inputs]:
    """The months of the lives together, each with all that is known when it is settled."""
    rows = [row for life in lives for row in life.bill]
    assignments = [one for life in lives for one in life.assignments]
    versions = [one for life in lives for one in life.versions]
    return [
        Inputs(
            cycle,
            [row for row in rows if row["arrives"] <= index],
            assignments,
            versions,
            rates=RATES,
            figures=FIGURES,
            openings={"aurora": Opened(str(CYCLES[0]), [one for life in lives for one in life.before])},
        )
        for index, cycle in enumerate(CYCLES[:months])
    ]


def with_versions(life: Life, change: Callable[[Agreement], Agreement]) -> Life:
    """The life under other versions."""
    return replace(life, versions=[change(one) for one in life.versions])


def undone(seed: int, life: Life, *, in_month: int, later: bool) -> list[dict[str, Any]]:
    """One to three charges of a month, on an instance of their own, and refunds that together equal them.

    The refunds name their charges, or are as many as they like and find them by their key.
    """
    maker = _Maker(Random(f"{seed}/{life.name}/undone"), life.name, len(CYCLES), 1)  # noqa: S311 - no secret
    return maker.undone(in_month, later)


class _Maker:
    """Makes one life by chance."""

    def __init__(self, random: Random, name: str, months: int, bounded: int) -> None:
        self.random, self.name, self.months, self.bounded = random, name, months, bounded

    def one(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def chance(self, of: int) -> bool:
        """One in so many."""
        return self.random.randrange(of) == 0

    def life(self) -> Life:
        rows: list[dict[str, Any]] = []
        for index in range(self.months):
            for _ in range(self.one([0, 1, 2, 3])):
                rows.append(self._charge(f"{self.name}c{len(rows):02d}", index))
            charges = [row for row in rows if row["kind"] in ("usage", "subscription")]
            for _ in range(self.one([0, 0, 1, 2]) if charges else 0):
                rows.append(self._refund(f"{self.name}r{len(rows):02d}", index, self.one(charges)))
        self.random.shuffle(rows)
        return Life(self.name, rows, self._assignments(), self._versions(), self._before())

    # -- agreements

    def _scale(self, name: str) -> Scale:
        limits = sorted(self.random.sample([10, 25, 60, 120], self.one([1, 2])))
        bands = tuple(Band(None if one is None else Decimal(one), self.one(_PERCENTS)) for one in [*limits, None])
        method, over = self.one(["graduated", "all_units"]), self.one(["month", "contract_year"])
        scope = self.one(["customer", "reseller", "product"])
        measure, unit, is_retroactive = "", "", False
        if method == "all_units":
            measure = self.one(["", "gross", "usage"])
            unit = "GB" if measure == "usage" else ""
            is_retroactive = over == "contract_year" and self.chance(2)
        return Scale(name, scope, bands, method, over, measure, unit, is_retroactive)

    def _earning(self) -> Earning:
        what = self.one(["percent", "fixed", "scale", "scale"])
        gate = Gate(self.one(["staff", "missing"]), Decimal(self.one([1, 5])), Earning(rate("1")))
        gated = gate if self.chance(8) else None
        if what == "percent":
            return Earning(self.one(_PERCENTS), gate=gated)
        if what == "scale":
            return Earning(scale="big", gate=gated)
        per = self.one(["line", "instance_month", "customer_month", "usage_unit"])
        is_prorated = per.endswith("month") and self.chance(2)
        fixed = self.one([Decimal(5), Decimal("0.33"), Decimal(-2)])
        return Earning(fixed=fixed, per=per, is_prorated=is_prorated, counts_zero=self.chance(2), gate=gated)

    def _bounds(self) -> tuple[Bound, ...]:
        found = []
        for scope in self.random.sample(["line", "instance", "customer", "reseller"], self.one([1, 1, 2])):
            over = "month" if scope == "line" else self.one(["month", "month", "contract_year"])
            low = Decimal(self.one([1, 4]))
            found += [Bound("cap", scope, low + self.one([0, 1, 5]), over)] if self.chance(2) else []
            found += [Bound("floor", scope, low, over)] if self.chance(2) else []
        return tuple(found)

    def _version(self, number: int, begins: date, ends: date | None) -> Agreement:
        bounds, of_rules = (self._bounds(), self._bounds()) if self.chance(self.bounded) else ((), ())
        return Agreement(
            id=f"main-{self.name}",
            reseller="aurora",
            version=number,
            begins=begins,
            ends=ends,
            currency="CNY",
            basis=self.one(["pretax", "pretax", "gross", "paid"]),
            places=self.one([0, 2]),
            mode=self.one(list(Mode)),
            currencies=(),
            payers=(self.name,),
            exclusions=(Exclusion("product_code == 'oss'", "not ours"),) if self.chance(4) else (),
            scales={"big": self._scale("big")},
            rules=tuple(
                Rule(id_, self.one(_CONDITIONS), self._earning(), of_rules) for id_ in self.one(["a", "ab", "ba"])
            ),
            payout=Payout(Decimal(0), True, None),
            digest=digest(b"test"),
            bounds=bounds,
            refunds=Refunds(
                self.one(["original", "original", "rerate"]), self.one([True, True, False]), self.one([None, 5])
            ),
            holdback=Holdback(rate("10"), 1) if self.chance(6) else None,
        )

    def _versions(self) -> list[Agreement]:
        begins = self.one([date(2026, 1, 1), date(2025, 7, 5), date(2026, 6, 20)])
        if self.chance(2):
            return [self._version(1, begins, None)]
        return [self._version(1, begins, _CHANGE - timedelta(days=1)), self._version(2, _CHANGE, None)]

    def _before(self) -> list[ScaleTotal]:
        if not self.chance(4):
            return []
        customers = (None, f"{self.name}-acme")
        return [ScaleTotal(f"main-{self.name}", "big", customer, None, Decimal(50)) for customer in customers]

    def _assignments(self) -> list[Assignment]:
        found = []
        for account in ("a", "b"):
            spans: list[tuple[date, date | None]] = [(date(2025, 1, 1), None)]
            if self.chance(4):
                spans = [(date(2025, 1, 1), _CHANGE - timedelta(days=1)), (_CHANGE, None)]
            for begins, ends in spans:
                customer = f"{self.name}-{self.one(['acme', 'birch'])}"
                if self.chance(8):
                    found.append(Assignment(self.name + account, customer, None, "direct", begins, ends))
                else:
                    found.append(Assignment(self.name + account, customer, "aurora", "reseller", begins, ends))
        return found

    # -- lines

    def _charge(self, line_id: str, index: int) -> dict[str, Any]:
        kind = self.one(["usage", "usage", "usage", "subscription", "credit", "adjustment"])
        size, sign = self.one(_SIZES), -1 if kind in ("credit", "adjustment") and self.chance(2) else 1
        day = CYCLES[index].first + timedelta(days=self.one([0, 9, 10, 15]))
        return {
            "line_id": line_id,
            "record_id": line_id,
            "kind": kind,
            "cycle": str(CYCLES[index]),
            "date": day,
            "account": self.name + self.one(["a", "b"]),
            "payer": self.name,
            "currency": self.one(["CNY", "CNY", "CNY", "CNY", "USD", "EUR"]),
            "product_code": self.one(["ecs", "oss", None]),
            "instance_id": self.one(["i-1", "i-2", None]),
            "pretax": sign * size * self.one([1, 1, 1, 0]),
            "gross": self.one([sign * size, sign * size * 2, sign * size, None]),
            "payment": self.one([sign * size, Decimal(0)]),
            "usage": self.one([Decimal(3), Decimal("0.5"), Decimal(0), None]),
            "usage_unit": self.one(["GB", "GB", "hour"]),
            **self.one([{}, {"service_from": day - timedelta(days=3), "service_until": day}]),
            "arrives": self._arrives(index),
        }

    def _refund(self, line_id: str, index: int, of: dict[str, Any]) -> dict[str, Any]:
        part = self.one([Decimal(1), Decimal(1), Decimal("0.5"), Decimal("0.3"), Decimal(2), Decimal(0)])
        refunded = {name: None if of[name] is None else round(-of[name] * part, 10) for name in AMOUNTS}
        return {
            "line_id": line_id,
            "kind": self.one(["refund", "refund", "chargeback"]),
            "cycle": str(CYCLES[index]),
            "date": CYCLES[index].first + timedelta(days=self.one([9, 16, 27])),
            **{
                name: of[name] for name in ("payer", "account", "currency", "product_code", "instance_id", "usage_unit")
            },
            **refunded,
            **({"related_record": of["line_id"]} if self.chance(3) else {}),
            "arrives": self._arrives(index),
        }

    def _arrives(self, index: int) -> int:
        return self.random.randrange(index, self.months) if self.chance(4) else index

    def undone(self, index: int, later: bool) -> list[dict[str, Any]]:
        common = {
            "account": f"{self.name}a",
            "payer": self.name,
            "currency": self.one(["CNY", "CNY", "USD"]),
            "product_code": self.one(["ecs", "oss", None]),
            "instance_id": "i-undone",
            "usage_unit": "GB",
        }
        sizes = [self.one([one for one in _SIZES if one >= Decimal("0.1")]) for _ in range(self.one([1, 1, 2, 3]))]
        charges = []
        for number, size in enumerate(sizes):
            id_, day = f"{self.name}u{number}", CYCLES[index].first + timedelta(days=self.one([0, 9, 10, 15]))
            own = {"line_id": id_, "record_id": id_, "kind": "usage", "date": day, "cycle": str(CYCLES[index])}
            charges.append({**common, **own, **_amounts(size, 1), "arrives": index})
        cycle = self.random.randrange(index + 1, len(CYCLES)) if later else index
        if self.chance(2):
            refunds = self._undo(common, _amounts(sum(sizes, Decimal(0)), len(sizes)), cycle)
        else:
            refunds = []
            for one, size in zip(charges, sizes, strict=True):
                refunds += self._undo({**common, "related_record": one["line_id"]}, _amounts(size, 1), cycle)
        own_ids = ({**row, "line_id": f"{self.name}v{number}"} for number, row in enumerate(refunds))
        return [*charges, *own_ids]

    def _undo(self, common: dict[str, Any], whole: dict[str, Decimal], cycle: int) -> list[dict[str, Any]]:
        """One or two refunds of all of it."""
        by = self.one([1, 2, 3])
        first = {name: round(value / by, 10) for name, value in whole.items()}
        return [
            {
                **common,
                "kind": "refund",
                "date": CYCLES[cycle].first + timedelta(days=self.one([16, 20])),
                "cycle": str(CYCLES[cycle]),
                **{name: -value for name, value in part.items()},
                "arrives": self._arrives(cycle),
            }
            for part in (first, {name: whole[name] - first[name] for name in AMOUNTS})
            if part["pretax"] > 0
        ]


def _amounts(size: Decimal, lines: int) -> dict[str, Decimal]:
    """The amounts of charges that are payable with `size`."""
    return {"pretax": size, "gross": 2 * size, "payment": size, "usage": Decimal(3 * lines)}
