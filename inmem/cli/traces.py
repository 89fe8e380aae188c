"""`inmem trace`: the tree of what an agent did and why, drawn."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from rich.console import Group
from rich.text import Text

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.cli.examples import example
from inmem.cli.output import console, has_width, one_line, print_json, show, width_option
from inmem.cli.reading import database_argument, json_option, reading_run, run_argument
from inmem.json_values import result_to_json
from inmem.primitives.orphans import whole_forest
from inmem.shown_name import plain_name, plain_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem import Trace, Transaction

INDENTS_MAX: Final = 16
"""As far to the right as a line begins; of what is deeper, the line says how deep. So a long chain is no square."""


class _Guides(NamedTuple):
    """What stands before a line: at its branch, at the last branch of a parent, below a branch, below a last one."""

    branch: str
    last: str
    beside: str
    nothing: str


_DRAWN: Final = _Guides("├── ", "└── ", "│   ", "    ")
_IN_ASCII: Final = _Guides("+-- ", "`-- ", "|   ", "    ")
"""Where the encoding has no lines to draw with."""

_LINES_SHOWN_AT_A_TIME: Final = 100

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

    A name that begins with a dash goes behind all options and --.
    """
    with reading_run(database, run) as txn:
        traces = list(walk_traces(txn))
        run_id = txn.run_id
    if as_json_output:
        print_json([{"depth": depth} | result_to_json(found) for depth, found in traces])
    else:
        lines = draw(run_id, traces)
        while some := [*islice(lines, _LINES_SHOWN_AT_A_TIME)]:
            show(Group(*some))


def walk_traces(txn: Transaction) -> Iterable[tuple[int, Trace]]:
    """Yield (depth, trace) for all traces of the transaction's run, parents before their children.

    Raises:
        StorageError: at the end, if these were not all of them.
    """
    for tree in whole_forest(txn.traces, txn.run_id):
        yield from tree.walk()


def draw(run_id: str, traces: Iterable[tuple[int, Trace]]) -> Iterator[Text]:
    """Yield the drawing of a run's traces, each on one line. O(traces), whatever their depth."""
    yield Text(plain_name(run_id), "bold")
    found = [*traces]
    last = _last_of_theirs([depth for depth, _ in found])
    target = console()
    guides = _IN_ASCII if target.options.ascii_only else _DRAWN
    indents_max = INDENTS_MAX
    if has_width(target.file):
        # Half of each line is left for what it says.
        indents_max = min(indents_max, target.width // (2 * len(guides.beside)))
    beside: list[str] = []
    for (depth, trace_), is_last in zip(found, last, strict=True):
        del beside[depth:]
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append("".join(beside[:indents_max]) + (guides.last if is_last else guides.branch), "dim")
        if depth > indents_max:
            line.append(f"level {depth}  ", "dim")
        if depth < indents_max:
            beside.append(guides.nothing if is_last else guides.beside)
        yield line.append_text(_label(trace_))


def _last_of_theirs(depths: list[int]) -> list[bool]:
    """Return of each depth in a walk of trees whether it is that of the last child of its parent. O(depths)."""
    found: list[bool] = []
    # From the end: of the depths that came since the last one above, those that are open have a later sibling.
    is_open: list[bool] = []
    for depth in reversed(depths):
        del is_open[depth + 1 :]
        is_open += [False] * (depth + 1 - len(is_open))
        found.append(not is_open[depth])
        is_open[depth] = True
    found.reverse()
    return found


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
        label.append("  " + " ".join(f"#{plain_word(tag)}" for tag in found.tags), "dim")
    return label


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"
