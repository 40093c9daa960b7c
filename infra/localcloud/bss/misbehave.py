"""How the local BSS names a request to a plan of faults, and how it answers one."""

from __future__ import annotations

from aiohttp import web

from infra.localcloud.bss import errors
from infra.localcloud.faults.plan import Fault


def name(http: web.Request) -> str:
    """The action asked for."""
    return http.headers.get("x-acs-action", "")


def subject(http: web.Request) -> str:
    """The parameters asked with, in one order."""
    return "&".join(sorted(f"{name}={value}" for name, value in http.query.items()))


def refusal(fault: Fault) -> errors.BssError:
    """The service's answer to a fault."""
    if fault is Fault.THROTTLE:
        return errors.throttled()
    if fault is Fault.REFUSE_SIGNATURE:
        return errors.signature_does_not_match("")
    if fault is Fault.DOUBTFUL_ERROR:
        return errors.BssError(
            503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."
        )
    return errors.internal_error()
