"""Small months whose every figure is written out by hand in their README, through the engine and the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.columnar import connect
from tests.golden.month import folders, read_inputs, read_results, written
from tests.reference.compare import life_by_engine, life_by_model


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_golden_month_settles_as_written_down(folder: Path, tmp_path: Path) -> None:
    months, expected = read_inputs(folder), read_results(folder)

    with connect(tmp_path) as connection:
        settled = life_by_engine(connection, months)

    assert written(months, settled) == expected
    assert written(months, life_by_model(months)) == expected
