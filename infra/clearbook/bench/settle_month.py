"""A month of any number of lines with all that agreements can say, for measuring how it is settled.

20 resellers have ten customers each, a customer three accounts, an account instances with two billing items that are
charged each day: 30 day parts, as sealing writes them. Agreement versions change on the 16th, some accounts their
customer or reseller on the 11th. A fifth of the instances' items have three refunds, which makes two lines in a
hundred: of one charge by its record, of charges of exactly the amount, of several charges, or of nothing known.
Amounts are made from the numbers of lines, so they are exact and the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from shared.agreement.agreement import Agreement, Band, Bound, Earning, Exclusion, Payout, Rule, Scale, rate
from shared.bill.line import COLUMNS
from shared.columnar import connect, quoted
from shared.cycle import Cycle
from shared.ids import digest
from shared.money import Mode
from shared.parties.parties import Assignment
from shared.settlement.share import Share

CYCLE = Cycle(2025, 6)
RESELLERS, CUSTOMERS, ACCOUNTS = 20, 200, 600
PRODUCTS, RULES = 12, 40
FIRST, LAST = date(2025, 1, 1), date(2025, 6, 30)
MOVED, CHANGED = date(2025, 6, 11), date(2025, 6, 16)


@dataclass(frozen=True, slots=True)
class Written:
    """A month on disk."""

    lines: int
    parts: tuple[str, ...]
    counts: tuple[dict[str, int], ...]  # lines of each account, by part


def write(folder: Path, lines: int) -> Written:
    """Write the day parts."""
    folder.mkdir(parents=True)
    parts, counts = [], []
    with connect(folder / "spill") as connection:
        connection.execute("SET enable_progress_bar = false")
        for day in range(1, 31):
            path = folder / f"{day:02d}.parquet"
            of_day = lines // 30 + (day <= lines % 30)
            connection.execute(
                f"COPY ({_lines_sql(day, of_day)}) TO {quoted(str(path))} "
                "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 65536)"
            )
            rows = connection.execute("SELECT account, count(*) FROM read_parquet(?) GROUP BY 1", [str(path)])
            parts.append(str(path))
            counts.append(dict(rows.fetchall()))
    return Written(lines, tuple(parts), tuple(counts))


def _lines_sql(day: int, count: int) -> str:
    """One day's lines: of each instance's item `k` its charge, or one of its refunds on the 20th, 24th and 28th."""
    refunds = {20: 0, 24: 1, 28: 2}
    nth = refunds.get(day, -1)
    instance = f"k // {2 * ACCOUNTS} * {ACCOUNTS} + k % {ACCOUNTS}"
    # How the items with refunds have them: by record, exactly, of several charges, of nothing known.
    manner = f"CASE WHEN {nth} >= 0 AND (k + k // {ACCOUNTS}) % 5 = 0 THEN (k + k // {ACCOUNTS}) // 5 % 4 END"
    undone = f"CASE manner WHEN 0 THEN {12 if nth == 2 else 10} WHEN 1 THEN {11 + max(nth, 0) * 2} ELSE {day} - 1 END"
    # Of a charge of 100: 30, then 20, and all of another; two charges and a half.
    pretax = f"""CASE WHEN manner IS NULL THEN {_amount(str(day))}
        WHEN manner = 0 THEN -{_amount(undone)} * {("0.3", "0.2", "1")[nth]} WHEN manner = 1 THEN -{_amount(undone)}
        WHEN manner = 2 THEN -{_amount(str(day - 1))} - {_amount(str(day - 2))} * 0.5 - 0.000001 ELSE -1.5 END"""
    known = {
        "line_id": f"left(sha256('{day}/' || k), 32)",
        "payer": "'1000000000000001'",
        "account": "account",
        "cycle": f"'{CYCLE}'",
        "date": f"DATE '2025-06-{day:02d}'",
        "service_from": f"DATE '2025-06-{day:02d}'",
        "service_until": f"DATE '2025-06-{day:02d}'",
        "product_code": f"'product-' || (mix % {PRODUCTS})",
        "product_name": f"'Product ' || (mix % {PRODUCTS})",
        "commodity_code": f"'commodity-' || (mix % {PRODUCTS})",
        "billing_item_code": "'item-' || item",
        "billing_item": "'Item ' || item",
        "region": "'region-' || (mix // 12 % 8)",
        "zone": "'zone-' || (mix // 12 % 8) || '-' || (mix // 12 % 3)",
        "instance_id": "CASE WHEN manner = 3 THEN 'i-gone-' ELSE 'i-' END || instance",
        "instance_name": "'host ' || instance",
        "instance_spec": "'spec-' || (mix // 5 % 30)",
        "resource_group": "'group-' || (mix // 3 % 5)",
        "cost_unit": "'unit-' || (mix // 7 % 7)",
        "tags": """CASE WHEN mix // 9 % 6 > 0 THEN '{"env":"' || ['prod', 'test', 'dev'][1 + mix // 96 % 3]
                   || '","team":"team-' || (mix // 5 % 17) || '","app":"app-' || (mix // 7 % 23) || '"}' END""",
        "subscription_type": "CASE WHEN mix // 11 % 7 = 3 THEN 'Subscription' ELSE 'PayAsYouGo' END",
        "order_type": "CASE WHEN mix // 11 % 7 = 3 THEN 'New' END",
        "kind": "CASE WHEN manner = 0 THEN 'chargeback' WHEN manner IS NOT NULL THEN 'refund' "
        "WHEN mix // 11 % 7 = 3 THEN 'subscription' ELSE 'usage' END",
        "usage": "CAST(1 + k % 24 AS DECIMAL(38,18))",
        "usage_unit": "'Hour'",
        "list_price": "0.125",
        "list_price_unit": "'CNY/Hour'",
        "gross": "pretax * 1.25",
        "discount": "pretax * 0.25",
        "round_down": "0",
        "coupon": "0",
        "pretax": "pretax",
        "cash_coupon": "0",
        "prepaid_card": "0",
        "payment": "pretax",
        "outstanding": "0",
        "tax": "0",
        "currency": "'CNY'",
        "record_id": f"'{day}/' || k",
        "related_record": f"CASE WHEN manner = 0 THEN ({undone}) || '/' || k END",
    }
    select = ", ".join(f"CAST({known.get(name, 'NULL')} AS {type_}) AS {name}" for name, type_ in COLUMNS.items())
    return f"""
        WITH item AS (
            SELECT k, k % {ACCOUNTS} AS place, k // {ACCOUNTS} % 2 AS item, {instance} AS instance,
                   (instance * 7919 + instance // {ACCOUNTS} * 104729) % 10007 AS mix, {manner} AS manner
            FROM range({count}) r(k)
        ), priced AS (
            SELECT *, {_account("place")} AS account, CAST({pretax} AS DECIMAL(28,10)) AS pretax FROM item
        )
        SELECT {select} FROM priced ORDER BY account, line_id"""  # noqa: S608


