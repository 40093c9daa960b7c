"""Which charge a refund undoes, in figures that can be checked in the head."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.settlement.refunds import EXCEEDS, UNLINKED, Charge, Links, Refund, in_proportion, link

KEY = ("account", "ecs")


def charge(line_id: str, pretax: str, *, day: int = 1, key: tuple[object, ...] = KEY) -> Charge:
    """A charge whose place in the order is the number in its id."""
    return Charge(line_id, key, 0, date(2026, 7, day), int(line_id[1:]), Decimal(pretax))


def refund(line_id: str, pretax: str, *amounts: str | None, day: int = 9, key: tuple[object, ...] = KEY) -> Refund:
    """A refund that stands after every charge, in the order of the number in its id."""
    others = tuple(None if one is None else Decimal(one) for one in amounts)
    return Refund(line_id, key, 0, date(2026, 7, day), 1000 + int(line_id[1:]), Decimal(pretax), others)


def taken(links: Links) -> list[tuple[str, str, object]]:
    """(refund, charge, what it takes), in order of the refunds."""
    pieces = sorted(links.pieces, key=lambda piece: piece.refund)
    return [(piece.refund, piece.charge, -piece.pretax) for piece in pieces]


def test_a_refund_undoes_the_charge_it_equals() -> None:
    links = link([charge("c1", "10"), charge("c2", "20"), charge("c3", "30")], [refund("r1", "-20")])

    assert taken(links) == [("r1", "c2", 20)]
    assert links.cases == []


def test_of_several_equal_charges_it_undoes_the_latest() -> None:
    charges = [charge("c1", "10", day=1), charge("c2", "10", day=2), charge("c3", "10", day=5)]

    assert taken(link(charges, [refund("r1", "-10")])) == [("r1", "c3", 10)]
    assert taken(link(charges, [refund("r1", "-10", day=4)])) == [("r1", "c2", 10)]
    assert taken(link(charges, [refund("r1", "-10"), refund("r2", "-10")])) == [("r1", "c3", 10), ("r2", "c2", 10)]


def test_a_charge_of_the_same_day_counts_and_one_of_the_next_day_does_not() -> None:
    assert taken(link([charge("c1", "10", day=9)], [refund("r1", "-10")])) == [("r1", "c1", 10)]
    assert link([charge("c1", "10", day=10)], [refund("r1", "-10")]).cases == [("r1", UNLINKED)]


def test_exact_pairs_are_made_before_anything_is_taken_in_part() -> None:
    charges = [charge("c1", "10"), charge("c2", "30")]
    refunds = [refund("r1", "-5"), refund("r2", "-30")]

    assert taken(link(charges, refunds)) == [("r1", "c1", 5), ("r2", "c2", 30)]


def test_the_rest_takes_from_the_newest_until_covered() -> None:
    charges = [charge("c1", "10"), charge("c2", "20"), charge("c3", "30")]

    assert taken(link(charges, [refund("r1", "-45")])) == [("r1", "c3", 30), ("r1", "c2", 15)]
    assert taken(link(charges, [refund("r1", "-60")])) == [("r1", "c3", 30), ("r1", "c2", 20), ("r1", "c1", 10)]


def test_what_is_left_by_one_refund_is_there_for_the_next() -> None:
    links = link([charge("c1", "10"), charge("c2", "30")], [refund("r1", "-25"), refund("r2", "-8")])

    assert taken(links) == [("r1", "c2", 25), ("r2", "c2", 5), ("r2", "c1", 3)]


def test_a_refund_that_equals_a_remainder_only_after_others_took_is_no_exact_pair() -> None:
    # r1 leaves 10 of c1. When exact pairs are sought c1 still has 30, so r2 is one of the rest and takes the newest.
    charges = [charge("c1", "30", day=1), charge("c2", "40", day=5)]
    refunds = [refund("r1", "-20", day=2), refund("r2", "-10")]

    assert taken(link(charges, refunds)) == [("r1", "c1", 20), ("r2", "c2", 10)]


def test_a_refund_without_a_charge_of_its_key_is_unlinked() -> None:
    links = link([charge("c1", "10", key=("account", "oss"))], [refund("r1", "-10")])

    assert (links.pieces, links.cases) == ([], [("r1", UNLINKED)])


def test_a_charge_with_nothing_left_is_no_charge() -> None:
    links = link([charge("c1", "10")], [refund("r1", "-10"), refund("r2", "-1")])

    assert taken(links) == [("r1", "c1", 10)]
    assert links.cases == [("r2", UNLINKED)]


def test_a_refund_above_all_that_is_left_takes_nothing() -> None:
    links = link([charge("c1", "10"), charge("c2", "20")], [refund("r1", "-30.01"), refund("r2", "-5")])

    assert taken(links) == [("r2", "c2", 5)]
    assert links.cases == [("r1", EXCEEDS)]


def test_a_refund_of_nothing_has_neither_pieces_nor_a_case() -> None:
    assert link([charge("c1", "10")], [refund("r1", "0")]) == Links([], [])


def test_an_absent_key_field_is_a_key_of_its_own() -> None:
    charges = [charge("c1", "10", key=("account", None)), charge("c2", "10", key=("account", ""))]

    assert taken(link(charges, [refund("r1", "-10", key=("account", None))])) == [("r1", "c1", 10)]


def test_the_other_amounts_of_a_refund_are_cut_in_proportion() -> None:
    charges = [charge("c1", "30"), charge("c2", "50")]

    pieces = link(charges, [refund("r1", "-70", "-84", None)]).pieces

    assert [piece.number for piece in pieces] == [0, 1]
    assert [piece.amounts for piece in pieces] == [(Decimal(-60), None), (Decimal(-24), None)]


def test_the_running_sum_is_cut_at_ten_places_and_the_last_piece_is_the_rest() -> None:
    charges = [charge(f"c{number}", "1") for number in (1, 2, 3)]

    pieces = link(charges, [refund("r1", "-3", "-2")]).pieces

    # 2/3 and 4/3 of the running sum: 0.6666666667 and 1.3333333333.
    assert [piece.amounts[0] for piece in pieces] == [
        Decimal("-0.6666666667"),
        Decimal("-0.6666666666"),
        Decimal("-0.6666666667"),
    ]


@pytest.mark.parametrize(("other", "first"), [("-0.0000000001", "-0.0000000001"), ("0.0000000001", "0.0000000001")])
def test_the_half_of_the_last_place_goes_away_from_zero(other: str, first: str) -> None:
    pieces = link([charge("c1", "1"), charge("c2", "1")], [refund("r1", "-2", other)]).pieces

    assert [piece.amounts[0] for piece in pieces] == [Decimal(first), 0]


def test_the_order_in_which_lines_are_given_changes_nothing() -> None:
    charges = [charge("c1", "10"), charge("c2", "20"), charge("c3", "20")]
    refunds = [refund("r1", "-25"), refund("r2", "-20"), refund("r3", "-9")]

    assert link(charges[::-1], refunds[::-1]) == link(charges, refunds)


def test_what_rounding_gave_too_much_is_taken_from_the_part_that_got_most_of_it() -> None:
    parts = in_proportion(Decimal(1), [Decimal(5), Decimal(1), Decimal(1)])

    # 0.7142857143 is 0.14 units too much, 0.1428571429 is 0.43: the first of these gives the unit back.
    assert parts == [Decimal("0.7142857143"), Decimal("0.1428571428"), Decimal("0.1428571429")]
