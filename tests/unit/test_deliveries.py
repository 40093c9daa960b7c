"""Webhooks: signed so that others can tell, tried ten times over three days, and never where nobody wants it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.cycle import stamp
from shared.delivery import signing
from shared.errors import BadInputError, SettingError
from shared.events.owners import OwnerEvent
from shared.ports import ObjectEvent, Posted, UndeliveredError
from shared.steps.delivering import deliveries, kept, webhooks
from shared.steps.delivering.each import Each
from shared.steps.delivering.kept import DELIVERIES
from shared.steps.notify import notify
from shared.steps.reporting import keys, tokens
from tests.fakes import Cloud
from tests.granted import granted
from tests.owners import ACME, AURORA, OF, name_people

NOON = datetime(2025, 7, 4, 4, 0, tzinfo=UTC)
URL = "https://hooks.example/clearbook"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.clock.now = NOON
    name_people(cloud)
    return cloud


def verified(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Any:
    """What the scheme's text has a receiver do, by nothing but its text: the message, or ValueError."""
    id_, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(now.timestamp() - int(timestamp)) > 300:
        raise ValueError("too old or too new")
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    wanted = base64.b64encode(hmac.digest(key, b".".join([id_.encode(), timestamp.encode(), body]), hashlib.sha256))
    signatures = [one.partition(",") for one in headers["webhook-signature"].split(" ")]
    if not any(version == "v1" and hmac.compare_digest(wanted, one.encode()) for version, _, one in signatures):
        raise ValueError("no signature of this secret")
    return json.loads(body)


def register(cloud: Cloud, owner: str = AURORA, url: str = URL, **said: Any) -> tuple[str, str]:
    webhook, secret = webhooks.register(cloud.services, owner, OF[owner], {"url": url, **said}, cloud.clock.now)
    return webhook.id, secret


def tell(cloud: Cloud, owner: str = AURORA, name: str = "report.ready", about: str = "run-1") -> dict[str, Any]:
    """An event of the owner lands, and notify is woken by it."""
    at = f"{cloud.clock.now:%Y-%m-%dT%H:%M:%SZ}"
    event = OwnerEvent(owner, name, about, at, {"run": about})
    event.leave(cloud.work)
    return notify(granted(cloud.services, "notify"), ObjectEvent(cloud.work.bucket, event.key, cloud.clock.now))


def listed(cloud: Cloud, owner: str = AURORA) -> list[dict[str, Any]]:
    return deliveries.listed(cloud.services, owner)


def wait(cloud: Cloud, hours: float = 0.25, until: float = 120.0) -> list[float]:
    """The timer fires every so often for so long; after how many hours something was posted."""
    began, posted = cloud.clock.now, []
    while cloud.clock.now < began + timedelta(hours=until):
        cloud.clock.now += timedelta(hours=hours)
        before = len(cloud.post.sent)
        deliveries.attempt_due(granted(cloud.services, "deliver"), Each())
        posted += [(cloud.clock.now - began) / timedelta(hours=1)] * (len(cloud.post.sent) - before)
    return posted


def test_a_receiver_that_knows_the_secret_alone_can_tell_that_it_was_us(cloud: Cloud) -> None:
    _, secret = register(cloud)
    tell(cloud)

    [(url, headers, body)] = cloud.post.sent
    message = verified(secret, headers, body, NOON)
    assert url == URL
    assert message["type"] == "report.ready"
    assert message["timestamp"] == "2025-07-04T04:00:00Z"
    assert message["data"]["run"] == "run-1"
    assert set(message) == {"type", "timestamp", "data"}
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert "." not in headers["webhook-id"]
    with pytest.raises(ValueError, match="no signature"):
        verified(secret, headers, body.replace(b"run-1", b"run-2"), NOON)
    with pytest.raises(ValueError, match="no signature"):
        verified(secret, {**headers, "webhook-id": "msg_other"}, body, NOON)
    assert [one["state"] for one in listed(cloud)] == ["delivered"]


