"""Serve the local RAM on loopback until terminated: `python -m infra.localcloud.ram --home DIR --port N`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud.common import run
from infra.localcloud.ram.wire import application


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.ram", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the local cloud's state")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    arguments = parser.parse_args()
    run(application(arguments.home), arguments.port)


if __name__ == "__main__":
    main()
