"""Run the local Tablestore: `python -m infra.localcloud.tablestore --home DIR --port N`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud import common
from infra.localcloud.faults.service import add_option, of_option
from infra.localcloud.ram.authority import Authority
from infra.localcloud.tablestore.state import Store
from infra.localcloud.tablestore.wire import application


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.tablestore", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the local cloud")
    parser.add_argument("--port", type=int, default=0, help="the loopback port; 0 takes a free one")
    add_option(parser)
    arguments = parser.parse_args()
    keys = common.load_keys(arguments.home)
    store = Store(arguments.home / "tablestore", keys.instance, common.Clock(arguments.home))
    authority = Authority(arguments.home, "tablestore")
    try:
        common.run(application(store, keys, authority, of_option("tablestore", arguments)), arguments.port)
    finally:
        store.close()
        authority.close()


if __name__ == "__main__":
    main()
