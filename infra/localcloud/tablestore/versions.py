"""The versions of a column: which of them can be seen, and which a write leaves.

Source: alibabacloud.com/help/en/tablestore/data-versions-and-ttl. A version is a time in milliseconds, given by
the caller or else by the service. A table keeps the newest `max_versions` of each column and, when it has a
time to live, shows none that is older. What cannot be seen is removed by the next update of its row.

Time is the business clock of the local cloud, which may stand still or be set back. So that an update never hides
behind an earlier one, the service gives it a version after every other of its column here; the real one, whose
time only goes forward, gives the time, and hides an update behind a version that a caller put into the future.
"""

from __future__ import annotations

from typing import NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain

LAST_MS = (1 << 63) - 1


class Sight(NamedTuple):
    """Which cells of a row count: of each column the newest `most` from `first_ms` up to but without `end_ms`."""

    most: int
    first_ms: int = 0
    end_ms: int = LAST_MS

    def of(self, row: bytes) -> plain.Row | None:
        """A stored row as far as it can be seen; None when it has attributes and none of them can.

        From memory: a row without any attribute is always seen, it has no version that could have expired.
        """
        taken = plain.split_versions(row)
        seen = {}
        for name, column in taken.cells.items():
            cells = [cell for cell in plain.cells_of(column) if self.first_ms <= plain.cell_version(cell) < self.end_ms]
            if cells:
                seen[name] = b"".join(cells[: self.most])
        return taken._replace(cells=seen) if seen or not taken.cells else None


def with_cell(column: bytes | None, cell: bytes, most: int) -> bytes:
    """A column with one more cell, in place of one of the same version; the oldest make way."""
    if column is None:
        return cell
    version = plain.cell_version(cell)
    others = [other for other in plain.cells_of(column) if plain.cell_version(other) != version]
    return b"".join(sorted([cell, *others], key=plain.cell_version, reverse=True)[:most])


def version_after(column: bytes | None, now_ms: int) -> int:
    """The version that the service gives to a new cell of a column."""
    return now_ms if column is None else max(now_ms, plain.cell_version(plain.cells_of(column)[0]) + 1)


def without_version(column: bytes | None, version: int) -> bytes:
    """A column without the cell of this version; empty when there is no other."""
    cells = [] if column is None else plain.cells_of(column)
    return b"".join(cell for cell in cells if plain.cell_version(cell) != version)
