"""The commands by which people decide: clients of the portal, which shows what they propose and approve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.clearbook import remote
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.control.months import INVOICE, LOCK
from shared.errors import BadInputError, ClearbookError
from shared.payout.batch import PAYOUT
from shared.steps import state
from shared.steps.state import PARTY_DOCUMENT

_TOLD = ("shows", "waits_for", "seen")  # for people; the rest of a proposal is data


class NotAllProposedError(ClearbookError):
    """Some of what was asked for could not be proposed."""

    code = "not_all_proposed"


def propose_act(act: str, asked: Mapping[str, Any], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose an act of plain data."""
    found = remote.portal(home, by).propose(act, asked, why)
    say(found["proposals"], json_to, found["notes"])


def propose_any(
    act: str, given: Sequence[str], file: Path | None, by: str, why: str, home: Path | None, json_to: str | None
) -> None:
    """Propose an act of NAME=VALUE; `true` and `false` are no texts."""
    asked: dict[str, Any] = document(file) if file is not None else {}
    for one in given:
        name, sign, value = one.partition("=")
        if not name or not sign:
            raise BadInputError("argument", f"is {one!r}", "write it as NAME=VALUE")
        asked[name] = value == "true" if value in ("true", "false") else value
    propose_act(act, asked, by, why, home, json_to)


def propose_file(
    act: str, file: Path, by: str, why: str, home: Path | None, json_to: str | None, **more: Any
) -> None:  # fmt: skip
    """Propose what a file says."""
    propose_act(act, {**document(file), **more}, by, why, home, json_to)


def document(file: Path) -> dict[str, str]:
    """A file as it is sent: its name for messages, and its text."""
    try:
        return {"name": str(file), "text": file.read_bytes().decode()}
    except UnicodeDecodeError as exc:
        raise BadInputError(str(file), f"byte {exc.start} is not UTF-8", "save the file as UTF-8") from exc


def propose_parties(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a party document."""
    propose_file(PARTY_DOCUMENT, file, by, why, home, json_to)


def propose_locks(cycle: str, resellers: list[str], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a lock for each reseller."""
    portal = remote.portal(home, by)
    proposals, problems = [], []
    for one in resellers or sorted(state.parties(services(home))[0].resellers):
        try:
            proposals += portal.propose(LOCK, {"cycle": cycle, "reseller": one}, why)["proposals"]
        except remote.RefusedError as exc:
            problems.append(str(exc))
    say(proposals, json_to, [f"not proposed: {problem}" for problem in problems])
    if problems:
        raise NotAllProposedError(f"{len(problems)} of {len(problems) + len(proposals)} could not be proposed")


def propose_payouts(cycle: str, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose what is due."""
    propose_act(PAYOUT, {"cycle": cycle}, by, why, home, json_to)


def propose_invoice(asked: Mapping[str, str], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose to enter an invoice."""
    propose_act(INVOICE, asked, by, why, home, json_to)


def approve(names: list[str], by: str, home: Path | None, json_to: str | None) -> None:
    """Approve proposals by name; NAME@SEEN only while it looks as it was shown."""
    portal = remote.portal(home, by)
    done: list[dict[str, Any]] = []
    try:
        for name in names:
            one = portal.approve(*name.split("@", 1))
            done.append(one)
            if json_to != "-":
                print(f"approved {one['proposal']} ({one['act']}, proposed by {one['by']})")
                if one["missing"]:
                    print(f"  not in force yet: it waits for {', '.join(one['missing'])}")
                for order in one["orders"]:
                    print(f"  ordered {order}")
    finally:
        if json_to is not None:
            write_json(done, json_to)


def reject(name: str, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Reject a proposal, or withdraw one's own."""
    one = remote.portal(home, by).post("/v1/proposals/reject", {"name": name, "why": why})
    if json_to is not None:
        write_json(one, json_to)
    if json_to != "-":
        print(f"rejected {one['proposal']} ({one['act']}, proposed by {one['by']}): {why}")


def show_proposals(by: str, home: Path | None, json_to: str | None) -> None:
    """List what waits."""
    found = remote.portal(home, by).get("/v1/proposals")["proposals"]
    if json_to is not None:
        write_json([_as_json(one) for one in found], json_to)
    if json_to == "-":
        return
    for one in found:
        print(f"{one['proposal']}: {one['act']} by {one['by']} at {one['at']} {one['why']}".rstrip())
        for line in one["shows"]:
            print(f"  {line}")
        print(f"  waits for {', '.join(one['waits_for'])}; as it is shown: clearbook approve {_as_seen(one)}")
    if not found:
        print("nothing waits for an approval")


def show_me(by: str, home: Path | None, json_to: str | None) -> None:
    """Say who is signed in, and what they may."""
    me = remote.portal(home, by).get("/v1/me")
    if json_to is not None:
        write_json(me, json_to)
    if json_to == "-":
        return
    print(f"{me['user']}: {me['name']}, {me['role']}: {me['says']}")
    for doing, acts in me["may"].items():
        print(f"  may {doing}: {', '.join(acts) or 'nothing'}")


def say(proposals: Sequence[Mapping[str, Any]], json_to: str | None, notes: Sequence[str] = ()) -> None:
    """Print what was proposed and how it is approved."""
    if json_to is not None:
        write_json({"proposals": [_as_json(one) for one in proposals], "notes": list(notes)}, json_to)
    if json_to == "-":
        return
    for one in proposals:
        print(f"proposed {one['proposal']} by {one['by']}; someone else approves it: clearbook approve {_as_seen(one)}")
        for line in one["shows"]:
            print(f"  {line}")
    for note in notes:
        print(note)
    if not proposals and not notes:
        print("nothing is due")


def _as_seen(proposal: Mapping[str, Any]) -> str:
    """What approves it as it is shown here, and not what it may have become since."""
    return f"{proposal['proposal']}@{proposal['seen']}"


def _as_json(proposal: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in proposal.items() if name not in _TOLD}
