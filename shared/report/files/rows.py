"""The rows of an answer, as the formats read them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.columnar import connect, quoted
from shared.report.answer import Answer

if TYPE_CHECKING:
    import duckdb

_MEMORY_MB = 512


@contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in which rows come in the order in which they lie."""
    with connect(Path(tempfile.gettempdir()) / "clearbook", _MEMORY_MB) as connection:
        yield connection


def rows_of(answer: Answer) -> str:
    """The relation of its rows."""
    return f"read_parquet({quoted(str(answer.path))})"
