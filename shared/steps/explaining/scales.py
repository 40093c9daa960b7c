"""The scale that a line earns by: the totals of its scope, and the bands that the line falls in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from shared.agreement.agreement import GRADUATED, MONTH, USAGE, Agreement, Scale
from shared.bill.line import ORDER
from shared.money import EXACT, text, total
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, plain
from shared.steps.explaining.years import REACHED, UNLOCKED, YearMonth, months_before, opening_of

NETTED = "had refunds netted, or amounts in another currency"

_MEASURES = {
    "gross": "b.gross",
    "discounted": "b.gross - b.discount - coalesce(b.round_down, 0)",
    "pretax": "b.pretax",
    "paid": "b.payment",
}


def climbed(kept: Kept, version: Agreement, scale: Scale, line: Facts, earned: Sequence[Facts]) -> Facts:
    """The totals of the line's scope, the band or bands it falls in, and what each part earns."""
    net = total([one["basis"] for one in earned])
    scope = {
        "customer": earned[0]["customer"] if scale.scope != "reseller" else None,
        "product_code": earned[0]["product_code"] if scale.scope == "product" else None,
    }
    found: Facts = {
        "id": scale.id,
        "scope": scale.scope,
        "of": {name: value for name, value in scope.items() if value is not None},
        "method": scale.method,
        "over": scale.over,
        "measure": scale.measure or version.basis,
        "unit": scale.unit,
        "bands": [{"upto": plain(band.upto), "rate": text(band.rate)} for band in scale.bands],
        "net": text(net),
        "parts": [
            {"band": one["band"], "part": text(one["basis"]), "rate": text(one["rate"]), "amount": text(one["amount"])}
            for one in earned
        ],
    }
    members, before = _Members(kept, version, scale, earned[0]), Decimal(0)
    if scale.over != MONTH:
        year = _year(kept, version, scale, members, scope)
        found |= {"year": year}
        if scale.is_retroactive:
            found |= {"retroactive": members.retroactive()}
        if year["total"] is None:
            return found  # what the month adds to is not known here
        before = Decimal(year["total"])
    if scale.method == GRADUATED:
        before = EXACT.add(before, members.before(line, earned[0]))
        parts, there = list(_parts(scale, before, net)), [(one["band"], one["basis"]) for one in earned]
        if parts != there:
            shown = [[f"band {band}: {text(part)}" for band, part in ones] for ones in (parts, there)]
            raise ContradictionError(f"line {line['line_id']} behind a total of {text(before)}", *shown)
        return found | {"before": text(before), "after": text(EXACT.add(before, net))}
    reached = members.total()
    if reached is None:
        return found
    reached = EXACT.add(before, reached)
    [band] = _bands_at(scale, reached)
    if band != earned[0]["band"]:
        raise ContradictionError(
            f"the band of line {line['line_id']} at a total of {text(reached)}", band, earned[0]["band"]
        )
    return found | {"total": text(reached)}


def _year(kept: Kept, version: Agreement, scale: Scale, members: _Members, scope: Facts) -> Facts:
    """What the scope came to in the contract year before the month; the total is None where that is not kept."""
    months = months_before(kept, version.id)
    opening = opening_of(kept, version.id, scale.id, scope["customer"], scope["product_code"])
    found: Facts = {"months": [], "opening": text(opening), "total": None}
    sums = [opening]
    for month in months:
        value, why = members.of_month(month)
        found["months"].append({**month.named(), "total": plain(value), "unknown": why})
        sums.append(value if value is not None else Decimal(0))
    is_known = all(one["unknown"] is None for one in found["months"])
    return {**found, "total": text(total(sums))} if is_known else found


def _bands_at(scale: Scale, at: Decimal) -> Iterator[int]:
    """The band in which a total lies: above the one before, up to and including its end."""
    low: Decimal | None = None
    for number, band in enumerate(scale.bands, 1):
        if (low is None or at > low) and (band.upto is None or at <= band.upto):
            yield number
        low = band.upto


def _parts(scale: Scale, before: Decimal, net: Decimal) -> Iterator[tuple[int, Decimal]]:
    """What of a line falls in each band, by the running total before it (semantics, scales)."""
    low: Decimal | None = None
    for number, band in enumerate(scale.bands, 1):
        is_there = (low is None or before > low) and (band.upto is None or before <= band.upto)
        part = EXACT.subtract(_within(EXACT.add(before, net), low, band.upto), _within(before, low, band.upto))
        if part != 0 or (net == 0 and is_there):
            yield number, part
        low = band.upto


def _within(at: Decimal, low: Decimal | None, high: Decimal | None) -> Decimal:
    at = at if high is None else min(at, high)
    return at if low is None else max(at, low)


