"""Fails in every way a function can."""

from __future__ import annotations

import os
import time


def handler(event: bytes, context: object) -> str:
    if event == b"raise":
        raise KeyError("no such agreement")
    if event == b"exit":
        os._exit(3)
    if event == b"sleep":
        time.sleep(30)
    if event == b"memory":
        _ = b"x" * (160 << 20)
    if event == b"unserialisable":
        return object()  # type: ignore[return-value]
    return "fine"


def initialize(context: object) -> None:
    raise RuntimeError("no settings")
