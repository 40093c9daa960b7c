"""What must be there before the first event: looked at first, then made; what is there already is only checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.localcloud.common import Keys
from infra.localcloud.host import template
from infra.localcloud.host.template import Template
from infra.provision import buckets, logs, roles, settings, tables
from infra.provision.buckets import RECORDS_DAYS, REPORTS_DAYS
from infra.provision.check import Check, State, UnfitError
from infra.provision.tables import TABLES
from shared.bootstrap import setting
from shared.cloud.admin import TableAdmin, account_of
from shared.cloud.credentials import AccessKey, from_environment
from shared.errors import SettingError

__all__ = ["RECORDS_DAYS", "REPORTS_DAYS", "TABLES", "Action", "UnfitError", "plan", "survey"]

ROOT = Path(__file__).resolve().parents[2]

Look = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to make."""

    what: str
    make: Callable[[], None]


def plan(environ: Mapping[str, str]) -> list[Action]:
    """What is missing; raises UnfitError, naming all of it, for what is there and wrong."""
    return actions(survey(environ))


def actions(checks: Sequence[Check], *, replace_policies: bool = False) -> list[Action]:
    """What to make of what was found; raises UnfitError, naming all of it, for what is wrong and stays so."""
    made = [one for one in checks if one.state is State.MISSING or (one.state is State.WRONG and replace_policies)]
    problems = [
        one.problem for one in checks if one.state is State.WRONG and (one.make is None or not replace_policies)
    ]
    if problems:
        raise UnfitError("\n  ".join(["nothing was changed:", *problems]) if len(problems) > 1 else problems[0])
    return [Action(one.what, one.make) for one in made if one.make is not None]


def survey(environ: Mapping[str, str], look: Look = lambda _: None) -> list[Check]:
    """All that a deployment needs and how it was found, nothing changed; `look` is told what is being looked at.

    Roles and logs are left out where the environment names no RAM, or no Log Service: parts of a local cloud have
    neither. `for_deployment` names them.

    Raises SettingError for settings that cannot be used, and for an account that is not the access key's own.
    """
    settings.check(environ)
    key, region = from_environment(environ), setting(environ, "CLEARBOOK_REGION")
    if environ.get("CLEARBOOK_ACCOUNT"):
        look("the account")
        _check_account(environ, key)
    look("tables")
    endpoint = setting(environ, "CLEARBOOK_TABLESTORE_ENDPOINT")
    found = [*tables.checks(TableAdmin(endpoint, region, setting(environ, "CLEARBOOK_TABLESTORE_INSTANCE"), key))]
    look("buckets")
    found += buckets.checks(environ, key)
    if environ.get("CLEARBOOK_SLS_ENDPOINT"):
        from shared.cloud.sls import LogAdmin

        look("logs")
        written = {(one.log_project, one.log_store) for one in functions(environ).functions.values() if one.log_project}
        for project, store in sorted(written):
            found += logs.checks(LogAdmin(environ["CLEARBOOK_SLS_ENDPOINT"], region, project, key), store)
    if environ.get("CLEARBOOK_RAM_ENDPOINT"):
        from shared.cloud.ram import RoleAdmin

        look("roles")
        protocol = environ.get("CLEARBOOK_RAM_PROTOCOL") or "HTTPS"
        admin = RoleAdmin(environ["CLEARBOOK_RAM_ENDPOINT"], protocol, key)
        found += roles.checks(admin, functions(environ), variables(environ))
    return found


def for_deployment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The settings with the provider's own addresses of RAM and Log Service where none are given."""
    region = setting(environ, "CLEARBOOK_REGION")
    named = {
        "CLEARBOOK_RAM_ENDPOINT": "ram.aliyuncs.com",
        "CLEARBOOK_SLS_ENDPOINT": f"https://{region}.log.aliyuncs.com",
    }
    return {**environ, **{name: environ.get(name) or address for name, address in named.items()}}


def functions(environ: Mapping[str, str]) -> Template:
    """What s.yaml deploys; raises TemplateError for triggers that overlap or are too many, and for misspellings."""
    region, account = setting(environ, "CLEARBOOK_REGION"), _account(environ)
    keys = Keys(account, region, "", "", setting(environ, "CLEARBOOK_TABLESTORE_INSTANCE"), "")
    return template.load(ROOT / "s.yaml", ROOT / "functions", keys, environ)


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What the `${...}` of the committed policies stand for here."""
    return {
        "account": _account(environ),
        "region": setting(environ, "CLEARBOOK_REGION"),
        "instance": setting(environ, "CLEARBOOK_TABLESTORE_INSTANCE").lower(),  # RAM wants it so
        "buckets": setting(environ, "CLEARBOOK_BUCKET_PREFIX"),
    }


def _account(environ: Mapping[str, str]) -> str:
    settings.check(environ)
    return setting(environ, "CLEARBOOK_ACCOUNT")


def _check_account(environ: Mapping[str, str], key: AccessKey) -> None:
    """Policies name the account: for another than the key's they would be made, and would grant nothing."""
    named = _account(environ)
    owner = account_of(setting(environ, "CLEARBOOK_OSS_ENDPOINT"), setting(environ, "CLEARBOOK_REGION"), key)
    if named != owner:
        problem = f"is {named!r}, and the access key belongs to the account {owner!r}; nothing was changed"
        raise SettingError("CLEARBOOK_ACCOUNT", problem, f"set it to {owner}, or use an access key of {named}")
