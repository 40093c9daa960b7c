"""Schedules: a report again and again. Each slot is carried out once, whatever is repeated.

A slot is a row, created by condition; from then on it waits until it is told, whoever comes by. So a run that died
between any two calls is finished by the next, and two at once do the same thing. Of slots that were missed together
the newest is carried out and the others are kept as skipped, which the newest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.cycle import Cycle, parse_date, parse_instant, stamp
from shared.delivery.slots import Every, Rhythm, Slot, parse_rhythm
from shared.delivery.targets import parse_mailbox
from shared.errors import BadInputError, ClearbookError, SettingError
from shared.events.owners import OwnerEvent
from shared.ids import canonical_json, digest_of
from shared.ports import ServiceError
from shared.report.asking import FORMATS
from shared.services import Services
from shared.steps.delivering import deliveries, kept
from shared.steps.delivering.each import Each
from shared.steps.delivering.kept import DELETED, SCHEDULES, SLOTS, Kept
from shared.steps.delivering.reports import Reports, Standing, Wanted

WHAT = "schedule"
SCHEDULES_MAX = 50  # of an owner
_EVER_MAX = 500  # with those that are deleted, which stay listed beside what they delivered
MAIL_MAX = 20  # addresses of a schedule
_NAME_MAX = 100
_ASK_MAX = 64 * 1024  # bytes
_WAITS_MAX = timedelta(days=2)  # for a run that never ends
_FIELDS = ("name", "when", "ask", "format", "mail", "starts", "ends")
ACTIVE, PAUSED, ENDED = "active", "paused", "ended"
BEGUN, REQUESTED, SKIPPED, READY, FAILED = "begun", "requested", "skipped", "ready", "failed"
CANCELLED = "cancelled"  # its schedule was deleted before it was told
_YEARS = range(2000, 2100)  # that an instant may be of


@dataclass(frozen=True, slots=True)
class _Plan:
    """A schedule as its row has it."""

    rhythm: Rhythm
    upto: datetime  # slots up to here are rows already
    ends: datetime | None  # no slot is later

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> _Plan:
        ends = parse_instant(said["ends_at"]) if said["ends_at"] else None
        return cls(parse_rhythm(said["when"]), parse_instant(said["upto"]), ends)

    def next(self) -> str:
        """When its next slot is, as text; empty where there is none."""
        slot = self.rhythm.after(self.upto)
        return "" if self.ends is not None and slot.at > self.ends else stamp(slot.at)

    def until(self, at: datetime) -> list[Slot]:
        """The slots that are due."""
        return self.rhythm.between(self.upto, at if self.ends is None else min(at, self.ends))


def create(
    services: Services, reports: Reports, owner: str, by: str, said: Mapping[str, Any], at: datetime
) -> dict[str, Any]:  # fmt: skip
    """A schedule, from now on or from its first day; the same again is answered the same.

    Raises BadInputError naming the field, with nothing created: for one in the past, too.
    """
    id_ = f"sch_{digest_of([owner, by, {name: said[name] for name in sorted(said)}])[:24]}"
    before = kept.find(services, SCHEDULES, owner, id_)
    if before is not None and not _is_gone(before):
        return _shown(before)  # its first day may have passed meanwhile
    first = _first(owner, by, said, at)
    today = at.astimezone(ZoneInfo(first["when"]["zone"])).date()
    reports.check(services, Wanted(owner, by, first["ask"], first["format"], today), stamp(at))
    last = Cycle.of(today).previous()
    is_of_months = first["when"]["every"] == Every.FINAL and not first["starts"]
    if is_of_months and reports.standing(services, owner, last) is Standing.OPEN:
        # Who asks while last month is not final yet means that one.
        first["upto"] = min(first["upto"], stamp(last.final_from() - timedelta(seconds=1)))
    ever = list(kept.of_owner(services, SCHEDULES, owner))
    if len(ever) >= _EVER_MAX and id_ not in {one.id for one in ever}:
        problem = f"would be schedule {len(ever) + 1} that was ever made"
        raise BadInputError("schedule", problem, "create one as it was before, or ask who operates this for room")
    there = [one for one in ever if not _is_gone(one)]
    if len(there) >= SCHEDULES_MAX and id_ not in {one.id for one in there}:
        problem = f"would be schedule {len(there) + 1}"
        raise BadInputError("schedule", problem, f"an owner has at most {SCHEDULES_MAX}: delete one")
    due = _Plan.of(first).next()
    found = kept.create(services, SCHEDULES, owner, id_, first, due)
    if found.said["state"] == DELETED:
        found = kept.replace(services, found, first, due) or found
    return _shown(found)


def of_owner(services: Services, owner: str) -> list[dict[str, Any]]:
    """The schedules of an owner that are not deleted, with what became of their last slots."""
    return [_with_slots(services, one) for one in kept.of_owner(services, SCHEDULES, owner) if not _is_gone(one)]


def get(services: Services, owner: str, id_: str) -> dict[str, Any]:
    """One, as `of_owner` shows it; raises UnknownIdError."""
    found = kept.find(services, SCHEDULES, owner, id_)
    if found is None or _is_gone(found):
        raise kept.UnknownIdError(WHAT, id_)
    return _with_slots(services, found)


def pause(services: Services, owner: str, id_: str) -> dict[str, Any]:
    """No slot is opened until it is resumed, one that is open goes on; again changes nothing."""
    return _shown(_moved(services, owner, id_, {ACTIVE: PAUSED}, None))


def resume(services: Services, owner: str, id_: str, at: datetime) -> dict[str, Any]:
    """Carry out slots again, from now on: those of the pause are nobody's, but for months, which are made late."""
    return _shown(_moved(services, owner, id_, {PAUSED: ACTIVE}, at))


