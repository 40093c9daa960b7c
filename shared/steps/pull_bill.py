"""Pull one date's lines, or a cycle's control totals, and keep the raw pages as they came.

Pages are created once under fixed names, so a pull that was cut off goes on after the last page it kept: that
page holds the token of the next.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

from shared.bill import api
from shared.bill.pulls import CONTROL, Pull, from_order_key
from shared.cycle import stamp
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json, digest
from shared.ports import BillApi, ObjectConflictError, ObjectEvent
from shared.services import Services
from shared.steps import state

PAGE_ROWS = 300  # the most that DescribeInstanceBill gives
PAGES_MAX = 99_999


class PullInconsistentError(ClearbookError):
    """The pages of a pull do not belong together: the bill changed while it was read."""

    code = "pull_inconsistent"


def pull_bill(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Carry out the pull that an order asks for; pulling what is complete changes nothing."""
    pull = from_order_key(event.key)
    if services.buckets.records.exists(pull.complete_key):
        return {"pull": pull.name, "account": pull.account, "pages": 0, "note": "already complete"}
    parties, _ = state.parties(services)
    connector = parties.connectors.get(pull.account)
    if connector is None:
        remedy = "add the payer to the party document, or remove the order"
        raise BadInputError(f"order {event.key}", f"payer account {pull.account} has no connector", remedy)
    provider = services.bill_api(connector)
    pages = _control_pages(services, provider, pull) if pull.what == CONTROL else _line_pages(services, provider, pull)
    complete = {
        "account": pull.account,
        "cycle": str(pull.cycle),
        "what": pull.what,
        "slot": pull.slot,
        "at": stamp(event.at),
        "pages": pages,
    }
    services.buckets.records.put_once(pull.complete_key, canonical_json(complete))
    rows = sum(page["rows"] for page in pages)
    services.record("pull_bill", f"{pull.account}/{pull.name}", stamp(event.at), f"{len(pages)} pages, {rows} rows")
    return {"pull": pull.name, "account": pull.account, "pages": len(pages), "rows": rows}


def _line_pages(services: Services, provider: BillApi, pull: Pull) -> list[dict[str, Any]]:
    query: dict[str, str | int | bool] = {
        "BillingCycle": str(pull.cycle),
        "BillingDate": pull.what,
        "Granularity": "DAILY",
        "IsBillingItem": True,
        "MaxResults": PAGE_ROWS,
    }
    pages: list[dict[str, Any]] = []
    token = ""
    while True:
        if len(pages) == PAGES_MAX:
            remedy = "split the account's bill, or raise PAGES_MAX"
            raise BadInputError(f"pull {pull.name}", f"has more than {PAGES_MAX} pages", remedy)
        key = pull.page_key(len(pages) + 1)
        asked = {**query, **({"NextToken": token} if token else {})}
        body = _kept(services, key) or _fetch(
            services, provider, pull, "DescribeInstanceBill", asked, key, api.parse_page
        )
        page = api.parse_page(body, f"raw page {key}")
        pages.append({"key": key, "digest": digest(body), "rows": len(page.items)})
        if not page.next_token:
            break
        token = page.next_token
    rows = sum(page_["rows"] for page_ in pages)
    if rows != page.total:
        raise PullInconsistentError(
            f"pull {pull.name} of {pull.account} has {rows} rows where the provider counts {page.total}: the bill "
            "changed while it was read; its pages are kept, and the next round asks for the date again"
        )
    return pages


def _control_pages(services: Services, provider: BillApi, pull: Pull) -> list[dict[str, Any]]:
    key = pull.page_key(1)
    query: dict[str, str | int | bool] = {"BillingCycle": str(pull.cycle)}
    body = _kept(services, key) or _fetch(services, provider, pull, "QueryBillOverview", query, key, api.parse_overview)
    rows = api.parse_overview(body, f"raw page {key}")
    return [{"key": key, "digest": digest(body), "rows": len(rows)}]


def _kept(services: Services, key: str) -> bytes | None:
    stored = services.buckets.records.find(key)
    if stored is None:
        return None
    try:
        return gzip.decompress(stored)
    except (OSError, EOFError, zlib.error) as exc:
        remedy = "the next round asks for the date again; find out who wrote it"
        raise BadInputError(f"raw page {key}", f"is no gzip ({exc})", remedy) from exc


def _fetch(
    services: Services,
    provider: BillApi,
    pull: Pull,
    action: str,
    query: dict[str, str | int | bool],
    key: str,
    parse: Callable[[bytes, str], object],
) -> bytes:
    body = provider.call(action, query)
    try:
        parse(body, f"{action} for {pull.account} {pull.name}")
    except BadInputError:
        # A refusal is no page: kept beside the pages, so that it can be read and the pull can be repeated.
        services.buckets.records.put_once(f"{pull.raw_prefix}refused-{digest(body)[:16]}.json.gz", _zipped(body))
        raise
    try:
        services.buckets.records.put_once(key, _zipped(body))
    except ObjectConflictError:
        # Somebody else carried out the same order at the same time: their page counts.
        return gzip.decompress(services.buckets.records.get(key))
    return body


def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)
