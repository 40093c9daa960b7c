"""What later settlements have posted for a line of a locked month, and what it comes to with them.

Of an earlier month a settlement keeps what it adjusted. What the line was then settled from is the bill, the parties
and the versions that it looked at; they are told where they lead to what was posted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.agreement.agreement import Agreement
from shared.money import EXACT, text, total
from shared.parties.parties import OPERATOR
from shared.settlement.lines import READ
from shared.steps.explaining.earnings import gated, last_monthly
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, looking_back_to, plain, standing_on
from shared.steps.explaining.lines import UNDO, case_facts, held_of, raw_of, row_facts, whole_basis
from shared.steps.explaining.refunding import charges_of, is_netted, links_of, of_month
from shared.steps.explaining.statement import lines_with
from shared.steps.explaining.whose import agreement_facts, conditions, mapped_on, version_of

_WHOSE = ("customer", "reseller", "how", "customer_class")


@dataclass(frozen=True, slots=True)
class _Look:
    """A later settlement's look at the line: as its bill has it, and what it posted for it."""

    kept: Kept  # looking at the line's cycle
    line: Facts | None
    rows: Sequence[Facts]
    held: Sequence[Facts]


def with_what_came_since(kept: Kept, row: Facts, line: Facts | None, told: Facts | None) -> Facts | None:
    """The facts of a line of the settlement's month with all that was posted for it since.

    `line` is the line as the settlement read it, `told` what it settled of it. None where no settlement of the share
    has anything of it.
    """
    looks = [_look(later.looking_at(kept.cycle), row) for later in looking_back_to(kept)]
    if told is None:
        told = _arrived(kept, row, line, looks)
    if told is None or not looks:
        return told
    own = kept.lines("line_id = $id", id=row["line_id"])
    before, found = _Look(kept, line, own, []), []
    for look in looks:
        if facts := _posted(kept, before, look, row):
            found.append(facts)
        before = look
    if not found:
        return told
    posted = [one for look in looks for one in look.rows]
    due = {} if before.line is None or _is_undo(before.line) else _due(before, [*own, *posted])
    if told["settlement"] is None:
        told |= due
    settled, since = (total([one["amount"] for one in rows]) for rows in (own, posted))
    now = {"settled": text(settled), "since": text(since), "total": text(EXACT.add(settled, since))}
    return {**told, "since": found, "due": due, "now": now}


def _look(kept: Kept, row: Facts) -> _Look:
    line = kept.bill_line(row)
    # What was taken back with a refund is due for the month of its charge.
    cycle = "cycle <= $cycle" if _is_undo(line or row) else "cycle = $cycle"
    where, order = f"kind = 'adjustment' AND line_id = $id AND {cycle}", "cycle, rule, version, corrects, band"
    rows = kept.lines(where, order, id=row["line_id"], cycle=kept.seen)
    return _Look(kept, line, rows, held_of(kept, row["line_id"]))


def _is_undo(line: Mapping[str, object]) -> bool:
    return line.get("kind") in UNDO


def _posted(kept: Kept, before: _Look, look: _Look, row: Facts) -> Facts:
    """What a later settlement did about the line, and for which reason; nothing where it did nothing."""
    later = look.kept
    undone = [] if look.line is None or _is_undo(look.line) else list(_refunds(look, kept.cycle))
    changes, cases = _changes(before, look, row), [case_facts(later, one) for one in look.held]
    shared = [] if look.line is None else _shared(look)
    if not (look.rows or undone or changes or shared or (cases and not before.held)):
        return {}
    return {
        "settlement": later.named(),
        "cycle": kept.cycle,
        "corrects": kept.id,
        "why": later.looked_back[kept.cycle],
        "amount": text(total([one["amount"] for one in look.rows])),
        "rows": [row_facts(one) for one in look.rows],
        "shared": [row_facts(one) for one in shared],
        "undoes": _undoes(look, row) if _is_undo(look.line or row) else [],
        "changes": changes,
        "refunds": undone,
        "cases": cases,
        "statement_lines": lines_with(later, [*look.rows, *shared]),
    }


