"""The catalogue: which product, commodity and billing-item codes there are, and what people call them.

What it lists below a code is all that there is below it; below a code without a list nothing is checked, for nobody
knows every billing item of every product.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.ids import canonical_json
from shared.reference.table import Finding, Row, read_table, refuse

if TYPE_CHECKING:
    import duckdb

COLUMNS = ("kind", "code", "parent", "name_zh", "name_en", "category")
CATEGORY, PRODUCT, COMMODITY, BILLING_ITEM = "category", "product", "commodity", "billing_item"
_PARENTS = {COMMODITY: PRODUCT, BILLING_ITEM: COMMODITY}
ROWS_MAX = 100_000
_CODE_MAX, _NAME_MAX = 128, 200


@dataclass(frozen=True, slots=True)
class Names:
    """What a code is called."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Commodity:
    """What a product is sold as; no items: they are not listed."""

    names: Names
    items: Mapping[str, Names] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the provider; no commodities: they are not listed."""

    names: Names
    category: str
    commodities: Mapping[str, Commodity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes that some lines of a bill share, how many lines, and what they cost by currency."""

    product: str | None
    commodity: str | None
    billing_item: str | None
    lines: int
    pretax: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One approved version."""

    categories: Mapping[str, Names]
    products: Mapping[str, Product]

    def unknown(self, codes: Codes) -> str | None:
        """The first of the codes that is not known, in words, or None. What a line lacks is not checked here."""
        if codes.product is None:
            return None
        product = self.products.get(codes.product)
        if product is None:
            return f"product {codes.product}"
        if codes.commodity is None or not product.commodities:
            return None
        commodity = product.commodities.get(codes.commodity)
        if commodity is None:
            return f"commodity {codes.product}/{codes.commodity}"
        if codes.billing_item is None or not commodity.items or codes.billing_item in commodity.items:
            return None
        return f"billing item {codes.product}/{codes.commodity}/{codes.billing_item}"


def codes(connection: duckdb.DuckDBPyConnection, table: str) -> list[Codes]:
    """The distinct codes of a table or view with the columns of a bill line, in order."""
    rows = connection.execute(
        "SELECT product_code, commodity_code, billing_item_code, currency, count(*), sum(pretax) "  # noqa: S608
        f"FROM {table} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    found: dict[tuple[str | None, str | None, str | None], tuple[int, dict[str, Decimal]]] = {}
    for product, commodity, item, currency, lines, pretax in rows:
        before, sums = found.get((product, commodity, item), (0, {}))
        found[product, commodity, item] = before + lines, sums if pretax is None else {**sums, currency: pretax}
    return [Codes(*key, lines, sums) for key, (lines, sums) in found.items()]


def unknown(connection: duckdb.DuckDBPyConnection, table: str, catalogue: Catalogue) -> list[Codes]:
    """The codes of a table that the catalogue does not know."""
    return [one for one in codes(connection, table) if catalogue.unknown(one) is not None]


def unknown_lines(catalogue: Catalogue, found: Iterable[Codes]) -> dict[str, int]:
    """How many lines carry each unknown code, by the code in words."""
    lines: dict[str, int] = {}
    for one in found:
        code = catalogue.unknown(one)
        if code is not None:
            lines[code] = lines.get(code, 0) + one.lines
    return dict(sorted(lines.items()))


# -- the document -----------------------------------------------------------------------------------------------


def read_catalogue(body: bytes, name: str) -> bytes:
    """The catalogue of a CSV file in canonical JSON; DocumentRefusedError lists every row that is wrong.

    A row of kind category, product, commodity or billing_item; `parent` is a commodity's product and a billing
    item's commodity, `category` a product's category. The order of the rows does not matter.
    """
    rows = read_table(body, name, COLUMNS, rows_max=ROWS_MAX)
    findings: list[Finding] = [problem for row in rows for problem in _cells(row)]
    first: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row.cells["kind"], row.cells["parent"], row.cells["code"])
        earlier = first.setdefault(key, row)
        if earlier is not row:
            findings.append((row.place("code"), f"{key[0]} {key[2]!r} stands in line {earlier.line}; keep one"))
    named = {(kind, code) for kind, _, code in first}
    findings += [problem for row in rows for problem in _references(row, named)]
    refuse(name, findings)
    return canonical_json(_document(list(first.values())))


def parse_catalogue(body: bytes) -> Catalogue:
    """The catalogue of an approved document in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    return Catalogue(
        {id_: Names(**names) for id_, names in data["categories"].items()},
        {code: _product(one) for code, one in data["products"].items()},
    )


