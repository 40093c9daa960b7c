"""Provisioning against the genuine services: a plan, made once, and nothing that is there is bent into shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import oss2
import pytest

from infra.localcloud import common
from infra.provision.plan import RECORDS_DAYS, TABLES, UnfitError, plan


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    keys = common.load_keys(tmp_path)
    oss, tablestore = common.start("oss", tmp_path), common.start("tablestore", tmp_path)
    yield {
        "CLEARBOOK_REGION": keys.region,
        "CLEARBOOK_BUCKET_PREFIX": "books",
        "CLEARBOOK_OSS_ENDPOINT": f"http://127.0.0.1:{oss.port}",
        "CLEARBOOK_TABLESTORE_ENDPOINT": f"http://127.0.0.1:{tablestore.port}",
        "CLEARBOOK_TABLESTORE_INSTANCE": keys.instance,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
    }
    oss.stop()
    tablestore.stop()


def bucket(cloud: Mapping[str, str], name: str) -> oss2.Bucket:
    auth = oss2.AuthV4(cloud["ALIBABA_CLOUD_ACCESS_KEY_ID"], cloud["ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
    return oss2.Bucket(auth, cloud["CLEARBOOK_OSS_ENDPOINT"], name, region=cloud["CLEARBOOK_REGION"])


def apply(cloud: Mapping[str, str]) -> None:
    for action in plan(cloud):
        action.make()


def test_what_is_missing_is_made_once_and_then_everything_is_there(cloud: Mapping[str, str]) -> None:
    planned = [action.what for action in plan(cloud)]
    assert [what for what in planned if what.startswith("create bucket")] == [
        f"create bucket books-{name}" for name in ("inbox", "work", "records", "reports")
    ]
    assert len([what for what in planned if what.startswith("create table")]) == len(TABLES)
    apply(cloud)

    assert plan(cloud) == []
    worm = bucket(cloud, "books-records").get_bucket_worm()
    assert (worm.state, int(worm.retention_period_days)) == ("Locked", RECORDS_DAYS)


def test_a_retention_that_was_begun_and_not_locked_is_locked(cloud: Mapping[str, str]) -> None:
    bucket(cloud, "books-records").create_bucket()
    bucket(cloud, "books-records").init_bucket_worm(RECORDS_DAYS)
    apply(cloud)

    assert bucket(cloud, "books-records").get_bucket_worm().state == "Locked"


def test_a_retention_that_is_too_short_is_refused(cloud: Mapping[str, str]) -> None:
    bucket(cloud, "books-records").create_bucket()
    bucket(cloud, "books-records").init_bucket_worm(1)

    with pytest.raises(UnfitError, match="keeps its objects for 1 days, 3650 are needed"):
        plan(cloud)
