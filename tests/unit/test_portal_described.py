"""The document of the portal: whatever it allows is answered as it says, and never with an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shared.portal.openapi import openapi
from tests.known import remembering
from tests.reports import Client, month

SEED = 20250705
EXAMPLES = 3  # of each operation
SCHEMA = schemathesis.openapi.from_dict(openapi())
OPERATIONS: list[Any] = [getattr(one, "ok")() for one in SCHEMA.get_all_operations()]  # noqa: B009 - or an error
DECISIONS = ("/v1/init", "/v1/proposals", "/v1/me", "/v1/openapi.json")


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with remembering():
        client = Client(month(tmp_path_factory.mktemp("described") / "scratch"))
        client.run("ann")
        client.world.pump.drain()
        yield client


def test_the_document_is_openapi_3_1_and_its_references_lead_somewhere() -> None:
    document = openapi()
    assert document["openapi"].startswith("3.1")
    named = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                named.add(value["$ref"].rpartition("/")[2])
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(document)
    assert named <= set(document["components"]["schemas"])
    for one in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(one)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method.upper()} {one.path}")
def test_whatever_the_document_allows_is_answered_as_it_says(ask: Client, operation: Any) -> None:
    components = {"components": openapi()["components"]}
    described = openapi()["paths"][operation.path][operation.method]["responses"]
    print(f"seed {SEED}")

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), who=st.sampled_from(["ria", "carl", "vic", "ann", "ada", "nobody"]))
    def tried(case: Any, who: str) -> None:
        ask.world.cloud.rows.tables["limits"].clear()
        path = operation.path
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", str(value))
        query = {name: str(value) for name, value in dict(case.query or {}).items()}
        headers = {
            name: str(value) for name, value in dict(case.headers or {}).items()
            if name.lower() not in ("authorization", "content-type")
        }  # fmt: skip
        said = case.body if isinstance(case.body, dict | list) else None
        status, found = ask(who, operation.method.upper(), f"{path}?{urlencode(query)}", said, **headers)
        assert status < 500, found
        if "/" in path.removeprefix(operation.path.partition("{")[0]) and "{" in operation.path:
            return  # a made-up part that is an address of its own
        if status in (304, 302):
            return
        response = described.get(str(status), described["default"])
        [content] = response["content"].values()
        Draft202012Validator({**content["schema"], **components}).validate(found)

    tried()


def test_answers_of_a_run_are_as_they_are_described(ask: Client) -> None:
    components = {"components": openapi()["components"]}
    run = ask.run("ria", format="csv")
    made = ask.done("ria", "POST", "/v1/selections", {"name": "x", "ask": {"report": "trend"}})
    key = ask.done("ria", "POST", "/v1/keys", {"name": "k"})
    link = ask.done("ria", "POST", f"/v1/report-runs/{run['id']}/links", {})
    there = {"id": run["id"], "name": "billing_summary"}
    hook = ask.done("ria", "POST", "/v1/webhooks", {"url": "https://hooks.example/"})
    for act in ("rotate", "disable"):
        ask.done("ria", "POST", f"/v1/webhooks/{hook['id']}/{act}", {})
    said = {"name": "Bills", "when": {"every": "day"}, "ask": {"report": "trend"}}
    schedule = ask.done("ria", "POST", "/v1/schedules", said)
    for act in ("pause", "resume"):
        ask.done("ria", "POST", f"/v1/schedules/{schedule['id']}/{act}", {})
    checked = 0
    for path, methods in openapi()["paths"].items():
        if "get" not in methods or path.startswith(DECISIONS) or path.startswith("/d/") or "wishes" in path:
            continue
        status, found = ask("ria", "GET", path.format(**there))
        if status == 404 and "schedules" in path:
            continue
        assert status == 200, (path, found)
        [content] = methods["get"]["responses"]["200"]["content"].values()
        Draft202012Validator({**content["schema"], **components}).validate(found)
        checked += 1
    for schema, found in (("Selection", made), ("Key", key), ("Link", link), ("Run", run)):
        Draft202012Validator({**openapi()["components"]["schemas"][schema], **components}).validate(found)
    assert checked > 12
