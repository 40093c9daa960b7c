"""§9: what a statement says, how it is rounded, and what is paid of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.reference.arithmetic import rounded, spread
from tests.reference.inputs import ZERO, Cycle, Known, Payout
from tests.reference.look import Row


@dataclass(frozen=True)
class Group:
    """One line of the statement."""

    customer: str | None
    product: str | None
    rule: str | None
    version: int | None
    kind: str
    exact: Fraction
    rounded: Fraction


@dataclass(frozen=True)
class Tax:
    """What a total comes to with its tax."""

    net: Fraction
    tax: Fraction
    payable: Fraction


@dataclass(frozen=True)
class Payment:
    """What becomes of a balance: paid (withheld from it, the rest transferred), carried on, or forfeited."""

    balance: Fraction
    paid: Fraction = ZERO
    withheld: Fraction = ZERO
    transferred: Fraction = ZERO
    forfeited: Fraction = ZERO
    carried: Fraction = ZERO


_Key = tuple[tuple[bool, bytes], tuple[bool, bytes], tuple[bool, bytes], int, str]


def statement(rows: Sequence[Row], places: int, mode: str) -> tuple[Fraction, tuple[Group, ...]]:
    """The total of one agreement's rows, rounded once, and its lines, which add up to it."""
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        if row.kind not in ("netted", "excluded"):
            key = (_first(row.customer), _first(row.product), _first(row.rule), row.version or 0, row.kind)
            groups.setdefault(key, []).append(row)
    exact = {key: sum((row.amount for row in groups[key]), ZERO) for key in sorted(groups)}
    total = rounded(sum(exact.values(), ZERO), places, mode)

    customers = [[key for key in exact if key[0] == customer] for customer in sorted({key[0] for key in exact})]
    shares = spread(total, [sum((exact[key] for key in mine), ZERO) for mine in customers], places)

    found = []
    for share, mine in zip(shares, customers, strict=True):
        for key, part in zip(mine, spread(share, [exact[key] for key in mine], places), strict=True):
            one = groups[key][0]
            found.append(Group(one.customer, one.product, one.rule, one.version, one.kind, exact[key], part))
    return total, tuple(found)


def _first(text: str | None) -> tuple[bool, bytes]:
    return (text is not None, (text or "").encode())


def taxed(total: Fraction, payout: Payout, places: int, mode: str) -> Tax:
    """The tax on top of a total, or the tax within it."""
    if payout.tax_mode == "inclusive":
        net = rounded(total / (1 + payout.tax_percent / 100), places, mode)
        return Tax(net, total - net, total)
    tax = rounded(total * payout.tax_percent / 100, places, mode)
    return Tax(total, tax, total + tax)


def pay(carried: Fraction, payable: Fraction, payout: Payout, places: int, mode: str, *, invoiced: bool) -> Payment:
    """Pay the balance in full or not at all. `invoiced`: an invoice is entered for the cycle it is paid in."""
    balance = carried + payable
    reaches = balance > 0 and balance >= payout.minimum
    if reaches and (invoiced or not payout.requires_invoice):
        withheld = rounded(balance * payout.withholding_percent / 100, places, mode)
        return Payment(balance, paid=balance, withheld=withheld, transferred=balance - withheld)
    if balance > 0 and not reaches and not payout.carry_forward:
        return Payment(balance, forfeited=balance)
    # Reading: a balance that only waits for its invoice is carried, also where carry_forward is false.
    return Payment(balance, carried=balance)


def account(
    known: Known, agreement: str, months: Sequence[tuple[Cycle, Sequence[Row]]], invoiced: Collection[Cycle] = ()
) -> list[tuple[Cycle, Tax, Payment]]:
    """Statement after statement of one agreement: what one leaves is carried into the next."""
    found = []
    carried: Fraction | None = None
    for cycle, rows in months:
        version = known.last_version(agreement, cycle)
        if carried is None:
            opening = known.opening(version.reseller)
            carried = ZERO if opening is None else opening.balances.get(agreement, ZERO)
        mine = [row for row in rows if row.agreement == agreement]
        total, _ = statement(mine, version.places, version.mode)
        tax = taxed(total, version.payout, version.places, version.mode)
        terms = (version.payout, version.places, version.mode)
        payment = pay(carried, tax.payable, *terms, invoiced=cycle in invoiced)
        carried = payment.carried
        found.append((cycle, tax, payment))
    return found
