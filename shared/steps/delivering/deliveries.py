"""Deliveries: what somebody is told, to one address, and each attempt at it. A row each, which is the truth of it.

An attempt is written down before it is made, with when the next is due; so one whose end nobody heard is not made
again, and the next one comes by itself. The id stays over all attempts: who gets a message twice knows it by that.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from shared.cycle import parse_instant, stamp
from shared.delivery import mailing, signing
from shared.delivery.targets import parse_target
from shared.errors import ClearbookError
from shared.ids import digest_of
from shared.ports import Posted, UndeliveredError
from shared.services import Services
from shared.steps.delivering import kept, webhooks
from shared.steps.delivering.each import Each
from shared.steps.delivering.kept import DELETED, DELIVERIES, SCHEDULES, Kept

WHAT = "delivery"
# How long after the attempt before: the sample schedule of Standard Webhooks 1.0.0, 75 h 35 min in all.
DELAYS = (
    *(timedelta(0), timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2)),
    *(timedelta(hours=5), timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24)),
)
# An attempt that was begun is left alone for so long: longer than the function that began it may run.
_LEASE = timedelta(minutes=20)
_RETRY_AFTER_MAX = timedelta(hours=24)
_GONE = 410
WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
WEBHOOK, MAIL = "webhook", "mail"
BEGUN, LOST = "begun", "lost"


def for_webhooks(
    services: Services, owner: str, name: str, about: str, at: str, data: Mapping[str, Any]
) -> list[str]:  # fmt: skip
    """A delivery to each webhook of the owner that wants events of this name; their ids. Again they are the same.

    A webhook is told of nothing that was before it was registered.
    """
    told = [one for one in webhooks.of_owner(services, owner) if one.wants(name, at)]
    return [_open(services, owner, WEBHOOK, one.id, name, about, at, {"data": {"id": about, **data}}) for one in told]


def for_mail(
    services: Services, owner: str, name: str, about: str, at: str, to: Sequence[str],
    subject: str, lines: Sequence[tuple[str, str]], link: str,
) -> list[str]:  # fmt: skip
    """A delivery to each mail address; their ids. Again they are the same."""
    said = {"subject": subject, "lines": [list(one) for one in lines], "link": link}
    return [_open(services, owner, MAIL, one, name, about, at, said) for one in to]


def attempt(services: Services, owner: str, id_: str) -> str:
    """Make the attempt that is due, if one is; what the delivery is then.

    Nothing is sent to a webhook once whoever registered it may have nothing delivered any more, and no link of a file
    that they may not take away. A message that cannot be made, for a setting that is missing or a defect, is a failed
    attempt that says so.
    """
    now = services.outside.clock()
    found = kept.find(services, DELIVERIES, owner, id_)
    if found is None or found.said["state"] != WAITING or found.due > stamp(now):
        return "" if found is None else str(found.said["state"])
    number = len(found.said["attempts"]) - found.said["base"]
    if number >= len(DELAYS):
        kept.replace(services, found, _ended(found.said, FAILED))
        return FAILED
    is_mail = found.said["kind"] == MAIL
    send = _mail_of(services, found) if is_mail else _post_of(services, owner, found.said["to"], now)
    if send is None:
        because = "its schedule is deleted" if is_mail else "the webhook is disabled"
        kept.replace(services, found, _ended(found.said, FAILED, because))
        return FAILED
    begun = _begin(services, found, now, number)
    if begun is None:
        return "another makes it"
    state, next_at, status, because = _tried(partial(send, begun), number, now)
    if status == _GONE:
        webhooks.disable(services, owner, begun.said["to"], "its endpoint answered 410: it is gone")
    done = {**begun.said["attempts"][-1], "is": DELIVERED if state == DELIVERED else FAILED, "status": status}
    attempts = [*begun.said["attempts"][:-1], {**done, "because": because}]
    due = stamp(next_at) if state == WAITING else ""
    # Where somebody else changed it, the lease was over before we were: what they wrote stays.
    kept.replace(services, begun, {**begun.said, "state": state, "attempts": attempts}, due)
    return state


def attempt_due(services: Services, each: Each) -> None:
    """Make every attempt that is due."""

    def make(one: tuple[str, str]) -> list[dict[str, Any]]:
        return [{"delivery": one[1], "owner": one[0], "outcome": attempt(services, *one)}]

    each.of(kept.due(services, DELIVERIES, stamp(services.outside.clock())), make, WHAT)


def replay(services: Services, owner: str, id_: str) -> dict[str, Any]:
    """Try a delivery anew, by the same id and from its first attempt; one that is being tried stays as it is."""

    def changed(found: Kept) -> tuple[dict[str, Any], str] | None:
        if found.said["state"] == WAITING:
            return None
        said = {**found.said, "state": WAITING, "base": len(found.said["attempts"]), "because": ""}
        return said, stamp(services.outside.clock())

    return shown(kept.change(services, WHAT, DELIVERIES, owner, id_, changed))


def listed(services: Services, owner: str, before: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """The last deliveries of an owner, newest first, or the last before an id."""
    return [shown(one) for one in kept.newest(services, DELIVERIES, owner, before, limit)]


def shown(found: Kept) -> dict[str, Any]:
    """As people see it: what was tried when and how it went, and nothing of what was sent."""
    said = found.said
    return {
        "id": found.id,
        "kind": said["kind"],
        "to": said["to"],
        "event": said["name"],
        "about": said["about"],
        "state": said["state"],
        "because": said["because"],
        "next_at": found.due,
        "attempts": [{name: one[name] for name in ("at", "is", "status", "because")} for one in said["attempts"]],
    }


def _open(
    services: Services, owner: str, kind: str, to: str, name: str, about: str, at: str, said: Mapping[str, Any]
) -> str:
    # The time first, so that their order is that of what they tell of; no full stop, which separates what is signed.
    moment = f"{parse_instant(at):%Y%m%dT%H%M%SZ}"
    id_ = f"msg_{moment}_{digest_of([owner, kind, to, name, about])[:24]}"
    first = {"kind": kind, "to": to, "name": name, "about": about, "at": at, **said}
    first |= {"state": WAITING, "because": "", "base": 0, "attempts": []}
    kept.create(services, DELIVERIES, owner, id_, first, stamp(services.outside.clock()))
    return id_


def _begin(services: Services, found: Kept, now: datetime, number: int) -> Kept | None:
    """The row with an attempt begun; None where another began one."""
    before = [{**one, "is": LOST} if one["is"] == BEGUN else one for one in found.said["attempts"]]
    # What tells our beginning from that of another who begins at the same second.
    one = {"at": stamp(now), "is": BEGUN, "status": 0, "because": "", "mark": uuid.uuid4().hex}
    due = now + max(_LEASE, DELAYS[number + 1] if number + 1 < len(DELAYS) else _LEASE)
    return kept.replace(services, found, {**found.said, "attempts": [*before, one]}, stamp(due))


def _tried(send: Callable[[], Posted], number: int, now: datetime) -> tuple[str, datetime, int, str]:
    """What the delivery is after an attempt, when the next is due, the status answered, and why it failed."""
    is_last = number + 1 == len(DELAYS)
    next_at = now if is_last else now + DELAYS[number + 1]
    try:
        answered = send()
    except UndeliveredError as exc:
        return (FAILED if is_last or exc.is_final else WAITING), next_at, 0, str(exc)
    except Exception as exc:
        because = str(exc) if isinstance(exc, ClearbookError) else f"it could not be made: {exc!r}; this is a defect"
        return (FAILED if is_last else WAITING), next_at, 0, because
    if 200 <= answered.status < 300:
        return DELIVERED, now, answered.status, ""
    if answered.status == _GONE or is_last:
        return FAILED, now, answered.status, f"answered {answered.status}"
    asked = now + min(retry_after(answered.retry_after, now), _RETRY_AFTER_MAX)
    return WAITING, max(next_at, asked), answered.status, f"answered {answered.status}"


def retry_after(said: str, now: datetime) -> timedelta:
    """How long a Retry-After asks to wait: seconds, or a date (RFC 9110); nothing for what is neither."""
    if said.isascii() and said.isdigit():
        return timedelta(seconds=min(int(said[:10]), int(_RETRY_AFTER_MAX.total_seconds())))
    try:
        until = parsedate_to_datetime(said)
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return max(timedelta(0), until - now)
    except (ValueError, OverflowError):  # years and zones may be as long as its sender likes
        return timedelta(0)


def _mail_of(services: Services, found: Kept) -> Callable[[Kept], Posted] | None:
    """What mails; None where the schedule that it tells of is deleted."""
    schedule = kept.find(services, SCHEDULES, found.owner, found.said["about"].partition("/")[0])
    if schedule is not None and schedule.said["state"] == DELETED:
        return None

    def mail(found: Kept) -> Posted:
        said, mailer = found.said, services.outside.mailer()
        lines, at = [(english, chinese) for english, chinese in said["lines"]], parse_instant(said["at"])
        mailer.send(mailing.message(mailer.sender, said["to"], found.id, at, said["subject"], lines, said["link"]))
        return Posted(250)

    return mail


def _post_of(services: Services, owner: str, webhook_id: str, now: datetime) -> Callable[[Kept], Posted] | None:
    """What posts to a webhook; None where nothing is to be told to it."""
    webhook = webhooks.get(services, owner, webhook_id)
    who = webhooks.listener(services, webhook, stamp(now))
    if who is None:
        return None

    def post(found: Kept) -> Posted:
        data = dict(found.said["data"])
        if data.get("link") and data["format"] not in who.formats:
            data["link"] = ""
        body = _payload(found.said["name"], found.said["at"], data)
        headers = signing.headers(webhooks.secrets(services, webhook, now), found.id, now, body)
        return services.outside.poster.post(parse_target(webhook.url), headers, body)

    return post


def _ended(said: Mapping[str, Any], state: str, because: str = "") -> dict[str, Any]:
    attempts = [{**one, "is": LOST} if one["is"] == BEGUN else one for one in said["attempts"]]
    return {**said, "state": state, "attempts": attempts, "because": because}


def _payload(name: str, at: str, data: Mapping[str, Any]) -> bytes:
    """The body; of what is too much for one the lists stay away, and it says which: the event object has them."""
    if len(json.dumps(data, ensure_ascii=False).encode()) < signing.PAYLOAD_MAX - 1000:
        return signing.payload(name, at, data)
    cut = sorted(key for key, value in data.items() if isinstance(value, list))
    return signing.payload(name, at, {**{key: data[key] for key in data if key not in cut}, "left_out": cut})
