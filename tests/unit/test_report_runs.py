"""Runs of reports at the portal: who may, found again by what they rest on, built once, fetched by links that end."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import openpyxl
import pytest

from infra.clearbook import remote, report_runs
from infra.clearbook.people import PREPARER
from infra.clearbook.remote import RefusedError
from infra.localcloud.faults.plan import Fault
from infra.provision.buckets import REPORTS_DAYS
from shared.access.principal import LacksRightError
from shared.cycle import parse_instant, stamp
from shared.steps.acts import grants
from shared.steps.delivering.reports import Wanted
from shared.steps.reporting import access_log, mappings, runs, scheduled, selections, submitting
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, parties
from tests.desk import desk
from tests.fakes import KilledError, State
from tests.granted import granted
from tests.known import remembering
from tests.pump import World
from tests.reports import ADDRESS, Client, month

HOW = (Fault.KILL_AFTER, Fault.LOSE_RESPONSE, Fault.KILL_BEFORE, Fault.LOSE_REQUEST)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, State, datetime]]:
    with remembering():
        world = month(tmp_path_factory.mktemp("runs") / "scratch")
        first = Client(world)
        first.run("ann")  # so that lines are priced, as they are after the first who asks
        for who in ("ann", "ria", "carl"):
            first.run(who, format="csv")
        world.pump.drain()
        yield world, world.cloud.state(), world.now


@pytest.fixture
def ask(played: tuple[World, State, datetime]) -> Client:
    world, before, now = played
    world.now = now
    world.cloud.restore(before)
    world.pump.waiting.clear()
    world.pump.delivered.clear()
    return Client(world)


def fetched(ask: Client, path: str) -> tuple[bytes, str]:
    """What a link gives: the object, and the name it is saved under."""
    status, found = ask("", "GET", path)
    assert status == 302, found
    return ask.world.cloud.stores["reports"].opened(ask.headers["Location"])


def linked(ask: Client, who: str, run: Any, **said: Any) -> Any:
    return ask.done(who, "POST", f"/v1/report-runs/{run['id']}/links", said)


def bodies(ask: Client) -> dict[str, bytes]:
    return {key: body for key, body in ask.world.cloud.stores["reports"].objects.items() if key.startswith("reports/")}


# -- runs -------------------------------------------------------------------------------------------------------


def test_a_small_report_is_answered_at_once_and_the_same_question_is_the_same_run(ask: Client) -> None:
    made = ask.run("ria", format="xlsx")
    before = bodies(ask)
    again = ask.run("ria", format="xlsx")

    assert (made["state"], made["about"]["rows"]) == ("succeeded", made["rows"])
    assert again == made
    assert bodies(ask) == before
    assert {one["name"] for one in made["files"]} == {"billing_summary-2025-06-01-2025-06-30.xlsx"}


def test_a_file_holds_what_the_rows_say_and_its_digest_is_the_runs(ask: Client) -> None:
    run = ask.run("carl", format="csv")
    rows = ask.done("carl", "GET", f"/v1/report-runs/{run['id']}/result")["rows"]
    body, name = fetched(ask, linked(ask, "carl", run)["path"])
    of_file = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))

    assert name == "billing_summary-2025-06-01-2025-06-30.csv"
    assert [Decimal(one["price"]) for one in of_file] == [Decimal(one["price"]) for one in rows]
    assert sum(Decimal(one["price"]) for one in rows) == Decimal(run["about"]["control_totals"]["CNY"]["price"]) > 0
    assert [one["format"] for one in run["files"]] == ["csv", "metadata"]


def test_a_large_report_is_ordered_and_built_by_its_event(ask: Client) -> None:
    ask.small_lines = 0
    status, run = ask("ria", "POST", "/v1/report-runs", {"report": "trend", "format": "xlsx", "preset": "last_month"})
    assert (status, run["state"], run["about"], ask.headers["Retry-After"]) == (202, "queued", None, "2")
    assert ask("ria", "GET", f"/v1/report-runs/{run['id']}/result")[0] == 409
    ask.world.pump.drain()
    done = ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")

    assert (done["state"], done["progress"], len(done["files"])) == ("succeeded", "", 1)
    told = [key for key in ask.world.cloud.work.objects if key.startswith("outbox/owners/2025-07/reseller.aurora/")]
    data = [json.loads(ask.world.cloud.work.objects[key])["data"] for key in told]
    assert run["id"] in {one["run"] for one in data}
    assert not ask.world.pump.refusals


@pytest.mark.parametrize(("who", "small_lines"), [("ann", 0), ("ann", 20_000), ("ria", 0), ("carl", 20_000)])
def test_every_report_that_somebody_may_run_comes_to_something(ask: Client, who: str, small_lines: int) -> None:
    ask.small_lines = small_lines
    for report in ask.done(who, "GET", "/v1/reports")["reports"]:
        ask.world.cloud.rows.tables["limits"].clear()
        run = ask.run(who, report["name"])
        ask.world.pump.drain()
        done = ask.done(who, "GET", f"/v1/report-runs/{run['id']}")
        assert (done["state"], done["about"]["report"]) == ("succeeded", report["name"])
        assert not ask.world.pump.refusals


def test_every_report_of_the_operator_comes_to_something_when_the_month_is_paid(ask: Client) -> None:
    ask.world.lock()
    ask.world.pay()
    instruction = f"{CYCLE}.borealis.borealis-2025"
    ask.world.bank_answers("bank-2025-07-04", (instruction, "returned", "21.00", "CNY", "B1"))
    for minute, small_lines, what in ((0, 0, {}), (5, 20_000, {"language": "zh"})):
        # All of them twice within a minute is more than one may ask.
        ask.small_lines, ask.at = small_lines, f"2025-07-05T04:{minute:02}:00Z"
        for report in ask.done("ann", "GET", "/v1/reports")["reports"]:
            run = ask.run("ann", report["name"], **what)
            ask.world.pump.drain()
            assert ask.done("ann", "GET", f"/v1/report-runs/{run['id']}")["state"] == "succeeded", report["name"]
    assert ask.done("ann", "GET", "/v1/statements?from=2025-06")["statements"]


def test_new_data_makes_a_new_run_and_the_old_one_stays_as_it_was(ask: Client) -> None:
    made = ask.run("ria", format="csv")
    ask.world.lock("aurora")
    later = ask.run("ria", format="csv")

    assert later["id"] != made["id"]
    assert (made["about"]["status"], later["about"]["status"]) == ("draft", "final")
    assert ask.done("ria", "GET", f"/v1/report-runs/{made['id']}")["about"] == made["about"]
    assert ask.done("ria", "POST", f"/v1/report-runs/{made['id']}/again")["id"] == later["id"]


def test_data_that_changes_before_a_run_is_built_is_built_under_its_own_name(ask: Client) -> None:
    ask.small_lines = 0
    ordered = ask.run("ria", format="parquet")
    waiting = [one for one in ask.world.pump.coming() if one[0].function == "build_report"]
    ask.world.lock("aurora")
    for delivery, _ in waiting:
        ask.world.pump.deliver(delivery)
    done = ask.done("ria", "GET", f"/v1/report-runs/{ordered['id']}")
    now = ask.run("ria", format="parquet")

    assert (done["state"], done["about"]["status"]) == ("succeeded", "final")
    assert now["id"] != ordered["id"]
    assert now["state"] == "succeeded", "it was built under the name of the data that it was made of"
    assert not [key for key in bodies(ask) if ordered["id"] in key]


def test_whichever_call_goes_wrong_the_events_repetition_leaves_what_a_clean_run_leaves(ask: Client) -> None:
    ask.small_lines = 0
    run = ask.run("ria", format="csv", filters={"service": "oss"})
    ask.world.cloud.take_created()  # its event is lost
    ask.run("ria", format="csv", filters={"service": "oss"})
    assert not ask.world.cloud.take_created(), "it may be on its way"
    ask.at = stamp(parse_instant(ask.at) + runs.LATE + timedelta(seconds=1))
    late = ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")
    assert (late["state"], late["because"]) == ("failed", "it did not end within 2 hours; ask for the report again")
    ask.run("ria", format="csv", filters={"service": "oss"})
    ask.world.pump.drain()

    assert ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")["state"] == "succeeded"


def test_an_expired_run_says_so_and_is_made_anew_when_it_is_asked_for(ask: Client) -> None:
    run = ask.run("ria", format="csv")
    link = linked(ask, "ria", run, expires_in_hours=2160)
    before = datetime.fromisoformat(run["expires_at"])
    ask.at = run["expires_at"]
    assert before - datetime.fromisoformat(run["at"]) == timedelta(days=REPORTS_DAYS)
    assert ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")["state"] == "expired"
    assert ask("ria", "GET", f"/v1/report-runs/{run['id']}/result")[0] == 410
    assert ask("", "GET", link["path"])[0] == 410
    again = ask.run("ria", format="csv")

    assert (again["id"], again["state"], again["at"]) == (run["id"], "succeeded", ask.at)
    assert fetched(ask, linked(ask, "ria", again)["path"])[0]


def failed(ask: Client) -> Any:
    """A run whose mapping was there when it was asked for, and by its own time was not when it was built."""
    ask.small_lines = 0
    services = ask.world.services
    text = "{allocation: teams, version: 1, effective: {from: 2025-01-01}, rules: [{id: a, target: {field: region}}]}"
    submitting.submit(services, "reseller.aurora", text.encode(), "ria", ask.at)
    run = ask.run("ria", "allocation", format="csv", allocation="teams")
    assert run["state"] == "queued"
    key = mappings.key("reseller.aurora", "teams", 1)
    row = services.rows.get("mappings", key)
    assert row is not None
    kept = {name: value for name, value in row.items() if name not in ("owner", "name")}
    services.rows.put("mappings", key, {**kept, "at": "2025-07-05T04:00:01Z"})
    ask.world.pump.drain()
    return ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")


def test_a_refusal_while_it_is_built_ends_the_run_with_what_to_do_and_asking_again_begins_it_anew(ask: Client) -> None:
    run = failed(ask)

    because = "allocation: there is no mapping 'teams'; name one of teams"
    assert (run["state"], run["because"]) == ("failed", because)
    assert ask("ria", "GET", f"/v1/report-runs/{run['id']}/result")[0] == 409
    ask.at = "2025-07-05T04:00:02Z"
    assert ask.run("ria", "allocation", format="csv", allocation="teams")["state"] == "queued"
    ask.world.pump.drain()
    assert ask.done("ria", "GET", f"/v1/report-runs/{run['id']}")["state"] == "succeeded"


def test_rows_come_page_by_page_and_a_page_of_other_rows_is_refused(ask: Client) -> None:
    run = ask.run("ann", "usage_detail")
    whole = ask.done("ann", "GET", f"/v1/report-runs/{run['id']}/result?limit=1000")
    pages: list[Any] = []
    token = ""
    while True:
        page = ask.done("ann", "GET", f"/v1/report-runs/{run['id']}/result?limit=2&page={token}")
        pages += page["rows"]
        token = page["next"]
        if not token:
            break

    assert pages == whole["rows"]
    assert len(pages) == run["rows"] > 4
    other = ask.run("ann", "service_costs")
    token = ask.done("ann", "GET", f"/v1/report-runs/{run['id']}/result?limit=2")["next"]
    far = base64.urlsafe_b64encode(json.dumps([run["id"], 1, 10**30]).encode()).decode()
    for page, path in ((token, other["id"]), ("x", run["id"]), ("W10=", run["id"]), (far, run["id"])):
        status, found = ask("ann", "GET", f"/v1/report-runs/{path}/result?page={page}")
        assert (status, found["detail"].split(":")[0]) == (400, "page")


def test_what_a_row_drills_down_to_adds_up_to_it_with_the_filters_kept(ask: Client) -> None:
    run = ask.run("ria", filters={"service": "ecs"})
    rows = ask.done("ria", "GET", f"/v1/report-runs/{run['id']}/result")["rows"]
    assert len(rows) > 1
    for number, row in enumerate(rows):
        below = ask.done("ria", "POST", f"/v1/report-runs/{run['id']}/drill-down", {"row": number})
        sums = below["about"]["control_totals"]["CNY"]
        assert below["report"] == "service_costs"
        assert (Decimal(sums["commission"]), below["ask"]["filters"]["service"]) == (
            Decimal(row["commission"]),
            ["ecs"],
        )
    assert ask("ria", "POST", f"/v1/report-runs/{run['id']}/drill-down", {"row": len(rows)})[0] == 400


@pytest.mark.parametrize("by", ["service", "region", "account", "tag:team"])
def test_what_an_allocated_row_drills_down_to_is_what_was_allocated(ask: Client, by: str) -> None:
    run = ask.run("ria", "allocation", filters={"group_by": by})
    rows = ask.done("ria", "GET", f"/v1/report-runs/{run['id']}/result")["rows"]
    assert rows
    for number, row in enumerate(rows):
        below = ask.done("ria", "POST", f"/v1/report-runs/{run['id']}/drill-down", {"row": number})
        named = {"tag": [f"team={row['target'] or ''}"]} if by == "tag:team" else {by: [row["target"] or ""]}
        assert below["ask"]["filters"].items() >= named.items()
        sums = below["about"]["control_totals"]["CNY"]
        assert (sums["list_amount"], sums.get("commission")) == (row["list_amount"], row["commission"])


MAPPING = (
    "{allocation: all, version: NUMBER, effective: {from: 2025-01-01}, rules: [{id: a, target: {field: account}}]}"
)


def submitted(number: int) -> dict[str, str]:
    return {"name": "all.yaml", "text": MAPPING.replace("NUMBER", str(number))}


def test_a_key_submits_and_lists_mappings_of_its_owner_alone(ask: Client) -> None:
    key = ask.done("ria", "POST", "/v1/keys", {"name": "close"})["key"]
    others = ask.done("bo", "POST", "/v1/keys", {"name": "close"})

    made = ask.done(key, "POST", "/v1/mappings", submitted(1), **{"Idempotency-Key": "one"})
    again = ask.done(key, "POST", "/v1/mappings", submitted(1), **{"Idempotency-Key": "one"})
    assert (made["owner"], made["new"], again, ask.headers["Idempotency-Replayed"]) == (
        "reseller.aurora", True, made, "true",
    )  # fmt: skip
    [listed] = ask.done("ria", "GET", "/v1/mappings")["mappings"]
    assert (listed["allocation"], listed["version"], listed["by"][:4]) == ("all", 1, "key.")
    assert ask("ria", "GET", "/v1/mappings", None, **{"If-None-Match": ask.headers["ETag"]})[0] == 304
    assert ask.done(others["key"], "GET", "/v1/mappings")["mappings"] == []
    ask.done("bo", "POST", f"/v1/keys/{others['id']}/revoke", {})
    assert ask(others["key"], "GET", "/v1/mappings")[0] == 401


def test_versions_of_mappings_stay_for_good_and_so_are_not_without_number(
    ask: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "VERSIONS_MAX", 2)
    for number in (1, 2):
        ask.done("ria", "POST", "/v1/mappings", submitted(number))

    status, found = ask("ria", "POST", "/v1/mappings", submitted(3))

    assert (status, found["detail"].split(":")[0]) == (400, "mappings")
    assert not ask.done("ria", "POST", "/v1/mappings", submitted(2))["new"]
    assert ask.done("bo", "POST", "/v1/mappings", submitted(1))["new"]


def test_a_row_that_a_mapping_made_is_not_drilled_down_to_lines_that_are_more(ask: Client) -> None:
    ask.done("ria", "POST", "/v1/mappings", submitted(1))
    run = ask.run("ria", "allocation", allocation="all")

    status, found = ask("ria", "POST", f"/v1/report-runs/{run['id']}/drill-down", {"row": 0})

    assert (status, found["detail"].split(":")[0]) == (400, "row")


@pytest.mark.parametrize("limit", ["0", "201", "0000000001" + "0" * 10, "000000001" + "0" * 5000, "x", "-1", "１"])
def test_a_limit_that_is_no_small_number_is_refused(ask: Client, limit: str) -> None:
    status, found = ask("ria", "GET", f"/v1/report-runs?limit={limit}")

    assert (status, found["detail"].split(":")[0]) == (400, "limit")


@pytest.mark.parametrize("columns", [["lines"], ["month", "list_amount"], ["commission", "resale_price"]])
def test_figures_come_with_their_currency_whichever_columns_are_asked_for(ask: Client, columns: list[str]) -> None:
    run = ask.run("ria", columns=columns)

    rows = ask.done("ria", "GET", f"/v1/report-runs/{run['id']}/result")["rows"]
    assert [set(row) for row in rows] == [{*columns, "currency"}]
    assert rows[0]["currency"] == "CNY"


def test_what_has_no_price_is_counted_among_what_was_asked_for(ask: Client) -> None:
    def told(**said: Any) -> list[str]:
        return [one["en"].split(":")[0] for one in ask.run("ria", **said)["about"]["notes"]]

    rows = ask.done("ria", "GET", f"/v1/report-runs/{ask.run('ria')['id']}/result")["rows"]
    lines, unpriced = (sum(one[name] for one in rows) for name in ("lines", "unpriced_lines"))

    assert told() == [f"{unpriced} of {lines} lines have no price"]
    assert 0 < unpriced < lines
    assert told(filters={"customer": "acme"}) == []


def test_reading_again_what_is_known_sends_nothing(ask: Client) -> None:
    run = ask.run("ria")
    for path in ("/v1/reports", f"/v1/report-runs/{run['id']}", f"/v1/report-runs/{run['id']}/result"):
        ask.done("ria", "GET", path)
        tag = ask.headers["ETag"]
        assert ask("ria", "GET", path, **{"If-None-Match": tag}) == (304, None)
        assert ask("ria", "GET", path, **{"If-None-Match": '"other"'})[0] == 200


def test_each_fetches_its_own_focus_export_and_not_what_it_may_not_see(ask: Client) -> None:
    of = {who: ask.run(who, "focus_export") for who in ("ann", "ria", "carl")}
    cost = {who: Decimal(run["about"]["control_totals"]["CNY"]["BilledCost"]) for who, run in of.items()}
    columns = {who: {one["name"] for one in run["about"]["columns"]} for who, run in of.items()}
    of_carl = ask.done("carl", "GET", f"/v1/report-runs/{of['carl']['id']}/result")["rows"]

    # Acme used 640.00 by the list and got 10.00 back: its plan is 90 % of that, its seller's 80 %.
    assert cost["carl"] == sum(Decimal(one["BilledCost"]) for one in of_carl) == 567
    assert cost["ria"] > 504
    assert cost["ann"] > 640
    assert columns["ann"] - columns["ria"] == {"x_Reseller"}
    assert columns["ria"] - columns["carl"] == {"x_Customer", "x_OpenCase"}
    assert {one["InvoiceIssuerName"] for one in of_carl} == {"Aurora"}
    for format_ in ("csv", "json", "parquet", "xlsx", "pdf"):
        assert ask.run("carl", "focus_export", format=format_)["state"] == "succeeded", format_


# -- who may ----------------------------------------------------------------------------------------------------


def test_export_is_a_right_of_its_own(ask: Client) -> None:
    looked = ask.run("vic")
    status, found = ask("vic", "POST", "/v1/report-runs", {"report": "billing_summary", "format": "csv"})

    assert looked["state"] == "succeeded"
    assert (status, found["code"]) == (403, "not_allowed")
    of_carl = ask.run("carl", format="csv")
    assert ask("vic", "POST", f"/v1/report-runs/{of_carl['id']}/links", {})[0] == 403
    assert ask("carl", "POST", f"/v1/report-runs/{looked['id']}/links", {})[1]["detail"].startswith("file: is none")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/report-runs/{run}"),
        ("GET", "/v1/report-runs/{run}/result"),
        ("GET", "/v1/report-runs/{run}/links"),
        ("POST", "/v1/report-runs/{run}/links"),
        ("POST", "/v1/report-runs/{run}/again"),
        ("POST", "/v1/report-runs/{run}/drill-down"),
        ("POST", "/v1/links/{link}/revoke"),
        ("POST", "/v1/keys/{key}/revoke"),
        ("POST", "/v1/selections/{selection}/delete"),
        ("GET", "/v1/reports/{report}"),
        ("GET", "/v1/reports/{report}/availability"),
    ],
)
def test_what_is_anothers_is_as_if_it_were_not_there(ask: Client, method: str, path: str) -> None:
    run = ask.run("ria", format="csv")
    made = {
        "run": run["id"],
        "link": linked(ask, "ria", run)["id"],
        "key": ask.done("ria", "POST", "/v1/keys", {"name": "mine"})["id"],
        "selection": ask.done("ria", "POST", "/v1/selections", {"name": "x", "ask": {"report": "trend"}})["id"],
        "report": "commission_detail",
    }
    [name] = [one for one in made if f"{{{one}}}" in path]
    nobodys = "x" * len(made[name])
    said = None if method == "GET" else {"row": 0} if path.endswith("down") else {}
    before = ask.world.cloud.state()
    theirs = ask("carl", method, path.format(**made), said)
    none = ask("carl", method, path.format(**{**made, name: nobodys}), said)

    assert theirs[0] == none[0] == 404
    assert theirs[1]["detail"].replace(made[name], nobodys) == none[1]["detail"]
    after = ask.world.cloud.state()
    assert {name: rows for name, rows in after.tables.items() if name != "limits"} == {
        name: rows for name, rows in before.tables.items() if name != "limits"
    }


OTHERS = {"carl": ("aurora", "borealis", "atlas", "birch", ATLAS, BIRCH), "ria": ("borealis", "birch", BIRCH),
          "bo": ("aurora", "acme", "atlas", ACME, ATLAS)}  # fmt: skip


@pytest.mark.parametrize("who", OTHERS)
def test_nothing_that_the_portal_answers_or_keeps_for_somebody_holds_a_word_of_others(ask: Client, who: str) -> None:
    outside = [word.encode() for word in OTHERS[who]]
    owner = {"carl": "customer.acme", "ria": "reseller.aurora", "bo": "reseller.borealis"}[who]
    said = [ask.done(who, "GET", path) for path in ("/v1/reports", "/v1/months", "/v1/statements?from=2025-06")]
    for report in said[0]["reports"]:
        ask.world.cloud.rows.tables["limits"].clear()
        run = ask.run(who, report["name"], format="json")
        said += [run, ask.done(who, "GET", f"/v1/report-runs/{run['id']}/result?limit=1000")]
        kept = [body for key, body in bodies(ask).items() if run["id"] in key and not key.endswith(".parquet")]
        found = b"".join([*kept, json.dumps(said[-2:]).encode()])
        assert [word for word in outside if word in found] == [], report["name"]
    assert [word for word in outside if word in json.dumps(said).encode()] == []
    assert all(f"reports/{owner}/" in key for key in bodies(ask) if said[-2]["id"] in key)


def test_the_operator_reads_every_one_of_those_words(ask: Client) -> None:
    run = ask.run("ann", "usage_detail")
    found = json.dumps(ask.done("ann", "GET", f"/v1/report-runs/{run['id']}/result?limit=1000"))
    assert [word for words in OTHERS.values() for word in words if word not in found] == []


BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("ria", {"report": "nothing"}, 400, "report"),
    ("carl", {"report": "commission_detail"}, 400, "report"),
    ("ria", {"report": "trend", "columns": ["cost", "price"]}, 400, "columns"),
    ("ria", {"report": "billing_summary", "filters": {"colour": "red"}}, 400, "filters.colour"),
    ("ria", {"report": "billing_summary", "filters": {"service": []}}, 400, "filters.service"),
    ("ria", {"report": "billing_summary", "from": "2025-07", "to": "2025-06"}, 400, "to"),
    ("ria", {"report": "billing_summary", "from": "2020-01", "to": "2025-06"}, 400, "to"),
    ("ria", {"report": "billing_summary", "from": "2021-01", "to": "2021-02"}, 400, "to"),
    ("ria", {"report": "billing_summary", "from": "2026-01", "to": "2026-02"}, 400, "from"),
    ("ria", {"report": "billing_summary", "from": "9999-12-01", "to": "9999-12-31"}, 400, "from"),
    ("ria", {"report": "billing_summary", "from": "0001-01-01", "to": "0001-01-31"}, 400, "from"),
    ("ria", {"report": "billing_summary", "by": "usage", "from": "1999-12-31", "to": "2000-01-01"}, 400, "from"),
    ("ria", {"report": "statements", "by": "usage", "from": "2025-06-02", "to": "2025-06-03"}, 400, "by"),
    ("ria", {"report": "billing_summary", "filters": {"charge": "fees"}}, 400, "filters.charge"),
    ("ria", {"report": "billing_summary", "filters": {"month": ["June"]}}, 400, "filters.month"),
    ("ria", {"report": "usage_detail", "filters": {"date": "2025-06-31"}}, 400, "filters.date"),
    ("ria", {"report": "usage_detail", "filters": {"tag": ["team=web", "=web"]}}, 400, "filters.tag"),
    ("ria", {"report": "allocation", "filters": {"group_by": "colour"}}, 400, "filters.group_by"),
    ("ria", {"report": "allocation", "filters": {"group_by": "tag:"}}, 400, "filters.group_by"),
    ("ria", {"report": "allocation", "from": "2025-06", "to": "2025-06", "allocation": "none"}, 400, "allocation"),
    ("ria", {"report": "billing_summary", "format": "docx"}, 400, "format"),
    ("ria", {"report": "billing_summary", "speed": "fast"}, 400, "speed"),
    ("ria", {"selection": 7}, 400, "selection"),
    ("ria", {"selection": "sel_none"}, 404, "there is no selection 'sel_none'; list them to see which there are"),
]


@pytest.mark.parametrize(("who", "said", "status", "place"), BAD, ids=[f"{one[0]}-{one[3][:20]}" for one in BAD])
def test_what_cannot_be_asked_is_refused_by_its_field_and_nothing_is_made(
    ask: Client, who: str, said: dict[str, Any], status: int, place: str
) -> None:
    before = ask.world.cloud.state()
    found = ask(who, "POST", "/v1/report-runs", said)
    after = ask.world.cloud.state()

    assert (found[0], found[1]["detail"].split(":")[0]) == (status, place)
    assert after.tables["reports"] == before.tables["reports"]
    assert after.objects == before.objects


def test_a_scope_that_holds_nothing_is_told_so(ask: Client) -> None:
    known = parties()
    known["customers"].append({"id": "empty", "name": {"en": "Empty"}})
    ask.world.decide_parties(known)
    ask.world.approve(_granted(ask.world, "nora", "customer", "empty"))
    status, found = ask("nora", "POST", "/v1/report-runs", {"report": "billing_summary"})
    assert (status, found["detail"].split(":")[0]) == (400, "scope")


def _granted(world: World, user: str, role: str, of: str = "") -> Any:
    named = {"by": PREPARER, "why": "test", "at": world.at}
    return grants.propose_grant(world.services, user, user.title() if role else "", role, of, **named)


# -- links ------------------------------------------------------------------------------------------------------


def test_a_link_is_shown_once_and_kept_as_a_hash(ask: Client) -> None:
    run = ask.run("ria", format="xlsx")
    made = linked(ask, "ria", run)
    token = made["path"].removeprefix("/d/")
    everything = repr(ask.world.cloud.rows.tables) + repr(sorted(ask.world.cloud.stores["reports"].objects))

    assert made["url"] == ADDRESS + made["path"]
    assert token not in everything
    assert token not in json.dumps(ask.done("ria", "GET", f"/v1/report-runs/{run['id']}/links"))
    book = openpyxl.load_workbook(io.BytesIO(fetched(ask, made["path"])[0]))
    assert len(book.sheetnames) > 1


def test_a_link_ends_when_it_expires_is_revoked_or_its_maker_may_no_more(ask: Client) -> None:
    run = ask.run("ria", format="csv")
    first, second, third = (linked(ask, "ria", run, expires_in_hours=hours) for hours in (1, 5, 5))
    assert fetched(ask, first["path"])
    ask.done("ria", "POST", f"/v1/links/{second['id']}/revoke", {})
    assert ask("", "GET", second["path"])[0] == 410
    ask.at = stamp(parse_instant(ask.at) + timedelta(hours=1))
    status, found = ask("", "GET", first["path"])
    assert (status, found["code"]) == (410, "gone")
    assert fetched(ask, third["path"])
    ask.world.approve(_granted(ask.world, "ria", ""))
    assert ask("", "GET", third["path"])[0] == 410


def test_a_link_that_is_followed_too_often_waits_and_no_other_does(ask: Client) -> None:
    run = ask.run("ria", format="csv")
    first, second = (linked(ask, "ria", run)["path"] for _ in range(2))

    answers = [ask("", "GET", first)[0] for _ in range(31)]

    assert (answers[:30], answers[30]) == ([302] * 30, 429)
    assert ask.headers["Retry-After"] == "1"
    assert ask("", "GET", second)[0] == 302
    ask.at = stamp(parse_instant(ask.at) + timedelta(seconds=1))
    assert ask("", "GET", first)[0] == 302


def test_a_link_answers_one_method_and_leads_to_one_file(ask: Client) -> None:
    run = ask.run("ria", format="csv")
    made = linked(ask, "ria", run, file=run["files"][0]["name"])
    for method in ("POST", "PUT", "DELETE"):
        status, found = ask("", method, made["path"], {})
        assert (status, found["code"], ask.headers["Allow"]) == (405, "wrong_method", "GET")
    assert ask("", "GET", f"{made['path']}/other.csv")[0] == 404
    assert ask("", "GET", made["path"] + "x")[0] == ask("", "GET", "/d/nothing")[0] == 404
    assert ask("ria", "POST", f"/v1/report-runs/{run['id']}/links", {"file": "rows.parquet"})[0] == 404
    assert ask("ria", "POST", f"/v1/report-runs/{run['id']}/links", {"file": "../run.json"})[0] == 404
    name = parse_qs(urlsplit(_where(ask, made["path"])).query)["filename"]
    assert name == [run["files"][0]["name"]]


def _where(ask: Client, path: str) -> str:
    ask("", "GET", path)
    return ask.headers["Location"]


def test_a_sensitive_report_says_who_fetched_it_on_a_copy_and_the_body_stays(ask: Client) -> None:
    run = ask.run("ann", "reseller_margin", format="json")
    before = bodies(ask)
    made = linked(ask, "ann", run)
    copy, _ = fetched(ask, made["path"])
    after = bodies(ask)

    assert json.loads(copy)["fetched"] == {"by": "Ann <ann>", "at": ask.at}
    assert {key: after[key] for key in before} == before
    assert all(b'"fetched"' not in body for body in before.values())


# -- keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_may_what_it_was_made_for(ask: Client) -> None:
    made = ask.done("carl", "POST", "/v1/keys", {"name": "erp", "rights": ["reports", "export"], "formats": ["csv"]})
    key = made["key"]
    run = ask.run(key, format="csv")

    assert key.startswith("cbk_")
    assert key not in repr(ask.world.cloud.rows.tables) + json.dumps(ask.done("carl", "GET", "/v1/keys"))
    assert run["by"] == "carl", "of the owner's, who had asked the same before"
    asked = {"report": "trend", "preset": "last_month"}
    assert ask(key, "POST", "/v1/report-runs", {**asked, "format": "xlsx"})[0] == 403
    assert ask(key, "POST", "/v1/keys", {"name": "more"})[0] == 403
    assert ask(key, "GET", "/v1/proposals")[0] in (401, 403)
    looks = ask.done("carl", "POST", "/v1/keys", {"name": "looks"})["key"]
    assert ask(looks, "POST", "/v1/report-runs", {**asked, "format": "csv"})[0] == 403
    assert ask(looks, "POST", "/v1/report-runs", asked)[0] == 200


def test_a_key_that_is_revoked_expired_or_without_its_maker_is_as_one_that_never_was(ask: Client) -> None:
    def key(**said: Any) -> Any:
        return ask.done("carl", "POST", "/v1/keys", {"name": "k", **said})

    revoked, expired, orphan = key(), key(expires_in_days=1), key(expires_in_days=3)
    ask.done("carl", "POST", f"/v1/keys/{revoked['id']}/revoke", {})
    ask.at = stamp(parse_instant(ask.at) + timedelta(days=1))
    assert ask(orphan["key"], "GET", "/v1/reports")[0] == 200
    ask.world.approve(_granted(ask.world, "carl", "customer", "atlas"))
    answers = [ask(one["key"], "GET", "/v1/reports") for one in (revoked, expired, orphan, {"key": "cbk_nothing"})]

    assert {status for status, _ in answers} == {401}
    assert len({found["detail"] for _, found in answers}) == 1


def test_a_key_never_may_more_than_its_maker_may_now(ask: Client) -> None:
    assert ask("vic", "POST", "/v1/keys", {"name": "k", "rights": ["export"]})[0] == 400
    assert ask("ada", "POST", "/v1/keys", {"name": "k", "rights": ["publish"]})[0] == 400
    key = ask.done("carl", "POST", "/v1/keys", {"name": "k", "rights": ["reports", "export"]})["key"]
    ask.world.approve(_granted(ask.world, "carl", "customer_viewer", "acme"))
    assert ask(key, "POST", "/v1/report-runs", {"report": "trend", "preset": "last_month", "format": "csv"})[0] == 403
    assert ask(key, "POST", "/v1/report-runs", {"report": "trend", "preset": "last_month"})[0] == 200


# -- repeats and limits -----------------------------------------------------------------------------------------


def test_the_same_key_is_carried_out_once_and_another_body_refused(ask: Client) -> None:
    first = ask.done("carl", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "a"})
    again = ask.done("carl", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "a"})

    assert ask.headers["Idempotency-Replayed"] == "true"
    assert again == {**first, "key": None}
    assert first["key"] not in repr(ask.world.cloud.rows.tables)
    assert len(ask.done("carl", "GET", "/v1/keys")["keys"]) == 1
    status, found = ask("carl", "POST", "/v1/keys", {"name": "other"}, **{"Idempotency-Key": "a"})
    assert (status, found["code"]) == (422, "other_request")
    assert ask("ria", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "a"})[0] == 200
    assert ask("ria", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "ü"})[0] == 400


def test_a_request_in_flight_is_refused_and_one_that_died_is_carried_out(ask: Client) -> None:
    calls = ask.world.cloud.calls
    calls.befall = lambda number, what: Fault.KILL_BEFORE if what == "put a row of access_log" else None
    with pytest.raises(KilledError):
        ask("carl", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "b"})
    calls.befall = lambda number, what: None
    status, found = ask("carl", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "b"})
    assert (status, found["code"], ask.headers["Retry-After"]) == (409, "in_flight", "1")
    ask.at = stamp(parse_instant(ask.at) + timedelta(minutes=4))
    assert ask("carl", "POST", "/v1/keys", {"name": "k"}, **{"Idempotency-Key": "b"})[0] == 200


def test_a_request_that_was_refused_may_be_sent_again_by_the_same_key(ask: Client) -> None:
    for _ in range(2):
        status, _found = ask("carl", "POST", "/v1/keys", {"name": ""}, **{"Idempotency-Key": "c"})
        assert status == 400


def test_who_asks_too_often_is_told_when_to_ask_again_and_nobody_else_waits(ask: Client) -> None:
    statuses = [ask("vic", "GET", "/v1/templates")[0] for _ in range(121)]
    wait = int(ask.headers["Retry-After"])

    assert statuses == [200] * 120 + [429]
    assert ask("carl", "GET", "/v1/templates")[0] == 200
    ask.at = stamp(parse_instant(ask.at) + timedelta(seconds=wait))
    assert ask("vic", "GET", "/v1/templates")[0] == 200


# -- what is kept of it -----------------------------------------------------------------------------------------


def test_every_run_look_and_download_is_logged_and_a_days_digest_is_in_the_chain(ask: Client) -> None:
    run = ask.run("ria", format="csv")
    ask.done("ria", "GET", f"/v1/report-runs/{run['id']}/result")
    fetched(ask, linked(ask, "ria", run)["path"])
    services = ask.world.services
    rows = list(access_log.of_day(services, parse_instant(ask.at).date()))
    mine = [row for row in rows if run["id"] in str(row["about"])]
    assert {row["what"] for row in mine} == {"download", "link", "run", "view"}
    assert {(row["who"], row["owner"], row["via"]) for row in mine} == {("ria", "reseller.aurora", "token")}

    ask.world.sweep("2025-07-06")
    [entry] = services.chain.read(access_log.STREAM)
    assert (entry.body["day"], entry.body["rows"]) == ("2025-07-05", len(rows))
    assert access_log.differing(services) == []
    assert access_log.seal(services, parse_instant("2025-07-06T20:00:00Z")) == []
    changed = rows[0]
    key = (("day", changed["day"]), ("id", changed["id"]))
    services.rows.put("access_log", key, {**{n: v for n, v in changed.items() if n not in ("day", "id")}, "who": "x"})
    assert access_log.differing(services) == ["2025-07-05"]


def test_a_selection_is_kept_and_an_admin_publishes_one_for_others(ask: Client) -> None:
    asked = {"report": "billing_summary", "preset": "last_month"}
    kept = ask.done("ada", "POST", "/v1/selections", {"name": "Last month", "ask": asked})
    assert ask("ann", "POST", f"/v1/selections/{kept['id']}/publish", {"views": ["customer"]})[0] == 403
    template = ask.done("ada", "POST", f"/v1/selections/{kept['id']}/publish", {"views": ["customer"]})
    by_template = ask.done("carl", "POST", "/v1/report-runs", {"selection": template["id"]})

    assert by_template["ask"] == ask.run("carl")["ask"]
    assert [one["id"] for one in ask.done("carl", "GET", "/v1/selections")["selections"]] == [template["id"]]
    assert ask.done("ria", "GET", "/v1/templates") == {"templates": []}
    narrowed = {"name": "Acme", "ask": {**asked, "filters": {"customer": "acme"}}}
    named = ask.done("ada", "POST", "/v1/selections", narrowed)
    status, found = ask("ada", "POST", f"/v1/selections/{named['id']}/publish", {"views": ["reseller"]})
    assert (status, found["detail"].split(":")[0]) == (400, "ask.filters")
    ask.done("ada", "POST", f"/v1/selections/{template['id']}/delete", {})
    assert ask.done("carl", "GET", "/v1/templates") == {"templates": []}


def test_a_template_for_others_names_no_mapping_of_the_operator(ask: Client) -> None:
    asked = {"name": "teams", "ask": {"report": "allocation", "allocation": "our-teams"}}
    kept = ask.done("ada", "POST", "/v1/selections", asked)

    status, found = ask("ada", "POST", f"/v1/selections/{kept['id']}/publish", {"views": ["customer"]})

    assert (status, found["detail"].split(":")[0]) == (400, "ask.allocation")
    assert ask.done("ada", "POST", f"/v1/selections/{kept['id']}/publish", {"views": ["operator"]})


def test_wishes_of_one_person_are_not_without_number(ask: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "_MOST", 1)
    wish = {"name": "by rack", "says": "what each rack cost"}
    assert ask.done("ann", "POST", "/v1/wishes", wish) == ask.done("ann", "POST", "/v1/wishes", wish)
    status, found = ask("ann", "POST", "/v1/wishes", {**wish, "name": "by row"})
    assert (status, found["detail"].split(":")[0]) == (400, "wishes")


def test_an_analyst_asks_for_a_view_that_is_missing_and_the_admin_reads_it(ask: Client) -> None:
    made = ask.done("ann", "POST", "/v1/wishes", {"name": "Idle", "says": "Instances without usage."})

    assert ask.done("ada", "GET", "/v1/wishes")["wishes"] == [made]
    assert ask("ria", "POST", "/v1/wishes", {"name": "x", "says": "y"})[0] == 403
    assert ask("ria", "GET", "/v1/wishes")[0] == 403


def test_months_and_statements_say_how_far_they_are_to_each_their_own(ask: Client) -> None:
    def months(who: str) -> Any:
        return ask.done(who, "GET", "/v1/months?from=2025-05&to=2025-06")["months"]

    assert [one["state"] for one in months("ria")] == ["nothing", "settled"]
    assert "borealis" not in json.dumps([months("ria"), months("carl")])
    ask.world.lock("aurora")
    assert [one["state"] for one in months("carl")] == ["nothing", "locked"]
    assert {one["owner"]: one["state"] for one in months("ann")[1]["of"]}["borealis"] == "settled"
    [mine] = ask.done("ria", "GET", "/v1/statements?from=2025-06")["statements"]
    assert (mine["reseller"], mine["month"], mine["issued"]) == ("aurora", "2025-06", "2025-07-03")
    assert ask.done("carl", "GET", "/v1/statements?from=2025-06")["statements"] == []
    assert ask("ria", "GET", "/v1/months?from=2025-06&to=2025-05")[0] == 400


def test_a_schedule_of_a_key_that_has_expired_asks_for_nothing(ask: Client) -> None:
    key = ask.done(
        "ria", "POST", "/v1/keys", {"name": "nightly", "rights": ["reports", "export"], "expires_in_days": 1}
    )
    asked = {"report": "trend"}
    wanted = Wanted("reseller.aurora", f"key.{key['id']}", asked, "csv", date(2025, 7, 6))
    now = parse_instant(ask.at)
    reports, tomorrow = scheduled.reports(ADDRESS, lambda: now), stamp(now + timedelta(days=1))
    reports.check(ask.world.services, wanted, stamp(now))

    with pytest.raises(LacksRightError, match="has expired; make another key"):
        reports.check(ask.world.services, wanted, tomorrow)
    with pytest.raises(LacksRightError, match="has expired; make another key"):
        reports.request(ask.world.services, wanted, tomorrow)


def test_a_schedule_asks_for_its_report_and_tells_a_link_that_leads_to_it(ask: Client) -> None:
    from shared.steps.delivering import schedules
    from shared.steps.delivering.each import Each
    from shared.steps.delivering.reports import Wanted
    from shared.steps.reporting import scheduled

    said = {"name": "Bills", "when": {"every": "day", "time": "09:00"}, "format": "csv",
            "ask": {"report": "billing_summary", "preset": "last_month"}}  # fmt: skip
    assert ask("vic", "POST", "/v1/schedules", said)[0] == 403
    made = ask.done("ria", "POST", "/v1/schedules", said)
    key = ask.done("ria", "POST", "/v1/keys", {"name": "nightly", "rights": ["reports", "export"]})
    services, at = ask.world.services, parse_instant("2025-07-06T02:00:00Z")
    ask.at = stamp(at)
    reports = scheduled.reports(ADDRESS, lambda: at)
    each = Each()
    schedules.due(services, reports, at, each)
    ask.world.pump.drain()
    schedules.due(services, reports, at, each)
    each.finish()
    [slot] = list(ask.world.cloud.rows.tables["slots"].values())
    kept = json.loads(str(slot["said"]))

    def link(by: str, slot: str) -> str:
        wanted = Wanted("reseller.aurora", by, said["ask"], "csv", at.date())  # type: ignore[arg-type]
        return reports.link(services, wanted, kept["run"], slot)

    other = link(f"key.{key['id']}", "s/1")
    ask.done("ria", "POST", f"/v1/keys/{key['id']}/revoke")
    assert ask("", "GET", other.removeprefix(ADDRESS))[0] == 410
    with pytest.raises(LacksRightError, match="is revoked"):
        link(f"key.{key['id']}", "s/1")

    assert (made["state"], kept["state"]) == ("active", "ready")
    assert kept["link"].startswith(f"{ADDRESS}/d/")
    assert fetched(ask, kept["link"].removeprefix(ADDRESS))[1].endswith(".csv")
    assert link("ria", f"{kept['schedule']}/{kept['slot']}") == kept["link"]

    # A link that somebody took back is not told again for the next slot, be the run the same.
    [first] = [
        one for one in ask.done("ria", "GET", f"/v1/report-runs/{kept['run']}/links")["links"] if one["by"] == "ria"
    ]
    ask.done("ria", "POST", f"/v1/links/{first['id']}/revoke")
    assert ask("", "GET", kept["link"].removeprefix(ADDRESS))[0] == 410
    following = link("ria", f"{made['id']}/2025-07-07")
    assert following != kept["link"]
    assert fetched(ask, following.removeprefix(ADDRESS))[1].endswith(".csv")


def test_a_schedule_by_a_mapping_is_asked_for_as_deliver_may(ask: Client) -> None:
    from shared.steps.delivering import schedules
    from shared.steps.delivering.each import Each
    from shared.steps.reporting import scheduled

    ask.done("ria", "POST", "/v1/mappings", submitted(1))
    asked = {"report": "allocation", "preset": "last_month", "allocation": "all"}
    said = {"name": "Teams", "when": {"every": "day", "time": "09:00"}, "format": "csv", "ask": asked}
    made = ask.done("ria", "POST", "/v1/schedules", said)
    at, each = parse_instant("2025-07-06T02:00:00Z"), Each()
    reports = scheduled.reports(ADDRESS, lambda: at)
    schedules.due(granted(ask.world.services, "deliver"), reports, at, each)

    each.finish()
    assert schedules.get(ask.world.services, "reseller.aurora", made["id"])["slots"][0]["state"] == "requested"


# -- the command ------------------------------------------------------------------------------------------------


def test_the_command_waits_with_its_progress_and_says_what_a_run_came_to(
    ask: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portal = desk(lambda: granted(ask.world.services, "portal"), lambda: ask.at)("ria")
    ask.small_lines = 0
    ordered = ask.run("ria", "trend", preset="last_month", **dict.fromkeys(("from", "to")), format="csv")
    told: list[str] = []

    def wait(_: float) -> None:
        if len(told) == 2:
            ask.world.pump.drain()

    found = report_runs.awaited(portal, ordered, told.append, wait)
    assert (found["state"], told) == ("succeeded", ["queued", "queued"])

    where: list[str] = []

    def followed(url: str) -> bytes:
        where.append(url)
        return fetched(ask, url.removeprefix(ADDRESS))[0]

    monkeypatch.setattr(remote, "portal", lambda home, by: portal)
    monkeypatch.setattr(report_runs, "environment", lambda home: {"CLEARBOOK_PORTAL": ADDRESS})
    monkeypatch.setattr(report_runs, "_followed", followed)
    report_runs.get_run(found["id"], "ria", tmp_path, None, None)
    names = sorted(path.name for path in tmp_path.glob("trend*"))
    assert names == sorted(one["name"] for one in found["files"])
    assert found["id"] in capsys.readouterr().out
    assert ask("", "GET", where[0].removeprefix(ADDRESS))[0] == 410, "its link is revoked"


def test_the_command_fails_with_what_to_do_where_the_run_did(
    ask: Client, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    portal = desk(lambda: granted(ask.world.services, "portal"), lambda: ask.at)("ria")
    monkeypatch.setattr(remote, "portal", lambda home, by: portal)
    asked = {"from": "2025-06", "to": "2025-06", "allocation": "none"}
    with pytest.raises(RefusedError, match="allocation: there is no mapping 'none'; submit one first"):
        report_runs.request_run("allocation", asked, [], "csv", "ria", None, None, None)
    with pytest.raises(report_runs.RunFailedError, match="failed: allocation: there is no mapping 'teams'"):
        report_runs.get_run(failed(ask)["id"], "ria", None, None, None)
    with pytest.raises(RefusedError, match="there is no report run 'run_none'"):
        report_runs.get_run("run_none", "ria", None, None, None)
