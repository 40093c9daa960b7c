"""From rows of text in any known form to rows in the columns of a line, each with the reason why it is none, if any.

Every rule is SQL over whole columns. Text is trimmed and otherwise kept as it came; localised values are mapped where
the form knows a code; numbers become DECIMAL only where they can be held to their last digit. Nothing is repaired but
by an approved repair rule, and then the line names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.bill.formats import CHECKED_AMOUNTS, Format
from shared.bill.line import AMOUNT, AMOUNTS, COLUMNS, IDENTITY, QUANTITIES, QUANTITY
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.ids import digest_of

# JSON numbers and numeric text, plain or with a small exponent; what would need rounding is refused, because a
# cast to DECIMAL rounds in silence.
_PLAIN_AMOUNT = r"[+-]?[0-9]{1,18}(\.[0-9]{0,10}0*)?"
_PLAIN_QUANTITY = r"[+-]?[0-9]{1,20}(\.[0-9]{0,18}0*)?"
_PLAIN = dict.fromkeys((*AMOUNTS, *CHECKED_AMOUNTS), _PLAIN_AMOUNT) | dict.fromkeys(QUANTITIES, _PLAIN_QUANTITY)
_SCIENTIFIC = r"[+-]?[0-9](\.[0-9]{1,7})?[eE](-?0?[0-9]|-10)"
_BLANKS = " \t\r\n\v\f\u00a0\u3000\ufeff"
_DAY = r"20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2}"
_TIME = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2})?"
_MONTH = r"20[0-9]{2}-?(0[1-9]|1[0-2])"
_ABSENT = "chr(30)"
_OWN = "'id' || chr(31) || payer || chr(31) || source_id"
_HASHED = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {_ABSENT})" for name in IDENTITY)
_IDENTITY = f"left(sha256(coalesce({_OWN}, concat_ws(chr(31), {_HASHED}))), 32)"


def line_id_sql(payer: str, source_id: str) -> str:
    """SQL for the id of the line that the source itself names so."""
    return f"left(sha256('id' || chr(31) || {payer} || chr(31) || {source_id}), 32)"


REJECTED, TOTAL = "rejected", "total"  # the place of a row that is no line, and of one that sums up others
_TAKEN_BACK = "('refund', 'chargeback')"
# A line lacks nothing of these; where the form does not read one, it is not asked for.
_NEEDED = ("source_id", "cycle", "product_code", "subscription_type", "currency", "gross", "pretax")
# The line's columns that are read as they are; the others are found from several texts, or typed.
_TYPED = {"payer", "account", "cycle", "date", "service_from", "service_until", "kind", "repair", "line_id"}


@dataclass(frozen=True, slots=True)
class Repair:
    """An approved rule: where a row's columns hold these texts, others are set; `id` is its name and version."""

    id: str
    when: Mapping[str, tuple[str, ...]]
    set: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows of a form are to be read for one payer; what is expected of every row is empty where rows decide."""

    form: Format
    refund_sign: str  # "negative" or "positive": how the source writes refunds, declared by the connector
    payer: str = ""
    cycle: str = ""
    date: str = ""
    currency: str = ""  # of a form without it, as the connector declares
    accounts: Mapping[str, str] | None = None  # account name -> owner account, where a form has the name alone
    repairs: tuple[Repair, ...] = ()

    def __post_init__(self) -> None:
        if self.refund_sign not in ("negative", "positive"):
            raise BadInputError(
                f"connector of payer {self.payer}",
                f"refund_sign is {self.refund_sign!r}",
                "declare 'negative' or 'positive', as this source writes refunds",
            )

    @property
    def digest(self) -> str:
        """Names the reading: what is read alike by two of the same is the same."""
        return digest_of(self.key())[:16]

    def key(self) -> list[object]:
        """What the lines depend on beside the rows."""
        return [
            self.form.id, self.refund_sign, self.payer, self.cycle, self.date, self.currency,
            sorted((self.accounts or {}).items()), [one.id for one in self.repairs],
        ]  # fmt: skip


def checked_sql(reading: Reading, rows: str, headers: Sequence[str], *, is_trimmed: bool = False) -> str:
    """A query for every row of `rows` in the columns of a line, and what else is known of it.

    That is `source_id, page, row, reason, broken, place` and `identity`, which names a line but for its equals.

    `rows` is SQL for a relation with a column for each of `headers` under that name, all of them text as it was
    written (`is_trimmed`: without blanks around it), and `problem`, `page`, `row`. `tags` stay as they were written.
    `place` is payer, cycle and date of a line, REJECTED of a row with a reason, TOTAL of one of sums; `broken` names
    equations by their number; `identity` is a hash of the source's own id of a line, or of what is its identity.
    """
    texts = _Texts(reading, headers, is_trimmed=is_trimmed)
    return _checked(reading, texts, _typed(reading, texts, texts.select(rows)))


def absent(reading: Reading) -> list[str]:
    """The columns of a line that no row of this reading has anything in."""
    form = reading.form
    read = {*form.required.values(), *form.optional.values()}
    found = {"line_id", "payer", "account", "cycle", "date", "kind", "currency"} | (
        {"repair"} if reading.repairs else set()
    )
    return [name for name in COLUMNS if name not in read | found]


class _Texts:
    """Which of the form's columns these headers hold."""

    def __init__(self, reading: Reading, headers: Sequence[str], *, is_trimmed: bool) -> None:
        self.form = reading.form
        self._repairs, self._is_trimmed = reading.repairs, is_trimmed
        self._headers = [(header, column) for header in headers if (column := self.form.column_of(header))]
        self.columns: dict[str, list[str]] = {}  # column -> the texts it is read from
        self._select: list[tuple[str, str]] = []
        for header, column in self._headers:
            known = self.columns.setdefault(column, [])
            name = column if not known else f"{column}__{len(known) + 1}"
            known.append(name)
            self._select.append((header, name))
        of_repairs = {column for repair in self._repairs for column in repair.set}
        # What is written like a number has no blanks to look for, and need not be looked at again. Not where a repair
        # may have written something else.
        self._plain = {
            name: pattern
            for column, pattern in _PLAIN.items()
            for name in self.columns.get(column, ())
            if not is_trimmed and column not in of_repairs
        }

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def header_of(self, column: str) -> str:
        """How the source calls a column."""
        return next((header for header, mine in self._headers if mine == column), column)

    def select(self, rows: str) -> str:
        """The texts of each row, trimmed and repaired; what is empty is absent."""
        texts = [f"{self._text(header, name)} AS {name}" for header, name in self._select]
        if self._plain:
            headers = [(_name(header), name) for header, name in self._select if name in self._plain]
            found = [f"{_is_like(header, self._plain[name])} AS plain_{name}" for header, name in headers]
            rows = f"(SELECT *, {', '.join(found)} FROM {rows})"  # noqa: S608
            texts += [f"plain_{name}" for name in self._plain]
        rest = "nullif(problem, '') AS problem, page, row, NULL AS repaired"
        query = f"SELECT {', '.join(texts)}, {rest} FROM {rows}"  # noqa: S608
        for repair in self._repairs:
            if all(column in self for column in (*repair.when, *repair.set)):
                query = _repaired(query, repair)
        return query

    def number(self, name: str, pattern: str, type_: str) -> str:
        """The number that a text stands for, as far as it can be held exactly."""
        number = f"try_cast({name} AS {type_})"
        # A small exponent may put digits beyond those of an amount, and a cast would round them off.
        is_exact = f"{_is_like(name, _SCIENTIFIC)} AND {number} = try_cast({name} AS {QUANTITY})"
        found = f"WHEN {_is_like(name, pattern)} THEN {number} WHEN {is_exact} THEN {number}"
        if name in self._plain:
            found = f"WHEN plain_{name} THEN {number} {found}"
        return f"CASE {found} END AS exact_{name}"

    def _text(self, header: str, name: str) -> str:
        text = _name(header)
        if self._is_trimmed:
            return text
        is_plain = f"WHEN plain_{name} THEN {text} " if name in self._plain else ""
        # Hardly any text needs it, and looking at both ends costs far less than trimming.
        has_blank = f"regexp_extract({text}, '^[{_BLANKS}]|[{_BLANKS}]$') <> ''"
        trimmed = f"nullif(trim({text}, {quoted(_BLANKS)}), '')"
        return f"CASE {is_plain}WHEN {text} = '' THEN NULL WHEN {has_blank} THEN {trimmed} ELSE {text} END"


