"""Kept months: what settlements were made of, as it is kept for good, and what this version of the engine made of it.

`manifest.json`, `documents/` and `lines.csv` are inputs, and of them only the engine's version is ever written anew.
`summary.json` has the digest of the rows, every sum and the statements.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.columnar import connect
from shared.ids import canonical_json, digest_of
from shared.settlement import engine, lines
from shared.steps import inputs, results, state
from tests.fakes import Cloud

FOLDER = Path(__file__).parent


def months() -> list[Path]:
    """Every kept month, by name."""
    return sorted(path.parent for path in FOLDER.glob("*/manifest.json"))


def manifest_of(folder: Path) -> dict[str, Any]:
    """What the settlement is a function of, beside its lines."""
    return inputs.parse_manifest((folder / "manifest.json").read_bytes())


def summary_of(folder: Path) -> dict[str, Any]:
    """What the month comes to by the engine as it is."""
    manifest = manifest_of(folder)
    with (folder / "lines.csv").open(encoding="utf-8", newline="") as file:
        bill = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    with TemporaryDirectory() as scratch:
        cloud = Cloud(Path(scratch) / "cloud")
        for document in (folder / "documents").iterdir():
            cloud.records.put_once(state.document_key(document.stem), document.read_bytes())
        share = inputs.share_of(cloud.services, manifest)
        with connect(Path(scratch)) as connection:
            lines.load_lines(connection, bill)
            settled = engine.settle(connection, share)
    settlement = digest_of(json.loads((folder / "manifest.json").read_bytes()))
    summary = results.summary_of(share, settled, settlement)
    return dict(json.loads(canonical_json(summary)))


def written(data: dict[str, Any]) -> str:
    """A file's text, for people to read as a diff."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
