"""A whole month at several sizes: what each function used, what that is billed as, and how it grows with the lines.

Each size is the demo's month, played from nothing on a local cloud of its own: pulls by timers, drafts every day, the
final bill, the lock, statements, the payout and the bank's answer. What is generated beforehand (the provider's
bills) is no part of any figure.

- *busy*: seconds from the delivery of an event to its answer, of all events. Instances share this machine's cores,
  with each other and with the services they call, so it holds waiting, too.
- *CPU*: the processor time of the functions' processes themselves, which other work on the machine disturbs less.
- *cold*: instances started. Here a month passes in minutes, and instances stay warm for five of them: in the cloud
  nearly every event of a day's round starts one. See `clearbook bench cold` for what that costs.
- *peak*: the most memory that one process held during one event.
- *GB-s*: `memorySize` of s.yaml in GB (of 1024 MB) times the time billed. Each invocation counts with the start of
  its instance, and is rounded up to a whole millisecond, which is what Function Compute bills by. Whether it bills
  the start too its documents do not say; here it is in.
- *CU*: the unit in which Function Compute is paid ("Pay-as-you-go", FC 3.0): 1 for each vCPU and second, 0.15 for each
  GB of memory, 0.05 for each GB of disk (all of it counted here), and 75 for 10,000 invocations.
- *exponent*: log of how many times longer over log of how many times more lines, between the two largest sizes, nothing
  taken away. *marginal*: seconds that 100,000 lines more took, between the same two.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from infra.clearbook.bench.cold import python_fits
from infra.clearbook.context import ROOT, environment, start_local
from infra.clearbook.demo.month import LINES_MIN, month
from infra.clearbook.demo.play import LINES_MAX, Stage, close, look_at, play_time, prepare, quota_of
from infra.localcloud.cloud import LocalCloud
from infra.localcloud.common import LocalCloudError
from infra.provision import bundle
from shared.bootstrap import build_services
from shared.cycle import Cycle
from shared.errors import BadInputError

LINES = (20_000, 200_000)
CYCLE = "2025-06"
PEAK_MB_MAX, EXPONENT_MAX = 700, 1.05
# What the stages of a month are, in their order; a function that is in none is a stage of its own.
STAGES: Mapping[str, tuple[str, ...]] = {
    "pull": ("plan_pulls", "pull_bill"),
    "ingest": ("ingest_bill",),
    "route": ("route_settlements",),
    "settle": ("settle",),
    "publish": ("publish_statements",),
    "pay": ("pay_resellers", "confirm_payouts"),
    "notify": ("notify",),
    "report": ("build_report", "deliver"),
    "decide": ("portal",),
    "sweep": ("sweep",),
}
_CU_VCPU_S, _CU_GB_S, _CU_DISK_GB_S, _CU_INVOCATION = 1.0, 0.15, 0.05, 75 / 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """What s.yaml gives an instance of a function."""

    memory_gb: float
    vcpus: float
    disk_gb: float


@dataclass(frozen=True, slots=True)
class Used:
    """What a function, a stage or the whole month used."""

    invocations: int = 0
    errors: int = 0
    cold_starts: int = 0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    billed_s: float = 0.0
    peak_mb: float = 0.0  # of one process
    gb_s: float = 0.0
    cu: float = 0.0


@dataclass(frozen=True, slots=True)
class Played:
    """A month that was played."""

    lines: int
    played_s: float  # from the first timer to the bank's answer
    prepared_s: float  # the bills generated, the documents approved
    functions: Mapping[str, Used]
    stages: Mapping[str, Used]
    total: Used


@dataclass(frozen=True, slots=True)
class Growth:
    """How a time grows from one size to a larger one; no exponent where nothing was measured."""

    exponent: float | None
    marginal_s: float  # seconds for 100,000 lines more


@dataclass(frozen=True, slots=True)
class Growths:
    """How a stage grows, by the clock and in processor time."""

    busy: Growth
    cpu: Growth | None


def measure(lines: int, seed: int, console: Console, *, bundled: bool) -> Played:
    """Play a month of so many lines in a folder of its own, which is removed; raises LocalCloudError if it fails."""
    sizes = sizes_of(ROOT / "s.yaml")
    home = Path(tempfile.mkdtemp(prefix="clearbook-bench-"))
    try:
        with start_local(home, describe_qps=quota_of(lines, console), bundled=bundled) as cloud:
            stage = Stage(
                cloud, build_services(environment(home)), month(seed, CYCLE, lines), Cycle.parse(CYCLE), console
            )
            begun = time.monotonic()
            prepare(stage)
            prepared = time.monotonic()
            play_time(stage)
            close(stage)
            look_at(stage)
            return played(lines, time.monotonic() - prepared, prepared - begun, _figures(cloud), sizes)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _figures(cloud: LocalCloud) -> Mapping[str, Mapping[str, float]]:
    figures: Mapping[str, Mapping[str, float]] = cloud.host.status()["functions"]
    return figures


def sizes_of(path: Path) -> dict[str, Size]:
    """What the s.yaml at `path` gives each function."""
    resources = yaml.safe_load(path.read_bytes())["resources"]
    return {
        name: Size(one["props"]["memorySize"] / 1024, float(one["props"]["cpu"]), one["props"]["diskSize"] / 1024)
        for name, one in resources.items()
    }


def played(
    lines: int,
    played_s: float,
    prepared_s: float,
    figures: Mapping[str, Mapping[str, float]],
    sizes: Mapping[str, Size],
) -> Played:
    """The month from the function host's figures."""
    functions = {name: _used(one, sizes[name]) for name, one in figures.items() if one["invocations"]}
    names = dict.fromkeys([*STAGES, *(stage_of(name) for name in functions)])
    stages = {stage: together(used for name, used in functions.items() if stage_of(name) == stage) for stage in names}
    return Played(lines, played_s, prepared_s, functions, stages, together(functions.values()))


