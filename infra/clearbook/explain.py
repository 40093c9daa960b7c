"""The command that says where a figure comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.clearbook.bills.shown import plain_console, say
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.services import Services
from shared.steps.explaining import asking
from shared.steps.explaining.words import words


def show_explanation(id_: str, cycle: str | None, home: Path | None, json_to: str | None, *, raw: bool) -> None:
    """Print the whole chain behind an id."""
    work = services(home)
    _show(_with_raw(work, asking.explain(work, id_, cycle), raw=raw), json_to)


def show_found(
    sought: str, cycle: str, reseller: str | None, home: Path | None, json_to: str | None, *, raw: bool
) -> None:
    """Print what has a text or amount: explained where it is one, listed with their ids where there are several."""
    work = services(home)
    found = asking.find(work, sought, cycle, reseller)
    if not found:
        whose = f" of {reseller}" if reseller else ""
        raise asking.UnknownIdError(f"nothing{whose} in {cycle} has {sought!r}; give another --cycle or text")
    if len(found) == 1:
        _show(_with_raw(work, asking.explain(work, found[0]["id"], cycle), raw=raw), json_to)
        return
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        listed, has_more = asking.hits_with(found)
        say(plain_console(), *(f"{one['id']}  {one['what']} of {one['owner']}: {one['says']}" for one in listed))
        if has_more:
            say(plain_console(), f"and more: give --reseller, or another text than {sought!r}")


def _with_raw(work: Services, found: list[dict[str, Any]], *, raw: bool) -> list[dict[str, Any]]:
    """The facts, where asked with the row as the provider sent it."""
    if raw:
        from infra.clearbook.bills.raw_rows import raw_row

        for one in found:
            if "object" in one.get("raw", {}):
                one["raw"]["values"] = raw_row(work, one["raw"]["object"], int(one["raw"]["row"]))
    return found


def _show(found: Sequence[Mapping[str, Any]], json_to: str | None) -> None:
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = plain_console()
    for number, one in enumerate(found):
        say(console, *([""] if number else []), *words(one))
        if "values" in one.get("raw", {}):
            say(console, "As the provider said it", json.dumps(one["raw"]["values"], ensure_ascii=False, indent=2))
