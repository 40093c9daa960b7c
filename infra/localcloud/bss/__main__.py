"""`python -m infra.localcloud.bss --home DIR --port N`: serve BSS OpenAPI on loopback until terminated."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.localcloud.bss.wire import DESCRIBE_QPS, application
from infra.localcloud.common import run
from infra.localcloud.faults.service import add_option, of_option


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m infra.localcloud.bss", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds the local cloud's state")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    parser.add_argument(
        "--describe-qps", type=int, default=DESCRIBE_QPS, help="DescribeInstanceBill calls a second per main account"
    )
    add_option(parser)
    arguments = parser.parse_args()
    run(application(arguments.home, arguments.describe_qps, of_option("bss", arguments)), arguments.port)


if __name__ == "__main__":
    main()
