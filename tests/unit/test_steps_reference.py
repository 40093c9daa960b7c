"""Reference data in the month: two people decide it, a locked month keeps it, an opening is carried and paid once."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from infra.clearbook.people import APPROVER, PREPARER
from infra.localcloud.faults.plan import Fault
from shared.control.approvals import NotAllowedError, Proposal, StaleProposalError
from shared.documents import DocumentRefusedError
from shared.errors import BadInputError
from shared.ids import digest
from shared.ports import ServiceError
from shared.reference.opening import CHARGE_COLUMNS
from shared.steps import decide, state
from shared.steps.acts import references
from tests.builders import ACME, BIRCH, CYCLE, DAYS, P1, P2, agreement, assigned, item, parties
from tests.fakes import KilledError
from tests.pump import World, go_live, small_month

CATALOGUE = """kind,code,parent,name_zh,name_en,category
category,compute,,计算,Compute,
product,ecs,,云服务器ECS,Elastic Compute Service,compute
"""
MORE = CATALOGUE + "product,iovcc,,智能车联平台,Internet of Vehicles Platform,compute\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


def fx(world: World, *rows: str, backdate: bool = False, why: str = "monthly rates") -> Proposal:
    body = ("currency,to,cycle,rate\n" + "\n".join(rows)).encode()
    return references.propose_fx(
        world.services, body, "rates.csv", by=PREPARER, why=why, at=world.at, backdate=backdate
    )


def catalogue(world: World, text: str = CATALOGUE) -> Proposal:
    services = world.services
    return references.propose_catalogue(services, text.encode(), "codes.csv", by=PREPARER, why="test", at=world.at)


def opening(world: World, past: Mapping[str, bytes] | None = None, **document: Any) -> Proposal:
    given = {"reseller": "aurora", "as_of": CYCLE, **document}
    files = past or {}
    return references.propose_opening(
        world.services, given, "opening.yaml", files.__getitem__, by=PREPARER, why="go-live", at=world.at
    )


def owed(amount: str, name: str = "aurora-2025", currency: str = "CNY") -> list[dict[str, str]]:
    return [{"agreement": name, "currency": currency, "amount": amount}]


def codes(world: World, state_: str = "open") -> list[tuple[str, int, str]]:
    rows = world.cases(state=state_)
    return [(str(one["key"]), int(one["lines"]), str(one["amount"])) for one in rows if one["kind"] == "unknown_code"]


# -- exchange rates -----------------------------------------------------------------------------------------------


def test_rates_are_in_force_once_somebody_else_approves_them(world: World) -> None:
    proposal = fx(world, f"USD,CNY,{CYCLE},7.1586")
    assert state.fx_table(world.services, CYCLE) == ("", {})
    with pytest.raises(NotAllowedError):
        decide.approve(world.services, proposal.name, by=PREPARER, at=world.at)

    world.approve(proposal)
    name, rates = state.fx_table(world.services, CYCLE)

    assert rates == {("USD", "CNY"): Decimal("7.1586")}
    assert name == digest(world.cloud.records.objects[state.document_key(name)])


def test_a_later_file_changes_the_cycles_that_it_names_and_no_other(world: World) -> None:
    world.approve(fx(world, f"USD,CNY,{CYCLE},7.1", "USD,CNY,2025-07,7.2", "EUR,CNY,2025-07,8"))
    june, _ = state.fx_table(world.services, CYCLE)
    world.approve(fx(world, "USD,CNY,2025-07,7.25", f"USD,CNY,{CYCLE},7.10"))

    assert state.fx_table(world.services, CYCLE)[0] == june
    assert state.fx_table(world.services, "2025-07")[1] == {("USD", "CNY"): Decimal("7.25")}


def test_rates_that_change_nothing_are_not_proposed(world: World) -> None:
    world.approve(fx(world, f"USD,CNY,{CYCLE},7.1"))

    with pytest.raises(BadInputError, match="changes no rate that is in force"):
        fx(world, f"USD,CNY,{CYCLE},7.100")


def test_a_locked_month_keeps_its_rates_unless_backdating_is_said(world: World) -> None:
    world.approve(fx(world, f"USD,CNY,{CYCLE},7.1"))
    pinned, _ = state.fx_table(world.services, CYCLE)
    world.final()
    world.lock("aurora")

    for row in (f"USD,CNY,{CYCLE},7.2", f"EUR,CNY,{CYCLE},8"):
        with pytest.raises(BadInputError, match=f"changes the rates of {CYCLE}, which is locked"):
            fx(world, row)
    with pytest.raises(BadInputError, match="without a reason"):
        fx(world, f"USD,CNY,{CYCLE},7.2", backdate=True, why=" ")
    world.approve(fx(world, "USD,CNY,2025-07,7.3", f"USD,CNY,{CYCLE},7.1"))
    assert state.fx_table(world.services, CYCLE)[0] == pinned

    world.approve(fx(world, f"USD,CNY,{CYCLE},7.2", backdate=True, why="the bank corrected it"))
    assert state.fx_table(world.services, CYCLE)[1] == {("USD", "CNY"): Decimal("7.2")}


def test_rates_whose_month_was_locked_while_they_waited_are_stale(world: World) -> None:
    proposal = fx(world, f"USD,CNY,{CYCLE},7.1")
    world.final()
    world.lock("aurora")

    with pytest.raises(StaleProposalError, match=f"{CYCLE} was locked since; import the file again with --backdate"):
        world.approve(proposal)
    assert state.fx_table(world.services, CYCLE) == ("", {})


def test_of_two_proposals_for_a_cycle_the_second_to_be_approved_is_stale(world: World) -> None:
    one, two = fx(world, f"USD,CNY,{CYCLE},7.1"), fx(world, f"USD,CNY,{CYCLE},7.2", "USD,CNY,2025-07,7")
    other = fx(world, "USD,CNY,2025-08,7")
    world.approve(two)

    with pytest.raises(StaleProposalError, match=f"other rates of {CYCLE} were approved since"):
        world.approve(one)
    world.approve(other)
    assert list(state.fx_tables(world.services.chain.read(state.CONFIG))) == [CYCLE, "2025-07", "2025-08"]


def test_refused_rates_leave_nothing_behind(world: World) -> None:
    before = world.keys("records")

    with pytest.raises(DocumentRefusedError):
        fx(world, f"USD,CNY,{CYCLE},7.1", f"RMB,CNY,{CYCLE},7.1")
    assert world.keys("records") == before
    assert world.services.chain.read(state.CONFIG) == []


def waiting(world: World, kind: str) -> list[tuple[str, int, str]]:
    rows = [one for one in world.cases() if one["kind"] == kind]
    return [(str(one["key"]), int(one["lines"]), str(one["amount"])) for one in rows]


def test_a_line_in_another_currency_waits_for_its_rate_and_is_settled_at_it(world: World) -> None:
    """Aurora's 160.00, and 10 % of 30.00 USD at 7.1586: 21.4758."""
    world.bill(P1, DAYS[0], item(ACME, "100.00"), item(ACME, "30.00", InstanceID="i-2", Currency="USD"))
    world.final()
    assert waiting(world, "no_fx_rate") == [("USD/CNY", 1, "30")]
    assert world.total() == "160.00"

    world.approve(fx(world, f"USD,CNY,{CYCLE},7.1586"))

    assert waiting(world, "no_fx_rate") == []
    assert world.total() == "181.48"


