"""The local cloud as a whole: its services over one folder that start, work together, and end together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oss2
import pytest

from infra.localcloud import cloud as local
from infra.localcloud.cloud import LocalCloud
from infra.localcloud.common import LocalCloudError
from tests.contract.host_driver import FUNCTIONS, is_running


def start(home: Path) -> LocalCloud:
    records = home / "records"
    records.mkdir(parents=True, exist_ok=True)
    settings = {"RECORDS": str(records), "HOME_FOLDER": str(home)}
    return local.start(home, FUNCTIONS / "s.yaml", FUNCTIONS, [], settings, instances=2)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("cloud") / "home") as running:
        yield running


def bucket(cloud: LocalCloud) -> oss2.Bucket:
    oss = cloud.endpoints()["oss"]
    auth = oss2.AuthV4(oss["access_key_id"], oss["access_key_secret"])
    return oss2.Bucket(auth, oss["endpoint"], "work", region=oss["region"])


def test_an_object_stored_with_the_genuine_sdk_wakes_its_function(cloud: LocalCloud) -> None:
    bucket(cloud).create_bucket()
    stored = bucket(cloud).put_object("orders/1.json", b"{}")
    cloud.host.idle()

    event, *_ = (cloud.home / "records" / "events").read_text().splitlines()[-1].split("\t")
    [element] = json.loads(event)["events"]
    assert element["eventName"] == "ObjectCreated:PutObject"
    assert element["oss"]["object"]["key"] == "orders/1.json"
    assert element["oss"]["object"]["eTag"] == stored.etag
    assert element["responseElements"]["requestId"] == stored.request_id


def test_functions_are_told_where_the_services_are(cloud: LocalCloud) -> None:
    seen = json.loads(cloud.host.invoke("probe", b"tell"))["environment"]
    endpoints = cloud.endpoints()

    assert {name: value for name, value in seen.items() if name.startswith("CLEARBOOK_")} == {
        "CLEARBOOK_OSS_ENDPOINT": endpoints["oss"]["endpoint"],
        "CLEARBOOK_TABLESTORE_ENDPOINT": endpoints["tablestore"]["endpoint"],
        "CLEARBOOK_TABLESTORE_INSTANCE": endpoints["tablestore"]["instance"],
        "CLEARBOOK_BSS_ENDPOINT": endpoints["bss"]["endpoint"],
        "CLEARBOOK_BSS_PROTOCOL": "HTTP",
        "CLEARBOOK_STS_ENDPOINT": endpoints["bss"]["endpoint"],
        "CLEARBOOK_STS_PROTOCOL": "HTTP",
        "CLEARBOOK_REGION": "cn-hangzhou",
        "CLEARBOOK_OIDC_ISSUER": endpoints["issuer"]["endpoint"],
        "CLEARBOOK_PORTAL": f"{endpoints['host']['endpoint']}/http/portal",
    }
    assert not endpoints["bss"]["endpoint"].startswith("http")


def test_a_second_cloud_over_the_same_home_is_refused_and_the_first_goes_on(cloud: LocalCloud) -> None:
    with pytest.raises(LocalCloudError, match=r"already runs over .* \(process [0-9]+\)"):
        start(cloud.home)

    cloud.check()
    assert cloud.host.invoke("probe", b"echo") == b"echo"


def test_a_service_that_ended_by_itself_is_named_and_ports_outlive_a_restart(tmp_path: Path) -> None:
    with start(tmp_path / "home") as running:
        before = running.endpoints()
        running.check()
        running._services["tablestore"].process.kill()
        running._services["tablestore"].process.wait()
        with pytest.raises(LocalCloudError, match=r"tablestore service ended with exit code -9; see .*tablestore\.log"):
            running.check()
        running.stop()

    with start(tmp_path / "home") as again:
        assert again.endpoints() == before


def test_services_end_with_their_starter_and_the_home_is_free_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, time; from pathlib import Path; from tests.contract.test_local_cloud import start;"
        "cloud = start(Path(sys.argv[1]));"
        "print(*[s.process.pid for s in cloud._services.values()], flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    starter = subprocess.Popen([sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert starter.stdout is not None
    services = [int(pid) for pid in starter.stdout.readline().split()]
    assert len(services) == 7
    starter.kill()
    starter.wait()

    with start(home) as running:
        assert not [pid for pid in services if is_running(pid)]
        assert running.host.invoke("probe", b"echo") == b"echo"
