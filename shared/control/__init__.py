"""Control: proposals and approvals, the months of a reseller, and the cases that people resolve."""
