"""Ingest what a pull asked beside lines: control totals, the look at a cycle that is final, an account's customers.

None of it seals anything. A look that finds other totals than the last seal's asks for the cycle once more, under
`again/`. A list of customers is told to the chain where somebody on it is assigned to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from shared.bill import api, control, pulls
from shared.bill.pulls import CONTROL, CUSTOMERS, MONTHLY, OBSERVED, WATCH, Pull
from shared.bill.snapshot import FINAL, Seal, seals, stream_of
from shared.chain.entry import Draft, Entry
from shared.cycle import Cycle
from shared.ids import canonical_json, digest
from shared.parties.parties import Parties
from shared.services import Services
from shared.steps.plan_pulls import ask_again

WHATS = (CONTROL, MONTHLY, *OBSERVED)
LISTED = "customers"  # the kind of entry
_ACTOR = "ingest_bill"

Pages = Iterable[tuple[str, bytes]]


def ingest(services: Services, pull: Pull, pages: Pages, parties: Parties, at: str) -> dict[str, Any]:
    """What the pages say, as plain data and whatever else is known; what follows of it is written before."""
    if pull.what == CUSTOMERS:
        return _customers(services, pull, pages, parties, at)
    totals, problems = _totals(pull, pages)
    if pull.what == WATCH:
        _look(services, pull, totals, at)
    return {"controls": control.totals_as_json(totals), "unreadable": problems}


def _totals(pull: Pull, pages: Pages) -> tuple[dict[control.Group, control.Control], list[str]]:
    if pull.what == MONTHLY:
        return control.overview_totals(row for key, body in pages for row in api.parse_page(body, key).items)
    return control.overview_totals(row for key, body in pages for row in api.parse_overview(body, key))


# -- cycles that are final --------------------------------------------------------------------------------------


def _look(services: Services, pull: Pull, totals: dict[control.Group, control.Control], at: str) -> None:
    """Compare the overview with that of the last seal; where it moved, every date is asked for again."""
    last = seals(services.chain.read(stream_of(pull.account, str(pull.cycle))))[-1:]
    if not last or last[0].status != FINAL or last[0].source != "api":
        return
    before = _sealed_totals(services, last[0])
    groups = control.moved(before, totals) if before is not None else sorted(totals)
    if groups:
        slot = pulls.extra_slot(pulls.begun(pull.slot))
        why = f"the overview moved in {len(groups)} of its groups since seal {last[0].seq}"
        services.buckets.work.put_again(pulls.round_again_key(pull.account, pull.cycle, slot), ask_again(why, at))


def _sealed_totals(services: Services, seal: Seal) -> dict[control.Group, control.Control] | None:
    """The overview that a seal was compared with; None where it is no longer there, and nothing can be compared."""
    key = f"ingested/{seal.account}/{seal.cycle}/{seal.slot}/{CONTROL}.json"
    body = services.buckets.work.find(key)
    return None if body is None else control.totals_from_json(json.loads(body)["controls"])


# -- customers --------------------------------------------------------------------------------------------------


def _customers(services: Services, pull: Pull, pages: Pages, parties: Parties, at: str) -> dict[str, Any]:
    answers = [api.parse_customers(body, key) for key, body in pages]
    if not answers:
        return {"customers": None}  # the provider refused to say: that is no empty list
    accounts = sorted({one for answer in answers for one in answer})
    listed = canonical_json({"account": pull.account, "customers": accounts})
    key = f"customers/{pull.account}/{digest(listed)}.json"
    strange = unassigned(accounts, parties, str(pull.cycle))

    def decide(entries: list[Entry]) -> Draft | None:
        told = [entry.body for entry in entries if entry.kind == LISTED]
        if (not told and not strange) or any(one["slot"] >= pull.slot for one in told):
            return None
        if told and told[-1]["key"] == key:
            return None
        services.buckets.work.put_once(key, listed)
        body = {"account": pull.account, "cycle": str(pull.cycle), "slot": pull.slot, "key": key}
        return Draft(LISTED, _ACTOR, at, {**body, "count": len(accounts), "unassigned": len(strange)})

    services.chain.append(stream_of(pull.account, str(pull.cycle)), decide)
    return {"customers": len(accounts)}


def unassigned(accounts: Iterable[str], parties: Parties, cycle: str) -> list[str]:
    """Those that nobody is assigned in the cycle, in order."""
    assigned = {one.account for one in parties.in_cycle(Cycle.parse(cycle))}
    return sorted(set(accounts) - assigned)


def new_accounts(services: Services, entries: Iterable[Entry], parties: Parties, cycle: str) -> list[str]:
    """The unassigned accounts of the newest list that the entries of a bill's stream name."""
    told = [entry.body["key"] for entry in entries if entry.kind == LISTED]
    if not told:
        return []
    return unassigned(json.loads(services.buckets.work.get(told[-1]))["customers"], parties, cycle)
