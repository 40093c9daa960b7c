"""`clearbook demo`: a generated month through the whole pipeline, and what came of it.

Everything goes the way it will go in the cloud: the provider's API is asked by timers, objects wake functions,
people propose and approve. Each act is safe to repeat, so a demo that was cut off goes on where it was, and one
that is finished changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.clearbook.bills.pull import Asked, order_rounds
from infra.clearbook.cases import case_list, cases_of
from infra.clearbook.context import environment, start_local
from infra.clearbook.demo import acts
from infra.clearbook.demo.month import LINES_MIN, Month, month
from infra.clearbook.demo.provider import load_afterwards, load_bills
from infra.clearbook.lists import settlement_table, settlements_of
from infra.clearbook.main import write_json
from infra.clearbook.people import APPROVER, PREPARER
from infra.clearbook.reconcile import reconciliation_of, reconciliation_text
from infra.clearbook.remote import Portal, portal
from infra.localcloud import common
from infra.localcloud.cloud import LocalCloud
from infra.localcloud.common import LocalCloudError
from infra.localcloud.faults.plan import Plan, drawn
from infra.localcloud.faults.plan import read as read_plan
from infra.provision.plan import plan
from shared.bill.snapshot import stream_of
from shared.control import months
from shared.cycle import SHANGHAI, Cycle
from shared.errors import BadInputError
from shared.ids import digest
from shared.services import Services
from shared.steps import inputs, projections, state
from shared.steps.acts import locks

LINES_MAX = 5_000_000
LINK_S = 7 * 24 * 3600
NIGHTS_MOST = 5
QUOTA = 10  # calls of DescribeInstanceBill a second and account, as in the service
# Above this many lines the service's quota alone would take longer than everything else; the demo says so.
QUOTA_LINES = 50_000
QUOTA_RAISED = 1000


@dataclass(frozen=True, slots=True)
class Stage:
    """The local cloud, the services over it, and the month to play."""

    cloud: LocalCloud
    work: Services
    month: Month
    cycle: Cycle
    console: Console
    is_misbehaving: bool = False
    since: date | None = None  # on which the operator goes live, when it is not the first

    def ask(self, who: str) -> Portal:
        """The portal as somebody speaks to it."""
        return portal(self.cloud.home, who)

    def step(self, text: str) -> None:
        """Say what has been done."""
        self.console.print(f"[green]✓[/] {text}", highlight=False)


def play(
    home: Path, *, seed: int, cycle: str, lines: int, since: int = 1, keep: bool, faults: str | None,
    json_to: str | None,
) -> None:  # fmt: skip
    """Play the month, print what came of it, and write it as JSON where asked.

    With `since` the operator goes live on that day of the month: bills of earlier days are not there.
    """
    begun = time.monotonic()
    console = Console(stderr=json_to == "-")
    if not console.is_terminal:
        console.width = 118  # a log or a file: wide enough that the tables keep their lines whole
    if not 2020 <= Cycle.parse(cycle, "--cycle").year < 2090:
        raise BadInputError("--cycle", f"is {cycle}", "give a month between 2020-01 and 2089-12")
    if not LINES_MIN <= lines <= LINES_MAX:
        raise BadInputError("--lines", f"is {lines}", f"give {LINES_MIN} to {LINES_MAX}")
    if not 1 <= since <= Cycle.parse(cycle).last.day:
        raise BadInputError("--since", f"is {since}", f"give a day of {cycle}")
    late = {"since": since} if since > 1 else {}
    _same_as_before(home, {"seed": seed, "cycle": cycle, "lines": lines, **late})
    console.print(f"Clearbook demo: {cycle}, {lines:,} lines, seed {seed}, in {home}", highlight=False)
    quota = quota_of(lines, console)
    misbehaving = None if faults is None else _plan_of(faults, console)
    with start_local(home, instances=4, describe_qps=quota, faults=misbehaving) as cloud:
        from shared.bootstrap import build_services

        work = build_services(environment(home))
        month_ = month(seed, cycle, lines)
        live = Cycle.parse(cycle).first.replace(day=since)
        stage = Stage(cloud, work, month_, Cycle.parse(cycle), console, misbehaving is not None, live)
        stage.step(f"local cloud up ({time.monotonic() - begun:.1f} s)")
        before = _fingerprint(work, stage)
        prepare(stage)
        play_time(stage)
        close(stage)
        go_on(stage)
        find_scheduled(stage)
        look_at(stage)
        result = _result(stage)
        is_unchanged = before is not None and before == _fingerprint(work, stage)
        result["elapsed_s"] = round(time.monotonic() - begun, 1)
        result["peak_rss_mb"] = _peak_rss_mb(cloud)
        _show(stage, result, is_unchanged=is_unchanged)
        if json_to is not None:
            write_json(result, json_to)
        if keep:
            _stay(console, cloud)


def quota_of(lines: int, console: Console) -> int:
    """Calls of DescribeInstanceBill a second that the provider is to allow; says so where they are raised."""
    if lines <= QUOTA_LINES:
        return QUOTA
    console.print(
        f"[yellow]the provider's quota of {QUOTA} calls a second is raised to {QUOTA_RAISED} to play faster[/]"
    )
    return QUOTA_RAISED


def _plan_of(text: str, console: Console) -> Plan:
    """The plan of a seed, or the one in a file; said so that it can be had again."""
    if text.isdecimal():
        misbehaving = drawn(int(text))
        console.print(f"faults drawn from seed {text}, in parts per million:", highlight=False)
    else:
        if not Path(text).is_file():
            raise BadInputError("--faults", f"is {text!r}", "give a seed (a whole number), or a file that holds a plan")
        misbehaving = read_plan(Path(text))
        console.print(f"faults by {text}, seed {misbehaving.seed}, {len(misbehaving.rules)} rules", highlight=False)
    for what in ("calls", "deliveries", "events"):
        shares = ", ".join(f"{fault} {share:,}" for fault, share in getattr(misbehaving, what).items())
        console.print(f"  {what}: {shares or 'none'}", highlight=False)
    return misbehaving


def _same_as_before(home: Path, settings: Mapping[str, object]) -> None:
    """A home holds one demo: the same one may be repeated there, another needs its own."""
    path = home / "demo.json"
    try:
        found = json.loads(path.read_bytes())
    except ValueError as exc:
        raise BadInputError(
            "--home", f"{path} is damaged ({exc})", "give another --home, or remove the folder"
        ) from exc
    except FileNotFoundError:
        home.mkdir(parents=True, exist_ok=True)
        common.write_atomically(path, json.dumps(settings).encode())
        return
    if found != settings:
        had = ", ".join(f"{name} {value}" for name, value in found.items())
        raise BadInputError("--home", f"{home} holds another demo ({had})", "give another --home, or remove the folder")


# -- before the month -------------------------------------------------------------------------------------------


def prepare(stage: Stage) -> None:
    """Everything that is there before the first timer: tables, buckets, bills, users, parties, agreements."""
    for action in plan(environment(stage.cloud.home)):
        action.make()
    _clock_at_least(stage, datetime.combine(stage.since or stage.cycle.first, clock_time(0), SHANGHAI))
    with _progress(stage.console, "generating the bills", stage.month.lines) as advance:
        load_bills(stage.cloud.home, stage.month, advance, stage.since)
    stage.step(f"{stage.month.lines:,} bill lines of {len(stage.month.payers)} payer accounts at the provider")
    acts.go_live(stage.ask, stage.work, stage.month, stage.since or stage.cycle.first)
    acts.schedule(stage.ask, str(stage.cycle))
    stage.cloud.host.idle()
    counts = f"{len(stage.month.resellers)} resellers, {len(stage.month.customers)} customers"
    people = f"proposed by {PREPARER}, approved by {APPROVER}"
    stage.step(
        f"{counts}, {len(stage.month.agreements)} agreements, {len(stage.month.price_plans)} price plans: {people}"
    )


def _clock_at_least(stage: Stage, instant: datetime) -> None:
    clock = common.Clock(stage.cloud.home)
    if not (stage.cloud.home / "clock").exists():
        clock.set(instant)
        stage.cloud.host.set_clock(instant)


# -- the month --------------------------------------------------------------------------------------------------


def play_time(stage: Stage) -> None:
    """Let the timers fire until the final bill is settled: the evening of the 3rd of the next month."""
    end = stage.cycle.final_from() + timedelta(hours=8)
    host = stage.cloud.host
    now = host.clock().astimezone(SHANGHAI)
    days = max((end.date() - now.date()).days, 0)
    with _progress(stage.console, "playing the month", days) as advance:
        seen = now.date()

        def tell(message: dict[str, Any]) -> None:
            nonlocal seen
            day = datetime.fromisoformat(message["at"]).astimezone(SHANGHAI).date()
            advance((day - seen).days, f"playing {day}")
            seen = day

        if host.clock() < end:  # a month that was played goes on after it
            host.advance(end, tell)
    counts = host.idle()
    if counts.get("failed") and not stage.is_misbehaving:
        raise LocalCloudError(_failures(counts["failed"], host.status()["failures"], stage.cloud.home))
    _await(stage, lambda: all(one is not None and one.calculated is not None for one in _months(stage)))
    drafts = sum(1 for _ in stage.work.buckets.work.keys(f"work/settle/{stage.cycle}/") if "/draft-" in _)
    stage.step(f"{days} days played by timers and events, {drafts} drafts, final bills settled")


def _await(stage: Stage, is_done: Callable[[], bool]) -> None:
    """Where things misbehave, what was given up is mended by the nights' sweeps: let some nights pass."""
    for _ in range(NIGHTS_MOST if stage.is_misbehaving else 0):
        if is_done():
            return
        now = stage.cloud.host.clock().astimezone(SHANGHAI)
        night = datetime.combine(now.date(), clock_time(23), SHANGHAI)
        stage.cloud.host.advance(night if night > now else night + timedelta(days=1), lambda _: None)
        stage.cloud.host.idle()


