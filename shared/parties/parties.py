"""The parties as the steps use them, read from an approved document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from shared.cycle import Cycle
from shared.errors import ClearbookError
from shared.ids import digest_of

STREAM = "parties"
WAITING_DAYS = 3  # from the approval of a payee to the first payment to it
OPERATOR = "operator"  # the share of lines that no reseller owns: direct, own use, unmapped

# Where the provider answers for the accounts of each site.
SITES: Mapping[str, str] = {
    "china": "business.aliyuncs.com",
    "international": "business.ap-southeast-1.aliyuncs.com",
}


class NoPartiesError(ClearbookError):
    """Nothing is known yet about payers, resellers and customers."""

    code = "no_parties"

    def __init__(self) -> None:
        super().__init__("no party document is in force: import one with `clearbook party import FILE` and approve it")


@dataclass(frozen=True, slots=True)
class Connector:
    """How the bill of a payer account is reached."""

    account: str
    name: str
    endpoint: str  # "default" or a host of the provider's site
    secret: str | None  # name of the secret that holds the access key, or
    refund_sign: str
    since: date
    role: str | None = None  # the role whose key is assumed: acs:ram::<uid>:role/<name>
    site: str = "china"
    quota_group: str = ""  # accounts of one group share the provider's quota
    sources: tuple[tuple[date, str], ...] = ((date.min, "api"),)  # from when on, which source is settled; in order
    currency: str = ""  # of bill files without a currency column
    account_names: Mapping[str, str] = field(default_factory=dict)  # account name -> number, for such files

    def source_in(self, cycle: Cycle) -> str:
        """The source that the cycle is settled from; before the first one that is named, that one."""
        begun = [source for begins, source in self.sources if begins <= cycle.first]
        return begun[-1] if begun else self.sources[0][1]


@dataclass(frozen=True, slots=True)
class Assignment:
    """An account's customer and reseller from a date to a date, both included."""

    account: str
    customer: str | None
    reseller: str | None
    how: str  # "reseller", "direct" or "own_use"
    begins: date
    ends: date | None

    def touches(self, cycle: Cycle) -> bool:
        """Whether it is in force on a day of the cycle."""
        return self.begins <= cycle.last and (self.ends is None or self.ends >= cycle.first)


@dataclass(frozen=True, slots=True)
class CustomerClass:
    """A customer's class from a date to a date, both included; conditions read it as `customer_class`."""

    customer: str
    name: str
    begins: date
    ends: date | None


@dataclass(frozen=True, slots=True)
class Payee:
    """A reseller's bank account or wallet."""

    reseller: str
    name: str
    account: str
    bank: str
    bic: str = ""
    kind: str = "bank"  # or wallet
    currency: str = ""  # that alone is paid to it; "" for every currency that has none of its own

    @property
    def digest(self) -> str:
        """How an instruction names it."""
        usual = {"bic": "", "kind": "bank", "currency": ""}
        return digest_of({name: value for name, value in asdict(self).items() if usual.get(name) != value})


@dataclass(frozen=True, slots=True)
class Parties:
    """One approved state of everyone."""

    operator: str
    connectors: Mapping[str, Connector]
    resellers: Mapping[str, Mapping[str, str]]  # id -> name by language
    customers: Mapping[str, Mapping[str, str]]
    assignments: tuple[Assignment, ...]
    payees: Mapping[str, Payee]
    classes: tuple[CustomerClass, ...] = ()  # by customer, then date; never two of one customer on a day
    accounts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # the operator's own, by currency
    payee_waiting_days: int = WAITING_DAYS
    operator_names: Mapping[str, str] = field(default_factory=dict)  # name by language

    def in_cycle(self, cycle: Cycle) -> list[Assignment]:
        """The assignments in force on a day of the cycle, in order."""
        return [one for one in self.assignments if one.touches(cycle)]

    def neighbours(self, owner: str, cycles: Sequence[Cycle]) -> set[str]:
        """The other resellers that hold an account of the owner's share on other days of the cycles."""
        ours = [one for one in self.assignments if any(one.touches(cycle) for cycle in cycles)]
        mine = _held_by(owner, ours, cycles)
        return {one.reseller for one in ours if one.account in mine and one.reseller not in (None, owner)}

    def shares(self, owner: str, account: str, cycles: Sequence[Cycle]) -> bool:
        """Whether lines of an account that resellers hold may be the owner's in one of the cycles."""
        ours = [one for one in self.assignments if any(one.touches(cycle) for cycle in cycles)]
        return account in _held_by(owner, ours, cycles)

    def shares_of(self, accounts: set[str], cycle: Cycle) -> set[str]:
        """The resellers that hold one of the accounts in the cycle, and the operator where something is left over."""
        shares = {one.reseller or OPERATOR for one in self.in_cycle(cycle) if one.account in accounts}
        return shares | {OPERATOR} if accounts else shares


