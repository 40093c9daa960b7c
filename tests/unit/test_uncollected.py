"""The collector rests while an SDK is imported, and takes what was imported for old."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.cloud.uncollected import uncollected


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    sys.modules.pop("an_sdk", None)


def test_the_collector_rests_in_the_block_and_works_after_it() -> None:
    with uncollected():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_it_works_after_a_block_that_raises() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError

    assert gc.isenabled()


def test_blocks_may_lie_in_one_another() -> None:
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_was_imported_is_among_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_sdk.py").write_text("thing = []\n")
    monkeypatch.syspath_prepend(tmp_path)

    with uncollected():
        import an_sdk  # type: ignore[import-not-found]

    assert any(one is an_sdk.thing for one in gc.get_objects(generation=2))
    assert gc.get_freeze_count() == 0
