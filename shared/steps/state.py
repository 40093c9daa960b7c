"""What the steps read of the chain and its documents: the parties in force, agreements, seals, snapshots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED, in_force
from shared.control.months import AGREEMENT
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import digest as digest_of_body
from shared.parties.parties import STREAM, NoPartiesError, Parties, parse_parties
from shared.ports import ObjectStore
from shared.services import Services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from shared.agreement.agreement import Agreement
    from shared.bill.snapshot import Seal, Snapshot
    from shared.reference.catalogue import Catalogue

PARTY_DOCUMENT = "party_document"
CONFIG = "config"  # the stream of what holds for everyone: exchange rates, the catalogue, repair rules
FX_TABLES, FIGURES, CATALOGUE, REPAIR = "fx_tables", "figures", "catalogue", "repair_rule"


def folder_of(cycle: str, owner: str, settlement: str) -> str:
    """Where a settlement's files lie (bucket work)."""
    return f"settlements/{cycle}/{owner}/{settlement}/"


def document_key(digest: str) -> str:
    """Where an approved document lies (bucket records), named by its digest."""
    return f"documents/{digest}.json"


def keep_document(services: Services, body: bytes) -> str:
    """Keep a document that somebody proposes; its digest names it."""
    digest = digest_of_body(body)
    services.buckets.records.put_once(document_key(digest), body)
    return digest


def document(services: Services, digest: str) -> dict[str, Any]:
    """The plain data of an approved document."""
    return dict(json.loads(kept(services, services.buckets.records, document_key(digest))))


def parties(services: Services) -> tuple[Parties, list[Entry]]:
    """The parties in force and the entries they rest on; raises NoPartiesError."""
    entries = services.chain.read(STREAM)
    approved = list(in_force(entries, PARTY_DOCUMENT))
    if not approved:
        raise NoPartiesError
    return parties_of(services, approved[-1]["document"]), entries


def parties_of(services: Services, digest: str) -> Parties:
    """The parties of an approved document."""
    return parse_parties(kept(services, services.buckets.records, document_key(digest)))


def party_digest(entries: list[Entry]) -> str:
    """The digest of the party document in force."""
    return str(list(in_force(entries, PARTY_DOCUMENT))[-1]["document"])


def agreements(services: Services, entries: list[Entry], cycle: Cycle) -> list[Agreement]:
    """The agreement versions of a reseller's stream that have begun by the end of the cycle, in order."""
    found = all_agreements(services, entries)
    return sorted((one for one in found if one.begins <= cycle.last), key=lambda one: (one.id, one.version))


def neighbours(services: Services, parties: Parties, owner: str, cycles: Sequence[Cycle]) -> list[Agreement]:
    """The versions begun of other resellers that hold accounts of the owner's on other days of the cycles, in order."""
    found, last = [], max(cycles)
    for reseller in sorted(parties.neighbours(owner, cycles)):
        found += agreements(services, services.chain.read(months.stream_of(reseller, str(last))), last)
    return found


def agreed(entries: list[Entry]) -> list[Entry]:
    """A reseller's stream up to its last agreement: what comes after it is being settled while others read it."""
    last = max((one.seq for one in entries if one.kind == APPROVED and one.body["act"] == AGREEMENT), default=0)
    return [one for one in entries if one.seq <= last]


def all_agreements(services: Services, entries: list[Entry]) -> list[Agreement]:
    """Every approved agreement version of a reseller's stream."""
    return [agreement(services, what["document"]) for what in in_force(entries, AGREEMENT)]


def agreement(services: Services, digest: str) -> Agreement:
    """An approved agreement version."""
    from shared.agreement.agreement import parse_agreement  # here: most functions never read one

    return parse_agreement(kept(services, services.buckets.records, document_key(digest)))


def past_charges_key(digest: str) -> str:
    """Where a file of past charges lies (bucket records), named by its digest."""
    return f"documents/{digest}.csv"


def opening_digest(services: Services, entries: list[Entry], cycle: str) -> str:
    """The digest of a reseller's opening where a settlement of the cycle reads it, else ""."""
    found = months.opening(entries)
    if found is None or found["as_of"] > cycle:
        return ""
    opened = document(services, found["document"])
    return str(found["document"]) if opened["scale_totals"] or opened["past_charges"] else ""


