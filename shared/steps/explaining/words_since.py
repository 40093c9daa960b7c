"""What came of a locked month since, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.agreement.words import figure

Facts = Mapping[str, Any]
_AMOUNTS = ("pretax", "gross", "discount", "round_down", "payment", "usage")
_STANDING = {
    ("not billed", "billed"): "the bill has it now",
    ("billed", "not billed"): "the bill no longer has it",
    ("another's", "billed"): "it is this share's now",
    ("billed", "another's"): "it is another's now",
    ("another's", "not billed"): "it is this share's now, and the bill does not have it",
    ("not billed", "another's"): "it is another's now",
}
SHOWN = 12  # of a digest; the data has all of it


def money(value: str) -> str:
    """An amount with two decimals or more."""
    return figure(Decimal(value), 2)


def act(approval: Facts | None) -> str:
    """Who proposed and who approved."""
    if approval is None:
        return "approved by nobody that the chain knows"
    return f"proposed by {approval['proposed_by']}, approved by {approval['approved_by']} ({approval['entry']})"


def taken_back(one: Facts, currency: str, posted_by: Facts | None = None) -> Iterator[str]:
    """What a refund undid of an earlier month, and where that was posted."""
    of, where = f"of {one['cycle']}", f", posted in {posted_by['cycle']}" if posted_by else ""
    if Decimal(one["taken_back"]):
        yield f"It takes back {money(one['taken_back'])} {currency} {of}{where} as an adjustment"
    if one["re_rated"] is not None:
        yield f"It is netted: what its charges earned {of} was adjusted by {money(one['re_rated'])} {currency}{where}"
    elif not Decimal(one["taken_back"]):
        yield f"It takes nothing back {of}"
    settlement = one.get("settlement")
    if settlement is not None:
        yield f"  {one['cycle']} is settled by {settlement['id'][:SHOWN]}, lock {act(settlement['locked'])}"


def since_words(found: Facts) -> Iterator[str]:
    """What later settlements posted for a line, and what it comes to with them."""
    for one in found.get("since", ()):
        by = one["settlement"]
        yield f"Looked at again by {by['id'][:SHOWN]}, {by['owner']} {by['cycle']}, {by['state']}: {one['why']}"
        if by["locked"] is not None:
            yield f"  lock {act(by['locked'])}"
        yield from (f"  {_changed(change)}" for change in one["changes"])
        yield from (f"  {_posted(row)}" for row in one["rows"])
        yield from (f"  {_posted(row)}, which it shares with other lines" for row in one["shared"])
        for undone in one["undoes"]:
            for charge in undone["charges"]:
                yield f"  it undoes {money(charge['basis'])} of charge {charge['id']} of {undone['cycle']}"
            yield from (f"  {said}" for said in taken_back(undone, found["line"]["currency"]))
        yield from (f"  {_refund(refund, by)}" for refund in one["refunds"])
        for case in one["cases"]:
            yield f"  in a case: {money(case['amount'])} {case['currency']}, {case['kind']}: {case['problem']}"
            yield f"  to resolve it: {case['remedy']}"
        for line in one["statement_lines"]:
            yield f"  on the statement as part of {line['id']}, {money(line['amount'])} {line['currency']}"
    if found.get("since"):
        now = found["now"]
        yield f"By itself it comes to {money(now['total'])} now"
        yield f"  {money(now['settled'])} settled in {found['cycle']}, {money(now['since'])} posted since"


def adjusts(found: Sequence[Facts], currency: str) -> Iterator[str]:
    """The months that a statement line adjusts, why, and which settlements it corrects."""
    if found:
        yield "It adjusts"
    for one in found:
        what = "what was taken back" if one["corrects"] == "adjustment" else one["corrects"] or "an amount by hand"
        count = f"{one['lines']:,} line" + ("" if one["lines"] == 1 else "s")
        why = f": {one['why']}" if one["why"] else ""
        yield f"  {one['cycle']}, {what}: {count}, {money(one['amount'])} {currency}{why}"
        if "decision" in one:
            yield f"    {act(one['decision'] if 'entry' in one['decision'] else None)}"
        for by in one["settlements"]:
            named = f"{by['id'][:SHOWN]}, {by['owner']} {by['cycle']}, {by['state']}"
            yield f"    corrects {named}; lock {act(by['locked'])}"


def of_row(row: Facts) -> str:
    """What an adjustment is of, in two words."""
    return "taken back" if row["corrects"] == "adjustment" else str(row["corrects"])


def _posted(row: Facts) -> str:
    rule = f" of rule {row['rule']}" if "rule" in row else ""
    band = f", band {row['band']}" if "band" in row else ""
    said = f"posted {money(row['amount'])} {row['currency']} for {row['cycle']}"
    return f"{said}: {of_row(row)}{rule}, {row['agreement']} version {row['version']}{band}"


def _changed(one: Facts) -> str:
    if one["name"] == "standing":
        return _STANDING[one["was"], one["is"]]
    was, is_ = ("absent" if one[name] is None else _value(one["name"], one[name]) for name in ("was", "is"))
    return f"{one['name']} was {was}, is {is_}"


def _value(name: str, value: str) -> str:
    return money(value) if name in _AMOUNTS else value


def _refund(one: Facts, by: Facts) -> str:
    did = "netted" if one["is_netted"] else f"takes back {money(one['taken_back'])}, posted in {by['cycle']}"
    beside = f", together with {', '.join(one['with'])}" if one["with"] and not one["is_netted"] else ""
    return f"refund {one['id']} of {one['cycle']}, {money(one['basis'])}: {did}{beside}"


# -- contract years ----------------------------------------------------------------------------------------------------


def year_of_scale(one: Facts) -> Iterator[str]:
    """What a scale's scope came to in the contract year before the month."""
    year = one["year"]
    if Decimal(year["opening"]):
        yield f"the year before it was settled here: {money(year['opening'])}"
    for month in year["months"]:
        came = month["unknown"] if month["total"] is None else f"came to {money(month['total'])}"
        yield f"{month['cycle']} {came}{_settled_in(month)}"
    if year["total"] is None:
        yield "so the total before this line is not worked out again: look at what those settlements say"
    else:
        yield f"the contract year before this month: {money(year['total'])}"
    if Decimal(one.get("retroactive", "0")):
        yield f"a line of its own brings the year's earlier lines to the rate now reached: {money(one['retroactive'])}"


def _settled_in(month: Facts) -> str:
    if month["id"] is None:
        return ""
    since = "".join(f", adjusted by {one['id'][:SHOWN]} in {one['cycle']}" for one in month["adjusted_by"])
    return f", settled by {month['id'][:SHOWN]}{since}"


def year_of_bound(one: Facts) -> str:
    """What a bound over the contract year says of its scope."""
    year = one["year"]
    if year["commission"] is None:
        named = ", ".join(f"{month['id'][:SHOWN]} of {month['cycle']}" for month in year["months"] if month["id"])
        earned = f"the month earned {money(one['commission'])}, of the year before look at {named or 'its bills'}"
    else:
        earned = f"the year earned {money(year['commission'])} before the month and {money(one['commission'])} in it"
    if Decimal(year["drawn"]):
        earned += f", its lines said {money(year['drawn'])} so far"
    if one["line"] is not None:
        share = f", of which {money(one['share'])} falls on this line" if one["share"] is not None else ""
        return f"{earned}; a line of its own says {money(one['line'])}{share}"
    if one["kind"] == "floor" and year["last"] != one["cycle"]:
        return f"{earned}; it is drawn in {year['last']}"
    return f"{earned}; nothing changes"
