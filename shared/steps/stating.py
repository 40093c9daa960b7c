"""A share's statements as documents: what a settlement came to, with what stood around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import begun
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.cycle import Cycle, parse_instant
from shared.errors import BadInputError
from shared.ids import digest
from shared.money import EXACT, text
from shared.payout.batch import balance, forfeited, opening_balance
from shared.report.layout import LAYOUT, Layout, parse_layout
from shared.report.statements import Document, Lock
from shared.services import Services
from shared.settlement.statement import parse_statement
from shared.steps import state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.agreement.agreement import Agreement
    from shared.parties.parties import Parties


def lock_of(entries: list[Entry], cycle: str) -> Entry | None:
    """The entry that locked a month."""
    for entry in entries:
        is_lock = entry.kind == approvals.APPROVED and entry.body["act"] == months.LOCK
        if is_lock and entry.body["what"]["cycle"] == cycle:
            return entry
    return None


def locked_documents(
    services: Services, reseller: str, cycle: str, entries: list[Entry], lock: Entry
) -> list[Document]:
    """The statements of a locked month: a function of the locked settlement and its lock alone."""
    what = lock.body["what"]
    summary = _summary(services, cycle, reseller, what["settlement"], what["summary"])
    proposer = next(entry.actor for entry in entries if entry.seq == lock.body["proposal"])
    approved_by = [*approvals.endorsed(entries, lock.body["proposal"]), lock.actor]
    calculated = next((entry for entry in entries if entry.seq == what["calculated"]), None)
    # The names as they were when the month was calculated: a later party document changes no published file.
    return documents(
        services, reseller, cycle, summary,
        # What stood before the lock, whatever has been approved or paid since.
        entries=[entry for entry in entries if entry.seq < lock.seq],
        parties=what["parties"],
        catalogue=str(calculated.body.get("catalogue", "")) if calculated else "",
        as_of=parse_instant(calculated.at if calculated else lock.at),
        is_bill_final=True,
        lock=Lock(proposer, ", ".join(approved_by), parse_instant(lock.at), lock.hash),
    )  # fmt: skip


def opening_of(before: list[Entry]) -> Mapping[str, Any] | None:
    """The reseller's opening, for its first lock alone: whose statements carry it and whose journal posts it."""
    is_first = all(month.locked is None for month in months.months(before).values())
    return months.opening(before) if is_first else None


def documents(
    services: Services,
    reseller: str,
    cycle: str,
    summary: Mapping[str, Any],
    *,
    entries: list[Entry],
    parties: str,
    catalogue: str,
    as_of: datetime,
    is_bill_final: bool,
    lock: Lock | None,
) -> list[Document]:
    """The documents of a summary; `entries` are those of the stream that stood before it counts."""
    opening = opening_of(entries)
    known: Parties = state.parties_of(services, parties)
    operator = state.document(services, parties)["operator"]["name"]
    agreements = _agreements(services, reseller, cycle, summary["settlement"])
    found = []
    for data in summary["statements"]:
        statement = parse_statement(data)
        versions = _versions(agreements, statement.agreement, {line.version for line in statement.lines}, cycle)
        carried = balance(entries, statement.agreement, cycle)
        found.append(
            Document(
                statement, cycle, reseller, summary["settlement"], as_of, is_bill_final, lock, carried, versions,
                operator={"en": operator} if isinstance(operator, str) else operator,
                reseller_names=known.resellers.get(reseller, {}),
                customer_names=known.customers,
                product_names=_products(services, catalogue),
                opening=None if opening is None else opening_balance(entries, statement.agreement, cycle),
                forfeited=forfeited(_forfeits(versions[-1]), EXACT.add(carried, Decimal(statement.payable))),
                layout=_layout(services, entries),
                adjusted=[one for one in summary.get("adjusted", ()) if one["agreement"] == statement.agreement],
            )
        )  # fmt: skip
    return found


def _agreements(services: Services, reseller: str, cycle: str, settlement: str) -> list[Agreement]:
    """The versions that a settlement was made of, whatever has been approved since."""
    manifest = json.loads(services.buckets.work.get(state.folder_of(cycle, reseller, settlement) + "manifest.json"))
    return [state.agreement(services, document) for _, _, document in manifest["agreements"]]


def _versions(found: Sequence[Agreement], id_: str, named: set[int], cycle: str) -> list[Agreement]:
    """The versions of an agreement that lines name or that are in force in the cycle; at the end the one that says
    how it is paid."""
    month = Cycle.parse(cycle)
    mine = begun([one for one in found if one.id == id_], month)[id_]
    return [one for one in mine[:-1] if one.version in named or one.touches(month)] + mine[-1:]


def _layout(services: Services, entries: list[Entry]) -> Layout | None:
    """The reseller's own layout, as it was approved last."""
    approved = list(approvals.in_force(entries, LAYOUT))
    if not approved:
        return None
    return parse_layout(state.kept(services, services.buckets.records, state.document_key(approved[-1]["document"])))


def _forfeits(last: Agreement) -> dict[str, str]:
    return {} if last.payout.carry_forward else {"forfeits_below": text(last.payout.minimum)}


def _products(services: Services, catalogue: str) -> dict[str, dict[str, str]]:
    if not catalogue:
        return {}
    products = state.catalogue(services, catalogue).products
    return {code: {"zh": one.names.zh, "en": one.names.en} for code, one in products.items()}


def _summary(services: Services, cycle: str, reseller: str, settlement: str, locked: str) -> dict[str, Any]:
    key = state.folder_of(cycle, reseller, settlement) + "summary.json"
    body = services.buckets.work.get(key)
    if digest(body) != locked:
        problem = "is not the summary that was locked"
        raise BadInputError(f"object {key}", problem, "somebody changed it: find out who, and restore it")
    return dict(json.loads(body))
