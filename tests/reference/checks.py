"""§11: what adds up (I1)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tests.reference.inputs import ZERO
from tests.reference.lines import Line, billed
from tests.reference.look import Look
from tests.reference.refunds import piece_bases

BEARING = ("commission", "netted", "excluded", "direct", "own_use")  # the kinds that carry a basis


def unexplained(look: Look) -> Iterator[tuple[str, Fraction]]:
    """Each line of the cycle whose basis is not, exactly, that of its settlement lines and its cases."""
    for line in look.lines:
        if line.is_past:
            continue  # its bill was settled elsewhere
        found = sum((row.basis for row in look.rows if row.line_id == line.id and row.kind in BEARING), ZERO)
        found += sum((held.basis or ZERO for held in look.held if held.line_id == line.id), ZERO)
        basis = _basis(line)
        if found != basis:
            yield line.id, found - basis


def _basis(line: Line) -> Fraction:
    """As billed; a refund's pieces are by their charges' bases, and converted with them."""
    if line.pieces:
        return sum((piece_bases(piece.charge)[piece] for piece in line.pieces), ZERO)
    return billed(line) or ZERO