def _account(place: str) -> str:
    """SQL for an account's number: those of a reseller are not beside each other."""
    return f"CAST(1000000000 + {place} * 7919 % 100003 AS VARCHAR)"


def _amount(day: str) -> str:
    """SQL for what an item is charged on a day: on no two days the same."""
    return f"((k * 7919 + ({day}) * 104729) % 100003 + 1) * 0.0001 * (1 + place // 3 % 10)"


# -- who is who, and what is agreed -------------------------------------------------------------------------------


def shares(lines: int) -> list[Share]:
    """What the settlement of each reseller reads beside the lines."""
    assigned = _assignments()
    return [Share(_reseller(n), CYCLE, assigned, [_version(n, 1, lines), _version(n, 2, lines)]) for n in range(20)]


def _reseller(number: int) -> str:
    return f"reseller-{number:02d}"


def _assignments() -> list[Assignment]:
    found = []
    for place in range(ACCOUNTS):
        account = str(1000000000 + place * 7919 % 100003)
        customer = place // 3
        moved = {0: customer + 10, 10: customer + 1}.get(place % 20)  # to another reseller; to another customer of it
        ends = None if moved is None else MOVED - timedelta(days=1)
        found.append(_assigned(account, customer, FIRST, ends))
        if moved is not None:
            found.append(_assigned(account, moved % CUSTOMERS, MOVED, None))
    return found


