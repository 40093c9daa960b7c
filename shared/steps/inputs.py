"""What a settlement is a function of: the manifest that an order comes to, and the share that a manifest names.

The manifest is plain data and names everything by digest; its own digest is the settlement's id. Whoever has it, and
the documents and day parts that it names, can settle again what was settled.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.bill.snapshot import Snapshot, part_key
from shared.control import months, resolving
from shared.control.cases import case_id
from shared.cycle import LOOK_BACK, Cycle
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.money import text
from shared.parties.parties import OPERATOR, Assignment, CustomerClass, held_throughout
from shared.services import Services
from shared.steps import casework, state
from shared.steps.route_settlements import Order

if TYPE_CHECKING:
    from shared.settlement.share import Opened, PastCharge, Share

_TERMS = ("agreements", "others")  # of a manifest: the versions it names, as [id, version, digest]


@dataclass(frozen=True, slots=True)
class Kept:
    """A settlement that is kept, by what its folder is called."""

    cycle: str
    owner: str
    settlement: str
    is_draft: bool = False

    @property
    def folder(self) -> str:
        """Where its files lie (bucket work)."""
        return state.folder_of(self.cycle, self.owner, self.settlement)

    def manifest(self, services: Services) -> dict[str, Any]:
        """What it is a function of."""
        return parse_manifest(services.buckets.work.get(self.folder + "manifest.json"))

    def summary(self, services: Services) -> dict[str, Any]:
        """What it came to."""
        return dict(json.loads(services.buckets.work.get(self.folder + "summary.json")))


def manifest_of(services: Services, order: Order, snapshots: Mapping[str, Snapshot]) -> dict[str, Any]:
    """Everything that the settlement of an order is a function of; its digest is the settlement's id."""
    from shared.settlement import engine

    older = _older(services, order)
    cycles = [Cycle.parse(one) for one in (*older, *order.earlier, order.cycle)]
    parties = state.parties_of(services, order.parties)
    mine = [one for one in parties.assignments if any(one.touches(cycle) for cycle in cycles)]
    if order.owner != OPERATOR:
        held = {one.account for one in mine if one.reseller == order.owner}
        mine = [one for one in mine if one.account in held]
    customers = {one.customer for one in mine}
    manifest = {
        "engine": engine.VERSION,
        "cycle": order.cycle,
        "owner": order.owner,
        "bills": {
            payer: {day: part.digest for day, part in snapshot.parts.items()} for payer, snapshot in snapshots.items()
        },
        "assignments": [[one.account, one.begins, one.ends, one.customer, one.reseller, one.how] for one in mine],
        "agreements": _versions(services, order.agreements),
        "classes": [
            [one.customer, one.name, one.begins, one.ends] for one in parties.classes if one.customer in customers
        ],
        "others": _versions(services, order.others),
        "rates": order.rates,
        "figures": order.figures,
        "opening": order.opening,
        "held_back": _held_back(services, order),
        **(_before(services, order, older, _holds(order.owner, mine, cycles)) if order.earlier else {}),
        **_decided(services, order),
        **_links(services, order),
    }
    return dict(json.loads(canonical_json(manifest)))


def parse_manifest(body: bytes) -> dict[str, Any]:
    """The manifest of an object; what engines of before did not read, those of their settlements do not name."""
    none = {"classes": [], "others": [], "rates": "", "figures": "", "opening": "", "held_back": []}
    return {**none, "earlier": {}, "locked": {}, "adjustments": [], "closed": [], "links": [], **json.loads(body)}


def _holds(owner: str, assignments: Sequence[Assignment], cycles: Sequence[Cycle]) -> Callable[[str], bool]:
    """Whether an account may have lines that are the share's."""
    if owner == OPERATOR:
        others = held_throughout(assignments, cycles)
        return lambda account: account not in others
    mine = {one.account for one in assignments}
    return lambda account: account in mine


def _older(services: Services, order: Order) -> dict[str, Any]:
    """What lies further back than may be looked back to, and refunds and contract years may still stand on: as it was
    when the last locked month was settled."""
    locked = {cycle: one["locked"] for cycle, one in order.earlier.items() if "locked" in one}
    if not locked:
        return {}
    furthest = str(Cycle.parse(order.cycle).plus(-2 * LOOK_BACK))
    last = Kept(max(locked), order.owner, locked[max(locked)]).manifest(services)
    return {cycle: one for cycle, one in last["earlier"].items() if furthest <= cycle < min(order.earlier)}


