"""Documents from outside: read safely, checked against a model, refused with the place and the remedy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import DocumentRefusedError as DocumentRefusedError  # apart: who handles it needs no models

BYTES_MAX = 4 * 1024 * 1024
M = TypeVar("M", bound="Model")
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]  # of a party, an agreement, a rule: stable, in keys


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


def _problem(kind: str, error: Any) -> str:
    if kind == "extra_forbidden":
        return "is not a known name here; check its spelling, or leave it out"
    if kind == "missing":
        return "is missing"
    value = repr(error["input"])
    return f"{error['msg'].removeprefix('Value error, ')} (found {value[:80]})"
