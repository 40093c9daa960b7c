"""Ingest a bill file from the inbox: its day parts, then for each bill in it what its source now says, sealed.

An object is read as it is when its event is carried out, and known by its key and eTag: one that is written again is
read again, and replaces what it said before. Order of the writes: the raw file under its digest (bucket records); the
parts; the entry in the chain; rows and waking object as for any seal; last the note of what became of the file.
Whatever cannot be read as a whole is refused with its reason, and lies in the inbox and among the records.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.bill import formats, parts, pulls
from shared.bill.formats import CYCLE, DAY, MONTH, Format
from shared.bill.normalise import Reading
from shared.bill.pulls import Pull
from shared.bill.snapshot import FINAL, PROVISIONAL, Part, Seal, Snapshot, observations, seals, stream_of
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.parties.parties import Connector, Parties
from shared.ports import ObjectEvent, ObjectMissingError, ServiceError
from shared.services import Services
from shared.steps import day_parts, sealing, splitting, state
from shared.steps.repairing import repairs
from shared.steps.splitting import Split, place_of

PREFIX = "bills/"
IMPORTED = "bills/import/"
_ACTOR = "ingest_bill"
# Rows lie on the disk; what is worked on at a time fits into this, however long the bill is. Below some 16 MB for each
# column that a form reads DuckDB would turn CSV into Parquet with one thread alone; days are put in order in less.
_READING_MB, _BUILDING_MB = 700, 350
_SHARE_LINES = 500_000  # of the days that are built together: what is asked of all their lines at once fits too
_TRIES = 5  # at an entry, while others write to the same stream


@dataclass(frozen=True, slots=True)
class Told:
    """What the name of an object says of the file; what it does not say is empty."""

    payer: str = ""
    cycle: str = ""
    covers: str = CYCLE
    by: str = DAY  # of what a row is: a day, or a month and so without a date
    whole: str = ""  # of one of several parts: what the names of all have in common


def ingest_file(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Ingest the bill file as it lies in the inbox now."""
    version = services.buckets.inbox.version(event.key)
    if version is None:
        return {"file": event.key, "note": "is no longer there"}
    with TemporaryDirectory(dir=services.scratch) as folder:
        taking = _Taking(services, event, version.at, Path(folder))
        noted = services.buckets.work.find(note_key(event.key, version.tag))
        if noted is not None and taking.stands(json.loads(noted)):
            return {**json.loads(noted), "note": "taken before"}
        try:
            services.buckets.inbox.download(event.key, taking.path)
        except ObjectMissingError:
            return {"file": event.key, "note": "is no longer there"}
        try:
            taken = taking.take()
        except BadInputError as exc:
            refusal = taking.refusal(exc)
            _note(services, event.key, version.tag, {"file": event.key, "refused": str(refusal)})
            raise refusal from exc
    services.buckets.work.put_again(said_key(event.key), canonical_json(taken))
    _note(services, event.key, version.tag, taken)
    services.record(_ACTOR, event.key, stamp(event.at), json.dumps(taken, ensure_ascii=False))
    return taken


def note_key(key: str, version: str) -> str:
    """What became of a version of an object (bucket work)."""
    return f"files/{digest(key.encode())[:32]}/{version}.json"


def said_key(key: str) -> str:
    """The note of the version of an object that was taken last (bucket work)."""
    return f"files/{digest(key.encode())[:32]}/said.json"


def is_taken(services: Services, key: str) -> bool:
    """Whether the file as it lies in the inbox was taken or refused; one that is gone asks nothing."""
    version = services.buckets.inbox.version(key)
    return version is None or services.buckets.work.exists(note_key(key, version.tag))


def raw_key(content: str) -> str:
    """Where a bill file is kept as it came (bucket records)."""
    return f"raw/files/{content}"


def _note(services: Services, key: str, version: str, taken: Mapping[str, Any]) -> None:
    services.buckets.work.put_again(note_key(key, version), canonical_json(taken))