def _before(services: Services, order: Order, older: Mapping[str, Any], holds: Callable[[str], bool]) -> dict[str, Any]:
    """Of the cycles that may be looked back to: the day parts that have lines of the share, tables that are needed,
    and what is locked."""
    versions = [state.agreement(services, one) for one in order.agreements]
    locked = {cycle: one["locked"] for cycle, one in order.earlier.items() if "locked" in one}
    found = dict(older)
    sealed = state.seals_before(services, {cycle: one["seals"] for cycle, one in order.earlier.items()})
    for cycle, seals in sealed.items():
        snapshots = {payer: state.snapshot(services, payer, cycle, seal.snapshot) for payer, seal in seals.items()}
        days = {
            payer: {day: part.digest for day, part in one.parts.items() if any(map(holds, part.accounts))}
            for payer, one in snapshots.items()
        }
        begun = [one for one in versions if one.begins <= Cycle.parse(cycle).last]
        billed = set().union(*(one.totals for one in snapshots.values()))
        is_exchanged, is_gated = any(billed - {one.currency} for one in begun), any(one.has_gates for one in begun)
        found[cycle] = {
            "bills": {payer: parts for payer, parts in days.items() if parts},
            "rates": order.earlier[cycle].get("rates", "") if is_exchanged else "",
            "figures": order.earlier[cycle].get("figures", "") if is_gated else "",
        }
    return {"earlier": found, "locked": locked}


def _versions(services: Services, digests: Sequence[str]) -> list[list[object]]:
    found = [state.agreement(services, one) for one in digests]
    return [[one.id, one.version, one.digest] for one in found]


def _decided(services: Services, order: Order) -> dict[str, Any]:
    """What people decided: adjustments, as (id, agreement, cycle, amount, cause, customer, product); and the cases
    closed without settling, of the cycle and of those that may be looked back to, as (cycle, kind, key, currency,
    because, proposal)."""
    by_cycle = {cycle: one["decided"] for cycle, one in order.earlier.items() if "decided" in one}
    by_cycle |= {order.cycle: order.decided} if order.decided else {}
    if not by_cycle and not order.adjustments:
        return {}
    entries = services.chain.read(months.stream_of(order.owner, order.cycle))
    given = [one for one in resolving.adjustments(entries) if one.seq in order.adjustments]
    adjusted = [
        [one.name, *(one.what[name] for name in ("agreement", "cycle", "amount", "cause")), *_on(one.what)]
        for one in given
    ]
    closed: dict[tuple[str, ...], list[str]] = {}  # the first decision about a case closed it
    for cycle, seqs in sorted(by_cycle.items()):
        for one in resolving.decisions(entries, cycle):
            if one.seq in seqs:
                for case in casework.cases_of(services, one.what):
                    named = casework.named(case)
                    because = f"case {case_id(cycle, order.owner, *named)}: {one.because}"
                    for of in (cycle, *case.get("before", ())):
                        closed.setdefault((of, *named), [of, *named, because, one.name])
    found = {"adjustments": adjusted, "closed": sorted(closed.values())}
    return {name: value for name, value in found.items() if value}


def _links(services: Services, order: Order) -> dict[str, Any]:
    """The refunds that people linked, as (cycle, refund, charge, proposal); of several decisions the last proposed."""
    streams = sorted({name.rpartition("#")[0] for name in order.links})
    made = [
        one for stream in streams for one in resolving.links(services.chain.read(stream)) if one.name in order.links
    ]
    found = {}
    for one in sorted(made, key=lambda one: (one.at, one.name.rpartition("#")[0], one.seq)):
        [case] = one.what["cases"]
        found[case["key"]] = [one.what["of"], case["key"], one.what["charge"], one.name]
    return {"links": sorted(found.values())} if found else {}


def _on(what: Mapping[str, Any]) -> list[str | None]:
    return [what.get("customer"), what.get("product")]


def _held_back(services: Services, order: Order) -> list[list[object]]:
    """What locked cycles held back that the order's cycle releases: agreement, version, cycle, exact amount."""
    cycle, found = Cycle.parse(order.cycle), []
    versions = [state.agreement(services, one) for one in order.agreements]
    known = months.months(services.chain.read(months.stream_of(order.owner, order.cycle)))
    for held in sorted({str(cycle.plus(-one.holdback.months)) for one in versions if one.holdback is not None}):
        if held not in known or known[held].locked is None:
            continue
        kept = Kept(held, order.owner, str(known[held].settlement))
        for statement in kept.summary(services)["statements"]:
            found += [
                [statement["agreement"], line["version"], held, text(-Decimal(line["exact"]))]
                for line in statement["lines"]
                if line["kind"] == "holdback"
            ]
    return found


