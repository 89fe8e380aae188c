"""`inmem verify`: checks whether everything in a database is as it was written."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import click
from rich.table import Table
from rich.text import Text

from inmem import CorruptionError, Verification
from inmem.amounts import counted
from inmem.cli.errors import NO, NoError, when_damaged
from inmem.cli.examples import example
from inmem.cli.heads import Compared, Head, compare, heads_of, line_of, read_heads
from inmem.cli.output import console, print_json, print_json_line, show
from inmem.cli.progress import progress
from inmem.cli.reading import database_argument, json_option, open_for_reading, optional_run_argument, resolve_run
from inmem.cli.tables import Facts
from inmem.findings import Finding, Verdict, findings_of_files, findings_of_state
from inmem.invisible import printable
from inmem.json_values import result_to_json, to_json
from inmem.verification import verify_folder

if TYPE_CHECKING:
    from inmem import Database
    from inmem.engine.log.verification import VerifyReport


VERDICT_STYLES: Final[dict[Verdict, str]] = {
    "ok": "green",
    "damaged": "bold red",
    "torn": "yellow",
    "aside": "yellow",
    "unknown": "red",
    "": "",
}

CANNOT_BE_OPENED: Final = Finding("chains", "unknown", ("the database cannot be opened",))


@click.command(epilog=example("inmem verify demo/harbour.db && echo sound"))
@database_argument
@optional_run_argument
@click.option("--heads", "prints_heads", is_flag=True, help="Print the head of each chain, to save elsewhere.")
@click.option(
    "--expect",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str),
    help="Compare the chains with the heads saved in FILE.",
)
@json_option
def verify(*, database: str, run: str | None, prints_heads: bool, expect: str | None, as_json_output: bool) -> None:
    """Check every file, table and event chain in DB.

    With RUN, check only the event chain of that run. The head of a chain, the hash of its last event, vouches for the
    whole chain. Save heads elsewhere with --heads; --expect then detects whether a chain has since been cut or
    rewritten. A chain that has only grown passes.

    The exit code is 1 if anything is damaged or differs from the saved heads, and 2 if DB is not a database.

    Put -- before a name that begins with a dash, after all options.
    """
    expected = None if expect is None else read_heads(expect)
    report: Verification | None = None
    heads: list[Head] = []
    compared: Compared | None = None
    try:
        with open_for_reading(database) as db:
            report, heads, compared = _look(db, run, expected)
        files = report.files
    except CorruptionError:
        # The database cannot be opened, but its files can still be checked one by one.
        with progress("verifying"):
            files = verify_folder(database)
    is_valid = report is not None and report.is_valid and (compared is None or not compared.broken)
    if as_json_output:
        facts = _verification_as_json(report, files, is_valid=is_valid)
        facts |= {"heads": [line_of(head) for head in heads]} if prints_heads else {}
        print_json(facts | ({} if compared is None else {"expected": _comparison_as_json(compared)}))
    elif prints_heads and is_valid:
        for head in heads:
            print_json_line(line_of(head))
    else:
        # With --heads, stdout gets only heads, and only of a sound database; a report goes to stderr.
        shown = verification_table(report, files)
        _add_comparison(shown, compared)
        show(shown, console(stderr=prints_heads))
        if report is None:
            click.echo(printable(when_damaged(database)), err=True)
    if not is_valid:
        raise click.exceptions.Exit(NO)


def _look(
    db: Database, run: str | None, expected: list[Head] | None
) -> tuple[Verification, list[Head], Compared | None]:
    """Verify a database or the chain of a run; return the report, the heads, and their comparison."""
    run_id = None if run is None else resolve_run(db, run)
    if run_id is not None and expected is not None:
        expected = [head for head in expected if head.run_id == run_id]
        if not expected:
            raise NoError(f"no saved head for run {run_id!r}")
    with progress("verifying"):
        report = db.verify() if run_id is None else _verify_chain(db, run_id)
    # This reads the state that was verified: a database opened for reading does not change until it is refreshed.
    with db.begin("verify") as txn:
        every = (*txn.runs.list_runs(include_archived=True), *db.unregistered_runs())
        heads = [*heads_of(txn, every if run_id is None else (run_id,))]
        return report, heads, None if expected is None else compare(txn, expected)


def _verify_chain(db: Database, run_id: str) -> Verification:
    with db.begin(run_id) as txn:
        chain = txn.events.verify_chain()
        version = db.version
    broken = () if chain.is_valid else ((run_id, chain),)
    # Nothing else was checked.
    others: dict[str, Any] = dict.fromkeys(("problems", "wrong_indices", "orphans", "unreadable"), ())
    return Verification(
        is_valid=chain.is_valid,
        version=version,
        files=None,
        chains=1,
        events=chain.length,
        broken_chains=broken,
        **others,
    )


def _add_comparison(shown: Table, compared: Compared | None) -> None:
    if compared is None:
        return
    found = f"{counted(compared.heads, 'head')} compared"
    if compared.grown == compared.heads == 1:
        found += ", with newer events"
    elif compared.grown:
        found += f", {compared.grown:,} of them with newer events"
    shown.add_row(Text("heads", "bold"), _styled("damaged" if compared.broken else "ok"), found)
    for head, fault in compared.broken:
        shown.add_row("", "", printable(f"{head.run_id!r}: {fault}"))


def _comparison_as_json(compared: Compared) -> dict[str, Any]:
    broken = [line_of(head) | {"error": fault} for head, fault in compared.broken]
    return {"heads": compared.heads, "grown": compared.grown, "broken": broken}


def verification_table(report: Verification | None, files: VerifyReport | None) -> Table:
    """Return the findings of a verification as a table; `report` is None if the database could not be opened."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    # The path of a file may be wider than the terminal, and is of no use without its end.
    shown.add_column(overflow="fold")
    of_files = () if files is None else findings_of_files(files)
    of_state = (CANNOT_BE_OPENED,) if report is None else findings_of_state(report)
    for subject, verdict, facts in (*of_files, *of_state):
        told = Facts(facts) if len(facts) > 1 else printable("".join(facts))
        shown.add_row(Text(subject, "bold"), _styled(verdict), told)
    return shown


def _styled(verdict: Verdict) -> Text:
    return Text(verdict, VERDICT_STYLES[verdict])


def _verification_as_json(report: Verification | None, files: VerifyReport | None, *, is_valid: bool) -> dict[str, Any]:
    """Return the known fields of a `Verification`."""
    problems = [] if files is None else [vars(problem) for problem in files.problems]
    facts: dict[str, Any] = {"is_valid": is_valid, "version": None if report is None else report.version}
    if files is not None:
        torn = [torn._asdict() for torn in files.torn]
        aside = [aside._asdict() for aside in files.kept_aside]
        found = {field.name: getattr(files, field.name) for field in fields(files)}
        facts["files"] = found | {"torn": torn, "kept_aside": aside, "problems": problems}
    facts["problems"] = problems
    if report is not None:
        broken = [{"run_id": run_id} | result_to_json(chain) for run_id, chain in report.broken_chains]
        facts |= {"chains": report.chains, "events": report.events, "broken_chains": broken}
        facts["wrong_indices"] = [{"run_id": run_id, "tag": tag} for run_id, tag in report.wrong_indices]
        facts["orphans"] = [orphan._asdict() for orphan in report.orphans]
        facts["unreadable"] = [each._asdict() | {"key": to_json(each.key)} for each in report.unreadable]
    return facts
