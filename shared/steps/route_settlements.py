"""Route a seal: one settle order for each share that is due, a draft a day while the month runs, then the final.

An order names everything the settlement will read, so the same inputs make the same order, and the orders of two
accounts sealed at the same moment are one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from shared.bill.pulls import is_final, slot_day
from shared.bill.snapshot import FINAL, Seal, stream_of
from shared.bill.snapshot import seals as seals_of
from shared.chain.chain import RememberingChain, head_of
from shared.chain.entry import Entry, Head
from shared.control import months, resolving
from shared.cycle import LOOK_BACK, Cycle, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.parties.parties import OPERATOR, Parties
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import state

DRAFT = "draft"
_SEAL_KEY = re.compile(r"seals/(\d+)/(20\d\d-\d\d)/(\d{6})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """What a settlement is to read: the seal of each account, the parties, the share's own stream."""

    cycle: str
    owner: str
    status: str  # draft or final
    day: str  # of a draft: at most one a day
    seals: Mapping[str, int]  # payer account -> seq
    parties: str  # digest of the party document in force
    agreements: tuple[str, ...]  # digests of the agreement versions begun
    catalogue: str = ""  # digest of the catalogue that the operator's final share is checked against; "": there is none
    others: tuple[str, ...] = ()  # digests of the versions of other resellers that hold its accounts on other days
    rates: str = ""  # digest of the cycle's exchange rates, where the bill needs them
    figures: str = ""  # digest of the cycle's figures, where an agreement has gates
    opening: str = ""  # digest of the reseller's opening, where it says what scales came to before
    earlier: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by cycle: as `_earlier` says
    adjustments: tuple[int, ...] = ()  # the proposals, by their seq, of approved adjustments that it posts
    decided: tuple[int, ...] = ()  # and of decisions about cases of the cycle
    links: tuple[str, ...] = ()  # the names of decisions that link refunds to charges, up to the cycle

    @property
    def body(self) -> bytes:
        """The order object."""
        return canonical_json(
            {
                "cycle": self.cycle,
                "owner": self.owner,
                "status": self.status,
                "day": self.day,
                "seals": dict(self.seals),
                "parties": self.parties,
                "agreements": list(self.agreements),
                **({"catalogue": self.catalogue} if self.catalogue else {}),
                **({"others": list(self.others)} if self.others else {}),
                **({"rates": self.rates} if self.rates else {}),
                **({"figures": self.figures} if self.figures else {}),
                **({"opening": self.opening} if self.opening else {}),
                **({"earlier": dict(self.earlier)} if self.earlier else {}),
                **({"adjustments": list(self.adjustments)} if self.adjustments else {}),
                **({"decided": list(self.decided)} if self.decided else {}),
                **({"links": list(self.links)} if self.links else {}),
            }
        )

    @property
    def key(self) -> str:
        """Its object (bucket work), named by its inputs."""
        name = FINAL if self.status == FINAL else f"{DRAFT}-{self.day}"
        return f"work/settle/{self.cycle}/{self.owner}/{name}-{digest(self.body)[:24]}.json"


@dataclass(frozen=True, slots=True)
class Bills:
    """Where a cycle stands: each payer's newest seal, the accounts and currencies of its bill, the streams' heads."""

    seals: Mapping[str, Seal]
    accounts: Mapping[str, set[str]]
    heads: Mapping[str, Head]
    currencies: Mapping[str, set[str]]
    missing: tuple[str, ...]  # payers without a seal
    before: Mapping[str, Mapping[str, int]]  # earlier cycle that may be looked back to -> payer -> newest seal


