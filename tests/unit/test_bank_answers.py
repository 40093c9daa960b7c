"""The bank's answers in every form: each taken once, a wrong one never, and nothing that a hostile file can do."""

from __future__ import annotations

import json
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.chain.entry import Draft, Entry, Head
from shared.control import months
from shared.errors import BadInputError
from shared.payout.answers import ANSWER_BYTES_MAX, BOOKED, CSV, PAIN002, RETURNED, Answer, parse_answers
from shared.payout.batch import balance
from shared.payout.outcomes import AnswerRefusedError, kind_of, status_of_payouts, told
from shared.steps import caselist, decide
from shared.steps.confirm_payouts import is_taken
from tests.bank import batch_booking, booking, camt053, due, pain002
from tests.builders import CYCLE
from tests.pump import World

AURORA, BOREALIS = f"{CYCLE}.aurora.aurora-2025", f"{CYCLE}.borealis.borealis-2025"


@pytest.fixture
def paid(tmp_path: Path) -> World:
    """160.00 to aurora and 15.00 to borealis are instructed."""
    world = due(tmp_path)
    world.pay()
    return world


@pytest.fixture(scope="module")
def unmoved(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same, for answers that change nothing."""
    world = due(tmp_path_factory.mktemp("unmoved"))
    world.pay()
    return world


def batch_of(world: World) -> str:
    """The one batch that was paid."""
    return str(world.month().instructed[AURORA].body["batch"])


def answers(world: World, body: bytes, name: str = "one.xml") -> dict[str, Any]:
    """The bank's file lands; what came of it."""
    world.cloud.clock.now = world.now
    world.cloud.stores["inbox"].put_again(f"payouts/{name}", body)
    world.pump.drain()
    noted = world.cloud.rows.tables["steps"]["confirm_payouts", f"payouts/{name}"]
    done: dict[str, Any] = json.loads(str(noted["outcome"]))
    return done


def outcomes(world: World) -> list[str]:
    """What the answers come to, aurora first."""
    return [world.month(one).outcome(id_) for one, id_ in (("aurora", AURORA), ("borealis", BOREALIS))]


# -- what is taken ------------------------------------------------------------------------------------------------


def test_a_status_report_answers_transfer_by_transfer(paid: World) -> None:
    rejected = {"id": BOREALIS, "status": "RJCT", "reason": "AC01"}
    done = answers(paid, pain002(batch_of(paid), [{"id": AURORA, "status": "ACSC", "amount": "160.00"}, rejected]))

    assert done["refused"] == []
    assert outcomes(paid) == ["confirmed", "rejected_by_bank"]
    assert paid.month("borealis").state == "returned"
    assert paid.month("borealis").rejected_by_bank[BOREALIS].body["reason"] == "AC01"


@pytest.mark.parametrize("status", ["ACTC", "ACCP", "ACSP", "PDNG", "RCVD", "PART"])
def test_a_payment_on_its_way_is_no_answer_yet(paid: World, status: str) -> None:
    done = answers(paid, pain002(batch_of(paid), [{"id": AURORA, "status": status}], group=status))

    assert (done["taken"], done["refused"]) == (0, [])
    assert outcomes(paid) == ["instructed", "instructed"]


@pytest.mark.parametrize("level", ["group", "payment"])
def test_what_is_said_of_a_whole_file_is_said_of_each_payment_that_it_does_not_name(paid: World, level: str) -> None:
    transfers = [{"id": AURORA, "status": "ACSC"}]
    said = {level: "RJCT", "count": "2", "total": "175.00"}

    assert answers(paid, pain002(batch_of(paid), transfers, **said))["refused"] == []
    assert outcomes(paid) == ["confirmed", "rejected_by_bank"]


@pytest.mark.parametrize("said", [{"count": "3"}, {"total": "175.01"}])
def test_a_whole_file_of_other_sums_is_not_ours(paid: World, said: dict[str, str]) -> None:
    [problem] = answers(paid, pain002(batch_of(paid), group="ACSC", **said))["refused"]  # type: ignore[arg-type]

    assert "has 2 payments over 175, the answer says" in problem
    assert outcomes(paid) == ["instructed", "instructed"]


@pytest.mark.parametrize("version", [2, 8])
def test_a_statement_confirms_what_it_booked_and_leaves_others_aside(paid: World, version: int) -> None:
    rent = booking("NOTPROVIDED", "5000.00", version=version)
    pending = booking(BOREALIS, "15.00", status="PDNG", version=version)
    done = answers(paid, camt053(booking(AURORA, "160.00", version=version), rent, pending, version=version))

    assert (done["taken"], done["aside"], done["refused"]) == (1, 2, [])
    assert outcomes(paid) == ["confirmed", "instructed"]


def test_a_batch_that_is_booked_in_one_sum_is_confirmed_whole_or_not_at_all(paid: World) -> None:
    [problem] = answers(paid, camt053(batch_booking(batch_of(paid), "174.99", "2")))["refused"]
    assert "the answer says 2 payments over 174.99; ask the bank" in problem
    assert outcomes(paid) == ["instructed", "instructed"]

    answers(paid, camt053(batch_booking(batch_of(paid), "175.00", "2")), "two.xml")
    assert outcomes(paid) == ["confirmed", "confirmed"]


def test_a_payment_that_was_made_and_came_back_is_returned_whichever_is_heard_first(paid: World) -> None:
    back = camt053(booking(AURORA, "160.00", side="CRDT", reason="AC04", reference="A2"))
    made = camt053(booking(AURORA, "160.00"))
    assert answers(paid, back)["refused"] == []
    assert answers(paid, made, "two.xml")["refused"] == []

    assert outcomes(paid)[0] == "returned"
    assert balance(paid.services.chain.read("reseller/aurora"), "aurora-2025", CYCLE) == 0


def test_a_part_is_a_part_and_never_a_confirmation(paid: World) -> None:
    answers(paid, camt053(booking(AURORA, "100.00")))

    assert outcomes(paid)[0] == "partly_confirmed"
    [standing] = status_of_payouts(paid.services.chain.read("reseller/aurora"))
    assert (standing.confirmed, standing.open, standing.returned) == (Decimal(100), Decimal(60), Decimal(0))
    assert not standing.is_settled


def test_two_forms_of_file_may_agree_and_two_bookings_may_not(paid: World) -> None:
    answers(paid, pain002(batch_of(paid), [{"id": AURORA, "status": "ACSC"}]))
    assert answers(paid, camt053(booking(AURORA, "160.00")), "two.xml")["refused"] == []
    [problem] = answers(paid, camt053(booking(AURORA, "160.00", reference="A9")), "three.xml")["refused"]

    assert f"{AURORA} is already confirmed (A1); ask the bank" in problem
    kinds = [one.kind for one in paid.services.chain.read("reseller/aurora")]
    assert kinds.count("confirmed") == 1


def test_an_id_that_was_made_for_the_bank_leads_back_to_its_instruction(tmp_path: Path) -> None:
    world = due(tmp_path, name="a" * 40)
    world.pay()
    [made] = world.keys("records", "instructions/")
    id_ = made.removeprefix("instructions/").removesuffix(".json")

    assert len(id_) == 35
    assert answers(world, camt053(booking(id_, "160.00")))["refused"] == []
    assert world.month().outcome(f"{CYCLE}.aurora.{'a' * 40}") == "confirmed"
    [file] = [one for one in world.keys("records", "payouts/") if one.endswith(".xml")]
    assert id_.encode() in world.cloud.records.objects[file]


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (camt053(booking(AURORA, "160.01")), "was instructed over 160 CNY, the answer says 160.01 CNY"),
        (camt053(booking(AURORA, "160.00", currency="USD")), "the answer says 160 USD"),
        (camt053(booking(AURORA, "0")), "the answer says 0 CNY"),
        (camt053(booking(AURORA, "-160.00")), "the answer says -160 CNY"),
        (camt053(booking(AURORA, "159.00", side="CRDT", reason="AC04")), "the answer says 159 CNY"),
        (camt053(booking(AURORA, "160.00", side="CRDT")), "does not say that it was returned"),
        (camt053(booking(AURORA, "160.00", reason="AC04")), "a debit names our payment"),
        (camt053(booking(AURORA, "1e999")), "is not an amount"),
        (camt053(booking(AURORA, "")), "is not an amount"),
        (camt053(booking(f"{CYCLE}.aurora.other", "160.00")), "was never instructed"),
        (camt053(booking(f"{CYCLE}.{'0' * 27}", "160.00")), "is no instruction of ours"),
        (camt053(booking(f"{AURORA}.2", "160.00")), "was never instructed"),
        (camt053(batch_booking(f"{CYCLE}-CNY-000000000000", "160.00", "1")), "is no batch of ours"),
        (pain002("SOMEBODYS-BATCH", group="ACSC"), "'SOMEBODYS-BATCH' is no batch of ours"),
        (pain002("b", [{"id": AURORA, "status": "ACSC", "amount": "159.99"}]), "the answer says 159.99 CNY"),
        (pain002("b", [{"id": AURORA, "status": "GOOD"}]), "the status 'GOOD' is not known"),
    ],
)
def test_an_answer_that_does_not_fit_changes_nothing_and_says_why(unmoved: World, body: bytes, said: str) -> None:
    done = answers(unmoved, body)

    assert done["taken"] == 0
    assert [one for one in done["refused"] if said in one], done["refused"]
    assert outcomes(unmoved) == ["instructed", "instructed"]
    assert is_taken(unmoved.services, "payouts/one.xml"), "it is refused, and nobody tries it again"


