"""How a bill line came to what it earns: the raw row, whose it is, the rules tried, the scale, bounds and refunds.

The facts are plain data, amounts exact text. What the settlement keeps is told as it is kept; what it does not keep (a
running total, a share of a cap) follows from its kept lines and the bill lines of the parts that its manifest names,
and is told only where it leads to what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import (
    BOUND_SCOPES,
    GRADUATED,
    MONTH,
    PER_MONTH,
    RERATE,
    USAGE,
    Agreement,
    Bound,
    Earning,
    Scale,
)
from shared.agreement.matching import FIELDS, compile_condition
from shared.bill.line import ORDER
from shared.control import months
from shared.control.cases import KINDS
from shared.cycle import Cycle
from shared.errors import ClearbookError
from shared.money import EXACT, text, total
from shared.steps import sealing, state
from shared.steps.day_parts import source_key
from shared.steps.kept_settlements import Facts, Kept, approval, plain

if TYPE_CHECKING:
    from shared.settlement.statement import Statement

UNDO = ("refund", "chargeback")
_SHARED_AMONG_MAX = 5_000  # charges among which a bound is shared again, to tell the part of one
# Of what a bound's scope is made, as its line names it.
_SCOPE_KEYS = {
    "line": ("customer", "account", "instance_id", "line_id"),
    "instance": ("customer", "account", "instance_id"),
    "customer": ("customer",),
    "reseller": (),
}


class ContradictionError(ClearbookError):
    """What a settlement keeps does not follow from its inputs."""

    code = "contradiction"

    def __init__(self, what: str, found: object, kept: object) -> None:
        super().__init__(
            f"{what} comes to {found}, the settlement has {kept}; keep everything as it is and compare the objects "
            "that its manifest names with their names"
        )


def line_facts(kept: Kept, payer: str, line: Facts) -> Facts | None:
    """All that is known of a bill line, its row of a day part, in a settlement; None where it is not settled by it."""
    mapped = _mapped(kept, line)
    # What is known of a charge is its customer's, and lines lie together by customer; a refund's may be another's.
    customer = {} if line["kind"] in UNDO else {"customer": mapped.get("customer")}
    where = "line_id = $id" + "".join(f" AND {name} IS NOT DISTINCT FROM ${name}" for name in customer)
    rows = kept.lines(where, "kind, band, piece", id=line["line_id"], **customer)
    held = kept.ask(f"SELECT * FROM {kept.source('held')} WHERE line_id = $id ORDER BY piece", id=line["line_id"])  # noqa: S608
    if not rows and not held:
        return None
    undone = [] if line["kind"] in UNDO else kept.lines("other_line = $id", "date, line_id, piece", id=line["line_id"])
    # Refunds meet no condition, nor does a charge of which they left nothing.
    is_absent = line["kind"] in UNDO or (bool(rows) and all(one["kind"] == "netted" for one in rows))
    version = _version(kept, line, rows, mapped)
    found: Facts = {
        "what": "bill_line",
        "id": line["line_id"],
        "cycle": kept.cycle,
        "line": {name: plain(value) for name, value in line.items() if value is not None},
        "raw": _raw(kept, payer, line),
        "settlement": kept.named(),
        "mapped": mapped,
        "agreement": None if version is None else agreement_facts(kept, version),
        "conditions": _conditions(version, line, mapped) if version is not None and not is_absent else [],
        "rows": [row_facts(one) for one in rows],
        "refunds": [] if version is None else _refunds(version, line, undone),
        "cases": [_case(kept, one) for one in held],
        "basis": None,
        "earning": None,
        "bounds": [],
        "earned": None,
        "statement_lines": [],
    }
    if version is not None and line["kind"] not in UNDO:
        found["basis"] = _basis(kept, version, line, rows)
        _check_conditions(found, rows)
    earned = [one for one in rows if one["kind"] == "commission"]
    if version is not None and earned:
        found["earning"] = _earning(kept, version, line, earned)
        found["bounds"], written = _bounds(kept, version, line, earned)
        found["earned"] = _after_bounds(found["earning"], found["bounds"])
        rows += written
    found["statement_lines"] = _statement_lines(kept, [*rows, *undone])
    return found


def row_facts(row: Mapping[str, Any]) -> Facts:
    """A settlement line without what it does not say."""
    return {name: plain(value) for name, value in row.items() if value is not None and value != ""}


def _raw(kept: Kept, payer: str, line: Facts) -> Facts:
    """The raw object and row that the line was read from, the part it is in, and who saw it."""
    day = str(line["date"])
    found: Facts = {"part": f"{payer}/{kept.cycle}/{day}/{kept.manifest['bills'][payer][day]}"}
    sealed = kept.seal(payer)
    if sealed is None:
        return found
    entry, seal = sealed
    found |= {
        "seal": f"{entry.stream}#{entry.seq}",
        "source": seal.source,
        "status": seal.status,
        "slot": seal.pulls.get(day, ""),
        "at": entry.at,
    }
    if day in seal.read:
        trace = state.local_part(kept.services, source_key(payer, kept.cycle, day, seal.read[day], "parquet"))
        query = f"SELECT page, row FROM read_parquet('{trace}') WHERE line_id = $id"  # noqa: S608 - a path of our own
        [place] = kept.ask(query, id=line["line_id"])
        found |= {"object": sealing.places(kept.services, seal, day)(place["page"]), "row": place["row"]}
    return found


# -- whose it is, and which rule owns it -------------------------------------------------------------------------------


def _mapped(kept: Kept, line: Facts) -> Facts:
    """The account's assignment on the line's date, and its customer's class."""
    day = str(line["date"])
    found: Facts = {"account": line["account"], "date": day, "how": None}
    for account, begins, ends, customer, reseller, how in kept.manifest["assignments"]:
        if account == line["account"] and begins <= day and (ends is None or day <= ends):
            found |= {"customer": customer, "reseller": reseller, "how": how, "from": begins, "until": ends}
    for customer, name, begins, ends in kept.manifest["classes"]:
        if customer == found.get("customer") and begins <= day and (ends is None or day <= ends):
            found["customer_class"] = name
    return found


