"""Looking up bill lines, over the rows in memory and over the local Tablestore with its indexes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud import common
from infra.provision.tables import TABLES, indexes_of
from shared.access.scope import Period, Scope, UnscopedError, View, Window
from shared.bill import rows
from shared.bill.line import AMOUNTS, COLUMNS
from shared.bill.lookup import PAGE_MAX, SHOWN, BadTokenError, BillLines, Page
from shared.cloud.admin import TableAdmin
from shared.cloud.credentials import AccessKey
from shared.cloud.tablestore import TablestoreRows
from shared.columnar import connect
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ports import Key, Row, Rows, Value
from tests.bill_parts import Line, bill_line, write_part
from tests.fakes import MemoryRows

JUNE = Cycle(2025, 6)
OPERATOR = Scope.operator()


class Counted:
    """Rows that count the calls that read them, and may answer with rows as they were not."""

    def __init__(self, genuine: Rows) -> None:
        self._genuine = genuine
        self.ranges: list[str] = []
        self.read: list[Key] = []
        self.columns: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._genuine, name)

    def range(self, table: str, start: Key, end: Key, **how: Any) -> Iterator[Row]:
        self.ranges.append(table)
        return self._genuine.range(table, start, end, **how)

    def get_many(self, table: str, keys: Sequence[Key], columns: Sequence[str]) -> list[Row | None]:
        self.read += keys
        self.columns |= set(columns)
        return self._genuine.get_many(table, keys, columns)


@pytest.fixture(scope="module")
def tablestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    home = tmp_path_factory.mktemp("lookup")
    service, keys = common.start("tablestore", home), common.load_keys(home)
    key = AccessKey(keys.access_key_id, keys.access_key_secret)
    endpoint = f"http://127.0.0.1:{service.port}"
    admin = TableAdmin(endpoint, keys.region, keys.instance, key)
    admin.create(rows.TABLE, TABLES[rows.TABLE], indexes_of(rows.TABLE))
    yield TablestoreRows(endpoint, keys.region, keys.instance, lambda: key)
    service.stop()


@pytest.fixture(params=["fake", "tablestore"])
def store(request: pytest.FixtureRequest) -> Counted:
    return Counted(MemoryRows() if request.param == "fake" else request.getfixturevalue("tablestore"))


_seals = iter(range(1, 1_000_000))


def seal(store: Counted, folder: Path, new: Sequence[Line], old: Sequence[Line] | None = None) -> None:
    """Write what a newer seal changes of a day."""
    number = next(_seals)
    part, trace = write_part(folder, "new", new)
    old_part = None if old is None else write_part(folder, "old", old)[0]
    with connect(folder) as connection:
        changed = rows.changed(connection, part, old_part, trace, lambda page: f"raw/{page}", number)
        store.put_newer(rows.TABLE, list(changed), rows.STANDING)


@pytest.fixture
def month(store: Counted, tmp_path: Path, account: str) -> list[Line]:
    """Eight lines of the account on each day of June, of two instances in turns, and one of another account."""
    lines = [
        bill_line(f"{account}-{day}-{n}", account=account, date=f"2025-06-{day:02d}", instance_id=f"i-{n % 2}")
        for day in range(1, 31)
        for n in range(8)
    ]
    other = bill_line(f"{account}-other", account=f"{account}9", date="2025-06-10")
    seal(store, tmp_path, [*lines, other])
    return lines


_accounts = iter(range(5_000_000, 6_000_000))


@pytest.fixture
def account() -> str:
    """An account that no other test uses."""
    return str(next(_accounts))


def customer(account: str, *windows: tuple[int, int | None], who: str = "acme") -> Scope:
    """A customer who has the account from a day of June to another."""
    made = tuple(Window(account, date(2025, 6, b), None if e is None else date(2025, 6, e)) for b, e in windows)
    return Scope(who, View.CUSTOMER, made)


def ids(lines: Sequence[Mapping[str, Value]]) -> list[str]:
    return [str(one["line_id"]) for one in lines]


def all_pages(store: Counted, scope: Scope, account: str, over: Cycle | Period, **how: Any) -> list[Page]:
    lookup, pages, token = BillLines(store), list[Page](), None
    while True:
        if "instance" in how:
            instance = how["instance"]
            more = {name: value for name, value in how.items() if name != "instance"}
            pages.append(lookup.of_instance(scope, account, instance, over, token=token, **more))
        else:
            pages.append(lookup.of_account(scope, account, over, token=token, **how))
        token = pages[-1].token
        if token is None:
            return pages


def lines_of(pages: Sequence[Page]) -> list[Mapping[str, Value]]:
    return [line for page in pages for line in page.lines]


# -- what is found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, PAGE_MAX])
def test_an_accounts_lines_come_by_date_each_once_in_full_pages(
    store: Counted, month: list[Line], account: str, size: int
) -> None:
    over = JUNE if size > 1 else Period(date(2025, 6, 3), date(2025, 6, 4))
    wanted = [line for line in month if size > 1 or line["date"] in ("2025-06-03", "2025-06-04")]
    pages = all_pages(store, OPERATOR, account, over, size=size, columns=["line_id", "date"])

    assert sorted(ids(lines_of(pages))) == sorted(ids(wanted))
    dates = [str(line["date"]) for line in lines_of(pages)]
    assert dates == sorted(dates)
    assert {len(page.lines) for page in pages[:-1]} <= {size}
    assert pages[-1].lines  # no empty page at the end
    assert {page.outside for page in pages} == {()}


def test_dates_over_the_end_of_a_month_reach_into_both_cycles(store: Counted, tmp_path: Path, account: str) -> None:
    days = [("2025-05", "2025-05-30"), ("2025-05", "2025-05-31"), ("2025-06", "2025-06-01"), ("2025-06", "2025-06-02")]
    lines = [bill_line(f"{account}-{day}", account=account, cycle=cycle, date=day) for cycle, day in days]
    seal(store, tmp_path, lines)

    found = BillLines(store).of_account(OPERATOR, account, Period(date(2025, 5, 31), date(2025, 6, 1)))
    assert [line["date"] for line in found.lines] == ["2025-05-31", "2025-06-01"]


def test_an_instances_lines_are_those_of_this_account(
    store: Counted, month: list[Line], account: str, tmp_path: Path
) -> None:
    seal(store, tmp_path, [bill_line(f"{account}-x", account=f"{account}9", instance_id="i-1")])
    found = lines_of(all_pages(store, OPERATOR, account, JUNE, instance="i-1", size=50, columns=["line_id"]))

    assert sorted(ids(found)) == sorted(ids([line for line in month if line["instance_id"] == "i-1"]))
    assert BillLines(store).of_instance(OPERATOR, account, "i-2", JUNE) == Page(())


def test_a_line_is_found_by_its_id(store: Counted, month: list[Line], account: str) -> None:
    [found] = BillLines(store).line(OPERATOR, f"{account}-10-1").lines

    assert found == {
        **{name: found[name] for name in ("gross", "pretax", "list_price")},
        "line_id": f"{account}-10-1", "payer": "100", "account": account, "cycle": "2025-06", "date": "2025-06-10",
        "product_code": "ecs", "instance_id": "i-1", "kind": "usage", "currency": "CNY",
        "source": "raw/1", "source_row": 73, "seal": found["seal"],
    }  # fmt: skip
    assert (found["pretax"], found["gross"]) == ("1.5000000000", "2.0000000000")
    assert BillLines(store).line(OPERATOR, f"{account}-10-11") == Page(())


def test_only_the_named_columns_are_read_and_answered(store: Counted, month: list[Line], account: str) -> None:
    [line, *_] = BillLines(store).of_account(OPERATOR, account, JUNE, columns=["pretax"], size=3).lines

    assert dict(line) == {"pretax": "1.5000000000"}
    assert store.columns == {"pretax", "account", "date", "instance_id", "gone"}


def test_a_page_costs_about_its_own_lines(store: Counted, month: list[Line], account: str) -> None:
    BillLines(store).of_account(OPERATOR, account, JUNE, size=100)

    assert len(store.read) == 100
    assert len(store.ranges) <= 2 * len(rows.SHARDS)


# -- what is gone, and what changes meanwhile -----------------------------------------------------------------------


def test_a_line_that_is_gone_is_shown_only_where_asked_for(store: Counted, tmp_path: Path, account: str) -> None:
    old = [bill_line(f"{account}-{n}", account=account) for n in range(30)]
    seal(store, tmp_path, old)
    seal(store, tmp_path, old[:1] + old[29:], old)
    lookup = BillLines(store)

    def found(**how: Any) -> Page:
        return lookup.of_account(OPERATOR, account, JUNE, columns=["line_id", "pretax"], **how)

    assert sorted(ids(found(size=2).lines)) == [f"{account}-0", f"{account}-29"]
    everything = found(size=100, is_gone_shown=True).lines
    assert sorted(ids(everything)) == sorted(ids(old))
    assert {(one.get("gone"), "pretax" in one) for one in everything} == {(None, True), (True, False)}
    assert lookup.line(OPERATOR, f"{account}-5") == Page(())
    assert lookup.line(OPERATOR, f"{account}-5", is_gone_shown=True).lines[0]["gone"] is True
    assert len(lookup.of_instance(OPERATOR, account, "i-1", JUNE, is_gone_shown=True).lines) == 30


def test_a_line_that_moved_is_shown_where_it_is_now(store: Counted, tmp_path: Path, account: str) -> None:
    before = bill_line(f"{account}-a", account=account, date="2025-06-03")
    after = bill_line(f"{account}-a", account=account, date="2025-06-20")
    seal(store, tmp_path, [before])
    seal(store, tmp_path, [after], [before])

    found = BillLines(store).of_account(OPERATOR, account, JUNE, columns=["date"]).lines
    assert [dict(one) for one in found] == [{"date": "2025-06-20"}]


def test_an_entry_that_is_older_than_its_row_shows_nothing_the_row_is_not(
    store: Counted, tmp_path: Path, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service keeps its indexes some milliseconds behind the rows."""
    mine = bill_line(f"{account}-a", account=account, date="2025-06-03")
    seal(store, tmp_path, [mine])
    lookup, genuine = BillLines(store), store._genuine.get_many
    for changed in ({"account": f"{account}9"}, {"date": "2025-06-20"}, {"date": "2025-06-04"}):

        def later(table: str, keys: Any, columns: Any, changed: Any = changed) -> list[Any]:
            return [{**row, **changed} for row in genuine(table, keys, columns) if row is not None]

        monkeypatch.setattr(store, "get_many", later)
        assert lookup.of_account(customer(account, (1, 15)), account, JUNE).lines == ()
        assert lookup.of_instance(customer(account, (1, 15)), account, "i-1", JUNE).lines == ()


