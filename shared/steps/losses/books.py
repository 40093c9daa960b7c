"""What there is to look at: the streams of the resellers and the listings, read once, and the cycles that matter.

The current and the previous cycle always matter. An older one does while something of it is open: a round, a month
that is not locked, a lock that is not published, a batch that is not paid or not answered, inputs newer than what
was settled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from os.path import commonprefix

from shared.bill.pulls import Pull, from_order_key, is_round
from shared.bill.snapshot import stream_of as bill_stream
from shared.chain.entry import Entry, Head
from shared.control import months
from shared.control.approvals import APPROVED
from shared.control.months import AGREEMENT, Month
from shared.cycle import Cycle, shanghai_day
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR, STREAM, Parties
from shared.payout.batch import PAYOUT
from shared.services import Services
from shared.steps import state
from shared.steps.losses.loss import Listing
from shared.steps.pay_resellers import PAID
from shared.steps.plan_pulls import AGAIN

_SEAL_KEY = re.compile(r"seals/(\d+)/(20\d\d-(?:0[1-9]|1[0-2]))/(\d{6})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Books:
    """Where everything stands when a sweep begins."""

    parties: Parties
    party_entries: list[Entry]
    streams: Mapping[str, list[Entry]]  # by reseller
    rounds: Mapping[tuple[str, str], Mapping[str, list[Pull]]]  # (payer account, cycle) -> slot -> ordered pulls
    ingested: frozenset[str]
    seals: Mapping[tuple[str, str], frozenset[str]]  # (payer account, cycle) -> objects
    recent: tuple[str, str]
    drafts: Listing  # of both recent cycles, and of those whose names begin alike
    again: frozenset[str] = frozenset()  # what steps asked for once more, and is not ordered yet
    catalogue: str = ""  # digest of the one in force, "" while there is none

    @property
    def cycles(self) -> list[str]:
        """Every cycle that anything is known of, oldest first."""
        known = (
            {cycle for _, cycle in (*self.rounds, *self.seals)}
            | {key.split("/")[3] for key in self.again if key.count("/") > 3}
            | set(self.recent)
        )
        return sorted(known.union(*(months.months(entries) for entries in self.streams.values())))

    @property
    def sealed(self) -> Mapping[str, Mapping[str, int]]:
        """The cycles that have a sealed bill, each with the newest seal of every payer; as their objects tell."""
        return {cycle: _newest_seals(self, cycle) for cycle in {cycle for _, cycle in self.seals}}


def open_books(services: Services, now: datetime) -> Books:
    """Read the streams and the listings; raises NoPartiesError."""
    parties, party_entries = state.parties(services)
    current = Cycle.of(shanghai_day(now))
    recent = (str(current.previous()), str(current))
    rounds: dict[tuple[str, str], dict[str, list[Pull]]] = {}
    seals: dict[tuple[str, str], set[str]] = {}
    work = services.buckets.work
    # Each listing once, and not once for each account; what is not of a payer in force is none of the sweep's.
    for pull in filter(None, map(_pull, work.keys("work/pull/"))):
        if pull.account in parties.connectors:
            rounds.setdefault((pull.account, str(pull.cycle)), {}).setdefault(pull.slot, []).append(pull)
    for key in work.keys("seals/"):
        match = _SEAL_KEY.fullmatch(key)
        if match and match[1] in parties.connectors:
            seals.setdefault((match[1], match[2]), set()).add(key)
    # Both recent cycles are always looked at: their streams lie next to each other, and the sweep's chain remembers.
    for account in parties.connectors:
        services.chain.read_all(bill_stream(account, cycle) for cycle in recent)
    return Books(
        parties,
        party_entries,
        {one: services.chain.read(months.stream_of(one, "")) for one in sorted(parties.resellers)},
        rounds,
        frozenset(work.keys("ingested/")),
        {name: frozenset(keys) for name, keys in seals.items()},
        recent,
        Listing(work, commonprefix([f"drafts/{cycle}/" for cycle in recent])),  # noqa: RUF071 - they are texts
        frozenset(work.keys(AGAIN)),
        state.catalogue_digest(services.chain.read(state.CONFIG)),
    )


def _pull(key: str) -> Pull | None:
    """The pull of an order; a stray object among them is none."""
    try:
        return from_order_key(key)
    except BadInputError:
        return None


def bill_matters(books: Books, account: str, cycle: str) -> bool:
    """Whether a round of the account's bill may be open."""
    if cycle in books.recent:
        return True
    rounds = books.rounds.get((account, cycle), {})
    if sum(map(is_round, rounds)) > len(books.seals.get((account, cycle), ())):
        return True
    if any(key.split("/")[2:4] == [account, cycle] for key in books.again):
        return True
    return any(pull.ingested_key not in books.ingested for pulls in rounds.values() for pull in pulls)


def shares_matter(books: Books, cycle: str, operator: list[Entry]) -> bool:
    """Whether something may be missing of the cycle's shares; `operator` is the cycle's own stream."""
    if cycle in books.recent or unpaid(operator, cycle):
        return True
    newest = _newest_seals(books, cycle)
    held = {one.reseller for one in books.parties.in_cycle(Cycle.parse(cycle))}
    for owner, entries in {**books.streams, OPERATOR: operator}.items():
        month = months.months(entries).get(cycle)
        if month is None or month.calculated is None:
            if newest and (owner == OPERATOR or owner in held):
                return True
        elif _is_open(month, owner) or _is_behind(books, month, entries, owner, newest):
            return True
    return False


def unpaid(entries: list[Entry], cycle: str) -> list[Entry]:
    """The approvals of a cycle's batches that have no payout file yet."""
    paid = {one.body["batch"] for one in entries if one.kind == PAID}
    approved = (one for one in entries if one.kind == APPROVED and one.body["act"] == PAYOUT)
    return [one for one in approved if one.body["what"]["cycle"] == cycle and one.body["what"]["batch"] not in paid]


def unanswered(month: Month) -> dict[str, Entry]:
    """The instructions that the bank has said nothing about."""
    return {name: entry for name, entry in month.instructed.items() if month.outcome(name) == months.INSTRUCTED}


def _newest_seals(books: Books, cycle: str) -> dict[str, int]:
    """The newest seal of each payer, as its objects tell."""
    return {
        account: max(int(key[-len("000001.json") : -len(".json")]) for key in keys)
        for (account, of), keys in books.seals.items()
        if of == cycle
    }


def _is_open(month: Month, owner: str) -> bool:
    if owner == OPERATOR:
        return False  # the operator's own share is never locked
    return month.locked is None or month.published is None or bool(unanswered(month))


def _is_behind(books: Books, month: Month, entries: list[Entry], owner: str, newest: Mapping[str, int]) -> bool:
    """Whether something that a settlement reads is newer than the newest one."""
    last = [one for one in (month.calculated, *month.late) if one is not None][-1]
    if owner == OPERATOR and any(last.body["seals"].get(payer, 0) < seq for payer, seq in newest.items()):
        return True  # the operator's share reads every payer's bill
    if owner == OPERATOR and last.body.get("catalogue", "") != books.catalogue:
        return True
    decided = [one.seq for one in books.party_entries if one.kind == APPROVED and one.stream == STREAM]
    if decided and decided[-1] > last.reads.get(STREAM, Head()).seq:
        return True
    return any(one.seq > last.seq for one in entries if one.kind == APPROVED and one.body["act"] == AGREEMENT)
