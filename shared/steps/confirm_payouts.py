"""Take the bank's answers: what it did becomes entries, what did not go through becomes cases, the rest says why it is
refused."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.chain.entry import Draft, Entry
from shared.control import months
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json, digest
from shared.money import EXACT, text, total
from shared.parties.parties import OPERATOR
from shared.parties.payees import BANK
from shared.payout.answers import ANSWER_BYTES_MAX, BOOKED, CONFIRMED, Answer, parse_answers, suffix
from shared.payout.batch import batch_key, end_to_end_key, parse_batch
from shared.payout.outcomes import AnswerRefusedError, kind_of, told
from shared.ports import ObjectConflictError, ObjectEvent, ObjectMissingError
from shared.services import Services
from shared.steps import outbox, projections

_ACTOR = "confirm_payouts"
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # of a draft that nobody appends
_NOTED_MOST = 100  # of the refused answers of a file; the file of its problems has all
_MADE_ID = re.compile(r"20\d\d-\d\d\.[0-9a-f]{27}", re.ASCII)
_BATCH = re.compile(r"(20\d\d-\d\d)-[A-Z]{3}-[0-9a-f]{12}", re.ASCII)


def confirm_payouts(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Apply a file of answers; each is taken once, whatever is repeated; refused rows are kept with their reason."""
    body = _read(services, event.key)
    # The sender may overwrite the file: what was read is kept under its own digest.
    services.buckets.records.put_once(_kept_key(body), body)
    first = _first_name(services, body, event.key)
    found = parse_answers(body, event.key)
    taken, shares = 0, defaultdict[str, set[str]](set)  # cycle -> resellers
    problems = list(found.problems)
    refused: list[tuple[Answer, str]] = []
    for answer in found.answers:
        try:
            for one in _single(services, answer):
                cycle, reseller = _addressed(one)
                taken += _take(services, one, cycle, reseller, event)
                shares[cycle].add(reseller)
        except ClearbookError as exc:
            if exc.retryable:
                raise
            problems.append(f"{event.key}, {answer.place}: {exc}")
            refused.append((answer, str(exc)))
    for answer, problem in refused[:_NOTED_MOST]:  # a file of anything else must not fill the chain
        cycle = _note_unknown(services, answer, problem, event)
        if cycle:
            shares[cycle].add(OPERATOR)
    if first != event.key and not taken:
        problems.append(f"{event.key}: it is {first} once more, word by word; nothing was taken of it again")
    for cycle, owners in sorted(shares.items()):
        projections.refresh_all(services, sorted(owners), cycle)
        outbox.tell(services, {months.stream_of(one, cycle) for one in sorted(owners)}, stamp(event.at))
    if problems:
        kept = {"file": event.key, "digest": digest(body), "problems": problems}
        services.buckets.work.put_again(_refused_key(body, event.key, first), canonical_json(kept))
    outcome = {"file": event.key, "form": found.form, "taken": taken, "aside": found.aside, "refused": problems}
    services.record(_ACTOR, event.key, stamp(event.at), json.dumps(outcome, ensure_ascii=False))
    return outcome


def is_taken(services: Services, key: str) -> bool:
    """Whether every answer of a file stands in the chain, or its refusal is kept; a file that is gone asks nothing."""
    try:
        body = _read(services, key)
    except ObjectMissingError:
        return True
    except BadInputError:
        return False
    if not services.buckets.records.exists(_kept_key(body)):
        return False
    # The refusals are written last: whoever refused a row has taken the others.
    return _is_settled(services, body, key) or services.buckets.work.exists(_refused_key(body, key, key))


def _is_settled(services: Services, body: bytes, key: str) -> bool:
    """Whether the chain has every answer of the file, and would refuse none."""
    try:
        found = parse_answers(body, key)
        singles = (one for answer in found.answers for one in _single(services, answer))
        return not found.problems and not any(_is_wanting(services, one, key) for one in singles)
    except ClearbookError as exc:
        if exc.retryable:
            raise
        return False


def _is_wanting(services: Services, answer: Answer, key: str) -> bool:
    """Whether the chain would take the answer, or refuse it."""
    cycle, reseller = _addressed(answer)
    entries = services.chain.read(months.stream_of(reseller, cycle))
    return _draft(entries, cycle, answer, ObjectEvent("", key, _ANY_TIME)) is not None


def _read(services: Services, key: str) -> bytes:
    """The file, by way of the disk: whatever its size, no more of it is in memory than is read."""
    with tempfile.TemporaryDirectory(dir=services.scratch) as folder:
        path = Path(folder) / "answers"
        services.buckets.inbox.download(key, path)
        size = path.stat().st_size
        if size > ANSWER_BYTES_MAX:
            problem = f"has {size} bytes, at most {ANSWER_BYTES_MAX} are read"
            raise BadInputError(key, problem, "ask the bank for it in parts")
        return path.read_bytes()


def _kept_key(body: bytes) -> str:
    """What was read of a file (bucket records)."""
    return f"answers/{digest(body)}.{suffix(body)}"


def _refused_key(body: bytes, key: str, first: str) -> str:
    """The rows that were refused, with their reasons (bucket work); of a file that came twice each by its name."""
    named = digest(body) if key == first else digest(f"{digest(body)} {key}".encode())
    return f"quarantine/{_ACTOR}/{named[:32]}.json"


