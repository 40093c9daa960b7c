"""`clearbook provision`: what a deployment needs, looked at, and with --apply made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from infra.clearbook.context import environment
from infra.clearbook.main import write_json
from infra.provision import permissions
from infra.provision.check import Check, State
from infra.provision.plan import Action, actions, for_deployment, functions, survey

_MARKS = {State.FINE: "✓", State.MISSING: "+", State.WRONG: "✗"}


def provision(home: Path | None, *, apply: bool, replace_policies: bool, json_to: str | None) -> None:
    """Show what is there, missing and wrong; make what is missing where nothing is wrong and `apply` says so."""
    environ = for_deployment(environment(home))
    out = sys.stderr if json_to == "-" else sys.stdout
    checks = survey(environ, lambda part: print(f"looking at {part} ...", file=sys.stderr))
    for one in checks:
        print(f"{_MARKS[one.state]} {one.problem or one.what}", file=out)
    if json_to is not None and not apply:
        write_json(_as_json(checks, []), json_to)
    made = actions(checks, replace_policies=replace_policies)
    if not apply:
        print(f"{len(made)} to make; make them with --apply" if made else "everything is there", file=out)
        return
    for number, action in enumerate(made, 1):
        action.make()
        print(f"made {number} of {len(made)}: {action.what}", file=out)
    if not made:
        print("everything is there", file=out)
    if json_to is not None:
        write_json(_as_json(checks, made), json_to)


def policies_from(
    folders: Sequence[Path], home: Path | None, *, forget_others: bool, policies: Path = permissions.FOLDER
) -> None:
    """Add what recorded calls need to the policies of every function, and say what changed.

    With `forget_others` what was not recorded there is taken away, and said too.
    """
    roles = {one.role: name for name, one in functions(environment(home)).functions.items() if one.role}
    found = permissions.recorded(folders, roles)
    if not forget_others:
        found = permissions.added(found, policies)
    for function, mine in found.items():
        is_there = permissions.is_committed(function, policies)
        before = permissions.granted(permissions.committed(function, policies)) if is_there else frozenset()
        for one in sorted(before - mine.keys()):
            print(f"- {function}: {one}")
        for one in sorted(mine.keys() - before):
            print(f"+ {function}: {one}")
    written = permissions.write(found, policies)
    for path in written:
        print(f"written: {path}")
    if not written:
        print("nothing was recorded that the policies lack")


def _as_json(checks: Sequence[Check], made: Sequence[Action]) -> dict[str, object]:
    return {
        "checks": [{"what": one.what, "state": str(one.state), "problem": one.problem} for one in checks],
        "made": [one.what for one in made],
    }
