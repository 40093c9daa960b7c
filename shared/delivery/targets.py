"""Where messages may be sent: https addresses outside of every network of ours, and plain mail addresses."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from shared.errors import BadInputError
from shared.ports import Target

ENCODED = "=?"  # begins what mail headers decode (RFC 2047)
_URL_MAX = 1000
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_ADDRESS = re.compile(
    r"(?=.{3,254}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}",
    re.ASCII,
)
# What Python calls global although it leads elsewhere, or has called so in some version: addresses that embed others
# (mapped, NAT64, 6to4, Teredo), shared address space with the provider's metadata in it, and what is set aside.
_CLOSED = [
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out: 64:ff9b::/96 is not in it


def parse_target(url: object, place: str = "url") -> Target:
    """The target that an https address names; raises BadInputError for any other."""
    if not isinstance(url, str) or len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        remedy = f"write an https address of at most {_URL_MAX} ASCII characters"
        raise BadInputError(place, "is no address that can be posted to", remedy)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), 443 if parts.port is None else parts.port
    except ValueError as exc:
        raise BadInputError(place, f"cannot be read as an address ({exc})", "write https://HOST/PATH") from exc
    if parts.scheme != "https":
        raise BadInputError(place, f"begins with {parts.scheme or 'nothing'}", "only https:// is posted to")
    if "@" in parts.netloc or "#" in url:
        problem = "holds a user, a password or a fragment"
        raise BadInputError(place, problem, "leave them out; a message is known by its signature")
    if not (_HOST.fullmatch(host) or _is_address(host)) or not 1 <= port <= 65535:
        raise BadInputError(place, "names no host", "write https://HOST/PATH; other scripts as xn--")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(url, host, port, path)


def is_open(address: str) -> bool:
    """Whether an address is one of the world's, and unicast: no network of ours, of the provider, or of nobody."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False  # also one with a zone: it is of this machine's own links
    if isinstance(found, ipaddress.IPv6Address) and (found.scope_id or found not in _GLOBAL_UNICAST):
        return False
    if any(found.version == one.version and found in one for one in _CLOSED):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def parse_mailbox(text: object, place: str = "mail") -> str:
    """A mail address without a name, which could carry more than it says; raises BadInputError.

    Nor one that looks like an encoded word, which a header would not say as it is written.
    """
    if not isinstance(text, str) or ENCODED in text or not _ADDRESS.fullmatch(text):
        raise BadInputError(place, f"{str(text)[:80]!r} is no mail address", "write NAME@HOST, and nothing beside it")
    return text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
