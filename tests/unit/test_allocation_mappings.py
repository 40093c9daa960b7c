"""Allocation mapping documents: what is refused and why, and which version holds when."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shared.documents import read_yaml
from shared.errors import BadInputError, DocumentRefusedError
from shared.ids import canonical_json
from shared.report.allocation import parse_mapping
from shared.report.allocation.document import checked_mapping
from shared.services import Services
from shared.steps.reporting import mappings
from shared.steps.reporting.submitting import submit
from tests.fakes import Cloud

README = Path(__file__).resolve().parents[2] / "shared/report/allocation/README.md"
AT = "2026-05-01T00:00:00Z"


def shown() -> dict[str, Any]:
    """The document in the README."""
    text = README.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    found: dict[str, Any] = read_yaml(text.encode(), "README")
    return found


def refused(data: dict[str, Any]) -> str:
    with pytest.raises(DocumentRefusedError) as caught:
        checked_mapping(data, "mapping")
    return str(caught.value)


def small(version: int, begins: str = "2026-01-01", until: str | None = None, target: str = "web") -> bytes:
    rule = {"id": "all", "when": "product_code == 'ecs'", "target": target}
    effective = {"from": begins, "until": until}
    return canonical_json({"allocation": "by-team", "version": version, "effective": effective, "rules": [rule]})


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Cloud(tmp_path).services


def test_the_document_in_the_readme_can_be_submitted() -> None:
    found = checked_mapping(shown(), "README")

    assert found.mapping == parse_mapping(found.body, "stored")
    assert found.mapping.label == "by-team 1"
    assert [(one.begins, one.ends) for one in found.mapping.terms] == [
        (date(2026, 1, 1), date(2026, 6, 30)),
        (date(2026, 7, 1), None),
    ]
    assert [len(one.entries) for one in found.mapping.terms] == [6, 5]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("shared", 2, "weights", "web"), "0", "shared.2 (licences).weights: 'web' has the weight 0"),
        (("shared", 2, "weights"), None, "shared.2 (licences).weights: is missing; give each target"),
        (("shared", 1, "weights"), {"web": "1"}, "shared.1 (network).weights: goes with split: weights, not even"),
        (("shared", 1, "to"), ["web", "web"], "shared.1 (network).to: 'web' stands there twice"),
        (("rules", 0, "id"), "support", "rules.0 (support).id: 'support' stands in shared.0 (support) before"),
        (("rules", 0, "when"), "order_type == 'new'", "rules.0 (crawler).when: reads order_type, which facts do not"),
        (("rules", 0, "when"), "acount == '1'", "reads acount, which no line has; perhaps account"),
        (("rules", 0, "when"), "product_code == 'cdn'", "rules.0 (crawler).when: stands in shared.1 (network) before"),
        (("rules", 0, "when"), "product_code == 'cdn' && region == 'x'", "rules.0 (crawler).when: never matches"),
        (("rules", 0, "when"), None, "rules.0 (crawler).when: is missing; add it"),
        (("rules", 0, "effective", "from"), "2025-12-31", "rules.0 (crawler).effective: lies outside of the version"),
        (("rules", 0, "effective", "until"), "2025-12-31", "rules.0 (crawler).effective.until: 2025-12-31 is before"),
        (("rules", 2, "target", "field"), "price", "rules.2 (cost-unit).target.field: 'price' is none"),
        (("rules", 2, "target", "tag"), "team", "rules.2 (cost-unit).target: give either a field or a tag"),
        (("rules", 0, "target"), " web", "begins or ends with a space"),
        (("version",), 0, "version: "),
    ],
)
def test_what_would_be_without_effect_or_cannot_be_is_refused_with_its_place(
    path: tuple[str | int, ...], value: object, says: str
) -> None:
    data: Any = copy.deepcopy(shown())
    inner = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    assert says in refused(data)


def test_a_rule_that_is_shadowed_on_some_days_alone_is_taken() -> None:
    data = shown()
    data["rules"].insert(1, {"id": "later", "when": data["rules"][0]["when"], "target": "web"})

    assert len(checked_mapping(data, "mapping").mapping.terms[1].entries) == 6


def test_on_each_day_the_newest_version_holds_that_was_submitted_by_then(services: Services) -> None:
    submit(services, "acme", small(1), "ann", "2026-03-01T00:00:00Z")
    submit(services, "acme", small(2, "2026-04-01", "2026-04-30", "data"), "bob", AT)
    found = mappings.in_force(services, "acme", "by-team", AT)
    before = mappings.in_force(services, "acme", "by-team", "2026-04-30T23:59:59Z")

    assert found is not None
    assert found.label == "by-team 1, 2"
    assert [(one.version, str(one.begins), str(one.ends)) for one in found.terms] == [
        (1, "2026-01-01", "2026-03-31"),
        (2, "2026-04-01", "2026-04-30"),
        (1, "2026-05-01", "None"),
    ]
    assert before is not None
    assert before.label == "by-team 1"
    assert mappings.in_force(services, "other", "by-team", AT) is None
    assert mappings.in_force(services, "acme", "by", AT) is None
    assert [(one.mapping.label, one.by) for one in mappings.listed(services, "acme")] == [
        ("by-team 1", "ann"),
        ("by-team 2", "bob"),
    ]


def test_a_version_is_written_once_and_the_same_again_is_no_new_one(services: Services) -> None:
    first = submit(services, "acme", small(1), "ann", AT)
    again = submit(services, "acme", small(1), "bob", "2026-06-01T00:00:00Z")

    assert (first.is_new, again.is_new, again.version.by) == (True, False, "ann")
    with pytest.raises(BadInputError, match="other content, and versions never change; write 2"):
        submit(services, "acme", small(1, target="data"), "bob", AT)
    with pytest.raises(BadInputError, match="version: is 3, and by-team has 1 so far; write 2"):
        submit(services, "acme", small(3), "bob", AT)
    assert len(mappings.listed(services, "acme")) == 1


def test_days_that_no_version_holds_on_are_warned_of(services: Services) -> None:
    submit(services, "acme", small(1, "2026-01-01", "2026-01-31"), "ann", AT)
    found = submit(services, "acme", small(2, "2026-03-01"), "ann", AT)

    assert [place for place, _ in found.warnings] == ["effective.from"]


def test_a_stored_version_that_was_changed_is_noticed(services: Services) -> None:
    submit(services, "acme", small(1), "ann", AT)
    row = services.rows.get("mappings", mappings.key("acme", "by-team", 1))
    assert row is not None
    columns = {name: row[name] for name in ("digest", "by", "at")} | {"body": small(1, target="data").decode()}
    services.rows.put("mappings", mappings.key("acme", "by-team", 1), columns)

    with pytest.raises(mappings.DamagedMappingError):
        mappings.in_force(services, "acme", "by-team", AT)


def test_what_is_no_stored_mapping_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="row 1: is no allocation mapping as they are stored"):
        parse_mapping(b'{"version": 1}', "row 1")
