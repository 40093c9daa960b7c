"""A team's own figures beside a settlement: what is missing on either side, what differs, and how ours came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.agreement.words import figure, percent
from shared.columnar import connect, insert, quoted
from shared.control.cases import KINDS
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import EXACT, total
from shared.services import Services
from shared.steps import inputs, results, state
from shared.steps.inputs import Kept

MISSING_THERE, MISSING_HERE, DIFFERS, BASIS = "missing there", "missing here", "amount differs", "basis differs"
# What names a row of theirs, and the column of ours that says it.
COLUMNS: Mapping[str, str] = {
    "line": "line_id",
    "customer": "customer",
    "product": "product_code",
    "account": "account",
    "instance": "instance_id",
}
_AMOUNT = "DECIMAL(38,18)"
_SENTENCES_MAX = 5
_NOTHING = "nothing of it is in the settlement"
_WORDS: Mapping[str, str] = {
    "netted": "{basis} netted: a refund and its charge undo each other",
    "excluded": "{basis} excluded: {because}",
    "direct": "{basis} of a direct customer, which earns nothing",
    "own_use": "{basis} of own use, which earns nothing",
    "cap": "{amount} taken off by the cap of {rule}",
    "floor": "{amount} added by the floor of {rule}",
    "retroactive": "{amount} for earlier months at the percent now reached ({because})",
    "holdback": "{amount} held back",
    "release": "{amount} released, {because}",
    "adjustment": "{amount} adjusted: {because}",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A key on which the two sides do not agree, and how ours came about."""

    how: str
    keys: Mapping[str, str]
    theirs: Decimal | None
    ours: Decimal | None
    their_basis: Decimal | None
    our_basis: Decimal | None
    rows: Sequence[int]  # of theirs, the first few
    because: Sequence[str]

    @property
    def difference(self) -> Decimal:
        """What ours is more."""
        return EXACT.subtract(self.ours or Decimal(0), self.theirs or Decimal(0))


@dataclass(frozen=True, slots=True)
class Compared:
    """A spreadsheet beside a settlement; ours less theirs is what the mismatches say, the rounding, and the rest."""

    kept: Kept
    theirs: Decimal
    ours: Decimal
    agreeing: int  # keys on which both agree
    mismatches: Sequence[Mismatch]  # largest first
    rounding: Decimal  # where both agree at the places they are compared at

    @property
    def unexplained(self) -> Decimal:
        """What neither the mismatches nor rounding say."""
        listed = total([one.difference for one in self.mismatches])
        return EXACT.subtract(EXACT.subtract(self.ours, self.theirs), EXACT.add(listed, self.rounding))


def compare(
    services: Services,
    reseller: str,
    cycle: str,
    keys: Sequence[str],
    rows: Sequence[tuple[int, Sequence[str], Decimal, Decimal | None]],
    *,
    currency: str | None = None,
    places: int | None = None,
) -> Compared:
    """Compare rows (number, keys, amount, basis) with the settlement that counts; keys are names of COLUMNS.

    Several rows of one key are added up. At `places` both sides of a key are rounded, halves away from zero.
    """
    Cycle.parse(cycle)
    parties, _ = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    kept = inputs.counting(services, reseller, cycle)
    with (
        TemporaryDirectory(dir=services.scratch) as folder,
        connect(services.scratch, services.memory_mb, services.threads) as connection,
    ):
        _load_ours(services, connection, kept, keys, currency, Path(folder))
        _load_theirs(connection, keys, rows)
        found = _joined(connection, keys, places)
        [[ours]] = connection.execute("SELECT coalesce(sum(amount), 0) FROM ours").fetchall()
        differing = sorted((one for one in found if not one["agrees"]), key=lambda one: -abs(_difference(one)))
        because = _explained(connection, [one["key"] for one in differing])
    mismatches = [_mismatch(keys, one, because.get(one["key"], [])) for one in differing]
    same = [_difference(one) for one in found if one["agrees"]]
    return Compared(kept, total([row[2] for row in rows]), ours, len(same), mismatches, total(same))


def _mismatch(keys: Sequence[str], one: Mapping[str, Any], because: Sequence[str]) -> Mismatch:
    theirs, ours = one["theirs"], one["ours"]
    if ours is None:
        how = MISSING_HERE
    elif theirs is None:
        how = MISSING_THERE
    else:
        how = BASIS if theirs == ours else DIFFERS
    named = dict(zip(keys, one["key"], strict=True))
    bases = one["their_basis"], one["our_basis"]
    return Mismatch(how, named, theirs, ours, *bases, one["numbers"] or (), because or (_NOTHING,))


# -- the two sides ----------------------------------------------------------------------------------------------


