"""Cases: what Clearbook will not guess, with what would resolve it.

A case is (cycle, owner, kind, key, currency), so every run finds the same one; one that a later run no longer
finds closes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.ids import digest_of
from shared.money import text

# What is wrong and what would resolve it, for each kind (semantics).
KINDS: Mapping[str, tuple[str, str]] = {
    "unmapped_account": (
        "nobody is assigned account {key}",
        "assign it, with a date, to a customer and reseller (or as direct or own use) in the party document",
    ),
    "new_account": (
        "the provider lists account {key} as a customer, and nobody is assigned it",
        "assign it, with a date, to a customer and reseller (or as direct or own use) in the party document",
    ),
    "no_agreement": (
        "no agreement version covers the lines of account {key}",
        "submit a version in force on their dates, for their currency and payer",
    ),
    "no_rule": (
        "no rule of agreement/product {key} matches",
        "add a rule or an exclusion in a new version of the agreement",
    ),
    "bad_condition": (
        "a condition fails on a line: {key}",
        "correct the condition in a new version of the agreement",
    ),
    "no_fx_rate": ("no exchange rate for {key}", "enter the cycle's rate, or an agreement in the bill's currency"),
    "no_figure": (
        "agreement/rule {key} asks for a figure that nobody has entered",
        "import the cycle's figures (`clearbook reference import figures`)",
    ),
    "missing_value": (
        "line {key} lacks the amount or usage that its agreement needs",
        "ask the provider, or choose another basis",
    ),
    "refund_sign": ("refund {key} is above 0", "check the connector's refund_sign against the raw bill"),
    "unlinked_refund": (
        "refund {key} has no charge to undo, in its month or the 18 before",
        "link it to its charge, or exclude it with a reason",
    ),
    "refund_exceeds_charge": (
        "refund {key} is larger than all that is left of its charges",
        "link it by hand, or ask the provider",
    ),
    "bad_line": ("a row of the bill cannot be read: {key}", "see the raw page; ask the provider, or add a repair rule"),
    "source_mismatch": (
        "the lines of account/product {key} do not sum to the provider's control total",
        "compare with the provider's console; pull the dates again",
    ),
    "unknown_code": (
        "no {key} is in the catalogue; its lines are settled by their rules all the same",
        "add it to the catalogue, or ask the provider what it is",
    ),
    "arrived_after_lock": (
        "the bill of {key} changed after the month was locked",
        "it becomes an adjustment in the next open month",
    ),
    "payout_returned": (
        "payout {key} came back, says the bank",
        "check it with the bank, and the payee's account; the balance stays closed until people reopen it",
    ),
    "payout_rejected": (
        "the bank did not carry out payout {key}",
        "see its reason, correct the payee's account; the balance stays closed until people reopen it",
    ),
    "payout_partial": (
        "the bank paid only a part of payout {key}",
        "ask the bank for the rest, or reopen what is missing",
    ),
    "payout_unknown": (
        "the bank tells of a payment {key} that was not instructed, or not so",
        "compare its file with the payout file, and ask the bank",
    ),
    "payout_contradicted": (
        "the bank's answers on payout {key} contradict each other",
        "ask the bank which is true; what was reopened is not paid before this is dismissed",
    ),
    "payout_not_instructed": (
        "an approved batch did not pay {key}: what is owed had changed since, or whom it is paid to",
        "propose the payout again",
    ),
    "dispute": (
        "somebody disputes it: {key}",
        "answer it in a comment; adjust what is wrong, or dismiss it with the reason",
    ),
    "adjustment": (
        "an adjustment by hand, {key}, is not in a settlement yet",
        "approve or reject it; what is approved is in the next settlement",
    ),
}
# Kinds whose lines a settlement holds, which excluding lets go; of all others nothing is held.
HOLDING = frozenset(
    {
        *("unmapped_account", "no_agreement", "no_rule", "bad_condition", "no_fx_rate", "no_figure", "missing_value"),
        *("refund_sign", "unlinked_refund", "refund_exceeds_charge"),
    }
)


def case_id(cycle: str, owner: str, kind: str, key: str, currency: str) -> str:
    """What names a case."""
    return f"{cycle}-{kind}-{digest_of([cycle, owner, kind, key, currency])[:12]}"


@dataclass(frozen=True, slots=True)
class Case:
    """Something for people."""

    cycle: str
    owner: str  # whose money it holds: a reseller, or the operator
    kind: str
    key: str
    currency: str
    lines: int
    amount: Decimal

    @property
    def id(self) -> str:
        """The same for the same (cycle, owner, kind, key, currency), whichever run finds it."""
        return case_id(self.cycle, self.owner, self.kind, self.key, self.currency)

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence."""
        return KINDS[self.kind][0].format(key=self.key)

    @property
    def remedy(self) -> str:
        """What would resolve it."""
        return KINDS[self.kind][1]

    def as_row(self) -> dict[str, str | int | bool]:
        """For lists and lookups."""
        return {
            "owner": self.owner,
            "kind": self.kind,
            "key": self.key,
            "currency": self.currency,
            "lines": self.lines,
            "amount": text(self.amount),
            "problem": self.problem,
            "remedy": self.remedy,
        }
