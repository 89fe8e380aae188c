"""The demonstration: it records conversations, kills the recording twice, and shows that nothing is lost or doubled."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import inmem
from inmem import InmemError, UsageError
from inmem.amounts import counted
from inmem.cli.output import is_terminal, show
from inmem.cli.runs import runs_table
from inmem.cli.traces import draw, walk_traces
from inmem.cli.verify import verification_table
from inmem.demo.recording_process import DemoError, Recorded, RecordingProcess, recorded_in
from inmem.engine.codec import decode_value
from inmem.recorder import read_conversations

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console, RenderableType

    from inmem import Database
    from inmem.recorder.transcript import Conversation

TRANSCRIPTS = Path(__file__).parent / "transcripts"

_DATABASE = "harbour.db"
_AGENTS = 3
_PACE_S = 0.1
_SHOWN_RUN = "night-watch/0000-storm"
_BAR_CHARS = 18
_INDENT = 2
_LINE_CHARS_MAX = 100
"""The width of prose on a wide terminal. In a pipe, each paragraph is one line."""


def show_demo(console: Console, keep: str | None = None) -> bool:
    """Run and narrate the demonstration; return whether it succeeded.

    Args:
        console: the console to print to.
        keep: a folder for the database and the transcripts, which is kept; by default a temporary folder.

    Raises:
        UsageError: `keep` holds the database of an earlier demonstration.
    """
    with _folder(keep) as folder:
        database = folder / _DATABASE
        if database.exists():
            raise UsageError(
                f"{database} exists already, but the demonstration needs an empty database. Name another folder"
            )
        try:
            _Story(console, database).tell()
        except DemoError as error:
            console.print(Text(f"\nThe demonstration failed: {error}", "bold red"))
            return False
        if keep is not None:
            copytree(TRANSCRIPTS, folder / TRANSCRIPTS.name, dirs_exist_ok=True)
            console.print(f"\nThe database is kept in {database}. To explore it: inmem runs {database}")
        else:
            console.print("\nThe database was deleted. To keep and explore one: inmem demo --keep demo")
    return True


@contextmanager
def _folder(keep: str | None) -> Generator[Path]:
    if keep is not None:
        folder = Path(keep)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with TemporaryDirectory(prefix="inmem-demo-") as name:
        yield Path(name)


class _Story:
    def __init__(self, console: Console, database: Path) -> None:
        self._console = console
        self._database = database
        self._files = sorted(TRANSCRIPTS.iterdir())
        self._source = [conversation for path in self._files for conversation in read_conversations(path)]
        self._message_count = sum(len(conversation.messages) for conversation in self._source)
        self._call_count = sum(conversation.call_count for conversation in self._source)

    def tell(self) -> None:
        self._introduce()
        self._be_killed("1", "Kill the process", self._message_count // 3)
        self._be_killed("2", "Start it again, and kill it again", self._message_count * 2 // 3)
        self._finish("3")
        self._compare("4")

    def _introduce(self) -> None:
        self._say(
            f"Port Wick is a small harbour run by software agents. {_AGENTS} actors now record "
            f"{counted(len(self._source), 'conversation')} of these agents into an inmem database, "
            f"{self._message_count} messages with {self._call_count} tool calls, as if the conversations were taking "
            "place now.\n\n"
            "Each message is one transaction: an event in a hash-chained log, the traces that say why the agent did "
            "what it did, its working memory, and a cursor. Either all of these are stored or none, and once "
            "acknowledged, they are on disk. To test that claim, the recording process is killed with SIGKILL midway, "
            "twice."
        )

    def _be_killed(self, number: str, title: str, goal: int) -> None:
        self._heading(number, title)
        with self._process() as process:
            seen = process.watch_until(lambda recorded: recorded.total >= goal)
            process.kill()
        with inmem.open(self._database, create=False, read_only=True) as db:
            self._expect_intact(db)
            found = recorded_in(db)
        lost = [run_id for run_id, messages in seen.messages.items() if found.messages.get(run_id, 0) < messages]
        if lost:
            raise DemoError(f"messages were lost in {', '.join(lost)}")
        later = found.total - seen.total
        self._say(
            f"kill -9 when another process had read {seen.total} of {self._message_count} messages from the database. "
            f"Reopened, the database holds {found.total}: all of those"
            + (f", and {later} more recorded between the last read and the kill" if later else "")
            + ". Each conversation is cut between two messages, and its log, traces and cursor agree:"
        )
        self._show(self._bars(found))

    def _finish(self, number: str) -> None:
        self._heading(number, "Start it once more, and let it finish")
        with self._process() as process:
            summary = process.finish()
        self._say(
            f"It found {summary['already_recorded']} messages already recorded and added the remaining "
            f"{summary['messages'] - summary['already_recorded']}. The output of `inmem runs`:"
        )
        with inmem.open(self._database, create=False, read_only=True) as db, db.begin("demo") as txn:
            runs = [(run, txn.on(run.run_id).events.len()) for run in txn.runs.query_runs()]
            self._show(runs_table(runs, self._console.width - _INDENT))
            shown = next(run.run_id for run, _ in runs if run.run_id.startswith(_SHOWN_RUN))
        with inmem.open(self._database, create=False, read_only=True) as db, db.begin(shown) as txn:
            self._say("What the night watch did about the storm, and why, in the output of `inmem trace`:")
            self._show(Group(*draw(shown, walk_traces(txn))))

    def _compare(self, number: str) -> None:
        self._heading(number, "Check that nothing is lost or duplicated")
        with inmem.open(self._database, create=False, read_only=True) as db:
            report = self._expect_intact(db)
            stored = {run_id: [event.payload for event in db.events.iter(run_id)] for run_id in db.runs.list_runs()}
            calls = sum(len(db.traces.query_by_type(run_id, "ToolCall")) for run_id in stored)
        shown = Table.grid(padding=(0, 2))
        shown.add_row("", Text("transcripts", "bold"), Text("database", "bold"))
        equal = True
        for name, expected, found in (
            ("runs", len(self._source), len(stored)),
            ("messages", self._message_count, sum(map(len, stored.values()))),
            ("tool calls", self._call_count, calls),
        ):
            equal = equal and expected == found
            shown.add_row(name, str(expected), str(found), self._verdict(expected == found))
        same = all(stored.get(conversation.run_id) == _payloads(conversation) for conversation in self._source)
        shown.add_row("all messages identical and in order", "", "", self._verdict(same))
        self._show(shown)
        self._show(verification_table(report, report.files))
        if not (equal and same):
            raise DemoError("the database differs from the transcripts")
        self._say("Killed twice: nothing lost, nothing duplicated.", style="bold green")

    def _process(self) -> RecordingProcess:
        return RecordingProcess(self._files, self._database, agents=_AGENTS, pace_s=_PACE_S)

    def _expect_intact(self, db: Database) -> inmem.Verification:
        try:
            report = db.verify()
        except InmemError as error:
            raise DemoError(str(error)) from error
        if not report.is_valid:
            raise DemoError("the database is damaged")
        return report

    def _bars(self, recorded: Recorded) -> Table:
        shown = Table.grid(padding=(0, 2))
        for conversation in self._source:
            total = len(conversation.messages)
            done = recorded.messages.get(conversation.run_id, 0)
            filled = _BAR_CHARS * done // total
            bar = Text("█" * filled, "green").append("░" * (_BAR_CHARS - filled), "dim")
            shown.add_row(conversation.run_id, bar, f"{done:>2} of {total:>2}")
        return shown

    def _heading(self, number: str, title: str) -> None:
        self._console.print(Text(f"\n{number}  {title}", "bold cyan"))

    def _say(self, text: str, style: str = "") -> None:
        self._console.print()
        if is_terminal(self._console.file):
            self._console.print(Text(text, style), width=min(self._console.width, _LINE_CHARS_MAX))
        else:
            show(Text(text, style), self._console)

    def _show(self, what: RenderableType) -> None:
        self._console.print()
        show(Padding(what, (0, 0, 0, _INDENT), expand=False), self._console)

    @staticmethod
    def _verdict(is_equal: bool) -> Text:  # noqa: FBT001  a verdict is what it is given
        return Text("equal", "green") if is_equal else Text("different", "bold red")


def _payloads(conversation: Conversation) -> list[object]:
    return [decode_value(message.payload.data) for message in conversation.messages]
