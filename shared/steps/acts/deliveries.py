"""Where a reseller's events and files go: a bucket that it owns, which it proves by putting an object there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Proposal
from shared.errors import BadInputError
from shared.events.destination import DELIVERY_BUCKET, NAMES, Destination, destination_of, in_force
from shared.parties.parties import Parties
from shared.ports import ServiceError
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows

_FORMS: Mapping[str, tuple[str, str]] = {
    "bucket": (r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "the bucket's name"),
    "region": (r"[a-z]{2}-[a-z0-9-]{1,30}", "a region's id, such as cn-hangzhou"),
    "prefix": (r"([A-Za-z0-9_-]{1,40}/){0,5}", "nothing, or folders that end in /"),
    "role": (r"acs:ram::\d{5,20}:role/[A-Za-z0-9-]{1,64}", "acs:ram::<account>:role/<name>"),
    "secret": (r"[A-Za-z0-9_./-]{1,100}", "the name of a secret"),
}
_NOTHING = {"prefix": "", "role": None, "secret": None}


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    """Propose where a reseller's events and files go; without a bucket: nowhere any more."""
    given = fields(asked, {"reseller": str, "bucket": str}, dict.fromkeys(NAMES[1:], str))
    reseller = given.pop("reseller")
    parties, _ = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    what = dict.fromkeys(NAMES, "") | _NOTHING | given
    notes: list[str] = []
    if what["bucket"]:
        destination = _checked(services, parties, reseller, what)
        notes.append(_wanted(destination))
    stream = months.stream_of(reseller, "")
    return Proposed([approvals.propose(services.chain, stream, DELIVERY_BUCKET, what, **who.named())], notes)


def _checked(services: Services, parties: Parties, reseller: str, what: Mapping[str, Any]) -> Destination:
    for name, (form, expected) in _FORMS.items():
        if what[name] is not None and not re.fullmatch(form, what[name], re.ASCII):
            raise BadInputError(name, f"is {what[name][:80]!r}", f"expected {expected}")
    if (what["role"] is None) == (what["secret"] is None):
        raise BadInputError("key", "a role and a secret are both named or neither", "name one of role and secret")
    # A request that is signed goes to the provider and to nobody else.
    site = f"https://oss-{what['region']}.aliyuncs.com"
    if what["endpoint"] not in ("default", site):
        raise BadInputError("endpoint", f"is {what['endpoint'][:80]!r}", f"expected {site}, or default")
    _refuse_ours(services, parties, what)
    _refuse_anothers(services, parties, reseller, what["bucket"])
    return destination_of(reseller, what)


def _refuse_ours(services: Services, parties: Parties, what: Mapping[str, Any]) -> None:
    """What the operator keeps is nobody's to register, nor are the keys by which it reads its bills."""
    ours = services.buckets
    if what["bucket"] in {one.bucket for one in (ours.inbox, ours.work, ours.records, ours.reports)}:
        raise BadInputError("bucket", f"{what['bucket']!r} is the operator's", "name a bucket that the reseller owns")
    for one in parties.connectors.values():
        if (what["role"] and what["role"] == one.role) or (what["secret"] and what["secret"] == one.secret):
            problem = f"is what the bill of payer {one.account} is read with"
            raise BadInputError("key", problem, "name a role or secret for this bucket alone")


def _refuse_anothers(services: Services, parties: Parties, reseller: str, bucket: str) -> None:
    others = {months.stream_of(one, ""): one for one in parties.resellers if one != reseller}
    for stream, entries in services.chain.read_all(others).items():
        registered, _ = in_force(others[stream], entries)
        if registered is not None and registered.bucket == bucket:
            # Whose it is, is not for the asker to learn.
            raise BadInputError("bucket", f"{bucket!r} is registered already", "name a bucket of the reseller's own")


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    """What was proposed still fits, and the bucket holds the proof that it is the reseller's."""
    later = [one for one in entries if one.kind == approvals.APPROVED and one.seq > proposal.seq]
    if any(one.body["act"] == DELIVERY_BUCKET for one in later):
        raise approvals.StaleProposalError(f"{proposal.name}: another bucket was registered since; propose it anew")
    if not proposal.body["bucket"]:
        return
    parties, _ = state.parties(services)
    destination = _checked(services, parties, _reseller(proposal), proposal.body)
    if not _is_proven(services, destination):
        raise BadInputError(f"bucket {destination.bucket}", "is not proven to be the reseller's", _wanted(destination))


def _is_proven(services: Services, destination: Destination) -> bool:
    try:
        found = services.buckets_of_others(destination).find(destination.challenge)
    except ServiceError as exc:
        if exc.retryable:
            raise
        raise BadInputError(f"bucket {destination.bucket}", f"cannot be read: {exc}", _wanted(destination)) from exc
    return found is not None and found.strip() == destination.token.encode()


def _wanted(destination: Destination) -> str:
    where = f"an object {destination.challenge} with the content {destination.token}"
    return f"before it is approved {destination.reseller} puts {where} into bucket {destination.bucket}"


def _show(services: Services, proposal: Proposal) -> list[str]:
    if not proposal.body["bucket"]:
        return ["its events and files go nowhere any more"]
    to = destination_of(_reseller(proposal), proposal.body)
    key = f"role {to.role}" if to.role is not None else f"secret {to.secret}"
    return [f"events and files go to {to.bucket}/{to.prefix} in {to.region} ({to.endpoint}), by {key}", _wanted(to)]


def _reseller(proposal: Proposal) -> str:
    return proposal.stream.removeprefix("reseller/")


ACT = Act(DELIVERY_BUCKET, _propose, _check, nothing_follows, _show)
