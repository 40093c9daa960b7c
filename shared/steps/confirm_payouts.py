"""Take the bank's answers: confirmations become entries, returns become cases, the rest says why it is refused."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.chain.entry import Draft, Entry
from shared.control import months
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json, digest
from shared.money import text
from shared.payout.batch import Answer, parse_answers
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import outbox, projections

_ACTOR = "confirm_payouts"
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # of a draft that nobody appends


class AnswerRefusedError(ClearbookError):
    """An answer that fits no instruction."""

    code = "answer_refused"


def confirm_payouts(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Apply a file of answers; each is taken once, whatever is repeated; refused rows are kept with their reason."""
    body = services.buckets.inbox.get(event.key)
    # The sender may overwrite the file: what was read is kept under its own digest.
    services.buckets.records.put_once(_kept_key(body), body)
    answers, problems = parse_answers(body, event.key)
    taken, shares = 0, defaultdict[str, set[str]](set)  # cycle -> resellers
    for answer in answers:
        try:
            cycle, reseller = _addressed(answer)
            taken += _take(services, answer, cycle, reseller, event)
            shares[cycle].add(reseller)
        except ClearbookError as exc:
            if exc.retryable:
                raise
            problems.append(f"{event.key}, line {answer.row}: {exc}")
    for cycle, resellers in sorted(shares.items()):
        projections.refresh_all(services, sorted(resellers), cycle)
        outbox.tell(services, {months.stream_of(one, cycle) for one in resellers}, stamp(event.at))
    if problems:
        kept = {"file": event.key, "digest": digest(body), "problems": problems}
        services.buckets.work.put_again(_refused_key(body), canonical_json(kept))
    outcome = {"file": event.key, "taken": taken, "refused": problems}
    services.record(_ACTOR, event.key, stamp(event.at), json.dumps(outcome, ensure_ascii=False))
    return outcome


def is_taken(services: Services, key: str) -> bool:
    """Whether every answer of a file stands in the chain, or its refusal is kept; a file that is gone asks nothing."""
    body = services.buckets.inbox.find(key)
    if body is None:
        return True
    if not services.buckets.records.exists(_kept_key(body)):
        return False
    # The refusals are written last: whoever refused a row has taken the others.
    return _is_settled(services, body, key) or services.buckets.work.exists(_refused_key(body))


def _is_settled(services: Services, body: bytes, key: str) -> bool:
    """Whether the chain has every answer of the file, and would refuse none."""
    try:
        answers, problems = parse_answers(body, key)
        return not problems and not any(_is_wanting(services, answer, key) for answer in answers)
    except ClearbookError as exc:
        if exc.retryable:
            raise
        return False


def _is_wanting(services: Services, answer: Answer, key: str) -> bool:
    """Whether the chain would take the answer, or refuse it."""
    cycle, reseller = _addressed(answer)
    entries = services.chain.read(months.stream_of(reseller, cycle))
    return _draft(entries, cycle, answer, ObjectEvent("", key, _ANY_TIME)) is not None


def _kept_key(body: bytes) -> str:
    """What was read of a file (bucket records)."""
    return f"answers/{digest(body)}.csv"


def _refused_key(body: bytes) -> str:
    """The rows that were refused, with their reasons (bucket work)."""
    return f"quarantine/{_ACTOR}/{digest(body)[:32]}.json"


def _take(services: Services, answer: Answer, cycle: str, reseller: str, event: ObjectEvent) -> bool:
    def decide(entries: list[Entry]) -> Draft | None:
        return _draft(entries, cycle, answer, event)

    return services.chain.append(months.stream_of(reseller, cycle), decide) is not None


def _addressed(answer: Answer) -> tuple[str, str]:
    parts = answer.instruction.split(".")
    try:
        cycle = str(Cycle.parse(parts[0]))
    except BadInputError:
        parts = []
    if len(parts) != 3:
        raise AnswerRefusedError(f"{answer.instruction!r} is no instruction of ours; compare it with the payout file")
    return cycle, parts[1]


def _draft(entries: list[Entry], cycle: str, answer: Answer, event: ObjectEvent) -> Draft | None:
    month = months.months(entries).get(cycle)
    instructed = month.instructed.get(answer.instruction) if month else None
    if month is None or instructed is None:
        raise AnswerRefusedError(f"{answer.instruction} was never instructed; compare it with the payout file")
    due, currency = Decimal(instructed.body["amount"]), instructed.body["currency"]
    if (answer.amount, answer.currency) != (due, currency):
        raise AnswerRefusedError(
            f"{answer.instruction} was instructed over {text(due)} {currency}, the answer says {text(answer.amount)} "
            f"{answer.currency}; ask the bank"
        )

    def entry(kind: str) -> Draft:
        body = {
            "cycle": cycle,
            "instruction": answer.instruction,
            "says": "confirmed" if answer.is_paid else "returned",
            "amount": instructed.body["amount"],
            "currency": currency,
            "reference": answer.reference,
            "file": event.key,
        }
        return Draft(kind, _ACTOR, stamp(event.at), body)

    earlier = month.confirmed.get(answer.instruction) or month.returned.get(answer.instruction)
    kind = months.CONFIRMED if answer.is_paid else months.RETURNED
    if earlier is not None:
        if (earlier.kind, earlier.body["reference"]) == (kind, answer.reference):
            return None  # the same answer once more
        if earlier.kind != kind:
            # Two answers that cannot both be true: people decide, and nothing is paid meanwhile.
            return None if answer.instruction in month.contradicted else entry(months.CONTRADICTED)
        raise AnswerRefusedError(
            f"{answer.instruction} is already {earlier.kind} ({earlier.body['reference']}); ask the bank"
        )
    return entry(kind)
