"""How a bill line came to what it earns: the raw row, whose it is, the rules tried, the scale, bounds and refunds.

The facts are plain data, amounts exact text. What the settlement keeps is told as it is kept; what it does not keep (a
running total, a share of a cap) follows from its kept lines and the bill lines of the parts that its manifest names,
and is told only where it leads to what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import Agreement
from shared.control.cases import KINDS
from shared.money import EXACT, text, total
from shared.steps import sealing, state
from shared.steps.day_parts import source_key
from shared.steps.explaining.bounds import after_bounds, bounds
from shared.steps.explaining.earnings import earning
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, decided, plain
from shared.steps.explaining.refunding import is_netted, undoes
from shared.steps.explaining.statement import lines_with
from shared.steps.explaining.whose import agreement_facts, conditions, mapped_on, version_of

UNDO = ("refund", "chargeback")


def line_facts(kept: Kept, payer: str, line: Facts) -> Facts | None:
    """All that is known of a bill line, its row of a day part, in a settlement; None where it is not settled by it."""
    mapped = mapped_on(kept, line)
    # What is known of a charge is its customer's, and lines lie together by customer; a refund's may be another's.
    customer = {} if line["kind"] in UNDO else {"customer": mapped.get("customer"), "cycle": kept.cycle}
    where = "line_id = $id" + "".join(f" AND {name} IS NOT DISTINCT FROM ${name}" for name in customer)
    rows = kept.lines(where, "kind, band, piece", id=line["line_id"], **customer)
    held = held_of(kept, line["line_id"])
    if not rows and not held:
        return None
    undone = [] if line["kind"] in UNDO else kept.lines("other_line = $id", "date, line_id, piece", id=line["line_id"])
    # Refunds meet no condition, nor does a charge of which they left nothing.
    is_absent = line["kind"] in UNDO or (bool(rows) and all(one["kind"] == "netted" for one in rows))
    version = version_of(kept, line, rows, mapped)
    found: Facts = {
        "what": "bill_line",
        "id": line["line_id"],
        "cycle": kept.cycle,
        "line": {name: plain(value) for name, value in line.items() if value is not None},
        "raw": raw_of(kept, payer, line),
        "settlement": kept.named(),
        "mapped": mapped,
        "agreement": None if version is None else agreement_facts(kept, version),
        "conditions": conditions(version, line, mapped) if version is not None and not is_absent else [],
        "rows": [row_facts(one) for one in rows],
        "closed": closed_by(kept, rows),
        **linked_by(kept, line),
        "undoes": undoes(kept, rows) if line["kind"] in UNDO else [],
        "refunds": [] if version is None else _refunds(version, line, undone),
        "cases": [case_facts(kept, one) for one in held],
        "basis": None,
        "earning": None,
        "bounds": [],
        "earned": None,
        "statement_lines": [],
    }
    if version is not None and line["kind"] not in UNDO:
        found["basis"] = _basis(kept, version, line, rows)
        _check_conditions(kept, found, rows)
    earned = [one for one in rows if one["kind"] == "commission"]
    if version is not None and earned:
        found["earning"] = earning(kept, version, line, earned)
        found["bounds"], written = bounds(kept, version, line, earned)
        found["earned"] = after_bounds(found["earning"], found["bounds"])
        rows += written
    found["statement_lines"] = lines_with(kept, [*rows, *undone])
    return found


def held_of(kept: Kept, line_id: str) -> list[Facts]:
    """What the settlement holds of a line in cases."""
    where = "line_id = $id AND cycle = $cycle ORDER BY piece"
    return kept.ask(f"SELECT * FROM {kept.source('held')} WHERE {where}", id=line_id, cycle=kept.seen)  # noqa: S608


def row_facts(row: Mapping[str, Any]) -> Facts:
    """A settlement line without what it does not say."""
    return {name: plain(value) for name, value in row.items() if value is not None and value != ""}


def raw_of(kept: Kept, payer: str, line: Facts) -> Facts:
    """The raw object and row that the line was read from, the part it is in, and who saw it."""
    day = str(line["date"])
    found: Facts = {"part": f"{payer}/{kept.seen}/{day}/{kept.bills[payer][day]}"}
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
        trace = state.local_part(kept.services, source_key(payer, kept.seen, day, seal.read[day], "parquet"))
        query = f"SELECT page, row FROM read_parquet('{trace}') WHERE line_id = $id"  # noqa: S608 - a path of our own
        [place] = kept.ask(query, id=line["line_id"])
        found |= {"object": sealing.places(kept.services, seal, day)(place["page"]), "row": place["row"]}
    return found


def closed_by(kept: Kept, rows: Sequence[Facts]) -> list[Facts]:
    """The decisions that closed the cases that a line was in: it is excluded and says so."""
    said = {one["because"] for one in rows if one["kind"] == "excluded"}
    found = {one[-1]: one for one in kept.manifest["closed"] if one[4] in said}
    return [
        {"because": one[4], "kind": one[1], "key": one[2], "proposal": name, **decided(kept.entries, name)}
        for name, one in sorted(found.items())
    ]


def linked_by(kept: Kept, line: Facts) -> Facts:
    """The decision that linked a refund to its charge, where people did."""
    for _, refund, _, name in kept.manifest["links"]:
        if refund == line["line_id"]:
            return {"linked_by": {"proposal": name, **decided(kept.entries, name)}}
    return {}


def _check_conditions(kept: Kept, found: Facts, rows: Sequence[Facts]) -> None:
    """What the line meets must be what it was settled by."""
    met = found["conditions"][-1] if found["conditions"] and found["conditions"][-1]["outcome"] else None
    settled = [("rule", one["rule"]) for one in rows if one["kind"] == "commission"]
    closed = {one[4] for one in kept.manifest["closed"]}
    excluded = [one["because"] for one in rows if one["kind"] == "excluded"]
    settled += [("exclusion", because) for because in excluded if because not in closed]
    for one in settled:
        if met is None or (met["kind"], met["name"]) != one:
            raise ContradictionError(f"the first condition that line {found['id']} meets", met and met["name"], one[1])


def case_facts(kept: Kept, row: Facts) -> Facts:
    problem, remedy = KINDS[row["kind"]]
    told = {"kind": row["kind"], "key": row["key"], "amount": text(row["basis"]), "currency": row["currency"]}
    return {**told, "problem": problem.format(key=row["key"]), "remedy": remedy}


# -- what it earns on --------------------------------------------------------------------------------------------------


def _refunds(version: Agreement, line: Facts, undone: Sequence[Facts]) -> list[Facts]:
    """The pieces of refunds that undo the line: netted, or what each takes back of what it earned."""
    found = []
    for one in undone:
        if one["kind"] != "netted":
            continue
        piece = (one["line_id"], one["piece"])
        taken = [two["amount"] for two in undone if (two["line_id"], two["piece"]) == piece and two["amount"]]
        found.append(
            {
                "id": one["line_id"],
                "piece": one["piece"],
                "date": str(one["date"]),
                "basis": text(one["basis"]),
                "is_netted": is_netted(version, line, one),
                "taken_back": text(total(taken)),
            }
        )
    return found


def _basis(kept: Kept, version: Agreement, line: Facts, rows: Sequence[Facts]) -> Facts:
    """The amount that earns: as billed, at the exchange rate, less what refunds netted."""
    found, value = whole_basis(kept, version, line)
    netted = total([one["basis"] for one in rows if one["kind"] == "netted"])
    left = [one["basis"] for one in rows if one["kind"] in ("commission", "excluded", "direct", "own_use")]
    found |= {"value": plain(value), "netted": text(netted), "left": text(total(left)) if left else None}
    if left and value is not None and EXACT.subtract(value, netted) != total(left):
        raise ContradictionError(f"the basis of line {line['line_id']}", text(value - netted), text(total(left)))
    return found


def whole_basis(kept: Kept, version: Agreement, line: Facts) -> tuple[Facts, Decimal | None]:
    """The same before anything is netted."""
    billed = _amount(line, version.basis)
    found: Facts = {"of": version.basis, "billed": plain(billed), "currency": line["currency"]}
    if line["currency"] == version.currency or not kept.tables["rates"]:
        return found, billed
    rate = state.fx_rates(kept.services, kept.tables["rates"]).get((line["currency"], version.currency))
    found |= {"rate": plain(rate), "to": version.currency, "rates": kept.tables["rates"]}
    return found, None if rate is None or billed is None else _converted(billed, rate)


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
