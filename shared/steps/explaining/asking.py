"""Where a figure comes from: the facts behind a bill line, a statement line, a settlement or a payout, as plain data.

Facts are read from what is kept: the settlement's files, the parts and documents that its manifest names, the chain.
What they say in words is `words`. Whoever asks may see everything: it is for the operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.access.scope import Scope
from shared.bill.lookup import BillLines
from shared.columnar import connect, insert
from shared.control import months
from shared.control.approvals import APPROVED
from shared.cycle import Cycle
from shared.errors import BadInputError, ClearbookError
from shared.money import NotAnAmountError, amount, text, total
from shared.parties.parties import OPERATOR
from shared.payout.batch import PAYOUT, movements
from shared.services import Services
from shared.steps import projections, state
from shared.steps.explaining.kept import (
    ContradictionError,
    Facts,
    Kept,
    approval,
    asked,
    known,
    looking_back_to,
    opened,
    parquet,
)
from shared.steps.explaining.lines import UNDO, line_facts, row_facts
from shared.steps.explaining.since import with_what_came_since
from shared.steps.explaining.statement import adjusted_months, statement_id, statement_lines, statements_of
from shared.steps.explaining.whose import agreement_facts
from shared.steps.pay_resellers import PAID

if TYPE_CHECKING:
    import duckdb

    from shared.chain.entry import Entry

PREFIX_MIN = 8  # digits of an id that may stand for it
LISTED_MAX = 20  # settlement lines of a statement line, and candidates for a prefix
FOUND_MAX = 50
_PLACE = "ID"
_PAYOUT = re.compile(r"(20\d\d-\d\d)\.([^./#]+)\.([^./#]+)(?:\.\d{1,3})?", re.ASCII)
_STATEMENT = re.compile(r"([^/#]+)/(20\d\d-\d\d)/(\d{1,6})", re.ASCII)
_DIGITS = re.compile(rf"[0-9a-f]{{{PREFIX_MIN},64}}(-\d+)?", re.ASCII)
_WHOLE = re.compile(r"[0-9a-f]{32}(-\d+)?", re.ASCII)
_CASE = re.compile(r"20\d\d-\d\d-[a-z_]+-[0-9a-f]{12}", re.ASCII)
_SEARCHED = ("account", "instance_id", "record_id", "related_record")  # for the text as a whole
_SEARCHED_WITHIN = ("instance_name", "resource_group", "cost_unit", "tags")  # for it as a part
_AMOUNTS = ("pretax", "gross", "payment")


class UnknownIdError(ClearbookError):
    """Nothing has this id."""

    code = "unknown_id"


class AmbiguousIdError(ClearbookError):
    """Several things have this id, or an id that begins so."""

    code = "ambiguous_id"

    def __init__(self, id_: str, found: Sequence[str]) -> None:
        more = f" and {len(found) - LISTED_MAX} more" if len(found) > LISTED_MAX else ""
        super().__init__(f"{id_} may be {', '.join(found[:LISTED_MAX])}{more}; give more of the id, or its --cycle")


def explain(services: Services, id_: str, cycle: str | None = None) -> list[Facts]:
    """The facts behind an id: one, but for a refund that undoes charges of several resellers.

    It is that of a bill line or settlement, or the first digits of one; `agreement/cycle/n`, the n-th line of a
    statement of the settlement that counts; or an instruction, `cycle.reseller.agreement`.
    """
    if cycle is not None:
        Cycle.parse(cycle, "--cycle")
    with _asking(services) as asking:
        if match := _PAYOUT.fullmatch(id_):
            return [asking.payout(id_, *match.groups())]
        if match := _STATEMENT.fullmatch(id_):
            return [asking.statement_line(id_, match[1], match[2], int(match[3]))]
        if _DIGITS.fullmatch(id_):
            return asking.by_digits(id_, cycle)
    raise _of_another_kind(id_)


def find(services: Services, sought: str, cycle: str, reseller: str | None = None) -> list[Facts]:
    """What a cycle has of a customer, product, rule, instance, account, amount or text, each with its id.

    Statement lines first, then payouts, then bill lines; at most FOUND_MAX and one.
    """
    Cycle.parse(cycle, "--cycle")
    if not sought.strip():
        raise BadInputError("--find", "no text is given", "name a customer, product, instance or amount")
    with _asking(services) as asking:
        return asking.find(sought.strip(), cycle, reseller)


@contextmanager
def _asking(services: Services) -> Iterator[_Asking]:
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        yield _Asking(services, connection)


def _of_another_kind(id_: str) -> UnknownIdError:
    kinds = (
        f"a bill line or settlement (or its first {PREFIX_MIN} digits), a statement line as agreement/cycle/n, "
        "or a payout as cycle.reseller.agreement"
    )
    if "#" in id_:
        return UnknownIdError(f"{id_} is an entry of the chain, and is shown by `clearbook proposals`; give {kinds}")
    if _CASE.fullmatch(id_):
        return UnknownIdError(f"{id_} is a case, and is shown by `clearbook cases --cycle {id_[:7]}`; give {kinds}")
    return UnknownIdError(f"{id_!r} is no id of anything that is explained; give {kinds}, or look with --find")


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question to what is kept."""

    services: Services
    connection: duckdb.DuckDBPyConnection

    def settlement_of(self, owner: str, cycle: str, id_: str | None = None) -> Kept | None:
        """The settlement of a share that counts, or the one named."""
        return opened(self.services, self.connection, cycle, owner, id_)

    def owners(self, cycle: str) -> list[str]:
        """Whoever may have a settlement of the cycle: those listed first, then by the parties in force."""
        listed = [str(row["id"]) for row in projections.listed(self.services, projections.SETTLEMENTS, cycle)]
        held = {one.reseller or OPERATOR for one in state.parties(self.services)[0].in_cycle(Cycle.parse(cycle))}
        return list(dict.fromkeys([*listed, *sorted(held), OPERATOR]))

    # -- bill lines and settlements

    def by_digits(self, id_: str, cycle: str | None) -> list[Facts]:
        """What a bill line or settlement of this id, or of one that begins so, is."""
        whole = self._rows(id_, cycle) if _WHOLE.fullmatch(id_) else []
        if len(whole) == 1:
            return self._line(whole[0])
        if whole:
            raise AmbiguousIdError(id_, [f"the line of {row['cycle']}" for row in whole])
        kept = sorted(set(known(self.services, cycle)))
        settlements = [one for one in kept if one[2].startswith(id_)]
        lines = self._lines_that_begin(id_, {month for month, _, _ in kept})
        found = [f"settlement {one}" for _, _, one in settlements] + [f"line {one}" for one in lines]
        if len(found) > 1:
            raise AmbiguousIdError(id_, found)
        if settlements:
            return [self.settlement(*settlements[0])]
        rows = self._rows(lines[0], cycle) if lines else []
        if len(rows) > 1:
            raise AmbiguousIdError(id_, [f"line {row['line_id']} of {row['cycle']}" for row in rows])
        if not rows:
            where = f" in {cycle}" if cycle else ""
            raise UnknownIdError(
                f"no bill line or settlement{where} has an id that begins with {id_}; look for it with --find, or see "
                "`clearbook bill show --account A --line ID`"
            )
        return self._line(rows[0])

    def _rows(self, line_id: str, cycle: str | None) -> list[Facts]:
        page = BillLines(self.services.rows).line(Scope.operator(), line_id, is_gone_shown=True)
        return [dict(one) for one in page.lines if cycle in (None, one["cycle"])]

    def _lines_that_begin(self, prefix: str, cycles: Iterable[str]) -> list[str]:
        """The ids of lines that begin so, in the settlements that count."""
        found: set[str] = set()
        for cycle in sorted(cycles, reverse=True):
            for kept in self._settlements(cycle):
                for name in ("lines", "held"):
                    query = f"SELECT DISTINCT line_id FROM {kept.source(name)} WHERE starts_with(line_id, $prefix)"  # noqa: S608
                    found |= {str(row["line_id"]) for row in kept.ask(query, prefix=prefix)}
        return sorted(found)

    def _line(self, row: Facts) -> list[Facts]:
        """The line in each settlement that has it; most lines are in one."""
        cycle, account = str(row["cycle"]), row["account"]
        parties = state.parties(self.services)[0]
        mine = [one for one in parties.in_cycle(Cycle.parse(cycle)) if one.account == account]
        # Whose it is on its date, whose it is on other dates, and whoever else: a refund may undo what others sold.
        mine.sort(key=lambda one: not (str(one.begins) <= str(row["date"]) <= str(one.ends or row["date"])))
        holders = [*(one.reseller or OPERATOR for one in mine), OPERATOR]
        found = self._in_settlements(row, list(dict.fromkeys(holders)))
        # Who holds it no longer has it in a locked settlement, and in one that takes back what it earned.
        if not found or any(one["settlement"] is None and not one["is_late"] for one in found):
            found += self._in_settlements(row, [one for one in self.owners(cycle) if one not in holders])
        plain_row = {name: value for name, value in row.items() if name not in ("seal", "source", "source_row")}
        raw = {"object": row.get("source"), "row": row.get("source_row")}
        not_settled = {"what": "bill_line", "id": row["line_id"], "cycle": cycle, "line": plain_row, "raw": raw}
        return found or [{**not_settled, "settlement": None}]

    def _in_settlements(self, row: Facts, owners: Iterable[str]) -> list[Facts]:
        found = []
        for owner in owners:
            kept = self.settlement_of(owner, str(row["cycle"]))
            if kept is None:
                continue
            line = kept.bill_line(row)
            told = line_facts(kept, str(row["payer"]), line) if line is not None else None
            told = with_what_came_since(kept, row, line, told)
            if told is not None:
                found.append(told)
                if _is_whole(told):
                    break
        return found

    def settlement(self, cycle: str, owner: str, id_: str) -> Facts:
        """A settlement: what it read, what it came to, who decided about it."""
        kept = self.settlement_of(owner, cycle, id_)
        assert kept is not None  # noqa: S101 - it is named
        bills = []
        for payer, days in kept.manifest["bills"].items():
            sealed = kept.seal(payer)
            seal = None if sealed is None else f"{sealed[0].stream}#{sealed[0].seq}"
            bills.append({"payer": payer, "dates": len(days), "seal": seal})
        return {
            "what": "settlement",
            "id": kept.id,
            "cycle": cycle,
            "settlement": kept.named(),
            "engine": kept.manifest["engine"],
            "rows_digest": kept.summary["rows_digest"],
            "bills": bills,
            "accounts": len({one[0] for one in kept.manifest["assignments"]}),
            "agreements": [agreement_facts(kept, version) for version in kept.versions],
            "rates": kept.manifest["rates"] or None,
            "opening": kept.manifest["opening"] or None,
            "looked_back": [
                {"cycle": cycle, "settlement": kept.locked[cycle], "why": why}
                for cycle, why in kept.looked_back.items()
            ],
            "billed": kept.summary["bill"],
            "kinds": kept.summary["kinds"],
            "held": kept.summary["held"],
            "statements": [
                {
                    **{
                        name: getattr(one, name)
                        for name in ("agreement", "currency", "exact", "total", "tax", "payable")
                    },
                    "lines": [statement_id(one, cycle, place) for place in range(len(one.lines))],
                }
                for one in statements_of(kept)
            ],
        }

    # -- statement lines

    def statement_line(self, id_: str, agreement: str, cycle: str, number: int) -> Facts:
        """A statement line: its rule, what it is the sum of, and how it was rounded."""
        Cycle.parse(cycle, _PLACE)
        agreements = []
        for kept in self._settlements(cycle):
            for statement in statements_of(kept):
                agreements.append(statement.agreement)
                if statement.agreement == agreement:
                    if not 1 <= number <= len(statement.lines):
                        there = f"its lines are 1 to {len(statement.lines)}" if statement.lines else "it has no line"
                        raise UnknownIdError(
                            f"{id_}: the statement of {agreement} in {cycle} has no such line; {there}"
                        )
                    [told] = statement_lines(kept, statement, [number - 1])
                    return self._statement_line(kept, agreement, told)
        there = f"there are {', '.join(sorted(agreements))}" if agreements else f"nothing of {cycle} is settled"
        raise UnknownIdError(f"{id_}: {agreement} has no statement in {cycle}; {there}")

    def _settlements(self, cycle: str) -> Iterator[Kept]:
        for owner in self.owners(cycle):
            kept = self.settlement_of(owner, cycle)
            if kept is not None:
                yield kept

    def _statement_line(self, kept: Kept, agreement: str, told: Facts) -> Facts:
        names = {"customer": "customer", "product_code": "product", "rule": "rule"}
        where = "agreement = $agreement AND version = $version AND kind = $kind"
        where += "".join(f" AND coalesce({column}, '') = ${name}" for column, name in names.items())
        given = {name: told[name] for name in ("version", "kind", *names.values())} | {"agreement": agreement}
        [sums] = kept.ask(f"SELECT count(*) AS lines, sum(amount) AS sum FROM {kept.source()} WHERE {where}", **given)  # noqa: S608
        if text(sums["sum"]) != told["exact"]:
            raise ContradictionError(f"the sum of {told['id']}", text(sums["sum"]), told["exact"])
        version = kept.version(agreement, told["version"])
        rows = kept.lines(where, f"abs(amount) DESC, line_id LIMIT {LISTED_MAX}", **given)
        return {
            "what": "statement_line",
            **told,
            "settlement": kept.named(),
            "agreement": agreement_facts(kept, version),
            "says": _says(version, told["rule"]),
            "adjusts": adjusted_months(kept, where, given) if told["kind"] == "adjustment" else [],
            "rows": [row_facts(one) for one in rows],
        }

    # -- payouts

    def payout(self, id_: str, cycle: str, reseller: str, agreement: str) -> Facts:
        """A payment: what was owed, who approved its batch, what the bank said."""
        entries = self.services.chain.read(months.stream_of(reseller, cycle))
        found = months.months(entries)
        instructed = found[cycle].instructed.get(id_) if cycle in found else None
        if instructed is None:
            there = sorted(one for month in found.values() for one in month.instructed)
            raise UnknownIdError(f"{id_} was not instructed; {reseller} has {', '.join(there) or 'no payout'}")
        before = [one for one in entries if one.seq < instructed.seq]
        owed = _owed(before, agreement, cycle)
        withheld = Decimal(instructed.body.get("withheld", "0"))
        if total([Decimal(one["amount"]) for one in owed]) != Decimal(instructed.body["amount"]) + withheld:
            raise ContradictionError(f"what was owed before {id_}", owed, instructed.body["amount"])
        batches = self.services.chain.read(months.stream_of(OPERATOR, cycle))
        batch = instructed.body["batch"]
        paid = next((one for one in batches if one.kind == PAID and one.body["batch"] == batch), None)
        month = found[cycle]
        told = ("confirmed", "partly_confirmed", "rejected_by_bank", "returned", "contradicted")
        answers = [(name, getattr(month, name).get(id_)) for name in told]
        reopened = month.reopened.get(id_)
        return {
            "what": "payout",
            "id": id_,
            "cycle": cycle,
            "reseller": reseller,
            "agreement": agreement,
            "amount": instructed.body["amount"],
            "currency": instructed.body["currency"],
            "payee": instructed.body["payee"],
            "owed": owed,
            **({"withheld": text(withheld)} if withheld else {}),
            "instructed": {"entry": f"{instructed.stream}#{instructed.seq}", "at": instructed.at},
            "batch": batch,
            "approval": approval(batches, PAYOUT, {"batch": batch}),
            "files": [one["key"] for one in paid.body["files"]] if paid else [],
            "answers": [
                {"says": name, "entry": f"{entry.stream}#{entry.seq}", "at": entry.at, "body": dict(entry.body)}
                for name, entry in answers
                if entry is not None
            ],
            **({"reopened": approval(entries, months.REOPEN, {"instruction": id_})} if reopened else {}),
        }

    # -- looking for something

    def find(self, sought: str, cycle: str, reseller: str | None) -> list[Facts]:
        """What of a cycle has it."""
        owners = self.owners(cycle)
        if reseller is not None and reseller not in owners:
            raise BadInputError(
                "--reseller", f"{reseller!r} has nothing in {cycle}", f"give one of {', '.join(owners)}"
            )
        kept = [one for one in self._settlements(cycle) if reseller in (None, one.owner)]
        if not kept:
            raise UnknownIdError(f"nothing of {cycle} is settled yet")
        try:
            value = amount(sought.replace(",", ""))
        except NotAnAmountError:
            value = None
        found = [hit for one in kept for hit in _in_statements(one, self._named(sought), value)]
        found += [hit for one in kept for hit in _in_payouts(one, value)]
        return [*found, *self._in_bills(kept, reseller, sought, value)][: FOUND_MAX + 1]

    def _named(self, sought: str) -> set[str]:
        """The text, and the customers of this name."""
        customers = state.parties(self.services)[0].customers
        named = {id_ for id_, names in customers.items() if sought.casefold() in {n.casefold() for n in names.values()}}
        return {sought.casefold(), *named}

    def _in_bills(
        self, kept: Sequence[Kept], reseller: str | None, sought: str, value: Decimal | None
    ) -> Iterator[Facts]:
        """The bill lines that say it, or whose settlement lines come to the amount."""
        tests = [f"{name} = $sought" for name in _SEARCHED]
        tests += [f"contains(lower({name}), lower($sought))" for name in _SEARCHED_WITHIN]
        given: Facts = {"sought": sought}
        # What arrived after the lock is in the bill that a later settlement looked at.
        later = [last.looking_at(one.cycle) for one in kept for last in list(looking_back_to(one))[-1:]]
        if value is not None:
            tests += [f"{name} = $value" for name in _AMOUNTS]
            given |= {"value": text(value), "cycle": kept[0].cycle}
        if value is not None:
            earned = " UNION ".join(
                f"SELECT line_id FROM {one.source()} WHERE (amount = $value OR basis = $value) AND cycle = $cycle"  # noqa: S608
                for one in (*kept, *later)
            )
            tests.append(f"line_id IN ({earned})")
        self._say_whose([*kept, *later])
        where = f"({' OR '.join(tests)})" + (
            "" if reseller is None else f" AND coalesce(holder, '{OPERATOR}') = $reseller"
        )
        given |= {} if reseller is None else {"reseller": reseller}
        parts = sorted({path for one in (*kept, *later) for path in one.part_paths()})
        rows = asked(
            self.connection,
            f"""SELECT DISTINCT ON (account, line_id)
                       line_id, date, account, product_code, instance_id, kind, pretax, currency,
                       coalesce(holder, '{OPERATOR}') AS owner
                FROM {parquet(parts)} LEFT JOIN whose ON held = account AND date BETWEEN begins AND ends
                WHERE {where} ORDER BY date, account, line_id LIMIT {FOUND_MAX + 1}""",  # noqa: S608
            **given,
        )
        for row in rows:
            named = (row["kind"], row["product_code"], row["instance_id"], row["account"], str(row["date"]))
            says = f"{', '.join(part for part in named if part)}: {text(row['pretax'])} {row['currency']}"
            yield {
                "id": row["line_id"],
                "what": "bill line",
                "cycle": kept[0].cycle,
                "owner": row["owner"],
                "says": says,
            }

    def _say_whose(self, kept: Sequence[Kept]) -> None:
        """Make the table `whose`: the accounts that the settlements' resellers hold, from when to when."""
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE whose (held VARCHAR, begins DATE, ends DATE, holder VARCHAR)"
        )
        rows = {
            (account, begins, ends or date.max, reseller)
            for one in kept
            for account, begins, ends, _, reseller, _ in one.manifest["assignments"]
            if reseller is not None
        }
        insert(self.connection, "whose", sorted(rows), 4)


