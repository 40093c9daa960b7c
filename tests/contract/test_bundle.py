"""The deployed code directories: a month is played from them, with nothing else on the functions' paths."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook import context
from infra.clearbook.main import app
from infra.localcloud.cloud import LocalCloud, start
from infra.provision import bundle, wheels
from tests.pump import ROOT, functions

LINES = 300
CYCLE = "2025-06"
NAMES = sorted([*functions(), "portal"])

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="what is deployed loads on Python 3.12 alone")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a bundle is made from; the wheels are those that earlier builds fetched and prepared."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("s.yaml", "requirements.lock"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "build").mkdir()
    for name in ("wheels", "packages"):
        (ROOT / "build" / name).mkdir(parents=True, exist_ok=True)
        (folder / "build" / name).symlink_to(ROOT / "build" / name)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path) -> bundle.Bundle:
    """The code directories, where the s.yaml beside them says."""
    return bundle.build(checkout, checkout / "build" / "bundle", NAMES)


@pytest.fixture(scope="module")
def logs(built: bundle.Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each function wrote while a month was played from the directories, every import included."""
    home = tmp_path_factory.mktemp("home")

    def deployed(home: Path, _: Path, __: Path, ___: Any, settings: dict[str, str], *rest: Any) -> LocalCloud:
        template = built.out.parents[1] / "s.yaml"
        return start(home, template, None, [], {**settings, "PYTHONVERBOSE": "1"}, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "start_cloud", deployed)
        arguments = ["demo", "--lines", str(LINES), "--since", "28", "--cycle", CYCLE, "--home", str(home)]
        app(arguments, standalone_mode=False)
    return {path.stem: path.read_text(errors="replace") for path in (home / "logs" / "functions").glob("*.log")}


@pytest.mark.parametrize("function", NAMES)
def test_a_month_is_played_and_nothing_is_loaded_from_outside_the_directory(
    built: bundle.Bundle, logs: dict[str, str], function: str
) -> None:
    log = logs[function]
    loaded = {Path(found) for found in re.findall(r"(?:code object from|loaded from) '(/[^']+)'", log)}
    mine = built.out / function
    standard = Path(sys.base_prefix) / "lib" / "python3.12"
    outside = {
        path
        for path in loaded
        if not path.is_relative_to(mine) and not (path.is_relative_to(standard) and "site-packages" not in path.parts)
    }

    assert "FC Invoke End" in log
    assert outside == set()
    assert mine / "python" / "oss2" / "__pycache__" / "__init__.cpython-312.pyc" in loaded


@pytest.mark.parametrize("function", NAMES)
def test_its_bytecode_is_taken_without_a_look_at_the_sources(
    built: bundle.Bundle, logs: dict[str, str], function: str
) -> None:
    compiled = re.findall(r"code object from '(/[^']+)'", logs[function])
    mine = [path for path in compiled if path.startswith(f"{built.out}/{function}/")]

    assert mine
    assert [path for path in mine if not path.endswith(".cpython-312.pyc")] == []
    assert "# wrote" not in logs[function]


HEAVY = {"duckdb", "alibabacloud_tea_openapi", "xlsxwriter", "typst", "lxml", "pydantic", "yaml", "rich", "typer"}
COMPUTING = {
    "build_report": {"duckdb"},  # of the demo's scheduled report, which is a CSV
    "ingest_bill": {"duckdb"},
    "settle": {"duckdb"},
    "pull_bill": {"alibabacloud_tea_openapi"},
    "publish_statements": {"xlsxwriter", "typst"},
    "pay_resellers": {"lxml"},  # a payment file is checked against its schema
    # It reads documents, settles an agreement's worked examples, and makes a report of few lines at once, as PDF.
    "portal": {"duckdb", "pydantic", "typst", "yaml"},
}


@pytest.mark.parametrize("function", NAMES)
def test_a_function_imports_no_heavy_package_that_its_work_does_not_need(logs: dict[str, str], function: str) -> None:
    imported = set(re.findall(r"^import '(\w+)' #", logs[function], re.MULTILINE))

    assert {"oss2", "tablestore", "aws_lambda_powertools"} <= imported
    if function == "sweep":  # it carries out what others should have, and so may need what they need
        assert imported & HEAVY <= {"duckdb", "alibabacloud_tea_openapi", "xlsxwriter", "typst", "lxml"}
    else:
        assert imported & HEAVY == COMPUTING.get(function, set())


