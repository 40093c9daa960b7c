"""People in a world without a settlement: of a reseller and a customer, who may have reports delivered or only look."""

from __future__ import annotations

from shared.control import approvals
from tests.fakes import Cloud

AURORA, ACME = "reseller.aurora", "customer.acme"
OF = {AURORA: "ann", ACME: "bob"}


def name_people(cloud: Cloud) -> None:
    """Name them, once."""
    people = {
        user: {"name": user.title(), "role": owner.partition(".")[0], "of": owner.partition(".")[2]}
        for owner, user in OF.items()
    }
    people["vic"] = {"name": "Vic", "role": "customer_viewer", "of": "acme"}
    approvals.name_users(cloud.services.chain, people, "2025-01-01T00:00:00Z")
