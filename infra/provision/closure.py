"""What a function needs: the modules of ours that its handler reaches, and the packages that those import.

Read from the sources, imports inside functions included, so that nothing a rare path needs is left out. The wiring
names every adapter; one that the function's modules never ask for is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Adapters that `shared.bootstrap` wires, by the attribute of Services through which alone they are reached.
OFFERED = {"bill_api": ("shared.cloud.bss", "shared.cloud.places", "shared.cloud.sts")}
_WIRING = ("shared.bootstrap", "shared.services", "shared.ports")
DATA = (".toml", ".typ", ".ttf", ".xsd")  # what code reads beside itself: words and labels, templates, fonts
# Modules of the standard library that read what a package brings.
BROUGHT = {"zoneinfo": "tzdata"}


@dataclass(frozen=True, slots=True)
class Closure:
    """The modules of ours, packages (`__init__`) included, and the top-level names imported from elsewhere."""

    modules: frozenset[str]
    packages: frozenset[str]


def closure(root: Path, function: str) -> Closure:
    """What `functions/<function>.py` below `root` needs."""
    start = f"functions.{function}"
    reached = _reached(root, start, frozenset())
    asked = {
        name
        for module in reached
        if module not in _WIRING
        for node in ast.walk(_parsed(root, module))
        if isinstance(node, ast.Attribute) and (name := node.attr) in OFFERED
    }
    unasked = frozenset(module for name, modules in OFFERED.items() if name not in asked for module in modules)
    reached = _reached(root, start, unasked)
    outside = {name.partition(".")[0] for module in reached for name in _imports(root, module)} - {"shared"}
    packages = {name for name in outside if name not in sys.stdlib_module_names}
    packages |= {BROUGHT[name] for name in outside & BROUGHT.keys()}
    return Closure(frozenset(reached - {start}), frozenset(packages))


def source(root: Path, module: str) -> Path | None:
    """The file of a module, or None when there is none."""
    path = root.joinpath(*module.split("."))
    found = [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()]
    return found[0] if found else None


def data(module: Path) -> list[Path]:
    """The data files of a package (DATA): beside its code, and in folders below it that are no packages."""
    if module.name != "__init__.py":
        return []
    found = list(module.parent.iterdir())
    for folder in module.parent.iterdir():
        if folder.is_dir() and not (folder / "__init__.py").exists():
            found += folder.rglob("*")
    return sorted(path for path in found if path.suffix in DATA)


def _reached(root: Path, start: str, without: frozenset[str]) -> set[str]:
    waiting, reached = [start], set[str]()
    while waiting:
        module = waiting.pop()
        if module in reached or module in without or source(root, module) is None:
            continue
        reached.add(module)
        ours = [name for name in _imports(root, module) if name.partition(".")[0] == "shared"]
        waiting += [parent for name in ours for parent in _with_parents(name)]
    return reached


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[: index + 1]) for index in range(len(parts)))


def _parsed(root: Path, module: str) -> ast.Module:
    path = source(root, module)
    return ast.parse("" if path is None else path.read_bytes())


def _imports(root: Path, module: str) -> Iterator[str]:
    """The names that a module imports anywhere but for type checks; `from a import b` may name the module a.b."""
    waiting: list[ast.AST] = [_parsed(root, module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
