"""A local BSS and OSS over one home, a subscribed payer, and what is in its bucket."""

from __future__ import annotations

import csv
import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import oss2
from alibabacloud_bssopenapi20171214 import models

from infra.localcloud import common
from infra.localcloud.bss.load import grant_dump_role
from tests.contract.bss_cloud import Payer, World, running

BUCKET = "bills"


@dataclass(slots=True)
class Files:
    """The services, and a bucket that bill files go to."""

    world: World
    oss: common.Service
    bucket: Any

    def subscriber(self, *items: Any, customers: tuple[str, ...] = ()) -> Payer:
        """A payer that lets the service write to its buckets."""
        payer = self.world.payer(*items, customers=customers)
        grant_dump_role(self.world.home, payer.account)
        return payer

    def push(self, until: str) -> int:
        """Set the clock and have pushed what is due, as the function host does; returns how many files that were."""
        instant = beijing(until)
        self.world.clock.set(instant)
        return int(self.control({"until": instant.isoformat()})["pushed"])

    def control(self, body: object, token: str | None = None) -> dict[str, Any]:
        """The answer of the control call, with its HTTP status where it is refused."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.world.service.port}/control/push",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.world.main.control_token if token is None else token}"},
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return {"status": error.code, **json.load(error)}

    def objects(self, prefix: str = "") -> list[str]:
        """The keys in the bucket."""
        return [found.key for found in oss2.ObjectIteratorV2(self.bucket, prefix=prefix)]

    def rows(self, key: str) -> list[dict[str, str]]:
        """The rows of a file that is not zipped."""
        return rows_of(self.bucket.get_object(key).read())

    def members(self, key: str) -> dict[str, list[dict[str, str]]]:
        """The rows of each file in a zipped one."""
        with zipfile.ZipFile(io.BytesIO(self.bucket.get_object(key).read())) as archive:
            return {name: rows_of(archive.read(name)) for name in archive.namelist()}

    def events(self) -> list[tuple[str, str]]:
        """What OSS told of: when, and which key, in order."""
        import sqlite3

        with sqlite3.connect(f"file:{self.world.home / 'oss' / 'oss.db'}?mode=ro", uri=True) as database:
            found = database.execute("SELECT body FROM event ORDER BY id").fetchall()
        database.close()
        bodies = [json.loads(body) for (body,) in found]
        return [(body["eventTime"], body["oss"]["object"]["key"]) for body in bodies]


@contextmanager
def services(home: Path) -> Iterator[Files]:
    """OSS and BSS over `home`, and the bucket."""
    oss = common.start("oss", home)
    try:
        with running(home, "--describe-qps", "100000") as world:
            tell_ports(home, oss=oss.port, bss=world.service.port)
            yield Files(world, oss, bucket(home, oss.port))
    finally:
        oss.stop()


def tell_ports(home: Path, **ports: int) -> None:
    """Note where services answer, as starting a whole cloud does."""
    common.write_atomically(home / "ports.json", json.dumps(ports).encode())


def bucket(home: Path, port: int) -> Any:
    """The bucket for bill files, made where there is none."""
    keys = common.load_keys(home)
    auth = oss2.AuthV4(keys.access_key_id, keys.access_key_secret)
    made = oss2.Bucket(auth, f"http://127.0.0.1:{port}", BUCKET, region=keys.region)
    made.create_bucket()
    return made


def subscribe(payer: Payer, subscribe_type: str, **fields: Any) -> Any:
    """Subscribe by the typed client; returns the body."""
    request = models.SubscribeBillToOSSRequest(
        **{"subscribe_bucket": BUCKET, "subscribe_type": subscribe_type, **fields}
    )
    return payer.typed().subscribe_bill_to_oss(request).body


def beijing(text: str) -> datetime:
    """A time in Beijing, such as `2026-06-02T10:00`."""
    return datetime.fromisoformat(f"{text}+08:00")


def rows_of(content: bytes) -> list[dict[str, str]]:
    """The rows of a file, by its header."""
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
