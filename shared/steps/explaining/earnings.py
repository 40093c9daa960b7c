"""What a rule pays a line: a rate, an amount, or a scale; once a month, the line that earned it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from shared.agreement.agreement import PER_MONTH, Agreement, Earning
from shared.cycle import Cycle
from shared.money import text, total
from shared.steps import state
from shared.steps.explaining.kept import Facts, Kept, plain
from shared.steps.explaining.scales import climbed


def earning(kept: Kept, version: Agreement, line: Facts, earned: Sequence[Facts]) -> Facts:
    """How the rule pays the line; for a scale its totals, for an amount once a month who earned it."""
    stage, gates = gated(kept, version, earned[0]["rule"])
    found: Facts = {"rule": earned[0]["rule"], "amount": text(total([one["amount"] for one in earned])), "gates": gates}
    if earned[0]["band"] is not None and stage.scale is not None:
        scale = version.scales[stage.scale]
        return found | {"by": "scale", "scale": climbed(kept, version, scale, line, earned)}
    if earned[0]["rate"] is not None:
        return found | {"by": "percent", "rate": text(earned[0]["rate"])}
    earn = last_monthly(kept, version, stage, found["rule"])
    found |= {"by": "fixed", "fixed": plain(earn.fixed), "per": earn.per, "is_prorated": earn.is_prorated}
    if earn.per == "usage_unit":
        found |= {"usage": plain(line["usage"]), "unit": line["usage_unit"]}
    if earn.per in PER_MONTH:
        found["once"] = _once(kept, earn, line, earned[0])
    return found


def gated(kept: Kept, version: Agreement, id_: str) -> tuple[Earning, list[Facts]]:
    """What the rule's lines earn by after its gates, and how each gate was passed or not."""
    rule = version.rule(id_)
    if rule is None:
        raise AssertionError(f"{version.id} version {version.version} has no rule {id_}, and a line names it")
    digest = kept.tables.get("figures")
    figures = state.figures(kept.services, digest) if digest else {}
    stage, gates = rule.earn, []
    while stage.gate is not None:
        gate = stage.gate
        value = figures[kept.owner, gate.figure]  # without it the line had waited as a case
        gates.append({"figure": gate.figure, "value": text(value), "at_least": text(gate.at_least)})
        if value >= gate.at_least:
            break
        stage = gate.otherwise
    return stage, gates


def last_monthly(kept: Kept, version: Agreement, earn: Earning, rule: str) -> Earning:
    """An amount once a month is that of the last version that has it (semantics, inputs)."""
    if earn.per not in PER_MONTH:
        return earn
    same = [one for each in kept.begun(version.id) if (of := each.rule(rule)) for one in of.earn.stages()]
    return [one for one in same if one.fixed is not None and one.per == earn.per][-1]


def _once(kept: Kept, earn: Earning, line: Facts, earned: Facts) -> Facts:
    """The line that earned the month's amount for all of its key, and the days that were served."""
    key = "l.customer IS NOT DISTINCT FROM $customer"
    given: Facts = {"customer": earned["customer"]}
    if earn.per == "instance_month":
        key = "b.account = $account AND b.instance_id IS NOT DISTINCT FROM $instance"
        given = {"account": line["account"], "instance": line["instance_id"]}
    rows = kept.ask(
        f"""SELECT l.line_id, l.amount, b.date, b.service_from, b.service_until FROM {kept.source()} l
            JOIN {kept.parts()} b ON b.line_id = l.line_id AND b.date = l.date
            WHERE l.kind = 'commission' AND l.agreement = $agreement AND l.rule = $rule AND {key}
              AND b.kind IN ('usage', 'subscription') ORDER BY l.amount = 0, b.date, b.line_id""",  # noqa: S608
        agreement=earned["agreement"],
        rule=earned["rule"],
        **given,
    )
    cycle = Cycle.parse(kept.cycle)
    served = {day for one in rows for day in _served(one, cycle)}
    found: Facts = {"lines": len(rows), "by": rows[0]["line_id"] if rows and rows[0]["amount"] else None}
    return {**found, "days": len(served), "of_days": len(cycle.dates())} if earn.is_prorated else found


def _served(row: Facts, cycle: Cycle) -> Iterator[date]:
    """The days of service within the cycle; the line's own where there are none."""
    until = row["service_until"]
    begins = max(row["service_from"] or until or row["date"], cycle.first)
    ends = min(until or row["date"], cycle.last)
    if until is None or begins > ends:
        yield row["date"]
        return
    for number in range((ends - begins).days + 1):
        yield begins + timedelta(days=number)