def _shared(look: _Look) -> list[Facts]:
    """What was posted for bounds and rates that the line shares with others: caps, floors, retroactive lines."""
    line, later = look.line, look.kept
    assert line is not None  # noqa: S101 - of a line that is there
    mapped = mapped_on(later, line)
    version = version_of(later, line, [], mapped)
    if version is None or _is_undo(line) or (mapped.get("reseller") or OPERATOR) != later.owner:
        return []
    tried = conditions(version, line, mapped)
    met = tried[-1] if tried and tried[-1]["outcome"] and tried[-1]["kind"] == "rule" else None
    rule = version.rule(met["name"]) if met is not None else None
    if rule is None:
        return []
    kinds = "'cap', 'floor'" + (", 'retroactive'" if any(one.scale for one in rule.earn.stages()) else "")
    key = {"customer": mapped.get("customer"), "account": line["account"], "instance_id": line["instance_id"]}
    where = "kind = 'adjustment' AND line_id = '' AND cycle = $cycle AND agreement = $agreement"
    where += f" AND corrects IN ({kinds}) AND (rule IS NULL OR rule = $rule)"
    where += "".join(f" AND ({name} IS NULL OR {name} = ${name})" for name in key)
    where += " AND (product_code IS NULL OR product_code = $product)"
    given = {"agreement": version.id, "rule": rule.id, "product": line["product_code"], **key}
    return later.lines(where, "corrects, rule", cycle=later.seen, **given)


# -- what was different ------------------------------------------------------------------------------------------------


def _changes(before: _Look, look: _Look, row: Facts) -> list[Facts]:
    """What of the line the later settlement was settled from that the one before was not."""
    was, is_ = (_standing(one, row) for one in (before, look))
    if was != is_:
        return [{"name": "standing", "was": was, "is": is_}]
    if before.line is None or look.line is None:
        return []
    old, new = _settled_from(before, before.line), _settled_from(look, look.line)
    return [{"name": one, "was": old[one], "is": new[one]} for one in old if old[one] != new[one]]


def _standing(look: _Look, row: Facts) -> str:
    """Whether the line is the share's, and billed."""
    mapped = mapped_on(look.kept, look.line or row)
    if (mapped.get("reseller") or OPERATOR) != look.kept.owner:
        return "another's"
    return "not billed" if look.line is None else "billed"


def _settled_from(look: _Look, line: Facts) -> Facts:
    """The line, whose it is and by which version it is settled, as plain data."""
    mapped = mapped_on(look.kept, line)
    version = version_of(look.kept, line, [], mapped)
    found = {name: plain(line.get(name)) for name in READ} | {name: mapped.get(name) for name in _WHOSE}
    return {**found, "agreement": None if version is None else f"{version.id} version {version.version}"}


# -- refunds -----------------------------------------------------------------------------------------------------------


def _refunds(look: _Look, cycle: str) -> Iterator[Facts]:
    """The refunds that reached the line: of the later bill, and those that arrived late or fall on it only now."""
    line, later = look.line, look.kept
    assert line is not None  # noqa: S101 - refunds fall on a line that is there
    version = version_of(later, line, [], mapped_on(later, line))
    if version is None:
        return
    own = later.lines("kind = 'netted' AND other_line = $id AND cycle = $own", "date, line_id, piece",
                      id=line["line_id"], own=later.cycle)  # fmt: skip
    pieces = [{"id": one["line_id"], "cycle": one["cycle"], "date": str(one["date"]), "basis": text(one["basis"]),
               "is_netted": is_netted(version, line, one)} for one in own]  # fmt: skip
    late_in = [one for one in later.looked_back if f"refunds of {one}" in later.looked_back[cycle]]
    if any(_has_refunds(later.looking_at(one), line["account"]) for one in late_in):
        late = [one for one in links_of(later, line["account"]) if one["charge"] == line["line_id"]]
        pieces += [
            {"id": one["id"], "cycle": one["cycle"], "basis": one["pretax"], "is_netted": one["is_netted"]}
            for one in late
            if one["cycle"] != later.cycle and not _is_settled(later, one, line)
        ]
    for piece in pieces:
        taken, beside = _taken_back(later, piece["id"], cycle, line["line_id"])
        yield {**piece, "taken_back": taken, "with": beside}


