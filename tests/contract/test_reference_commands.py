"""`clearbook reference` on the local cloud: files in, two people, and what is in force as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook import remote
from infra.clearbook.main import main
from infra.localcloud import common
from infra.provision.plan import plan
from shared.bootstrap import build_services
from shared.cycle import stamp
from tests.builders import agreement, parties
from tests.desk import desk

ROOT = Path(__file__).parents[2]
PRODUCTS = str(ROOT / "shared/reference/products.csv")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cloud that is provisioned, with its people, parties and an agreement."""
    home = tmp_path_factory.mktemp("reference")
    keys = common.load_keys(home)
    starting = {name: common.begin(name, home) for name in ("oss", "tablestore", "ram", "sls")}
    services = {name: one.ready() for name, one in starting.items()}
    address = {name: f"127.0.0.1:{one.port}" for name, one in services.items()}
    settings = {
        "CLEARBOOK_ACCOUNT": keys.account_id,
        "CLEARBOOK_REGION": keys.region,
        "CLEARBOOK_BUCKET_PREFIX": "books",
        "CLEARBOOK_SCRATCH": str(home / "tmp"),
        "CLEARBOOK_SECRETS": f"file:{home / 'secrets.json'}",
        "CLEARBOOK_OSS_ENDPOINT": f"http://{address['oss']}",
        "CLEARBOOK_TABLESTORE_ENDPOINT": f"http://{address['tablestore']}",
        "CLEARBOOK_TABLESTORE_INSTANCE": keys.instance,
        "CLEARBOOK_RAM_ENDPOINT": address["ram"],
        "CLEARBOOK_RAM_PROTOCOL": "HTTP",
        "CLEARBOOK_SLS_ENDPOINT": f"http://{address['sls']}",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
    }
    (home / "secrets.json").write_text("{}")
    (home / "environment.json").write_text(json.dumps(settings))
    for action in plan(settings):
        action.make()
    (home / "parties.yaml").write_text(json.dumps(parties()))
    (home / "agreement.yaml").write_text(json.dumps(agreement()))
    ask = desk(lambda: build_services(settings), lambda: stamp(common.Clock(home).now()))
    patched = pytest.MonkeyPatch()
    patched.setattr(remote, "portal", lambda _, by: ask(by))
    run(home, "init")
    run(home, "party", "import", str(home / "parties.yaml"))
    run(home, "approve", "parties#1")
    run(home, "agreement", "submit", str(home / "agreement.yaml"))
    run(home, "approve", "reseller/aurora#1")
    yield home
    patched.undo()
    for one in services.values():
        one.stop()


