"""The forms of payout files that banks and wallets ask for; each payment goes into one of them at most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.documents import DocumentRefusedError, reading
from shared.errors import BadInputError
from shared.ids import digest
from shared.payout.template import TEMPLATE, Template, parse_template
from shared.payout.template_document import template_document
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows
from shared.steps.state import CONFIG


def propose_template(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a form of payout file, in place of the one of its name."""
    body = template_document(data, name)
    entries = services.chain.read(CONFIG)
    template = parse_template(body)
    _refuse_overlap(services, entries, template, name)
    if _in_force(entries).get(template.id) == digest(body):
        raise BadInputError(name, f"is {template.id}, in force", "there is nothing to propose")
    what = {"template": template.id, "document": state.keep_document(services, body)}
    return approvals.propose(services.chain, CONFIG, TEMPLATE, what, by=by, why=why, at=at)


def templates_in_force(services: Services) -> dict[str, Template]:
    """The forms that are used, by the digests of their documents, in the order of their names."""
    found = _in_force(services.chain.read(CONFIG))
    parsed = {found[name]: template_of(services, found[name]) for name in sorted(found)}
    return {digest: template for digest, template in parsed.items() if template.is_used}


def template_of(services: Services, digest: str) -> Template:
    """A form by the digest of its document."""
    return parse_template(state.kept(services, services.buckets.records, state.document_key(digest)))


def _in_force(entries: list[Entry]) -> dict[str, str]:
    return {what["template"]: what["document"] for what in approvals.in_force(entries, TEMPLATE)}


def _refuse_overlap(services: Services, entries: list[Entry], template: Template, name: str) -> None:
    for other_id, document in sorted(_in_force(entries).items()):
        if other_id != template.id and template.overlaps(template_of(services, document)):
            problem = f"takes payments that {other_id} takes; a payment goes into one file: narrow one, or end it"
            raise DocumentRefusedError(name, [("for", problem)])


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_template(services, data, given["name"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    template = template_of(services, proposal.body["document"])
    _refuse_overlap(services, entries, template, proposal.name)


def _show(services: Services, proposal: Proposal) -> list[str]:
    data = json.loads(services.buckets.records.get(state.document_key(proposal.body["document"])))
    template = template_of(services, proposal.body["document"])
    columns = [f"  {one.header}: {one.field or repr(one.constant)}" for one in template.columns]
    taken = f"{', '.join(template.kinds)} payments in {', '.join(template.currencies) or 'every currency'}"
    form = ", ".join(f"{name} {data[name]!r}" for name in ("delimiter", "encoding", "decimal_mark", "date_format"))
    is_used = "" if template.is_used else " (no longer used)"
    return [f"{template.id}{is_used}: {taken}", form, *columns]


ACT = Act(TEMPLATE, _propose, _check, nothing_follows, _show)
