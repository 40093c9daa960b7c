"""Schedules, webhooks and deliveries over HTTP: of their owner alone, and described as they are answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shared.cloud import http
from shared.cloud.log import step_log
from shared.control import approvals
from shared.portal import deliveries
from shared.portal.deliveries import SCHEMAS
from shared.portal.door import Door
from shared.steps.delivering.reports import Outcome, Reports, Standing
from tests.desk import Names, event
from tests.fakes import Cloud
from tests.owners import name_people

HOOK = {"url": "https://hooks.example/"}
SCHEDULE = {"name": "Costs", "when": {"every": "week", "weekday": "monday"}, "ask": {"report": "cost"}}
REPORTS = Reports(
    lambda *_: None,
    lambda *_: "run-1",
    lambda *_: Outcome(True),
    lambda *_: "",
    lambda *_: None,
    lambda *_: Standing.FINAL,
)
PROBLEM = {"type": "object", "required": ["code", "detail", "status"]}


class Portal:
    """The routes in one process; people sign in by their names alone."""

    def __init__(self, cloud: Cloud) -> None:
        name_people(cloud)
        self.routes = deliveries.routes(cloud.services, lambda: REPORTS, Door(cloud.services, Names()))
        self.headers: Mapping[str, str] = {}

    def ask(
        self, method: str, path: str, said: object = None, who: str = "ann", **headers: str
    ) -> tuple[int, Any]:  # fmt: skip
        body = "" if said is None else json.dumps(said)
        came = event(method, path, body, token=who, **headers)
        answer = json.loads(http.answer(came, self.routes, step_log(None)))
        self.headers = {name.lower(): value for name, value in answer["headers"].items()}
        return int(answer["statusCode"]), json.loads(answer["body"] or "null")


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(Cloud(tmp_path))


def test_each_answer_is_as_the_document_describes_it(portal: Portal) -> None:
    components = {"components": {"schemas": {**SCHEMAS, "Problem": PROBLEM}}}
    made = {"schedules": portal.ask("POST", "/v1/schedules", SCHEDULE)[1]["id"],
            "webhooks": portal.ask("POST", "/v1/webhooks", HOOK)[1]["id"]}  # fmt: skip
    tried = set()
    for path, methods in deliveries.paths().items():
        for method, said in methods.items():
            body = {"/v1/schedules": SCHEDULE, "/v1/webhooks": HOOK}.get(path) if method == "post" else None
            there = path.replace("{id}", made.get(path.split("/")[2], "none"))
            status, answer = portal.ask(method.upper(), there, body)
            responses = said["responses"]
            schema = responses["200" if status == 200 else "default"]["content"]
            [content] = schema.values()
            Draft202012Validator({**content["schema"], **components}).validate(answer)
            assert (status == 200) != path.endswith("replay"), (path, answer)
            tried.add((method.upper(), path.replace("{", "<").replace("}", ">")))

    assert tried == {(one.method, one.path) for one in portal.routes}


def test_what_is_anothers_is_as_if_it_were_not_there(portal: Portal) -> None:
    schedule = portal.ask("POST", "/v1/schedules", SCHEDULE)[1]["id"]
    webhook = portal.ask("POST", "/v1/webhooks", HOOK)[1]["id"]
    for method, path in (
        *(("GET", f"/v1/schedules/{schedule}"), ("POST", f"/v1/schedules/{schedule}/pause")),
        *(("POST", f"/v1/schedules/{schedule}/delete"), ("POST", f"/v1/webhooks/{webhook}/rotate")),
        ("POST", f"/v1/webhooks/{webhook}/disable"),
    ):
        id_ = path.split("/")[3]
        status, answer = portal.ask(method, path, who="bob")
        other, nobody = portal.ask(method, path.replace(id_, "x" * len(id_)), who="bob")
        assert (
            (status, answer["detail"].replace(id_, "x" * len(id_)))
            == (other, nobody["detail"])
            == (404, nobody["detail"])
        )

    assert portal.ask("GET", "/v1/schedules", who="bob")[1] == {"schedules": []}
    assert portal.ask("GET", "/v1/webhooks", who="bob")[1]["webhooks"] == []


def test_a_secret_is_in_the_answer_that_makes_it_and_in_no_other(portal: Portal) -> None:
    made = portal.ask("POST", "/v1/webhooks", HOOK)[1]
    rotated = portal.ask("POST", f"/v1/webhooks/{made['id']}/rotate")[1]

    assert made["secret"].startswith("whsec_")
    assert rotated["secret"].startswith("whsec_")
    assert made["secret"] != rotated["secret"]
    assert "whsec_" not in json.dumps(portal.ask("GET", "/v1/webhooks")[1])


@pytest.mark.parametrize(
    ("method", "path", "said", "status"),
    [
        ("POST", "/v1/webhooks", {"url": "https://internal.corp/"}, 400),
        ("POST", "/v1/webhooks", {"url": 7}, 400),
        ("POST", "/v1/webhooks", {"url": "https://hooks.example/", "secret": "mine"}, 400),
        ("POST", "/v1/webhooks", [], 400),
        ("POST", "/v1/schedules", {"name": "x", "ask": {}, "when": {"every": "day"}, "starts": "2025-07-02"}, 400),
        ("POST", "/v1/schedules", {}, 400),
        ("GET", "/v1/schedules/" + "x" * 2000, None, 404),
        ("POST", "/v1/deliveries/none/replay", None, 404),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(
    portal: Portal, method: str, path: str, said: object, status: int
) -> None:  # fmt: skip
    found, answer = portal.ask(method, path, said)

    assert found == status, answer
    assert portal.ask("GET", "/v1/schedules")[1] == {"schedules": []}
    assert portal.ask("GET", "/v1/webhooks")[1]["webhooks"] == []


def test_what_is_asked_again_by_its_key_is_carried_out_once(portal: Portal) -> None:
    key = {"Idempotency-Key": "one"}
    _, made = portal.ask("POST", "/v1/webhooks", HOOK, **key)
    status, again = portal.ask("POST", "/v1/webhooks", HOOK, **key)
    assert (status, portal.headers["idempotency-replayed"]) == (200, "true")
    assert made["secret"].startswith("whsec_")
    assert again == {**made, "secret": None}  # a secret is kept nowhere, and answered once
    assert portal.ask("POST", "/v1/webhooks", {"url": "https://other.example/"}, **key)[0] == 422
    assert len(portal.ask("GET", "/v1/webhooks")[1]["webhooks"]) == 1


def test_whoever_has_become_anothers_is_not_answered_what_they_were_before(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "one"}
    made = portal.ask("POST", "/v1/schedules", SCHEDULE, **key)[1]
    ann = {"name": "Ann", "role": "customer", "of": "acme"}
    monkeypatch.setattr(approvals, "users", lambda _: {"ann": ann})
    status, answer = portal.ask("POST", "/v1/schedules", SCHEDULE, **key)

    assert status == 200
    assert "idempotency-replayed" not in portal.headers
    assert answer["id"] != made["id"]


def test_what_was_read_is_not_sent_again(portal: Portal) -> None:
    portal.ask("POST", "/v1/schedules", SCHEDULE)
    portal.ask("GET", "/v1/schedules")
    tag = {"If-None-Match": portal.headers["etag"]}
    assert portal.ask("GET", "/v1/schedules", **tag) == (304, None)
    portal.ask("POST", "/v1/schedules", {**SCHEDULE, "name": "More"})
    assert portal.ask("GET", "/v1/schedules", **tag)[0] == 200


def test_whoever_may_take_no_report_away_has_none_delivered(portal: Portal) -> None:
    for method, path in (("GET", "/v1/schedules"), ("POST", "/v1/webhooks"), ("GET", "/v1/deliveries")):
        assert portal.ask(method, path, HOOK if method == "POST" else None, who="vic")[0] == 403
        assert portal.ask(method, path, HOOK if method == "POST" else None, who="nobody")[0] == 403
