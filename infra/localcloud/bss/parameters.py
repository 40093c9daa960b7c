"""What a call is asked with: its business parameters, and the tokens that chain pages together."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from datetime import UTC, date, datetime
from urllib.parse import parse_qsl

from infra.localcloud.bss import errors, sign
from infra.localcloud.bss.bills import Position

PAGE_DEFAULT, PAGE_MAX = 20, 300
_TAG_FILTER = re.compile(r"TagFilter\.(\d{1,3})\.(TagKey|TagValues\.(\d{1,3}))")
_TAGS_MOST = 20
_TAG_LENGTH_MOST = 128
_CYCLE = re.compile(r"[1-9]\d{3}-(0[1-9]|1[0-2])")


class Parameters:
    """A request's business parameters; raises BssError where one is missing or malformed. Empty means absent."""

    def __init__(self, request: sign.Request) -> None:
        self._values = dict(request.query)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            self._values |= dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))

    def text(self, name: str) -> str | None:
        """The parameter as it is."""
        return self._values.get(name) or None

    def flag(self, name: str) -> bool:
        """A boolean; SDKs write it as `true`, `True` and likewise."""
        text = (self.text(name) or "false").lower()
        if text not in ("true", "false"):
            raise errors.invalid_parameter(name, "true or false")
        return text == "true"

    def number(self, name: str, default: int, most: int | None = None) -> int:
        """A whole number from 1 to `most`."""
        text = self.text(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
            raise errors.invalid_parameter(name, f"a number from 1 to {most}" if most else "a number from 1")
        return int(text)

    def cycle(self, name: str = "BillingCycle") -> str:
        """A billing cycle, YYYY-MM."""
        text = self.text(name)
        if text is None:
            raise errors.missing_parameter(name)
        if not _CYCLE.fullmatch(text):
            raise errors.invalid_parameter(name, "YYYY-MM")
        return text

    def one_of(self, name: str, *known: str) -> str | None:
        """A word out of a few; None where it is absent."""
        text = self.text(name)
        if text is not None and text not in known:
            raise errors.invalid_parameter(name, " or ".join(known))
        return text

    def tags(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """TagFilter: keys with the values asked for, written `TagFilter.1.TagKey` and `TagFilter.1.TagValues.1`."""
        keys: dict[int, str] = {}
        values: dict[int, list[str]] = {}
        for name, text in sorted(self._values.items()):
            match = _TAG_FILTER.fullmatch(name)
            if match is None or not text:
                continue
            number = int(match[1])
            if not 1 <= number <= _TAGS_MOST or not 1 <= int(match[3] or 1) <= _TAGS_MOST:
                raise errors.invalid_parameter(name, f"at most {_TAGS_MOST} keys and values")
            if len(text) > _TAG_LENGTH_MOST:
                raise errors.invalid_parameter(name, f"1 to {_TAG_LENGTH_MOST} characters")
            if match[2] == "TagKey":
                keys[number] = text
            else:
                values.setdefault(number, []).append(text)
        if values.keys() - keys.keys():
            raise errors.tag_values_without_key()
        return tuple((key, tuple(values.get(number, ()))) for number, key in sorted(keys.items()))

    def granularity(self) -> tuple[bool, date | None]:
        """Whether days are asked for, and which; None means all of the cycle.

        A date of another month than the cycle's is no error: the answer is for the whole cycle (documented).
        """
        granularity = self.text("Granularity") or "MONTHLY"
        if granularity not in ("DAILY", "MONTHLY"):
            raise errors.invalid_parameter("Granularity", "DAILY or MONTHLY")
        if granularity == "MONTHLY":
            return False, None
        text = self.text("BillingDate")
        if text is None:
            raise errors.missing_parameter("BillingDate")
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            raise errors.invalid_parameter("BillingDate", "YYYY-MM-DD") from None
        return True, day if day.isoformat().startswith(self.cycle()) else None


class Tokens:
    """Writes and reads NextToken: a position, sealed for one question of one caller.

    Sealing instead of remembering keeps tokens valid over a restart and costs no memory.
    """

    _SEAL = 16

    def __init__(self, key: bytes, *question: object) -> None:
        self._key, self._question = key, repr(question).encode()

    def write(self, position: Position) -> str:
        text = json.dumps(position).encode()
        return base64.urlsafe_b64encode(self._seal(text) + text).decode()

    def read(self, token: str | None) -> Position | None:
        if token is None:
            return None
        try:
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            sealed = b""
        seal, text = sealed[: self._SEAL], sealed[self._SEAL :]
        if not hmac.compare_digest(seal, self._seal(text)):
            raise errors.invalid_parameter("NextToken", "nothing, or the NextToken that the last answer gave")
        return tuple(json.loads(text))

    def _seal(self, text: bytes) -> bytes:
        return hmac.new(self._key, self._question + b"\0" + text, hashlib.sha256).digest()[: self._SEAL]
