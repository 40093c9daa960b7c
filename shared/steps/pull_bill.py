"""Pull one date's lines, a control of a cycle, or an account's customers, and keep the raw pages as they came.

Pages are created once under fixed names, so a pull that was cut off goes on after the last page it kept: that page
holds the token of the next. A bill that changes while it is read is read anew from its first page, its pages under
a prefix of their own. A pull whose time is up says how far it came and asks for its order once more.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.bill import api
from shared.bill.pulls import CONTROL, CUSTOMERS, MONTHLY, WATCH, Pull, from_order_key
from shared.cycle import stamp
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json, digest
from shared.ports import BillApi, ObjectConflictError, ObjectEvent, ServiceError
from shared.services import Services
from shared.steps import state
from shared.steps.stopping import never

PAGE_ROWS = 300  # the most that DescribeInstanceBill gives
PAGES_MAX = 99_999
TRIES_MAX = 3  # at reading a bill that changes meanwhile

Query = dict[str, str | int | bool]
# What is asked for in one answer.
_SINGLE: Mapping[str, tuple[str, Callable[[bytes, str], list[Any]]]] = {
    CONTROL: ("QueryBillOverview", api.parse_overview),
    WATCH: ("QueryBillOverview", api.parse_overview),
    CUSTOMERS: ("GetCustomerList", api.parse_customers),
}


class PullInconsistentError(ClearbookError):
    """The pages of a pull do not belong together: the bill changed while it was read."""

    code = "pull_inconsistent"


class PullTooSlowError(ClearbookError):
    """The function's time went by without a page that was not kept before."""

    code = "pull_too_slow"
    retryable = True


def pull_bill(services: Services, event: ObjectEvent, stop: Callable[[], bool] = never) -> dict[str, Any]:
    """Carry out the pull that an order asks for, until `stop` says that time is up.

    Pulling what is complete changes nothing.
    """
    pull = from_order_key(event.key)
    if services.buckets.records.exists(pull.complete_key):
        return {"pull": pull.name, "account": pull.account, "pages": 0, "note": "already complete"}
    parties, _ = state.parties(services)
    connector = parties.connectors.get(pull.account)
    if connector is None:
        remedy = "add the payer to the party document, or remove the order"
        raise BadInputError(f"order {event.key}", f"payer account {pull.account} has no connector", remedy)
    puller = _Puller(services, services.bill_api(connector), pull, stop, stamp(event.at))
    try:
        found = puller.one_answer() if pull.what in _SINGLE else puller.all_pages()
    except _OutOfTimeError as exc:
        return _go_on_later(services, pull, exc, stamp(event.at))
    return _complete(services, pull, found, stamp(event.at))


def _complete(services: Services, pull: Pull, found: Mapping[str, Any], at: str) -> dict[str, Any]:
    about = {"account": pull.account, "cycle": str(pull.cycle), "what": pull.what, "slot": pull.slot, "at": at}
    try:
        services.buckets.records.put_once(pull.complete_key, canonical_json({**about, **found}))
    except ObjectConflictError:
        # Whoever carried out the same order at the same time was first; either has read a whole bill.
        return {"pull": pull.name, "account": pull.account, "pages": 0, "note": "completed by another"}
    pages = found["pages"]
    rows = sum(page["rows"] for page in pages)
    note = f"refused: {found['refused']}" if "refused" in found else f"{len(pages)} pages, {rows} rows"
    services.record("pull_bill", f"{pull.account}/{pull.name}", at, note)
    return {"pull": pull.name, "account": pull.account, "pages": len(pages), "rows": rows, "try": found["try"]}


def _go_on_later(services: Services, pull: Pull, stopped: _OutOfTimeError, at: str) -> dict[str, Any]:
    """Keep how far the pull came, then ask for its order once more: who writes orders is another step."""
    from shared.steps.plan_pulls import ask_again  # here: most pulls are not cut off

    work, far = services.buckets.work, stopped.far
    work.put_again(pull.progress_key(stopped.attempt), far.body)
    key = pull.again_key(stopped.attempt, len(far.pages))
    work.put_again(key, ask_again("out of time", at))
    note = f"out of time after {len(far.pages)} pages; goes on"
    services.record("pull_bill", f"{pull.account}/{pull.name}", at, note)
    return {"pull": pull.name, "account": pull.account, "pages": len(far.pages), "note": note}


