"""The journals of resellers: what their streams say, folded into postings."""

from __future__ import annotations

from collections.abc import Sequence

from shared.control import months
from shared.errors import BadInputError
from shared.journal.ledger import ledger
from shared.journal.postings import Posting
from shared.services import Services
from shared.steps import state


def journal(services: Services, resellers: Sequence[str] = ()) -> list[Posting]:
    """The postings of these resellers, all of them where none is named, one reseller after the other."""
    parties, _ = state.parties(services)
    for one in resellers:
        if one not in parties.resellers:
            known = ", ".join(sorted(parties.resellers))
            raise BadInputError("reseller", f"{one!r} is not known", f"known are {known}")
    streams = {one: months.stream_of(one, "") for one in sorted(resellers or parties.resellers)}
    read = services.chain.read_all(streams.values())
    return [posting for stream in streams.values() for posting in ledger(read[stream])]
