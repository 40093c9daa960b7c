"""Repair rules as ingestion uses them, read from approved documents (repair_document)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from shared.bill.normalise import Repair


def rules_in_force(bodies: Iterable[bytes], payer: str, form: str) -> tuple[Repair, ...]:
    """The rules for a payer's bills of one form; `bodies` are the approved documents in order of approval."""
    newest: dict[str, dict[str, Any]] = {}
    for body in bodies:
        data = json.loads(body)
        newest[data["repair"]] = data
    mine = [
        one
        for _, one in sorted(newest.items())
        if not one["ends"] and payer in (one["payers"] or [payer]) and form in (one["forms"] or [form])
    ]
    return tuple(
        Repair(f"{one['repair']}/{one['version']}", {c: tuple(texts) for c, texts in one["when"].items()}, one["set"])
        for one in mine
    )