def test_a_refused_answer_does_not_hold_back_the_others(paid: World) -> None:
    done = answers(paid, camt053(booking(AURORA, "160.01"), booking(BOREALIS, "15.00", reference="A2")))

    assert (done["taken"], len(done["refused"])) == (1, 1)
    assert outcomes(paid) == ["instructed", "confirmed"]


def test_the_same_file_under_another_name_is_refused_and_delivered_again_it_is_not(paid: World) -> None:
    body = camt053(booking(AURORA, "160.00"))
    assert answers(paid, body)["taken"] == 1
    assert answers(paid, body)["refused"] == []

    [problem] = answers(paid, body, "copy.xml")["refused"]
    assert problem == "payouts/copy.xml: it is payouts/one.xml once more, word by word; nothing was taken of it again"
    kept = [json.loads(paid.cloud.work.objects[one]) for one in paid.keys("work", "quarantine/confirm_payouts/")]
    assert [one["file"] for one in kept] == ["payouts/copy.xml"]


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
GOOD = camt053(booking(AURORA, "160.00"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB.encode() + GOOD, "holds a document type or entities"),
        (b"<?xml version='1.0'?>\n<!docTYPE x SYSTEM 'file:///etc/passwd'>" + GOOD, "holds a document type"),
        (b"<!DOCTYPE x SYSTEM 'http://203.0.113.1/x.dtd'>" + GOOD, "holds a document type"),
        (GOOD.replace(AURORA.encode(), b"&xxe;"), "is no well-formed XML"),
        (GOOD[:-20], "is no well-formed XML"),
        (b"<a>" * 5000 + b"</a>" * 5000, "is no well-formed XML"),
        (b"<a>" + b"<b/>" * 1_000_001 + b"</a>", "has more than 1000000 tags"),
        (b"<" * (ANSWER_BYTES_MAX + 1), "has more than the 8388608 bytes that are read"),
        (GOOD.decode().encode("utf-16"), "is not UTF-8"),
        (b"<\0D\0o\0c\0/\0>\0", "holds a zero byte"),
        (b"\xef\xbb\xbf<html><body>not found</body></html>", "is 'html'; expected pain.002.001 or camt.053.001"),
        (GOOD.replace(b"camt.053.001.08", b"camt.054.001.08"), "expected pain.002.001 or camt.053.001"),
        (GOOD.replace(b"BkToCstmrStmt", b"Nothing"), "has no statement"),
        (pain002("b").replace(b"OrgnlGrpInfAndSts", b"Nothing"), "has no OrgnlGrpInfAndSts"),
    ],
)
def test_a_hostile_or_broken_file_is_refused_whole(body: bytes, said: str) -> None:
    with pytest.raises(BadInputError) as refused:
        parse_answers(body, "payouts/x")

    assert said in str(refused.value)
    assert "root:" not in str(refused.value)


