"""The one place that wires adapters to the steps, from settings in the environment.

Adapters are made, and their SDKs imported, when a step first touches them: a function pays only for what it uses.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.chain.chain import Chain
from shared.cloud.uncollected import uncollected
from shared.errors import SettingError
from shared.events.destination import Destination
from shared.parties.parties import SITES, Connector
from shared.ports import BillApi, Buckets, Mailer, ObjectStore, Poster, Rows
from shared.services import Outside, Services

if TYPE_CHECKING:
    from shared.cloud.credentials import AccessKey, KeySource
    from shared.cloud.places import Places

BUCKETS = ("inbox", "work", "records", "reports")


class Lazy:
    """Stands for an adapter until it is first used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Any:
        with uncollected():
            return self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def build_services(environ: Mapping[str, str]) -> Services:
    """The services that the environment describes; raises SettingError for what is missing."""
    rows: Rows = Lazy(lambda: _rows(environ))
    scratch = Path(environ.get("CLEARBOOK_SCRATCH") or tempfile.gettempdir()) / "clearbook"
    scratch.mkdir(parents=True, exist_ok=True)
    given = _Given(environ)
    bss = Lazy(lambda: _Bss(environ, rows, given))
    memory_mb = int(environ.get("FC_FUNCTION_MEMORY_SIZE") or environ.get("CLEARBOOK_MEMORY_MB") or 2048)
    return Services(
        buckets=buckets(environ),
        rows=rows,
        chain=Chain(rows),
        bill_api=lambda connector: bss.api(connector),
        buckets_of_others=lambda destination: _bucket_of_other(environ, destination, given),
        scratch=scratch,
        memory_mb=memory_mb // 2,
        threads=int(environ.get("CLEARBOOK_THREADS") or min(2, os.cpu_count() or 1)),
        outside=Outside(
            poster=Lazy(_outbound),
            mailer=lambda: _mailer(environ),
            master=lambda: _master(environ),
            clock=lambda: datetime.now(UTC),
        ),
    )


def _outbound() -> Poster:
    from shared.cloud.outbound import Outbound

    return Outbound()


def _mailer(environ: Mapping[str, str]) -> Mailer:
    from shared.cloud.credentials import secrets_from
    from shared.cloud.mail import SmtpMailer

    login, named = None, environ.get("CLEARBOOK_SMTP_SECRET")
    if named:
        secret = secrets_from(setting(environ, "CLEARBOOK_SECRETS")).get(named)
        login = secret.get("username", ""), secret.get("password", "")
    return SmtpMailer(setting(environ, "CLEARBOOK_SMTP"), setting(environ, "CLEARBOOK_MAIL_FROM"), login)


def _master(environ: Mapping[str, str]) -> bytes:
    """The key in the secret `webhooks`, field `master`: base64 of 32 random bytes or more."""
    from shared.cloud.credentials import secrets_from

    text = secrets_from(setting(environ, "CLEARBOOK_SECRETS")).get("webhooks").get("master", "")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise SettingError("secret 'webhooks'", "has a master that is no base64", "write 32 random bytes so") from exc


def buckets(environ: Mapping[str, str], key: AccessKey | None = None) -> Buckets:
    """The four buckets, signed with the function's own key or with `key`."""
    inbox, work, records, reports = (_bucket(environ, name, key) for name in BUCKETS)
    return Buckets(inbox, work, records, reports)


def bucket_name(environ: Mapping[str, str], bucket: str) -> str:
    """The name of a bucket in the provider's namespace, which all its customers share."""
    return f"{setting(environ, 'CLEARBOOK_BUCKET_PREFIX')}-{bucket}"


def _bucket(environ: Mapping[str, str], bucket: str, key: AccessKey | None) -> ObjectStore:
    def make() -> ObjectStore:
        from shared.cloud.oss import OssStore
        from shared.cloud.patience import from_settings

        endpoint, region = setting(environ, "CLEARBOOK_OSS_ENDPOINT"), setting(environ, "CLEARBOOK_REGION")
        return OssStore(endpoint, region, bucket_name(environ, bucket), _keys(environ, key), from_settings(environ))

    return Lazy(make)


def _rows(environ: Mapping[str, str]) -> Rows:
    from shared.cloud.patience import from_settings
    from shared.cloud.tablestore import TablestoreRows

    endpoint, instance = (setting(environ, f"CLEARBOOK_TABLESTORE_{name}") for name in ("ENDPOINT", "INSTANCE"))
    region = setting(environ, "CLEARBOOK_REGION")
    return TablestoreRows(endpoint, region, instance, _keys(environ), from_settings(environ))