# -- figures ------------------------------------------------------------------------------------------------------


def figures(world: World, *rows: str) -> Proposal:
    body = ("reseller,figure,cycle,value\n" + "\n".join(rows)).encode()
    return references.propose_figures(world.services, body, "figures.csv", by=PREPARER, why="the month's", at=world.at)


def test_lines_behind_a_gate_wait_for_the_figure_and_earn_by_it(tmp_path: Path) -> None:
    """1600.00 at 10 % with three engineers, at 2 % with fewer."""
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    document = agreement("aurora")
    gate = {"figure": "engineers", "at_least": "3", "otherwise": {"percent": "2"}}
    document["rules"][0]["earn"]["gate"] = gate
    other = {"name": "nothing", "lines": [{"product_code": "oss", "pretax": "1"}], "expect": {"commission": "0"}}
    world.decide_agreement({**document, "examples": [other]})
    world.final()
    assert waiting(world, "no_figure") == [("aurora-2025/sells-ecs", 4, "1600")]
    assert world.total() == "0.00"

    world.approve(figures(world, f"aurora,engineers,{CYCLE},2", f"borealis,engineers,{CYCLE},9"))
    assert waiting(world, "no_figure") == []
    assert world.total() == "32.00"

    world.approve(figures(world, f"aurora,engineers,{CYCLE},3", f"borealis,engineers,{CYCLE},9"))
    assert world.total() == "160.00"


