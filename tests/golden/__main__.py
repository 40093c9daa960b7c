"""`python -m tests.golden` writes down anew what the engine finds, for a person to read as a diff.

It writes nothing for a folder on whose months the reference model disagrees.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.columnar import connect
from tests.golden.month import folders, read_inputs, written
from tests.reference.compare import life_by_engine, life_by_model


def main() -> int:
    """Rewrite the expected files of every golden folder."""
    failed = 0
    with TemporaryDirectory() as spill, connect(Path(spill)) as connection:
        for folder in folders():
            months = read_inputs(folder)
            found, expected = life_by_engine(connection, months), life_by_model(months)
            differences = [
                one for mine, theirs in zip(found, expected, strict=True) for one in mine.differences(theirs)
            ]
            if differences:
                failed += 1
                print(f"{folder.name}: not written, engine and model differ\n" + "\n".join(differences))
                continue
            for name, text in written(months, found).items():
                (folder / name).write_text(text, encoding="utf-8")
            print(f"{folder.name}: written")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