def _version(kept: Kept, line: Facts, rows: Sequence[Facts], mapped: Facts) -> Agreement | None:
    """The version that the line's own rows name; of one in a case, that which is in force for it."""
    named = {(one["agreement"], one["version"]) for one in rows if one["agreement"] is not None}
    if named:
        return kept.version(*sorted(named)[0])
    for one in kept.versions:
        is_then = one.begins <= line["date"] and (one.ends is None or line["date"] <= one.ends)
        is_its = one.reseller == mapped.get("reseller") and (not one.currencies or line["currency"] in one.currencies)
        if is_then and is_its and (not one.payers or line["payer"] in one.payers):
            return one
    return None


def agreement_facts(kept: Kept, version: Agreement) -> Facts:
    return {
        "id": version.id,
        "version": version.version,
        "from": str(version.begins),
        "until": plain(version.ends),
        "document": version.digest,
        "approval": approval(kept.entries, months.AGREEMENT, {"document": version.digest}),
    }


def _conditions(version: Agreement, line: Facts, mapped: Facts) -> list[Facts]:
    """The conditions that were tried on the line, up to the one that is true or cannot be answered."""
    seen = {name: line.get(name) for name in FIELDS}
    seen |= {"customer": mapped.get("customer"), "customer_class": mapped.get("customer_class")}
    if seen["tags"] is not None:
        seen["tags"] = json.loads(seen["tags"])
    named = [("exclusion", one.because, one.when) for one in version.exclusions]
    named += [("rule", one.id, one.when) for one in version.rules]
    found = []
    for kind, name, when in named:
        condition = compile_condition(when)
        outcome = condition.outcome(seen)
        read = {field: seen[field] for field in condition.fields}
        found.append({"kind": kind, "name": name, "when": when, "read": read, "outcome": outcome})
        if outcome is not False:
            break
    return found