def test_figures_of_nobody_are_refused(world: World) -> None:
    with pytest.raises(DocumentRefusedError, match="reseller: 'nobody' is not known; known are aurora, borealis"):
        figures(world, f"nobody,engineers,{CYCLE},3")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"aurora,Engineers,{CYCLE},3", "line 2, figure: 'Engineers' is no id"),
        ("aurora,engineers,2025-13,3", "line 2, cycle: '2025-13' is no billing cycle"),
        (f"aurora,engineers,{CYCLE},three", "line 2, value: 'three' is not an amount"),
        (f"aurora,engineers,{CYCLE},=3", "line 2, value: '=3' is not an amount"),
    ],
)
def test_a_row_that_is_no_figure_is_refused(world: World, row: str, said: str) -> None:
    with pytest.raises(DocumentRefusedError, match=said):
        figures(world, row)


# -- the catalogue ------------------------------------------------------------------------------------------------


def test_a_code_that_the_catalogue_does_not_know_is_one_case_that_holds_no_money(world: World) -> None:
    world.approve(catalogue(world))
    for payer in (P1, P2):
        world.bill(payer, DAYS[0], item(ACME, "3.00", "iovcc"), item(ACME, "4.00", "iovcc", InstanceID="i-2"))
    world.final()

    assert codes(world) == [("product iovcc", 4, "0")]
    [held] = [row for row in world.cases() if row["kind"] == "no_rule"]
    assert (held["lines"], held["amount"]) == (4, "14")  # 2 × (3.00 + 4.00)


def test_the_case_closes_itself_when_a_catalogue_knows_the_code(world: World) -> None:
    world.approve(catalogue(world))
    world.bill(P1, DAYS[0], item(ACME, "3.00", "iovcc"))
    world.final()
    before = world.month("operator").settlement
    assert codes(world) == [("product iovcc", 1, "0")]

    world.approve(catalogue(world, MORE))

    assert codes(world) == []
    assert codes(world, "closed") == [("product iovcc", 1, "0")]
    assert world.month("operator").settlement == before  # no amount rests on it
    world.approve(catalogue(world))
    world.approve(catalogue(world, MORE))
    world.approve(catalogue(world))
    assert codes(world) == [("product iovcc", 1, "0")]


def test_without_a_catalogue_nothing_is_checked_and_the_entry_says_so(world: World) -> None:
    world.bill(P1, DAYS[0], item(ACME, "3.00", "iovcc"))
    world.final()
    calculated = world.month("operator").calculated
    assert calculated is not None
    assert codes(world) == []
    assert calculated.body["catalogue"] == ""

    world.approve(catalogue(world))
    calculated = world.month("operator").calculated
    assert calculated is not None
    assert codes(world) == [("product iovcc", 1, "0")]
    assert calculated.body["catalogue"] == state.catalogue_digest(world.services.chain.read(state.CONFIG))
    assert state.CONFIG in calculated.reads


def test_a_catalogue_whose_order_was_lost_reaches_the_cases_by_the_sweep(world: World) -> None:
    world.bill(P1, DAYS[0], item(ACME, "3.00", "iovcc"))
    world.final()
    proposal = catalogue(world)
    before = set(world.keys("work", "work/settle/"))
    world.approve(proposal, drain=False)
    for key in set(world.keys("work", "work/settle/")) - before:
        del world.cloud.work.objects[key]
    world.cloud.take_created()
    assert codes(world) == []

    # Much later, when nobody looks at June for any other reason.
    world.lock()
    world.pay()
    world.bank_answers(
        "one",
        (f"{CYCLE}.aurora.aurora-2025", "confirmed", "160.00", "CNY", "B1"),
        (f"{CYCLE}.borealis.borealis-2025", "confirmed", "15.00", "CNY", "B2"),
    )
    assert codes(world) == []
    world.sweep("2025-12-01")

    assert codes(world) == [("product iovcc", 1, "0")]


def test_a_catalogue_made_before_another_was_approved_is_stale(world: World) -> None:
    one, two = catalogue(world), catalogue(world, MORE)
    world.approve(two)

    with pytest.raises(StaleProposalError, match="import the file again"):
        world.approve(one)
    with pytest.raises(BadInputError, match="is version 1, in force"):
        catalogue(world, MORE)
    assert catalogue(world).body["version"] == 2


# -- openings -----------------------------------------------------------------------------------------------------


def journal(world: World, key: str) -> dict[str, str]:
    """The amounts of a journal file by account."""
    rows = csv.DictReader(io.StringIO(world.cloud.records.objects[key].decode("utf-8-sig"), newline=""))
    return {row["account"] + (" opening" if "opening" in row["reference"] else ""): row["amount"] for row in rows}


