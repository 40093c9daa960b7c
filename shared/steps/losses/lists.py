"""Lists that do not show what the chain says: rows that are missing, behind, or of nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from shared.control import months
from shared.errors import ClearbookError
from shared.parties.parties import OPERATOR
from shared.ports import Row
from shared.services import Services
from shared.steps import projections
from shared.steps.losses.books import Books
from shared.steps.losses.loss import Loss, Losses


class StrayRowError(ClearbookError):
    """A row that stands for nothing in the chain."""

    code = "stray_row"


class Shown:
    """What the lists show of these cycles: all of them are read together, at the first question."""

    def __init__(self, services: Services, cycles: Sequence[str]) -> None:
        self._services, self._first, self._last = services, min(cycles), max(cycles)

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[Row]]:
        found = defaultdict(list)
        for table in projections.TABLES:
            for row in projections.listed(self._services, table, self._first, self._last):
                found[table, str(row["cycle"])].append(row)
        return found

    def of(self, cycle: str) -> dict[str, list[Row]]:
        """The rows of a cycle, by table."""
        return {table: self._rows.get((table, cycle), []) for table in projections.TABLES}


def losses(services: Services, books: Books, every: Shown, cycle: str) -> Losses:
    """What the lists of a cycle do not show."""
    owners, shown = (*books.streams, OPERATOR), every.of(cycle)
    known: set[tuple[str, str]] = set()
    for owner in owners:
        entries = services.chain.read(months.stream_of(owner, cycle))
        rows = projections.expected(services, owner, cycle, entries)
        known |= rows.keys()
        if projections.differences(rows, projections.newest_seq(entries, cycle), shown, owner):
            yield Loss(
                "list",
                f"{cycle}/{owner}",
                cycle,
                owner,
                None,
                "the rows are not what the chain says",
                lambda owner=owner: not projections.is_stale(services, owner, cycle),  # type: ignore[misc]
                lambda owner=owner: projections.rebuild(services, owner, cycle),  # type: ignore[misc]
            )
    for table in projections.TABLES:
        for row in shown[table]:
            id_, owner = str(row["id"]), str(row.get("owner", ""))
            is_closed = row.get("state") == "closed"
            if (table, id_) not in known and not is_closed and (table != projections.CASES or owner not in owners):
                yield _stray(services, table, cycle, id_, owner)


def _stray(services: Services, table: str, cycle: str, id_: str, owner: str) -> Loss:
    """A row that nothing in the chain stands behind: nobody but people can say where it came from."""

    def is_gone() -> bool:
        return services.rows.get(table, (("cycle", cycle), ("id", id_))) is None

    def refuse() -> None:
        raise StrayRowError(f"row ({cycle}, {id_}) of {table} stands for nothing in the chain; find out who wrote it")

    return Loss("list", f"{table}/{cycle}/{id_}", cycle, owner, None, "the row is of nothing", is_gone, refuse)
