"""What a bank sends: status reports (pain.002) and statements (camt.053), and months that are due without a bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.clearbook.people import APPROVER
from shared.chain.entry import Draft
from shared.control.approvals import APPROVED
from shared.control.months import LOCK
from tests.builders import CYCLE, agreement, parties
from tests.pump import World

ACCOUNTS = [{"currency": "CNY", "name": "The Operator", "account": "0200 0010 0901", "bank": "Bank of Seas"}]


def parties_with(**operator: Any) -> dict[str, Any]:
    """The party document whose operator has an account, and whatever else is given."""
    document = parties()
    return {**document, "operator": {**document["operator"], "accounts": ACCOUNTS, **operator}}


def due(tmp_path: Path, *, name: str = "aurora-2025", **operator: Any) -> World:
    """A world in which 160.00 is owed to aurora (under an agreement of this name) and 15.00 to borealis, of a month
    without bills."""
    world = World(tmp_path)
    world.decide_parties(parties_with(**operator))
    for reseller, agreement_, payable in (("aurora", name, "160.00"), ("borealis", "borealis-2025", "15.00")):
        world.decide_agreement(agreement(reseller, name=agreement_))
        owe(world, reseller, payable, agreement=agreement_)
    world.switch_on()
    return world


def owe(world: World, reseller: str, payable: str, cycle: str = CYCLE, **more: str) -> None:
    """Let a locked month say that something is owed."""
    statement = {"agreement": f"{reseller}-2025", "total": payable, "payable": payable, "currency": "CNY", **more}
    what = {"cycle": cycle, "settlement": "0" * 64, "calculated": 1, "statements": [statement]}
    draft = Draft(APPROVED, APPROVER, world.at, {"proposal": 0, "act": LOCK, "what": what})
    world.services.chain.append(f"reseller/{reseller}", lambda _: draft)


def pain002(
    batch: str, transfers: Sequence[Mapping[str, str]] = (), *, group: str = "", payment: str = "", count: str = "",
    total: str = "",
) -> bytes:  # fmt: skip
    """A status report: `transfers` have id, status, and where given amount, currency and reason."""
    said = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{one['id']}</OrgnlEndToEndId><TxSts>{one['status']}</TxSts>"
        + (f"<StsRsnInf><Rsn><Cd>{one['reason']}</Cd></Rsn></StsRsnInf>" if "reason" in one else "")
        + (f"<OrgnlTxRef><Amt>{_amount(one)}</Amt></OrgnlTxRef>" if "amount" in one else "")
        + "</TxInfAndSts>"
        for one in transfers
    )
    counted = (f"<OrgnlNbOfTxs>{count}</OrgnlNbOfTxs>" if count else "") + (
        f"<OrgnlCtrlSum>{total}</OrgnlCtrlSum>" if total else ""
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10">'
        "<CstmrPmtStsRpt><GrpHdr><MsgId>R1</MsgId><CreDtTm>2025-07-05T01:00:00</CreDtTm></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{batch}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>"
        f"{counted}{f'<GrpSts>{group}</GrpSts>' if group else ''}</OrgnlGrpInfAndSts>"
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{batch}</OrgnlPmtInfId>"
        f"{f'<PmtInfSts>{payment}</PmtInfSts>' if payment else ''}{said}</OrgnlPmtInfAndSts>"
        "</CstmrPmtStsRpt></Document>"
    ).encode()


def _amount(one: Mapping[str, str]) -> str:
    return f"<InstdAmt Ccy='{one.get('currency', 'CNY')}'>{one['amount']}</InstdAmt>"


def booking(
    id_: str, amount: str, *, side: str = "DBIT", currency: str = "CNY", reference: str = "A1", status: str = "BOOK",
    reason: str = "", version: int = 8,
) -> str:  # fmt: skip
    """An entry of a statement with one transfer; a `reason` makes it a return."""
    state = f"<Sts><Cd>{status}</Cd></Sts>" if version >= 8 else f"<Sts>{status}</Sts>"
    returned = f"<RtrInf><Rsn><Cd>{reason}</Cd></Rsn></RtrInf>" if reason else ""
    return (
        f"<Ntry><Amt Ccy='{currency}'>{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>{state}"
        f"<AcctSvcrRef>{reference}</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>{id_}</EndToEndId></Refs>{returned}"
        "</TxDtls></NtryDtls></Ntry>"
    )


def batch_booking(batch: str, amount: str, count: str) -> str:
    """An entry that books a whole batch in one sum."""
    return (
        f"<Ntry><Amt Ccy='CNY'>{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<AcctSvcrRef>S1</AcctSvcrRef><NtryDtls><Btch><PmtInfId>{batch}</PmtInfId><NbOfTxs>{count}</NbOfTxs></Btch>"
        "</NtryDtls></Ntry>"
    )


def camt053(*entries: str, version: int = 8) -> bytes:
    """A bank statement."""
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version:02d}"><BkToCstmrStmt>'
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2025-07-05T01:00:00</CreDtTm></GrpHdr><Stmt><Id>S1</Id>"
        f"{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()