def _is_whole(told: Facts) -> bool:
    """Whether no other share can have anything of the line: refunds may undo what several sold, accounts may move."""
    is_moved = any("holders" in one["why"] for one in told.get("since", ()))
    return told["settlement"] is not None and told["line"]["kind"] not in UNDO and not is_moved


def _says(version: Any, rule: str) -> list[str]:
    """What the version says of a rule and its scales, in words."""
    from shared.agreement.words import RULE, SCALE, facts

    mine = version.rule(rule)
    parts = {RULE + rule, *(SCALE + one.scale for one in mine.earn.stages() if one.scale)} if mine else set()
    return [f"{part}: {thing}: {says}" for (part, thing), says in facts(version).items() if part in parts]


def _owed(before: Sequence[Entry], agreement: str, cycle: str) -> list[Facts]:
    """What a payment's amount is made of: the opening balance, the payables of locked cycles, less what was paid."""
    owed: list[Facts] = []
    known = months.months(list(before))
    for one in movements(before, agreement, cycle):
        found: Facts = {"what": one.what, "amount": text(one.amount)}
        if one.entry is not None and one.what == "statement":
            [statement] = [one for one in one.entry.body["what"]["statements"] if one["agreement"] == agreement]
            found |= {"cycle": one.cycle, "settlement": known[one.cycle].settlement}
            found |= {name: statement[name] for name in ("total", "tax", "payable")}
        elif one.entry is not None and one.what != "forfeited":
            reopening = one.entry.kind == APPROVED
            found["id"] = one.entry.body["what"]["instruction"] if reopening else one.entry.body["instruction"]
        elif one.entry is not None:
            found["cycle"] = one.cycle
        owed.append(found)
    return owed


def _in_statements(kept: Kept, named: set[str], value: Decimal | None) -> Iterator[Facts]:
    for statement in statements_of(kept):
        for place, one in enumerate(statement.lines):
            texts = {part.casefold() for part in (one.customer, one.product, one.rule, one.kind) if part}
            if texts & named or (value is not None and value in (Decimal(one.amount), Decimal(one.exact))):
                parts = [part for part in (one.customer, one.product, one.rule, one.kind) if part]
                says = f"{', '.join(parts)}: {one.amount} {statement.currency}"
                yield _hit(statement_id(statement, kept.cycle, place), "statement line", kept, says)


def _in_payouts(kept: Kept, value: Decimal | None) -> Iterator[Facts]:
    for id_, entry in kept.month.instructed.items():
        if value is not None and Decimal(entry.body["amount"]) == value:
            yield _hit(id_, "payout", kept, f"{entry.body['amount']} {entry.body['currency']}")


def _hit(id_: str, what: str, kept: Kept, says: str) -> Facts:
    return {"id": id_, "what": what, "cycle": kept.cycle, "owner": kept.owner, "says": says}


def hits_with(found: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The hits to list, and whether there are more of them."""
    return found[:FOUND_MAX], len(found) > FOUND_MAX
