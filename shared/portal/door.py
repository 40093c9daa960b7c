"""How every address about reports is answered: who asks, how often, whether it is known already, and as what.

Who asks is a person's token or a key. Reading says an ETag; what is asked again with the same Idempotency-Key is
carried out once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.access.tokens import SignIn
from shared.cloud.http import Answer, Request
from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.ids import digest_of
from shared.services import Services

if TYPE_CHECKING:
    from shared.access.principal import Principal

READ, RUN = 1, 4  # what a request costs of what somebody may ask
_DIGITS_MAX = 9  # of a number in a query
IDEMPOTENCY = "idempotency-key"
REPLAYED = "Idempotency-Replayed"
Carried = Callable[..., Any]  # (principal, request, parts of the path by name) to plain data


@dataclass(frozen=True, slots=True)
class Door:
    """Who comes in."""

    services: Services
    sign_in: SignIn

    def who(self, request: Request, cost: int = READ) -> Principal:
        """Who asks; raises an error with code not_signed_in, and TooManyRequestsError."""
        from shared.steps.reporting import keys, limits

        given = request.headers.get("authorization", "")
        scheme, _, text = given.strip().partition(" ")
        if scheme.lower() == "bearer" and text.strip().startswith(keys.PREFIX):
            found = keys.principal(self.services, text.strip(), request.at)
        else:
            found = keys.person(self.services, self.sign_in.subject(given))
        limits.spend(self.services, found.id, parse_instant(request.at), cost)
        return found

    def reading(self, answer: Carried) -> Callable[..., Answer]:
        """An address that is read; nothing of it is sent again to who has it."""

        def carry_out(request: Request, **named: str) -> Answer:
            body = answer(self.who(request), request, **named)
            tag = f'"{digest_of(body)[:32]}"'
            held = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
            headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
            if tag in held or held == ["*"]:
                return Answer(None, HTTPStatus.NOT_MODIFIED, headers)
            return Answer(body, headers=headers)

        return carry_out

    def doing(self, answer: Carried, *, cost: int = READ, secrets: tuple[str, ...] = ()) -> Callable[..., Answer]:
        """An address that does something; `secrets` are fields of its answer that are shown once and kept nowhere."""

        def carry_out(request: Request, **named: str) -> Answer:
            from shared.steps.reporting import repeats

            who = self.who(request, cost)
            key = request.headers.get(IDEMPOTENCY)
            if key is None:
                return _answer(answer(who, request, **named))
            # Whoever has become another's since, or may other things, is not answered what they were then.
            what = f"{request.method} {request.path} {' '.join(sorted(who.rights))}\n".encode() + request.body
            begun = repeats.begin(self.services, f"{who.owner} {who.id}", key, what, request.at)
            if isinstance(begun, repeats.Before):
                return Answer(begun.answer, HTTPStatus(begun.status), {REPLAYED: "true"})
            try:
                done = _answer(answer(who, request, **named))
            except Exception:
                repeats.give_up(self.services, begun)
                raise
            kept = {name: None if name in secrets else value for name, value in done.body.items()}
            repeats.end(self.services, begun, int(done.status), kept)
            return done

        return carry_out


def _answer(found: Any) -> Answer:
    return found if isinstance(found, Answer) else Answer(found)


def number(query: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """A whole number of the query; raises BadInputError."""
    said = query.get(name, str(usual))
    # So few digits that none of them goes unread.
    if said.isascii() and said.isdigit() and len(said) <= _DIGITS_MAX and 1 <= int(said) <= most:
        return int(said)
    raise BadInputError(name, f"is {said[:20]!r}", f"give 1 to {most}")
