"""The policy language: what a document allows or denies (help.aliyun.com/en/ram, "Policy structure and syntax").

Version "1"; Effect, Action, Resource and Condition with the string operators. What the language has beyond that
(NotAction, other operators) is refused when the policy is written, so that no statement means less here than there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

DOCUMENT_BYTES_MAX = 6144  # limits of custom policies
_ACTION = re.compile(r"^(\*|[a-z0-9-]+:[A-Za-z0-9*?]+)$")


class Decision(Enum):
    """What the policies of a role say of one call; deny wins, and silence is a no."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "ExplicitDeny"
    IMPLICIT_DENY = "ImplicitDeny"


class PolicyError(Exception):
    """The document is not a policy that can be enforced here."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One key compared with its values by one operator; it holds when any of the values matches."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """Patterns of actions and resources, and under which conditions they are allowed or denied."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a policy document; raises PolicyError saying what is wrong with it."""
    if len(text.encode()) > DOCUMENT_BYTES_MAX:
        raise PolicyError(f"the document is longer than {DOCUMENT_BYTES_MAX} bytes")
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise PolicyError(f"the document is not JSON: {exc}") from exc
    if not isinstance(document, dict) or set(document) != {"Version", "Statement"}:
        raise PolicyError("the document must be an object of Version and Statement")
    if document["Version"] != "1":
        raise PolicyError(f'Version must be "1", not {document["Version"]!r}')
    if not isinstance(document["Statement"], list) or not document["Statement"]:
        raise PolicyError("Statement must be a list of at least one statement")
    return tuple(_statement(one) for one in document["Statement"])


def decide(
    statements: Sequence[Statement], action: str, resource: str, context: Mapping[str, str] | None = None
) -> Decision:
    """Whether `action` on `resource` is allowed; `context` holds the condition keys that the call has."""
    decision = Decision.IMPLICIT_DENY
    for one in statements:
        if _applies(one, action, resource, context or {}):
            if not one.allows:
                return Decision.EXPLICIT_DENY
            decision = Decision.ALLOWED
    return decision


def _applies(statement: Statement, action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        any(_pattern(pattern.lower()).fullmatch(action.lower()) for pattern in statement.actions)
        and any(_pattern(pattern).fullmatch(resource) for pattern in statement.resources)
        and all(_holds(condition, context) for condition in statement.conditions)
    )


def _statement(said: Any) -> Statement:
    if not isinstance(said, dict):
        raise PolicyError("a statement must be an object")
    for absent in ("NotAction", "NotResource"):
        if absent in said:
            raise PolicyError(f"{absent} is not implemented here")
    if unknown := sorted(set(said) - {"Effect", "Action", "Resource", "Condition"}):
        raise PolicyError(f"a statement has no {', '.join(unknown)}")
    if said.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"Effect must be Allow or Deny, not {said.get('Effect')!r}")
    actions = _texts(said, "Action")
    for action in actions:
        if not _ACTION.match(action):
            raise PolicyError(f"Action {action!r} must read service:ActionName")
    resources = _texts(said, "Resource")
    for resource in resources:
        if resource != "*" and (not resource.startswith("acs:") or resource.count(":") < 4):
            raise PolicyError(f"Resource {resource!r} must read acs:service:region:account:resource")
    return Statement(said["Effect"] == "Allow", actions, resources, tuple(_conditions(said.get("Condition", {}))))


def _texts(said: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = said.get(name)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
        raise PolicyError(f"{name} must be a text or a list of texts")
    return tuple(values)


def _conditions(said: Any) -> list[Condition]:
    if not isinstance(said, dict):
        raise PolicyError("Condition must be an object")
    found = []
    for operator, keys in said.items():
        if operator not in _OPERATORS:
            raise PolicyError(f"the condition operator {operator} is not implemented here")
        if not isinstance(keys, dict) or not keys:
            raise PolicyError(f"{operator} must be an object of condition keys")
        found += [Condition(operator, key, _texts(keys, key)) for key in keys]
    return found


def _holds(condition: Condition, context: Mapping[str, str]) -> bool:
    value = context.get(condition.key)
    # A key that the call does not have meets no condition, not even a negative one: the stricter reading.
    return value is not None and _OPERATORS[condition.operator](value, condition.values)


def _is_like(value: str, patterns: Sequence[str]) -> bool:
    return any(_pattern(pattern).fullmatch(value) for pattern in patterns)


_OPERATORS: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "StringEquals": lambda value, values: value in values,
    "StringNotEquals": lambda value, values: value not in values,
    "StringEqualsIgnoreCase": lambda value, values: value.lower() in {one.lower() for one in values},
    "StringLike": _is_like,
    "StringNotLike": lambda value, patterns: not _is_like(value, patterns),
}


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    """A pattern in which * stands for any characters, / included, and ? for one."""
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