def test_an_owner_is_told_of_its_own_and_of_what_it_wants_alone(cloud: Cloud) -> None:
    register(cloud)
    register(cloud, url="https://failures.example/", events=["report.failed"])
    register(cloud, owner=ACME, url="https://acme.example/")
    assert tell(cloud)["deliveries"] == 1
    assert tell(cloud, owner=ACME, name="report.failed", about="run-2")["deliveries"] == 1

    assert [url for url, *_ in cloud.post.sent] == [URL, "https://acme.example/"]
    assert [one["about"] for one in listed(cloud)] == ["run-1"]
    assert [one["about"] for one in listed(cloud, ACME)] == ["run-2"]
    with pytest.raises(kept.UnknownIdError):
        deliveries.replay(cloud.services, ACME, listed(cloud)[0]["id"])


def test_nobody_waits_for_all_that_another_has_to_be_told(cloud: Cloud) -> None:
    cloud.post.answers = [Posted(503)] * 5
    hooks = [f"https://hooks.example/{n}" for n in range(4)]
    for url in hooks:
        register(cloud, AURORA, url)
    tell(cloud, AURORA)
    cloud.clock.now += timedelta(seconds=1)
    register(cloud, ACME, "https://acme.example/")
    tell(cloud, ACME)
    cloud.post.sent.clear()
    cloud.clock.now += timedelta(hours=1)
    deliveries.attempt_due(cloud.services, Each())

    posted = [url for url, _, _ in cloud.post.sent]
    assert sorted(posted) == sorted([*hooks, "https://acme.example/"])
    assert posted.index("https://acme.example/") == 1


def test_slow_endpoints_leave_the_rest_to_the_timer(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    post = cloud.post.post

    def slowly(*given: Any) -> Posted:
        cloud.clock.now += timedelta(seconds=15)
        return post(*given)

    monkeypatch.setattr(cloud.post, "post", slowly)
    for number in range(5):
        register(cloud, AURORA, f"https://hooks.example/{number}")
    tell(cloud)
    assert len(cloud.post.sent) == 3
    deliveries.attempt_due(cloud.services, Each())

    assert len({url for url, _, _ in cloud.post.sent}) == len(cloud.post.sent) == 5


def test_an_event_that_says_it_is_anothers_is_told_to_nobody(cloud: Cloud) -> None:
    register(cloud, owner=ACME)
    event = OwnerEvent(AURORA, "report.ready", "run-1", "2025-07-04T04:00:00Z", {})
    key = event.key.replace(AURORA, ACME)
    cloud.work.put_once(key, event.body)
    with pytest.raises(BadInputError, match="another's"):
        notify(cloud.services, ObjectEvent(cloud.work.bucket, key, NOON))

    assert cloud.post.sent == []


def test_an_event_that_comes_again_is_one_delivery(cloud: Cloud) -> None:
    register(cloud)
    tell(cloud)
    tell(cloud)

    assert len(cloud.post.sent) == 1
    assert len(listed(cloud)) == 1


def test_a_webhook_is_not_told_of_what_was_before_it(cloud: Cloud) -> None:
    event = OwnerEvent(AURORA, "report.ready", "old", "2025-07-04T03:59:59Z", {})
    event.leave(cloud.work)
    register(cloud)
    notify(cloud.services, ObjectEvent(cloud.work.bucket, event.key, NOON))

    assert cloud.post.sent == []


def test_ten_attempts_are_made_over_three_days_and_then_none(cloud: Cloud) -> None:
    register(cloud)
    cloud.post.answers = [Posted(500)] * 5 + [UndeliveredError("did not answer")] * 5
    tell(cloud)
    after = [0.0, *wait(cloud)]

    assert len(after) == 10
    assert 75 + 35 / 60 <= after[-1] < 78  # 75 h 35 min, and the quarters of an hour of the timer
    gaps = [b - a for a, b in itertools.pairwise(after)]
    assert all(gap >= delay / timedelta(hours=1) for gap, delay in zip(gaps, deliveries.DELAYS[1:], strict=True))
    [found] = listed(cloud)
    assert (found["state"], found["next_at"]) == ("failed", "")
    assert [one["status"] for one in found["attempts"]] == [500] * 5 + [0] * 5
    assert {headers["webhook-id"] for _, headers, _ in cloud.post.sent} == {found["id"]}


def test_a_person_replays_what_failed_by_the_same_id(cloud: Cloud) -> None:
    register(cloud)
    cloud.post.answers = [Posted(503)] * 10
    tell(cloud)
    wait(cloud)
    [found] = listed(cloud)
    replayed = deliveries.replay(cloud.services, AURORA, found["id"])
    assert deliveries.replay(cloud.services, AURORA, found["id"]) == replayed
    assert replayed["state"] == "waiting"
    wait(cloud, until=1)

    assert len(cloud.post.sent) == 11
    assert cloud.post.sent[-1][1]["webhook-id"] == found["id"]
    assert listed(cloud)[0]["state"] == "delivered"


@pytest.mark.parametrize(
    ("said", "least"),
    [
        ("7200", 2.0),
        ("Fri, 04 Jul 2025 07:00:00 GMT", 3.0),
        ("0", 5 / 3600),
        ("nonsense", 5 / 3600),
        ("-5", 5 / 3600),
        ("9" * 30, 24.0),
        ("Fri, 04 Jul 1999 07:00:00 GMT", 5 / 3600),
    ],
)
def test_who_asks_to_be_left_alone_is_for_at_most_a_day(cloud: Cloud, said: str, least: float) -> None:
    register(cloud)
    cloud.post.answers = [Posted(429, said)]
    tell(cloud)
    [first, *more] = wait(cloud, until=30)

    assert least <= first <= least + 0.25
    assert more == []


@given(st.text() | st.builds("Fri, 04 Jul {} 07:00:00 {}".format, st.integers(), st.text() | st.integers()))
@example("Fri, 04 Jul 99999999999999999999 07:00:00 GMT")
@example("Fri, 04 Jul 2025 07:00:00 +" + "9" * 30)
@example("Fri, 04 Jul 0001 00:00:00 +2359")
@example("\u0663" * 5)
def test_whatever_an_endpoint_asks_to_wait_is_a_time(said: str) -> None:
    assert timedelta(0) <= deliveries.retry_after(said, NOON)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500, 199, 304])
