"""The bench of the chain measures what it says, at a size that takes seconds."""

from __future__ import annotations

import pytest

from infra.clearbook.bench import chain


def test_the_figures_of_the_chain_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APPENDS": 40, "TURNS": 2, "ENTRIES": 30, "APPROVALS": 10, "STREAM_ENTRIES": 50}.items():
        monkeypatch.setattr(chain, name, value)
    figures = chain.measure(220)

    assert figures["entries"] == 220
    measured = ("append_ratio", "append_per_s", "put_row_per_s", "approvals_s", "approval_anew_s", "verify_s")
    assert all(figures[name] > 0 for name in measured)
    assert figures.keys() >= chain.TARGETS.keys()
