"""Serve the local Log Service on loopback until terminated: `python -m infra.localcloud.sls --home DIR --port N`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud.common import load_keys, run
from infra.localcloud.sls.store import Store
from infra.localcloud.sls.wire import application


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.sls", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the local cloud's state")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    arguments = parser.parse_args()
    store = Store(arguments.home / "sls")
    try:
        run(application(store, load_keys(arguments.home)), arguments.port)
    finally:
        store.close()


if __name__ == "__main__":
    main()