def test_a_long_statement_takes_twice_the_time_for_twice_the_entries() -> None:
    def spent(entries: int) -> float:
        body = camt053(*(booking(f"{CYCLE}.r{number}.a", "1.00") for number in range(entries)))
        begun = time.process_time()
        assert len(parse_answers(body, "x").answers) == entries
        return time.process_time() - begun

    spent(100)
    assert spent(4000) < 8 * spent(1000) + 0.2


def test_a_huge_file_is_refused_before_it_is_in_memory(unmoved: World) -> None:
    unmoved.cloud.stores["inbox"].put_again("payouts/huge.csv", b" " * (ANSWER_BYTES_MAX + 1))
    unmoved.pump.drain()

    assert "payouts/huge.csv: has 8388609 bytes, at most 8388608 are read" in unmoved.pump.refusals[-1]["refused"]
    assert not is_taken(unmoved.services, "payouts/huge.csv"), "people are told of it"
    assert list(unmoved.services.scratch.rglob("answers")) == []


def test_a_file_is_known_by_what_is_in_it_and_not_by_its_name(paid: World) -> None:
    assert answers(paid, camt053(booking(AURORA, "160.00")), "statement.csv")["form"] == "camt.053"
    csv = b"instruction,status,amount,currency,reference\r\n" + f"{BOREALIS},partial,5.00,CNY,B1\r\n".encode()
    assert answers(paid, csv, "answers.xml")["form"] == "csv"
    assert outcomes(paid) == ["confirmed", "partly_confirmed"]