def _months(stage: Stage) -> list[months.Month | None]:
    return [acts.month_of(stage.work, str(stage.cycle), reseller.id) for reseller in stage.month.resellers]


def _batches_paid(stage: Stage) -> bool:
    records = stage.work.buckets.records
    names = (key.removeprefix("batches/").removesuffix(".json") for key in records.keys(f"batches/{stage.cycle}/"))
    return all(records.exists(f"payouts/{name}.csv") for name in names)


def _failures(count: int, failures: list[dict[str, Any]], home: Path) -> str:
    lines = [f"{count} invocations were given up, the last of them:"]
    for one in failures[:5]:
        message = json.loads(one["error"]).get("errorMessage", "") if one["error"] else one["error_type"]
        lines.append(f"  {one['function']} for {one['subject']}: {message}")
    return "\n".join([*lines, f"see {home / 'logs' / 'functions'}"])


def close(stage: Stage) -> None:
    """Lock each reseller's month, publish, pay, and take the bank's answer."""
    cycle = str(stage.cycle)
    for reseller in stage.month.resellers:
        month_ = acts.month_of(stage.work, cycle, reseller.id)
        if month_ is None or month_.calculated is None:
            raise LocalCloudError(f"{reseller.id} has no final settlement of {cycle}; see {stage.cloud.home / 'logs'}")
        acts.exclude(stage.ask, stage.work, cycle, reseller.id)
    stage.cloud.host.idle()
    _await(stage, lambda: not any(_excludes_still(stage, reseller.id) for reseller in stage.month.resellers))
    stage.step("refunds of before go-live excluded, by two, and the month settled without them")
    for reseller in stage.month.resellers:
        acts.lock(stage.ask, stage.work, cycle, reseller.id)
    stage.cloud.host.idle()
    _await(stage, lambda: all(one is not None and one.published is not None for one in _months(stage)))
    stage.step(f"{cycle} locked and its statements published")
    acts.pay(stage.ask, stage.work, cycle)
    stage.cloud.host.idle()
    _await(stage, lambda: _batches_paid(stage))
    acts.answer(stage.work, cycle)
    stage.cloud.host.idle()
    _await(stage, lambda: all(one is None or one.state != "paid" for one in _months(stage)))
    stage.step("payout file written, and confirmed by the bank's answer")


