"""The access key a function runs with, and where named secrets are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SettingError


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key; `token` goes with a temporary one."""

    id: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return f"AccessKey(id={self.id!r})"  # the secret never reaches a log


# Asked before every request: an instance may outlive the temporary key it was started with.
KeySource = Callable[[], AccessKey]


def from_environment(environ: Mapping[str, str]) -> AccessKey:
    """The key that Function Compute injects; on python3.12 the context has none (facts: Context)."""
    names = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise SettingError(missing[0], "is not set", "give the function a role, or set the key here")
    return AccessKey(environ[names[0]], environ[names[1]], environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""))


class FileSecrets:
    """Named secrets in a local JSON file: {name: {field: text}}."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def get(self, name: str) -> Mapping[str, str]:
        """The fields of the secret `name`."""
        try:
            secrets: dict[str, dict[str, str]] = json.loads(self._path.read_bytes())
        except (OSError, ValueError) as exc:
            raise SettingError("CLEARBOOK_SECRETS", f"names no readable JSON file ({exc})", "check the path") from exc
        if name not in secrets:
            raise SettingError(f"secret {name!r}", "does not exist", "add it, or correct the connector that names it")
        return secrets[name]


def secrets_from(setting: str) -> FileSecrets:
    """The secrets that the setting CLEARBOOK_SECRETS names: file:PATH."""
    kind, _, rest = setting.partition(":")
    if kind != "file" or not rest:
        raise SettingError("CLEARBOOK_SECRETS", f"is {setting!r}", "expected file:PATH to a JSON file of secrets")
    return FileSecrets(rest)


def access_key(secrets: FileSecrets, name: str) -> AccessKey:
    """The access key that a secret holds, in `access_key_id` and `access_key_secret`."""
    secret = secrets.get(name)
    missing = [field for field in ("access_key_id", "access_key_secret") if not secret.get(field)]
    if missing:
        raise SettingError(f"secret {name!r}", f"has no {' and no '.join(missing)}", "add it to the secret")
    return AccessKey(secret["access_key_id"], secret["access_key_secret"])
