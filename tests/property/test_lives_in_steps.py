"""The same lives, settled by the steps: what they find to look back to is all that there is to be adjusted.

The engine alone looks back at every locked month in full. The steps look at those that something has reached, told
from seals, documents and manifests; the lines and cases must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, note, settings

from shared.agreement.agreement import Agreement
from shared.bill.snapshot import FINAL, SEALED, Part, Seal, Snapshot
from shared.bill.snapshot import stream_of as bill_stream
from shared.chain.entry import Draft, Entry
from shared.columnar import quoted
from shared.control import months
from shared.control.approvals import APPROVED, PROPOSED
from shared.control.resolving import ADJUSTMENT, CASE, EXCLUDE, LINK
from shared.cycle import Cycle
from shared.ids import canonical_json, digest, digest_of
from shared.money import text
from shared.parties.parties import OPERATOR, STREAM, Connector, CustomerClass, Parties
from shared.ports import ObjectEvent
from shared.settlement.share import LinkedByHand
from shared.steps import state
from shared.steps.inputs import Kept
from shared.steps.route_settlements import bills, order_of
from shared.steps.settle import settle
from tests.bill_parts import write_part
from tests.fakes import Cloud
from tests.property.test_lives import EXAMPLES, LIVES, connection, lives
from tests.reference.compare import Inputs, Outcome, life_by_engine, read_tables

__all__ = ["connection"]  # a fixture

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PAYER = "1"
FEWER = settings(LIVES, max_examples=max(1, EXAMPLES))


class Books:
    """What is known at each month, as the steps would read it: seals are in the chain, documents are given here."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.cloud = Cloud(folder)
        self.services = self.cloud.services
        self.inputs: Inputs
        self.documents: dict[str, Any] = {}
        patch.setattr(state, "parties", lambda _: (self.parties, self.services.chain.read(STREAM)))
        patch.setattr(state, "parties_of", lambda _, named: self.documents[named])
        patch.setattr(state, "party_digest", lambda _: self.keep(self.parties))
        patch.setattr(state, "agreement", lambda _, named: self.documents[named])
        patch.setattr(state, "agreements", lambda _, entries, cycle: self.begun(cycle) if entries else [])
        patch.setattr(state, "tables", self.tables)
        patch.setattr(state, "fx_tables", lambda entries: self.tables(entries, state.FX_TABLES))
        patch.setattr(state, "fx_rates", lambda _, named: self.documents[named])
        patch.setattr(state, "figures", lambda _, named: self.documents[named])

    def keep(self, document: Any) -> str:
        """The name of a document."""
        named = digest(repr(document).encode())
        self.documents[named] = document
        return named

    @property
    def parties(self) -> Parties:
        """The parties of the month."""
        connector = Connector(PAYER, "payer", "default", None, "negative", date(2026, 6, 1))
        owned, classes = tuple(self.inputs.assignments), tuple(self.inputs.classes)
        return Parties("op", {PAYER: connector}, {"aurora": {}}, {}, owned, {}, classes)

    def begun(self, cycle: Cycle) -> list[Agreement]:
        """The versions begun, each with a digest of its own."""
        mine = [one for one in self.inputs.agreements if one.begins <= cycle.last]
        kept = [replace(one, digest=digest(repr(one).encode())) for one in mine]
        self.documents |= {one.digest: one for one in kept}
        return sorted(kept, key=lambda one: (one.id, one.version))

    def tables(self, _: Sequence[Entry], act: str) -> dict[str, str]:
        """The tables in force, by cycle."""
        found: dict[str, dict[tuple[str, str], Decimal]] = {}
        if act == state.FX_TABLES:
            for (cycle, *pair), rate in self.inputs.rates.items():
                found.setdefault(cycle, {})[pair[0], pair[1]] = rate
        else:
            for (of, figure, cycle), value in self.inputs.figures.items():
                found.setdefault(cycle, {})[of, figure] = value
        return {cycle: self.keep(table) for cycle, table in found.items()}

    def seal(self, cycle: Cycle, lines: Sequence[Mapping[str, Any]]) -> None:
        """The bill of a cycle is these lines, in day parts; the same bill is not sealed twice."""
        parts = {}
        for day in (f"{cycle}-01", *sorted({str(one["date"]) for one in lines} - {f"{cycle}-01"})):
            mine = [one for one in lines if str(one["date"]) == day]
            key = digest_of([[str(value) for value in sorted(one.items(), key=str)] for one in mine])
            path, _ = write_part(self.services.scratch, key, mine)
            accounts: dict[str, int] = {}
            for one in mine:
                accounts[one["account"]] = accounts.get(one["account"], 0) + 1
            currencies = {str(one["currency"]): {"gross": "0", "pretax": "0"} for one in mine}
            parts[day] = Part(digest(path.read_bytes()), len(mine), currencies, accounts)
            self.cloud.work.upload_once(Snapshot(PAYER, str(cycle), parts).part_key(day), path)
        snapshot = Snapshot(PAYER, str(cycle), parts)
        self.cloud.work.put_once(snapshot.key, snapshot.body)
        control = {"key": "", "differences": 0, "open": 0, "attempt": 0}
        slot = f"f{cycle.next().first:%Y%m%d}T1230"
        seal = Seal(PAYER, str(cycle), slot, "api", FINAL, snapshot.id, snapshot.rows, {}, {}, {}, control)

        def decide(entries: list[Entry]) -> Draft | None:
            if entries and entries[-1].body["snapshot"] == snapshot.id:
                return None
            return Draft(SEALED, "ingest_bill", "2026-12-01T00:00:00Z", seal.body())

        entry = self.services.chain.append(bill_stream(PAYER, str(cycle)), decide)
        if entry is not None:
            self.cloud.work.put_once(replace(seal, seq=entry.seq).key, canonical_json({**entry.body}))

    def settle(self, owner: str, cycle: Cycle) -> Kept | None:
        """Settle a share as its order says, if it has one."""
        parties, entries = state.parties(self.services)
        order = order_of(self.services, parties, entries, bills(self.services, parties, str(cycle)), str(cycle), owner)
        if order is None:
            return None
        assert order.status == FINAL
        self.cloud.work.put_once(order.key, order.body)
        settle(self.services, ObjectEvent(self.cloud.work.bucket, order.key, NOW))
        month = months.months(self.services.chain.read(months.stream_of(owner, str(cycle))))[str(cycle)]
        assert month.settlement is not None
        return Kept(str(cycle), owner, month.settlement)

    def decide(self, act: str, stream: str, what: Mapping[str, Any]) -> None:
        """Something is proposed and approved."""
        body, at = {"act": act, "what": dict(what)}, "2026-12-01T00:00:00Z"
        proposed = self.services.chain.append(stream, lambda _: Draft(PROPOSED, "paula", at, body))
        assert proposed is not None
        approved = {"proposal": proposed.seq, **body}
        self.services.chain.append(stream, lambda _: Draft(APPROVED, "amir", at, approved))

    def decide_what_is_new(self, before: Inputs | None) -> None:
        """The adjustments, closed cases and links that are known since the month before."""
        for one in self.inputs.adjustments:
            if before is None or one not in before.adjustments:
                on = {name: value for name in ("customer", "product") if (value := getattr(one, name)) is not None}
                what = {"agreement": one.agreement, "cycle": one.cycle, "amount": text(one.amount), "cause": one.cause}
                self.decide(ADJUSTMENT, "reseller/aurora", {**what, **on})
        for closed in self.inputs.closed:
            if before is None or closed not in before.closed:
                case = {"kind": closed.kind, "key": closed.key, "currency": closed.currency}
                let_go = {"cycle": closed.cycle, "action": EXCLUDE, "because": "let go", "cases": [case]}
                for stream in ("reseller/aurora", months.stream_of(OPERATOR, closed.cycle)):
                    self.decide(CASE, stream, let_go)

        accounts = {row["line_id"]: row["account"] for row in self.inputs.bill}
        for linked in self.inputs.links:
            if before is None or linked not in before.links:
                case = {"kind": "unlinked_refund", "key": linked.refund, "currency": "CNY"}
                by_hand: dict[str, Any] = {"cycle": linked.cycle, "action": LINK, "because": "so", "cases": [case]}
                by_hand |= {"charge": linked.charge, "of": linked.cycle, "account": accounts.get(linked.refund, "")}
                self.decide(CASE, "reseller/aurora", by_hand)

    def outcome(self, connection: duckdb.DuckDBPyConnection, kept: Kept) -> Outcome:
        """The lines and cases of a settlement."""
        outcome, folder = Outcome(), self.services.scratch
        why = r"regexp_replace(because, '^case \d{4}-\d\d-([a-z_]+)-[0-9a-f]{12}: ', '\1: ')"
        why = f"CASE WHEN because LIKE 'due less posted in %' THEN 'due less posted' ELSE {why} END"
        for table, change in (("settled", f"REPLACE ({why} AS because)"), ("held", "")):
            name = {"settled": "lines.parquet"}.get(table, "held.parquet")
            (folder / name).write_bytes(self.cloud.work.get(kept.folder + name))
            source = f"read_parquet({quoted(str(folder / name))})"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE seen_{table} AS SELECT * {change} FROM {source}")
        read_tables(connection, kept.owner, outcome, "seen_settled", "seen_held")
        return outcome


