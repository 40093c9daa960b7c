"""Reference data as people look at it: what a proposal changes, what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from shared.control.approvals import Proposal
from shared.money import text
from shared.services import Services
from shared.steps import state

Table = Mapping[tuple[str, str], Decimal]


def changed_tables(work: Services, proposal: Proposal) -> list[str]:
    """What proposed exchange rates or figures change against those in force, cycle by cycle."""
    in_force = state.tables(work.chain.read(state.CONFIG), proposal.act)
    read, between = (state.figures, ", ") if proposal.act == state.FIGURES else (state.fx_rates, " to ")
    lines = []
    for cycle, digest in sorted(proposal.body["tables"].items()):
        is_locked = " (locked: what it settled is adjusted)" if cycle in proposal.body["backdates"] else ""
        before = read(work, in_force[cycle]) if cycle in in_force else {}
        lines += [f"{cycle}{is_locked}", *_differences(before, read(work, digest), between)]
    return lines


def _differences(before: Table, after: Table, between: str) -> Iterator[str]:
    for pair in sorted(before.keys() | after.keys()):
        old, new = before.get(pair), after.get(pair)
        if old == new:
            continue
        was, now = ("none" if one is None else text(one) for one in (old, new))
        yield f"  {between.join(pair)}: {was} -> {now}"
