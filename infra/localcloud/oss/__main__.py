"""Start the local OSS: `python -m infra.localcloud.oss --home DIR --port N`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud import common
from infra.localcloud.faults.service import add_option, of_option
from infra.localcloud.oss.call import Endpoint
from infra.localcloud.oss.state import Store
from infra.localcloud.oss.wire import application
from infra.localcloud.ram.authority import Authority


def main() -> None:
    """Serve the objects under `--home` on loopback until terminated."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.oss", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that keeps keys, clock and objects")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    add_option(parser)
    arguments = parser.parse_args()
    keys = common.load_keys(arguments.home)
    store = Store(arguments.home / "oss", keys.account_id, keys.region)
    authority = Authority(arguments.home, "oss")
    endpoint = Endpoint(keys, store, common.Clock(arguments.home), authority)
    try:
        common.run(application(endpoint, of_option("oss", arguments)), arguments.port)
    finally:
        store.close()
        authority.close()


if __name__ == "__main__":
    main()
