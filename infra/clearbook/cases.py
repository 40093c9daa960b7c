"""The commands about cases: list them, show one, comment, decide about many at once, and what a proposal would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.clearbook.context import now, services
from infra.clearbook.decisions import propose_act
from infra.clearbook.main import write_json
from shared.services import Services
from shared.steps import caselist


def cases_of(work: Services, cycle: str) -> list[dict[str, Any]]:
    """The open cases of a cycle; `reseller` is None for lines that no reseller owns."""
    return [caselist.as_json(one) for one in caselist.listed(work, cycle) if one.is_open]


def show_cases(cycle: str, which: Mapping[str, str | None], home: Path | None, json_to: str | None) -> None:
    """Print the cases of a cycle: the open ones, or those of a state."""
    work, at = services(home), now(home)
    given = {"kind": which["kind"], "reseller": which["reseller"], "in_state": which["state"]}
    found = [
        caselist.as_json(one, lambda since: (at - datetime.fromisoformat(since)).days)
        for one in caselist.listed(work, cycle, **given)
        if one.is_open or which["state"] is not None
    ]
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        print("\n".join(case_list(found, f"{(which['state'] or 'open').capitalize()} cases {cycle}")))


def case_list(found: Sequence[Mapping[str, Any]], title: str) -> list[str]:
    """The cases in lines of text, with their whole ids, as the other commands ask for them."""
    told = [f"{title}: {len(found) or 'none'}"]
    for one in found:
        age = f", {one['age_days']} days" if one.get("age_days") else ""
        told.append(f"{one['id']}, {one['reseller'] or 'nobody yet'}: {one['state']}{age}")
        told.append(f"  {one['problem']}; {_held(one)}")
        told += [f"  {one['remedy']}; actions: {', '.join(one['actions'])}"] if one["actions"] else []
    return told


def show_case(id_: str, home: Path | None, json_to: str | None) -> None:
    """Print all that is known of a case."""
    found = caselist.shown(services(home), id_)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        print("\n".join(case_text(found)))


def case_text(found: Mapping[str, Any]) -> list[str]:
    """A case in lines of text."""
    told = [f"{found['id']}, {found['reseller'] or 'nobody yet'}: {found['state']}"]
    told.append(f"  {found['problem']}; {_held(found)}")
    told += [f"  since {found['since']}"] if found["since"] else []
    told += [f"  settled by {found['closed_by'][:12]}"] if found["closed_by"] else []
    if found["actions"]:
        told.append(f"  {found['remedy']}; actions: {', '.join(found['actions'])}")
    if disputed := found.get("disputed"):
        told.append(f"  disputed by {disputed['by']} at {disputed['at']}: {disputed['text']}")
        told += [f"    {line}" for line in disputed.get("lines", ())]
    if found["line_ids"]:
        told.append(f"  lines, the first {len(found['line_ids'])}:")
    told += [f"    {line}" for line in found["line_ids"]]
    for one in found["decisions"]:
        by = f", {one['state']} by {one['ended_by']}" if one["ended_by"] else ", waits"
        told.append(f"  {one['proposal']}: {one['action']} proposed by {one['by']}{by}: {one['because']}")
    told += [f"  {one['at']} {one['by']}: {one['text']}" for one in found["comments"]]
    return told


def _held(one: Mapping[str, Any]) -> str:
    lines = f"{one['lines']:,} line{'' if one['lines'] == 1 else 's'}"
    return f"{lines}, {one['amount']} {one['currency']}".strip()


def propose(act: str, asked: Mapping[str, Any], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose, or note, what is asked; empty options are left out."""
    given = {name: value for name, value in asked.items() if value not in (None, [], False)}
    propose_act(act, given, by, why, home, json_to)


def comment(
    case: str, text: str, reseller: str | None, by: str, home: Path | None, json_to: str | None
) -> None:  # fmt: skip
    """Leave a comment where its case is; whose that is is looked up where nobody says it."""
    owner = reseller or caselist.shown(services(home), case)["reseller"]
    propose("comment", {"case": case, "text": text, "reseller": owner}, by, "", home, json_to)


def show_effect(proposal: str, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print what settlements would come to with a proposal approved."""
    from shared.steps.effects import as_json, effects, words

    work = services(home)
    found = list(effects(work, proposal, cycle))
    if json_to is not None:
        write_json([as_json(one) for one in found], json_to)
    if json_to != "-":
        print("\n".join(line for one in found for line in words(one)) or "no settlement would be another")
