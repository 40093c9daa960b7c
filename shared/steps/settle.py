"""Settle a share: compute, prove, write; and for a final one, decide.

The results lie under a name made from their inputs, the manifest last; the decision is an entry `calculated`.
A run whose inputs are superseded appends nothing: the newest inputs win, never the last to arrive.
What computes is imported where something is to be computed: an order that comes again finds it done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.bill.control import MONTHLY
from shared.bill.snapshot import FINAL, Seal, Snapshot
from shared.bill.snapshot import seals as seals_of
from shared.bill.snapshot import stream_of as bill_stream
from shared.chain.chain import head_of
from shared.chain.entry import Draft, Entry, Head
from shared.control import months
from shared.control.cases import Case
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest, digest_of
from shared.journal.kinds import kinds_of
from shared.money import EXACT, text
from shared.parties.parties import OPERATOR, Parties
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import inputs, outbox, projections, state
from shared.steps.route_settlements import Order, bills, order_of, parse_order

_ACTOR = "settle"
DRAFTS_KEPT = 2
_SUPERSEDED = "superseded: the chain calls for other inputs"
_BEFORE = "calculated before"


def settle(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Carry out a settle order."""
    order = parse_order(services.buckets.work.get(event.key), event.key)
    at = stamp(event.at)
    parties, party_entries = state.parties(services)
    stream = months.stream_of(order.owner, order.cycle)
    entries = services.chain.read(stream)
    sealed, heads = _sealed(services, order)
    if not _is_current(services, order, entries):
        return _done(services, event, order, at, _SUPERSEDED, None)
    before = _decided_before(services, order, entries)
    if before is not None:
        projections.refresh(services, order.owner, order.cycle)
        outbox.tell(services, [stream], at)
        return _done(services, event, order, at, _BEFORE, before)
    snapshots = {p: state.snapshot(services, p, order.cycle, seal.snapshot) for p, seal in sealed.items()}
    manifest = inputs.manifest_of(services, order, snapshots)
    settlement = digest_of(manifest)
    summary = _results(services, order, snapshots, manifest, settlement)
    if order.status != FINAL:
        _keep_draft(services, order, settlement)
        return _done(services, event, order, at, "draft", settlement)
    cases = _held_cases(services, order, summary)
    if order.owner == OPERATOR:
        cases += [*_bill_cases(services, sealed), *_new_accounts(services, parties, sealed, cases)]
        from shared.steps.unknown_codes import unknown_codes

        cases += unknown_codes(services, order.catalogue, order.cycle, snapshots)
    reads = {**heads, "parties": head_of(party_entries)}
    if order.catalogue or order.rates or order.figures:
        reads[state.CONFIG] = head_of(services.chain.read(state.CONFIG))
    for reseller in parties.neighbours(order.owner, [Cycle.parse(one) for one in (*order.earlier, order.cycle)]):
        stream = months.stream_of(reseller, order.cycle)
        reads[stream] = head_of(state.agreed(services.chain.read(stream)))
    note = _decide(services, order, summary, cases, reads, at)
    projections.refresh(services, order.owner, order.cycle)
    outbox.tell(services, [months.stream_of(order.owner, order.cycle)], at)
    return _done(services, event, order, at, note, settlement)


def _decided_before(services: Services, order: Order, entries: list[Entry]) -> str | None:
    """The settlement that the order came to, if the chain knows it and all that it left is there."""
    month = months.months(entries).get(order.cycle)
    if order.status != FINAL or month is None or month.calculated is None:
        return None
    body, work = [month.calculated, *month.late][-1].body, services.buckets.work
    if body["order"] != order.key or "cases" not in body:
        return None
    settlement = str(body["settlement"])
    left = (state.folder_of(order.cycle, order.owner, settlement) + "manifest.json", body["cases"]["key"])
    return settlement if all(map(work.exists, left)) else None


def settlement_of(services: Services, order: Order) -> str:
    """The settlement that the order makes, told from its inputs without computing it."""
    return digest_of(manifest_for(services, order))


