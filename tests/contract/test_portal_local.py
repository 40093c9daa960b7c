"""The portal on the local cloud: people sign in at its issuer and decide over HTTP, under the function's policy."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from infra.clearbook import login, remote
from infra.clearbook.context import environment, services, start_local
from infra.clearbook.main import main
from infra.localcloud.cloud import LocalCloud
from infra.provision.plan import plan
from shared.control import approvals
from tests.builders import parties


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start_local(tmp_path_factory.mktemp("portal") / "home", instances=2) as running:
        for action in plan(environment(running.home)):
            action.make()
        assert status(running.home, "init") == 0
        yield running


def status(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    return int(ended.value.code or 0)


def call(url: str, method: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, parts.path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read())
    finally:
        connection.close()


def signed(cloud: LocalCloud, **claims: Any) -> str:
    """A token of the local issuer that says what is given."""
    issuer, now = cloud.endpoints()["issuer"], int(time.time())
    said = {"iss": issuer["endpoint"], "aud": "clearbook", "sub": "paula", "iat": now, "exp": now + 60, **claims}
    body = json.dumps(said).encode()
    status_, _, found = call(f"{issuer['endpoint']}/sign", "POST", body, Authorization=f"Bearer {issuer['token']}")
    assert status_ == 200
    return str(found["access_token"])


def test_two_people_put_a_document_in_force_and_the_chain_says_who(cloud: LocalCloud) -> None:
    (cloud.home / "parties.yaml").write_text(json.dumps(parties()))
    assert status(cloud.home, "party", "import", str(cloud.home / "parties.yaml")) == 0
    assert status(cloud.home, "approve", "parties#1", "--by", "paula") == 1
    assert status(cloud.home, "approve", "parties#1@0123456789abcdef") == 1  # not as it is shown
    assert status(cloud.home, "approve", "parties#1") == 0

    said = [(entry.kind, entry.actor) for entry in services(cloud.home).chain.read("parties")]
    assert said == [("proposed", "paula"), ("refused", "paula"), ("approved", "amir")]


def test_tokens_that_must_not_count_are_refused_over_http_and_stand_in_no_log(cloud: LocalCloud) -> None:
    url, now = f"{environment(cloud.home)['CLEARBOOK_PORTAL']}/v1/me", int(time.time())
    good = signed(cloud)
    assert call(url, "GET", Authorization=f"Bearer {good}")[2]["user"] == "paula"
    bad = {
        "has expired": signed(cloud, exp=now - 600),
        "for another audience": signed(cloud, aud="payroll"),
        "of another issuer": signed(cloud, iss="https://elsewhere.example"),
        "no key of the issuer": good[:-8] + ("A" * 8),
    }
    for said, token in bad.items():
        found, headers, refused = call(url, "GET", Authorization=f"Bearer {token}")
        assert (found, refused["code"], said in refused["detail"]) == (401, "not_signed_in", True), refused
        assert headers["WWW-Authenticate"] == 'Bearer realm="clearbook"'
    assert call(url, "GET")[0] == 401
    logs = b"".join(path.read_bytes() for path in (cloud.home / "logs").rglob("*") if path.is_file())
    assert not [token for token in (good, *bad.values()) if token.encode() in logs]


def test_a_decision_has_the_clouds_time_whatever_the_client_says(cloud: LocalCloud) -> None:
    rates = {"name": "a.csv", "text": "currency,to,cycle,rate\nUSD,CNY,2025-06,7.1\n"}
    cloud.host.set_clock(cloud.host.clock().replace(year=2031))
    try:
        assert remote.portal(cloud.home, "paula").propose("fx_tables", rates, "")["proposals"][0]["at"][:4] == "2031"
    finally:
        cloud.host.set_clock(None)


def test_what_is_kept_of_a_login_is_nobody_elses_and_goes_with_the_logout(
    cloud: LocalCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(cloud.home, "login", "--user", "anna") == 0
    kept = cloud.home / "logins.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (cloud.home / "issuer" / "people.json").stat().st_mode & 0o777 == 0o600
    [token] = [one["anna"]["token"] for one in json.loads(kept.read_bytes()).values()]
    capsys.readouterr()
    assert status(cloud.home, "me", "--by", "anna") == 0
    said = capsys.readouterr()
    assert said.out.startswith("anna: Anna Approver, approver")
    assert token not in said.out + said.err
    assert status(cloud.home, "logout", "--user", "anna") == 0
    assert token not in kept.read_text()


def test_somebody_signs_in_with_a_code_in_a_browser(cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    issuer = cloud.endpoints()["issuer"]["endpoint"]
    password = json.loads((cloud.home / "issuer" / "people.json").read_bytes())["pavel"]
    shown: list[str] = []

    def browse() -> None:
        while not shown:
            time.sleep(0.02)
            shown.extend(word for word in capsys.readouterr().out.split() if len(word) == 8 and word.isalnum())
        form = urlencode({"user_code": shown[0], "username": "pavel", "password": password}).encode()
        connection = http.client.HTTPConnection(urlsplit(issuer).netloc)
        connection.request("POST", "/device/page", form, {"Content-Type": "application/x-www-form-urlencoded"})
        assert connection.getresponse().read().startswith(b"signed in")

    browser = threading.Thread(target=browse, daemon=True)
    browser.start()
    login.sign_in(None, cloud.home, None)
    browser.join(5)
    assert capsys.readouterr().out.startswith("signed in as pavel until ")


def test_a_token_says_no_more_than_it_must(cloud: LocalCloud) -> None:
    token = login.token_of(cloud.home, environment(cloud.home), "paula")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert set(claims) == {"iss", "aud", "sub", "iat", "nbf", "exp"}
    assert set(approvals.users(services(cloud.home).chain)) == {"paula", "pavel", "amir", "anna"}
