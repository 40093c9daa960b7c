"""What `asking` found, in plain words: a line for each fact, indented below what it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.agreement.words import condition_words, figure, percent
from shared.money import EXACT, Mode, text
from shared.steps.explaining.words_since import (
    SHOWN,
    act,
    adjusts,
    money,
    of_row,
    since_words,
    taken_back,
    year_of_bound,
    year_of_scale,
)

Facts = Mapping[str, Any]
_MODES = {Mode.HALF_UP.value: "halves away from zero", Mode.HALF_EVEN.value: "halves to the even digit"}
_PER = {"line": "for each line", "instance_month": "once a month for each instance"}
_PER |= {"customer_month": "once a month for each customer"}


def words(found: Facts) -> list[str]:
    """The facts behind an id as lines of text."""
    tell = {"bill_line": _line, "statement_line": _statement_line, "settlement": _settlement, "payout": _payout}
    return list(tell[found["what"]](found))


def _lines(count: int, what: str = "") -> str:
    return f"{count:,} {what}line" + ("" if count == 1 else "s")


def _from(one: Facts) -> str:
    return f"{one['from']} to {one['until']}" if one["until"] else f"from {one['from']} on"


# -- bill lines --------------------------------------------------------------------------------------------------------


def _line(found: Facts) -> Iterator[str]:
    line = found["line"]
    of = ", ".join(str(line[name]) for name in ("product_code", "instance_id") if name in line)
    yield f"Bill line {found['id']}"
    yield f"  {line.get('kind', 'a line that is gone')} of {of}, account {line['account']}, {line['date']}"
    if "pretax" in line:
        yield f"  {money(line['pretax'])} {line['currency']} pretax"
    yield from _raw(found["raw"])
    if found["settlement"] is not None:
        yield from _settled_by(found["settlement"])
    elif "not_in" in found:
        yield from _not_in(found)
    else:
        yield "Not settled: no settlement that counts has this line"
        yield "  what reaches a month after its lock is adjusted by the next month's settlement"
        return
    yield "Whose it is"
    yield f"  {_mapped(found['mapped'])}"
    if found["agreement"] is not None:
        yield f"  {_version(found['agreement'])}"
    if found["conditions"]:
        yield "Which rule"
        yield from (f"  {number}. {_tried(one)}" for number, one in enumerate(found["conditions"], 1))
    if found["basis"] is not None:
        yield "What it earns on"
        netted_by = [*found["refunds"], *(refund for one in found.get("since", ()) for refund in one["refunds"])]
        yield f"  {_basis(found['basis'], [one['id'] for one in netted_by if one['is_netted']])}"
    yield from _outcome(found)
    yield from _bounds(found["bounds"])
    yield from _refunds(found["refunds"], found["earned"])
    for one in found["cases"]:
        yield "In a case, which holds it"
        yield f"  {money(one['amount'])} {one['currency']}, {one['kind']}: {one['problem']}"
        yield f"  to resolve it: {one['remedy']}"
    if found["statement_lines"]:
        yield "On the statement"
    for one in found["statement_lines"]:
        yield from _rounding(one)
    yield from since_words(found)


def _raw(raw: Facts) -> Iterator[str]:
    if "object" in raw:
        yield f"  raw: row {raw['row']} of {raw['object']}"
    if "seal" in raw:
        yield f"  as {raw['source']} said it, {raw['status']}; seal {raw['seal']} at {raw['at']}"


def _settled_by(one: Facts) -> Iterator[str]:
    at = f" ({one['calculated']})" if one["calculated"] else ""
    yield f"Settled by {one['id'][:SHOWN]}, {one['owner']} {one['cycle']}, {one['state']}{at}"
    if one["locked"] is not None:
        yield f"  lock {act(one['locked'])}"


def _not_in(found: Facts) -> Iterator[str]:
    """Why the locked settlement of its month does not have a line."""
    one, then = found["not_in"], "it arrived after the lock" if found["is_late"] else "it was another's at the lock"
    yield f"Not in settlement {one['id'][:SHOWN]}, {one['owner']} {one['cycle']}, {one['state']}: {then}"
    if one["locked"] is not None:
        yield f"  lock {act(one['locked'])}"


def _mapped(one: Facts) -> str:
    if one["how"] is None:
        return f"account {one['account']} is assigned to nobody on {one['date']}"
    whose = f"account {one['account']} is {one['customer']}'s" if one["customer"] else f"account {one['account']}"
    how = {"direct": "a customer of the operator", "own_use": "the operator's own use"}
    told = f"{whose}, {how.get(one['how']) or 'sold by ' + str(one['reseller'])}, {_from(one)}"
    return told + (f"; {one['customer']} is of class {one['customer_class']}" if "customer_class" in one else "")


def _version(one: Facts) -> str:
    return f"agreement {one['id']} version {one['version']}, {_from(one)}; {act(one['approval'])}"


def _tried(one: Facts) -> str:
    """A condition, whether it is true, and what it read."""
    name = f"excluded ({one['name']})" if one["kind"] == "exclusion" else f"rule {one['name']}"
    answer = {True: "yes", False: "no", None: "cannot be answered"}[one["outcome"]]
    read = ", ".join(f"{field} is {'absent' if value is None else value}" for field, value in one["read"].items())
    return f"{name}, where {condition_words(one['when'])}: {answer}" + (f", {read}" if read else "")


def _basis(one: Facts, netted_by: Sequence[str]) -> str:
    if one["billed"] is None:
        return f"{one['of']}, which the line does not state"
    told = f"{one['of']} {money(one['billed'])} {one['currency']}"
    if one.get("rate") is not None:
        told += f", at {one['rate']} {money(one['value'])} {one['to']}"
    if Decimal(one["netted"]):
        told += f"; {money(one['netted'])} netted by {', '.join(netted_by)}"
        if one["value"] is not None:
            left = EXACT.subtract(Decimal(one["value"]), Decimal(one["netted"]))
            told += f"; left {figure(left, 2)}" if left else "; nothing is left, as if neither had been"
    return told


def _outcome(found: Facts) -> Iterator[str]:
    """What becomes of the line."""
    cycles = {charge["id"]: one["cycle"] for one in found["undoes"] for charge in one["charges"]}
    if found["earning"] is not None:
        yield "What it earns"
        yield from (f"  {one}" for one in _earning(found["earning"], found["line"]))
    for one in found["rows"]:
        if one["kind"] in ("direct", "own_use"):
            yield f"It is {one['kind'].replace('_', ' ')}: {money(one['basis'])} {one['currency']} earn nothing"
        elif one["kind"] == "excluded":
            yield f"It is excluded: {money(one['basis'])} {one['currency']} earn nothing, {one['because']}"
            for closed in found.get("closed", ()):
                yield f"  that closed case {closed['kind']} {closed['key']}, proposal {closed['proposal']}"
                if "entry" in closed:
                    yield f"  {act(closed)}"
        elif one["kind"] == "netted" and "other_line" in one:
            of = f" of {cycles[one['other_line']]}" if one["other_line"] in cycles else ""
            yield f"It undoes {money(one['basis'])} {one['currency']} of charge {one['other_line']}{of}"
            related = found["line"].get("related_record")
            how = f"by its related record {related}" if related else "the same account, product, instance and currency"
            by_hand = found.get("linked_by")
            yield f"  linked: {how if by_hand is None else 'by hand, proposal ' + by_hand['proposal']}"
            if by_hand is not None and "entry" in by_hand:
                yield f"  {act(by_hand)}"
        elif one["kind"] == "adjustment" and "other_line" in one:
            yield f"It takes back {money(one['amount'])} {one['currency']} that charge {one['other_line']} earned"
    for one in found["undoes"]:
        yield from taken_back(one, found["line"]["currency"], found["settlement"])


def _earning(one: Facts, line: Facts) -> Iterator[str]:
    for gate in one["gates"]:
        is_below = Decimal(gate["value"]) < Decimal(gate["at_least"])
        then = (
            f"below {gate['at_least']}, so what is said otherwise holds" if is_below else f"at least {gate['at_least']}"
        )
        yield f"the reseller's figure {gate['figure']} is {gate['value']}, {then}"
    if one["by"] == "percent":
        yield f"{percent(Decimal(one['rate']))} of that: {money(one['amount'])}"
    elif one["by"] == "scale":
        yield from _scale(one["scale"])
        yield f"together {money(one['amount'])}"
    elif one["per"] == "usage_unit":
        yield f"{money(one['fixed'])} for each of {one['usage']} {one['unit'] or ''}: {money(one['amount'])}"
    else:
        yield f"{money(one['fixed'])} {_PER[one['per']]}: {money(one['amount'])}"
        if "once" in one:
            yield from _once(one["once"], str(line["line_id"]))


def _once(once: Facts, line_id: str) -> Iterator[str]:
    who = "this line" if once["by"] == line_id else f"line {once['by']}"
    yield f"of {once['lines']} lines the first in order earned it: {who}" if once["by"] else "no line earned it"
    if "days" in once:
        yield f"for {once['days']} of {once['of_days']} days that were served"


def _scale(one: Facts) -> Iterator[str]:
    of = ", ".join(str(value) for value in one["of"].values()) or "the reseller"
    over = "month" if one["over"] == "month" else "contract year"
    measure = f"{one['measure']} in {one['unit']}" if one["unit"] else one["measure"]
    yield f"by scale {one['id']}, {one['method'].replace('_', '-')} over the {over}, of {measure} of {of}"
    if "year" in one:
        yield from year_of_scale(one)
    if "before" in one:
        yield f"total before this line {money(one['before'])}, with it {money(one['after'])}"
    if "total" in one:
        yield f"total {money(one['total'])}"
    for part in one["parts"]:
        rate = percent(Decimal(part["rate"]))
        band = _band(one["bands"], part["band"])
        yield f"band {part['band']}, {band}: {money(part['part'])} at {rate} is {money(part['amount'])}"


def _band(bands: Sequence[Facts], number: int) -> str:
    low = bands[number - 2]["upto"] if number > 1 else None
    high = bands[number - 1]["upto"]
    if low is None:
        return "everything" if high is None else f"up to {money(high)}"
    return f"above {money(low)}" + ("" if high is None else f" to {money(high)}")


def _bounds(found: Sequence[Facts]) -> Iterator[str]:
    if found:
        yield "Within which bounds"
    for one in found:
        of = f"rule {one['rule']}" if one["rule"] else "the agreement"
        over = "" if one["over"] == "month" else " over the contract year"
        told = f"{one['kind']} of {of} per {one['scope']}, {money(one['amount'])}{over}: "
        if "year" in one:
            yield f"  {told}{year_of_bound(one)}"
            continue
        if one["line"] is None:
            yield f"  {told}not reached, its lines earned {money(one['commission'])}"
            continue
        before = f"earned before it {money(one['before'])}, so " if "before" in one else ""
        share = f", of which {money(one['share'])} falls on this line" if one.get("share") is not None else ""
        yield f"  {told}{before}a line of its own says {money(one['line'])}{share}"


def _refunds(found: Sequence[Facts], earned: str | None) -> Iterator[str]:
    if found:
        yield "What refunds undo of it"
    for one in found:
        did = "netted" if one["is_netted"] else f"takes back {money(one['taken_back'])}"
        if not one["is_netted"] and earned is not None:
            did += f" of the {money(earned)} that it earned"
        yield f"  {one['id']} of {one['date']}, {money(one['basis'])}: {did}"


# -- statement lines ---------------------------------------------------------------------------------------------------


def _named(one: Facts) -> str:
    parts = [one[name] for name in ("customer", "product", "rule", "kind") if one[name]]
    return f"{one['id']} ({', '.join(parts)})"


def _rounding(one: Facts) -> Iterator[str]:
    """A statement line, and how its amount follows from the statement's."""
    shown = f"exactly {money(one['exact'])}, shown as {money(one['amount'])} {one['currency']}"
    yield f"  {_named(one)}: {_lines(one['lines'])}, {shown}"
    yield (
        f"    the statement is exactly {money(one['total_exact'])}, rounded once to {one['places']} decimals, "
        f"{_MODES[one['mode']]}: {money(one['total'])}"
    )
    yield (
        f"    of it {one['customer'] or 'no customer'} has exactly {money(one['customer_exact'])}, by largest "
        f"remainder {money(one['customer_amount'])}; this line {_cut(one)}"
    )