def _check_conditions(found: Facts, rows: Sequence[Facts]) -> None:
    """What the line meets must be what it was settled by."""
    met = found["conditions"][-1] if found["conditions"] and found["conditions"][-1]["outcome"] else None
    settled = [("rule", one["rule"]) for one in rows if one["kind"] == "commission"]
    settled += [("exclusion", one["because"]) for one in rows if one["kind"] == "excluded"]
    for one in settled:
        if met is None or (met["kind"], met["name"]) != one:
            raise ContradictionError(f"the first condition that line {found['id']} meets", met and met["name"], one[1])


def _case(kept: Kept, row: Facts) -> Facts:
    problem, remedy = KINDS[row["kind"]]
    told = {"kind": row["kind"], "key": row["key"], "amount": text(row["basis"]), "currency": row["currency"]}
    return {**told, "problem": problem.format(key=row["key"]), "remedy": remedy}


# -- what it earns on --------------------------------------------------------------------------------------------------


def _refunds(version: Agreement, line: Facts, undone: Sequence[Facts]) -> list[Facts]:
    """The pieces of refunds that undo the line: netted, or what each takes back of what it earned."""
    policy, found = version.refunds, []
    for one in undone:
        if one["kind"] != "netted":
            continue
        is_near = policy.window_days is None or (one["date"] - line["date"]).days <= policy.window_days
        is_same_month = policy.is_same_month_netted and str(one["date"])[:7] == str(line["date"])[:7]
        piece = (one["line_id"], one["piece"])
        taken = [two["amount"] for two in undone if (two["line_id"], two["piece"]) == piece and two["amount"]]
        found.append(
            {
                "id": one["line_id"],
                "piece": one["piece"],
                "date": str(one["date"]),
                "basis": text(one["basis"]),
                "is_netted": policy.take_back == RERATE or (is_same_month and is_near),
                "taken_back": text(total(taken)),
            }
        )
    return found


def _basis(kept: Kept, version: Agreement, line: Facts, rows: Sequence[Facts]) -> Facts:
    """The amount that earns: as billed, at the exchange rate, less what refunds netted."""
    billed = _amount(line, version.basis)
    found: Facts = {"of": version.basis, "billed": plain(billed), "currency": line["currency"]}
    value = billed
    if line["currency"] != version.currency and kept.manifest["rates"]:
        rate = state.fx_rates(kept.services, kept.manifest["rates"]).get((line["currency"], version.currency))
        found |= {"rate": plain(rate), "to": version.currency, "rates": kept.manifest["rates"]}
        value = None if rate is None or billed is None else _converted(billed, rate)
    netted = total([one["basis"] for one in rows if one["kind"] == "netted"])
    left = [one["basis"] for one in rows if one["kind"] in ("commission", "excluded", "direct", "own_use")]
    found |= {"value": plain(value), "netted": text(netted), "left": text(total(left)) if left else None}
    if left and value is not None and EXACT.subtract(value, netted) != total(left):
        raise ContradictionError(f"the basis of line {line['line_id']}", text(value - netted), text(total(left)))
    return found


def _amount(line: Facts, name: str) -> Decimal | None:
    """An amount of the line in the bill's currency (semantics, basis)."""
    if name == "discounted":
        parts = (line["gross"], line["discount"], line["round_down"] or Decimal(0))
        return None if None in parts else EXACT.subtract(EXACT.subtract(parts[0], parts[1]), parts[2])
    found: Decimal | None = line["payment" if name == "paid" else name]
    return found


def _converted(value: Decimal, rate: Decimal) -> Decimal:
    from shared.settlement.refunds import quotient

    return quotient(value, rate, Decimal(1))


# -- what it earns -----------------------------------------------------------------------------------------------------


