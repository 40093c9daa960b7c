"""Build a run: its rows, its file, and last the object that says that it is whole.

A run is built as often as somebody is told to, and is the same each time: `at` is when it was asked for, objects are
created once, by name, and the row is ended once. So one that died is built by the event's repetition.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.access.principal import scope_of
from shared.access.scope import View
from shared.cycle import parse_date, parse_instant, stamp
from shared.errors import BadInputError, ClearbookError, SettingError
from shared.events.owners import OwnerEvent
from shared.ids import canonical_json
from shared.ports import ObjectEvent, ServiceError
from shared.report.asking import Ask, parse_ask
from shared.services import Services
from shared.steps import state
from shared.steps.reporting import runs
from shared.steps.reporting.runs import FAILED, ROWS, SEAL, SUCCEEDED, VIEW, Run

if TYPE_CHECKING:
    from shared.report.answer import Answer

_ACTOR = "build_report"
_TRIES = 3  # data that changes more often than that while it is read is asked for again later


class DataMovesError(ClearbookError):
    """What the report rests on changed each time while it was read."""

    code = "data_moves"
    retryable = True


def build(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Build the run that an object asks for. What is asked is in its row: an object in a bucket decides nothing."""
    owner, id_ = runs.parse_request_key(event.key)
    run = runs.find(services, owner, id_, event.at)
    if run is None:
        raise BadInputError(f"object {event.key}", "asks for a run that nobody requested", "request it at the portal")
    done = carry_out(services, run, event.at)
    services.buckets.reports.delete(event.key)  # what is left there is what nobody has built yet
    services.record(_ACTOR, event.key, stamp(event.at), done.state)
    return {"owner": owner, "run": id_, "state": done.state, "rows": done.said["rows"]}


def carry_out(services: Services, run: Run, at: datetime) -> Run:
    """Build a run unless it is finished, and leave its event; how it ended.

    A refusal that would be the same again ends it as failed, with the reason; anything else raises, to be tried again.
    """
    if not run.has_ended:
        run = runs.tell(services, run, "reading", at)
        try:
            outcome = _outcome(services, run, at, _TRIES)
        except ClearbookError as exc:
            if exc.retryable or isinstance(exc, ServiceError | SettingError):
                raise
            outcome = {"state": FAILED, "because": str(exc), "finished_at": stamp(at)}
        run = runs.end(services, run, outcome, at)
    _tell(services, run)
    return run


def asked(run: Run) -> Ask:
    """What a run was asked for."""
    said = run.said["ask"]
    return parse_ask(said, View(run.owner.partition(".")[0]), parse_date(said["to"]))


def _outcome(services: Services, run: Run, at: datetime, tries: int) -> dict[str, Any]:
    """What its row is to say; it is built under the name of the data that it was made of."""
    from shared.steps.reporting import answering

    parties, _ = state.parties(services)
    scope, ask = scope_of(parties, run.owner), asked(run)
    for _ in range(tries):
        before = answering.inputs_digest(services, scope, ask)
        # Between the request and now the data may have become another: then the request's name is not its own.
        name = runs.id_of(scope, ask.digest, run.format, before)
        where = run if name == run.id else _other(services, run, name, at)
        sealed = services.buckets.reports.find(where.folder + SEAL)
        if sealed is None:
            with tempfile.TemporaryDirectory(dir=services.scratch) as folder:
                answer = answering.answer(
                    services, scope, ask, at=str(where.said["at"]), folder=Path(folder),
                    told=lambda text: _told(services, run, text, at),
                )  # fmt: skip
                if answering.inputs_digest(services, scope, ask) != before:
                    continue
                sealed = _keep(services, where, ask, answer, Path(folder))
        outcome = _succeeded(where, json.loads(sealed), at)
        if where is not run:
            runs.end(services, where, outcome, at)
        return outcome
    raise DataMovesError(f"what run {run.id} rests on changed {tries} times while it was read; ask for it again")


def _told(services: Services, run: Run, text: str, at: datetime) -> None:
    # The row as it is now: its version is one more with each word.
    found = runs.find(services, run.owner, run.id, at)
    if found is not None and not found.has_ended:
        runs.tell(services, found, text, at)


def _other(services: Services, run: Run, name: str, at: datetime) -> Run:
    """The run that the data of now has."""
    asked = {name: run.said[name] for name in ("ask", "format", "by")}
    return runs.open_(services, run.owner, name, asked, at)


def _keep(services: Services, run: Run, ask: Ask, answer: Answer, folder: Path) -> bytes:
    """Keep rows and files, then the object that says which there are."""
    from shared.report import files

    reports, names = services.buckets.reports, []
    reports.upload_once(run.folder + ROWS, answer.path)
    if run.format != VIEW:
        name = f"{ask.report}-{ask.period.first}-{ask.period.last}.{run.format}"
        files.write(answer, run.format, ask.language, folder / name)
        names = [name]
        if run.format in ("csv", "parquet"):
            (folder / f"{name}.about.json").write_bytes(files.sidecar(answer))
            names.append(f"{name}.about.json")
    for name in names:
        reports.upload_once(run.folder + name, folder / name)
    said = {
        "about": files.metadata(answer),
        "rows": answer.rows,
        "files": [_file(folder / name, run.format) for name in names],
    }
    reports.put_once(run.folder + SEAL, canonical_json(said))
    return canonical_json(said)


def _file(path: Path, format_: str) -> dict[str, Any]:
    kind = "metadata" if path.name.endswith(".about.json") else format_
    with path.open("rb") as body:
        digest = hashlib.file_digest(body, "sha256").hexdigest()
    return {"name": path.name, "format": kind, "bytes": path.stat().st_size, "digest": digest}


def _succeeded(where: Run, sealed: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    # The bucket counts from when the files were written, which is not before the run was asked for.
    expires = stamp(parse_instant(str(where.said["at"])) + runs.KEPT)
    return {
        "state": SUCCEEDED,
        "rows": sealed["rows"],
        "files": sealed["files"],
        "finished_at": stamp(at),
        "expires_at": expires,
        "body": where.folder,
    }


def _tell(services: Services, run: Run) -> None:
    """Leave the event of a file that is there or could not be made; who looked at rows has seen them."""
    if run.format == VIEW or run.state not in (SUCCEEDED, FAILED):
        return
    name = "report.ready" if run.state == SUCCEEDED else "report.failed"
    names = ("format", "rows", "because", "expires_at")
    data = {"run": run.id, "report": run.said["ask"]["report"], **{one: run.said[one] for one in names}}
    event = OwnerEvent(run.owner, name, f"{run.id}/{run.said['attempt']}", str(run.said["finished_at"]), data)
    event.leave(services.buckets.work)