def archive(folder: Path) -> str:
    """The digest of a ZIP archive of the directory, its times and rights included."""
    content = hashlib.sha256()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        info = zipfile.ZipInfo.from_file(path, path.relative_to(folder))
        content.update(f"{info.filename} {info.date_time} {info.external_attr:o}\n".encode() + path.read_bytes())
    return content.hexdigest()


def test_the_same_inputs_give_the_same_bytes(checkout: Path, built: bundle.Bundle, tmp_path: Path) -> None:
    names = ["ingest_bill", "portal", "sweep"]  # what the others have, these have too
    again = bundle.build(checkout, tmp_path / "bundle", names)

    assert list(again.functions) == [one for one in built.functions if one.function in names]
    for name in names:
        assert archive(again.out / name) == archive(built.out / name)


@pytest.mark.parametrize("package", ["oss2", "protobuf", "crcmod"])
def test_a_package_prepared_again_has_the_same_bytes(built: bundle.Bundle, tmp_path: Path, package: str) -> None:
    locked = wheels.locked(ROOT / "requirements.lock")
    [wheel] = wheels.fetch([locked[package]], ROOT / "build" / "wheels").values()
    one, other = (wheels.prepare(package, wheel, tmp_path / name, sys.executable).folder for name in ("one", "other"))

    assert archive(one) == archive(other)


def test_a_second_build_finds_nothing_to_do(checkout: Path, built: bundle.Bundle) -> None:
    before = built.out.stat().st_ino

    assert not bundle.build(checkout, built.out, NAMES).is_new
    assert built.out.stat().st_ino == before


def test_a_directory_holds_what_its_function_needs_and_nothing_else(built: bundle.Bundle) -> None:
    packages = {one.function: {package.partition("==")[0] for package in one.packages} for one in built.functions}

    assert {name for name in NAMES if "duckdb" in packages[name]} == {
        "build_report", "deliver", "ingest_bill", "portal", "settle", "sweep",
    }  # fmt: skip
    assert {name for name in NAMES if "msgspec" in packages[name]} == {"ingest_bill", "sweep"}
    # Whatever may ask the provider for a bill, and nothing else, has its client.
    asking = {one.function for one in built.functions if "shared.cloud.bss" in one.modules}
    assert "pull_bill" in asking
    assert asking <= {"pull_bill", "sweep"}
    assert {name for name in NAMES if "alibabacloud-tea-openapi" in packages[name]} == asking
    # What makes PDF files has what sets them, half of its size, and the fonts; what reads documents has their models.
    # What a timer asks for it only orders, by the code that makes it at once for people.
    making = {"build_report", "deliver", "portal", "publish_statements", "sweep"}
    assert {name for name in NAMES if "xlsxwriter" in packages[name]} == making
    assert {name for name in NAMES if "typst" in packages[name]} == making
    assert {name for name in NAMES if list((built.out / name).rglob("*.ttf"))} == making
    assert {name for name in NAMES if "pydantic" in packages[name]} == {"portal"}
    for one in built.functions:
        files = [
            path.relative_to(built.out / one.function).as_posix() for path in (built.out / one.function).rglob("*")
        ]
        assert f"{one.function}.py" in files
        assert [name for name in files if "/" not in name and name.endswith(".py")] == [f"{one.function}.py"]
        assert not [name for name in files if name.endswith((".pyi", ".h", ".md")) or "/tests/" in name]
        assert 10_000_000 < one.packed < bundle.PACKED_IN_REQUEST_MAX


def test_the_packages_left_out_are_imported_by_none_that_is_there(built: bundle.Bundle) -> None:
    for name in wheels.UNUSED:
        importing = re.compile(rf"^\s*(?:import|from) {name}\b(?!__)", re.MULTILINE)
        for path in (built.out / "sweep" / "python" / "tablestore").rglob("*.py"):
            assert not importing.search(path.read_text(encoding="utf-8")), path
