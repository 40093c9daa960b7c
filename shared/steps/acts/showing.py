"""What an approver is shown of documents and tables: what changes against what is in force."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal

from shared.control import approvals
from shared.control.approvals import Proposal
from shared.money import text
from shared.services import Services
from shared.steps import state

Table = Mapping[tuple[str, str], Decimal]


def document_difference(services: Services, proposal: Proposal) -> list[str]:
    """What a proposed document changes against the one in force, line by line."""
    in_force = list(approvals.in_force(services.chain.read(proposal.stream), proposal.act))
    same = [one for one in in_force if one.get("repair") == proposal.body.get("repair")]
    before = _lines_of(services, same[-1]["document"]) if same else []
    after = _lines_of(services, proposal.body["document"])
    changed = difflib.unified_diff(before, after, "in force", "proposed", "", "", 2)
    return [line.rstrip() for line in changed]


def _lines_of(services: Services, document: str) -> list[str]:
    import yaml  # here: only who looks pays for it

    data = json.loads(services.buckets.records.get(state.document_key(document)))
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False).splitlines(keepends=True)


def changed_tables(services: Services, proposal: Proposal) -> list[str]:
    """What proposed exchange rates or figures change against those in force, cycle by cycle."""
    in_force = state.tables(services.chain.read(state.CONFIG), proposal.act)
    read, between = (state.figures, ", ") if proposal.act == state.FIGURES else (state.fx_rates, " to ")
    lines = []
    for cycle, digest in sorted(proposal.body["tables"].items()):
        is_locked = " (locked: what it settled is adjusted)" if cycle in proposal.body["backdates"] else ""
        before = read(services, in_force[cycle]) if cycle in in_force else {}
        lines += [f"{cycle}{is_locked}", *_differences(before, read(services, digest), between)]
    return lines


def _differences(before: Table, after: Table, between: str) -> Iterator[str]:
    for pair in sorted(before.keys() | after.keys()):
        old, new = before.get(pair), after.get(pair)
        if old == new:
            continue
        was, now = ("none" if one is None else text(one) for one in (old, new))
        yield f"  {between.join(pair)}: {was} -> {now}"
