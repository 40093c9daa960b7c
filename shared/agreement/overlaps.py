"""Versions that would both apply to one line: apart from documents, for who looks for them needs no models."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agreement.agreement import Agreement
from shared.agreement.words import days


def overlapping(new: Agreement, others: Sequence[Agreement]) -> list[tuple[str, str]]:
    """Where `new` and an approved version could both apply to one line, or a version number is taken."""
    findings = []
    for other in others:
        if new.id == other.id and new.currency != other.currency:
            problem = (
                f"version {other.version} of {new.id} is in {other.currency}; another currency is another agreement"
            )
            findings.append(("currency", problem))
        if (new.id, new.version) == (other.id, other.version):
            findings.append(("version", f"{new.id} version {new.version} is already approved; give the next number"))
        elif new.overlaps(other):
            in_force = days(other.begins, other.ends)
            findings.append(("effective", f"overlaps {other.id} version {other.version} ({in_force}); move the dates"))
    return findings
