"""Documents from outside: read safely, checked against a model, refused with the place and the remedy."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import DocumentRefusedError as DocumentRefusedError  # apart: who handles it needs no models

BYTES_MAX = 4 * 1024 * 1024
Finding = tuple[str, str]  # the place, and what is wrong there with what to do
M = TypeVar("M", bound="Model")
_ID = r"^[a-z0-9][a-z0-9-]{0,39}$"
Id = Annotated[str, Field(pattern=_ID)]  # of a party, an agreement, a rule: stable, in keys


class Model(BaseModel):
    """The base of every document model: unknown names are refused, nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no bombs), without repeated names, and with amounts and dates left as text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not used in documents", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name.value!r} is given twice", name.start_mark)
            seen.add(name.value)
        return super().construct_mapping(node, deep)


# Dates and floats stay text, so that no amount is ever a float and the models decide what a date is.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if not tag.endswith((":timestamp", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(body: bytes, name: str) -> Any:
    """The document's plain data; refused with line and column when it is no YAML."""
    if len(body) > BYTES_MAX:
        raise DocumentRefusedError(name, [("size", f"{len(body)} bytes, at most {BYTES_MAX} are read")])
    try:
        return yaml.load(body.decode("utf-8-sig"), _Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as exc:
        raise DocumentRefusedError(name, [(f"byte {exc.start}", "not UTF-8; save the file as UTF-8")]) from exc
    except (yaml.YAMLError, RecursionError, TypeError, ValueError, LookupError) as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise DocumentRefusedError(name, [(place, str(getattr(exc, "problem", None) or exc))]) from exc


@contextmanager
def reading(body: bytes, name: str) -> Iterator[Any]:
    """The document's plain data; whatever of it is refused inside says line and column, too."""
    data = read_yaml(body, name)
    try:
        yield data
    except DocumentRefusedError as exc:
        if exc.name != name:
            raise
        raise DocumentRefusedError(name, located(body, exc.findings)) from exc


def located(body: bytes, findings: Sequence[Finding]) -> list[Finding]:
    """The findings with line and column behind each place that the YAML document has, or the nearest around it."""
    root = yaml.compose(body.decode("utf-8-sig"), _Loader)
    found = []
    for place, problem in findings:
        mark = _mark(root, place)
        found.append((f"{place}, line {mark.line + 1}, column {mark.column + 1}" if mark else place, problem))
    return found


def check(model: type[M], data: Any, name: str) -> M:
    """`data` as the model, or DocumentRefusedError with every place that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        findings = [
            (".".join(str(step) for step in error["loc"]) or "document", _problem(error["type"], error))
            for error in exc.errors(include_url=False)
        ]
        raise DocumentRefusedError(name, findings) from exc


# A place is a path with dots; behind a number it may say in brackets what stands there: "rules.2 (storage).when".
_LABEL = re.compile(r" \(.*?\)(?=\.|$)")
_NUMBER = re.compile(r"\d+(?=\.| \(|$)", re.ASCII)


def _mark(node: yaml.Node | None, place: str) -> yaml.Mark | None:
    """Where the place stands, or as much of it as there is; None where not even its first step is there."""
    mark = None
    while place:
        number = _NUMBER.match(place)
        if isinstance(node, yaml.MappingNode):
            steps = [pair for pair in node.value if _is_step(str(pair[0].value), place)]
            if steps:
                key, node = max(steps, key=lambda pair: len(pair[0].value))
                begins = node.start_mark
                mark = begins if begins.line == key.start_mark.line else key.start_mark
                place = place[len(key.value) :]
            elif number:  # what may stand alone is kept as a list of one
                place = place[number.end() :]
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and number and int(number[0]) < len(node.value):
            node = node.value[int(number[0])]
            mark, place = node.start_mark, place[number.end() :]
        else:
            break
        place = _LABEL.sub("", place, count=1) if place.startswith(" (") else place
        place = place.removeprefix(".")
    return mark


def _is_step(key: str, place: str) -> bool:
    return place.startswith(key) and place[len(key) :][:1] in ("", ".", " ")


_EXPECTED = {
    "model_type": "expected names with values",
    "dict_type": "expected names with values",
    "list_type": "expected a list",
    "string_type": "expected text; put it in quotes",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number, without quotes",
}


def _problem(kind: str, error: Any) -> str:
    if kind == "extra_forbidden":
        return "is not a known name here; check its spelling, or leave it out"
    if kind == "missing":
        return "is missing; add it"
    context = error.get("ctx", {})
    expected = _EXPECTED.get(kind, error["msg"].removeprefix("Value error, "))
    if kind == "literal_error":
        expected = f"expected {context['expected']}"
    if context.get("pattern") == _ID:
        expected = "expected at most 40 small letters, digits and hyphens, such as aurora-2026"
    return f"{expected} (found {repr(error['input'])[:80]})"
