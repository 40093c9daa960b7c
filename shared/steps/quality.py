"""How fresh and how good the bill of an account and cycle is: what each source said last, and what is wrong with it.

The figures follow from the bill's stream and from what the steps keep, and decide nothing. They are kept under
`quality/` (bucket work) for who shows them: written over by each seal or observation, and what of it stands on objects
that are still the same is taken over, so that a round reads only of the dates that it asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.bill import control, formats, parts, quality
from shared.bill.pulls import Pull
from shared.bill.snapshot import OBSERVED, SEALED, Seal, stream_of
from shared.chain.entry import Entry
from shared.cycle import Cycle, parse_instant, shanghai_day, stamp
from shared.ids import canonical_json
from shared.money import text
from shared.services import Services
from shared.steps import comparing, day_parts, state

PREFIX = "quality/"
FORMAT = 2  # of the kept object; one of another format is made anew
_HOUR = 3600
_TRIES = 5

Plain = dict[str, Any]


def key_of(account: str, cycle: str) -> str:
    """Where the figures of a bill are kept (bucket work)."""
    return f"{PREFIX}{account}/{cycle}.json"


def kept(services: Services, account: str, cycle: str) -> Plain | None:
    """The figures as the last seal or observation left them."""
    body = services.buckets.work.find(key_of(account, cycle))
    found = None if body is None else json.loads(body)
    return found if found is not None and found["format"] == FORMAT else None


def keep(services: Services, account: str, cycle: str, entries: list[Entry]) -> None:
    """Keep the figures as of the newest entry; whoever appended meanwhile is not written over with older ones."""
    before = kept(services, account, cycle)
    for _ in range(_TRIES):
        at = parse_instant(entries[-1].at)
        before = _figures(services, account, cycle, entries, at, before)
        services.buckets.work.put_again(key_of(account, cycle), canonical_json(before))
        now = services.chain.read(stream_of(account, cycle))
        if len(now) == len(entries):
            return
        entries = now


def figures(services: Services, account: str, cycle: str, now: datetime) -> Plain:
    """The figures of a bill as of now, as plain data; see `_figures` and `_of_source` for what they are."""
    entries = services.chain.read(stream_of(account, cycle))
    return _figures(services, account, cycle, entries, now, kept(services, account, cycle))


def _figures(
    services: Services, account: str, cycle: str, entries: list[Entry], now: datetime, before: Plain | None
) -> Plain:
    """`sources` by name, `comparisons` with the settled one; `seq` is the entry that they stand at."""
    said: dict[str, list[tuple[Entry, Seal]]] = {}
    for entry in entries:
        if entry.kind in (SEALED, OBSERVED):
            seal = Seal(**entry.body, seq=entry.seq)
            said.setdefault(seal.source, []).append((entry, seal))
    parties, _ = state.parties(services)
    connector = parties.connectors.get(account)
    known = before["sources"] if before else {}
    begins = max(Cycle.parse(cycle).first, connector.since) if connector else Cycle.parse(cycle).first
    return {
        "format": FORMAT,
        "account": account,
        "cycle": cycle,
        "at": stamp(now),
        "seq": entries[-1].seq if entries else 0,
        "settled_source": connector.source_in(Cycle.parse(cycle)) if connector else None,
        "sources": {
            source: {
                **_observed(found, now),
                **_dates(services, found[-1][1], begins, now),
                **_of_source(services, state.with_files(services, found[-1][1]), known.get(source, {})),
            }
            for source, found in sorted(said.items())
        },
        "comparisons": [
            {"source": one["other"]["source"], "with": one["settled"]["source"], "by": one["by"],
             "count": one["count"], "amounts": one["amounts"]}
            for one in comparing.kept(services, entries)
        ],
    }  # fmt: skip


def _observed(found: list[tuple[Entry, Seal]], now: datetime) -> Plain:
    """What is said of the newest observation in its entry, how long ago that was, and how long after the one before."""
    entry, seal = found[-1]
    gap = None
    if len(found) > 1:
        gap = _hours(parse_instant(entry.at) - parse_instant(found[-2][0].at))
    return {
        "seq": seal.seq,
        "kind": entry.kind,
        "status": seal.status,
        "slot": seal.slot,
        "seen": entry.at,
        "lag_hours": _hours(now - parse_instant(entry.at)),
        "gap_hours": gap,
        "snapshot": seal.snapshot,
        "rows": seal.rows,
        "totals": {currency: dict(amounts) for currency, amounts in seal.totals.items()},
    }


def _hours(between: timedelta) -> int:
    return max(0, int(between.total_seconds()) // _HOUR)


def _dates(services: Services, seal: Seal, begins: Any, now: datetime) -> Plain:
    """The dates up to yesterday that the bill says nothing of, and those of which it says that there is nothing.

    Today's bill is there tomorrow. A source whose rows have no date misses none.
    """
    snapshot = state.snapshot(services, seal.account, seal.cycle, seal.snapshot)
    empty = sorted(day for day, part in snapshot.parts.items() if not part.rows)
    if seal.source.endswith("-monthly"):
        return {"dates_missing": [], "dates_empty": []}
    ends = min(Cycle.parse(seal.cycle).last, shanghai_day(now) - timedelta(days=1))
    wanted = (one for one in Cycle.parse(seal.cycle).dates() if begins <= one <= ends)
    return {"dates_missing": [str(one) for one in wanted if str(one) not in snapshot.parts], "dates_empty": empty}


def _of_source(services: Services, seal: Seal, before: Mapping[str, Any]) -> Plain:
    """What is wrong with the lines of an observation; `before` are the figures of an earlier one.

    `control`: groups that differ from the provider's sums, how many of them nothing explains (`open`), and the
    differences by currency. `rejects`: rows that are no lines, by class of reason. `broken`: lines by the equation
    that they break. `days` and `kept_rejects` say what all this was read from.
    """
    days = {day: _day(services, seal, day, before.get("days", {}).get(day)) for day in sorted(seal.pulls)}
    rejects = _rejects(services, seal, days, before.get("kept_rejects", {}))
    return {
        "control": _control(services, seal.control, before.get("control", {})),
        "rejects": {
            "count": sum(int(one["count"]) for one in seal.rejects.values()),
            "reasons": quality.added_classes(one["reasons"] for one in rejects.values()),
        },
        "broken": quality.added(one["broken"] for one in days.values()),
        "repaired": quality.added(one["repaired"] for one in days.values()),
        "unknown_fields": sorted({field for one in days.values() for field in one["unknown_fields"]}),
        "unknown_codes": quality.added(one["unknown_codes"] for one in days.values()),
        "days": days,
        "kept_rejects": rejects,
    }


def _day(services: Services, seal: Seal, day: str, before: Mapping[str, Any] | None) -> Plain:
    """What was noticed while the part of a date was built."""
    key = _described_key(seal, day)
    if before is not None and before["key"] == key:
        return dict(before)
    body = services.buckets.work.find(key) if key else None
    described = {} if body is None else json.loads(body)
    return {
        "key": key,
        "form": described.get("form", ""),
        "broken": described.get("broken", {}),
        "repaired": described.get("repaired", {}),
        "unknown_fields": described.get("unknown_fields", []),
        "unknown_codes": _codes(described.get("unknown_codes", {})),
    }


def _described_key(seal: Seal, day: str) -> str:
    """What a pull found is kept with the pull, what files say with what was read of them."""
    if not seal.is_of_files:
        return Pull(seal.account, Cycle.parse(seal.cycle), day, seal.pulls[day]).ingested_key
    read = seal.read.get(day, "")
    return day_parts.source_key(seal.account, seal.cycle, day, read, "json") if read else ""


def _codes(found: Mapping[str, int] | Iterable[str]) -> dict[str, int]:
    """Unknown codes with their lines; a list of codes alone counts each once."""
    if isinstance(found, Mapping):
        return {str(code): int(lines) for code, lines in found.items()}
    return quality.added({str(code): 1} for code in found)


def _rejects(services: Services, seal: Seal, days: Mapping[str, Plain], before: Mapping[str, Any]) -> Plain:
    """The classes of reasons by where the rows were: a date, or a file."""
    found = {}
    for place, one in sorted(seal.rejects.items()):
        earlier = before.get(place)
        if earlier is not None and earlier["key"] == one["key"]:
            found[place] = earlier
            continue
        body = services.buckets.work.find(one["key"])
        reasons = [] if body is None else [reject.reason for reject in parts.parse_rejects(body)]
        found[place] = {"key": one["key"], "reasons": quality.classes(reasons, _form(seal, place, days))}
    return found


def _form(seal: Seal, place: str, days: Mapping[str, Plain]) -> formats.Format | None:
    name = days[place]["form"] if place in days else seal.files.get(place.removeprefix("file "), {}).get("form", "")
    return formats.known().get(str(name).partition("/")[0])


def _control(services: Services, said: Mapping[str, Any], before: Mapping[str, Any]) -> Plain:
    """How the lines differ from the provider's sums. No key: there were none to compare with."""
    if before.get("key") == said["key"] and before.get("attempt") == said["attempt"]:
        return dict(before)
    counted = {name: said[name] for name in ("key", "differences", "open", "attempt")}
    body = services.buckets.work.find(said["key"]) if said["differences"] else None
    return {**counted, **_sums([] if body is None else json.loads(body))}