@FEWER
@given(months=lives())
def test_steps_look_back_to_all_that_is_to_be_adjusted(
    connection: duckdb.DuckDBPyConnection, months: list[Inputs]
) -> None:
    # Openings are not handed in by the steps.
    months = [replace(one, openings={}, classes=classes_of(one), links=links_of(one, months)) for one in months]
    expected = life_by_engine(connection, months)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        books = Books(patch, Path(folder) / "cloud")
        books.decide(state.PARTY_DOCUMENT, STREAM, {"document": ""})
        books.decide("go_live", "reseller/aurora", {})
        before = None
        for inputs, whole in zip(months, expected, strict=True):
            books.inputs = inputs
            books.decide_what_is_new(before)
            before = inputs
            for one in (earlier.cycle for earlier in months if earlier.cycle <= inputs.cycle):
                books.seal(one, [line for line in inputs.bill if line["cycle"] == str(one)])
            for owner in (OPERATOR, "aurora"):
                kept = books.settle(owner, inputs.cycle)
                found = Outcome() if kept is None else books.outcome(connection, kept)
                if kept is not None:
                    note(f"{owner} {inputs.cycle} looks back to {kept.summary(books.services).get('looked_back')}")
                assert of_owner(found, owner, inputs.cycle).differences(of_owner(whole, owner, inputs.cycle)) == []
                if kept is None:
                    return  # nothing of it is locked: once it holds something, that month is settled first
                if owner != OPERATOR:
                    lock = {"cycle": kept.cycle, "settlement": kept.settlement, "calculated": 0}
                    books.decide("lock", "reseller/aurora", lock)


