"""A cycle line by line: day parts, settlements, summaries and control totals, each fetched anew and held together.

Nothing that an earlier run has fetched is believed. What is read lies in one folder for the run; DuckDB does the rest
out of core, one statement a matter over all shares.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shared.bill import control
from shared.bill.pulls import CONTROL, MONTHLY, Pull
from shared.bill.snapshot import Seal, observations, stream_of
from shared.columnar import connect
from shared.cycle import Cycle
from shared.ports import ObjectMissingError
from shared.reconciliation import placing, summing
from shared.reconciliation.difference import FIGURES, PARTS, SETTLEMENT, Difference
from shared.reconciliation.tolerance import CONTROLS_NAME, explain
from shared.services import Services
from shared.steps import results, state
from shared.steps.reconciling import figures
from shared.steps.reconciling.gathering import Gathered, Look, cases_of, snapshots_of, summary_of

if TYPE_CHECKING:
    import duckdb

_CONTROLS = {control.OVERVIEW: CONTROL, control.MONTHLY: MONTHLY}  # name of a control -> the pull that asks for it
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Read:
    """What reading every line came to."""

    groups: Sequence[placing.Group]
    differences: Sequence[Difference]


def read(services: Services, gathered: Gathered, limit: int | None, told: Told = lambda _: None) -> Read:
    """Hold every line of the cycle against what became of it; differences name their first `limit` lines, or all."""
    with (
        TemporaryDirectory(dir=services.scratch) as scratch,
        connect(services.scratch, _memory_mb(services, gathered), services.threads) as connection,
    ):
        folder = Path(scratch)
        parts, found = _parts(services, connection, gathered, folder, told)
        shares = []
        for number, look in enumerate(gathered.looks, 1):
            told(f"settlement {number} of {len(gathered.looks)}: {look.owner}")
            share, wrong = _share(services, connection, look, folder, limit)
            shares += [share] if share is not None else []
            found += wrong
        told("holding every line against its places")
        assignments = gathered.parties.in_cycle(Cycle.parse(gathered.cycle))
        placing.load(connection, parts, shares, gathered.cycle, assignments, gathered.missing)
        found += placing.differences(connection, limit)
        told("holding sums against the provider's")
        found += _controls(services, connection, gathered, limit)
        return Read(placing.groups(connection), found)


def _memory_mb(services: Services, gathered: Gathered) -> int:
    return placing.memory_mb(sum(seal.rows for seal in gathered.seals.values()), services.memory_mb)


# -- what is fetched --------------------------------------------------------------------------------------------


def _parts(
    services: Services, connection: duckdb.DuckDBPyConnection, gathered: Gathered, folder: Path, told: Told
) -> tuple[list[str], list[Difference]]:
    """The day parts of the newest seals, and where one is not what its name and its snapshot say."""
    paths, found = list[str](), list[Difference]()
    for payer, snapshot in sorted(snapshots_of(services, gathered).items()):
        for day, part in sorted(snapshot.parts.items()):
            told(f"day part {payer} {day}")
            key = snapshot.part_key(day)
            path = _fetched(services, key, folder)
            if path is None:
                found.append(Difference(PARTS, "", f"{key} is missing", reason="missing"))
                continue
            if _digest_of(path) != part.digest:
                found.append(Difference(PARTS, "", f"{key} does not have the digest that names it", reason="digest"))
            sums = _sums(connection, path)
            if sums is None:
                found.append(Difference(PARTS, "", f"{key} cannot be read", reason="unreadable"))
                continue
            paths.append(str(path))
            found += _part_sums(key, sums[1], part.totals)
    return paths, found


def _part_sums(
    key: str, ours: Mapping[str, Mapping[str, Decimal]], said: Mapping[str, Mapping[str, str]]
) -> Iterator[Difference]:
    for currency in sorted(ours.keys() | said.keys()):
        for name in ("pretax", "gross"):
            mine = ours.get(currency, {}).get(name, Decimal(0))
            theirs = Decimal(said.get(currency, {}).get(name, "0"))
            if mine != theirs:
                what = f"{key}: {name} of its lines is not what its snapshot says"
                yield Difference(PARTS, "", what, currency, mine, theirs, reason="amount")


def _share(
    services: Services, connection: duckdb.DuckDBPyConnection, look: Look, folder: Path, limit: int | None
) -> tuple[placing.Share | None, list[Difference]]:
    """A settlement's files as they are read, and where they, its summary and the chain do not say the same."""
    found = figures.of_share(services, look)
    summary, _ = summary_of(services, look)
    paths = [_fetched(services, look.kept.folder + name, folder) for name in (results.LINES, results.HELD)]
    if None in paths or any(_sums(connection, path, of_bill=False) is None for path in paths if path is not None):
        what = f"the lines of settlement {look.kept.settlement[:12]} are missing, or cannot be read"
        return None, [*found, Difference(SETTLEMENT, look.owner, what, reason="missing")]
    lines, held = map(str, paths)
    if summary is not None:
        found += summing.of_files(connection, look.owner, lines, held, summary, limit)
    try:
        manifest = look.kept.manifest(services)
        terms = [state.agreement(services, one[-1]) for one in manifest["agreements"]]
    except (ObjectMissingError, ValueError):
        what = f"the manifest of settlement {look.kept.settlement[:12]} is missing, or cannot be read"
        return None, [*found, Difference(FIGURES, look.owner, what, reason="missing")]
    rates = state.fx_rates(services, manifest["rates"]) if manifest["rates"] else {}
    of = [placing.Terms(one.id, one.version, one.basis, one.currency) for one in terms]
    return placing.Share(look.owner, lines, held, of, rates), found


