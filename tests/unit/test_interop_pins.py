"""The pins of the clients that the local cloud is checked with."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "interop"


def test_the_clients_are_pinned_by_content_and_not_by_address() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert packages
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_every_client_is_asked_for_in_one_exact_version() -> None:
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]

    assert wanted
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
