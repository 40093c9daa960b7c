"""What changed against the period before and why, in sentences that say nothing but what the facts hold.

Every figure is computed exactly and rounded once, half up, where it is written: amounts to the decimals of their
currency, percents to whole ones from 10 on and to one decimal below. A percent is only said of two amounts above 0:
of a zero, a credit balance or a change of sign only the amounts are. Usage and what is apart from it (refunds,
credits, adjustments, bounds) are told apart. Months are of unequal length: that is said, and nothing scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from shared.errors import BadInputError
from shared.money import EXACT, Mode, rounded, text
from shared.reference.currencies import known, minor_units
from shared.report.language import LANGUAGES, Names, figure, kind_label, label

if TYPE_CHECKING:
    import duckdb

AMOUNTS = ("price", "cost", "commission")  # of a fact, that a story can be of
SENTENCES_MAX = 6
CURRENCIES_MAX = 2  # that are told; others are named
_PERCENT_MAX = 999  # above it a percent says less than the amounts
_USAGE = "kind IN ('usage', 'subscription')"
_KINDS = ("refund", "chargeback", "credit", "adjustment")  # first, in this order
Say = Callable[[str], str]  # language -> text


@dataclass(frozen=True, slots=True)
class _Pair:
    """An amount in both periods, and how many lines it is of."""

    now: Decimal
    before: Decimal
    lines_now: int
    lines_before: int

    @property
    def change(self) -> Decimal:
        return EXACT.subtract(self.now, self.before)


def tell(
    connection: duckdb.DuckDBPyConnection, now: str = "now", before: str = "before", amount: str = "price"
) -> list[Names]:
    """At most SENTENCES_MAX sentences, each in every language, about two tables of facts; none where both are empty.

    `amount` is one of AMOUNTS; another is a BadInputError.
    """
    if amount not in AMOUNTS:
        raise BadInputError("amount", f"{amount!r} is no amount of a fact", f"name one of {', '.join(AMOUNTS)}")
    both = f"(SELECT *, true AS is_now FROM {now} UNION ALL BY NAME SELECT *, false AS is_now FROM {before})"  # noqa: S608
    teller = _Teller(connection, both, amount)
    notes = teller.notes()
    currencies = teller.currencies()
    if len(currencies) > CURRENCIES_MAX:
        rest = ", ".join(currencies[CURRENCIES_MAX:])
        notes.append(_names(lambda one: label("story.more", one, currencies=rest)))
    told = currencies[:CURRENCIES_MAX]
    firsts = {one: teller.total(one) for one in told}
    lasts = {one: teller.apart(one) for one in told}
    left = SENTENCES_MAX - len(notes) - len(told) - sum(map(len, lasts.values()))
    found: list[Names] = []
    for place, one in enumerate(told):
        # What one currency leaves the next one has.
        movers = teller.movers(one, max(left // (len(told) - place), 0))
        left -= len(movers)
        found += [firsts[one], *movers, *lasts[one]]
    return [*found, *notes][:SENTENCES_MAX]


@dataclass(frozen=True, slots=True)
class _Teller:
    """Two periods of facts in one relation, told apart by `is_now`."""

    connection: duckdb.DuckDBPyConnection
    both: str
    amount: str

    def currencies(self) -> list[str]:
        """Those of any amount, in order of their codes."""
        rows = self.connection.execute(
            f"SELECT DISTINCT currency FROM {self.both} "  # noqa: S608
            f"WHERE {self.amount} IS NOT NULL AND currency IS NOT NULL ORDER BY 1"
        ).fetchall()
        return [str(one) for (one,) in rows]

    def total(self, currency: str) -> Names:
        """All of a currency."""
        [(_, one)] = self._pairs("''", currency, "true")
        now, before = _money(one.now, currency), _money(one.before, currency)
        if one.lines_before == 0:
            return _names(lambda said: label("story.total_first", said, now=now))
        if one.lines_now == 0:
            return _names(lambda said: label("story.total_none", said, before=before))
        way = "same" if _rounded(one.change, currency) == 0 else "up" if one.change > 0 else "down"
        change = _change("story.change", one, currency)
        return _names(lambda said: label(f"story.total_{way}", said, now=now, change=change(said)))

    def movers(self, currency: str, count: int) -> list[Names]:
        """The products whose usage changed most, with what drove each."""
        pairs = self._pairs("coalesce(product_name, product_code, '')", currency, _USAGE)
        moved = [(name, one) for name, one in pairs if _rounded(one.change, currency) != 0]
        moved.sort(key=_largest_first)
        return [self._mover(name, one, currency) for name, one in moved[:count]]

    def apart(self, currency: str) -> list[Names]:
        """Refunds, credits, adjustments and bounds of this period, if any."""
        pairs = self._pairs("kind", currency, f"NOT coalesce({_USAGE}, false)")
        here = [(kind, one) for kind, one in pairs if one.lines_now]
        if not here:
            return []
        here.sort(key=lambda pair: (_KINDS.index(pair[0]) if pair[0] in _KINDS else len(_KINDS), pair[0]))
        before = Decimal(0)
        for _, one in pairs:
            before = EXACT.add(before, one.before)

        def item(kind: str, one: _Pair, said: str) -> str:
            named, lines = kind_label("story.kind", kind, said), _lines(one.lines_now, said)
            return label("story.item", said, kind=named, amount=_money(one.now, currency), lines=lines)

        def say(said: str) -> str:
            items = label("story.and", said).join(item(kind, one, said) for kind, one in here)
            return label("story.apart", said, items=items, before=_money(before, currency))

        return [_names(say)]

    def notes(self) -> list[Names]:
        """What the figures do not hold, and that periods are of unequal length."""
        [(now, before, days_now, days_before)] = self.connection.execute(
            f"""SELECT count(*) FILTER (is_now AND {self.amount} IS NULL AND list_amount IS NOT NULL),
                       count(*) FILTER (NOT is_now AND {self.amount} IS NULL AND list_amount IS NOT NULL),
                       count(DISTINCT date) FILTER (is_now AND {_USAGE}),
                       count(DISTINCT date) FILTER (NOT is_now AND {_USAGE}) FROM {self.both}"""  # noqa: S608
        ).fetchall()
        found = []
        if now or before:

            def say(said: str) -> str:
                what = label(f"story.what.{self.amount}", said)
                return label("story.unknown", said, what=what, now=_lines(now, said), before=_lines(before, said))

            found.append(_names(say))
        if days_now and days_before and days_now != days_before:
            found.append(_names(lambda said: label("story.days", said, now=days_now, before=days_before)))
        return found

    def _mover(self, product: str, one: _Pair, currency: str) -> Names:
        driver = self._driver(product, one, currency)
        now, before = _money(one.now, currency), _money(one.before, currency)
        change = _change("story.moved", one, currency)
        if one.lines_before == 0:
            kind = "new"
        elif one.lines_now == 0:
            kind = "gone"
        else:
            kind = "up" if one.change > 0 else "down"

        def say(said: str) -> str:
            named = product or label("story.no_product", said)
            values = {"product": named, "now": now, "before": before, "change": change(said), "driver": driver(said)}
            return label(f"story.{kind}", said, **values)

        return _names(say)

    def _driver(self, product: str, whole: _Pair, currency: str) -> Say:
        """What more than half of a change comes from: one instance that came or went, a region, or an account."""
        where = f"{_USAGE} AND coalesce(product_name, product_code, '') = ?"
        if whole.lines_now and whole.lines_before:
            for instance, one in self._pairs("instance_id", currency, f"{where} AND instance_id IS NOT NULL", product):
                if _is_most(one, whole) and (one.lines_before == 0 or one.lines_now == 0):
                    kind = "by_new" if one.lines_before == 0 else "by_gone"
                    return _driven(kind, whole, one, instance=instance)
        codes = self._pairs("coalesce(product_code, '')", currency, where, product)
        pair = "coalesce(product_code, '') || chr(31) || coalesce(region, '')"
        for name, one in self._pairs(pair, currency, where, product):
            code, _, region = name.partition("\x1f")
            if _is_most(one, whole) and region:
                kind = "by_code" if len(codes) > 1 and code else "by_region"
                return _driven(kind, whole, one, code=code, region=region)
        for account, one in self._pairs("account", currency, f"{where} AND account IS NOT NULL", product):
            if _is_most(one, whole):
                return _driven("by_account", whole, one, account=account)
        return lambda _: ""

    def _pairs(self, by: str, currency: str, where: str, *values: str) -> list[tuple[str, _Pair]]:
        """Both periods' sums of lines with an amount, by an expression; largest change first, then by name."""
        rows = self.connection.execute(
            f"""SELECT coalesce({by}, '') AS name,
                       coalesce(sum({self.amount}) FILTER (is_now), 0),
                       coalesce(sum({self.amount}) FILTER (NOT is_now), 0),
                       count(*) FILTER (is_now), count(*) FILTER (NOT is_now)
                FROM {self.both} WHERE currency = ? AND {self.amount} IS NOT NULL AND {where}
                GROUP BY 1""",  # noqa: S608
            [currency, *values],
        ).fetchall()
        pairs = [(str(name), _Pair(Decimal(now), Decimal(before), *counts)) for name, now, before, *counts in rows]
        return sorted(pairs, key=_largest_first)


