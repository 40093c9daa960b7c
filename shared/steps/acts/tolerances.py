"""Tolerances: how far figures of others may be from ours; approved like everything about money, a version at a time."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.documents import reading
from shared.errors import BadInputError
from shared.reconciliation.tolerance import tolerance_document
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows
from shared.steps.reconciling.gathering import TOLERANCE
from shared.steps.state import CONFIG


def propose_tolerance(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a version of a tolerance; it holds for every reconciliation from its approval on."""
    body = tolerance_document(data, name)
    version = {"tolerance": data["tolerance"], "version": data["version"], "ends": data.get("ends", False)}
    _refuse_old(services.chain.read(CONFIG), version, name)
    what = {"document": state.keep_document(services, body), **version}
    return approvals.propose(services.chain, CONFIG, TOLERANCE, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_tolerance(services, data, given["name"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse_old(entries, proposal.body, proposal.name)


def _refuse_old(entries: list[Entry], what: Mapping[str, Any], place: str) -> None:
    """A version is approved once, and in order."""
    name = what["tolerance"]
    known = [one["version"] for one in approvals.in_force(entries, TOLERANCE) if one["tolerance"] == name]
    if known and what["version"] <= known[-1]:
        problem = f"is version {what['version']} of {name!r}, and version {known[-1]} is in force"
        raise BadInputError(place, problem, f"number it {known[-1] + 1}")


def _show(services: Services, proposal: Proposal) -> list[str]:
    """What the version changes against the one in force."""
    mine = [
        one
        for one in approvals.in_force(services.chain.read(CONFIG), TOLERANCE)
        if one["tolerance"] == proposal.body["tolerance"]
    ]
    before = _lines_of(services, mine[-1]["document"]) if mine else []
    changed = difflib.unified_diff(
        before, _lines_of(services, proposal.body["document"]), "in force", "proposed", "", ""
    )
    return [line.rstrip() for line in changed]


def _lines_of(services: Services, document: str) -> list[str]:
    import yaml  # here: only who looks pays for it

    data = json.loads(services.buckets.records.get(state.document_key(document)))
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False).splitlines(keepends=True)


ACT = Act(TOLERANCE, _propose, _check, nothing_follows, _show)
