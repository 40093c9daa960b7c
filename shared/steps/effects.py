"""What a proposal would do: the settlements of open months as if it were approved, beside what they come to now.

The chain is read with one entry more, which nobody writes; what an order then calls for is settled, and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.chain.chain import Chain, head_of
from shared.chain.entry import Draft, Entry
from shared.control import approvals, months
from shared.control.approvals import APPROVED, NoSuchProposalError, Proposal
from shared.cycle import Cycle
from shared.ids import digest_of
from shared.money import EXACT, text
from shared.parties.parties import OPERATOR, NoPartiesError
from shared.ports import Rows
from shared.services import Services
from shared.steps import inputs, looking_back, results, state
from shared.steps.decide import parsed
from shared.steps.inputs import Kept
from shared.steps.route_settlements import Order, bills, order_of, sealed
from shared.steps.settle import manifest_for


@dataclass(frozen=True, slots=True)
class Change:
    """What something comes to now, and would come to."""

    name: str
    currency: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Effect:
    """A share's month that would be another."""

    owner: str
    cycle: str
    statements: Sequence[Change]  # totals, by agreement
    held: Sequence[Change]  # what cases hold, by kind


class _AsIf(Chain):
    """The chain with a proposal approved; nothing is appended to it."""

    def __init__(self, rows: Rows, proposal: Proposal) -> None:
        super().__init__(rows)
        self._proposal = proposal

    def read(self, stream: str) -> list[Entry]:
        entries, one = super().read(stream), self._proposal
        if stream != one.stream:
            return entries
        body = {"proposal": one.seq, "act": one.act, "what": dict(one.body)}
        return [*entries, Entry.place(Draft(APPROVED, "as if", one.at, body), stream, head_of(entries))]


def effects(services: Services, name: str, cycle: str | None = None) -> Iterator[Effect]:
    """What a proposal that waits would change, month by month: of all that are open, or of one."""
    stream, seq = parsed(name)
    proposal = next((one for one in approvals.waiting(services.chain.read(stream)) if one.seq == seq), None)
    if proposal is None:
        raise NoSuchProposalError(stream, seq)
    cycles = sorted(sealed(services)) if cycle is None else [str(Cycle.parse(cycle))]
    as_if = replace(services, chain=_AsIf(services.rows, proposal))
    for one in cycles:
        for owner in _owners(as_if, proposal):
            month = months.months(services.chain.read(months.stream_of(owner, one))).get(one)
            if month is None or month.locked is None:
                found = _effect(services, as_if, one, owner)
                if found is not None:
                    yield found


def _owners(services: Services, proposal: Proposal) -> list[str]:
    """Whose settlements may read what is proposed."""
    kind, _, name = proposal.stream.partition("/")
    if kind == "reseller":
        return [name]
    if kind == "cycle":
        return [OPERATOR]
    parties, _ = state.parties(services)
    return [*sorted(parties.resellers), OPERATOR]


def _effect(services: Services, as_if: Services, cycle: str, owner: str) -> Effect | None:
    now, then = _order(services, cycle, owner), _order(as_if, cycle, owner)
    if then is None or then == now:
        return None
    before: Mapping[str, Any] = {} if now is None else _summary(services, now)
    after = _summary(as_if, then)
    return Effect(owner, cycle, _totals(before, after), _held(before, after))


def _order(services: Services, cycle: str, owner: str) -> Order | None:
    try:
        parties, entries = state.parties(services)
    except NoPartiesError:
        return None
    return order_of(services, parties, entries, bills(services, parties, cycle), cycle, owner)


def _summary(services: Services, order: Order) -> Mapping[str, Any]:
    """What an order comes to; as it is kept where it was settled."""
    manifest = manifest_for(services, order)
    settlement = digest_of(manifest)
    kept = Kept(order.cycle, order.owner, settlement)
    if services.buckets.work.exists(kept.folder + "manifest.json"):
        return kept.summary(services)
    read = {**inputs.parse_manifest(b"{}"), **manifest}
    share = inputs.share_of(services, read)
    share = looking_back.look_back(services, read, share, services.memory_mb)
    with TemporaryDirectory(dir=services.scratch) as scratch:
        settled = results.compute(services, read, share, Path(scratch), services.memory_mb)
    return results.summary_of(share, settled, settlement)


def _totals(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    sides = [{(one["agreement"], one["currency"]): one["total"] for one in each.get("statements", ())}
             for each in (before, after)]  # fmt: skip
    return _paired(sides[0], sides[1])


def _held(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What cases hold, by kind, those alone in which it differs."""
    sides: list[dict[tuple[str, str], str]] = [{}, {}]
    for side, each in zip(sides, (before, after), strict=True):
        for one in each.get("held", ()):
            key = (one["kind"], one["currency"])
            side[key] = text(EXACT.add(Decimal(side.get(key, "0")), Decimal(one["amount"])))
    return [one for one in _paired(*sides) if one.before != one.after]


def _paired(before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str]) -> list[Change]:
    return [
        Change(*key, Decimal(before.get(key, "0")), Decimal(after.get(key, "0"))) for key in sorted({*before, *after})
    ]


def words(one: Effect) -> Iterator[str]:
    """An effect in lines of text."""
    yield f"{one.owner} {one.cycle}"
    for what, changes in (("total", one.statements), ("in cases", one.held)):
        for change in changes:
            more = text(EXACT.subtract(change.after, change.before))
            yield f"  {change.name}, {what}: {change.before} -> {change.after} {change.currency} ({more})"


def as_json(one: Effect) -> dict[str, Any]:
    """An effect as plain data, amounts as text."""
    changes = {
        name: [
            {"name": change.name, "currency": change.currency, "before": str(change.before), "after": str(change.after)}
            for change in found
        ]
        for name, found in (("statements", one.statements), ("held", one.held))
    }
    return {"owner": one.owner, "cycle": one.cycle, **changes}