def manifest_for(services: Services, order: Order) -> dict[str, Any]:
    """What the settlement of an order is a function of."""
    sealed, _ = _sealed(services, order)
    snapshots = {p: state.snapshot(services, p, order.cycle, seal.snapshot) for p, seal in sealed.items()}
    return inputs.manifest_of(services, order, snapshots)


def _done(
    services: Services, event: ObjectEvent, order: Order, at: str, note: str, settlement: str | None
) -> dict[str, Any]:
    services.record(_ACTOR, event.key, at, note)
    return {"owner": order.owner, "cycle": order.cycle, "settlement": settlement, "outcome": note}


def _sealed(services: Services, order: Order) -> tuple[dict[str, Seal], dict[str, Head]]:
    """The seals that the order names, and the heads they were read at."""
    found, heads = {}, {}
    for payer, seq in order.seals.items():
        stream = bill_stream(payer, order.cycle)
        upto = [entry for entry in services.chain.read(stream) if entry.seq <= seq]
        seal = next((one for one in seals_of(upto) if one.seq == seq), None)
        if seal is None:
            raise BadInputError(f"order {order.key}", f"names seal {seq} of {stream}", "there is no such seal")
        found[payer], heads[stream] = seal, head_of(upto)
    return found, heads


def _is_current(services: Services, order: Order, entries: list[Entry]) -> bool:
    """Whether the order is what the chain calls for now; a final one in everything, its seals and payers included.

    An object in a bucket decides nothing: a final order that the chain does not call for settles nothing.
    """
    parties, party_entries = state.parties(services)
    if order.status == FINAL:
        now = bills(services, parties, order.cycle)
        return order_of(services, parties, party_entries, now, order.cycle, order.owner) == order
    found = [] if order.owner == OPERATOR else state.agreements(services, entries, Cycle.parse(order.cycle))
    return state.party_digest(party_entries) == order.parties and tuple(one.digest for one in found) == order.agreements


def _results(
    services: Services,
    order: Order,
    snapshots: Mapping[str, Snapshot],
    manifest: Mapping[str, Any],
    settlement: str,
) -> dict[str, Any]:
    """The summary of the settlement, computed and kept unless it was before."""
    folder = state.folder_of(order.cycle, order.owner, settlement)
    work = services.buckets.work
    if work.exists(folder + "manifest.json"):
        return dict(json.loads(work.get(folder + "summary.json")))
    from shared.settlement import engine, lines
    from shared.steps import looking_back, results

    read = inputs.parse_manifest(canonical_json(manifest))
    share = inputs.share_of(services, read)
    own = lines.count_lines(share, (part.accounts for one in snapshots.values() for part in one.parts.values()))
    share = looking_back.look_back(services, read, share, engine.memory_mb(own, services.memory_mb))
    memory_mb = engine.memory_mb(own * len(share.cycles), services.memory_mb)  # months of a share are much alike
    with TemporaryDirectory(dir=services.scratch) as scratch:
        settled = results.compute(services, read, share, Path(scratch), memory_mb)
        for name in (results.LINES, results.HELD):
            work.upload_once(folder + name, Path(scratch) / name)
    summary = results.summary_of(share, settled, settlement)
    work.put_once(folder + "summary.json", canonical_json(summary))
    work.put_once(folder + "manifest.json", canonical_json(manifest))
    return dict(json.loads(canonical_json(summary)))


def _keep_draft(services: Services, order: Order, settlement: str) -> None:
    """Keep the last two drafts of a share: an object each, not a decision."""
    key = f"{inputs.drafts_prefix(order.cycle, order.owner)}{order.day}.json"
    body = canonical_json({"settlement": settlement, "day": order.day, "order": order.key})
    services.buckets.work.put_again(key, body)
    remove_old_drafts(services, order.cycle, order.owner)


