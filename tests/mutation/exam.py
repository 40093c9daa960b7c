"""What mutants are held against: small months and lives, and the golden ones, with what the model makes of them.

`python -m tests.mutation.exam FILE` writes it, so that it is made once, by code that nobody has changed.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.columnar import connect
from tests.golden.month import folders, read_inputs
from tests.property.packs import Life, lives, pack, undone
from tests.reference.compare import life_by_engine, life_by_model

SEED = 20260701


def make() -> dict[str, bytes]:
    """The questions with their answers: the cheap and telling ones first."""
    asked = {
        "months": pack(lives(SEED, range(60), 1, bounded=20), 1),
        "lives": pack(_refunded(lives(SEED + 1, range(30), bounded=15))),
        "more lives": pack(_refunded(lives(SEED + 2, range(50), bounded=5))),
        **{folder.name: read_inputs(folder) for folder in folders()},
    }
    return {name: pickle.dumps((months, life_by_model(months))) for name, months in asked.items()}


def _refunded(some: list[Life]) -> list[Life]:
    """Each with charges that a later month refunds whole."""
    return [replace(life, bill=[*life.bill, *undone(SEED, life, in_month=0, later=True)]) for life in some]


def is_passed(question: bytes) -> bool:
    """Whether the engine answers as the model did."""
    months, expected = pickle.loads(question)  # noqa: S301 - written by `make` a moment ago
    with TemporaryDirectory() as spill, connect(Path(spill), memory_mb=512, threads=1) as connection:
        found = life_by_engine(connection, months)
    return not any(mine.differences(theirs) for mine, theirs in zip(found, expected, strict=True))


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(make()))
