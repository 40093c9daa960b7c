"""What auditors ask: over a month that was settled, locked and paid, with a case that has closed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook import audit
from infra.clearbook.main import main
from shared.chain.bundle import check_bundle
from shared.chain.entry import Draft, Entry
from shared.control.approvals import NotAllowedError
from shared.ids import canonical_json, digest
from shared.steps import anchoring, decide, projections
from tests.builders import ASSIGNMENTS, CYCLE, DAYS, P1, assigned, item, parties
from tests.fakes import State
from tests.pump import World, go_live, small_month

Run = Callable[..., Any]
DAY_ANCHOR = "anchors/2025-07-05/day.json"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State]:
    world = World(tmp_path_factory.mktemp("audit") / "scratch")
    go_live(world)
    small_month(world, [(P1, DAYS[0], item("1009", "30.00"))])
    world.final()
    world.decide_parties(parties([*ASSIGNMENTS, assigned("1009", "acme", "aurora")]))
    world.lock()
    world.pay()
    world.bank_answers("one", (f"{CYCLE}.aurora.aurora-2025", "confirmed", "163.00", "CNY", "B1"))
    world.sweep("2025-07-05")
    return world, world.cloud.state()


@pytest.fixture
def world(played: tuple[World, State]) -> World:
    world, state = played
    world.cloud.restore(state)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command's JSON, or with `text` what it prints."""
    monkeypatch.setattr(audit, "services", lambda _: world.services)
    monkeypatch.setattr(audit, "now", lambda _: world.now)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, status: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["audit", *arguments, *([] if text else ["--json", "-"])])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, err
        return out + err if text else json.loads(out) if out else err

    return run


def chain_rows(world: World) -> dict[Any, Any]:
    return world.cloud.rows.tables["chain"]


def edit(world: World, seq: int, *, anew: bool, stream: str = "reseller/aurora") -> None:
    """Another content of an entry, with its old hash or one made anew."""
    row = chain_rows(world)[stream, seq]
    data = {**json.loads(row["entry"]), "actor": "mallory"}
    row["entry"] = canonical_json(data).decode()
    if anew:
        row["hash"] = digest(canonical_json(data))


def the(world: World, kind: str, act: str = "", stream: str = "reseller/aurora") -> Entry:
    """The one entry of a kind, and of an act, in a stream."""
    [found] = [one for one in world.services.chain.read(stream) if (one.kind, one.body.get("act", "")) == (kind, act)]
    return found


def lock_anchor(world: World, reseller: str) -> str:
    lock = the(world, "approved", "lock", f"reseller/{reseller}")
    return f"anchors/2025-07-03/lock-2025-06-{reseller}-{lock.seq}.json"


# -- anchors ------------------------------------------------------------------------------------------------------


def test_a_lock_a_payout_and_a_day_are_anchored(world: World) -> None:
    chain, records = world.services.chain, world.cloud.records.objects
    keys = world.keys("records", anchoring.FOLDER)
    [payout] = [key for key in keys if "/payout-" in key]
    of = {key: {name: seq for name, (seq, _) in json.loads(records[key])["heads"].items()} for key in keys}

    locks = [lock_anchor(world, reseller) for reseller in ("aurora", "borealis")]
    assert keys == [*locks, payout, DAY_ANCHOR]
    lock = the(world, "approved", "lock")
    assert json.loads(records[locks[0]])["heads"] == {"reseller/aurora": [lock.seq, lock.hash]}
    [statement] = [key for key in world.keys("records", "statements/2025-06/aurora/") if key.endswith(".json")]
    assert lock.hash.encode() in records[statement]
    batch = the(world, "approved", "payout_batch", "cycle/2025-06")
    instructed = [the(world, "instructed", stream=f"reseller/{one}") for one in ("aurora", "borealis")]
    assert of[payout] == {one.stream: one.seq for one in (batch, *instructed)}
    assert json.loads(records[DAY_ANCHOR])["heads"] == {
        stream: [head.seq, head.hash] for stream, head in chain.heads().items()
    }


def test_what_was_written_of_a_payout_names_the_hash_of_its_approval(world: World) -> None:
    entries = world.services.chain.read("cycle/2025-06")
    assert entries[-1].kind == "payout_file_written"
    assert entries[-1].body["chain_head"] == entries[-2].hash


def test_a_day_is_anchored_once_whoever_comes_first(world: World) -> None:
    before = dict(world.cloud.records.objects)
    world.services.chain.append("reseller/aurora", lambda entries: _noted(world))
    assert anchoring.anchor_day(world.services, world.now) is None
    assert world.cloud.records.objects == before


def _noted(world: World) -> Any:
    return Draft("noted", "x", world.at, {})


# -- verify -------------------------------------------------------------------------------------------------------


