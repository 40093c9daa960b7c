"""The addresses about reports, as OpenAPI 3.1 describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.portal.openapi_parts import (
    DATA,
    TEXT,
    TEXTS,
    collection,
    do,
    limit,
    listed,
    named,
    part,
    read,
    refused,
    shape,
)

_BOTH = shape({"en": TEXT, "zh": TEXT})
_MAYBE = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_FORMATS = ("csv", "xlsx", "pdf", "json", "parquet")
_STATES = ("queued", "running", "succeeded", "failed", "expired")
_MONTH = {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"}
_FROM_TO = [{"name": name, "in": "query", "schema": _MONTH} for name in ("from", "to")]
_DATE = {**TEXT, "description": "YYYY-MM-DD or YYYY-MM; both ends are included"}
_ASK = {
    "report": TEXT,
    "preset": TEXT,
    "from": _DATE,
    "to": _DATE,
    "by": {"enum": ["usage", "billing"], "description": "which date of a line is meant"},
    "filters": {"type": "object", "additionalProperties": {"oneOf": [TEXT, TEXTS]}},
    "columns": TEXTS,
    "allocation": TEXT,
    "language": {"enum": ["en", "zh"]},
    "currency": TEXT,
}
_KIND = {"enum": ["view", *_FORMATS], "description": "view: rows to look at, without a file"}
_RUN_TEXTS = ("id", "report", "at", "by", "progress", "because", "finished_at", "expires_at")
_FILE = shape({**dict.fromkeys(("name", "format", "digest"), TEXT), "bytes": _COUNT})
_LINK = {**dict.fromkeys(("id", "run", "file", "by", "made_at", "expires_at", "revoked_at"), TEXT),
         "state": {"enum": ["active", "expired", "revoked"]}}  # fmt: skip
_KEY = {**dict.fromkeys(("id", "name", "by", "made_at", "expires_at", "revoked_at"), TEXT),
        "state": {"enum": ["active", "expired", "revoked"]}, "rights": TEXTS, "formats": TEXTS}  # fmt: skip
_SELECTION = {**dict.fromkeys(("id", "name", "by", "at"), TEXT), "ask": DATA}
_REPORT = {
    **dict.fromkeys(("name", "default_dates"), TEXT),
    "version": _COUNT,
    **dict.fromkeys(("title", "says"), _BOTH),
    "columns": listed(shape({**dict.fromkeys(("name", "type"), TEXT), "unit": _MAYBE, "label": _BOTH, "says": _BOTH})),
    "filters": listed(
        shape({"name": TEXT, "label": _BOTH, "says": _BOTH, "default": _MAYBE, "many": {"type": "boolean"}})
    ),
    "drill_down": _MAYBE,
    "sensitive": {"type": "boolean"},
}
SCHEMAS: Mapping[str, Any] = {
    "Report": shape(_REPORT),
    "ReportRequest": shape(
        {}, {**_ASK, "format": _KIND, "selection": {**TEXT, "description": "asked where nothing else is"}}, more=False
    ),
    "Run": shape(
        {
            **dict.fromkeys(_RUN_TEXTS, TEXT),
            "state": {"enum": list(_STATES)},
            "format": _KIND,
            "ask": DATA,
            "rows": _COUNT,
            "files": listed(_FILE),
        },
        {"about": {"type": ["object", "null"], "description": "what it says of itself, once it has succeeded"}},
    ),
    "Link": shape(_LINK),
    "Key": shape(_KEY),
    "Selection": shape(_SELECTION, {"views": TEXTS}),
}


def paths() -> dict[str, Any]:
    """For `paths`."""
    run, link, key, selection, report = map(named, ("Run", "Link", "Key", "Selection", "Report"))
    wish = shape(dict.fromkeys(("id", "name", "says", "by", "at"), TEXT))
    deleted = shape({"id": TEXT, "state": TEXT})
    secret_link = shape({**_LINK, "path": _MAYBE, "url": _MAYBE})
    months = shape({"month": TEXT, "state": {"enum": ["nothing", "draft", "settled", "locked"]},
                    "is_final": {"type": "boolean"}, "as_of": TEXT})  # fmt: skip
    return {
        "/v1/reports": {"get": read("The reports that you may run.", collection("reports", report))},
        "/v1/reports/{name}": {"get": read("One, with its columns and filters.", report, "name")},
        "/v1/reports/{name}/availability": {
            "get": read(
                "From when to when there are numbers, and why they may still change.",
                shape({**dict.fromkeys(("from", "to", "updated_at", "final_until"), _MAYBE),
                       "report": TEXT, "why": listed(_BOTH)}),
                "name",
            )
        },
        "/v1/report-runs": {
            "get": read("The last runs.", collection("runs", run), query=[limit(200)]),
            "post": do(
                "Ask for a report. The same question on the same data is the same run; 202 while it is made.",
                run, named("ReportRequest"), statuses=("200", "202"),
            ),
        },
        "/v1/report-runs/{id}": {"get": read("A run.", run, "id")},
        "/v1/report-runs/{id}/result": {
            "get": read(
                "Its rows, page by page; amounts and quantities are exact text.",
                shape({"run": TEXT, "rows": listed(DATA), "next": TEXT}),
                "id",
                query=[limit(1000), {"name": "page", "in": "query", "schema": TEXT}],
            )
        },
        "/v1/report-runs/{id}/again": {
            "post": do("The same question on the data of now.", run, of="id", statuses=("200", "202"))
        },
        "/v1/report-runs/{id}/drill-down": {
            "post": do(
                "What a row is made of, dates and filters kept.",
                run, shape({"row": _COUNT}, {"format": _KIND}, more=False), of="id", statuses=("200", "202"),
            )
        },
        "/v1/report-runs/{id}/links": {
            "get": read("Its links, without where they lead.", collection("links", link), "id"),
            "post": do(
                "A link to one of its files, shown once.",
                secret_link,
                shape({}, {"file": TEXT, "expires_in_hours": {"type": "integer", "minimum": 1, "maximum": 2160}},
                      more=False),
                of="id",
            ),
        },
        "/v1/links/{id}/revoke": {"post": do("Take a link back.", link, of="id")},
        "/v1/selections": {
            "get": read("Your saved selections, and templates.", collection("selections", selection)),
            "post": do(
                "Keep a question by a name; one of the same name is replaced.",
                selection, shape({"name": TEXT, "ask": DATA}, more=False),
            ),
        },
        "/v1/selections/{id}/delete": {"post": do("Forget one.", deleted, of="id")},
        "/v1/selections/{id}/publish": {
            "post": do(
                "Make one a template for everybody of some views.",
                selection,
                shape({"views": listed({"enum": ["operator", "reseller", "customer"]})}, more=False),
                of="id",
            )
        },
        "/v1/templates": {"get": read("The templates that you may use.", collection("templates", selection))},
        "/v1/wishes": {
            "get": read("The views that were asked for.", collection("wishes", wish)),
            "post": do("Ask for a view that there is not.", wish, shape({"name": TEXT, "says": TEXT}, more=False)),
        },
        "/v1/mappings": {
            "get": read(
                "Every version of your allocation mappings.",
                collection("mappings", shape({**dict.fromkeys(("allocation", "by", "at"), TEXT), "version": _COUNT})),
            ),
            "post": do(
                "Submit a version of an allocation mapping; the same again is what it was before.",
                shape({"owner": TEXT, "allocation": TEXT, "version": _COUNT, "new": {"type": "boolean"},
                       "warnings": listed(TEXTS)}),
                shape({"name": TEXT, "text": TEXT}, more=False),
            ),
        },
        "/v1/keys": {
            "get": read("Your API keys, without their texts.", collection("keys", key)),
            "post": do(
                "Make an API key, shown once.",
                shape({**_KEY, "key": _MAYBE}),
                shape(
                    {"name": TEXT},
                    {
                        "rights": listed({"enum": ["reports", "export"]}),
                        "formats": listed({"enum": list(_FORMATS)}),
                        "expires_in_days": {"type": "integer", "minimum": 1, "maximum": 366},
                    },
                    more=False,
                ),
            ),
        },
        "/v1/keys/{id}/revoke": {"post": do("Take an API key back.", key, of="id")},
        "/v1/statements": {
            "get": read("The statements of some months.", collection("statements", DATA), query=_FROM_TO),
        },
        "/v1/months": {
            "get": read("How far the settlement of some months is.", collection("months", months), query=_FROM_TO),
        },
        "/d/{token}": {
            "get": {
                "summary": "Follow a link to its file.",
                "security": [],
                "parameters": [part("token")],
                "responses": {
                    "302": {"description": "where the file is, for five minutes"},
                    "410": refused("it has expired or was revoked"),
                    "default": refused("refused, with the reason"),
                },
            }
        },
    }  # fmt: skip
