"""API keys: shown once, kept as a hash. A key may what it was made for, and never more than its maker may now."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.access.principal import LacksRightError, Principal, Via
from shared.access.roles import EXPORT, REPORTS, RIGHTS, ROLES
from shared.control import approvals
from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError, ClearbookError
from shared.report.asking import FORMATS
from shared.services import Services
from shared.steps.acts.act import fields
from shared.steps.reporting import access_log, tokens
from shared.steps.reporting.tokens import Held

TABLE, WHAT = "api_keys", "API key"
PREFIX = "cbk_"
_GRANTED = (REPORTS, EXPORT)  # what a key may have; the rest are people's
_DAYS, _DAYS_MAX = 90, 366
_ALIVE_MAX = 20  # of an owner
_NAME_MAX = 100


class BadKeyError(ClearbookError):
    """No key that holds: whether it is unknown, revoked, expired or its maker has gone is not told."""

    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__("the API key is unknown, revoked or expired; make another at POST /v1/keys")


def person(services: Services, subject: str) -> Principal:
    """Somebody who signed in; raises LacksRightError for who has no role."""
    user = approvals.users(services.chain).get(subject)
    if user is None:
        raise LacksRightError(f"{subject} signed in, and has no role here; ask for a grant")
    role = ROLES[user["role"]]
    return Principal(subject, user["name"], role.name, user.get("of", ""), Via.TOKEN, role.rights, FORMATS)


def by_id(services: Services, owner: str, id_: str, at: str) -> Principal:
    """Whoever asked under this id, as they may at an instant: a person, or a key of theirs; for what is done later.

    Raises LacksRightError where they may nothing any more: a key that is revoked or over ends what it made.
    """
    if not id_.startswith("key."):
        found = person(services, id_)
    else:
        held = [one for one in tokens.of_owner(services, TABLE, owner) if f"key.{one.id}" == id_]
        if not held or held[0].is_revoked:
            raise LacksRightError(f"{id_} is revoked; make another key, and ask with it")
        if held[0].is_over(at):
            raise LacksRightError(f"{id_} has expired; make another key, and ask with it")
        found = _principal(services, held[0])
    if found.owner != owner:
        raise LacksRightError(f"{id_} is no longer of {owner}")
    return found


def principal(services: Services, text: str, at: str) -> Principal:
    """Whose key this is, and what it may; raises BadKeyError."""
    held = tokens.find(services, TABLE, text)
    if held is None or held.is_revoked or held.is_over(at):
        raise BadKeyError
    try:
        return _principal(services, held)
    except LacksRightError as exc:
        raise BadKeyError from exc


def create(services: Services, maker: Principal, said: Mapping[str, Any], at: str) -> tuple[dict[str, Any], str]:
    """A key as it is listed, and its text, which nobody sees again."""
    _refuse_keys(maker)
    given = fields(said, {"name": str}, {"rights": list, "formats": list, "expires_in_days": int})
    name, days = given["name"].strip(), given.get("expires_in_days", _DAYS)
    if not name or len(name) > _NAME_MAX or not name.isprintable():
        raise BadInputError("name", f"is {name[:40]!r}", f"write one line of at most {_NAME_MAX} characters")
    if not 1 <= days <= _DAYS_MAX:
        raise BadInputError("expires_in_days", f"is {days}", f"give 1 to {_DAYS_MAX}")
    may = [one for one in _GRANTED if one in maker.rights]
    rights = _among("rights", given.get("rights", [REPORTS]), may)
    formats = _among("formats", given.get("formats", list(FORMATS)), list(FORMATS))
    alive = [one for one in tokens.of_owner(services, TABLE, maker.owner) if not (one.is_revoked or one.is_over(at))]
    if len(alive) >= _ALIVE_MAX:
        raise BadInputError("keys", f"are {len(alive)} already", "revoke one")
    text = PREFIX + secrets.token_urlsafe(32)
    row = {
        "name": name, "by": maker.id, "made_at": at, "rights": rights, "formats": formats,
        "expires_at": stamp(parse_instant(at) + timedelta(days=days)),
    }  # fmt: skip
    held = tokens.keep(services, TABLE, text, maker.owner, row)
    access_log.note(services, at, maker, access_log.KEY, {"key": held.id, "act": "made"})
    return _shown(held, at), text


def listed(services: Services, maker: Principal, at: str) -> list[dict[str, Any]]:
    """The keys of an owner, newest first."""
    _refuse_keys(maker)
    found = [_shown(one, at) for one in tokens.of_owner(services, TABLE, maker.owner)]
    return sorted(found, key=lambda one: (one["made_at"], one["id"]), reverse=True)


def revoke(services: Services, maker: Principal, id_: str, at: str) -> dict[str, Any]:
    """Take a key back; raises UnknownIdError."""
    _refuse_keys(maker)
    held = tokens.revoke(services, TABLE, WHAT, maker.owner, id_, at)
    access_log.note(services, at, maker, access_log.KEY, {"key": held.id, "act": "revoked"})
    return _shown(held, at)


def _principal(services: Services, held: Held) -> Principal:
    """What a key may: what it was made for, of what its maker may, who is still of the same owner."""
    said, maker = held.said, person(services, held.said["by"])
    if maker.owner != held.owner:
        raise LacksRightError(f"the maker of key {held.id} is of another")
    rights = maker.rights & frozenset(said["rights"])
    name = f"{said['name']} ({maker.name})"
    formats = tuple(said["formats"])
    return Principal(f"key.{held.id}", name, maker.role, maker.of, Via.KEY, rights, formats)


def _refuse_keys(maker: Principal) -> None:
    if maker.via is Via.KEY:
        raise LacksRightError("a key makes, lists and revokes no keys; sign in")
    maker.need(REPORTS)


def _among(place: str, said: list[Any], known: list[str]) -> list[str]:
    for one in said:
        if one not in known:
            problem = "is a right of people" if one in RIGHTS and one not in _GRANTED else "is none that you may give"
            raise BadInputError(place, f"{str(one)[:40]!r} {problem}", f"give some of {', '.join(known)}")
    if not said:
        raise BadInputError(place, "names nothing", f"give some of {', '.join(known)}")
    return [one for one in known if one in said]


def _shown(held: Held, at: str) -> dict[str, Any]:
    said = held.said
    state = "revoked" if held.is_revoked else "expired" if held.is_over(at) else "active"
    names = ("name", "by", "made_at", "expires_at", "revoked_at", "rights", "formats")
    return {"id": held.id, "state": state, **{name: said[name] for name in names}}