class _Members:
    """The lines of a row's scope that earn by a scale, whichever version's."""

    def __init__(self, kept: Kept, version: Agreement, scale: Scale, row: Facts) -> None:
        self._kept, self._version, self._scale = kept, version, scale
        pairs = [
            f"({one.version}, '{rule.id}')"
            for one in kept.begun(version.id)
            if scale.id in one.scales and one.scales[scale.id].scope == scale.scope
            for rule in one.rules
            if any(stage.scale == scale.id for stage in rule.earn.stages())
        ]
        self._mine = f"band IS NOT NULL AND agreement = $agreement AND (version, rule) IN ({', '.join(pairs)})"
        self._given: Facts = {"agreement": version.id}
        if scale.scope != "reseller":
            self._mine += " AND customer = $customer"
            self._given |= {"customer": row["customer"]}
        if scale.scope == "product":
            self._mine += " AND product_code IS NOT DISTINCT FROM $product"
            self._given |= {"product": row["product_code"]}
        self._where = f"kind = 'commission' AND {self._mine}"

    def before(self, line: Facts, row: Facts) -> Decimal:
        """The scope's running total before a line in the stated order."""
        here = "date = $day AND account = $account AND product_code IS NOT DISTINCT FROM $product"
        earlier = (
            "date < $day OR (date = $day AND (account < $account OR (account = $account AND "
            "(product_code < $product OR (product_code IS NULL AND $product IS NOT NULL)))))"
        )
        given = self._given | {"day": row["date"], "account": row["account"], "product": row["product_code"]}
        [before] = self._kept.ask(
            f"SELECT coalesce(sum(basis), 0) AS sum FROM {self._kept.source()} WHERE {self._where} AND ({earlier})",  # noqa: S608
            **given,
        )
        # What stands at the same date, account and product is told apart by what only the bill lines say.
        beside = self._kept.ask(
            f"""WITH mine AS (SELECT line_id, sum(basis) AS net FROM {self._kept.source()}
                              WHERE {self._where} AND {here} GROUP BY line_id)
                SELECT line_id, sum(net) OVER (ORDER BY {ORDER.replace("billed", "pretax")}
                                               ROWS UNBOUNDED PRECEDING) - net AS before
                FROM mine JOIN {self._kept.parts(str(row["date"]))} USING (line_id)
                WHERE account = $account QUALIFY line_id = $id""",  # noqa: S608
            **given,
            id=line["line_id"],
        )
        return EXACT.add(Decimal(before["sum"]), Decimal(beside[0]["before"]))

    def total(self, of: Kept | None = None) -> Decimal | None:
        """What the scope comes to in a settlement; None where its lines do not say it, since refunds were netted."""
        kept = of or self._kept
        given, source, measure = self._given, kept.source(), self._scale.measure
        if not measure:
            [found] = kept.ask(f"SELECT sum(basis) AS sum FROM {source} WHERE {self._where}", **given)  # noqa: S608
            return Decimal(found["sum"] or 0)
        is_usage = measure == USAGE
        value = (
            "CASE WHEN b.usage_unit IS DISTINCT FROM $unit THEN 0 ELSE b.usage END" if is_usage else _MEASURES[measure]
        )
        [found] = kept.ask(
            f"""SELECT sum({value}) AS sum, bool_or(b.currency <> $pays) AS is_foreign,
                       bool_or(EXISTS (SELECT 1 FROM {source} n WHERE n.kind = 'netted' AND n.line_id = b.line_id))
                           AS is_netted
                FROM {kept.parts()} b WHERE line_id IN (SELECT line_id FROM {source} WHERE {self._where})""",  # noqa: S608
            **given,
            pays=self._version.currency,
            **({"unit": self._scale.unit} if is_usage else {}),
        )
        is_known = not found["is_netted"] and (is_usage or not found["is_foreign"])
        return Decimal(found["sum"] or 0) if is_known else None

    def of_month(self, month: YearMonth) -> tuple[Decimal | None, str | None]:
        """What the scope came to in an earlier month as the settlement stood on it; else why that is not kept."""
        if month.locked is None:
            return None, UNLOCKED
        if not month.adjusting:
            value = self.total(month.locked)
            return value, None if value is not None else NETTED
        versions = {one.version: one for one in self._kept.versions if one.id == self._version.id}
        bands = [
            band
            for one in versions.values()
            if self._scale.id in one.scales
            for band in one.scales[self._scale.id].bands
        ]
        if self._scale.measure or any(band.rate == 0 for band in bands):
            return None, REACHED
        return month.basis(self._scale, versions, self._mine, self._given), None

    def retroactive(self) -> str:
        """What the month's own line brings the year's earlier members to the rate now reached by."""
        where = "kind = 'retroactive' AND agreement = $agreement AND because = $because"
        given: Facts = {"agreement": self._version.id, "because": f"scale {self._scale.id}"}
        for name in ("customer", "product"):
            column = "product_code" if name == "product" else name
            where += f" AND {column} IS NOT DISTINCT FROM ${name}"
            given[name] = self._given.get(name)
        query = f"SELECT coalesce(sum(amount), 0) AS sum FROM {self._kept.source()} WHERE {where}"  # noqa: S608
        return text(self._kept.ask(query, **given)[0]["sum"])
