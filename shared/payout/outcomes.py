"""What the bank's answers on an instruction come to; whatever order they came in, it is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.chain.entry import Entry
from shared.control import months
from shared.errors import ClearbookError
from shared.money import EXACT, text, total
from shared.payout.answers import BOOKED, CONFIRMED, PARTIAL, REJECTED, RETURNED, Answer

AGREED = "answer_agreed"  # another form of file says the same once more
KINDS: Mapping[str, str] = {
    CONFIRMED: months.CONFIRMED,
    PARTIAL: months.PARTLY_CONFIRMED,
    REJECTED: months.REJECTED_BY_BANK,
    RETURNED: months.RETURNED,
}
_ANSWERS = (*KINDS.values(), months.CONTRADICTED, AGREED)


class AnswerRefusedError(ClearbookError):
    """An answer that fits no instruction."""

    code = "answer_refused"


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says of the amount that was instructed."""

    says: str
    paid: Decimal  # of a part what was paid, else all


def told(answer: Answer, instructed: Entry) -> Told:
    """The answer held against its instruction; a wrong amount says nothing."""
    due, currency = Decimal(instructed.body["amount"]), instructed.body["currency"]
    amount = due if answer.amount is None else answer.amount
    is_part = 0 < amount < due and answer.says in (PARTIAL, BOOKED)
    is_whole = amount == due and answer.says != PARTIAL
    if (answer.currency or currency) != currency or not (is_part or is_whole):
        said = f"{text(amount)} {answer.currency or currency}"
        raise AnswerRefusedError(
            f"{instructed.body['instruction']} was instructed over {text(due)} {currency}, the answer says {said}; "
            "ask the bank"
        )
    return Told(PARTIAL if is_part else CONFIRMED if answer.says == BOOKED else answer.says, amount)


def kind_of(entries: Sequence[Entry], instruction: str, answer: Answer, told_: Told, *, is_reopened: bool) -> str:
    """The kind of entry that the answer makes; "" where it is known already. An answer that says the same under
    another reference, in the same form of file, may be a second payment, and is refused."""
    heard = [one for one in entries if one.kind in _ANSWERS and one.body["instruction"] == instruction]
    alike = [one for one in heard if one.body["says"] == told_.says and _paid(one) == told_.paid]
    if any(_form(one) == answer.form and one.body["reference"] == answer.reference for one in alike):
        return ""
    contradicted = [one for one in heard if one.kind == months.CONTRADICTED]
    if contradicted and (not is_reopened or "after_reopening" in contradicted[-1].body):
        return ""
    same = [one for one in alike if _form(one) == answer.form]
    if same:
        kind, reference = same[0].body["says"], same[0].body["reference"]
        raise AnswerRefusedError(f"{instruction} is already {kind} ({reference}); ask the bank")
    if alike:
        return AGREED
    if not heard:
        return KINDS[told_.says]
    # A payment that was made may come back; everything else cannot both be true.
    says = {one.body["says"] for one in heard} | {told_.says}
    if says == {CONFIRMED, RETURNED} and not is_reopened:
        return KINDS[told_.says]
    return months.CONTRADICTED


def _form(entry: Entry) -> str:
    return str(entry.body.get("form", "csv"))  # entries of before were all of CSV files


def _paid(entry: Entry) -> Decimal:
    return Decimal(entry.body.get("paid", entry.body["amount"]))


# -- where payments stand ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one instruction stands; instructed = confirmed + returned + open, and of these some is reopened."""

    instruction: str
    cycle: str
    agreement: str
    batch: str
    currency: str
    at: str
    instructed: Decimal
    withheld: Decimal
    confirmed: Decimal  # the bank paid it, and it stayed
    returned: Decimal  # it came back, or was never carried out
    open: Decimal  # nobody has answered for it yet, or the answers contradict each other
    reopened: Decimal  # owed again, by people's decision
    outcome: str  # instructed, confirmed, partly_confirmed, rejected_by_bank, returned or contradicted
    reference: str = ""
    reason: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is left to be asked."""
        return self.confirmed == self.instructed or self.reopened == EXACT.subtract(self.instructed, self.confirmed)


def status_of_payouts(entries: Sequence[Entry]) -> list[Standing]:
    """The instructions of a reseller's stream, in their order."""
    known = months.months(list(entries))
    found = []
    for entry in entries:
        if entry.kind == months.INSTRUCTED:
            found.append(_standing(known[entry.body["cycle"]], entry))
    return found


def missing(month: months.Month, instruction: str) -> Decimal | None:
    """What of an instruction did not arrive, as far as the bank has answered; None where it has not."""
    instructed = Decimal(month.instructed[instruction].body["amount"])
    outcome = month.outcome(instruction)
    if outcome == months.PARTLY_CONFIRMED:
        return EXACT.subtract(instructed, _paid(month.partly_confirmed[instruction]))
    if outcome == months.CONTRADICTED:
        return _not_said_to_be_paid(month, instruction, instructed)
    return instructed if outcome in (months.RETURNED, months.REJECTED_BY_BANK) else None


def _not_said_to_be_paid(month: months.Month, instruction: str, instructed: Decimal) -> Decimal | None:
    """What is left beside the parts that the bank says it paid: a second part may be the rest of the first."""
    heard = (month.confirmed.get(instruction), month.partly_confirmed.get(instruction), month.contradicted[instruction])
    paid = [one for one in heard if one is not None and one.body["says"] in (PARTIAL, CONFIRMED)]
    if all(one.body["says"] != PARTIAL for one in paid):
        return instructed
    left = EXACT.subtract(instructed, total([_paid(one) for one in paid]))
    return left if left > 0 else None


def _standing(month: months.Month, entry: Entry) -> Standing:
    body, instruction = entry.body, entry.body["instruction"]
    outcome = month.outcome(instruction)
    answer = getattr(month, outcome)[instruction].body if outcome != months.INSTRUCTED else {}
    instructed, none = Decimal(body["amount"]), Decimal(0)
    confirmed = {
        months.CONFIRMED: instructed,
        months.PARTLY_CONFIRMED: Decimal(answer.get("paid", "0")),
    }.get(outcome, none)
    returned = instructed if outcome in (months.RETURNED, months.REJECTED_BY_BANK) else none
    reopened = month.reopened.get(instruction)
    return Standing(
        instruction, month.cycle, body["agreement"], body["batch"], body["currency"], entry.at, instructed,
        Decimal(body.get("withheld", "0")), confirmed, returned,
        EXACT.subtract(EXACT.subtract(instructed, confirmed), returned),
        Decimal(reopened["amount"]) if reopened else none, outcome, answer.get("reference", ""),
        answer.get("reason", ""),
    )  # fmt: skip
