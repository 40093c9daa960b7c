"""Payees, and whether a reseller is paid at all. Both stand in the reseller's own stream; account numbers do not: the
entry names the payee by its digest, and its document lies in the bucket records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import APPROVED, Needs, Proposal, StaleProposalError
from shared.cycle import Cycle, parse_instant, shanghai_day
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.parties.parties import Parties, Payee
from shared.parties.payees import BANK, PAYEE, PAYOUTS_ON, WALLET, Change, bare, is_iban, is_on, newest
from shared.reference import currencies
from shared.report.cells import safe
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows, nothing_to_check
from shared.steps.acts.terms import needs_of

_ACCOUNTS = {
    BANK: (r"[A-Za-z0-9][A-Za-z0-9 ]{3,33}", "4 to 34 letters, digits and blanks"),
    WALLET: (r"[A-Za-z0-9][A-Za-z0-9@._+ -]{2,63}", "3 to 64 letters, digits and . _ + - @"),
}
_BIC = r"[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?"
_LOOKS_LIKE_IBAN = r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}"


# -- whom to pay --------------------------------------------------------------------------------------------------


def propose_payee(services: Services, payee: Payee, *, by: str, why: str, at: str) -> Proposal:
    """Propose whom a reseller's money goes to; it is paid once its waiting period is over."""
    parties = _known(services, payee.reseller)
    _check_payee(payee)
    given = {"bic": payee.bic, "kind": "" if payee.kind == BANK else payee.kind, "currency": payee.currency}
    always = {"reseller": payee.reseller, "name": payee.name, "account": payee.account, "bank": payee.bank}
    body = canonical_json({**always, **{name: value for name, value in given.items() if value}})
    what = {
        "reseller": payee.reseller,
        "payee": state.keep_document(services, body),  # the digest that instructions name
        "currency": payee.currency,
        "waiting_days": parties.payee_waiting_days,
        "ends_in": bare(payee.account)[-4:],
    }
    stream = months.stream_of(payee.reseller, "")
    return approvals.propose(services.chain, stream, PAYEE, what, by=by, why=why, at=at)


def payee_for(
    services: Services, history: Mapping[str, tuple[Payee, Change]], entries: list[Entry], reseller: str, currency: str,
    day: date,
) -> Payee | str:  # fmt: skip
    """Whom to pay on a day; or why nobody, in words. `history` is that of the party documents: where people have
    approved a payee by itself, that one counts."""
    acts = [(_day(one), one.body["what"]) for one in entries if one.kind == APPROVED and one.body["act"] == PAYEE]
    change = newest(acts, currency)
    payee = None if change is None else parse_payee(services, change.payee)
    if change is None and reseller in history:
        payee, change = history[reseller]
    if change is None or payee is None:
        return "no payee is known"
    if day < change.effective:
        return f"its payee changed on {change.approved}, effective {change.effective}"
    return payee


def payee_history(services: Services, entries: list[Entry]) -> dict[str, tuple[Payee, Change]]:
    """The payees of the party document in force, and since when each is what it is; those of the first document, by
    which one goes live, wait for nothing."""
    found: dict[str, tuple[Payee, Change]] = {}
    documents = [
        (_day(one), state.parties_of(services, one.body["what"]["document"]))
        for one in entries
        if one.kind == APPROVED and one.body["act"] == state.PARTY_DOCUMENT
    ]
    before = 0  # a document cannot end the waiting of a payee that it changes itself
    for number, (day, parties) in enumerate(documents):
        days = max(before, parties.payee_waiting_days) if number else 0
        before = parties.payee_waiting_days
        found = {
            reseller: found[reseller]
            if reseller in found and found[reseller][0] == payee
            else (payee, Change(payee.digest, day, days))
            for reseller, payee in parties.payees.items()
        }
    return found


def parse_payee(services: Services, digest: str) -> Payee:
    """A payee by its digest."""
    return Payee(**state.document(services, digest))


