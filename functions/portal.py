"""Decisions and reports over HTTP: who signed in proposes, approves, rejects, and fetches; repeating is safe."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import replace

from shared.access.tokens import SignIn
from shared.bootstrap import build_services
from shared.chain.chain import FollowingChain
from shared.cloud import http
from shared.cloud.issuer import sign_in as build_sign_in
from shared.cloud.log import step_log
from shared.cloud.patience import EVENT
from shared.errors import SettingError
from shared.portal.desk import Desk
from shared.portal.reports import SMALL_LINES
from shared.services import Services


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    owner, address = os.environ.get("CLEARBOOK_OWNER", ""), os.environ.get("CLEARBOOK_PORTAL", "")
    return run(event, _services(), _sign_in(), owner, context, address, _small_lines(os.environ))


def run(
    event: bytes,
    services: Services,
    sign_in: SignIn,
    owner: str = "",
    context: object = None,
    address: str = "",
    small_lines: int = SMALL_LINES,
) -> str:
    """Answer the request that the event holds; `address` is the portal's own, for links."""
    with EVENT.of_event(context):
        desk = Desk(services, sign_in, owner, address, small_lines)
        return http.answer(event, desk.routes(), step_log(context))


def _small_lines(environ: Mapping[str, str]) -> int:
    """How many lines a report may read and be answered at once; raises SettingError."""
    said = environ.get("CLEARBOOK_REPORT_LINES") or str(SMALL_LINES)
    if not (said.isascii() and said.isdigit()):
        raise SettingError("CLEARBOOK_REPORT_LINES", f"is {said!r}", "give a whole number; 0 orders every report")
    return int(said)


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    # An instance lives long and reads the same streams again: it keeps them, and asks for what came after.
    services = build_services(os.environ)
    return replace(services, chain=FollowingChain(services.rows))


@functools.cache
def _sign_in() -> SignIn:
    # Kept over requests: it holds the issuer's keys.
    return build_sign_in(os.environ)
