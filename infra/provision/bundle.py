"""The code directories that are deployed: one for each function, with what it needs and nothing else.

    <out>/<function>/<function>.py     the handler, at the root: what s.yaml's `handler` names
    <out>/<function>/shared/...        the modules of ours that it reaches
    <out>/<function>/python/...        the packages they import, for PYTHONPATH=/code/python
    <out>/bundle.json                  what was built from what, and how large it is

The same inputs give the same bytes. A build appears whole or not at all: it is made beside `out` and then takes its
place. Packages are prepared once and linked, not copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.provision import closure as closures
from infra.provision import elf, wheels
from infra.provision.wheels import BundleError, Locked, Prepared, Size

# Function Compute's limits of a packed code directory ("Limits", FC 3.0): by developer tools or from OSS, and when
# it is sent in the request itself.
PACKED_MAX, PACKED_IN_REQUEST_MAX = 500 * 1024 * 1024, 100 * 1024 * 1024
_ABOUT = "bundle.json"
_ENTRY_BYTES = 30 + 46  # what an archive says of each file, beside its name, twice


@dataclass(frozen=True, slots=True)
class Built:
    """A function's code directory."""

    function: str
    files: int
    unpacked: int  # bytes
    packed: int  # bytes of a ZIP archive of it
    modules: tuple[str, ...]  # of ours
    packages: tuple[str, ...]  # name==version


@dataclass(frozen=True, slots=True)
class Bundle:
    """All code directories."""

    out: Path
    functions: tuple[Built, ...]
    notes: tuple[str, ...]  # what a person should know of this build
    is_new: bool


