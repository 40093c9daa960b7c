"""The party document: checked as a whole before anybody can approve it."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from shared.documents import DocumentRefusedError, Id, Model, check
from shared.ids import canonical_json
from shared.parties.parties import OPERATOR, SITES
from shared.parties.payees import is_iban
from shared.reference import currencies


def _as_date(value: object) -> object:
    if not isinstance(value, str) or len(value) != 10:
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"is {value!r}; write it as YYYY-MM-DD") from None


Day = Annotated[date, BeforeValidator(_as_date), PlainSerializer(lambda day: day.isoformat(), return_type=str)]
Account = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
Name = dict[Literal["en", "zh"], str]
Label = Annotated[str, Field(min_length=1, max_length=200)]


Source = Literal["api", "classic", "v2", "partner"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


Bic = Annotated[str, Field(pattern=r"^[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?$")]
BankAccount = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ]{4,34}$")]


class AccountModel(Model):
    currency: Currency
    name: Annotated[str, Field(min_length=1, max_length=140)]
    account: BankAccount | None = None
    iban: BankAccount | None = None
    bank: Annotated[str, Field(min_length=1, max_length=140)] | None = None
    bic: Bic | None = None


class OperatorModel(Model):
    id: Id
    name: Name | str
    accounts: list[AccountModel] = Field(default_factory=list)  # that payouts are paid from, one a currency
    payee_waiting_days: Annotated[int, Field(ge=0, le=90)] | None = None  # None: three


class SourceModel(Model):
    source: Source
    from_: Day = Field(alias="from")


class ConnectorModel(Model):
    endpoint: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,200}$")]
    site: Literal["china", "international"]
    secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = None
    role: Annotated[str, Field(pattern=r"^acs:ram::[0-9]{1,20}:role/[A-Za-z0-9.@_-]{1,64}$")] | None = None
    quota_group: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = None  # default: the account
    settled_source: Source | Annotated[list[SourceModel], Field(min_length=1)]
    refund_sign: Literal["negative", "positive"]
    since: Day
    currency: Currency | None = None  # of bill files without a currency column
    account_names: dict[Label, Account] = Field(default_factory=dict)  # where a bill file names accounts by name alone


class PayerModel(Model):
    account: Account
    name: Label
    connector: ConnectorModel


class PartyModel(Model):
    id: Id
    name: Name


class AssignmentModel(Model):
    account: Account
    customer: Id | None = None
    reseller: Id | None = None
    direct: bool = False
    own_use: bool = False
    from_: Day = Field(alias="from")
    until: Day | None = None


class ClassModel(Model):
    customer: Id
    class_: Id = Field(alias="class")
    from_: Day = Field(alias="from")
    until: Day | None = None


class PayeeModel(Model):
    reseller: Id
    name: Label
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ]{4,64}$")]
    bank: Label


class PartyDocument(Model):
    operator: OperatorModel
    payers: list[PayerModel]
    resellers: list[PartyModel]
    customers: list[PartyModel]
    assignments: list[AssignmentModel]
    payees: list[PayeeModel] = Field(default_factory=list)
    classes: list[ClassModel] = Field(default_factory=list)


def party_document(data: Any, name: str) -> bytes:
    """The checked document in canonical JSON; DocumentRefusedError lists everything that is wrong."""
    document = check(PartyDocument, data, name)
    findings = [
        *_repeated("payers", [payer.account for payer in document.payers]),
        *_repeated("resellers", [one.id for one in document.resellers]),
        *_repeated("customers", [one.id for one in document.customers]),
        *_repeated("payees", [one.reseller for one in document.payees]),
        *_repeated("operator.accounts", [one.currency for one in document.operator.accounts]),
        *_accounts(document.operator),
        *(
            (f"resellers.{index}.id", f"{OPERATOR!r} stands for the operator's own share; choose another id")
            for index, one in enumerate(document.resellers)
            if one.id == OPERATOR
        ),
        *_sources(document.payers),
        *_connectors(document),
        *_unknown(document),
        *_overlaps(document.assignments),
        *_of_classes(document),
    ]
    if findings:
        raise DocumentRefusedError(name, findings)
    data = document.model_dump(by_alias=True)
    # What is not given is not there, so that a document of before keeps its digest.
    operator = {name: value for name, value in data["operator"].items() if value not in ([], None)}
    operator |= {"accounts": [_given(one) for one in operator["accounts"]]} if "accounts" in operator else {}
    return canonical_json({**data, "operator": operator})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _accounts(operator: OperatorModel) -> list[tuple[str, str]]:
    findings = []
    for index, one in enumerate(operator.accounts):
        place = f"operator.accounts.{index} ({one.currency})"
        if not currencies.known(one.currency):
            findings.append((f"{place}.currency", f"{one.currency!r} is no ISO 4217 code"))
        if (one.account is None) == (one.iban is None):
            findings.append((place, "needs exactly one of account and iban"))
        if one.iban is not None and not is_iban(one.iban):
            findings.append((f"{place}.iban", "is no IBAN: its form or check digits are wrong"))
        if one.bank is None and one.bic is None:
            findings.append((place, "needs a bank (its name), a bic, or both"))
    return findings


def _repeated(place: str, ids: list[str]) -> list[tuple[str, str]]:
    return [
        (f"{place}.{index}", f"{one!r} stands here a second time; keep one")
        for index, one in enumerate(ids)
        if one in ids[:index]
    ]


def _sources(payers: list[PayerModel]) -> list[tuple[str, str]]:
    """A cycle is settled from one source, so sources change with one."""
    findings = []
    for index, payer in enumerate(payers):
        named = payer.connector.settled_source
        for number, one in enumerate(named if isinstance(named, list) else []):
            place = f"payers.{index}.connector.settled_source.{number}.from"
            if one.from_.day != 1:
                findings.append((place, f"{one.from_} is no first day of a month; a cycle has one source"))
            if number and one.from_ <= named[number - 1].from_:  # type: ignore[union-attr]
                findings.append((place, f"{one.from_} is not after the source before it; write them in order"))
        currency = payer.connector.currency
        if currency is not None and not currencies.known(currency):
            findings.append((f"payers.{index}.connector.currency", f"{currency!r} is no ISO 4217 code"))
    return findings


def _connectors(document: PartyDocument) -> list[tuple[str, str]]:
    findings = []
    for index, payer in enumerate(document.payers):
        place, connector = f"payers.{index}.connector (account {payer.account})", payer.connector
        if (connector.secret is None) == (connector.role is None):
            findings.append((place, "needs exactly one of secret (its name) and role (acs:ram::<uid>:role/<name>)"))
        host, expected = connector.endpoint.partition(":")[0], SITES[connector.site]
        if host.endswith(".aliyuncs.com") and host != expected:
            problem = f"{host} is not where the {connector.site} site answers; write {expected}, or default"
            findings.append((f"{place}.endpoint", problem))
    return findings


def _unknown(document: PartyDocument) -> list[tuple[str, str]]:
    resellers, customers = {one.id for one in document.resellers}, {one.id for one in document.customers}
    findings = []
    for index, one in enumerate(document.assignments):
        place = f"assignments.{index} (account {one.account})"
        if one.reseller is not None and one.reseller not in resellers:
            findings.append((f"{place}.reseller", f"{one.reseller!r} is not among the resellers; add it there"))
        if one.customer is not None and one.customer not in customers:
            findings.append((f"{place}.customer", f"{one.customer!r} is not among the customers; add it there"))
        if one.direct + one.own_use + (one.reseller is not None) != 1:
            findings.append((place, "needs exactly one of reseller, direct: true, own_use: true"))
        if one.customer is None and not one.own_use:
            findings.append((place, "needs a customer"))
        if one.until is not None and one.until < one.from_:
            findings.append((f"{place}.until", f"{one.until} is before its from {one.from_}"))
    for index, payee in enumerate(document.payees):
        if payee.reseller not in resellers:
            findings.append((f"payees.{index}.reseller", f"{payee.reseller!r} is not among the resellers"))
    return findings


def _overlaps(assignments: list[AssignmentModel]) -> list[tuple[str, str]]:
    findings = []
    ordered = sorted(enumerate(assignments), key=lambda pair: (pair[1].account, pair[1].from_))
    for (_, one), (index, other) in pairwise(ordered):
        if one.account == other.account and (one.until is None or one.until >= other.from_):
            until = f"until {one.until}" if one.until else "without an end"
            problem = f"account {other.account} is already assigned from {one.from_} {until}; end that the day before"
            findings.append((f"assignments.{index}.from", problem))
    return findings


def _of_classes(document: PartyDocument) -> list[tuple[str, str]]:
    customers = {one.id for one in document.customers}
    findings = []
    for index, one in enumerate(document.classes):
        place = f"classes.{index} (customer {one.customer})"
        if one.customer not in customers:
            findings.append((f"{place}.customer", f"{one.customer!r} is not among the customers; add it there"))
        if one.until is not None and one.until < one.from_:
            findings.append((f"{place}.until", f"{one.until} is before its from {one.from_}"))
    ordered = sorted(enumerate(document.classes), key=lambda pair: (pair[1].customer, pair[1].from_))
    for (_, one), (index, other) in pairwise(ordered):
        if one.customer == other.customer and (one.until is None or one.until >= other.from_):
            until = f"until {one.until}" if one.until else "without an end"
            problem = f"{one.customer} is {one.class_} from {one.from_} {until}; end that the day before"
            findings.append((f"classes.{index} (customer {other.customer}).from", problem))
    return findings