def stage_of(function: str) -> str:
    """The stage that a function belongs to."""
    return next((stage for stage, functions in STAGES.items() if function in functions), function)


def _used(figures: Mapping[str, float], size: Size) -> Used:
    billed_s, invocations = figures["billed_ms"] / 1000, int(figures["invocations"])
    a_second = size.vcpus * _CU_VCPU_S + size.memory_gb * _CU_GB_S + size.disk_gb * _CU_DISK_GB_S
    return Used(
        invocations=invocations,
        errors=int(figures["errors"]),
        cold_starts=int(figures["cold_starts"]),
        busy_s=figures["busy_ms"] / 1000,
        cpu_s=figures["cpu_ms"] / 1000,
        billed_s=billed_s,
        peak_mb=figures["peak_mb"],
        gb_s=billed_s * size.memory_gb,
        cu=billed_s * a_second + invocations * _CU_INVOCATION,
    )


def together(parts: Iterable[Used]) -> Used:
    """The sum of the parts; of the peaks the highest."""
    rows = [asdict(part) for part in parts]
    if not rows:
        return Used()
    sums = {name: sum(row[name] for row in rows) for name in rows[0] if name != "peak_mb"}
    return Used(**sums, peak_mb=max(row["peak_mb"] for row in rows))


def growth(months: Sequence[Played]) -> dict[str, Growths]:
    """How stages, all functions and the whole month grow between the two largest sizes; nothing for a single one."""
    if len({one.lines for one in months}) < 2:
        return {}
    small, large = sorted(months, key=lambda one: one.lines)[-2:]
    lines = (small.lines, large.lines)
    pairs = {stage: (used, large.stages.get(stage, Used())) for stage, used in small.stages.items()}
    return {
        **{
            name: Growths(_growth(lines, before.busy_s, after.busy_s), _growth(lines, before.cpu_s, after.cpu_s))
            for name, (before, after) in [*pairs.items(), ("all functions", (small.total, large.total))]
        },
        "whole month": Growths(_growth(lines, small.played_s, large.played_s), None),
    }


def _growth(lines: tuple[int, int], before_s: float, after_s: float) -> Growth:
    exponent = None
    if before_s > 0 and after_s > 0:
        exponent = round(math.log(after_s / before_s) / math.log(lines[1] / lines[0]), 3)
    return Growth(exponent, round((after_s - before_s) / (lines[1] - lines[0]) * 100_000, 2))


# -- shown --------------------------------------------------------------------------------------------------------