def delete(services: Services, owner: str, id_: str) -> None:
    """Never carry out a slot again, nor tell of one that is open; what was delivered stays listed."""
    _moved(services, owner, id_, {ACTIVE: DELETED, PAUSED: DELETED, ENDED: DELETED}, None)


def due(services: Services, reports: Reports, at: datetime, each: Each) -> None:
    """Open every slot that is due, then carry on with all that wait."""
    each.of(kept.due(services, SCHEDULES, stamp(at)), lambda one: _open_slots(services, reports, *one, at), WHAT)
    each.of(kept.due(services, SLOTS, stamp(at)), lambda one: _carry_on(services, reports, *one, at), "slot")


def mail_of(services: Services, owner: str, event: Mapping[str, Any]) -> list[str]:
    """Open the mails that tell of a schedule's event; the ids of their deliveries.

    Whom they go to is asked of the schedule, and what they say of the slot: an object in a bucket decides neither.
    """
    data = event["data"]
    slot = kept.find(services, SLOTS, owner, f"{data['schedule']}/{data['slot']}")
    schedule = kept.find(services, SCHEDULES, owner, str(data["schedule"]))
    if slot is not None and schedule is not None and _is_gone(schedule):
        return []
    if slot is None or schedule is None or slot.said["state"] not in (READY, FAILED):
        raise BadInputError(f"event {event['id']}", "is of no slot that was carried out", "find out who wrote it")
    name, said = schedule.said["name"], slot.said
    if said["state"] == READY:
        lines = [(f"The report “{name}” of {said['slot']} is ready.", f"报表“{name}”（{said['slot']}）已生成。")]
        subject, kind = f"{name}: {said['slot']}", "schedule.ready"
    else:
        lines = [
            (f"The report “{name}” of {said['slot']} could not be made.", f"报表“{name}”（{said['slot']}）未能生成。"),
            (f"Because: {said['because']}", f"原因：{said['because']}"),
        ]
        subject, kind = f"{name}: {said['slot']} failed", "schedule.failed"
    if said["skipped"]:
        missed = ", ".join(said["skipped"])
        lines.append((f"Missed and not made: {missed}.", f"已错过、未生成：{missed}。"))
    about, to = _about(slot), schedule.said["mail"]
    return deliveries.for_mail(services, owner, kind, about, said["told_at"], to, subject, lines, said["link"])