def _excludes_still(stage: Stage, reseller: str) -> bool:
    """Whether a settlement without what was excluded is still to come."""
    cycle = str(stage.cycle)
    entries = stage.work.chain.read(months.stream_of(reseller, cycle))
    open_ = locks.in_the_way(stage.work, entries, reseller, cycle)
    return any(one.kind == "unlinked_refund" and not one.accepted for one in open_)


def go_on(stage: Stage) -> None:
    """The next month begins, and a refund of the locked one comes: it is adjusted in the month that is open.

    The bills are asked for once more at noon, between the rounds of two days, one payer's after the other's: so what
    is settled from them depends on no race.
    """
    load_afterwards(stage.cloud.home, stage.month, stage.since or stage.cycle.first)
    following = stage.cycle.next()
    noon = datetime.combine(following.first.replace(day=4), clock_time(12), SHANGHAI)
    _play_until(stage, noon)
    for payer in stage.month.payers:  # one after the other: what is looked at between depends on no race either
        order_rounds(stage.work, Asked(payer.account, str(stage.cycle), None, None), noon)
        stage.cloud.host.idle()
    _play_until(stage, noon + timedelta(hours=35))
    _await(stage, lambda: bool(_adjustments(stage)))
    stage.step(f"a refund came after the lock: {following} adjusts it, as its draft says")