def as_json(months: Sequence[Played], seed: int, *, bundled: bool) -> dict[str, Any]:
    """The figures for machines, with the targets they are held against."""
    return {
        "targets": {"peak_mb": PEAK_MB_MAX, "exponent": EXPONENT_MAX},
        "seed": seed,
        "bundled": bundled,
        "months": [asdict(one) for one in months],
        "growth": {name: asdict(one) for name, one in growth(months).items()},
    }


def show(lines: Sequence[int], seed: int, *, bundled: bool, json_to: str | None) -> None:
    """Measure each size, smallest first, and print it as soon as it is there."""
    from infra.clearbook.main import write_json

    for count in lines:
        if not LINES_MIN <= count <= LINES_MAX:
            raise BadInputError("--lines", f"has {count}", f"give {LINES_MIN} to {LINES_MAX}, with commas between")
    if bundled:
        build_bundle()
    console = Console(stderr=json_to == "-")
    if not console.is_terminal:
        console.width = 118
    months: list[Played] = []
    for count in sorted(set(lines)):
        console.print(f"A month of {count:,} lines, seed {seed}, on a local cloud of its own", highlight=False)
        months.append(measure(count, seed, console, bundled=bundled))
        console.print(_table(months[-1]))
        console.print(_sentence(months[-1]), highlight=False)
    if len(months) > 1:
        console.print(_growth_table(months))
    if json_to is not None:
        write_json(as_json(months, seed, bundled=bundled), json_to)


def build_bundle() -> None:
    """Bring the code directories that s.yaml deploys up to date."""
    if not python_fits():
        raise LocalCloudError("what is deployed loads on Python 3.12 alone; run this with it, as the cloud does")
    bundle.build(ROOT, ROOT / "build" / "bundle", sizes_of(ROOT / "s.yaml"))


def _table(one: Played) -> Table:
    columns = ("calls", "failed", "cold", "busy s", "CPU s", "peak MB", "billed s", "GB-s", "CU")
    table = Table(title=f"{one.lines:,} lines, by function and by stage")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for rows in (one.functions, {f"= {stage}": used for stage, used in one.stages.items()}, {"= all": one.total}):
        for name, used in rows.items():
            table.add_row(name, *_cells(used))
        table.add_section()
    return table


def _cells(used: Used) -> tuple[str, ...]:
    peak = f"{used.peak_mb:.0f}" if used.peak_mb <= PEAK_MB_MAX else f"[red]{used.peak_mb:.0f}[/]"
    counts = (f"{used.invocations:,}", f"{used.errors:,}", f"{used.cold_starts:,}")
    times = (f"{used.busy_s:,.1f}", f"{used.cpu_s:,.1f}", peak, f"{used.billed_s:,.1f}")
    return (*counts, *times, f"{used.gb_s:,.1f}", f"{used.cu:,.1f}")


def _sentence(one: Played) -> str:
    largest = max(one.functions, key=lambda name: one.functions[name].peak_mb)
    return (
        f"Played in {one.played_s:,.1f} s, after {one.prepared_s:,.1f} s of preparing it. Largest process: {largest}, "
        f"{one.total.peak_mb:.0f} MB (target {PEAK_MB_MAX} at most). Billed: {one.total.gb_s:,.0f} GB-s, "
        f"{one.total.cu:,.0f} CU.\n"
        "GB-s: memorySize x time, each call with its cold start rounded up to 1 ms. CU: with vCPUs, disk and calls.\n"
    )


def _growth_table(months: Sequence[Played]) -> Table:
    small, large = (f"{one.lines:,}" for one in sorted(months, key=lambda one: one.lines)[-2:])
    table = Table(title=f"Growth from {small} to {large} lines; target: exponent {EXPONENT_MAX} at most")
    for column in ("", "busy: exponent", "CPU: exponent", "busy: s per 100,000 more", "CPU: s per 100,000 more"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in growth(months).items():
        both = (one.busy, one.cpu)
        table.add_row(
            name, *(_exponent_text(of) for of in both), *(f"{of.marginal_s:,.2f}" if of else "" for of in both)
        )
    return table


def _exponent_text(one: Growth | None) -> str:
    if one is None or one.exponent is None:
        return ""
    return f"{one.exponent:.2f}" if one.exponent <= EXPONENT_MAX else f"[red]{one.exponent:.2f}[/]"
