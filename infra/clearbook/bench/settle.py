"""Settle: the 20 shares of a generated month, beside SQL written by hand for that month.

A settlement is one reseller's share of a month, which is what the function `settle` computes in one call. A month of so
many lines is therefore 20 settlements (`settle_month` says what is in it), here one after the other in one process:
from the month's day parts on disk to lines and cases in Parquet, without what the function sends and fetches. Each
opens all day parts and takes the lines of its accounts from them. Beside it `settle_sql` settles the same shares
one after the other from the same parts, so it reads and writes as often, by the same DuckDB with the same settings.
What the two write is compared, by reseller and kind.

Each is run in a process of its own, in turns, and the medians are compared; processor times, which other work on the
machine disturbs less, stand beside them. *GB-s*: the time by the clock at the `memorySize` of the function.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.clearbook.bench import settle_month
from infra.clearbook.bench.ingest import MEMORY_MB, THREADS, Cost, in_process
from infra.clearbook.bench.settle_month import Written
from shared.errors import BadInputError

TARGETS = {"ratio": 2.0, "peak_rss_mb": 700}
LINES_MIN, LINES_MAX = 2_000, 5_000_000
RUNS = 3


def measure(lines: int, *, runs: int = RUNS, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures for so many lines."""
    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        say(f"writing the day parts of {lines:,} lines")
        month = settle_month.write(folder / "parts", lines)
        ours, floor = [], []
        for run in range(runs):
            say(f"run {run + 1} of {runs}")
            ours.append(in_process(_settle, folder, month))
            floor.append(in_process(_settle_bare, folder, month))
        _compare(folder)
    seconds, floor_s = _median(ours, "wall_s"), _median(floor, "wall_s")
    cpu_s, floor_cpu_s = _median(ours, "cpu_s"), _median(floor, "cpu_s")
    return {
        "lines": lines,
        "settlements": settle_month.RESELLERS,
        "seconds": round(seconds, 2), "floor_seconds": round(floor_s, 2), "ratio": round(seconds / floor_s, 2),
        "cpu_seconds": round(cpu_s, 2), "floor_cpu_seconds": round(floor_cpu_s, 2),
        "cpu_ratio": round(cpu_s / floor_cpu_s, 2),
        "peak_rss_mb": round(max(one.peak_rss_mb for one in ours)),
        "floor_peak_rss_mb": round(max(one.peak_rss_mb for one in floor)),
        "gb_s": round(seconds * MEMORY_MB / 1024, 1),
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
        f"{lines:,} lines in {figures['settlements']} settlements, medians of {runs}\n"
        f"  ours      {figures['seconds']:,.2f} s, CPU {figures['cpu_seconds']:,.2f} s, "
        f"at most {figures['peak_rss_mb']} MB\n"
        f"  beside it {figures['floor_seconds']:,.2f} s, CPU {figures['floor_cpu_seconds']:,.2f} s, "
        f"at most {figures['floor_peak_rss_mb']} MB: the same by hand-written SQL\n"
        f"  ratio     {figures['ratio']:.2f}, of CPU {figures['cpu_ratio']:.2f}; target {TARGETS['ratio']:.1f} "
        f"and {TARGETS['peak_rss_mb']} MB at most\n"
        f"  billed    {figures['gb_s']:,.1f} GB-s at the function's {MEMORY_MB} MB, "
        f"{figures['gb_s'] * 1_000_000 / lines:,.1f} for 1,000,000 lines"
    )
    missed = ", ".join(name for name, target in TARGETS.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


def _median(costs: list[Cost], what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in costs))


# -- what is measured, and what it is held against ------------------------------------------------------------------


def _settle(folder: Path, month: Written) -> None:
    from shared.columnar import connect
    from shared.settlement import engine, lines

    for share in settle_month.shares(month.lines):
        memory_mb = engine.memory_mb(lines.count_lines(share, month.counts), MEMORY_MB // 2)
        with connect(folder / "spill", memory_mb, THREADS) as connection:
            lines.load_parts(connection, month.parts, share)
            engine.settle(connection, share)
            engine.write(connection, *_results(folder, "ours", share.owner))


def _settle_bare(folder: Path, month: Written) -> None:
    from infra.clearbook.bench import settle_sql
    from shared.columnar import connect

    for share in settle_month.shares(month.lines):
        with connect(folder / "spill", MEMORY_MB // 2, THREADS) as connection:
            settle_sql.settle(connection, share, month.parts, *_results(folder, "bare", share.owner))


def _results(folder: Path, whose: str, owner: str) -> tuple[Path, Path]:
    """Where the lines and the cases of a share are written."""
    into = folder / whose / owner
    into.mkdir(parents=True, exist_ok=True)
    return into / "lines.parquet", into / "held.parquet"


def _compare(folder: Path) -> None:
    """Raise where the two wrote something else."""
    ours, bare = (_sums(folder / whose) for whose in ("ours", "bare"))
    if ours != bare:
        raise AssertionError(f"only ours: {sorted(ours - bare)[:3]}; only the other: {sorted(bare - ours)[:3]}")


def _sums(folder: Path) -> set[tuple[Any, ...]]:
    """(share, kind, lines, basis, amount) of all lines and cases."""
    from shared.columnar import connect

    found = set()
    with connect(folder.parent / "spill") as connection:
        for name, amount in (("lines", "sum(amount)"), ("held", "NULL")):
            rows = connection.execute(
                f"SELECT parse_path(filename)[-2], kind, count(*), sum(basis), {amount} "  # noqa: S608
                "FROM read_parquet(?, filename = true) GROUP BY 1, 2",
                [str(folder / "*" / f"{name}.parquet")],
            )
            found |= {(name, *row) for row in rows.fetchall()}
    return found
