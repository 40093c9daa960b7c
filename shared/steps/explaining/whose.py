"""Whose a line is on its date, the version it is settled by, and the conditions of the version that it was tried by."""

from __future__ import annotations

import json
from collections.abc import Sequence

from shared.agreement.agreement import Agreement
from shared.agreement.matching import FIELDS, compile_condition
from shared.control import months
from shared.steps.explaining.kept import Facts, Kept, approval, plain


def mapped_on(kept: Kept, line: Facts) -> Facts:
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


def version_of(kept: Kept, line: Facts, rows: Sequence[Facts], mapped: Facts) -> Agreement | None:
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


def conditions(version: Agreement, line: Facts, mapped: Facts) -> list[Facts]:
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