def test_what_is_not_2xx_is_tried_again(cloud: Cloud, status: int) -> None:
    register(cloud)
    cloud.post.answers = [Posted(status)]
    tell(cloud)

    assert listed(cloud)[0]["state"] == "waiting"
    assert len(wait(cloud, until=1)) == 1


def test_410_disables_the_webhook_and_what_waits_for_it_fails(cloud: Cloud) -> None:
    id_, secret = register(cloud)
    cloud.post.answers = [Posted(500), Posted(410)]
    tell(cloud, about="run-1")
    tell(cloud, about="run-2")
    tell(cloud, about="run-3")
    wait(cloud, until=1)

    assert len(cloud.post.sent) == 2
    assert webhooks.get(cloud.services, AURORA, id_).state == "disabled"
    assert {one["about"]: one["state"] for one in listed(cloud)} == {"run-1": "failed", "run-2": "failed"}
    _, again = register(cloud)
    assert again != secret


def revoke(cloud: Cloud, text: str) -> None:
    ann = keys.person(cloud.services, "ann")
    keys.revoke(cloud.services, ann, tokens.id_of(text), stamp(cloud.clock.now))


def key_of_ann(cloud: Cloud, **said: Any) -> tuple[str, str]:
    """The id that requests with a key of ann's have, and its text."""
    ann, given = keys.person(cloud.services, "ann"), {"name": "nightly", "rights": ["reports", "export"], **said}
    _, text = keys.create(cloud.services, ann, given, stamp(cloud.clock.now))
    return f"key.{tokens.id_of(text)}", text


