"""Mutants change one thing, in Python or in SQL, and say where."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.__main__ import MODULES, path_of
from tests.mutation.mutants import mutants

SOURCE = '''"""Less than 1 < 2."""

from math import floor


def f(a: int, *, b: str = "a or b") -> str:
    """It takes a and b."""
    limit = "least(x, 1) <= y"
    return "SELECT 1 WHERE x AND a < 2" if a is not None and -a < 3 else limit
'''
FOUND = [
    "8:13 least( -> greatest(",
    "8:24 <= -> <",
    "9:28 AND -> OR",
    "9:34 < -> <=",
    "9:48 not -> (nothing)",
    "9:57 and -> or",
    "9:64 < -> <=",
    "9:66 3 -> 4",
]


def test_each_mutant_changes_one_place() -> None:
    found = [str(mutant) for mutant in mutants(SOURCE)]

    assert found == FOUND
    assert all(len(mutant.source.splitlines()) == len(SOURCE.splitlines()) for mutant in mutants(SOURCE))


@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_of_the_rules_is_python(module: str) -> None:
    found = list(mutants(path_of(module).read_text(encoding="utf-8")))

    assert len(found) > 10
    for mutant in found:
        ast.parse(mutant.source)
