"""Codes that the bills of a cycle carry and the catalogue does not know: a case each, which holds no money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from shared.bill.snapshot import Snapshot
from shared.columnar import connect, quoted
from shared.control.cases import Case
from shared.parties.parties import OPERATOR
from shared.reference import catalogue
from shared.services import Services
from shared.steps import state


def unknown_codes(services: Services, digest: str, cycle: str, snapshots: Mapping[str, Snapshot]) -> list[Case]:
    """The cases of all bills of a cycle against the catalogue of that digest; none where no catalogue is in force.

    Told from the lines themselves, not from what was known when they came in: the next catalogue closes what it knows.
    """
    paths = [
        str(state.local_part(services, snapshot.part_key(day)))
        for snapshot in snapshots.values()
        for day, part in snapshot.parts.items()
        if part.rows
    ]
    if not digest or not paths:
        return []
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        found = catalogue.codes(connection, f"read_parquet([{', '.join(map(quoted, paths))}])")
    lines = catalogue.unknown_lines(state.catalogue(services, digest), found)
    return [Case(cycle, OPERATOR, "unknown_code", code, "", count, Decimal(0)) for code, count in lines.items()]