def _first_name(services: Services, body: bytes, key: str) -> str:
    """The name under which this content came first."""
    place = f"answers/{digest(body)}.json"
    there = services.buckets.records.find(place)
    if there is None:
        try:
            services.buckets.records.put_once(place, canonical_json({"file": key}))
        except ObjectConflictError:
            there = services.buckets.records.get(place)
    return str(json.loads(there)["file"]) if there is not None else key


# -- which instruction an answer is about --------------------------------------------------------------------------


def _single(services: Services, answer: Answer) -> Iterator[Answer]:
    """The answer by the instruction's own id; what is said of a whole batch for each payment that it made."""
    if answer.instruction:
        yield replace(answer, instruction=_named(services, answer.instruction))
        return
    match = _BATCH.fullmatch(answer.batch)
    body = services.buckets.records.find(batch_key(match[1], answer.batch)) if match else None
    if body is None:
        raise AnswerRefusedError(f"{answer.batch[:80]!r} is no batch of ours; compare it with the payout file")
    members = [
        one
        for one in parse_batch(body)[1]
        if one.kind == BANK and _is_of_batch(services, one.cycle, one.reseller, one.instruction, answer.batch)
    ]
    due = total([Decimal(one.amount) for one in members])
    if answer.count not in (None, len(members)) or answer.amount not in (None, due):
        said = f"{answer.count or len(members)} payments over {text(answer.amount or due)}"
        raise AnswerRefusedError(
            f"batch {answer.batch} has {len(members)} payments over {text(due)}, the answer says {said}; ask the bank"
        )
    for one in members:
        if one.end_to_end not in answer.besides:
            says = CONFIRMED if answer.says == BOOKED else answer.says
            yield replace(answer, says=says, instruction=one.instruction, amount=None)


def _is_of_batch(services: Services, cycle: str, reseller: str, instruction: str, batch: str) -> bool:
    month = months.months(services.chain.read(months.stream_of(reseller, cycle))).get(cycle)
    entry = month.instructed.get(instruction) if month else None
    return entry is not None and entry.body["batch"] == batch


def _named(services: Services, id_: str) -> str:
    if not _MADE_ID.fullmatch(id_):
        return id_
    body = services.buckets.records.find(end_to_end_key(id_))
    return str(json.loads(body)["instruction"]) if body is not None else id_


def _addressed(answer: Answer) -> tuple[str, str]:
    parts = answer.instruction.split(".")
    try:
        cycle = str(Cycle.parse(parts[0]))
    except BadInputError:
        parts = []
    if len(parts) not in (3, 4):
        raise AnswerRefusedError(
            f"{answer.instruction[:80]!r} is no instruction of ours; compare it with the payout file"
        )
    return cycle, parts[1]


# -- what it says of it --------------------------------------------------------------------------------------------


def _take(services: Services, answer: Answer, cycle: str, reseller: str, event: ObjectEvent) -> bool:
    def decide(entries: list[Entry]) -> Draft | None:
        return _draft(entries, cycle, answer, event)

    return services.chain.append(months.stream_of(reseller, cycle), decide) is not None


def _draft(entries: list[Entry], cycle: str, answer: Answer, event: ObjectEvent) -> Draft | None:
    month = months.months(entries).get(cycle)
    instructed = month.instructed.get(answer.instruction) if month else None
    if month is None or instructed is None:
        raise AnswerRefusedError(f"{answer.instruction} was never instructed; compare it with the payout file")
    said = told(answer, instructed)
    is_reopened = answer.instruction in month.reopened
    kind = kind_of(entries, answer.instruction, answer, said, is_reopened=is_reopened)
    if not kind:
        return None  # the same answer once more
    due = instructed.body["amount"]
    part = {"paid": text(said.paid), "missing": text(EXACT.subtract(Decimal(due), said.paid))}
    body = {
        "cycle": cycle,
        "instruction": answer.instruction,
        "says": said.says,
        "amount": due,
        "currency": instructed.body["currency"],
        "reference": answer.reference,
        "form": answer.form,
        "file": event.key,
        **(part if said.paid != Decimal(due) else {}),
        **({"reason": answer.reason} if answer.reason else {}),
        **({"after_reopening": True} if is_reopened and kind == months.CONTRADICTED else {}),
    }
    return Draft(kind, _ACTOR, stamp(event.at), body)


def _note_unknown(services: Services, answer: Answer, problem: str, event: ObjectEvent) -> str:
    """Enter an answer that was refused in its cycle, as the operator's case; the cycle, "" where nobody knows which."""
    named = answer.instruction or answer.batch
    try:
        cycle = str(Cycle.parse(named[:7]))
    except BadInputError:
        return ""
    amount = text(answer.amount) if answer.amount is not None else "0"
    body = {
        "cycle": cycle,
        "instruction": named[:100],
        "amount": amount,
        "currency": answer.currency[:3],
        "reference": answer.reference[:100],
        "file": event.key,
        "problem": problem[:500],
    }

    def decide(entries: list[Entry]) -> Draft | None:
        there = [one.body for one in entries if one.kind == months.UNKNOWN_ANSWER]
        is_settled_here = any(one.kind == months.CALCULATED for one in entries)
        is_noted = any(all(one[name] == body[name] for name in ("instruction", "amount", "reference")) for one in there)
        if is_noted or not is_settled_here:
            return None
        return Draft(months.UNKNOWN_ANSWER, _ACTOR, stamp(event.at), body)

    services.chain.append(months.stream_of(OPERATOR, cycle), decide)
    return cycle