def _is_most(part: _Pair, whole: _Pair) -> bool:
    """Whether more than half of a change, and in its direction, is this part's."""
    twice = EXACT.multiply(part.change.copy_abs(), Decimal(2))
    return part.change != 0 and (part.change > 0) == (whole.change > 0) and twice > whole.change.copy_abs()


def _driven(kind: str, whole: _Pair, part: _Pair, **values: str) -> Say:
    how = "story.all" if part == whole else "story.mostly"
    return lambda said: label(how, said, what=label(f"story.{kind}", said, **values))


def _change(name: str, one: _Pair, currency: str) -> Say:
    """How much, with the percent where there is one."""
    amount, percent = _money(one.change.copy_abs(), currency), _percent(one)
    if percent is None:
        return lambda _: amount
    space = {"en": " %", "zh": "%"}
    return lambda said: label(name, said, percent=f"{percent}{space[said]}", amount=amount)


def _percent(one: _Pair) -> str | None:
    """The change as a percent of what was; None where that says nothing."""
    if one.before <= 0 or one.now < 0:
        return None
    exact = Fraction(one.change.copy_abs()) * 100 / Fraction(one.before)
    unit = 1 if exact >= 10 else 10
    percent = EXACT.divide(Decimal((2 * exact * unit + 1) // 2), Decimal(unit))
    return text(percent) if 0 < percent <= _PERCENT_MAX else None


def _rounded(value: Decimal, currency: str) -> Decimal:
    return rounded(value, _places(currency), Mode.HALF_UP)


def _places(currency: str) -> int:
    return minor_units(currency) if known(currency) else 2


def _money(value: Decimal, currency: str) -> str:
    return f"{currency} {figure(_rounded(value, currency), _places(currency))}"


def _largest_first(pair: tuple[str, _Pair]) -> tuple[Decimal, bytes]:
    # abs() and a minus sign would round to the 28 digits of the ambient context.
    return EXACT.minus(pair[1].change.copy_abs()), pair[0].encode()


def _lines(count: int, language: str) -> str:
    return label("story.line" if count == 1 else "story.lines", language, count=f"{count:,}")


def _names(say: Say) -> Names:
    return {language: say(language) for language in LANGUAGES}
