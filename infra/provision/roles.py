"""The roles: one for each function with its committed policy, and the one by which OSS wakes functions.

A policy that is there must grant exactly what is committed. One that lacks something or has more is wrong and is left
as it is, because somebody made it so; it is replaced only where people ask for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from infra.localcloud.host.template import Function, Template
from infra.provision import operators, permissions
from infra.provision.check import Check, fine, missing, wrong
from infra.provision.permissions import Permission, PolicyProblemError
from shared.cloud.ram import Attached, RoleAdmin

REPLACE = "--replace-policies"


def checks(admin: RoleAdmin, template: Template, variables: Mapping[str, str]) -> Iterator[Check]:
    """Every role, its policy, and that it has this one and no other; and the policy for people's own keys."""
    for function in template.functions.values():
        if function.role:
            yield from _role(admin, function.role, "fc.aliyuncs.com", policy_of(function, variables), function.name)
    for role in sorted({trigger.role for trigger in template.oss_triggers if trigger.role}):
        woken = sorted({trigger.function for trigger in template.oss_triggers if trigger.role == role})
        policy = permissions.document(_invocation(name, variables) for name in woken)
        yield from _role(admin, role, "oss.aliyuncs.com", policy, "OSS, which wakes the functions")
    yield _policy(admin, operators.NAME, operators.policy(variables), "Clearbook: what people's own access keys may do")


def policy_of(function: Function, variables: Mapping[str, str]) -> dict[str, Any]:
    """All that a function's role may do: what its code calls, and what Function Compute does in the role's name."""
    mine = set(permissions.granted(permissions.resolved(permissions.committed(function.name), variables)))
    if function.log_project:
        resource = f"acs:log:${{region}}:${{account}}:project/{function.log_project}/logstore/{function.log_store}"
        mine.add(Permission("log:PostLogStoreLogs", permissions.fill(resource, variables)))
    if function.on_failure is not None:
        mine.add(_invocation(function.on_failure, variables))
    return permissions.document(mine)


def trust(service: str) -> dict[str, Any]:
    """The trust policy that lets a service of the provider assume a role, and nobody else."""
    statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": [service]}}
    return {"Version": "1", "Statement": [statement]}


def _invocation(function: str, variables: Mapping[str, str]) -> Permission:
    resource = f"acs:fc:${{region}}:${{account}}:functions/{function}"
    return Permission("fc:InvokeFunction", permissions.fill(resource, variables))


def _role(admin: RoleAdmin, role: str, service: str, policy: Mapping[str, Any], whose: str) -> Iterator[Check]:
    what, found = f"role {role}", admin.trust(role)
    description = f"Clearbook: {whose}"
    if found is None:
        yield missing(what, partial(admin.create_role, role, trust(service), description))
    elif not _is_trust(found, service):
        yield wrong(what, f"does not trust {service} alone", "correct its trust policy, or delete the role")
    else:
        yield fine(what)
    yield _policy(admin, role, policy, description)
    yield from _attachment(admin, role, admin.attached(role) if found is not None else [])


def _policy(admin: RoleAdmin, name: str, policy: Mapping[str, Any], description: str) -> Check:
    what, found = f"policy {name}", admin.policy(name)
    if found is None:
        return missing(what, partial(admin.create_policy, name, policy, description))
    try:
        there, wanted = permissions.granted(found), permissions.granted(policy)
    except PolicyProblemError as exc:
        return wrong(what, f"is not ours: {exc}", f"give {REPLACE}", partial(admin.replace_policy, name, policy))
    differences = [
        *(f"lacks {one}" for one in sorted(wanted - there)),
        *(f"also grants {one}" for one in sorted(there - wanted)),
    ]
    if not differences:
        return fine(what)
    make = partial(admin.replace_policy, name, policy)
    return wrong(what, " and ".join(differences), f"put it right with {REPLACE}", make)


def _attachment(admin: RoleAdmin, role: str, attached: list[Attached]) -> Iterator[Check]:
    what, mine = f"policy {role} attached to its role", Attached(role, "Custom")
    yield fine(what) if mine in attached else missing(what, partial(admin.attach, role, role))
    for other in attached:
        if other != mine:
            yield wrong(f"role {role}", f"has also the policy {other.name} ({other.kind})", "detach it")


def _is_trust(document: Mapping[str, Any], service: str) -> bool:
    """Whether a trust policy says what ours says, in whatever form."""
    statements = document.get("Statement", [])
    if len(statements) != 1 or statements[0].get("Condition"):
        return False
    one = statements[0]
    services = one.get("Principal", {}).get("Service", [])
    named = [services] if isinstance(services, str) else services
    return (
        (one.get("Effect"), one.get("Action")) == ("Allow", "sts:AssumeRole")
        and set(one["Principal"]) == {"Service"}
        and list(named) == [service]
    )
