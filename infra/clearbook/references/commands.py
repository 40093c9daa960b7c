"""The commands about reference data: propose exchange rates, the catalogue, openings and repair rules; see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from infra.clearbook.context import services
from infra.clearbook.decisions import document, propose_file
from infra.clearbook.main import write_json
from shared.control import approvals, months
from shared.cycle import Cycle
from shared.documents import read_yaml
from shared.errors import BadInputError
from shared.money import text
from shared.parties.parties import NoPartiesError
from shared.services import Services
from shared.steps import state
from shared.steps.acts import layouts


def import_fx(file: Path, by: str, why: str, home: Path | None, json_to: str | None, *, backdate: bool) -> None:
    """Propose exchange rates."""
    propose_file(state.FX_TABLES, file, by, why, home, json_to, backdate=backdate)


def import_figures(file: Path, by: str, why: str, home: Path | None, json_to: str | None, *, backdate: bool) -> None:
    """Propose figures of resellers."""
    propose_file(state.FIGURES, file, by, why, home, json_to, backdate=backdate)


def import_catalogue(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a catalogue."""
    propose_file(state.CATALOGUE, file, by, why, home, json_to)


def import_opening(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose the opening of a reseller; the file of past charges that it names lies beside it."""
    data = read_yaml(file.read_bytes(), str(file))
    past = data.get("past_charges") if isinstance(data, dict) else None
    more = {"past_charges": document(file.parent / past)["text"]} if isinstance(past, str) else {}
    propose_file(months.OPENING, file, by, why, home, json_to, **more)


def import_repair(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a version of a repair rule."""
    propose_file(state.REPAIR, file, by, why, home, json_to)


def import_layout(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a reseller's own layout."""
    propose_file(layouts.ACT.name, file, by, why, home, json_to)


def show_list(home: Path | None, json_to: str | None) -> None:
    """Print what is in force."""
    work = services(home)
    found = [*_fx_tables(work), *_figures(work), *_catalogues(work), *_openings(work), *_repairs(work)]
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    for one in found:
        print(f"{one['kind']} {one['of']}: {one['says']} ({one['digest'][:12]})")
    if not found:
        print("nothing is in force")


def show_one(
    kind: str, cycle: str | None, reseller: str | None, repair: str | None, home: Path | None, json_to: str | None
) -> None:
    """Print what is in force of one kind."""
    if kind not in ("fx", "figures", "catalogue", "opening", "repair"):
        raise BadInputError("kind", f"{kind!r} is none", "give fx, figures, catalogue, opening or repair")
    work = services(home)
    if kind == "fx":
        found = _rates_of(work, str(Cycle.parse(_needed("--cycle", cycle), "--cycle")))
    elif kind == "figures":
        found = _figures_of(work, str(Cycle.parse(_needed("--cycle", cycle), "--cycle")))
    elif kind == "catalogue":
        found = _catalogue_of(work)
    elif kind == "repair":
        found = _repair_of(work, _needed("--repair", repair))
    else:
        found = _opening_of(work, _needed("--reseller", reseller))
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        print(yaml.safe_dump(found, allow_unicode=True, sort_keys=False), end="")


def _needed(option: str, value: str | None) -> str:
    if value is None:
        raise BadInputError(option, "is missing", "say which one to show")
    return value


def _fx_tables(work: Services) -> list[dict[str, Any]]:
    return [
        {"kind": "fx", "of": cycle, "digest": digest, "says": f"{len(state.fx_rates(work, digest))} rates"}
        for cycle, digest in state.fx_tables(work.chain.read(state.CONFIG)).items()
    ]


def _figures(work: Services) -> list[dict[str, Any]]:
    return [
        {"kind": "figures", "of": cycle, "digest": digest, "says": f"{len(state.figures(work, digest))} figures"}
        for cycle, digest in state.tables(work.chain.read(state.CONFIG), state.FIGURES).items()
    ]


def _catalogues(work: Services) -> list[dict[str, Any]]:
    in_force = list(approvals.in_force(work.chain.read(state.CONFIG), state.CATALOGUE))
    if not in_force:
        return []
    known = state.catalogue(work, in_force[-1]["document"])
    says = f"{len(known.products)} products in {len(known.categories)} categories"
    version = f"version {in_force[-1]['version']}"
    return [{"kind": "catalogue", "of": version, "digest": in_force[-1]["document"], "says": says}]


def _openings(work: Services) -> list[dict[str, Any]]:
    try:
        parties, _ = state.parties(work)
    except NoPartiesError:
        return []
    found = []
    for reseller in sorted(parties.resellers):
        opening = months.opening(work.chain.read(months.stream_of(reseller, "")))
        if opening is not None:
            owed = ", ".join(f"{one['agreement']} {one['amount']} {one['currency']}" for one in opening["balances"])
            says = f"as of {opening['as_of']}, balances: {owed or 'none'}"
            found.append({"kind": "opening", "of": reseller, "digest": opening["document"], "says": says})
    return found


def _repairs(work: Services) -> list[dict[str, Any]]:
    found = []
    for name, digest in sorted(_repair_rules(work).items()):
        rule = state.document(work, digest)
        payers, forms = (", ".join(rule[of]) or "all" for of in ("payers", "forms"))
        ends = "ended: " if rule["ends"] else ""
        says = f"{ends}version {rule['version']}, payers: {payers}, forms: {forms}, because {rule['because']}"
        found.append({"kind": "repair", "of": name, "digest": digest, "says": says})
    return found


def _repair_rules(work: Services) -> dict[str, str]:
    """The digest of the last approved version of each repair rule, which may be the one that ends it."""
    approved = approvals.in_force(work.chain.read(state.CONFIG), state.REPAIR)
    return {one["repair"]: one["document"] for one in approved}


def _repair_of(work: Services, name: str) -> dict[str, Any]:
    rules = _repair_rules(work)
    if name not in rules:
        known = ", ".join(sorted(rules)) or "none"
        raise BadInputError("--repair", f"no repair rule {name!r} was approved", f"approved are: {known}")
    return {"digest": rules[name], **state.document(work, rules[name])}


def _rates_of(work: Services, cycle: str) -> dict[str, Any]:
    digest, rates = state.fx_table(work, cycle)
    if not digest:
        raise BadInputError("--cycle", f"no exchange rates of {cycle} are in force", "import and approve some")
    rows = [{"currency": currency, "to": to, "rate": text(rate)} for (currency, to), rate in sorted(rates.items())]
    return {"cycle": cycle, "digest": digest, "rates": rows}


def _figures_of(work: Services, cycle: str) -> dict[str, Any]:
    digest = state.tables(work.chain.read(state.CONFIG), state.FIGURES).get(cycle)
    if digest is None:
        raise BadInputError("--cycle", f"no figures of {cycle} are in force", "import and approve some")
    found = sorted(state.figures(work, digest).items())
    rows = [{"reseller": of, "figure": name, "value": text(value)} for (of, name), value in found]
    return {"cycle": cycle, "digest": digest, "figures": rows}


def _catalogue_of(work: Services) -> dict[str, Any]:
    digest = state.catalogue_digest(work.chain.read(state.CONFIG))
    if not digest:
        remedy = "import one with `clearbook reference import catalogue FILE` and approve it"
        raise BadInputError("catalogue", "none is in force, so no code is checked", remedy)
    return {"digest": digest, **state.document(work, digest)}


def _opening_of(work: Services, reseller: str) -> dict[str, Any]:
    opening = months.opening(work.chain.read(months.stream_of(reseller, "")))
    if opening is None:
        raise BadInputError("--reseller", f"no opening of {reseller!r} is in force", "import and approve one")
    return {"digest": opening["document"], **state.document(work, opening["document"])}
