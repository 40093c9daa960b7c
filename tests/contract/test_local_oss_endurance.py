"""What the local OSS keeps when it restarts or dies, and what large bodies cost it."""

from __future__ import annotations

import http.client
import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import oss2
import pytest

from infra.localcloud import common
from infra.localcloud.oss import checksum
from tests.contract.oss_cloud import (
    Cloud,
    running,
    upload_parts,
)


def test_what_was_stored_outlives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as before:
        bucket = before.new_bucket("kept")
        bucket.put_object("small", b"1", headers={"x-oss-meta-a": "b"})
        bucket.put_object("large", b"2" * 2_000_000)
        worm = bucket.init_bucket_worm(5).worm_id
        upload = bucket.init_multipart_upload("joined").upload_id
        parts = upload_parts(bucket, "joined", upload, {1: b"3"})
        (tmp_path / "oss" / "objects" / "incoming-1").write_bytes(b"left by a killed process")

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        assert bucket.get_object("small").headers["x-oss-meta-a"] == "b"
        assert bucket.get_object("large").read() == b"2" * 2_000_000
        assert bucket.get_bucket_worm().worm_id == worm
        bucket.complete_multipart_upload("joined", upload, parts)
        assert bucket.get_object("joined").read() == b"3"
        assert len(list((tmp_path / "oss" / "objects").iterdir())) == 2  # large and joined, no orphan


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    sizes = (100, 90_000, 1_500_000)
    with running(tmp_path) as victim:
        victim.new_bucket("kept")
        acknowledged: dict[str, int] = {}
        enough = threading.Event()

        def write(writer: int) -> None:
            mine = victim.bucket("kept")
            for number in range(10_000):
                key, size = f"{writer}/{number}", sizes[(writer + number) % 3]
                try:
                    mine.put_object(key, key.encode()[:1] * size)
                except (oss2.exceptions.RequestError, oss2.exceptions.ServerError):
                    return
                acknowledged[key] = size
                if len(acknowledged) >= 60:
                    enough.set()

        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write, writer) for writer in range(3)]
            assert enough.wait(15)
            os.kill(victim.service.process.pid, signal.SIGKILL)
            for writer in writers:
                writer.result()

    with running(tmp_path) as after:
        bucket = after.bucket("kept")
        found = {entry.key: entry.size for entry in oss2.ObjectIteratorV2(bucket, max_keys=1000)}
        assert acknowledged.items() <= found.items()
        for key, size in found.items():
            assert bucket.get_object(key).read() == key.encode()[:1] * size
        assert sorted(key for _, key, _ in after.events("kept")) == sorted(found)
        stored = sum(1 for size in found.values() if size > 64 << 10)
        assert len(list((tmp_path / "oss" / "objects").iterdir())) == stored


def test_one_folder_has_one_service(cloud: Cloud) -> None:
    with pytest.raises(common.LocalCloudError, match="another local OSS already serves"):
        common.start("oss", cloud.home)


def test_an_upload_that_breaks_off_leaves_nothing(cloud: Cloud, bucket: Any) -> None:
    objects = cloud.home / "oss" / "objects"
    before = set(objects.iterdir())
    url = urlsplit(bucket.sign_url("PUT", "x", 60))
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str(8 << 20))
    connection.endheaders()
    connection.send(b"x" * (2 << 20))
    wait_until(lambda: set(objects.iterdir()) != before)
    connection.close()

    wait_until(lambda: set(objects.iterdir()) == before)
    assert not bucket.object_exists("x")


def wait_until(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_large_object_is_not_held_in_memory(cloud: Cloud, bucket: Any) -> None:
    def peak_mib() -> int:
        status = Path(f"/proc/{cloud.service.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) >> 10

    before = peak_mib()
    size = 48 << 20
    bucket.put_object("x", io.BytesIO(b"x" * size))
    got, read = bucket.get_object("x"), 0
    while piece := got.read(1 << 20):
        read += len(piece)

    assert read == size
    assert peak_mib() - before < 24


def test_a_body_above_the_limit_is_refused_at_once(cloud: Cloud, bucket: Any) -> None:
    url = urlsplit(bucket.sign_url("PUT", "x", 60))
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str((5 << 30) + 1))
    connection.endheaders()

    response = connection.getresponse()

    assert (response.status, b"EntityTooLarge" in response.read()) == (400, True)
    connection.close()


def test_the_checksum_is_crc_64_ecma_with_and_without_the_extension() -> None:
    data = b"123456789"

    assert checksum.update(data, 0) == checksum._table_driven()(data, 0) == 0x995DC9BBDF1939FA
    assert checksum._table_driven()(data[4:], checksum.update(data[:4], 0)) == 0x995DC9BBDF1939FA


def test_the_service_imports_nothing_of_what_it_is_to_test() -> None:
    folder = Path(checksum.__file__).parent
    found = subprocess.run(
        ["grep", "-rnE", r"^\s*(from|import) (oss2|shared|functions|infra\.clearbook)", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
