"""Who asks for a report: a person who signed in, or a key of theirs, and what they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.access.roles import EXPORT, PUBLISH, REPORTS, ROLES, WISH
from shared.access.scope import Scope, View
from shared.errors import ClearbookError
from shared.parties.parties import Parties

_SAID = {
    REPORTS: "look at reports",
    EXPORT: "take reports away",
    PUBLISH: "publish templates",
    WISH: "ask for views",
}


class LacksRightError(ClearbookError):
    """Whoever asks may not do this."""

    code = "not_allowed"


class Via(StrEnum):
    """How they showed who they are."""

    TOKEN = "token"  # noqa: S105 - a kind, no token
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with a role; what a key may is never more than what its maker may now."""

    id: str  # the token's subject, or key.ID
    name: str  # as people read it
    role: str
    of: str  # the reseller or customer; "" for the operator's
    via: Via
    rights: frozenset[str]
    formats: tuple[str, ...]  # of files that it may take away

    @property
    def view(self) -> View:
        """Whose eyes."""
        return ROLES[self.role].view

    @property
    def owner(self) -> str:
        """Whose what is made for it is, as Scope.owner says it."""
        return str(self.view) if self.view is View.OPERATOR else f"{self.view}.{self.of}"

    def scope(self, parties: Parties) -> Scope:
        """What it may see; raises UnknownPartyError where its party is gone."""
        return scope_of(parties, self.owner)

    def need(self, right: str) -> None:
        """Raise LacksRightError unless it has the right."""
        if right not in self.rights:
            remedy = "ask for another role" if self.via is Via.TOKEN else "make a key that may"
            raise LacksRightError(f"{self.id} may not {_SAID[right]}; {remedy}")


def is_known(parties: Parties, owner: str) -> bool:
    """Whether an owner is the operator, or a party that is named still."""
    view, _, who = owner.partition(".")
    return who in {View.RESELLER: parties.resellers, View.CUSTOMER: parties.customers}.get(View(view), {"": ""})


def scope_of(parties: Parties, owner: str) -> Scope:
    """The scope of an owner: the operator, reseller.ID or customer.ID."""
    view, _, who = owner.partition(".")
    if View(view) is View.OPERATOR:
        return Scope.operator()
    return Scope.reseller(parties, who) if View(view) is View.RESELLER else Scope.customer(parties, who)
