"""The statements of a month that nobody has locked, as they would be now; no function makes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.control import months
from shared.cycle import Cycle, parse_instant
from shared.errors import BadInputError
from shared.report.statements import Document
from shared.services import Services
from shared.steps import inputs, state, stating


def statement_documents(services: Services, reseller: str, cycle: str) -> list[Document]:
    """The statements of a month: as it was locked, else of its newest settlement, else of its newest draft."""
    Cycle.parse(cycle)
    parties, party_entries = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is none", f"known are {known}")
    entries = services.chain.read(months.stream_of(reseller, cycle))
    lock = stating.lock_of(entries, cycle)
    if lock is not None:
        return stating.locked_documents(services, reseller, cycle, entries, lock)
    kept = inputs.counting(services, reseller, cycle)
    month = months.months(entries).get(cycle)
    calculated = month.calculated if month else None
    return stating.documents(
        services, reseller, cycle, kept.summary(services),
        entries=entries,
        parties=calculated.body["parties"] if calculated else state.party_digest(party_entries),
        catalogue=state.catalogue_digest(services.chain.read(state.CONFIG)),
        as_of=parse_instant(calculated.at) if calculated else _last_day(kept.manifest(services)),
        is_bill_final=calculated is not None,
        lock=None,
    )  # fmt: skip


def _last_day(manifest: Mapping[str, Any]) -> datetime:
    """The end of the last date of the bills that a draft was made of."""
    days = [day for parts in manifest["bills"].values() for day in parts]
    last = max(days, default=f"{manifest['cycle']}-01")
    return datetime.fromisoformat(f"{last}T15:59:00").replace(tzinfo=UTC)  # 23:59 in Asia/Shanghai
