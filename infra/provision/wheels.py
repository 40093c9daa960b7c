"""The locked dependencies as Function Compute's python3.12 loads them: fetched by hash, trimmed, compiled, checked.

Each package is prepared once, in a folder named by everything that decides its content, and shared by the functions
that need it. Wheels are those of CPython 3.12 on x86-64 with glibc 2.31 or older, whatever Python runs this; the
few packages that are published as source alone are built here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.provision import elf
from shared.errors import ClearbookError

# A wheel's tag says the oldest glibc it runs on; the runtime's is 2.31.
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (31, 28, 27, 26, 24, 17, 12, 5)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
)
TARGET = {
    "python_version": "3.12", "python_full_version": "3.12.0", "implementation_name": "cpython",
    "implementation_version": "3.12.0", "platform_python_implementation": "CPython", "sys_platform": "linux",
    "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64", "platform_release": "",
    "platform_version": "", "extra": "",
}  # fmt: skip
SOURCES_ONLY = ("alibabacloud-tea", "crcmod", "oss2")
# Declared by a package that imports nothing of it on any path (a test looks): future by tablestore 6.4.8; and numpy,
# 14 MB packed, which only flatbuffers looks for, and does without.
UNUSED = ("future", "numpy")
# Packages that read their own metadata at run time: their version, or their entry points.
READS_METADATA = ("apscheduler", "crc32c", "duckdb")
_DROPPED = (
    *("*.pyi", "*/py.typed", "*.h", "*.hpp", "*.c", "*.cpp", "*.pyx", "*.pxd", "*.pxi", "*.a", "*.lib", "*.exe"),
    *("*.md", "*.rst", "*/tests/*", "*/__pycache__/*", "*/docs/*", "*/LICENSE*", "*/LICENSES/*"),
)
# Parts of a package that no path of ours loads; the bundle's test plays a month without them.
_DROPPED_OF: Mapping[str, tuple[str, ...]] = {
    "pycryptodome": ("Crypto/SelfTest/*",),
    "crcmod": ("crcmod/test.py",),
    "duckdb": ("adbc_driver_duckdb/*", "duckdb/experimental/*"),
}
_KEPT_OF: Mapping[str, tuple[str, ...]] = {
    "tzdata": ("tzdata/__init__.py", "tzdata/zoneinfo/__init__.py", "tzdata/zoneinfo/UTC", "tzdata/zoneinfo/Etc/UTC",
               "tzdata/zoneinfo/Etc/__init__.py", "tzdata/zoneinfo/Asia/__init__.py", "tzdata/zoneinfo/Asia/Shanghai"),
}  # fmt: skip
_COMPILE = """
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
folder, stripped, prepended = sys.argv[1:]
done = compileall.compile_dir(folder, quiet=1, force=True, stripdir=stripped, prependdir=prepended,
                              invalidation_mode=mode, workers=1)
sys.exit(not done)
"""


class BundleError(ClearbookError):
    """The code directories cannot be built; nothing of an earlier build was changed."""

    code = "bundle"


@dataclass(frozen=True, slots=True)
class Locked:
    """A package as the lock file names it."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line pip checks its download against."""
        return f"{self.name}=={self.version} {' '.join(f'--hash={one}' for one in self.hashes)}"


@dataclass(frozen=True, slots=True)
class Size:
    """A file's bytes, and how many of them are left when it is compressed."""

    plain: int
    zipped: int


@dataclass(frozen=True)
class Prepared:
    """A package ready to be put beside our code: its files, sizes, and what it imports others by."""

    name: str
    folder: Path
    requires: tuple[str, ...]
    top_level: tuple[str, ...]
    notes: tuple[str, ...]

    @cached_property
    def sizes(self) -> Mapping[str, Size]:
        """Each file by its path below the folder."""
        found = json.loads((self.folder.parent / "about.json").read_bytes())["sizes"]
        return {name: Size(*size) for name, size in found.items()}