@dataclass(slots=True)
class _Progress:
    """How far a try came."""

    pages: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    total: int | None = None  # rows that the provider counts
    next_token: str = ""

    def add(self, key: str, body: bytes, page: api.Page) -> None:
        """Take the next page; raises PullInconsistentError where it does not belong to those before."""
        before = "" if self.total is None else f" after {len(self.pages)} pages that said {self.total}"
        if self.total is not None and page.total != self.total:
            raise PullInconsistentError(f"its rows are counted as {page.total}{before}")
        self.pages.append({"key": key, "digest": digest(body), "rows": len(page.items)})
        self.rows, self.total = self.rows + len(page.items), page.total
        if self.rows > self.total or (not page.next_token and self.rows < self.total):
            raise PullInconsistentError(f"it has {self.rows} rows where the provider counts {self.total}")
        if page.next_token and (page.next_token == self.next_token or not page.items):
            raise PullInconsistentError(f"page {len(self.pages)} leads to no further one")
        self.next_token = page.next_token

    @property
    def is_whole(self) -> bool:
        """Whether there is no further page."""
        return bool(self.pages) and not self.next_token

    @property
    def body(self) -> bytes:
        """As an object."""
        far = {"pages": self.pages, "rows": self.rows, "total": self.total, "next_token": self.next_token}
        return canonical_json(far)


class _OutOfTimeError(Exception):
    """Pages were kept and there are more to come; another event must go on."""

    def __init__(self, attempt: int, far: _Progress) -> None:
        super().__init__()
        self.attempt, self.far = attempt, far


