"""Answers as CSV, JSON and Parquet, written by DuckDB from the rows as they lie; JSON in a stream."""

from __future__ import annotations

import json
from pathlib import Path

from shared.columnar import quoted
from shared.report.answer import Answer
from shared.report.catalogue import Column, Type
from shared.report.cells import BOM, DANGEROUS
from shared.report.files.metadata import metadata, sidecar
from shared.report.files.rows import opened, rows_of

_EXACT = (Type.AMOUNT, Type.QUANTITY, Type.PERCENT)  # decimals
_RUNS = "[" + ", ".join(f"chr({ord(one)})" for one in DANGEROUS) + "]"


def to_csv(answer: Answer, path: Path) -> None:
    """RFC 4180, UTF-8 with a BOM; amounts with all the decimals of their column, what is absent is empty."""
    with opened() as connection:
        # The first header begins with the BOM: nothing else has to touch the file again.
        cells = ", ".join(
            f'{_safe_sql(one)} AS "{BOM if number == 0 else ""}{one.name}"' for number, one in enumerate(answer.columns)
        )
        connection.execute(
            f"COPY (SELECT {cells} FROM {rows_of(answer)}) TO {quoted(str(path))} "  # noqa: S608 - our own names
            r"(FORMAT csv, HEADER, NEW_LINE '\r\n')"
        )


def to_parquet(answer: Answer, path: Path) -> None:
    """The rows with the types they have; the metadata in the file's own, under `clearbook`."""
    about = quoted(sidecar(answer).decode())
    with opened() as connection:
        connection.execute(
            f"COPY (SELECT * FROM {rows_of(answer)}) TO {quoted(str(path))} "  # noqa: S608 - a path of ours
            f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{clearbook: {about}}})"
        )


def to_json(answer: Answer, path: Path) -> None:
    """One object: what the metadata says, and `rows`, each with every column by name; amounts are exact text."""
    head = json.dumps(metadata(answer), ensure_ascii=False)
    with opened() as connection, path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(head[:-1] + ', "rows": [')
        cells = ", ".join(f"{_plain_sql(one)} AS {one.name}" for one in answer.columns)
        found = connection.execute(f"SELECT to_json(r) FROM (SELECT {cells} FROM {rows_of(answer)}) r")  # noqa: S608
        is_first = True
        while rows := found.fetchmany(5_000):
            file.write(("\n" if is_first else ",\n") + ",\n".join(one for (one,) in rows))
            is_first = False
        file.write("]}\n")


def _safe_sql(column: Column) -> str:
    """A cell that cannot run, as shared.report.cells writes one."""
    if column.type not in (Type.TEXT, Type.MONTH):
        return column.name
    return f"CASE WHEN list_contains({_RUNS}, left({column.name}, 1)) THEN '''' || {column.name} ELSE {column.name} END"


def _plain_sql(column: Column) -> str:
    """A value as JSON has it: figures as exact text, but counts, which are whole numbers."""
    if column.type in _EXACT:
        return _text_sql(column.name)
    return f"CAST({column.name} AS VARCHAR)" if column.type is Type.DATE else column.name


def _text_sql(name: str) -> str:
    """A decimal as shared.money writes it: all its digits, and no zeros behind them."""
    digits = f"CAST({name} AS VARCHAR)"
    # One of no decimals has no point: the zeros of 100 are its own.
    return f"CASE WHEN contains({digits}, '.') THEN rtrim(rtrim({digits}, '0'), '.') ELSE {digits} END"
