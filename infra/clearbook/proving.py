"""The command that proves a settlement: every check with its result, and an exit of 1 where one does not hold."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from infra.clearbook.bills.shown import plain_console, say
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.errors import ClearbookError
from shared.steps import verifying

_MARKS = {True: "✓", False: "✗", None: "-"}
_RESULTS = {True: "holds", False: "differs", None: "not compared"}


class NotVerifiedError(ClearbookError):
    """A settlement is not what its inputs give."""

    code = "not_verified"


def verify(named: str, home: Path | None, json_to: str | None) -> None:
    """Check a settlement, and print each check as it is made."""
    work = services(home)
    kept = verifying.find(work, named)
    # What is being done is shown where the checks are printed, so that neither runs into the other.
    console, checks = Console(stderr=True) if json_to == "-" else plain_console(), []
    if json_to != "-":
        say(console, f"{kept.owner} {kept.cycle}, settlement {kept.settlement}")
    with TemporaryDirectory(dir=work.scratch) as scratch, console.status("reading the manifest") as status:
        for one in verifying.verify(work, kept, Path(scratch), status.update):
            checks.append(one)
            if json_to != "-":
                say(console, f"{_MARKS[one.holds]} {one.what}: {one.says}")
    failed = [one.what for one in checks if one.holds is False]
    if json_to is not None:
        listed = [{"check": one.what, "result": _RESULTS[one.holds], "says": one.says} for one in checks]
        named_ = {"settlement": kept.settlement, "reseller": kept.owner, "cycle": kept.cycle}
        write_json({**named_, "verified": not failed, "checks": listed}, json_to)
    if failed:
        problem = f"{', '.join(failed)}: not what the settlement was made of, or came to"
        raise NotVerifiedError(f"settlement {kept.settlement[:12]}: {problem}; find out who changed it, and restore it")
