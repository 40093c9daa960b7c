"""Who can sign in, and the key that signs their tokens: two files of the home folder that nobody else reads."""

from __future__ import annotations

import hmac
import json
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.localcloud.common import LocalCloudError, write_atomically

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

ALGORITHM = "ES256"


class People:
    """The people of `folder/people.json` and their passwords, and the key of `folder/key.json`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._people, self._key = folder / "people.json", folder / "key.json"

    def passwords(self) -> dict[str, str]:
        """By the subject that their tokens name."""
        return _read(self._people)

    def add(self, person: str) -> str:
        """The password of somebody who can sign in from now on, or could already."""
        known = self.passwords()
        if person not in known:
            known[person] = secrets.token_urlsafe(18)
            write_atomically(self._people, json.dumps(known, indent=2).encode(), mode=0o600)
        return known[person]

    def is_right(self, person: str, password: str) -> bool:
        """Whether this is the person's password."""
        known = self.passwords().get(person)
        return known is not None and hmac.compare_digest(known.encode(), password.encode())

    @cached_property
    def key(self) -> ECKey:
        """The key, made once."""
        from joserfc.jwk import ECKey

        if not self._key.exists():
            made = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
            write_atomically(self._key, json.dumps(made.as_dict(private=True)).encode(), mode=0o600)
        return ECKey.import_key(_read(self._key))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as exc:
        raise LocalCloudError(f"{path} is damaged ({exc}); remove it, and sign in again") from exc
