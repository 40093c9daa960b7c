"""`clearbook bundle`: the code directories that are deployed, and whether s.yaml can be."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.clearbook.context import ROOT
from infra.localcloud import common
from infra.localcloud.host import template
from infra.localcloud.host.template import Template, TemplateError
from infra.provision import bundle
from shared.errors import SettingError

OUT = ROOT / "build" / "bundle"
# What the functions cannot do without, and s.yaml can only take from the environment of the deployment.
SETTINGS = ("CLEARBOOK_OSS_ENDPOINT", "CLEARBOOK_TABLESTORE_ENDPOINT", "CLEARBOOK_TABLESTORE_INSTANCE",
            "CLEARBOOK_SECRETS")  # fmt: skip


def checked(schema: Path | None = None) -> Template:
    """s.yaml, when it can be deployed; raises TemplateError with everything that speaks against it."""
    with tempfile.TemporaryDirectory() as home:
        keys = common.load_keys(Path(home))
        loaded = template.load(ROOT / "s.yaml", ROOT / "functions", keys, {})
        problems = template.undeployable(loaded)
        if schema is not None:
            problems += _schema_problems(schema, template.resources(ROOT / "s.yaml", keys, {}))
    if problems:
        raise TemplateError(problems)
    return loaded


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
