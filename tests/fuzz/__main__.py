"""`python -m tests.fuzz`: search for bytes that break a reader of bills; what is found is kept, and can be replayed.

--seconds N     for how long, of each target
--target T      rows, split, pages, tags or names; without it one after the other
--seed S        of the chance that it goes by; it is printed
--keep FOLDER   where what is found is kept (build/fuzz)
--replay FILE   only give a file to the target, and say what becomes of it
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = ("rows", "split", "pages", "tags", "names")
TOO_LONG_S, TOO_MUCH_MB = 60, 2_500
LENGTH_MAX = 64 * 1024


def main() -> int:
    """The command."""
    said = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    said.add_argument("--seconds", type=int, default=600)
    said.add_argument("--target", choices=TARGETS)
    said.add_argument("--seed", type=int, default=int(time.time()))
    said.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    said.add_argument("--replay", type=Path)
    said.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = said.parse_args()
    if given.replay:
        return _replay(given.replay, given.target)
    if given.inside:
        return _search(given.target, given.inside, given.seconds, given.seed, given.keep)
    given.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name)
        write_seeds(corpus)
        wanted = [given.target] if given.target else TARGETS
        return max(run(target, corpus, given.seconds, given.seed, given.keep) for target in wanted)


def write_seeds(folder: Path) -> None:
    """The seeds of every target, each in a folder of its own, and the payer of the files."""
    from tests.fuzz import seeds

    payer, files = seeds.files()
    texts = {f"{number}": one.encode() for number, one in enumerate((*seeds.TAGS, *seeds.NAMES))}
    pages = {f"{number}": one for number, one in enumerate(seeds.pages())}
    for target, bodies in zip(TARGETS, (files, files, pages, texts, texts), strict=True):
        (folder / target).mkdir()
        for key, body in bodies.items():
            (folder / target / key).write_bytes(body)
    (folder / "payer").write_text(payer)


def run(target: str, corpus: Path, seconds: int, seed: int, keep: Path) -> int:
    """Search in a process of its own, which ends where something breaks; its status."""
    print(f"fuzzing {target} for {seconds} s with seed {seed}", flush=True)
    asked = ["--inside", str(corpus), "--target", target, "--seconds", str(seconds), "--seed", str(seed)]
    return subprocess.run([sys.executable, "-m", "tests.fuzz", *asked, "--keep", str(keep)], check=False).returncode


def _search(target: str, corpus: Path, seconds: int, seed: int, keep: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=["shared.bill", "shared.steps.splitting", "shared.steps.ingest_file"]):
        from tests.fuzz import mutate, targets

    check = targets.known((corpus / "payer").read_text())[target]
    change = mutate.OF[target]

    def changed(body: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 - of no secret
        return change(body, chance, lambda one, _: bytes(atheris.Mutate(one, longest)))[:longest]

    options = [
        f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={TOO_LONG_S}", f"-rss_limit_mb={TOO_MUCH_MB}",
        f"-artifact_prefix={keep}/{target}-", f"-max_len={LENGTH_MAX}", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus / target)], check, custom_mutator=changed)
    atheris.Fuzz()
    return 0


def _replay(path: Path, target: str | None) -> int:
    from tests.fuzz import seeds, targets

    name = target or path.name.partition("-")[0]
    print(json.dumps({"file": path.name, "target": name, "bytes": path.stat().st_size}))
    print(targets.known(os.environ.get("FUZZ_PAYER") or seeds.files()[0])[name](path.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