def locked(lock: Path) -> dict[str, Locked]:
    """The packages of a lock file that apply to the target, whatever Python runs this."""
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip()):
        parts = block.replace("\\\n", " ").split("--hash=")
        requirement = Requirement(parts[0].strip())
        if requirement.marker is not None and not requirement.marker.evaluate(TARGET):
            continue
        version = str(requirement.specifier).removeprefix("==")
        hashes = tuple(part.strip() for part in parts[1:])
        found[canonicalize_name(requirement.name)] = Locked(canonicalize_name(requirement.name), version, hashes)
    return found


def python312() -> str | None:
    """An interpreter whose bytecode the runtime loads: this one, or a python3.12 on the path."""
    if sys.version_info[:2] == (3, 12):
        return sys.executable
    other = shutil.which("python3.12")
    if other is None:
        return None
    tried = subprocess.run([other, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)  # noqa: S603
    return other if tried.stdout.strip() == "(3, 12)" else None


def fetch(packages: Iterable[Locked], wheels: Path) -> dict[str, Path]:
    """The wheel of each package, downloaded or built into `wheels` where it is not there yet."""
    wheels.mkdir(parents=True, exist_ok=True)
    wanted = sorted(packages, key=lambda one: one.name)
    missing = [one for one in wanted if _wheel(one, wheels) is None]
    _pip(
        ["download", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp",
         *("--abi", "cp312", "--abi", "abi3", "--abi", "none"),
         *(part for platform in PLATFORMS for part in ("--platform", platform)), "-d"],
        [one for one in missing if one.name not in SOURCES_ONLY],
        wheels,
    )  # fmt: skip
    # Without debug information and build ids an extension has the same bytes wherever its source was unpacked.
    flags = {"CFLAGS": "-g0", "LDFLAGS": "-s -Wl,--build-id=none", "SOURCE_DATE_EPOCH": "1577836800"}
    sources = [one for one in missing if one.name in SOURCES_ONLY]
    _pip(["wheel", "--no-build-isolation", "-w"], sources, wheels, flags)
    found = {one.name: _wheel(one, wheels) for one in wanted}
    lacking = [name for name, path in found.items() if path is None]
    if lacking:
        raise BundleError(f"pip left no wheel of {', '.join(lacking)} in {wheels}; remove that folder and try again")
    return {name: path for name, path in found.items() if path is not None}


def _wheel(package: Locked, wheels: Path) -> Path | None:
    """The wheel in the folder that is of this package and version."""
    name = package.name.replace("-", "_")
    for path in sorted(wheels.glob("*.whl")):
        parts = path.name.split("-")
        if canonicalize_name(parts[0]).replace("-", "_") == name and parts[1] == package.version:
            return path
    return None


def _pip(
    arguments: list[str], packages: list[Locked], wheels: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Let pip fill a folder beside `wheels`, and move what it brought there when all of it has come."""
    if not packages:
        return
    with tempfile.TemporaryDirectory(dir=wheels) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text("".join(f"{one.line}\n" for one in packages), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", arguments[0], "-q"),
            *("--no-deps", "--require-hashes", "-r", str(requirements), *arguments[1:], scratch),
        ]
        run = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)  # noqa: S603
        if run.returncode != 0:
            names = ", ".join(f"{one.name} {one.version}" for one in packages)
            said = "\n".join(run.stderr.strip().splitlines()[-4:])
            raise BundleError(f"pip {arguments[0]} of {names} failed; check the network and the lock file:\n{said}")
        for path in Path(scratch).glob("*.whl"):
            path.replace(wheels / path.name)


def prepare(name: str, wheel: Path, store: Path, python: str | None) -> Prepared:
    """Unpack, trim, compile and check a wheel into `store`, once; raises BundleError for what could not load."""
    rules = Path(__file__).read_bytes() + Path(elf.__file__).read_bytes()
    compiled = "none" if python is None else "cpython-312"
    key = hashlib.sha256(wheel.read_bytes() + rules + compiled.encode()).hexdigest()[:16]
    target = store / f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}-{key}"
    if not target.is_dir():
        store.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=store))
        try:
            about = _unpack(name, wheel, scratch / "files")
            compile_all(scratch / "files", "/code/python", python)
            settle_times(scratch / "files")
            about["sizes"] = {path: (size.plain, size.zipped) for path, size in sizes(scratch / "files").items()}
            (scratch / "about.json").write_text(json.dumps(about), encoding="utf-8")
            _rename(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    about = json.loads((target / "about.json").read_bytes())
    return Prepared(name, target / "files", tuple(about["requires"]), tuple(about["top_level"]), tuple(about["notes"]))


def _rename(scratch: Path, target: Path) -> None:
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():  # else another build has just made the same
            raise


def _unpack(name: str, wheel: Path, folder: Path) -> dict[str, object]:
    """Write the wheel's files that are needed at run time; what else is known of it."""
    notes: list[str] = []
    requires: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", entry.filename)
            if entry.is_dir() or re.match(r"^[^/]+\.data/", path):
                continue
            if path.endswith(".dist-info/METADATA"):
                requires = _requires(archive.read(entry))
            if not _is_needed(name, path):
                continue
            target = folder / path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise BundleError(f"{wheel.name} holds {path!r}, which lies outside of it; do not use this wheel")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))
    found: list[str] = []
    for path_ in sorted(one for one in folder.rglob("*") if one.is_file() and elf.is_native(one)):
        wrong = elf.problems(path_, f"{wheel.name}: {path_.relative_to(folder)}")
        if wrong and name in SOURCES_ONLY:  # built here, and optional: their Python code does the same, slower
            path_.unlink()
            notes.append(f"{wrong[0]}. It is left out")
        else:
            found += wrong
    if found:
        raise BundleError("\n".join(found))
    if name == "crcmod" and not list(folder.glob("crcmod/_crcfunext*")):
        notes.append("crcmod has no C extension (none could be built for the runtime): transfers are not CRC-checked")
    top = sorted({one.name.partition(".")[0] for one in folder.iterdir() if not one.name.endswith(".dist-info")})
    return {"requires": requires, "top_level": top, "notes": notes}