def find_scheduled(stage: Stage) -> None:
    """The report that was scheduled for the 4th is there."""
    slots = acts.schedule(stage.ask, str(stage.cycle))["slots"]
    states = [f"{one['slot']} {one['state']} {one['because']}".strip() for one in slots]
    if states == [f"{stage.cycle.next()}-04 ready"]:
        stage.step(f"the report that is made on every 4th was made: run {slots[0]['run']}")
    elif not stage.is_misbehaving:
        raise LocalCloudError(f"slots of the schedule: {states or 'none'}; see {stage.cloud.home / 'logs'}")


def look_at(stage: Stage) -> None:
    """Somebody asks for a report of the month, and gets it."""
    acts.report(stage.ask, str(stage.cycle))
    stage.cloud.host.idle()
    found = acts.report(stage.ask, str(stage.cycle))
    if found["state"] == "succeeded":
        stage.step(f"a report of {found['rows']} rows made when it was asked for: {found['files'][0]['name']}")
    elif not stage.is_misbehaving:
        raise LocalCloudError(f"report run {found['id']} is {found['state']}; see {stage.cloud.home / 'logs'}")


def _play_until(stage: Stage, instant: datetime) -> None:
    if stage.cloud.host.clock() < instant:
        stage.cloud.host.advance(instant, lambda _: None)
    stage.cloud.host.idle()


def _adjustments(stage: Stage) -> list[dict[str, Any]]:
    """What the newest drafts of the next month adjust of the one that is locked."""
    found = []
    for reseller in stage.month.resellers:
        drafts = list(stage.work.buckets.work.keys(inputs.drafts_prefix(str(stage.cycle.next()), reseller.id)))
        if drafts:
            kept = inputs.counting(stage.work, reseller.id, str(stage.cycle.next()))
            adjusted = kept.summary(stage.work).get("adjusted", ())
            found += [{"reseller": reseller.id, "draft": kept.settlement, **one} for one in adjusted]
    return found


# -- what came of it --------------------------------------------------------------------------------------------


def _result(stage: Stage) -> dict[str, Any]:
    cycle, work = str(stage.cycle), stage.work
    snapshots = []
    for payer in stage.month.payers:
        seal = state.last_seal(work, payer.account, cycle)
        if seal is not None:
            snapshots.append(
                {
                    "id": seal.snapshot,
                    "account": seal.account,
                    "cycle": seal.cycle,
                    "status": seal.status,
                    "rows": seal.rows,
                    "totals": seal.totals,
                }
            )
    settlements = []
    for one in settlements_of(work, cycle):
        keys = list(
            work.buckets.records.keys(f"statements/{cycle}/{one['reseller']}/{one['agreement']}-{one['id'][:12]}")
        )
        settlements.append({**one, "statement_keys": keys, "statement_links": [_fetched(work, key) for key in keys]})
    payouts = [
        {"key": key, "link": _fetched(work, key), "sha256": digest(work.buckets.records.get(key))}
        for key in work.buckets.records.keys(f"payouts/{cycle}/")
    ]
    return {
        "bill_lines": sum(one["rows"] for one in snapshots),
        "snapshots": snapshots,
        "settlements": settlements,
        "payout_files": payouts,
        "adjustments": _adjustments(stage),
        "cases": cases_of(work, cycle),
        "reconciliation": reconciliation_of(work, cycle),
    }


