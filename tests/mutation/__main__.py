"""`python -m tests.mutation`: change rules and rounding in one small place after the other, and see who notices.

--modules M,M   of those that are changed otherwise
--one-in N      only every Nth mutant
--list          say what would be tried
"""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from importlib import import_module, util
from pathlib import Path

# What no mutant changes is imported once, and never opened: each mutant is tried in a process forked from here.
import duckdb  # noqa: F401
import jmespath  # noqa: F401
import pydantic  # noqa: F401
import pytest

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
MODULES = (
    *("shared.money", "shared.agreement.matching"),
    *(f"shared.settlement.{name}" for name in ("rules", "refunds", "earnings", "bounds", "taking_back", "statement")),
)
TESTS = ("tests/unit/test_money.py", "tests/unit/test_refund_links.py", "tests/property/test_statements.py")
# Modules of plain functions, which tests without an engine find out about sooner.
PLAIN = ("shared.money", "shared.agreement.matching", "shared.settlement.refunds", "shared.settlement.statement")
TOO_LONG_S = 90
SURVIVED = "survived"


def main() -> int:
    """The command."""
    said = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    said.add_argument("--modules", type=lambda text: text.split(","), default=MODULES)
    said.add_argument("--one-in", type=int, default=1)
    said.add_argument("--list", action="store_true")
    given = said.parse_args()
    chosen = [
        (module, mutant) for module in given.modules for mutant in mutants(path_of(module).read_text(encoding="utf-8"))
    ][:: given.one_in]
    if given.list:
        print("\n".join(f"{module} {mutant}" for module, mutant in chosen))
        return 0
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([sys.executable, "-m", "tests.mutation.exam", file.name], check=True, cwd=ROOT)
        exam = pickle.loads(Path(file.name).read_bytes())  # noqa: S301 - our own
    if try_one("shared.money", path_of("shared.money").read_text(encoding="utf-8"), exam) != SURVIVED:
        print("the unchanged modules do not pass: nothing was tried")
        return 1
    _try_all(chosen, exam)
    return 0


def _try_all(chosen: list[tuple[str, Mutant]], exam: Mapping[str, bytes]) -> None:
    began, fates = time.monotonic(), Counter[tuple[str, bool]]()
    noticed: Counter[str] = Counter()
    for module, mutant in chosen:
        fate = try_one(module, mutant.source, exam)
        fates[module, fate == SURVIVED] += 1
        noticed[fate] += 1
        if fate == SURVIVED:
            print(f"survived: {path_of(module).relative_to(ROOT)}:{mutant}", flush=True)
    print(f"\n{'module':36}{'mutants':>8}{'killed':>8}{'score':>8}")
    for module in dict.fromkeys(module for module, _ in chosen):
        _say(module, fates[module, False], fates[module, True])
    _say("all", len(chosen) - noticed[SURVIVED], noticed[SURVIVED])
    print("noticed by: " + ", ".join(f"{name} {count}" for name, count in noticed.most_common() if name != SURVIVED))
    print(f"{time.monotonic() - began:.0f} s")


def _say(name: str, killed: int, survived: int) -> None:
    count = killed + survived
    print(f"{name:36}{count:8}{killed:8}{100 * killed / count:7.1f}%")


def try_one(module: str, source: str, exam: Mapping[str, bytes]) -> str:
    """Who notices the changed source of a module; or that it survived."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _inside(module, source, exam, write)
    os.close(write)
    with open(read, encoding="utf-8") as answer:
        said = answer.read().split()
    os.waitpid(child, 0)
    # Each question is said when it begins; the end only by one that passed all of them.
    return said[-1] if said else "import"


def _inside(module: str, source: str, exam: Mapping[str, bytes], write: int) -> None:
    """In the forked process: say each question, and end at the first that is not passed."""

    def say(name: str) -> None:
        os.write(write, f"{name.replace(' ', '-')}\n".encode())

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    signal.alarm(TOO_LONG_S)
    os.chdir(ROOT)
    try:
        _change(module, source)
        is_passed = import_module("tests.mutation.exam").is_passed
        questions = {name: lambda question=question: is_passed(question) for name, question in exam.items()}
        asked = {"tests": _do_tests_pass, **questions} if module in PLAIN else {**questions, "tests": _do_tests_pass}
        for name, is_right in asked.items():
            say(name)
            if not is_right():
                os._exit(1)
        say(SURVIVED)
    finally:
        os._exit(1)


def _do_tests_pass() -> bool:
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS]) == 0


def _change(name: str, source: str) -> None:
    """Import a module from a changed source; nothing that knows it may have been imported before."""
    for known in list(sys.modules):
        if known.partition(".")[0] in ("shared", "tests") and not known.startswith("tests.mutation"):
            del sys.modules[known]
    spec = util.find_spec(name)
    assert spec is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, f"{name} (changed)", "exec"), module.__dict__)  # noqa: S102 - our own source
    parent, _, child = name.rpartition(".")
    setattr(import_module(parent), child, module)


def path_of(module: str) -> Path:
    """Where a module lies."""
    return ROOT / f"{module.replace('.', '/')}.py"


if __name__ == "__main__":
    sys.exit(main())
