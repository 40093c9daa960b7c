"""What the documentation shows is what the product takes."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from infra.clearbook.main import app
from infra.clearbook.sheets import read_map
from shared.agreement.agreement import parse_agreement
from shared.agreement.document import agreement_document
from shared.bill.repair_document import repair_document
from shared.documents import read_yaml
from shared.report.layout import FIELDS, parse_layout
from shared.report.layout_document import layout_document
from shared.settlement.examples import settle_example

ROOT = Path(__file__).parents[2]


def test_the_agreement_in_the_documentation_can_be_submitted() -> None:
    text = (ROOT / "shared/agreement/README.md").read_text(encoding="utf-8")
    shown = text.partition("```yaml\n")[2].partition("```")[0]
    body = agreement_document(read_yaml(shown.encode(), "README"), "README", settle_example)

    assert parse_agreement(body).id == "aurora-2026"


def test_the_repair_rule_in_the_readme_can_be_proposed() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = "repair: " + text.partition("```yaml\nrepair: ")[2].partition("```")[0]
    body = json.loads(repair_document(read_yaml(shown.encode(), "README"), "README"))

    assert (body["repair"], body["set"]) == ("acme-region", {"region": "华东1（杭州）"})


def test_the_map_of_a_spreadsheet_in_the_readme_can_be_used(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    file = tmp_path / "map.yaml"
    file.write_text("columns: {" + text.partition("```yaml\ncolumns: {")[2].partition("```")[0], encoding="utf-8")
    found = read_map(file)

    assert (found.header, found.places, found.names) == (3, 2, {"customer": {"Acme Ltd": "acme"}})


def test_the_layout_in_the_readme_can_be_proposed() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = "reseller: aurora\nformat: " + text.partition("```yaml\nreseller: aurora\nformat: ")[2].partition("```")[0]
    found = parse_layout(layout_document(read_yaml(shown.encode(), "README"), "README", ["aurora"]))

    assert found is not None
    assert [name for name, _, _ in found.columns] == ["Client", "Type", "Amount"]
    assert [field for field in FIELDS if field.partition("_name_")[0] not in text] == []


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [str(one.name or (one.callback.__name__ if one.callback else "")) for one in app.registered_commands]
    names += [str(one.name) for one in app.registered_groups]

    assert [name for name in names if name not in readme] == []


def test_every_function_is_in_the_design() -> None:
    design = (ROOT / "shared/DESIGN.md").read_text(encoding="utf-8")
    functions = yaml.safe_load((ROOT / "s.yaml").read_text(encoding="utf-8"))["resources"]

    assert [name for name in functions if f"`{name}`" not in design] == []
