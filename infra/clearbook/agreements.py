"""The commands about agreements and price plans: check documents, propose one, show and compare versions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.clearbook import remote
from infra.clearbook.context import services
from infra.clearbook.decisions import document as sent
from infra.clearbook.decisions import say
from infra.clearbook.main import write_json
from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.differences import Version, differences
from shared.agreement.document import (
    AgreementDocument,
    Checked,
    agreement_findings,
    checked_agreement,
    gaps,
)
from shared.agreement.overlaps import overlapping
from shared.agreement.price_document import PriceDocument, checked_price_plan, price_findings
from shared.agreement.price_plan import PricePlan, parse_price_plan
from shared.agreement.words import days, facts, figure, lines
from shared.chain.entry import Entry
from shared.control.approvals import APPROVED
from shared.control.months import AGREEMENT, stream_of
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError, Finding, check, reading
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json
from shared.money import text
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import state
from shared.steps.acts.price_plans import PRICE_PLAN


class RefusedError(ClearbookError):
    """Some of the documents that were checked cannot be used."""

    code = "document_refused"


@dataclass(frozen=True, slots=True)
class Approved:
    """A version in force, and who put it there."""

    version: Agreement
    proposed_by: str
    approved_by: str
    at: str


def check_documents(files: Sequence[Path], json_to: str | None) -> None:
    """Check documents alone and beside each other."""
    results, refusals = [], []
    found: list[Version] = []
    for file in files:
        try:
            version, checked = check_document(file, found)
        except DocumentRefusedError as exc:
            refusals.append(exc)
            results.append({"file": str(file), "refused": [list(one) for one in exc.findings]})
            continue
        found.append(version)
        results.append(_as_json(file, version, checked))
        if json_to != "-":
            print("\n".join(_result(file, version, checked)))
    between = [problem for _, problem in gaps([one for one in found if isinstance(one, Agreement)])]
    if json_to is not None:
        write_json({"documents": results, "warnings": between}, json_to)
    if json_to != "-":
        for problem in between:
            print(f"warning: {problem}")
    if refusals:
        raise RefusedError("\n".join(str(one) for one in refusals))


def propose_agreement(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a version of an agreement, or of a price plan."""
    work, name = services(home), str(file)
    with reading(file.read_bytes(), name) as data:
        is_plan = _is_plan(data)
    found = remote.portal(home, by).propose(PRICE_PLAN if is_plan else AGREEMENT, sent(file), why)
    if is_plan:
        say(found["proposals"], json_to, found["notes"])
        return
    with reading(file.read_bytes(), name) as data:
        document = check(AgreementDocument, data, name)
    _, warnings = agreement_findings(document)
    known = [one.version for one in _of_reseller(work, document.reseller) if one.version.id == document.agreement]
    warnings = [*warnings, *gaps([*known, parse_agreement(document.canonical())])]
    say(
        found["proposals"], json_to, [*found["notes"], *(f"warning: {place}: {problem}" for place, problem in warnings)]
    )


