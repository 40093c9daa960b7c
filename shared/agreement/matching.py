"""Which condition a line meets first: JMESPath over the line's descriptive fields.

Conditions are tried once per distinct value of the fields they read, never once per line, and in order until
one is true. One that is tried and fails, or yields anything but true or false, is `bad` (semantics, rules).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from shared.errors import ClearbookError

# Amounts, dates and line ids are not visible to conditions (semantics, rules).
FIELDS = (
    "kind",
    "subscription_type",
    "order_type",
    "product_code",
    "commodity_code",
    "billing_item_code",
    "region",
    "zone",
    "instance_id",
    "instance_spec",
    "resource_group",
    "cost_unit",
    "tags",
    "currency",
    "account",
    "customer",
    "customer_class",
)
LENGTH_MAX = 2000


class ConditionError(ClearbookError):
    """A condition that cannot be used."""

    code = "bad_condition"

    def __init__(self, when: str, problem: str) -> None:
        super().__init__(f"{problem} (in {when!r})")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition and the fields it reads, in a fixed order."""

    when: str
    fields: tuple[str, ...]
    expression: Any
    begins: tuple[str, str] | None  # field and text: what it asks first is whether they are equal, and `and` follows

    def outcome(self, line: Mapping[str, object]) -> bool | None:
        """True or false; None when it fails or yields something else."""
        # Most lines are of another product than a rule asks for: that is seen at once.
        if self.begins is not None and line.get(self.begins[0]) != self.begins[1]:
            return False
        try:
            result = self.expression.search(line)
        except (JMESPathError, ArithmeticError, TypeError, ValueError, AttributeError, RecursionError):
            return None
        return result if isinstance(result, bool) else None


@functools.lru_cache(maxsize=1000)  # versions mostly have the conditions of the one before
def compile_condition(when: str) -> Condition:
    """The condition; refused where it is too long, no JMESPath, or reads a field that no line has."""
    if len(when) > LENGTH_MAX:
        raise ConditionError(when[:60], f"longer than {LENGTH_MAX} characters; split it into several rules")
    try:
        expression = jmespath.compile(when)
    except (JMESPathError, RecursionError) as exc:
        raise ConditionError(when, _no_jmespath(exc)) from exc
    read = _fields(expression.parsed)
    unknown = sorted(read - set(FIELDS))
    if unknown:
        raise ConditionError(when, "; ".join(_unknown(name) for name in unknown))
    return Condition(when, tuple(field for field in FIELDS if field in read), expression, _beginning(expression.parsed))


def first_met(conditions: Sequence[tuple[int, Condition]], line: Mapping[str, object]) -> tuple[int, bool] | None:
    """The number of the first condition that is true or bad, and whether it is bad; None when none is."""
    for number, condition in conditions:
        outcome = condition.outcome(line)
        if outcome is not False:
            return number, outcome is None
    return None


def _no_jmespath(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "is nested too deeply; split it into several rules"
    place = getattr(exc, "lex_position", None)
    where = "" if place is None else f" at its character {place + 1}"
    problem = str(getattr(exc, "message", "") or getattr(exc, "msg", "") or exc).splitlines()[0]
    return f"is no JMESPath{where}: {problem.rstrip('.')}; compare as in product_code == 'ecs'"


def _unknown(name: str) -> str:
    problem = f"reads {name}, which no line has"
    if name in ("null", "true", "false"):
        return f"{problem}; write `{name}`, in backticks"
    import difflib  # here: what is settled was approved, and has none

    near = difflib.get_close_matches(name, FIELDS, 1)
    if near:
        return f"{problem}; perhaps {near[0]}"
    shown = ", ".join(FIELDS)
    return f"{problem}; a text stands in single quotes, amounts and dates are not visible, and the fields are {shown}"


def _beginning(node: Mapping[str, Any]) -> tuple[str, str] | None:
    """The field and the text that an `and` compares before anything else, if it does."""
    if node["type"] != "and_expression":
        return None
    first = node["children"][0]
    if first["type"] == "comparator" and first["value"] == "eq":
        left, right = first["children"]
        if left["type"] == "field" and right["type"] == "literal" and isinstance(right["value"], str):
            return left["value"], right["value"]
    return _beginning(first)


def _fields(node: Mapping[str, Any], root: bool = True) -> set[str]:
    """The fields of the line that an expression reads: names that are looked up on the line itself."""
    kind, children = node["type"], node.get("children", [])
    if kind == "field":
        return {node["value"]} if root else set()
    if kind == "current":
        # `@` alone would be the whole line; inside a function argument or filter it is an element.
        return {"@"} if root else set()
    if kind in ("subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"):
        first, *rest = children
        return _fields(first, root).union(*(_fields(child, False) for child in rest))
    if kind == "expref":
        return set().union(*(_fields(child, False) for child in children))
    found: set[str] = set()
    for child in children:
        if isinstance(child, Mapping):
            found |= _fields(child, root)
    return found
