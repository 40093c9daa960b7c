"""`clearbook local up`: the local cloud until it is stopped."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from infra.clearbook.context import start_local
from infra.clearbook.main import write_json

_LOOK_S = 1.0


def up(home: Path, json_to: str | None) -> None:
    """Start, say where everything answers, and wait for the end."""
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ending.append(received))
    with start_local(home) as cloud:
        if json_to is None:
            for service, settings in cloud.endpoints().items():
                print(service)
                for name, value in settings.items():
                    print(f"  {name}: {value}")
            print(f"state in {cloud.home}; stop with Ctrl-C")
        else:
            write_json(cloud.endpoints(), json_to)
        sys.stdout.flush()
        while not ending:
            cloud.check()
            time.sleep(_LOOK_S)  # a signal ends the sleep
