"""§4 to §6: which rule owns a line, and what the line earns by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction

import jmespath
import jmespath.exceptions

from tests.reference.arithmetic import quotient
from tests.reference.inputs import CHARGES, NOTHING, ZERO, Band, Cycle, Earning, Known, Rule, Scale, Version
from tests.reference.lines import Line, net, owned
from tests.reference.look import Look

MONTHLY = ("instance_month", "customer_month")  # fixed amounts that are earned once a month


def earn(looks: Mapping[Cycle, Look], cycle: Cycle, known: Known) -> None:
    """Walk the cycle's lines in order, twice: what they come to, then what each earns of it."""
    look = looks[cycle]
    for line in look.lines:
        if not line.is_refund and not line.is_gone and line.earning is None:
            _own(look, line, known)
    for line in look.earners:
        _count(look, line)
    first_of = _fixed_keys(look)
    running: dict[tuple[object, ...], Fraction] = {}
    for line in look.earners:
        _pay(looks, line, first_of, running, known)
    _bring_to_rate(looks, cycle, known)


# --- §4: exclusions and rules -------------------------------------------------------------------------------


def _own(look: Look, line: Line, known: Known) -> None:
    """Set the line aside, open its case, or give it to the rule that owns it."""

    def hold(case: str) -> None:
        look.hold(line, case, net(line), known.dismissed.get((line.id, case)))

    version = line.version
    if line.assignment is None:
        return hold("unmapped_account")
    if version is None and line.assignment.reseller is not None:
        return hold("no_agreement")
    # Reading: a line in a foreign currency that also lacks an amount is first a matter of the rate.
    if line.lacks_rate:
        return hold("no_fx_rate")
    basis = net(line)
    if basis is None:
        return hold("missing_value")
    if version is None:
        return look.add(line, line, "own_use" if line.assignment.own_use else "direct", basis)

    verdict = owner_of(line, version)
    if isinstance(verdict, str):
        return hold(verdict)
    if isinstance(verdict, tuple):
        return look.add(line, line, "excluded", basis, reason=verdict[1])
    earning = effective(line, verdict, known)
    if earning is None:
        return hold("no_figure")
    if _lacks(line, version, earning, basis):
        return hold("missing_value")
    line.rule, line.earning = verdict, earning
    look.earners.append(line)
    return None


def owner_of(line: Line, version: Version) -> Rule | tuple[str, str] | str:
    """The rule that owns the line, or (the exclusion's condition, why), or a case."""
    bill = line.bill
    seen = {
        "kind": bill.kind,
        "subscription_type": bill.subscription_type,
        "order_type": bill.order_type,
        "product_code": bill.product_code,
        "commodity_code": bill.commodity_code,
        "billing_item_code": bill.billing_item_code,
        "region": bill.region,
        "zone": bill.zone,
        "instance_id": bill.instance_id,
        "instance_spec": bill.instance_spec,
        "resource_group": bill.resource_group,
        "cost_unit": bill.cost_unit,
        "tags": None if bill.tags is None else dict(bill.tags),
        "currency": bill.currency,
        "account": bill.account,
        "customer": line.customer,
        "customer_class": line.customer_class,
    }
    tries: list[tuple[str, Rule | tuple[str, str]]] = [(one[0], one) for one in version.exclusions]
    tries += [(rule.when, rule) for rule in version.rules]
    for condition, verdict in tries:
        try:
            answer = jmespath.search(condition, seen)
        except jmespath.exceptions.JMESPathError:
            return "bad_condition"
        if answer is True:
            return verdict
        if answer is not False:
            return "bad_condition"
    return "no_rule"


# --- §5: what a line earns ----------------------------------------------------------------------------------


def effective(line: Line, rule: Rule, known: Known) -> Earning | None:
    """What the line earns by after its gates; None where a figure is missing."""
    reseller = "" if line.version is None else line.version.reseller
    earning, gates = rule.earn, 0
    while True:
        if earning.per in MONTHLY:
            earning = _last_monthly(line, rule.id, earning, gates, known)
        gate = earning.gate
        if gate is None:
            return earning
        figure = known.figures.get((reseller, gate.figure, line.cycle))
        if figure is None:
            return None
        if figure >= gate.at_least:
            return earning
        earning, gates = gate.otherwise or NOTHING, gates + 1