# -- scopes -------------------------------------------------------------------------------------------------------


def test_a_customer_sees_its_account_on_its_dates_and_is_told_of_the_rest(
    store: Counted, month: list[Line], account: str
) -> None:
    scope = customer(account, (1, 9), (20, 25))
    pages = all_pages(store, scope, account, JUNE, size=50, columns=["line_id", "date"])

    days = [*range(1, 10), *range(20, 26)]
    assert sorted(ids(lines_of(pages))) == sorted(f"{account}-{day}-{n}" for day in days for n in range(8))
    rest = (Period(date(2025, 6, 10), date(2025, 6, 19)), Period(date(2025, 6, 26), date(2025, 6, 30)))
    assert {page.outside for page in pages} == {rest}
    assert pages[0].outside_days == 15
    instance = lines_of(all_pages(store, scope, account, JUNE, instance="i-0", size=50, columns=["line_id"]))
    assert len(instance) == len(days) * 4


def test_what_lies_outside_a_scope_is_not_even_read(store: Counted, month: list[Line], account: str) -> None:
    stranger = customer(f"{account}9", (1, 30))
    pages = [
        BillLines(store).of_account(stranger, account, JUNE),
        BillLines(store).of_instance(stranger, account, "i-1", JUNE),
        BillLines(store).of_account(stranger, "nobody's", JUNE),  # the same answer: nothing tells that one exists
    ]
    assert pages == [Page((), None, (Period.of(JUNE),))] * 3
    assert (store.ranges, store.read) == ([], [])


