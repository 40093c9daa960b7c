"""What is wrong with conditions: each by itself, and all of a document in the order in which they are tried.

A condition compares fields with texts, by operators and functions; what could repeat itself (wildcards, filters,
pipes) is refused, so that none takes longer than it is long. All are tried on lines made up of what they compare
the fields with, something else, and nothing; whichever is never the first that is true has no effect.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from math import prod
from typing import Any

from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from shared.agreement.matching import FIELDS, Condition, ConditionError, compile_condition

DEPTH_MAX = 100
LENGTH_MAX = 50_000  # of all of a document together
LINES_MAX = 20_000  # made up to find what is never reached
_EFFORT_MAX = 50_000_000  # characters of conditions that are tried on them: some seconds
_OWN_MAX = 500  # made up of the fields of one condition alone
_FILLINGS = 20
_TEXTS_MAX = 60  # that functions make up for one field

KINDS = ("usage", "subscription", "credit", "adjustment")  # of lines that meet conditions; refunds never do
TAGS = "tags"
_FUNCTIONS = Functions.FUNCTION_TABLE
_LOGIC = ("and_expression", "or_expression", "not_expression")
_TAKEN = (
    *("literal", "field", "subexpression", "comparator", "function_expression", "multi_select_list"),
    *_LOGIC,
)
_OPERATORS = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_ANSWERS = {
    **dict.fromkeys(("contains", "starts_with", "ends_with"), "true or false"),
    **dict.fromkeys(("length", "abs", "avg", "ceil", "floor", "sum", "to_number"), "a number"),
    **dict.fromkeys(("join", "type", "to_string"), "text"),
    **dict.fromkeys(("keys", "values", "sort", "to_array", "map"), "a list"),
}

Node = Mapping[str, Any]
Slot = tuple[str, ...]  # a field, a tag as ("tags", name), or all tags as ("tags",)
Values = tuple[str | None, ...]  # of some slots, in their order


@dataclass(slots=True)
class Reached:
    """Which conditions of a list can be the first that is true."""

    problems: dict[int, str] = field(default_factory=dict)  # surely never: (number, why)
    doubts: dict[int, str] = field(default_factory=dict)  # never among the lines that were made up


def problems(when: str) -> list[str]:
    """What is wrong with a condition by itself."""
    try:
        condition = compile_condition(when)
    except ConditionError as exc:
        return [exc.problem]
    return _of_shape(condition.expression.parsed) or _of_values(condition)


def reached(whens: Sequence[str]) -> Reached:
    """What of these conditions, tried in this order, is never the first that is true; each is sound by itself."""
    tried = [_Tried(compile_condition(when)) for when in whens]
    return _Trial(tried).reached()


# -- one condition by itself -------------------------------------------------------------------------------------------


def _of_shape(node: Node, depth: int = 1) -> list[str]:
    """What can be told from the expression alone."""
    if depth > DEPTH_MAX:
        remedy = "list texts with contains(['a', 'b'], field), or split it into several rules"
        return [f"is nested more than {DEPTH_MAX} deep; {remedy}"]
    kind, children = node["type"], node.get("children", [])
    if kind not in _TAKEN:
        name = kind.replace("_", " ")
        return [f"uses {name}; a condition compares fields by ==, !=, &&, ||, ! and functions such as contains"]
    if kind == "subexpression":
        return _of_path(children)
    found = [problem for child in children for problem in _of_shape(child, depth + 1)]
    if found:
        return list(dict.fromkeys(found))
    if kind == "comparator":
        found += _of_comparison(node["value"], *children)
    if kind == "function_expression":
        found += _of_function(node["value"], len(children))
    return found


def _of_path(children: Sequence[Node]) -> list[str]:
    if children[0]["type"] == "not_expression":
        return ["puts ! before the first name alone; write !(tags.name)"]
    names = [child.get("value") for child in children if child["type"] == "field"]
    if len(names) != len(children):
        return ['uses an index or a selection of a field; name a tag by tags.name or tags."a name"']
    if names[0] != TAGS:
        return [f"reads {'.'.join(map(str, names))}, but {names[0]} is text; only tags has names of its own"]
    if len(names) > 2:
        return [f"reads {'.'.join(map(str, names))}, but a tag is text; write tags.{names[1]}"]
    return []


def _of_comparison(operator: str, left: Node, right: Node) -> list[str]:
    kinds = [_kind(left), _kind(right)]
    shown = f"{_shown(left)} {_OPERATORS[operator]} {_shown(right)}"
    if operator not in ("eq", "ne"):
        wrong = [kind for kind in kinds if kind not in (None, "a number")]
        remedy = "only numbers have an order; list the texts with contains(['a', 'b'], field)"
        return [f"{shown} orders {wrong[0]}; {remedy}"] if wrong else []
    if None in kinds or "null" in kinds or kinds[0] == kinds[1]:
        return []
    always = "false" if operator == "eq" else "true"
    remedy = "write the text in single quotes"
    if "an object" in kinds:
        remedy = "name one tag, as in tags.team == 'blue'"
    return [f"{shown} compares {kinds[0]} with {kinds[1]}, which is always {always}; {remedy}"]


def _of_function(name: str, count: int) -> list[str]:
    if name not in _FUNCTIONS:
        near = difflib.get_close_matches(name, _FUNCTIONS, 1)
        return [f"calls {name}(), which JMESPath does not have" + (f"; perhaps {near[0]}" if near else "")]
    signature = _FUNCTIONS[name]["signature"]
    is_open = bool(signature) and signature[-1].get("variadic", False)
    if count < len(signature) or (count > len(signature) and not is_open):
        return [f"calls {name}() with {count} values; it takes {len(signature)}"]
    return []


def _kind(node: Node) -> str | None:
    """What a part of an expression gives, where it can be told."""
    kind = node["type"]
    if kind == "literal":
        return _kind_of(node["value"])
    if kind == "field":
        return "an object" if node["value"] == TAGS else "text"
    if kind == "function_expression":
        return _ANSWERS.get(node["value"])
    named = {"subexpression": "text", "multi_select_list": "a list"}
    return named.get(kind, "true or false" if kind in ("comparator", "not_expression") else None)


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else "an object"


def _shown(node: Node) -> str:
    if node["type"] == "literal":
        return repr(node["value"])
    slot = _slot(node)
    return ".".join(slot) if slot else "…"


def _of_values(condition: Condition) -> list[str]:
    """What goes wrong on a line: it answers neither true nor false, or true on no line at all."""
    tried = _Tried(condition)
    domain = _domain([tried])
    # A kind is never absent; that a condition holds there as well costs its author nothing.
    choices = [(None, *(value for value in domain[slot] if value is not None)) for slot in tried.slots]
    is_ever_true = False
    for values in _some_of(choices):
        answer = tried.answer(values)
        if answer is None:
            return [f"{tried.why(values)} on a line with {_words(tried.slots, values)}; {_GUARD}"]
        is_ever_true = is_ever_true or (answer and tried.can_be(values))
    is_whole = tried.is_plain and prod(len(one) for one in choices) <= _OWN_MAX
    if is_whole and not is_ever_true:
        return ["is true of no line, so it has no effect; mend it, or take it out"]
    return []


_GUARD = "compare with == or !=, or guard it, as in region != `null` && starts_with(region, 'cn-')"


def _some_of(choices: Sequence[Sequence[str | None]]) -> Iterator[Values]:
    """Of all combinations at most some thousand: all absent, each absent by itself, then all, or some by chance."""
    yield (None,) * len(choices)
    some = tuple(next((value for value in one if value is not None), None) for one in choices)
    for place in range(len(choices)):
        yield tuple(None if index == place else value for index, value in enumerate(some))
    yield from islice(product(*choices), _OWN_MAX)
    if prod(len(one) for one in choices) > _OWN_MAX:
        chance = random.Random(0)  # noqa: S311 - the same ones every time
        yield tuple(one[-2] if len(one) > 1 else one[-1] for one in choices)
        yield from (tuple(chance.choice(one) for one in choices) for _ in range(_OWN_MAX))


def _words(slots: Sequence[Slot], values: Values) -> str:
    named = [
        f"{'.'.join(slot)} absent" if value is None else f"{'.'.join(slot)} {value!r}"
        for slot, value in zip(slots, values, strict=True)
    ]
    return " and ".join(named) or "any values"


# -- made-up lines -----------------------------------------------------------------------------------------------------


class _Tried:
    """A condition with what it compares, and what it answered before."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.texts: dict[Slot, set[str]] = {}
        self.parts: dict[Slot, dict[str, set[str]]] = {}  # what functions ask of it: how -> texts
        self.is_plain = True  # compares each field with texts and nothing else: what was not tried is like what was
        self._look(condition.expression.parsed)
        self.slots = sorted(self.texts)
        self.spent = 0  # characters that were tried
        self._known: dict[Values, bool | None] = {}

    def answer(self, values: Values) -> bool | None:
        """True or false on a line with these values of its slots, None where it gives neither."""
        if values not in self._known:
            self.spent += len(self.condition.when)
            self._known[values] = self.condition.outcome(self._line(values))
        return self._known[values]

    def can_be(self, values: Values) -> bool:
        """Whether a line can have these values: each has a kind."""
        return all(slot != ("kind",) or value in KINDS for slot, value in zip(self.slots, values, strict=True))

    def why(self, values: Values) -> str:
        """How it fails there."""
        try:
            result = self.condition.expression.search(self._line(values))
        except (JMESPathError, ArithmeticError, TypeError, ValueError, AttributeError, RecursionError) as exc:
            return f"fails ({(str(exc).splitlines() or [''])[0][:160]})"
        return f"gives {'null' if result is None else _kind_of(result)}, neither true nor false,"

    def _line(self, values: Values) -> dict[str, object]:
        line: dict[str, object] = dict.fromkeys(FIELDS)
        tags: dict[str, str] = {}
        for slot, value in zip(self.slots, values, strict=True):
            if value is None:
                continue
            if slot[0] == TAGS:
                tags[slot[-1] if len(slot) > 1 else value] = value
            else:
                line[slot[0]] = value
        line[TAGS] = tags or None
        return line

    def _look(self, node: Node) -> None:
        slot, children = _slot(node), node.get("children", [])
        if slot is not None:
            self.texts.setdefault(slot, set())
            return
        texts = _compared(node)
        if texts is not None:
            compared, found = texts
            self.texts.setdefault(compared, set()).update(found)
            return
        if node["type"] not in (*_LOGIC, "literal"):
            self.is_plain = False
            self._look_into(node["value"] if node["type"] == "function_expression" else "", children)
        for child in children:
            self._look(child)

    def _look_into(self, function: str, children: Sequence[Node]) -> None:
        """Note the texts that something other than a field by itself is asked for, as in region || ''."""
        near = [one for child in children for one in (child, *(child["children"] if child["type"] in _LOGIC else ()))]
        slots = [slot for slot in map(_slot, near) if slot is not None]
        texts = [child["value"] for child in children if child["type"] == "literal" and isinstance(child["value"], str)]
        for slot in slots:
            self.texts.setdefault(slot, set()).update(texts)
            self.parts.setdefault(slot, {}).setdefault(function, set()).update(texts)


