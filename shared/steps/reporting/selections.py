"""Selections: questions that an owner keeps by name; templates, which an admin publishes for others; and wishes.

A selection holds what was asked, presets and all, so that it means this month each month.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.access.principal import Principal
from shared.access.roles import PUBLISH, REPORTS, WISH
from shared.access.scope import View
from shared.cycle import parse_instant, shanghai_day
from shared.errors import BadInputError
from shared.ids import canonical_json, digest_of
from shared.report.asking import parse_ask
from shared.report.catalogue import catalogue
from shared.services import Services
from shared.steps.acts.act import fields
from shared.steps.delivering import kept
from shared.steps.delivering.kept import Kept, UnknownIdError

TABLE, WHAT = "selections", "selection"
_TEMPLATES, _WISHES = "templates", "wishes"  # beside the owners, whose names have other forms
_ALIVE, _DELETED = "kept", "deleted"
_MOST = 200  # of an owner
_NAME_MAX, _SAYS_MAX, _ASK_MAX = 100, 2000, 64 * 1024


def save(services: Services, who: Principal, said: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Keep a question by a name; another of the same name takes its place."""
    who.need(REPORTS)
    given = fields(said, {"name": str, "ask": dict})
    name, ask = _line("name", given["name"], _NAME_MAX), given["ask"]
    if len(canonical_json(ask)) > _ASK_MAX:
        raise BadInputError("ask", f"has more than {_ASK_MAX} bytes", "ask for less")
    parse_ask(ask, who.view, shanghai_day(parse_instant(at)))
    id_ = f"sel_{digest_of([who.owner, name])[:24]}"
    there = [one for one in kept.of_owner(services, TABLE, who.owner) if one.said["state"] == _ALIVE]
    if len(there) >= _MOST and all(one.id != id_ for one in there):
        raise BadInputError("selections", f"are {len(there)} already", "delete one")
    return _shown(_put(services, who.owner, id_, {"name": name, "ask": ask, "by": who.id, "at": at, "state": _ALIVE}))


def listed(services: Services, who: Principal) -> list[dict[str, Any]]:
    """The owner's own, then the templates for its view, by name."""
    who.need(REPORTS)
    mine = [_shown(one) for one in kept.of_owner(services, TABLE, who.owner) if one.said["state"] == _ALIVE]
    return [*sorted(mine, key=lambda one: str(one["name"])), *templates(services, who)]


def templates(services: Services, who: Principal) -> list[dict[str, Any]]:
    """The templates that somebody of this view may use, by name."""
    found = [one for one in kept.of_owner(services, TABLE, _TEMPLATES) if one.said["state"] == _ALIVE]
    mine = [_shown(one) for one in found if str(who.view) in one.said["views"]]
    return sorted(mine, key=lambda one: str(one["name"]))


def ask_of(services: Services, who: Principal, id_: str) -> dict[str, Any]:
    """What a selection or template asks; raises UnknownIdError."""
    for one in listed(services, who):
        if one["id"] == id_:
            return dict(one["ask"])
    raise UnknownIdError(WHAT, id_)


def delete(services: Services, who: Principal, id_: str) -> dict[str, Any]:
    """Forget an own one; a template by whoever may publish. Raises UnknownIdError."""
    is_template = id_.startswith("tpl_")
    who.need(PUBLISH if is_template else REPORTS)
    owner = _TEMPLATES if is_template else who.owner
    found = kept.find(services, TABLE, owner, id_)
    if found is None or found.said["state"] == _DELETED:
        raise UnknownIdError(WHAT, id_)
    _put(services, owner, id_, {**found.said, "state": _DELETED})
    return {"id": id_, "state": _DELETED}


def publish(services: Services, who: Principal, id_: str, said: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Make an own selection a template for everybody of some views, each of which may ask exactly that."""
    who.need(PUBLISH)
    views = fields(said, {"views": list})["views"]
    found = kept.find(services, TABLE, who.owner, id_)
    if found is None or found.said["state"] == _DELETED:
        raise UnknownIdError(WHAT, id_)
    if not views or any(one not in tuple(View) for one in views):
        raise BadInputError("views", f"is {views!r}", f"give some of {', '.join(View)}")
    ask = found.said["ask"]
    for one in views:
        # What it names of somebody (an account, a customer) everybody of the view would read.
        if View(one) is not View.OPERATOR and ask.get("filters"):
            raise BadInputError("ask.filters", "may name what is somebody's own", "publish a selection without filters")
        if View(one) is not View.OPERATOR and ask.get("allocation"):
            problem = "names a mapping of your own, which nobody else has"
            raise BadInputError("ask.allocation", problem, "publish a selection without it")
        if not catalogue()[ask["report"]].may_run(View(one)):
            raise BadInputError("views", f"{one} may not run {ask['report']}", "leave it out")
        parse_ask(ask, View(one), shanghai_day(parse_instant(at)))
    row = {"name": found.said["name"], "ask": ask, "by": who.id, "at": at, "state": _ALIVE, "views": sorted(set(views))}
    return _shown(_put(services, _TEMPLATES, f"tpl_{id_.removeprefix('sel_')}", row))


def wish(services: Services, who: Principal, said: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Ask for a view that there is not; whoever runs Clearbook reads it."""
    who.need(WISH)
    given = fields(said, {"name": str, "says": str})
    name, says = _line("name", given["name"], _NAME_MAX), given["says"].strip()
    if not says or len(says) > _SAYS_MAX:
        raise BadInputError("says", f"has {len(says)} characters", f"say in 1 to {_SAYS_MAX} what it is to show")
    row = {"name": name, "says": says, "by": who.id, "at": at}
    id_ = f"wish_{digest_of([who.id, name, says])[:24]}"
    mine = [one for one in kept.of_owner(services, TABLE, _WISHES) if one.said["by"] == who.id]
    if len(mine) >= _MOST and all(one.id != id_ for one in mine):
        raise BadInputError("wishes", f"are {len(mine)} already", "talk to whoever runs Clearbook about those")
    made = kept.create(services, TABLE, _WISHES, id_, row)
    return {"id": made.id, **made.said}


def wishes(services: Services, who: Principal) -> list[dict[str, Any]]:
    """What was asked for, oldest first: of everybody, for who may publish; else one's own."""
    if PUBLISH not in who.rights:
        who.need(WISH)
    found = [{"id": one.id, **one.said} for one in kept.of_owner(services, TABLE, _WISHES)]
    mine = [one for one in found if PUBLISH in who.rights or one["by"] == who.id]
    return sorted(mine, key=lambda one: (one["at"], one["id"]))


def _put(services: Services, owner: str, id_: str, said: dict[str, Any]) -> Kept:
    kept.create(services, TABLE, owner, id_, said)
    return kept.change(services, WHAT, TABLE, owner, id_, lambda one: None if one.said == said else (said, ""))


def _line(place: str, text: str, most: int) -> str:
    line = text.strip()
    if not line or len(line) > most or not line.isprintable():
        raise BadInputError(place, f"is {line[:40]!r}", f"write one line of at most {most} characters")
    return line


def _shown(found: Kept) -> dict[str, Any]:
    names = ("name", "ask", "by", "at")
    views = {"views": found.said["views"]} if "views" in found.said else {}
    return {"id": found.id, **{name: found.said[name] for name in names}, **views}