def test_an_answer_about_nothing_that_was_instructed_is_the_operators_case(paid: World) -> None:
    entry = {"cycle": CYCLE, "settlement": "0" * 64, "lines": 0, "statements": [], "seals": {},
             "cases": {"count": 0, "key": ""}}  # fmt: skip
    paid.services.chain.append(f"cycle/{CYCLE}", lambda _: Draft(months.CALCULATED, "settle", paid.at, entry))
    for name in ("one.xml", "two.xml"):
        answers(paid, camt053(booking(f"{CYCLE}.aurora.other", "9.00")), name)

    [case] = paid.cases()
    assert (case["kind"], case["owner"], case["key"]) == ("payout_unknown", "operator", f"{CYCLE}.aurora.other")

    asked = {"action": "dismiss", "cycle": CYCLE, "because": "not ours, says the bank", "cases": [case["id"]]}
    [proposal] = decide.propose(paid.services, "case", asked, by=PREPARER, why="", at=paid.at).proposals
    paid.approve(proposal)

    assert [one.state for one in caselist.listed(paid.services, CYCLE)] == ["settled"]


# -- whatever order -----------------------------------------------------------------------------------------------


def stream(*drafts: Draft) -> list[Entry]:
    """A reseller's stream."""
    entries: list[Entry] = []
    for draft in drafts:
        entries.append(Entry.place(draft, "reseller/aurora", entries[-1].head if entries else Head()))
    return entries


def heard(order: list[Answer]) -> months.Month:
    """The month once answers on one instruction came in this order."""
    body = {
        "cycle": CYCLE,
        "instruction": AURORA,
        "agreement": "a",
        "batch": "b",
        "amount": "160.00",
        "currency": "CNY",
    }
    drafts = [Draft(months.INSTRUCTED, "x", "2025-07-04T01:00:00Z", body)]
    for answer in order:
        entries = stream(*drafts)
        try:
            said = told(answer, entries[0])
            kind = kind_of(entries, AURORA, answer, said, is_reopened=False)
        except AnswerRefusedError:
            continue
        if kind:
            part = {} if said.paid == 160 else {"paid": str(said.paid), "missing": str(160 - said.paid)}
            of = {**body, **part, "says": said.says, "reference": answer.reference, "form": answer.form}
            drafts.append(Draft(kind, "x", "2025-07-05T01:00:00Z", of))
    entries = stream(*drafts)
    assert balance(entries, "a", CYCLE) == -160, "no answer moves what is owed"
    return months.months(entries)[CYCLE]


@pytest.mark.parametrize("seed", range(40))
def test_answers_in_any_order_and_twice_come_to_one_outcome(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - an order that can be had again
    every = [
        Answer("", form, says, AURORA, Decimal(amount), "CNY", reference)
        for form in (CSV, PAIN002, "camt.053")
        for says, amount in (
            (BOOKED, 160),
            (BOOKED, 60),
            (BOOKED, 100),
            ("rejected", 160),
            (RETURNED, 160),
            (BOOKED, 161),
        )
        for reference in ("A1", "A2")
    ]
    some = chance.sample(every, chance.randint(1, 5))
    first = heard(some)

    for _ in range(6):
        again = [*some, *chance.choices(some, k=3)]
        chance.shuffle(again)
        assert heard(again).outcome(AURORA) == first.outcome(AURORA), some