def test_a_line_of_another_is_answered_as_one_that_does_not_exist(
    store: Counted, month: list[Line], account: str
) -> None:
    lookup, mine = BillLines(store), customer(account, (1, 9))

    assert ids(lookup.line(mine, f"{account}-9-0").lines) == [f"{account}-9-0"]
    unseen = [lookup.line(mine, one) for one in (f"{account}-10-0", f"{account}-other", "nobody's")]
    assert unseen == [Page(())] * 3


@pytest.mark.parametrize("view", [View.CUSTOMER, View.RESELLER])
def test_a_party_sees_no_cost_and_nothing_of_the_payer(
    store: Counted, month: list[Line], account: str, view: View
) -> None:
    scope = Scope("party", view, (Window(account, date(2025, 1, 1), None),))
    hidden = {*AMOUNTS, "payer", "repair", "source", "source_row", "seal", "account_key", "standing"} - {"gross"}
    lookup = BillLines(store)

    shown = [*lookup.of_account(scope, account, JUNE).lines, *lookup.line(scope, f"{account}-1-1").lines]
    assert hidden.isdisjoint(name for line in shown for name in line)
    assert hidden.isdisjoint(store.columns)
    for name in sorted(hidden):
        with pytest.raises(BadInputError, match=f"there is no {name};"):
            lookup.of_account(scope, account, JUNE, columns=["line_id", name])
        with pytest.raises(BadInputError, match=f"there is no {name};"):
            lookup.line(scope, f"{account}-1-1", columns=[name])


