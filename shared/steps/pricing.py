"""What a month would be charged by price plans, and what of it stays with the seller; nothing is kept of it.

The lines are those of the settlement that counts for whoever holds the accounts. Plans come from files, or are those in
force; no charge is posted, locked or invoiced, and no lock waits for one. A refund of an
earlier month's charge takes back what the plans charge for it by that month's bill as it is known now; lines of earlier
months that came late are in no charge. What counts over contract years counts all months of the year before by their
bills as they are known now; where one is not known, the plan is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import CONTRACT_YEAR, Agreement
from shared.agreement.overlaps import overlapping
from shared.agreement.price_plan import PricePlan, sold_as
from shared.columnar import connect
from shared.cycle import Cycle
from shared.errors import BadInputError, DocumentRefusedError
from shared.money import EXACT
from shared.parties.parties import OPERATOR, Parties
from shared.services import Services
from shared.settlement import engine, lines, netting, prices, rules
from shared.settlement.engine import Held, Settled
from shared.settlement.statement import statements
from shared.steps import inputs, state
from shared.steps.inputs import Kept
from shared.steps.looking_back import follow_years, parts_of

if TYPE_CHECKING:
    import duckdb

    from shared.settlement.share import Share

NO_PLAN = "no_agreement"  # the case of lines on whose date no version is in force


@dataclass(frozen=True, slots=True)
class Charge:
    """What a buyer is charged for a product of a customer, exactly; without a cost where that is not known."""

    customer: str
    product: str
    currency: str
    lines: int
    price: Decimal
    cost: Decimal | None

    @property
    def margin(self) -> Decimal | None:
        """What stays with the seller."""
        return None if self.cost is None else EXACT.subtract(self.price, self.cost)


@dataclass(frozen=True, slots=True)
class Outside:
    """Lines that the plan charges nothing for, and why; `amount` is their basis."""

    why: str
    currency: str
    lines: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Total:
    """What a plan charges in the month, rounded as its statement."""

    plan: str
    currency: str
    total: Decimal


@dataclass(frozen=True, slots=True)
class Sale:
    """What a seller charges a buyer in a month."""

    seller: str
    buyer: str
    kept: Kept  # the settlement whose lines these are
    notes: Sequence[str]
    totals: Sequence[Total]
    charges: Sequence[Charge]
    cases: Sequence[Held]
    outside: Sequence[Outside]


def price(
    services: Services,
    cycle: Cycle,
    documents: Sequence[PricePlan],
    reseller: str | None,
    told: Callable[[str], None],
) -> list[Sale]:
    """What each seller charges each buyer by the plans, of all sales or those that a reseller takes part in."""
    parties, _ = state.parties(services)
    plans = _in_force([_known(parties, one, cycle) for one in documents], cycle)
    sales = list(dict.fromkeys((one.seller, one.buyer) for one in plans))
    asked = [of for of in sales if reseller is None or reseller in of]
    if not asked:
        named = ", ".join(sold_as(*of) for of in sales)
        raise BadInputError(str(reseller), f"is in no sale of the plans: {named}", "leave --reseller out")
    found: dict[tuple[str, str], Sale] = {}
    for holder in dict.fromkeys(_holder(parties, of) for of in asked):
        mine = [of for of in asked if _holder(parties, of) == holder]
        found |= {(one.seller, one.buyer): one for one in _of_holder(services, cycle, holder, mine, plans, told)}
    return [found[of] for of in asked]


def without_plan(services: Services, cycle: Cycle, sales: Sequence[Sale]) -> list[tuple[str, str]]:
    """Who else bought in the month from the sellers, by no plan: (seller, buyer)."""
    parties, _ = state.parties(services)
    sold = {(one.seller, one.buyer) for one in sales}
    found = {
        (seller, buyer)
        for seller in {one.seller for one in sales}
        for one in parties.in_cycle(cycle)
        if (buyer := prices.buyer_of(one, seller)) is not None
    }
    return sorted(found - sold)


# -- the plans --------------------------------------------------------------------------------------------------


def _known(parties: Parties, plan: PricePlan, cycle: Cycle) -> PricePlan:
    """The plan with its seller as shares name it; refused where nobody is who it says, or it cannot be settled."""
    place = f"{plan.id} version {plan.version}"
    seller = OPERATOR if plan.seller in (parties.operator, OPERATOR) else plan.seller
    if seller != OPERATOR and seller not in parties.resellers:
        known = ", ".join([parties.operator, *sorted(parties.resellers)])
        raise BadInputError(
            place, f"its seller {seller!r} is neither the operator nor a reseller", f"known are {known}"
        )
    buyers = {prices.buyer_of(one, seller) for one in parties.in_cycle(cycle)} - {None}
    if plan.buyer not in buyers:
        problem = f"{plan.buyer!r} has no account in {cycle} that {plan.seller} sells to it"
        remedy = f"its buyers are {', '.join(sorted(map(str, buyers))) or 'none'}"
        raise BadInputError(place, problem, f"{remedy}: mend buyer or seller, or the assignments of the party document")
    return replace(plan, seller=seller)


def _in_force(plans: Sequence[PricePlan], cycle: Cycle) -> list[PricePlan]:
    """The versions; a plan that is in force on no day of the month is taken as if it were on all of them."""
    found: list[PricePlan] = []
    for named in dict.fromkeys((one.share, one.id) for one in plans):
        mine = [one for one in plans if (one.share, one.id) == named]
        if not any(one.touches(cycle) for one in mine):
            mine = [replace(mine[-1], begins=cycle.first, ends=None)]
        found += mine
    for number, one in enumerate(found):
        others = [other.as_agreement() for other in found[:number] if other.share == one.share]
        findings = overlapping(one.as_agreement(), others)
        if findings:
            raise DocumentRefusedError(f"{one.id} version {one.version}", findings)
    return found


def _holder(parties: Parties, of: tuple[str, str]) -> str:
    """Whose settlement has the lines of a sale."""
    seller, buyer = of
    if seller != OPERATOR:
        return seller
    return buyer if buyer in parties.resellers else OPERATOR


# -- sales ------------------------------------------------------------------------------------------------------


def _of_holder(
    services: Services,
    cycle: Cycle,
    holder: str,
    sales: Sequence[tuple[str, str]],
    plans: Sequence[PricePlan],
    told: Callable[[str], None],
) -> list[Sale]:
    """The sales of lines that one settlement has."""
    kept = inputs.counting(services, holder, str(cycle))
    manifest = with_rates(services, kept.manifest(services))
    share = inputs.share_of(services, manifest)
    found = []
    with connect(services.scratch, services.memory_mb, services.threads) as connection:

        def settle(sold: Share, into: str) -> Settled:
            refuse_unknown_months(sold)
            told(f"charging {sold.owner} {cycle}")
            settled = settle_sale(services, connection, manifest, sold)
            _keep(connection, into)
            return settled

        bought = prices.sale(share, OPERATOR, holder, plans)  # what a reseller's lines cost it
        if prices.versions(bought) and any(seller == holder for seller, _ in sales):
            settle(bought, "bought")
        for seller, buyer in sales:
            sold = prices.sale(share, seller, buyer, plans)
            settled = settle(sold, "sold")
            cases, outside = _apart(connection, settled)
            notes = [f"the last draft, not a final settlement: {kept.settlement[:12]}"] if kept.is_draft else []
            if seller == OPERATOR:
                settle(prices.at_cost(sold), "billed")
                charges = _charges(connection, "billed", None)
            else:
                unknown = _unknown_cost(sold, bought)
                notes += [f"costs are not known: {unknown}"] if unknown else []
                charges = _charges(connection, "" if unknown else "bought", buyer)
            totals = [
                Total(one.agreement, one.currency, Decimal(one.total))
                for one in statements(settled.groups, prices.versions(sold), cycle)
            ]
            found.append(Sale(seller, buyer, kept, notes, totals, charges, cases, outside))
    return found


def refuse_unknown_months(sold: Share) -> None:
    """Refuse a plan that counts over contract years where a month of the year before this one is not known."""
    for version, scale, month in unknown_months(sold):
        problem = f"its scale {scale} counts over contract years, and the bill of {month} is not known"
        remedy = "begin the plan with the first month that is, or try it with over: month"
        raise BadInputError(f"{version.id} version {version.version}", problem, remedy)


def unknown_months(sold: Share) -> list[tuple[Agreement, str, str]]:
    """The sale's versions that count over contract years of which a month before this one is not known: the first such
    scale and month of each."""
    known = {str(one) for one in sold.known}
    found = []
    for version in prices.versions(sold):
        yearly = [name for name, scale in version.scales.items() if scale.over == CONTRACT_YEAR]
        begun = min(one.begins for one in sold.agreements if one.id == version.id)
        months = [Cycle.of(begun).plus(number) for number in range(sold.cycle.since(Cycle.of(begun)))]
        year = sold.year(version.id, sold.cycle) if yearly else 0
        unknown = [str(one) for one in months if sold.year(version.id, one) == year and str(one) not in known]
        if yearly and unknown:
            found.append((version, yearly[0], unknown[0]))
    return found


def _unknown_cost(sold: Share, bought: Share) -> str:
    """Why it is not known what a reseller's sale costs it, if so."""
    if not prices.versions(bought):
        return f"no plan of {bought.owner} is given"
    if len({one.currency for one in (*prices.versions(sold), *prices.versions(bought))}) > 1:
        return f"{bought.owner} is charged in another currency"
    return ""


