"""§3: which charges a refund undoes, and what comes of it: netted, or taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from tests.reference.arithmetic import quotient
from tests.reference.inputs import AMOUNTS, CHARGES, LOOK_BACK, ZERO, Cycle, Known
from tests.reference.lines import Line, Piece, amounts, billed, converted, named, net, order
from tests.reference.look import Look

# --- links --------------------------------------------------------------------------------------------------


def link(looks: Mapping[Cycle, Look], standing: Sequence[Piece], known: Known) -> None:
    """Give each refund its charges, cycle by cycle: by related record, then the exact pairs, then the rest.

    `standing` are the pieces that earlier settlements took of charges no longer looked at.
    """
    by_key: dict[tuple[object, ...], list[Line]] = {}
    by_id: dict[str, Line] = {}
    for cycle in sorted(looks):
        for line in looks[cycle].lines:
            if line.bill.kind in CHARGES:
                by_key.setdefault(_key(line), []).append(line)
                by_id[line.id] = line
    for cycle in sorted(looks):
        _link_cycle(looks[cycle], by_key, by_id, standing, known)


def _link_cycle(
    look: Look,
    by_key: Mapping[tuple[object, ...], list[Line]],
    by_id: Mapping[str, Line],
    standing: Sequence[Piece],
    known: Known,
) -> None:
    def hold(refund: Line, case: str) -> None:
        basis = net(refund)
        if basis is not None:
            basis -= sum((piece_bases(piece.charge)[piece] for piece in refund.pieces), ZERO)
        look.hold(refund, case, basis, known.dismissed.get((refund.id, case)))

    waiting = []
    for refund in look.lines:
        if not refund.is_refund:
            continue
        # Reading: a link to a charge of a cycle that is no longer looked at stays as it was last settled; only
        # what the refund is beyond that is linked afresh, and never to a charge of such a cycle.
        refund.pieces = [piece for piece in standing if piece.refund.id == refund.id]
        pretax = refund.bill.pretax
        if pretax is None:
            hold(refund, "missing_value")
        elif pretax > 0:
            hold(refund, "refund_sign")
        elif pretax == 0 and refund.bill.related is None:
            # Without a related record it has no charge to undo; it only has to be found again.
            _place_zero(look, refund, known)
        else:
            wanted = -pretax + sum((piece.pretax for piece in refund.pieces), ZERO)
            if wanted > 0 or pretax == 0:
                waiting.append((refund, wanted))

    unrelated = []
    for refund, wanted in waiting:
        if refund.bill.related is None:
            unrelated.append((refund, wanted))
            continue
        charge = by_id.get(refund.bill.related)
        # Reading: a record that is named needs neither the refund's key nor an earlier date; but amounts of two
        # currencies cannot be taken from each other, so a record in another currency is no link.
        if charge is None or not _is_open(charge, refund) or charge.bill.currency != refund.bill.currency:
            hold(refund, "unlinked_refund")
        elif charge.left < wanted:
            hold(refund, "refund_exceeds_charge")
        elif not _take(refund, [(charge, wanted)]):
            hold(refund, "missing_value")

    rest = []
    for refund, wanted in unrelated:
        exact = [charge for charge in _open_charges(by_key, refund) if charge.left == wanted]
        if not exact:
            rest.append((refund, wanted))
        elif not _take(refund, [(exact[-1], wanted)]):
            hold(refund, "missing_value")

    for refund, wanted in rest:
        still_open = _open_charges(by_key, refund)
        if not still_open:
            hold(refund, "unlinked_refund")
        elif sum((charge.left for charge in still_open), ZERO) < wanted:
            hold(refund, "refund_exceeds_charge")
        else:
            parts: list[tuple[Line, Fraction]] = []
            for charge in reversed(still_open):
                part = min(charge.left, wanted)
                if part > 0:
                    parts.append((charge, part))
                wanted -= part
            if not _take(refund, parts):
                hold(refund, "missing_value")


def _key(line: Line) -> tuple[object, ...]:
    bill = line.bill
    place = (bill.account, bill.product_code, bill.commodity_code, bill.billing_item_code, bill.instance_id)
    return (*place, bill.subscription_type, bill.currency)


def _is_open(charge: Line, refund: Line) -> bool:
    return 0 <= refund.cycle.since(charge.cycle) <= LOOK_BACK and charge.left > 0


def _open_charges(by_key: Mapping[tuple[object, ...], list[Line]], refund: Line) -> list[Line]:
    """Charges of the key dated no later than the refund that have something left, oldest first."""
    mine = by_key.get(_key(refund), [])
    return sorted((c for c in mine if c.day <= refund.day and _is_open(c, refund)), key=order)


def _take(refund: Line, parts: Sequence[tuple[Line, Fraction]]) -> bool:
    """Cut the refund into a piece for each charge; False, and nothing taken, where an amount is missing."""
    rest = amounts(refund.bill)
    if any(named(rest, charge.basis_name) is None for charge, _ in parts):
        return False
    for name in AMOUNTS:
        for piece in refund.pieces:
            whole_part, part_of_it = rest[name], piece.amounts[name]
            rest[name] = None if whole_part is None or part_of_it is None else whole_part - part_of_it

    whole = sum((part for _, part in parts), ZERO)
    covered = ZERO
    so_far: dict[str, Fraction] = dict.fromkeys(AMOUNTS, ZERO)
    for number, (charge, part) in enumerate(parts, len(refund.pieces)):
        covered += part
        found: dict[str, Fraction | None] = {}
        for name, amount in rest.items():
            if amount is None:
                found[name] = None
                continue
            # The running sum is cut, not the piece, so the pieces add up; the last one ends on the whole.
            running = amount if covered == whole else quotient(amount * covered / whole)
            found[name] = running - so_far[name]
            so_far[name] = running
        found["pretax"] = -part
        if refund.bill.usage_unit != charge.bill.usage_unit:
            found["usage"] = None  # usage of another unit says nothing of the charge's
        piece = Piece(refund, charge, number, found, _is_netted(refund, charge))
        charge.taken.append(piece)
        refund.pieces.append(piece)
    return True


def _is_netted(refund: Line, charge: Line) -> bool:
    policy = charge.policy
    if policy.take_back == "rerate":
        return True
    if refund.cycle != charge.cycle or policy.within != "same_month":
        return False
    return policy.window_days is None or (refund.day - charge.day).days <= policy.window_days


def _place_zero(look: Look, refund: Line, known: Known) -> None:
    if refund.assignment is None:
        # Reading: nobody's account is a case whatever its line says, be it nothing.
        case = "unmapped_account"
        look.hold(refund, case, net(refund), known.dismissed.get((refund.id, case)))
    else:
        # Reading: with no charge there is no basis that it would need another amount for.
        look.add(refund, refund, "netted", billed(refund) or ZERO)


# --- netted -------------------------------------------------------------------------------------------------


def net_lines(look: Look) -> None:
    """Write down what each refund of the cycle is, and what netting took of each charge of the cycle."""
    for line in look.lines:
        for piece in line.pieces:
            look.add(line, piece.charge, "netted", piece_bases(piece.charge)[piece], piece=piece.number)
        if not any(piece.netted for piece in line.taken):
            continue
        whole, rest = billed(line), net(line)
        if whole is None or rest is None:
            # Reading: nothing can be netted off an amount that is not there.
            look.add(line, line, "netted", ZERO)
        elif line.is_gone:
            # The whole of it goes, also what the refund's amount may have left of a basis other than pretax.
            look.add(line, line, "netted", whole)
        else:
            look.add(line, line, "netted", whole - rest)


def piece_bases(charge: Line) -> dict[Piece, Fraction]:
    """What each refund's piece is of the basis: converted with its charge, netted pieces first (§2)."""
    found = {}
    left = named(amounts(charge.bill), charge.basis_name) or ZERO
    for piece in sorted(charge.taken, key=lambda piece: (not piece.netted, _place(piece))):
        part = named(piece.amounts, charge.basis_name)
        assert part is not None, "a refund without the amount takes nothing"
        found[piece] = converted(charge, left + part) - converted(charge, left)
        left += part
    return found


