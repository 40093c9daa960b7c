"""A payout batch: its members, their deterministic instruction ids, its file, and the bank's answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from shared.chain.entry import Entry
from shared.control import months
from shared.errors import BadInputError
from shared.ids import canonical_json, digest_of
from shared.money import NotAnAmountError, amount, total
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
    amount: str
    currency: str
    payee: str  # digest of the payee, so that a change after the batch is noticed
    payee_name: str
    account: str
    bank: str


def batch_key(cycle: str, batch: str) -> str:
    """The object that lists a batch's members (bucket records)."""
    return f"batches/{cycle}/{batch}.json"


def instruction_of(cycle: str, reseller: str, agreement: str) -> str:
    """The id of the one payment of an agreement in a cycle; ids hold no dots."""
    return f"{cycle}.{reseller}.{agreement}"


def balance(entries: list[Entry], agreement: str, upto: str) -> Decimal:
    """What is owed under an agreement by a reseller's stream: its opening balance and the payables of locked cycles,
    both up to `upto`, less all that was instructed.

    A later cycle's instruction paid the earlier ones' balances too, so it counts whatever `upto` is. A returned
    payment still counts: a file from outside must not make money due again, only people may.
    """
    owed = opening_balance(entries, agreement, upto)
    for cycle, month in months.months(entries).items():
        for statement in (month.locked or {}).get("statements", ()):
            if statement["agreement"] == agreement and cycle <= upto:
                owed += Decimal(statement["payable"])
        for entry in month.instructed.values():
            if entry.body["agreement"] == agreement:
                owed -= Decimal(entry.body["amount"])
    return owed


def opening_balance(entries: list[Entry], agreement: str, upto: str) -> Decimal:
    """What was owed under an agreement at go-live, 0 before the cycle that it stands at."""
    opening = months.opening(entries)
    if opening is None or opening["as_of"] > upto:
        return Decimal(0)
    return total([Decimal(one["amount"]) for one in opening["balances"] if one["agreement"] == agreement])


def batch_body(cycle: str, currency: str, members: Sequence[Member]) -> bytes:
    """The batch as canonical JSON; its id is made from it."""
    ordered = [asdict(member) for member in sorted(members, key=lambda one: one.instruction)]
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
