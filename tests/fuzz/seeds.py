"""Where the search begins: a small bill in every form of file, pages of it, tags in each notation, and names."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import duckdb

from tests.bill_files import CYCLE, billed, classic, others

ROWS = 5
TAGS = (
    "key:team value:red; key:cost centre value:a;b:c",
    "team:red;url:http://a;b;c",
    '{"team": "red", "a": "b;c"}',
)
NAMES = (
    "bills/1234567890123456_BillingItemDetail_202506",
    "bills/1234567890123456_1_consumeDetailBillV2_20250630",
    "bills/import/1234567890123456/2025-06/any.csv",
    "bills/import/1234567890123456/2025-13/x/1_BillingItemDetailMonthly_202513",
    "bills/169_PartnerBillingItemDetail_202506_0001_02",
)
PAGE = {
    "Success": True,
    "Code": "Success",
    "RequestId": "r-1",
    "Data": {"BillingCycle": CYCLE, "AccountID": "1234567890123456", "TotalCount": 2, "NextToken": None, "Items": []},
}
ITEM = {
    "BillAccountID": "1234567890123456", "OwnerID": "2234567890123456", "BillingDate": "2025-06-05",
    "ProductCode": "ecs", "ProductName": "弹性", "SubscriptionType": "PayAsYouGo", "Item": "PayAsYouGoBill",
    "BillingItemCode": "cpu", "InstanceID": "i-1", "Tag": TAGS[0], "Usage": "1.5", "ListPrice": "0.25",
    "PretaxGrossAmount": 1.25, "InvoiceDiscount": 0.05, "PretaxAmount": 1.2, "Currency": "CNY",
}  # fmt: skip


def files() -> tuple[str, dict[str, bytes]]:
    """The payer, and bill files by what they are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with billed(folder / "home", 200) as bill:
            paths = {**classic(folder, bill), **others(folder, bill)}
            account = bill.account
        found = {}
        for key, path in paths.items():
            body = _parquet(path, folder) if key == "partner-parquet" else _short(path.read_bytes())
            found[key] = body
    found["gzip"] = gzip.compress(found["classic-zh"], mtime=0)
    found["zip"] = packed({"1": found["v2"], "2": found["v2"].replace(b"\r\n", b"\n")})
    return account, found


def pages() -> list[bytes]:
    """Answers of the API."""
    odd = {**ITEM, "PretaxAmount": "-0", "Tag": "", "Item": "Refund"}
    refused = {"Success": False, "Code": "NotAuthorized", "Message": "no"}
    return [page(), page(ITEM, odd), page(ITEM, ITEM), json.dumps(refused).encode()]


def page(*items: dict[str, Any]) -> bytes:
    """A page with these items."""
    data = {**PAGE["Data"], "Items": items}  # type: ignore[dict-item]
    return json.dumps({**PAGE, "Data": data}, ensure_ascii=False).encode()


def packed(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED)
    return found.getvalue()


def _short(body: bytes) -> bytes:
    """The first rows of a file, and the last, which may be one of sums, though of other rows: a seed as well."""
    if body.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return packed({name: _short(archive.read(name)) for name in archive.namelist()[:2]})
    lines = body.splitlines(keepends=True)
    return b"".join([*lines[: ROWS + 1], *lines[-1:]])


def _parquet(path: Path, folder: Path) -> bytes:
    short = folder / "short.parquet"
    duckdb.sql(f"COPY (FROM read_parquet('{path}') LIMIT {ROWS}) TO '{short}' (FORMAT parquet)")
    return short.read_bytes()
