"""Why rows are no lines, by class: the reason without the value it names, so that like reasons count together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shared.bill.formats import Format

VALUE = "…"  # stands where a reason names a value
_CLASS_MAX = 200
# How reasons end behind the value that they name (normalise, parts); the value itself may hold any text.
_ENDS = (
    "is no number that can be held exactly",
    "is of no known kind",
    "is no ISO 4217 code",
    "is there already",
    "is not the payer",
    "is no month",
    "is no date",
    "of a charge is below 0",
)
# Whole sentences in which values stand between words: the words are kept.
_SENTENCES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(the date )(.*)( is not of the cycle )(.*)()",
        r"(has )(\d+)( cells, expected )(\d+)()",
        r"(Tag: )(.*)( (?:does not begin with|has a key without|has a value without|begins without|is no JSON).*)",
        r"(.*? holds )(.*)(, expected text or a number)",
    )
)
_NOT_EXPECTED = re.compile(r"(.*) is not \S+", re.DOTALL)  # a cycle or date other than the one that was asked for
_LOOSE = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d.,:T-]*")


def headers_of(form: Format | None) -> list[str]:
    """How a form calls its columns, longest first: reasons begin with these."""
    named = [] if form is None else [*form.required, *form.optional]
    return sorted(named, key=lambda header: (-len(header), header))


def reason_class(reason: str, headers: Iterable[str]) -> str:
    """A reason without its values; `headers` are those of the form, longest first.

    What is of no known shape loses its numbers and quoted texts, so that it groups at least roughly.
    """
    for sentence in _SENTENCES:
        match = sentence.fullmatch(reason)
        if match:
            words = match.groups()
            return "".join(word if place % 2 == 0 else VALUE for place, word in enumerate(words))[:_CLASS_MAX]
    for end in _ENDS:
        if reason.endswith(f" {end}"):
            return f"{_named(reason.removesuffix(f' {end}'), headers)}{VALUE} {end}"
    match = _NOT_EXPECTED.fullmatch(reason)
    if match:
        return f"{_named(match[1], headers)}{VALUE} is not {VALUE}"
    if reason.endswith(" is missing") or reason.startswith("its amounts break "):
        return reason[:_CLASS_MAX]
    return _LOOSE.sub(VALUE, reason)[:_CLASS_MAX]


def _named(text: str, headers: Iterable[str]) -> str:
    """What a text says before its value, with a blank behind it: headers with commas between, else its first word."""
    headers, said = list(headers), ""
    while True:
        rest = text[len(said) :]
        found = next((one for one in headers if rest == one or rest.startswith((f"{one} ", f"{one}, "))), None)
        if found is None:
            break
        divider = ", " if rest.startswith(f"{found}, ") else " "
        said += found + divider
        if divider == " ":
            return said
    if said:
        return said
    words = text.split(" ")
    return " ".join(words[:2] if words[0] == "the" else words[:1]) + " "


def classes(reasons: Iterable[str], form: Format | None) -> dict[str, dict[str, Any]]:
    """How many reasons there are of each class, and the first of them in full, by class."""
    headers = headers_of(form)
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}
    for reason in reasons:
        if reason not in known:
            known[reason] = reason_class(reason, headers)
        one = found.setdefault(known[reason], {"count": 0, "first": reason})
        one["count"] += 1
    return dict(sorted(found.items()))


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The counts of several, by name."""
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def added_classes(found: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The classes of several together, most first."""
    total: dict[str, dict[str, Any]] = {}
    for classes_ in found:
        for name, one in classes_.items():
            into = total.setdefault(name, {"count": 0, "first": one["first"]})
            into["count"] += one["count"]
    return dict(sorted(total.items(), key=lambda one: (-one[1]["count"], one[0])))