def _sums(differences: list[Mapping[str, str]]) -> Plain:
    """By currency what the lines have more than the overview, and how much of it nothing explains.

    The sums by month are a second look at the same money: only where the overview is not at odds do they count.
    """
    first = [one for one in differences if one["against"] != control.MONTHLY]
    groups = {(one["account"], one["product"], one["currency"]) for one in first}
    others = [one for one in differences if one["against"] == control.MONTHLY]
    both = [*first, *(one for one in others if (one["account"], one["product"], one["currency"]) not in groups)]
    return {"amounts": _by_currency(both), "open_amounts": _by_currency(one for one in both if not one["cause"])}


def _by_currency(differences: Iterable[Mapping[str, str]]) -> dict[str, str]:
    sums: dict[str, Decimal] = {}
    for one in differences:
        if one["currency"]:  # a row of the control that cannot be read has none, and no amount
            sums[one["currency"]] = sums.get(one["currency"], Decimal(0)) + Decimal(one["difference"])
    return {currency: text(amount) for currency, amount in sorted(sums.items())}


def metrics(found: Mapping[str, Any]) -> list[tuple[str, int, str, dict[str, str]]]:
    """(name, value, unit, dimensions) of the newest observation: counts and hours, never an amount; zeros too."""
    told: list[tuple[str, int, str, dict[str, str]]] = []
    bill = {"account": found["account"], "cycle": found["cycle"]}
    newest = max((one["seq"] for one in found["sources"].values()), default=0)
    for source, one in found["sources"].items():
        if one["seq"] != newest:
            continue  # told when it was made: who looks for what is late must not see it again
        counts = {
            "bill_rows": one["rows"],
            "bill_rejects": one["rejects"]["count"],
            "bill_control_differences": one["control"]["differences"],
            "bill_control_open": one["control"]["open"],
            "bill_broken": sum(one["broken"].values()),
            "bill_repaired": sum(one["repaired"].values()),
            "bill_unknown_fields": len(one["unknown_fields"]),
            "bill_unknown_codes": len(one["unknown_codes"]),
            "bill_dates_missing": len(one["dates_missing"]),
        }
        told += [(name, value, "count", {**bill, "source": source}) for name, value in counts.items()]
        if one["gap_hours"] is not None:
            told.append(("bill_gap", one["gap_hours"], "hours", {**bill, "source": source}))
    told += [
        ("bill_source_differences", one["count"], "count", {**bill, "source": one["source"]})
        for one in found["comparisons"]
    ]
    return told
