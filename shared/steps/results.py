"""What a share comes to: computed into files, and summed up."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.columnar import connect
from shared.money import text
from shared.services import Services
from shared.settlement import engine, lines
from shared.settlement.statement import statements
from shared.steps import looking_back

if TYPE_CHECKING:
    from shared.settlement.engine import Adjusted, Held, Settled
    from shared.settlement.share import Share

LINES, HELD = "lines.parquet", "held.parquet"


def compute(services: Services, manifest: Mapping[str, Any], share: Share, folder: Path, memory_mb: int) -> Settled:
    """Settle the share of a manifest; its lines and what cases hold are written into the folder."""
    cycles, others = share.cycles, [cycle for cycle in share.known if cycle not in share.cycles]
    with connect(services.scratch, memory_mb, services.threads) as connection:
        paths = looking_back.parts_of(services, manifest, cycles)
        lines.load_parts(connection, paths, share, lambda: looking_back.parts_of(services, manifest, others))
        engine.load_posted(connection, looking_back.posted_of(services, manifest, share))
        settled = engine.settle(connection, share)
        engine.write(connection, folder / LINES, folder / HELD)
    return settled


def summary_of(share: Share, settled: Settled, settlement: str) -> dict[str, Any]:
    """The settlement in sums: its bill by currency, kinds, what cases hold, statements."""
    kinds: dict[tuple[str, str], list[Any]] = {}
    for group in settled.groups:
        into = kinds.setdefault((group.kind, group.currency), [0, Decimal(0), Decimal(0)])
        into[0], into[1], into[2] = into[0] + group.lines, into[1] + group.basis, into[2] + group.amount
    before = settled.held_before
    return {
        "settlement": settlement,
        "cycle": str(share.cycle),
        "owner": share.owner,
        "rows_digest": settled.digest,
        "lines": settled.lines,
        "bill": {
            currency: {"lines": count, "pretax": text(pretax)} for currency, (count, pretax) in settled.bill.items()
        },
        "kinds": [
            {"kind": kind, "currency": currency, "lines": count, "basis": text(basis), "amount": text(amount)}
            for (kind, currency), (count, basis, amount) in sorted(kinds.items())
        ],
        "held": [_held(one) for one in settled.held],
        "statements": [one.as_json() for one in statements(settled.groups, share.agreements, share.cycle)],
        **({"looked_back": dict(share.reached_by)} if share.reached_by else {}),
        **({"adjusted": [_adjusted(one, share) for one in settled.adjusted]} if settled.adjusted else {}),
        **({"held_before": [{"cycle": cycle, **_held(one)} for cycle, one in before]} if before else {}),
    }


def _adjusted(one: Adjusted, share: Share) -> dict[str, Any]:
    why = f"due less posted{share.reached_by.get(one.cycle, '')}"
    named = {"agreement": one.agreement, "cycle": one.cycle, "currency": one.currency}
    return {**named, "lines": one.lines, "amount": text(one.amount), "because": why}


def _held(one: Held) -> dict[str, Any]:
    return {"kind": one.kind, "key": one.key, "currency": one.currency, "lines": one.lines, "amount": text(one.amount)}
