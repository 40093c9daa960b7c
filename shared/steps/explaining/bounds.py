"""The caps and floors that a line is under, and what of them falls on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import BOUND_SCOPES, MONTH, Agreement, Bound
from shared.bill.line import ORDER
from shared.money import EXACT, text, total
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, plain
from shared.steps.explaining.years import last_month, months_before

_SHARED_AMONG_MAX = 5_000  # charges among which a bound is shared again, to tell the part of one
# Of what a bound's scope is made, as its line names it.
_SCOPE_KEYS = {
    "line": ("customer", "account", "instance_id", "line_id"),
    "instance": ("customer", "account", "instance_id"),
    "customer": ("customer",),
    "reseller": (),
}


def after_bounds(earning: Facts, bounds: Sequence[Facts]) -> str | None:
    """What the line earns with its shares of bounds; None where not all of them are known."""
    shares = [one["share"] for one in bounds if one["line"] is not None]
    return None if None in shares else text(total([Decimal(one) for one in [earning["amount"], *shares]]))


def bounds(kept: Kept, version: Agreement, line: Facts, earned: Sequence[Facts]) -> tuple[list[Facts], list[Facts]]:
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
            "cycle": kept.cycle,
            "scope": bound.scope,
            "of": scope,
            "rule": rule,
            "over": bound.over,
            "amount": text(bound.amount),
            "commission": text(_commission(kept, members, given)),
            "line": None,
            "share": None,
        }
        if bound.over != MONTH:
            told["year"] = _year(kept, version.id, rule, bound, scope)
        for row in _written(kept, version.id, rule, bound, scope):
            told["line"] = text(row["amount"])
            if bound.over == MONTH:
                told["before"] = text(EXACT.subtract(bound.amount, row["amount"]))
            if not _is_bound_before(kept, version.id, rule, bound, scope):
                told["share"] = plain(_share(kept, members, given, row["amount"], line["line_id"]))
            written.append(row)
        if bound.over != MONTH:
            _check_year(kept, version.id, bound, told)
        found.append(told)
    return found, written


def _year(kept: Kept, agreement: str, rule: str | None, bound: Bound, scope: Mapping[str, Any]) -> Facts:
    """What the scope earned in the contract year before the month, and what this bound's lines changed of it.

    The former is None where a month was not locked, or where what belongs to an instance would have to be looked up.
    """
    months = months_before(kept, agreement)
    same, wanted = _line_of(bound, scope)
    of_bound = {"agreement": agreement, "rule": rule, **wanted}
    mine = f"agreement = $agreement AND rule IS NOT DISTINCT FROM $rule AND {same}"
    drawn = total([one.amount(f"'{bound.kind}'", mine, of_bound) for one in months])
    earned = None
    if bound.scope == "line":
        earned = Decimal(0)  # a line is of one month
    elif bound.scope != "instance" and all(one.locked for one in months):
        members, given = _members_of(kept, agreement, rule, bound, scope)
        members = members.removeprefix("kind = 'commission' AND ")
        earned = total([one.amount("'commission'", members, given) for one in months])
    named = [one.named() for one in months]
    return {"months": named, "last": last_month(kept, agreement), "commission": plain(earned), "drawn": text(drawn)}


def _check_year(kept: Kept, agreement: str, bound: Bound, told: Facts) -> None:
    """Where the agreement has no other bound, the year's sum leads to the bound's line."""
    versions = [one for one in kept.versions if one.id == agreement]
    count = max(len(one.bounds) + sum(len(rule.bounds) for rule in one.rules) for one in versions)
    year = told["year"]
    is_due = bound.kind == "cap" or kept.cycle == year["last"]
    if year["commission"] is None or count > 1 or len(versions) > 1 or not is_due:
        return
    earned = EXACT.add(Decimal(year["commission"]), Decimal(told["commission"]))
    left, drawn = EXACT.subtract(bound.amount, earned), Decimal(year["drawn"])
    due = EXACT.subtract(min(Decimal(0), left), drawn) if bound.kind == "cap" else max(Decimal(0), left)
    if bound.kind == "cap" and due != Decimal(told["line"] or 0):
        raise ContradictionError(f"the {bound.kind} of {told['of']} over the year", text(due), told["line"])


def _in_force(kept: Kept, agreement: str, rule: str) -> list[tuple[str | None, Bound]]:
    """The bounds of a rule's lines, in their turn: from narrow to wide, the rule's first, caps first."""
    versions = kept.begun(agreement)
    mine = [of for one in versions if (of := one.rule(rule)) is not None]
    found: list[tuple[str | None, Bound]] = [(rule, bound) for bound in mine[-1].bounds]
    found += [(None, bound) for bound in versions[-1].bounds]
    return sorted(found, key=lambda one: (BOUND_SCOPES.index(one[1].scope), one[0] is None, one[1].kind == "floor"))


def _written(kept: Kept, agreement: str, rule: str | None, bound: Bound, scope: Mapping[str, Any]) -> list[Facts]:
    """The bound's own settlement line for the scope, if it has one."""
    same, wanted = _line_of(bound, scope)
    where = f"kind = $kind AND agreement = $agreement AND rule IS NOT DISTINCT FROM $rule AND {same}"
    return kept.lines(where, kind=bound.kind, agreement=agreement, rule=rule, **wanted)


def _line_of(bound: Bound, scope: Mapping[str, Any]) -> tuple[str, Facts]:
    """SQL that a settlement line is of the bound's scope, and what it is given."""
    wanted = {"customer": None, "account": None, "instance_id": None, "line_id": "", **scope}
    if bound.scope == "line":
        wanted = {"line_id": scope["line_id"]}
    return " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in wanted), wanted


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
    parts = in_proportion(amount, [one["earned"] for one in rows]) if rows else []
    for one, part in zip(rows, parts, strict=True):
        if one["line_id"] == line_id:
            return part
    return Decimal(0)
