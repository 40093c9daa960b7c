"""What changed between two versions of an agreement or a price plan, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from shared.agreement.agreement import Agreement
from shared.agreement.price_plan import PricePlan
from shared.agreement.words import EXCLUDED, RULE, Facts, facts, lines

Version = Agreement | PricePlan


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a part said before and says now; None where it said nothing."""

    part: str
    thing: str
    before: str | None
    after: str | None

    @property
    def sentence(self) -> str:
        """As people read it."""
        if not self.thing:
            return f"{self.part} {self.after or self.before}"
        if self.before is None:
            return f"{self.part}: {self.thing}: added, {self.after}"
        if self.after is None:
            return f"{self.part}: {self.thing}: removed, was {self.before}"
        return f"{self.part}: {self.thing}: {self.before} -> {self.after}"


def differences(before: Version, after: Version) -> list[Change]:
    """Every change of what is paid, to whom and when; nothing where the two say the same."""
    old, new = facts(before), facts(after)
    gone, come = _parts(old), _parts(new)
    changes = [*_moved([one for one in gone if one.startswith(RULE)], [one for one in come if one.startswith(RULE)])]
    for part in [*come, *(one for one in gone if one not in come)]:
        if part not in gone:
            changes.append(Change(part, "", None, f"added{_all(new, part)}"))
        elif part not in come:
            changes.append(Change(part, "", f"removed{_all(old, part)}", None))
        else:
            changes += _within(part, old, new)
    return changes


def _within(part: str, old: Facts, new: Facts) -> Iterator[Change]:
    things = [thing for (one, thing) in [*new, *(fact for fact in old if fact not in new)] if one == part]
    for thing in things:
        was, is_ = old.get((part, thing)), new.get((part, thing))
        if was != is_:
            yield Change(part, thing, was, is_)
    # Which of several exclusions a line meets first decides the reason that it is given.
    both = [[thing for one, thing in found if one == part] for found in (old, new)]
    if part == EXCLUDED and sorted(both[0]) == sorted(both[1]) and both[0] != both[1]:
        yield Change(part, "order", ", ".join(both[0]), ", ".join(both[1]))


def _moved(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Rules that stand elsewhere among those that both have: the first that matches a line owns it."""
    old, new = [one for one in old if one in new], [one for one in new if one in old]
    blocks = SequenceMatcher(None, old, new, False).get_matching_blocks()
    stay = {one for block in blocks for one in old[block.a : block.a + block.size]}
    for number, one in enumerate(new):
        if one not in stay:
            was = old.index(one)
            behind = [f"after {ids[place - 1]}" if place else "first" for ids, place in ((old, was), (new, number))]
            yield Change(one, "tried", *behind)


def _parts(found: Facts) -> list[str]:
    return list(dict.fromkeys(part for part, _ in found))


def _all(found: Facts, part: str) -> str:
    says = [line.strip() for line in lines({key: value for key, value in found.items() if key[0] == part})][1:]
    return f" ({'; '.join(says)})"
