"""`inmem trace`: the tree of what an agent did and why, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text
from rich.tree import Tree

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.cli.examples import example
from inmem.cli.output import one_line, print_json, show, width_option
from inmem.cli.reading import database_argument, json_option, reading_run, run_argument
from inmem.json_values import result_to_json
from inmem.primitives.orphans import whole_forest
from inmem.shown_name import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem import Trace, Transaction

_ARGUMENTS_CHARS_MAX = 120
_RESULT_CHARS_MAX = 200


@click.command(epilog=example("inmem trace demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@width_option
@json_option
def trace(*, database: str, run: str, as_json_output: bool) -> None:
    """Draw the traces of RUN as a tree; errors are marked.

    With --json, a list of the traces in the order of the tree, each with its depth.
    """
    with reading_run(database, run) as txn:
        traces = list(walk_traces(txn))
        run_id = txn.run_id
    if as_json_output:
        print_json([{"depth": depth} | result_to_json(found) for depth, found in traces])
    else:
        show(draw(run_id, traces))


def walk_traces(txn: Transaction) -> Iterable[tuple[int, Trace]]:
    """Yield (depth, trace) for all traces of the transaction's run, parents before their children.

    Raises:
        StorageError: at the end, if these were not all of them.
    """
    for tree in whole_forest(txn.traces, txn.run_id):
        yield from tree.walk()


def draw(run_id: str, traces: Iterable[tuple[int, Trace]]) -> Tree:
    """Return the drawing of a run's traces, each on one line."""
    top = Tree(Text(plain_name(run_id), "bold"), guide_style="dim")
    path = [top]
    for depth, found in traces:
        del path[depth + 1 :]
        path.append(path[depth].add(_label(found)))
    return top


def _label(found: Trace) -> Text:
    label = Text(no_wrap=True, overflow="ellipsis")
    match found.kind:
        case ToolCall(tool_name, arguments, result, duration_ms):
            label.append(plain_name(tool_name), "bold blue")
            label.append(f"({'' if arguments is None else one_line(arguments, _ARGUMENTS_CHARS_MAX)})")
            if duration_ms is not None:
                label.append(f"  {_duration(duration_ms)}", "magenta")
            # None is what a call has that nobody has answered, too: the one cannot be told from the other.
            if result is not None:
                label.append("  → ", "dim")
                label.append(one_line(result, _RESULT_CHARS_MAX))
        case Decision(question, options, chosen, reasoning):
            label.append("decision ", "bold yellow")
            label.append(one_line(question))
            others = [option for option in options if option != chosen]
            label.append("  → ", "dim")
            label.append(one_line(chosen), "bold")
            if others:
                label.append(f"  (not {', '.join(map(one_line, others))})", "dim")
            if reasoning is not None:
                label.append(f"  because: {one_line(reasoning)}", "dim")
        case Query(query_type, query, results_count):
            label.append(f"query {plain_name(query_type)} ", "bold blue")
            label.append(one_line(query))
            if results_count is not None:
                label.append(f"  → {results_count}", "dim")
        case Thought(content):
            label.append("thought ", "bold green")
            label.append(one_line(content))
        case ErrorTrace(error_type, message, recoverable):
            label.append(f"✗ {plain_name(error_type)}: {one_line(message)}", "bold red")
            if not recoverable:
                label.append("  (not recoverable)", "red")
        case Custom(name, data):
            label.append(plain_name(name), "bold cyan")
            if data is not None:
                label.append(f" {one_line(data)}")
    if found.tags:
        label.append("  " + " ".join(f"#{plain_name(tag)}" for tag in found.tags), "dim")
    return label


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"
