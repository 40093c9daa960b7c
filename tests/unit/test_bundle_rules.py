"""What a bundle takes along and what it refuses, by rules that need no network."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from infra.provision import elf, wheels
from infra.provision.closure import closure, data, source
from tests.pump import ROOT, functions


def library(path: Path, needs: str, machine: int = 62) -> Path:
    """A shared library's ELF tables that ask for one symbol version."""
    strings = b"\0libc.so.6\0" + needs.encode() + b"\0"
    table = struct.pack("<HHIII", 1, 1, 1, 16, 0) + struct.pack("<IHHII", 0, 0, 2, 11, 0)
    at = 64
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 0, at + len(table) + len(strings), 0, 64, 0, 0, 64, 3, 0)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 0, 0x6FFFFFFE, 0, 0, at, len(table), 2, 1, 0, 0)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(table), len(strings), 0, 0, 0, 0)
    path.write_bytes(header + table + strings + sections)
    return path


@pytest.mark.parametrize("needs", ["GLIBC_2.31", "GLIBC_2.2.5", "GLIBC_PRIVATE", "GLIBCXX_3.4.28", "LIBFFI_9"])
def test_a_library_that_the_runtime_can_load_is_taken(tmp_path: Path, needs: str) -> None:
    path = library(tmp_path / "lib.cpython-312-x86_64-linux-gnu.so", needs)

    assert list(elf.version_needs(path.read_bytes())) == [needs]
    assert elf.problems(path, "lib") == []


@pytest.mark.parametrize("needs", ["GLIBC_2.32", "GLIBC_3.0", "GLIBCXX_3.4.29", "CXXABI_1.3.13"])
def test_a_library_for_a_newer_system_is_refused_by_its_name(tmp_path: Path, needs: str) -> None:
    [problem] = elf.problems(library(tmp_path / "lib.abi3.so", needs), "package.whl: lib.abi3.so")

    assert problem.startswith(f"package.whl: lib.abi3.so: it needs {needs}, and the runtime has ")


def test_a_library_for_another_machine_or_python_is_refused(tmp_path: Path) -> None:
    arm = library(tmp_path / "arm.abi3.so", "GLIBC_2.17", machine=183)
    other = library(tmp_path / "x.cpython-311-x86_64-linux-gnu.so", "GLIBC_2.17")
    cut = tmp_path / "cut.so"
    cut.write_bytes(arm.read_bytes()[:30])

    assert "machine 183" in elf.problems(arm, "arm")[0]
    assert "built for cpython-311" in elf.problems(other, "other")[0]
    assert "no x86-64 ELF library" in elf.problems(cut, "cut")[0]


def test_real_libraries_are_read() -> None:
    import _ctypes

    needs = list(elf.version_needs(Path(_ctypes.__file__).read_bytes()))

    assert [need for need in needs if need.startswith("GLIBC_2.")]


def test_the_lock_is_read_for_the_runtime_whatever_python_reads_it() -> None:
    locked = wheels.locked(ROOT / "requirements.lock")

    assert "colorama" not in locked
    assert locked["numpy"].hashes
    assert all(one.hashes and one.version[0].isdigit() for one in locked.values())
    lines = (ROOT / "requirements.lock").read_text()
    newest = [line for line in lines.splitlines() if line.startswith("numpy==") and ">= '3.12'" in line]
    assert newest[0].startswith(f"numpy=={locked['numpy'].version} ")


def project(root: Path, **files: str) -> Path:
    """A checkout of these modules."""
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_imports_inside_functions_count_and_those_for_type_checks_do_not(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\ndef f():\n    import polars\n"
    root = project(tmp_path, functions__go="from shared import deep", shared__deep=text)
    needed = closure(root, "go")

    assert needed.modules == {"shared.deep"}
    assert needed.packages == {"polars"}


def test_an_adapter_that_nobody_asks_for_is_left_out() -> None:
    needed = {name: closure(ROOT, name) for name in functions()}

    assert "shared.cloud.bss" in needed["pull_bill"].modules
    assert "shared.cloud.bss" not in needed["settle"].modules
    assert "tzdata" in needed["settle"].packages
    assert not [name for name, one in needed.items() if "pydantic" in one.packages]


def test_the_data_of_a_package_goes_where_its_code_goes() -> None:
    forms = source(ROOT, "shared.bill.formats")
    assert forms is not None
    found = {path.relative_to(forms.parent).as_posix() for path in data(forms)}

    assert {"bss-api.toml", "v2.toml", "words/regions.toml"} <= found
    assert "shared.bill.formats" in closure(ROOT, "ingest_bill").modules
    whole = source(ROOT, "shared.bill")
    assert whole is not None
    assert data(whole) == [], "what belongs to a package below is that package's"


def test_metadata_and_tests_of_a_package_are_left_out() -> None:
    kept = [
        path
        for path in (
            "Crypto/__init__.py", "Crypto/IO/tests/test_pem.py", "Crypto/__init__.pyi", "Crypto/include/a.h",
            "pycryptodome-4.dist-info/METADATA", "Crypto/SelfTest/__init__.py",
        )
        if wheels._is_needed("pycryptodome", path)
    ]  # fmt: skip

    assert kept == ["Crypto/__init__.py"]
    assert wheels._is_needed("duckdb", "duckdb-2.dist-info/METADATA")


def test_an_interpreter_that_compiles_for_the_runtime_is_this_one_where_it_can_be() -> None:
    if sys.version_info[:2] == (3, 12):
        assert wheels.python312() == sys.executable
