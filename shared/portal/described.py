"""The addresses about reports, as OpenAPI 3.1 describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.portal.openapi_parts import DATA, TEXT, TEXTS, listed, named, shape

_BOTH = shape({"en": TEXT, "zh": TEXT})
_MAYBE = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_FORMATS = ("csv", "xlsx", "pdf", "json", "parquet")
_STATES = ("queued", "running", "succeeded", "failed", "expired")
_MONTH = {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"}
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
_IDEMPOTENT = {"name": "Idempotency-Key", "in": "header", "schema": {**TEXT, "minLength": 1, "maxLength": 128}}


def paths() -> dict[str, Any]:
    """For `paths`."""
    run, link, key, selection, report = map(named, ("Run", "Link", "Key", "Selection", "Report"))
    wish = shape(dict.fromkeys(("id", "name", "says", "by", "at"), TEXT))
    deleted = shape({"id": TEXT, "state": TEXT})
    secret_link = shape({**_LINK, "path": _MAYBE, "url": _MAYBE})
    months = shape({"month": TEXT, "state": {"enum": ["nothing", "draft", "settled", "locked"]},
                    "is_final": {"type": "boolean"}, "as_of": TEXT})  # fmt: skip
    return {
        "/v1/reports": {"get": _read("The reports that you may run.", _all("reports", report))},
        "/v1/reports/{name}": {"get": _read("One, with its columns and filters.", report, "name")},
        "/v1/reports/{name}/availability": {
            "get": _read(
                "From when to when there are numbers, and why they may still change.",
                shape({**dict.fromkeys(("from", "to", "updated_at", "final_until"), _MAYBE),
                       "report": TEXT, "why": listed(_BOTH)}),
                "name",
            )
        },
        "/v1/report-runs": {
            "get": _read("The last runs.", _all("runs", run), query=[_limit(200)]),
            "post": _do(
                "Ask for a report. The same question on the same data is the same run; 202 while it is made.",
                run, named("ReportRequest"), statuses=("200", "202"),
            ),
        },
        "/v1/report-runs/{id}": {"get": _read("A run.", run, "id")},
        "/v1/report-runs/{id}/result": {
            "get": _read(
                "Its rows, page by page; amounts and quantities are exact text.",
                shape({"run": TEXT, "rows": listed(DATA), "next": TEXT}),
                "id",
                query=[_limit(1000), {"name": "page", "in": "query", "schema": TEXT}],
            )
        },
        "/v1/report-runs/{id}/again": {
            "post": _do("The same question on the data of now.", run, of="id", statuses=("200", "202"))
        },
        "/v1/report-runs/{id}/drill-down": {
            "post": _do(
                "What a row is made of, dates and filters kept.",
                run, shape({"row": _COUNT}, {"format": _KIND}, more=False), of="id", statuses=("200", "202"),
            )
        },
        "/v1/report-runs/{id}/links": {
            "get": _read("Its links, without where they lead.", _all("links", link), "id"),
            "post": _do(
                "A link to one of its files, shown once.",
                secret_link,
                shape({}, {"file": TEXT, "expires_in_hours": {"type": "integer", "minimum": 1, "maximum": 2160}},
                      more=False),
                of="id",
            ),
        },
        "/v1/links/{id}/revoke": {"post": _do("Take a link back.", link, of="id")},
        "/v1/selections": {
            "get": _read("Your saved selections, and templates.", _all("selections", selection)),
            "post": _do(
                "Keep a question by a name; one of the same name is replaced.",
                selection, shape({"name": TEXT, "ask": DATA}, more=False),
            ),
        },
        "/v1/selections/{id}/delete": {"post": _do("Forget one.", deleted, of="id")},
        "/v1/selections/{id}/publish": {
            "post": _do(
                "Make one a template for everybody of some views.",
                selection,
                shape({"views": listed({"enum": ["operator", "reseller", "customer"]})}, more=False),
                of="id",
            )
        },
        "/v1/templates": {"get": _read("The templates that you may use.", _all("templates", selection))},
        "/v1/wishes": {
            "get": _read("The views that were asked for.", _all("wishes", wish)),
            "post": _do("Ask for a view that there is not.", wish, shape({"name": TEXT, "says": TEXT}, more=False)),
        },
        "/v1/mappings": {
            "get": _read(
                "Every version of your allocation mappings.",
                _all("mappings", shape({**dict.fromkeys(("allocation", "by", "at"), TEXT), "version": _COUNT})),
            ),
            "post": _do(
                "Submit a version of an allocation mapping; the same again is what it was before.",
                shape({"owner": TEXT, "allocation": TEXT, "version": _COUNT, "new": {"type": "boolean"},
                       "warnings": listed(TEXTS)}),
                shape({"name": TEXT, "text": TEXT}, more=False),
            ),
        },
        "/v1/keys": {
            "get": _read("Your API keys, without their texts.", _all("keys", key)),
            "post": _do(
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
        "/v1/keys/{id}/revoke": {"post": _do("Take an API key back.", key, of="id")},
        "/v1/statements": {
            "get": _read("The statements of some months.", _all("statements", DATA), query=_FROM_TO),
        },
        "/v1/months": {
            "get": _read("How far the settlement of some months is.", _all("months", months), query=_FROM_TO),
        },
        "/d/{token}": {
            "get": {
                "summary": "Follow a link to its file.",
                "security": [],
                "parameters": [_part("token")],
                "responses": {
                    "302": {"description": "where the file is, for five minutes"},
                    "410": _refused("it has expired or was revoked"),
                    "default": _refused("refused, with the reason"),
                },
            }
        },
    }  # fmt: skip


def _limit(most: int) -> dict[str, Any]:
    return {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": most}}


_FROM_TO = [{"name": name, "in": "query", "schema": _MONTH} for name in ("from", "to")]


def _all(name: str, of: Mapping[str, Any]) -> dict[str, Any]:
    return shape({name: listed(of)})


def _part(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}}


def _refused(says: str) -> dict[str, Any]:
    return {"description": says, "content": {"application/problem+json": {"schema": named("Problem")}}}


def _operation(says: str, answers: Mapping[str, Any], of: str, more: list[Any], statuses: tuple[str, ...]) -> Any:
    done = {"application/json": {"schema": dict(answers)}}
    found: dict[str, Any] = {
        "summary": says,
        "responses": {
            **{
                status: {"description": "done" if status == "200" else "ordered", "content": done}
                for status in statuses
            },
            "401": _refused("nobody signed in"),
            "429": _refused("too many requests; Retry-After says when to ask again"),
            "default": _refused("refused, with the reason"),
        },
    }
    parameters = [*([_part(of)] if of else []), *more]
    return {**found, "parameters": parameters} if parameters else found


def _read(
    says: str, answers: Mapping[str, Any], of: str = "", *, query: list[Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    tag = {"name": "If-None-Match", "in": "header", "schema": TEXT}
    found: dict[str, Any] = _operation(says, answers, of, [*(query or []), tag], ("200",))
    found["responses"]["304"] = {"description": "as it was"}
    return found


def _do(
    says: str,
    answers: Mapping[str, Any],
    asked: Mapping[str, Any] | None = None,
    *,
    of: str = "",
    statuses: tuple[str, ...] = ("200",),
) -> dict[str, Any]:
    found: dict[str, Any] = _operation(says, answers, of, [_IDEMPOTENT], statuses)
    if asked is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(asked)}}}
    return found