def run(home: Path, *arguments: str) -> int:
    """The exit status of the command."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    return int(ended.value.code or 0)


def answer(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run(home, *arguments, "--json", "-") == 0
    return json.loads(capsys.readouterr().out)


def written(home: Path, name: str, *lines: str) -> str:
    path = home / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_rates_go_from_a_file_by_two_people_into_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    june = written(home, "june.csv", "currency,to,cycle,rate", "USD,CNY,2025-06,7.1586")
    proposed = answer(home, capsys, "reference", "import", "fx", june, "--why", "June")
    name = proposed["proposals"][0]["proposal"]
    assert run(home, "proposals") == 0
    assert "USD to CNY: none -> 7.1586" in capsys.readouterr().out

    assert run(home, "approve", name) == 0
    capsys.readouterr()
    shown = answer(home, capsys, "reference", "show", "fx", "--cycle", "2025-06")

    assert shown["rates"] == [{"currency": "USD", "to": "CNY", "rate": "7.1586"}]
    [listed] = [one for one in answer(home, capsys, "reference", "list") if one["kind"] == "fx"]
    assert (listed["of"], listed["digest"]) == ("2025-06", shown["digest"])
    corrected = written(home, "corrected.csv", "currency,to,cycle,rate", "USD,CNY,2025-06,7.16", "EUR,CNY,2025-06,8")
    assert run(home, "reference", "import", "fx", corrected) == 0
    assert "  EUR to CNY: none -> 8\n    USD to CNY: 7.1586 -> 7.16" in capsys.readouterr().out


def test_the_starter_catalogue_is_taken_and_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proposed = answer(home, capsys, "reference", "import", "catalogue", PRODUCTS)
    assert run(home, "approve", proposed["proposals"][0]["proposal"]) == 0

    assert answer(home, capsys, "reference", "show", "catalogue")["products"]["ecs"]["names"]["zh"] == "云服务器ECS"
    assert run(home, "reference", "list") == 0
    assert "catalogue version 1: 28 products in 11 categories" in capsys.readouterr().out


def test_an_opening_with_its_past_charges_is_taken_from_beside_the_document(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = (
        "id,date,account,customer,product_code,commodity_code,billing_item_code,instance_id,subscription_type,kind,"
        "currency,pretax,left,agreement,rule,version,basis,earned"
    )
    row = "c-1,2025-05-31,1001,acme,ecs,ecs,cpu,i-1,PayAsYouGo,usage,CNY,100,60.5,aurora-2025,sells-ecs,1,100,10"
    written(home, "past.csv", head, row)
    balance = '{agreement: aurora-2025, currency: CNY, amount: "250.00"}'
    file = written(
        home, "opening.yaml", "reseller: aurora", "as_of: 2025-06", f"balances: [{balance}]", "past_charges: past.csv"
    )
    proposed = answer(home, capsys, "reference", "import", "opening", file)
    assert run(home, "approve", proposed["proposals"][0]["proposal"]) == 0

    shown = answer(home, capsys, "reference", "show", "opening", "--reseller", "aurora")
    assert (shown["as_of"], shown["balances"][0]["amount"], shown["past_charges"]["left"]) == (
        "2025-06",
        "250",
        {"CNY": "60.5"},
    )


def test_a_repair_rule_is_proposed_against_its_own_last_version_and_listed_until_it_ends(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str, number: int, *more: str) -> str:
        lines = (f"repair: {name}", f"version: {number}", "when: {region: [杭州]}", "because: a shortened name", *more)
        return written(home, f"{name}-{number}.yaml", *lines)

    for file in (version("region", 1, "set: {region: 华东1（杭州）}"), version("other", 1, "set: {zone: x}")):
        [proposed] = answer(home, capsys, "reference", "import", "repair", file)["proposals"]
        assert run(home, "approve", proposed["proposal"]) == 0
    capsys.readouterr()
    assert run(home, "reference", "import", "repair", version("region", 2, "set: {region: 杭}", "ends: true")) == 0
    said = capsys.readouterr().out
    assert "-ends: false\n  +ends: true" in said
    assert "zone" not in said
    [waits] = [one for one in answer(home, capsys, "proposals") if one["act"] == "repair_rule"]
    assert run(home, "approve", waits["proposal"]) == 0

    listed = {one["of"]: one["says"] for one in answer(home, capsys, "reference", "list") if one["kind"] == "repair"}
    assert listed["region"] == "ended: version 2, payers: all, forms: all, because a shortened name"
    assert listed["other"].startswith("version 1, ")
    assert answer(home, capsys, "reference", "show", "repair", "--repair", "other")["set"] == {"zone": "x"}
    assert run(home, "reference", "import", "repair", version("amount", 1, "set: {pretax: '1'}")) == 1
    assert "set.pretax, line 5, column 15: is no column that may be set" in capsys.readouterr().err
    assert run(home, "reference", "import", "repair", version("region", 2, "set: {zone: y}")) == 1
    assert "number it 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "fx", "nowhere.csv"), "no_file: cannot use nowhere.csv"),
        (
            ("import", "fx", PRODUCTS),
            "name_en,category', expected exactly currency,to,cycle,rate",
        ),
        (("import", "opening", PRODUCTS), "cannot be used, nothing was changed"),
        (("show", "rates"), "kind: 'rates' is none; give fx, figures, catalogue, opening or repair"),
        (("show", "fx"), "--cycle: is missing"),
        (("show", "fx", "--cycle", "June"), "--cycle: 'June' is no billing cycle"),
        (("show", "fx", "--cycle", "2031-01"), "no exchange rates of 2031-01 are in force"),
        (("import", "repair", PRODUCTS), "cannot be used, nothing was changed"),
        (("show", "repair"), "--repair: is missing"),
        (("show", "repair", "--repair", "none"), "no repair rule 'none' was approved; approved are: "),
        (("show", "opening", "--reseller", "borealis"), "no opening of 'borealis' is in force"),
    ],
)
def test_what_cannot_be_done_is_said_and_ends_with_1(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run(home, "reference", *arguments) == 1
    assert said in capsys.readouterr().err
