"""Reconcile: a generated month held line by line against what became of it, beside settling that month.

The month is that of `settle` (`settle_month` says what is in it), and so are its 20 settlements. Reconciling them reads
every day part and every file of every settlement, holds each line against its places and each file against its
summary; what is fetched over the network is not measured. Nothing may be left unexplained.

Each is run in a process of its own, in turns, and the medians are compared; processor times, which other work on the
machine disturbs less, stand beside them.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.clearbook.bench import settle_month
from infra.clearbook.bench.ingest import MEMORY_MB, THREADS, Cost, in_process
from infra.clearbook.bench.settle import LINES_MAX, LINES_MIN, _results, _settle
from infra.clearbook.bench.settle_month import Written
from shared.errors import BadInputError

TARGETS = {"ratio": 1.0, "peak_rss_mb": 700}
RUNS = 3


def measure(lines: int, *, runs: int = RUNS, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures for so many lines."""
    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        say(f"writing the day parts of {lines:,} lines")
        month = settle_month.write(folder / "parts", lines)
        ours, settled = [], []
        for run in range(runs):
            say(f"run {run + 1} of {runs}")
            settled.append(in_process(_settle, folder, month))
            if run == 0:
                in_process(_summarise, folder, month)
            ours.append(in_process(_reconcile, folder, month))
        found = json.loads((folder / "found.json").read_bytes())
    seconds, settle_s = _median(ours, "wall_s"), _median(settled, "wall_s")
    cpu_s, settle_cpu_s = _median(ours, "cpu_s"), _median(settled, "cpu_s")
    return {
        "lines": lines, **found,
        "seconds": round(seconds, 2), "settle_seconds": round(settle_s, 2), "ratio": round(seconds / settle_s, 2),
        "cpu_seconds": round(cpu_s, 2), "settle_cpu_seconds": round(settle_cpu_s, 2),
        "cpu_ratio": round(cpu_s / settle_cpu_s, 2),
        "peak_rss_mb": round(max(one.peak_rss_mb for one in ours)),
        "settle_peak_rss_mb": round(max(one.peak_rss_mb for one in settled)),
    }  # fmt: skip


def show(lines: int, runs: int, json_to: str | None) -> None:
    """Measure and print."""
    # Here, not above: the processes that are measured import this module.
    from rich.console import Console

    from infra.clearbook.main import write_json

    if not LINES_MIN <= lines <= LINES_MAX:
        raise BadInputError("--lines", f"has {lines}", f"give {LINES_MIN} to {LINES_MAX}")
    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(lines, runs=runs, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": TARGETS}, json_to)
    if json_to == "-":
        return
    console.print(
        f"{lines:,} lines in {settle_month.RESELLERS} settlements, medians of {runs}; "
        f"billed {figures['billed']}, unexplained {figures['unexplained']}\n"
        f"  reconciling {figures['seconds']:,.2f} s, CPU {figures['cpu_seconds']:,.2f} s, "
        f"at most {figures['peak_rss_mb']} MB\n"
        f"  settling    {figures['settle_seconds']:,.2f} s, CPU {figures['settle_cpu_seconds']:,.2f} s, "
        f"at most {figures['settle_peak_rss_mb']} MB\n"
        f"  ratio       {figures['ratio']:.2f}, of CPU {figures['cpu_ratio']:.2f}; target {TARGETS['ratio']:.1f} "
        f"and {TARGETS['peak_rss_mb']} MB at most"
    )
    missed = ", ".join(name for name, target in TARGETS.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


def _median(costs: list[Cost], what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in costs))


# -- what is measured -----------------------------------------------------------------------------------------------


def _summarise(folder: Path, month: Written) -> None:
    """Keep the summary of each share, as its settlement does: apart, for the engine's figures are gone by then."""
    from shared.columnar import connect
    from shared.ids import canonical_json
    from shared.settlement import engine, lines
    from shared.steps import results

    for share in settle_month.shares(month.lines):
        memory_mb = engine.memory_mb(lines.count_lines(share, month.counts), MEMORY_MB // 2)
        with connect(folder / "spill", memory_mb, THREADS) as connection:
            lines.load_parts(connection, month.parts, share)
            summary = results.summary_of(share, engine.settle(connection, share), "0" * 64)
        (_results(folder, "ours", share.owner)[0].parent / "summary.json").write_bytes(canonical_json(summary))


def _reconcile(folder: Path, month: Written) -> None:
    from shared.columnar import connect
    from shared.money import EXACT, text, total
    from shared.reconciliation import placing, summing

    shares = []
    with connect(folder / "spill", placing.memory_mb(month.lines, MEMORY_MB // 2), THREADS) as connection:
        found = []
        for share in settle_month.shares(month.lines):
            lines, held = map(str, _results(folder, "ours", share.owner))
            summary = json.loads((Path(lines).parent / "summary.json").read_bytes())
            found += [*summing.of_summary(summary, share.owner)]
            found += summing.of_files(connection, share.owner, lines, held, summary)
            terms = [placing.Terms(one.id, one.version, one.basis, one.currency) for one in share.agreements]
            shares.append(placing.Share(share.owner, lines, held, terms))
        placing.load(connection, month.parts, shares, str(settle_month.CYCLE))
        found += placing.differences(connection)
        billed = placing.billed_by_product(connection)
        groups = placing.groups(connection)
    left = [one.places["unexplained"] for one in groups]
    if found or any(left) or total(list(billed.values())) != total([one.billed for one in groups]):
        raise AssertionError(f"unexplained: {[one.what for one in found[:3]]}, {EXACT.add(total(left), Decimal(0))}")
    said = {"billed": text(total([one.billed for one in groups])), "unexplained": text(total(left))}
    (folder / "found.json").write_text(json.dumps({**said, "groups": len(groups)}))
