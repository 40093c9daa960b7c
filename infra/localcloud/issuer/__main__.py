"""Serve the local issuer on loopback until terminated: `python -m infra.localcloud.issuer --home DIR --port N`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud.common import load_keys, run
from infra.localcloud.issuer.people import People
from infra.localcloud.issuer.wire import application


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.issuer", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the local cloud's state")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    parser.add_argument("--person", action="append", default=[], help="somebody who can sign in; may be repeated")
    arguments = parser.parse_args()
    people = People(arguments.home / "issuer")
    for one in arguments.person:
        people.add(one)
    run(application(people, load_keys(arguments.home)), arguments.port)


if __name__ == "__main__":
    main()