def statement(world: World, reseller: str, cycle: str = CYCLE) -> dict[str, Any]:
    [key] = [one for one in world.keys("records", f"statements/{cycle}/{reseller}/") if one.endswith(".json")]
    return dict(json.loads(world.cloud.records.objects[key]))


def test_an_opening_balance_is_stated_posted_and_paid_with_the_first_month(world: World) -> None:
    """Aurora was owed 250.00 and earns 160.00 in June: 410.00, of which July's statement carries nothing more."""
    world.approve(opening(world, balances=owed("250.00")))
    world.final()
    world.lock()
    first = statement(world, "aurora")
    [books] = world.keys("records", f"journal/{CYCLE}/aurora-")

    assert (first["payable"], first["carried"], first["balance"], first["opening"]) == (
        "160.00",
        "250.00",
        "410.00",
        "250.00",
    )
    assert journal(world, books) == {
        "Equity:Opening opening": "250",
        "Liabilities:Resellers:aurora opening": "-250",
        "Expenses:Commission": "160.00",
        "Liabilities:Resellers:aurora": "-160.00",
    }
    world.pay()
    [paid] = world.keys("records", f"journal/{CYCLE}/payout-")
    rows = csv.DictReader(io.StringIO(world.cloud.records.objects[paid].decode("utf-8-sig"), newline=""))
    discharged = {row["reference"]: row["amount"] for row in rows if row["account"].startswith("Liabilities")}
    assert discharged == {f"{CYCLE}.aurora.aurora-2025": "410.00", f"{CYCLE}.borealis.borealis-2025": "15.00"}


def test_the_workbook_shows_the_opening_balance_and_what_is_owed_with_it(world: World) -> None:
    world.approve(opening(world, balances=owed("250")))
    world.final()
    world.lock()
    shown = {}
    for reseller in ("aurora", "borealis"):
        [key] = [one for one in world.keys("records", f"statements/{CYCLE}/{reseller}/") if one.endswith(".xlsx")]
        cells = openpyxl.load_workbook(io.BytesIO(world.cloud.records.objects[key]))["Statement"].values
        shown[reseller] = {row[0]: row[1] for row in cells if row[0] in ("Opening balance", "Payable", "Balance")}

    assert shown == {"aurora": {"Payable": 160, "Opening balance": 250, "Balance": 410}, "borealis": {"Payable": 15}}


def test_who_approves_a_lock_is_shown_what_is_owed_with_what_is_carried(world: World) -> None:
    world.approve(opening(world, balances=owed("250.00")))
    world.final()
    locks = [world.propose_lock("aurora"), world.propose_lock("borealis")]
    shown = [line for one in locks for line in decide.show(world.services, one)]

    assert "aurora-2025 total 160.00, payable 160.00, with 250 carried 410 CNY" in shown
    assert "borealis-2025 total 15.00, payable 15.00 CNY" in shown


def test_what_a_reseller_owes_at_go_live_is_taken_off_and_carried(world: World) -> None:
    """Borealis owes 40.00 and earns 15.00 in June: it owes 25.00, and nothing is paid."""
    world.approve(opening(world, reseller="borealis", balances=owed("-40.00", "borealis-2025")))
    world.final()
    world.lock()
    first = statement(world, "borealis")
    _, left_out = decide.propose_payouts(world.services, CYCLE, by=PREPARER, why="", at=world.at)

    assert (first["carried"], first["balance"]) == ("-40.00", "-25.00")
    assert left_out == [("borealis", "borealis-2025: -25 CNY is carried forward")]


def test_the_second_month_carries_what_the_first_left_and_no_opening(tmp_path: Path) -> None:
    """Borealis owes 40.00; June's 5.00 leaves it owing 35.00; July's 40.00 makes 5.00 due."""
    world = World(tmp_path)
    world.decide_parties(parties([assigned(BIRCH, "birch", "borealis")], payers=[P2], since=DAYS[-1]))
    world.decide_agreement(agreement("borealis"))
    world.bill(P2, DAYS[-1], item(BIRCH, "50.00"))
    world.bill(P2, "2025-07-31", item(BIRCH, "400.00"))
    world.approve(opening(world, reseller="borealis", balances=owed("-40.00", "borealis-2025")))
    world.final()
    world.lock("borealis")
    world.final(cycle="2025-07")
    world.lock("borealis", cycle="2025-07")
    second = statement(world, "borealis", "2025-07")
    [books] = world.keys("records", "journal/2025-07/borealis-")
    [proposal] = world.propose_payouts("2025-07")

    assert (second["payable"], second["carried"], second["balance"]) == ("40.00", "-35.00", "5.00")
    assert second["opening"] is None
    assert "Equity:Opening opening" not in journal(world, books)
    assert proposal.body["total"] == "5"


