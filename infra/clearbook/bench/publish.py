"""Publish: the statements of a month with many resellers, each in every format, and what one statement takes.

A statement has 40 lines of 8 customers under an agreement of 40 rules, with names in both languages; one more has
20,000 lines, of which the PDF shows the first and the other formats all. They are made one after the other in one
process, as an instance of the function does, with the postings of each and one payout file; what is sent to OSS is
not measured.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.clearbook.bench import settle_month
from infra.clearbook.bench.ingest import in_process
from shared.agreement.agreement import Agreement
from shared.chain.entry import Draft, Entry, Head
from shared.errors import BadInputError
from shared.journal.ledger import of_lock
from shared.journal.postings import to_csv
from shared.money import total
from shared.payout.batch import Member, file_csv
from shared.report import statements
from shared.report.statements import Document, Lock
from shared.settlement.statement import Statement, StatementLine

TARGETS = {"statement_ms": 500, "peak_rss_mb": 400}
RESELLERS_MAX, LINES, LARGE = 5_000, 40, 20_000
CYCLE = "2025-06"
AT = datetime(2025, 7, 4, 2, tzinfo=UTC)
_FORMATS = ("csv", "json", "xlsx", "pdf")
_TIMES = "times.json"


def measure(resellers: int, *, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures for so many resellers, and for a large statement."""
    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        say(f"{resellers:,} statements of {LINES} lines")
        cost = in_process(_publish, folder, resellers)
        month = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
        say(f"one statement of {LARGE:,} lines")
        large_cost = in_process(_publish_large, folder, LARGE)
        large = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
    return {
        "resellers": resellers,
        "lines_each": LINES,
        "seconds": round(cost.wall_s, 2),
        "cpu_seconds": round(cost.cpu_s, 2),
        "statement_ms": round(cost.cpu_s * 1000 / resellers, 1),
        "format_ms": {one: round(spent * 1000 / resellers, 1) for one, spent in month["cpu_s"].items()},
        "format_bytes": {one: size // resellers for one, size in month["bytes"].items()},
        "peak_rss_mb": round(cost.peak_rss_mb),
        "large_lines": LARGE,
        "large_format_ms": {one: round(spent * 1000, 1) for one, spent in large["cpu_s"].items()},
        "large_peak_rss_mb": round(large_cost.peak_rss_mb),
    }


def show(resellers: int, json_to: str | None) -> None:
    """Measure and print."""
    from rich.console import Console

    from infra.clearbook.main import write_json

    if not 1 <= resellers <= RESELLERS_MAX:
        raise BadInputError("--resellers", f"is {resellers}", f"give 1 to {RESELLERS_MAX}")
    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(resellers, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": TARGETS}, json_to)
    if json_to == "-":
        return
    console.print(
        f"{resellers:,} statements of {LINES} lines in {figures['seconds']:,.2f} s, "
        f"CPU {figures['cpu_seconds']:,.2f} s, at most {figures['peak_rss_mb']} MB: "
        f"{figures['statement_ms']:,.1f} ms of CPU each"
    )
    for one, spent in figures["format_ms"].items():
        size, large = figures["format_bytes"].get(one, 0), figures["large_format_ms"].get(one)
        more = "" if large is None else f"; of {LARGE:,} lines {large:,.0f} ms"
        console.print(f"  {one:8} {spent:8,.1f} ms, {size:,} bytes{more}")
    console.print(f"  a statement of {LARGE:,} lines takes at most {figures['large_peak_rss_mb']} MB")
    missed = ", ".join(name for name, target in TARGETS.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


# -- what is measured -----------------------------------------------------------------------------------------------


def _publish(folder: Path, resellers: int) -> None:
    times, sizes = _Times(), dict.fromkeys(_FORMATS, 0)
    members = []
    for number in range(resellers):
        document = _document(number, LINES)
        _files(document, times, sizes)
        owed = Decimal(document.statement.payable)
        with times.of("journal"):
            to_csv(of_lock([], _lock(document)))
        members.append(_member(document, owed))
    with times.of("payout"):
        file_csv(members, "0" * 64)
    _keep(folder, times, sizes)


def _publish_large(folder: Path, lines: int) -> None:
    times, sizes = _Times(), dict.fromkeys(_FORMATS, 0)
    _files(_document(0, lines), times, sizes)
    _keep(folder, times, sizes)


def _files(document: Document, times: _Times, sizes: dict[str, int]) -> None:
    for one in _FORMATS:
        with times.of(one):
            made = statements.files(document, [one])
        sizes[one] += sum(map(len, made.values()))


def _keep(folder: Path, times: _Times, sizes: dict[str, int]) -> None:
    (folder / _TIMES).write_text(json.dumps({"cpu_s": times.spent, "bytes": sizes}), encoding="utf-8")


class _Times:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._name, self._begun = "", 0.0

    def of(self, name: str) -> _Times:
        """Count what is inside to the name."""
        self._name = name
        return self

    def __enter__(self) -> None:
        self._begun = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.spent[self._name] = self.spent.get(self._name, 0.0) + time.process_time() - self._begun


def _document(number: int, lines: int) -> Document:
    """A statement of so many lines; each reseller's says other figures."""
    reseller = f"reseller-{number:03d}"
    each = max(1, lines // 8)
    made = tuple(_line(number, index, f"customer-{index // each:04d}", f"product-{index % each:04d}")
                 for index in range(lines))  # fmt: skip
    whole = total([Decimal(one.amount) for one in made])
    statement = Statement(
        f"{reseller}-2025", "CNY", 2, made, f"{whole:.18f}", f"{whole:.2f}", "0.00", f"{whole:.2f}"
    )  # fmt: skip
    customers = sorted({one.customer for one in made})
    return Document(
        statement, CYCLE, reseller, f"{number:064x}", AT, True, Lock("paula", "amir", AT, f"{number + 1:064x}"),
        Decimal(0), _agreements(),
        operator={"en": "The Operator", "zh": "运营方云服务有限公司"},
        reseller_names={"en": f"Reseller {number} Ltd", "zh": f"第{number}经销商有限公司"},
        customer_names={one: {"en": one.title(), "zh": f"客户{one[-4:]}科技"} for one in customers},
        product_names={},
    )  # fmt: skip


def _line(number: int, index: int, customer: str, product: str) -> StatementLine:
    amount = Decimal((index * 7919 + number * 104729) % 1_000_000) / 100
    return StatementLine(
        customer, product, f"rule-{index % 40}", 1, "commission", index % 90 + 1, f"{amount * 10:.10f}",
        f"{amount:.18f}", f"{amount:.2f}",
    )  # fmt: skip


@functools.cache
def _agreements() -> tuple[Agreement, ...]:
    [share, *_] = settle_month.shares(settle_month.RESELLERS * 100)
    return tuple(share.agreements[-1:])


def _lock(document: Document) -> Entry:
    """The lock of the month, as the chain has it."""
    one = document.statement
    stated = {name: getattr(one, name) for name in ("agreement", "currency", "total", "tax", "payable")}
    what = {"cycle": CYCLE, "settlement": document.settlement, "statements": [stated]}
    draft = Draft("approved", "amir", AT.isoformat(), {"proposal": 1, "act": "lock", "what": what})
    return Entry.place(draft, f"reseller/{document.reseller}", Head())


def _member(document: Document, owed: Decimal) -> Member:
    agreement, reseller = document.statement.agreement, document.reseller
    return Member(f"{CYCLE}.{reseller}.{agreement}", CYCLE, reseller, agreement, f"{owed:.2f}", "CNY", "0" * 64,
                  reseller.title(), "6222 0000 0001", "Bank")  # fmt: skip