def test_a_chain_that_nobody_touched_is_whole(world: World, run: Run) -> None:
    lock = the(world, "approved", "lock")
    answer = run("verify", "--hash", lock.hash)

    assert (answer["whole"], answer["problems"], answer["anchors"]) == (True, [], 4)
    assert answer["entries"] == len(chain_rows(world))
    assert answer["hashes"] == {lock.hash: f"reseller/aurora#{lock.seq}"}
    assert "every entry is as it was written" in run("verify", text=True)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda world: edit(world, 4, anew=False), ("reseller/aurora", 4, "its content does not have its hash")),
        (lambda world: edit(world, 4, anew=True), ("reseller/aurora", 5, "does not name the hash of entry 4")),
        (lambda world: chain_rows(world).pop(("reseller/aurora", 4)), ("reseller/aurora", 4, "it is missing")),
        (lambda world: chain_rows(world).pop(("parties", 4)), ("parties", 4, "entry 4 was cut off")),
        (lambda world: edit(world, 4, anew=True, stream="parties"), ("parties", 4, "names it with another hash")),
        (lambda world: swap(world, 3, 4), ("reseller/aurora", 3, "here stands entry 4 of 'reseller/aurora'")),
        (lambda world: unreadable(world), ("reseller/aurora", 3, "it is no entry: it is no JSON")),
    ],
    ids=["edited", "edited-with-its-hash", "missing", "cut-off", "last-edited", "reordered", "unreadable"],
)
def test_whatever_was_done_to_the_table_is_found_and_named(
    world: World, run: Run, tamper: Callable[[World], object], said: tuple[str, int, str]
) -> None:
    tamper(world)
    answer = run("verify", status=1)

    stream, seq, problem = said
    assert answer["whole"] is False
    assert any(
        (one["stream"], one["seq"]) == (stream, seq) and problem in one["problem"] for one in answer["problems"]
    ), answer["problems"]


def swap(world: World, one: int, other: int) -> None:
    rows = chain_rows(world)
    mine, theirs = ("reseller/aurora", one), ("reseller/aurora", other)
    rows[mine], rows[theirs] = rows[theirs], rows[mine]


def unreadable(world: World) -> None:
    chain_rows(world)["reseller/aurora", 3]["entry"] = "{"


def test_a_stream_that_was_written_anew_as_a_whole_contradicts_its_anchors(world: World, run: Run) -> None:
    previous = json.loads(chain_rows(world)["reseller/aurora", 4]["entry"])["previous"]
    for seq in sorted(seq for stream, seq in chain_rows(world) if stream == "reseller/aurora" and seq >= 4):
        row = chain_rows(world)["reseller/aurora", seq]
        raw = canonical_json({**json.loads(row["entry"]), "previous": previous, "actor": "mallory"})
        row["entry"], row["hash"] = raw.decode(), digest(raw)
        previous = row["hash"]
    problems = run("verify", status=1)["problems"]

    anchored = {("reseller/aurora", the(world, *named).seq) for named in (("approved", "lock"), ("instructed",))}
    assert {(one["stream"], one["seq"]) for one in problems} >= anchored
    assert any(lock_anchor(world, "aurora") in one["problem"] for one in problems)


def test_a_hash_that_a_statement_prints_and_no_entry_has_is_told(run: Run) -> None:
    assert run("verify", "--hash", "ab" * 32, status=1)["hashes"] == {"ab" * 32: None}
    assert "give the 64 digits" in run("verify", "--hash", "abc", status=1, text=True)


# -- export -------------------------------------------------------------------------------------------------------


def test_an_exported_chain_with_its_objects_is_whole_and_the_same_each_time(
    world: World, run: Run, tmp_path: Path
) -> None:
    made = run("export", str(tmp_path / "one.zip"), "--objects")
    again = run("export", str(tmp_path / "two.zip"), "--objects")
    found = run("verify", "--bundle", str(tmp_path / "one.zip"))

    assert (made["absent"], made["sha256"]) == ([], again["sha256"])
    assert made["sha256"] == hashlib.sha256((tmp_path / "one.zip").read_bytes()).hexdigest()
    assert (found["whole"], found["entries"], found["anchors"]) == (True, len(chain_rows(world)), 4)
    with zipfile.ZipFile(tmp_path / "one.zip") as file:
        kept = [name for name in file.namelist() if name.startswith("objects/")]
    published = the(world, "published").body["files"]
    assert {f"objects/{one['digest']}" for one in published} <= set(kept)
    assert "is there already" in run("export", str(tmp_path / "one.zip"), status=1, text=True)


def test_one_stream_alone_is_compared_with_what_it_holds(world: World, run: Run, tmp_path: Path) -> None:
    run("export", str(tmp_path / "one.zip"), "--stream", "reseller/aurora")
    found = check_bundle(tmp_path / "one.zip")

    assert (found.streams, found.problems) == (1, [])
    assert found.uncompared > 0
    assert "nothing in the chain is about 'reseller/nobody'" in run(
        "export", str(tmp_path / "two.zip"), "--stream", "reseller/nobody", status=1, text=True
    )
    assert [one.name for one in tmp_path.glob("*two*")] == []


# -- show ---------------------------------------------------------------------------------------------------------