def test_a_statement_published_again_is_the_same_whatever_was_paid_since(world: World) -> None:
    world.approve(opening(world, balances=owed("250.00")))
    world.final()
    world.lock()
    world.pay()
    before = dict(world.cloud.records.objects)
    delivered = len(world.pump.delivered)
    world.cloud.work.put_again(f"work/publish/{CYCLE}/aurora.json", b"{}")
    world.pump.drain()

    assert (len(world.pump.delivered), world.pump.refusals) == (delivered + 1, [])
    assert world.cloud.records.objects == before


def test_the_newest_opening_counts_until_a_month_is_locked(world: World) -> None:
    world.approve(opening(world, balances=owed("250.00")))
    world.approve(opening(world, balances=owed("200.00")))
    waits = opening(world, balances=owed("1.00"))
    world.final()
    world.lock()

    assert statement(world, "aurora")["carried"] == "200.00"
    with pytest.raises(BadInputError, match=f"{CYCLE} is locked already; an opening comes before the first lock"):
        opening(world, balances=owed("300.00"))
    with pytest.raises(BadInputError, match="is locked already"):
        world.approve(waits)


def test_of_two_openings_the_second_to_be_approved_is_stale(world: World) -> None:
    one, two = opening(world, balances=owed("1.00")), opening(world, balances=owed("2.00"))
    world.approve(two)

    with pytest.raises(StaleProposalError, match="import the file again"):
        world.approve(one)


def test_a_month_before_the_opening_cannot_be_locked_because_the_balance_holds_it(world: World) -> None:
    world.final()
    lock = world.propose_lock()
    world.approve(opening(world, as_of="2025-07", balances=owed("250.00")))

    with pytest.raises(BadInputError, match="lies before the opening, which stands at the beginning of 2025-07"):
        world.approve(lock)
    with pytest.raises(BadInputError, match=f"import an opening as of {CYCLE}, or leave it unlocked"):
        world.propose_lock()
    world.approve(opening(world, balances=owed("90.00")))
    world.lock("aurora")
    assert statement(world, "aurora")["balance"] == "250.00"  # 90.00 + 160.00


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"reseller": "nobody", "balances": owed("1")}, "reseller: 'nobody' is not known; known are aurora, borealis"),
        ({"balances": owed("1", "aurora-2024")}, "balances.0.agreement: 'aurora-2024' is no approved agreement of"),
        ({"balances": owed("1", "borealis-2025")}, "approved are aurora-2025"),
        ({"balances": owed("1", currency="USD")}, "balances.0.currency: USD, but aurora-2025 is in CNY"),
        ({"balances": owed("1.001")}, "balances.0.amount: 1.001 has more than the 2 decimals that aurora-2025 pays"),
        (
            {"scale_totals": [{"agreement": "aurora-2025", "scale": "spend", "amount": "1"}]},
            "scale_totals.0.scale: 'spend' is no scale of aurora-2025; it has none",
        ),
    ],
)
def test_an_opening_that_fits_no_agreement_is_refused(world: World, document: dict[str, Any], said: str) -> None:
    with pytest.raises(DocumentRefusedError) as caught:
        opening(world, **document)

    assert said in str(caught.value)