def _place(piece: Piece) -> tuple[object, ...]:
    return (piece.refund.cycle, order(piece.refund), piece.number)


# --- taken back ---------------------------------------------------------------------------------------------


def take_back(looks: Mapping[Cycle, Look], cycle: Cycle) -> None:
    """Write down what refunds that are not netted take back of what the cycle's charges earned."""
    look = looks[cycle]
    groups: dict[tuple[object, ...], list[Line]] = {}
    for line in look.lines:
        if line.fixed_key is not None:
            groups.setdefault(line.fixed_key, []).append(line)
        elif line.rule is not None:
            _take_back_in_proportion(look, line, earned(line, looks))
    for group in groups.values():
        _take_back_whole(look, group, sum((earned(line, looks) for line in group), ZERO))


def earned(charge: Line, looks: Mapping[Cycle, Look]) -> Fraction:
    """E: its commission lines, line bounds, shares of wider bounds and of retroactive lines."""
    shares = sum((share for _, share in charge.shares), ZERO)
    later = sum((look.retroactive.get(charge.id, ZERO) for look in looks.values()), ZERO)
    return charge.commission + shares + later


def _take_back_in_proportion(look: Look, charge: Line, whole: Fraction) -> None:
    def due(taken: Fraction) -> Fraction:
        return whole if taken == charge.net_pretax else quotient(whole * taken / charge.net_pretax)

    taken = charge.taken_before
    for piece in sorted((piece for piece in charge.taken if not piece.netted), key=_place):
        before, taken = taken, taken - piece.pretax
        _add_taken_back(look, piece, due(taken) - due(before))


def _take_back_whole(look: Look, group: Sequence[Line], whole: Fraction) -> None:
    """A fixed amount comes back with the refund that leaves nothing of the lines it was earned for.

    Reading: a line that never was to be paid (pretax 0) is not refunded by that; while it stands, so does the
    amount, as it would if the refunds had been netted.
    """
    left = {line: line.net_pretax for line in group}
    standing = {line for line in group if not any(not piece.netted for piece in line.taken)}
    for piece in sorted((piece for line in group for piece in line.taken if not piece.netted), key=_place):
        left[piece.charge] += piece.pretax
        if not standing and all(amount == 0 for amount in left.values()):
            _add_taken_back(look, piece, whole)
            return


def _add_taken_back(look: Look, piece: Piece, amount: Fraction) -> None:
    charge = piece.charge
    # Reading: a refund that takes nothing back leaves no line.
    if amount == 0 or charge.rule is None:
        return
    look.add(
        piece.refund,
        charge,
        "adjustment",
        ZERO,
        piece=piece.number,
        product=charge.bill.product_code,
        rule=charge.rule.id,
        amount=-amount,
        corrects="adjustment",
        reason="taken back",
    )
