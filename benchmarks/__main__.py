"""The command line of the benchmarks."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import click

from benchmarks import growth, memory, primitives, reads, recovery, report, scans, startup, tails, transactions
from benchmarks.measure import Settings

SUBJECTS = {
    subject.name: subject
    for module in (transactions, primitives, reads, scans, recovery, memory, tails, startup, growth)
    for subject in module.SUBJECTS
}
RESULTS = Path(__file__).parent / "results"


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="Smaller stores and fewer points: within two minutes.")
@click.option("--subject", "names", multiple=True, type=click.Choice(list(SUBJECTS)), help="Only this; repeatable.")
@click.option("--list", "list_only", is_flag=True, help="Name the subjects and stop.")
@click.option("--rounds", type=click.IntRange(1), help="Turns of each contender.  [5, or 3 with --quick]")
@click.option("--seconds", type=click.FloatRange(0.01), help="Length of a turn.  [1, or 0.1 with --quick]")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="On the disk that is to be measured.")
@click.option("--plots/--no-plots", default=True, help="Whether to draw PNG files.")
@click.pass_context
def main(
    context: click.Context,
    *,
    quick: bool,
    names: tuple[str, ...],
    list_only: bool,
    rounds: int | None,
    seconds: float | None,
    folder: Path | None,
    plots: bool,
) -> None:
    """Measure inmem beside its peers, and hold the figures against the targets."""
    if context.invoked_subcommand is not None:
        return
    if list_only:
        for subject in SUBJECTS.values():
            click.echo(f"{subject.name:20} {subject.title}")
        return
    work = Path(tempfile.mkdtemp(prefix="inmem-bench-", dir=folder))
    settings = Settings(work, rounds or (3 if quick else 5), seconds or (0.1 if quick else 1.0), quick)
    facts = report.environment(settings)
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    report.console.print(f"{facts['date']}  {facts['processor']}, {facts['cores']} cores, load {facts['load']}")
    report.console.print(f"{versions}\n", soft_wrap=True)
    measured = []
    failed: list[str] = []
    started = time.perf_counter()
    try:
        for number, name in enumerate(names or SUBJECTS):
            subject = SUBJECTS[name]
            folder_of_subject = work / str(number)
            try:
                result = subject.run(Settings(folder_of_subject, settings.rounds, settings.seconds, quick))
            except Exception as error:  # noqa: BLE001  (what the others have to show is not lost with it)
                report.console.print(f"{name} failed: {error!r}\n", markup=False)
                failed.append(name)
                continue
            finally:
                shutil.rmtree(folder_of_subject, ignore_errors=True)
            report.show(subject, result, quick=quick)
            measured.append((subject, result))
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if measured:
            stem = facts["date"].replace(":", "").split("+")[0]
            RESULTS.mkdir(exist_ok=True)
            path = RESULTS / f"{stem}.json"
            path.write_text(json.dumps(report.as_json(facts, measured), indent=1), encoding="utf-8")
            if plots:
                (RESULTS / stem).mkdir(exist_ok=True)
                for subject, result in measured:
                    report.draw(subject, result, RESULTS / stem / f"{subject.name}.png")
            report.console.print(f"{time.perf_counter() - started:.0f} s; written to {path}")
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")


@main.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Show what changed between two JSON files."""
    report.compare(before, after)


if __name__ == "__main__":
    main()
