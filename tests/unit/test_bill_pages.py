"""A page read as the one before it gives the text that reading it carefully gives, or is left to that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.bill import api
from shared.bill.files import ROW_MAX
from shared.bill.pages import CELL_END, PageReader
from shared.errors import BadInputError
from tests.fuzz import seeds

DIGITS = ("0", "-0", "1.20", "1.2e-7", "1E+5", "-12345678901234567890.123456789012345678901234567890", "9" * 400)
TEXTS = st.one_of(
    st.sampled_from(["", "a", " a\t", "\u3000", "弹性", "😀", "a\\", "\\", 'a":', "a,b", "\ufeff", "\u2028", "\x7f"]),
    st.text(st.characters(exclude_categories=[]), max_size=8),
)
NUMBERS = st.sampled_from([*DIGITS, '"1.5"', "null", "true", "[]", "{}", '{"a":1}', "01", "1.", "NaN", " 7 ", ""])
# What becomes of the JSON of an item, the one or the other time.
ODD: list[Callable[[str], str]] = [
    lambda text: text.replace('"Tag"', '"Zone"', 1),
    lambda text: text[:-1] + ',"Tag":"again"}',
    lambda text: text[:-1] + ',"PretaxAmount":7}',
    lambda text: text[:-1] + ',"GreenSurcharge":7}',
    lambda text: text[:-1] + ',"Tag\\\\":"b"}',
    lambda text: text.replace('"Tag":', '"Tag" : '),
    lambda text: text.replace('"Tag":', '"\\u0054ag":'),
    lambda text: text.replace('"Tag"', '"\\"Tag"'),
    lambda text: text.replace('"ProductCode":"ecs",', ""),
    lambda text: text.replace('"ProductCode":"ecs",', '"ProductCode":"ecs","ProductCode":"ecs",').replace(
        '"Currency":"CNY",', ""
    ),
    lambda text: text.replace('"ecs"', "null"),
    lambda text: text.replace('"ecs"', "7"),
    lambda text: text.replace('"ecs"', '"e\\u0063s"'),
    lambda text: text.replace('"ecs"', '"\\ud800"'),
    lambda text: text.replace('"ecs"', '"\ud800"'),
    lambda text: text.replace('"ecs"', '"\\u0000"'),
    lambda text: text.replace('"ecs"', f'"{"x" * ROW_MAX}"'),
    lambda text: text.replace('"PretaxAmount":1.2', f'"PretaxAmount":{"[" * 100_000}'),
    lambda text: text.replace('"ecs"', '"ecs\\"'),
    lambda text: text.replace('"ecs"', '"a\\"b"'),
    lambda text: text.replace('"ecs"', '"a\\u0022b"'),
    lambda text: text.replace(",", " ,\n"),
    lambda text: text + ",",
    lambda text: "7," + text,
]
ENVELOPES = (
    '{"Success":true,"Code":"Success","RequestId":"r","Data":{"TotalCount":2,"NextToken":null,"Items":[%s]}}',
    '{"Code":"200","Message":"","Success":true,"Data":{"Items":[%s],"TotalCount":2,"MaxResults":300,"AccountID":"1"}}',
    '{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":"2","NextToken":7}}',
    '{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":2.0}}',
    '{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":2,"TotalCount":3}}',
    '{"Success":true,"Code":"Success","Data":{"Items":[7],"Items":[%s],"TotalCount":2}}',
    '{"Success":true,"Code":"Success","HostId":"h","Data":{"Items":[%s],"TotalCount":2}}',
    '{"Success":false,"Code":"Success","Data":{"Items":[%s],"TotalCount":2}}',
    '{"Success":true,"Code":"Denied","Data":{"Items":[%s],"TotalCount":2}}',
    '{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":2}} ',
    '{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":2}}}',
    '\ufeff{"Success":true,"Code":"Success","Data":{"Items":[%s],"TotalCount":2}}',
)


def item(**values: str) -> str:
    """The JSON of an item; values are JSON too."""
    written = {name: json.dumps(value, ensure_ascii=False) for name, value in seeds.ITEM.items()}
    return "{" + ",".join(f'"{name}":{value}' for name, value in (written | values).items()) + "}"


def page(*items: str, envelope: str = ENVELOPES[0]) -> bytes:
    """The body of a page."""
    return (envelope % ",".join(items)).encode(errors="surrogatepass")


def outcome(reader: PageReader, body: bytes) -> Any:
    """What the reader makes of its next page."""
    try:
        return reader.text(body, "page"), reader.is_plain, reader.unknown
    except BadInputError as exc:
        return str(exc)


def taught(**values: str) -> PageReader:
    """A reader that has read a page of usual items, with these fields beside."""
    reader = PageReader()
    reader.text(page(item(**values)), "page 1")
    return reader


def read_at_once(reader: PageReader, body: bytes) -> list[list[str]]:
    """The cells of the next page, which is read as the one before it; LookupError where it is not."""
    with mock.patch.object(PageReader, "_careful_text", side_effect=LookupError):
        return [row.split(CELL_END) for row in reader.text(body, "page").split("\n")[:-1]]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Pages of two items, usual ones and some with something odd about them."""
    items = []
    for _ in range(2):
        names = draw(st.lists(st.sampled_from(["ProductCode", "Tag", "Item", "BillingDate", "NickName"]), max_size=2))
        texts = {name: json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans())) for name in names}
        numbers = {"PretaxAmount": draw(NUMBERS)} if draw(st.booleans()) else {}
        text = item(**texts, **numbers)
        for change in draw(st.lists(st.sampled_from(ODD), max_size=1)):
            text = change(text)
        items.append(text)
    return page(*items, envelope=draw(st.sampled_from(ENVELOPES + ENVELOPES[:2] * 8)))


