"""The months of a contract year before a settlement's, as it stood on them: locked, and adjusted since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.agreement.agreement import Agreement, Scale
from shared.cycle import Cycle
from shared.money import EXACT, total
from shared.steps import inputs
from shared.steps.explaining.kept import Facts, Kept, standing_on

UNLOCKED = "was not locked when this was settled"
REACHED = "was adjusted since, and what it came to is not among what is posted"


@dataclass(frozen=True, slots=True)
class YearMonth:
    """An earlier month of the year: its locked settlement, and those that adjusted it up to the explained one."""

    cycle: str
    locked: Kept | None
    adjusting: tuple[Kept, ...]

    def named(self) -> Facts:
        """What names it."""
        since = [{"cycle": one.cycle, "id": one.id} for one in self.adjusting]
        return {"cycle": self.cycle, "id": self.locked.id if self.locked else None, "adjusted_by": since}

    def amount(self, kinds: str, where: str, given: Mapping[str, object]) -> Decimal:
        """What lines of these kinds, an SQL list, come to with their adjustments."""
        kept = (self.locked, *self.adjusting) if self.locked else ()
        condition = (
            f"cycle = $of AND (kind IN ({kinds}) OR (kind = 'adjustment' AND corrects IN ({kinds}))) AND {where}"
        )
        query = f"SELECT coalesce(sum(amount), 0) AS sum FROM {{}} WHERE {condition}"  # noqa: S608
        return total([one.ask(query.format(one.source()), **given, of=self.cycle)[0]["sum"] for one in kept])

    def basis(
        self, scale: Scale, versions: Mapping[int, Agreement], where: str, given: Mapping[str, object]
    ) -> Decimal:
        """What members of a scale come to in basis: an adjustment says an amount, and its band the rate of it."""
        assert self.locked is not None  # noqa: S101 - asked of locked months
        query = (
            f"SELECT coalesce(sum(basis), 0) AS sum FROM {self.locked.source()} WHERE kind = 'commission' AND {where}"  # noqa: S608
        )
        found = [self.locked.ask(query, **given)[0]["sum"]]
        for one in self.adjusting:
            rows = one.ask(
                f"""SELECT version, band, sum(amount) AS sum FROM {one.source()} WHERE kind = 'adjustment'
                    AND corrects = 'commission' AND cycle = $of AND {where} GROUP BY ALL""",  # noqa: S608
                **given,
                of=self.cycle,
            )
            for row in rows:
                rate = versions[row["version"]].scales[scale.id].bands[row["band"] - 1].rate
                found.append(EXACT.divide(row["sum"], rate))
        return total(found)


def months_before(kept: Kept, agreement: str) -> list[YearMonth]:
    """The earlier months of the contract year in which the settlement's lies, of which it knew a bill."""
    began = Cycle.of(min(one.begins for one in kept.versions if one.id == agreement))
    year = Cycle.parse(kept.cycle).since(began) // 12
    found = []
    for cycle, one in sorted(kept.manifest["earlier"].items()):
        is_of_year = began <= Cycle.parse(cycle) and Cycle.parse(cycle).since(began) // 12 == year
        own = [kept] if cycle in kept.looked_back else []
        if is_of_year and cycle in kept.locked:
            found.append(YearMonth(cycle, standing_on(kept, cycle), (*adjusting(kept, cycle), *own)))
        elif is_of_year and one["bills"]:
            found.append(YearMonth(cycle, None, ()))
    return found


def last_month(kept: Kept, agreement: str) -> str:
    """The last cycle of the contract year."""
    began = Cycle.of(min(one.begins for one in kept.versions if one.id == agreement))
    return str(began.plus(12 * (Cycle.parse(kept.cycle).since(began) // 12) + 11))


def adjusting(kept: Kept, cycle: str) -> list[Kept]:
    """The locked settlements that a settlement stands on and that looked back to a month."""
    later = [one for one in sorted(kept.locked) if one > cycle]
    return [standing_on(kept, one) for one in later if cycle in _looked_back(kept, one)]


def _looked_back(kept: Kept, cycle: str) -> Mapping[str, str]:
    summary = inputs.Kept(cycle, kept.owner, kept.locked[cycle]).summary(kept.services)
    found: Mapping[str, str] = summary.get("looked_back", {})
    return found


def opening_of(kept: Kept, agreement: str, scale: str, customer: str | None, product: str | None) -> Decimal:
    """What a scale's scope came to in the year before the reseller was settled here."""
    opened = inputs.share_of(kept.services, kept.manifest).opened if kept.manifest["opening"] else None
    if opened is None or opened.as_of > kept.cycle:
        return Decimal(0)
    began = Cycle.of(min(one.begins for one in kept.versions if one.id == agreement))
    if Cycle.parse(opened.as_of).since(began) // 12 != Cycle.parse(kept.cycle).since(began) // 12:
        return Decimal(0)
    key = (agreement, scale, customer, product)
    return total(
        [one.amount for one in opened.scale_totals if (one.agreement, one.scale, one.customer, one.product) == key]
    )
