"""Submit a version of an allocation mapping: checked first, then written once and never again."""

from __future__ import annotations

from dataclasses import dataclass

from shared.cycle import parse_instant, stamp
from shared.documents import Finding, reading
from shared.errors import BadInputError
from shared.ids import digest
from shared.report.allocation.document import Checked, checked_mapping, gaps
from shared.services import Services
from shared.steps.reporting import mappings
from shared.steps.reporting.mappings import TABLE, Submitted, key, submitted, versions

VERSIONS_MAX = 500  # of all mappings of an owner


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was stored, whether it was now, and what may be wrong with it."""

    version: Submitted
    is_new: bool
    warnings: list[Finding]


def checked(body: bytes, name: str) -> Checked:
    """A document in YAML or JSON, checked; DocumentRefusedError says what is wrong, where, and what to do."""
    with reading(body, name) as data:
        return checked_mapping(data, name)


def submit(services: Services, owner: str, body: bytes, by: str, at: str) -> Receipt:
    """Store the next version of one of the owner's mappings; exactly the same document again is what it was before.

    Raises DocumentRefusedError, and BadInputError where it is not the next version.
    """
    found = checked(body, "mapping")
    mapping, place = found.mapping, "version"
    number = mapping.versions[0]
    known = versions(services, owner, mapping.id)
    moment = stamp(parse_instant(at, "at"))
    if number > len(known) + 1:
        problem = f"is {number}, and {mapping.id} has {len(known)} so far"
        raise BadInputError(place, problem, f"write {len(known) + 1}")
    if number > len(known) and mappings.count(services, owner) >= VERSIONS_MAX:
        remedy = "keep to those that there are, or allocate by a field or a tag"
        raise BadInputError("mappings", f"have {VERSIONS_MAX} versions already, which stay for good", remedy)
    warnings = [*found.warnings, *(gaps(known[-1].mapping, mapping) if known else [])]
    row = {"body": found.body.decode(), "digest": digest(found.body), "by": by, "at": moment}
    is_new = number == len(known) + 1 and services.rows.create(TABLE, key(owner, mapping.id, number), row)
    if is_new:
        return Receipt(Submitted(owner, mapping, found.body, by, moment), True, warnings)
    # Another may have been first, or an answer to our own call was lost: what is there decides.
    there = services.rows.get(TABLE, key(owner, mapping.id, number))
    if there is None or str(there["body"]).encode() != found.body:
        problem = f"{number} of {mapping.id} was submitted before with other content, and versions never change"
        raise BadInputError(place, problem, f"write {max(len(known), number) + 1}")
    return Receipt(submitted(there), False, list(found.warnings))