def _name(header: str) -> str:
    return '"' + header.replace('"', '""') + '"'


def _repaired(query: str, repair: Repair) -> str:
    condition = " AND ".join(f"{column} IN ({_texts_of(texts)})" for column, texts in repair.when.items())
    changed = ", ".join(
        f"CASE WHEN {condition} THEN {quoted(text)} ELSE {column} END AS {column}"
        for column, text in repair.set.items()
    )
    named = f"CASE WHEN {condition} THEN concat_ws(' ', repaired, {quoted(repair.id)}) ELSE repaired END AS repaired"
    return f"SELECT * REPLACE ({changed}, {named}) FROM ({query})"  # noqa: S608 - names from our own forms


def _typed(reading: Reading, texts: _Texts, query: str) -> str:
    """The texts with the numbers, times and kinds that they stand for."""
    added = [f"{_kind(reading.form, texts)} AS kind"]
    for column, pattern in _PLAIN.items():
        type_ = QUANTITY if column in QUANTITIES else AMOUNT
        added += [texts.number(name, pattern, type_) for name in texts.columns.get(column, ())]
    added += [f"{_time(name)} AS time_of_{name}" for name in ("service_from", "service_until") if name in texts]
    added.append(f"{_day('date')} AS day_of_date" if "date" in texts else "NULL::DATE AS day_of_date")
    month = _month("cycle") if "cycle" in texts else quoted(reading.cycle)
    added.append(f"{month} AS month")
    return f"SELECT *, {', '.join(added)} FROM ({query})"  # noqa: S608


