"""The command that says how two snapshots of a bill differ, line by line, and how its sources do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.bills.showing import entries_of, observed
from infra.clearbook.bills.shown import ID_SHOWN, compared, plain_console, said, say
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.bill import difference
from shared.bill.difference import ADDED, CHANGED, REMOVED, Change
from shared.bill.snapshot import SEALED, Seal, Snapshot
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.errors import BadInputError
from shared.services import Services
from shared.steps import comparing, state

_SEQ, _ID = re.compile(r"\d{1,6}", re.ASCII), re.compile(r"[0-9a-f]{7,64}", re.ASCII)
_SOURCE = "source:"
_EXPECTED = "give the seq of an entry, a snapshot's id or its first 7 digits or more, or source:NAME for its newest"


def show_diff(
    account: str, cycle: str, before: str | None, after: str | None, home: Path | None, json_to: str | None, *,
    limit: int,
) -> None:  # fmt: skip
    """Print what the later of two snapshots has otherwise."""
    found = diff_of(services(home), account, cycle, before, after, limit)
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = plain_console()
    for which in ("from", "to"):
        one = found[which]
        say(console, f"{which:5}{_named(one)}", f"     {said(one)}")
    if found["from"]["source"] != found["to"]["source"]:
        say(console, "sources may name one line differently; --sources compares their sums, too")
    say(console, ", ".join(f"{found[how]:,} {how}" for how in (ADDED, REMOVED, CHANGED)))
    for line in found["lines"]:
        _say_line(console, line)
    left = found[ADDED] + found[REMOVED] + found[CHANGED] - len(found["lines"])
    if left:
        say(console, "", f"{left:,} more; --limit 0 lists all")


def show_sources(account: str, cycle: str, home: Path | None, json_to: str | None, *, limit: int) -> None:
    """Print how the other sources of a bill differ from the settled one."""
    found = comparing.kept(work := services(home), entries_of(work, account, cycle))
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = plain_console()
    for one in found:
        told = f"{one['other']['source']} beside {one['settled']['source']}: {compared(one)}"
        say(console, told, f"{_INDENT}by {one['by']}")
        shown = one["differences"][: limit or None]
        for difference_ in shown:
            _say_sums(console, difference_)
        left = one["count"] - len(shown)
        if left:
            kept = len(one["differences"])
            say(
                console, "", f"{left:,} more; --limit 0 lists {'all' if kept == one['count'] else f'the {kept:,} kept'}"
            )
    if not found:
        say(console, "no other source has said anything of this bill, or none is settled yet")


def diff_of(
    work: Services, account: str, cycle: str, before: str | None = None, after: str | None = None, limit: int = 0
) -> dict[str, Any]:
    """Counts of all lines that differ, and the first `limit` of them (0: all)."""
    entries = entries_of(work, account, cycle)
    old, new = chosen(entries, before, after)
    counts, listed = Counter[str](), list[dict[str, Any]]()
    with changes(work, old, new) as found:
        for change in found:
            counts[change.how] += 1
            if not limit or len(listed) < limit:
                listed.append({"how": change.how, **change.line, "before": change.before, "after": change.after})
    return {
        "account": account,
        "cycle": cycle,
        "from": _side(old),
        "to": _side(new),
        **{how: counts[how] for how in (ADDED, REMOVED, CHANGED)},
        "lines": listed,
    }


@contextmanager
def changes(work: Services, old: Seal, new: Seal) -> Iterator[Iterator[Change]]:
    """The lines that differ between what two observations saw, one after the other."""
    one, other = (state.snapshot(work, seal.account, seal.cycle, seal.snapshot) for seal in (old, new))
    paths = [_paths(work, one, other), _paths(work, other, one)]
    with connect(work.scratch, work.memory_mb, work.threads) as connection:
        yield difference.lines(connection, *paths)


def _paths(work: Services, mine: Snapshot, other: Snapshot) -> list[str]:
    """The parts that the other has not: equal parts hold equal lines."""
    known = {day: part.digest for day, part in other.parts.items()}
    days = [day for day, part in mine.parts.items() if part.rows and known.get(day) != part.digest]
    return [str(state.local_part(work, mine.part_key(day))) for day in days]


# -- which two --------------------------------------------------------------------------------------------------


def chosen(entries: list[Entry], before: str | None, after: str | None) -> tuple[Seal, Seal]:
    """The two observations that are meant: the last two seals; one against the last seal; or two."""
    said = observed(entries)
    sealed = [seal for entry, seal in said if entry.kind == SEALED]
    seals = [seal for _, seal in said]
    if before is not None:
        if after is None and not sealed:
            raise BadInputError("TO", "nothing is sealed yet, so there is no newest seal to compare with", _EXPECTED)
        return _one(seals, before, "FROM"), sealed[-1] if after is None else _one(seals, after, "TO")
    if len(sealed) < 2:
        problem = f"there are {len(sealed)} seals of the bill, and without FROM the last two are compared"
        raise BadInputError("FROM", problem, _EXPECTED)
    return sealed[-2], sealed[-1]


def _one(seals: list[Seal], name: str, place: str) -> Seal:
    if name.startswith(_SOURCE):
        found = [one for one in seals if one.source == name.removeprefix(_SOURCE)]
        known = ", ".join(sorted({one.source for one in seals}))
        problem = f"source {name.removeprefix(_SOURCE)!r} has said nothing of this bill (these have: {known})"
    elif _SEQ.fullmatch(name):
        found = [one for one in seals if one.seq == int(name)]
        problem = f"entry {name} saw no bill (these did: {', '.join(str(one.seq) for one in seals)})"
    elif _ID.fullmatch(name):
        found = [one for one in seals if one.snapshot.startswith(name)]
        if len({one.snapshot for one in found}) > 1:
            raise BadInputError(place, f"{name} begins several snapshots", "give more of its digits")
        problem = f"no snapshot begins with {name}"
    else:
        found, problem = [], f"{name!r} names no snapshot"
    if not found:
        raise BadInputError(place, problem, _EXPECTED)
    return found[-1]


def _side(seal: Seal) -> dict[str, Any]:
    return {"seq": seal.seq, "source": seal.source, "status": seal.status, "slot": seal.slot,
            "snapshot": seal.snapshot, "rows": seal.rows, "totals": seal.totals}  # fmt: skip


def _named(one: Mapping[str, Any]) -> str:
    return f"entry {one['seq']}, {one['source']} {one['slot']} {one['status']}, snapshot {one['snapshot'][:ID_SHOWN]}"


# -- differences, printed ---------------------------------------------------------------------------------------

_TOLD = ("gross", "pretax")  # of a line that is new or gone; JSON has all amounts
_SUMS = (("lines", "other_lines"), ("pretax", "other_pretax"), ("gross", "other_gross"))
_NAMED = ("line_id", "date", "account", "product_code", "currency")
_INDENT = " " * 10


def _say_line(console: Console, one: Mapping[str, Any]) -> None:
    """A line that differs: what it is, and each value as it was and as it is."""
    say(console, "", f"{one['how']:{len(_INDENT)}}{one['line_id']}  {one['date']}  {one['account']}")
    about = [one[name] for name in ("kind", "product_code", "instance_id", "currency") if one.get(name)]
    say(console, f"{_INDENT}{'  '.join(about)}")
    before, after = one["before"], one["after"]
    names = [name for name in {**before, **after} if one["how"] == CHANGED or name in _TOLD]
    _say_values(console, [(name, before.get(name, ""), after.get(name, "")) for name in names])


def _say_sums(console: Console, one: Mapping[str, Any]) -> None:
    """A sum that differs between two sources: the settled one's, and the other's."""
    say(console, "", f"{_INDENT}{'  '.join(str(one[name]) for name in _NAMED if name in one)}")
    _say_values(console, [(name, str(one[name]), str(one[other])) for name, other in _SUMS])


def _say_values(console: Console, values: list[tuple[str, str, str]]) -> None:
    names, olds, news = (max((len(value[n]) for value in values), default=0) for n in range(3))
    for name, old, new in values:
        say(console, f"{_INDENT}{name:{names}}  {old or 'none':>{max(olds, 4)}}  ->  {new or 'none':>{max(news, 4)}}")