def show_agreement(id_: str, version: int | None, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print approved versions of an agreement."""
    within = None if cycle is None else Cycle.parse(cycle, "--cycle")
    found = [
        one
        for one in _approved(services(home), id_)
        if (version is None or one.version.version == version) and (within is None or one.version.touches(within))
    ]
    if not found:
        asked = f"version {version}" if version is not None else f"version in force in {cycle}"
        raise BadInputError(id_, f"has no {asked}", f"see all with `clearbook agreement show {id_}`")
    if json_to is not None:
        write_json([_version_json(one) for one in found], json_to)
    if json_to != "-":
        print("\n\n".join("\n".join(_shown(one)) for one in found))


def show_difference(before: str, after: str, home: Path | None, json_to: str | None) -> None:
    """Print what changes from one version to another."""
    one, other = _version(before, home), _version(after, home)
    if type(one) is not type(other):
        raise BadInputError("diff", f"{before} and {after} are not of one kind", "compare two agreements or two plans")
    changes = differences(one, other)
    if json_to is not None:
        write_json([{**asdict(change), "sentence": change.sentence} for change in changes], json_to)
    if json_to != "-":
        print(f"{one.id} version {one.version} -> {other.id} version {other.version}")
        print("\n".join(f"  {change.sentence}" for change in changes) or "  no difference in what is paid")


# -- checking ----------------------------------------------------------------------------------------------------------


def check_document(file: Path, before: Sequence[Version]) -> tuple[Version, Checked]:
    """One document, also beside those that were checked before it."""
    name = str(file)
    with reading(file.read_bytes(), name) as data:
        version: Version
        if _is_plan(data):
            checked = checked_price_plan(data, name, settle_example)
            version = parse_price_plan(checked.body)
        else:
            checked = checked_agreement(data, name, settle_example)
            version = parse_agreement(checked.body)
        new = _as_agreement(version)
        others = [one for one in map(_as_agreement, before) if one.reseller == new.reseller]
        findings = overlapping(new, others)
        if findings:
            raise DocumentRefusedError(name, findings)
    return version, checked


def _as_agreement(version: Version) -> Agreement:
    return version.as_agreement() if isinstance(version, PricePlan) else version


def _is_plan(data: Any) -> bool:
    return isinstance(data, dict) and "price_plan" in data


def _result(file: Path, version: Version, checked: Checked) -> Iterator[str]:
    """What was checked of a document, and how it came out."""
    verdict = "is sound" if isinstance(version, PricePlan) else "can be submitted"
    yield f"{file}: {version.id} version {version.version}, {days(version.begins, version.ends)}, {verdict}"
    rules = version.prices if isinstance(version, PricePlan) else version.rules
    counts = [
        _count(len(rules), "rule"),
        _count(len(version.exclusions), "exclusion"),
        _count(len(version.scales), "scale"),
        _count(len(checked.examples), "worked example"),
    ]
    yield f"  checked: {', '.join(counts)}; each condition on lines with and without its fields, and that it is reached"
    for one in checked.examples:
        yield f"  example {one.name}: expected {figure(one.expected, 2)}, found {figure(one.found, 2)}"
    for place, problem in checked.warnings:
        yield f"  warning: {place}: {problem}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _as_json(file: Path, version: Version, checked: Checked) -> dict[str, Any]:
    return {
        "file": str(file),
        "id": version.id,
        "version": version.version,
        "warnings": [list(one) for one in checked.warnings],
        "examples": [
            {"name": one.name, "expected": text(one.expected), "found": text(one.found)} for one in checked.examples
        ],
    }


# -- versions ----------------------------------------------------------------------------------------------------------


def _of_reseller(work: Services, reseller: str) -> list[Approved]:
    """The approved versions of a reseller's agreements, in order."""
    entries = work.chain.read(stream_of(reseller, ""))
    by_seq: Mapping[int, Entry] = {entry.seq: entry for entry in entries}
    found = []
    for entry in entries:
        if entry.kind == APPROVED and entry.body["act"] == AGREEMENT:
            version = parse_agreement(work.buckets.records.get(state.document_key(entry.body["what"]["document"])))
            found.append(Approved(version, by_seq[entry.body["proposal"]].actor, entry.actor, entry.at))
    return sorted(found, key=lambda one: (one.version.id, one.version.version))


def _approved(work: Services, id_: str) -> list[Approved]:
    """The approved versions of an agreement, whosever it is."""
    parties, _ = state.parties(work)
    known = [one for reseller in sorted(parties.resellers) for one in _of_reseller(work, reseller)]
    found = [one for one in known if one.version.id == id_]
    if not found:
        ids = sorted({one.version.id for one in known})
        near = difflib.get_close_matches(id_, ids, 1) or ids
        raise BadInputError("agreement", f"{id_!r} is not approved", f"there is {', '.join(near) or 'none yet'}")
    return found


def _version(named: str, home: Path | None) -> Version:
    """The version of a file, or an approved one as ID@VERSION."""
    id_, at, number = named.rpartition("@")
    if Path(named).is_file() or not (at and number.isdecimal()):
        return _read(Path(named))
    found = [one.version for one in _approved(services(home), id_) if one.version.version == int(number)]
    if not found:
        raise BadInputError(named, f"{id_} has no version {number}", f"see `clearbook agreement show {id_}`")
    return found[0]


def _read(file: Path) -> Version:
    """The version that a file says, whether or not its examples come out."""
    name = str(file)
    with reading(file.read_bytes(), name) as data:
        if _is_plan(data):
            plan = check(PriceDocument, data, name)
            _refuse(name, price_findings(plan)[0])
            return parse_price_plan(canonical_json(plan.model_dump(mode="json", by_alias=True)))
        document = check(AgreementDocument, data, name)
        _refuse(name, agreement_findings(document)[0])
        return parse_agreement(document.canonical())


def _refuse(name: str, findings: list[Finding]) -> None:
    if findings:
        raise DocumentRefusedError(name, findings)


def _shown(one: Approved) -> Iterator[str]:
    version = one.version
    yield f"{version.id} version {version.version}, {days(version.begins, version.ends)}"
    yield f"proposed by {one.proposed_by}, approved by {one.approved_by} at {one.at}"
    yield from lines(facts(version))


def _version_json(one: Approved) -> dict[str, Any]:
    parts: dict[str, dict[str, str]] = {}
    for (part, thing), says in facts(one.version).items():
        parts.setdefault(part, {})[thing] = says
    return {
        "agreement": one.version.id,
        "version": one.version.version,
        "from": one.version.begins.isoformat(),
        "until": one.version.ends.isoformat() if one.version.ends else None,
        "document": one.version.digest,
        "proposed_by": one.proposed_by,
        "approved_by": one.approved_by,
        "approved_at": one.at,
        "says": parts,
    }
