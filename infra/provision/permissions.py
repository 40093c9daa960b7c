"""What each function may do: the committed policies, made from what was called and from nothing else.

A permission is one action on one family of keys or one table. Account, region, instance and the prefix of the
buckets stand as `${...}` and are filled in at provisioning. Beside the policies lies the evidence: for each permission
a call that was recorded and needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.provision.families import FAMILIES, family, listed
from shared.errors import ClearbookError

FOLDER = Path(__file__).resolve().parent / "policies"
EVIDENCE = "evidence.json"
_OBJECT = re.compile(r"acs:oss:[^:]*:[^:]*:(?P<bucket>[a-z0-9-]+)(?:/(?P<key>.+))?", re.DOTALL)
_ROLE = re.compile(r"acs:ram::\d+:role/.+")
_TABLE = re.compile(r"acs:ots:[^:]*:[^:]*:instance/[^/]+/table/(?P<table>\w+)")
# Nothing may take back what the chain says, whatever was called.
NEVER = {("chain", action) for action in ("DeleteRow", "UpdateRow", "BatchWriteRow", "DeleteTable", "UpdateTable")}


class PolicyProblemError(ClearbookError):
    """The calls, or the committed policies, cannot be used."""

    code = "policy_problem"


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """An action on a resource; a listing also on the prefixes that `prefix` matches."""

    action: str
    resource: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}" + (f" for {self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """A permission, and one recorded call that needs it: the resource and, of a listing, the prefix it asked for."""

    permission: Permission
    resource: str
    prefix: str


Calls = dict[Permission, Evidence]


def needed(action: str, resource: str, prefix: str) -> Evidence:
    """The permission that a recorded call needs, its names replaced by variables."""
    table = _TABLE.fullmatch(resource)
    if table is not None:
        if (table["table"], action.removeprefix("ots:")) in NEVER:
            raise PolicyProblemError(f"{action} was called on {table['table']}, which nobody may; find who does")
        name = f"acs:ots:${{region}}:${{account}}:instance/${{instance}}/table/{table['table']}"
        return Evidence(Permission(action, name), name, "")
    if _ROLE.fullmatch(resource):
        # Which payers' roles there are is data; that one may be assumed is for its owner to say, in what it trusts.
        return Evidence(Permission(action, "acs:ram:*:*:role/*"), resource, "")
    found = _OBJECT.fullmatch(resource)
    bucket = None if found is None else next((one for one in FAMILIES if found["bucket"].endswith(f"-{one}")), None)
    if found is None or bucket is None:
        raise PolicyProblemError(f"{action} was called on {resource}, which is none of our tables and buckets")
    name = f"acs:oss:*:${{account}}:${{buckets}}-{bucket}"
    if found["key"]:
        return Evidence(Permission(action, f"{name}/{family(bucket, found['key'])}*"), f"{name}/{found['key']}", "")
    if action != "oss:ListObjects":
        return Evidence(Permission(action, name), name, "")
    return Evidence(Permission(action, name, listed(bucket, prefix)), name, prefix)


def document(permissions: Iterable[Permission]) -> dict[str, Any]:
    """A policy that grants exactly these permissions, in a fixed order and in few characters: RAM takes 6144."""
    actions: dict[str, set[str]] = {}
    listings: dict[str, set[str]] = {}
    for one in permissions:
        if one.action == "oss:ListObjects":
            listings.setdefault(one.resource, set()).add(one.prefix)
        else:
            actions.setdefault(one.resource, set()).add(one.action)
    # A statement grants each of its actions on each of its resources, so only resources with the same actions share.
    shared: dict[tuple[str, ...], list[str]] = {}
    for resource in sorted(actions):
        shared.setdefault(tuple(sorted(actions[resource])), []).append(resource)
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": list(named), "Resource": resources} for named, resources in sorted(shared.items())
    ]
    statements += [
        {
            "Effect": "Allow",
            "Action": ["oss:ListObjects"],
            "Resource": [bucket],
            "Condition": {"StringLike": {"oss:Prefix": sorted(prefixes)}},
        }
        for bucket, prefixes in sorted(listings.items())
    ]
    return {"Version": "1", "Statement": statements}


def granted(policy: Mapping[str, Any]) -> frozenset[Permission]:
    """What a policy document grants; raises PolicyProblemError for a statement that is not of our kind."""
    found = set()
    for statement in policy.get("Statement", []):
        condition = statement.get("Condition", {})
        if statement.get("Effect") != "Allow" or set(statement) - {"Effect", "Action", "Resource", "Condition"}:
            raise PolicyProblemError(f"a statement cannot be compared: {json.dumps(statement)}")
        if (condition and set(condition) != {"StringLike"}) or set(condition.get("StringLike", {})) - {"oss:Prefix"}:
            raise PolicyProblemError(f"a condition cannot be compared: {json.dumps(condition)}")
        prefixes = _texts(condition["StringLike"]["oss:Prefix"]) if condition else [""]
        found |= {
            Permission(action, resource, prefix)
            for action in _texts(statement["Action"])
            for resource in _texts(statement["Resource"])
            for prefix in prefixes
        }
    return frozenset(found)


def committed(function: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The policy of a function as it is committed, its variables not filled in."""
    path = folder / f"{function}.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError as exc:
        raise PolicyProblemError(
            f"there is no {path}; record what {function} calls and run `clearbook provision --policies-from`"
        ) from exc
    except ValueError as exc:
        raise PolicyProblemError(f"{path} is damaged ({exc}); restore it") from exc


