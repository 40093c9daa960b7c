"""Runs: what became of each report that was asked for. The row is the truth, its folder holds what it came to.

A run is named by who may see what, the question, the format and what the answer rests on: the same request on the same
data is the same run, for everybody of an owner, and new data makes another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.access.scope import Scope
from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError, ClearbookError
from shared.events.owners import OWNER
from shared.ids import Digest, digest_of
from shared.report.asking import FORMATS
from shared.services import Services
from shared.steps.delivering import kept
from shared.steps.delivering.kept import Kept, UnknownIdError

TABLE, WHAT = "reports", "report run"
REQUESTS = "report-requests/"  # bucket reports; each wakes build_report
FOLDER = "reports/"
ROWS, SEAL = "rows.parquet", "run.json"
VIEW = "view"  # a run that is looked at, and of which there is no file
KINDS = (VIEW, *FORMATS)
KEPT = timedelta(days=90)  # then the bucket's lifecycle rule removes its files
LATE = timedelta(hours=2)  # longer than all that Function Compute tries of one may take: it was given up
QUEUED, RUNNING, SUCCEEDED, FAILED, EXPIRED = "queued", "running", "succeeded", "failed", "expired"
_KEY = re.compile(rf"{REQUESTS}({OWNER.pattern})/(run_[0-9a-f]{{40}})\.json", re.ASCII)


class GoneError(ClearbookError):
    """It was there, and is no longer."""

    code = "gone"


class NotReadyError(ClearbookError):
    """A run has nothing to show yet, or never will."""

    code = "not_ready"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its row has it."""

    kept: Kept
    is_expired: bool
    is_late: bool  # it should have ended long ago

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.kept.owner

    @property
    def id(self) -> str:
        """Its name."""
        return self.kept.id

    @property
    def said(self) -> Mapping[str, Any]:
        """All of the row."""
        return self.kept.said

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or expired."""
        return EXPIRED if self.is_expired else FAILED if self.is_late else str(self.kept.said["state"])

    @property
    def because(self) -> str:
        """Why it failed, and what to do."""
        late = f"it did not end within {LATE.seconds // 3600} hours; ask for the report again"
        return late if self.is_late else str(self.kept.said["because"])

    @property
    def format(self) -> str:
        """One of KINDS."""
        return str(self.kept.said["format"])

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.state in (SUCCEEDED, FAILED, EXPIRED)

    @property
    def has_ended(self) -> bool:
        """Whether somebody wrote down how it ended: one that is late may still be built."""
        return self.kept.said["state"] in (SUCCEEDED, FAILED)

    @property
    def folder(self) -> str:
        """Where it lies (bucket reports): made anew after it has expired or failed, it lies beside what was."""
        return folder(self.owner, self.id, int(self.said["attempt"]))

    @property
    def body(self) -> str:
        """The folder of what it came to: another's where the data changed before it was made."""
        return str(self.said["body"] or self.folder)

    def file(self, name: str) -> Mapping[str, Any]:
        """One of its files by name; raises UnknownIdError, NotReadyError and GoneError."""
        refuse_unready(self)
        for one in self.said["files"]:
            if one["name"] == name:
                return dict(one)
        raise UnknownIdError("file", name)


def id_of(scope: Scope, question: Digest, format_: str, inputs: Digest) -> str:
    """The name of a run."""
    return f"run_{digest_of([scope.fingerprint, question, format_, inputs])[:40]}"


def folder(owner: str, id_: str, attempt: int) -> str:
    """Where the files of a run lie (bucket reports)."""
    return f"{FOLDER}{owner}/{id_}{'' if attempt == 1 else f'-{attempt}'}/"


def request_key(run: Run) -> str:
    """The object that wakes build_report."""
    return f"{REQUESTS}{run.owner}/{run.id}.json"


