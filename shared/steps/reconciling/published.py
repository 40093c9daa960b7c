"""Statement = sum of its lines = journal = payout = what the bank says, from the files that were published.

The chain names each file by its digest; what a file then says is read as its reader would, so that a file that is not
as it was says which of its rows is another, and which bill lines are behind it. A file whose columns are a reseller's
or a bank's own is held by its digest alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.columnar import connect
from shared.control import months
from shared.ids import digest
from shared.journal.postings import IN_TRANSIT, owed_to
from shared.money import EXACT, NotAnAmountError, amount, total
from shared.parties.parties import OPERATOR
from shared.payout.batch import balance, batch_key, parse_batch
from shared.ports import ObjectMissingError
from shared.reconciliation import summing
from shared.reconciliation.difference import BANK, JOURNAL, LINES_KEPT, PAYOUT, STATEMENT, ZERO, Difference
from shared.report.cells import BOM
from shared.services import Services
from shared.steps import results
from shared.steps.inputs import Kept
from shared.steps.pay_resellers import PAID
from shared.steps.reconciling.gathering import Gathered, Look

OPEN = "open"
# What the bank says of an instruction, by what a month makes of all its answers.
ANSWERS: Mapping[str, str] = {
    months.CONFIRMED: "confirmed",
    months.RETURNED: "returned",
    months.REJECTED_BY_BANK: "rejected",
    months.PARTLY_CONFIRMED: "partly confirmed",
    months.CONTRADICTED: "contradicted",
}
_HELD = ("returned", "rejected", "partly confirmed", "contradicted")  # a case says what becomes of them
_ROW = ("customer", "product", "rule", "version", "kind")
_SHOWN = (*_ROW, "amount")
_POSTING = ("reference", "account", "amount", "currency")
_FILE = ("instruction", "amount", "currency")


@dataclass(frozen=True, slots=True)
class Payment:
    """One instruction: what is owed, what was instructed, and what the bank says."""

    instruction: str
    reseller: str
    currency: str
    owed: Decimal
    instructed: Decimal
    withheld: Decimal
    state: str  # open, or what the bank says
    answered: Decimal | None
    reference: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        amounts = {name: getattr(self, name) for name in ("owed", "instructed", "withheld", "answered")}
        named = {name: getattr(self, name) for name in ("instruction", "reseller", "currency", "state", "reference")}
        return {**named, **{name: None if one is None else f"{one:f}" for name, one in amounts.items()}}


@dataclass(slots=True)
class Published:
    """What was looked at, and what differs."""

    statements: int = 0
    files: int = 0
    payments: list[Payment] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def read(services: Services, gathered: Gathered, limit: int | None = LINES_KEPT) -> Published:
    """Hold every published statement, posting and payment of the cycle against the settlement that was locked."""
    found = Published()
    for look in gathered.looks:
        if look.owner != OPERATOR:
            _of_reseller(services, look, found, limit)
    _of_payouts(services, gathered, found)
    return found


# -- statements and journal -------------------------------------------------------------------------------------


def _of_reseller(services: Services, look: Look, found: Published, limit: int | None) -> None:
    published, locked = look.month.published, look.month.locked
    if published is None or locked is None:
        return
    kept = Kept(look.month.cycle, look.owner, str(locked["settlement"]))
    try:
        summary = kept.summary(services)
    except (ObjectMissingError, ValueError):
        what = f"the summary of the locked settlement {kept.settlement[:12]} is missing, or cannot be read"
        found.differences.append(Difference(STATEMENT, look.owner, what, reason="missing"))
        return
    said = {one["agreement"]: one for one in summary["statements"]}
    wrong: list[tuple[summing.Key | None, Difference]] = []
    postings: list[Mapping[str, str]] = []
    for file in published.body["files"]:
        key = file["key"]
        body = services.buckets.records.find(key)
        found.files += 1
        check = JOURNAL if key.startswith("journal/") else STATEMENT
        if body is None:
            wrong.append((None, Difference(check, look.owner, f"{key} is missing", reason="missing")))
            continue
        if digest(body) != file["digest"]:
            what = f"{key} is not the file that was published"
            wrong.append((None, Difference(check, look.owner, what, reason="digest")))
        if check == JOURNAL:
            postings += _rows(body, _POSTING) if key.endswith(".csv") else []
        elif key.endswith(".json"):
            found.statements += 1
            wrong += _statement_json(key, body, look.owner, said)
        elif key.endswith(".csv"):
            wrong += _statement_csv(key, body, look.owner, said)
    wrong += [(None, one) for one in _posted(look, said, postings)]
    found.differences += _named(services, kept, wrong, limit)


def _statement_json(
    key: str, body: bytes, owner: str, said: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[summing.Key | None, Difference]]:
    try:
        data = json.loads(body)
        theirs = said[data["agreement"]]
        for one in summing.statement_sums(data, owner, STATEMENT):
            yield None, replace(one, what=f"{key}: {one.what}")
        for name in ("exact", "total", "tax", "payable"):
            if Decimal(data[name]) != Decimal(theirs[name]):
                what = f"{key}: {name} is not what was locked"
                amounts = Decimal(data[name]), Decimal(theirs[name])
                yield None, Difference(STATEMENT, owner, what, theirs["currency"], *amounts, reason="amount")
        yield from _lines_apart(key, owner, data["lines"], theirs)
    except (ValueError, KeyError, TypeError, ArithmeticError):
        yield None, Difference(STATEMENT, owner, f"{key} cannot be read as a statement", reason="unreadable")


def _statement_csv(
    key: str, body: bytes, owner: str, said: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[summing.Key | None, Difference]]:
    rows = _rows(body, (*_SHOWN, "agreement"))
    for agreement in sorted({row["agreement"] for row in rows}):
        mine = [row for row in rows if row["agreement"] == agreement]
        if agreement not in said:
            what = f"{key}: there is no statement of {agreement}"
            yield None, Difference(STATEMENT, owner, what, reason="unknown")
            continue
        yield from _lines_apart(key, owner, mine, said[agreement])


def _lines_apart(
    key: str, owner: str, ours: Sequence[Mapping[str, Any]], statement: Mapping[str, Any]
) -> Iterator[tuple[summing.Key | None, Difference]]:
    """The rows of a published file beside the locked statement's lines."""
    mine, theirs = _by_row(ours), _by_row(statement["lines"])
    for row in sorted(mine.keys() | theirs.keys()):
        if mine.get(row, ZERO) != theirs.get(row, ZERO):
            customer, product, rule, version, kind = row
            what = f"{key}: {'/'.join(filter(None, (customer, product, rule))) or '-'}, {kind}: is not what was locked"
            group = (statement["agreement"], customer, product, rule, int(version or 0), kind, statement["currency"])
            keys = {"agreement": statement["agreement"], **dict(zip(_ROW, row, strict=True))}
            amounts = mine.get(row), theirs.get(row)
            one = Difference(STATEMENT, owner, what, statement["currency"], *amounts, reason="amount", keys=keys)
            yield group, one