def _earning(kept: Kept, version: Agreement, line: Facts, earned: Sequence[Facts]) -> Facts:
    """How the rule pays the line; for a scale its totals, for an amount once a month who earned it."""
    stage, gates = _gated(kept, version, earned[0]["rule"])
    found: Facts = {"rule": earned[0]["rule"], "amount": text(total([one["amount"] for one in earned])), "gates": gates}
    if earned[0]["band"] is not None and stage.scale is not None:
        scale = version.scales[stage.scale]
        return found | {"by": "scale", "scale": _scale(kept, version, scale, line, earned)}
    if earned[0]["rate"] is not None:
        return found | {"by": "percent", "rate": text(earned[0]["rate"])}
    earn = _last_monthly(kept, version, stage, found["rule"])
    found |= {"by": "fixed", "fixed": plain(earn.fixed), "per": earn.per, "is_prorated": earn.is_prorated}
    if earn.per == "usage_unit":
        found |= {"usage": plain(line["usage"]), "unit": line["usage_unit"]}
    if earn.per in PER_MONTH:
        found["once"] = _once(kept, earn, line, earned[0])
    return found


def _gated(kept: Kept, version: Agreement, id_: str) -> tuple[Earning, list[Facts]]:
    """What the rule's lines earn by after its gates, and how each gate was passed or not."""
    rule = version.rule(id_)
    if rule is None:
        raise AssertionError(f"{version.id} version {version.version} has no rule {id_}, and a line names it")
    digest = kept.manifest.get("figures")
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


def _last_monthly(kept: Kept, version: Agreement, earn: Earning, rule: str) -> Earning:
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


# -- scales ------------------------------------------------------------------------------------------------------------


def _scale(kept: Kept, version: Agreement, scale: Scale, line: Facts, earned: Sequence[Facts]) -> Facts:
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


_MEASURES = {
    "gross": "b.gross",
    "discounted": "b.gross - b.discount - coalesce(b.round_down, 0)",
    "pretax": "b.pretax",
    "paid": "b.payment",
}


# -- caps and floors ---------------------------------------------------------------------------------------------------


def _after_bounds(earning: Facts, bounds: Sequence[Facts]) -> str | None:
    """What the line earns with its shares of bounds; None where not all of them are known."""
    shares = [one["share"] for one in bounds if one["line"] is not None]
    return None if None in shares else text(total([Decimal(one) for one in [earning["amount"], *shares]]))


def _bounds(kept: Kept, version: Agreement, line: Facts, earned: Sequence[Facts]) -> tuple[list[Facts], list[Facts]]:
    """The caps and floors that the line is under, from narrow to wide, and the settlement lines that they wrote."""
    key = {"customer": earned[0]["customer"], "account": line["account"], "instance_id": line["instance_id"]}
    key["line_id"] = line["line_id"]
    found: list[Facts] = []
    written: list[Facts] = []
    for rule, bound in _in_force(kept, version.id, earned[0]["rule"]):
        scope = {name: key[name] for name in _SCOPE_KEYS[bound.scope]}
        members, given = _members_of(kept, version.id, rule, bound, scope)
        told: Facts = {
            "kind": bound.kind,
            "scope": bound.scope,
            "of": scope,
            "rule": rule,
            "over": bound.over,
            "amount": text(bound.amount),
            "commission": text(_commission(kept, members, given)),
            "line": None,
            "share": None,
        }
        for row in _written(kept, version.id, rule, bound, scope):
            told["line"] = text(row["amount"])
            if bound.over == MONTH:
                told["before"] = text(EXACT.subtract(bound.amount, row["amount"]))
                if not _is_bound_before(kept, version.id, rule, bound, scope):
                    told["share"] = plain(_share(kept, members, given, row["amount"], line["line_id"]))
            written.append(row)
        found.append(told)
    return found, written


