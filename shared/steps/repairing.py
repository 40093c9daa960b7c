"""The repair rules in force: with what reads bills, which most functions never do."""

from __future__ import annotations

from shared.bill.normalise import Repair
from shared.bill.repairs import rules_in_force
from shared.control.approvals import in_force
from shared.services import Services
from shared.steps import state


def repairs(services: Services, payer: str, form: str) -> tuple[Repair, ...]:
    """Those for a payer's bills of one form."""
    approved = in_force(services.chain.read(state.CONFIG), state.REPAIR)
    keys = [state.document_key(what["document"]) for what in approved]
    return rules_in_force((state.kept(services, services.buckets.records, key) for key in keys), payer, form)
