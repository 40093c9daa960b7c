"""Day parts written line by line, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.bill.line import COLUMNS
from shared.columnar import connect, insert
from tests.builders import ACME, CYCLE, P1

Line = Mapping[str, Any]


def bill_line(line_id: str, **values: Any) -> Line:
    """A line of the part: the columns that a test is not about are filled in."""
    usual = {
        "line_id": line_id, "payer": P1, "account": ACME, "cycle": str(CYCLE), "date": f"{CYCLE}-10",
        "product_code": "ecs", "instance_id": "i-1", "kind": "usage", "currency": "CNY",
        "gross": "2.00", "pretax": "1.50", "list_price": "0.5",
    }  # fmt: skip
    return usual | values


def write_part(
    folder: Path, name: str, lines: Sequence[Line], columns: Mapping[str, str] = COLUMNS
) -> tuple[Path, Path]:
    """The part of these lines with these columns, and their trace: page 1 with as many rows as lines."""
    part, trace = folder / f"{name}.parquet", folder / f"{name}-trace.parquet"
    types = {**columns, "page": "INTEGER", "row": "INTEGER"}
    rows = [[*(line.get(column) for column in columns), 1, number] for number, line in enumerate(lines)]
    with connect(folder) as connection:
        fields = ", ".join(f"{column} {type_}" for column, type_ in types.items())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE written ({fields})")
        insert(connection, "written", rows, len(types))
        for select, path in ((", ".join(columns), part), ("line_id, page, row", trace)):
            connection.execute(f"COPY (SELECT {select} FROM written) TO '{path}' (FORMAT parquet)")
    return part, trace