def _in_force(kept: Kept, agreement: str, rule: str) -> list[tuple[str | None, Bound]]:
    """The bounds of a rule's lines, in their turn: from narrow to wide, the rule's first, caps first."""
    versions = kept.begun(agreement)
    mine = [of for one in versions if (of := one.rule(rule)) is not None]
    found: list[tuple[str | None, Bound]] = [(rule, bound) for bound in mine[-1].bounds]
    found += [(None, bound) for bound in versions[-1].bounds]
    return sorted(found, key=lambda one: (BOUND_SCOPES.index(one[1].scope), one[0] is None, one[1].kind == "floor"))


def _written(kept: Kept, agreement: str, rule: str | None, bound: Bound, scope: Mapping[str, Any]) -> list[Facts]:
    """The bound's own settlement line for the scope, if it has one."""
    wanted = {"customer": None, "account": None, "instance_id": None, "line_id": "", **scope}
    if bound.scope == "line":
        wanted = {"line_id": scope["line_id"]}
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in wanted)
    where = f"kind = $kind AND agreement = $agreement AND rule IS NOT DISTINCT FROM $rule AND {same}"
    return kept.lines(where, kind=bound.kind, agreement=agreement, rule=rule, **wanted)


def _is_bound_before(kept: Kept, agreement: str, rule: str | None, bound: Bound, scope: Mapping[str, Any]) -> bool:
    """Whether bounds whose turn was before changed what lines of the scope have earned, this one's or another's."""
    turn = 4 * BOUND_SCOPES.index(bound.scope) + 2 * (rule is None) + (bound.kind == "floor")
    width = "CASE WHEN line_id <> '' THEN 0 WHEN account IS NOT NULL THEN 1 WHEN customer IS NOT NULL THEN 2 ELSE 3 END"
    where = f"kind IN ('cap', 'floor') AND agreement = $agreement AND 4 * {width}"
    where += f" + CASE WHEN rule IS NULL THEN 2 ELSE 0 END + CASE kind WHEN 'floor' THEN 1 ELSE 0 END < {turn}"
    given: Facts = {"agreement": agreement}
    for name in ("customer", "account"):
        if name in scope:
            where, given = f"{where} AND {name} IS NOT DISTINCT FROM ${name}", given | {name: scope[name]}
    if rule is not None:
        where, given = f"{where} AND (rule IS NULL OR rule = $rule)", given | {"rule": rule}
    return bool(kept.lines(where, "ALL LIMIT 1", **given))


def _members_of(
    kept: Kept, agreement: str, rule: str | None, bound: Bound, scope: Mapping[str, Any]
) -> tuple[str, Facts]:
    """SQL for the settlement lines that a bound is about, and what it is given."""
    given: Facts = {"agreement": agreement} | ({} if rule is None else {"rule": rule})
    where = "kind = 'commission' AND agreement = $agreement" + ("" if rule is None else " AND rule = $rule")
    if bound.scope == "line":
        return f"{where} AND line_id = $id", given | {"id": scope["line_id"]}
    if "customer" in scope:
        where, given = f"{where} AND customer IS NOT DISTINCT FROM $customer", given | {"customer": scope["customer"]}
    if bound.scope == "instance":
        mine = "account = $account AND instance_id IS NOT DISTINCT FROM $instance"
        where += f" AND account = $account AND line_id IN (SELECT line_id FROM {kept.parts()} WHERE {mine})"  # noqa: S608
        given |= {"account": scope["account"], "instance": scope["instance_id"]}
    return where, given


def _commission(kept: Kept, members: str, given: Facts) -> Decimal:
    query = f"SELECT coalesce(sum(amount), 0) AS sum FROM {kept.source()} WHERE {members}"  # noqa: S608
    return Decimal(kept.ask(query, **given)[0]["sum"])