def _product(data: Mapping[str, Any]) -> Product:
    commodities = {
        code: Commodity(Names(**one["names"]), {item: Names(**names) for item, names in one["billing_items"].items()})
        for code, one in data["commodities"].items()
    }
    return Product(Names(**data["names"]), data["category"], commodities)


def _document(rows: list[Row]) -> dict[str, Any]:
    of: dict[str, list[Row]] = {kind: [] for kind in (CATEGORY, PRODUCT, COMMODITY, BILLING_ITEM)}
    for row in rows:
        of[row.cells["kind"]].append(row)
    # A commodity that has moved from one product to another stands under both, with the same items.
    items: dict[str, dict[str, dict[str, str]]] = {}
    for row in of[BILLING_ITEM]:
        items.setdefault(row.cells["parent"], {})[row.cells["code"]] = _names(row)
    commodities: dict[str, dict[str, Any]] = {}
    for row in of[COMMODITY]:
        one = {"names": _names(row), "billing_items": items.get(row.cells["code"], {})}
        commodities.setdefault(row.cells["parent"], {})[row.cells["code"]] = one
    return {
        "categories": {row.cells["code"]: _names(row) for row in of[CATEGORY]},
        "products": {
            row.cells["code"]: {
                "names": _names(row),
                "category": row.cells["category"],
                "commodities": commodities.get(row.cells["code"], {}),
            }
            for row in of[PRODUCT]
        },
    }


def _names(row: Row) -> dict[str, str]:
    return {"zh": row.cells["name_zh"], "en": row.cells["name_en"]}


def _cells(row: Row) -> list[Finding]:
    """What is wrong with a row by itself."""
    kind = row.cells["kind"]
    if kind not in (CATEGORY, PRODUCT, COMMODITY, BILLING_ITEM):
        expected = f"expected {CATEGORY}, {PRODUCT}, {COMMODITY} or {BILLING_ITEM}"
        return [(row.place("kind"), f"{kind[:40]!r} is no kind, {expected}")]
    findings = []
    for column, limit in (("code", _CODE_MAX), ("name_zh", _NAME_MAX), ("name_en", _NAME_MAX)):
        if not 0 < len(row.cells[column]) <= limit:
            findings.append((row.place(column), f"has {len(row.cells[column])} characters, expected 1 to {limit}"))
    if row.cells["code"] != "".join(row.cells["code"].split()):
        findings.append((row.place("code"), f"{row.cells['code'][:40]!r} holds a blank; write it as the bill does"))
    if row.cells["parent"] and kind not in _PARENTS:
        findings.append((row.place("parent"), f"{row.cells['parent'][:40]!r}: a {kind} has no parent; leave it empty"))
    if row.cells["category"] and kind != PRODUCT:
        findings.append((row.place("category"), f"only a product has a category; leave it empty for a {kind}"))
    return findings


def _references(row: Row, named: Collection[tuple[str, str]]) -> list[Finding]:
    """What a row names and no row of the file is."""
    kind = row.cells["kind"]
    wanted = [("parent", _PARENTS[kind])] if kind in _PARENTS else [("category", CATEGORY)] if kind == PRODUCT else []
    return [
        (row.place(column), f"{row.cells[column][:40]!r} is no {what} of this file; add a row for it")
        for column, what in wanted
        if (what, row.cells[column]) not in named
    ]
