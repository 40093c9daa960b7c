"""Bill pages of BSS OpenAPI: what a page must look like, and its items as rows of text.

Numbers keep the digits they were sent with: the body is read with every number as text, because the SDK's typed
models hold floats and drop fields they do not know. Shapes: DescribeInstanceBill 2017-12-14.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.bill import formats
from shared.errors import BadInputError

FORM = "bss-api"
BLANKS = " \t\r\n\v\f\u00a0\u3000\ufeff"


def fields() -> list[str]:
    """The fields of an item that are read, in the order of `raw_rows`."""
    form = formats.load(FORM)
    return [*form.required, *form.optional]


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
        answer = json.loads(body, parse_float=str, parse_int=str, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise BadInputError(place, f"the answer is no JSON ({exc})", "the raw bytes are kept; pull again") from exc
    if not isinstance(answer, dict):
        raise BadInputError(place, "the answer is no JSON object", "the raw bytes are kept; pull again")
    if answer.get("Success") is not True or answer.get("Code") not in ("Success", "200"):
        raise RefusedByProviderError(
            place,
            f"the provider answered Success={answer.get('Success')} Code={answer.get('Code')} "
            f"Message={answer.get('Message')} RequestId={answer.get('RequestId')}",
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
    if not isinstance(total, str) or not total.isdecimal():
        raise BadInputError(place, f"'Data.TotalCount' is {total!r}, no count", "the raw bytes are kept; pull again")
    account, cycle = (str(data.get(name) or "") for name in ("AccountID", "BillingCycle"))
    return Page(items, data.get("NextToken") or "", int(total), account, cycle)


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
            row = [str(item.get(field) or "") for field in names]
        if "\x00" in "".join(row):
            problem = problem or _unusable(item, names)
            row = [value.replace("\x00", "\\u0000") for value in row]
        yield [*row, problem, str(page_number), str(number)]


def unknown_fields(page: Page) -> set[str]:
    """Fields that no part of Clearbook knows: kept in the raw page, and worth a look."""
    known = {*fields(), *formats.load(FORM).ignored}
    return {field for item in page.items for field in item if field not in known}


def _unusable(item: Mapping[str, Any], names: list[str]) -> str:
    for field in names:
        value = item.get(field)
        if isinstance(value, str):
            if "\x00" in value:
                return f"{field} holds a NUL character"
        elif value is not None:
            return f"{field} holds {json.dumps(value)[:60]}, expected text or a number"
    return "unusable"


def _refuse_constant(name: str) -> str:
    raise ValueError(f"{name} is no JSON number")
