"""The portal: every address answers who may ask, refuses the rest with the reason, and tells nobody what is inside."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from functions import portal
from infra.clearbook.people import OWNER, SEEDED
from infra.provision.closure import closure
from shared.access.tokens import NotSignedInError
from shared.cloud import http
from shared.control import approvals
from shared.portal import desk
from shared.portal.openapi import openapi
from shared.ports import ServiceError
from shared.services import Services
from tests.builders import agreement, parties
from tests.desk import ROOT, Names, event, of_world
from tests.granted import granted
from tests.pump import World, go_live, small_month

RATES = {"name": "fx.csv", "text": "currency,to,cycle,rate\nUSD,CNY,2025-06,7.1586\n"}
FX = {"act": "fx_tables", "asked": RATES, "why": "June"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "scratch")


class Desk:
    """The portal over a world: status and body of an answer."""

    def __init__(self, world: World) -> None:
        self.services: Services = granted(world.services, "portal")
        self.headers: dict[str, str] = {}

    def __call__(
        self, who: str, method: str, path: str, body: Any = "", *, owner: str = OWNER, **headers: str
    ) -> tuple[int, Any]:
        sent = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.raw(event(method, path, sent, token=who, **headers), owner)

    def raw(self, came: bytes, owner: str = OWNER) -> tuple[int, Any]:
        answer = json.loads(portal.run(came, self.services, Names(), owner))
        self.headers = answer["headers"]
        return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def ask(world: World) -> Desk:
    return Desk(world)


def proposed(ask: Desk, what: Any = FX) -> dict[str, Any]:
    status, found = ask("paula", "POST", "/v1/proposals", what)
    assert status == 200, found
    return dict(found["proposals"][0])


def test_somebody_proposes_somebody_else_sees_it_and_approves(ask: Desk, world: World) -> None:
    one = proposed(ask)
    assert (one["proposal"], one["by"], one["why"], one["waits_for"]) == (
        "config#1",
        "paula",
        "June",
        ["1 more approver"],
    )
    assert one["shows"] == ["2025-06", "  USD to CNY: none -> 7.1586"]
    assert one["at"] == "2025-07-03T04:30:00Z", "the time is the platform's"
    assert ask("amir", "GET", "/v1/proposals") == (200, {"proposals": [one]})

    status, done = ask("amir", "POST", "/v1/proposals/approve", {"name": "config#1", "seen": one["seen"]})
    assert (status, done["approved_by"], done["missing"], done["orders"]) == (200, "amir", [], [])
    assert ask("amir", "GET", "/v1/proposals") == (200, {"proposals": []})
    kinds = [(entry.kind, entry.actor) for entry in world.services.chain.read("config")]
    assert kinds == [("proposed", "paula"), ("approved", "amir")]


def test_asking_again_changes_nothing(ask: Desk, world: World) -> None:
    assert proposed(ask) == proposed(ask)
    name = {"name": "config#1"}
    assert ask("amir", "POST", "/v1/proposals/approve", name) == ask("amir", "POST", "/v1/proposals/approve", name)
    assert len(world.services.chain.read("config")) == 2


def test_a_proposal_is_rejected_with_its_reason(ask: Desk) -> None:
    proposed(ask)
    status, done = ask("amir", "POST", "/v1/proposals/reject", {"name": "config#1", "why": "an old rate"})
    assert (status, done["rejected_by"], done["because"]) == (200, "amir", "an old rate")
    assert ask("amir", "POST", "/v1/proposals/approve", {"name": "config#1"})[0] == 409
    assert ask("amir", "POST", "/v1/proposals/reject", {"name": "config#1", "why": " "})[0] == 400


def test_what_no_longer_looks_as_it_was_shown_is_not_approved(ask: Desk) -> None:
    proposed(ask)
    status, said = ask("amir", "POST", "/v1/proposals/approve", {"name": "config#1", "seen": "0" * 16})
    assert (status, said["code"]) == (409, "stale_proposal")
    assert ask("amir", "GET", "/v1/proposals")[1]["proposals"]


def test_what_one_may_not_do_is_refused_and_kept(ask: Desk, world: World) -> None:
    proposed(ask)
    for _ in range(2):
        assert ask("paula", "POST", "/v1/proposals/approve", {"name": "config#1"})[0] == 403
        assert ask("amir", "POST", "/v1/proposals", FX)[0] == 403
    refused = [entry for entry in world.services.chain.read("config") if entry.kind == "refused"]
    assert [(entry.actor, entry.body["tried"]["do"]) for entry in refused] == [
        ("paula", "approve"),
        ("amir", "propose"),
    ]


def test_who_signed_in_and_has_no_role_learns_and_changes_nothing(ask: Desk, world: World) -> None:
    heads = world.heads()
    for method, path, body in (
        ("GET", "/v1/me", ""),
        ("GET", "/v1/proposals", ""),
        ("POST", "/v1/proposals", FX),
        ("POST", "/v1/proposals/approve", {"name": "config#1"}),
        ("POST", "/v1/proposals/reject", {"name": "config#1", "why": "no"}),
        ("POST", "/v1/init", {"users": SEEDED}),
    ):
        status, said = ask("stranger", method, path, body)
        assert (status, said["code"]) == (403, "not_allowed"), path
        assert "paula" not in json.dumps(said)
    assert world.heads() == heads


def test_without_a_token_every_address_but_the_description_says_how_to_sign_in(
    ask: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(self: Names, authorization: str) -> str:
        raise NotSignedInError("there is no bearer token")

    monkeypatch.setattr(Names, "subject", nobody)
    for path, of in openapi()["paths"].items():
        for method in of:
            status, said = ask("", method.upper(), path, {"users": {}, "name": "x"} if method == "post" else "")
            if not of[method].get("security", True):  # for anybody: the description, and a link by its token
                assert status == (200 if path == "/v1/openapi.json" else 404)
                continue
            assert (status, said["code"]) == (401, "not_signed_in"), path
            assert ask.headers["WWW-Authenticate"].startswith("Bearer")
            assert ask.headers["Content-Type"] == "application/problem+json"


def test_the_description_names_every_address_and_no_other(ask: Desk) -> None:
    routes = desk.Desk(ask.services, Names()).routes()
    named = {
        (method.upper(), path) for path, of in ask("", "GET", "/v1/openapi.json")[1]["paths"].items() for method in of
    }
    assert named == {(one.method, one.path.replace("<", "{").replace(">", "}")) for one in routes}


def test_somebody_sees_who_they_are_and_what_they_may(ask: Desk) -> None:
    status, me = ask("amir", "GET", "/v1/me")
    assert (status, me["user"], me["role"], me["view"]) == (200, "amir", "approver", "operator")
    assert me["may"]["propose"] == []
    assert "lock" in me["may"]["approve"]


def test_a_resellers_person_sees_no_proposal_of_others(ask: Desk, world: World) -> None:
    go_live(world)
    asked = {"user": "rhea", "name": "Rhea", "role": "reseller", "of": "aurora"}
    name = proposed(ask, {"act": "grant", "asked": asked})["proposal"]
    assert ask("amir", "POST", "/v1/proposals/approve", {"name": name})[0] == 200
    proposed(ask)
    assert ask("rhea", "GET", "/v1/proposals") == (200, {"proposals": []})
    assert ask("rhea", "GET", "/v1/me")[1]["of"] == "aurora"


def test_the_first_people_are_named_once_and_by_the_owner_alone(tmp_path: Path) -> None:
    world = World(tmp_path / "scratch")
    world.cloud.rows.tables["chain"].clear()
    ask = Desk(world)
    users = {"ann": {"name": "Ann", "role": "preparer"}, "auth0|7": {"name": "Bob", "role": "approver"}}
    assert ask("ann", "POST", "/v1/init", {"users": users})[0] == 403
    assert ask(OWNER, "POST", "/v1/init", {"users": users}, owner="")[0] == 403, "where nobody is the owner nobody may"
    assert approvals.users(world.services.chain) == {}
    assert ask(OWNER, "POST", "/v1/init", {"users": users}) == (200, {"users": users, "named": True})
    more = {**users, "eve": {"name": "Eve", "role": "approver"}}
    assert ask(OWNER, "POST", "/v1/init", {"users": more}) == (200, {"users": users, "named": False})


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ({"ann": {"name": "Ann", "role": "preparer"}}, "lack one of the roles"),
        ({}, "lack one of the roles"),
        ({"a b": {"name": "Ann", "role": "preparer"}}, "cannot be one"),
        ({"ann": "Ann"}, "cannot be one"),
        ({"ann": {"name": " ", "role": "preparer"}}, "give a name"),
        ({"ann": {"name": "Ann", "role": "admin"}}, "preparer, approver"),
        ({"ann": {"name": "Ann", "role": "preparer", "of": "aurora"}}, "not a known name"),
    ],
)
def test_first_people_that_cannot_be_right_are_refused(ask: Desk, users: Any, said: str) -> None:
    status, refused = ask(OWNER, "POST", "/v1/init", {"users": users})
    assert (status, said in refused["detail"]) == (400, True), refused


BAD = {
    "no JSON": ("/v1/proposals", "{", 400, "cannot be read as JSON"),
    "deep JSON": ("/v1/proposals", "[" * 200_000, 400, "cannot be read as JSON"),
    "no object": ("/v1/proposals", "[]", 400, "is no JSON object"),
    "a name twice": ("/v1/proposals", '{"act": "lock", "act": "grant"}', 400, "given twice"),
    "not a number": ("/v1/proposals", '{"act": NaN}', 400, "NaN is no number"),
    "an unknown field": ("/v1/proposals", {**FX, "at": "2020-01-01T00:00:00Z"}, 400, "at: is not a known name"),
    "who acts": ("/v1/proposals", {**FX, "by": "amir"}, 400, "by: is not a known name"),
    "an unknown act": ("/v1/proposals", {**FX, "act": "pay_me"}, 400, "'pay_me' is none"),
    "an unknown field of the act": ("/v1/proposals", {**FX, "asked": {**RATES, "x": 1}}, 400, "x: is not a known"),
    "nothing asked": ("/v1/proposals", {"act": "lock"}, 400, "asked: is missing"),
    "a number for text": ("/v1/proposals/approve", {"name": 7}, 400, "give it as text"),
    "no proposal's name": ("/v1/proposals/approve", {"name": "config"}, 400, "'config' names none"),
    "no proposal": ("/v1/proposals/approve", {"name": "config#9"}, 404, "config#9 is no proposal"),
    "no proposal, seen": ("/v1/proposals/approve", {"name": "config#9", "seen": "x"}, 404, "config#9 is no proposal"),
    "not UTF-8": ("/v1/proposals", b'{"act": "\xff"}', 400, "cannot be read as JSON"),
    "too large": ("/v1/proposals", b" " * (http.BODY_MAX + 1), 413, "at most"),
    "an unusable document": (
        "/v1/proposals", {"act": "party_document", "asked": {"name": "p", "text": "a: ["}}, 422, "p cannot be used",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "said"), BAD.values(), ids=BAD)
def test_a_body_that_cannot_be_used_is_refused_with_its_reason(
    ask: Desk, world: World, path: str, body: Any, status: int, said: str
) -> None:
    heads = world.heads()
    found, refused = ask("amir" if "approve" in path else "paula", "POST", path, body)
    assert (found, said in refused["detail"]) == (status, True), refused
    assert refused["status"] == status
    assert world.heads() == heads


def test_findings_of_a_document_say_where_they_are(ask: Desk, world: World) -> None:
    go_live(world)
    text = json.dumps({**agreement("aurora"), "reseller": "nobody"})
    status, refused = ask("paula", "POST", "/v1/proposals", {"act": "agreement", "asked": {"name": "a", "text": text}})
    assert (status, refused["findings"][0]["place"].partition(",")[0]) == (422, "reseller")


def test_a_body_in_base64_and_names_in_any_case_are_read(ask: Desk) -> None:
    came = json.loads(event("POST", "/v1/proposals", json.dumps(FX).encode(), token="paula"))
    assert came["isBase64Encoded"]
    came["headers"] = {name.upper(): value for name, value in came["headers"].items()}
    assert ask.raw(json.dumps(came).encode())[0] == 200
    came["body"] = "%%%"
    assert ask.raw(json.dumps(came).encode())[1]["detail"].startswith("body: cannot be read")


def test_another_kind_of_body_address_or_method_is_refused(ask: Desk) -> None:
    assert ask("paula", "POST", "/v1/proposals", FX, **{"Content-Type": "text/plain"})[0] == 415
    assert ask("paula", "GET", "/v1/nothing")[0] == 404
    assert ask("paula", "GET", "/v1/proposals/")[0] == 404
    assert ask("paula", "DELETE", "/v1/proposals")[0] == 405
    assert ask.headers["Allow"] == "GET,POST"


@pytest.mark.parametrize("came", [b"no JSON", b"[]", b"{}", b'{"version": "v1"}', b"\xff"])
def test_what_is_no_http_event_is_answered_and_nothing_is_raised(ask: Desk, came: bytes) -> None:
    assert ask.raw(came)[0] == 400


@pytest.mark.parametrize("name", ["portal-proposals", "portal-approve", "http-v1"])
def test_events_of_the_trigger_are_taken(ask: Desk, name: str) -> None:
    status, _ = ask.raw((ROOT / "events" / f"{name}.json").read_bytes())
    assert status in (403, 404)


def test_what_fails_inside_is_told_to_nobody_but_the_log(ask: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Exception] = [
        RuntimeError("inside 1"),
        ServiceError("reading rows", "inside 2", "mend it", retryable=False),
        ServiceError("reading rows", "inside 3", "wait", retryable=True),
    ]
    for exc, status in zip(said, (500, 500, 503), strict=True):

        def fail(chain: Any, exc: Exception = exc) -> None:
            raise exc

        monkeypatch.setattr(approvals, "users", fail)
        found, answer = ask("paula", "GET", "/v1/me")
        assert (found, "inside" in json.dumps(answer)) == (status, False)
        assert answer["request"] in answer["detail"]
    assert ask.headers["Retry-After"] == "1"


def test_tokens_and_bodies_reach_no_log(ask: Desk, capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "header.payload.signature"
    for path, body in (("/v1/me", ""), ("/v1/proposals", '{"act": "my secret"'), ("/v1/none", "my secret")):
        ask(secret, "POST" if body else "GET", path, body)
    ask.raw(b'{"Authorization": "Bearer header.payload.signature", "my secret"')
    out, err = capsys.readouterr()
    logged = out + err + caplog.text
    assert secret not in logged
    assert "my secret" not in logged


def test_the_bundle_holds_what_signing_in_needs() -> None:
    needed = closure(ROOT, "portal")
    assert {"joserfc", "pydantic", "aws_lambda_powertools"} <= needed.packages
    assert not needed.packages & {"boto3", "botocore"}


def test_a_month_is_closed_through_the_portal(tmp_path: Path) -> None:
    """What the portal's function is granted is all that decisions need, from go-live to the payout."""
    world = World(tmp_path / "scratch")
    small_month(world)
    people = of_world(world)

    def decide(act: str, asked: dict[str, Any]) -> None:
        for one in people("paula").propose(act, asked, "test")["proposals"]:
            for _ in range(2):  # a repeated approval orders nothing twice
                people("amir").approve(one["proposal"])
        world.pump.drain()

    decide("party_document", {"name": "parties", "text": json.dumps(parties())})
    for reseller in ("aurora", "borealis"):
        decide("agreement", {"name": reseller, "text": json.dumps(agreement(reseller))})
    for day in ("2025-06-30", "2025-07-01", "2025-07-02"):
        world.daily(day)
    world.final()
    decide("fx_tables", RATES)
    for reseller in ("aurora", "borealis"):
        decide("lock", {"cycle": "2025-06", "reseller": reseller})
        decide("payouts_on", {"reseller": reseller, "on": True, "cycle": "2025-06"})
    decide("payout_batch", {"cycle": "2025-06"})
    assert world.month("aurora").state == world.month("borealis").state == "paid"
    assert world.total("aurora") == "160.00"
