"""Reports over HTTP: what there is, runs and their rows, links, selections, keys, and how far months are.

Each for its owner: what is another's is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.cloud.http import Answer, Request, Route
from shared.cycle import Cycle, parse_instant, shanghai_day
from shared.errors import BadInputError
from shared.portal.door import RUN, Door, number
from shared.services import Services

if TYPE_CHECKING:
    from shared.access.principal import Principal
    from shared.report.catalogue import Report
    from shared.steps.reporting.runs import Run

_RUNS, _RUNS_MAX = 50, 200
SMALL_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Reports:
    """The addresses; `address` is the portal's own, for links, and "" where it is not known."""

    services: Services
    door: Door
    address: str = ""
    small_lines: int = SMALL_LINES

    def routes(self) -> Sequence[Route]:
        """Every address."""
        read, do = self.door.reading, self.door.doing
        return (
            Route("GET", "/v1/reports", read(self.catalogue)),
            Route("GET", "/v1/reports/<name>", read(self.report)),
            Route("GET", "/v1/reports/<name>/availability", read(self.availability)),
            Route("GET", "/v1/report-runs", read(self.runs)),
            Route("POST", "/v1/report-runs", do(self.request, cost=RUN)),
            Route("GET", "/v1/report-runs/<id>", read(self.run)),
            Route("GET", "/v1/report-runs/<id>/result", read(self.result)),
            Route("POST", "/v1/report-runs/<id>/again", do(self.again, cost=RUN)),
            Route("POST", "/v1/report-runs/<id>/drill-down", do(self.drill_down, cost=RUN)),
            Route("GET", "/v1/report-runs/<id>/links", read(self.links)),
            Route("POST", "/v1/report-runs/<id>/links", do(self.link, secrets=("path", "url"))),
            Route("POST", "/v1/links/<id>/revoke", do(self.revoke_link)),
            Route("GET", "/v1/selections", read(self.selections)),
            Route("POST", "/v1/selections", do(self.save)),
            Route("POST", "/v1/selections/<id>/delete", do(self.delete)),
            Route("POST", "/v1/selections/<id>/publish", do(self.publish)),
            Route("GET", "/v1/templates", read(self.templates)),
            Route("GET", "/v1/wishes", read(self.wishes)),
            Route("POST", "/v1/wishes", do(self.wish)),
            Route("GET", "/v1/keys", read(self.keys)),
            Route("POST", "/v1/keys", do(self.make_key, secrets=("key",))),
            Route("POST", "/v1/keys/<id>/revoke", do(self.revoke_key)),
            Route("GET", "/v1/statements", read(self.statements)),
            Route("GET", "/v1/months", read(self.months)),
            Route("GET", "/d/<token>", self.follow),
        )

    # -- what there is

    def catalogue(self, who: Principal, request: Request) -> Any:
        """The reports that somebody may run."""
        from shared.access.roles import REPORTS
        from shared.report.catalogue import catalogue

        who.need(REPORTS)
        return {"reports": [_report(one, who) for one in catalogue().values() if one.may_run(who.view)]}

    def report(self, who: Principal, request: Request, name: str) -> Any:
        """One, with its columns and filters."""
        return _report(_found(who, name), who)

    def availability(self, who: Principal, request: Request, name: str) -> Any:
        """From when to when there are numbers, and why they may change."""
        from shared.steps import state
        from shared.steps.reporting.availability import availability

        report = _found(who, name)
        parties, _ = state.parties(self.services)
        there = availability(self.services, who.scope(parties), report)
        return {
            "report": report.name,
            "from": there.first and there.first.isoformat(),
            "to": there.last and there.last.isoformat(),
            "updated_at": there.updated_at or None,
            "final_until": there.is_final_until and there.is_final_until.isoformat(),
            "why": [dict(one) for one in there.why],
        }

    # -- runs

    def request(self, who: Principal, request: Request) -> Answer:
        """A run: at once where it is small, else ordered."""
        from shared.steps.reporting import requesting, selections

        said = request.json()
        if "selection" in said:
            chosen = said.pop("selection")
            if not isinstance(chosen, str):
                raise BadInputError("selection", f"is {str(chosen)[:40]!r}", "give the id of a selection")
            said = {**selections.ask_of(self.services, who, chosen), **said}
        ask, format_ = requesting.parse(who, said, request.at)
        run = requesting.request(
            self.services, who, ask, format_, at=request.at, small_lines=self.small_lines
        )  # fmt: skip
        return self._answered(run)

    def runs(self, who: Principal, request: Request) -> Any:
        """The last runs of the owner."""
        from shared.access.roles import REPORTS
        from shared.steps.reporting import runs

        who.need(REPORTS)
        most = number(request.query, "limit", _RUNS, _RUNS_MAX)
        found = runs.listed(self.services, who.owner, parse_instant(request.at), most)
        return {"runs": [runs.as_json(one) for one in found]}

    def run(self, who: Principal, request: Request, id: str) -> Any:
        """One, with what it says of itself once it has succeeded."""
        return self._shown(self._run(who, request, id))

    def result(self, who: Principal, request: Request, id: str) -> Any:
        """Its rows, page by page."""
        from shared.steps.reporting import access_log, reading

        run = self._run(who, request, id)
        limit = number(request.query, "limit", reading.PAGE, reading.PAGE_MAX)
        rows, following = reading.page(self.services, run, request.query.get("page", ""), limit)
        access_log.note(self.services, request.at, who, access_log.LOOK, {"run": run.id, "rows": len(rows)})
        return {"run": run.id, "rows": rows, "next": following}

    def again(self, who: Principal, request: Request, id: str) -> Answer:
        """The same question of the data of now: the same run while it is the same."""
        from shared.steps.reporting import requesting

        run = self._run(who, request, id)
        return self._answered(requesting.again(self.services, who, run, request.at, self.small_lines))

    def drill_down(self, who: Principal, request: Request, id: str) -> Answer:
        """What a row is made of, as a run of its own with the context kept."""
        from shared.steps.acts.act import fields
        from shared.steps.reporting import reading, requesting

        run = self._run(who, request, id)
        given = fields(request.json(), {"row": int}, {"format": str})
        said = {**reading.below(self.services, run, given["row"]), "format": given.get("format", "view")}
        ask, format_ = requesting.parse(who, said, request.at)
        found = requesting.request(
            self.services, who, ask, format_, at=request.at, small_lines=self.small_lines
        )  # fmt: skip
        return self._answered(found)

    # -- links

    def links(self, who: Principal, request: Request, id: str) -> Any:
        """The links of a run, without where they lead."""
        from shared.steps.reporting import links

        return {"links": links.listed(self.services, who, self._run(who, request, id), request.at)}

    def link(self, who: Principal, request: Request, id: str) -> Any:
        """A link to a file of a run, shown once."""
        from shared.steps.reporting import links

        run = self._run(who, request, id)
        made, token = links.create(self.services, who, run, request.json(), request.at)
        path = links.PATH + token
        return {**made, "path": path, "url": self.address.rstrip("/") + path if self.address else None}

    def revoke_link(self, who: Principal, request: Request, id: str) -> Any:
        """Take one back."""
        from shared.access.roles import EXPORT
        from shared.steps.reporting import links

        who.need(EXPORT)
        return links.revoke(self.services, who, id, request.at)

    def follow(self, request: Request, token: str) -> Answer:
        """Where a link leads, for anybody who has it."""
        from shared.steps.reporting import links

        where = links.follow(self.services, token, request.at)
        return Answer({"location": where}, HTTPStatus.FOUND, {"Location": where, "Referrer-Policy": "no-referrer"})

    # -- selections

    def selections(self, who: Principal, request: Request) -> Any:
        """The owner's own, and templates."""
        from shared.steps.reporting import selections

        return {"selections": selections.listed(self.services, who)}

    def save(self, who: Principal, request: Request) -> Any:
        """Keep one."""
        from shared.steps.reporting import selections

        return selections.save(self.services, who, request.json(), request.at)

    def delete(self, who: Principal, request: Request, id: str) -> Any:
        """Forget one."""
        from shared.steps.reporting import selections

        return selections.delete(self.services, who, id)

    def publish(self, who: Principal, request: Request, id: str) -> Any:
        """Make one a template for others."""
        from shared.steps.reporting import selections

        return selections.publish(self.services, who, id, request.json(), request.at)

    def templates(self, who: Principal, request: Request) -> Any:
        """The templates for somebody's view."""
        from shared.access.roles import REPORTS
        from shared.steps.reporting import selections

        who.need(REPORTS)
        return {"templates": selections.templates(self.services, who)}

    def wishes(self, who: Principal, request: Request) -> Any:
        """The views that were asked for."""
        from shared.steps.reporting import selections

        return {"wishes": selections.wishes(self.services, who)}

    def wish(self, who: Principal, request: Request) -> Any:
        """Ask for a view that there is not."""
        from shared.steps.reporting import selections

        return selections.wish(self.services, who, request.json(), request.at)

    # -- keys

    def keys(self, who: Principal, request: Request) -> Any:
        """The owner's keys, without their texts."""
        from shared.steps.reporting import keys

        return {"keys": keys.listed(self.services, who, request.at)}

    def make_key(self, who: Principal, request: Request) -> Any:
        """A key, shown once."""
        from shared.steps.reporting import keys

        made, text = keys.create(self.services, who, request.json(), request.at)
        return {**made, "key": text}

    def revoke_key(self, who: Principal, request: Request, id: str) -> Any:
        """Take one back."""
        from shared.steps.reporting import keys

        return keys.revoke(self.services, who, id, request.at)

    # -- months

    def statements(self, who: Principal, request: Request) -> Any:
        """The statements of some months."""
        from shared.steps.reporting import standing

        scope, cycles = self._months(who, request)
        return {"statements": standing.statements(self.services, scope, cycles)}

    def months(self, who: Principal, request: Request) -> Any:
        """How far the settlement of some months is."""
        from shared.steps.reporting import standing

        scope, cycles = self._months(who, request)
        return {"months": standing.months(self.services, scope, cycles)}

    def _months(self, who: Principal, request: Request) -> tuple[Any, list[Cycle]]:
        from shared.access.roles import REPORTS
        from shared.steps import state
        from shared.steps.reporting import standing

        who.need(REPORTS)
        now = Cycle.of(shanghai_day(parse_instant(request.at)))
        last = request.query.get("to", request.query.get("from", str(now.previous())))
        cycles = standing.cycles_of(request.query.get("from", last), last)
        parties, _ = state.parties(self.services)
        return who.scope(parties), cycles

    # -- what these have in common

    def _run(self, who: Principal, request: Request, id: str) -> Run:
        """A run of whoever asks, which they may look at; those of a format need the right to that."""
        from shared.access.roles import REPORTS
        from shared.steps.reporting import runs

        who.need(REPORTS)
        return runs.get(self.services, who.owner, id, parse_instant(request.at))

    def _answered(self, run: Run) -> Answer:
        status = HTTPStatus.OK if run.is_finished else HTTPStatus.ACCEPTED
        headers = {"Location": f"/v1/report-runs/{run.id}"}
        return Answer(self._shown(run), status, headers if run.is_finished else {**headers, "Retry-After": "2"})

    def _shown(self, run: Run) -> dict[str, Any]:
        from shared.steps.reporting import reading, runs

        about = reading.about(self.services, run) if run.state == runs.SUCCEEDED else None
        return {**runs.as_json(run), "about": about}


def _found(who: Principal, name: str) -> Report:
    """A report that somebody may run; to who may not it is as if there were none."""
    from shared.access.roles import REPORTS
    from shared.report.catalogue import catalogue
    from shared.steps.delivering.kept import UnknownIdError

    who.need(REPORTS)
    found = catalogue().get(name)
    if found is None or not found.may_run(who.view):
        raise UnknownIdError("report", name)
    return found


def _report(report: Report, who: Principal) -> dict[str, Any]:
    def both(names: Mapping[str, str]) -> dict[str, str]:
        return {"en": names["en"], "zh": names["zh"]}

    return {
        "name": report.name,
        "version": report.version,
        "title": both(report.titles),
        "says": both(report.says),
        "columns": [
            {
                "name": one.name, "type": str(one.type), "unit": one.unit or None,
                "label": both(one.labels), "says": both(one.says),
            }
            for one in report.columns[who.view]
        ],
        "filters": [
            {
                "name": one.name, "label": both(one.labels), "says": both(one.says),
                "default": one.default or None, "many": one.is_many,
            }
            for one in report.filters_of(who.view)
        ],
        "drill_down": report.drill_down or None,
        "default_dates": report.preset,
        "sensitive": report.is_sensitive,
    }  # fmt: skip
