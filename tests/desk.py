"""The portal in one process: requests become its events, and people sign in by their names alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from functions import portal
from infra.clearbook.people import OWNER
from infra.clearbook.remote import Portal
from shared.access.tokens import SignIn
from shared.services import Services
from tests.granted import granted
from tests.pump import World

ROOT = Path(__file__).parents[1]
EVENT: Mapping[str, Any] = json.loads((ROOT / "events" / "portal-proposals.json").read_bytes())


class Names(SignIn):
    """Takes the bearer token for the name of who sends it."""

    def __init__(self) -> None:
        pass

    def subject(self, authorization: str) -> str:
        return authorization.removeprefix("Bearer ")


def event(
    method: str, path: str, body: bytes | str = "", *, token: str = "", at: str = "2025-07-03T04:30:00Z", **headers: str
) -> bytes:
    """What Function Compute sends for a request."""
    text, is_base64 = (body, False) if isinstance(body, str) else (base64.b64encode(body).decode(), True)
    http = {**EVENT["requestContext"]["http"], "method": method, "path": path}
    sent = {"Content-Type": "application/json", "Host": "portal.localhost", **headers}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    return json.dumps(
        {
            **EVENT,
            "rawPath": path,
            "headers": sent,
            "body": text,
            "isBase64Encoded": is_base64,
            "requestContext": {**EVENT["requestContext"], "http": http, "time": at},
        }
    ).encode()


def desk(services: Callable[[], Services], at: Callable[[], str]) -> Callable[[str], Portal]:
    """The portal over services, as anybody speaks to it, at a time."""

    def ask(who: str) -> Portal:
        def send(method: str, path: str, body: bytes) -> tuple[int, bytes]:
            came = event(method, path, body, token=who, at=at())
            answer = json.loads(portal.run(came, services(), Names(), OWNER))
            return int(answer["statusCode"]), str(answer["body"]).encode()

        return Portal(send)

    return ask


def of_world(world: World) -> Callable[[str], Portal]:
    """The portal of a world, under the policy of its function."""
    return desk(lambda: granted(world.services, "portal"), lambda: world.at)
