"""The demo's payers and bills at the local provider, with access keys of their own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from infra.clearbook.demo.month import Line, Month
from infra.localcloud import common
from infra.localcloud.bss import load

_TOLD_EVERY = 1000


def load_bills(
    home: Path, month: Month, advance: Callable[[int], None] = lambda by: None, since: date | None = None
) -> None:
    """Put payers and bills there, once; their keys go to `home/secrets.json` as `payer-<account>`.

    With `since` the bills have lines of that date and later ones only.
    """
    path = home / "secrets.json"
    known: dict[str, dict[str, str]] = json.loads(path.read_bytes())
    for payer in month.payers:
        name = f"payer-{payer.account}"
        if name not in known:
            known[name] = {
                "access_key_id": "LTAI" + secrets.token_hex(8),
                "access_key_secret": secrets.token_urlsafe(24),
            }
            common.write_atomically(path, json.dumps(known).encode(), mode=0o600)
        key = known[name]
        owners = month.cast.owners_of(payer.account)
        load.add_payer(
            home, payer.account, payer.name, key["access_key_id"], key["access_key_secret"],
            [owner.account for owner in owners],
        )  # fmt: skip
    for payer in month.payers:
        first = "" if since is None else since.isoformat()
        items = (line for line in _counted(month.bill(payer.account), advance) if line[2] >= first)
        load.add_items(home, payer.account, month.cycle, items, batch=f"demo-{payer.account}")


def load_afterwards(home: Path, month: Month, since: date) -> None:
    """Put there what the provider bills once the month is closed, once; of the month nothing before ten on the 4th."""
    for payer in month.payers:
        for cycle, items in month.afterwards(payer.account, since).items():
            load.add_items(home, payer.account, cycle, items, batch=f"demo-after-{payer.account}-{cycle}")


def _counted(items: Iterator[Line], advance: Callable[[int], None]) -> Iterator[Line]:
    for number, item in enumerate(items, 1):
        if number % _TOLD_EVERY == 0:
            advance(_TOLD_EVERY)
        yield item