def test_scale_totals_name_the_scope_of_their_scale(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decide_parties(parties())
    bands = [{"upto": "1000", "percent": "1"}, {"percent": "2"}]
    terms = {"scope": "customer", "measure": "pretax", "method": "graduated", "over": "month", "bands": bands}
    rules = [{"id": "r", "when": "product_code == 'oss'", "earn": {"scale": "spend"}}]
    examples = [{"name": "e", "lines": [{"product_code": "oss", "pretax": "100"}], "expect": {"commission": "1"}}]
    world.decide_agreement(agreement(name="scaled", rules=rules, scales={"spend": terms}, examples=examples))
    total = {"agreement": "scaled", "scale": "spend", "amount": "5000.00"}

    for wrong, said in (
        ({}, "scale_totals.0.customer: is missing: the scale is by customer"),
        ({"customer": "acme", "product": "oss"}, "scale_totals.0.product: is too much"),
        ({"customer": "nobody"}, "scale_totals.0.customer: 'nobody' is not among the customers"),
    ):
        with pytest.raises(DocumentRefusedError, match=said):
            opening(world, scale_totals=[{**total, **wrong}])
    world.approve(opening(world, scale_totals=[{**total, "customer": "acme"}]))
    kept = state.document(world.services, world.services.chain.read("reseller/aurora")[-1].body["what"]["document"])
    assert kept["scale_totals"] == [{**total, "amount": "5000", "customer": "acme", "product": None}]


def test_past_charges_are_kept_under_their_digest(world: World) -> None:
    row = ("c-1,2025-05-31,1001,acme,ecs,ecs,instance_type,i-1,PayAsYouGo,usage,CNY,"
           "100,60.5,{agreement},sells-ecs,1,100,10")  # fmt: skip
    head = ",".join(CHARGE_COLUMNS)
    body, wrong = (
        f"{head}\n{row.format(agreement=name)}\n".encode() for name in ("aurora-2025", "aurora-2019")
    )  # fmt: skip

    with pytest.raises(DocumentRefusedError, match="agreement: 'aurora-2019' is no approved agreement"):
        opening(world, {"past.csv": wrong}, past_charges="past.csv")
    proposal = opening(world, {"past.csv": body}, past_charges="past.csv")
    kept = state.document(world.services, proposal.body["document"])

    assert kept["past_charges"] == {"digest": digest(body), "rows": 1, "left": {"CNY": "60.5"}}
    assert world.cloud.records.objects[state.past_charges_key(digest(body))] == body
    assert state.past_charges_key(digest(wrong)) not in world.cloud.records.objects


def test_only_a_preparer_proposes_and_only_an_approver_approves_reference_data(world: World) -> None:
    with pytest.raises(NotAllowedError, match="may not propose catalogue"):
        references.propose_catalogue(world.services, CATALOGUE.encode(), "codes.csv", by=APPROVER, why="", at=world.at)
    proposal = opening(world, balances=owed("1.00"))
    with pytest.raises(NotAllowedError, match="may not approve"):
        decide.approve(world.services, proposal.name, by="pavel", at=world.at)


def test_rates_may_come_before_anybody_is_known(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.approve(fx(world, f"USD,CNY,{CYCLE},7.1"))
    world.approve(catalogue(world))
    world.decide_parties(parties())

    assert state.fx_table(world.services, CYCLE)[1] == {("USD", "CNY"): Decimal("7.1")}


# -- interrupted --------------------------------------------------------------------------------------------------

PAST = (
    f"{','.join(CHARGE_COLUMNS)}\n"
    "c-1,2025-05-31,1001,acme,ecs,ecs,cpu,i-1,PayAsYouGo,usage,CNY,100,60.5,aurora-2025,sells-ecs,1,100,10\n"
).encode()
Act = Callable[[World], Proposal]
ACTS: Mapping[str, Act] = {
    "rates": lambda world: fx(world, f"USD,CNY,{CYCLE},7.1", "USD,CNY,2025-07,7.2"),
    "catalogue": catalogue,
    "opening": lambda world: opening(world, {"past.csv": PAST}, balances=owed("250.00"), past_charges="past.csv"),
}


@pytest.mark.parametrize("what", ACTS)
def test_an_act_that_is_cut_off_at_any_call_and_repeated_leaves_what_one_clean_act_leaves(
    world: World, what: str
) -> None:
    world.bill(P1, DAYS[0], item(ACME, "3.00", "iovcc"))
    world.final()
    cloud, before = world.cloud, world.cloud.state()

    def decided(name: str | None) -> str:
        """Propose and approve; who comes back to it finds it proposed, or in force, and approves it again."""
        try:
            name = ACTS[what](world).name
        except BadInputError:
            assert name is not None
        decide.approve(world.services, name, by=APPROVER, at=world.at)
        return name

    cloud.calls.begin()
    name = decided(None)
    calls, clean = len(cloud.calls.made), cloud.state()
    assert clean.tables["chain"] != before.tables["chain"]
    for call in range(calls):
        for how in (Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.KILL_AFTER):
            cloud.restore(before)
            cloud.calls.begin(call, how)
            with contextlib.suppress(ServiceError, KilledError):
                decided(None)
            cloud.calls.begin()
            assert decided(name) == name
            now = cloud.state()
            assert (now.objects, now.tables["chain"]) == (clean.objects, clean.tables["chain"]), (call, how)