def entries_of(answer: dict[str, Any]) -> list[str]:
    return [one["entry"] for one in answer["entries"]]


def test_a_proposal_is_who_proposed_and_who_approved_it_and_why(world: World, run: Run) -> None:
    proposed, lock = the(world, "proposed", "lock"), the(world, "approved", "lock")
    name = f"reseller/aurora#{proposed.seq}"
    answer = run("show", name)
    assert [(one["entry"], one["who"], one["did"], one["what"], one["why"]) for one in answer["entries"]] == [
        (name, "paula", "proposed", "lock", "test"),
        (f"reseller/aurora#{lock.seq}", "amir", "approved", "lock", "test"),
    ]
    assert f"reseller/aurora#{lock.seq}  amir approved lock: test" in run("show", name, text=True)


def test_what_somebody_tried_with_a_proposal_and_may_not_do_is_told_with_it(world: World, run: Run) -> None:
    waits = decide.propose_parties(world.services, parties(), "parties", by="paula", why="back", at=world.at)
    with pytest.raises(NotAllowedError):
        decide.approve(world.services, waits.name, by="paula", at=world.at)

    told = run("show", waits.name)["entries"]
    assert [(one["who"], one["did"]) for one in told] == [("paula", "proposed"), ("paula", "refused")]


def test_a_settlement_is_found_by_its_first_digits(world: World, run: Run) -> None:
    settlement = str(world.month().settlement)
    calculated = world.month().calculated
    assert calculated is not None
    of_month = [the(world, *one) for one in (("proposed", "lock"), ("approved", "lock"), ("published",))]
    expected = [f"reseller/aurora#{one.seq}" for one in (calculated, *of_month)]
    assert entries_of(run("show", settlement[:10])) == expected == entries_of(run("show", settlement))


def test_an_instruction_a_batch_a_document_and_a_file_are_found(world: World, run: Run) -> None:
    instructed, published = the(world, "instructed"), the(world, "published")
    of_batch = [the(world, kind, "payout_batch", "cycle/2025-06") for kind in ("proposed", "approved")]
    agreed = the(world, "proposed", "agreement"), the(world, "approved", "agreement")

    assert f"reseller/aurora#{instructed.seq}" in entries_of(run("show", instructed.body["instruction"]))
    assert {f"{one.stream}#{one.seq}" for one in (*of_batch, instructed)} <= set(
        entries_of(run("show", instructed.body["batch"]))
    )
    assert entries_of(run("show", agreed[0].body["what"]["document"])) == [f"{e.stream}#{e.seq}" for e in agreed]
    [file, *_] = published.body["files"]
    assert entries_of(run("show", file["digest"])) == [f"reseller/aurora#{published.seq}"]


def test_a_reseller_is_its_stream_by_cycle_where_asked(world: World, run: Run) -> None:
    stream = [f"reseller/aurora#{entry.seq}" for entry in world.services.chain.read("reseller/aurora")]
    assert set(stream) <= set(entries_of(run("show", "aurora")))
    of_june = entries_of(run("show", "aurora", "--cycle", CYCLE))
    assert "reseller/aurora#1" not in of_june
    assert f"reseller/aurora#{the(world, 'approved', 'lock').seq}" in of_june
    assert entries_of(run("show", "reseller/aurora")) == stream


def test_a_user_is_what_the_user_did(world: World, run: Run) -> None:
    answer = run("show", "amir")
    assert {one["did"] for one in answer["entries"]} == {"users_named", "approved"}
    assert all(one["who"] == "amir" for one in answer["entries"] if one["did"] == "approved")


def test_a_case_says_which_runs_found_it_though_it_is_closed(world: World, run: Run) -> None:
    [case] = world.cases(state="closed")
    answer = run("show", str(case["id"]))
    assert (answer["case"]["state"], answer["found_by"]) == ("closed", ["cycle/2025-06#1"])


def test_of_what_nobody_knows_that_is_said(run: Run) -> None:
    assert "nothing in the chain is about 'nobody'" in run("show", "nobody", status=1, text=True)
    assert "nothing in the chain" in run("show", "reseller/aurora", "--cycle", "2024-01", status=1, text=True)


# -- the lists ----------------------------------------------------------------------------------------------------


def test_lists_that_were_dropped_come_back_as_they_were(world: World, run: Run) -> None:
    before = {table: dict(world.cloud.rows.tables[table]) for table in projections.TABLES}
    assert len(world.cases(state="closed")) == 1
    for table in projections.TABLES:
        world.cloud.rows.tables[table].clear()
    answer = run("rebuild")

    assert answer == {"shares": 3}
    assert {table: dict(world.cloud.rows.tables[table]) for table in projections.TABLES} == before


def test_rows_that_say_something_else_are_put_right(world: World, run: Run) -> None:
    before = dict(world.cloud.rows.tables["settlements"])
    world.cloud.rows.tables["settlements"] = {key: {**row, "state": "odd"} for key, row in before.items()}
    run("rebuild", "--cycle", CYCLE)

    assert world.cloud.rows.tables["settlements"] == before
