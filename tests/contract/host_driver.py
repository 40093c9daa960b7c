"""Starts a function host for a test and plays OSS towards it by writing its event table."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.localcloud import common
from infra.localcloud.client import HostClient

FUNCTIONS = Path(__file__).parent / "host_functions"
WAIT_S = 10.0


class Host:
    """A function host over a home of its own, and what its functions recorded."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home, self.records, self._options = home, home / "records", options
        self.records.mkdir(parents=True)
        self.template = FUNCTIONS / "s.yaml"
        self._settings = home / "settings.json"
        self._settings.write_text(json.dumps({"RECORDS": str(self.records), "HOME_FOLDER": str(home)}))
        self._service: common.Service | None = None

    def start(self) -> Host:
        self._service = common.start(
            "host", self.home, "--template", str(self.template), "--code", str(FUNCTIONS),
            "--environment", str(self._settings), *self._options,
        )  # fmt: skip
        return self

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()

    def kill(self) -> None:
        assert self._service is not None
        self._service.process.kill()
        self._service.process.wait()

    @property
    def port(self) -> int:
        assert self._service is not None
        return self._service.port

    @property
    def client(self) -> HostClient:
        return HostClient(f"http://127.0.0.1:{self.port}", common.load_keys(self.home).control_token, timeout_s=30)

    def recorded(self) -> list[tuple[dict[str, Any], str, float, float]]:
        """Each event that `record` got: the event, the clock it saw, when it began and ended."""
        path = self.records / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        fields = (line.split("\t") for line in lines)
        return [(json.loads(event), clock, float(began), float(ended)) for event, clock, began, ended in fields]

    def put(self, key: str, name: str = "ObjectCreated:PutObject", bucket: str = "work") -> None:
        """What OSS writes when an object is stored."""
        path = self.home / "oss" / "oss.db"
        path.parent.mkdir(exist_ok=True)
        body = {
            "eventName": name,
            "eventSource": "acs:oss",
            "oss": {"bucket": {"name": bucket}, "object": {"key": key}},
        }
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS event"
                " (id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT, key TEXT, name TEXT, body TEXT)"
            )
            db.execute(
                "INSERT INTO event (bucket, key, name, body) VALUES (?, ?, ?, ?)", (bucket, key, name, json.dumps(body))
            )
        db.close()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


def until(claim: Callable[[], object]) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + WAIT_S
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
