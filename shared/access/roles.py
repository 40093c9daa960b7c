"""Roles: what each may propose, approve and see. They are data; people have them by grants in the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.access.scope import View

EVERYTHING = "*"
# Rights in reports, each of its own: to look, to take away as a file, to share a selection as a template, and to ask
# for a view that there is not.
REPORTS, EXPORT, PUBLISH, WISH = RIGHTS = ("reports", "export", "publish", "wish")


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody with it may do; a view other than the operator's belongs to a reseller or customer."""

    name: str
    says: str
    view: View
    proposes: frozenset[str] = frozenset()  # acts; EVERYTHING: all
    approves: frozenset[str] = frozenset()
    notes: bool = False  # may comment, and open a dispute
    rights: frozenset[str] = frozenset({REPORTS, EXPORT})

    def may_propose(self, act: str) -> bool:
        """Whether an act may be proposed."""
        return bool(self.proposes & {act, EVERYTHING})

    def may_approve(self, act: str) -> bool:
        """Whether somebody else's proposal of an act may be approved."""
        return bool(self.approves & {act, EVERYTHING})


_ALL = frozenset({EVERYTHING})
_MASTER_DATA = frozenset({"party_document", "catalogue", "repair_rule", "fx_tables", "figures", "delivery_bucket"})

ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("preparer", "prepares the month: proposes everything about money", View.OPERATOR, _ALL, notes=True),
        Role("approver", "approves what somebody else proposed", View.OPERATOR, approves=_ALL, notes=True),
        Role("operator", "runs Clearbook: who is who, and reference data", View.OPERATOR, _MASTER_DATA, notes=True),
        Role(
            "admin", "says who may do what, and what templates there are", View.OPERATOR, frozenset({"grant"}),
            rights=frozenset({REPORTS, PUBLISH}),
        ),
        Role("auditor", "sees everything and changes nothing", View.OPERATOR, notes=True),
        Role("analyst", "sees the operator's figures", View.OPERATOR, rights=frozenset({REPORTS, EXPORT, WISH})),
        Role("reseller", "sees its own months, and disputes them", View.RESELLER, notes=True),
        Role("customer", "sees its own accounts, and takes reports of them away", View.CUSTOMER),
        Role("customer_viewer", "sees its own accounts", View.CUSTOMER, rights=frozenset({REPORTS})),
    )
}  # fmt: skip
