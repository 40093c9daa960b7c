"""How a bill line came to what it earns: the raw row, whose it is, the rules tried, the scale, bounds and refunds.

The facts are plain data, amounts exact text. What the settlement keeps is told as it is kept; what it does not keep (a
running total, a share of a cap) follows from its kept lines and the bill lines of the parts that its manifest names,
and is told only where it leads to what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import RERATE, Agreement
from shared.agreement.matching import FIELDS, compile_condition
from shared.control import months
from shared.control.cases import KINDS
from shared.money import EXACT, text, total
from shared.steps import sealing, state
from shared.steps.day_parts import source_key
from shared.steps.explaining.bounds import after_bounds, bounds
from shared.steps.explaining.earnings import earning
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, approval, plain
from shared.steps.explaining.statement import lines_with

UNDO = ("refund", "chargeback")


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
        found["earning"] = earning(kept, version, line, earned)
        found["bounds"], written = bounds(kept, version, line, earned)
        found["earned"] = after_bounds(found["earning"], found["bounds"])
        rows += written
    found["statement_lines"] = lines_with(kept, [*rows, *undone])
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