def _by_row(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], Decimal]:
    found: dict[tuple[str, ...], Decimal] = {}
    for row in rows:
        named = tuple(str(row[name]).removeprefix("'") for name in _ROW)
        found[named] = EXACT.add(found.get(named, ZERO), Decimal(row["amount"]))
    return found


def _posted(
    look: Look, said: Mapping[str, Mapping[str, Any]], postings: Sequence[Mapping[str, str]]
) -> Iterator[Difference]:
    """Postings that are not balanced, and statements whose payable the journal does not owe to the reseller."""
    yield from _unbalanced(look.owner, postings)
    for agreement, statement in sorted(said.items()):
        reference = f"{look.month.cycle}.{look.owner}.{agreement}"
        mine = [row for row in postings if (row["reference"], row["account"]) == (reference, owed_to(look.owner))]
        ours, theirs = -_sum(mine), Decimal(statement["payable"])
        if ours != theirs:
            what = f"journal of {reference}: what it owes is not what the statement says is payable"
            yield Difference(JOURNAL, look.owner, what, statement["currency"], ours, theirs, reason="amount")


def _unbalanced(owner: str, postings: Sequence[Mapping[str, str]]) -> Iterator[Difference]:
    groups = sorted({(row["reference"], row["currency"]) for row in postings})
    for reference, currency in groups:
        left = _sum([row for row in postings if (row["reference"], row["currency"]) == (reference, currency)])
        if left != 0:
            what = f"journal: the postings of {reference} do not balance"
            yield Difference(JOURNAL, owner, what, currency, left, ZERO, reason="unbalanced")