def _has_refunds(view: Kept, account: str) -> bool:
    where = f"account = $account AND list_contains({list(UNDO)}, kind)"
    return bool(view.bills) and bool(view.ask(f"SELECT 1 FROM {view.parts()} WHERE {where} LIMIT 1", account=account))  # noqa: S608


def _is_settled(later: Kept, link: Facts, line: Facts) -> bool:
    """Whether the refund fell on the line already when its own month was settled."""
    if link["cycle"] not in later.locked:
        return False
    where = "kind = 'netted' AND line_id = $id AND other_line = $charge"
    return bool(standing_on(later, link["cycle"]).lines(where, id=link["id"], charge=line["line_id"]))


def _taken_back(later: Kept, refund: str, cycle: str, charge: str) -> tuple[str, list[str]]:
    """What was taken back for a month with a refund, and the refund's other charges of the month, which share in it."""
    rows = later.lines("line_id = $id AND (kind = 'netted' OR (kind = 'adjustment' AND cycle = $cycle))",
                       id=refund, cycle=cycle)  # fmt: skip
    others = [one["other_line"] for one in rows if one["other_line"] not in (None, charge)]
    beside = [one for one, (of, _) in charges_of(later, others).items() if of == cycle] if others else []
    return text(total([one["amount"] for one in rows if one["kind"] == "adjustment"])), beside


def _undoes(look: _Look, row: Facts) -> list[Facts]:
    """The charges that a refund falls on by a later look, by their cycles: linked again, since it keeps no link."""
    links = [one for one in links_of(look.kept, row["account"]) if one["id"] == row["line_id"]]
    found = []
    for cycle in sorted({*(one["charge_cycle"] for one in links), *(one["cycle"] for one in look.rows)}):
        mine = [one for one in links if one["charge_cycle"] == cycle]
        charges = [{"id": one["charge"], "basis": one["pretax"], "is_netted": one["is_netted"]} for one in mine]
        found.append(of_month(look.kept, cycle, charges, [one["amount"] for one in look.rows if one["cycle"] == cycle]))
    return found


# -- a line that the locked settlement does not have -------------------------------------------------------------------


def _arrived(kept: Kept, row: Facts, line: Facts | None, looks: Sequence[_Look]) -> Facts | None:
    """A line that is the share's only since the lock: its facts as the last settlement saw it that has it."""
    look = next((one for one in reversed(looks) if one.line is not None), None)
    if look is None or look.line is None:
        return None
    later, seen = look.kept, look.line
    mapped = mapped_on(later, seen)
    is_mine = (mapped.get("reseller") or OPERATOR) == kept.owner
    if not is_mine and not any(one.rows for one in looks):
        return None
    version = version_of(later, seen, [one for one in look.rows if one["version"]], mapped)
    return {
        "what": "bill_line",
        "id": seen["line_id"],
        "cycle": kept.cycle,
        "line": {name: plain(value) for name, value in seen.items() if value is not None},
        "raw": raw_of(later, str(row["payer"]), seen),
        "settlement": None,
        "not_in": kept.named(),
        "is_late": line is None,
        "mapped": mapped,
        "agreement": None if version is None else agreement_facts(later, version),
        "conditions": [],
        "rows": [],
        "undoes": [],
        "refunds": [],
        "cases": [],
        "basis": None,
        "earning": None,
        "bounds": [],
        "earned": None,
        "statement_lines": [],
    }


# -- what it is due ----------------------------------------------------------------------------------------------------


