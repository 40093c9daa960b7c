"""What mutants are held against: small months and lives, with what the reference model makes of them.

`python -m tests.mutation.exam FILE` writes it, so that it is made once, by code that nobody has changed.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.columnar import connect
from tests.property.packs import lives, pack
from tests.reference.compare import life_by_engine, life_by_model

SEED = 20260701


def make() -> dict[str, bytes]:
    """The questions with their answers: the cheap and telling ones first."""
    asked = {
        "months": pack(lives(SEED, range(60), 1, bounded=20), 1),
        "lives": pack(lives(SEED + 1, range(25), bounded=15)),
        "more lives": pack(lives(SEED + 2, range(60), bounded=5)),
    }
    return {name: pickle.dumps((months, life_by_model(months))) for name, months in asked.items()}


def is_passed(question: bytes) -> bool:
    """Whether the engine answers as the model did."""
    months, expected = pickle.loads(question)  # noqa: S301 - written by `make` a moment ago
    with TemporaryDirectory() as spill, connect(Path(spill), memory_mb=512, threads=1) as connection:
        found = life_by_engine(connection, months)
    return not any(mine.differences(theirs) for mine, theirs in zip(found, expected, strict=True))


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(make()))
