"""What somebody asks of a report, checked: every refusal names the field, what it holds and what would do.

An ask is plain data in one form, so that two who ask the same ask alike: defaults are in it, values are in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from shared.access.scope import Period, View
from shared.cycle import Cycle, parse_date
from shared.errors import BadInputError, ClearbookError
from shared.ids import Digest, digest_of
from shared.report.catalogue import FACTS, Column, Filter, catalogue
from shared.report.language import EN, LANGUAGES

FORMATS = ("csv", "xlsx", "pdf", "json", "parquet")
USAGE, BILLING = DATES = ("usage", "billing")  # by the date of a line, or by the months whose bills have it
MONTHS_MAX = 18  # of one ask: what is kept for looking back, too
VALUES_MAX = 200  # of one filter
_VALUE_MAX = 200  # characters
_YEARS = range(2000, 2100)  # that a cycle may be of
CHARGES = ("usage", "refund", "credit", "adjustment")
GROUPS = ("project", "resource_group", "account", "customer", "region", "service")  # that `group_by` may name
_TAG = "tag:"  # before a key, in `group_by`
PRESETS = (
    *("this_month", "last_month", "last_3_months", "last_6_months", "last_12_months"),
    *("this_year", "last_year", "yesterday", "last_7_days", "last_30_days"),
)
_FIELDS = ("report", "preset", "from", "to", "by", "filters", "columns", "allocation", "language", "currency")


class UnknownReportError(ClearbookError):
    """There is no such report, or none for whoever asks."""

    code = "unknown_report"

    def __init__(self, name: object, view: View) -> None:
        known = ", ".join(one.name for one in catalogue().values() if one.may_run(view))
        super().__init__(f"report: there is no {name!r} here; name one of {known}")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: a report, the dates (both ends included), what it is narrowed by, and which columns."""

    report: str
    version: int
    period: Period
    by: str
    filters: Mapping[str, Sequence[str]]
    columns: Sequence[str]
    allocation: str = ""  # id of a mapping document, of whoever asks
    language: str = EN  # of what is read; the rows are the same in both

    @property
    def cycles(self) -> list[Cycle]:
        """The months that it touches."""
        first, last = Cycle.of(self.period.first), Cycle.of(self.period.last)
        return [first.plus(number) for number in range(last.since(first) + 1)]

    def as_json(self) -> dict[str, Any]:
        """As plain data, which `parse_ask` takes again."""
        return {
            "report": self.report,
            "from": self.period.first.isoformat(),
            "to": self.period.last.isoformat(),
            "by": self.by,
            "filters": {name: list(values) for name, values in sorted(self.filters.items())},
            "columns": list(self.columns),
            "allocation": self.allocation,
            "language": self.language,
        }

    @property
    def digest(self) -> Digest:
        """What tells two asks apart; the version of the report is in it."""
        return digest_of({**self.as_json(), "version": self.version})


def parse_ask(said: Mapping[str, Any], view: View, today: date) -> Ask:
    """The ask that plain data says; `today` is the date in Asia/Shanghai that presets count from."""
    unknown = sorted(set(said) - set(_FIELDS))
    if unknown:
        raise BadInputError(unknown[0], "is no field of a report request", f"its fields are {', '.join(_FIELDS)}")
    report = catalogue().get(said["report"]) if isinstance(said.get("report"), str) else None
    if report is None or not report.may_run(view):
        raise UnknownReportError(said.get("report"), view)
    language = said.get("language", EN)
    if language not in LANGUAGES:
        raise BadInputError("language", f"{language!r} is not spoken here", f"name one of {', '.join(LANGUAGES)}")
    by = said.get("by", BILLING)
    if by not in DATES:
        problem = f"{by!r} is no date to choose lines by"
        raise BadInputError("by", problem, "write usage (the day of use) or billing (the month billed)")
    allocation = said.get("allocation", "")
    if not isinstance(allocation, str):
        raise BadInputError("allocation", f"is {allocation!r}", "name a mapping document by its id")
    if allocation and all(one.name != "group_by" for one in report.filters):
        raise BadInputError("allocation", f"{report.name} allocates nothing", "leave it out, or ask for allocation")
    filters = _filters(report.filters_of(view), said.get("filters", {}), said.get("currency"))
    columns = _columns(report.columns[view], said.get("columns", ()))
    period = _period(said, by, today, report.preset)
    if by == USAGE and report.rows != FACTS:
        problem = f"{report.name} is of whole months, and what is stated has no day of use"
        raise BadInputError("by", problem, f"leave it out, or write {BILLING}")
    return Ask(report.name, report.version, period, by, filters, columns, allocation, language)


def tag_of(value: str) -> tuple[str, str]:
    """The key and the value of a tag that is filtered by, written KEY=VALUE; an empty value: of what has none."""
    key, is_one, wanted = value.partition("=")
    if not is_one or not key or '"' in key:
        raise BadInputError("filters.tag", f"{value!r} is no tag", "write KEY=VALUE, or KEY= for what has none")
    return key, wanted


def grouped_by(value: str) -> tuple[str, str]:
    """What `group_by` names: (one of GROUPS, ""), or ("", the key of a tag)."""
    key = value.removeprefix(_TAG)
    if value in GROUPS:
        return value, ""
    if value.startswith(_TAG) and key and '"' not in key:
        return "", key
    problem = f"nothing is allocated by {value!r}"
    raise BadInputError("filters.group_by", problem, f"name one of {', '.join(GROUPS)}, or {_TAG}KEY")


