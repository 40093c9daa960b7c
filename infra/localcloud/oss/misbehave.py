"""How the local OSS names a request to a plan of faults, and how it answers one: HTTP status code 503, 500, 403."""

from __future__ import annotations

from infra.localcloud.faults.plan import Fault
from infra.localcloud.oss.call import Call
from infra.localcloud.oss.errors import OssError

_REFUSALS = {
    Fault.THROTTLE: OssError(503, "TotalQpsLimitExceeded", "Max total qps limit is exceeded"),
    Fault.SERVER_ERROR: OssError(500, "InternalError", "We encountered an internal error. Please try again."),
    Fault.DOUBTFUL_ERROR: OssError(503, "ServiceUnavailable", "Thread pool is almost full, please retry later"),
    Fault.REFUSE_SIGNATURE: OssError(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        ec="0002-00000201",
    ),
}


def subject(call: Call) -> str:
    """What a call is about: its key, or the prefix it lists and how far the listing has come."""
    if call.key:
        part = call.params.get("partNumber", "")
        return f"{call.bucket_name}/{call.key}" + (f" part {part}" if part else "")
    page = call.params.get("continuation-token") or call.params.get("marker") or ""
    return f"{call.bucket_name}/{call.params.get('prefix', '')}*{page}"


def refusal(fault: Fault) -> OssError:
    """The service's answer to a fault."""
    return _REFUSALS[fault]
