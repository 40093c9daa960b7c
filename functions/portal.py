"""Decisions over HTTP: who signed in proposes, looks, approves and rejects; repeating a request is safe."""

from __future__ import annotations

import functools
import os
from dataclasses import replace

from shared.access.tokens import SignIn
from shared.bootstrap import build_services
from shared.chain.chain import FollowingChain
from shared.cloud import http
from shared.cloud.issuer import sign_in as build_sign_in
from shared.cloud.log import step_log
from shared.cloud.patience import EVENT
from shared.portal.desk import Desk
from shared.services import Services


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), _sign_in(), os.environ.get("CLEARBOOK_OWNER", ""), context)


def run(event: bytes, services: Services, sign_in: SignIn, owner: str = "", context: object = None) -> str:
    """Answer the request that the event holds."""
    with EVENT.of_event(context):
        return http.answer(event, Desk(services, sign_in, owner).routes(), step_log(context))


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