def test_an_amount_is_hidden_from_parties_unless_it_is_named_as_shown() -> None:
    for view in (View.CUSTOMER, View.RESELLER):
        shown = [name for name in SHOWN[view] if COLUMNS.get(name, "").startswith("DECIMAL(28")]
        assert shown == ["gross"]
    assert set(COLUMNS) < set(SHOWN[View.OPERATOR])


@pytest.mark.parametrize("scope", [None, "operator", {"who": "operator"}])
def test_nothing_is_answered_without_a_scope(store: Counted, month: list[Line], account: str, scope: Any) -> None:
    lookup = BillLines(store)
    questions: list[Callable[[], Page]] = [
        lambda: lookup.line(scope, f"{account}-1-1"),
        lambda: lookup.of_account(scope, account, JUNE),
        lambda: lookup.of_instance(scope, account, "i-1", JUNE),
    ]
    for ask in questions:
        with pytest.raises(UnscopedError):
            ask()
    assert (store.ranges, store.read) == ([], [])


# -- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_serves_its_own_question_and_scope_alone(store: Counted, month: list[Line], account: str) -> None:
    lookup, scope = BillLines(store), customer(account, (1, 20))
    token = lookup.of_account(scope, account, JUNE, size=5).token
    assert token is not None
    assert len(lookup.of_account(scope, account, JUNE, size=9, token=token).lines) == 9  # another size is no matter

    week = Period(date(2025, 6, 1), date(2025, 6, 7))
    others: list[Callable[[], Page]] = [
        lambda: lookup.of_account(OPERATOR, account, JUNE, token=token),
        lambda: lookup.of_account(customer(account, (1, 21)), account, JUNE, token=token),
        lambda: lookup.of_account(customer(account, (1, 20), who="atlas"), account, JUNE, token=token),
        lambda: lookup.of_account(scope, account, week, token=token),
        lambda: lookup.of_account(scope, f"{account}9", JUNE, token=token),
        lambda: lookup.of_account(scope, account, JUNE, columns=["line_id"], token=token),
        lambda: lookup.of_account(scope, account, JUNE, is_gone_shown=True, token=token),
        lambda: lookup.of_instance(scope, account, "i-1", JUNE, token=token),
    ]
    for ask in others:
        with pytest.raises(BadTokenError, match="ask for the first page again"):
            ask()


def test_a_damaged_token_is_refused(store: Counted, month: list[Line], account: str) -> None:
    lookup = BillLines(store)
    token = lookup.of_account(OPERATOR, account, JUNE, size=5).token
    assert token is not None
    check, *_ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))

    def made(*parts: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")

    line = "0" * 32
    for broken in (
        "", "x", "{}", "é", token[:-3], token + "!", made(), made(check), made(check, "2025-06-10", "0" * 31),
        made(check, "2025-06-10", "g" * 32), made(check, "10 June", line), made(check, 5, line),
        made(check, "2025-06-10", None), made(None, "2025-06-10", line), made(check, "2025-06-10", line, 1),
    ):  # fmt: skip
        with pytest.raises(BadTokenError):
            lookup.of_account(OPERATOR, account, JUNE, token=broken)


def test_a_forged_token_gets_no_more_than_the_scope_sees(store: Counted, month: list[Line], account: str) -> None:
    lookup, scope = BillLines(store), customer(account, (10, 12))
    token = lookup.of_account(scope, account, JUNE, columns=["date"], size=5).token
    assert token is not None
    check, *_ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))

    def page(day: str) -> Page:
        forged = base64.urlsafe_b64encode(json.dumps([check, day, "0" * 32]).encode()).decode()
        return lookup.of_account(scope, account, JUNE, token=forged, columns=["date"])

    assert {line["date"] for line in page("2025-06-01").lines} == {"2025-06-10", "2025-06-11", "2025-06-12"}
    assert page("2025-06-13").lines == ()


def test_a_token_holds_nothing_that_is_not_the_askers(store: Counted, month: list[Line], account: str) -> None:
    scope = customer(account, (1, 20))
    page = BillLines(store).of_account(scope, account, JUNE, size=5, columns=["line_id", "date"])
    assert page.token is not None
    _, day, line = json.loads(base64.urlsafe_b64decode(page.token + "=" * (-len(page.token) % 4)))

    assert day == page.lines[-1]["date"]
    assert len(line) == 32


def test_a_page_has_a_size(store: Counted, account: str) -> None:
    for size in (0, -1, PAGE_MAX + 1):
        with pytest.raises(BadInputError, match=f"ask for 1 to {PAGE_MAX}"):
            BillLines(store).of_account(OPERATOR, account, JUNE, size=size)
    with pytest.raises(BadInputError, match="no column is named"):
        BillLines(store).of_account(OPERATOR, account, JUNE, columns=[])
