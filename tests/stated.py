"""A statement for tests of reports: every part is there, and texts that mean something to a typesetter or a sheet."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.document import agreement_document
from shared.money import total
from shared.report.statements import Document, Lock
from shared.settlement.examples import settle_example
from shared.settlement.statement import Statement, StatementLine
from tests.builders import agreement

ODD = '=1+1 #let x = $a_b$ *bold* @ref \\u{41} <tag> `raw` "q" [c] //'
AT = datetime(2025, 7, 4, 9, 30, tzinfo=UTC)
RICH: dict[str, Any] = {
    "exclude": [{"when": "kind == 'adjustment'", "because": "provider corrections earn nothing"}],
    "scales": {
        "monthly-spend": {
            "scope": "customer",
            "measure": "pretax",
            "method": "graduated",
            "bands": [{"upto": "400.00", "percent": "5"}, {"percent": "8"}],
        }
    },
    "rules": [
        {"id": "storage", "when": "product_code == 'oss'", "earn": {"percent": "3.5"}},
        {
            "id": "compute",
            "when": "contains(['ecs', 'eci'], product_code) && subscription_type == 'PayAsYouGo'",
            "earn": {"scale": "monthly-spend", "gate": {"figure": "engineers", "at_least": "3"}},
            "cap": [{"scope": "customer", "amount": "3000.00"}],
            "floor": [{"scope": "reseller", "amount": "10", "over": "contract_year"}],
        },
        {"id": "support", "when": "product_code == 'support'", "earn": {"fixed": "12.5", "per": "instance_month"}},
    ],
    "refunds": {"window_days": 30},
    "holdback": {"percent": "5", "months": 3},
    "payout": {
        "minimum": "100.00",
        "requires_invoice": True,
        "tax": {"percent": "6", "mode": "exclusive"},
        "withholding": {"percent": "10"},
    },
    "examples": [
        {"name": "storage", "lines": [{"product_code": "oss", "pretax": "100"}], "expect": {"commission": "3.5"}}
    ],
}


def version(**more: Any) -> Agreement:
    """An agreement version as the statement reads it."""
    return parse_agreement(agreement_document(agreement(**more), "agreement", settle_example))


def line(customer: str, product: str, amount: str, kind: str = "commission", rule: str = "sells-ecs") -> StatementLine:
    """A line of ten times its amount."""
    is_basis = kind == "commission"
    basis = f"{Decimal(amount) * 10 if is_basis else Decimal(0):.10f}"
    return StatementLine(customer, product, rule, 1, kind, 3, basis, f"{Decimal(amount):.18f}", amount)


def statement(*lines: StatementLine, tax: str = "0.00") -> Statement:
    """A statement of these lines."""
    whole = total([Decimal(one.amount) for one in lines]) or Decimal("0.00")
    payable = whole + Decimal(tax)
    return Statement("aurora-2025", "CNY", 2, lines, f"{whole:.18f}", f"{whole:.2f}", tax, f"{payable:.2f}")


def document(stated: Statement | None = None, *, is_draft: bool = False, **more: Any) -> Document:
    """A statement of aurora's, with names in both languages."""
    given: dict[str, Any] = {
        "statement": stated or statement(line("acme", "ecs", "60.00"), line("atlas", "oss", "-10.00", "adjustment")),
        "cycle": "2025-06",
        "reseller": "aurora",
        "settlement": "0c4007b4d127" + "ab" * 26,
        "as_of": AT,
        "is_bill_final": not is_draft,
        "lock": None if is_draft else Lock("paula", "amir", AT, "f" * 64),
        "carried": Decimal(0),
        "agreements": [version()],
        "operator": {"en": "Rivers Cloud", "zh": "江河云服务有限公司"},
        "reseller_names": {"en": "Aurora Ltd", "zh": "极光网络科技有限公司"},
        "customer_names": {"acme": {"en": "Acme", "zh": "顶点贸易"}, "atlas": {"en": ODD}},
        "product_names": {"ecs": {"en": "Elastic Compute Service", "zh": "云服务器 ECS"}},
    }
    return Document(**{**given, **more})