def _fetched(work: Services, key: str) -> str:
    """A signed link to a file, after it has been opened once and gave exactly the file."""
    link = work.buckets.records.link(key, LINK_S, key.rpartition("/")[2])
    with urllib.request.urlopen(link, timeout=30) as answer:  # noqa: S310 - our own loopback link
        found = hashlib.sha256(answer.read()).hexdigest()
    if found != digest(work.buckets.records.get(key)):
        raise LocalCloudError(f"the link to {key} does not give the file")
    return link


def _fingerprint(work: Services, stage: Stage) -> dict[str, Any] | None:
    """Everything that a second run must leave as it is: chain heads, projections, and every object's name."""
    from shared.errors import ClearbookError

    cycle = str(stage.cycle)
    streams = [f"reseller/{one.id}" for one in stage.month.resellers]
    streams += [
        f"cycle/{cycle}",
        "parties",
        "grants",
        "config",
        *(stream_of(p.account, cycle) for p in stage.month.payers),
    ]
    try:
        heads = {stream: [entry.hash for entry in work.chain.read(stream)][-1:] for stream in streams}
        lists = {
            table: projections.listed(work, table, cycle)
            for table in (projections.SETTLEMENTS, projections.CASES, projections.PAYOUTS)
        }
        objects = {name: list(getattr(work.buckets, name).keys("")) for name in ("inbox", "work", "records", "reports")}
    except ClearbookError:
        return None  # nothing is provisioned yet: this is the first run
    return {"heads": heads, "lists": lists, "objects": objects}


def _peak_rss_mb(cloud: LocalCloud) -> int:
    functions = cloud.host.status()["functions"]
    peak = max((one.get("peak_rss_mb") or 0 for one in functions.values()), default=0)
    return max(int(peak), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _show(stage: Stage, result: Mapping[str, Any], *, is_unchanged: bool) -> None:
    console = stage.console
    console.print()
    console.print(settlement_table(result["settlements"], f"Settlements {stage.cycle}"))
    console.print(reconciliation_text(result["reconciliation"]), highlight=False)
    for one in result["adjustments"]:
        owed = f"{one['reseller']} by {one['amount']} {one['currency']}"
        console.print(f"Adjusted in {stage.cycle.next()} of {one['cycle']}: {owed}: {one['because']}", highlight=False)
    for line in case_list(result["cases"], "Open cases, which Clearbook does not guess"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print("Files, each opened once by its link:")
    for one in result["settlements"]:
        for key, link in zip(one["statement_keys"], one["statement_links"], strict=True):
            console.print(f"  [bold]{key}[/]\n    {link}", highlight=False, soft_wrap=True)
    for one in result["payout_files"]:
        console.print(f"  [bold]{one['key']}[/]\n    {one['link']}", highlight=False, soft_wrap=True)
    console.print(
        f"\n{result['bill_lines']:,} bill lines, {len(result['settlements'])} settlements, "
        f"{len(result['cases'])} open cases in {result['elapsed_s']} s, "
        f"peak {result['peak_rss_mb']} MB in one process",
        highlight=False,
    )
    if is_unchanged:
        console.print("Nothing was changed: this month had been played here before.", style="bold")


def _stay(console: Console, cloud: LocalCloud) -> None:
    console.print("The local cloud stays up so that the links open; stop it with Ctrl-C.")
    try:
        while True:
            cloud.check()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("stopped")


@contextmanager
def _progress(console: Console, text: str, total: int) -> Iterator[Any]:
    """A bar on a terminal; elsewhere a line now and then."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            task = progress.add_task(text, total=total)
            yield lambda by, said=None: progress.update(task, advance=by, description=said or text)
        return
    done, shown = 0, 0

    def advance(by: int, said: str | None = None) -> None:
        nonlocal done, shown
        done += by
        if total and done * 4 // total > shown:
            shown = done * 4 // total
            console.print(f"  {said or text}: {done:,} of {total:,}", highlight=False)

    yield advance
