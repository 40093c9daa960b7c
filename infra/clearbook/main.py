"""The operator's command. Errors end it with one message and a non-zero exit; `--json -` answers machines."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Optional

import typer

from infra.localcloud.common import LocalCloudError
from shared.errors import ClearbookError


def _json_target(value: str | None) -> str | None:
    """Refuse a file that cannot be written before anything is done."""
    if value is not None and value != "-" and not Path(value).resolve().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {Path(value).resolve().parent}")
    return value


app = typer.Typer(
    name="clearbook",
    help="Settle cloud resale: bills in, exact settlements, statements and payouts out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
local = typer.Typer(help="The local cloud: OSS, Tablestore, BSS OpenAPI and the function host.", no_args_is_help=True)
party = typer.Typer(help="Payers, resellers, customers, and whose account is whose.", no_args_is_help=True)
bill = typer.Typer(help="The provider's bills: asked for, handed in, looked at, compared.", no_args_is_help=True)
agreement = typer.Typer(help="What a reseller earns on which lines.", no_args_is_help=True)
reference = typer.Typer(
    help="What bills are read against: exchange rates, product codes, positions at go-live, repair rules.",
    no_args_is_help=True,
)
reference_import = typer.Typer(
    help="Check a file and propose it; it is in force once somebody else approves it.", no_args_is_help=True
)
audit = typer.Typer(help="The chain: checked, taken away, asked who did what, when and why.", no_args_is_help=True)
journal = typer.Typer(invoke_without_command=True)
cases = typer.Typer(help="What Clearbook does not guess: what is open, and what people decide about it.")
bench = typer.Typer(help="The figures of the design, measured on this machine.", no_args_is_help=True)
report = typer.Typer(help="Reports: what there is, and files of them with anybody's eyes.", no_args_is_help=True)
payout = typer.Typer(help="Payments: proposed, followed, and whom they go to.", invoke_without_command=True)
app.add_typer(payout, name="payout")
app.add_typer(local, name="local")
app.add_typer(bench, name="bench")
app.add_typer(audit, name="audit")
app.add_typer(party, name="party")
app.add_typer(agreement, name="agreement")
app.add_typer(bill, name="bill")
app.add_typer(cases, name="cases")
app.add_typer(reference, name="reference")
app.add_typer(journal, name="journal")
app.add_typer(report, name="report")
reference.add_typer(reference_import, name="import")

Home = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option("--home", help="A local cloud's folder. Default: the CLEARBOOK_* settings, else .clearbook/demo."),
]
By = Annotated[
    str, typer.Option("--by", envvar="CLEARBOOK_USER", help="Who acts: somebody who signed in with `clearbook login`.")
]
User = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--user", envvar="CLEARBOOK_USER", help="Who signs in; at a local cloud anybody, with no password."),
]
Why = Annotated[str, typer.Option("--why", help="The reason, kept in the chain.")]
CycleOption = Annotated[str, typer.Option("--cycle", help="The billing cycle, YYYY-MM.")]
Payer = Annotated[str, typer.Option("--account", help="The payer account whose bill it is.")]
CsvFile = Annotated[Path, typer.Argument(help="A CSV file, UTF-8.")]
Json = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_json_target,
        help="Also write the result as JSON; - for standard output alone.",
    ),
]


@app.command()
def demo(
    lines: Annotated[int, typer.Option(help="Bill lines to generate, 200 to 5,000,000.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The month is made from it: same seed, same month.")] = 1,
    cycle: CycleOption = "2025-06",
    home: Annotated[Optional[Path], typer.Option(help="Where the local cloud keeps its state.")] = None,  # noqa: UP045
    since: Annotated[int, typer.Option(help="The day of the month on which the operator goes live.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the local cloud up, so that links open.")] = False,
    faults: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="SEED|FILE", help="Let the local cloud misbehave: a plan drawn from a seed, or a file."),
    ] = None,
    json: Json = None,
) -> None:
    """Play a generated month through the whole pipeline: drafts, the final, the lock, the payout."""
    from infra.clearbook.context import DEMO_HOME
    from infra.clearbook.demo.play import play

    play(
        home or DEMO_HOME, seed=seed, cycle=cycle, lines=lines, since=since, keep=keep, faults=faults, json_to=json
    )  # fmt: skip


@local.command("up")
def local_up(
    home: Annotated[Path, typer.Option(help="Where its state is kept; made when it is not there.")] = Path(
        ".clearbook/local"
    ),
    json: Json = None,
) -> None:
    """Start the local cloud, print where it answers and the keys, run until stopped."""
    from infra.clearbook.local import up

    up(home, json)


@app.command()
def bundle(
    check: Annotated[bool, typer.Option("--check", help="Only say whether s.yaml can be deployed.")] = False,
    schema: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(exists=True, dir_okay=False, help="Also hold s.yaml against component fc3's own schema.json."),
    ] = None,
    json: Json = None,
) -> None:
    """Check s.yaml and build the code directories that it deploys, one for each function."""
    from infra.clearbook.deploying import run

    run(check=check, schema=schema, json_to=json)


@bench.command("cold")
def bench_cold(
    runs: Annotated[int, typer.Option(min=1, help="Processes of each kind and function.")] = 7,
    json: Json = None,
) -> None:
    """Cold starts from the bundle, beside importing just the SDKs that each path needs.

    First answer: from the start of a process to its answer to the event that the function answered last in a small
    month played beforehand, delivered again, so that nothing is left to be done. Beside it, in turns, processes that
    import the SDKs which that path loads, from the same directory.
    """
    from infra.clearbook.bench.cold import show

    show(runs, json)


@bench.command("ingest")
def bench_ingest(
    lines: Annotated[int, typer.Option(help="Lines of the bill, 200 to 5,000,000.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, ours and what it is held against in turns.")] = 3,
    json: Json = None,
) -> None:
    """Bills from raw bytes to sealed parts and rows, beside the least that reads and writes the same bytes.

    A bill file beside DuckDB's read_csv to Parquet, pages beside unzipping them and reading their JSON, rows (at most
    20,000) beside a bare loop over Tablestore's SDK; medians of times by the clock, and of processor times.
    """
    from infra.clearbook.bench.ingest import show

    show(lines, runs, json)


@bench.command("month")
def bench_month(
    lines: Annotated[
        str, typer.Option(metavar="N[,N...]", help="Sizes of the months, played one after another, smallest first.")
    ] = "20000,200000",
    seed: Annotated[int, typer.Option(help="The months are made from it.")] = 1,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Run the code directories that s.yaml deploys, built if need be.")
    ] = False,
    json: Json = None,
) -> None:
    """What a whole month uses by function and stage, what that is billed as, and how it grows with its lines.

    GB-s is memorySize times the time billed: each invocation, with the start of its instance, rounded up to a whole
    millisecond. CU adds vCPUs, disk and calls as Function Compute does. Exponents are plain slopes between the two
    largest sizes. Above 50,000 lines the provider's quota is raised, as in the demo.
    """
    from infra.clearbook.bench.month import show

    try:
        sizes = [int(size.replace("_", "")) for size in lines.split(",")]
    except ValueError as exc:
        raise typer.BadParameter(f"{lines!r}: give numbers with commas between, such as 20000,200000") from exc
    show(sizes, seed, bundled=bundle, json_to=json)


@bench.command("publish")
def bench_publish(
    resellers: Annotated[int, typer.Option(help="Resellers of the month, 1 to 5,000.")] = 500,
    json: Json = None,
) -> None:
    """The statements of a month in every format: what each takes, and the most memory of all of them.

    Beside them one statement of 20,000 lines.
    """
    from infra.clearbook.bench.publish import show

    show(resellers, json)


@bench.command("reconcile")
def bench_reconcile(
    lines: Annotated[int, typer.Option(help="Lines of the month, 2,000 to 5,000,000.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, settling and reconciling in turns.")] = 3,
    json: Json = None,
) -> None:
    """Reconciling a generated month line by line, beside settling it.

    The 20 settlements of `bench settle` are written; then every line of the bill is held against them, and their sums
    against their summaries. Medians of times by the clock and of processor times, and the largest process.
    """
    from infra.clearbook.bench.reconcile import show

    show(lines, runs, json)


@bench.command("report")
def bench_report(
    lines: Annotated[int, typer.Option(help="Bill lines of the month.")] = 1_000_000,
    runs: Annotated[int, typer.Option(help="How often each file is written; the middle counts.")] = 3,
    json: Json = None,
) -> None:
    """Reports as files beside the least that writes the same rows, and how soon a question is answered."""
    from infra.clearbook.bench.report import show

    show(lines, runs, json)


@bench.command("settle")
def bench_settle(
    lines: Annotated[int, typer.Option(help="Lines of the month, 2,000 to 5,000,000.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, ours and what it is held against in turns.")] = 3,
    json: Json = None,
) -> None:
    """The settlements of a generated month, beside SQL written by hand that writes the same lines.

    20 shares, one after the other, from day parts to lines and cases in Parquet; agreements with 40 rules, three
    scales, caps and floors, versions and assignments that change, refunds. Medians of times by the clock and of
    processor times, the largest process, and what the function would be billed.
    """
    from infra.clearbook.bench.settle import show

    show(lines, runs, json)


@bench.command("chain")
def bench_chain(
    entries: Annotated[int, typer.Option(min=10_000, help="Entries of the bundle that is checked.")] = 1_000_000,
    json: Json = None,
) -> None:
    """The chain: appends beside bare put_row, 500 approvals on a stream of 5,000 entries, a bundle checked offline."""
    from infra.clearbook.bench.chain import show

    show(entries, json)


@app.command()
def provision(
    home: Home = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make what is missing; without it only show the plan.")
    ] = False,
    replace_policies: Annotated[
        bool, typer.Option("--replace-policies", help="Put policies that differ from the committed ones right, too.")
    ] = False,
    policies_from: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="CALLS_DIR",
            help="Instead: add what was recorded in this folder to the functions' policies; may be repeated.",
        ),
    ] = None,
    forget_others: Annotated[
        bool,
        typer.Option(
            "--forget-others", help="With --policies-from: take away what was not recorded there, and say it."
        ),
    ] = False,
    json: Json = None,
) -> None:
    """Show, and with --apply make, what a deployment needs: tables, buckets, logs, roles and their policies."""
    from infra.clearbook import deploy

    if policies_from:
        deploy.policies_from(policies_from, home, forget_others=forget_others)
    elif forget_others:
        raise typer.BadParameter("--forget-others goes with --policies-from")
    else:
        deploy.provision(home, apply=apply, replace_policies=replace_policies, json_to=json)


@app.command()
def init(
    preparer: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="ID=NAME", help="Somebody who may propose; again for more."),
    ] = None,
    approver: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="ID=NAME", help="Somebody who may approve; again for more."),
    ] = None,
    by: By = "owner",
    home: Home = None,
) -> None:
    """Name the first people who may propose and approve, once; who may do that CLEARBOOK_OWNER of the portal says.

    An ID is the subject that the person's tokens name. A local cloud has an owner and four people of its own.
    """
    from infra.clearbook.people import name_first

    name_first(preparer or [], approver or [], by, home)


@app.command()
def login(user: User = None, home: Home = None, json: Json = None) -> None:
    """Sign in: at the issuer in a browser, wherever that is; the token is kept until it ends."""
    from infra.clearbook.login import sign_in

    sign_in(user, home, json)


@app.command()
def logout(user: User = None, home: Home = None) -> None:
    """Forget the token of one person, or of all who signed in here."""
    from infra.clearbook.login import sign_out

    sign_out(user, home)


@app.command()
def me(by: By = "paula", home: Home = None, json: Json = None) -> None:
    """Who is signed in, and what they may propose and approve."""
    from infra.clearbook.decisions import show_me

    show_me(by, home, json)


@party.command("import")
def party_import(
    file: Annotated[Path, typer.Argument(help="The party document, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Check a party document and propose it; it is in force once somebody else approves it."""
    from infra.clearbook.decisions import propose_parties

    propose_parties(file, by, why, home, json)


