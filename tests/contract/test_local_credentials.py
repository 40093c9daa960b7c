"""Temporary credentials, signed with the genuine SDKs: OSS and Tablestore take them as the cloud does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import oss2
import pytest
import tablestore as ots

from infra.localcloud import common, identity
from infra.localcloud.identity import Credentials
from tests.contract.local_cloud import link_status

KEY = [("id", "a")]


@dataclass(frozen=True, slots=True)
class Cloud:
    """OSS and Tablestore over one home, with a bucket, an object and a table."""

    home: Path
    keys: common.Keys
    oss: common.Service
    tablestore: common.Service

    def issued(self, now: datetime | None = None, role: str = "reader") -> Credentials:
        return identity.issue(self.keys, role, "read", "read-1", now or datetime.now(UTC))

    def bucket(self, key: Credentials) -> oss2.Bucket:
        auth: Any = oss2.AuthV4(key.access_key_id, key.access_key_secret)
        if key.security_token:
            auth = oss2.StsAuth(key.access_key_id, key.access_key_secret, key.security_token, auth_version="v4")
        return oss2.Bucket(auth, f"http://127.0.0.1:{self.oss.port}", "books", region=self.keys.region)

    def rows(self, key: Credentials, region: str | None) -> Any:
        return ots.OTSClient(
            f"http://127.0.0.1:{self.tablestore.port}", key.access_key_id, key.access_key_secret, self.keys.instance,
            sts_token=key.security_token or None, region=region, retry_policy=ots.NoRetryPolicy(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("credentials")
    keys = common.load_keys(home)
    oss, tablestore = common.start("oss", home), common.start("tablestore", home)
    made = Cloud(home, keys, oss, tablestore)
    main = Credentials(keys.access_key_id, keys.access_key_secret, "")
    made.bucket(main).create_bucket()
    made.bucket(main).put_object("a/1.json", b"{}")
    meta = ots.TableMeta("rows", [("id", "STRING")])
    made.rows(main, None).create_table(meta, ots.TableOptions(), ots.ReservedThroughput(ots.CapacityUnit(0, 0)))
    yield made
    oss.stop()
    tablestore.stop()


def refused(cloud: Cloud, key: Credentials) -> tuple[int, str, str]:
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        cloud.bucket(key).get_object("a/1.json")
    return caught.value.status, str(caught.value.code), str(caught.value.details.get("EC"))


def test_an_object_is_read_with_temporary_credentials_in_the_header_and_by_link(cloud: Cloud) -> None:
    bucket = cloud.bucket(cloud.issued())

    assert bucket.get_object("a/1.json").read() == b"{}"
    link = bucket.sign_url("GET", "a/1.json", 60, slash_safe=True)
    assert "x-oss-security-token=" in link
    assert link_status(link) == 200


@pytest.mark.parametrize("region", ["cn-hangzhou", None], ids=["V4", "V2"])
def test_rows_are_read_and_written_with_temporary_credentials(cloud: Cloud, region: str | None) -> None:
    client = cloud.rows(cloud.issued(), region)
    client.put_row("rows", ots.Row(KEY, [("n", 1)]))

    # The SDK checks the answer's signature, which is made with the temporary secret too.
    assert client.get_row("rows", KEY, max_version=1)[1].attribute_columns[0][:2] == ("n", 1)


def test_oss_says_that_a_token_has_expired(cloud: Cloud) -> None:
    old = cloud.issued(datetime.now(UTC) - identity.LIFETIME - timedelta(seconds=1))

    assert refused(cloud, old) == (403, "SecurityTokenExpired", "0002-00000007")
    link = cloud.bucket(old).sign_url("GET", "a/1.json", 60, slash_safe=True)
    assert link_status(link) == 403


def test_oss_refuses_a_token_that_is_not_the_keys(cloud: Cloud) -> None:
    mine, other = cloud.issued(), cloud.issued(role="writer")

    mixed = Credentials(mine.access_key_id, mine.access_key_secret, other.security_token)
    assert refused(cloud, mixed) == (403, "InvalidSecurityToken", "0002-00000008")
    bare = Credentials(mine.access_key_id, mine.access_key_secret, "")
    assert refused(cloud, bare) == (403, "InvalidAccessKeyId", "0002-00000902")
    guessed = Credentials(mine.access_key_id, "guessed", mine.security_token)
    assert refused(cloud, guessed)[:2] == (403, "SignatureDoesNotMatch")


def test_a_link_does_not_open_with_another_token_or_none(cloud: Cloud) -> None:
    link = cloud.bucket(cloud.issued()).sign_url("GET", "a/1.json", 60, slash_safe=True)
    address, _, query = link.partition("?")
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&"))
    other = {**pairs, "x-oss-security-token": quote(cloud.issued(role="writer").security_token)}
    none = {name: value for name, value in pairs.items() if name != "x-oss-security-token"}

    for changed, status in ((pairs, 200), (other, 403), (none, 403)):
        assert link_status(address + "?" + "&".join(f"{name}={value}" for name, value in changed.items())) == status


@pytest.mark.parametrize("region", ["cn-hangzhou", None], ids=["V4", "V2"])
def test_tablestore_refuses_credentials_that_are_nobodys(cloud: Cloud, region: str | None) -> None:
    mine, other = cloud.issued(), cloud.issued(role="writer")
    old = cloud.issued(datetime.now(UTC) - identity.LIFETIME)
    for key, message in [
        (Credentials(mine.access_key_id, mine.access_key_secret, ""), "The AccessKeyID does not exist."),
        (Credentials(mine.access_key_id, mine.access_key_secret, other.security_token), "The STS token is invalid."),
        (Credentials(mine.access_key_id, "guessed", mine.security_token), "Signature mismatch."),
        (old, "The STS token has expired."),
    ]:
        with pytest.raises(ots.OTSServiceError) as caught:
            cloud.rows(key, region).get_row("rows", KEY)
        found = caught.value
        assert (found.get_http_status(), found.get_error_code(), found.get_error_message()) == (
            403,
            "OTSAuthFailed",
            message,
        )
