"""Webhook messages as Standard Webhooks 1.0.0 has them: what is sent, and how it is signed.

No secret of an endpoint is kept: each is derived from one named master secret, the endpoint and its generation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import BadInputError, SettingError

PAYLOAD_MAX = 20_000  # bytes: the scheme asks for less than 20 kB
_SECRET_BYTES = 32
_MASTER_BYTES_LEAST = 32


def secret_of(master: bytes, owner: str, endpoint: str, generation: int) -> str:
    """The secret of an endpoint in a generation, whsec_ and base64; raises SettingError for a short master secret."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(master) < _MASTER_BYTES_LEAST:
        problem = f"has {len(master)} bytes"
        raise SettingError("master secret of webhooks", problem, f"give at least {_MASTER_BYTES_LEAST} random bytes")
    info = json.dumps(["clearbook webhook", owner, endpoint, generation]).encode()
    key = HKDF(SHA256(), _SECRET_BYTES, salt=None, info=info).derive(master)
    return f"whsec_{base64.b64encode(key).decode()}"


def payload(type_: str, at: str, data: Mapping[str, Any]) -> bytes:
    """The body of a message: {type, timestamp, data}, in few characters; raises BadInputError for 20 kB and more."""
    said = {"type": type_, "timestamp": at, "data": data}
    body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) >= PAYLOAD_MAX:
        raise BadInputError(f"message {type_}", f"has {len(body)} bytes", f"say it in less than {PAYLOAD_MAX}")
    return body


def headers(secrets: Sequence[str], id_: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that sign a body, once with each secret: the one in force, and the one it takes the place of."""
    from standardwebhooks.webhooks import Webhook

    at = at.astimezone(UTC)  # the library takes any time for one in UTC
    signed = [Webhook(one).sign(id_, at, body.decode()) for one in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signed),
    }