def _assigned(account: str, customer: int, begins: date, ends: date | None) -> Assignment:
    return Assignment(account, f"customer-{customer:03d}", _reseller(customer // 10), "reseller", begins, ends)


def _version(reseller: int, version: int, lines: int) -> Agreement:
    """One of a reseller's two versions. What bounds are about grows with the lines, so that as many are reached."""
    spent = Decimal(lines * 5) / CUSTOMERS  # about what the lines of a small customer come to
    more = 2 * version + reseller % 3
    scales = (
        Scale("spend", "customer", _bands(more, spent, 3 * spent, 6 * spent)),
        Scale("volume", "reseller", _bands(more, 5 * spent, 15 * spent), method="all_units"),
        Scale("product", "product", _bands(more, spent / 50, spent / 10)),
    )
    first = version == 1
    return Agreement(
        id=f"agreement-{reseller:02d}",
        reseller=_reseller(reseller),
        version=version,
        begins=FIRST if first else CHANGED,
        ends=CHANGED - timedelta(days=1) if first else None,
        currency="CNY",
        basis="discounted" if reseller % 2 else "pretax",
        places=2,
        mode=Mode.HALF_UP,
        currencies=(),
        payers=(),
        exclusions=(Exclusion("product_code == 'product-11' && region == 'region-7'", "not resold"),),
        scales={one.id: one for one in scales},
        rules=tuple(Rule(f"rule-{n:02d}", _condition(n), _earning(n, more)) for n in range(RULES)),
        payout=Payout(Decimal(0), True, None),
        digest=digest(f"{reseller}/{version}".encode()),
        bounds=(
            Bound("cap", "instance", Decimal(300)),
            Bound("cap", "customer", _cents(spent / 2)),
            Bound("floor", "customer", _cents(spent / 10)),
        ),
    )


def _bands(more: int, *uptos: Decimal) -> tuple[Band, ...]:
    return tuple(Band(None if u is None else _cents(u), rate(more + 3 * n)) for n, u in enumerate([*uptos, None]))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))


def _condition(number: int) -> str:
    """What the lines of a rule are: of a product, by its region, tags, or how it is paid; the last has the rest."""
    product = f"product_code == 'product-{number % 10}'"
    if number == RULES - 1:
        return f"{product} || product_code != 'product-10'"
    also = (
        f"region == 'region-{number % 8}'",
        f"tags.team == 'team-{number % 17}'",
        "tags.env == 'prod'",
        "subscription_type == 'Subscription'",
    )
    return f"{product} && {also[number // 10]}"


def condition_sql(number: int) -> str:
    """The same in SQL."""
    product = f"product_code = 'product-{number % 10}'"
    if number == RULES - 1:
        return f"{product} OR product_code <> 'product-10'"
    also = (
        f"region = 'region-{number % 8}'",
        f"coalesce(tags->>'team', '') = 'team-{number % 17}'",
        "coalesce(tags->>'env', '') = 'prod'",
        "subscription_type = 'Subscription'",
    )
    return f"{product} AND {also[number // 10]}"


def _earning(number: int, more: int) -> Earning:
    """Every other rule earns by one of the scales, and so does the last."""
    if number % 2 == 0:
        return Earning(rate(str(Decimal(more) + Decimal(number) / 8)))
    return Earning(scale=("spend", "volume", "product")[number // 2 % 3])