def links_of(inputs: Inputs, months: Sequence[Inputs]) -> Sequence[LinkedByHand]:
    """Only of refunds whose account was aurora's on a day of their month, whatever was corrected since."""
    rows = {row["line_id"]: row for one in months for row in one.bill}
    return [
        one
        for one in inputs.links
        if one.refund in rows and all(is_aurora_s(month, rows[one.refund]["account"], one.cycle) for month in months)
    ]


def is_aurora_s(inputs: Inputs, account: str, cycle: str) -> bool:
    """Whether an account is aurora's on a day of a cycle."""
    held = (one for one in inputs.assignments if one.account == account and one.reseller == "aurora")
    return any(one.touches(Cycle.parse(cycle)) for one in held)


def classes_of(inputs: Inputs) -> Sequence[CustomerClass]:
    """Only of customers that somebody is."""
    customers = {one.customer for one in inputs.assignments}
    return tuple(one for one in inputs.classes if one.customer in customers)


def of_owner(outcome: Outcome, owner: str, cycle: Cycle) -> Outcome:
    """What is one owner's, with the cases of the cycle."""
    lines = {line: count for line, count in outcome.lines.items() if line.owner == owner}
    cases = {one: count for one, count in outcome.cases.items() if (one.owner, one.cycle) == (owner, str(cycle))}
    return replace(Outcome(), lines=type(outcome.lines)(lines), cases=type(outcome.cases)(cases))