def _load_ours(
    services: Services, connection: Any, kept: Kept, keys: Sequence[str], currency: str | None, folder: Path
) -> None:
    """Make `ours` and `cases`: the settlement's lines and what cases hold of it, each with its `key`."""
    for name in (results.LINES, results.HELD):
        services.buckets.work.download(kept.folder + name, folder / name)
    lines, held = (f"read_parquet({quoted(str(folder / name))})" for name in (results.LINES, results.HELD))
    of_line, of_case = f"SELECT * FROM {lines}", f"SELECT * RENAME (key AS case_key), NULL AS instance_id FROM {held}"  # noqa: S608
    if "instance" in keys:
        # A settlement line names its bill line, and that the instance.
        paths = [str(state.local_part(services, key)) for key, _ in inputs.part_keys(kept.manifest(services))]
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE instance AS SELECT line_id, instance_id FROM read_parquet(?)", [paths]
        )
        found = "SELECT s.* REPLACE (coalesce(s.instance_id, i.instance_id) AS instance_id) FROM"
        of_line, of_case = (f"{found} ({one}) s LEFT JOIN instance i USING (line_id)" for one in (of_line, of_case))
    for table, select in (("ours", of_line), ("cases", of_case)):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, {_key_sql(keys)} AS key FROM ({select})")  # noqa: S608
    currencies = [row[0] for row in connection.execute("SELECT DISTINCT currency FROM ours ORDER BY 1").fetchall()]
    if currency is None and len(currencies) > 1:
        problem = f"is settled in {', '.join(currencies)}"
        raise BadInputError(f"{kept.owner} {kept.cycle}", problem, "say `currency: CNY` in the map, and compare each")
    if currency is not None:
        connection.execute("DELETE FROM ours WHERE currency <> ?", [currency])


def _key_sql(keys: Sequence[str]) -> str:
    columns = (f"coalesce({COLUMNS[key]}, '')" for key in keys)
    return f"[{', '.join(columns)}]"


def _load_theirs(
    connection: Any, keys: Sequence[str], rows: Sequence[tuple[int, Sequence[str], Decimal, Decimal | None]]
) -> None:
    columns = ", ".join(f"{key} VARCHAR" for key in keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE theirs (number INTEGER, {columns}, amount {_AMOUNT}, basis {_AMOUNT})"
    )
    insert(connection, "theirs", [(number, *named, *amounts) for number, named, *amounts in rows], len(keys) + 3)


def _joined(connection: Any, keys: Sequence[str], places: int | None) -> list[dict[str, Any]]:
    """Both sides of every key, and whether they agree."""
    named = f"[{', '.join(keys)}]"
    at = "{}" if places is None else f"round({{}}, {places})"  # DuckDB rounds halves of decimals away from zero
    amounts = " = ".join(at.format(f"coalesce({side}.amount, 0)") for side in ("o", "t"))
    bases = " = ".join(at.format(f"coalesce({side}.basis, 0)") for side in ("o", "t"))
    rows = connection.execute(
        f"""SELECT coalesce(o.key, t.key) AS key, t.amount AS theirs, o.amount AS ours, t.basis AS their_basis,
                   o.basis AS our_basis, t.numbers, {amounts} AND (t.basis IS NULL OR {bases}) AS agrees
            FROM (SELECT key, sum(amount) AS amount, sum(basis) FILTER (kind = 'commission') AS basis
                  FROM ours GROUP BY key) o
            FULL JOIN (SELECT {named} AS key, sum(amount) AS amount, sum(basis) AS basis,
                              list(number ORDER BY number)[1:5] AS numbers FROM theirs GROUP BY ALL) t ON t.key = o.key
            ORDER BY 1"""  # noqa: S608
    )
    names = [one[0] for one in rows.description]
    return [{**dict(zip(names, row, strict=True)), "key": tuple(row[0])} for row in rows.fetchall()]


def _difference(one: Mapping[str, Any]) -> Decimal:
    return EXACT.subtract(one["ours"] or Decimal(0), one["theirs"] or Decimal(0))


# -- how ours came about ----------------------------------------------------------------------------------------


def _explained(connection: Any, keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """How what we say of these keys came about, in plain words."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT unnest(?::VARCHAR[][]) AS key", [[list(key) for key in keys]]
    )
    found: dict[tuple[str, ...], list[str]] = {}
    lines = connection.execute(
        """SELECT key, kind, rule, version, rate, because, count(*), sum(basis) AS basis, sum(amount) AS amount
           FROM ours SEMI JOIN wanted USING (key) GROUP BY ALL
           ORDER BY abs(sum(amount)) DESC, kind, rule, version, rate, because"""
    ).fetchall()
    cases = connection.execute(
        """SELECT key, kind, case_key, sum(basis) AS basis FROM cases SEMI JOIN wanted USING (key)
           GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    for key, *line in lines:
        found.setdefault(tuple(key), []).append(_of_lines(*line))
    for key, kind, case_key, basis in cases:
        problem = KINDS[kind][0].format(key=case_key)
        found.setdefault(tuple(key), []).append(f"{figure(basis)} held by a case {kind}: {problem}")
    for said in found.values():
        more = len(said) - _SENTENCES_MAX
        said[_SENTENCES_MAX:] = [f"and {more} more"] if more > 0 else []
    return found


def _of_lines(
    kind: str, rule: str | None, version: int | None, rate: Decimal | None, because: str | None, count: int,
    basis: Decimal, amount: Decimal,
) -> str:  # fmt: skip
    """Settlement lines of one kind, rule, version and rate."""
    many = f" on {count:,} lines" if count > 1 else ""
    if kind == "commission":
        how = (
            f"{percent(rate)} of {figure(basis)} is {figure(amount)}" if rate is not None else f"fixed {figure(amount)}"
        )
        return f"rule {rule} of version {version}: {how}{many}"
    owner = f"rule {rule}" if rule else "the agreement"
    said = _WORDS.get(kind, "{amount} " + kind)
    return (
        said.format(basis=figure(basis), amount=figure(amount), because=because or "due less posted", rule=owner) + many
    )
