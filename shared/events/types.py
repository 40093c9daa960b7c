"""The types of events: for each what its data holds, field by field, and whom it is for.

These tables are all that leaves: a field of an entry that is not named here is told to nobody. What a reseller is told
is in force or has happened; what is only calculated, proposed or refused is the operator's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.control import months
from shared.control.approvals import APPROVED, ENDORSED, GRANT, PROPOSED, REFUSED, REJECTED
from shared.events.destination import DELIVERY_BUCKET
from shared.payout.batch import PAYOUT

Fields = Mapping[str, str]  # name -> shape; a shape that ends in "?" may be missing

# What the value of a field looks like.
SHAPES: Mapping[str, Mapping[str, object]] = {
    "text": {"type": "string"},
    "cycle": {"type": "string", "pattern": r"^20\d\d-(0[1-9]|1[0-2])$"},
    "amount": {"type": "string", "pattern": r"^-?(0|[1-9]\d*)(\.\d+)?$"},
    "currency": {"type": "string", "pattern": "^([A-Z]{3})?$"},
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "count": {"type": "integer", "minimum": 0},
    "flag": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event."""

    name: str  # behind `clearbook.`
    says: str
    fields: Fields
    lists: Mapping[str, Fields] = field(default_factory=dict)  # of objects with these fields
    for_reseller: bool = False  # told to the reseller whose stream it is in; else it is the operator's

    @property
    def type(self) -> str:
        """As CloudEvents name it."""
        return f"clearbook.{self.name}"

    @property
    def schema(self) -> str:
        """The name of its JSON Schema; data of another shape has another number."""
        return f"urn:clearbook:event:{self.name}:1"


@dataclass(frozen=True, slots=True)
class OfAct:
    """The three types of an act that people decide."""

    proposed: EventType
    approved: EventType
    rejected: EventType

    def of(self, kind: str) -> EventType:
        """The type of an entry of this kind."""
        return {PROPOSED: self.proposed, APPROVED: self.approved, REJECTED: self.rejected}[kind]


def _fields(*named: str) -> Fields:
    """`name: shape` as a table; where no shape is said it is text."""
    return {name: shape or "text" for name, _, shape in (one.partition(": ") for one in named)}


_PAYMENT = _fields("cycle: cycle", "agreement", "instruction", "amount: amount", "currency: currency")
_ANSWER = _fields("cycle: cycle", "instruction", "amount: amount", "currency: currency", "reference")
_STATEMENTS = {"statements": _fields("agreement", "currency: currency", "total: amount", "tax: amount",
                                     "payable: amount")}  # fmt: skip
_FILES = {"files": _fields("key", "digest: digest")}
_CASES = {"cases": _fields("id", "kind", "currency: currency", "lines: count", "amount: amount")}

# By the kind of the entry: what steps found and did.
OF_KINDS: Mapping[str, EventType] = {
    months.CALCULATED: EventType(
        "settlement.calculated",
        "a month was settled",
        _fields("cycle: cycle", "owner", "settlement: digest", "lines: count"),
        _STATEMENTS,
    ),
    months.LATE: EventType(
        "month.changed",
        "the bill of a locked month is another now",
        _fields("cycle: cycle", "owner", "settlement: digest"),
    ),
    months.PUBLISHED: EventType(
        "statement.published",
        "the files of a locked month are there, by their names in the reseller's bucket",
        _fields("cycle: cycle", "settlement: digest"),
        {"files": _fields("name", "digest: digest")},
        for_reseller=True,
    ),
    months.INSTRUCTED: EventType(
        "payout.instructed",
        "a payment is on its way to the bank",
        {**_PAYMENT, "withheld": "amount?"},
        for_reseller=True,
    ),
    months.NOT_INSTRUCTED: EventType(
        "payout.not_instructed", "an approved batch did not pay: what is owed had changed since", _PAYMENT
    ),
    months.CONFIRMED: EventType(
        "payout.confirmed", "the bank says that a payment arrived", _ANSWER, for_reseller=True
    ),
    months.RETURNED: EventType("payout.returned", "the bank says that a payment came back", _ANSWER, for_reseller=True),
    months.CONTRADICTED: EventType(
        "payout.contradicted", "the bank's answers on a payment contradict each other", _ANSWER
    ),
    "rejected_by_bank": EventType(
        "payout.rejected", "the bank says that it did not make a payment", _ANSWER, for_reseller=True
    ),
    "partly_confirmed": EventType(
        "payout.partly_confirmed",
        "the bank says that a part of a payment arrived",
        {**_ANSWER, "paid": "amount?", "missing": "amount?"},
        for_reseller=True,
    ),
    "answer_unknown": EventType(
        "payout.answer_unknown", "the bank tells of a payment that nobody instructed, or not so",
        _fields("cycle: cycle", "instruction", "amount: amount", "currency: currency", "reference"),
    ),
    "disputed": EventType("case.disputed", "somebody disputes something of a month", _fields("cycle: cycle", "about")),
    "commented": EventType("case.commented", "somebody said something about a case", _fields("cycle: cycle", "case")),
    "payout_file_written": EventType(
        "batch.written", "the payout file of a batch is there", _fields("cycle: cycle", "batch", "members: count"),
        _FILES,
    ),
    ENDORSED: EventType("proposal.endorsed", "one approved, and more have to", _fields("act", "proposal: count")),
    REFUSED: EventType("attempt.refused", "somebody tried what they may not", _fields("because")),
}  # fmt: skip