def _sum(postings: Sequence[Mapping[str, str]]) -> Decimal:
    return total([_amount(row["amount"]) for row in postings])


def _amount(value: str) -> Decimal:
    try:
        return amount(value, places=18)
    except NotAnAmountError:
        return ZERO  # its file's digest says that it is not the one that was written


def _named(
    services: Services, kept: Kept, wrong: Sequence[tuple[summing.Key | None, Difference]], limit: int | None
) -> list[Difference]:
    """The differences with the bill lines behind the statement lines that they are about."""
    keys = [key for key, _ in wrong if key is not None]
    if not keys:
        return [one for _, one in wrong]
    with (
        TemporaryDirectory(dir=services.scratch) as folder,
        connect(services.scratch, services.memory_mb, services.threads) as connection,
    ):
        path = Path(folder) / results.LINES
        try:
            services.buckets.work.download(kept.folder + results.LINES, path)
        except ObjectMissingError:
            return [one for _, one in wrong]
        lines = summing.lines_of_statement(connection, str(path), keys, limit)
    told = []
    for key, one in wrong:
        ids, count = lines.get(key, ([], 0)) if key is not None else ([], 0)
        told.append(replace(one, lines=ids, count=count))
    return told


def _rows(body: bytes, columns: Sequence[str]) -> list[Mapping[str, str]]:
    """The rows of a CSV file of ours; none where it has not these columns, or is no CSV: it has another layout."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode().removeprefix(BOM), newline=""), strict=True)
        if not set(columns) <= set(reader.fieldnames or ()):
            return []
        return [row for row in reader if all(row[name] is not None for name in columns)]
    except (UnicodeDecodeError, csv.Error):
        return []


# -- payouts and what the bank says -----------------------------------------------------------------------------


def _of_payouts(services: Services, gathered: Gathered, found: Published) -> None:
    """Every instruction of the cycle beside what was owed, its batch, the bank's file, the journal and the answers."""
    written, postings = _payout_files(services, gathered, found)
    batches: dict[str, dict[str, Decimal]] = {}
    for look in gathered.looks:
        for instruction, entry in look.month.instructed.items():
            body = entry.body
            currency, due = body["currency"], Decimal(body["amount"])
            withheld = Decimal(body.get("withheld", "0"))
            before = [one for one in look.entries if one.seq < entry.seq]
            owed = balance(before, body["agreement"], look.month.cycle)
            batch = body["batch"]
            if batch not in batches:
                batches[batch] = _members(services, gathered.cycle, batch)
            posted = [row for row in postings if (row["reference"], row["account"]) == (instruction, IN_TRANSIT)]
            sides = [
                ("its batch", batches[batch].get(instruction)),
                *([("the payout file", written[batch].get(instruction))] if batch in written else []),
                *([("the journal", -_sum(posted))] if postings else []),
            ]
            for who, says in sides:
                if says != due:
                    what = f"{instruction}: {who} does not say what was instructed"
                    found.differences.append(Difference(PAYOUT, look.owner, what, currency, says, due, reason="amount"))
            if owed != EXACT.add(due, withheld):
                what = f"{instruction}: what was paid and withheld is not what the statements left to be paid"
                paid = EXACT.add(due, withheld)
                found.differences.append(Difference(PAYOUT, look.owner, what, currency, paid, owed, reason="amount"))
            payment = _payment(look, instruction, currency, owed, due, withheld)
            found.payments.append(payment)
            found.differences += _answered(payment)
    instructed = {one.instruction for one in found.payments}
    for batch, rows in sorted(written.items()):
        for instruction in sorted(rows.keys() - instructed):
            what = f"{instruction}: the payout file of {batch} has it, and nobody instructed it"
            found.differences.append(Difference(PAYOUT, "", what, "", rows[instruction], None, reason="unknown"))


