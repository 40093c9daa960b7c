"""The commands around payments: who is paid and how, where payments stand, and the bank's answers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.cycle import Cycle
from shared.errors import BadInputError, ClearbookError
from shared.ids import digest
from shared.money import text
from shared.parties.payees import PAYOUTS_ON
from shared.payout.answers import ANSWER_BYTES_MAX, parse_answers
from shared.payout.outcomes import Standing, status_of_payouts
from shared.services import Services
from shared.steps import state

LOOK_S = 0.2
_STEP = "confirm_payouts"


class NotTakenYetError(ClearbookError):
    """A file lies in the inbox, and nobody has said yet what became of it."""

    code = "not_taken_yet"
    retryable = True

    def __init__(self, key: str, waited_s: float) -> None:
        super().__init__(
            f"{key} lies in the inbox and was not taken within {waited_s:.0f} s; `clearbook payout status` says when "
            "it is, and the nightly sweep takes it at the latest"
        )


class AnswersRefusedError(ClearbookError):
    """Some of what a bank's file says was refused."""

    code = "answers_refused"


# -- where payments stand -----------------------------------------------------------------------------------------


def show_status(cycle: str, home: Path | None, json_to: str | None) -> None:
    """Show each payment of a cycle with what the bank said of it."""
    found = standings(services(home), cycle)
    rows = [as_json(reseller, one) for reseller, one in found]
    if json_to is not None:
        write_json({"cycle": cycle, "payouts": rows, "totals": totals(found)}, json_to)
    if json_to == "-":
        return
    from infra.clearbook.bills.shown import columns, plain_console, say, say_table

    console = plain_console()
    if not rows:
        say(console, f"nothing of {cycle} is instructed")
        return
    figures = ("amount", "confirmed", "came back", "open")
    table = columns("payment", *figures, "outcome", "bank's reference", right=figures)
    for row in rows:
        said = row["outcome"].replace("_", " ") + (", reopened" if row["reopened"] != "0" else "")
        amounts = (f"{row['instructed']} {row['currency']}", row["confirmed"], row["returned"], row["open"])
        table.add_row(row["instruction"], *amounts, said, " ".join((row["reference"], row["reason"])).strip())
    say_table(console, table)
    for currency, sums in totals(found).items():
        say(console, f"{currency}: " + ", ".join(f"{name} {value}" for name, value in sums.items()))


def standings(work: Services, cycle: str) -> list[tuple[str, Standing]]:
    """Each payment of a cycle, with its reseller."""
    Cycle.parse(cycle)
    parties, _ = state.parties(work)
    return [
        (reseller, one)
        for reseller in sorted(parties.resellers)
        for one in status_of_payouts(work.chain.read(f"reseller/{reseller}"))
        if one.cycle == cycle
    ]


def totals(found: list[tuple[str, Standing]]) -> dict[str, dict[str, str]]:
    """The sums of a cycle by currency: instructed = confirmed + returned + open."""
    from shared.money import total

    sums = {}
    for currency in sorted({one.currency for _, one in found}):
        mine = [one for _, one in found if one.currency == currency]
        names = ("instructed", "confirmed", "returned", "open", "reopened")
        sums[currency] = {name: text(total([getattr(one, name) for one in mine])) for name in names}
    return sums


def as_json(reseller: str, one: Standing) -> dict[str, Any]:
    """A payment as plain data."""
    amounts = ("instructed", "withheld", "confirmed", "returned", "open", "reopened")
    return {
        "reseller": reseller,
        **{name: getattr(one, name) for name in ("instruction", "agreement", "batch", "currency", "at", "outcome")},
        **{name: text(getattr(one, name)) for name in amounts},
        "reference": one.reference,
        "reason": one.reason,
        "is_settled": one.is_settled,
    }


# -- the bank's answers -------------------------------------------------------------------------------------------


def confirm(file: Path, home: Path | None, json_to: str | None, *, wait: bool, timeout: int) -> None:
    """Hand in a bank's file: checked here first, then put into the inbox, and followed until it is taken."""
    work = services(home)
    with file.open("rb") as opened:
        body = opened.read(ANSWER_BYTES_MAX + 1)  # what is larger is refused by that
    parse_answers(body, str(file))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", file.name)[:100]
    key = f"payouts/{digest(body)[:16]}-{name}"
    if (before := _outcome(work, key)) is not None:
        done = {"file": key, "again": True, **before}
    else:
        work.buckets.inbox.put_again(key, body)
        done = {"file": key, **(_await(work, key, timeout) if wait else {})}
    if json_to is not None:
        write_json(done, json_to)
    if json_to != "-":
        for line in _told(done):
            print(line)
    if done.get("refused"):
        raise AnswersRefusedError(f"{len(done['refused'])} of what {file} says could not be taken: see above")


def _await(work: Services, key: str, timeout_s: float) -> dict[str, Any]:
    ends = time.monotonic() + timeout_s
    while (outcome := _outcome(work, key)) is None:
        if time.monotonic() >= ends:
            raise NotTakenYetError(key, timeout_s)
        time.sleep(LOOK_S)
    return outcome


def _outcome(work: Services, key: str) -> dict[str, Any] | None:
    """What the step noted of the file, once it has."""
    row = work.rows.get("steps", (("step", _STEP), ("key", key)))
    return dict(json.loads(str(row["outcome"]))) if row is not None else None


def _told(done: dict[str, Any]) -> list[str]:
    if "taken" not in done:
        return [f"{done['file']} lies in the inbox"]
    again = " (it was handed in before; nothing changes)" if done.get("again") else ""
    aside = f", {done['aside']} left aside" if done["aside"] else ""
    return [
        f"{done['form']}: {done['taken']} answers taken{aside}, {len(done['refused'])} refused{again}",
        *(f"  {problem}" for problem in done["refused"]),
    ]


# -- who is paid, and how -----------------------------------------------------------------------------------------


def switch(
    reseller: list[str], cycle: str, by: str, why: str, home: Path | None, json_to: str | None, *, on: bool
) -> None:  # fmt: skip
    """Propose to pay resellers from a cycle on, or no longer."""
    from infra.clearbook import remote
    from infra.clearbook.decisions import say

    portal = remote.portal(home, by)
    asked = [{"reseller": one, "cycle": cycle, "on": on} for one in reseller]
    say([one for each in asked for one in portal.propose(PAYOUTS_ON, each, why)["proposals"]], json_to)


def template(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a form of payout file."""
    from infra.clearbook.decisions import propose_act

    try:
        given = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadInputError(str(file), f"is not UTF-8 (byte {exc.start})", "save it as UTF-8") from exc
    propose_act("payout_template", {"name": str(file), "text": given}, by, why, home, json_to)
