"""Which local cloud a command works with."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from infra.clearbook.context import environment
from shared.errors import SettingError


def test_a_home_whose_local_cloud_is_not_up_says_how_to_start_it(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"CLEARBOOK_REGION": "cn-hangzhou"}')
    (tmp_path / "lock").touch()

    with pytest.raises(SettingError, match=r"is not up .*start it: clearbook local up --home"):
        environment(tmp_path)

    held = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        assert environment(tmp_path)["CLEARBOOK_REGION"] == "cn-hangzhou"
    finally:
        os.close(held)


def test_a_folder_without_a_local_cloud_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="names no local cloud"):
        environment(tmp_path)
