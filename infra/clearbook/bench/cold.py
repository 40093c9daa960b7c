"""Cold starts: what the first event of a new instance costs, beside importing the SDKs that its path needs.

Every measurement is a process of its own, started as the function host starts instances (the stand-in for Function
Compute's bootstrap, `-S -s -P`, standard input closed), with nothing but the function's code directory on its path.

- *import*: from the start of the process until the handler's module is imported. SDKs are imported by the first
  event that touches them, so this is small.
- *first answer*: from the start of the process until the answer to its first event is there. The local cloud behind
  it is real, holds a small month that was played to its end, and the instance's temporary folder is empty, so what
  it reads it fetches. For `pull_bill` the event is an order that was never carried out, another each time: it asks
  the provider for a date and keeps the page, as a new instance does (an order whose pages are there needs neither
  the provider's SDK nor the tables). For `portal` it is an approver who asks what waits. For the others it is the
  last that the function answered, delivered again:
  nothing is left to do, yet the function goes to every service it needs to find that out. `plan_pulls` and `sweep`
  do then what they do each time.
- *SDKs*: from the start of such a process until exactly those SDKs are imported that the first answer loaded
  (observed in a run of its own), from the same directory. Runs of both kinds take turns. They are imported plainly:
  what our own wiring saves while it imports them (`shared.cloud.uncollected`, and what `shared.cloud.standins` leaves
  out) is saved on the other side alone.
- *ratio*: first answer over SDKs, medians of the clock's time. *CPU ratio*: the same of the processor time each took,
  which other work on the machine disturbs less. *peak*: the most memory that the process held at once.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.context import ROOT, environment, start_local
from infra.clearbook.demo.month import month
from infra.clearbook.demo.play import Stage, close, play_time, prepare
from infra.clearbook.login import token_of
from infra.clearbook.people import APPROVER
from infra.localcloud.cloud import LocalCloud
from infra.localcloud.common import LocalCloudError, load_keys
from infra.localcloud.host import runtime, template
from infra.localcloud.host.queue import Queue
from infra.provision import bundle
from shared.bootstrap import build_services
from shared.cycle import Cycle

TARGET = 1.2
RUNS = 7
PORTAL = "portal"  # asked by people, so no event of its waits in the queue
LINES, CYCLE = 300, "2025-06"
BESIDE = "20250710"
_ORDER = re.compile(rb"(work/pull/[0-9]+/)[0-9-]+/[a-zA-Z0-9-]+([.]json)")
_LIMIT_S = 60.0
# How each SDK is imported by the adapter that uses it.
SDKS: Mapping[str, str] = {
    "oss2": "import oss2",
    "tablestore": "import tablestore",
    "aws_lambda_powertools": "from aws_lambda_powertools import Logger",
    "aws_lambda_powertools.event_handler": "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver",
    "joserfc": "from joserfc import jws, jwt",
    "pydantic": "import pydantic",
    "alibabacloud_tea_openapi": "import alibabacloud_tea_openapi.client",
    "duckdb": "import duckdb",
    "xlsxwriter": "import xlsxwriter",
    "jmespath": "import jmespath",
}


@dataclass(frozen=True, slots=True)
class Cold:
    """The figures of one function; times in milliseconds, medians over the runs."""

    function: str
    import_ms: float
    first_answer_ms: float
    sdks: tuple[str, ...]
    sdks_ms: float
    ratio: float
    cpu_ms: float
    sdks_cpu_ms: float
    cpu_ratio: float
    peak_mb: float
    sdks_peak_mb: float
    unpacked_mb: float
    packed_mb: float


@dataclass(frozen=True, slots=True)
class _Run:
    """One process: when it was loaded and when it had answered, from its start, and the memory it held at most."""

    loaded_ms: float
    answered_ms: float
    cpu_ms: float
    peak_mb: float
    answer: bytes
    log: str


def measure(runs: int = RUNS, only: Collection[str] = (), console: Console | None = None) -> list[Cold]:
    """The figures of every function of s.yaml, or of some; raises LocalCloudError when one does not answer."""
    say = console or Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        functions = template.load(ROOT / "s.yaml", ROOT / "functions", load_keys(Path(folder)), {}).functions
        built = bundle.build(ROOT, ROOT / "build" / "bundle", functions)
        with start_local(home, bundled=True) as cloud:
            events = _events_of_a_month(cloud, functions, say)
            settings = environment(home)
            reach = {name: value for name, value in settings.items() if _is_for_functions(name)}
            figures = []
            for one in built.functions:
                if not only or one.function in only:
                    say.print(f"  {one.function}: {2 * runs} processes", highlight=False)
                    coming = _coming(one.function, events[one.function])
                    figures.append(
                        _function(
                            functions[one.function], coming, cloud.host.idle, one, built.out, reach, Path(folder), runs
                        )
                    )
            return figures


def _coming(function: str, last: bytes) -> Iterator[bytes]:
    """The events that instances of the function get one after the other, given the last that it answered."""
    if function != "pull_bill":
        yield from itertools.repeat(last)
    day = Cycle.parse(CYCLE).last
    for number in itertools.count():
        # Ordered beside the rounds, each in a minute of its own: nobody has pulled it.
        name = f"{CYCLE}/{day}-b{BESIDE}T{number // 60:02d}{number % 60:02d}"
        event, count = _ORDER.subn(rb"\g<1>" + name.encode() + rb"\g<2>", last)
        if count != 1:
            raise LocalCloudError(f"pull_bill's last event names no order: {last!r}")
        yield event


def _events_of_a_month(cloud: LocalCloud, functions: Collection[str], console: Console) -> dict[str, bytes]:
    """Play a small month; of each function the event it answered last, delivered once more since."""
    work = build_services(environment(cloud.home))
    stage = Stage(cloud, work, month(1, CYCLE, LINES), Cycle.parse(CYCLE), console)
    prepare(stage)
    play_time(stage)
    close(stage)
    stage.ask(APPROVER).post("/v1/report-runs", {"report": "trend", "preset": "last_month", "format": "csv"})
    cloud.host.idle()
    queue = Queue(cloud.home / "host" / "host.db")
    try:
        found = {name: queue.last_answered(name) for name in functions if name != PORTAL}
    finally:
        queue.close()
    if PORTAL in functions:
        found[PORTAL] = _request(cloud.home)
    events = {name: event for name, event in found.items() if event is not None}
    if missing := found.keys() - events.keys():
        raise LocalCloudError(f"a month of {LINES} lines has no event for {', '.join(sorted(missing))}")
    for name, event in events.items():
        cloud.host.invoke(name, event)
    cloud.host.idle()
    return events


def _request(home: Path) -> bytes:
    """Somebody asks what waits: who it is is verified, and every stream is read."""
    event = json.loads((ROOT / "events" / "portal-proposals.json").read_bytes())
    event["headers"]["Authorization"] = f"Bearer {token_of(home, environment(home), APPROVER)}"
    return json.dumps(event).encode()


def _is_for_functions(name: str) -> bool:
    return name.startswith(("CLEARBOOK_", "ALIBABA_CLOUD_")) and name != "CLEARBOOK_SCRATCH"


def _function(
    function: template.Function,
    events: Iterator[bytes],
    idle: Callable[[], object],
    built: bundle.Built,
    out: Path,
    reach: Mapping[str, str],
    scripts: Path,
    runs: int,
) -> Cold:
    code = out / function.name
    settings = {**function.environment, **reach, "PYTHONPATH": str(code / "python"), "FC_FUNC_CODE_PATH": str(code)}
    observed = _run(code, function.handler, next(events), {**settings, "PYTHONPROFILEIMPORTTIME": "1"}, scripts)
    _check(function.name, observed.answer)
    idle()
    imported = set(re.findall(r"\|\s+([\w.]+)\s*$", observed.log, re.MULTILINE))
    sdks = tuple(name for name in SDKS if name in imported)
    beside = scripts / f"sdks_of_{function.name}"
    beside.mkdir(exist_ok=True)
    body = "\n".join([*(SDKS[name] for name in sdks), "", "def handler(event, context):", "    return b'{}'", ""])
    (beside / "sdks.py").write_text(body, encoding="utf-8")
    mine, bare = [], []
    for _ in range(runs):
        mine.append(_run(code, function.handler, next(events), settings, scripts))
        idle()  # what it woke is not to run beside the next measurement
        bare.append(_run(beside, "sdks.handler", b"{}", settings, scripts))
    first, sdks_ms = _median(mine, "answered_ms"), _median(bare, "loaded_ms")
    return Cold(
        function=function.name,
        import_ms=round(_median(mine, "loaded_ms"), 1),
        first_answer_ms=round(first, 1),
        sdks=sdks,
        sdks_ms=round(sdks_ms, 1),
        ratio=round(first / sdks_ms, 2),
        cpu_ms=round(_median(mine, "cpu_ms"), 1),
        sdks_cpu_ms=round(_median(bare, "cpu_ms"), 1),
        cpu_ratio=round(_median(mine, "cpu_ms") / _median(bare, "cpu_ms"), 2),
        peak_mb=round(_median(mine, "peak_mb"), 1),
        sdks_peak_mb=round(_median(bare, "peak_mb"), 1),
        unpacked_mb=round(built.unpacked / 1e6, 1),
        packed_mb=round(built.packed / 1e6, 1),
    )


def _check(function: str, answer: bytes) -> None:
    """Refuse to measure an event that was refused, and an order of which there was nothing to pull."""
    outcomes = json.loads(answer)
    listed = outcomes if isinstance(outcomes, list) else [outcomes]
    refused = any("code" in one or one.get("statusCode", 200) != 200 for one in listed)
    if refused or (function == "pull_bill" and not all(one["pages"] for one in listed)):
        raise LocalCloudError(f"{function} had nothing to do, or refused it: {answer.decode(errors='replace')}")


def _median(runs: list[_Run], what: str) -> float:
    return float(statistics.median(getattr(run, what) for run in runs))


def _run(code: Path, handler: str, event: bytes, settings: Mapping[str, str], scratch: Path) -> _Run:
    """One instance: started, given one event, and ended."""
    ours, theirs = socket.socketpair()
    ours.settimeout(_LIMIT_S)
    with closing(ours), (scratch / "log").open("w+b") as log, tempfile.TemporaryDirectory() as tmp:
        with theirs:
            begun = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                [sys.executable, "-S", "-s", "-P", str(Path(runtime.__file__).resolve()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=code,
                env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "TZ": "UTC", "TMPDIR": tmp, **settings},
                pass_fds=[theirs.fileno()],
            )
        try:
            name = handler.partition(".")[0]
            configuration = [name, handler, "", "4096", "900", "cn-hangzhou", "1", "", "", str(code)]
            ours.sendall(runtime.pack(*(text.encode() for text in configuration)))
            _expect(ours, b"loaded", handler)
            loaded = time.perf_counter()
            _expect(ours, b"ready", handler)
            ours.sendall(runtime.pack(b"bench", event))
            answer = _expect(ours, b"ok", handler)
            answered = time.perf_counter()
            peak_mb = _peak_mb(process.pid)
        finally:
            process.kill()
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = -signal.SIGKILL  # it has been waited for
        log.seek(0)
        said = log.read().decode(errors="replace")
    cpu_ms = (used.ru_utime + used.ru_stime) * 1000
    return _Run((loaded - begun) * 1000, (answered - begun) * 1000, cpu_ms, peak_mb, answer, said)


def _expect(line: socket.socket, wanted: bytes, handler: str) -> bytes:
    """The next message's second part; it must be of the wanted kind."""
    kind, *rest = runtime.unpack(_read(line, int.from_bytes(_read(line, runtime.LENGTH_BYTES), "big")))
    if kind != wanted:
        said = b": ".join(rest[:2]).decode(errors="replace")
        raise LocalCloudError(f"{handler} does not answer its event: {said}")
    return rest[0] if rest else b""