def _payout_files(
    services: Services, gathered: Gathered, found: Published
) -> tuple[dict[str, dict[str, Decimal]], list[Mapping[str, str]]]:
    """What the payout files say by batch and instruction, and the postings beside them."""
    written: dict[str, dict[str, Decimal]] = {}
    postings: list[Mapping[str, str]] = []
    entries = services.chain.read(months.stream_of(OPERATOR, gathered.cycle))
    for entry in entries:
        for file in entry.body["files"] if entry.kind == PAID else ():
            key, body = file["key"], services.buckets.records.find(file["key"])
            found.files += 1
            check = JOURNAL if key.startswith("journal/") else PAYOUT
            if body is None or digest(body) != file["digest"]:
                what = f"{key} is missing" if body is None else f"{key} is not the file that was written"
                found.differences.append(Difference(check, "", what, reason="missing" if body is None else "digest"))
            if body is None or not key.endswith(".csv"):
                continue
            if check == JOURNAL:
                postings += _rows(body, _POSTING)
            else:
                rows = _rows(body, _FILE)
                sums = written.setdefault(entry.body["batch"], {}) if rows else {}
                for row in rows:
                    named = row["instruction"].removeprefix("'")
                    sums[named] = EXACT.add(sums.get(named, ZERO), _amount(row["amount"]))
    found.differences += _unbalanced("", postings)
    return written, postings


def _members(services: Services, cycle: str, batch: str) -> dict[str, Decimal]:
    body = services.buckets.records.find(batch_key(cycle, batch))
    if body is None:
        return {}
    return {one.instruction: Decimal(one.amount) for one in parse_batch(body)[1]}


def _payment(look: Look, instruction: str, currency: str, owed: Decimal, due: Decimal, withheld: Decimal) -> Payment:
    outcome = look.month.outcome(instruction)
    if outcome == months.INSTRUCTED:
        return Payment(instruction, look.owner, currency, owed, due, withheld, OPEN, None)
    body = getattr(look.month, outcome)[instruction].body
    answered, reference = Decimal(body.get("paid", body["amount"])), str(body.get("reference", ""))
    state = ANSWERS[outcome] + (", reopened" if instruction in look.month.reopened else "")
    return Payment(instruction, look.owner, currency, owed, due, withheld, state, answered, reference)


def _answered(payment: Payment) -> Iterator[Difference]:
    """What the bank says otherwise than was instructed; a case holds what came back or is contradicted."""
    if payment.state == "confirmed" and payment.answered != payment.instructed:
        what = f"{payment.instruction}: the bank confirmed another amount"
        amounts = payment.instructed, payment.answered
        yield Difference(BANK, payment.reseller, what, payment.currency, *amounts, reason="amount")
    elif payment.state.removesuffix(", reopened") in _HELD:
        what = f"{payment.instruction}: the bank says {payment.state}"
        held = payment.instructed, None
        yield Difference(
            BANK, payment.reseller, what, payment.currency, *held, reason=payment.state,
            explained=f"case of {payment.instruction}",
        )  # fmt: skip