def _is_like(name: str, pattern: str) -> str:
    """Whether the whole of a text is of a pattern that takes no empty text."""
    # What yields a text is asked once of each text that a column has, regexp_full_match of each row.
    return f"regexp_extract({name}, '\\A(?:{pattern})\\z') <> ''"


def _kind(form: Format, texts: _Texts) -> str:
    cases = []
    for kind in form.kinds:
        if all(column in texts for column in kind.when):
            found = " AND ".join(f"{column} IN ({_texts_of(values)})" for column, values in kind.when.items())
            cases.append(f"WHEN {found} THEN {quoted(kind.name)}")
    return f"CASE {' '.join(cases)} END" if cases else "NULL"


def _time(name: str) -> str:
    return f"CASE WHEN {_is_like(name, _TIME)} THEN try_cast({name} AS TIMESTAMP) END"


def _day(name: str) -> str:
    dashed = f"{name}[1:4] || '-' || {name}[5:6] || '-' || {name}[7:8]"
    written = f"CASE WHEN length({name}) = 8 THEN {dashed} ELSE {name} END"
    return f"CASE WHEN {_is_like(name, _DAY)} THEN try_cast({written} AS DATE) END"


def _month(name: str) -> str:
    return f"CASE WHEN {_is_like(name, _MONTH)} THEN {name}[1:4] || '-' || right({name}, 2) END"


def _checked(reading: Reading, texts: _Texts, typed: str) -> str:
    """The rows in the columns of a line; what is wrong with the texts comes before what is wrong with the line."""
    checked = [name for name in CHECKED_AMOUNTS if name in texts]
    values = _values(reading, texts)
    joins = []
    for column, known in reading.form.values.items():
        if column in texts and column in COLUMNS:
            pairs = ", ".join(f"({quoted(text)}, {quoted(code)})" for text, code in known.items())
            joins.append(f"LEFT JOIN (VALUES {pairs}) known_{column}(text_, code) ON known_{column}.text_ = t.{column}")
            values[column] = f"coalesce(known_{column}.code, t.{column})"
    select = [f"CAST({values.get(name, 'NULL')} AS {COLUMNS[name]}) AS {name}" for name in COLUMNS if name != "line_id"]
    select += [f"CAST({_amount(reading, texts, name)} AS {AMOUNT}) AS {name}" for name in checked]
    source_id = "t.source_id" if "source_id" in texts else "NULL"
    is_total = _is_total(reading.form, texts)
    lines = (
        f"SELECT {', '.join(select)}, CAST({source_id} AS VARCHAR) AS source_id, page, row, "  # noqa: S608
        f"{f'coalesce({is_total}, false) AND {_is_read(texts)} AS is_total, ' if is_total else ''}"
        f"{_reason_of_texts(reading, texts)} AS reason FROM ({typed}) t {' '.join(joins)}"
    )
    without = f"EXCLUDE ({', '.join(checked)})" if checked else ""
    judged = (
        f"SELECT * {without} REPLACE (coalesce(reason, {_reason_of_line(reading, texts)}) AS reason), "  # noqa: S608
        f"{_broken(reading.form, texts)} AS broken, {_IDENTITY} AS identity FROM ({lines})"
    )
    place = f"WHEN reason IS NULL THEN concat_ws('_', payer, cycle, date) ELSE '{REJECTED}' END"
    if is_total:
        return f"SELECT * EXCLUDE (is_total), CASE WHEN is_total THEN '{TOTAL}' {place} AS place FROM ({judged})"  # noqa: S608
    place = f"CASE {place}"
    return f"SELECT *, {place} AS place FROM ({judged})"  # noqa: S608


