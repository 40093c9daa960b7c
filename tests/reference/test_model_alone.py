"""The model is a second opinion: it knows nothing of what it is held against."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULES = [path for path in Path(__file__).parent.glob("*.py") if path.name != "compare.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_model_imports_nothing_of_the_product(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])

    assert not imported & {"shared", "functions", "infra"}