def _share(kept: Kept, members: str, given: Facts, amount: Decimal, line_id: str) -> Decimal | None:
    """What of the first bound's line falls on a charge; None where it would be shared among too many to tell."""
    earning = f"SELECT line_id, account, sum(amount) AS earned FROM {kept.source()} WHERE {members} GROUP BY ALL"  # noqa: S608
    earning += " HAVING sum(amount) > 0"
    rows_above = f"SELECT count(*) AS count FROM {kept.source()} WHERE {members} AND amount > 0"  # noqa: S608
    if kept.ask(rows_above, **given)[0]["count"] > _SHARED_AMONG_MAX:
        return None
    from shared.settlement.refunds import in_proportion

    rows = kept.ask(
        f"""SELECT line_id, earned FROM ({earning}) JOIN {kept.parts()} USING (line_id, account)
            WHERE kind IN ('usage', 'subscription') ORDER BY {ORDER.replace("billed", "pretax")}""",  # noqa: S608
        **given,
    )
    parts = in_proportion(amount, [one["earned"] for one in rows])
    for one, part in zip(rows, parts, strict=True):
        if one["line_id"] == line_id:
            return part
    return Decimal(0)


# -- the statement -----------------------------------------------------------------------------------------------------


def _statement_lines(kept: Kept, rows: Sequence[Facts]) -> list[Facts]:
    """The statement lines that the settlement lines are part of."""
    names = ("customer", "product_code", "rule")
    groups = {(one["agreement"], *(one[name] or "" for name in names), one["version"], one["kind"]) for one in rows}
    return [
        told
        for statement in statements_of(kept)
        if any(group[0] == statement.agreement for group in groups)
        for told in statement_lines(
            kept,
            statement,
            [
                place
                for place, one in enumerate(statement.lines)
                if (statement.agreement, one.customer, one.product, one.rule, one.version, one.kind) in groups
            ],
        )
    ]


def statements_of(kept: Kept) -> list[Statement]:
    """The statements of a settlement."""
    from shared.settlement.statement import parse_statement

    return [parse_statement(one) for one in kept.summary["statements"]]


def statement_id(statement: Statement, cycle: str, place: int) -> str:
    """How a statement line is named: its agreement, its cycle, and its place in the statement, from 1."""
    return f"{statement.agreement}/{cycle}/{place + 1}"


def statement_lines(kept: Kept, statement: Statement, places: Sequence[int]) -> Iterator[Facts]:
    """Lines of a statement with how they were rounded: the whole once, then spread by largest remainder."""
    from shared.money import rounded, spread

    version = kept.begun(statement.agreement)[-1]
    exacts: dict[str, list[Decimal]] = {}
    for one in statement.lines:
        exacts.setdefault(one.customer, []).append(Decimal(one.exact))
    sums = {customer: total(found) for customer, found in exacts.items()}
    exact = total(list(sums.values()))
    whole = rounded(exact, version.places, version.mode)
    shares = dict(zip(sums, spread(whole, list(sums.values()), version.places), strict=True))
    for place in places:
        mine = statement.lines[place]
        first = next(at for at, one in enumerate(statement.lines) if one.customer == mine.customer)
        amount = spread(shares[mine.customer], exacts[mine.customer], version.places)[place - first]
        id_ = statement_id(statement, kept.cycle, place)
        if (whole, amount) != (Decimal(statement.total), Decimal(mine.amount)):
            raise ContradictionError(f"statement line {id_}", amount, mine.amount)
        yield {
            "id": id_,
            "customer": mine.customer,
            "product": mine.product,
            "rule": mine.rule,
            "version": mine.version,
            "kind": mine.kind,
            "lines": mine.lines,
            "basis": text(Decimal(mine.basis)),
            "exact": text(Decimal(mine.exact)),
            "amount": mine.amount,
            "currency": statement.currency,
            "customer_exact": text(sums[mine.customer]),
            "customer_amount": text(shares[mine.customer]),
            "total_exact": text(exact),
            "total": statement.total,
            "places": version.places,
            "mode": version.mode.value,
        }
