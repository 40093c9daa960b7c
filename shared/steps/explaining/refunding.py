"""The charges of earlier months that a refund falls on: which, and what was taken back for each month."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import RERATE
from shared.money import text, total
from shared.parties.parties import OPERATOR
from shared.steps import inputs, looking_back
from shared.steps.explaining.kept import Facts, Kept, standing_on
from shared.steps.explaining.whose import mapped_on, version_of

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.agreement.agreement import Agreement


def is_netted(version: Agreement, line: Facts, undone: Facts) -> bool:
    """Whether a refund of the line is netted, or takes back what it earned (semantics, refunds)."""
    policy = version.refunds
    is_near = policy.window_days is None or (undone["date"] - line["date"]).days <= policy.window_days
    is_same_month = policy.is_same_month_netted and undone["cycle"] == line["cycle"]
    return policy.take_back == RERATE or (is_same_month and is_near)


def undoes(kept: Kept, rows: Sequence[Facts]) -> list[Facts]:
    """What a refund of the settlement's bill undoes of earlier months, by their cycles."""
    undone = {str(one["other_line"]): one for one in rows if one["kind"] == "netted" and one["other_line"]}
    charges = charges_of(kept, undone)
    found = []
    for cycle in sorted({of for of, _ in charges.values()} - {kept.cycle}):
        view, mine = kept.looking_at(cycle), []
        for id_, (of, line) in charges.items():
            if of == cycle:
                version = version_of(view, line, [], mapped_on(view, line))
                netted = version is not None and is_netted(version, line, undone[id_])
                mine.append({"id": id_, "basis": text(undone[id_]["basis"]), "is_netted": netted})
        taken = [one["amount"] for one in rows if one["kind"] == "adjustment" and one["cycle"] == cycle]
        locked = standing_on(kept, cycle).named() if cycle in kept.locked else None
        found.append({**of_month(kept, cycle, mine, taken), "settlement": locked})
    return found


def of_month(kept: Kept, cycle: str, charges: Sequence[Facts], taken: Sequence[Decimal]) -> Facts:
    """What a refund did to an earlier month: taken back, or of the charges that it was netted against adjusted."""
    netted = [str(one["id"]) for one in charges if one["is_netted"]]
    re_rated = _adjusted(kept, cycle, netted) if netted else None
    return {"cycle": cycle, "charges": list(charges), "taken_back": text(total(taken)), "re_rated": re_rated}


def charges_of(kept: Kept, charges: Iterable[str]) -> dict[str, tuple[str, Facts]]:
    """The cycles and lines of charges, among those that the settlement knows: its own cycle, then those reached."""
    wanted, found = set(charges), dict[str, tuple[str, Facts]]()
    reached = sorted(kept.looked_back, reverse=True)
    rest = sorted(set(kept.manifest["earlier"]) - set(reached), reverse=True)
    for cycle in (kept.cycle, *reached, *rest):
        view = kept.looking_at(cycle)
        left = sorted(wanted - found.keys())
        if left and view.bills:
            query = f"SELECT * FROM {view.parts()} WHERE list_contains($ids::VARCHAR[], line_id)"  # noqa: S608
            found |= {str(one["line_id"]): (cycle, one) for one in view.ask(query, ids=left)}
    return found


def _adjusted(kept: Kept, cycle: str, charges: Sequence[str]) -> str:
    """By how much the settlement adjusted what charges of an earlier cycle earn by themselves."""
    query = f"""SELECT coalesce(sum(amount), 0) AS sum FROM {kept.source()}
                WHERE kind = 'adjustment' AND cycle = $cycle AND list_contains($ids::VARCHAR[], line_id)"""  # noqa: S608
    [found] = kept.ask(query, cycle=cycle, ids=list(charges))
    return text(found["sum"])


def links_of(kept: Kept, account: str) -> list[Facts]:
    """What the account's refunds fall on as the settlement saw it, in all cycles that it knew: linked again.

    A settlement keeps this of the refunds of its own bill; of one that arrived late it keeps what was taken back.
    """
    if kept.owner == OPERATOR:
        return []  # refunds of lines that earn nothing take nothing back
    from shared.settlement import lines, netting, rules

    share = inputs.share_of(kept.services, kept.manifest)
    share = replace(share, assignments=[one for one in share.assignments if one.account == account])
    lines.load_lines(kept.connection, [])
    lines.add_reaching(kept.connection, looking_back.parts_of(kept.services, kept.manifest, share.known), share)
    lines.place(kept.connection, share)
    rules.match(kept.connection, share)
    netting.link(kept.connection, share)
    found = []
    for refund, of_refund, charge, of_charge, number, is_netted, _, pretax, *_ in netting.links(kept.connection, share):
        if charge is not None:
            names: dict[str, Any] = {"id": refund, "cycle": of_refund, "piece": number, "is_netted": is_netted}
            found.append({**names, "charge": charge, "charge_cycle": of_charge, "pretax": _plain(pretax)})
    return sorted(found, key=lambda one: (one["cycle"], one["id"], one["piece"]))


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