def _read(line: socket.socket, size: int) -> bytes:
    body = b""
    while len(body) < size:
        chunk = line.recv(size - len(body))
        if not chunk:
            raise LocalCloudError("a function's process ended before it answered; build the bundle anew")
        body += chunk
    return body


def _peak_mb(process: int) -> float:
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def as_json(figures: list[Cold]) -> dict[str, Any]:
    """The figures for machines, with the target they are held against."""
    return {"target": TARGET, "functions": [asdict(one) for one in figures]}


def show(runs: int, json_to: str | None) -> None:
    """Measure and print."""
    from rich.table import Table

    from infra.clearbook.main import write_json

    if not python_fits():
        raise LocalCloudError("what is deployed loads on Python 3.12 alone; run this with it, as the cloud does")
    console = Console(stderr=json_to == "-")
    console.print(f"Playing a month of {LINES} lines, then {runs} times each function and its SDKs", highlight=False)
    figures = measure(runs, console=console)
    if json_to is not None:
        write_json(as_json(figures), json_to)
    if json_to == "-":
        return
    columns = ("import", "first answer", "SDKs", "ratio", "CPU ratio", "peak", "packed")
    table = Table("function", *columns, title=f"Cold starts, medians of {runs}; target {TARGET} at most")
    for one in figures:
        figure = (f"{one.import_ms:.0f} ms", f"{one.first_answer_ms:.0f} ms", f"{one.sdks_ms:.0f} ms")
        sizes = (f"{one.peak_mb:.0f} MB", f"{one.packed_mb:.0f} MB")
        table.add_row(one.function, *figure, f"{one.ratio:.2f}", f"{one.cpu_ratio:.2f}", *sizes)
    console.print(table)


def python_fits() -> bool:
    """Whether this Python can load what is deployed."""
    return sys.version_info[:2] == (3, 12)
