"""Payout files: pain.001 that fits its schema whatever is written in it, and CSV as banks and wallets ask for it."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from shared.documents import DocumentRefusedError
from shared.payout import pain001
from shared.payout.batch import Member, Terms, batch_body, end_to_end_of, instruction_of, parse_batch, parse_terms
from shared.payout.pain001 import Heading, obstacles, payment_file
from shared.payout.template import Filling, Template, fill, parse_template
from shared.payout.template_document import template_document

DEBTOR = {"name": "ClearCloud 明云科技有限公司", "account": "0200001009012345678", "bank": "ICBC", "bic": "ICBKCNBJ"}
HASH = "f" * 64
NS = {"p": pain001.NAMESPACE}


def member(amount: str = "160.00", **more: Any) -> Member:
    """A payment to aurora."""
    reseller, agreement = more.pop("reseller", "aurora"), more.pop("agreement", "aurora-2025")
    given = {
        "instruction": instruction_of("2025-06", reseller, agreement), "cycle": "2025-06", "reseller": reseller,
        "agreement": agreement, "amount": amount, "currency": "CNY", "payee": "0" * 64, "payee_name": "Aurora Ltd",
        "account": "6222 0000 0001", "bank": "Bank of Rivers",
    }  # fmt: skip
    return Member(**{**given, **more})


def heading(**more: Any) -> Heading:
    """A batch approved on 4 July."""
    given = {"batch": "2025-06-CNY-0123456789ab", "created": "2025-07-04T01:00:00Z", "day": date(2025, 7, 4)}
    return Heading(**{**given, "approval": HASH, "debtor": DEBTOR, **more})


def texts(body: bytes, path: str) -> list[str]:
    """What stands at a path of the file, read by a parser of its own after the schema was asked once more."""
    root = etree.fromstring(body)
    etree.XMLSchema(etree.parse(str(pain001._SCHEMA))).assertValid(root)
    return [one.text or "" for one in root.iterfind(path, NS)]


def test_a_payment_file_names_each_payment_and_their_sum() -> None:
    members = [member("160.00"), member("0.05", reseller="borealis", agreement="b", bic="ICBKCNBJ")]

    body = payment_file(heading(), members)

    assert texts(body, ".//p:NbOfTxs") == ["2", "2"]
    assert texts(body, ".//p:CtrlSum") == ["160.05", "160.05"]
    assert texts(body, ".//p:EndToEndId") == ["2025-06.aurora.aurora-2025", "2025-06.borealis.b"]
    assert texts(body, ".//p:InstdAmt") == ["160.00", "0.05"]
    assert texts(body, ".//p:DbtrAcct/p:Id/p:Othr/p:Id") == ["0200001009012345678"]
    assert texts(body, ".//p:Ustrd") == [f"Commission 2025-06 clearbook {HASH}"] * 2
    assert texts(body, ".//p:ReqdExctnDt/p:Dt") == ["2025-07-04"]


def test_the_same_batch_is_the_same_file() -> None:
    assert payment_file(heading(), [member()]) == payment_file(heading(), [member()])


def test_an_iban_is_written_as_one_and_a_number_like_it_is_not() -> None:
    iban, other = "GB82 WEST 1234 5698 7654 32", "GB83 WEST 1234 5698 7654 32"
    body = payment_file(heading(), [member(account=iban), member(account=other, agreement="b")])

    assert texts(body, ".//p:CdtrAcct/p:Id/p:IBAN") == ["GB82WEST12345698765432"]
    assert texts(body, ".//p:CdtrAcct/p:Id/p:Othr/p:Id") == ["GB83WEST12345698765432"]


@pytest.mark.parametrize(
    "odd",
    [
        "<b>&amp;\"'</b>",
        "]]>",
        "株式会社 北極星 🌌",
        "a\x00b\x01\x0b\x1f",
        "\ufffe\uffff",
        "\x85\u2028",
        " ",
        "é" * 300,
        "=1+1",
    ],
)
def test_a_file_with_any_odd_character_fits_its_schema(odd: str) -> None:
    debtor = {**DEBTOR, "name": odd}
    body = payment_file(heading(debtor=debtor), [member(payee_name=odd, bank=odd)])

    [name] = texts(body, ".//p:Cdtr/p:Nm")
    assert 1 <= len(name) <= 140


@settings(max_examples=60, deadline=None)
@given(odd=st.text(min_size=1, max_size=200), cents=st.integers(1, 10**15))
def test_any_text_and_amount_fit_the_schema(odd: str, cents: int) -> None:
    amount = f"{Decimal(cents).scaleb(-2):f}"

    assert texts(payment_file(heading(), [member(amount, payee_name=odd, bank=odd)]), ".//p:InstdAmt") == [amount]


def test_ids_longer_than_a_bank_carries_are_made_shorter_and_stay_apart() -> None:
    long = [instruction_of("2025-06", "r" * 40, f"{number:040d}", attempt) for number in (1, 2) for attempt in (1, 2)]
    made = [end_to_end_of(one) for one in long]

    assert len(set(made)) == 4
    assert all(len(one) == 35 and one.startswith("2025-06.") for one in made)
    assert made == [end_to_end_of(one) for one in long]
    assert end_to_end_of("2025-06.aurora.aurora-2025") == "2025-06.aurora.aurora-2025"


def test_what_a_payment_file_cannot_carry_is_said() -> None:
    assert obstacles([member()], None, "CNY") == ["the party document names no account of the operator in CNY"]
    assert obstacles([member(account="1" * 40)], DEBTOR, "CNY") == [
        "2025-06.aurora.aurora-2025: the account has more than 34 characters"
    ]
    assert "0.005 CNY has parts of its smallest coin" in obstacles([member("0.005")], DEBTOR, "CNY")[0]
    assert "1.5 JPY has parts" in obstacles([member("1.5", currency="JPY")], DEBTOR, "JPY")[0]
    assert obstacles([member("100"), member(account="a@b.example", kind="wallet")], DEBTOR, "JPY") == []


def test_a_batch_of_before_reads_as_ever_and_its_terms_are_part_of_its_name() -> None:
    plain, with_terms = (
        batch_body("2025-06", "CNY", [member()]),
        batch_body("2025-06", "CNY", [member()], Terms(DEBTOR)),
    )

    assert b"debtor" not in plain
    assert parse_terms(plain) == Terms()
    assert parse_terms(with_terms) == Terms(DEBTOR)
    assert parse_batch(plain)[0] != parse_batch(with_terms)[0]
    assert parse_batch(plain)[1] == parse_batch(with_terms)[1] == [member()]


# -- columns ------------------------------------------------------------------------------------------------------

COLUMNS = [
    {"header": "序号", "field": "number"},
    {"header": "收款账号", "field": "account"},
    {"header": "户名", "field": "payee"},
    {"header": "金额", "field": "amount"},
    {"header": "币种", "constant": "RMB"},
    {"header": "日期", "field": "date"},
    {"header": "附言", "field": "end_to_end"},
    {"header": "hash", "field": "approval"},
]


def document(**more: Any) -> dict[str, Any]:
    """A template that is right."""
    return {"template": "rivers", "columns": COLUMNS, **more}


def template(**more: Any) -> Template:
    """The same, parsed."""
    return parse_template(template_document(document(**more), "rivers.yaml"))


def test_a_file_by_template_is_as_the_bank_asks() -> None:
    form = template(delimiter=";", encoding="gb18030", decimal_mark=",", date_format="YYYYMMDD")
    body = fill(form, [member("1160.50", payee_name="极光云")], Filling("b", date(2025, 7, 4), HASH))

    head, row = csv.reader(io.StringIO(body.decode("gb18030"), newline=""), delimiter=";")
    assert head == [one["header"] for one in COLUMNS]
    assert row == [
        "1", "6222 0000 0001", "极光云", "1160,50", "RMB", "20250704", "2025-06.aurora.aurora-2025", HASH
    ]  # fmt: skip


def test_only_the_payments_it_is_for_go_into_a_file() -> None:
    form = template(**{"for": {"currencies": ["CNY"], "kinds": ["wallet"]}}, has_header=False, encoding="utf-8")
    members = [member(), member(kind="wallet", account="w-1"), member(kind="wallet", account="w-2", currency="USD")]

    rows = fill(form, members, Filling("b", date(2025, 7, 4), HASH)).decode().splitlines()

    assert [row.split(",")[:2] for row in rows] == [["1", "w-1"]]


def test_no_cell_of_a_file_runs_as_a_formula() -> None:
    row = fill(template(), [member(payee_name="=HYPERLINK(1)", account="+86")], Filling("b", date(2025, 7, 4), HASH))

    assert b",'=HYPERLINK(1)," in row
    assert b",'+86," in row


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"delimiter": "x"}, "delimiter: is 'x', expected one of"),
        ({"encoding": "utf-16"}, "encoding: is 'utf-16'"),
        ({"date_format": "%s"}, "date_format: is '%s'"),
        ({"decimal_mark": ",", "delimiter": ","}, "is the delimiter, too"),
        ({"for": {"currencies": ["RMB"]}}, "'RMB' is no ISO 4217 code"),
        ({"columns": []}, "columns: "),
        ({"columns": [*COLUMNS, {"header": "x"}]}, "columns.8: needs exactly one of field and constant"),
        ({"columns": [*COLUMNS, {"header": "x", "field": "secret"}]}, "columns.8.field: is 'secret'"),
        ({"columns": [*COLUMNS, {"header": "=x", "field": "bank"}]}, "begins like a formula"),
        ({"columns": [*COLUMNS, {"header": "a\nb", "field": "bank"}]}, "has a line break"),
        ({"columns": COLUMNS[:1]}, "none has the field account"),
        ({"colour": "red"}, "colour: is not a known name here"),
    ],
)
def test_a_template_that_is_wrong_is_refused_with_its_place(more: dict[str, Any], said: str) -> None:
    with pytest.raises(DocumentRefusedError) as refused:
        template_document(document(**more), "rivers.yaml")

    assert said in str(refused.value)


def test_templates_that_would_take_one_payment_overlap() -> None:
    every, cny = template(), template(**{"for": {"currencies": ["CNY"], "kinds": ["bank"]}})
    usd, wallets = (template(**{"for": one}) for one in ({"currencies": ["USD"]}, {"kinds": ["wallet"]}))

    assert every.overlaps(cny)
    assert cny.overlaps(every)
    assert not cny.overlaps(usd)
    assert not cny.overlaps(wallets)
    assert usd.overlaps(wallets)
    assert not template(in_use=False).overlaps(cny)