@settings(max_examples=400, deadline=None)
@given(body=bodies())
@example(body=page(item(), item()))
def test_a_page_reads_alike_on_both_ways(body: bytes) -> None:
    assert outcome(taught(), body) == outcome(PageReader(pages=1), body)


@pytest.mark.parametrize("change", [str, *ODD])
def test_every_oddity_reads_alike_on_both_ways(change: Callable[[str], str]) -> None:
    for envelope in ENVELOPES:
        body = page(item(), change(item()), envelope=envelope)
        assert outcome(taught(), body) == outcome(PageReader(pages=1), body)


@pytest.mark.parametrize("digits", DIGITS)
def test_numbers_keep_every_digit(digits: str) -> None:
    body = page(item(PretaxAmount=digits), item())

    first, _ = read_at_once(taught(), body)

    assert first[api.fields().index("PretaxAmount")] == digits
    assert first[-3:] == ["", "2", "0"]


@pytest.mark.parametrize(
    "text", ["", "弹性", "a\\b\\", "\t a ", "a,b;c:d'", "\u2028", "😀", "key:a value:b; key:c value:"]
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_usual_texts_need_no_careful_reading(text: str, is_ascii: bool) -> None:
    body = page(item(NickName=json.dumps(text, ensure_ascii=is_ascii)), item(NickName='""'))

    first, _ = read_at_once(taught(NickName='""'), body)

    assert first[api.fields().index("NickName")] == text.strip(api.BLANKS)


def test_a_field_twice_is_refused_also_where_another_is_missing() -> None:
    twice = item().replace('"Currency":"CNY"', '"ProductCode":"ecs"')

    with pytest.raises(BadInputError, match="twice"):
        taught().text(page(twice, item()), "page 2")


def test_a_field_that_nobody_knows_is_told_whichever_page_has_it() -> None:
    reader = taught()

    reader.text(page(item(), item(GreenSurcharge="1")), "page 2")
    reader.text(page(item(), item()), "page 3")

    assert reader.unknown == {"GreenSurcharge"}


def test_a_page_whose_items_have_other_fields_is_one_to_read_the_next_by() -> None:
    reader, other = taught(), page(item(Zone='"z"'), item(Zone='"y"'))

    with pytest.raises(LookupError):
        read_at_once(taught(), other)
    before = [row.split(CELL_END) for row in reader.text(other, "page 2").split("\n")[:-1]]
    after = read_at_once(reader, other)

    assert [row[:-2] for row in after] == [row[:-2] for row in before]
    assert [row[-2:] for row in after] == [["3", "0"], ["3", "1"]]