def build(root: Path, out: Path, functions: Iterable[str]) -> Bundle:
    """Build the code directories of `functions` from the checkout at `root`; does nothing when nothing has changed.

    Wheels and prepared packages stay in `root/build`, for the next build.

    Raises BundleError, and leaves an earlier build as it is, for anything that could not run there.
    """
    names = sorted(functions)
    python = wheels.python312()
    inputs = _inputs(root, names, python)
    earlier = _earlier(out, inputs)
    if earlier is not None:
        return earlier
    needed = {name: closures.closure(root, name) for name in names}
    lock = wheels.locked(root / "requirements.lock")
    work = out.parent
    work.mkdir(parents=True, exist_ok=True)
    tops = {package for one in needed.values() for package in one.packages}
    prepared = _prepared(lock, tops, root / "build", python)
    notes = [note for one in prepared.values() for note in one.notes]
    if python is None:
        notes.append("no python3.12 was found: without its bytecode every cold start compiles; install python3.12")
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=work))
    try:
        built = [_assemble(root, scratch, name, needed[name], prepared, lock, python) for name in names]
        about = {"inputs": inputs, "notes": sorted(notes), "functions": [asdict(one) for one in built]}
        (scratch / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        scratch.chmod(0o755)
        _take_place(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Bundle(out, tuple(built), tuple(sorted(notes)), is_new=True)


def _inputs(root: Path, names: list[str], python: str | None) -> str:
    """The digest of everything that decides the bytes of a build."""
    ours = [
        root / "requirements.lock",
        *(Path(module.__file__) for module in (wheels, elf, closures) if module.__file__),
    ]
    ours += [Path(__file__), *(root / "functions" / f"{n}.py" for n in names)]
    ours += [path for kind in (".py", *closures.DATA) for path in sorted((root / "shared").rglob(f"*{kind}"))]
    content = hashlib.sha256(f"{python is not None} {names}".encode())
    for path in ours:
        if not path.is_file():
            raise BundleError(f"there is no {path}; a bundle is made from a checkout, see the README")
        body = path.read_bytes()
        content.update(f"{path.name} {len(body)}\n".encode() + body)
    return content.hexdigest()


def _earlier(out: Path, inputs: str) -> Bundle | None:
    """The build that is there, when it is of the same inputs and whole."""
    try:
        about = json.loads((out / _ABOUT).read_bytes())
    except (OSError, ValueError):
        return None
    if about["inputs"] != inputs:
        return None
    built = tuple(
        Built(**{**one, "modules": tuple(one["modules"]), "packages": tuple(one["packages"])})
        for one in about["functions"]
    )
    for one in built:
        found = [path for path in (out / one.function).rglob("*") if path.is_file()]
        if (len(found), sum(path.stat().st_size for path in found)) != (one.files, one.unpacked):
            return None  # somebody changed it: build again
    return Bundle(out, built, tuple(about["notes"]), is_new=False)


def _prepared(lock: Mapping[str, Locked], tops: set[str], work: Path, python: str | None) -> dict[str, Prepared]:
    """Every locked package that the top-level names `tops` lead to, ready."""
    # A top-level name is known once its package is unpacked; these are the packages whose names say so not.
    waiting = {_ROOTS.get(top, top.replace("_", "-")) for top in tops}
    prepared: dict[str, Prepared] = {}
    while waiting:
        unknown = sorted(name for name in waiting if name not in lock)
        if unknown:
            raise BundleError(f"requirements.lock has no {', '.join(unknown)}; run `make lock`")
        fetched = wheels.fetch([lock[name] for name in waiting], work / "wheels")
        for name in sorted(waiting):
            prepared[name] = wheels.prepare(name, fetched[name], work / "packages", python)
        waiting = {name for one in prepared.values() for name in one.requires} - prepared.keys()
    return prepared


# Packages that are not called as the module they bring.
_ROOTS = {"Tea": "alibabacloud-tea", "darabonba": "darabonba-core", "yaml": "pyyaml"}


def _needs(tops: Iterable[str], prepared: Mapping[str, Prepared]) -> list[str]:
    """The packages that some top-level names lead to."""
    waiting = [name for name, one in prepared.items() if set(one.top_level) & set(tops)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += prepared[name].requires
    return sorted(found)


def _assemble(
    root: Path,
    scratch: Path,
    function: str,
    needed: closures.Closure,
    prepared: Mapping[str, Prepared],
    lock: Mapping[str, Locked],
    python: str | None,
) -> Built:
    folder = scratch / function
    for module in (f"functions.{function}", *needed.modules):
        path = closures.source(root, module)
        if path is None:
            raise BundleError(f"{function} needs {module}, which is no file of {root}")
        target = folder / (path.name if module.startswith("functions.") else path.relative_to(root))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        for beside in closures.data(path):
            copied = folder / beside.relative_to(root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(beside.read_bytes())
    wheels.compile_all(folder, "/code", python)
    wheels.settle_times(folder)
    sizes = dict(wheels.sizes(folder))
    packages = _needs(needed.packages, prepared)
    for name in packages:
        for path_, size in prepared[name].sizes.items():
            if f"python/{path_}" in sizes:
                continue  # packages that share a namespace bring the same __init__.py
            _link(prepared[name].folder / path_, folder / "python" / path_)
            sizes[f"python/{path_}"] = size
    for made in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        made.chmod(0o755)
        os.utime(made, (1_577_836_800, 1_577_836_800))
    built = Built(
        function, len(sizes), sum(size.plain for size in sizes.values()), packed(sizes),
        tuple(sorted(needed.modules)), tuple(f"{name}=={lock[name].version}" for name in packages),
    )  # fmt: skip
    if built.packed > PACKED_MAX:
        raise BundleError(f"{function} has {built.packed >> 20} MB packed, Function Compute takes {PACKED_MAX >> 20}")
    return built


def packed(sizes: Mapping[str, Size]) -> int:
    """The bytes of a ZIP archive of these files."""
    return 22 + sum(size.zipped + _ENTRY_BYTES + 2 * len(name.encode()) for name, size in sizes.items())


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _take_place(scratch: Path, out: Path) -> None:
    """Put a finished build where the last one was."""
    old = scratch.with_name(f"{scratch.name}-old")
    if out.exists():
        out.rename(old)
    scratch.rename(out)
    shutil.rmtree(old, ignore_errors=True)
