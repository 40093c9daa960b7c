"""camt.053: what a bank statement shows of our payments; what it shows of others is left aside."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from shared.errors import BadInputError
from shared.money import NotAnAmountError
from shared.payout.answers import BOOKED, CAMT053, RETURNED, Answer, Answers
from shared.payout.bank_xml import all_, first, money_of, text_of

_REFS = "Refs/"


def answers(root: Any, name: str) -> Answers:
    """A booked debit is a payment that was made; a credit that says why it came back is one that was returned."""
    statements = list(all_(root, "BkToCstmrStmt/Stmt"))
    if not statements:
        raise BadInputError(name, "has no statement (BkToCstmrStmt/Stmt)", "expected a BankToCustomerStatement")
    found: list[Answer] = []
    problems: list[str] = []
    aside = 0
    for statement in statements:
        id_ = text_of(statement, "Id")
        for entry in all_(statement, "Ntry"):
            if text_of(entry, "Sts/Cd", "Sts") != "BOOK":
                aside += 1
                continue
            try:
                mine = list(_of_entry(entry, id_))
            except (NotAnAmountError, ValueError) as exc:
                problems.append(f"{name}, line {entry.sourceline}: {exc}")
                continue
            found += mine
            aside += not mine
    return Answers(CAMT053, tuple(found), tuple(problems), aside)


def _of_entry(entry: Any, statement: str) -> Iterator[Answer]:
    side = text_of(entry, "CdtDbtInd")
    if side not in ("CRDT", "DBIT"):
        raise ValueError(f"the entry is {side or 'nothing'}, expected CRDT or DBIT")
    is_reversal = text_of(entry, "RvslInd") in ("true", "1")
    reference = text_of(entry, "AcctSvcrRef") or "/".join(filter(None, (statement, text_of(entry, "NtryRef"))))
    amount, currency = money_of(entry, "Amt")
    for details in all_(entry, "NtryDtls"):
        transfers = list(all_(details, "TxDtls"))
        for transfer in transfers:
            yield from _of_transfer(transfer, entry, side, reference, (amount, currency), is_reversal, len(transfers))
        batch = text_of(details, "Btch/PmtInfId", "Btch/MsgId")
        if batch and not transfers:
            yield from _of_batch(details, entry, side, reference, (amount, currency), is_reversal, batch)


def _of_transfer(
    transfer: Any, entry: Any, side: str, reference: str, whole: tuple[Decimal | None, str], is_reversal: bool, of: int
) -> Iterator[Answer]:
    id_ = text_of(transfer, _REFS + "EndToEndId")
    if not _may_be_ours(id_):
        return
    returned = first(transfer, "RtrInf") is not None or is_reversal
    mine = text_of(transfer, "CdtDbtInd") or side
    paths = ("AmtDtls/InstdAmt/Amt", "AmtDtls/TxAmt/Amt", "Amt")
    # What was instructed stands in InstdAmt; what was booked in Amt, and it is what counts.
    amount, currency = money_of(transfer, *paths[::-1])
    if amount is None and of == 1:
        amount, currency = whole
    if amount is None:
        raise ValueError(f"{id_} has no amount of its own")
    if mine == "CRDT" and not returned:
        raise ValueError(f"a credit names our payment {id_} and does not say that it was returned")
    if mine == "DBIT" and returned:
        raise ValueError(f"a debit names our payment {id_} and says that it was returned")
    own = text_of(transfer, _REFS + "AcctSvcrRef") or reference
    reason = " ".join(filter(None, (text_of(transfer, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry"),
                                    text_of(transfer, "RtrInf/AddtlInf"))))[:300]  # fmt: skip
    says = RETURNED if returned else BOOKED
    yield Answer(f"line {entry.sourceline}", CAMT053, says, id_, amount, currency, own, reason)


def _of_batch(
    details: Any, entry: Any, side: str, reference: str, whole: tuple[Decimal | None, str], is_reversal: bool,
    batch: str,
) -> Iterator[Answer]:  # fmt: skip
    """A batch that is booked in one sum, without its transfers."""
    if not _may_be_ours(batch):
        return
    if side != "DBIT" or is_reversal:
        raise ValueError(f"batch {batch} comes back in one sum; ask the bank which transfers")
    amount, currency = money_of(details, "Btch/TtlAmt")
    if amount is None:
        amount, currency = whole
    count = text_of(details, "Btch/NbOfTxs")
    number = int(count) if count.isascii() and count.isdecimal() and len(count) <= 15 else None
    yield Answer(
        f"line {entry.sourceline}", CAMT053, BOOKED, "", amount, currency, reference, batch=batch, count=number
    )


def _may_be_ours(id_: str) -> bool:
    """Ids of ours begin with a cycle; a statement shows the payments of others, too."""
    return len(id_) > 8 and id_[:4].isdecimal() and id_[4] == "-" and id_[5:7].isdecimal() and id_[7] in ".-"
