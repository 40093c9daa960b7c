"""Whatever a month holds, no byte of what reaches a reseller is another's: names, accounts, customers, amounts."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.steps import decide
from tests.builders import CYCLE, DAYS, agreement, assigned, item, parties
from tests.fakes import MemoryStore
from tests.pump import World
from tests.registered import register

# Words and numbers that occur in nothing else.
PAYERS = ("7100000000000001", "7100000000000002")
RESELLERS = {"quillon": "Quillon Cloud", "brasswick": "Brasswick IT", "mornhaven": "晨港科技"}
CUSTOMERS = {"quillon": ("ozark", "fennel"), "brasswick": ("juniper",), "mornhaven": ("tamarisk", "saffron")}
DIRECT = "perlman"  # a customer of the operator's own


class Month:
    """A random month of three resellers, and what is whose in it."""

    def __init__(self, scratch: Path, seed: int) -> None:
        self.world, self.chance = World(scratch), random.Random(seed)  # noqa: S311 - it can be had again, no secret
        self.own: dict[str, set[str]] = {one: {one, name} for one, name in RESELLERS.items()}
        self.own["operator"] = {DIRECT, *PAYERS}
        assignments = []
        for owner, customers in {**CUSTOMERS, "operator": (DIRECT,)}.items():
            for customer in customers:
                account = str(self.chance.randrange(10**15, 10**16))
                reseller = None if owner == "operator" else owner
                assignments.append(assigned(account, customer, reseller))
                self.own[owner] |= {account, customer, customer.title()}
                self._bill(owner, account)
        self._decide(assignments)
        self.buckets = {one: register(self.world, one, prefix=self.chance.choice(("", "a/b/"))) for one in RESELLERS}

    def close(self) -> None:
        """The month is settled, locked, paid and answered; some of it comes back."""
        world = self.world
        world.final()
        world.lock(*RESELLERS)
        world.switch_on(*RESELLERS)
        [proposal], _ = decide.propose_payouts(world.services, CYCLE, by=PREPARER, why="test", at=world.at)
        world.approve(proposal)
        self.own["operator"].add(proposal.body["total"])
        rows: list[tuple[str, str, str, str, str]] = []
        for reseller in RESELLERS:
            for name, entry in world.month(reseller).instructed.items():
                status = self.chance.choice(("confirmed", "returned"))
                rows.append((name, status, str(entry.body["amount"]), "CNY", f"{reseller[:4].upper()}-{len(rows)}"))
                self.own[reseller] |= {name, str(entry.body["amount"]), rows[-1][4]}
        world.bank_answers("bank", *rows)
        world.sweep("2025-07-05")
        assert world.pump.refusals == []
        assert world.pump.given_up == []

    def _bill(self, owner: str, account: str) -> None:
        payer = self.chance.choice(PAYERS)
        for day in DAYS:
            pretax = Decimal(self.chance.randrange(10**6, 10**8)) / 100
            before = self.world.cloud.provider.bills.get((payer, day), [])
            instance = f"i-{account[:6]}{self.chance.randrange(10**6)}"
            self.world.bill(payer, day, *before, item(account, f"{pretax:f}", InstanceID=instance))
            self.own[owner] |= {f"{pretax:f}", instance}

    def _decide(self, assignments: list[dict[str, Any]]) -> None:
        customers = [one for named in (*CUSTOMERS.values(), (DIRECT,)) for one in named]
        document = {
            **parties(assignments, payers=PAYERS),
            "resellers": [{"id": one, "name": {"en": name}} for one, name in RESELLERS.items()],
            "customers": [{"id": one, "name": {"en": one.title()}} for one in customers],
            "payees": [
                {"reseller": one, "name": f"{one.title()} Ltd", "account": f"6222 {n} 0001", "bank": "Bank of Rivers"}
                for n, one in enumerate(RESELLERS)
            ],
        }
        self.world.decide_parties(document)
        for reseller in RESELLERS:
            percent = str(self.chance.randrange(3, 15))
            self.world.decide_agreement(agreement(reseller, percent))


def bytes_of(store: MemoryStore) -> Mapping[str, bytes]:
    """All that somebody can read in a bucket: the names, and the bodies with what is packed in them."""
    found = {}
    for key, body in store.objects.items():
        text = body
        if key.endswith(".xlsx"):
            with zipfile.ZipFile(io.BytesIO(body)) as packed:
                text += b"".join(packed.read(name) for name in packed.namelist())
        if key.endswith(".pdf"):
            import pypdf

            text += "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(body)).pages).encode()
        found[key] = key.encode() + b"\n" + text
    return found


@pytest.mark.parametrize("seed", range(3))
def test_what_reaches_a_reseller_names_nobody_else(tmp_path: Path, seed: int) -> None:
    month = Month(tmp_path, seed)
    month.close()
    for reseller, theirs in month.buckets.items():
        read = bytes_of(theirs)
        assert sum("statement.published" in key for key in read) == 1
        assert sum("/payout." in f"/{key}".replace("-", "/") for key in read) == 2
        others = {text for owner, texts in month.own.items() if owner != reseller for text in texts}
        shown = {(key, text) for key, body in read.items() for text in others if text.encode() in body}
        assert shown == set(), f"seed {seed}"
        # What is the reseller's own is there: the search would find what should not be.
        [instruction] = month.world.month(reseller).instructed
        assert any(instruction.encode() in body for body in read.values())
        assert any(RESELLERS[reseller].encode() in body for body in read.values())
