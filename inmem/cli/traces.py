"""`inmem trace`: draws the tree of what an agent did and why."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from rich.console import Group
from rich.text import Text

from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from inmem.cli.examples import example
from inmem.cli.output import console, has_width, one_line, print_json, say_none, show, width_option
from inmem.cli.reading import database_argument, json_option, reading_run, run_argument
from inmem.json_values import result_to_json
from inmem.primitives.orphans import whole_forest
from inmem.shown_name import plain_name, plain_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem import Trace, Transaction

INDENTS_MAX: Final = 16
"""The maximum indentation; a deeper line shows its depth as a number. So a chain of n traces takes O(n) output."""


class _Guides(NamedTuple):
    """The prefixes of lines: at a branch, at a parent's last branch, below a branch, and below a last branch."""

    branch: str
    last: str
    beside: str
    nothing: str


_DRAWN: Final = _Guides("├── ", "└── ", "│   ", "    ")
_IN_ASCII: Final = _Guides("+-- ", "`-- ", "|   ", "    ")
"""For encodings without box-drawing characters."""

_LINES_SHOWN_AT_A_TIME: Final = 100

_ARGUMENTS_CHARS_MAX = 120
_RESULT_CHARS_MAX = 200


@click.command(epilog=example("inmem trace demo/harbour.db night-watch/0000"))
@database_argument
@run_argument
@width_option
@json_option
def trace(*, database: str, run: str, as_json_output: bool) -> None:
    """Draw the traces of RUN as a tree, with errors marked.

    With --json, print a list of the traces in tree order, each with its depth.

    Put -- before a name that begins with a dash, after all options.
    """
    with reading_run(database, run) as txn:
        traces = list(walk_traces(txn))
        run_id = txn.run_id
    if as_json_output:
        print_json([{"depth": depth} | result_to_json(found) for depth, found in traces])
    elif not traces:
        say_none(f"run {plain_name(run_id)} has no traces")
    else:
        lines = draw(run_id, traces)
        while some := [*islice(lines, _LINES_SHOWN_AT_A_TIME)]:
            show(Group(*some))


def walk_traces(txn: Transaction) -> Iterable[tuple[int, Trace]]:
    """Yield (depth, trace) for all traces of the transaction's run, parents before their children.

    Raises:
        StorageError: raised at the end, if some traces are in no tree.
    """
    for tree in whole_forest(txn.traces, txn.run_id):
        yield from tree.walk()


def draw(run_id: str, traces: Iterable[tuple[int, Trace]]) -> Iterator[Text]:
    """Yield the lines of the drawing, one for the run and one for each trace. O(traces), whatever their depth."""
    yield Text(plain_name(run_id), "bold")
    found = [*traces]
    last = _last_of_theirs([depth for depth, _ in found])
    target = console()
    guides = _IN_ASCII if target.options.ascii_only else _DRAWN
    indents_max = INDENTS_MAX
    if has_width(target.file):
        # Leave at least half of each line for its text.
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
    """Return for each trace, given the depths in preorder, whether it is the last child of its parent. O(depths)."""
    found: list[bool] = []
    # Walks backwards. `is_open[depth]` is whether a later sibling at this depth was seen under the same parent.
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
            # A result of None cannot be distinguished from a call without an answer.
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
