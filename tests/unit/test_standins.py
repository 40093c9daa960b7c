"""Stand-ins are there in their block alone, for what is not loaded yet."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from shared.cloud.standins import standing_in


def test_in_the_block_an_import_gives_the_stand_in_and_afterwards_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    given = SimpleNamespace(hue=1)
    with standing_in(colorsys=given):
        import colorsys as inside
        from colorsys import hue  # type: ignore[attr-defined]
    import colorsys as after

    assert inside is given  # type: ignore[comparison-overlap]
    assert hue == 1
    assert after.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_none_says_that_there_is_no_such_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with standing_in(colorsys=None), pytest.raises(ModuleNotFoundError):
        import colorsys

    import colorsys

    assert colorsys.__name__ == "colorsys"


def test_what_is_loaded_already_is_left_alone_and_stays() -> None:
    with standing_in(json=None):
        import json as inside

    assert inside is json
    assert sys.modules["json"] is json


def test_the_sdks_load_without_what_is_never_used_and_leave_it_to_be_loaded_by_others() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True, timeout=60
    ).stdout  # fmt: skip
    assert said.split() == ["[]", "aiohttp.client", "numpy", "cffi", "oss2.crypto_bucket"]


_LOADED = """
import sys
import shared.cloud.oss, shared.cloud.tablestore
print([one for one in ("aiohttp", "numpy", "cffi", "aliyunsdkcore") if one in sys.modules])
import aiohttp, numpy, cffi
from oss2.crypto_bucket import CryptoBucket
print(aiohttp.ClientSession.__module__, numpy.__name__, cffi.__name__, CryptoBucket.__module__)
"""
