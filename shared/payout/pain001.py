"""A batch as a payment file of ISO 20022: pain.001.001.09, held against its schema before anybody gets it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.errors import ClearbookError
from shared.money import total
from shared.parties.payees import BANK, bare, is_iban
from shared.payout.batch import Member, remittance
from shared.reference import currencies

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_SCHEMA = Path(__file__).parent / "schemas/pain.001.001.09.xsd"
_TEXT_MOST, _ACCOUNT_MOST = 140, 34
# XML 1.0 has no way to write these; a space takes their place.
_UNWRITABLE = re.compile("[^\u0021-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


class PaymentFileError(ClearbookError):
    """A payment file that does not fit its schema: a defect."""

    code = "payment_file_invalid"


@dataclass(frozen=True, slots=True)
class Heading:
    """What a payment file says of itself."""

    batch: str
    created: str  # an instant
    day: date  # on which it is to be paid
    approval: str  # the hash of the entry that approved the batch
    debtor: Mapping[str, str]  # the operator's account: {name, account or iban, bank, bic}


def obstacles(members: Sequence[Member], debtor: Mapping[str, str] | None, currency: str) -> list[str]:
    """Why members cannot be paid by such a file; none where all can."""
    if debtor is None:
        return [f"the party document names no account of the operator in {currency}"]
    found = []
    for one in members:
        if one.kind != BANK:
            continue
        if len(bare(one.account)) > _ACCOUNT_MOST:
            found.append(f"{one.instruction}: the account has more than {_ACCOUNT_MOST} characters")
        places = currencies.minor_units(currency) if currencies.known(currency) else 2
        if -int(Decimal(one.amount).normalize().as_tuple().exponent) > places:
            found.append(f"{one.instruction}: {one.amount} {currency} has parts of its smallest coin")
    return found


def payment_file(heading: Heading, members: Sequence[Member]) -> bytes:
    """The file: one payment instruction, a transfer for each member that has a bank account."""
    from lxml import etree  # here: only a batch that is paid needs it

    root = etree.Element(f"{{{NAMESPACE}}}Document", nsmap={None: NAMESPACE})
    _fill(etree, root, {"CstmrCdtTrfInitn": _message(heading, members)})
    problem = invalid(root)
    if problem:
        raise PaymentFileError(f"the payment file of batch {heading.batch} does not fit its schema: {problem}")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def invalid(root: Any) -> str:
    """What of a document does not fit the schema; "" where it fits."""
    schema = _schema()
    return "" if schema.validate(root) else str(schema.error_log.last_error)


def clean(value: str, most: int = _TEXT_MOST) -> str:
    """Text as XML can hold it, and no longer than its field."""
    return _UNWRITABLE.sub(" ", value).strip()[:most].strip() or "?"


@functools.cache
def _schema() -> Any:
    from lxml import etree

    return etree.XMLSchema(etree.parse(str(_SCHEMA)))


def _message(heading: Heading, members: Sequence[Member]) -> dict[str, Any]:
    count, total_ = str(len(members)), f"{total([Decimal(one.amount) for one in members]):f}"
    debtor = heading.debtor
    name = clean(debtor["name"])
    return {
        "GrpHdr": {
            "MsgId": heading.batch,
            "CreDtTm": heading.created,
            "NbOfTxs": count,
            "CtrlSum": total_,
            "InitgPty": {"Nm": name},
        },
        "PmtInf": {
            "PmtInfId": heading.batch,
            "PmtMtd": "TRF",
            "NbOfTxs": count,
            "CtrlSum": total_,
            "ReqdExctnDt": {"Dt": heading.day.isoformat()},
            "Dbtr": {"Nm": name},
            "DbtrAcct": _account(debtor.get("iban") or debtor.get("account", "")),
            "DbtrAgt": _agent(debtor.get("bank", ""), debtor.get("bic", "")),
            "CdtTrfTxInf": [_transfer(one, heading.approval) for one in members],
        },
    }


def _transfer(member: Member, approval: str) -> dict[str, Any]:
    return {
        "PmtId": {"EndToEndId": member.end_to_end},
        "Amt": {"InstdAmt": (f"{Decimal(member.amount):f}", {"Ccy": member.currency})},
        "CdtrAgt": _agent(member.bank, member.bic),
        "Cdtr": {"Nm": clean(member.payee_name)},
        "CdtrAcct": _account(member.account),
        # Whoever is paid can hold the payment against the chain.
        "RmtInf": {"Ustrd": f"{remittance(member)} clearbook {approval}"},
    }


def _account(account: str) -> dict[str, Any]:
    number = bare(account)
    return {"Id": {"IBAN": number} if is_iban(number) else {"Othr": {"Id": number}}}


def _agent(bank: str, bic: str) -> dict[str, Any]:
    found = {"BICFI": bic} if bic else {}
    return {"FinInstnId": {**found, "Nm": clean(bank)} if bank or not bic else found}


def _fill(etree: Any, parent: Any, content: Mapping[str, Any]) -> None:
    """Elements for plain data: a mapping has children, a list is repeated, a pair is text with attributes."""
    for name, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
            if isinstance(one, Mapping):
                _fill(etree, child, one)
            else:
                text, attributes = one if isinstance(one, tuple) else (one, {})
                child.text = text
                for attribute, said in attributes.items():
                    child.set(attribute, said)
