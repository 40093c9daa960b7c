"""Reports in Chinese and English: labels, names, figures, months and times as people write them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from shared.cycle import SHANGHAI, Cycle
from shared.money import EXACT, Mode, rounded, text
from shared.reference.currencies import known, minor_units

EN, ZH = LANGUAGES = ("en", "zh")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
Names = Mapping[str, str]  # language -> name


def label(name: str, language: str, **values: object) -> str:
    """What a report says there."""
    return _labels()[name][LANGUAGES.index(language)].format(**values)


def kind_label(prefix: str, kind: str, language: str) -> str:
    """What people call a kind or state; one without a label by its own name."""
    name = f"{prefix}.{kind}"
    return label(name, language) if name in _labels() else kind.replace("_", " ")


def both(name: str) -> str:
    """A label in both languages, for headers that are read in either."""
    en, zh = _labels()[name]
    return f"{en} {zh}"


def named(names: Names, language: str, otherwise: str) -> str:
    """The name in a language, else in the other one, else the id."""
    other = EN if language == ZH else ZH
    return str(names.get(language) or names.get(other) or otherwise)


def in_both(names: Names, otherwise: str) -> str:
    """The name in each language in which there is one."""
    return " ".join(dict.fromkeys(names[one] for one in (EN, ZH) if names.get(one))) or otherwise


def figure(value: str | Decimal, places: int = 0) -> str:
    """An amount with its thousands apart and at least so many decimals; both languages write it alike."""
    whole, _, decimals = text(Decimal(value)).partition(".")
    whole = f"{int(whole):,}" if whole != "-0" else "-0"
    decimals = decimals.ljust(places, "0")
    return f"{whole}.{decimals}" if decimals else whole


def shown(value: Decimal, currency: str) -> str:
    """An amount at a glance: rounded half up to the decimals of its currency."""
    places = minor_units(currency) if known(currency) else 2
    return figure(rounded(value, places, Mode.HALF_UP), places)


def percent(rate: Decimal, language: str) -> str:
    """A rate as a percent: 6 %, 6%."""
    return f"{text(EXACT.multiply(rate, Decimal(100)))}{' %' if language == EN else '%'}"


def month(cycle: str, language: str) -> str:
    """June 2025, 2025年6月."""
    one = Cycle.parse(cycle)
    return f"{one.year}年{one.month}月" if language == ZH else f"{_MONTHS[one.month - 1]} {one.year}"


def moment(at: datetime, language: str) -> str:
    """A time in Asia/Shanghai, where the months are of."""
    there = at.astimezone(SHANGHAI)
    if language == ZH:
        return f"{there.year}年{there.month}月{there.day}日 {there:%H:%M}（北京时间）"
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year}, {there:%H:%M} Beijing time"


@functools.cache
def _labels() -> Mapping[str, tuple[str, str]]:
    found = tomllib.loads(Path(__file__).with_name("labels.toml").read_text(encoding="utf-8"))
    return {name: (en, zh) for name, (en, zh) in found.items()}
