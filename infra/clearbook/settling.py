"""The commands that settle: order a cycle's settlements, or show what it would come to under other agreements, or be
charged by price plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.agreements import check_document
from infra.clearbook.bills.shown import ID_SHOWN, columns, counted, plain_console, say, say_table
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.agreement.agreement import Agreement
from shared.agreement.price_plan import PricePlan, sold_as
from shared.agreement.words import days
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import text, total
from shared.report.cells import csv_bytes
from shared.services import Services
from shared.steps import ordering, pricing, state
from shared.steps.plans import in_force
from shared.steps.pricing import Charge, Sale
from shared.steps.what_if import Change, WhatIf, touched, what_if

_WAITS = "nothing is due: its bills are not sealed, not final, or the month before is not locked"
_LINE = ("agreement", "customer", "product_code", "account", "date", "line_id", "currency", "of_kind", "of_instance_id")


def order(cycle: str, reseller: str | None, home: Path | None, json_to: str | None) -> None:
    """Order the settlements that are due, and print where each share stands."""
    found = ordering.order_cycle(services(home), cycle, reseller)
    if json_to is not None:
        listed = [
            {
                "reseller": one.owner,
                "outcome": one.how,
                "status": one.status or None,
                "settlement": one.settlement or None,
            }
            for one in found
        ]
        write_json(listed, json_to)
    if json_to == "-":
        return
    console = plain_console()
    for one in found:
        says = _WAITS if one.how == ordering.WAITS else f"{one.how}, {one.status}"
        says += f", settlement {one.settlement[:ID_SHOWN]}; nothing has changed since" if one.settlement else ""
        say(console, f"{one.owner} {cycle}: {says}")
    if not found:
        say(console, f"{cycle}: no bill is sealed")


# -- what if ----------------------------------------------------------------------------------------------------


def show_what_if(
    cycle: str,
    reseller: str | None,
    files: Sequence[Path],
    home: Path | None,
    json_to: str | None,
    *,
    limit: int,
    lines_to: Path | None,
) -> None:
    """Print what a month would come to under the agreements of the files, beside what it came to."""
    work, month = services(home), Cycle.parse(cycle, "--cycle")
    documents = _documents(work, files)
    owners = touched(work, month, documents, reseller)
    if not owners:
        problem = f"reads no agreement of {', '.join(sorted({one.reseller for one in documents}))}"
        raise BadInputError(f"{reseller} {cycle}", problem, "leave --reseller out, or give other files")
    with Console(stderr=True).status("checking the documents") as status:
        found = [what_if(work, owner, month, documents, status.update) for owner in owners]
    if lines_to is not None:
        lines_to.write_bytes(csv_bytes(*_as_csv(found)))
    if json_to is not None:
        totals = [_as_json(one) for one in _sums(found)]
        write_json({"cycle": cycle, "totals": totals, "resellers": [_what_if_json(one) for one in found]}, json_to)
    if json_to != "-":
        _show(found, month, documents, limit)


def _documents(work: Services, files: Sequence[Path]) -> list[Agreement]:
    """The agreements of the files, checked as if they were to be submitted."""
    parties, _ = state.parties(work)
    found: list[Agreement] = []
    for file in files:
        version, _ = check_document(file, found)
        if not isinstance(version, Agreement):
            raise BadInputError(str(file), "is a price plan", "give agreements, and plans as --prices")
        if version.reseller not in parties.resellers:
            known = ", ".join(sorted(parties.resellers))
            raise BadInputError(str(file), f"is of {version.reseller!r}, who is not known", f"known are {known}")
        found.append(version)
    return found


def _sums(found: Iterable[WhatIf]) -> list[Change]:
    """Statement totals over all resellers, a currency each."""
    by: dict[str, list[Change]] = {}
    for one in found:
        for change in one.statements:
            by.setdefault(change.of["currency"], []).append(change)
    return [
        Change({"currency": currency}, total([one.before for one in each]), total([one.after for one in each]))
        for currency, each in sorted(by.items())
    ]


def _as_json(one: Change) -> dict[str, str]:
    amounts = {"before": one.before, "after": one.after, "difference": one.difference}
    return {**one.of, **{name: text(value) for name, value in amounts.items()}}


def _what_if_json(one: WhatIf) -> dict[str, Any]:
    parts = ("statements", "payable", "customers", "rules", "held", "lines")
    named = {"reseller": one.kept.owner, "settlement": one.kept.settlement, "draft": one.kept.is_draft}
    return {
        **named,
        "notes": list(one.notes),
        **{part: [_as_json(each) for each in getattr(one, part)] for part in parts},
    }


def _as_csv(found: Sequence[WhatIf]) -> tuple[list[str], list[list[object]]]:
    header = ["reseller", *_LINE, "rule_before", "rule_after", "before", "after", "difference"]
    rows: list[list[object]] = [
        [one.kept.owner, *(line.of[name] for name in header[1:-3]), line.before, line.after, line.difference]
        for one in found
        for line in one.lines
    ]
    return header, rows


def _show(found: Sequence[WhatIf], cycle: Cycle, documents: Sequence[Agreement], limit: int) -> None:
    console = plain_console()
    for document in documents:
        when = days(document.begins, document.ends)
        if not any(one.touches(cycle) for one in documents if one.id == document.id):
            when += f"; settled as if it had been in force in all of {cycle}"
        say(console, f"{document.id} version {document.version} of {document.reseller}, {when}")
    for one in found:
        say(console, "", f"{one.kept.owner} {cycle}, beside settlement {one.kept.settlement[:ID_SHOWN]}")
        say(console, *(f"  {note}" for note in one.notes))
        _table(console, "Statement", one.statements, ("agreement", "currency"), is_all=True)
        _table(console, "Payable with tax", one.payable, ("agreement", "currency"))
        _table(console, "Customers", one.customers, ("customer", "currency"))
        _table(console, "Rules", one.rules, ("agreement", "rule", "kind", "currency"))
        _table(console, "Held by cases", one.held, ("kind", "key", "currency"))
        shown = one.lines[: limit or None]
        _table(console, "Lines", shown, ("customer", "product_code", "date", "line_id", "rule_before", "rule_after"))
        if len(one.lines) > len(shown):
            left = f"{counted(len(one.lines) - len(shown), 'more line')}; --limit 0 or --lines FILE.csv has all"
            say(console, left)
    say(console, "")
    for change in _sums(found):
        sums = f"{_figure(change.before)} before, {_figure(change.after)} after, {_signed(change.difference)}"
        say(console, f"{change.of['currency']}: {sums}")
    say(console, "nothing was changed")


def _table(
    console: Console, title: str, changes: Sequence[Change], names: Sequence[str], *, is_all: bool = False
) -> None:
    shown = [one for one in changes if is_all or one.difference]
    if not shown:
        return
    table = columns(*(name.replace("_", " ") for name in (title, *names[1:])), "before", "after", "difference",
                    right=("before", "after", "difference"))  # fmt: skip
    for one in shown:
        said = [one.of[name] or "-" for name in names]
        table.add_row(*said, _figure(one.before), _figure(one.after), _signed(one.difference))
    say(console, "")
    say_table(console, table)


def _figure(value: Decimal) -> str:
    return f"{Decimal(text(value)):,f}"


def _signed(value: Decimal) -> str:
    return f"{'+' if value > 0 else ''}{_figure(value)}"


# -- prices -----------------------------------------------------------------------------------------------------


def show_prices(
    cycle: str, reseller: str | None, files: Sequence[Path], home: Path | None, json_to: str | None, csv_to: Path | None
) -> None:
    """Print what buyers would be charged for a month by the price plans of the files, or by those in force."""
    work, month = services(home), Cycle.parse(cycle, "--cycle")
    plans = _plans(files) if files else in_force(work, month)
    if not plans:
        raise BadInputError("--charges", f"no price plan is in force in {cycle}", "submit one, or give it as --prices")
    with Console(stderr=True).status("checking the documents") as status:
        sales = pricing.price(work, month, plans, reseller, status.update)
    without = [sold_as(*of) for of in pricing.without_plan(work, month, sales)]
    if csv_to is not None:
        csv_to.write_bytes(csv_bytes(*_charges_csv(sales)))
    if json_to is not None:
        write_json({"cycle": cycle, "sales": [_sale_json(one) for one in sales], "without_plan": without}, json_to)
    if json_to != "-":
        _show_sales(sales, month, plans, without)


def _plans(files: Sequence[Path]) -> list[PricePlan]:
    """The price plans of the files, checked alone and beside each other."""
    found: list[PricePlan] = []
    for file in files:
        version, _ = check_document(file, found)
        if not isinstance(version, PricePlan):
            raise BadInputError(str(file), "is an agreement", "give price plans, and agreements as --what-if")
        found.append(version)
    return found


def _show_sales(sales: Sequence[Sale], cycle: Cycle, plans: Sequence[PricePlan], without: Sequence[str]) -> None:
    console = plain_console()
    for plan in plans:
        when = days(plan.begins, plan.ends)
        if not any(one.touches(cycle) for one in plans if one.id == plan.id):
            when += f"; charged as if it had been in force in all of {cycle}"
        say(console, f"{plan.id} version {plan.version}, {plan.share}, {when}")
    for one in sales:
        say(console, "", f"{sold_as(one.seller, one.buyer)} {cycle}, of settlement {one.kept.settlement[:ID_SHOWN]}")
        say(console, *(f"  {note}" for note in one.notes))
        amounts = ("lines", "price", "cost", "margin")
        _rows(console, ("Customer", "product", "currency", *amounts), map(_charge_cells, one.charges), amounts)
        held = [(each.kind, each.key, each.currency, str(each.lines), _figure(each.amount)) for each in one.cases]
        _rows(console, ("Case", "key", "currency", "lines", "held"), held, ("lines", "held"))
        apart = [(each.why, each.currency, str(each.lines), _figure(each.amount)) for each in one.outside]
        _rows(console, ("Not charged", "currency", "lines", "basis"), apart, ("lines", "basis"))
        say(console, "")
        for each in one.totals:
            say(console, f"{each.plan}: {each.total:,f} {each.currency}, rounded as its statement")
        for currency, charges in _by_currency(one.charges).items():
            price, cost, margin, uncosted = _sums_of(charges)
            line = f"{currency}: price {_figure(price)}, cost {_figure(cost)}, margin {_figure(margin)}"
            say(console, line + (f"; without a known cost {_figure(uncosted)}" if uncosted else ""))
    if without:
        say(console, "", f"no plan is given for: {', '.join(without)}")
    say(console, "nothing was changed")


def _rows(console: Console, names: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str]) -> None:
    table = columns(*names, right=right)
    for row in rows:
        table.add_row(*row)
    if table.rows:
        say(console, "")
        say_table(console, table)


def _charge_cells(one: Charge) -> tuple[str, ...]:
    cost, margin = ("-" if value is None else _figure(value) for value in (one.cost, one.margin))
    named = (one.customer or "-", one.product or "-", one.currency)
    return (*named, f"{one.lines:,}", _figure(one.price), cost, margin)


def _by_currency(charges: Sequence[Charge]) -> dict[str, list[Charge]]:
    return {
        currency: [one for one in charges if one.currency == currency]
        for currency in sorted({one.currency for one in charges})
    }


def _sums_of(charges: Sequence[Charge]) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Price, cost and margin of what has a cost, and the price of what has none."""
    known = [one for one in charges if one.cost is not None]
    price, cost = total([one.price for one in known]), total([one.cost for one in known if one.cost is not None])
    uncosted = total([one.price for one in charges if one.cost is None])
    return price, cost, total([price, -cost]), uncosted


