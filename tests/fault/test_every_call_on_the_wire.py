"""Every kind of outside call of every function goes wrong once, in every way the plan knows, over the real protocols.

The demo's month in small: its cast, documents and troubles, live from the 30th on, without drafts; of the deliveries
to a function that make the same kinds of calls (the settlements of three resellers, say) the longest, and of its calls
of one kind to one place the first. One of thirteen such cases is tried here. `make faults` goes through every call of
each such delivery, in every way, drafts among them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF = 17  # of no common factor with the ways a call can fail
MONTH = ("--since", "30", "--no-drafts", "--distinct", "--kinds")
TIMEOUT_S = 1500


def test_whichever_kind_of_call_goes_wrong_in_whichever_way_the_clean_run_comes_of_it(
    record_property: Callable[[str, object], None],
) -> None:
    command = [sys.executable, "-m", "tests.fault.stage", *MONTH, "--shard", f"1/{OF}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 0, "\n".join([*said[-20:], done.stderr[-2000:]])
    result = json.loads(said[-1])
    record_property("figures", said[-1])
    assert result["differing"] == result["ungranted"] == 0
    assert {"bad_line", "source_mismatch"} <= set(result["open"])  # what is read of them was granted too
    assert result["cases"] > 120
    assert len(result["by_fault"]) >= 13
