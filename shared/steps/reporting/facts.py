"""Facts: of the priced lines of some months, what a scope may see, and whether it may still change.

This is the one place where the rows of everybody become those of somebody: each view has columns of its own, and rows
are those of the party itself. Nothing else of what is priced leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from shared.access.scope import Scope, View, scoped
from shared.columnar import insert, quoted
from shared.control import months
from shared.cycle import SHANGHAI, Cycle, parse_date, parse_instant, stamp
from shared.ids import Digest, digest_of
from shared.money import EXACT
from shared.parties.parties import OPERATOR, Parties
from shared.report.facts import ATTRIBUTES, FACT_TYPES, MONEY, fact_columns
from shared.report.language import Names
from shared.services import Services
from shared.steps import casework, state
from shared.steps.inputs import Kept
from shared.steps.reporting import priced
from shared.steps.reporting.priced import COMMISSION, OPERATORS, RESELLERS, Priced

if TYPE_CHECKING:
    import duckdb

# Which priced amount a view has as which of a fact; the customer of the operator itself buys at the operator's price.
_SEEN: Mapping[View, Mapping[str, str]] = {
    View.OPERATOR: {"price": OPERATORS, "cost": "billed", "commission": COMMISSION},
    View.RESELLER: {"price": RESELLERS, "cost": OPERATORS, "commission": COMMISSION},
    View.CUSTOMER: {"price": RESELLERS},
}


_END_OF_DAY = time(23, 59, 59)


@dataclass(frozen=True, slots=True)
class Late:
    """By what the bill of a locked month is another now, in one currency."""

    currency: str
    lines: int
    pretax: Decimal


@dataclass(frozen=True, slots=True)
class Month:
    """What is known of one month of one holder."""

    cycle: Cycle
    holder: str
    found: Priced | None  # none: not even a draft
    is_locked: bool  # of the operator's share, which nobody locks: settled from the final bill, no case in the way
    late: Sequence[Late]  # what came after it was locked, which later months adjust, and which is in no row of it
    as_of: str  # when it was settled; of a draft, the end of the last day that it has seen; "" where there is neither


@dataclass(frozen=True, slots=True)
class Known:
    """The months that a question touches, of every holder whose lines the scope may see."""

    months: Sequence[Month]

    @property
    def digest(self) -> Digest:
        """What tells what is known now from what was known before."""
        return digest_of(
            [
                [str(one.cycle), one.holder, one.found and one.found.key, one.is_locked, *map(str, one.late)]
                for one in self.months
            ]
        )

    @property
    def is_final(self) -> bool:
        """Whether nothing of it may change any more."""
        return bool(self.months) and all(one.is_locked for one in self.months)

    @property
    def as_of(self) -> str:
        """When the newest of it was seen, "" where there is nothing."""
        return max((one.as_of for one in self.months if one.as_of), key=parse_instant, default="")

    @property
    def plans(self) -> list[str]:
        """The price plans, each with its version."""
        return sorted({plan for one in self.months if one.found for plan in one.found.plans})


def known(services: Services, scope: Scope, cycles: Sequence[Cycle]) -> Known:
    """What is known of some months for a scope."""
    parties, _ = state.parties(services)
    return Known([_month(services, cycle, holder) for cycle in cycles for holder in _holders(parties, scope, cycle)])


def load(
    services: Services,
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    found: Known,
    told: Callable[[str], None],
    table: str = "fact",
) -> None:
    """Make the view `table`: what the scope may see, in the columns of its view (`fact_columns`)."""
    paths = [(one, priced.local(services, one.found, told)) for one in found.months if one.found is not None]
    _list_windows(connection, scoped(scope), table)
    selects = [_select(scope, one, path, table) for one, path in paths] or [_nothing(scope)]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {' UNION ALL '.join(selects)}")


def _holders(parties: Parties, scope: Scope, cycle: Cycle) -> list[str]:
    """Who holds accounts of the scope in a month: whose settlements have its lines."""
    mine = parties.in_cycle(cycle)
    if scope.view is View.RESELLER:
        return [scope.who] if any(one.reseller == scope.who for one in mine) else []
    if scope.view is View.CUSTOMER:
        return sorted({one.reseller or OPERATOR for one in mine if one.customer == scope.who})
    return [*sorted({one.reseller for one in mine if one.reseller is not None}), OPERATOR]


def _month(services: Services, cycle: Cycle, holder: str) -> Month:
    entries = services.chain.read(months.stream_of(holder, str(cycle)))
    entry = months.months(entries).get(str(cycle))
    calculated = entry.calculated if entry is not None else None
    is_locked = entry is not None and entry.locked is not None
    if holder == OPERATOR and calculated is not None:
        is_locked = all(one.accepted for one in casework.open_cases(services, holder, str(cycle), entries))
    found = priced.priced(services, cycle, holder)
    as_of = calculated.at if calculated is not None else seen(services, found.kept) if found is not None else ""
    return Month(cycle, holder, found, is_locked, _late(entry) if entry is not None else [], as_of)


def _late(month: months.Month) -> list[Late]:
    """The newest look at a locked month beside what it was locked with."""
    if month.calculated is None or not month.late:
        return []
    then, now = month.calculated.body["bill"], month.late[-1].body["bill"]
    none = {"lines": 0, "pretax": "0"}
    found = []
    for currency in sorted(then.keys() | now.keys()):
        before, after = then.get(currency, none), now.get(currency, none)
        pretax = EXACT.subtract(Decimal(after["pretax"]), Decimal(before["pretax"]))
        found.append(Late(currency, after["lines"] - before["lines"], pretax))
    return [one for one in found if one.lines or one.pretax]


def seen(services: Services, draft: Kept) -> str:
    """The end of the last day that a draft has seen."""
    manifest = draft.manifest(services)
    days = [day for parts in manifest["bills"].values() for day in parts]
    last = parse_date(max(days)) if days else Cycle.parse(str(manifest["cycle"])).first
    return stamp(datetime.combine(last, _END_OF_DAY, SHANGHAI))


# -- what a scope sees ------------------------------------------------------------------------------------------


def _list_windows(connection: duckdb.DuckDBPyConnection, scope: Scope, table: str) -> None:
    """Make the table of the accounts of the scope, by date."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table}_window (account VARCHAR, begins DATE, ends DATE)")
    windows = scope.windows or ()
    rows = [(one.account, one.begins, one.ends or "9999-12-31") for one in windows]
    insert(connection, f"{table}_window", rows, 3)


