"""The settings of a deployment, checked for their form before a service is asked: SDKs refuse some with tracebacks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.bootstrap import BUCKETS
from shared.errors import SettingError

BUCKET_NAME_MAX = 63  # of OSS
PREFIX_MAX = BUCKET_NAME_MAX - max(len(bucket) for bucket in BUCKETS) - 1
_PREFIX = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{PREFIX_MAX - 1}}}")
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:(?P<port>[0-9]{1,5}))?"
_URL = "http:// or https://, a host name, perhaps a port, and nothing behind it"
# What may be given where it is given at all: a pattern, and it in words.
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "CLEARBOOK_REGION": (re.compile(r"[a-z]{2,}(-[a-z0-9]+)+"), "a region's id, such as cn-hangzhou"),
    "CLEARBOOK_ACCOUNT": (re.compile(r"[0-9]+"), "the main account's id, digits alone"),
    "CLEARBOOK_BUCKET_PREFIX": (
        _PREFIX,
        f"1 to {PREFIX_MAX} lower-case letters, digits and hyphens, with no hyphen first: bucket names begin with it",
    ),
    "CLEARBOOK_OSS_ENDPOINT": (re.compile(rf"(https?://)?{_HOST}"), f"{_URL}; OSS's may leave the scheme out"),
    "CLEARBOOK_TABLESTORE_ENDPOINT": (re.compile(rf"https?://{_HOST}"), _URL),
    "CLEARBOOK_SLS_ENDPOINT": (re.compile(rf"(https?://)?{_HOST}"), f"{_URL}; Log Service's may leave the scheme out"),
    "CLEARBOOK_RAM_ENDPOINT": (re.compile(_HOST), "a host name, perhaps with a port, without http:// or https://"),
    "CLEARBOOK_RAM_PROTOCOL": (re.compile(r"HTTPS?", re.IGNORECASE), "HTTPS, or HTTP for a local cloud"),
}
_PORT_MAX = 65535


def check(environ: Mapping[str, str]) -> None:
    """Raise SettingError for the first setting whose value no service could use; one that is not set is passed over."""
    for name, (form, expected) in _FORMS.items():
        value = environ.get(name)
        if not value:
            continue
        found = form.fullmatch(value)
        port = found["port"] if found is not None and "port" in form.groupindex else None
        if found is None or (port is not None and not 0 < int(port) <= _PORT_MAX):
            raise SettingError(name, f"is {value!r}", f"give {expected}")
