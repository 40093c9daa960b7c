"""Pushes bill files into OSS when they are due: by itself while the clock runs, else when the host says so.

Files are made as the bill stood at the instant of their push, whenever that is made up for, and put with the main
account's key. A push that was cut short, or whose answer was lost, is looked for in the bucket before it is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from infra.localcloud.bss.billfile import Form, write
from infra.localcloud.bss.schedule import BillFile, files_at
from infra.localcloud.bss.state import connect, may_dump_to
from infra.localcloud.bss.subscriptions import Subscription, Subscriptions
from infra.localcloud.common import LOOPBACK, Keys, LocalCloudError

LOOK_AGAIN_S = 1.0
ATTEMPTS = 5
TIMEOUT_S = 30
# The bucket does not take the file, now or later: the service goes on without a word.
_HOPELESS = frozenset({"NoSuchBucket", "AccessDenied", "FileImmutable", "InvalidObjectName"})

log = logging.getLogger(__name__)


class OssSilentError(LocalCloudError):
    """OSS does not answer, or only with errors of its own."""


class StoppingError(Exception):
    """The service is ending; what is due is pushed after its next start."""

    def __str__(self) -> str:
        return "the service is ending"


class Pusher:
    """Carries out the subscriptions of `home`, one push after the other."""

    def __init__(self, home: Path, keys: Keys) -> None:
        self._home, self._keys = home, keys
        self._lock = asyncio.Lock()
        self._stopping = threading.Event()
        for left in (home / "bss").glob("push-*"):  # of a service that was killed
            shutil.rmtree(left, ignore_errors=True)

    async def push(self, until: datetime) -> int:
        """Push everything due up to `until`; returns how many files that were. Raises OssSilentError."""
        async with self._lock:
            return await asyncio.to_thread(self._push, until)

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """Push by itself for as long as the application runs."""
        live = asyncio.create_task(self._live())
        yield
        live.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await live

    async def stop(self, app: web.Application) -> None:
        """End a push in progress behind the file it is at."""
        self._stopping.set()

    async def _live(self) -> None:
        subscriptions = Subscriptions(self._home)
        try:
            while True:
                await asyncio.sleep(LOOK_AGAIN_S)
                due, now = subscriptions.next_due(), datetime.now(UTC)
                if due is None or due > now or (self._home / "clock").exists():
                    continue
                try:
                    await self.push(now)
                except (OssSilentError, StoppingError) as exc:
                    log.warning("bill files of %s are late: %s", due, exc)
                except Exception:  # an entry point: what fails now is tried again, and must not end the trying
                    log.exception("bill files of %s are late", due)
        finally:
            subscriptions.close()

    def _push(self, until: datetime) -> int:
        subscriptions = Subscriptions(self._home)
        bills = connect(self._home)
        pushed = 0
        try:
            while (instant := subscriptions.next_due()) is not None and instant <= until:
                for subscription in subscriptions.due_at(instant):
                    pushed += self._files(subscriptions, bills, subscription)
                    subscriptions.finish(subscription)
            return pushed
        finally:
            bills.close()
            subscriptions.close()

    def _files(self, subscriptions: Subscriptions, bills: sqlite3.Connection, subscription: Subscription) -> int:
        order, pushed = subscription.order, 0
        if not may_dump_to(bills, order.bucket_owner):
            log.warning("%s withdrew the role: no bill files of %s", order.bucket_owner, subscription.next_push)
            return 0
        for file in files_at(order.kind, subscription.next_push, subscription.begin):
            if self._stopping.is_set():
                raise StoppingError
            if not subscriptions.is_done(subscription, order.key(file.name(order.payer))):
                pushed += self._file(subscriptions, bills, subscription, file)
        return pushed

    def _file(
        self, subscriptions: Subscriptions, bills: sqlite3.Connection, subscription: Subscription, file: BillFile
    ) -> int:
        order = subscription.order
        query = "SELECT name FROM payer WHERE account = ?"
        name = bills.execute(query, (order.payer,)).fetchone()
        form = Form(
            order.payer, name[0] if name else order.payer, order.accounts, order.language, order.with_currency,
            order.rows_max,
        )  # fmt: skip
        key = order.key(file.name(order.payer))
        with tempfile.TemporaryDirectory(prefix="push-", dir=self._home / "bss") as folder:
            body = write(Path(folder), bills, file, form, subscription.next_push)
            if body is None:
                return 0
            with body.open("rb") as content:
                etag = hashlib.file_digest(content, "md5").hexdigest().upper()
            is_new = subscriptions.begin(subscription, key, etag)
            try:
                put(bucket(self._home, self._keys, order.bucket), key, body, etag, subscription.next_push, is_new)
            except HopelessError as exc:
                log.warning("%s does not take %s: %s", order.bucket, key, exc)
                return 0
        subscriptions.done(subscription, key)
        return 1


class HopelessError(Exception):
    """The bucket does not take a file, and would not a second time."""


def bucket(home: Path, keys: Keys, name: str) -> Any:
    """A bucket of the local OSS beside us, as the main account; raises OssSilentError where OSS was never started."""
    import oss2  # takes a while, and most local clouds have no subscription

    try:
        port = json.loads((home / "ports.json").read_bytes())["oss"]
    except (OSError, ValueError, KeyError) as exc:
        raise OssSilentError(f"{home / 'ports.json'} does not say where OSS answers ({exc!r}); start it first") from exc
    auth = oss2.AuthV4(keys.access_key_id, keys.access_key_secret)
    return oss2.Bucket(auth, f"http://{LOOPBACK}:{port}", name, region=keys.region, connect_timeout=TIMEOUT_S)


def exists(of: Any) -> bool:
    """Whether there is such a bucket; raises OssSilentError."""
    import oss2

    for _ in range(ATTEMPTS):
        try:
            of.get_bucket_info()
        except oss2.exceptions.NoSuchBucket:
            return False
        except oss2.exceptions.OssError as exc:
            failure = exc
            continue
        return True
    raise OssSilentError(f"OSS does not say whether there is a bucket {of.bucket_name} ({failure})") from failure


def put(of: Any, key: str, body: Path, etag: str, instant: datetime, is_new: bool) -> None:
    """Put a file that is due at `instant`, unless that was done already; raises HopelessError or OssSilentError.

    Only where it may have been (`is_new` is false, or a try failed) is it looked for: by its content, put at or
    behind the instant, since the same key can hold the same content from the day before.
    """
    import oss2

    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            if (attempt or not is_new) and _is_there(of, key, etag, instant):
                return
            of.put_object_from_file(key, str(body))
        except oss2.exceptions.OssError as exc:
            if getattr(exc, "code", "") in _HOPELESS:
                raise HopelessError(f"{exc.code}: {exc.message}") from exc
            failure = exc
            continue
        return
    raise OssSilentError(f"OSS takes no bill file {of.bucket_name}/{key} ({failure}); try again") from failure


def _is_there(of: Any, key: str, etag: str, instant: datetime) -> bool:
    import oss2

    try:
        found = of.head_object(key)
    except oss2.exceptions.NotFound:
        return False
    return bool(found.etag == etag and found.last_modified >= int(instant.timestamp()))