def _keys(environ: Mapping[str, str], key: AccessKey | None = None) -> KeySource:
    """The key that the environment holds at the time, or `key` for good; raises SettingError when there is none."""
    from shared.cloud.credentials import from_environment

    if key is not None:
        return lambda: key
    from_environment(environ)
    return lambda: from_environment(environ)


class _Given:
    """The keys that others give: those of secrets, and of roles, which this process assumes once an hour."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._roles: dict[str, KeySource] = {}

    def key(self, role: str | None, secret: str | None) -> AccessKey | KeySource:
        """The key of the role, or else of the secret."""
        from shared.cloud.credentials import access_key, secrets_from

        environ = self._environ
        if role is None:
            return access_key(secrets_from(setting(environ, "CLEARBOOK_SECRETS")), secret or "")
        if role not in self._roles:
            from shared.cloud.patience import from_settings
            from shared.cloud.sts import AssumedRole

            region = setting(environ, "CLEARBOOK_REGION")
            endpoint = environ.get("CLEARBOOK_STS_ENDPOINT") or f"sts.{region}.aliyuncs.com"
            protocol = environ.get("CLEARBOOK_STS_PROTOCOL") or "HTTPS"
            session = environ.get("FC_FUNCTION_NAME") or "clearbook"
            self._roles[role] = AssumedRole(
                endpoint, protocol, region, _keys(environ), role, session, from_settings(environ)
            )
        return self._roles[role]


def _bucket_of_other(environ: Mapping[str, str], destination: Destination, given: _Given) -> ObjectStore:
    from shared.cloud.credentials import AccessKey
    from shared.cloud.oss import OssStore
    from shared.cloud.patience import from_settings

    named = destination.endpoint
    endpoint = setting(environ, "CLEARBOOK_OSS_ENDPOINT") if named == "default" else named
    key = given.key(destination.role, destination.secret)
    keys = (lambda: key) if isinstance(key, AccessKey) else key
    return OssStore(endpoint, destination.region, destination.bucket, keys, from_settings(environ))


class _Bss:
    """The bill calls of all payer accounts; calls for one quota group share its quota, over all instances."""

    def __init__(self, environ: Mapping[str, str], rows: Rows, given: _Given) -> None:
        from shared.cloud.bss import CALLS_PER_S, WINDOW_S
        from shared.cloud.patience import Pace, from_settings

        self._environ, self._rows, self._given = environ, rows, given
        calls_per_s = int(environ.get("CLEARBOOK_BSS_CALLS_PER_S") or CALLS_PER_S)
        self._paces = defaultdict[str, Pace](lambda: Pace(calls_per_s, WINDOW_S))
        self._places: dict[str, Places] = {}
        self._calls_per_s = calls_per_s
        patience = from_settings(environ)
        # Others of the main account use the same quota, for a while; it is free again every second.
        self._patience = replace(patience, total_s=5 * patience.total_s, longest_pause_s=1.0)

    def api(self, connector: Connector) -> BillApi:
        from shared.cloud.bss import BssApi
        from shared.cloud.places import Places

        environ = self._environ
        named = connector.endpoint
        endpoint = setting(environ, "CLEARBOOK_BSS_ENDPOINT") if named == "default" else named
        _refuse_other_site(connector, endpoint)
        protocol = environ.get("CLEARBOOK_BSS_PROTOCOL") or "HTTPS"
        region = setting(environ, "CLEARBOOK_REGION")
        group = connector.quota_group
        places = self._places.setdefault(group, Places(self._rows, group, self._calls_per_s))
        key = self._given.key(connector.role, connector.secret)
        return BssApi(endpoint, protocol, region, key, self._patience, self._paces[group], places)


def _refuse_other_site(connector: Connector, endpoint: str) -> None:
    """A payer of one site is not known at the endpoint of the other; what is no host of the provider may be either."""
    host = endpoint.partition(":")[0]
    if host.endswith(".aliyuncs.com") and host != SITES[connector.site]:
        problem = f"is {endpoint}, and the bill of payer {connector.account} is at the {connector.site} site"
        remedy = f"write endpoint: {SITES[connector.site]} in its connector, or correct its site"
        raise SettingError("CLEARBOOK_BSS_ENDPOINT", problem, remedy)


def setting(environ: Mapping[str, str], name: str) -> str:
    """A setting that must be there."""
    value = environ.get(name)
    if not value:
        raise SettingError(name, "is not set", "set it in the function's environment (s.yaml)")
    return value