def route_settlements(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Write the settle orders that a seal calls for."""
    match = _SEAL_KEY.fullmatch(event.key)
    if match is None:
        raise BadInputError(f"object {event.key}", "is no seal", "expected seals/<account>/<cycle>/<seq>.json")
    account, cycle, _ = match.groups()
    # This step changes no stream: each is read once, after its seal was written, so the last seal sees them all.
    services = replace(services, chain=RememberingChain(services.rows))
    parties, _ = state.parties(services)
    now = bills(services, parties, cycle)
    seal = now.seals.get(account)
    if seal is None:
        problem = f"stands for no seal in {stream_of(account, cycle)}"
        raise BadInputError(f"object {event.key}", problem, "seals are written by ingest_bill alone")
    # Every share of the cycle, not only those in this seal: the last seal of a round completes the others' inputs.
    # And those of the later cycles that look back to this one.
    written = []
    for one in (cycle, *later_cycles(services, cycle)):
        written += order_shares(services, one, {*parties.resellers, OPERATOR}, once_a_day=True)
    outcome = {"seal": event.key, "orders": written}
    services.record("route_settlements", event.key, stamp(event.at), json.dumps(outcome))
    return outcome


def sealed(services: Services) -> dict[str, dict[str, int]]:
    """The cycles that have a sealed bill, each with the newest seal of every payer; as their objects tell."""
    found: dict[str, dict[str, int]] = {}
    for key in services.buckets.work.keys("seals/"):
        match = _SEAL_KEY.fullmatch(key)
        if match:
            payer, cycle, seq = match.groups()
            of_cycle = found.setdefault(cycle, {})
            of_cycle[payer] = max(int(seq), of_cycle.get(payer, 0))
    return found


def later_cycles(services: Services, cycle: str) -> list[str]:
    """The sealed cycles that look back to this one."""
    last = str(Cycle.parse(cycle).plus(LOOK_BACK))
    return sorted(one for one in sealed(services) if cycle < one <= last)


def order_shares(services: Services, cycle: str, owners: set[str], *, once_a_day: bool) -> list[str]:
    """Write the orders of these shares from what is sealed and in force now; the keys of new ones."""
    parties, entries = state.parties(services)
    now = bills(services, parties, cycle)
    orders = [order_of(services, parties, entries, now, cycle, owner) for owner in sorted(owners)]
    # Listed once for all shares; whoever writes the same order meanwhile writes the same bytes.
    there = set(services.buckets.work.keys(f"work/settle/{cycle}/")) if any(orders) else set()
    written = []
    for order in filter(None, orders):
        of_the_day = f"work/settle/{cycle}/{order.owner}/{DRAFT}-{order.day}-"
        if order.status == DRAFT and once_a_day and any(key.startswith(of_the_day) for key in there):
            continue
        if order.key not in there and services.buckets.work.put_once(order.key, order.body):
            written.append(order.key)
        elif order.status == FINAL and _is_displaced(services, order):
            # The inputs are again what they were once before: the order is there, and wakes nobody by itself.
            services.buckets.work.put_again(order.key, order.body)
            written.append(order.key)
    return written


def _is_displaced(services: Services, order: Order) -> bool:
    """Whether the newest settlement of the share is another order's; while there is none, this one is on its way."""
    month = months.months(services.chain.read(months.stream_of(order.owner, order.cycle))).get(order.cycle)
    if month is None or month.calculated is None:
        return False
    newest = [month.calculated, *month.late][-1]
    return bool(newest.body["order"] != order.key)


def bills(
    services: Services, parties: Parties, cycle: str, there: Mapping[str, Mapping[str, int]] | None = None
) -> Bills:
    """Where the bills of a cycle stand now; `there` is what is `sealed`, where that is known already."""
    found: dict[str, Seal] = {}
    accounts: dict[str, set[str]] = {}
    heads: dict[str, Head] = {}
    currencies: dict[str, set[str]] = {}
    for payer in parties.connectors:
        entries = services.chain.read(stream_of(payer, cycle))
        seals = seals_of(entries)
        if seals:
            found[payer] = seals[-1]
            snapshot = state.snapshot(services, payer, cycle, seals[-1].snapshot)
            accounts[payer], currencies[payer] = snapshot.accounts, set(snapshot.totals)
            heads[stream_of(payer, cycle)] = head_of(entries)
    missing = [
        payer
        for payer, connector in parties.connectors.items()
        if payer not in found and connector.since <= Cycle.parse(cycle).last
    ]
    first = str(Cycle.parse(cycle).plus(-LOOK_BACK))
    before = {
        one: {payer: seq for payer, seq in sorted(of.items()) if payer in parties.connectors}
        for one, of in sorted((sealed(services) if there is None else there).items())
        if first <= one < cycle
    }
    return Bills(found, accounts, heads, currencies, tuple(missing), before)


def order_of(
    services: Services, parties: Parties, party_entries: list[Entry], now: Bills, cycle: str, owner: str
) -> Order | None:
    """The order a share is due, or None: a final once every payer that holds or may hold one of its accounts is
    sealed final and the month before is locked; until then a draft once the day's rounds are all sealed."""
    entries = services.chain.read(months.stream_of(owner, cycle))
    earlier = _earlier(services, now, entries, cycle)
    held = _holding(parties, now, (cycle, *earlier), owner)
    adjustments = tuple(resolving.due_adjustments(entries, cycle))
    is_known = cycle in months.months(entries) or any("locked" in one for one in earlier.values())
    if not held and (is_known or adjustments):
        held = sorted(now.seals)  # it has lost its last account, or is adjusted by hand: settled, and without lines
    if not held:
        return None
    is_due = not now.missing and all(now.seals[payer].status == FINAL for payer in held)
    if is_due and owner != OPERATOR and _waits(services, parties, entries, now, cycle, owner):
        is_due = False
    rounds = {slot_day(seal.slot) for seal in now.seals.values()}
    if not is_due and (now.missing or len(rounds) > 1 or any(is_final(seal.slot) for seal in now.seals.values())):
        return None  # the day's other rounds are still to come; the last of them orders the draft
    if not is_due:
        # A draft looks at locked months alone: what is sealed of others in the same hour differs from run to run.
        earlier = {one: what for one, what in earlier.items() if "locked" in what}
    found = [] if owner == OPERATOR else state.agreements(services, entries, Cycle.parse(cycle))
    others = state.neighbours(services, parties, owner, [Cycle.parse(one) for one in (*earlier, cycle)])
    billed = set().union(*(now.currencies[payer] for payer in held))
    config = services.chain.read(state.CONFIG)
    return Order(
        cycle,
        owner,
        FINAL if is_due else DRAFT,
        "" if is_due else max(rounds).isoformat(),
        {payer: now.seals[payer].seq for payer in held},
        state.party_digest(party_entries),
        tuple(one.digest for one in found),
        state.catalogue_digest(config) if is_due and owner == OPERATOR else "",
        tuple(one.digest for one in others),
        state.fx_tables(config).get(cycle, "") if any(billed - {one.currency} for one in found) else "",
        state.tables(config, state.FIGURES).get(cycle, "") if any(one.has_gates for one in found) else "",
        "" if owner == OPERATOR else state.opening_digest(services, entries, cycle),
        earlier,
        adjustments,
        tuple(resolving.read_by_settlements(entries).get(cycle, ())),
        tuple(_links(services, parties, entries, [*earlier, cycle], owner)),
    )


def _links(services: Services, parties: Parties, entries: list[Entry], cycles: list[str], owner: str) -> list[str]:
    """The decisions that link refunds: the share's own, and those of others about accounts that it holds too. What is
    locked reads those of earlier cycles that it was settled with."""
    *_, cycle = cycles
    first, known = str(Cycle.parse(cycle).plus(-2 * LOOK_BACK)), [Cycle.parse(one) for one in cycles]
    found = resolving.links(entries)
    for one in sorted(parties.neighbours(owner, known)):
        theirs = resolving.links(services.chain.read(months.stream_of(one, cycle)))
        found += [link for link in theirs if parties.shares(owner, link.what["account"], known)]
    own = months.months(entries).get(cycle)
    if own is not None and own.locked is not None and own.calculated is not None:
        had = own.calculated.body.get("links", ())
        found = [one for one in found if one.name in had or one.what["cycle"] == cycle]
    return sorted(one.name for one in found if first <= one.what["cycle"] <= cycle)


def _earlier(services: Services, now: Bills, entries: list[Entry], cycle: str) -> Mapping[str, Mapping[str, Any]]:
    """The cycles that a share may look back to: the newest seal of each payer, the tables in force, what was decided
    about cases, and the settlement that is locked, if one is. What is locked keeps looking at what it looked at when it
    was settled."""
    known = months.months(entries)
    own = known.get(cycle)
    if own is not None and own.locked is not None and own.calculated is not None:
        return dict(own.calculated.body.get("earlier", {}))
    since = months.since(entries)
    config = services.chain.read(state.CONFIG) if now.before else []
    tables = {"rates": state.fx_tables(config), "figures": state.tables(config, state.FIGURES)}
    decided = resolving.read_by_settlements(entries)
    found: dict[str, Mapping[str, Any]] = {}
    for one, seals in now.before.items():
        if one >= since:
            locked = known[one].locked if one in known else None
            named: dict[str, Any] = {name: table[one] for name, table in tables.items() if one in table}
            if one in decided:
                named["decided"] = decided[one]
            found[one] = {"seals": seals, **named, **({"locked": locked["settlement"]} if locked is not None else {})}
    return found


def _holding(parties: Parties, now: Bills, cycles: Iterable[str], owner: str) -> list[str]:
    """The payers whose bill holds a line of an account that is the share's in one of the cycles."""
    if owner == OPERATOR:
        return sorted(now.seals)
    held = (one for cycle in cycles for one in parties.in_cycle(Cycle.parse(cycle)))
    mine = {one.account for one in held if one.reseller == owner}
    return sorted(payer for payer, accounts in now.accounts.items() if accounts & mine)


def _waits(services: Services, parties: Parties, entries: list[Entry], now: Bills, cycle: str, owner: str) -> bool:
    """Cycles of a reseller are locked in order: all that were calculated before, and all whose bills are its."""
    if months.unlocked_before(entries, cycle):
        return True
    known, since = months.months(entries), months.since(entries)
    before = [one for one in now.before if one >= since]
    begins = min((str(Cycle.of(one.begins)) for one in parties.assignments if one.reseller == owner), default=cycle)
    for place, one in enumerate(before):
        if one not in known and one >= begins:
            cycles = before[: place + 1]
            if _holding(parties, bills(services, parties, one, {}), cycles, owner):
                return True
    return False


def parse_order(body: bytes, key: str) -> Order:
    """The order of an object; refused when its name does not follow from its content."""
    try:
        data = json.loads(body)
        lists = ("agreements", "others", "adjustments", "decided", "links")
        order = Order(**{**data, **{name: tuple(data.get(name, ())) for name in lists}})
        if order.key != key:
            raise ValueError(f"its content belongs under {order.key}")
        date.fromisoformat(order.day or "2000-01-01")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise BadInputError(f"order {key}", f"is no settle order ({exc})", "let a seal or a decision write it") from exc
    return order
