"""What a month would have come to under other agreements: settled beside what it came to, and nothing is kept of it.

A document takes the place of the versions of its agreement on the days on which it is in force, or is added. One that
is in force on no day of the month is settled as if it had been in force on all of them. What the operator's own share
holds earns nothing under any agreement, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.agreement.agreement import Agreement
from shared.agreement.overlaps import overlapping
from shared.columnar import connect
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError
from shared.money import EXACT
from shared.services import Services
from shared.settlement import engine
from shared.settlement.share import Share
from shared.steps import inputs, looking_back, results, state
from shared.steps.inputs import Kept

# A line of the bill is found by its id; what is of no line (bounds, retroactive differences) by all that names it.
_OF_NO_LINE = ("kind", "rule", "instance_id")
_BY_LINE = ("agreement", "customer", "product_code", "account", "date", "line_id", "currency")


@dataclass(frozen=True, slots=True)
class Change:
    """What something came to, and would have come to."""

    of: Mapping[str, str]
    before: Decimal
    after: Decimal

    @property
    def difference(self) -> Decimal:
        """What it would have been more."""
        return EXACT.subtract(self.after, self.before)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A share under other agreements."""

    kept: Kept
    notes: Sequence[str]
    statements: Sequence[Change]  # totals as the statements round them
    payable: Sequence[Change]
    customers: Sequence[Change]
    rules: Sequence[Change]
    held: Sequence[Change]  # what cases hold
    lines: Sequence[Change]  # largest first


def touched(services: Services, cycle: Cycle, documents: Sequence[Agreement], owner: str | None) -> list[str]:
    """The resellers whose settlement of the cycle reads one of the documents' agreements."""
    parties, _ = state.parties(services)
    named = {one.reseller for one in documents}
    found = {one for one in parties.resellers if {one, *parties.neighbours(one, [cycle])} & named}
    return sorted(found if owner is None else found & {owner})


def what_if(
    services: Services, owner: str, cycle: Cycle, documents: Sequence[Agreement], told: Callable[[str], None]
) -> WhatIf:
    """Settle the reseller's month with the documents, and compare."""
    kept = inputs.counting(services, owner, str(cycle))
    manifest = kept.manifest(services)
    share = looking_back.look_back(services, manifest, inputs.share_of(services, manifest), services.memory_mb)
    other = _under(inputs.share_of(services, {**manifest, **_tables(services, manifest)}), documents)
    other = looking_back.looking_at(manifest, other, {str(cycle): ["as it was settled"] for cycle in share.looked_back})
    notes = [f"the last draft, not a final settlement: {kept.settlement[:12]}"] if kept.is_draft else []
    gone = [one for one in share.held_back if one not in other.held_back]
    notes += [f"{cycle} is looked back to, and is adjusted under the documents too" for cycle in share.looked_back]
    notes += [f"not released: what {one.agreement} version {one.version} held back in {one.cycle}" for one in gone]
    with TemporaryDirectory(dir=services.scratch) as scratch:
        before, after = Path(scratch) / "before", Path(scratch) / "after"
        for folder in (before, after):
            folder.mkdir()
        if manifest["engine"] == engine.VERSION:
            summary = kept.summary(services)
            services.buckets.work.download(kept.folder + results.LINES, before / results.LINES)
        else:
            notes.append(f"settled by engine {manifest['engine']}; before is what engine {engine.VERSION} makes of it")
            summary = _settled(services, manifest, share, before, told)
        would = _settled(services, manifest, other, after, told)
        told("comparing")
        with connect(services.scratch, services.memory_mb, services.threads) as connection:
            return _compared(connection, kept, notes, (before, after), (summary, would))


def _tables(services: Services, manifest: Mapping[str, Any]) -> dict[str, str]:
    """The rates and figures that were read, or where none were needed those in force: a document may need them."""
    config, cycle = services.chain.read(state.CONFIG), manifest["cycle"]
    acts = {"rates": state.FX_TABLES, "figures": state.FIGURES}
    return {name: manifest[name] or state.tables(config, act).get(cycle, "") for name, act in acts.items()}


def _settled(
    services: Services, manifest: Mapping[str, Any], share: Share, folder: Path, told: Callable[[str], None]
) -> dict[str, Any]:
    told(f"settling {share.owner} {share.cycle}")
    settled = results.compute(services, manifest, share, folder, services.memory_mb)
    return results.summary_of(share, settled, "")


# -- whose versions ---------------------------------------------------------------------------------------------


def _under(share: Share, documents: Sequence[Agreement]) -> Share:
    """The share with the documents in the place of the versions that they stand for."""
    mine = [one for one in documents if one.reseller == share.owner]
    others = [one for one in documents if one.reseller in _others(share)]
    agreements = _replaced(share.agreements, mine, share.cycle)
    known = {(one.id, one.version) for one in agreements}
    return replace(
        share,
        agreements=agreements,
        others=_replaced(share.others, others, share.cycle),
        # The version that held an amount back says when it is released: without it nothing does.
        held_back=[one for one in share.held_back if (one.agreement, one.version) in known],
        adjustments=[one for one in share.adjustments if one.agreement in {agreement for agreement, _ in known}],
    )