def _slot(node: Node) -> Slot | None:
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] == "subexpression":
        return tuple(str(child["value"]) for child in node["children"])
    return None


def _compared(node: Node) -> tuple[Slot, set[str]] | None:
    """The field that is compared with texts, or with null, and the texts."""
    children = node.get("children", [])
    if node["type"] == "comparator" and node["value"] in ("eq", "ne"):
        for one, other in (children, children[::-1]):
            slot = _slot(one)
            if slot is not None and slot != (TAGS,) and other["type"] == "literal":
                return slot, {other["value"]} if isinstance(other["value"], str) else set()
    if node["type"] == "function_expression" and node["value"] == "contains":
        slot, texts = _slot(children[1]), _texts(children[0])
        if slot is not None and slot != (TAGS,) and texts is not None:
            return slot, texts
    return None


def _texts(node: Node) -> set[str] | None:
    """The texts of a list that is written out."""
    if node["type"] == "multi_select_list" and all(child["type"] == "literal" for child in node["children"]):
        return {child["value"] for child in node["children"] if isinstance(child["value"], str)}
    if node["type"] == "literal" and isinstance(node["value"], list):
        return {value for value in node["value"] if isinstance(value, str)}
    return None


def _domain(tried: Iterable[_Tried]) -> dict[Slot, Values]:
    """What to try for each field: every text that it is compared with, another one, and none; a kind is known."""
    texts: dict[Slot, set[str]] = {}
    parts: dict[Slot, dict[str, set[str]]] = {}
    for one in tried:
        for slot, found in one.texts.items():
            texts.setdefault(slot, set()).update(found)
        for slot, asked in one.parts.items():
            for how, found in asked.items():
                parts.setdefault(slot, {}).setdefault(how, set()).update(found)
    domain: dict[Slot, Values] = {}
    for slot, found in texts.items():
        if slot == ("kind",):
            domain[slot] = KINDS
        else:
            all_texts = sorted(found | _made(parts.get(slot, {})))
            domain[slot] = (*all_texts, _other(all_texts), None)
    return domain


