"""Reference data as people look at it: what a proposal changes, what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from shared.control.approvals import Proposal
from shared.money import text
from shared.services import Services
from shared.steps import state

Rates = Mapping[tuple[str, str], Decimal]


def changed_rates(work: Services, proposal: Proposal) -> list[str]:
    """What proposed exchange rates change against those in force, cycle by cycle."""
    in_force = state.fx_tables(work.chain.read(state.CONFIG))
    lines = []
    for cycle, digest in sorted(proposal.body["tables"].items()):
        is_locked = " (locked: what it settled is adjusted)" if cycle in proposal.body["backdates"] else ""
        before = state.fx_rates(work, in_force[cycle]) if cycle in in_force else {}
        lines += [f"{cycle}{is_locked}", *_differences(before, state.fx_rates(work, digest))]
    return lines


def _differences(before: Rates, after: Rates) -> Iterator[str]:
    for pair in sorted(before.keys() | after.keys()):
        old, new = before.get(pair), after.get(pair)
        if old == new:
            continue
        was, now = ("none" if one is None else text(one) for one in (old, new))
        yield f"  {pair[0]} to {pair[1]}: {was} -> {now}"
