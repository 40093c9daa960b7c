"""`clearbook bundle`: the code directories that are deployed, and whether s.yaml can be."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.clearbook.context import ROOT
from infra.localcloud import common
from infra.localcloud.host import template
from infra.localcloud.host.template import Function, Template, TemplateError
from infra.provision import bundle
from shared.bootstrap import BUCKETS, bucket_name
from shared.errors import SettingError

OUT = ROOT / "build" / "bundle"
# What the functions cannot do without, and s.yaml can only take from the environment of the deployment.
SETTINGS = ("CLEARBOOK_OSS_ENDPOINT", "CLEARBOOK_TABLESTORE_ENDPOINT", "CLEARBOOK_TABLESTORE_INSTANCE",
            "CLEARBOOK_SECRETS")  # fmt: skip
# What shared.bootstrap asks of every function's environment.
ENVIRONMENT = ("CLEARBOOK_BUCKET_PREFIX", "CLEARBOOK_REGION", "CLEARBOOK_OSS_ENDPOINT", "CLEARBOOK_TABLESTORE_ENDPOINT",
               "CLEARBOOK_TABLESTORE_INSTANCE")  # fmt: skip
PACKAGES = "/code/python"  # where a deployed function finds the packages of its code directory


def checked(schema: Path | None = None, path: Path = ROOT / "s.yaml") -> Template:
    """The s.yaml at `path`, when it can be deployed; raises TemplateError with everything that speaks against it."""
    with tempfile.TemporaryDirectory() as home:
        keys = common.load_keys(Path(home))
        loaded = template.load(path, ROOT / "functions", keys, {})
        resources = template.resources(path, keys, {})
        problems = template.undeployable(loaded)
        for name, resource in resources.items():
            place, props = f"s.yaml.resources.{name}.props", resource["props"]
            function = loaded.functions[props["functionName"]]
            problems += _code_problems(place, function.name, props["code"], path.resolve().parent)
            problems += _environment_problems(place, function.environment)
            problems += _bucket_problems(place, function)
        if schema is not None:
            problems += _schema_problems(schema, resources)
    if problems:
        raise TemplateError(problems)
    return loaded


def _code_problems(place: str, function: str, code: str, folder: Path) -> Iterator[str]:
    """A function's code is the directory that a bundle has for it, and no other's."""
    made = OUT.relative_to(ROOT) / function
    if (folder / code).resolve() != (folder / made).resolve():
        yield f"{place}.code: {code!r} cannot be used; `make bundle` makes ./{made} for this function; write that"


def _environment_problems(place: str, environment: Mapping[str, str]) -> Iterator[str]:
    """What every function needs of its environment.

    A setting that the environment of this check has not either may be empty: `run` says so, and the deployment sets it.
    """
    here = f"{place}.environmentVariables"
    python_path = environment.get("PYTHONPATH")
    if PACKAGES not in (python_path or "").split(":"):
        said = "is missing" if python_path is None else f"{python_path!r} cannot be used"
        yield f"{here}.PYTHONPATH: {said}; the packages of a bundle are in {PACKAGES}; write that"
    for name in ENVIRONMENT:
        if name not in environment:
            yield f"{here}.{name}: is missing; the function needs it; add it, or correct the name of the one meant"
        elif not environment[name] and (name not in SETTINGS or os.environ.get(name)):
            yield f"{here}.{name}: '' cannot be used; the function needs it; give it ${{env('{name}', '')}} or a value"


def _bucket_problems(place: str, function: Function) -> Iterator[str]:
    """Triggers of buckets that `clearbook deploy` does not make: nothing would ever wake the function."""
    if not function.environment.get("CLEARBOOK_BUCKET_PREFIX"):
        return  # told of already
    made = [bucket_name(function.environment, bucket) for bucket in BUCKETS]
    for trigger in function.buckets:
        if trigger.bucket not in made:
            wrong = f"{place}.triggers: {trigger.name}'s bucket {trigger.bucket!r} in sourceArn cannot be used"
            yield f"{wrong}; `clearbook deploy` makes {', '.join(made)}; write one of these"


def _schema_problems(path: Path, resources: dict[str, Any]) -> Iterator[str]:
    """What the component's own schema says of each function; it knows less than ours, and may know what is newer."""
    try:
        validator = importlib.import_module("jsonschema").Draft7Validator(json.loads(path.read_bytes()))
    except ImportError as exc:
        raise SettingError("--schema", "needs the package jsonschema", "install it beside Clearbook") from exc
    except ValueError as exc:
        raise SettingError("--schema", f"{path} is no JSON ({exc})", "give the schema.json of component fc3") from exc
    for name, resource in resources.items():
        for wrong in validator.iter_errors(resource["props"]):
            place = ".".join(["resources", name, "props", *map(str, wrong.absolute_path)])
            yield f"s.yaml.{place}: {wrong.message} (says {path.name})"


def run(*, check: bool, schema: Path | None, json_to: str | None) -> None:
    """Check s.yaml, and build what it names unless only the check was asked for."""
    from rich.console import Console
    from rich.table import Table

    from infra.clearbook.main import write_json

    console = Console(stderr=json_to == "-")
    loaded = checked(schema)
    console.print(f"s.yaml: {len(loaded.functions)} functions, nothing speaks against deploying it", highlight=False)
    for name in SETTINGS:
        if not os.environ.get(name):
            console.print(f"  {name} is not set: set it before deploying, the functions need it", highlight=False)
    if check:
        return
    built = bundle.build(ROOT, OUT, loaded.functions)
    if json_to is not None:
        write_json({"out": str(built.out), "functions": [asdict(one) for one in built.functions]}, json_to)
    limit = f"at most {bundle.PACKED_MAX >> 20} MB, {bundle.PACKED_IN_REQUEST_MAX >> 20} MB when sent in the request"
    table = Table("function", "files", "unpacked", "packed", title=f"Code directories ({limit})")
    for one in built.functions:
        table.add_row(one.function, f"{one.files:,}", f"{one.unpacked / 1e6:.1f} MB", f"{one.packed / 1e6:.1f} MB")
    console.print(table)
    for note in built.notes:
        console.print(f"note: {note}", highlight=False)
    where = os.path.relpath(built.out)
    console.print(f"{'built in' if built.is_new else 'nothing has changed in'} {where}; deploy with `s deploy`")