def _select(scope: Scope, month: Month, path: Path, table: str) -> str:
    """The facts of a holder's month."""
    seen = dict(_SEEN[scope.view])
    if scope.view is View.CUSTOMER and month.holder == OPERATOR:
        seen["price"] = OPERATORS
    opens = ", ".join(f"{one}_open" for one in seen.values() if one != "billed")
    told = {
        **{name: name for name in ATTRIBUTES},
        "list_amount": "list_amount",
        "price": "NULL", "cost": "NULL", "commission": "NULL",
        **{name: f"CAST({column} AS {MONEY})" for name, column in seen.items()},
        "currency": "currency",
        "open_case": f"coalesce({opens}, NULL)",
    }  # fmt: skip
    columns = ", ".join(f"{told[name]} AS {name}" for name in fact_columns(scope.view))
    return f"SELECT {columns} FROM read_parquet({quoted(str(path))}) f WHERE {_may_see(scope, seen, table)}"  # noqa: S608


def _may_see(scope: Scope, seen: Mapping[str, str], table: str) -> str:
    """Which rows are the scope's own."""
    # An amount that no line has is somebody's if it is in an amount that they see.
    amounts = ", ".join(seen.values())
    is_theirs = f"(list_amount IS NOT NULL OR billed IS NOT NULL OR coalesce({amounts}, NULL) IS NOT NULL)"
    if scope.windows is None:
        return is_theirs
    within = f"EXISTS (FROM {table}_window w WHERE w.account = f.account AND f.date BETWEEN w.begins AND w.ends)"
    of_party = is_theirs if scope.view is View.RESELLER else f"customer = {quoted(scope.who)} AND {is_theirs}"
    return f"{of_party} AND (account IS NULL OR date IS NULL OR {within})"


def _nothing(scope: Scope) -> str:
    typed = ", ".join(f"NULL::{FACT_TYPES[name]} AS {name}" for name in fact_columns(scope.view))
    return f"SELECT {typed} WHERE false"


def hidden(scope: Scope, accounts: Sequence[str]) -> list[Names]:
    """What of the accounts that the asker itself named lies outside what it may see."""
    if scope.windows is None:
        return []
    mine = {one.account for one in scope.windows}
    outside = [one for one in accounts if one not in mine]
    if not outside:
        return []
    count = len(outside)
    en = f"{count} of the accounts that were named {'are' if count > 1 else 'is'} outside your access"
    return [{"en": en, "zh": f"所列账号中有 {count} 个不在您的访问范围内"}]
