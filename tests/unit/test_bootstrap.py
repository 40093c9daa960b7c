"""What the settings make of the adapters: keys as they are at the time, patience, one pace an account."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shared.bootstrap import build_services
from shared.errors import SettingError
from shared.parties.parties import Connector


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"payer": {"access_key_id": "LTAI", "access_key_secret": "s"}, "half": {"x": "y"}}))
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.one",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s1",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "t1",
        "CLEARBOOK_BUCKET_PREFIX": "clearbook",
        "CLEARBOOK_BSS_ENDPOINT": "business.example",
        "CLEARBOOK_OSS_ENDPOINT": "https://oss.example",
        "CLEARBOOK_REGION": "cn-hangzhou",
        "CLEARBOOK_SCRATCH": str(tmp_path),
        "CLEARBOOK_SECRETS": f"file:{secrets}",
        "CLEARBOOK_TABLESTORE_ENDPOINT": "https://rows.example",
        "CLEARBOOK_TABLESTORE_INSTANCE": "clearbook",
    }


def connector(account: str, named: str = "payer") -> Connector:
    return Connector(account, "Payer", "default", named, "negative", date(2025, 1, 1), quota_group=account)


def test_a_key_that_changes_in_the_environment_signs_the_next_link(environ: dict[str, str]) -> None:
    work = build_services(environ).buckets.work
    first = work.link("a", 60, "a")
    environ |= {"ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.two", "ALIBABA_CLOUD_SECURITY_TOKEN": "t2"}
    second = work.link("a", 60, "a")

    assert ("STS.one" in first, "STS.two" in second) == (True, True)
    assert "x-oss-security-token=t2" in second


def test_without_a_key_the_missing_setting_is_named(environ: dict[str, str]) -> None:
    del environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    services = build_services(environ)
    calls: list[Any] = [lambda: services.buckets.work.get("a"), lambda: services.rows.get("chain", (("a", 1),))]
    for call in calls:
        with pytest.raises(SettingError, match="ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"):
            call()


def test_calls_for_a_payer_share_one_pace_and_other_payers_have_theirs(environ: dict[str, str]) -> None:
    services = build_services(environ)
    paces = [getattr(services.bill_api(connector(account)), "_pace") for account in ("19", "19", "20")]  # noqa: B009

    assert paces[0] is paces[1]
    assert paces[0] is not paces[2]


def test_a_secret_without_a_key_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="secret 'half' has no access_key_id and no access_key_secret"):
        build_services(environ).bill_api(connector("19", "half"))
