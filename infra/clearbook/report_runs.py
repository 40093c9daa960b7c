"""The commands about runs of reports at the portal: ask for one as whoever is signed in, and get what it came to."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from infra.clearbook import remote
from infra.clearbook.context import environment
from infra.clearbook.main import write_json
from infra.clearbook.remote import Portal, UnreachableError
from infra.clearbook.reports import filters_of
from shared.cloud.issuer import LOOPBACK
from shared.errors import ClearbookError, SettingError

_FINISHED = ("succeeded", "failed", "expired")
_LOOKS_MAX, _PAUSE_S, _PAUSE_MAX_S = 200, 0.2, 5.0
_FETCH_S = 300.0


class RunFailedError(ClearbookError):
    """A run came to nothing; the message says what to do."""

    code = "run_failed"


def request_run(
    name: str, said: Mapping[str, Any], given: Sequence[str], format_: str, by: str,
    output: Path | None, home: Path | None, json_to: str | None,
) -> None:  # fmt: skip
    """Ask for a report, wait for it, and write its files into `output` where that is given."""
    portal = remote.portal(home, by)
    asked = {field: value for field, value in said.items() if value}
    asked |= {"report": name, "format": format_, **({"filters": filters_of(given)} if given else {})}
    _got(portal, portal.post("/v1/report-runs", asked), output, home, json_to)


def get_run(run: str, by: str, output: Path | None, home: Path | None, json_to: str | None) -> None:
    """What became of a run, and its files."""
    portal = remote.portal(home, by)
    _got(portal, portal.get(f"/v1/report-runs/{run}"), output, home, json_to)


def _got(portal: Portal, run: Mapping[str, Any], output: Path | None, home: Path | None, json_to: str | None) -> None:
    console = Console(stderr=True, highlight=False)
    with console.status(str(run["id"])) as status:
        found = awaited(portal, run, lambda text: status.update(text))
    if found["state"] != "succeeded":
        raise RunFailedError(f"run {found['id']} {found['state']}: {found['because'] or 'ask for the report again'}")
    written = []
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        written = [_fetch(portal, found, one, output, home) for one in found["files"]]
    if json_to is not None:
        write_json({**found, "written": [str(one) for one in written]}, json_to)
    if json_to == "-":
        return
    about = found["about"]
    print(f"{found['id']}: {found['report']}, {found['rows']:,} rows, {about['status']}, as of {about['as_of']}")
    for currency, sums in about["control_totals"].items():
        print(f"{currency}: " + ", ".join(f"{column} {value}" for column, value in sums.items()))
    for sentence in (*about["story"], *about["notes"], *about["hidden"], *about["why_not_final"]):
        print(sentence[found["ask"]["language"]])
    for one in written:
        print(f"  {one}")


def awaited(
    portal: Portal, run: Mapping[str, Any], told: Callable[[str], None], wait: Callable[[float], None] = time.sleep
) -> dict[str, Any]:  # fmt: skip
    """The run once it is finished; raises UnreachableError where it takes too long."""
    found, pause_s = dict(run), _PAUSE_S
    for _ in range(_LOOKS_MAX):
        if found["state"] in _FINISHED:
            return found
        told(f"{found['state']} {found['progress']}".strip())
        wait(pause_s)
        pause_s = min(pause_s * 1.5, _PAUSE_MAX_S)
        found = portal.get(f"/v1/report-runs/{found['id']}")
    raise UnreachableError(f"run {found['id']} is still {found['state']}; `clearbook report get {found['id']}` later")


def _fetch(portal: Portal, run: Mapping[str, Any], file: Mapping[str, Any], output: Path, home: Path | None) -> Path:
    """Write a file by a link of its own, which is revoked when the file is there."""
    link = portal.post(f"/v1/report-runs/{run['id']}/links", {"file": file["name"], "expires_in_hours": 1})
    path = output / Path(file["name"]).name
    url = environment(home)["CLEARBOOK_PORTAL"].rstrip("/") + link["path"]
    try:
        path.write_bytes(_followed(url))
    finally:
        portal.post(f"/v1/links/{link['id']}/revoke", {})
    return path


def _followed(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise SettingError("CLEARBOOK_PORTAL", f"{url} is not https", "links are followed over TLS alone")
    try:
        with urllib.request.urlopen(url, timeout=_FETCH_S) as answer:  # noqa: S310 - https, or loopback
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as exc:
        raise UnreachableError(f"the link does not lead to the file ({exc}); run it again") from exc