def _held_by(owner: str, assignments: Sequence[Assignment], cycles: Sequence[Cycle]) -> set[str]:
    """The accounts of an owner's share; of the operator's, those that resellers hold on other days."""
    if owner == OPERATOR:
        return {one.account for one in assignments if one.reseller is not None} - held_throughout(assignments, cycles)
    return {one.account for one in assignments if one.reseller == owner}


def held_throughout(assignments: Iterable[Assignment], cycles: Sequence[Cycle]) -> set[str]:
    """Accounts that resellers hold on every day of the cycles: nothing of them is the operator's."""
    days: dict[str, int] = {}
    for one in assignments:
        for cycle in cycles if one.reseller is not None else ():
            begins, ends = max(one.begins, cycle.first), min(one.ends or date.max, cycle.last)
            days[one.account] = days.get(one.account, 0) + max(0, (ends - begins).days + 1)
    whole = sum(len(cycle.dates()) for cycle in cycles)
    return {account for account, count in days.items() if count == whole}


def parse_parties(body: bytes) -> Parties:
    """The parties of an approved document in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    connectors = {
        payer["account"]: Connector(
            payer["account"],
            payer["name"],
            payer["connector"]["endpoint"],
            payer["connector"]["secret"],
            payer["connector"]["refund_sign"],
            date.fromisoformat(payer["connector"]["since"]),
            payer["connector"].get("role"),  # documents of before name a secret, and nothing else
            payer["connector"].get("site", "china"),
            payer["connector"].get("quota_group") or payer["account"],
            _sources(payer["connector"]["settled_source"]),
            payer["connector"].get("currency") or "",
            payer["connector"].get("account_names", {}),
        )
        for payer in data["payers"]
    }
    assignments = [
        Assignment(
            one["account"],
            one["customer"],
            one["reseller"],
            "own_use" if one["own_use"] else "direct" if one["direct"] else "reseller",
            date.fromisoformat(one["from"]),
            date.fromisoformat(one["until"]) if one["until"] else None,
        )
        for one in data["assignments"]
    ]
    classes = [
        CustomerClass(
            one["customer"],
            one["class"],
            date.fromisoformat(one["from"]),
            date.fromisoformat(one["until"]) if one["until"] else None,
        )
        for one in data.get("classes", [])  # documents of before have none
    ]
    return Parties(
        data["operator"]["id"],
        connectors,
        {one["id"]: one["name"] for one in data["resellers"]},
        {one["id"]: one["name"] for one in data["customers"]},
        tuple(sorted(assignments, key=lambda one: (one.account, one.begins))),
        {one["reseller"]: Payee(one["reseller"], one["name"], one["account"], one["bank"]) for one in data["payees"]},
        tuple(sorted(classes, key=lambda one: (one.customer, one.begins))),
        {one["currency"]: one for one in data["operator"].get("accounts", [])},
        data["operator"].get("payee_waiting_days", WAITING_DAYS),
        _names(data["operator"]["name"]),
    )


def _names(said: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"en": said} if isinstance(said, str) else said


def _sources(named: str | list[Mapping[str, str]]) -> tuple[tuple[date, str], ...]:
    if isinstance(named, str):
        return ((date.min, named),)
    return tuple((date.fromisoformat(one["from"]), one["source"]) for one in named)
