"""Checks the FOCUS export of the demo month with the FinOps Foundation's focus-validator, in an environment of its own.

The validator and everything it needs are pinned with hashes in focus.lock, and it runs offline. Its exit code says
nothing: what it counted is on its line `Total`. `make lock` takes newer versions of what it needs.

Usage: python -m tests.interop.focus [--home HOME]   (a home that `clearbook demo` has played, and that is not up)
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.clearbook.context import start_local

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "focus"  # ignored by git
LOCK, TOOLS = HERE / "focus.lock", ROOT / "build.lock"
PYTHON_LEAST = (3, 12)
CYCLE = "2025-06"
WHO = ("operator", "reseller:aurora", "customer:acme")
# What the export has; no line says anything of capacity reservations, of commitment discounts or virtual currencies.
SUPPORTED = tuple(
    f"{one}_SUPPORTED"
    for one in (
        *("ACCOUNT_NAMING", "AVAILABILITY_ZONE", "MULTIPLE_PRICING_CATEGORIES", "MULTIPLE_SUB_ACCOUNT_TYPES"),
        *("MULTIPLE_BILLING_ACCOUNT_TYPES", "NEGOTIATED_PRICING", "PUBLIC_PRICE_LIST", "USAGE_MEASUREMENT"),
        *("UNIT_PRICING", "SUB_ACCOUNT", "BILLING_BASED_ON_PROVISIONED_RESOURCES", "RESOURCE_TYPE_ASSIGNMENT"),
        *("PRICING_BILLING_CURRENCY_DIFFERENCES", "REGION", "TAGGING"),
    )
)
# The rules that it finds broken, and why they are not: one that is not here is a fault, of the export or of this list.
EXPLAINED = {
    "EffectiveCost-C-005-C": "speaks of purchases that cover later charges, and is tried on every subscription",
    "InvoiceId-C-005-C": "stands beside InvoiceId-C-004-C, its opposite: one of the two holds, as it should",
    "BilledCost-C-005-C": "speaks of payments to third parties, and is tried on every invoice of a reseller",
    **{
        f"{column}-C-002-M": "is tried for ASCII, where the standard wants Unicode: the name is that of the bill"
        for column in ("AvailabilityZone", "BillingAccountName", "InvoiceIssuerName", "ResourceName")
    },
}
_TOTAL = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^❌ (\S+): FAIL +\((.*)\)$", re.MULTILINE)


class FocusError(Exception):
    """The export cannot be checked; the message says what is missing."""


def main(arguments: Sequence[str]) -> int:
    """Print the counts for each party, and every rule that fails; 1 where one of them is not explained."""
    parser = argparse.ArgumentParser(prog="tests.interop.focus")
    parser.add_argument("--home", type=Path, help="a home of the demo; without one, it is played")
    home = parser.parse_args(arguments).home
    try:
        _install()
        with tempfile.TemporaryDirectory(prefix="focus-") as folder:
            exports = _exported(home or _played(Path(folder) / "home"), Path(folder))
            unexplained = [one for who, path in exports.items() for one in _checked(who, path)]
    except FocusError as problem:
        print(f"focus: {problem}", file=sys.stderr)
        return 2
    return 1 if unexplained else 0


def _checked(who: str, path: Path) -> list[str]:
    """Print what the validator finds in an export; the rules that fail without an explanation."""
    command = [
        *(str(BUILD / "bin" / "focus-validator"), "--data-file", str(path.resolve())),
        *("--validate-version", "1.2", "--block-download"),
        *("--focus-dataset", "CostAndUsage", "--applicability-criteria", ",".join(SUPPORTED)),
    ]
    # It looks for its tables below the folder in which it is started.
    [packages] = (BUILD / "lib").glob("python*/site-packages")
    said = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
    counts = _TOTAL.search(said.stdout)
    if counts is None:
        raise FocusError(f"focus-validator counted nothing for {who}: {(said.stdout + said.stderr)[-2000:]}")
    total, passed, failed, skipped = counts.groups()
    print(f"{who}: {passed} passed, {failed} failed, {skipped} skipped, of {total} rules")
    # A rule that only sums up others fails with them.
    broken = [rule for rule, why in _FAILED.findall(said.stdout) if "failed child rules" not in why]
    for rule in broken:
        print(f"  {rule} {EXPLAINED.get(rule, 'is BROKEN')}")
    return [rule for rule in broken if rule not in EXPLAINED]


def _played(home: Path) -> Path:
    print("focus: playing the demo month", flush=True)
    _clearbook("demo", "--home", home, "--lines", "300", "--since", "28")
    return home


def _exported(home: Path, folder: Path) -> dict[str, Path]:
    """The month as Parquet, of each who asks."""
    month = ("--from", CYCLE, "--to", CYCLE, "--format", "parquet")
    with start_local(home):
        for who in WHO:
            _clearbook("report", "run", "focus_export", *month, "--as", who, "--home", home, "--output", folder)
    names = {who: who.rpartition(":")[2] for who in WHO}
    return {who: folder / f"focus_export-{name}-{CYCLE}-01-{CYCLE}-30.parquet" for who, name in names.items()}


def _clearbook(*arguments: object) -> None:
    command = [sys.executable, "-m", "infra.clearbook.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FocusError(f"clearbook {arguments[0]} failed: {(done.stdout + done.stderr)[-2000:]}")


def _install() -> None:
    """The pinned validator in the build folder; nothing to do when it is there."""
    stamp, pins = BUILD / ".installed", LOCK.read_bytes()
    if stamp.exists() and stamp.read_bytes() == pins:
        return
    if sys.version_info < PYTHON_LEAST:
        needed = ".".join(map(str, PYTHON_LEAST))
        raise FocusError(f"focus-validator needs Python {needed}; set CLEARBOOK_PYTHON to one, and make setup again")
    print(f"focus: installing the validator into {BUILD}", flush=True)
    pip = [str(BUILD / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(BUILD)],
        [*pip, "--require-hashes", "-r", str(TOOLS)],
        [*pip, "--require-hashes", "--no-build-isolation", "-r", str(LOCK)],
    ):
        if subprocess.run(command, check=False).returncode != 0:
            raise FocusError(f"{' '.join(command[1:4])} failed in {BUILD}; its message is above")
    stamp.write_bytes(pins)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