def share_of(services: Services, manifest: Mapping[str, Any]) -> Share:
    """What a manifest names, beside the bills, before it is known which cycles it looks back to."""
    from shared.settlement.share import Approved, Closed, HeldBack, LinkedByHand, Share

    of_cycles = {**manifest["earlier"], manifest["cycle"]: manifest}
    rates = {cycle: state.fx_rates(services, one["rates"]) for cycle, one in of_cycles.items() if one["rates"]}
    figures = {cycle: state.figures(services, one["figures"]) for cycle, one in of_cycles.items() if one["figures"]}
    agreements, others = ([state.agreement(services, one[-1]) for one in manifest[name]] for name in _TERMS)
    return Share(
        manifest["owner"],
        Cycle.parse(manifest["cycle"]),
        [
            Assignment(account, customer, reseller, how, date.fromisoformat(begins), _date(ends))
            for account, begins, ends, customer, reseller, how in manifest["assignments"]
        ],
        agreements,
        others,
        classes=[
            CustomerClass(customer, name, date.fromisoformat(begins), _date(ends))
            for customer, name, begins, ends in manifest["classes"]
        ],
        earlier=[Cycle.parse(one) for one in manifest["earlier"]],
        figures={
            (name, cycle): value
            for cycle, table in figures.items()
            for (of, name), value in table.items()
            if of == manifest["owner"]
        },
        held_back=[
            HeldBack(agreement, version, held, Decimal(amount))
            for agreement, version, held, amount in manifest["held_back"]
        ],
        rates={(cycle, *pair): rate for cycle, table in rates.items() for pair, rate in table.items()},
        opened=_opened(services, manifest["opening"]) if manifest["opening"] else None,
        adjustments=[
            Approved(id_, agreement, cycle, Decimal(amount), *rest)
            for id_, agreement, cycle, amount, *rest in manifest["adjustments"]
        ],
        closed=[Closed(*named) for *named, _ in manifest["closed"]],
        links=[LinkedByHand(*linked) for *linked, _ in manifest["links"]],
    )


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)


def _opened(services: Services, digest: str) -> Opened:
    from shared.settlement.share import Opened, ScaleTotal

    document = state.document(services, digest)
    totals = [
        ScaleTotal(one["agreement"], one["scale"], one["customer"], one["product"], Decimal(one["amount"]))
        for one in document["scale_totals"]
    ]
    past = document["past_charges"]
    return Opened(document["as_of"], totals, _past_charges(services, past["digest"]) if past else ())


def _past_charges(services: Services, digest: str) -> list[PastCharge]:
    """The charges of a file that was checked when it was proposed."""
    from shared.settlement.share import PastCharge

    body = state.kept(services, services.buckets.records, state.past_charges_key(digest))
    rows = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    return [
        PastCharge(
            cells["id"],
            date.fromisoformat(cells["date"]),
            cells["account"],
            cells["customer"] or None,
            cells["product_code"] or None,
            cells["commodity_code"] or None,
            cells["billing_item_code"] or None,
            cells["instance_id"] or None,
            cells["subscription_type"] or None,
            cells["currency"],
            Decimal(cells["pretax"]),
            Decimal(cells["left"]),
            cells["agreement"],
            int(cells["version"]),
            cells["rule"],
            Decimal(cells["earned"]),
        )
        for cells in ({name: text.strip() for name, text in row.items()} for row in rows)
    ]


def documents_of(manifest: Mapping[str, Any]) -> list[str]:
    """The digests of the documents that a manifest names, each once."""
    named = [one[-1] for name in _TERMS for one in manifest[name]]
    named += [one[name] for one in (manifest, *manifest["earlier"].values()) for name in ("rates", "figures")]
    return [one for one in dict.fromkeys([*named, manifest["opening"]]) if one]


def part_keys(manifest: Mapping[str, Any], cycle: str = "") -> list[tuple[str, str]]:
    """The day parts that a manifest names of its cycle, or of an earlier one: (object in bucket work, digest)."""
    cycle = cycle or manifest["cycle"]
    bills = manifest["bills"] if cycle == manifest["cycle"] else manifest["earlier"][cycle]["bills"]
    return [
        (part_key(payer, cycle, day, digest), digest) for payer, parts in bills.items() for day, digest in parts.items()
    ]


def counting(services: Services, owner: str, cycle: str) -> Kept:
    """The settlement of a share that counts: the locked one, else the newest, else the newest draft."""
    found = find_counting(services, owner, cycle)
    if found is None:
        remedy = f"see what there is with `clearbook settlements --cycle {cycle}` and `clearbook bill show`"
        raise BadInputError(f"{owner} {cycle}", "is not settled, and there is no draft of it", remedy)
    return found


def find_counting(services: Services, owner: str, cycle: str) -> Kept | None:
    """As `counting`, or None."""
    month = months.months(services.chain.read(months.stream_of(owner, cycle))).get(cycle)
    if month is not None and month.settlement is not None:
        return Kept(cycle, owner, month.settlement)
    drafts = list(services.buckets.work.keys(drafts_prefix(cycle, owner)))
    if not drafts:
        return None
    return Kept(cycle, owner, json.loads(services.buckets.work.get(drafts[-1]))["settlement"], True)


def drafts_prefix(cycle: str, owner: str) -> str:
    """Where the drafts of a share lie (bucket work), one a day."""
    return f"drafts/{cycle}/{owner}/"
