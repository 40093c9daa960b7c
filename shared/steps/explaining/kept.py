"""A settlement as it is kept: its manifest, its lines, and the day parts that its manifest names, to be asked.

Lines, cases and bill lines are Parquet that is fetched once and asked with DuckDB; what is asked for by sorted columns
(agreement, customer, product of settlement lines; account and id of bill lines) reads little of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.bill.snapshot import SEALED, Seal, part_key, stream_of
from shared.chain.entry import Entry
from shared.columnar import quoted
from shared.control import months
from shared.control.approvals import APPROVED
from shared.cycle import LOOK_BACK, Cycle
from shared.errors import BadInputError, ClearbookError
from shared.money import text
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import inputs, state

if TYPE_CHECKING:
    import duckdb

    from shared.agreement.agreement import Agreement

Facts = dict[str, Any]
PREFIX = "settlements/"


class ContradictionError(ClearbookError):
    """What a settlement keeps does not follow from its inputs."""

    code = "contradiction"

    def __init__(self, what: str, found: object, kept: object) -> None:
        super().__init__(
            f"{what} comes to {found}, the settlement has {kept}; keep everything as it is and compare the objects "
            "that its manifest names with their names"
        )


def plain(value: Any) -> Any:
    """A value of a row as JSON holds it: amounts and dates as text."""
    if isinstance(value, Decimal):
        return text(value)
    return value.isoformat() if isinstance(value, date) else value


def asked(connection: duckdb.DuckDBPyConnection, query: str, **given: object) -> list[Facts]:
    """The rows of a query, each by the names of its columns."""
    cursor = connection.execute(query, given)
    names = [one[0] for one in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def approval(entries: Sequence[Entry], act: str, what: Mapping[str, Any]) -> Facts | None:
    """Who proposed and who approved the newest act that says all of `what`, and where that stands in the chain."""
    for entry in reversed(entries):
        is_act = entry.kind == APPROVED and entry.body["act"] == act
        if is_act and what.items() <= entry.body["what"].items():
            return _approval(entries, entry)
    return None


def decided(entries: Sequence[Entry], proposal: str) -> Facts:
    """The same of the proposal of that name, which was approved; nothing where it is of another stream."""
    for entry in entries:
        if entry.kind == APPROVED and f"{entry.stream}#{entry.body['proposal']}" == proposal:
            return _approval(entries, entry)
    return {}


def _approval(entries: Sequence[Entry], entry: Entry) -> Facts:
    proposal = next(one for one in entries if one.seq == entry.body["proposal"])
    return {
        "entry": f"{entry.stream}#{entry.seq}",
        "proposed_by": proposal.actor,
        "approved_by": entry.actor,
        "at": entry.at,
        "why": proposal.why,
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """A settlement of a share and cycle, and the entries of its stream.

    Its bills and tables are those of its cycle, or of the earlier one that it is `looking_at`.
    """

    services: Services
    connection: duckdb.DuckDBPyConnection
    cycle: str
    owner: str
    id: str
    entries: Sequence[Entry]
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    versions: Sequence[Agreement]  # those that its manifest names
    of: str = ""  # the earlier cycle

    def looking_at(self, cycle: str) -> Kept:
        """The settlement as it looks at an earlier cycle."""
        return replace(self, of="" if cycle == self.cycle else cycle)

    @property
    def seen(self) -> str:
        """The cycle that is looked at."""
        return self.of or self.cycle

    @property
    def tables(self) -> Mapping[str, Any]:
        """The bills and tables of the cycle that is looked at."""
        found: Mapping[str, Any] = self.manifest["earlier"][self.of] if self.of else self.manifest
        return found

    @property
    def bills(self) -> Mapping[str, Mapping[str, str]]:
        """The day parts of that cycle, by payer and date."""
        found: Mapping[str, Mapping[str, str]] = self.tables["bills"]
        return found

    @property
    def locked(self) -> Mapping[str, str]:
        """The locked settlements that it stands on, by cycle."""
        found: Mapping[str, str] = self.manifest["locked"]
        return found

    @property
    def looked_back(self) -> Mapping[str, str]:
        """The locked cycles that something had reached, and what."""
        found = self.summary.get("looked_back", {})
        return {cycle: str(said).partition(": ")[2] for cycle, said in found.items()}

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return state.folder_of(self.cycle, self.owner, self.id)

    @property
    def month(self) -> months.Month:
        """Where its month stands."""
        return months.months(list(self.entries)).get(self.cycle, months.Month(self.cycle))

    @property
    def state(self) -> str:
        """What it is: a draft, superseded, or where its month stands."""
        if self.month.settlement == self.id:
            return self.month.state
        return "superseded" if self.calculated else "draft"

    @property
    def calculated(self) -> Entry | None:
        """The entry that decided it."""
        mine = (one for one in self.entries if one.kind == months.CALCULATED and one.body["settlement"] == self.id)
        return next(mine, None)

    def lines(self, where: str, order: str = "ALL", **given: object) -> list[Facts]:
        """Its settlement lines that meet a condition."""
        query = f"SELECT * FROM {self.source()} WHERE {where} ORDER BY {order}"  # noqa: S608 - our own conditions
        return asked(self.connection, query, **given)

    def source(self, name: str = "lines") -> str:
        """SQL for its lines, or for what it holds in cases."""
        return parquet([self._local(self.folder + f"{name}.parquet")])

    def parts(self, day: str | None = None, payer: str | None = None) -> str:
        """SQL for the bill lines of its day parts: all, those of a day, or of a payer."""
        return parquet(self.part_paths(day, payer))

    def part_paths(self, day: str | None = None, payer: str | None = None) -> list[str]:
        """The same as local files."""
        return [
            self._local(part_key(one, self.seen, on, digest))
            for one, days in self.bills.items()
            for on, digest in days.items()
            if day in (None, on) and payer in (None, one)
        ]

    def bill_line(self, row: Mapping[str, Any]) -> Facts | None:
        """A line as its bill has it: on the row's date, or on another where it has moved since."""
        days = self.bills.get(row["payer"], {})
        for day in (row["date"], None) if row["date"] in days else (None,) if days else ():
            query = f"SELECT * FROM {self.parts(day, row['payer'])} WHERE account = $account AND line_id = $id"  # noqa: S608
            if found := self.ask(query, account=row["account"], id=row["line_id"]):
                return found[0]
        return None

    def ask(self, query: str, **given: object) -> list[Facts]:
        """The rows of a query."""
        return asked(self.connection, query, **given)

    def version(self, agreement: str, version: int) -> Agreement:
        """A version of an agreement that it was settled by."""
        return next(one for one in self.versions if (one.id, one.version) == (agreement, version))

    def begun(self, agreement: str) -> list[Agreement]:
        """The versions of an agreement begun by then, in order; the last says what is due once a month."""
        last = Cycle.parse(self.seen).last
        found = [one for one in self.versions if one.id == agreement and one.begins <= last]
        return sorted(found, key=lambda one: (one.begins, one.version))

    def seal(self, payer: str) -> tuple[Entry, Seal] | None:
        """The seal of a payer's bill that it read."""
        if self.calculated is None:
            return None
        body = self.calculated.body
        seq = (body["earlier"][self.of] if self.of else body)["seals"].get(payer)
        entries = self.services.chain.read(stream_of(payer, self.seen))
        found = next((one for one in entries if one.seq == seq and one.kind == SEALED), None)
        return None if found is None else (found, state.with_files(self.services, Seal(**found.body, seq=found.seq)))

    def named(self) -> Facts:
        """What names it, for whoever reads a fact of it."""
        calculated = self.calculated
        return {
            "id": self.id,
            "owner": self.owner,
            "cycle": self.cycle,
            "state": self.state,
            "calculated": f"{calculated.stream}#{calculated.seq}" if calculated else None,
            "calculated_at": calculated.at if calculated else None,
            "locked": approval(self.entries, months.LOCK, {"cycle": self.cycle, "settlement": self.id}),
        }

    def _local(self, key: str) -> str:
        return str(state.local_part(self.services, key))