# -- slots ------------------------------------------------------------------------------------------------------


def _open_slots(services: Services, reports: Reports, owner: str, id_: str, at: datetime) -> list[dict[str, Any]]:
    """Make the rows of a schedule's slots that are due, and move it on."""
    found = kept.find(services, SCHEDULES, owner, id_)
    if found is None or found.said["state"] != ACTIVE:
        return []
    plan = _Plan.of(found.said)
    slots = plan.until(at)
    missed, begun = slots[:-1], slots[-1:]
    if plan.rhythm.every is Every.FINAL:
        # A month that became final late is no less wanted.
        begun, missed = _final(services, reports, owner, slots), []
    if not begun:
        return []
    skipped = []
    for slot in missed:
        # A run that died may have begun what is an older one by now: that is carried out, it waits.
        row = _slot(services, found, slot, SKIPPED, [])
        skipped += [slot.key] if row.said["state"] == SKIPPED else []
    rows = [_slot(services, found, slot, BEGUN, skipped) for slot in begun]
    if rows[-1].said["state"] == SKIPPED:
        return []  # by a later timer, which died: the next one makes what was the newest then, and says so
    said = {**found.said, "upto": stamp(begun[-1].at)}
    following = _Plan.of(said).next()
    # Somebody who paused it meanwhile is not overruled: the slots are rows, and found again as they are.
    kept.replace(services, found, said if following else {**said, "state": ENDED}, following)
    done = {"schedule": id_, "owner": owner, "outcome": BEGUN, "skipped": skipped}
    return [{**done, "slot": one.key} for one in begun]


def _final(services: Services, reports: Reports, owner: str, slots: list[Slot]) -> list[Slot]:
    """The slots of months that are final, in order: an open one keeps those after it waiting."""
    found = []
    for slot in slots:
        standing = reports.standing(services, owner, Cycle.parse(slot.key))
        if standing is Standing.OPEN:
            break
        found += [slot] if standing is Standing.FINAL else []
    return found


def _slot(services: Services, schedule: Kept, slot: Slot, state: str, skipped: list[str]) -> Kept:
    """The row of a slot, as whoever was first made it."""
    said = {
        "schedule": schedule.id,
        "slot": slot.key,
        "at": stamp(slot.at),
        "today": slot.today.isoformat(),
        "state": state,
        "skipped": skipped,
        "by": schedule.said["by"],
        "ask": schedule.said["ask"],
        "format": schedule.said["format"],
        **dict.fromkeys(("run", "asked_at", "link", "because", "told_at"), ""),
    }
    due = "" if state == SKIPPED else stamp(slot.at)
    return kept.create(services, SLOTS, schedule.owner, f"{schedule.id}/{slot.key}", said, due)


def _carry_on(services: Services, reports: Reports, owner: str, id_: str, at: datetime) -> list[dict[str, Any]]:
    """Carry a slot as far as it goes now: asked for, ready or failed, told; cancelled, where its schedule is gone."""
    slot = kept.find(services, SLOTS, owner, id_)
    schedule = None if slot is None else kept.find(services, SCHEDULES, owner, slot.said["schedule"])
    if slot is not None and (schedule is None or _is_gone(schedule)):
        is_told = slot.said["state"] in (READY, FAILED)  # by its event, which may be left already
        state = slot.said["state"] if is_told else CANCELLED
        kept.replace(services, slot, {**slot.said, "state": state})
        return [{"slot": slot.id, "owner": owner, "outcome": state}]
    if slot is not None and slot.said["state"] == BEGUN:
        slot = _requested(services, reports, slot, at)
    if slot is not None and slot.said["state"] == REQUESTED:
        slot = _ended(services, reports, slot, at)
    if slot is None or slot.said["state"] not in (READY, FAILED):
        return []  # somebody else carries it on, or its run is not finished
    if slot.due:
        _event(slot).leave(services.buckets.work)
        kept.replace(services, slot, slot.said)
    return [{"slot": slot.id, "owner": owner, "outcome": slot.said["state"], "run": slot.said["run"]}]


