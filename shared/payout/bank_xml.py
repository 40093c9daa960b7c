"""A bank's XML, read so that a hostile file can do nothing: no document type, no entities, no network, bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from shared.errors import BadInputError
from shared.money import amount
from shared.payout.answers import CAMT053, PAIN002

TAGS_MOST = 1_000_000  # what a file of the size allowed may open and close before it fills the memory
_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:(pain\.002|camt\.053)\.001\.\d\d", re.ASCII)
_EXPECTED = "expected pain.002.001 or camt.053.001 of ISO 20022, in UTF-8"


def document(body: bytes, name: str) -> tuple[str, Any]:
    """The form of a file (pain.002 or camt.053) and its root element; refused where it is neither, or not safe."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadInputError(name, f"is not UTF-8 (byte {exc.start})", _EXPECTED) from exc
    if "\0" in text:
        raise BadInputError(name, "holds a zero byte", _EXPECTED)
    # Before any parser sees it: entities come by document types alone.
    if "<!doctype" in text.lower() or "<!ENTITY" in text:
        raise BadInputError(name, "holds a document type or entities, which no payment file needs", _EXPECTED)
    if text.count("<") > TAGS_MOST:
        raise BadInputError(name, f"has more than {TAGS_MOST} tags", "ask the bank for it in parts")
    from lxml import etree

    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=True, remove_pis=True, remove_blank_text=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as exc:
        raise BadInputError(name, f"is no well-formed XML ({exc})", _EXPECTED) from exc
    space = etree.QName(root).namespace or ""
    match = _NAMESPACE.fullmatch(space)
    if match is None or etree.QName(root).localname != "Document":
        raise BadInputError(name, f"is {root.tag!r}", _EXPECTED)
    return (PAIN002 if match[1] == PAIN002 else CAMT053), root


def all_(element: Any, path: str) -> Iterator[Any]:
    """The elements at a path of names, `A/B`, in the namespace of the document; no further than they are asked for."""
    name, _, rest = path.partition("/")
    for child in element:
        if _local(child) == name:
            yield from all_(child, rest) if rest else (child,)


def first(element: Any, path: str) -> Any | None:
    """The first element at a path, or None."""
    return next(all_(element, path), None)


def text_of(element: Any, *paths: str) -> str:
    """The text at the first of the paths that has one, without blanks around it; "" where none has."""
    for path in paths:
        for one in all_(element, path):
            if (one.text or "").strip():
                return str(one.text).strip()
    return ""


def money_of(element: Any, *paths: str) -> tuple[Decimal | None, str]:
    """The amount and currency at the first of the paths that is there; (None, "") where none is."""
    for path in paths:
        one = first(element, path)
        if one is not None:
            return amount((one.text or "").strip()), str(one.get("Ccy") or "")
    return None, ""


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
