"""What a bank answers: CSV, pain.002 or camt.053, told apart by their content."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.errors import BadInputError
from shared.money import NotAnAmountError, amount
from shared.report.cells import BOM

ANSWER_COLUMNS = ("instruction", "status", "amount", "currency", "reference")
ANSWER_BYTES_MAX = 8 * 1024 * 1024
CSV, PAIN002, CAMT053 = "csv", "pain.002", "camt.053"
CONFIRMED, PARTIAL, REJECTED, RETURNED = "confirmed", "partial", "rejected", "returned"
BOOKED = "booked"  # a debit: confirmed where it is of the whole amount, partial where it is of less
_STATUSES = (CONFIRMED, PARTIAL, REJECTED, RETURNED)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank says of one instruction, or of all of a batch that it does not name one by one."""

    place: str  # in the file
    form: str
    says: str
    instruction: str  # as the file names it: the instruction's id, or its end-to-end id; "" for a whole batch
    amount: Decimal | None  # None where the file says none
    currency: str  # "" where the file says none
    reference: str
    reason: str = ""  # of a rejection or return
    batch: str = ""
    besides: frozenset[str] = frozenset()  # of a batch: the end-to-end ids that are answered by themselves
    count: int | None = None  # of a batch: how many transfers the file says it has


@dataclass(frozen=True, slots=True)
class Answers:
    """A file: its form, its answers, and a sentence for each that cannot be read."""

    form: str
    answers: tuple[Answer, ...]
    problems: tuple[str, ...]
    aside: int = 0  # entries that are about something else, or decide nothing yet


def suffix(body: bytes) -> str:
    """How a kept file is named: by its content."""
    return "xml" if _is_xml(body) else "csv"


def parse_answers(body: bytes, name: str) -> Answers:
    """The bank's answers in a file."""
    if len(body) > ANSWER_BYTES_MAX:
        raise BadInputError(
            name, f"has more than the {ANSWER_BYTES_MAX} bytes that are read", "ask the bank for it in parts"
        )
    if not _is_xml(body):
        return _csv(body, name)
    from shared.payout import bank_xml, camt053, pain002  # here: most files are CSV

    form, root = bank_xml.document(body, name)
    return pain002.answers(root, name) if form == PAIN002 else camt053.answers(root, name)


def _is_xml(body: bytes) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<" or body[:2] in (b"\xff\xfe", b"\xfe\xff")


def _csv(body: bytes, name: str) -> Answers:
    expected = f"expected pain.002, camt.053, or a CSV file with the columns {', '.join(ANSWER_COLUMNS)}"
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
            answers.append(_row(number, row))
        except (NotAnAmountError, ValueError) as exc:
            problems.append(f"{name}, line {number}: {exc}")
    return Answers(CSV, tuple(answers), tuple(problems))


def _row(number: int, row: Mapping[str, str | None]) -> Answer:
    if any(value is None for value in row.values()) or None in row:
        raise ValueError(f"has not {len(ANSWER_COLUMNS)} cells")
    status = str(row["status"])
    if status not in _STATUSES:
        raise ValueError(f"status is {status!r}, expected {', '.join(_STATUSES[:-1])} or {_STATUSES[-1]}")
    if not row["instruction"]:
        raise ValueError("names no instruction")
    return Answer(
        f"line {number}", CSV, status, str(row["instruction"]), amount(row["amount"]), str(row["currency"]),
        str(row["reference"]),
    )  # fmt: skip
