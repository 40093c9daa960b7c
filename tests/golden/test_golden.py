"""Small months whose every figure is written out by hand in their README, through the engine and the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.columnar import connect
from tests.golden.month import months, read_inputs, read_results, written
from tests.reference.compare import by_engine, by_model


@pytest.mark.parametrize("folder", months(), ids=lambda folder: folder.name)
def test_golden_month_settles_as_written_down(folder: Path, tmp_path: Path) -> None:
    inputs, expected = read_inputs(folder), read_results(folder)

    with connect(tmp_path) as connection:
        settled = by_engine(connection, inputs)

    assert written(settled) == expected
    assert written(by_model(inputs)) == expected