def tables(entries: list[Entry], act: str) -> dict[str, str]:
    """The digest of each cycle's table in force (FX_TABLES, FIGURES); `entries` are those of the stream CONFIG."""
    found: dict[str, str] = {}
    for what in in_force(entries, act):
        found |= what["tables"]
    return dict(sorted(found.items()))


def fx_tables(entries: list[Entry]) -> dict[str, str]:
    """The digest of each cycle's exchange rates in force."""
    return tables(entries, FX_TABLES)


def figures(services: Services, digest: str) -> Mapping[tuple[str, str], Decimal]:
    """The figures of an approved table by reseller and name."""
    from shared.reference.figures import parse_table

    return parse_table(kept(services, services.buckets.records, document_key(digest)))


def fx_table(services: Services, cycle: str) -> tuple[str, Mapping[tuple[str, str], Decimal]]:
    """The digest of a cycle's exchange rates and the rates by (currency, to); ("", {}) where none are in force."""
    digest = fx_tables(services.chain.read(CONFIG)).get(cycle, "")
    return digest, fx_rates(services, digest) if digest else {}


def fx_rates(services: Services, digest: str) -> Mapping[tuple[str, str], Decimal]:
    """The rates of an approved table."""
    from shared.reference.fx import parse_table

    return parse_table(kept(services, services.buckets.records, document_key(digest)))


def catalogue_digest(entries: list[Entry]) -> str:
    """The digest of the catalogue in force, "" while there is none; `entries` are those of the stream CONFIG."""
    approved = list(in_force(entries, CATALOGUE))
    return str(approved[-1]["document"]) if approved else ""


def catalogue(services: Services, digest: str) -> Catalogue:
    """An approved catalogue."""
    from shared.reference.catalogue import parse_catalogue

    return parse_catalogue(kept(services, services.buckets.records, document_key(digest)))


def last_seal(services: Services, account: str, cycle: str) -> Seal | None:
    """The newest seal of an account's bill."""
    from shared.bill.snapshot import seals, stream_of

    found = seals(services.chain.read(stream_of(account, cycle)))
    return found[-1] if found else None


def seals_before(services: Services, named: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Seal]]:
    """The seals of earlier cycles, given as cycle -> payer -> seq, from what the chain says of each."""
    from shared.bill.snapshot import seals, stream_of

    found: dict[str, dict[str, Seal]] = {cycle: {} for cycle in named}
    for payer in sorted({one for of in named.values() for one in of}):
        streams = {stream_of(payer, cycle): cycle for cycle, of in named.items() if payer in of}
        for stream, entries in services.chain.read_all(streams).items():
            cycle = streams[stream]
            seal = next((one for one in seals(entries) if one.seq == named[cycle][payer]), None)
            if seal is None:
                problem = f"names seal {named[cycle][payer]} of {stream}"
                raise BadInputError("order", problem, "there is no such seal")
            found[cycle][payer] = seal
    return found


def with_files(services: Services, seal: Seal) -> Seal:
    """The seal with all that it says of its files and rejects, whether its entry has it or an object."""
    if seal.listed is None:
        return seal
    return seal.completed(kept(services, services.buckets.work, seal.list_key))


def snapshot(services: Services, account: str, cycle: str, id_: str) -> Snapshot:
    """A snapshot by its id."""
    from shared.bill.snapshot import parse_snapshot, snapshot_key

    return parse_snapshot(kept(services, services.buckets.work, snapshot_key(account, cycle, id_)))


def local_part(services: Services, key: str) -> Path:
    """A day part as a local file."""
    return _local(services, services.buckets.work, key)


def kept(services: Services, store: ObjectStore, key: str) -> bytes:
    """An object whose name is made from its content."""
    return _local(services, store, key).read_bytes()


def _local(services: Services, store: ObjectStore, key: str) -> Path:
    """An object whose name is made from its content as a local file, fetched once an instance."""
    path = services.scratch / key.replace("/", "_")
    if not path.exists():
        store.download(key, path)
    return path
