"""How a statement was computed: what an agreement version says, in words of either language, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from shared.agreement import words
from shared.agreement.agreement import (
    CONTRACT_YEAR,
    GRADUATED,
    ORIGINAL,
    PER_LINE,
    PER_UNIT,
    Agreement,
    Bound,
    Earning,
    Payout,
    Refunds,
    Scale,
)
from shared.agreement.words import APPROVALS, DOCUMENT, EXCLUDED, PAYOUT, REFUNDS, RULE, SCALE, Facts, figure
from shared.money import Mode
from shared.report import language as languages
from shared.report.language import EN, ZH

Term = tuple[str, str, str]  # part, thing, what it says
_PARTS = {DOCUMENT: "协议", EXCLUDED: "不计佣金", REFUNDS: "退款", PAYOUT: "付款"}
_BASES = {
    "gross": "原价 (gross)",
    "discounted": "折后、优惠券抵扣前 (discounted)",
    "pretax": "账单应付金额 (pretax)",
    "paid": "现金实付 (paid)",
}
_MODES = {Mode.HALF_UP: "四舍五入", Mode.HALF_EVEN: "四舍六入五成双"}
_PER = {
    PER_LINE: "每行",
    PER_UNIT: "每单位用量",
    "instance_month": "每实例每月",
    "customer_month": "每客户每月",
}
_SCOPES = {
    "line": "每行",
    "instance": "每实例",
    "customer": "每客户",
    "reseller": "每经销商",
    "product": "每客户每产品",
}
_BOUNDS = {"cap": "封顶", "floor": "保底"}


def terms(agreement: Agreement, language: str) -> list[Term]:
    """Everything that a version says about what is earned and paid."""
    facts = words.facts(agreement) if language == EN else _facts(agreement)
    # Whose it is stands above; who has to approve is the operator's own affair.
    shown = {key: says for key, says in facts.items() if key[0] != APPROVALS and key != (DOCUMENT, "reseller")}
    return [(_part(part, language), thing, says) for (part, thing), says in shown.items()]


def _percent(rate: Decimal) -> str:
    """A rate in a Chinese text."""
    return languages.percent(rate, ZH)


def _part(part: str, language: str) -> str:
    if language == EN:
        return part
    if part.startswith(RULE):
        return f"规则 {part.removeprefix(RULE)}"
    return f"阶梯 {part.removeprefix(SCALE)}" if part.startswith(SCALE) else _PARTS[part]


def _facts(one: Agreement) -> Facts:
    """The same facts as `words.facts`, in the same order. Conditions stand as they are written."""
    found: Facts = {
        (DOCUMENT, "有效期"): f"{one.begins} 至 {one.ends}" if one.ends else f"{one.begins} 起，长期有效",
        (DOCUMENT, "币种"): one.currency,
        (DOCUMENT, "舍入"): f"保留 {one.places} 位小数，{_MODES[one.mode]}",
    }
    if one.currencies or one.payers:
        named = [f"币种 {'、'.join(one.currencies)}"] if one.currencies else []
        named += [f"付款账号 {'、'.join(one.payers)}"] if one.payers else []
        found[DOCUMENT, "适用于"] = "，".join(named)
    found[DOCUMENT, "计算基数"] = _BASES[one.basis]
    found |= {(DOCUMENT, thing): says for thing, says in _bounds(one.bounds)}
    if one.holdback is not None:
        found[DOCUMENT, "预留"] = f"当月佣金的 {_percent(one.holdback.rate)}，{one.holdback.months} 个月后释放"
    found |= {(EXCLUDED, f"条件 {each.when}"): each.because for each in one.exclusions}
    for rule in one.rules:
        part = RULE + rule.id
        found[part, "条件"] = rule.when
        found |= {(part, thing): says for thing, says in _earning(rule.earn)}
        found |= {(part, thing): says for thing, says in _bounds(rule.bounds)}
    for name, scale in one.scales.items():
        found |= {(SCALE + name, thing): says for thing, says in _scale(scale)}
    return found | {(REFUNDS, thing): says for thing, says in _refunds(one.refunds)} | _payout(one.payout)


def _scale(scale: Scale) -> Iterator[tuple[str, str]]:
    measure = f"用量（{scale.unit}）" if scale.unit else scale.measure or "计算基数"
    over = "合同年度" if scale.over == CONTRACT_YEAR else "当月"
    yield "累计", f"{_SCOPES[scale.scope]}{over}的{measure}"
    yield "适用", "各档比例分别适用于落入该档的部分" if scale.method == GRADUATED else "按累计所达档位的比例适用于全部"
    if scale.is_retroactive:
        yield "追溯", "合同年度内此前月份按现达比例补差"
    low: Decimal | None = None
    for band in scale.bands:
        yield f"档位 {_band(low, band.upto)}", _percent(band.rate)
        low = band.upto


def _band(low: Decimal | None, high: Decimal | None) -> str:
    if low is None:
        return "全部" if high is None else f"至 {figure(high)}"
    return f"{figure(low)} 以上" if high is None else f"{figure(low)} 至 {figure(high)}"


def _earning(earn: Earning) -> Iterator[tuple[str, str]]:
    thing, join = "佣金", "，若 "
    for stage in earn.stages():
        yield thing, _stage(stage)
        if stage.gate is not None:
            thing += f"{join}{stage.gate.figure} 低于 {figure(stage.gate.at_least)}"
            join = " 且 "


def _stage(earn: Earning) -> str:
    if earn.rate is not None:
        return _percent(earn.rate) if earn.rate else "无"
    if earn.fixed is None:
        return f"按阶梯 {earn.scale}"
    says = f"{_PER[earn.per]} {figure(earn.fixed, 2)}"
    says += "，按服务天数折算" if earn.is_prorated else ""
    return says + ("，金额为 0 的行也计" if earn.counts_zero else "")


def _bounds(bounds: Sequence[Bound]) -> Iterator[tuple[str, str]]:
    for one in bounds:
        over = "（合同年度）" if one.over == CONTRACT_YEAR else ""
        yield f"{_SCOPES[one.scope]}{_BOUNDS[one.kind]}", figure(one.amount, 2) + over


def _refunds(refunds: Refunds) -> Iterator[tuple[str, str]]:
    window = "" if refunds.window_days is None else f"（消费后 {refunds.window_days} 天内）"
    yield "当月退款", f"与消费相抵{window}" if refunds.is_same_month_netted else "不相抵，冲回佣金"
    yield "其他退款", "冲回该消费所计佣金" if refunds.take_back == ORIGINAL else "重新计算该月"


def _payout(payout: Payout) -> Facts:
    found = {(PAYOUT, "付款"): f"满 {figure(payout.minimum, 2)} 起付" if payout.minimum else "不限余额"}
    if payout.minimum:
        found[PAYOUT, "未达起付额"] = "结转下期" if payout.carry_forward else "作废"
    if payout.tax is not None:
        found[PAYOUT, "税"] = f"{_percent(payout.tax.rate)}，{'价外' if payout.tax.mode == 'exclusive' else '价内'}"
    if payout.withholding is not None:
        found[PAYOUT, "代扣"] = f"付款额的 {_percent(payout.withholding)}"
    if payout.requires_invoice:
        found[PAYOUT, "发票"] = "付款前须收到发票"
    return found