def _requested(services: Services, reports: Reports, slot: Kept, at: datetime) -> Kept | None:
    said = slot.said
    try:
        run = reports.request(services, _wanted(slot), stamp(at))
    except ClearbookError as exc:
        if exc.retryable or isinstance(exc, ServiceError | SettingError):
            raise
        # Rights that are gone, a report that is not there any more: said once, and not asked again.
        return kept.replace(services, slot, _failed(said, str(exc), at), slot.due)
    return kept.replace(services, slot, {**said, "state": REQUESTED, "run": run, "asked_at": stamp(at)}, slot.due)


def _wanted(slot: Kept) -> Wanted:
    said = slot.said
    return Wanted(slot.owner, said["by"], said["ask"], said["format"], date.fromisoformat(said["today"]))


def _ended(services: Services, reports: Reports, slot: Kept, at: datetime) -> Kept | None:
    said = slot.said
    outcome = reports.outcome(services, slot.owner, said["run"])
    if outcome is None:
        if at - parse_instant(said["asked_at"]) < _WAITS_MAX:
            return slot
        return kept.replace(services, slot, _failed(said, "its run did not end; ask for the report", at), slot.due)
    if not outcome.is_ready:
        return kept.replace(services, slot, _failed(said, outcome.because, at), slot.due)
    try:
        link = reports.link(services, _wanted(slot), said["run"], slot.id)
    except ClearbookError as exc:
        if exc.retryable or isinstance(exc, ServiceError | SettingError):
            raise
        return kept.replace(services, slot, _failed(said, str(exc), at), slot.due)
    return kept.replace(services, slot, {**said, "state": READY, "link": link, "told_at": stamp(at)}, slot.due)


def _failed(said: Mapping[str, Any], because: str, at: datetime) -> dict[str, Any]:
    return {**said, "state": FAILED, "because": because, "told_at": stamp(at)}


def _event(slot: Kept) -> OwnerEvent:
    """What tells of a slot: a function of its row, so that it is the same whoever leaves it."""
    said = slot.said
    name = "schedule.ready" if said["state"] == READY else "schedule.failed"
    names = ("schedule", "slot", "run", "format", "link", "because", "skipped")
    data = {**{one: said[one] for one in names}, "report": said["ask"].get("report", "")}
    return OwnerEvent(slot.owner, name, _about(slot), said["told_at"], data)


def _about(slot: Kept) -> str:
    return slot.id


# -- what is planned --------------------------------------------------------------------------------------------


