"""Where owners want to be told: their webhooks, registered, rotated and disabled. No secret is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.access.principal import LacksRightError, Principal
from shared.access.roles import EXPORT
from shared.cycle import parse_instant, stamp
from shared.delivery import signing
from shared.delivery.targets import parse_target
from shared.errors import BadInputError
from shared.events import owners, types
from shared.ids import digest_of
from shared.services import Services
from shared.steps.delivering import kept
from shared.steps.delivering.kept import WEBHOOKS, Kept
from shared.steps.reporting import keys

WHAT = "webhook"
WEBHOOKS_MAX = 20  # of an owner, that are enabled
_EVER_MAX = 500  # with those that are not: each event looks through them
OLD_SECRET = timedelta(hours=24)  # both secrets sign for so long after a rotation
ENABLED, DISABLED = "enabled", "disabled"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is posted to."""

    owner: str
    id: str
    url: str
    by: str  # the id of the person or key that registered it
    events: tuple[str, ...]  # names of their types; none: all
    made_at: str
    state: str
    generation: int
    old_until: str  # until then the secret before signs too; empty where there is none
    because: str  # why it is disabled

    def wants(self, event: str, at: str) -> bool:
        """Whether it is told of an event of this name and instant."""
        return self.state == ENABLED and (not self.events or event in self.events) and self.made_at <= at

    def as_json(self) -> dict[str, Any]:
        """As people see it."""
        return {
            "id": self.id,
            "url": self.url,
            "by": self.by,
            "events": list(self.events),
            "made_at": self.made_at,
            "state": self.state,
            "both_secrets_until": self.old_until,
            "because": self.because,
        }


def known_events(owner: str) -> list[str]:
    """What an owner can be told of."""
    mine = [one.name for one in types.every() if one.for_reseller] if owner.startswith("reseller.") else []
    return [*owners.TYPES, *sorted(mine)]


def register(
    services: Services, owner: str, by: str, said: Mapping[str, Any], at: datetime
) -> tuple[Webhook, str]:  # fmt: skip
    """A webhook and its secret. The same again is answered the same; one that was disabled has a new secret.

    Raises BadInputError, with nothing created, for an address that may not be posted to.
    """
    target, events = parse_target(said.get("url")), _events(said.get("events", []), owner)
    there = list(kept.of_owner(services, WEBHOOKS, owner))
    id_ = f"wh_{digest_of([owner, target.url])[:24]}"
    told = [one.id for one in there if one.said["state"] == ENABLED]
    if len(told) >= WEBHOOKS_MAX and id_ not in told:
        remedy = f"an owner has at most {WEBHOOKS_MAX} that are enabled: disable one"
        raise BadInputError("url", f"would be webhook {len(told) + 1}", remedy)
    if len(there) >= _EVER_MAX and id_ not in {one.id for one in there}:
        raise BadInputError("url", f"would be address {len(there) + 1}", "register one that was registered before")
    services.outside.poster.check(target)
    services.outside.master()  # a setting that is missing is missed before anything is there
    first = {
        "url": target.url,
        "events": list(events),
        "by": by,
        "made_at": stamp(at),
        "state": ENABLED,
        "generation": 1,
        "old_until": "",
        "because": "",
    }
    found = kept.create(services, WEBHOOKS, owner, id_, first)
    if found.said["state"] == DISABLED:
        again = {**first, "generation": found.said["generation"] + 1}
        changed = kept.replace(services, found, again)
        found = changed if changed is not None else found
    if found.said["state"] != ENABLED or found.said["events"] != list(events):
        problem = f"is registered already, for {', '.join(found.said['events']) or 'all events'}"
        raise BadInputError("url", problem, "disable it first, then register it anew")
    webhook = _webhook(found)
    return webhook, secrets(services, webhook, at)[0]


def of_owner(services: Services, owner: str) -> list[Webhook]:
    """All of an owner, disabled ones too."""
    return [_webhook(one) for one in kept.of_owner(services, WEBHOOKS, owner)]


def get(services: Services, owner: str, id_: str) -> Webhook:
    """One; raises UnknownIdError."""
    found = kept.find(services, WEBHOOKS, owner, id_)
    if found is None:
        raise kept.UnknownIdError(WHAT, id_)
    return _webhook(found)


def listener(services: Services, webhook: Webhook, at: str) -> Principal | None:
    """Whoever registered it, as they may at an instant; None where nothing is to be told to it.

    Where they may have nothing delivered any more it is disabled, for good.
    """
    if webhook.state != ENABLED:
        return None
    try:
        who = keys.by_id(services, webhook.owner, webhook.by, at)
        who.need(EXPORT)
    except LacksRightError as exc:
        disable(services, webhook.owner, webhook.id, str(exc))
        return None
    return who


def rotate(services: Services, owner: str, id_: str, at: datetime) -> tuple[Webhook, str]:
    """A new secret; the one before signs too for `OLD_SECRET`, and so long the same rotation is answered again.

    A repeat that rotated once more would leave the receiver, who never saw the first answer, with no secret that signs.
    """

    def changed(found: Kept) -> tuple[dict[str, Any], str] | None:
        if found.said["state"] != ENABLED:
            raise BadInputError("id", "is disabled", "register it anew, which gives it a new secret")
        if found.said["old_until"] > stamp(at):
            return None
        said = {"generation": found.said["generation"] + 1, "old_until": stamp(at + OLD_SECRET)}
        return {**found.said, **said}, ""

    services.outside.master()
    webhook = _webhook(kept.change(services, WHAT, WEBHOOKS, owner, id_, changed))
    return webhook, secrets(services, webhook, at)[0]


def disable(services: Services, owner: str, id_: str, because: str) -> Webhook:
    """Post nothing to it any more; again changes nothing."""

    def changed(found: Kept) -> tuple[dict[str, Any], str] | None:
        if found.said["state"] == DISABLED:
            return None
        return {**found.said, "state": DISABLED, "because": because}, ""

    return _webhook(kept.change(services, WHAT, WEBHOOKS, owner, id_, changed))


def secrets(services: Services, webhook: Webhook, at: datetime) -> list[str]:
    """The secrets that sign at an instant: the one in force first."""
    generations = [webhook.generation]
    if webhook.old_until and at < parse_instant(webhook.old_until):
        generations.append(webhook.generation - 1)
    master = services.outside.master()
    return [signing.secret_of(master, webhook.owner, webhook.id, one) for one in generations]


def _events(said: object, owner: str) -> tuple[str, ...]:
    known = known_events(owner)
    if not isinstance(said, list):
        raise BadInputError("events", f"is {said!r}", f"give a list of {', '.join(known)}; leave it out for all")
    for one in said:
        if one not in known:
            raise BadInputError("events", f"there is no {one!r}", f"name some of {', '.join(known)}")
    return tuple(sorted(set(said)))


def _webhook(found: Kept) -> Webhook:
    said = found.said
    return Webhook(
        found.owner, found.id, said["url"], said["by"], tuple(said["events"]), said["made_at"], said["state"],
        said["generation"], said["old_until"], said["because"],
    )  # fmt: skip