def parquet(paths: Sequence[str]) -> str:
    """SQL for the rows of local files."""
    if not paths:
        raise BadInputError("settlement", "read no bill", "it has no line to explain")
    return f"read_parquet([{', '.join(map(quoted, paths))}])"


def opened(
    services: Services, connection: duckdb.DuckDBPyConnection, cycle: str, owner: str, settlement: str | None = None
) -> Kept | None:
    """The settlement of a share that counts, the newest draft where none was calculated, or the one that is named."""
    entries = services.chain.read(months.stream_of(owner, cycle))
    id_ = settlement or _counting(services, entries, cycle, owner)
    return None if id_ is None else _open(services, connection, cycle, owner, id_, entries)


def standing_on(kept: Kept, cycle: str) -> Kept:
    """The locked settlement of an earlier cycle that a settlement stands on."""
    found = opened(kept.services, kept.connection, cycle, kept.owner, kept.locked[cycle])
    assert found is not None  # noqa: S101 - it is named
    return found


def looking_back_to(kept: Kept) -> Iterator[Kept]:
    """The settlements of later cycles that count and that have looked back to a locked one, in order."""
    if kept.month.locked is None:
        return
    last = max(months.months(list(kept.entries)))
    for number in range(1, LOOK_BACK + 1):
        cycle = str(Cycle.parse(kept.cycle).plus(number))
        is_own_stream = kept.owner == OPERATOR  # a cycle's
        entries = kept.services.chain.read(months.stream_of(kept.owner, cycle)) if is_own_stream else kept.entries
        id_ = _counting(kept.services, entries, cycle, kept.owner)
        if id_ is not None:
            summary = inputs.Kept(cycle, kept.owner, id_).summary(kept.services)
            if kept.cycle in summary.get("looked_back", {}):
                yield _open(kept.services, kept.connection, cycle, kept.owner, id_, entries)
        elif cycle > last:
            return


def _counting(services: Services, entries: Sequence[Entry], cycle: str, owner: str) -> str | None:
    month = months.months(list(entries)).get(cycle)
    return (month.settlement if month else None) or _last_draft(services, cycle, owner)


def _open(
    services: Services,
    connection: duckdb.DuckDBPyConnection,
    cycle: str,
    owner: str,
    id_: str,
    entries: Sequence[Entry],
) -> Kept:
    work, folder = services.buckets.work, state.folder_of(cycle, owner, id_)
    manifest = inputs.parse_manifest(work.get(folder + "manifest.json"))
    summary = json.loads(work.get(folder + "summary.json"))
    versions = [state.agreement(services, digest) for _, _, digest in manifest["agreements"]]
    return Kept(services, connection, cycle, owner, id_, entries, manifest, summary, versions)


def _last_draft(services: Services, cycle: str, owner: str) -> str | None:
    keys = list(services.buckets.work.keys(inputs.drafts_prefix(cycle, owner)))
    return str(json.loads(services.buckets.work.get(keys[-1]))["settlement"]) if keys else None


def known(services: Services, cycle: str | None = None) -> Iterator[tuple[str, str, str]]:
    """(cycle, owner, id) of every settlement that is kept."""
    for key in services.buckets.work.keys(f"{PREFIX}{cycle}/" if cycle else PREFIX):
        if key.endswith("/manifest.json"):
            month, owner, settlement = key.removeprefix(PREFIX).split("/")[:3]
            yield month, owner, settlement
