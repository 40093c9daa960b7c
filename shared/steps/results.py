"""What a share comes to: computed into files, and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.columnar import connect
from shared.money import text
from shared.services import Services
from shared.settlement import engine, lines
from shared.settlement.statement import statements

if TYPE_CHECKING:
    from shared.settlement.engine import Settled
    from shared.settlement.share import Share

LINES, HELD = "lines.parquet", "held.parquet"


def compute(services: Services, share: Share, paths: Sequence[str], folder: Path, memory_mb: int) -> Settled:
    """Settle the share's lines of these day parts; its lines and what cases hold are written into the folder."""
    with connect(services.scratch, memory_mb, services.threads) as connection:
        lines.load_parts(connection, paths, share)
        settled = engine.settle(connection, share)
        engine.write(connection, folder / LINES, folder / HELD)
    return settled


def summary_of(share: Share, settled: Settled, settlement: str) -> dict[str, Any]:
    """The settlement in sums: its bill by currency, kinds, what cases hold, statements."""
    kinds: dict[tuple[str, str], list[Any]] = {}
    for group in settled.groups:
        into = kinds.setdefault((group.kind, group.currency), [0, Decimal(0), Decimal(0)])
        into[0], into[1], into[2] = into[0] + group.lines, into[1] + group.basis, into[2] + group.amount
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
        "held": [
            {"kind": one.kind, "key": one.key, "currency": one.currency, "lines": one.lines, "amount": text(one.amount)}
            for one in settled.held
        ],
        "statements": [one.as_json() for one in statements(settled.groups, share.agreements, share.cycle)],
    }