def _due(look: _Look, rows: Sequence[Facts]) -> Facts:
    """What the line comes to as it was last looked at: the rule, the basis, and how they lead to what was posted."""
    line, kept = look.line, look.kept
    assert line is not None  # noqa: S101 - only a line that is there is due something
    mapped = mapped_on(kept, line)
    version = version_of(kept, line, [], mapped)
    if version is None or (mapped.get("reseller") or OPERATOR) != kept.owner or look.held:
        return {}
    tried = conditions(version, line, mapped)
    met = tried[-1] if tried and tried[-1]["outcome"] else None
    basis, value = whole_basis(kept, version, line)
    found: Facts = {"conditions": tried, "basis": {**basis, "value": plain(value), "netted": "0", "left": None}}
    earned = _earned(rows)
    if any(met is None or (met["kind"], met["name"], version.version) != ("rule", *of[:2]) for of in earned):
        raise ContradictionError(f"what line {line['line_id']} earns by", met and met["name"], sorted(map(str, earned)))
    rule = version.rule(met["name"]) if met is not None and met["kind"] == "rule" else None
    if rule is None or (rule.earn.gate is not None and not earned):
        return found
    return found | _by_rule(look, version, rule.id, earned, found["basis"])


def _earned(rows: Sequence[Facts]) -> dict[tuple[str, int, int], Decimal]:
    """What the line has earned by rule, version and band with all that was posted: what is not 0."""
    sums: dict[tuple[str, int, int], Decimal] = {}
    for one in rows:
        if "commission" in (one["kind"], one["corrects"]):
            key = (one["rule"], one["version"], one["band"] or 0)
            sums[key] = EXACT.add(sums.get(key, Decimal(0)), one["amount"])
    return {key: amount for key, amount in sums.items() if amount}


def _by_rule(look: _Look, version: Agreement, rule: str, earned: Mapping[tuple[str, int, int], Decimal],
             basis: Facts) -> Facts:  # fmt: skip
    """How the rule pays the line; what was netted of it follows from what it earned."""
    line, kept = look.line, look.kept
    assert line is not None  # noqa: S101 - as above
    stage, gates = gated(kept, version, rule)
    amount = total(list(earned.values()))
    found: Facts = {"rule": rule, "amount": text(amount), "gates": gates}
    if stage.scale is not None:
        scale = version.scales[stage.scale]
        bands = [{"upto": plain(one.upto), "rate": text(one.rate)} for one in scale.bands]
        parts = [
            {"band": band, "part": text(EXACT.divide(part, rate)), "rate": text(rate), "amount": text(part)}
            for (_, _, band), part in sorted(earned.items())
            if (rate := scale.bands[band - 1].rate)
        ]
        of = {"customer": mapped_on(kept, line).get("customer")} if scale.scope != "reseller" else {}
        of |= {"product_code": line["product_code"]} if scale.scope == "product" else {}
        named: Facts = {"id": scale.id, "scope": scale.scope, "of": of, "method": scale.method, "over": scale.over}
        named |= {"measure": scale.measure or version.basis, "unit": scale.unit, "bands": bands, "parts": parts}
        return {"earning": {**found, "by": "scale", "scale": named}}
    if stage.rate is not None:
        left = EXACT.divide(amount, stage.rate) if stage.rate else None
        value = None if basis["value"] is None else Decimal(basis["value"])
        if left is not None and value is not None and not min(Decimal(0), value) <= left <= max(Decimal(0), value):
            raise ContradictionError(f"the basis of line {line['line_id']}", text(value), text(left))
        if left is not None and value is not None:
            basis = {**basis, "left": text(left), "netted": text(EXACT.subtract(value, left))}
        return {"basis": basis, "earning": {**found, "by": "percent", "rate": text(stage.rate)}}
    earn = last_monthly(kept, version, stage, rule)
    found |= {"by": "fixed", "fixed": plain(earn.fixed), "per": earn.per, "is_prorated": earn.is_prorated}
    if earn.per == "usage_unit":
        found |= {"usage": plain(line["usage"]), "unit": line["usage_unit"]}
    return {"earning": found}