@dataclass(frozen=True, slots=True)
class _Puller:
    services: Services
    provider: BillApi
    pull: Pull
    stop: Callable[[], bool]
    at: str

    @property
    def doing(self) -> str:
        return f"pull {self.pull.name} of {self.pull.account}"

    # -- one answer

    def one_answer(self) -> dict[str, Any]:
        """Ask what is answered at once. A provider that knows no customers of the account may say so."""
        action, parse = _SINGLE[self.pull.what]
        key = self.pull.page_key(1)
        query: Query = {} if self.pull.what == CUSTOMERS else {"BillingCycle": str(self.pull.cycle)}
        try:
            body = self.kept(key) or self.fetch(action, query, key, parse)[0]
        except (api.RefusedByProviderError, ServiceError) as exc:
            if self.pull.what != CUSTOMERS or exc.retryable:
                raise
            return {"try": 1, "pages": [], "refused": str(exc)}
        rows = parse(body, f"raw page {key}")
        return {"try": 1, "pages": [{"key": key, "digest": digest(body), "rows": len(rows)}]}

    # -- a chain of pages

    def all_pages(self) -> dict[str, Any]:
        """Read the bill page by page; where it changes meanwhile, anew."""
        records, reasons = self.services.buckets.records, []
        first = self.kept(self.pull.page_key(1))
        for attempt in range(1, TRIES_MAX + 1):
            # Nothing is known of a pull without a first page: most are new, and need not look.
            known = records.find(self.pull.changed_key(attempt)) if first is not None else None
            if known is None:
                try:
                    return {"try": attempt, "pages": self.chain(attempt, first if attempt == 1 else None)}
                except PullInconsistentError as exc:
                    known = canonical_json({"try": attempt, "why": str(exc), "at": self.at})
                    self.note(self.pull.changed_key(attempt), known)
            reasons.append(str(json.loads(known)["why"]))
        raise PullInconsistentError(
            f"{self.doing} was read {TRIES_MAX} times and the bill changed each time: {'; '.join(reasons)}; its pages "
            "are kept, and the next round asks for the date again"
        )

    def chain(self, attempt: int, first: bytes | None) -> list[dict[str, Any]]:
        """The pages of a try, from the last that is kept; raises PullInconsistentError, or _OutOfTimeError."""
        far = self.resumed(attempt) if first is not None or attempt > 1 else _Progress()
        known, is_new = len(far.pages), False
        while not far.is_whole:
            if len(far.pages) > known and self.stop():
                if is_new:
                    raise _OutOfTimeError(attempt, far)
                raise PullTooSlowError(f"{self.doing} read {len(far.pages)} kept pages and had no time for another")
            if len(far.pages) == PAGES_MAX:
                remedy = "split the account's bill, or raise PAGES_MAX"
                raise BadInputError(self.doing, f"has more than {PAGES_MAX} pages", remedy)
            key = self.pull.page_key(len(far.pages) + 1, attempt)
            # Whether the very first page is there was looked at before.
            body = first if attempt == 1 and not far.pages else self.kept(key)
            if body is None:
                body, was_kept = self.fetch_page(far.next_token, key)
                is_new = is_new or was_kept
            far.add(key, body, self.checked(body, key))
        return far.pages

    def resumed(self, attempt: int) -> _Progress:
        found = self.services.buckets.work.find(self.pull.progress_key(attempt))
        return _Progress(**json.loads(found)) if found else _Progress()

    def fetch_page(self, token: str, key: str) -> tuple[bytes, bool]:
        query: Query = {"BillingCycle": str(self.pull.cycle), "IsBillingItem": True, "MaxResults": PAGE_ROWS}
        if self.pull.what == MONTHLY:
            query |= {"Granularity": "MONTHLY"}
        else:
            query |= {"Granularity": "DAILY", "BillingDate": self.pull.what}
        if not token:
            return self.fetch("DescribeInstanceBill", query, key, api.parse_page)
        try:
            return self.fetch("DescribeInstanceBill", {**query, "NextToken": token}, key, api.parse_page)
        except (api.RefusedByProviderError, ServiceError) as exc:
            if exc.retryable:
                raise
            # Which code says that a token is no longer good is not documented. A refusal for another reason comes
            # again where the next try asks for its first page, without a token.
            raise PullInconsistentError(f"the provider refuses to go on: {exc}") from exc

    def checked(self, body: bytes, key: str) -> api.Page:
        page = api.parse_page(body, f"raw page {key}")
        if page.account not in ("", self.pull.account) or page.cycle not in ("", str(self.pull.cycle)):
            problem = f"is of account {page.account}, cycle {page.cycle}"
            remedy = f"expected {self.pull.account}, {self.pull.cycle}: is the connector's secret another payer's?"
            raise BadInputError(f"raw page {key}", problem, remedy)
        return page

    # -- pages

    def kept(self, key: str) -> bytes | None:
        stored = self.services.buckets.records.find(key)
        if stored is None:
            return None
        try:
            return gzip.decompress(stored)
        except (OSError, EOFError, zlib.error) as exc:
            remedy = "the next round asks for the date again; find out who wrote it"
            raise BadInputError(f"raw page {key}", f"is no gzip ({exc})", remedy) from exc

    def fetch(self, action: str, query: Query, key: str, parse: Callable[[bytes, str], object]) -> tuple[bytes, bool]:
        """The answer, kept as the page `key`; and whether it was, or another's of the same order before it."""
        body = self.provider.call(action, query)
        try:
            parse(body, f"{action} for {self.pull.account} {self.pull.name}")
        except BadInputError:
            # A refusal is no page: kept beside the pages, so that it can be read and the pull can be repeated.
            refused = f"{self.pull.raw_prefix}refused-{digest(body)[:16]}.json.gz"
            self.services.buckets.records.put_once(refused, _zipped(body))
            raise
        try:
            self.services.buckets.records.put_once(key, _zipped(body))
        except ObjectConflictError:
            # Somebody else carried out the same order at the same time: their page counts.
            return gzip.decompress(self.services.buckets.records.get(key)), False
        return body, True

    def note(self, key: str, body: bytes) -> None:
        try:
            self.services.buckets.records.put_once(key, body)
        except ObjectConflictError:
            return  # another of the same order has noted it with a reason of its own


def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)
