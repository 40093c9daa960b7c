"""A payout batch: its members, their deterministic instruction ids, and what they do to a balance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED, in_force
from shared.ids import canonical_json, digest_of
from shared.money import EXACT, total
from shared.parties.payees import BANK
from shared.report.cells import csv_bytes

FILE_COLUMNS = ("instruction", "payee", "account", "bank", "amount", "currency", "reference", "approval")
PAYOUT = "payout_batch"  # the act that proposes one
WRITTEN = "payout_file_written"  # the kind of entry once it was carried out
_LAST = "9999-12"  # no cycle is later
_ID_MOST = 35  # of an id that a bank carries (ISO 20022, Max35Text)


@dataclass(frozen=True, slots=True)
class Member:
    """One payment: an agreement's balance of a reseller, as of a cycle."""

    instruction: str  # <cycle>.<reseller>.<agreement>: the same whatever is retried; .2 and so on once it was reopened
    cycle: str
    reseller: str
    agreement: str
    amount: str  # what is transferred
    currency: str
    payee: str  # digest of the payee, so that a change after the batch is noticed
    payee_name: str
    account: str
    bank: str
    withheld: str = "0"  # what is kept of the balance for the tax office
    bic: str = ""  # of the payee's bank
    kind: str = BANK  # or a wallet

    @property
    def end_to_end(self) -> str:
        """The id that the bank carries to the payee and back."""
        return end_to_end_of(self.instruction)

    @property
    def paid(self) -> Decimal:
        """What of the balance it settles."""
        return EXACT.add(Decimal(self.amount), Decimal(self.withheld))

    def as_json(self) -> dict[str, str]:
        """As plain data."""
        usual = {"withheld": "0", "bic": "", "kind": BANK}
        return {name: value for name, value in asdict(self).items() if usual.get(name) != value}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a batch is paid, fixed when it was proposed: the operator's account, and the forms of files."""

    debtor: Mapping[str, str] | None = None  # {name, account or iban, bank, bic}; None where there is none
    templates: tuple[str, ...] = ()  # digests of the column templates

    def as_json(self) -> dict[str, Any]:
        """As plain data; nothing of what there is not."""
        found: dict[str, Any] = {"debtor": dict(self.debtor)} if self.debtor else {}
        return {**found, "templates": list(self.templates)} if self.templates else found


def batch_key(cycle: str, batch: str) -> str:
    """The object that lists a batch's members (bucket records)."""
    return f"batches/{cycle}/{batch}.json"


def instruction_of(cycle: str, reseller: str, agreement: str, attempt: int = 1) -> str:
    """The id of the one payment of an agreement in a cycle, or of the next after it was reopened; ids hold no dots."""
    return f"{cycle}.{reseller}.{agreement}" + (f".{attempt}" if attempt > 1 else "")


def end_to_end_of(instruction: str) -> str:
    """At most 35 characters for the bank: the instruction's id, or one made from it, which has one dot only."""
    if len(instruction) <= _ID_MOST:
        return instruction
    cycle = instruction.partition(".")[0]
    return f"{cycle}.{digest_of(instruction)[: _ID_MOST - len(cycle) - 1]}"


def end_to_end_key(end_to_end: str) -> str:
    """The object that names the instruction behind an id that was made (bucket records)."""
    return f"instructions/{end_to_end}.json"


def attempts(entries: Sequence[Entry], cycle: str, agreement: str) -> int:
    """How often an agreement's payment in a cycle was reopened, and once more: the number of the next payment."""
    reopened = (one for one in in_force(list(entries), months.REOPEN) if one["agreement"] == agreement)
    return 1 + len([one for one in reopened if one["cycle"] == cycle])


@dataclass(frozen=True, slots=True)
class Movement:
    """Something that changes what is owed under an agreement."""

    what: str  # opening, statement, forfeited, paid, withheld or reopened
    amount: Decimal  # above 0 it is owed more
    entry: Entry | None  # the lock, the instruction or the reopening; None for the opening

    @property
    def cycle(self) -> str:
        """The month that it is of, "" for the opening."""
        if self.entry is None:
            return ""
        body = self.entry.body
        return str(body["what"]["cycle"] if self.entry.kind == APPROVED else body["cycle"])