def _is_total(form: Format, texts: _Texts) -> str:
    """Whether a row sums up others; empty where the form has no such rows."""
    columns = [(form.column_of(header), known) for header, known in form.total.items()]
    found = [f"t.{column} IN ({_texts_of(known)})" for column, known in columns if column and column in texts]
    return " OR ".join(found)


def _is_read(texts: _Texts) -> str:
    """Whether a row's settled amounts are numbers; sums that are none check nothing, so their row is a reject."""
    names = [name for amount in ("gross", "pretax") for name in texts.columns.get(amount, ())]
    return f"t.problem IS NULL AND {' AND '.join(f'(t.{one} IS NULL OR t.exact_{one} IS NOT NULL)' for one in names)}"


def _values(reading: Reading, texts: _Texts) -> dict[str, str]:
    """What each column of a line is made from."""
    values = {name: f"t.{name}" for name in COLUMNS if name in texts and name not in _TYPED}
    values |= {name: f"t.exact_{name}" for name in QUANTITIES if name in texts}
    values |= {name: _amount(reading, texts, name) for name in AMOUNTS if name in texts}
    values |= {
        "payer": f"coalesce(t.payer, {quoted(reading.payer)})" if "payer" in texts else quoted(reading.payer),
        "account": _account(reading, texts),
        "cycle": "t.month",
        "date": _date(texts),
        "kind": "t.kind",
        "repair": "t.repaired",
    }
    if "currency" not in texts:
        values["currency"] = f"nullif({quoted(reading.currency)}, '')"
    if "service_from" in texts:
        values["service_from"] = "CAST(t.time_of_service_from AS DATE)"
    if "service_until" in texts:
        values["service_until"] = _last_service_day(texts)
    return values


def _amount(reading: Reading, texts: _Texts, name: str) -> str:
    """The sum of the texts that one amount is read from, in the sign that a line has."""
    names = texts.columns[name]
    total = f"t.exact_{names[0]}" if len(names) == 1 else " + ".join(f"coalesce(t.exact_{one}, 0)" for one in names)
    if len(names) > 1:
        total = f"CASE WHEN coalesce({', '.join(f't.{one}' for one in names)}) IS NOT NULL THEN {total} END"
    if reading.refund_sign == "positive":
        return f"({total}) * CASE WHEN t.kind IN {_TAKEN_BACK} THEN -1 ELSE 1 END"
    return total


def _account(reading: Reading, texts: _Texts) -> str:
    """The owner account: its number, or whose name it is."""
    found = ["t.account"] if "account" in texts else []
    if "account_name" in texts:
        found.append(f"CASE WHEN {_is_like('t.account_name', '[0-9]{1,20}')} THEN t.account_name END")
        if "payer_name" in texts and "payer" in texts:
            found.append("CASE WHEN t.account_name = t.payer_name THEN t.payer END")
        found += [
            f"CASE WHEN t.account_name = {quoted(name)} THEN {quoted(account)} END"
            for name, account in sorted((reading.accounts or {}).items())
        ]
    return f"coalesce({', '.join(found)})" if found else "NULL"


def _last_service_day(texts: _Texts) -> str:
    """The last day of the service period; a period up to midnight ends the day before."""
    until = "t.time_of_service_until"
    if "service_from" not in texts:
        return f"CAST({until} AS DATE)"
    return (
        f"CASE WHEN {until} > t.time_of_service_from THEN CAST({until} - INTERVAL 1 SECOND AS DATE) "
        f"ELSE CAST({until} AS DATE) END"
    )


def _date(texts: _Texts) -> str:
    """The line date (semantics, inputs): billing date, last service day within the cycle, last day of the cycle."""
    first = "CAST(t.month || '-01' AS DATE)"
    found = ["t.day_of_date"] if "date" in texts else []
    if "service_until" in texts:
        last = _last_service_day(texts)
        begins = "CAST(t.time_of_service_from AS DATE)" if "service_from" in texts else "NULL"
        is_within = f"{last} >= {first} AND coalesce({begins}, {last}) <= last_day({first})"
        found.append(f"CASE WHEN {is_within} THEN least({last}, last_day({first})) END")
    return f"coalesce({', '.join([*found, f'last_day({first})'])})"


