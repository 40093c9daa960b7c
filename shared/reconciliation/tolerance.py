"""Tolerances: how far figures of others may be from ours, for a stated reason; nothing where no policy says so.

    tolerance: provider-invoice   # stable name
    version: 1                    # approved once, in order; a change is a new version
    applies_to: [invoice]         # `controls`, or the names of maps (`name: invoice`)
    amount: {CNY: "0.01"}         # what a difference in a currency may be at most, either way
    because: the provider rounds each product of its invoice to cents
    ends: false                   # true: this version takes the tolerance out of force

A difference within it stays in the list, explained by `policy NAME/VERSION`. What is ours on both sides (bill,
settlement, statement, journal, payout) agrees exactly, and no policy can say otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from shared.errors import DocumentRefusedError
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount
from shared.reconciliation.difference import CONTROLS, EXPECTED, Difference
from shared.reference import currencies

CONTROLS_NAME = "controls"
_FIELDS = {"tolerance", "version", "applies_to", "amount", "because", "ends"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_TEXT_MAX = 500
_LIST_MAX = 50


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A version of a policy."""

    name: str
    version: int
    applies_to: Sequence[str]
    amounts: Mapping[str, Decimal]  # by currency
    because: str

    @property
    def says(self) -> str:
        """How a difference names it."""
        return f"policy {self.name}/{self.version}"


def tolerance_document(data: Any, name: str) -> bytes:
    """The checked policy in canonical JSON; DocumentRefusedError lists everything that is wrong."""
    if not isinstance(data, Mapping):
        raise DocumentRefusedError(name, [("document", "expected names with values")])
    findings = [(str(one), "is not a known name here; leave it out") for one in data if one not in _FIELDS]
    findings += [(one, "is missing; add it") for one in sorted(_FIELDS - {"ends"} - data.keys())]
    if not findings:
        findings = list(_wrong(data))
    if findings:
        raise DocumentRefusedError(name, findings)
    amounts = {currency: amount(value) for currency, value in data["amount"].items()}
    kept = {one: data[one] for one in ("tolerance", "version", "applies_to", "because")}
    return canonical_json({**kept, "amount": amounts, "ends": data.get("ends", False)})


def _wrong(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if not isinstance(data["tolerance"], str) or not _NAME.fullmatch(data["tolerance"]):
        yield "tolerance", "expected at most 40 small letters, digits and hyphens, such as provider-invoice"
    version = data["version"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        yield "version", "expected a whole number from 1"
    if not isinstance(data.get("ends", False), bool):
        yield "ends", "expected true or false"
    because = data["because"]
    if not isinstance(because, str) or not because.strip() or len(because) > _TEXT_MAX:
        yield "because", f"expected a reason of at most {_TEXT_MAX} signs"
    applies = data["applies_to"]
    if not isinstance(applies, list) or not 1 <= len(applies) <= _LIST_MAX:
        yield "applies_to", f"expected a list such as [{CONTROLS_NAME}], at most {_LIST_MAX} long"
    else:
        for number, one in enumerate(applies):
            if not isinstance(one, str) or not _NAME.fullmatch(one):
                yield f"applies_to.{number}", f"expected {CONTROLS_NAME}, or the name of a map"
    amounts = data["amount"]
    if not isinstance(amounts, Mapping) or not amounts:
        yield "amount", 'expected amounts by currency, such as {CNY: "0.01"}'
        return
    for currency, value in amounts.items():
        yield from _wrong_amount(currency, value)


def _wrong_amount(currency: Any, value: Any) -> Iterable[tuple[str, str]]:
    place = f"amount.{currency}"
    if not isinstance(currency, str) or not currencies.known(currency):
        yield place, "is no currency that is known"
    try:
        if amount(value) < 0:
            yield place, "is below 0; say how large a difference may be"
    except NotAnAmountError as exc:
        yield place, str(exc)


def parse_tolerance(body: bytes) -> Tolerance:
    """A policy from canonical JSON."""
    data = json.loads(body)
    amounts = {currency: Decimal(value) for currency, value in data["amount"].items()}
    return Tolerance(data["tolerance"], data["version"], tuple(data["applies_to"]), amounts, data["because"])


def explain(found: Iterable[Difference], policies: Sequence[Tolerance], of: str) -> list[Difference]:
    """The differences, those within a policy that applies to `of` explained by it; figures of ours by none."""
    mine = [one for one in policies if of in one.applies_to]
    told = []
    for one in found:
        is_waiting = not one.explained or one.explained.startswith("case ")
        is_theirs = one.check in (CONTROLS, EXPECTED) and is_waiting and one.amount != 0
        within = (policy for policy in mine if abs(one.amount) <= policy.amounts.get(one.currency, Decimal(0)))
        policy = next(within, None) if is_theirs else None
        told.append(replace(one, explained=policy.says) if policy is not None else one)
    return told
