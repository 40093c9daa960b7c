"""`python -m infra.provision.event_schemas` writes the JSON Schemas of the events that we publish."""

from __future__ import annotations

from pathlib import Path

from infra.provision.plan import ROOT
from shared.events.schemas import files

FOLDER = ROOT / "events" / "schemas"


def write(folder: Path = FOLDER) -> None:
    """Write every schema, and remove those of types that there are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, body in files().items():
        (folder / name).write_bytes(body)


if __name__ == "__main__":
    write()