def parse_request_key(key: str) -> tuple[str, str]:
    """The owner and the id of the run that an object asks for; raises BadInputError."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadInputError(f"object {key}", "asks for no report run", f"expected {REQUESTS}<owner>/<run>.json")
    return match[1], match[2]


def find(services: Services, owner: str, id_: str, at: datetime) -> Run | None:
    """The run as it is at an instant, or None: one of another owner is not there."""
    found = kept.find(services, TABLE, owner, id_)
    return None if found is None else _run(found, at)


def get(services: Services, owner: str, id_: str, at: datetime) -> Run:
    """The run; raises UnknownIdError."""
    found = find(services, owner, id_, at)
    if found is None:
        raise UnknownIdError(WHAT, id_)
    return found


def open_(services: Services, owner: str, id_: str, asked: Mapping[str, Any], at: datetime) -> Run:
    """The run, made if there was none; one that expired or failed begins anew, as asked for at that instant."""
    first = _first(asked, stamp(at), 1)
    found = _run(kept.create(services, TABLE, owner, id_, first), at)
    if found.state not in (FAILED, EXPIRED):
        return found
    again = _first(asked, stamp(at), int(found.said["attempt"]) + 1)
    replaced = kept.replace(services, found.kept, again)
    # Another who asked at the same time began it.
    return _run(replaced, at) if replaced is not None else get(services, owner, id_, at)


def tell(services: Services, run: Run, progress: str, at: datetime) -> Run:
    """Say how far it is; somebody else who builds it may have said so meanwhile, which is as good."""
    said = {**run.said, "state": RUNNING, "progress": progress, "touched_at": stamp(at)}
    replaced = kept.replace(services, run.kept, said)
    return run if replaced is None else _run(replaced, at)


def end(services: Services, run: Run, outcome: Mapping[str, Any], at: datetime) -> Run:
    """Write down how it ended; what another wrote of the same attempt stays."""

    def changed(found: Kept) -> tuple[dict[str, Any], str] | None:
        is_over = found.said["state"] in (SUCCEEDED, FAILED) or found.said["attempt"] != run.said["attempt"]
        return None if is_over else ({**found.said, "progress": "", **outcome}, "")

    return _run(kept.change(services, WHAT, TABLE, run.owner, run.id, changed), at)


def listed(services: Services, owner: str, at: datetime, most: int) -> Sequence[Run]:
    """The runs of an owner, the latest asked for first; as many as are looked at in one go."""
    found = [_run(one, at) for one in kept.of_owner(services, TABLE, owner)]
    return sorted(found, key=lambda one: (one.said["at"], one.id), reverse=True)[:most]


def refuse_unready(run: Run) -> None:
    """Raise NotReadyError or GoneError where there is nothing to read."""
    if run.state == EXPIRED:
        raise GoneError(f"run {run.id} has expired: its files are kept {KEPT.days} days; ask for the report again")
    if run.state == FAILED:
        raise NotReadyError(f"run {run.id} failed: {run.because}")
    if run.state != SUCCEEDED:
        raise NotReadyError(f"run {run.id} is {run.state}; ask again when it has succeeded")


def as_json(run: Run) -> dict[str, Any]:
    """A run as its owner reads it."""
    said = run.said
    names = ("ask", "format", "at", "by", "progress", "rows", "finished_at", "expires_at")
    files = said["files"] if run.state == SUCCEEDED else []
    return {"id": run.id, "report": said["ask"]["report"], "state": run.state, "because": run.because,
            **{name: said[name] for name in names}, "files": files}  # fmt: skip


def _first(asked: Mapping[str, Any], at: str, attempt: int) -> dict[str, Any]:
    texts = dict.fromkeys(("progress", "because", "finished_at", "expires_at", "body"), "")
    return {**texts, **asked, "state": QUEUED, "at": at, "touched_at": at, "attempt": attempt, "files": [], "rows": 0}


def _run(found: Kept, at: datetime) -> Run:
    said = found.said
    is_expired = said["state"] == SUCCEEDED and parse_instant(said["expires_at"]) <= at
    is_late = said["state"] in (QUEUED, RUNNING) and parse_instant(said["touched_at"]) + LATE < at
    return Run(found, is_expired, is_late)
