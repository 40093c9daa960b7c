"""pain.002: what the bank says of a payment file, of its payment instruction, and of each transfer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.errors import BadInputError
from shared.money import NotAnAmountError
from shared.payout.answers import CONFIRMED, PAIN002, REJECTED, Answer, Answers
from shared.payout.bank_xml import all_, first, money_of, text_of

# ISO 20022, external payment status codes: settled, on its way, refused; a part says what of it in its transfers.
_SETTLED = frozenset(("ACSC", "ACCC"))
_ON_ITS_WAY = frozenset(("RCVD", "ACTC", "ACCP", "ACSP", "ACWC", "ACWP", "ACFC", "PATC", "PDNG", "PRES", "PART", ""))
_REFUSED = frozenset(("RJCT", "CANC"))


def answers(root: Any, name: str) -> Answers:
    """The answers of a status report; what a transfer says goes before what is said of all."""
    report = first(root, "CstmrPmtStsRpt")
    about = None if report is None else first(report, "OrgnlGrpInfAndSts")
    if report is None or about is None:
        raise BadInputError(name, "has no OrgnlGrpInfAndSts", "expected a CustomerPaymentStatusReport")
    batch = text_of(about, "OrgnlMsgId")
    found: list[Answer] = []
    problems: list[str] = []
    aside = 0
    told: set[str] = set()
    payments: list[tuple[Any, str, list[Any]]] = [
        (one, text_of(one, "PmtInfSts"), list(all_(one, "TxInfAndSts"))) for one in all_(report, "OrgnlPmtInfAndSts")
    ]
    for payment, _, transfers in payments:
        of = text_of(payment, "OrgnlPmtInfId") or batch
        for transfer in transfers:
            told.add(text_of(transfer, "OrgnlEndToEndId"))
            try:
                one = _of_transfer(transfer, of)
            except (NotAnAmountError, ValueError) as exc:
                problems.append(f"{name}, {_place(transfer)}: {exc}")
                continue
            found += [one] if one else []
            aside += one is None
    wholes = [(about, text_of(about, "GrpSts"), batch)]
    wholes += [(one, status, text_of(one, "OrgnlPmtInfId") or batch) for one, status, _ in payments]
    # The payment instruction is the file's only one: what is said of it goes before what is said of the file.
    answered, besides = set[str](), frozenset(told)
    for element, status, of in wholes[::-1]:
        try:
            says = _says(status)
        except ValueError as exc:
            problems.append(f"{name}, {of or 'the whole file'}: {exc}")
            continue
        if says and of not in answered:
            answered.add(of)
            found.append(_of_all(element, says, of, besides))
        aside += not says and bool(status)
    return Answers(PAIN002, tuple(found), tuple(problems), aside)


def _of_transfer(transfer: Any, batch: str) -> Answer | None:
    says = _says(text_of(transfer, "TxSts"))
    if says is None:
        return None
    id_ = text_of(transfer, "OrgnlEndToEndId", "OrgnlInstrId")
    if not id_:
        raise ValueError("names no OrgnlEndToEndId")
    amount, currency = money_of(transfer, "OrgnlTxRef/Amt/InstdAmt", "OrgnlTxRef/IntrBkSttlmAmt")
    reference = text_of(transfer, "AcctSvcrRef") or batch
    return Answer(_place(transfer), PAIN002, says, id_, amount, currency, reference, _reason(transfer))


def _of_all(element: Any, says: str, batch: str, besides: frozenset[str]) -> Answer:
    count = text_of(element, "OrgnlNbOfTxs")
    number = int(count) if count.isascii() and count.isdecimal() and len(count) <= 15 else None
    sum_ = money_text(text_of(element, "OrgnlCtrlSum"))
    return Answer(f"all of {batch}", PAIN002, says, "", sum_, "", batch, _reason(element), batch, besides, number)


def money_text(value: str) -> Any:
    """An amount without a currency, or None where there is none."""
    from shared.money import amount

    return amount(value) if value else None


def _says(status: str) -> str | None:
    if status in _SETTLED:
        return CONFIRMED
    if status in _REFUSED:
        return REJECTED
    if status in _ON_ITS_WAY:
        return None
    raise ValueError(f"the status {status!r} is not known; ask the bank what it means")


def _reason(element: Any) -> str:
    reasons: Iterator[str] = (
        " ".join(filter(None, (text_of(one, "Rsn/Cd", "Rsn/Prtry"), text_of(one, "AddtlInf"))))
        for one in all_(element, "StsRsnInf")
    )
    return "; ".join(filter(None, reasons))[:300]


def _place(transfer: Any) -> str:
    return f"line {transfer.sourceline}"