def _others(share: Share) -> set[str | None]:
    """The resellers that hold the share's accounts on other days."""
    return {one.reseller for one in share.assignments} - {share.owner}


def _replaced(versions: Sequence[Agreement], documents: Sequence[Agreement], cycle: Cycle) -> list[Agreement]:
    """The versions, each document in the place of those of its agreement on the days on which it is in force."""
    left, new = list(versions), list[Agreement]()
    for id_ in dict.fromkeys(one.id for one in documents):
        mine = [one for one in documents if one.id == id_]
        if not any(one.touches(cycle) for one in mine):
            mine = [replace(mine[-1], begins=cycle.first, ends=None)]
        for one in mine:
            left = [rest for version in left for rest in _giving_way(version, one)]
        new += mine
    for one in new:
        findings = overlapping(one, [*left, *(other for other in new if other is not one)])
        if findings:
            findings.append(("agreement", "it takes the place of another agreement by having that one's id"))
            raise DocumentRefusedError(f"{one.id} version {one.version}", findings)
    result = [*left, *new]
    return sorted((one for one in result if one.begins <= cycle.last), key=lambda one: (one.id, one.version))


def _giving_way(version: Agreement, new: Agreement) -> list[Agreement]:
    """What is left of a version beside a document of its agreement: the days before it, and those after it."""
    if version.id != new.id or not version.overlaps(new):
        return [version]
    left = []
    if version.begins < new.begins:
        left.append(replace(version, ends=new.begins - timedelta(days=1)))
    if new.ends is not None and (version.ends is None or version.ends > new.ends):
        left.append(replace(version, begins=new.ends + timedelta(days=1)))
    return left


# -- the comparison ---------------------------------------------------------------------------------------------


def _compared(
    connection: Any, kept: Kept, notes: Sequence[str], folders: Sequence[Path], summaries: Sequence[Mapping[str, Any]]
) -> WhatIf:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE beside AS "
        "SELECT *, 'before' AS side, amount AS before, 0 AS after FROM read_parquet(?) UNION ALL BY NAME "
        "SELECT *, 'after' AS side, 0 AS before, amount AS after FROM read_parquet(?)",
        [str(folder / results.LINES) for folder in folders],
    )
    return WhatIf(
        kept,
        notes,
        _statements(summaries, "total"),
        _statements(summaries, "payable"),
        _changes(connection, ("currency", "customer")),
        _changes(connection, ("currency", "agreement", "rule", "kind")),
        _held(summaries),
        _lines(connection),
    )


def _changes(connection: Any, names: Sequence[str]) -> list[Change]:
    """The exact sums of both sides by these columns, where there are any."""
    columns = ", ".join(f"coalesce({name}, '') AS {name}" for name in names)
    rows = connection.execute(
        f"SELECT {columns}, sum(before), sum(after) FROM beside "  # noqa: S608 - our own names
        f"WHERE kind NOT IN ('netted', 'excluded') GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    found = [Change(dict(zip(names, row, strict=False)), *row[-2:]) for row in rows]
    return [one for one in found if one.before or one.after]


def _lines(connection: Any) -> list[Change]:
    """The lines that would have come to something else, with the rules that each side names; largest first."""
    names = ", ".join(f"coalesce(CAST({name} AS VARCHAR), '') AS {name}" for name in _BY_LINE)
    rest = ", ".join(
        f"CASE WHEN line_id = '' THEN coalesce({name}, '') ELSE '' END AS of_{name}" for name in _OF_NO_LINE
    )
    order = ", ".join(str(number) for number in range(1, len(_BY_LINE) + len(_OF_NO_LINE) + 1))
    said = "coalesce(rule, because, kind)"
    sides = ", ".join(
        f"coalesce(string_agg(DISTINCT {said}, ', ' ORDER BY {said}) FILTER (side = '{side}'), '') AS rule_{side}"
        for side in ("before", "after")
    )
    rows = connection.execute(
        f"""SELECT {names}, {rest}, {sides}, sum(before), sum(after) FROM beside
            GROUP BY ALL HAVING sum(before) <> sum(after)
            ORDER BY abs(sum(after) - sum(before)) DESC, {order}"""  # noqa: S608
    )
    keys = [one[0] for one in rows.description][:-2]
    return [Change(dict(zip(keys, row, strict=False)), *row[-2:]) for row in rows.fetchall()]


def _statements(summaries: Sequence[Mapping[str, Any]], what: str) -> list[Change]:
    sides = [{(one["agreement"], one["currency"]): one[what] for one in each["statements"]} for each in summaries]
    return _paired(sides, ("agreement", "currency"))


def _held(summaries: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What cases hold, those alone in which it differs."""
    sides = [{(one["kind"], one["key"], one["currency"]): one["amount"] for one in each["held"]} for each in summaries]
    return [one for one in _paired(sides, ("kind", "key", "currency")) if one.difference]


def _paired(sides: Sequence[Mapping[Any, str]], names: Sequence[str]) -> list[Change]:
    found = []
    for key in sorted({*sides[0], *sides[1]}):
        before, after = (Decimal(side.get(key, "0")) for side in sides)
        found.append(Change(dict(zip(names, key, strict=True)), before, after))
    return found