def remove_old_drafts(services: Services, cycle: str, owner: str) -> None:
    """Remove all but the last two drafts of a share, and what only they came to."""
    work = services.buckets.work
    # Another run may be removing the same old drafts: what is no longer there is done.
    found = [(key, work.find(key)) for key in work.keys(inputs.drafts_prefix(cycle, owner))]
    drafts = [(key, json.loads(body)["settlement"]) for key, body in found if body]
    kept = {old for _, old in drafts[-DRAFTS_KEPT:]}
    month = months.months(services.chain.read(months.stream_of(owner, cycle))).get(cycle)
    kept |= {month.settlement} if month else set()
    for key, old in drafts[:-DRAFTS_KEPT]:
        if old not in kept:
            # The manifest first: what lacks it is computed again, never read half.
            folder = state.folder_of(cycle, owner, old)
            for name in ("manifest.json", "summary.json", "held.parquet", "lines.parquet"):
                work.delete(folder + name)
        work.delete(key)


def _held_cases(services: Services, order: Order, summary: Mapping[str, Any]) -> list[Case]:
    """What cannot be settled of the cycle, and of those looked back to what people have not been told before."""
    now = summary.get("held_before", ())
    told = {cycle: _told(services, order, cycle) for cycle in {one["cycle"] for one in now}}
    found = {_named(one): (one["lines"], Decimal(one["amount"])) for one in summary["held"]}
    for one in now:
        was = told[one["cycle"]].get(_named(one), (0, Decimal(0)))
        more = (one["lines"] - was[0], EXACT.subtract(Decimal(one["amount"]), was[1]))
        if more != (0, Decimal(0)):
            own = found.get(_named(one), (0, Decimal(0)))
            found[_named(one)] = (own[0] + more[0], EXACT.add(own[1], more[1]))
    return [Case(order.cycle, order.owner, *name, *holds) for name, holds in found.items()]


def _told(services: Services, order: Order, cycle: str) -> dict[tuple[str, str, str], tuple[int, Decimal]]:
    """The cases of a locked cycle that people were told of, by its own lock or by the last that looked back to it."""
    found: dict[tuple[str, str, str], tuple[int, Decimal]] = {}
    for one, named in order.earlier.items():
        if one >= cycle and "locked" in named:
            summary = inputs.Kept(one, order.owner, named["locked"]).summary(services)
            if one == cycle or cycle in summary.get("looked_back", ()):
                cases = summary["held"] if one == cycle else summary.get("held_before", ())
                mine = [case for case in cases if case.get("cycle", cycle) == cycle]
                found = {_named(case): (case["lines"], Decimal(case["amount"])) for case in mine}
    return found


def _named(case: Mapping[str, Any]) -> tuple[str, str, str]:
    return case["kind"], case["key"], case["currency"]


def _bill_cases(services: Services, sealed: Mapping[str, Seal]) -> list[Case]:
    """Cases of the bills themselves: rows that cannot be read, and totals that disagree with the provider's."""
    from shared.bill import parts

    found = []
    for payer, seal in sealed.items():
        for day, rejected in state.with_files(services, seal).rejects.items():
            for one in parts.parse_rejects(services.buckets.work.get(rejected["key"])):
                key = f"{payer} {day}, page {one.page}, row {one.row}: {one.reason}"
                found.append(Case(seal.cycle, OPERATOR, "bad_line", key, "", 1, Decimal(0)))
        if seal.control["open"]:
            for difference in json.loads(services.buckets.work.get(seal.control["key"])):
                if not difference["cause"]:
                    key = f"{payer}/{difference['account']}/{difference['product']}"
                    if difference["against"] == MONTHLY:  # the overview agrees, or says another amount
                        key += f" ({MONTHLY})"
                    amount = Decimal(difference["difference"])
                    found.append(Case(seal.cycle, OPERATOR, "source_mismatch", key, difference["currency"], 0, amount))
    return found


