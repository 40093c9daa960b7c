"""What the local Tablestore still knows after its end, however it came."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from pathlib import Path

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    Condition,
    PutRowItem,
    Row,
)

from infra.localcloud import common
from tests.contract.tablestore_cloud import (
    ABSENT,
    Cloud,
    batch,
    check_failed,
    create,
    key,
    pages,
    put,
    read,
)


def test_rows_and_tables_are_there_after_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", [("id", "STRING")])
    put(first.client(), "t", "a", ("x", "值"), ("y", 2))
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        assert second.client().list_table() == ("t",)
        assert read(second.client(), "t", "a") == {"x": "值", "y": 2}
        with check_failed():
            put(second.client(), "t", "a", when=Condition(ABSENT))
    finally:
        second.service.stop()


def test_a_second_service_over_the_same_folder_does_not_start(ots: Cloud) -> None:
    with pytest.raises(common.LocalCloudError, match="end the other local Tablestore"):
        common.start("tablestore", ots.home)


def test_no_acknowledged_write_is_lost_when_the_service_is_killed(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", [("id", "STRING")])
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        client = first.client()
        for number in itertools.count():
            items = [PutRowItem(Row(key(f"{number}-{i}"), [("x", number)]), Condition(ABSENT)) for i in range(20)]
            try:
                assert batch(client, t=items).is_all_succeed()
            except Exception:  # the service is gone
                return
            acknowledged.append(number)
            if len(acknowledged) == 40:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(20)
    os.kill(first.service.process.pid, signal.SIGKILL)
    writer.join()
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        found = [
            r.primary_key[0][1]
            for page in pages(second.client(), "t", "FORWARD", [("id", INF_MIN)], [("id", INF_MAX)])
            for r in page
        ]
        assert {f"{number}-{i}" for number in acknowledged for i in range(20)} <= set(found)
        assert len(found) % 20 == 0  # a batch that was under way is there in full or not at all
    finally:
        second.service.stop()
