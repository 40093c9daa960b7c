"""What a file says of itself: which report, of what, for whom, how fresh, how final, and how to check it."""

from __future__ import annotations

from typing import Any

from shared.ids import canonical_json
from shared.money import text
from shared.report.answer import Answer
from shared.report.language import EN, label, named


def metadata(answer: Answer) -> dict[str, Any]:
    """All of it as plain data; amounts are exact text."""
    stated = answer.stated
    return {
        "format": "clearbook-report-1",
        "report": answer.report.name,
        "version": answer.report.version,
        "title": dict(answer.report.titles),
        "says": dict(answer.report.says),
        "scope": stated.scope,
        "filters": dict(stated.filters),
        "currencies": list(stated.currencies),
        "as_of": stated.as_of or None,
        "status": "final" if stated.is_final else "draft",
        "why_not_final": [dict(one) for one in stated.why_not_final],
        "allocation": stated.allocation or None,
        "price_plans": list(stated.price_plans),
        "made_at": stated.made_at,
        "rows": answer.rows,
        "control_totals": {
            currency: {name: text(value) for name, value in sums.items()} for currency, sums in answer.totals.items()
        },
        "digest": answer.digest,
        "hidden": [dict(one) for one in stated.hidden],
        "notes": [dict(one) for one in stated.notes],
        "story": [dict(one) for one in answer.story],
        "columns": [
            {
                "name": one.name,
                "type": str(one.type),
                "unit": one.unit or None,
                "label": dict(one.labels),
                "says": dict(one.says),
            }
            for one in answer.columns
        ],
    }


def sidecar(answer: Answer) -> bytes:
    """The metadata as a file beside one that has no place for it."""
    return canonical_json(metadata(answer))


def facts(answer: Answer, language: str) -> list[tuple[str, str]]:
    """The metadata as people read it: (what, value)."""
    stated = answer.stated
    joint = "，" if language != EN else ", "
    totals = [
        (label("report_totals", language), f"{name} {text(value)} {currency}".strip())
        for currency, sums in answer.totals.items()
        for name, value in sums.items()
    ]
    filters = {one.name: named(one.labels, language, one.name) for one in answer.report.filters}
    filters |= {name: label(f"report_{name}", language) for name in ("from", "to", "by")}
    said = {
        "report_name": f"{named(answer.report.titles, language, answer.report.name)} ({answer.report.id})",
        "report_says": named(answer.report.says, language, ""),
        "report_scope": stated.scope,
        **{f"filter {name}": value for name, value in stated.filters.items()},
        "filter by": label(f"report_{stated.filters['by']}", language) if "by" in stated.filters else "",
        "report_currency": joint.join(stated.currencies),
        "report_as_of": stated.as_of or label("report_unknown", language),
        "report_status": label("report_final" if stated.is_final else "report_draft", language),
        "report_why": joint.join(named(one, language, "") for one in stated.why_not_final),
        "report_allocation": stated.allocation,
        "report_plans": joint.join(stated.price_plans),
        "report_made_at": stated.made_at,
        "report_rows": f"{answer.rows:,}",
        "report_digest": answer.digest,
    }
    notes = [(label("report_note", language), named(one, language, "")) for one in (*stated.hidden, *stated.notes)]

    def called(name: str) -> str:
        filter_ = name.removeprefix("filter ")
        return filters.get(filter_, filter_) if filter_ != name else label(name, language)

    labelled = [(called(name), value) for name, value in said.items() if value]
    return [*labelled, *totals, *notes]