def _cut(one: Facts) -> str:
    exact, shown = Decimal(one["exact"]), Decimal(one["amount"])
    places = one["places"]
    unit = Decimal(1).scaleb(-places)
    cut = EXACT.subtract(exact, exact % unit)
    if exact == shown:
        return "needs no rounding"
    if cut == shown:
        return "is cut toward zero"
    return f"is cut toward zero and takes {text(EXACT.subtract(shown, cut))} of what was missing"


def _statement_line(found: Facts) -> Iterator[str]:
    yield f"Statement line {found['id']}"
    yield from _rounding(found)
    yield from _settled_by(found["settlement"])
    yield "By"
    yield f"  {_version(found['agreement'])}"
    yield from (f"  {says}" for says in found["says"])
    yield from adjusts(found["adjusts"], found["currency"])
    yield f"It is the sum of {_lines(found['lines'], 'settlement ')}" + _largest(found)
    for one in found["rows"]:
        whose = f"{one['line_id']}, {one['date']}" if "line_id" in one else _of_all(one)
        rate = f"{money(one['basis'])} at {percent(Decimal(one['rate']))}: " if "rate" in one else ""
        of = f", {of_row(one)} for {one['cycle']}" if "corrects" in one and "line_id" in one else ""
        yield f"  {whose}{of}: {rate}{money(one['amount'])}"