def _sale_json(one: Sale) -> dict[str, Any]:
    sums = {
        currency: dict(zip(("price", "cost", "margin", "without_cost"), map(text, _sums_of(charges)), strict=True))
        for currency, charges in _by_currency(one.charges).items()
    }
    return {
        "seller": one.seller,
        "buyer": one.buyer,
        "settlement": one.kept.settlement,
        "draft": one.kept.is_draft,
        "notes": list(one.notes),
        "totals": [{"plan": each.plan, "currency": each.currency, "total": text(each.total)} for each in one.totals],
        "sums": sums,
        "charges": [
            {
                "customer": each.customer,
                "product_code": each.product,
                "currency": each.currency,
                "lines": each.lines,
                "price": text(each.price),
                "cost": None if each.cost is None else text(each.cost),
                "margin": None if each.margin is None else text(each.margin),
            }
            for each in one.charges
        ],
        "cases": [
            {
                "kind": each.kind,
                "key": each.key,
                "currency": each.currency,
                "lines": each.lines,
                "held": text(each.amount),
            }
            for each in one.cases
        ],
        "not_charged": [
            {"why": each.why, "currency": each.currency, "lines": each.lines, "basis": text(each.amount)}
            for each in one.outside
        ],
    }


def _charges_csv(sales: Sequence[Sale]) -> tuple[list[str], list[list[object]]]:
    header = ["seller", "buyer", "customer", "product_code", "currency", "lines", "price", "cost", "margin"]
    rows: list[list[object]] = [
        [sale.seller, sale.buyer, one.customer, one.product, one.currency, one.lines, one.price, one.cost, one.margin]
        for sale in sales
        for one in sale.charges
    ]
    return header, rows
