"""Bill pages of BSS OpenAPI: what a page must look like, and its items as rows of text.

Numbers keep the digits they were sent with: the body is read with every number as text, because the SDK's typed
models hold floats and drop fields they do not know. Shapes: DescribeInstanceBill 2017-12-14.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.bill import formats
from shared.bill.files import ROW_MAX
from shared.errors import BadInputError

FORM = "bss-api"
# What an item has as numbers; every other field is text (the SDK's model of 2017-12-14).
NUMBERS = frozenset({
    "PretaxGrossAmount", "InvoiceDiscount", "DeductedByCoupons", "AfterDiscountAmount",
    "PretaxAmount", "DeductedByCashCoupons", "DeductedByPrepaidCard", "PaymentAmount", "OutstandingAmount",
    "CashAmount", "AdjustAmount", "Tax",
})  # fmt: skip
BLANKS = " \t\r\n\v\f\u00a0\u3000\ufeff"
_COUNT = re.compile("[0-9]{1,12}")
_SHOWN = 200  # characters of an item's text that no line comes from


@functools.cache
def fields() -> tuple[str, ...]:
    """The fields of an item that are read, in the order of `raw_rows`: texts, then numbers."""
    form = formats.load(FORM)
    return tuple(sorted([*form.required, *form.optional], key=NUMBERS.__contains__))


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of DescribeInstanceBill, its items still as sent."""

    items: list[Mapping[str, Any]]
    next_token: str
    total: int
    account: str = ""  # whose key asked
    cycle: str = ""


class RefusedByProviderError(BadInputError):
    """HTTP 200 with Success false: the provider answers, and answers no."""

    code = "refused_by_provider"


def parse_body(body: bytes, place: str) -> Mapping[str, Any]:
    """The `Data` of a successful answer, numbers as text; `place` names the call or object in errors."""
    try:
        answer = json.loads(
            body, parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as exc:
        raise BadInputError(place, f"the answer is no JSON ({exc})", "the raw bytes are kept; pull again") from exc
    if not isinstance(answer, dict):
        raise BadInputError(place, "the answer is no JSON object", "the raw bytes are kept; pull again")
    if answer.get("Success") is not True or answer.get("Code") not in ("Success", "200"):
        raise RefusedByProviderError(
            place,
            "the provider answered "
            + " ".join(f"{name}={_shown(answer.get(name))}" for name in ("Success", "Code", "Message", "RequestId")),
            "check the account's connector and its right to bssapi:DescribeInstanceBill",
        )
    data = answer.get("Data")
    if not isinstance(data, dict):
        raise BadInputError(place, "the answer has no object 'Data'", "the raw bytes are kept; pull again")
    return data


def parse_page(body: bytes, place: str) -> Page:
    """A page of DescribeInstanceBill."""
    data = parse_body(body, place)
    items, total = data.get("Items"), data.get("TotalCount")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInputError(place, "'Data.Items' is no list of objects", "the raw bytes are kept; pull again")
    if not isinstance(total, str) or not _COUNT.fullmatch(total):
        raise BadInputError(
            place, f"'Data.TotalCount' is {_shown(total)[:40]}, no count", "the raw bytes are kept; pull again"
        )
    token = data.get("NextToken")
    if token is not None and not isinstance(token, str):
        raise BadInputError(place, "'Data.NextToken' is no text", "the raw bytes are kept; pull again")
    account, cycle = (str(data.get(name) or "") for name in ("AccountID", "BillingCycle"))
    return Page(items, token or "", int(total), account, cycle)


def parse_overview(body: bytes, place: str) -> list[Mapping[str, Any]]:
    """The rows of QueryBillOverview: a list inside an object, `Data.Items.Item`."""
    items = parse_body(body, place).get("Items")
    rows = items.get("Item") if isinstance(items, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInputError(place, "'Data.Items.Item' is no list of objects", "the raw bytes are kept; pull again")
    return rows


def parse_customers(body: bytes, place: str) -> list[str]:
    """The accounts of GetCustomerList, in order: `Data.UidList`, a list of ids."""
    ids = parse_body(body, place).get("UidList")
    if not isinstance(ids, list) or not all(isinstance(one, str) and one.isdecimal() for one in ids):
        raise BadInputError(place, "'Data.UidList' is no list of ids", "the raw bytes are kept; pull again")
    return sorted(set(ids))


def raw_rows(page: Page, page_number: int) -> Iterator[list[str]]:
    """The items as rows of `fields`, text as sent but for blanks around it; then what is wrong, page and row."""
    names = fields()
    for number, item in enumerate(page.items):
        try:
            row = [value.strip(BLANKS) if (value := item.get(field)) is not None else "" for field in names]
            problem = ""
        except AttributeError:
            problem = _unusable(item, names)
            row = [value if isinstance(value := item.get(field), str) else "" for field in names]
        text = "".join(row)
        if "\x00" in text or len(text) > ROW_MAX or not _is_utf8(text):
            problem = problem or _unusable(item, names)
            row = [_shown(value[:_SHOWN]).replace("\x00", "\\u0000") for value in row]
        yield [*row, problem, str(page_number), str(number)]


def unknown_fields(page: Page) -> set[str]:
    """Fields that no part of Clearbook knows: kept in the raw page, and worth a look."""
    return set(formats.load(FORM).unknown(set().union(*page.items)))


def _unusable(item: Mapping[str, Any], names: Sequence[str]) -> str:
    for field in names:
        value = item.get(field)
        if isinstance(value, str):
            if "\x00" in value:
                return f"{field} holds a NUL character"
            if not _is_utf8(value):
                return f"{field} holds half a character"
        elif value is not None:
            what = (
                str(value).lower() if isinstance(value, bool) else "a list" if isinstance(value, list) else "an object"
            )
            return f"{field} holds {what}, expected text or a number"
    return f"has more than {ROW_MAX} characters"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()  # JSON may name half a character
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """A value as a message can hold it."""
    text = value if isinstance(value, str) else str(value) if value is None or isinstance(value, bool) else "(no text)"
    return text[:1000].encode(errors="backslashreplace").decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a field twice, and nothing says which counts")
    return found


def _refuse_constant(name: str) -> str:
    raise ValueError(f"{name} is no JSON number")
