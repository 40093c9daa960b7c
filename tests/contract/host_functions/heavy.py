"""Takes as long to import as a function with the SDKs of a cloud."""

from __future__ import annotations

import time

time.sleep(0.4)


def handler(event: bytes, context: object) -> str:
    time.sleep(0.3 if event == b"slow" else 0)
    return "slept"