def movements(entries: Sequence[Entry], agreement: str, upto: str) -> list[Movement]:
    """What changed what is owed under an agreement, by a reseller's stream, in its order: its opening balance and the
    payables of locked cycles, both up to `upto`; what a locked cycle forfeits, for it is below the minimum; and all
    that was instructed.

    A later cycle's instruction paid the earlier ones' balances too, so it counts whatever `upto` is, and so does its
    reopening. A returned payment still counts: a file from outside must not make money due again, only people may.
    """
    opened = opening_balance(entries, agreement, upto)
    found = [Movement("opening", opened, None)] if opened else []
    owed = opened
    for entry in entries:
        for what, amount_ in _of_entry(entry, agreement, upto, owed):
            owed += amount_
            found.append(Movement(what, amount_, entry))
    return found


def _of_entry(entry: Entry, agreement: str, upto: str, owed: Decimal) -> Iterator[tuple[str, Decimal]]:
    body = entry.body
    if entry.kind == months.INSTRUCTED and body["agreement"] == agreement:
        yield "paid", -Decimal(body["amount"])
        if "withheld" in body:
            yield "withheld", -Decimal(body["withheld"])
    elif entry.kind == APPROVED and body["act"] == months.REOPEN and body["what"]["agreement"] == agreement:
        yield "reopened", EXACT.add(Decimal(body["what"]["amount"]), Decimal(body["what"].get("withheld", "0")))
    elif entry.kind == APPROVED and body["act"] == months.LOCK and body["what"]["cycle"] <= upto:
        for statement in body["what"]["statements"]:
            if statement["agreement"] == agreement:
                payable = Decimal(statement["payable"])
                yield "statement", payable
                forfeit = forfeited(statement, owed + payable)
                if forfeit:
                    yield "forfeited", -forfeit


def forfeited(statement: Mapping[str, str], owed: Decimal) -> Decimal:
    """What of a balance is neither paid nor carried: all of it where it is below a minimum that forfeits it."""
    return owed if 0 < owed < Decimal(statement.get("forfeits_below", "0")) else Decimal(0)


def balance(entries: Sequence[Entry], agreement: str, upto: str) -> Decimal:
    """What is owed under an agreement."""
    return total([one.amount for one in movements(entries, agreement, upto)])


def is_taken_back(entries: Sequence[Entry], agreement: str, owed: Decimal) -> bool:
    """Whether months that were locked later leave less than what is owed up to an earlier one."""
    return balance(entries, agreement, _LAST) < owed


def opening_balance(entries: Sequence[Entry], agreement: str, upto: str) -> Decimal:
    """What was owed under an agreement at go-live, 0 before the cycle that it stands at."""
    opening = months.opening(list(entries))
    if opening is None or opening["as_of"] > upto:
        return Decimal(0)
    return total([Decimal(one["amount"]) for one in opening["balances"] if one["agreement"] == agreement])


def batch_body(
    cycle: str, currency: str, members: Sequence[Member], terms: Terms | None = None, attempt: int = 1
) -> bytes:
    """The batch as canonical JSON; its id is made from it. A later attempt pays what an earlier one could not."""
    ordered = [member.as_json() for member in sorted(members, key=lambda one: one.instruction)]
    how = (terms or Terms()).as_json() | ({"attempt": attempt} if attempt > 1 else {})
    id_ = f"{cycle}-{currency}-{digest_of([ordered, how] if how else ordered)[:12]}"
    return canonical_json({"batch": id_, "cycle": cycle, "currency": currency, "members": ordered, **how})


def parse_batch(body: bytes) -> tuple[str, list[Member]]:
    """The id and the members of a batch."""
    data = json.loads(body)
    return data["batch"], [Member(**member) for member in data["members"]]


def parse_terms(body: bytes) -> Terms:
    """How a batch is paid."""
    data = json.loads(body)
    return Terms(data.get("debtor"), tuple(data.get("templates", ())))


def remittance(member: Member) -> str:
    """What the payee reads."""
    return f"Commission {member.cycle}"


def file_csv(members: Sequence[Member], approval: str) -> bytes:
    """The payout file for people and for banks without a form of their own; each row names the approval's hash."""
    return csv_bytes(
        FILE_COLUMNS,
        [
            (m.instruction, m.payee_name, m.account, m.bank, Decimal(m.amount), m.currency, remittance(m), approval)
            for m in members
        ],
    )