def preset_period(preset: str, today: date) -> Period:
    """The dates that a preset means on a day, both ends included; what runs still ends today."""
    month, yesterday = Cycle.of(today), today - timedelta(days=1)
    if preset == "this_month":
        return Period(month.first, month.last)
    if preset == "last_month":
        return Period.of(month.previous())
    if preset.startswith("last_") and preset.endswith("_months"):
        return Period(month.plus(-int(preset.split("_")[1])).first, month.previous().last)
    if preset == "this_year":
        return Period(date(today.year, 1, 1), month.last)
    if preset == "last_year":
        return Period(date(today.year - 1, 1, 1), date(today.year - 1, 12, 31))
    if preset == "yesterday":
        return Period(yesterday, yesterday)
    if preset.startswith("last_") and preset.endswith("_days"):
        return Period(today - timedelta(days=int(preset.split("_")[1])), yesterday)
    raise BadInputError("preset", f"there is no {preset!r}", f"name one of {', '.join(PRESETS)}")


def _period(said: Mapping[str, Any], by: str, today: date, preset_usual: str) -> Period:
    if said.get("from") is None and said.get("to") is None:
        preset = said.get("preset", preset_usual)
        if preset not in PRESETS:
            raise BadInputError("preset", f"there is no {preset!r}", f"name one of {', '.join(PRESETS)}")
        return preset_period(preset, today)
    if said.get("preset") is not None:
        raise BadInputError("preset", "is given beside dates", "give either a preset, or from and to")
    first, last = (_day(said, name, is_end=name == "to") for name in ("from", "to"))
    if last < first:
        raise BadInputError("to", f"{last} is before from, {first}", "both ends are included: put them in order")
    for name, day in (("from", first), ("to", last)):
        if day.year not in _YEARS:
            raise BadInputError(name, f"{day} is of no year that has bills", "write a date of 2000 to 2099")
    months = Cycle.of(last).since(Cycle.of(first)) + 1
    if months > MONTHS_MAX:
        raise BadInputError("to", f"{first} to {last} is {months} months", f"ask for at most {MONTHS_MAX} at a time")
    if by == BILLING and (first.day != 1 or (last + timedelta(days=1)).day != 1):
        problem = f"{first} to {last} cuts a month"
        raise BadInputError("from", problem, "bills are of whole months: give whole ones, or by: usage")
    return Period(first, last)


def _day(said: Mapping[str, Any], name: str, *, is_end: bool) -> date:
    """A date, or a month as its first or last day."""
    value = said.get(name)
    if not isinstance(value, str):
        raise BadInputError(name, "is missing" if value is None else f"is {value!r}", "write YYYY-MM-DD or YYYY-MM")
    if len(value) == len("2025-06"):
        month = Cycle.parse(value, name)
        return month.last if is_end else month.first
    return parse_date(value, name)


def _filters(named: Sequence[Filter], said: object, currency: object) -> dict[str, tuple[str, ...]]:
    """What is narrowed by, with the defaults that the report has."""
    if not isinstance(said, dict):
        raise BadInputError("filters", f"is {said!r}", "write NAME: [VALUES]")
    known = {one.name: one for one in named}
    asked: dict[str, Any] = {**said, **({} if currency is None else {"currency": currency})}
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise BadInputError(
            f"filters.{unknown[0]}", "is no filter of this report", f"its filters are {', '.join(known)}"
        )
    found: dict[str, tuple[str, ...]] = {one.name: (one.default,) for one in named if one.default}
    found |= {name: _values(known[name], value) for name, value in asked.items()}
    return dict(sorted(found.items()))


def _values(filter_: Filter, said: object) -> tuple[str, ...]:
    place = f"filters.{filter_.name}"
    values = [said] if isinstance(said, str) else said
    if not isinstance(values, list | tuple) or not values or not all(isinstance(one, str) for one in values):
        raise BadInputError(place, f"is {said!r}", "give one text, or a list of them; leave the filter out for all")
    if len(values) > VALUES_MAX or (len(values) > 1 and not filter_.is_many):
        most = VALUES_MAX if filter_.is_many else 1
        raise BadInputError(place, f"has {len(values)} values", f"give at most {most}")
    for one in values:
        if len(one) > _VALUE_MAX or not one.isprintable():
            raise BadInputError(place, f"{one[:40]!r} cannot be a value", f"give at most {_VALUE_MAX} characters")
        _refuse_impossible(filter_.name, one, place)
    return tuple(sorted(set(values)))


def _refuse_impossible(name: str, value: str, place: str) -> None:
    """Refuse what a filter can never find; an empty value means what has none."""
    if name == "tag":
        tag_of(value)
    elif name == "group_by":
        grouped_by(value)
    elif name == "month" and value:
        Cycle.parse(value, place)
    elif name == "date" and value:
        parse_date(value, place)
    elif name == "charge" and value not in CHARGES:
        raise BadInputError(place, f"there is no {value!r}", f"name one of {', '.join(CHARGES)}")


def _columns(known: Sequence[Column], said: object) -> tuple[str, ...]:
    names = [one.name for one in known]
    if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
        raise BadInputError("columns", f"is {said!r}", "give a list of names")
    for one in said:
        if one not in names:
            raise BadInputError("columns", f"there is no {one!r} in this report", f"its columns are {', '.join(names)}")
    if not said:
        return tuple(names)
    # Amounts of two currencies are never one sum, so their currency comes with them.
    is_summed = any(one.type.is_summed for one in known if one.name in said)
    return tuple(one for one in names if one in said or (is_summed and one == "currency"))
