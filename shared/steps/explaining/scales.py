"""The scale that a line earns by: the totals of its scope, and the bands that the line falls in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from shared.agreement.agreement import GRADUATED, MONTH, USAGE, Agreement, Scale
from shared.bill.line import ORDER
from shared.money import EXACT, text, total
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, plain

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
    members = _Members(kept, version, scale)
    if scale.over != MONTH:
        return found  # what came before the month is not among what the settlement keeps
    if scale.method == GRADUATED:
        before = members.before(line, earned[0])
        parts, there = list(_parts(scale, before, net)), [(one["band"], one["basis"]) for one in earned]
        if parts != there:
            shown = [[f"band {band}: {text(part)}" for band, part in ones] for ones in (parts, there)]
            raise ContradictionError(f"line {line['line_id']} behind a total of {text(before)}", *shown)
        return found | {"before": text(before), "after": text(EXACT.add(before, net))}
    reached = members.total(earned[0])
    return found if reached is None else found | {"total": text(reached)}


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
    """The lines of a month that earn by a scale, whichever version's."""

    def __init__(self, kept: Kept, version: Agreement, scale: Scale) -> None:
        self._kept, self._version, self._scale = kept, version, scale
        pairs = [
            f"({one.version}, '{rule.id}')"
            for one in kept.begun(version.id)
            if scale.id in one.scales and one.scales[scale.id].scope == scale.scope
            for rule in one.rules
            if any(stage.scale == scale.id for stage in rule.earn.stages())
        ]
        self._where = (
            f"kind = 'commission' AND band IS NOT NULL AND agreement = $agreement AND (version, rule) IN "
            f"({', '.join(pairs)})"
        )
        if scale.scope != "reseller":
            self._where += " AND customer = $customer"
        if scale.scope == "product":
            self._where += " AND product_code IS NOT DISTINCT FROM $product"

    def before(self, line: Facts, row: Facts) -> Decimal:
        """The scope's running total before a line in the stated order."""
        here = "date = $day AND account = $account AND product_code IS NOT DISTINCT FROM $product"
        earlier = (
            "date < $day OR (date = $day AND (account < $account OR (account = $account AND "
            "(product_code < $product OR (product_code IS NULL AND $product IS NOT NULL)))))"
        )
        given = self._given(row) | {"day": row["date"], "account": row["account"], "product": row["product_code"]}
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

    def total(self, row: Facts) -> Decimal | None:
        """What the scope comes to; None where the kept lines do not say it, since refunds were netted."""
        given, source, measure = self._given(row), self._kept.source(), self._scale.measure
        if "$product" in self._where:
            given["product"] = row["product_code"]
        if not measure:
            [found] = self._kept.ask(f"SELECT sum(basis) AS sum FROM {source} WHERE {self._where}", **given)  # noqa: S608
            return Decimal(found["sum"])
        is_usage = measure == USAGE
        value = (
            "CASE WHEN b.usage_unit IS DISTINCT FROM $unit THEN 0 ELSE b.usage END" if is_usage else _MEASURES[measure]
        )
        [found] = self._kept.ask(
            f"""SELECT sum({value}) AS sum, bool_or(b.currency <> $pays) AS is_foreign,
                       bool_or(EXISTS (SELECT 1 FROM {source} n WHERE n.kind = 'netted' AND n.line_id = b.line_id))
                           AS is_netted
                FROM {self._kept.parts()} b WHERE line_id IN (SELECT line_id FROM {source} WHERE {self._where})""",  # noqa: S608
            **given,
            pays=self._version.currency,
            **({"unit": self._scale.unit} if is_usage else {}),
        )
        is_known = not found["is_netted"] and (is_usage or not found["is_foreign"])
        return Decimal(found["sum"]) if is_known else None

    def _given(self, row: Facts) -> Facts:
        given = {"agreement": row["agreement"]}
        return given | ({"customer": row["customer"]} if self._scale.scope != "reseller" else {})