def _reason_of_texts(reading: Reading, texts: _Texts) -> str:
    """Why the texts of a row cannot be a line; the first of these that holds."""
    form, said = reading.form, texts.header_of
    reasons = ["t.problem"]
    for column in _NEEDED:
        if column in texts:
            reasons.append(f"CASE WHEN t.{column} IS NULL THEN {quoted(f'{said(column)} is missing')} END")
    if reading.payer and "payer" in texts:
        reasons.append(_wrong(f"t.payer <> {quoted(reading.payer)}", said("payer"), "payer", "is not the payer"))
    if "cycle" in texts:
        reasons.append(_wrong("t.month IS NULL", said("cycle"), "cycle", "is no month"))
        if reading.cycle:
            reasons.append(
                _wrong(f"t.month <> {quoted(reading.cycle)}", said("cycle"), "cycle", f"is not {reading.cycle}")
            )
    times = [("date", "day_of_date"), *((name, f"time_of_{name}") for name in ("service_from", "service_until"))]
    for column, parsed in times:
        if column in texts:
            reasons.append(_wrong(f"t.{column} IS NOT NULL AND t.{parsed} IS NULL", said(column), column, "is no date"))
    if "date" in texts and reading.date:
        reasons.append("CASE WHEN t.date IS NULL THEN " + quoted(f"{said('date')} is missing") + " END")
        is_other = f"t.day_of_date <> CAST({quoted(reading.date)} AS DATE)"
        reasons.append(_wrong(is_other, said("date"), "date", f"is not {reading.date}"))
    for name, columns in texts.columns.items():
        if name in (*AMOUNTS, *CHECKED_AMOUNTS, *QUANTITIES):
            for column in columns:
                is_inexact = f"t.{column} IS NOT NULL AND t.exact_{column} IS NULL"
                reasons.append(_wrong(is_inexact, said(name), column, "is no number that can be held exactly"))
    kinds = " || ' ' || ".join(f"coalesce(t.{column}, '(none)')" for column in _kind_columns(form) if column in texts)
    named = ", ".join(said(column) for column in _kind_columns(form) if column in texts)
    if kinds:
        reasons.append(f"CASE WHEN t.kind IS NULL THEN {quoted(named + ' ')} || {kinds} || ' is of no known kind' END")
    return f"coalesce({', '.join(reasons)})"


def _kind_columns(form: Format) -> list[str]:
    return list(dict.fromkeys(column for kind in form.kinds for column in kind.when))


def _wrong(condition: str, header: str, column: str, what: str) -> str:
    said = f"{quoted(header + ' ')} || left(coalesce(t.{column}, '(none)'), 60) || {quoted(' ' + what)}"
    return f"CASE WHEN {condition} THEN {said} END"


def _reason_of_line(reading: Reading, texts: _Texts) -> str:
    """Why a line that reads well cannot be one."""
    account = texts.header_of("account_name" if "account_name" in texts else "account")
    reasons = [
        "CASE WHEN cycle IS NULL THEN 'no cycle is known' END",
        "CASE WHEN CAST(date_trunc('month', date) AS DATE) <> CAST(cycle || '-01' AS DATE) "
        "THEN 'the date ' || date || ' is not of the cycle ' || cycle END",
        f"CASE WHEN account IS NULL THEN {quoted(f'{account} names no account whose number is known')} END",
        "CASE WHEN currency IS NULL THEN 'no currency is known; declare it in the connector' END",
    ]
    for name in reading.form.not_negative:
        if name in texts:
            is_below, said = f"{name} < 0 AND kind IN ('usage', 'subscription')", quoted(texts.header_of(name))
            reasons.append(f"CASE WHEN {is_below} THEN {said} || ' ' || {name} || ' of a charge is below 0' END")
    for identity in reading.form.identities:
        if identity.is_proven and all(name in texts for name in identity.terms):
            broken = f"{_left_over(identity.terms, texts)} <> 0"
            reasons.append(f"CASE WHEN {broken} THEN {quoted(f'its amounts break {identity.equation}')} END")
    return f"coalesce({', '.join(reasons)})"


def _broken(form: Format, texts: _Texts) -> str:
    """The equations, by their place in the form, that the amounts of a row break, though nothing proves them."""
    found = [
        f"CASE WHEN {_left_over(one.terms, texts)} <> 0 THEN '{place}' END"
        for place, one in enumerate(form.identities)
        if not one.is_proven and all(name in texts for name in one.terms if name != "round_down")
    ]
    return f"nullif(concat_ws(',', {', '.join(found)}), '')" if found else "NULL"


def _left_over(terms: Mapping[str, int], texts: _Texts) -> str:
    signed = (f"{'-' if sign < 0 else '+'} coalesce({name}, 0)" for name, sign in terms.items() if name in texts)
    return f"(0 {' '.join(signed)})"


def _texts_of(texts: Sequence[str]) -> str:
    return ", ".join(quoted(text) for text in texts)