def test_a_webhook_ends_with_the_key_that_registered_it(cloud: Cloud) -> None:
    key, text = key_of_ann(cloud)
    webhook, _ = webhooks.register(cloud.services, AURORA, key, {"url": URL}, NOON)
    cloud.post.answers = [Posted(200), Posted(503)]
    tell(cloud, about="run-1")
    tell(cloud, about="run-2")
    assert webhook.as_json()["by"] == key
    revoke(cloud, text)
    tell(cloud, about="run-3")
    wait(cloud, until=1)

    assert len(cloud.post.sent) == 2
    found = webhooks.get(cloud.services, AURORA, webhook.id)
    assert found.state == "disabled"
    assert found.because.startswith(f"{key} is revoked")
    assert {one["about"]: one["state"] for one in listed(cloud)} == {
        "run-1": "delivered", "run-2": "failed", "run-3": "failed"
    }  # fmt: skip
    assert webhooks.register(cloud.services, AURORA, "ann", {"url": URL}, cloud.clock.now)[0].by == "ann"


def test_a_webhook_ends_with_the_time_of_its_key_and_with_the_rights_of_its_maker(cloud: Cloud) -> None:
    key, _ = key_of_ann(cloud, expires_in_days=1)
    of_key, _ = webhooks.register(cloud.services, AURORA, key, {"url": URL}, NOON)
    of_vic, _ = webhooks.register(cloud.services, ACME, "vic", {"url": URL}, NOON)
    cloud.clock.now += timedelta(days=1)
    tell(cloud)
    tell(cloud, ACME)

    assert cloud.post.sent == []
    assert "has expired" in webhooks.get(cloud.services, AURORA, of_key.id).because
    assert "may not take reports away" in webhooks.get(cloud.services, ACME, of_vic.id).because


def test_a_webhook_of_a_key_is_told_no_link_of_what_the_key_may_not_take(cloud: Cloud) -> None:
    key, _ = key_of_ann(cloud, formats=["csv"])
    webhooks.register(cloud.services, AURORA, key, {"url": URL}, NOON)
    link, at = "https://portal.example/d/1", stamp(NOON)
    for format_ in ("csv", "xlsx"):
        data = {"link": link, "format": format_}
        [id_] = deliveries.for_webhooks(cloud.services, AURORA, "schedule.ready", f"s/{format_}", at, data)
        assert deliveries.attempt(cloud.services, AURORA, id_) == "delivered"

    told = [json.loads(body)["data"] for _, _, body in cloud.post.sent]
    assert [(one["format"], one["link"]) for one in told] == [("csv", link), ("xlsx", "")]


def test_what_was_disabled_leaves_its_place_to_another(cloud: Cloud) -> None:
    ids = [register(cloud, url=f"https://hooks.example/{number}")[0] for number in range(webhooks.WEBHOOKS_MAX)]
    with pytest.raises(BadInputError, match="would be webhook 21"):
        register(cloud)
    assert register(cloud, url="https://hooks.example/3")[0] == ids[3]
    webhooks.disable(cloud.services, AURORA, ids[3], "by hand")
    register(cloud)
    with pytest.raises(BadInputError, match="would be webhook 21"):
        register(cloud, url="https://hooks.example/3")


def test_a_message_that_cannot_be_made_fails_and_holds_up_nobody(cloud: Cloud) -> None:
    # As a row of before such addresses were refused.
    poison, at = "=?a?q?b?=@b.example", stamp(NOON)
    for to in (poison, "ann@aurora.example"):
        deliveries.for_mail(cloud.services, AURORA, "schedule.ready", "s/1", at, [to], "Costs", [("a", "b")], "")
    tell(cloud, ACME)
    each = Each()
    deliveries.attempt_due(cloud.services, each)

    each.finish()
    found = {one["to"]: one for one in listed(cloud)}
    assert found["ann@aurora.example"]["state"] == "delivered"
    assert found[poison]["state"] == "waiting"
    assert "this is a defect" in found[poison]["attempts"][0]["because"]
    wait(cloud)
    assert {one["to"]: one["state"] for one in listed(cloud)}[poison] == "failed"


