"""`clearbook verify`: whatever is changed of a settlement, or of what it was made of, is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from infra.clearbook import proving
from infra.clearbook.main import main
from shared.ids import digest_of
from shared.settlement import engine
from shared.steps import inputs
from tests.builders import ACME, CYCLE, DAYS, P1, P2, item
from tests.fakes import State
from tests.pump import World, go_live, small_month

Run = Callable[..., dict[str, Any]]
EVERYTHING = (
    *("manifest", "documents", "day parts", "rows", "summary", "lines.parquet", "held.parquet"),
    *("entry", "lock", "seals"),
)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State]:
    """A month with a refund and a case, locked."""
    world = World(tmp_path_factory.mktemp("verify") / "scratch")
    small_month(world, [(P1, DAYS[2], item(ACME, "-40.00", Item="Refund")), (P2, DAYS[2], item(ACME, "5.00", "oss"))])
    go_live(world)
    world.final()
    world.lock("aurora")
    return world, world.cloud.state()


@pytest.fixture
def world(played: tuple[World, State]) -> World:
    world, state = played
    world.cloud.restore(state)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command's answer; which of its checks do not hold decides how it ends."""
    monkeypatch.setattr(proving, "services", lambda _: world.services)

    def run(named: str = "") -> dict[str, Any]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["verify", named or str(world.month().settlement), "--json", "-"])
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert int(ended.value.code or 0) == (0 if answer["verified"] else 1)
        return answer

    return run


def failed(answer: dict[str, Any]) -> list[str]:
    return [one["check"] for one in answer["checks"] if one["result"] == "differs"]


def flip(world: World, key: str, bucket: str = "work", place: int = -20) -> None:
    """Change one bit of an object, whatever keeps it from being changed."""
    objects = world.cloud.stores[bucket].objects
    body = bytearray(objects[key])
    body[place] ^= 1
    objects[key] = bytes(body)


def test_what_was_settled_is_proved(run: Run) -> None:
    answer = run()

    assert [one["check"] for one in answer["checks"]] == list(EVERYTHING)
    assert {one["result"] for one in answer["checks"]} == {"holds"}


def test_it_is_found_by_its_first_digits(run: Run, world: World) -> None:
    settlement = str(world.month().settlement)

    assert run(settlement[:8])["settlement"] == settlement


@pytest.mark.parametrize("named", ["abc", "0123456789", "../../x", "A" * 64])
def test_what_names_no_settlement_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    monkeypatch.setattr(proving, "services", lambda _: world.services)
    with pytest.raises(SystemExit) as ended:
        main(["verify", named])

    assert ended.value.code == 1
    assert "bad_input" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lines.parquet", "held.parquet"])
@pytest.mark.parametrize("place", [-3, 40], ids=["its end", "its rows"])
def test_a_changed_byte_of_a_file_is_named(run: Run, world: World, name: str, place: int) -> None:
    flip(world, f"settlements/{CYCLE}/aurora/{world.month().settlement}/{name}", place=place)

    assert failed(run()) == [name]


def test_a_changed_byte_of_the_summary_is_named(run: Run, world: World) -> None:
    key = f"settlements/{CYCLE}/aurora/{world.month().settlement}/summary.json"
    objects = world.cloud.work.objects
    objects[key] = objects[key].replace(b'"total":"15', b'"total":"16')
    answer = run()

    assert failed(answer) == ["summary"]
    assert "summary.json differs in statements" in str(answer)
    flip(world, key)
    assert "summary" in failed(run())