def _last_monthly(line: Line, rule_id: str, earning: Earning, gates: int, known: Known) -> Earning:
    """§1: a once-a-month amount is that of the last version begun by the cycle's end that has it, the whole of it."""
    assert line.version is not None
    for version in reversed(known.begun(line.cycle)[line.version.agreement]):
        rule = version.rule(rule_id)
        other: Earning | None = None if rule is None else rule.earn
        for _ in range(gates):  # as far behind gates as this one is
            other = None if other is None or other.gate is None else other.gate.otherwise
        if other is not None and other.per == earning.per:
            return other
    return earning


def _counts(line: Line, earning: Earning) -> bool:
    """Whether a fixed amount looks at the line."""
    return line.bill.kind in CHARGES and (net(line) != 0 or earning.zero)


def _lacks(line: Line, version: Version, earning: Earning, basis: Fraction) -> bool:
    if earning.fixed is not None:
        return earning.per == "usage_unit" and _counts(line, earning) and net(line, "usage") is None
    if earning.scale is not None:
        return _measure(line, version.scales[earning.scale], basis) is None
    return False


def _fixed_keys(look: Look) -> dict[tuple[object, ...], Line]:
    """Note what each fixed amount is earned once for; the first line of each key earns it."""
    first_of: dict[tuple[object, ...], Line] = {}
    for line in look.earners:
        version, rule, earning, _ = owned(line)
        if earning.fixed is None or earning.per == "usage_unit" or not _counts(line, earning):
            continue
        key: tuple[object, ...] = {
            "line": (line.id,),
            "instance_month": (line.bill.account, line.bill.instance_id),
            "customer_month": (line.customer,),
        }[earning.per]
        line.fixed_key = (version.agreement, rule.id, earning.per, *key)
        first_of.setdefault(line.fixed_key, line)
    return first_of


def _fixed_amount(look: Look, line: Line, earning: Earning, first_of: Mapping[tuple[object, ...], Line]) -> Fraction:
    assert earning.fixed is not None
    if not _counts(line, earning):
        return ZERO
    if earning.per == "usage_unit":
        usage = net(line, "usage")
        assert usage is not None, "a line without usage is a case"
        return earning.fixed * usage
    if line.fixed_key is None or first_of[line.fixed_key] is not line:
        return ZERO
    if not earning.prorate:
        return earning.fixed
    days: set[date] = set()
    for other in look.earners:
        if other.fixed_key == line.fixed_key:
            days |= service_days(other)
    return quotient(earning.fixed * len(days) / look.cycle.days)


def service_days(line: Line) -> set[date]:
    """The days within the cycle on which a line was served; its date where there are none."""
    until = line.bill.service_until
    days: set[date] = set()
    if until is not None:
        day = max(line.bill.service_from or until, line.cycle.first)
        while day <= min(until, line.cycle.last):
            days.add(day)
            day += timedelta(days=1)
    return days or {line.day}


def _pay(
    looks: Mapping[Cycle, Look],
    line: Line,
    first_of: Mapping[tuple[object, ...], Line],
    running: dict[tuple[object, ...], Fraction],
    known: Known,
) -> None:
    look = looks[line.cycle]
    version, _, earning, basis = owned(line)
    if earning.fixed is not None:
        _commission(look, line, None, basis, None, _fixed_amount(look, line, earning, first_of))
    elif earning.scale is None:
        _commission(look, line, None, basis, earning.percent or ZERO)
    else:
        scale, scope = version.scales[earning.scale], scope_of(line)
        year = scale.over == "contract_year"
        before = year_before(looks, line.cycle, scope, known) if year else ZERO
        if scale.method == "graduated":
            so_far = running.get(scope, ZERO)
            running[scope] = so_far + basis
            for number, part, percent in graduated(scale.bands, before + so_far, basis):
                _commission(look, line, number, part, percent)
        else:
            number, percent = reached(scale.bands, before + look.totals[scope])
            _commission(look, line, number, basis, percent)


def _commission(
    look: Look, line: Line, band: int | None, part: Fraction, percent: Fraction | None, fixed: Fraction = ZERO
) -> None:
    amount = fixed if percent is None else part * percent / 100
    line.commission += amount
    look.add(line, line, "commission", part, rule=owned(line).rule.id, band=band, rate=percent, amount=amount)


# --- §6: scales ---------------------------------------------------------------------------------------------


def scope_of(line: Line) -> tuple[object, ...]:
    """What a member's scale adds up: agreement, scale, and the customer and product of its scope.

    Reading: where two versions group one scale differently, lines of both groupings do not meet in one total.
    """
    version, _, earning, _ = owned(line)
    if earning.scale is None:
        return ()  # no member of any
    scale = version.scales[earning.scale]
    scope: tuple[object, ...] = {
        "reseller": (),
        "customer": (line.customer,),
        "product": (line.customer, line.bill.product_code),
    }[scale.scope]
    return (version.agreement, earning.scale, *scope)