def _is_needed(name: str, path: str) -> bool:
    if ".dist-info/" in path:
        return name in READS_METADATA and path.endswith(("/METADATA", "/entry_points.txt"))
    if name in _KEPT_OF:
        return path in _KEPT_OF[name]
    return not any(fnmatch(path, pattern) for pattern in (*_DROPPED, *_DROPPED_OF.get(name, ())))


def _requires(metadata: bytes) -> list[str]:
    """The names of the packages that this one needs on the target."""
    found = []
    for text in BytesParser().parsebytes(metadata).get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(TARGET):
            found.append(canonicalize_name(requirement.name))
    return sorted({*found} - {*UNUSED})


def compile_all(folder: Path, prefix: str, python: str | None) -> None:
    """Byte-compile a folder so that its bytecode is taken without a look at the source: no time, no write.

    A process of its own with a fixed hash seed gives the same bytes every time. Tracebacks name the files as the
    runtime mounts them, below `prefix`.
    """
    if python is None:
        return
    command = [python, "-S", "-s", "-P", "-W", "ignore", "-c", _COMPILE, str(folder), str(folder), prefix]
    run = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True)  # noqa: S603
    if run.returncode != 0:
        raise BundleError(f"{folder} cannot be compiled: {run.stdout.strip()[-400:]}{run.stderr.strip()[-400:]}")


def settle_times(folder: Path) -> None:
    """Give every file and folder the same time and rights, so that an archive of them is always the same."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)
        os.utime(path, (1_577_836_800, 1_577_836_800))  # 2020-01-01: archives know no time before 1980


def sizes(folder: Path) -> dict[str, Size]:
    """Every file below `folder` with its size, plain and deflated."""
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        body = path.read_bytes()
        found[path.relative_to(folder).as_posix()] = Size(len(body), len(zlib.compress(body, 6)))
    return found