def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(cloud: Cloud) -> None:
    id_, old = register(cloud)
    webhook, new = webhooks.rotate(cloud.services, AURORA, id_, NOON)
    assert webhooks.rotate(cloud.services, AURORA, id_, NOON + timedelta(hours=1)) == (webhook, new)
    assert new != old
    tell(cloud, about="run-1")
    cloud.clock.now = NOON + timedelta(hours=24)
    tell(cloud, about="run-2")

    (_, during, first), (_, after, second) = cloud.post.sent
    assert verified(old, during, first, NOON) == verified(new, during, first, NOON)
    assert verified(new, after, second, cloud.clock.now)["data"]["run"] == "run-2"
    with pytest.raises(ValueError, match="no signature"):
        verified(old, after, second, cloud.clock.now)


def test_a_secret_is_of_its_owner_its_endpoint_its_generation_and_is_kept_nowhere(cloud: Cloud) -> None:
    master = b"m" * 32
    asked = [(AURORA, "wh_1", 1), (ACME, "wh_1", 1), (AURORA, "wh_2", 1), (AURORA, "wh_1", 2)]
    assert len({signing.secret_of(master, *one) for one in asked}) == 4
    _, secret = register(cloud)
    tell(cloud)

    assert secret not in repr(cloud.rows.tables) + repr(cloud.work.objects)
    with pytest.raises(SettingError, match="at least 32"):
        signing.secret_of(b"short", AURORA, "wh_1", 1)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"url": "https://metadata.internal/"}, "url"),
        ({"url": "http://hooks.example/"}, "url"),
        ({"url": URL, "events": "report.ready"}, "events"),
        ({"url": URL, "events": ["month.in_review"]}, "events"),
        ({"url": URL, "events": [["report.ready"]]}, "events"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_and_nothing_is_made(
    cloud: Cloud, said: dict[str, Any], place: str
) -> None:  # fmt: skip
    with pytest.raises(BadInputError) as caught:
        webhooks.register(cloud.services, AURORA, "ann", said, NOON)

    assert caught.value.place == place
    assert cloud.rows.tables["webhooks"] == {}


def test_the_same_webhook_again_is_the_same_and_another_wish_for_it_is_refused(cloud: Cloud) -> None:
    assert register(cloud) == register(cloud)
    with pytest.raises(BadInputError, match="is registered already"):
        register(cloud, events=["report.ready"])

    assert len(webhooks.of_owner(cloud.services, AURORA)) == 1


def test_what_is_too_much_for_a_message_stays_away_and_it_says_so(cloud: Cloud) -> None:
    register(cloud)
    many = [{"name": "x" * 100} for _ in range(400)]
    about, at = "reseller/aurora/7/statement.published", "2025-07-04T04:00:00Z"
    data = {"cycle": "2025-06", "files": many}
    [id_] = deliveries.for_webhooks(cloud.services, AURORA, "statement.published", about, at, data)
    deliveries.attempt(cloud.services, AURORA, id_)

    body = cloud.post.sent[0][2]
    assert len(body) < 20_000
    assert json.loads(body)["data"] == {"id": about, "cycle": "2025-06", "left_out": ["files"]}


def test_an_attempt_whose_end_nobody_heard_is_not_made_again_and_the_next_one_is(cloud: Cloud) -> None:
    register(cloud)
    event = OwnerEvent(AURORA, "report.ready", "run-1", "2025-07-04T04:00:00Z", {})
    [id_] = deliveries.for_webhooks(cloud.services, AURORA, "report.ready", event.about, event.at, {})
    found = kept.find(cloud.services, DELIVERIES, AURORA, id_)
    assert found is not None
    assert deliveries._begin(cloud.services, found, NOON, 0) is not None  # and then it died

    assert deliveries._begin(cloud.services, found, NOON, 0) is None  # another, of what it read before
    assert deliveries.attempt(cloud.services, AURORA, id_) == "waiting"
    assert cloud.post.sent == []
    wait(cloud, until=1)
    assert len(cloud.post.sent) == 1
    assert [one["is"] for one in listed(cloud)[0]["attempts"]] == ["lost", "delivered"]