def _first(owner: str, by: str, said: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The row of a new schedule."""
    unknown = sorted(set(said) - set(_FIELDS))
    if unknown:
        raise BadInputError(unknown[0], "is no field of a schedule", f"its fields are {', '.join(_FIELDS)}")
    name, ask, format_ = said.get("name"), said.get("ask"), said.get("format", "xlsx")
    if not isinstance(name, str) or not name.strip() or len(name) > _NAME_MAX or not name.isprintable():
        raise BadInputError("name", f"is {str(name)[:40]!r}", f"write one line of at most {_NAME_MAX} characters")
    if not isinstance(ask, dict):
        raise BadInputError("ask", f"is {ask!r}", "write what a report run is asked for")
    if ask.get("from") is not None or ask.get("to") is not None:
        raise BadInputError("ask.from", "would be the same dates each time", "give a preset, such as last_month")
    if len(canonical_json(ask)) > _ASK_MAX:
        raise BadInputError("ask", f"has more than {_ASK_MAX} bytes", "ask for less")
    if format_ not in FORMATS:
        raise BadInputError("format", f"is {format_!r}", f"write one of {', '.join(FORMATS)}")
    rhythm = parse_rhythm(said.get("when"))
    upto, ends_at = _bounds(rhythm, said, at)
    return {
        "name": name.strip(),
        "by": by,
        "made_at": stamp(at),
        "state": ACTIVE,
        "when": rhythm.as_json(),
        "ask": ask,
        "format": format_,
        "mail": _mail(said.get("mail", [])),
        "starts": said.get("starts", ""),
        "ends": said.get("ends", ""),
        "upto": stamp(upto),
        "ends_at": ends_at,
    }


def _bounds(rhythm: Rhythm, said: Mapping[str, Any], at: datetime) -> tuple[datetime, str]:
    """Where its slots begin, and the last instant of its last day as text."""
    zone = ZoneInfo(rhythm.zone)
    today = at.astimezone(zone).date()
    starts, ends = (_date(said, name) for name in ("starts", "ends"))
    if starts is not None and starts < today:
        raise BadInputError("starts", f"{starts} is in the past", f"write {today} or later, or leave it out")
    if ends is not None and ends < (starts or today):
        before = f"before it starts, {starts}" if starts else "in the past"
        raise BadInputError("ends", f"{ends} is {before}", f"write {starts or today} or later, or leave it out")
    second = timedelta(seconds=1)
    upto = at if starts is None else max(at, datetime.combine(starts, datetime.min.time(), zone) - second)
    if ends is None:
        return upto, ""
    last = datetime.combine(ends + timedelta(days=1), datetime.min.time(), zone) - second
    if rhythm.after(upto).at > last:
        raise BadInputError("ends", f"{ends} is before its first slot", "write a later day, or leave it out")
    return upto, stamp(last)


def _date(said: Mapping[str, Any], name: str) -> date | None:
    value = said.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise BadInputError(name, f"is {value!r}", "write YYYY-MM-DD")
    found = parse_date(value, name)
    if found.year not in _YEARS:
        raise BadInputError(name, f"is {value!r}", "write a day of 2000 to 2099")
    return found


def _mail(said: object) -> list[str]:
    if not isinstance(said, list) or len(said) > MAIL_MAX:
        raise BadInputError("mail", "is no list of addresses", f"give at most {MAIL_MAX}, or leave it out")
    return sorted({parse_mailbox(one, f"mail[{place}]") for place, one in enumerate(said)})


def _moved(services: Services, owner: str, id_: str, moves: Mapping[str, str], since: datetime | None) -> Kept:
    def changed(found: Kept) -> tuple[dict[str, Any], str] | None:
        state = found.said["state"]
        if state == DELETED and DELETED not in moves.values():
            raise kept.UnknownIdError(WHAT, id_)
        if state == ENDED and state not in moves:
            raise BadInputError("id", "has ended: its last day is over", "create another")
        if state not in moves:
            return None
        said = {**found.said, "state": moves[state]}
        if said["state"] != ACTIVE or since is None:
            return said, ""
        if said["when"]["every"] != Every.FINAL:  # a month that waits to be final is no less wanted
            said["upto"] = max(found.said["upto"], stamp(since))
        following = _Plan.of(said).next()
        return (said if following else {**said, "state": ENDED}), following

    return kept.change(services, WHAT, SCHEDULES, owner, id_, changed)


def _is_gone(found: Kept) -> bool:
    return bool(found.said["state"] == DELETED)


def _shown(found: Kept) -> dict[str, Any]:
    names = ("name", "by", "made_at", "state", "when", "ask", "format", "mail", "starts", "ends")
    return {"id": found.id, **{name: found.said[name] for name in names}, "next_at": found.due}


def _with_slots(services: Services, found: Kept, most: int = 10) -> dict[str, Any]:
    last = kept.newest(services, SLOTS, found.owner, f"{found.id}/~", most)
    mine = [one for one in last if one.said["schedule"] == found.id]
    names = ("slot", "state", "run", "because")
    return {**_shown(found), "slots": [{name: one.said[name] for name in names} for one in mine]}