def with_rates(services: Services, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the exchange rates in force where the settlement needed none: a plan may."""
    in_force = state.tables(services.chain.read(state.CONFIG), state.FX_TABLES)

    def rated(one: Mapping[str, Any], cycle: str) -> dict[str, Any]:
        return {**one, "rates": one["rates"] or in_force.get(cycle, "")}

    earlier = {cycle: rated(one, cycle) for cycle, one in manifest["earlier"].items()}
    return {**rated(manifest, manifest["cycle"]), "earlier": earlier}


# -- by the engine ----------------------------------------------------------------------------------------------


def settle_sale(
    services: Services, connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], share: Share
) -> Settled:
    """Settle a sale. What refunds of the cycle reach in earlier ones is charged without them first: that is what they
    take back from."""
    reasons = {str(cycle): ["refunds"] for cycle in _reached(services, connection, manifest, share)}
    stood_on = follow_years(reasons, share, map(str, share.earlier))
    looked_back, stood_on_ = ([Cycle.parse(one) for one in sorted(found)] for found in (reasons, stood_on))
    share = replace(share, looked_back=looked_back, stood_on=stood_on_)
    engine.load_posted(connection, [])
    if share.looked_back:
        _load(services, connection, manifest, share)
        connection.execute("DELETE FROM bill WHERE cycle = ?", [str(share.cycle)])
        engine.settle(connection, share)
        columns = ", ".join(engine.LINE_COLUMNS)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE posted AS SELECT {columns} FROM due")  # noqa: S608
    _load(services, connection, manifest, share)
    return engine.settle(connection, share)


def _load(services: Services, connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], share: Share) -> None:
    others = [one for one in share.known if one not in share.cycles]
    paths = parts_of(services, manifest, share.cycles)
    lines.load_parts(connection, paths, share, lambda: parts_of(services, manifest, others))


def _reached(
    services: Services, connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], share: Share
) -> list[Cycle]:
    """The earlier cycles on whose charges refunds of the cycle fall."""
    if not share.earlier or not lines.has_refunds(connection, parts_of(services, manifest, [share.cycle]), share):
        return []
    lines.load_lines(connection, [])
    lines.add_reaching(connection, parts_of(services, manifest, share.known), share)
    lines.place(connection, share)
    rules.match(connection, share)
    netting.link(connection, share)
    links = [(of_refund, of_charge) for _, of_refund, _, of_charge, *_ in netting.links(connection, share)]
    found = {of_charge for of_refund, of_charge in links if of_refund == str(share.cycle) and of_charge is not None}
    return [Cycle.parse(cycle) for cycle in sorted(found - {str(share.cycle)})]


def _keep(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Keep what the lines were charged, and which could not be: cases, and what a refund joins to one."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {name}_line AS
            SELECT currency, coalesce(customer, '') AS customer, coalesce(product_code, '') AS product, line_id,
                   sum(amount) AS amount
            FROM settled WHERE kind <> 'netted' GROUP BY ALL"""  # noqa: S608 - our own names
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {name}_open AS
            SELECT line_id FROM held
            UNION SELECT refund FROM piece WHERE charge IN (SELECT line_id FROM held)
            UNION SELECT charge FROM piece WHERE refund IN (SELECT line_id FROM held)"""  # noqa: S608
    )


def _charges(connection: duckdb.DuckDBPyConnection, cost: str, customer: str | None) -> list[Charge]:
    """What is charged by customer and product, beside what it costs by the lines of another sale.

    A cost is counted where its line's price is known too.
    """
    sides = "SELECT *, amount AS price, 0 AS cost FROM sold_line"
    is_known = "false"
    if cost:
        is_known = f"line_id NOT IN (SELECT line_id FROM sold_open UNION SELECT line_id FROM {cost}_open)"  # noqa: S608
        sides += f" UNION ALL SELECT *, 0, amount FROM {cost}_line WHERE {is_known} AND coalesce(customer = $of, true)"  # noqa: S608
    rows = connection.execute(
        f"""SELECT customer, product, currency, count(DISTINCT line_id), sum(price),
                   CASE WHEN is_known THEN sum(cost) END
            FROM (SELECT *, {is_known} AS is_known FROM ({sides}))
            GROUP BY customer, product, currency, is_known ORDER BY ALL""",  # noqa: S608
        {"of": customer} if cost else {},
    ).fetchall()
    return [Charge(*row) for row in rows]


def _apart(connection: duckdb.DuckDBPyConnection, settled: Settled) -> tuple[list[Held], list[Outside]]:
    """What the sale just settled has in cases, and what its plans do not charge for."""
    outside = [
        Outside(f"no version of the plan on that day: account {one.key}", one.currency, one.lines, one.amount)
        for one in settled.held
        if one.kind == NO_PLAN
    ]
    rows = connection.execute(
        """SELECT CASE kind WHEN 'excluded' THEN 'excluded: ' || because
                  ELSE 'refunds of what no version of the plan charged' END AS why, currency, count(*), sum(basis)
           FROM settled WHERE kind = 'excluded' OR (kind = 'netted' AND other_line IS NOT NULL AND agreement IS NULL)
           GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    return [one for one in settled.held if one.kind != NO_PLAN], [*outside, *(Outside(*row) for row in rows)]