def _of_all(one: Facts) -> str:
    """What a settlement line is that is not of one bill line."""
    return f"{of_row(one)} for {one['cycle']}" if "corrects" in one else str(one.get("because", one["kind"]))


def _largest(found: Facts) -> str:
    return f", the largest {len(found['rows'])}" if found["lines"] > len(found["rows"]) else ""


# -- settlements and payouts -------------------------------------------------------------------------------------------


def _settlement(found: Facts) -> Iterator[str]:
    yield f"Settlement {found['id']}"
    yield from _settled_by(found["settlement"])
    yield f"It read (engine {found['engine']})"
    for one in found["bills"]:
        yield f"  the bill of {one['payer']}, {one['dates']} dates" + (f", seal {one['seal']}" if one["seal"] else "")
    yield f"  who is assigned {found['accounts']} accounts"
    yield from (f"  {_version(one)}" for one in found["agreements"])
    yield from (f"  {name} {found[name][:SHOWN]}" for name in ("rates", "opening") if found[name])
    if found["looked_back"]:
        yield "It looked at locked months again, and adjusts them"
    for one in found["looked_back"]:
        yield f"  {one['cycle']}, settled by {one['settlement'][:SHOWN]}: {one['why']}"
    yield "It found"
    for currency, one in found["billed"].items():
        yield f"  billed: {_lines(one['lines'])}, {money(one['pretax'])} {currency}"
    for one in found["kinds"]:
        told = f"{money(one['basis'])} {one['currency']} of the bill, amount {money(one['amount'])}"
        yield f"  {one['kind']}: {_lines(one['lines'])}, {told}"
    for one in found["held"]:
        told = f"{_lines(one['lines'])}, {money(one['amount'])} {one['currency']}"
        yield f"  in a case: {told}, {one['kind']} {one['key']}"
    for one in found["statements"]:
        told = f"exactly {money(one['exact'])}, total {one['total']}, tax {one['tax']}, payable {one['payable']}"
        yield f"Statement of {one['agreement']}: {told} {one['currency']}"
        if one["lines"]:
            yield f"  its lines are {one['lines'][0]} to {one['lines'][-1]}"
    yield f"Its rows are {found['rows_digest']}"


