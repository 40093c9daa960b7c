"""Mutants of a module: its source with one small thing changed, in Python or in the SQL that its strings hold.

Only tokens are changed, so every mutant still looks like the code around it. Operators count where they have spaces
on both sides, which they have here wherever they stand between two values.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

PYTHON = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+": "-", "-": "+", "*": "+", "//": "*",
    "+=": "-=", "and": "or", "or": "and", "not": "", "True": "False", "False": "True", "min": "max", "max": "min",
    "is": "is not", "any": "all", "all": "any",
    "ROUND_HALF_UP": "ROUND_HALF_EVEN", "ROUND_HALF_EVEN": "ROUND_HALF_UP", "ROUND_DOWN": "ROUND_HALF_UP",
}  # fmt: skip
# In SQL the longer one is tried first, so that a `<=` is not also taken for a `<`.
SQL = {
    " IS NOT DISTINCT FROM ": " IS DISTINCT FROM ", " IS DISTINCT FROM ": " IS NOT DISTINCT FROM ",
    " NULLS FIRST": " NULLS LAST", " UNBOUNDED PRECEDING": " 1 PRECEDING", "UNION ALL": "UNION", "LEFT JOIN": "JOIN",
    " IS NOT NULL": " IS NULL", " IS NULL": " IS NOT NULL", "NOT IN ": "IN ", "NOT ": "", " DESC": "", "DISTINCT ": "",
    " <= ": " < ", " < ": " <= ", " >= ": " > ", " > ": " >= ", " <> ": " = ", " = ": " <> ", " + ": " - ",
    " - ": " + ", " * ": " + ", " // ": " * ", " AND ": " OR ", " OR ": " AND ", "least(": "greatest(",
    "greatest(": "least(", "sum(": "max(", "min(": "max(", "abs(": "(", "bool_or(": "bool_and(", "bit_or(": "bit_and(",
    "lag(": "lead(", ", 0)": ", 1)", " 0 ": " 1 ", "true": "false", "false": "true",
}  # fmt: skip
_SQL = re.compile("|".join(re.escape(one) for one in SQL))
# What only a text that is SQL has; words are in capitals there.
_IS_SQL = re.compile(
    r"\b(SELECT|CASE|WHEN|THEN|AND|OVER|CAST|WHERE|JOIN|least|greatest|coalesce|sum)\b|(^| )(<|>|=)=? "
)


@dataclass(frozen=True)
class Mutant:
    """One change: what stands in a line, and what stands there instead."""

    line: int
    column: int
    old: str
    new: str
    source: str  # the whole module with the change

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.old.strip()} -> {self.new.strip() or '(nothing)'}"


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its text."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for token in _tokens(source):
        at = starts[token.start[0] - 1] + token.start[1]
        text = source[at : starts[token.end[0] - 1] + token.end[1]]
        for offset, old, new in _changes(token, text):
            place = at + offset
            changed = source[:place] + new + source[place + len(old) :]
            number = source.count("\n", 0, place) + 1
            yield Mutant(number, place - starts[number - 1], old, new, changed)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """All but imports, decorators, comments and texts that stand by themselves (documentation)."""
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            # A decorator here says only that a class is frozen and slotted.
            if (
                statement
                and statement[0].string not in ("import", "from", "@")
                and statement[0].type != tokenize.STRING
            ):
                yield from statement
            statement = []
        elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
            statement.append(token)


def _changes(token: tokenize.TokenInfo, text: str) -> Iterator[tuple[int, str, str]]:
    """(where in the token, what stands there, what stands there instead)."""
    if token.type == tokenize.NAME and text in PYTHON:
        if not token.line[token.start[1] :].startswith("is not "):  # its `not` has a mutant of its own
            yield 0, text, PYTHON[text]
    elif token.type == tokenize.OP and text in PYTHON and _is_between(token):
        yield 0, text, PYTHON[text]
    elif token.type == tokenize.NUMBER and text.isdigit():
        yield 0, text, str(int(text) + 1)
    elif tokenize.tok_name[token.type] in ("STRING", "FSTRING_MIDDLE") and _IS_SQL.search(text):
        for found in _SQL.finditer(text):
            yield found.start(), found[0], SQL[found[0]]


def _is_between(token: tokenize.TokenInfo) -> bool:
    before, after = token.line[: token.start[1]], token.line[token.end[1] :]
    return before.endswith(" ") and after[:1] in (" ", "\n")
