"""`python -m tests.unit.kept_results` keeps what a new version of the engine makes of the kept months.

Run it with a change of engine.VERSION alone; without one an old settlement would no longer verify.
"""

from __future__ import annotations

import json

from shared.settlement import engine
from tests.unit.kept_results.month import months, summary_of, written


def main() -> None:
    """Write every month's results anew, under the version as it is."""
    for folder in months():
        manifest = json.loads((folder / "manifest.json").read_bytes())
        if manifest["engine"] == engine.VERSION and (folder / "summary.json").exists():
            print(f"{folder.name}: kept as it is; engine {engine.VERSION} made it")
            continue
        (folder / "manifest.json").write_text(written({**manifest, "engine": engine.VERSION}), encoding="utf-8")
        (folder / "summary.json").write_text(written(summary_of(folder)), encoding="utf-8")
        print(f"{folder.name}: written for engine {engine.VERSION}")


if __name__ == "__main__":
    main()