def _payout(found: Facts) -> Iterator[str]:
    unit = found["currency"]
    yield f"Payout {found['id']}: {money(found['amount'])} {unit} to {found['reseller']}"
    yield "What was owed"
    for one in found["owed"]:
        if one["what"] == "opening":
            yield f"  opening balance: {money(one['amount'])}"
        elif one["what"] == "forfeited":
            yield f"  forfeited at the lock of {one['cycle']}, below the minimum: {money(one['amount'])}"
        elif one["what"] == "withheld":
            yield f"  withheld when {one['id']} was instructed: {money(one['amount'])}"
        elif one["what"] == "reopened":
            yield f"  {one['id']} was reopened, for it did not arrive: {money(one['amount'])}"
        elif one["what"] == "paid":
            yield f"  paid before, {one['id']}: {money(one['amount'])}"
        else:
            told = f"total {money(one['total'])}, tax {money(one['tax'])}, payable {money(one['payable'])}"
            yield f"  statement {found['agreement']} of {one['cycle']}: {told}; settlement {one['settlement'][:SHOWN]}"
    yield "Who decided"
    yield f"  batch {found['batch']}: {act(found['approval'])}"
    if "withheld" in found:
        yield f"  of which withheld: {money(found['withheld'])}"
    instructed = found["instructed"]
    yield f"  instructed at {instructed['at']} ({instructed['entry']}), payee {found['payee'][:SHOWN]}"
    yield from (f"  file {key}" for key in found["files"])
    if not found["answers"]:
        yield "The bank has not answered"
    for one in found["answers"]:
        yield f"The bank: {one['says'].replace('_', ' ')} at {one['at']} ({one['entry']})"
    if "reopened" in found:
        yield f"What did not arrive is owed again: {act(found['reopened'])}"