def test_a_changed_byte_of_a_document_is_named_and_nothing_is_settled_with_it(run: Run, world: World) -> None:
    manifest = inputs.counting(world.services, "aurora", CYCLE).manifest(world.services)
    [digest] = inputs.documents_of(manifest)
    flip(world, f"documents/{digest}.json", "records")
    answer = run()

    assert failed(answer) == ["documents"]
    assert f"documents/{digest}.json does not have the digest" in str(answer)
    assert answer["checks"][-1]["result"] == "not compared"


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_day_part_that_is_not_what_it_was_is_named(run: Run, world: World, how: str) -> None:
    manifest = inputs.counting(world.services, "aurora", CYCLE).manifest(world.services)
    key, _ = inputs.part_keys(manifest)[0]
    if how == "changed":
        flip(world, key)
    else:
        del world.cloud.work.objects[key]
    answer = run()

    assert failed(answer) == ["day parts"]
    assert key in str(answer)


def test_a_changed_manifest_proves_nothing_more(run: Run, world: World) -> None:
    flip(world, f"settlements/{CYCLE}/aurora/{world.month().settlement}/manifest.json")
    answer = run()

    assert [one["check"] for one in answer["checks"]] == failed(answer) == ["manifest"]


def test_an_entry_that_says_otherwise_is_named(run: Run, world: World) -> None:
    rows = world.cloud.rows.tables["chain"]
    [key] = [key for key, row in rows.items() if key[0] == "reseller/aurora" and row["kind"] == "calculated"]
    rows[key] = {**rows[key], "entry": str(rows[key]["entry"]).replace('"lines":', '"lines":1')}

    assert failed(run()) == ["entry"]


def test_parquet_of_another_duckdb_is_compared_row_by_row(run: Run, world: World, tmp_path: Path) -> None:
    key = f"settlements/{CYCLE}/aurora/{world.month().settlement}/lines.parquet"
    objects, path = world.cloud.work.objects, tmp_path / "lines.parquet"
    other = objects[key].replace(b"DuckDB version v", b"DuckDB version w")
    assert other != objects[key]
    objects[key] = other
    answer = run()
    assert answer["verified"]
    assert "has the same rows; its bytes are not compared" in str(answer)

    path.write_bytes(other)
    changed = tmp_path / "changed.parquet"
    duckdb.execute(
        f"COPY (SELECT * REPLACE (amount * 2 AS amount) FROM read_parquet('{path}')) TO '{changed}' (FORMAT parquet)"
    )
    objects[key] = changed.read_bytes().replace(b"DuckDB version v", b"DuckDB version w")
    assert failed(run()) == ["lines.parquet"]


def test_a_settlement_of_another_engine_is_compared_by_its_rows(run: Run, world: World) -> None:
    kept = inputs.counting(world.services, "aurora", CYCLE)
    manifest = {**kept.manifest(world.services), "engine": "0"}
    settlement = digest_of(manifest)
    objects = world.cloud.work.objects
    before = {key: body for key, body in objects.items() if key.startswith(kept.folder)}
    for key, body in before.items():
        objects[key.replace(kept.settlement, settlement)] = body
    folder = kept.folder.replace(kept.settlement, settlement)
    objects[folder + "manifest.json"] = json.dumps(
        manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    answer = run(settlement)

    assert answer["verified"]
    assert f"it was settled by engine 0, this is engine {engine.VERSION}" in str(answer)
    assert [one["result"] for one in answer["checks"] if one["check"] == "summary"] == ["not compared"]


@pytest.mark.parametrize("owner", ["borealis", "operator"])
def test_every_share_is_proved(run: Run, world: World, owner: str) -> None:
    assert run(inputs.counting(world.services, owner, CYCLE).settlement)["verified"]


def test_a_draft_is_proved_as_far_as_it_was_decided(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    drafted = World(tmp_path / "scratch")
    small_month(drafted)
    go_live(drafted)
    drafted.daily("2025-07-01")
    monkeypatch.setattr(proving, "services", lambda _: drafted.services)
    kept = inputs.counting(drafted.services, "aurora", CYCLE)
    answer = run(kept.settlement)

    assert kept.is_draft
    assert answer["verified"]
    assert answer["checks"][-1]["result"] == "not compared"
    assert "a draft, or superseded" in answer["checks"][-1]["says"]