def _measure(line: Line, scale: Scale, basis: Fraction) -> Fraction | None:
    if scale.measure is None:
        return basis
    if scale.measure != "usage":
        return net(line, scale.measure)
    usage = net(line, "usage")
    # Reading: a line that is measured in another unit has none of this one; one that states no usage lacks it.
    return ZERO if usage is not None and line.bill.usage_unit != scale.unit else usage


def _count(look: Look, line: Line) -> None:
    """Add a member to the total of its scope."""
    version, _, earning, basis = owned(line)
    if earning.scale is not None:
        measure = _measure(line, version.scales[earning.scale], basis)
        assert measure is not None, "a line without its measure is a case"
        scope = scope_of(line)
        look.totals[scope] = look.totals.get(scope, ZERO) + measure


def year_before(looks: Mapping[Cycle, Look], cycle: Cycle, scope: tuple[object, ...], known: Known) -> Fraction:
    """What the scope came to in the contract year before a cycle, as due now."""
    agreement, scale, *parts = scope
    year = known.year_of(str(agreement), cycle)
    total = ZERO
    for earlier in year:
        if earlier < cycle and earlier in looks:
            total += looks[earlier].totals.get(scope, ZERO)
    opening = known.opening(known.last_version(str(agreement), cycle).reseller)
    if opening is not None and year[0] <= opening.as_of <= cycle:
        # Reading: totals at the opening are those of the contract year in which it lies.
        customer, product = [*parts, None, None][:2]
        for (of_agreement, of_scale, of_customer, of_product), amount in opening.scale_totals.items():
            if (of_agreement, of_scale, of_customer, of_product) == (agreement, scale, customer, product):
                total += amount
    return total


def graduated(bands: Sequence[Band], before: Fraction, basis: Fraction) -> list[tuple[int, Fraction, Fraction]]:
    """Cut a line that begins at the running total `before` into (band, part, percent)."""
    if basis == 0:
        number, percent = reached(bands, before)
        return [(number, ZERO, percent)]
    parts = []
    low: Fraction | None = None
    for number, band in enumerate(bands, 1):
        high = band.upto
        part = _clamp(before + basis, low, high) - _clamp(before, low, high)
        if part != 0:
            parts.append((number, part, band.percent))
        low = high
    return parts


def reached(bands: Sequence[Band], total: Fraction) -> tuple[int, Fraction]:
    """The band with lo < total <= hi, from 1, and its percent."""
    for number, band in enumerate(bands, 1):
        if band.upto is None or total <= band.upto:
            return number, band.percent
    raise AssertionError("the last band has no end")


def _clamp(value: Fraction, low: Fraction | None, high: Fraction | None) -> Fraction:
    if low is not None and value < low:
        return low
    if high is not None and value > high:
        return high
    return value


def _bring_to_rate(looks: Mapping[Cycle, Look], cycle: Cycle, known: Known) -> None:
    """Retroactive scales: bring the year's earlier members of each scope to the rate now reached."""
    look = looks[cycle]
    for scope in sorted(look.totals, key=str):
        agreement, scale_id, *parts = scope
        # Reading: the last version that has the scale says whether it is retroactive, as it says other monthly things.
        having = [one for one in known.begun(cycle)[str(agreement)] if scale_id in one.scales]
        if not having[-1].scales[str(scale_id)].retroactive:
            continue
        total = year_before(looks, cycle, scope, known) + look.totals[scope]
        # Reading: what the year came to before an opening counts in the total, but its charges are not
        # members here: what they earned was settled elsewhere.
        year = [one for one in known.year_of(str(agreement), cycle) if one < cycle and one in looks]
        whole = ZERO
        for member in [line for one in year for line in looks[one].earners]:
            if scope_of(member) != scope:
                continue
            part = _to_rate(member, str(scale_id), total) - member.commission
            part -= sum((looks[one].retroactive.get(member.id, ZERO) for one in year), ZERO)
            look.retroactive[member.id] = part
            whole += part
        if whole != 0:
            customer, product = [*parts, None, None][:2]
            version = known.last_version(str(agreement), cycle)
            about = {"customer": customer, "product": product, "reason": f"scale {scale_id}"}
            look.add_common(version, "retroactive", whole, **about)


def _to_rate(member: Line, scale_id: str, total: Fraction) -> Fraction:
    """What the member earns at the rate of that total, by its own version's bands."""
    version, _, _, basis = owned(member)
    return basis * reached(version.scales[scale_id].bands, total)[1] / 100