def _propose_payee(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(
        asked,
        {"reseller": str, "name": str, "account": str, "bank": str},
        {"bic": str, "kind": str, "currency": str},
    )
    return Proposed([propose_payee(services, Payee(**given), **who.named())])


def _check_payee(payee: Payee) -> None:
    """What a payment file can carry, and nothing that a spreadsheet would run."""
    for name, value in (("name", payee.name), ("bank", payee.bank)):
        if not 1 <= len(value.strip()) <= 140 or not value.isprintable() or safe(value) != value:
            raise BadInputError(name, f"is {value[:80]!r}", "give 1 to 140 printed characters, as the bank knows it")
    if payee.kind not in _ACCOUNTS:
        raise BadInputError("kind", f"is {payee.kind!r}", "give bank or wallet")
    pattern, expected = _ACCOUNTS[payee.kind]
    if not re.fullmatch(pattern, payee.account, re.ASCII):
        raise BadInputError("account", f"is {payee.account[:80]!r}", f"give {expected}")
    number = bare(payee.account)
    if payee.kind == BANK and re.fullmatch(_LOOKS_LIKE_IBAN, number, re.ASCII) and not is_iban(number):
        raise BadInputError("account", f"{number} looks like an IBAN, and its check digits are wrong", "compare it")
    if payee.bic and not re.fullmatch(_BIC, payee.bic, re.ASCII):
        raise BadInputError("bic", f"is {payee.bic[:80]!r}", "give 8 or 11 capitals and digits")
    if payee.currency and not currencies.known(payee.currency):
        raise BadInputError("currency", f"{payee.currency[:80]!r} is no ISO 4217 code", "write it in capitals, as CNY")


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    parties = _known(services, proposal.body["reseller"])
    if parties.payee_waiting_days != proposal.body["waiting_days"]:
        problem = f"a payee waits {parties.payee_waiting_days} days now"
        raise StaleProposalError(f"{proposal.name}: {problem}; propose it again")


def _show(services: Services, proposal: Proposal) -> list[str]:
    body = proposal.body
    payee = parse_payee(services, body["payee"])
    extra = "".join(f", {one}" for one in (payee.bic, payee.currency and f"for {payee.currency}") if one)
    lines = [f"pay {payee.reseller} to {payee.name}, {payee.kind} account {payee.account} at {payee.bank}{extra}"]
    before = newest(
        [(_day(one), one.body["what"]) for one in services.chain.read(proposal.stream)
         if one.kind == APPROVED and one.body["act"] == PAYEE],
        body["currency"],
    )  # fmt: skip
    parties = _known(services, payee.reseller)
    old = parse_payee(services, before.payee) if before is not None else parties.payees.get(payee.reseller)
    if old is not None:
        lines.append(f"instead of {old.name}, {old.account} at {old.bank}")
    return [*lines, f"first paid {body['waiting_days']} days after the approval; until then nothing is paid"]


def needs_of_all(services: Services, entries: list[Entry], act: str) -> Needs:
    """What all agreements of a reseller ask for, by its stream."""
    agreements = [one["agreement"] for one in approvals.in_force(entries, months.AGREEMENT)]
    return needs_of(services, entries, agreements, act)


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    return needs_of_all(services, entries, proposal.act)


# -- whether to pay -----------------------------------------------------------------------------------------------


def propose_payouts_on(
    services: Services, reseller: str, cycle: str, *, on: bool, by: str, why: str, at: str
) -> Proposal:
    """Propose to pay a reseller from a cycle on, or no longer; its statements are made all the same."""
    _known(services, reseller)
    what = {"reseller": reseller, "on": on, "cycle": str(Cycle.parse(cycle))}
    stream = months.stream_of(reseller, "")
    return approvals.propose(services.chain, stream, PAYOUTS_ON, what, by=by, why=why, at=at)


def is_paid(entries: list[Entry], cycle: str) -> bool:
    """Whether payouts to a reseller are switched on in a cycle."""
    return is_on(approvals.in_force(entries, PAYOUTS_ON), cycle)


def _propose_on(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"reseller": str, "on": bool, "cycle": str})
    return Proposed([propose_payouts_on(services, given["reseller"], given["cycle"], on=given["on"], **who.named())])


def _show_on(services: Services, proposal: Proposal) -> list[str]:
    body = proposal.body
    said = "is paid" if body["on"] else "is not paid, and gets statements only,"
    return [f"{body['reseller']} {said} from {body['cycle']} on"]


def _known(services: Services, reseller: str) -> Parties:
    parties, _ = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller[:80]!r} is not known", f"known are {known}")
    return parties


def _day(entry: Entry) -> date:
    return shanghai_day(parse_instant(entry.at))


PAYEE_ACT = Act(PAYEE, _propose_payee, _check, nothing_follows, _show, _needs)
PAYOUTS_ON_ACT = Act(PAYOUTS_ON, _propose_on, nothing_to_check, nothing_follows, _show_on, _needs)
ACTS = (PAYEE_ACT, PAYOUTS_ON_ACT)
