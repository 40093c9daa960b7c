"""Priced lines: all that is known of the lines that one settlement has, for whoever may see a part of it.

One row a bill line (and one more for each further currency that an amount of it is in), and one for each amount that
no line of the month has alone: bounds, holdbacks, adjustments. Beside what was billed stand what the operator charges
for it, what the reseller charges its customer, and what the reseller earns. What nobody knows is NULL: a line without a
price plan, or in a case. The rows are the operator's own; `facts` shows of them what a party may see.

They are kept in bucket work, named by the digest of what they were made of, so that nobody computes them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.agreement.price_plan import PricePlan
from shared.bill.line import COLUMNS
from shared.columnar import connect, insert, quoted
from shared.cycle import Cycle
from shared.ids import digest_of
from shared.parties.parties import OPERATOR, Parties
from shared.report.facts import ATTRIBUTES, FACT_ORDER, MONEY
from shared.services import Services
from shared.settlement import prices
from shared.steps import inputs, pricing, state
from shared.steps.inputs import Kept
from shared.steps.looking_back import parts_of
from shared.steps.plans import in_force

if TYPE_CHECKING:
    import duckdb

    from shared.settlement.share import Share

VERSION = 1  # changes with anything that changes a row
COMMISSION, OPERATORS, RESELLERS = "commission", "operators_price", "resellers_price"
UNKNOWN_MONTH = "unknown_month"  # why a line has no price: its plan counts over a year of which one is not known
PRICED = (OPERATORS, RESELLERS, COMMISSION)  # the amounts beside what was billed
# What a settlement line says; `line_id` is empty where it is of no line.
_SAID = "line_id, currency, amount, kind, customer, product_code, account, date, cycle"
_OF_LOOSE = ("cycle", "date", "line_id", "customer", "account", "product_code", "kind")  # of an amount without a line
_OF_QUANTITY = ("usage", "usage_unit", "list_price", "list_price_unit")
_NOTHING = f"(SELECT {', '.join(f'NULL::{type_} AS {name}' for name, type_ in COLUMNS.items())} WHERE false) p"


@dataclass(frozen=True, slots=True)
class Priced:
    """The priced lines of a settlement."""

    kept: Kept
    key: str  # of the Parquet in bucket work
    plans: Sequence[str]  # by which they were priced, each with its version

    @property
    def digest(self) -> str:
        """What they were made of."""
        return Path(self.key).stem


def priced(services: Services, cycle: Cycle, holder: str) -> Priced | None:
    """The priced lines of whoever holds accounts in a month, by name: none while the month has not even a draft."""
    kept = inputs.find_counting(services, holder, str(cycle))
    if kept is None:
        return None
    plans = _plans(services, cycle, holder)
    named = [[one.share, one.id, one.version, one.digest] for one in plans]
    # A plan may need rates that the settlement did without.
    rates = state.tables(services.chain.read(state.CONFIG), state.FX_TABLES) if plans else {}
    made_of = digest_of([VERSION, kept.settlement, named, rates])
    key = f"facts/{cycle}/{holder}/{made_of}.parquet"
    return Priced(kept, key, list(dict.fromkeys(f"{one.id} version {one.version}" for one in plans)))


def local(services: Services, found: Priced, told: Callable[[str], None]) -> Path:
    """The priced lines as a local file, made where nobody has made them yet."""
    path = services.scratch / found.key.replace("/", "_")
    if path.exists():
        return path
    work = services.buckets.work
    if not work.exists(found.key):
        told(f"pricing {found.kept.owner} {found.kept.cycle}")
        made = path.with_suffix(".new")
        _make(services, found.kept, made)
        # Another that priced the same at the same time has the same rows.
        work.upload_once(found.key, made)
        made.unlink()
    work.download(found.key, path)
    return path


def _plans(services: Services, cycle: Cycle, holder: str) -> list[PricePlan]:
    """The plans in force of the sales of lines that a settlement has, with their sellers as shares name them."""
    parties, _ = state.parties(services)
    found = []
    for one in in_force(services, cycle):
        seller = OPERATOR if one.seller in (parties.operator, OPERATOR) else one.seller
        if one.buyer in _buyers(parties, cycle, seller, holder):
            found.append(replace(one, seller=seller))
    return sorted(found, key=lambda one: (one.seller, one.buyer, one.id, one.version))


def _buyers(parties: Parties, cycle: Cycle, seller: str, holder: str) -> set[str | None]:
    """Who buys from a seller what lies in the settlement of a holder."""
    if seller == OPERATOR and holder != OPERATOR:
        return {holder}
    if seller != holder:
        return set()
    mine = [one for one in parties.in_cycle(cycle) if (one.reseller or OPERATOR) == holder]
    return {prices.buyer_of(one, seller) for one in mine}


# -- the rows ---------------------------------------------------------------------------------------------------


def _make(services: Services, kept: Kept, path: Path) -> None:
    manifest = pricing.with_rates(services, kept.manifest(services))
    share = inputs.share_of(services, manifest)
    cycle = Cycle.parse(kept.cycle)
    plans = _plans(services, cycle, kept.owner)
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        _list_mine(connection, parts_of(services, manifest, [cycle]), share)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE money (what VARCHAR, line_id VARCHAR, currency VARCHAR, amount {MONEY}, "
            "kind VARCHAR, customer VARCHAR, product_code VARCHAR, account VARCHAR, date DATE, cycle VARCHAR)"
        )
        connection.execute("CREATE OR REPLACE TEMP TABLE unknown (what VARCHAR, line_id VARCHAR, because VARCHAR)")
        if kept.owner != OPERATOR:
            _add(connection, COMMISSION, *_settled(services, kept))
        for what, seller, buyer in _sales(plans):
            _sell(services, connection, manifest, prices.sale(share, seller, buyer, plans), what)
        _write(connection, kept, path)


def _sales(plans: Sequence[PricePlan]) -> list[tuple[str, str, str]]:
    """What each sale prices: (which amount, seller, buyer)."""
    sold = dict.fromkeys((one.seller, one.buyer) for one in plans)
    return [(OPERATORS if seller == OPERATOR else RESELLERS, seller, buyer) for seller, buyer in sold]


def _list_mine(connection: duckdb.DuckDBPyConnection, parts: Sequence[str], share: Share) -> None:
    """Make `mine`: the lines of the share, with whose they are."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE held_by (account VARCHAR, begins DATE, ends DATE, customer VARCHAR, "
        "reseller VARCHAR)"
    )
    rows = [(a.account, a.begins, a.ends or "9999-12-31", a.customer, a.reseller) for a in share.assignments]
    insert(connection, "held_by", rows, 5)
    mine = "reseller IS NULL" if share.is_operators else f"reseller = {quoted(share.owner)}"
    billed = ", ".join(f"p.{name}" for name in ATTRIBUTES if name not in ("customer", "reseller"))
    source = "read_parquet($paths) p" if parts else _NOTHING
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE mine AS
            SELECT {billed}, h.customer, h.reseller, p.gross AS list_amount, CAST(p.pretax AS {MONEY}) AS billed,
                   p.currency
            FROM {source} LEFT JOIN held_by h ON h.account = p.account AND p.date BETWEEN h.begins AND h.ends
            WHERE {mine}""",  # noqa: S608 - our own names
        {"paths": list(parts)} if parts else {},
    )


def _settled(services: Services, kept: Kept) -> tuple[str, str]:
    """The lines and cases of the settlement itself, as relations."""
    lines, held = (state.local_part(services, kept.folder + f"{name}.parquet") for name in ("lines", "held"))
    return f"read_parquet({quoted(str(lines))})", f"read_parquet({quoted(str(held))})"


def _sell(
    services: Services, connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], sold: Share, what: str
) -> None:
    """Charge a sale; what it cannot charge is unknown, and says why."""
    # A plan that counts over a year of which a month is not known charges nothing, and the others what they would.
    uncounted = [version for version, *_ in pricing.unknown_months(sold)]
    others = [one for one in sold.agreements if one not in uncounted]
    pricing.settle_sale(services, connection, manifest, replace(sold, agreements=others))
    _add(connection, what, "settled", "held")
    for one in uncounted:
        connection.execute(
            "UPDATE unknown SET because = $kind WHERE what = $what AND because = $no_plan AND line_id IN "
            "(SELECT line_id FROM mine WHERE date BETWEEN $begins AND coalesce($ends, DATE '9999-12-31'))",
            {
                "kind": UNKNOWN_MONTH, "what": what, "no_plan": pricing.NO_PLAN,
                "begins": one.begins, "ends": one.ends,
            },
        )  # fmt: skip


def _add(connection: duckdb.DuckDBPyConnection, what: str, settled: str, held: str) -> None:
    """Take over amounts, and which lines are in cases."""
    bearing = "kind NOT IN ('direct', 'own_use')"
    connection.execute(
        f"INSERT INTO money SELECT {quoted(what)}, {_SAID} FROM {settled} WHERE {bearing}"  # noqa: S608
    )
    connection.execute(
        f"INSERT INTO unknown SELECT {quoted(what)}, line_id, min(kind) FROM {held} GROUP BY line_id"  # noqa: S608
    )


def _write(connection: duckdb.DuckDBPyConnection, kept: Kept, path: Path) -> None:
    """Write the rows, in order."""
    cycle = quoted(kept.cycle)
    sums = ", ".join(f"sum(amount) FILTER (what = {quoted(one)}) AS {one}" for one in PRICED)
    of_line = f"cycle = {cycle} AND line_id IN (SELECT line_id FROM mine)"  # noqa: S608
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE by_line AS SELECT line_id, currency, {sums} FROM money WHERE {of_line} "  # noqa: S608
        "GROUP BY line_id, currency"
    )
    whys = ", ".join(f"min(because) FILTER (what = {quoted(one)}) AS {one}_open" for one in PRICED)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE why AS SELECT line_id, {whys} FROM unknown GROUP BY line_id")  # noqa: S608
    attributes = ", ".join(f"m.{name}" for name in ATTRIBUTES)
    nothing = ", ".join(f"NULL AS {name}" for name in ATTRIBUTES if name not in (*_OF_LOOSE, "reseller"))
    amounts, opens = ", ".join(f"b.{one}" for one in PRICED), ", ".join(f"w.{one}_open" for one in PRICED)
    reseller = "NULL" if kept.owner == OPERATOR else quoted(kept.owner)
    none = ", ".join(f"NULL AS {one}_open" for one in PRICED)
    bare = ", ".join(f"NULL AS {n}" if n in _OF_QUANTITY else f"m.{n}" for n in ATTRIBUTES)
    connection.execute(
        f"""COPY (SELECT * FROM (
              SELECT {attributes}, m.list_amount, m.billed, {amounts}, m.currency, {opens}
              FROM mine m LEFT JOIN by_line b ON b.line_id = m.line_id AND b.currency = m.currency
              LEFT JOIN why w ON w.line_id = m.line_id
            UNION ALL BY NAME
              -- An amount in another currency stands beside the line: its quantities are told once.
              SELECT {bare}, NULL AS list_amount, NULL AS billed, {amounts}, b.currency, {opens}
              FROM by_line b JOIN mine m ON m.line_id = b.line_id AND m.currency <> b.currency
              LEFT JOIN why w ON w.line_id = m.line_id
            UNION ALL BY NAME
              SELECT {cycle} AS cycle, date, nullif(line_id, '') AS line_id, customer, {reseller} AS reseller, account,
                     product_code, kind, {nothing}, NULL AS list_amount, NULL AS billed, {sums}, currency, {none}
              FROM money WHERE NOT ({of_line}) GROUP BY ALL HAVING sum(abs(amount)) <> 0)
            ORDER BY {FACT_ORDER}, customer, product_code, {", ".join(PRICED)})
            TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 65536)"""  # noqa: S608
    )