def evidence(folder: Path = FOLDER) -> dict[str, list[Evidence]]:
    """The recorded calls beside the committed policies, by function."""
    path = folder / EVIDENCE
    try:
        return {
            function: [Evidence(Permission(**one["permission"]), one["resource"], one["prefix"]) for one in calls]
            for function, calls in json.loads(path.read_bytes()).items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise PolicyProblemError(f"{path} is damaged ({exc}); restore it") from exc


def resolved(policy: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """A policy with its variables filled in."""
    return dict(json.loads(fill(json.dumps(policy), variables)))


def fill(text: str, variables: Mapping[str, str]) -> str:
    """Text with its `${...}` filled in; raises PolicyProblemError for one that has no value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise PolicyProblemError(f"a policy names ${{{match[1]}}}, expected one of {', '.join(sorted(variables))}")
        return variables[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, text)


def recorded(folders: Iterable[Path], roles: Mapping[str, str]) -> dict[str, Calls]:
    """What each function needs by the records in `folders` (`<home>/calls` of local clouds); `roles` to functions."""
    found: dict[str, Calls] = {function: {} for function in roles.values()}
    for folder in folders:
        records = sorted(folder.glob("*.jsonl"))
        if not records:
            raise PolicyProblemError(f"{folder} holds no records of calls; give the folder `calls` of a home that does")
        for path in records:
            for line in path.read_bytes().split(b"\n")[:-1]:
                said = json.loads(line)
                if said["role"] in roles:
                    one = needed(said["action"], said["resource"], said.get("prefix", ""))
                    _keep(found[roles[said["role"]]], one)
    return found


def added(found: Mapping[str, Mapping[Permission, Evidence]], folder: Path = FOLDER) -> dict[str, Calls]:
    """What was recorded, and all that the committed evidence says beside it: nothing that is granted goes.

    Raises PolicyProblemError for what is granted though no call is known that needs it.
    """
    both: dict[str, Calls] = {function: dict(mine) for function, mine in found.items()}
    for function, calls in evidence(folder).items():
        for one in calls:
            _keep(both.setdefault(function, {}), one)
    for function, mine in both.items():
        more = sorted(granted(committed(function, folder)) - mine.keys()) if is_committed(function, folder) else []
        if more:
            named = ", ".join(map(str, more))
            raise PolicyProblemError(
                f"{function} is granted what no recorded call needs: {named}; "
                f"record such a call, or give --forget-others to take it away"
            )
    return both


def is_committed(function: str, folder: Path = FOLDER) -> bool:
    """Whether there is a policy of this function already."""
    return (folder / f"{function}.json").exists()


def _keep(mine: Calls, one: Evidence) -> None:
    """Keep the shortest call, then the first by name: the same records give the same evidence."""
    if one.permission not in mine or _order(one) < _order(mine[one.permission]):
        mine[one.permission] = one


def write(found: Mapping[str, Mapping[Permission, Evidence]], folder: Path = FOLDER) -> list[Path]:
    """Write the policies and their evidence; the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    bodies = {folder / f"{function}.json": document(mine) for function, mine in found.items()}
    calls = {function: [asdict(one) for one in sorted(mine.values())] for function, mine in sorted(found.items())}
    texts = {path: _text(body) for path, body in [*bodies.items(), (folder / EVIDENCE, calls)]}
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return changed


def _order(one: Evidence) -> tuple[int, str, str]:
    return len(one.resource) + len(one.prefix), one.resource, one.prefix


def _text(body: object) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