def _made(asked: Mapping[str, set[str]]) -> set[str]:
    """Texts that begin, go on and end as functions ask."""
    begins, within, ends = (("", *sorted(asked.get(how, ()))) for how in ("starts_with", "contains", "ends_with"))
    made = ("".join(parts) for parts in islice(product(begins, within, ends), _TEXTS_MAX))
    return {text for text in made if text}


def _other(texts: Sequence[str]) -> str:
    other = "something else"
    while other in texts:
        other += " again"
    return other


# -- all in order ------------------------------------------------------------------------------------------------------


class _Trial:
    """Conditions tried in their order on lines made up of all that they compare.

    Some are lines that cannot be (a tag, and no tags): then something that is never reached goes unnoticed.
    """

    def __init__(self, tried: Sequence[_Tried]) -> None:
        self.tried = tried
        self.domain = _domain(tried)
        self.slots = sorted(self.domain)
        self.places = [[self.slots.index(slot) for slot in one.slots] for one in tried]
        self.count = prod(len(values) for values in self.domain.values())
        self.waiting = set(range(len(tried)))
        self.takers: dict[int, set[int]] = {}

    def reached(self) -> Reached:
        is_whole = self.count <= LINES_MAX
        lines = product(*(self.domain[slot] for slot in self.slots)) if is_whole else self._some()
        count = 0
        for line in islice(lines, LINES_MAX):
            self._meet(line)
            count += 1
            if not self.waiting:
                return Reached()
            if sum(one.spent for one in self.tried) > _EFFORT_MAX:
                is_whole = False
                break
        found = Reached()
        is_sure = is_whole and all(one.is_plain for one in self.tried)
        for one in sorted(self.waiting):
            if is_sure:
                found.problems[one] = self._never(one)
            else:
                found.doubts[one] = f"{self._never(one)} (on {count:,} lines that were tried, not on all there can be)"
        return found

    def _meet(self, line: Values) -> None:
        """Note which condition the line meets first, and whose line it takes by that."""
        first = None
        for number, one in enumerate(self.tried):
            if first is not None and number not in self.waiting:
                continue
            answer = one.answer(tuple([line[place] for place in self.places[number]]))
            if answer is False:
                continue
            if first is None:
                first = number
                self.waiting.discard(number)
            else:
                self.takers.setdefault(number, set()).add(first)

    def _never(self, number: int) -> str:
        takers = self.takers.get(number)
        if not takers:
            return "is true of no line; mend it, or take it out"
        return f"never matches: its lines are taken by {_numbers(takers)} before it; move it up, or take it out"

    def _some(self) -> Iterator[Values]:
        """Lines that each waiting condition is true of, filled up with nothing, something else, and by chance."""
        chance = random.Random(0)  # noqa: S311 - the same lines every time
        share = max(LINES_MAX // max(len(self.tried), 1), _FILLINGS)
        for number, one in enumerate(self.tried):
            own = _domain([one])
            choices = [own[slot] for slot in one.slots]
            true = [values for values in _some_of(choices) if one.answer(values) and one.can_be(values)]
            for place in range(share if true else 0):
                if number not in self.waiting:
                    break
                yield self._filled(number, true[place % len(true)], place // len(true), chance)

    def _filled(self, number: int, values: Values, round_: int, chance: random.Random) -> Values:
        line: list[str | None] = []
        for slot in self.slots:
            domain = self.domain[slot]
            others = (domain[-1], domain[max(len(domain) - 2, 0)], chance.choice(domain))
            line.append(others[min(round_, 2)])
        for place, value in zip(self.places[number], values, strict=True):
            line[place] = value
        return tuple(line)


def _numbers(takers: Iterable[int]) -> str:
    """Numbers in braces, for whoever knows what stands there."""
    return ", ".join("{" + str(taker) + "}" for taker in sorted(takers)[:5])
