"""A payout batch: its members, their deterministic instruction ids, its file, and the bank's answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED
from shared.errors import BadInputError
from shared.ids import canonical_json, digest_of
from shared.money import EXACT, NotAnAmountError, amount, total
from shared.report.cells import BOM, csv_bytes

FILE_COLUMNS = ("instruction", "payee", "account", "bank", "amount", "currency", "reference")
ANSWER_COLUMNS = ("instruction", "status", "amount", "currency", "reference")
ANSWER_BYTES_MAX = 8 * 1024 * 1024
PAYOUT = "payout_batch"  # the act that proposes one


@dataclass(frozen=True, slots=True)
class Member:
    """One payment: an agreement's balance of a reseller, as of a cycle."""

    instruction: str  # <cycle>.<reseller>.<agreement>: the same whatever is retried
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

    @property
    def paid(self) -> Decimal:
        """What of the balance it settles."""
        return EXACT.add(Decimal(self.amount), Decimal(self.withheld))

    def as_json(self) -> dict[str, str]:
        """As plain data."""
        return {name: value for name, value in asdict(self).items() if name != "withheld" or value != "0"}


def batch_key(cycle: str, batch: str) -> str:
    """The object that lists a batch's members (bucket records)."""
    return f"batches/{cycle}/{batch}.json"


def instruction_of(cycle: str, reseller: str, agreement: str) -> str:
    """The id of the one payment of an agreement in a cycle; ids hold no dots."""
    return f"{cycle}.{reseller}.{agreement}"


@dataclass(frozen=True, slots=True)
class Movement:
    """Something that changes what is owed under an agreement."""

    what: str  # opening, statement, forfeited, paid or withheld
    amount: Decimal  # above 0 it is owed more
    entry: Entry | None  # the lock or the instruction; None for the opening

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

    A later cycle's instruction paid the earlier ones' balances too, so it counts whatever `upto` is. A returned
    payment still counts: a file from outside must not make money due again, only people may.
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


def opening_balance(entries: Sequence[Entry], agreement: str, upto: str) -> Decimal:
    """What was owed under an agreement at go-live, 0 before the cycle that it stands at."""
    opening = months.opening(list(entries))
    if opening is None or opening["as_of"] > upto:
        return Decimal(0)
    return total([Decimal(one["amount"]) for one in opening["balances"] if one["agreement"] == agreement])


def batch_body(cycle: str, currency: str, members: Sequence[Member]) -> bytes:
    """The batch as canonical JSON; its id is made from it."""
    ordered = [member.as_json() for member in sorted(members, key=lambda one: one.instruction)]
    id_ = f"{cycle}-{currency}-{digest_of(ordered)[:12]}"
    return canonical_json({"batch": id_, "cycle": cycle, "currency": currency, "members": ordered})


def parse_batch(body: bytes) -> tuple[str, list[Member]]:
    """The id and the members of a batch."""
    data = json.loads(body)
    return data["batch"], [Member(**member) for member in data["members"]]


def file_csv(members: Sequence[Member]) -> bytes:
    """The payout file for the bank."""
    return csv_bytes(
        FILE_COLUMNS,
        [
            (m.instruction, m.payee_name, m.account, m.bank, Decimal(m.amount), m.currency, f"Commission {m.cycle}")
            for m in members
        ],
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank says of one instruction."""

    row: int
    instruction: str
    is_paid: bool  # confirmed, else returned
    amount: Decimal
    currency: str
    reference: str


def parse_answers(body: bytes, name: str) -> tuple[list[Answer], list[str]]:
    """The bank's answers in a CSV file, and a sentence for each row that cannot be read."""
    expected = f"expected a CSV file with the columns {', '.join(ANSWER_COLUMNS)}"
    if len(body) > ANSWER_BYTES_MAX:
        raise BadInputError(name, f"has {len(body)} bytes, at most {ANSWER_BYTES_MAX} are read", expected)
    try:
        reader = csv.DictReader(io.StringIO(body.decode().removeprefix(BOM)), strict=True)
        if tuple(reader.fieldnames or ()) != ANSWER_COLUMNS:
            raise BadInputError(name, f"has the columns {reader.fieldnames}", expected)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as exc:
        raise BadInputError(name, f"cannot be read ({exc})", expected) from exc
    answers, problems = [], []
    for number, row in enumerate(rows, 2):
        try:
            answers.append(_answer(number, row))
        except (NotAnAmountError, ValueError) as exc:
            problems.append(f"{name}, line {number}: {exc}")
    return answers, problems


def _answer(number: int, row: Mapping[str, str | None]) -> Answer:
    if any(value is None for value in row.values()) or None in row:
        raise ValueError(f"has not {len(ANSWER_COLUMNS)} cells")
    status = str(row["status"])
    if status not in ("confirmed", "returned"):
        raise ValueError(f"status is {status!r}, expected confirmed or returned")
    return Answer(
        number, str(row["instruction"]), status == "confirmed", amount(row["amount"]), str(row["currency"]),
        str(row["reference"]),
    )  # fmt: skip
