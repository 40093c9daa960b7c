"""What figures alone tell, without reading a line: entries, summaries, seals. It is what a lock asks for.

The engine has held every line against the bill before it wrote a settlement; here is told that what it wrote is still
what the chain names, that statements are the sums of their lines, that all shares of the month come to what is sealed,
and that whatever differs from the provider's control totals is a case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from shared.bill.control import MONTHLY
from shared.bill.snapshot import Seal
from shared.cycle import Cycle
from shared.ids import digest
from shared.ports import ObjectMissingError
from shared.reconciliation import summing
from shared.reconciliation.difference import BILL, CONTROLS, FIGURES, Difference, unexplained
from shared.reconciliation.shares import Comparison, compare
from shared.reconciliation.tolerance import CONTROLS_NAME, explain
from shared.services import Services
from shared.steps.reconciling.gathering import Gathered, Look, cases_of, gather, summary_of

_STATED = ("agreement", "currency", "total", "tax", "payable")


def of_lock(services: Services, cycle: str, reseller: str) -> list[Difference]:
    """What keeps a reseller's month from being locked: whatever of its figures, or of the whole month's, nothing
    explains. Shares that are not settled yet are waited for by nobody."""
    gathered = gather(services, cycle)
    found = [one for look in gathered.looks if look.owner == reseller for one in of_share(services, look)]
    found += of_month(gathered)
    mine = {one.account for one in gathered.parties.in_cycle(Cycle.parse(cycle)) if one.reseller == reseller}
    found += [one for one in of_controls(services, gathered) if one.keys.get("account", "") in {"", *mine}]
    return unexplained(found)


def of_share(services: Services, look: Look) -> list[Difference]:
    """Where a settlement's entry, lock and summary do not say the same, or the summary's sums do not add up."""
    summary, found = summary_of(services, look)
    if summary is None:
        return found
    body = look.entry.body
    said = _bill(summary["bill"])
    for currency in sorted(said.keys() | _bill(body["bill"]).keys()):
        ours, theirs = said.get(currency, Decimal(0)), _bill(body["bill"]).get(currency, Decimal(0))
        if ours != theirs:
            what = f"{_name(look)}: its summary has another part of the bill than its entry"
            found.append(Difference(FIGURES, look.owner, what, currency, ours, theirs, reason="amount"))
    if "statements" in body:
        found += _stated(look, summary["statements"], body["statements"], "its entry")
    locked = look.month.locked
    if locked is not None and locked["settlement"] == look.kept.settlement:
        found += _stated(look, summary["statements"], locked["statements"], "the lock")
    return found + summing.of_summary(summary, look.owner)


def _stated(
    look: Look, ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]], who: str
) -> list[Difference]:
    mine = {(one["agreement"], one["currency"]): one for one in ours}
    said = {(one["agreement"], one["currency"]): one for one in theirs}
    found = []
    for key in sorted(mine.keys() | said.keys()):
        for name in _STATED[2:]:
            value, their_value = (Decimal(of[key][name]) if key in of else None for of in (mine, said))
            if value != their_value:
                what = f"{_name(look)}: {key[0]}: {name} of the summary is not what {who} says"
                found.append(Difference(FIGURES, look.owner, what, key[1], value, their_value, reason="amount"))
    return found


def _name(look: Look) -> str:
    return f"settlement {look.kept.settlement[:12]}"


def _bill(of: Mapping[str, Mapping[str, Any]]) -> dict[str, Decimal]:
    return {currency: Decimal(one["pretax"]) for currency, one in of.items()}


# -- the month --------------------------------------------------------------------------------------------------


def comparisons(gathered: Gathered) -> list[Comparison]:
    """By currency: what the newest seals say, and what the shares have of it."""
    return compare([seal.totals for seal in gathered.seals.values()], [look.bill for look in gathered.looks])


def of_month(gathered: Gathered) -> list[Difference]:
    """What the shares leave of the bill, once all of them are settled."""
    if gathered.missing:
        return []
    why = "all shares do not come to what is sealed"
    stale = sorted(payer for payer, seal in gathered.seals.items() if _is_unread(gathered, payer, seal))
    if stale:
        why += f"; {', '.join(stale)} was sealed again and is not settled since"
    return [
        Difference(BILL, "", why, one.currency, one.shared, one.billed, reason="amount")
        for one in comparisons(gathered)
        if one.unexplained != 0
    ]


def _is_unread(gathered: Gathered, payer: str, seal: Seal) -> bool:
    """Whether a share that reads the payer's bill was settled from an older seal of it."""
    return any(look.entry.body["seals"].get(payer, seal.seq) < seal.seq for look in gathered.looks)


# -- the provider's control totals ------------------------------------------------------------------------------


def of_controls(services: Services, gathered: Gathered) -> list[Difference]:
    """How the newest seals differ from the provider's control totals, as they were found when they were sealed."""
    cases = cases_of(services, gathered)
    found = []
    for payer, seal in sorted(gathered.seals.items()):
        rows, wrong = kept_controls(services, seal)
        found += wrong
        found += [control_difference(payer, one, cases) for one in rows]
    return explain(found, gathered.policies, CONTROLS_NAME)


def kept_controls(services: Services, seal: Seal) -> tuple[list[dict[str, str]], list[Difference]]:
    """The differences that a seal names, and what is wrong where they are not the ones."""
    key = seal.control["key"]
    if not key:
        return [], []
    try:
        body = services.buckets.work.get(key)
        rows = json.loads(body)
    except (ObjectMissingError, ValueError):
        return [], [Difference(FIGURES, "", f"{key} is missing, or cannot be read", reason="missing")]
    counts = len(rows), sum(not one["cause"] for one in rows)
    if digest(body)[:16] not in key or counts != (seal.control["differences"], seal.control["open"]):
        return rows, [
            Difference(FIGURES, "", f"{key} is not what seal {seal.seq} of {seal.account} names", reason="digest")
        ]
    return rows, []


def control_difference(
    payer: str, one: Mapping[str, str], cases: Mapping[tuple[str, str, str], tuple[str, Decimal]]
) -> Difference:
    """A difference to a control total: explained by the provider's rounding discount, or by the case that holds it."""
    key = f"{payer}/{one['account']}/{one['product']}" + (f" ({MONTHLY})" if one["against"] == MONTHLY else "")
    case = cases.get(("source_mismatch", key, one["currency"]))
    explained = "the provider's round-down discount" if one["cause"] else ""
    if not explained and case is not None and case[1] == Decimal(one["difference"]):
        explained = f"case {case[0]}"
    keys = {"payer": payer, "account": one["account"], "product": one["product"], "against": one["against"]}
    return Difference(
        CONTROLS,
        "",
        f"{key}: the lines do not come to the provider's control total",
        one["currency"],
        Decimal(one["lines"]),
        Decimal(one["control"]),
        reason=one["cause"] or "amount",
        explained=explained,
        keys=keys,
    )