@agreement.command("submit")
def agreement_submit(
    file: Annotated[Path, typer.Argument(help="The agreement or price plan, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Check a version of an agreement or price plan, run its worked examples, and propose it."""
    from infra.clearbook.agreements import propose_agreement

    propose_agreement(file, by, why, home, json)


@agreement.command("check")
def agreement_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Agreements or price plans, YAML.")],
    json: Json = None,
) -> None:
    """Check documents and run their worked examples, without touching anything; several also beside each other."""
    from infra.clearbook.agreements import check_documents

    check_documents(files, json)


@agreement.command("show")
def agreement_show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The agreement.")],
    version: Annotated[Optional[int], typer.Option("--version", help="One version. Default: all.")] = None,  # noqa: UP045
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="Those in force in a cycle, YYYY-MM.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """What the approved versions of an agreement say, in plain words, and who approved them."""
    from infra.clearbook.agreements import show_agreement

    show_agreement(id_, version, cycle, home, json)


@agreement.command("diff")
def agreement_diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A file, or an approved version as ID@VERSION.")],
    after: Annotated[str, typer.Argument(metavar="B", help="As A.")],
    home: Home = None,
    json: Json = None,
) -> None:
    """What changes from A to B, in sentences: terms, rules, scales, bounds; of two agreements or two price plans."""
    from infra.clearbook.agreements import show_difference

    show_difference(before, after, home, json)


@reference_import.command("fx")
def reference_import_fx(
    file: CsvFile,
    backdate: Annotated[
        bool, typer.Option("--backdate", help="Change the rates of a locked cycle, too; needs --why.")
    ] = False,
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose exchange rates: a CSV file with the columns currency,to,cycle,rate.

    A rate is what one unit of `currency` is in `to`. Each cycle in the file gets exactly the rates of the file.
    """
    from infra.clearbook.references.commands import import_fx

    import_fx(file, by, why, home, json, backdate=backdate)


@reference_import.command("figures")
def reference_import_figures(
    file: CsvFile,
    backdate: Annotated[
        bool, typer.Option("--backdate", help="Change the figures of a locked cycle, too; needs --why.")
    ] = False,
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose figures of resellers that gates ask for: a CSV file with the columns reseller,figure,cycle,value.

    Each cycle in the file gets exactly the figures of the file.
    """
    from infra.clearbook.references.commands import import_figures

    import_figures(file, by, why, home, json, backdate=backdate)


@reference_import.command("catalogue")
def reference_import_catalogue(
    file: CsvFile, by: By = "paula", why: Why = "", home: Home = None, json: Json = None
) -> None:
    """Propose the catalogue: a CSV file with the columns kind,code,parent,name_zh,name_en,category.

    A line whose code it does not know opens a case. shared/reference/products.csv is a list to begin with.
    """
    from infra.clearbook.references.commands import import_catalogue

    import_catalogue(file, by, why, home, json)


@reference_import.command("opening")
def reference_import_opening(
    file: Annotated[Path, typer.Argument(help="The opening of one reseller, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose what a reseller is owed when it begins to be settled here, and its earlier totals and charges.

    Its `past_charges` name a CSV file beside the document.
    """
    from infra.clearbook.references.commands import import_opening

    import_opening(file, by, why, home, json)


@reference_import.command("tolerance")
def reference_import_tolerance(
    file: Annotated[Path, typer.Argument(help="One version of a tolerance, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose a tolerance: how far figures of others may be from ours, by currency, and why."""
    from infra.clearbook.reconcile import propose_tolerance

    propose_tolerance(file, by, why, home, json)


@reference_import.command("repair")
def reference_import_repair(
    file: Annotated[Path, typer.Argument(help="One version of a repair rule, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose a repair rule, which changes texts of rows that cannot be read as they are; never an amount.

    Bills that are read from its approval on are changed by it: pull or import again what was read before.
    """
    from infra.clearbook.references.commands import import_repair

    import_repair(file, by, why, home, json)


@reference_import.command("layout")
def reference_import_layout(
    file: Annotated[Path, typer.Argument(help="The layout of one reseller, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose a reseller's own layout: one more file of each statement, in the columns that its systems read."""
    from infra.clearbook.references.commands import import_layout

    import_layout(file, by, why, home, json)


@reference.command("list")
def reference_list(home: Home = None, json: Json = None) -> None:
    """What is in force, by kind; the digest names exactly what it says."""
    from infra.clearbook.references.commands import show_list

    show_list(home, json)


@reference.command("show")
def reference_show(
    kind: Annotated[str, typer.Argument(metavar="fx|figures|catalogue|opening|repair", help="What to show.")],
    cycle: Annotated[str | None, typer.Option("--cycle", help="Of rates and figures: the cycle, YYYY-MM.")] = None,
    reseller: Annotated[Optional[str], typer.Option("--reseller", help="Of an opening: whose.")] = None,  # noqa: UP045
    repair: Annotated[Optional[str], typer.Option("--repair", help="Of a repair rule: its name.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """What is in force of one kind: a cycle's rates or figures, the catalogue, a reseller's opening, a repair rule."""
    from infra.clearbook.references.commands import show_one

    show_one(kind, cycle, reseller, repair, home, json)


@bill.command("pull")
def bill_pull(
    account: Annotated[str, typer.Option(help="The payer account.")],
    first: Annotated[Optional[str], typer.Option("--from", metavar="YYYY-MM", help="The first cycle.")] = None,  # noqa: UP045
    last: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", metavar="YYYY-MM", help="The last cycle; without it the last whole one."),
    ] = None,
    day: Annotated[Optional[str], typer.Option("--date", metavar="YYYY-MM-DD", help="One date instead.")] = None,  # noqa: UP045
    wait: Annotated[bool, typer.Option("--wait", help="Until all of it is sealed, an hour at most.")] = False,
    home: Home = None,
    json: Json = None,
) -> None:
    """Ask the provider for cycles or a date once more: at most 18 months back, beside the planned rounds."""
    from infra.clearbook.bills.pull import Asked, show

    show(Asked(account, first, last, day), home, json, wait=wait)


@bill.command("import")
def bill_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bill files.")],
    account: Payer,
    cycle: CycleOption,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow each file until it is read, or only hand it in.")
    ] = True,
    timeout: Annotated[int, typer.Option(min=1, help="How many seconds to wait for a file.")] = 900,
    home: Home = None,
    json: Json = None,
) -> None:
    """Hand in bill files of one payer and cycle: CSV, zipped or gzipped CSV, or Parquet, in any form that is known.

    Each is checked first; where one cannot be used none is sent. A file replaces an earlier one of the same name.
    """
    from infra.clearbook.bills.importing import import_files

    import_files(files, account, cycle, home, json, wait=wait, timeout=timeout)


@bill.command("show")
def bill_show(
    account: Payer,
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="The billing cycle, YYYY-MM. Default: all.")] = None,  # noqa: UP045
    line: Annotated[Optional[str], typer.Option("--line", metavar="ID", help="Instead: one line of the bills.")] = None,  # noqa: UP045
    raw: Annotated[bool, typer.Option("--raw", help="With --line: also the row as the provider sent it.")] = False,
    home: Home = None,
    json: Json = None,
) -> None:
    """What each source said of a bill and when, its dates, and the rows that are no lines; or one line of it.

    --account alone lists the payer's cycles, with the newest of each source. With --cycle: everything that was said
    of that month. --line finds a line of the settled bills in all cycles of the payer; with --cycle in that one alone,
    and there in the sources that it is not settled from, too.
    """
    from infra.clearbook.bills import showing

    if raw and line is None:
        raise typer.BadParameter("--raw goes with --line")
    if line is None:
        showing.show_bill(account, cycle, home, json)
    else:
        showing.show_line(account, line, home, json, raw=raw, cycle=cycle)


@bill.command("diff")
def bill_diff(
    account: Payer,
    cycle: CycleOption,
    before: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="[FROM]", help="The seq of an entry, a snapshot's id or its first digits, or source:NAME."
        ),
    ] = None,
    after: Annotated[Optional[str], typer.Argument(metavar="[TO]", help="As FROM. Default: the last seal.")] = None,  # noqa: UP045
    sources: Annotated[
        bool, typer.Option("--sources", help="Instead: how the other sources differ from the settled one.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="How many differences to list; 0 for all.")] = 100,
    home: Home = None,
    json: Json = None,
) -> None:
    """Which lines were added, removed or changed between two snapshots of a bill, the last two seals by default."""
    from infra.clearbook.bills import differing

    if not sources:
        differing.show_diff(account, cycle, before, after, home, json, limit=limit)
    elif before is not None:
        raise typer.BadParameter("--sources takes neither FROM nor TO")
    else:
        differing.show_sources(account, cycle, home, json, limit=limit)


@bill.command("quality")
def bill_quality(
    account: Annotated[Optional[str], typer.Option("--account", help="One payer. Default: all.")] = None,  # noqa: UP045
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="One cycle, YYYY-MM. Default: all.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """How fresh and how good the bills are: when last seen, what differs, what could not be read, what is missing."""
    from infra.clearbook.bills.judging import show_quality

    show_quality(account, cycle, home, json)


@app.command()
def proposals(by: By = "amir", home: Home = None, json: Json = None) -> None:
    """The proposals that wait for an approval."""
    from infra.clearbook.decisions import show_proposals

    show_proposals(by, home, json)


@app.command()
def approve(
    names: Annotated[
        list[str], typer.Argument(help="Proposals, such as reseller/aurora#3; NAME@SEEN as they were shown.")
    ],
    by: By = "amir",
    home: Home = None,
    json: Json = None,
) -> None:
    """Approve proposals of somebody else."""
    from infra.clearbook.decisions import approve as approve_

    approve_(names, by, home, json)


@app.command()
def reject(
    name: Annotated[str, typer.Argument(help="A proposal, such as reseller/aurora#3.")],
    why: Annotated[str, typer.Option(help="Why; the proposer is told.")],
    by: By = "amir",
    home: Home = None,
    json: Json = None,
) -> None:
    """Reject a proposal of somebody else, or withdraw one's own."""
    from infra.clearbook.decisions import reject as reject_

    reject_(name, by, why, home, json)


@app.command()
def grant(
    user: Annotated[str, typer.Argument(help="The subject that the person's tokens name.")],
    role: Annotated[
        str,
        typer.Option(
            help="preparer, approver, operator, admin, auditor, analyst, reseller, customer, customer_viewer; "
            "none takes it."
        ),
    ],
    name: Annotated[str, typer.Option(help="Who it is.")] = "",
    of: Annotated[str, typer.Option(help="Whose: the id of the reseller or customer, for those roles.")] = "",
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to give somebody a role, or to take it."""
    from infra.clearbook.decisions import propose_act

    asked = {"user": user, "role": "" if role == "none" else role, "name": name, "of": of}
    propose_act("grant", asked, by, why, home, json)


@app.command()
def propose(
    act: Annotated[str, typer.Argument(help="What is to be decided, such as lock; `clearbook me` lists all.")],
    asked: Annotated[Optional[list[str]], typer.Argument(metavar="NAME=VALUE...", help="What it asks for.")] = None,  # noqa: UP045
    file: Annotated[Optional[Path], typer.Option(help="The document, for acts that are about one.")] = None,  # noqa: UP045
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose any act by its name: what the commands of their own do, for scripts."""
    from infra.clearbook.decisions import propose_any

    propose_any(act, asked or [], file, by, why, home, json)


@app.command()
def lock(
    cycle: CycleOption,
    reseller: Annotated[Optional[list[str]], typer.Option(help="One reseller; may be repeated. Default: all.")] = None,  # noqa: UP045
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to lock a month as it was calculated; an approval locks it and publishes its statements."""
    from infra.clearbook.decisions import propose_locks

    propose_locks(cycle, reseller or [], by, why, home, json)


@payout.callback()
def payout_propose(
    ctx: typer.Context,
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="The billing cycle, YYYY-MM.")] = None,  # noqa: UP045
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to pay what is due (--cycle); an approval writes the payout files. Or one of the commands below."""
    if ctx.invoked_subcommand is not None:
        if cycle is not None:
            raise typer.BadParameter(f"--cycle goes behind {ctx.invoked_subcommand}")
        return
    if cycle is None:
        raise typer.BadParameter("give --cycle, or one of the commands (--help lists them)")
    from infra.clearbook.decisions import propose_payouts

    propose_payouts(cycle, by, why, home, json)


@payout.command("status")
def payout_status(cycle: CycleOption, home: Home = None, json: Json = None) -> None:
    """Where each payment of a cycle stands: what was instructed, what the bank paid, what came back, what is open."""
    from infra.clearbook.payouts import show_status

    show_status(cycle, home, json)


@payout.command("on")
def payout_on(
    reseller: Annotated[list[str], typer.Argument(metavar="RESELLER...", help="Who is to be paid.")],
    cycle: Annotated[str, typer.Option("--cycle", help="The first month, YYYY-MM.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to pay resellers from a cycle on; before that they only see statements."""
    from infra.clearbook.payouts import switch

    switch(reseller, cycle, by, why, home, json, on=True)


@payout.command("off")
def payout_off(
    reseller: Annotated[list[str], typer.Argument(metavar="RESELLER...", help="Who is not to be paid.")],
    cycle: Annotated[str, typer.Option("--cycle", help="The first month without payment, YYYY-MM.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to pay resellers no longer; their statements go on."""
    from infra.clearbook.payouts import switch

    switch(reseller, cycle, by, why, home, json, on=False)


@payout.command("payee")
def payout_payee(
    reseller: Annotated[str, typer.Argument(help="Whose money it is.")],
    name: Annotated[str, typer.Option(help="The account's holder, as the bank knows it.")],
    account: Annotated[str, typer.Option(help="The account's number, or IBAN; of a wallet its id.")],
    bank: Annotated[str, typer.Option(help="The bank's name; of a wallet who runs it.")],
    bic: Annotated[str, typer.Option(help="The bank's BIC.")] = "",
    currency: Annotated[str, typer.Option(help="Only payments in this currency. Default: all.")] = "",
    wallet: Annotated[bool, typer.Option("--wallet", help="It is a wallet, and no bank account.")] = False,
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose whom a reseller's money goes to; once approved, nothing is paid until its waiting period is over."""
    from infra.clearbook.decisions import propose_act

    asked = {"reseller": reseller, "name": name, "account": account, "bank": bank, "bic": bic, "currency": currency}
    propose_act("payee", {**asked, "kind": "wallet" if wallet else "bank"}, by, why, home, json)


@payout.command("template")
def payout_template(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The document of its columns, YAML.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Check the form of payout file that a bank or wallet asks for, and propose it."""
    from infra.clearbook.payouts import template

    template(file, by, why, home, json)


@payout.command("reopen")
def payout_reopen(
    instruction: Annotated[str, typer.Argument(help="The payment that came back, was rejected or paid in part.")],
    why: Annotated[str, typer.Option("--why", help="What is known of it, such as what the bank said.")],
    by: By = "paula",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose that what a payment did not bring is owed again; once approved it may be paid, under a new id."""
    from infra.clearbook.decisions import propose_act

    propose_act("reopen", {"instruction": instruction}, by, why, home, json)


@app.command()
def confirm(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="pain.002, camt.053 or CSV.")],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it until it is taken, or only hand it in.")
    ] = True,
    timeout: Annotated[int, typer.Option(min=1, help="How many seconds to wait.")] = 120,
    home: Home = None,
    json: Json = None,
) -> None:
    """Hand in what the bank answers: a payment's confirmation, rejection, return, or part."""
    from infra.clearbook.payouts import confirm as hand_in

    hand_in(file, home, json, wait=wait, timeout=timeout)


@app.command()
def invoice(
    reseller: Annotated[str, typer.Argument(help="Who sends it.")],
    agreement: Annotated[str, typer.Argument(help="The agreement that it is for.")],
    cycle: Annotated[str, typer.Option(help="The month in which it may be paid, as YYYY-MM.")],
    number: Annotated[str, typer.Option(help="Its number.")],
    date: Annotated[str, typer.Option(help="Its date, as YYYY-MM-DD.")],
    amount: Annotated[str, typer.Option(help="What it asks for.")],
    by: By = "paula",
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to enter a reseller's invoice; an agreement may ask for one before it pays."""
    from infra.clearbook.decisions import propose_invoice

    of = {"reseller": reseller, "agreement": agreement, "cycle": cycle}
    propose_invoice({**of, "number": number, "date": date, "amount": amount}, by, why, home, json)


@app.command()
def settle(
    cycle: CycleOption,
    reseller: Annotated[Optional[str], typer.Option(help="One reseller. Default: all.")] = None,  # noqa: UP045
    what_if: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--what-if", metavar="FILE", help="Instead: what the month would come to; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="With --what-if: how many lines to show; 0 for all.")] = 20,
    lines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--lines", metavar="FILE.csv", help="With --what-if: write every line that differs as CSV."),
    ] = None,
    prices: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--prices", metavar="FILE", help="Instead: what a price plan would charge; may be repeated."),
    ] = None,
    charges: Annotated[bool, typer.Option("--charges", help="Instead: what the price plans in force charge.")] = False,
    csv: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--csv", metavar="FILE.csv", help="With --prices or --charges: write the charges as CSV."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """Order the settlements of a cycle from what is sealed and in force; or show what another agreement would pay, or
    what price plans would charge.

    An order wakes the settling; one that is settled already is named, one that came to nothing is delivered again.
    --what-if settles the month, locked or open, under the agreements of the files, and keeps nothing of it. A file
    takes the place of the versions of its agreement on the days on which it is in force, or is added; one that is in
    force on no day of the month is settled as if it had been on all of them.
    --prices charges the month's lines by the price plans of the files, and keeps nothing of it either: by customer and
    product the price, what it costs the seller (the bill, or for a reseller the plan by which the operator charges it,
    if that is given too) and the margin; with --reseller the sales to it and by it. --charges does the same by the
    price plans that are in force in the month. Nothing is invoiced by them.
    """
    from infra.clearbook import settling

    if bool(what_if) + bool(prices) + charges > 1:
        raise typer.BadParameter("of --what-if, --prices and --charges ask one of them")
    if lines is not None and not what_if:
        raise typer.BadParameter("--lines goes with --what-if")
    if csv is not None and not (prices or charges):
        raise typer.BadParameter("--csv goes with --prices or --charges")
    if what_if:
        settling.show_what_if(cycle, reseller, what_if, home, json, limit=limit, lines_to=lines)
    elif prices or charges:
        settling.show_prices(cycle, reseller, prices or [], home, json, csv)
    else:
        settling.order(cycle, reseller, home, json)


As = Annotated[str, typer.Option("--as", help="With whose eyes: operator, reseller:ID or customer:ID.")]
Language = Annotated[str, typer.Option(help="en or zh.")]


@report.command("list")
def report_list(as_: As = "operator", language: Language = "en", home: Home = None, json: Json = None) -> None:
    """The reports that somebody may run."""
    from infra.clearbook.reports import list_reports

    list_reports(as_, language, home, json)


@report.command("show")
def report_show(
    name: Annotated[str, typer.Argument(help="A report, as `report list` names it.")],
    as_: As = "operator",
    language: Language = "en",
    home: Home = None,
    json: Json = None,
) -> None:
    """A report's columns and filters, what they mean, and from when to when there are numbers."""
    from infra.clearbook.reports import show_report

    show_report(name, as_, language, home, json)


@report.command("run")
def report_run(
    name: Annotated[str, typer.Argument(help="A report, as `report list` names it.")],
    first: Annotated[str, typer.Option("--from", help="The first day or month, YYYY-MM-DD or YYYY-MM.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last one, included.")] = "",
    preset: Annotated[str, typer.Option(help="Instead: this_month, last_month, last_6_months, ….")] = "",
    by: Annotated[str, typer.Option("--dates", help="usage (days of use) or billing (whole months).")] = "billing",
    filters: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--filter", metavar="NAME=VALUE", help="Narrows it; may be repeated, values of one name add up."),
    ] = None,
    columns: Annotated[Optional[list[str]], typer.Option("--column", help="Only this; may be repeated.")] = None,  # noqa: UP045
    allocation: Annotated[str, typer.Option(help="A mapping, for the report allocation.")] = "",
    formats: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--format", metavar="csv|xlsx|pdf|json|parquet", help="A file to write; may be repeated."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", file_okay=False, help="The folder to write into.")] = Path("."),
    as_: As = "operator",
    language: Language = "en",
    home: Home = None,
    json: Json = None,
) -> None:
    """Run a report: its first rows, what changed, its control totals, and the files that are asked for."""
    from infra.clearbook.reports import run_report

    said = {"from": first, "to": last, "preset": preset, "by": by, "columns": columns or [], "allocation": allocation}
    run_report(name, {**said, "language": language}, filters or [], formats or [], as_, output, home, json)


@report.command("request")
def report_request(
    name: Annotated[str, typer.Argument(help="A report, as `report list` names it.")],
    first: Annotated[str, typer.Option("--from", help="The first day or month, YYYY-MM-DD or YYYY-MM.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last one, included.")] = "",
    preset: Annotated[str, typer.Option(help="Instead: this_month, last_month, last_6_months, ….")] = "",
    filters: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--filter", metavar="NAME=VALUE", help="Narrows it; may be repeated, values of one name add up."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="view|csv|xlsx|pdf|json|parquet", help="view: no file.")
    ] = "view",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", file_okay=False, help="The folder to write its files into."),
    ] = None,
    by: By = "paula",
    home: Home = None,
    json: Json = None,
) -> None:
    """Ask the portal for a report as whoever is signed in; the same question on the same data is the same run."""
    from infra.clearbook.report_runs import request_run

    said = {"from": first, "to": last, "preset": preset}
    request_run(name, said, filters or [], format_, by, output, home, json)


@report.command("get")
def report_get(
    run: Annotated[str, typer.Argument(help="A run, as `report request` names it.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", file_okay=False, help="The folder to write its files into."),
    ] = None,
    by: By = "paula",
    home: Home = None,
    json: Json = None,
) -> None:
    """What became of a run at the portal, and its files."""
    from infra.clearbook.report_runs import get_run

    get_run(run, by, output, home, json)


@report.command("mapping")
def report_mapping(
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(exists=True, dir_okay=False, help="A mapping document (YAML); without one, those there are."),
    ] = None,
    by: By = "paula",
    home: Home = None,
    json: Json = None,
) -> None:
    """Submit a version of an allocation mapping, or list those of whoever is signed in."""
    from infra.clearbook.reports import list_mappings, submit_mapping

    if file is None:
        list_mappings(by, home, json)
    else:
        submit_mapping(file, by, home, json)


@app.command()
def statement(
    cycle: CycleOption,
    reseller: Annotated[str, typer.Option(help="Whose.")],
    format_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--format", metavar="pdf|xlsx|csv|json|own", help="Only this; may be repeated. Default: all."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", file_okay=False, help="The folder to write into.")] = Path("."),
    home: Home = None,
    json: Json = None,
) -> None:
    """Write a reseller's statements of a month: as it was locked, else a draft of the newest settlement, marked so.

    PDFs come in Chinese and in English, a workbook holds both. Nothing is locked or sent by it.
    """
    from infra.clearbook.statement import write_statements

    write_statements(cycle, reseller, format_ or [], output, home, json)


@app.command()
def summary(
    cycle: CycleOption,
    format_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--format", metavar="pdf|xlsx|json", help="Only this; may be repeated. Default: all."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", file_okay=False, help="The folder to write into.")] = Path("."),
    home: Home = None,
    json: Json = None,
) -> None:
    """Write the summary of a month: all resellers, what is payable, paid and open, cases, and what has changed.

    Changes are against the run before, and against the month before.
    """
    from infra.clearbook.statement import write_summary

    write_summary(cycle, format_ or [], output, home, json)


@app.command()
def settlements(cycle: CycleOption, home: Home = None, json: Json = None) -> None:
    """The settlements of a cycle and where they stand."""
    from infra.clearbook.lists import show_settlements

    show_settlements(cycle, home, json)


Because = Annotated[str, typer.Option("--because", help="The reason, kept with what it decides.")]
OfReseller = Annotated[Optional[str], typer.Option("--reseller", help="Of this reseller alone.")]  # noqa: UP045
CaseId = Annotated[str, typer.Argument(help="Its id, as `clearbook cases --cycle C` lists it.")]
OfKind = Annotated[Optional[str], typer.Option("--kind", help="Of this kind alone, such as no_rule.")]  # noqa: UP045


@cases.callback(invoke_without_command=True)
def cases_list(
    context: typer.Context,
    cycle: Annotated[str, typer.Option("--cycle", help="The billing cycle, YYYY-MM.")] = "",
    kind: OfKind = None,
    reseller: OfReseller = None,
    state: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="pending, proposed, approved, rejected, applied or settled. Default: all but settled."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """The open cases of a cycle and what would resolve each."""
    if context.invoked_subcommand is not None:
        return
    if not cycle:
        raise typer.BadParameter("give the billing cycle, YYYY-MM", param_hint="--cycle")
    from infra.clearbook.cases import show_cases

    show_cases(cycle, {"kind": kind, "reseller": reseller, "state": state}, home, json)


@cases.command("show")
def cases_show(case: CaseId, home: Home = None, json: Json = None) -> None:
    """All that is known of a case: its lines, what was decided, what people say."""
    from infra.clearbook.cases import show_case

    show_case(case, home, json)


@cases.command("comment")
def cases_comment(
    case: CaseId,
    text: Annotated[str, typer.Argument(help="What there is to say.")],
    by: By,
    reseller: Annotated[Optional[str], typer.Option(help="Whose it is. Default: it is looked up.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """Say something about a case."""
    from infra.clearbook.cases import comment

    comment(case, text, reseller, by, home, json)


@cases.command("dispute")
def cases_dispute(
    reseller: Annotated[str, typer.Option("--reseller", help="Whose month it is about.")],
    cycle: CycleOption,
    about: Annotated[str, typer.Option(help="The settlement, statement or lines.")],
    because: Because,
    by: By,
    line: Annotated[Optional[list[str]], typer.Option(help="The id of a line. May be given again.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """Open a dispute about a month; its lock waits until two people have dismissed or accepted it."""
    from infra.clearbook.cases import propose

    asked = {"reseller": reseller, "cycle": cycle, "about": about, "text": because, "lines": line}
    propose("dispute", asked, by, "", home, json)


@cases.command("resolve")
def cases_resolve(
    action: Annotated[str, typer.Argument(help="exclude, accept or dismiss.")],
    cycle: CycleOption,
    because: Because,
    by: By,
    case: Annotated[Optional[list[str]], typer.Option(help="The id of a case. May be given again.")] = None,  # noqa: UP045
    kind: OfKind = None,
    reseller: OfReseller = None,
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to decide about the open cases that are named, or all of a kind."""
    from infra.clearbook.cases import propose

    which = {"cases": case, "kind": kind, "reseller": reseller}
    propose("case", {"action": action, "cycle": cycle, "because": because, **which}, by, why, home, json)


@cases.command("link")
def cases_link(
    refund: Annotated[str, typer.Argument(help="The id of the refund's line, as its case names it.")],
    charge: Annotated[str, typer.Argument(help="The id of the line that it undoes.")],
    cycle: CycleOption,
    because: Because,
    by: By,
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose to link a refund that is in a case to the charge that it undoes; both of one account."""
    from infra.clearbook.cases import propose

    asked = {"action": "link", "cycle": cycle, "refund": refund, "charge": charge, "because": because}
    propose("case", asked, by, why, home, json)


@cases.command("assign")
def cases_assign(
    account: Annotated[str, typer.Argument(help="The account that lines are of.")],
    since: Annotated[str, typer.Option("--from", help="The first day, YYYY-MM-DD.")],
    by: By,
    until: Annotated[Optional[str], typer.Option(help="The last day.")] = None,  # noqa: UP045
    customer: Annotated[Optional[str], typer.Option(help="Whose account it is.")] = None,  # noqa: UP045
    reseller: Annotated[Optional[str], typer.Option(help="Who sells it.")] = None,  # noqa: UP045
    direct: Annotated[bool, typer.Option("--direct", help="The operator sells it itself.")] = False,
    own_use: Annotated[bool, typer.Option("--own-use", help="The operator uses it itself.")] = False,
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose the party document in force with one assignment more: of a customer that a reseller sells to, of one that
    the operator sells to (--customer, --direct), or of its own use."""
    from infra.clearbook.cases import propose

    whose = {"customer": customer, "reseller": reseller, "direct": direct, "own_use": own_use}
    propose(
        "case", {"action": "assign", "account": account, "from": since, "until": until, **whose}, by, why, home, json
    )


@cases.command("adjust")
def cases_adjust(
    reseller: Annotated[str, typer.Argument(help="Whose statement it is on.")],
    agreement: Annotated[str, typer.Argument(help="The agreement that it is under.")],
    cycle: CycleOption,
    amount: Annotated[str, typer.Option(help="What is owed besides; below 0 what is taken back.")],
    currency: Annotated[str, typer.Option(help="That of the agreement.")],
    because: Because,
    by: By,
    customer: Annotated[Optional[str], typer.Option(help="The customer that it is of.")] = None,  # noqa: UP045
    product: Annotated[Optional[str], typer.Option(help="The product that it is of.")] = None,  # noqa: UP045
    case: Annotated[Optional[str], typer.Option(help="The open case that it answers.")] = None,  # noqa: UP045
    why: Why = "",
    home: Home = None,
    json: Json = None,
) -> None:
    """Propose an amount by hand; it is posted once, in its month or, where that is locked, the next open one."""
    from infra.clearbook.cases import propose

    on = {"customer": customer, "product": product, "case": case}
    asked = {"reseller": reseller, "agreement": agreement, "cycle": cycle, "amount": amount, "currency": currency}
    propose("adjustment", {**asked, "cause": because, **on}, by, why, home, json)


@cases.command("effect")
def cases_effect(
    proposal: Annotated[str, typer.Argument(help="STREAM#SEQ, as `clearbook proposals` lists it.")],
    cycle: Annotated[Optional[str], typer.Option(help="Only this cycle.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """What the settlements of open months would come to with a proposal approved, beside what they come to now."""
    from infra.clearbook.cases import show_effect

    show_effect(proposal, cycle, home, json)


@app.command()
def reconcile(
    cycle: CycleOption,
    reseller: Annotated[str, typer.Option(help="Only what is this reseller's. Default: the whole month.")] = "",
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--against", metavar="FILE", exists=True, dir_okay=False, help="A file of others, XLSX or CSV."),
    ] = None,
    map_: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--map", metavar="MAP.yaml", exists=True, dir_okay=False, help="What the file is about."),
    ] = None,
    months: Annotated[
        bool, typer.Option("--month-against-month", help="What changed since the month before: signals, no blockers.")
    ] = False,
    factor: Annotated[Optional[str], typer.Option(help="Signal what is so many times as large or small; 2.")] = None,  # noqa: UP045
    minimum: Annotated[Optional[str], typer.Option(help="Leave out what is smaller in both months; 100.")] = None,  # noqa: UP045
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", metavar="FILE.xlsx|csv", help="Also write everything, with every line."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """Every line of a month beside what became of it: the bill, settlements, statements, journal, payouts, the bank.

    It ends with 1 where something is unexplained. Each difference names the lines that cause it, and its amount; with
    --output or --json all of them. --against holds the file of somebody else against the month, row by row.
    """
    from infra.clearbook.reconcile import Asked, run

    if not months and (factor is not None or minimum is not None):
        raise typer.BadParameter("--factor and --minimum go with --month-against-month")
    run(Asked(cycle, reseller, home, json, output), against, map_, months, factor, minimum)


@journal.callback()
def journal_(
    context: typer.Context,
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="One month's transactions, YYYY-MM.")] = None,  # noqa: UP045
    reseller: Annotated[Optional[list[str]], typer.Option(help="One reseller; may be repeated. Default: all.")] = None,  # noqa: UP045
    format_: Annotated[Literal["csv", "beancount"], typer.Option("--format", help="What to write.")] = "beancount",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", metavar="FILE", help="Where to. Default: standard output."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """The books as a Beancount file or CSV: what was decided, as transactions that balance; and what is owed to whom.

    Each transaction names the entry of the chain that it comes from. A whole journal also asserts the balances that it
    comes to; one month's, by --cycle, holds that month's statements, payments and the bank's answers alone.
    """
    if context.invoked_subcommand is None:
        from infra.clearbook.journal import show_journal

        show_journal(cycle, reseller or [], format_, output, home, json)
    elif any(one is not None for one in (cycle, reseller, output, home, json)):
        raise typer.BadParameter(f"write options after {context.invoked_subcommand}")


@journal.command("balances")
def journal_balances(
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="As of this month, YYYY-MM. Default: now.")] = None,  # noqa: UP045
    reseller: Annotated[Optional[list[str]], typer.Option(help="One reseller; may be repeated. Default: all.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """What is owed by reseller, agreement and currency: carried, by statements, paid, reopened; in transit, held back.

    Below 0 the reseller owes it, and later months are set off against it. As of a month, what earlier ones left is
    carried, and all that was paid since counts.
    """
    from infra.clearbook.journal import show_balances

    show_balances(cycle, reseller or [], home, json)


@app.command()
def verify(
    settlement: Annotated[str, typer.Argument(help="A settlement's id, or its first digits (8 or more).")],
    home: Home = None,
    json: Json = None,
) -> None:
    """Settle again what a settlement was made of, and compare every digest, the rows, the files and the chain.

    It ends with 1 where anything is not as it was. Documents and day parts are fetched anew. Files are compared byte by
    byte where the same version of the engine and of DuckDB wrote them, else row by row, which the check says.
    """
    from infra.clearbook.proving import verify as verify_

    verify_(settlement, home, json)


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A spreadsheet, XLSX or CSV.")],
    map_: Annotated[
        Path, typer.Option("--map", metavar="MAP.yaml", exists=True, dir_okay=False, help="Which column is what.")
    ],
    cycle: CycleOption,
    reseller: Annotated[str, typer.Option(help="Whose settlement it is held against.")],
    limit: Annotated[int, typer.Option(min=0, help="How many mismatches to show; 0 for all.")] = 50,
    lines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--lines", metavar="FILE.csv", help="Also write every mismatch as CSV."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """Hold the spreadsheet that a team settles with against a settlement: every mismatch, and how ours came about.

    It is compared with the settlement that counts: the locked one, else the newest, else the last draft. Both totals
    are said, and what of their difference nothing explains.
    """
    from infra.clearbook.beside import show_comparison

    show_comparison(file, map_, cycle, reseller, home, json, limit=limit, lines_to=lines)


@app.command("explain")
def explain(
    id_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="[ID]",
            help="A bill line or settlement (8 digits or more), agreement/cycle/n of a statement line, or a payout.",
        ),
    ] = None,
    find: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--find", metavar="TEXT", help="Instead: a customer, product, rule, instance, amount or text."),
    ] = None,
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="The billing cycle, YYYY-MM.")] = None,  # noqa: UP045
    reseller: Annotated[Optional[str], typer.Option("--reseller", help="With --find: one reseller.")] = None,  # noqa: UP045
    raw: Annotated[bool, typer.Option("--raw", help="Of a bill line: also the row as the provider sent it.")] = False,
    home: Home = None,
    json: Json = None,
) -> None:
    """Where a figure comes from: raw row, rules tried, scale, bounds, refunds, rounding, and who approved what.

    --find looks in a --cycle: it explains the one thing that it finds, or lists several with their ids.
    """
    from infra.clearbook.explain import show_explanation, show_found

    if (id_ is None) == (find is None):
        raise typer.BadParameter("give an ID, or --find TEXT")
    if id_ is not None:
        if reseller is not None:
            raise typer.BadParameter("--reseller goes with --find")
        show_explanation(id_, cycle, home, json, raw=raw)
    elif cycle is None:
        raise typer.BadParameter("--find goes with --cycle")
    else:
        show_found(str(find), cycle, reseller, home, json, raw=raw)


@audit.command("verify")
def audit_verify(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--bundle", metavar="FILE", exists=True, dir_okay=False, help="Instead: a bundle, and it alone."),
    ] = None,
    hash_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--hash", help="A hash that a statement or payout prints: it must be there; may be repeated."),
    ] = None,
    home: Home = None,
    json: Json = None,
) -> None:
    """Check every entry of every stream: its hash, its place, what it names of others, and all anchors.

    It ends with 1 where an entry was changed, is missing, was put in, moved or cut off, and names it.
    """
    from infra.clearbook.audit import verify as verify_

    verify_(bundle, hash_ or [], home, json)


@audit.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(help="The bundle to write, such as chain.zip.")],
    stream: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--stream", help="Only this stream, such as reseller/aurora; may be repeated."),
    ] = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="Also the documents and files that entries name by digest.")
    ] = False,
    home: Home = None,
    json: Json = None,
) -> None:
    """Write the chain with its anchors as one file, which can be checked without Clearbook (shared/chain/README.md)."""
    from infra.clearbook.audit import export

    export(file, stream or [], home, json, with_objects=objects)


@audit.command("show")
def audit_show(
    object_: Annotated[
        str,
        typer.Argument(
            metavar="OBJECT",
            help="A stream, entry (reseller/aurora#3), reseller, user, settlement, instruction, batch, case or digest.",
        ),
    ],
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="Of one billing cycle alone, YYYY-MM.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """Who did what about something, when and why, oldest first."""
    from infra.clearbook.audit import show

    show(object_, cycle, home, json)


@audit.command("rebuild")
def audit_rebuild(
    cycle: Annotated[Optional[str], typer.Option("--cycle", help="One billing cycle, YYYY-MM. Default: all.")] = None,  # noqa: UP045
    home: Home = None,
    json: Json = None,
) -> None:
    """Write the lists (settlements, cases, payouts) anew from the chain, whatever they say, or where they are gone."""
    from infra.clearbook.audit import rebuild

    rebuild(cycle, home, json)


@app.command()
def stuck(home: Home = None, json: Json = None) -> None:
    """What the sweeps could not mend: since when, how often it was tried, and what to do."""
    from infra.clearbook.stuck import show_stuck

    show_stuck(home, json)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; a Clearbook error becomes its message and exit status 1."""
    try:
        app(arguments)
    except ClearbookError as exc:
        _fail(exc.code, str(exc))
    except LocalCloudError as exc:
        _fail("local_cloud", str(exc))
    except OSError as exc:
        _fail("no_file", f"cannot use {exc.filename or 'the output'}: {exc.strerror}")
    except sqlite3.DatabaseError as exc:
        _fail("local_cloud", f"a database of the home folder is damaged ({exc}); restore it, or give another --home")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(code: str, message: str) -> NoReturn:
    print(f"clearbook: {code}: {message}", file=sys.stderr)
    sys.exit(1)


def write_json(data: Any, to: str) -> None:
    """Write a result as JSON to a file, or to standard output for `-`."""
    import json

    body = json.dumps(data, ensure_ascii=False, indent=2)
    if to == "-":
        print(body)
    else:
        Path(to).write_text(body + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