class _Taking:
    """One file on its way; `written` is when the object was."""

    def __init__(self, services: Services, event: ObjectEvent, written: datetime, folder: Path) -> None:
        self._services, self._event, self._folder = services, event, folder
        self._written = written
        self._parties: Parties = state.parties(services)[0]
        self._splits: dict[str, Split] = {}
        # One for the whole of the file: what people approve meanwhile must not split it between two readings.
        self._readings: dict[tuple[str, str], Reading] = {}
        self.path = folder / "file"

    def stands(self, noted: Mapping[str, Any]) -> bool:
        """Whether what was noted of the file is still what its bills say of it, read as it would be read today."""
        if "refused" in noted:
            return False
        form = formats.load(noted["form"].partition("/")[0])
        reading = self._reading(self._event.key, form).digest
        for bill in noted["bills"]:
            entries = self._services.chain.read(stream_of(bill["account"], bill["cycle"]))
            connector = self._parties.connectors[bill["account"]]
            last = self._newest(entries, noted["source"])
            said = last.files.get(self._event.key, {}) if last else {}
            is_said = (said.get("digest"), said.get("reading")) == (noted["digest"], reading)
            if "note" in bill or last is None or not is_said or not _is_due(entries, last, connector):
                return False
        return True

    def refusal(self, exc: BadInputError) -> BadInputError:
        """The refusal of the file, which names the bills that rest on what an earlier version of it said."""
        body = self._services.buckets.work.find(said_key(self._event.key))
        said = {"bills": []} if body is None else json.loads(body)
        standing = []
        for bill in said["bills"]:
            entries = self._services.chain.read(stream_of(bill["account"], bill["cycle"]))
            last = self._newest(entries, said["source"])
            if last is not None and self._event.key in last.files:
                standing.append(f"{bill['account']} {bill['cycle']}, entry {last.seq}")
        if not standing:
            return exc
        remedy = f"{exc.remedy}; until then what an earlier version of it said stands ({'; '.join(standing)})"
        return BadInputError(exc.place, exc.problem, remedy)

    def take(self) -> dict[str, Any]:
        """Read the file, and say in each bill's stream what it says; what became of it."""
        with connect(self._services.scratch, threads=self._services.threads) as connection:
            self._connection = connection
            return self._taken()

    def _allow(self, memory_mb: int) -> None:
        """What the database may hold from now on."""
        self._connection.execute(f"SET memory_limit = '{min(memory_mb, self._services.memory_mb)}MB'")

    def _taken(self) -> dict[str, Any]:
        key = self._event.key
        self._allow(_READING_MB)
        with ThreadPoolExecutor(1) as pool:
            keeping = pool.submit(self._keep_raw)  # while it is read
            try:
                split = splitting.split(self._connection, self.path, key, partial(self._reading, key), self._folder)
            finally:
                content = keeping.result()
        self._splits[content] = split
        if not split.counts:
            problem = f"none of its {split.rows} rows is a line"
            problem += f": row {split.rejects[0].row}: {split.rejects[0].reason}" if split.rejects else ""
            raise BadInputError(key, problem, "check the mapping of its form, and the connector of its payer")
        source, bills = source_of(key, split.form), []
        for account, cycle in split.cycles:
            about = self._about(key, content, stamp(self._written), account, cycle)
            bills.append(self._say(account, Cycle.parse(cycle), source, about))
        return {
            "file": key, "source": source, "digest": content, "form": split.form.id,
            "covers": told_by(key, split.form).covers, "rows": split.rows,
            "lines": sum(split.counts.values()), "totals": split.totals, "rejects": len(split.rejects), "bills": bills,
        }  # fmt: skip

    def _keep_raw(self) -> str:
        """Keep the file as it came; its digest."""
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        self._services.buckets.records.upload_once(raw_key(content), self.path)
        return content

    # -- reading

    def _split(self, key: str, content: str) -> Split:
        """The file of this name and content taken apart, once."""
        if content not in self._splits:
            path = self._folder / content
            self._services.buckets.records.download(raw_key(content), path)
            self._allow(_READING_MB)
            self._splits[content] = splitting.split(
                self._connection, path, key, partial(self._reading, key), self._folder
            )
        return self._splits[content]

    def _reading(self, key: str, form: Format) -> Reading:
        """How a file is read today, found out once."""
        if (key, form.name) not in self._readings:
            self._readings[key, form.name] = self._reading_of(key, form)
        return self._readings[key, form.name]

    def _reading_of(self, key: str, form: Format) -> Reading:
        """How a file is read; refused where its name does not tell whose bill it is, and what of it."""
        told = told_by(key, form)
        remedy = f"hand it in with `clearbook bill import`, or under {IMPORTED}<payer>/<cycle>/"
        if not told.payer:
            raise BadInputError(key, f"is named like no file of form {form.id}: nothing tells its payer", remedy)
        if told.covers == CYCLE and not told.cycle:
            raise BadInputError(key, "does not tell by its name which cycle it covers", remedy)
        connector = self._parties.connectors.get(told.payer)
        if connector is None:
            problem = f"is of payer {told.payer}, which has no connector"
            raise BadInputError(key, problem, "add the payer to the party document")
        return Reading(
            form, connector.refund_sign, told.payer, told.cycle, "", connector.currency, connector.account_names,
            repairs(self._services, told.payer, form.name),
        )  # fmt: skip

    def _about(self, key: str, content: str, written: str, account: str, cycle: str) -> dict[str, Any]:
        """What an entry says of a file, read as it is read today."""
        split = self._split(key, content)
        told = told_by(key, split.form)
        about: dict[str, Any] = {
            "digest": content, "form": split.form.id, "reading": split.reading.digest, "written": written,
            "covers": told.covers, "whole": told.whole, "rows": split.rows, "lines": sum(split.counts.values()),
            "dates": split.dates(account, cycle),
        }  # fmt: skip
        if split.rejects and (account, cycle) == split.cycles[0]:  # rows without a bill are told of in the first
            body = parts.rejects_json(split.rejects)
            where = f"files/rejects/{content[:32]}-{digest(body)[:16]}.json"
            self._services.buckets.work.put_once(where, body)
            about["rejects"] = {"count": len(split.rejects), "key": where}
        return about

    # -- saying it

    def _newest(self, entries: list[Entry], source: str) -> Seal | None:
        """What the source said last, with all that it says of its files."""
        found = observations(entries, source)[-1:]
        return state.with_files(self._services, found[0]) if found else None

    def _say(self, account: str, cycle: Cycle, source: str, about: dict[str, Any]) -> dict[str, Any]:
        """Say in the bill's stream what the file says of it, and finish what that begins."""
        services, stream = self._services, stream_of(account, str(cycle))
        connector = self._parties.connectors[account]
        for _ in range(_TRIES):
            entries = services.chain.read(stream)
            made = self._observation(connector, cycle, source, entries, about)
            if isinstance(made, Seal):
                sealing.finish(services, made, entries)
                return {"account": account, "cycle": str(cycle), "seq": made.seq, "status": made.status}
            if isinstance(made, str):
                return {"account": account, "cycle": str(cycle), "note": made}
            stood = len(entries)

            def decide(
                entries: list[Entry], made: tuple[Seal, Snapshot] = made, stood: int = stood
            ) -> tuple[Seal, Snapshot] | None:
                return made if len(entries) == stood else None  # else somebody said something meanwhile: look again

            sealing.append(services, connector, cycle, source, decide, stamp(self._event.at))
            entries = services.chain.read(stream)
            last = self._newest(entries, source)
            if last is not None and (last.snapshot, last.files) == (made[0].snapshot, made[0].files):
                sealing.finish(services, last, entries)
                return {"account": account, "cycle": str(cycle), "seq": last.seq, "status": last.status}
        problem = f"was written to by others {_TRIES} times in a row"
        raise ServiceError(f"cannot append to {stream}", problem, "it is tried again", retryable=True)

    def _observation(
        self, connector: Connector, cycle: Cycle, source: str, entries: list[Entry], about: dict[str, Any]
    ) -> tuple[Seal, Snapshot] | Seal | str:
        """What is to be said now; the observation that says it already; or why nothing is said."""
        last, key = self._newest(entries, source), self._event.key
        before: dict[str, Any] = dict(last.files) if last else {}
        mine = before.get(key, {})
        is_same = (mine.get("digest"), mine.get("reading")) == (about["digest"], about["reading"])
        if last is not None and is_same and _is_due(entries, last, connector):
            return last
        others = {name: one for name, one in before.items() if name != key}
        if mine and mine["written"] > about["written"]:
            return "a newer version of it was read"
        full = {name: one for name, one in others.items() if one["covers"] == CYCLE}
        if about["covers"] == DAY:
            if full:
                return f"the whole cycle is known from {min(full)}; a day's file changes nothing of it"
            together = others
        else:
            together = {name: one for name, one in full.items() if about["whole"] and one["whole"] == about["whole"]}
            newer = [name for name in full.keys() - together if full[name]["written"] > about["written"]]
            if newer:
                return f"is older than {min(newer)}, which is the whole cycle too"
        same = [name for name, one in together.items() if one["digest"] == about["digest"]]
        if same and not mine:
            return f"is the same as {min(same)}"
        now = together if same else {**together, key: about}
        return self._sealed(connector.account, cycle, source, last, now, entries)

    def _sealed(
        self, account: str, cycle: Cycle, source: str, last: Seal | None, files: dict[str, Any], entries: list[Entry]
    ) -> tuple[Seal, Snapshot]:
        now = {name: self._as_today(name, one, account, str(cycle)) for name, one in files.items()}
        read: dict[str, str] = {}
        built: dict[str, Part] = {}
        rejects = {f"file {name}": one["rejects"] for name, one in now.items() if "rejects" in one}
        for day, described in self._parts(account, str(cycle), now):
            read[day], built[day] = described["source"], Part(**described["part"])
            if described["rejects"]:
                where = day_parts.source_key(account, str(cycle), day, described["source"], "rejects.json")
                rejects[day] = {"count": described["rejects"], "key": where}
        snapshot = Snapshot(account, str(cycle), built)
        slot = pulls.file_slot(self._written)
        controls = self._controls(account, cycle, entries)
        compared, is_explained = sealing.kept_differences(self._services, snapshot, slot, controls, 1)
        is_final = last is not None and last.status == FINAL
        if all(one["covers"] == CYCLE for one in now.values()) and self._written >= cycle.final_from():
            # How many parts there are nobody says: that none is missing only the provider's own totals can show.
            is_final = is_final or (bool(compared["key"]) and is_explained) or not any(o["whole"] for o in now.values())
        taken = dict.fromkeys(built, slot)
        seal = Seal(
            account, str(cycle), slot, source, FINAL if is_final else PROVISIONAL, snapshot.id, snapshot.rows,
            snapshot.totals, taken, rejects, compared, read, now,
        )  # fmt: skip
        return seal, snapshot

    def _as_today(self, key: str, one: dict[str, Any], account: str, cycle: str) -> dict[str, Any]:
        """What an earlier file says when it is read as files are read today."""
        form = formats.load(one["form"].partition("/")[0])
        if one["reading"] == self._reading(key, form).digest:
            return one
        return self._about(key, one["digest"], one["written"], account, cycle)

    def _controls(self, account: str, cycle: Cycle, entries: list[Entry]) -> dict[str, Any]:
        """The newest control totals that the provider's API gave, whichever source is settled."""
        for one in reversed(observations(entries, "api")):
            found = {}
            for name, what in sealing.CONTROLS.items():
                body = self._services.buckets.work.find(Pull(account, cycle, what, one.slot).ingested_key)
                if body is not None:
                    found[name] = json.loads(body)
            if found:
                return found
        return {}

    def _parts(self, account: str, cycle: str, files: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each day's part, built from all files (object -> what is known of it) that have rows of it.

        Several days are built at the same time; they are kept one after the other.
        """
        known: dict[str, dict[str, Any]] = {}
        missing: dict[tuple[tuple[str, str], ...], list[_Wanted]] = {}  # those of the same files can be built together
        for day in sorted({day for one in files.values() for day in one["dates"]}):
            mine = tuple(sorted((one["digest"], key) for key, one in files.items() if day in one["dates"]))
            form = formats.load(files[mine[0][1]]["form"].partition("/")[0])
            reading = replace(self._reading(mine[0][1], form), payer=account, cycle=cycle, date=day)
            wanted = _Wanted(reading, mine)
            described = day_parts.known(self._services, account, cycle, day, wanted.read)
            if described is None:
                missing.setdefault(mine, []).append(wanted)
            else:
                known[day] = described
        yield from known.items()
        splits = {contents: [self._split(key, content) for content, key in contents] for contents in missing}
        self._allow(_BUILDING_MB)
        with ThreadPoolExecutor(self._services.threads) as pool:
            building: list[Future[list[tuple[_Wanted, day_parts.Draft]]]] = []
            for contents, days in missing.items():
                shares = self._shares(splits[contents], days)
                building += [pool.submit(self._built, splits[contents], share) for share in shares]
            for done in building:
                for wanted, draft in done.result():
                    yield wanted.reading.date, self._kept(wanted, draft)

    def _shares(self, splits: list[Split], days: list[_Wanted]) -> list[list[_Wanted]]:
        """The days in shares that are built together: one for each thread, and none that grows with the bill."""
        shares, held = list[list[_Wanted]](), 0
        most = -(-len(days) // self._services.threads)
        for one in days:
            lines = sum(split.counts.get(one.place, 0) for split in splits)
            if not shares or len(shares[-1]) == most or held + lines > _SHARE_LINES:
                shares.append([])
                held = 0
            shares[-1].append(one)
            held += lines
        return shares

    def _built(self, splits: list[Split], days: list[_Wanted]) -> list[tuple[_Wanted, day_parts.Draft]]:
        """The parts of some days, from the tables of all their files numbered one after the other."""
        places = {place_of(*one.place): one for one in days}
        folders = {place: self._folder / place for place in places}
        found, before = [], 0
        for split in splits:
            found.append(f"SELECT * REPLACE (page + {before} AS page) FROM {split.all}")  # noqa: S608
            before += len(split.pages)
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        with self._connection.cursor() as connection:
            rows = f"({' UNION ALL BY NAME '.join(found)})"
            drafts = day_parts.build(connection, rows, days[0].reading.form, folders)
        return [(one, drafts[place]) for place, one in places.items()]

    def _kept(self, wanted: _Wanted, draft: day_parts.Draft) -> dict[str, Any]:
        pages = [
            f"{raw_key(content)}#{number}"
            for content, _ in wanted.contents
            for number in range(1, len(self._splits[content].pages) + 1)
        ]
        described = day_parts.keep(self._services, wanted.reading, wanted.read, draft, {"pages": pages})
        shutil.rmtree(draft.part_path.parent)
        return described


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A day's part: how it is read, and from which (content, object)."""

    reading: Reading
    contents: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[str, str, str]:
        """Payer, cycle and date."""
        return self.reading.payer, self.reading.cycle, self.reading.date

    @property
    def read(self) -> str:
        """The digest of what is read."""
        return day_parts.read_as(self.reading, [content for content, _ in self.contents])


def _is_due(entries: list[Entry], seal: Seal, connector: Connector) -> bool:
    """Whether the observation stands as it should today: the newest seal if its source is settled, else no seal."""
    if connector.source_in(Cycle.parse(seal.cycle)) == seal.source:
        return [one.seq for one in seals(entries)[-1:]] == [seal.seq]
    return not sealing.is_sealed(entries, seal)


def source_of(key: str, form: Format) -> str:
    """What an observation of such a file is called: the source, and the grain where it is not the settled one."""
    grain = [form.grain] if form.grain != "billing_item" else []
    return "-".join([form.source, *grain, *([MONTH] if told_by(key, form).by == MONTH else [])])


def told_by(key: str, form: Format) -> Told:
    """What the name of an object says; of one that follows no known pattern nothing is told."""
    if key.startswith(IMPORTED):
        account, _, rest = key.removeprefix(IMPORTED).partition("/")
        cycle, _, name = rest.partition("/")
        told = _told_by_name(name, form)
        return replace(told, payer=account, cycle=str(Cycle.parse(cycle, key)))
    return _told_by_name(key.rpartition("/")[2], form)


def _told_by_name(name: str, form: Format) -> Told:
    for known in form.names:
        match = known.pattern.match(name)
        if match:
            said = match.groupdict()
            month = said.get("cycle") or ""
            cycle = str(Cycle.parse(f"{month[:4]}-{month[-2:]}", name)) if month else ""
            part = match.span("part") if said.get("part") else (0, 0)
            whole = f"{name[: part[0]]}*{name[part[1] :]}" if part != (0, 0) else ""
            return Told(said.get("payer") or "", cycle, known.covers, known.by, whole)
    return Told()
