"""The HTTP face of the local Log Service: the project is the first part of the host name, as in the cloud."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from infra.localcloud.common import BODY_MAX, Keys
from infra.localcloud.sls import errors, sign
from infra.localcloud.sls.store import Document, Store

PROJECT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
LOGSTORE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,61}[a-z0-9]")
TTL_MAX: Final = 3650  # days; 3650 keeps for good
_log = logging.getLogger(__name__)


def application(store: Store, keys: Keys) -> web.Application:
    """The service over `store`, known to callers by `keys`."""
    service = Service(store, keys)
    app = web.Application(client_max_size=BODY_MAX)
    app.router.add_route("*", "/{path:.*}", service.answer)
    return app


class Service:
    """Answers calls of the main account."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store, self._keys = store, keys
        # By method and the shape of the path: "/", "/logstores", "/logstores/<name>", "/logstores/<name>/index".
        self._operations: Mapping[tuple[str, str], Callable[[str, str, Document], Document | None]] = {
            ("POST", "/"): self._create_project,
            ("GET", "/"): self._get_project,
            ("POST", "/logstores"): self._create_logstore,
            ("GET", "/logstores"): self._list_logstores,
            ("GET", "/logstores/*"): lambda project, name, _: store.logstore(project, name),
            ("PUT", "/logstores/*"): self._update_logstore,
            ("POST", "/logstores/*/index"): self._create_index,
            ("GET", "/logstores/*/index"): lambda project, name, _: store.index(project, name),
            ("PUT", "/logstores/*/index"): self._update_index,
        }

    async def answer(self, http: web.Request) -> web.Response:
        """Answer one request, whatever becomes of it."""
        request_id = uuid.uuid4().hex[:24].upper()
        body = await http.read()
        try:
            status, said = 200, self._call(http, body)
        except errors.SlsError as refusal:
            status, said = refusal.status, {"errorCode": refusal.code, "errorMessage": refusal.message}
        except Exception:  # an entry point: the caller gets the service's own 500, the log what happened
            _log.exception("request %s failed", request_id)
            status, said = 500, {"errorCode": "InternalServerError", "errorMessage": "Internal server error"}
        text = "" if said is None else json.dumps(said, ensure_ascii=False)
        headers = {"x-log-requestid": request_id}
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    def _call(self, http: web.Request, body: bytes) -> Document | None:
        path, _, query = http.raw_path.partition("?")
        headers = {name.lower(): value for name, value in http.headers.items()}
        pairs = parse_qsl(query, keep_blank_values=True)
        sign.verify(sign.Request(http.method, unquote(path), pairs, headers, body), self._keys, datetime.now(UTC))
        parts = [unquote(part) for part in path.split("/")[1:] if part]
        name = parts[1] if len(parts) > 1 else ""
        shape = "/" + "/".join("*" if place == 1 else part for place, part in enumerate(parts))
        operation = self._operations.get((http.method, shape))
        if operation is None:
            raise errors.not_implemented(f"{http.method} {path}")
        return operation(_project(headers["host"]), name, _document(body))

    def _create_project(self, project: str, _name: str, said: Document) -> None:
        name = said.get("projectName")
        if not isinstance(name, str) or not PROJECT_NAME.fullmatch(name) or name != project:
            raise errors.invalid(f"project name {name!r} is invalid")
        self._store.create_project(name, str(said.get("description", "")), _now())

    def _get_project(self, project: str, _name: str, _said: Document) -> Document:
        found = self._store.project(project)
        return {**found, "region": self._keys.region, "owner": self._keys.account_id, "status": "Normal"}

    def _create_logstore(self, project: str, _name: str, said: Document) -> None:
        name = said.get("logstoreName")
        if not isinstance(name, str) or not LOGSTORE_NAME.fullmatch(name):
            raise errors.invalid(f"logstore name {name!r} is invalid")
        _check_ttl(said.get("ttl"))
        self._store.create_logstore(project, name, said)

    def _list_logstores(self, project: str, _name: str, _said: Document) -> Document:
        names = self._store.logstores(project)
        return {"count": len(names), "total": len(names), "logstores": names}

    def _update_logstore(self, project: str, name: str, said: Document) -> None:
        if "ttl" in said:
            _check_ttl(said["ttl"])
        self._store.update_logstore(project, name, said)

    def _create_index(self, project: str, name: str, said: Document) -> None:
        self._store.create_index(project, name, _index(said))

    def _update_index(self, project: str, name: str, said: Document) -> None:
        self._store.update_index(project, name, _index(said))


def _project(host: str) -> str:
    first, _, rest = host.partition(":")[0].partition(".")
    if not rest:
        raise errors.invalid("the host name must begin with a project")
    return first


def _document(body: bytes) -> Document:
    if not body:
        return {}
    try:
        said = json.loads(body)
    except ValueError:
        raise errors.invalid("the body is not JSON") from None
    if not isinstance(said, dict):
        raise errors.invalid("the body must be a JSON object")
    return said


def _check_ttl(ttl: Any) -> None:
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= TTL_MAX:
        raise errors.invalid(f"ttl must be from 1 to {TTL_MAX} days, not {ttl!r}")


def _index(said: Document) -> Document:
    if not said.get("line") and not said.get("keys"):
        raise errors.invalid("an index needs line or keys")
    return {**said, "lastModifyTime": int(datetime.now(UTC).timestamp())}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