def _new_accounts(services: Services, parties: Parties, sealed: Mapping[str, Seal], held: Sequence[Case]) -> list[Case]:
    """Customers at the provider whom nobody is assigned; one that has lines is a case of its lines already."""
    from shared.steps import ingest_controls

    known, found = {case.key for case in held if case.kind == "unmapped_account"}, []
    for payer, seal in sealed.items():
        entries = services.chain.read(bill_stream(payer, seal.cycle))
        upto = [entry for entry in entries if entry.seq <= seal.seq]
        for account in ingest_controls.new_accounts(services, upto, parties, seal.cycle):
            if account not in known:
                known.add(account)
                found.append(Case(seal.cycle, OPERATOR, "new_account", account, "", 0, Decimal(0)))
    return found


# -- the decision -----------------------------------------------------------------------------------------------


def _decide(
    services: Services,
    order: Order,
    summary: Mapping[str, Any],
    cases: Sequence[Case],
    reads: Mapping[str, Head],
    at: str,
) -> str:
    """Append `calculated`, unless the order is superseded, the same stands there, or the month is locked."""
    settlement = summary["settlement"]
    listed = canonical_json([{**case.as_row(), "id": case.id} for case in cases])
    cases_key = f"cases/{order.cycle}/{order.owner}/{digest(listed)}.json"
    services.buckets.work.put_once(cases_key, listed)
    body = {
        "cycle": order.cycle,
        "owner": order.owner,
        "settlement": settlement,
        "seals": dict(order.seals),
        "order": order.key,
        "parties": order.parties,
        "lines": summary["lines"],
        "rows_digest": summary["rows_digest"],
        "summary": digest_of(summary),
        "bill": summary["bill"],
        "cases": {"key": cases_key, "count": len(cases)},
        "catalogue": order.catalogue,  # "": no code was checked
        **({"earlier": dict(order.earlier)} if order.earlier else {}),
        **({"adjustments": list(order.adjustments)} if order.adjustments else {}),
        **({"decided": list(order.decided)} if order.decided else {}),
        **({"links": list(order.links)} if order.links else {}),
        "statements": [
            {name: one[name] for name in ("agreement", "currency", "total", "tax", "payable")}
            | {"kinds": kinds_of(one)}
            | _forfeits(services, order, one["agreement"])
            for one in summary["statements"]
        ],
    }
    notes = []

    def decide(entries: list[Entry]) -> Draft | None:
        month = months.months(entries).get(order.cycle)
        if not _is_current(services, order, entries):
            notes.append(_SUPERSEDED)
            return None
        draft, note = _draft(order, month, body, reads, at)
        notes.append(note)
        return draft

    services.chain.append(months.stream_of(order.owner, order.cycle), decide)
    return notes[-1]


def _forfeits(services: Services, order: Order, agreement: str) -> dict[str, str]:
    """Below which balance a month forfeits it, by the agreement's last version, if it does."""
    from shared.agreement.agreement import begun

    versions = begun([state.agreement(services, one) for one in order.agreements], Cycle.parse(order.cycle))
    payout = versions[agreement][-1].payout
    return {} if payout.carry_forward else {"forfeits_below": text(payout.minimum)}


def _draft(
    order: Order, month: months.Month | None, body: Mapping[str, Any], reads: Mapping[str, Head], at: str
) -> tuple[Draft | None, str]:
    if month is not None and month.calculated is not None:
        before = month.calculated.body
        if any(before["seals"].get(payer, 0) > seq for payer, seq in order.seals.items()):
            return None, "superseded by a settlement of newer seals"
        if [month.calculated, *month.late][-1].body["order"] == order.key:
            return None, _BEFORE
    if month is not None and month.locked is not None:
        last = month.late[-1].body if month.late else {"settlement": month.settlement, "order": ""}
        if body["settlement"] == last["settlement"]:
            return None, "locked; nothing has changed since it was last looked at"
        late = {name: body[name] for name in ("cycle", "owner", "settlement", "seals", "order", "bill", "cases")}
        is_back = body["settlement"] == month.settlement
        why = "the bill is again as it was locked" if is_back else "the bill changed after the lock"
        return Draft(months.LATE, _ACTOR, at, late, why, reads), why
    return Draft(months.CALCULATED, _ACTOR, at, body, "", reads), "calculated"