def _fetched(services: Services, key: str, folder: Path) -> Path | None:
    path = folder / key.replace("/", "_")
    try:
        services.buckets.work.download(key, path)
    except ObjectMissingError:
        return None
    return path


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sums(
    connection: duckdb.DuckDBPyConnection, path: Path, *, of_bill: bool = True
) -> tuple[int, Mapping[str, Mapping[str, Decimal]]] | None:
    """What a file of lines comes to; None where it cannot be read."""
    import duckdb

    try:
        if of_bill:
            return placing.part_sums(connection, str(path))
        connection.execute("SELECT count(*), sum(basis) FROM read_parquet(?)", [str(path)]).fetchall()
    except duckdb.Error:
        return None
    return 0, {}


# -- control totals ---------------------------------------------------------------------------------------------


def _controls(
    services: Services, connection: duckdb.DuckDBPyConnection, gathered: Gathered, limit: int | None
) -> list[Difference]:
    """How the lines differ from the provider's totals now, and where that is not what the seal found."""
    billed, cases = placing.billed_by_product(connection), cases_of(services, gathered)
    found = list[Difference]()
    for payer, seal in sorted(gathered.seals.items()):
        kept, wrong = figures.kept_controls(services, seal)
        found += wrong
        given = _given(services, seal) if seal.control["key"] else {}
        if control.OVERVIEW not in given:
            found += [figures.control_difference(payer, one, cases) for one in kept]
            continue
        lines = {(group[1], group[2], group[3]): amount for group, amount in billed.items() if group[0] == payer}
        unreadable = [one for name, said in given.items() for one in control.unreadable(said["unreadable"], name)]
        totals = {name: control.totals_from_json(said["controls"]) for name, said in given.items()}
        now = control.as_json([*unreadable, *control.compare_all(lines, totals)])
        for one in now:
            told = figures.control_difference(payer, one, cases)
            group = (payer, one["account"], one["product"], one["currency"])
            ids, count = placing.lines_of(connection, group, told.amount, limit)
            told = replace(told, lines=ids, count=count)
            if one not in kept:
                what = f"{told.what}, and the seal found it otherwise"
                told = replace(told, what=what, explained="")
            found.append(told)
        for one in kept:
            if one not in now and not any(_group(one) == _group(other) for other in now):
                told = figures.control_difference(payer, one, cases)
                what = "the seal found a difference to a control total that is no longer there"
                found.append(replace(told, what=f"{payer}/{one['account']}/{one['product']}: {what}", explained=""))
    return explain(found, gathered.policies, CONTROLS_NAME)


def _group(one: Mapping[str, str]) -> tuple[str, ...]:
    return one["account"], one["product"], one["currency"], one["against"]


def _given(services: Services, seal: Seal) -> dict[str, Any]:
    """The totals that a seal was compared with, by name: those of its round, or the newest before a file was read."""
    slots = [seal.slot]
    if seal.source != "api":
        entries = services.chain.read(stream_of(seal.account, seal.cycle))
        slots = [one.slot for one in reversed(observations(entries, "api")) if one.seq < seal.seq]
    for slot in slots:
        found = {}
        for name, what in _CONTROLS.items():
            body = services.buckets.work.find(Pull(seal.account, Cycle.parse(seal.cycle), what, slot).ingested_key)
            if body is not None:
                found[name] = json.loads(body)
        if found:
            return found
    return {}
