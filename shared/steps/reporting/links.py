"""Links: a random token leads to one file of one run, until it expires or is revoked.

Only its hash is kept. Who follows it is sent on to a link of the bucket that lives five minutes. Of a sensitive report
they get a copy that says for whom the link was made and when it was followed; the body for all stays as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tempfile
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.access.principal import LacksRightError, Principal
from shared.access.roles import EXPORT
from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError
from shared.report.catalogue import catalogue
from shared.services import Services
from shared.steps.acts.act import fields
from shared.steps.delivering.kept import UnknownIdError
from shared.steps.reporting import access_log, keys, limits, requesting, runs, tokens
from shared.steps.reporting.runs import GoneError, Run
from shared.steps.reporting.tokens import Held

TABLE, WHAT = "links", "link"
PATH = "/d/"
_FOLLOWED_S = 300  # how long the bucket's own link lives
_COST = 4  # of what a link may be followed; a copy may have to be stamped
_HOURS, _HOURS_MAX = 24 * 7, 24 * 90
_DELIVERED = timedelta(days=30)  # of a link that a message tells


def create(
    services: Services, who: Principal, run: Run, said: Mapping[str, Any], at: str
) -> tuple[dict[str, Any], str]:
    """A link as it is listed, and its token, which nobody sees again. Raises LacksRightError, and what `file` does."""
    given = fields(said, {}, {"file": str, "expires_in_hours": int})
    hours = given.get("expires_in_hours", _HOURS)
    if not 1 <= hours <= _HOURS_MAX:
        raise BadInputError("expires_in_hours", f"is {hours}", f"give 1 to {_HOURS_MAX}")
    token = secrets.token_urlsafe(32)
    return _shown(_make(services, who, run, given.get("file", ""), token, timedelta(hours=hours), at), at), token


def delivered(services: Services, run: Run, by: str, slot: str, at: str) -> str:
    """The path of the link that messages about a slot tell for whoever asked: the same each time, so told once.

    Its token is made of our own secret and of all these, which nobody else can. The same run may be of other slots and
    of other people: their links begin later, and end with others' rights.
    """
    who = keys.by_id(services, run.owner, by, at)
    message = f"clearbook link {run.owner} {run.id} {run.said['attempt']} {by} {slot}".encode()
    token = hmac.new(services.outside.master(), message, hashlib.sha256).hexdigest()
    if tokens.find(services, TABLE, token) is None:
        _make(services, who, run, "", token, _DELIVERED, at, f"{run.id}/{by}/{slot}")
    return PATH + token


def listed(services: Services, who: Principal, run: Run, at: str) -> list[dict[str, Any]]:
    """The links of a run, oldest first."""
    found = [_shown(one, at) for one in tokens.of_owner(services, TABLE, who.owner) if one.said["run"] == run.id]
    return sorted(found, key=lambda one: (one["made_at"], one["id"]))


def revoke(services: Services, who: Principal, id_: str, at: str) -> dict[str, Any]:
    """Take a link back; raises UnknownIdError."""
    held = tokens.revoke(services, TABLE, WHAT, who.owner, id_, at)
    access_log.note(services, at, who, access_log.LINK, {"link": held.id, "act": "revoked"})
    return _shown(held, at)


def follow(services: Services, token: str, at: str) -> str:
    """Where the bucket has what a token leads to, for five minutes.

    Raises UnknownIdError for what never was a token, GoneError for one that no longer leads anywhere, and
    TooManyRequestsError for one that is followed too often.
    """
    held = tokens.find(services, TABLE, token)
    if held is None:
        raise UnknownIdError(WHAT, "that you followed")
    said = held.said
    if held.is_revoked or held.is_over(at):
        raise GoneError("this link no longer leads anywhere; ask whoever gave it to you for another")
    # Whoever has it may follow it: what is spent is the link's own.
    limits.spend(services, f"link.{held.id}", parse_instant(at), _COST)
    run = runs.get(services, held.owner, said["run"], parse_instant(at))
    try:
        maker = keys.by_id(services, held.owner, said["by"], at)
        maker.need(EXPORT)
    except LacksRightError as exc:
        raise GoneError("whoever made this link may not take reports away any more; ask for another") from exc
    file = run.file(said["file"])
    access_log.note(services, at, maker, access_log.DOWNLOAD, {"link": held.id, "run": run.id, "file": said["file"]})
    key = run.body + said["file"]
    if catalogue()[run.said["ask"]["report"]].is_sensitive:
        key = _stamped(services, run, key, str(file["format"]), f"{maker.name} <{maker.id}>", at)
    return services.buckets.reports.link(key, _FOLLOWED_S, said["file"])


def _make(
    services: Services, who: Principal, run: Run, file: str, token: str, life: timedelta, at: str, name: str = ""
) -> Held:  # fmt: skip
    who.need(EXPORT)
    runs.refuse_unready(run)
    if not run.said["files"]:
        raise BadInputError("file", "is none: the run was asked for to be looked at", "run it with a format")
    found = run.file(file or run.said["files"][0]["name"])
    requesting.refuse_unexportable(who, run.format)
    row = {
        "run": run.id, "file": found["name"], "by": who.id, "made_at": at,
        "expires_at": min(stamp(parse_instant(at) + life), str(run.said["expires_at"])),
    }  # fmt: skip
    about = {"link": tokens.id_of(token), "run": run.id, "act": "made"}
    access_log.note(services, at, who, access_log.LINK, about, name)
    return tokens.keep(services, TABLE, token, run.owner, row)


def _stamped(services: Services, run: Run, key: str, format_: str, who: str, at: str) -> str:
    """A copy that says who fetched it and when; it lies beside the body, and goes when that does."""
    from shared.report import files

    copy = f"{run.body}fetched/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(dir=services.scratch) as folder:
        body, into = Path(folder) / "body", Path(folder) / "copy"
        services.buckets.reports.download(key, body)
        files.stamped(body, format_, who, at, into)
        services.buckets.reports.upload_once(copy, into)
    return copy


def _shown(held: Held, at: str) -> dict[str, Any]:
    state = "revoked" if held.is_revoked else "expired" if held.is_over(at) else "active"
    names = ("run", "file", "by", "made_at", "expires_at", "revoked_at")
    return {"id": held.id, "state": state, **{name: held.said[name] for name in names}}
