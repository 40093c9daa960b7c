"""Allocation: which team, project or department each fact belongs to, by a mapping document that its owner writes.

`parse_mapping` reads what is stored, `allocate` makes the table; both need no models. `document` checks what is handed
in (README.md explains it by example).
"""

from __future__ import annotations

from shared.report.allocation.allocating import allocate as allocate
from shared.report.allocation.mapping import AllocationMapping as AllocationMapping
from shared.report.allocation.mapping import over as over
from shared.report.allocation.mapping import parse_mapping as parse_mapping
