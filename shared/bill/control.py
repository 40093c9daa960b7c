"""Control totals: the provider's own sums beside those of the lines, per owner account, product and currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from shared.errors import BadInputError
from shared.money import NotAnAmountError, amount, text

Group = tuple[str, str, str]  # owner account, product code, currency
OVERVIEW, MONTHLY = "overview", "monthly"  # QueryBillOverview; DescribeInstanceBill by month and billing item
BOTH = f"{OVERVIEW}, {MONTHLY}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A group whose lines do not sum to the provider's control total, in exact text."""

    account: str
    product: str
    currency: str
    lines: str
    control: str
    difference: str
    cause: str  # "round_down" where the provider's own rounding discount is exactly the difference, else ""
    against: str = OVERVIEW  # which controls say so: overview, monthly, or both


@dataclass(frozen=True, slots=True)
class Control:
    """A control total and the round-down discount in it."""

    pretax: Decimal
    round_down: Decimal


def overview_totals(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[Group, Control], list[str]]:
    """The sums of a control's rows by group, and a sentence for each row that cannot be read.

    Rows of either control differ in more than the group. One that cannot be read must not keep a bill from being
    sealed: it is a difference like any other.
    """
    totals: dict[Group, Control] = {}
    problems = []
    for number, row in enumerate(rows):
        where = f"control row {number}"
        try:
            group = (_text(row, "OwnerID", where), _text(row, "ProductCode", where), _text(row, "Currency", where))
            pretax, round_down = _amount(row, "PretaxAmount", where), _amount(row, "RoundDownDiscount", where)
        except BadInputError as exc:
            problems.append(f"{exc.place}: {exc.problem}")
            continue
        before = totals.get(group, Control(Decimal(0), Decimal(0)))
        totals[group] = Control(before.pretax + pretax, before.round_down + round_down)
    return totals, problems


def unreadable(problems: Iterable[str], against: str = OVERVIEW) -> list[Difference]:
    """Control rows that cannot be read, as differences without an amount."""
    return [Difference("", problem, "", "0", "0", "0", "", against) for problem in problems]


def compare_all(lines: Mapping[Group, Decimal], controls: Mapping[str, Mapping[Group, Control]]) -> list[Difference]:
    """Every group where the lines disagree with a control, in order; once where two controls say the same."""
    overview = compare(lines, controls[OVERVIEW])
    if MONTHLY not in controls:
        return overview
    monthly = {(one.account, one.product, one.currency): one for one in compare(lines, controls[MONTHLY], MONTHLY)}
    found = []
    for one in overview:
        other = monthly.get((one.account, one.product, one.currency))
        if other is not None and replace(other, against=OVERVIEW) == one:
            del monthly[one.account, one.product, one.currency]
            one = replace(one, against=BOTH)
        found.append(one)
    return sorted([*found, *monthly.values()], key=lambda one: (one.account, one.product, one.currency, one.against))


def moved(before: Mapping[Group, Control], now: Mapping[Group, Control]) -> list[Group]:
    """The groups whose control totals differ between two looks, in order."""
    nothing = Control(Decimal(0), Decimal(0))
    groups = sorted(before.keys() | now.keys())
    return [group for group in groups if before.get(group, nothing).pretax != now.get(group, nothing).pretax]


def totals_as_json(totals: Mapping[Group, Control]) -> list[list[Any]]:
    """Control totals as plain data, in order."""
    return [[*group, one.pretax, one.round_down] for group, one in sorted(totals.items())]


def totals_from_json(rows: Iterable[Iterable[Any]]) -> dict[Group, Control]:
    """Control totals from plain data."""
    return {
        (account, product, currency): Control(Decimal(pretax), Decimal(round_down))
        for account, product, currency, pretax, round_down in rows
    }


def compare(
    lines: Mapping[Group, Decimal], controls: Mapping[Group, Control], against: str = OVERVIEW
) -> list[Difference]:
    """Every group where the two disagree, in order; there is no tolerance."""
    found = []
    for group in sorted(lines.keys() | controls.keys()):
        ours = lines.get(group, Decimal(0))
        theirs = controls.get(group, Control(Decimal(0), Decimal(0)))
        difference = ours - theirs.pretax
        if difference != 0:
            cause = "round_down" if difference == theirs.round_down else ""
            found.append(Difference(*group, text(ours), text(theirs.pretax), text(difference), cause, against))
    return found


def as_json(differences: Iterable[Difference]) -> list[dict[str, str]]:
    """The differences as plain data."""
    return [asdict(difference) for difference in differences]


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadInputError(where, f"{name} is {value!r}", "expected a text")
    return value.strip()


def _amount(row: Mapping[str, Any], name: str, where: str) -> Decimal:
    value = row.get(name)
    if value is None or value == "":
        return Decimal(0)
    try:
        return amount(value)
    except NotAnAmountError as exc:
        raise BadInputError(where, f"{name}: {exc}", "the raw bytes are kept; ask the provider") from exc