# Of an entry `calculated`: how its cases differ from those of the run before.
_SOME_CASES = _fields("cycle: cycle", "owner", "count: count")
CASES_OPENED = EventType("cases.opened", "a run found cases that the run before had not", _SOME_CASES, _CASES)
CASES_CLOSED = EventType("cases.closed", "a run no longer found cases of the run before", _SOME_CASES, _CASES)


def _act(noun: str, *named: str, lists: Mapping[str, Fields] | None = None, for_reseller: bool = True) -> OfAct:
    fields, what = {"proposal": "count", **_fields(*named)}, noun.replace("_", " ")
    return OfAct(
        EventType(f"{noun}.proposed", f"{what}: proposed by one person", fields, lists or {}),
        EventType(f"{noun}.approved", f"{what}: in force", fields, lists or {}, for_reseller),
        EventType(f"{noun}.rejected", f"{what}: a proposal was rejected", fields, lists or {}),
    )


_LOCK = {"proposal": "count", **_fields("cycle: cycle", "settlement: digest")}

# By the act of an entry `proposed`, `approved` or `rejected`.
OF_ACTS: Mapping[str, OfAct] = {
    months.LOCK: OfAct(
        EventType("month.in_review", "a lock is proposed", _LOCK, _STATEMENTS),
        EventType("month.locked", "a month is locked: nothing of it changes any more", _LOCK, _STATEMENTS, True),
        EventType("month.lock_rejected", "a proposed lock was rejected", _LOCK, _STATEMENTS),
    ),
    months.AGREEMENT: _act("agreement", "agreement", "version: count"),
    months.OPENING: _act("opening", "as_of: cycle"),
    months.INVOICE: _act("invoice", "cycle: cycle", "agreement", "number", "date", "amount: amount",
                         "currency: currency"),
    "adjustment": _act("adjustment", "cycle: cycle", "agreement", "amount: amount", "currency: currency"),
    "case": _act("case", "cycle: cycle", "action", for_reseller=False),
    "reopen": _act("reopen", "cycle: cycle", "agreement", "instruction", "amount: amount", "currency: currency",
                   "withheld: amount?"),
    "payee": _act("payee", "payee: digest", "currency: currency"),
    "payouts_on": _act("payouts_on", "cycle: cycle", "on: flag"),
    "price_plan": _act("price_plan", "price_plan", "version: count", for_reseller=False),
    "layout": _act("layout", for_reseller=False),
    "payout_template": _act("payout_template", "template", "document: digest", for_reseller=False),
    "tolerance": _act("tolerance", "tolerance", "version: count", for_reseller=False),
    GRANT: _act("grant", "user", "role", for_reseller=False),
    DELIVERY_BUCKET: _act("delivery_bucket", "bucket"),
    PAYOUT: _act("batch", "cycle: cycle", "batch", "members: count", "total: amount", "currency: currency",
                 for_reseller=False),
    "party_document": _act("party_document", "document: digest", for_reseller=False),
    "fx_tables": _act("fx_tables", for_reseller=False),  # whole files by digest, and nothing to say of them
    "figures": _act("figures", for_reseller=False),
    "catalogue": _act("catalogue", "document: digest", for_reseller=False),
    "repair_rule": _act("repair_rule", "document: digest", for_reseller=False),
}  # fmt: skip


def every() -> Iterator[EventType]:
    """All types, in the order of the tables."""
    yield from OF_KINDS.values()
    yield from (CASES_OPENED, CASES_CLOSED)
    for act in OF_ACTS.values():
        yield from (act.proposed, act.approved, act.rejected)
