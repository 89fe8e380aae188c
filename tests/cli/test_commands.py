"""The commands that show what a database holds."""

import contextlib
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest

import inmem
from inmem.actors.files.folder_disk import FolderDisk
from inmem.cli.app import app
from inmem.cli.errors import Application
from inmem.engine.log.verification import VerifyReport
from inmem.json_values import from_json
from inmem.recorder import RecordSummary
from inmem.shown_name import plain_name
from tests.engine.log_builder import LogBuilder, put
from tests.recorder.transcripts import OWN, user, write_runs

READING = ("runs", "events", "trace", "cells", "get", "stat", "verify")
FOUND_IN = str(Path(inmem.__file__).parent.parent)
ON_A_RUN = ("events", "trace", "cells", "get", "export")


def lines(result):
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def example_of(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    return result.stdout.rstrip().rpartition("Example: ")[2]


@pytest.mark.parametrize("name", app.commands)
def test_every_command_has_help_with_an_example_on_one_line(run, name):
    example = example_of(run, name)
    assert f"inmem {name} " in example
    assert "\n" not in example
    assert len(f"  Example: {example}") <= 80


@pytest.fixture(scope="module")
def shown_demo(tmp_path_factory):
    """A folder after `inmem demo --keep demo`, with the command to be found by a shell."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "inmem").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m inmem "$@"\n')
    (folder / "inmem").chmod(0o755)
    shell(folder, "inmem demo --keep demo")
    return folder


def shell(folder, command):
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": FOUND_IN}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("name", [name for name in app.commands if name not in {"demo", "ui"}])
def test_every_example_works_after_the_demonstration(run, shown_demo, tmp_path, name):
    folder = shown_demo
    if name == "delete":
        # The other examples need what it deletes.
        folder = shutil.copytree(shown_demo, tmp_path / "copy")
    result = shell(folder, example_of(run, name))
    assert result.stdout or name in ("export", "completion")


def test_the_help_lists_every_command_with_all_of_its_first_sentence(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("--help").stdout
    for name, command in app.commands.items():
        sentence = command.help.partition(".")[0]
        assert re.search(rf"^  {name} +{re.escape(sentence)}\.$", shown, re.MULTILINE), name
    assert run("-h").stdout == shown


def test_a_command_outside_of_the_sections_is_listed_too(run):
    group = Application("inmem")
    group.add_section("First", (app.commands["runs"],))
    group.add_command(app.commands["get"])

    with click.Context(group) as context:
        assert re.search(r"First:\n  runs .*\n\nMore:\n  get ", group.get_help(context))


@pytest.mark.parametrize("name", [*READING, "record", "import", "checkpoint"])
def test_every_command_that_tells_something_does_it_in_json_too(run, name):
    assert "--json" in run(name, "--help").stdout


def test_the_version(run):
    assert run("--version").stdout == run("-V").stdout == f"inmem, version {inmem.__version__}\n"


def test_runs_are_listed(run, recorded):
    first, *rows = lines(run("runs", recorded))

    assert first.split() == ["RUN", "STATUS", "EVENTS", "ERROR", "CREATED", "(UTC)", "TAGS"]
    assert len(rows) == 7
    assert rows[0].split()[:3] == [rows[0].split()[0], "Completed", "14"]
    assert rows[0].startswith("harbour-desk/0000-berth-for-marigold-")
    assert "Failed" in rows[2]
    assert "nobody with a key answered" in rows[2]
    assert all(row == row.rstrip() for row in rows)


def test_a_terminal_shows_names_errors_and_tags_of_runs_whole(run, recorded, on_terminal):
    on_terminal(80)
    shown = [line.rstrip() for line in lines(run("runs", recorded))]
    failed = next(at for at, line in enumerate(shown) if " Failed " in line)
    below = shown[failed + 1 : failed + 4]

    assert shown[0].split() == ["RUN", "STATUS", "EVENTS"]
    assert below[0] == "  ERROR          no fuel after hours: nobody with a key answered"
    assert below[2] == "  TAGS           chat-runs task-fuel-after-hours agent-tilda"
    assert sum("  ERROR  " in line for line in shown) == 1


def test_parents_are_listed_where_there_are_any(run, odd, tmp_path, on_terminal):
    header, first, second = run("runs", odd).stdout.splitlines()
    assert header.split() == ["RUN", "STATUS", "EVENTS", "ERROR", "CREATED", "(UTC)", "PARENT", "TAGS"]
    at = header.index("PARENT")
    assert (first[at : at + 6].strip(), second[at:].strip()) == ("", "run-1")
    assert "PARENT" not in run("runs", odd, "--tag", "a").stdout

    parent = "night-watch/0000-storm-of-the-century"
    with inmem.open(tmp_path) as db:
        db.runs.create_run(parent)
        db.runs.create_run("child", parent=parent)
    on_terminal(70)
    shown = lines(run("runs", tmp_path))
    assert all(len(line) <= 70 for line in shown)
    assert [line.split() for line in shown].count(["PARENT", parent]) == 1


def test_where_no_run_is_listed_it_is_said_that_there_is_none(run, run_json, odd, tmp_path):
    inmem.open(tmp_path / "empty").close()
    for arguments, told in (
        ((odd, "--tag", "typo"), "no runs with tag typo"),
        ((odd, "--tag", "a", "--tag", "x y"), 'no runs with tag a and with tag "x y"'),
        ((odd, "--status", "paused"), "no runs with status Paused"),
        ((odd, "--parent", "old"), "no runs with parent old"),
        ((odd, "--unregistered", "--limit", 1), None),
        ((tmp_path / "empty",), "no registered runs"),
        ((tmp_path / "empty", "--unregistered"), "no unregistered runs"),
    ):
        shown = run("runs", *arguments)
        assert (shown.exit_code, shown.stderr) == (0, "" if told is None else f"{told}\n")
        assert bool(shown.stdout) == (told is None)
    assert run_json("runs", odd, "--tag", "typo") == []
    for arguments in ((), ("--tag", "typo"), ("--unregistered",)):
        shown = run("runs", odd, *arguments, "--limit", 0)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "")

    with inmem.open(tmp_path / "archived") as db:
        db.runs.create_run("old", tags=["kept"])
        db.runs.archive_run("old")
    told = "no runs with tag kept, except archived ones: list them with --all\n"
    assert run("runs", tmp_path / "archived", "--tag", "kept").stderr == told


def test_names_that_differ_in_what_cannot_be_seen_look_different(run, run_json, tmp_path):
    names = ["pay", "pay ", " pay", "p  ay", "pay\u3164", "pay\u2800", "p\u034fay", "pay\ufe0f", "pay\xa0", '"pay"']
    with inmem.open(tmp_path / "db") as db:
        for name in names:
            db.runs.create_run(name, tags=[name])
            db.put("held", name, 1)
            db.events.append("held", name)
            db.cells.init("held", name, 1)
            db.traces.record("held", inmem.Custom(name, None))
    escaped = {
        "pay", '"pay "', '" pay"', '"p  ay"', '"pay\\u3164"', '"pay\\u2800"', '"p\\u034fay"', '"pay\\ufe0f"',
        '"pay\\xa0"', '"\\"pay\\""',
    }  # fmt: skip
    assert set(lines(run("get", tmp_path / "db", "held"))) == escaped
    assert [line[4:] for line in lines(run("trace", tmp_path / "db", "held"))[1:]] == [*map(plain_name, names)]
    for command in ("runs", "cells", "events"):
        shown = run(command, tmp_path / "db", *(["held"] if command != "runs" else [])).stdout
        assert all(each in shown for each in escaped)
    assert [found["run_id"] for found in run_json("runs", tmp_path / "db")] == names


def test_a_tag_with_a_blank_does_not_look_like_two(run, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        for name, tags in (("one", ["a b"]), ("two", ["a", "b"]), ("three", ["p #q", "r\xa0s"])):
            db.runs.create_run(name, tags=tags)
            db.traces.record_with_options("one", inmem.Custom(name), tags=tags)

    shown = lines(run("runs", tmp_path / "db"))
    assert [line.split("  ")[-1] for line in shown[1:]] == ['"a b"', "a b", '"p #q" "r\\xa0s"']
    drawn = lines(run("trace", tmp_path / "db", "one"))
    assert [line.split("  ")[-1] for line in drawn[1:]] == ['#"a b"', "#a #b", '#"p #q" #"r\\xa0s"']


def test_runs_in_json(run_json, odd):
    first, second = run_json("runs", odd)

    assert first["run_id"] == "run-1"
    assert (first["status"], first["tags"], first["events"]) == ("Active", ["a", "b"], 6)
    assert first["metadata"] == {"blob": {"$bytes": "AP8="}}
    assert (second["parent_run"], second["error"]) == ("run-1", "went wrong\x1b[2J")


def test_runs_are_chosen_by_status_tag_and_number(run_json, odd, recorded):
    def chosen(*options):
        return [each["run_id"] for each in run_json("runs", odd, *options)]

    assert chosen("--status", "failed") == ["run-10"]
    assert chosen("--status", "ARCHIVED") == ["old"]
    assert chosen("--tag", "a", "--tag", "b") == ["run-1"]
    assert chosen("--tag", "c") == []
    assert chosen("--limit", 1) == ["run-1"]
    assert chosen("--all") == ["run-1", "run-10", "old"]
    assert chosen("--newest") == ["run-10", "run-1"]
    assert chosen("--newest", "--limit", 1) == ["run-10"]
    assert chosen("--parent", "run-1") == ["run-10"]
    assert chosen("--parent", "ol") == []


def test_a_parent_need_not_be_there_any_more(run, run_json, tmp_path):
    with inmem.open(tmp_path) as db:
        db.begin_run("parent")
        db.begin_run("child", parent="parent")
        db.runs.delete_run("parent")

    assert [each["run_id"] for each in run_json("runs", tmp_path, "--parent", "parent")] == ["child"]
    assert run("runs", tmp_path, "--parent", "nobody").stderr.startswith("inmem: error: no run matches 'nobody'. ")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("command", ["runs", "events", "cells", "trace"])
def test_a_pipe_gets_what_a_terminal_would_where_a_width_is_asked_for(run, long, on_terminal, columns, command):
    arguments = [command, long, *(["run"] if command in ON_A_RUN else [])]
    piped = lines(run(*arguments, "--width", columns))
    assert all(len(line) <= columns for line in piped)
    on_terminal(columns)
    assert [line.rstrip() for line in lines(run(*arguments))] == piped
    on_terminal(132)
    assert [line.rstrip() for line in lines(run(*arguments, "--width", columns))] == piped


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 132, 200])
@pytest.mark.parametrize("command", ["runs", "events", "cells", "trace", "stat", "verify"])
def test_what_is_shown_fits_the_terminal(run, recorded, on_terminal, columns, command):
    on_terminal(columns)
    name = ["night-watch/0000"] if command in ON_A_RUN else []

    for line in lines(run(command, recorded, *name)):
        assert len(line) <= columns


@pytest.mark.parametrize("columns", range(40, 90, 5))
def test_no_line_ends_within_a_fact(run, recorded, on_terminal, columns):
    piped, *_ = lines(run("verify", recorded))
    on_terminal(columns)
    *wrapped, _chains = lines(run("verify", recorded))
    shown = [line.strip() for line in wrapped]
    assert " ".join(shown) == piped
    assert all(line.endswith(",") for line in shown[:-1])


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 132, 200])
@pytest.mark.parametrize(
    ("command", "headings"),
    [
        ("runs", "RUN STATUS EVENTS ERROR CREATED (UTC) TAGS"),
        ("events", "# TIME (UTC) TYPE PAYLOAD"),
        ("cells", "CELL VERSION UPDATED (UTC) VALUE"),
    ],
)
def test_no_column_vanishes_whatever_the_width(run, recorded, on_terminal, columns, command, headings):
    on_terminal(columns)
    shown = run(command, recorded, *(["night-watch/0000"] if command in ON_A_RUN else [])).stdout

    for word in headings.split():
        assert word in shown.split()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A database of long texts in every place of a table or tree. For reading only."""
    path = tmp_path_factory.mktemp("long") / "db"
    with inmem.open(path) as db, db.begin("run") as txn:
        txn.runs.create_run("run", tags=[text("tag")])
        txn.events.append("event", {"payload": text("payload")})
        txn.events.append("short", 1)
        txn.cells.init("cell", text("value"))
        for kind in (
            inmem.ToolCall("tool", {"a": text("arguments")}, text("result")),
            inmem.Decision(text("question"), [text("other"), text("chosen")], text("chosen"), text("reasoning")),
            inmem.Query("sql", text("query"), 1),
            inmem.Thought(text("thought")),
            inmem.ErrorTrace("Error", text("message")),
            inmem.Custom("custom", text("data")),
        ):
            txn.traces.record(kind)
        txn.runs.fail_run("run", text("error"))
    return path


def text(name):
    # Tags are the shortest of all.
    return f"{name} {'x' * 1000} end of {name}"


KINDS = ("arguments", "result", "question", "other", "chosen", "reasoning", "query", "thought", "message", "data")
LONG = {
    "runs": ("error", "tag"),
    "events": ("payload",),
    "cells": ("value",),
    "trace": KINDS,
}


@pytest.mark.parametrize("columns", [None, "20", "0", "100"])
@pytest.mark.parametrize("command", LONG)
def test_into_a_pipe_nothing_is_cut_whatever_the_width_of_the_terminal(run, long, monkeypatch, command, columns):
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    shown = lines(run(command, long, *(["run"] if command in ON_A_RUN else [])))
    for name in LONG[command]:
        assert any(text(name) in line for line in shown), name
    assert len(shown) == {"runs": 2, "events": 3, "cells": 2, "trace": 7}[command]
    if command == "events":
        assert len(shown[2]) < 100, "a long text does not make the other lines as long"


@pytest.mark.parametrize("command", LONG)
def test_on_a_terminal_long_texts_are_cut(run, long, on_terminal, command):
    on_terminal(100_000)
    shown = run(command, long, *(["run"] if command in ON_A_RUN else [])).stdout
    for name in LONG[command]:
        assert text(name) not in shown, name


def test_a_terminal_that_is_said_to_have_no_width_still_shows_something(run, recorded, on_terminal):
    on_terminal(0)
    assert "night-watch" in run("runs", recorded).stdout


def names_of(result_type, *more):
    return {field.name for field in fields(result_type)} | set(more)


def test_json_has_the_names_of_the_result_types(run_json, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    run_name = "night-watch/0000"
    first_key = run_json("get", recorded, run_name)[0]
    verified = run_json("verify", recorded)

    assert run_json("runs", recorded)[0].keys() == names_of(inmem.RunMetadata, "events")
    assert run_json("events", recorded, run_name)[0].keys() == names_of(inmem.Event)
    for trace in run_json("trace", recorded, run_name):
        assert trace.keys() == names_of(inmem.Trace, "depth")
        kind = {"Error": inmem.ErrorTrace}.get(trace["trace_type"]) or getattr(inmem, trace["trace_type"])
        assert trace["kind"].keys() == names_of(kind)
    assert run_json("cells", recorded, run_name)[0].keys() == names_of(inmem.State, "name")
    assert run_json("get", recorded, run_name, first_key).keys() == names_of(inmem.VersionedValue, "run_id", "key")
    assert run_json("stat", recorded).keys() >= names_of(inmem.RunStats, "version", "keys")
    assert verified.keys() == names_of(inmem.Verification)
    assert verified["files"].keys() == names_of(VerifyReport)
    assert run_json("record", *OWN, "--into", tmp_path / "db").keys() >= names_of(RecordSummary)


def test_events(run, run_json, recorded, odd):
    rows = lines(run("events", recorded, "night-watch/0000"))
    assert rows[0].split() == ["#", "TIME", "(UTC)", "TYPE", "PAYLOAD"]
    assert len(rows) == 19

    found = run_json("events", recorded, "night-watch/0000")
    assert [event["sequence"] for event in found] == list(range(18))
    assert found[1]["payload"]["role"] == found[1]["event_type"] == "user"
    assert found[1]["prev_hash"] == found[0]["hash"]

    def sequences(*options):
        return [event["sequence"] for event in run_json("events", odd, "run-1", *options)]

    assert sequences("--type", "plain") == [1, 2, 3, 4, 5]
    assert sequences("--type", "plain", "--limit", 2) == [1, 2]
    assert sequences("--type", "plain", "--start", 3) == [3, 4, 5]
    assert sequences("--start", 4) == [4, 5]
    assert sequences("--start", 1, "--limit", 2) == [1, 2]


class _Out(io.StringIO):
    """A pipe that counts, now and then, how many events there are in this process."""

    written = 0
    most = 0
    flushed = 0

    def write(self, text):
        self.written += 1
        if self.written % 100 == 0:
            held = sum(type(each) is inmem.Event for each in gc.get_objects())
            self.most = max(self.most, held)
        return super().write(text)

    def flush(self):
        self.flushed += 1


@pytest.mark.parametrize("options", [(), ("--json",), ("--type", "e"), ("--type", "e", "--json")])
def test_a_long_list_of_events_is_never_held(tmp_path, options):
    with inmem.open(tmp_path / "db", durability="never") as db:
        db.events.append_many("run", [("e", [at]) for at in range(1000)])  # lists, for the collector to see the events
    with contextlib.redirect_stdout(_Out()) as out, pytest.raises(SystemExit, match=r"^0$"):
        app.main(["events", str(tmp_path / "db"), "run", *options])
    if "--json" in options:
        assert len(json.loads(out.getvalue())) == 1000
    else:
        assert len(out.getvalue().splitlines()) == 1001
    # Two batches, while one takes the place of the other.
    assert 0 < out.most <= 2 * 100 + 1
    assert out.flushed < 10


def test_a_trace_is_drawn_as_a_tree(run, recorded):
    drawn = lines(run("trace", recorded, "night-watch/0001"))

    assert drawn[0].startswith("night-watch/0001-drifting-dinghy-")
    find = 'find_boat({"kind": "dinghy", "colour": "blue"})  44 ms  → '
    found = '[{"name": "Biscuit", "owner": "crew of Marigold", "berth": "B7"}]'
    call = 'call_berth({"berth": "B7"})  15.30 s  → {"answered": true, "aboard": 2, '
    note = '"note": "both crew safe; a knot was mentioned, and whose idea it was"}'
    choice = "decision Who brings it in?  → the pilot boat  (not the owners, by swimming)  because: "
    reason = "It is on the water anyway, and the owners have offered to swim."
    assert drawn[1:] == [
        "└── user There is an empty dinghy drifting past the mole. Blue, no lights.",
        "    ├── thought First whether somebody is missing, then whose it is.",
        "    │   ├── people_overdue({})  31 ms  → []",
        f"    │   └── {find}{found}",
        f"    ├── {call}{note}",
        f"    ├── {choice}{reason}",
        '    │   └── send_pilot_boat({"task": "tow Biscuit to B7"})  840.00 s  → {"state": "done", "minutes": 14}',
        "    └── thought Nobody was in danger. Biscuit is back at B7, with a better knot.",
    ]


def test_traces_of_every_kind(run, run_json, odd):
    assert lines(run("trace", odd, "run-1"))[1:] == [
        "├── thought think\\x1b[2J",
        "│   ├── query sql select 1  → 4",
        "│   └── ✗ Fatal: boom  (not recoverable)",
        "├── note [1]  #t",
        "└── slow()  2.50 s",
    ]
    found = run_json("trace", odd, "run-1")
    assert [(trace["depth"], trace["trace_type"]) for trace in found] == [
        (0, "Thought"),
        (1, "Query"),
        (1, "Error"),
        (0, "Custom"),
        (0, "ToolCall"),
    ]
    assert found[1]["parent_id"] == found[0]["id"]
    assert found[1]["kind"] == {"query_type": "sql", "query": "select 1", "results_count": 4}
    assert (found[3]["tags"], found[3]["metadata"]) == (["t"], {"m": {"$bytes": "eA=="}})


def test_a_chain_of_traces_is_drawn_in_lines_of_bounded_length(run, tmp_path, on_terminal):
    def think(txn):
        parent = None
        for at in range(3000):
            parent = txn.traces.record_with_options(inmem.Thought(str(at)), parent_id=parent).id
        txn.traces.record(inmem.Thought("beside"))

    with inmem.open(tmp_path, durability="never") as db:
        db.transaction("deep", think)
    top, *drawn = lines(run("trace", tmp_path, "deep"))
    assert (top, drawn[0], drawn[1], drawn[-1]) == (
        "deep", "├── thought 0", "│   └── thought 1", "└── thought beside"
    )  # fmt: skip
    before = "│   " + " " * 60
    assert drawn[16:18] == [f"{before}└── thought 16", f"{before}└── level 17  thought 17"]
    assert max(map(len, drawn)) < 100
    on_terminal(40)
    drawn = lines(run("trace", tmp_path, "deep"))
    assert drawn[3000] == "│                   └── level 2999  tho…"


def test_where_lines_cannot_be_drawn_the_tree_is_ascii(odd):
    environment = {**os.environ, "PYTHONPATH": FOUND_IN, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run(
        [sys.executable, "-m", "inmem", "trace", str(odd), "run-1"], env=environment, capture_output=True, check=True
    )
    assert [line[:8].decode() for line in result.stdout.splitlines()] == [
        "run-1", "+-- thou", "|   +-- ", "|   `-- ", "+-- note", "`-- slow"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "things"), [("get", "keys"), ("events", "events"), ("cells", "cells"), ("trace", "traces")]
)
def test_where_a_run_has_nothing_to_list_it_is_said_that_it_has_none(run, run_json, odd, command, things):
    shown = run(command, odd, "run-10")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"run run-10 has no {things}\n")
    assert run_json(command, odd, "run-10") == []


def test_cells(run, run_json, odd):
    header, row = lines(run("cells", odd, "run-1"))
    assert (header.split()[0], row.split()[:2]) == ("CELL", ["phase", "1"])
    assert row.endswith('{"step": 1}')
    (cell,) = run_json("cells", odd, "run-1")
    assert (cell["name"], cell["value"], cell["version"]) == ("phase", {"step": 1}, 1)


def test_get(run, run_json, odd):
    assert lines(run("get", odd, "run-1", "bytes")) == ['{"$bytes": "AP8="}']
    assert lines(run("get", odd, "run-1", "lines")) == ["one", "two\\x1b[31m\ttabs \\u202eevil 🚢 日本\u3000語"]
    found = run_json("get", odd, "run-1", "nan")
    assert found["value"] == [{"$float": "nan"}, {"$float": "-inf"}, 1.5, None, True]
    assert (found["run_id"], found["key"], found["expires_at"]) == ("run-1", "nan", None)
    assert lines(run("get", odd, "run-1")) == ["bytes", '"key\\x07"', "lines", "nan"]
    assert run_json("get", odd, "run-1") == ["bytes", "key\x07", "lines", "nan"]


def test_keys_are_listed_by_their_beginning(run, run_json, odd):
    assert lines(run("get", odd, "run-1", "--prefix", "b")) == ["bytes"]
    assert lines(run("get", odd, "run-1", "--prefix", "key\x07")) == ['"key\\x07"']
    assert run_json("get", odd, "run-1", "--prefix", "b") == ["bytes"]
    assert run_json("get", odd, "run-1", "--prefix", "") == run_json("get", odd, "run-1")


def test_where_no_key_has_the_beginning_it_is_said_whether_there_are_others(run, run_json, odd):
    for name, said in (("run-1", 'has no keys that begin with "no key "'), ("run-10", "has no keys")):
        shown = run("get", odd, name, "--prefix", "no key ")
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"run {name} {said}\n")
        assert run_json("get", odd, name, "--prefix", "no key ") == []


def test_a_prefix_and_a_key_exclude_each_other(run, odd):
    for more in ((), ("--json",), ("--raw",)):
        refused = run("get", odd, "run-1", "bytes", "--prefix", "b", *more)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr == "inmem: error: --prefix lists keys and cannot be combined with KEY\n"


def test_a_run_is_found_by_an_unambiguous_beginning(run, run_json, odd):
    assert run_json("get", odd, "run-1", "bytes")["run_id"] == "run-1", "a whole name wins over beginnings"
    assert run_json("events", odd, "ol") == []
    assert run_json("get", odd, "unregistered", "k")["value"] == {"a": 1}

    several = run("events", odd, "run")
    assert (several.exit_code, several.stdout) == (2, "")
    assert several.stderr == "inmem: error: 2 runs begin with 'run': run-1, run-10\n"
    none = run("events", odd, "unknown")
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr == f"inmem: error: no run matches 'unknown'. Try: inmem runs {odd}\n"


def test_a_beginning_finds_a_run_that_was_never_registered_too(run, run_json, odd, tmp_path):
    assert run_json("get", odd, "unreg", "k")["run_id"] == "unregistered"
    with inmem.open(tmp_path) as db:
        db.begin_run("meeting-1")
        db.put("meeting-2", "k", 1)
    several = run("events", tmp_path, "meet")
    assert (several.exit_code, several.stdout) == (2, "")
    assert several.stderr == "inmem: error: 2 runs begin with 'meet': meeting-1, meeting-2\n"


def test_runs_that_were_never_registered_are_told_of_and_listed(run, run_json, odd):
    hint = f"1 unregistered run; to list: inmem runs {odd} --unregistered\n"
    shown = run("runs", odd)
    assert (shown.exit_code, shown.stderr) == (0, hint)
    # Neither has a status or tags by which it could be among these.
    assert run("runs", odd, "--tag", "a").stderr == run("runs", odd, "--status", "active").stderr == ""

    assert [row.split() for row in lines(run("runs", odd, "--unregistered"))] == [
        ["RUN", "EVENTS"],
        ["unregistered", "0"],
    ]
    assert run_json("runs", odd, "--unregistered") == [{"run_id": "unregistered", "events": 0}]
    assert run_json("runs", odd, "--unregistered", "--limit", 0) == []


@pytest.mark.parametrize("option", [("--status", "active"), ("--tag", "a"), ("--parent", "run-1"), ("--newest",)])
def test_what_was_never_registered_is_not_chosen_by_what_it_does_not_have(run, odd, option):
    result = run("runs", odd, "--unregistered", *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == ("inmem: error: unregistered runs have no status, tags, parent or creation time\n")


def test_the_path_in_a_hint_can_be_pasted_into_a_shell(run, tmp_path):
    with inmem.open(tmp_path / "my agents.db") as db:
        db.put("loose", "k", 1)
        db.put("looser", "k", 1)
    nothing, told = run("runs", tmp_path / "my agents.db").stderr.splitlines(keepends=True)
    assert nothing == "no registered runs\n"
    assert told == f"2 unregistered runs; to list: inmem runs '{tmp_path}/my agents.db' --unregistered\n"


def test_a_database_is_called_what_it_was_called(run, recorded, tmp_path, monkeypatch):
    shutil.copytree(recorded, tmp_path / "sub" / "my db")
    monkeypatch.chdir(tmp_path / "sub")

    assert run("events", "my db", "nobody").stderr.endswith(" Try: inmem runs 'my db'\n")
    assert run("events", str(tmp_path / "sub" / "my db"), "nobody").stderr.endswith(f" runs '{tmp_path}/sub/my db'\n")
    no_database = ": the folder has neither a LOCK file nor a log\n"
    assert run("runs", ".").stderr == f"inmem: error: there is no database at .{no_database}"
    assert run("runs", "none").stderr == "inmem: error: there is no database at none\n"
    with inmem.open("my db"):
        assert run("checkpoint", "my db").stderr.startswith("inmem: error: my db is in use by process ")
    monkeypatch.chdir("my db")
    assert run("events", ".", "nobody").stderr.endswith(" Try: inmem runs .\n")


@pytest.mark.parametrize("primitive", ["kv", "events", "cells", "traces"])
def test_a_whole_name_wins_though_the_run_was_never_registered(run_json, tmp_path, primitive):
    with inmem.open(tmp_path) as db, db.begin("trip") as txn:
        txn.runs.create_run("trip-2")
        txn.on("trip-2").events.append("of the other")
        {
            "kv": lambda: txn.kv.put("k", 1),
            "events": lambda: txn.events.append("e"),
            "cells": lambda: txn.cells.init("c", 1),
            "traces": lambda: txn.traces.record(inmem.Thought("t")),
        }[primitive]()

    def types(name):
        return [event["event_type"] for event in run_json("events", tmp_path, name)]

    assert types("trip") == (["e"] if primitive == "events" else [])
    assert types("trip-") == ["of the other"]


def test_a_key_that_was_not_found_is_a_no(run, odd):
    no_key = run("get", odd, "run-1", "nothing")
    assert (no_key.exit_code, no_key.stdout) == (1, "")
    assert no_key.stderr == f"inmem: error: run 'run-1' has no key 'nothing'. Try: inmem get {odd} run-1\n"
    cell = run("get", odd, "run-1", "phase")
    assert (cell.exit_code, cell.stdout) == (1, "")
    assert cell.stderr == (
        f"inmem: error: run 'run-1' has no key 'phase', but a cell with that name. Try: inmem cells {odd} run-1\n"
    )


@pytest.mark.parametrize(
    ("stored", "printed"),
    [
        ("a\tb\r\nc\r\n", "a\tb\r\nc\r\n\n"),
        ("a\rb\r", "a\\rb\\r\n"),
        ("\r\r\n\x1b\t\x07", "\\r\r\n\\x1b\t\\x07\n"),
        ("a\x0bb\x0cc\x85d\u2028e", "a\\x0bb\\x0cc\\x85d\\u2028e\n"),
    ],
)
def test_text_is_printed_with_its_lines_and_tabs_and_with_no_other_control(tmp_path, stored, printed):
    with inmem.open(tmp_path) as db:
        db.put("run", "k", stored)
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), newline="")) as out, pytest.raises(SystemExit):
        app.main(["get", str(tmp_path), "run", "k"])
    assert out.buffer.getvalue().decode() == printed


@pytest.mark.parametrize("name", [*READING, "export", "checkpoint"])
def test_what_is_no_database_is_wrong_usage(run, tmp_path, name):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "notes.txt").write_text("not a database")
    (tmp_path / "file").write_text("not a database")

    def refusal(path):
        result = run(name, path, *(["run"] if name in ON_A_RUN else []))
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr

    assert refusal(tmp_path / "none") == f"inmem: error: there is no database at {tmp_path / 'none'}\n"
    no_log = "the folder has neither a LOCK file nor a log"
    assert refusal(tmp_path / "junk") == f"inmem: error: there is no database at {tmp_path / 'junk'}: {no_log}\n"
    assert refusal(tmp_path / "file").endswith(f"{tmp_path / 'file'} is a file; a database is a folder\n")
    assert not (tmp_path / "none").exists()
    assert [path.name for path in (tmp_path / "junk").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("checkpoint", ":memory:"),
        ("runs", ":memory:"),
        ("ui", ":memory:"),
        ("record", OWN[0], "--into", ":memory:"),
        ("import", "-", "--into", ":memory:"),
        ("salvage", "db", "--into", ":memory:"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_database_in_memory_is_refused_as_it_would_keep_nothing(run, recorded, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recorded, tmp_path / "db")

    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("inmem: error: Invalid value for ")
    assert result.stderr.endswith(": :memory: is not stored on disk; a database is a folder\n")
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


def test_salvage_tells_of_damage_that_has_cost_no_commit(run, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "key", 1)
    [segment] = (tmp_path / "db").glob("*.wal")
    content = bytearray(segment.read_bytes())
    # In the frame that the closing wrote.
    content[-1] ^= 1
    segment.write_bytes(content)

    result = run("salvage", tmp_path / "db", "--into", tmp_path / "saved", "--json")

    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["is_complete"], facts["prefix_version"]) == (1, False, 1)
    assert (facts["missing"], facts["left_out"]) == ([], [])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("--nonsense",),
        ("runs",),
        ("runs", "db", "--limit", "-1"),
        ("runs", "db", "--limit", "x"),
        ("runs", "db", "--status", "happy"),
        ("events", "db"),
        ("events", "db", "run", "more"),
        ("record", "--into", "db"),
        ("record", "no-such-file", "--into", "db"),
        ("record", __file__),
        ("record", __file__, "--into", "db", "--agents", "0"),
        ("record", __file__, "--into", "db", "--durability", "sometimes"),
        ("get", "db", "x" * 300),
        ("get", "db", "run-1", "--raw"),
        ("get", "db", "run-1", "--raw", "--prefix", "l"),
        ("get", "db", "run-1", "--prefix", "x" * 1025),
        ("get", "db", "run-1", "lines", "--raw", "--json"),
    ],
)
def test_wrong_usage(run, arguments, tmp_path, monkeypatch, odd):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(odd, tmp_path / "db")

    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert not arguments or len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("inmem: error: " if arguments else "Usage: inmem ")


@pytest.mark.parametrize(
    "value", ["\tx\r\n", "", "one\ntwo\x1b[31m 🚢", b"\x00\xff\r\n", b"", {"a": [b"\xff", "\u202e"]}]
)
def test_what_is_stored_can_be_had_back(tmp_path, value):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", value)
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as out, pytest.raises(SystemExit, match=r"^0$"):
        app.main(["get", str(tmp_path / "db"), "run", "k", "--raw"])
    written = out.buffer.getvalue()
    if isinstance(value, dict):
        assert from_json(json.loads(written)) == value
    else:
        assert written == (value if isinstance(value, bytes) else value.encode())


def test_what_is_stored_is_kept_off_a_terminal(run, odd, on_terminal):
    on_terminal(80)
    refused = run("get", odd, "run-1", "lines", "--raw")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("inmem: error: --raw does not write to a terminal")


def test_many_lines_are_written_at_once(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", "line\n" * 1000)
        with db.begin("run") as txn:
            for at in range(1000):
                txn.put(f"{at:04}", at)
    for key in (["k"], []):
        with contextlib.redirect_stdout(_Out()) as out, pytest.raises(SystemExit, match=r"^0$"):
            app.main(["get", str(tmp_path / "db"), "run", *key])
        assert len(out.getvalue().splitlines()) == 1001
        assert out.flushed < 10


@pytest.mark.parametrize(
    ("command", "option"),
    [(("runs",), "--limit"), (("events", "run-1"), "--limit"), (("events", "run-1"), "--start")],
)
def test_of_a_number_that_is_too_great_the_option_is_named(run, odd, command, option):
    name, *more = command

    refused = run(name, odd, *more, option, 2**63)
    taken = run(name, odd, *more, option, 2**63 - 1)

    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert re.search(rf"{option}'?: {2**63} is more than {2**63 - 1}", refused.stderr)
    assert taken.exit_code == 0


def test_of_two_great_numbers_neither_is_too_great(run_json, odd):
    assert run_json("events", odd, "run-1", "--start", 5, "--limit", 2**63 - 1)[0]["sequence"] == 5


def test_whoever_is_lost_is_told_where_help_is(run):
    assert run("runs").stderr == "inmem: error: Missing argument 'DB'. Try: inmem runs --help\n"
    assert run("events", "--nonsense").stderr.endswith(" Try: inmem events --help\n")
    assert run("nonsense").stderr == "inmem: error: No such command 'nonsense'. Try: inmem --help\n"
    assert run("stats").stderr.endswith(" Try: inmem --help\n")
    # Releases of click differ in the quotes around names.
    assert run("--json", "runs", "db").stderr == (
        "inmem: error: No such option before a command: '--json'. Put it after the command: inmem COMMAND --json\n"
    )
    assert run("runs", "").stderr.endswith(": the path is empty; a database is a folder\n")
    assert run("runs", "db", "--jso").stderr.replace("'", "").endswith("Did you mean --json? Try: inmem runs --help\n")
    assert run("events", "db", "run", "--li").stderr.endswith("?) Try: inmem events --help\n")


def test_nothing_that_is_shown_moves_the_cursor(run, odd):
    for command in (("runs",), ("events", "run-1"), ("trace", "run-1"), ("cells", "run-1"), ("get", "run-1", "lines")):
        name, *more = command
        shown = run(name, odd, *more).stdout
        assert all(char.isprintable() or char in "\n\t\u3000" for char in shown), command


def test_get_escapes_what_nobody_can_see_and_keeps_emoji(run, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run-1", "k", "a\u3164\tb\u2800\n❤\ufe0f\U000e0100 👨\u200d👩")
    shown = run("get", tmp_path / "db", "run-1", "k").stdout
    assert shown == "a\\u3164\tb\\u2800\n❤\ufe0f\\U000e0100 👨\u200d👩\n"


def test_json_holds_nothing_that_moves_the_cursor(run, odd):
    for name, *more in (("runs",), ("events", "run-1"), ("get", "run-1", "lines")):
        shown = run(name, odd, *more, "--json").stdout
        assert all(char.isprintable() or char in "\n\u3000" for char in shown)
    assert json.loads(shown)["value"] == "one\ntwo\x1b[31m\ttabs \u202eevil 🚢 日本\u3000語"


def test_stat(run, run_json, recorded):
    told = dict(line.split(maxsplit=1) for line in lines(run("stat", recorded)))
    assert told["runs"] == "7 (6 completed, 1 failed)"
    assert (told["keys"], told["events"], told["cells"], told["traces"]) == ("7", "90", "7", "77")
    assert told["entries"].endswith(", including index entries")

    facts = run_json("stat", recorded)
    assert (facts["events"], facts["total_runs"], facts["failed_runs"]) == (90, 7, 1)
    assert (facts["keys"], facts["cells"], facts["traces"]) == (7, 7, 77)
    assert told["entries"].startswith(f"{facts['entries']}, ")
    assert facts["size_bytes"] == sum(path.stat().st_size for path in recorded.iterdir())


def test_verify_names_a_record_that_nobody_can_read(run, run_json, tmp_path):
    disk = FolderDisk(str(tmp_path))
    log = LogBuilder(disk)
    log.commit(put("run", b"k\x1b", b"\xc1"))
    log.close()
    disk.close()

    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert "records  damaged  1 record that cannot be read" in result.stdout
    assert "'run': kv b'k\\x1b': FormatError" in result.stdout
    result = run("verify", tmp_path, "--json")
    assert json.loads(result.stdout)["unreadable"] == [
        {"run_id": "run", "tag": 1, "key": {"$bytes": "axs="}, "reason": "FormatError"}
    ]


def test_stat_counts_what_runs_hold_that_were_never_registered(run, run_json, tmp_path):
    with inmem.open(tmp_path) as db:
        db.begin_run("known")
        db.events.append("unknown", "heard")
        db.traces.record("unknown", inmem.Thought("hm"))

    told = dict(line.split(maxsplit=1) for line in lines(run("stat", tmp_path)))
    assert (told["runs"], told["events"], told["traces"]) == ("1 (1 active), 1 unregistered", "1", "1")
    facts = run_json("stat", tmp_path)
    assert (facts["unregistered_runs"], facts["events"], facts["traces"]) == (1, 1, 1)


def test_stat_beside_an_owner_whose_checkpoint_removes_a_file(run_json, tmp_path, monkeypatch):
    with inmem.open(tmp_path) as db:
        db.put("run", "k", 1)
        scandir = os.scandir

        def listed_before_the_checkpoint(path):
            entries = list(scandir(path))
            db.checkpoint()
            return contextlib.nullcontext(entries)

        monkeypatch.setattr(os, "scandir", listed_before_the_checkpoint)
        assert run_json("stat", tmp_path)["version"] == 1


def test_verify_a_sound_database(run, run_json, recorded):
    files, chains = lines(run("verify", recorded))
    assert files.split()[:2] == ["files", "ok"]
    assert chains.split() == ["chains", "ok", "90", "events", "in", "7", "chains"]
    assert run_json("verify", recorded)["is_valid"] is True


@pytest.mark.parametrize("damaged", ["a byte", "the header"])
def test_verify_a_damaged_database(run, recorded, tmp_path, damaged):
    shutil.copytree(recorded, tmp_path / "db")
    (segment,) = (path for path in (tmp_path / "db").iterdir() if path.stat().st_size > 10_000)
    content = bytearray(segment.read_bytes())
    if damaged == "a byte":
        content[len(content) // 2] ^= 1
    else:
        content[:64] = bytes(64)
    segment.write_bytes(content)

    told = run("verify", tmp_path / "db")
    advice = f"restore a backup, or: inmem salvage {tmp_path / 'db'} --into NEW\n"
    assert (told.exit_code, told.stderr) == (1, advice)
    assert "damaged" in told.stdout
    assert str(segment) in told.stdout
    found = run("verify", tmp_path / "db", "--json")
    assert (found.exit_code, found.stderr) == (1, "")
    facts = json.loads(found.stdout)
    assert facts["is_valid"] is False
    assert facts["files"]["problems"][0]["path"] == str(segment)
    other = run("runs", tmp_path / "db")
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr.startswith(f"inmem: error: {segment}, byte ")
    assert other.stderr.endswith(f"; {advice}")


@pytest.mark.parametrize("columns", [20, 30])
def test_a_narrow_terminal_shows_all_of_what_is_damaged(run, recorded, tmp_path, on_terminal, columns):
    shutil.copytree(recorded, tmp_path / "db")
    (segment,) = (path for path in (tmp_path / "db").iterdir() if path.stat().st_size > 10_000)
    segment.write_bytes(bytes(64) + segment.read_bytes()[64:])
    on_terminal(columns)

    lines = run("verify", tmp_path / "db").stdout.splitlines()

    assert all(len(line) <= columns for line in lines)
    assert str(segment) in "".join(lines).replace(" ", "")
    assert lines[0].split()[:2] == ["files", "damaged"]


def test_verify_names_a_torn_tail_and_changes_nothing(run, run_json, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    last = max((tmp_path / "db").glob("*.wal"))
    end = last.stat().st_size
    with last.open("ab") as file:
        file.write(b"torn")
    facts = run_json("verify", tmp_path / "db")
    assert facts["is_valid"] is True
    assert [(torn["name"], torn["offset"], torn["size"]) for torn in facts["files"]["torn"]] == [(last.name, end, 4)]
    assert f"torn  {last.name}, byte {end}: 4 bytes" in run("verify", tmp_path / "db").stdout
    assert last.stat().st_size == end + 4

    inmem.open(tmp_path / "db").close()
    facts = run_json("verify", tmp_path / "db")
    assert (facts["is_valid"], facts["files"]["torn"]) == (True, [])
    assert facts["files"]["kept_aside"] == [{"name": f"{last.name}.torn-{end}", "size": 4}]
    assert (
        f"aside  {last.name}.torn-{end}, 4 bytes: what an interrupted write had left"
        in run("verify", tmp_path / "db").stdout
    )


def test_salvage_of_what_is_no_database_is_wrong_usage(run, tmp_path):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "notes.wal").write_text("not ours")
    for path in (tmp_path / "missing", tmp_path / "junk"):
        result = run("salvage", path, "--into", tmp_path / "new")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"inmem: error: there is no database at {path}")
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_salvage(run, run_json, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    (segment,) = (path for path in (tmp_path / "db").iterdir() if path.stat().st_size > 10_000)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    told = run("salvage", tmp_path / "db", "--into", tmp_path / "saved")
    assert (told.exit_code, told.stderr) == (1, "")
    first = [line.split()[0] for line in told.stdout.splitlines()]
    assert first == ["kept", "entries:", "into", "left", "lost", "damaged"]
    assert "1 commit (version " in told.stdout
    assert "recover them with --beyond-damage" in told.stdout
    assert run("verify", tmp_path / "saved").exit_code == 0

    again = run("salvage", tmp_path / "db", "--into", tmp_path / "saved")
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr == f"inmem: error: into: {tmp_path / 'saved'} is not empty\n"

    beyond = run("salvage", tmp_path / "db", "--into", tmp_path / "more", "--beyond-damage", "--json")
    assert beyond.exit_code == 1
    facts = json.loads(beyond.stdout)
    assert facts["is_complete"] is False
    assert (facts["left_out"], len(facts["taken_beyond"]), len(facts["missing"])) == ([], 1, 1)
    assert facts["runs"] == 7
    damaged = [file for file in facts["files"] if file["lost"]]
    assert [file["name"] for file in damaged] == [segment.name]
    assert damaged[0]["lost"][0]["offset"] <= len(content) // 2
    shown = run("salvage", tmp_path / "db", "--into", tmp_path / "shown", "--beyond-damage").stdout
    assert "after the damage: together, a state that never existed" in shown

    sound = run("salvage", recorded, "--into", tmp_path / "copy")
    assert (sound.exit_code, lines(sound)[-1].split()) == (0, ["lost", "nothing"])
    counted = run_json("stat", recorded)
    assert lines(sound)[0].split()[1:7] == ["7", "runs,", f"{counted['keys']}", "keys,", "90", "events;"]
    assert lines(sound)[1].split()[1] == f"{counted['entries']},"
    assert run_json("verify", tmp_path / "copy")["events"] == 90


def test_what_a_damaged_checkpoint_still_holds_is_not_called_lost(run, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    assert run("checkpoint", tmp_path / "db").exit_code == 0
    [checkpoint] = (tmp_path / "db").glob("*.checkpoint")
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)

    told = run("salvage", tmp_path / "db", "--into", tmp_path / "saved", "--beyond-damage").stdout.splitlines()
    assert told[2].strip() == f"parts of {checkpoint.name}: together, a state that never existed"
    [lost] = [line for line in told if line.startswith("lost")]
    assert lost.endswith("), except for what those parts hold of them")
    with inmem.open(tmp_path / "saved") as db:
        assert db.runs.list_runs()

    # Nothing of it is taken unasked, and then all of it is lost.
    told = run("salvage", tmp_path / "db", "--into", tmp_path / "proven").stdout.splitlines()
    [lost] = [line for line in told if line.startswith("lost")]
    assert lost.endswith(")")


def test_traces_whose_parent_is_lost_are_told_of_wherever_they_would_be_missing(run, run_json, tmp_path, monkeypatch):
    with inmem.open(tmp_path / "db") as db:
        db.begin_run("r")
        db.traces.record_with_options("r", inmem.Thought("that is lost"), id="p")
        for name in ("c0", "c1"):
            db.traces.record_with_options("r", inmem.Thought(name), id=name, parent_id="p")
    segment = tmp_path / "db" / "000000000001.wal"
    content = bytearray(segment.read_bytes())
    content[content.index(b"that is lost")] ^= 1
    segment.write_bytes(content)
    named = [{"run_id": "r", "trace_id": name, "parent_id": "p"} for name in ("c0", "c1")]

    told = run("salvage", tmp_path / "db", "--into", tmp_path / "saved", "--beyond-damage").stdout
    assert "orphaned  2 traces of 'r', now without a parent: 'p' was lost" in told
    facts = json.loads(run("salvage", tmp_path / "db", "--into", tmp_path / "more", "--beyond-damage", "--json").stdout)
    assert facts["orphans"] == named
    assert [(each["id"], each["depth"]) for each in run_json("trace", tmp_path / "saved", "r")] == [
        ("c0", 0),
        ("c1", 0),
    ]
    assert run_json("verify", tmp_path / "saved")["orphans"] == []

    # As a salvage left it that did not know of this.
    monkeypatch.setattr("inmem.salvaging.with_orphans_as_roots", lambda snapshot: (snapshot, []))
    run("salvage", tmp_path / "db", "--into", tmp_path / "old", "--beyond-damage")
    told = run("verify", tmp_path / "old")
    assert told.exit_code == 1
    assert "traces  damaged  2 traces whose parent is lost: no tree shows them" in told.stdout
    assert "'r': 'c1' was recorded below 'p'" in told.stdout
    assert json.loads(run("verify", tmp_path / "old", "--json").stdout)["orphans"] == named
    for command in (["trace"], ["export"], ["export", "--format", "otlp"]):
        name, *options = command
        told = run(name, tmp_path / "old", "r", *options)
        assert told.exit_code == 1
        assert "run 'r': 2 of its traces are below no root: trace 'c0' was recorded below 'p'" in told.stderr


def test_checkpoint(run, run_json, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")

    assert lines(run("checkpoint", tmp_path / "db"))[0].startswith("wrote a checkpoint of version ")
    assert run_json("checkpoint", tmp_path / "db") == {"version": run_json("stat", recorded)["version"]}
    assert run_json("verify", tmp_path / "db")["events"] == 90


def test_reading_does_not_disturb_a_writer(run_json, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.runs.create_run("live")
        assert [each["run_id"] for each in run_json("runs", tmp_path / "db")] == ["live"]
        db.kv.put("live", "k", 1)
        assert run_json("get", tmp_path / "db", "live", "k")["value"] == 1
        assert run_json("verify", tmp_path / "db")["is_valid"]


def test_writing_beside_a_writer_is_refused(run, tmp_path):
    with inmem.open(tmp_path / "db"):
        result = run("checkpoint", tmp_path / "db")
        assert result.exit_code == 1
        assert "is in use by" in result.stderr


def test_record(run, run_json, tmp_path):
    told = run("record", *OWN[:1], "--into", tmp_path / "db", "--agents", 2)
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.startswith("3 runs, 38 messages, 10 tool calls recorded; ")

    more = run_json("record", *OWN, "--into", tmp_path / "db", "--durability", "never")
    assert (more["runs"], more["messages"], more["tool_calls"]) == (7, 90, 31)
    assert (more["already_recorded"], more["errors"]) == (38, [])
    assert more["seconds"] > 0
    assert more["files"] == [str(path) for path in OWN]

    one_more = write_runs(tmp_path / "more.json", [user("one")])
    both = run("record", OWN[0], one_more, "--into", tmp_path / "db")
    counts = "4 runs, 39 messages, 10 tool calls recorded"
    assert both.stdout.startswith(f"{counts}; 38 of the messages were already recorded; ")

    again = run("record", *OWN, "--into", tmp_path / "db")
    assert again.stdout == "7 runs, 90 messages, 31 tool calls: all already recorded\n"


@pytest.mark.parametrize(("seconds", "rate"), [(0.9, "0.9 s, 1 message/s"), (0.2, "0.2 s, 5 messages/s")])
def test_record_tells_how_fast_it_was(run, tmp_path, monkeypatch, seconds, rate):
    summary = RecordSummary(runs=1, messages=1, tool_calls=0, already_recorded=0, errors=(), seconds=seconds)
    monkeypatch.setattr("inmem.cli.record.record_files", lambda *_, **__: summary)
    recorded = run("record", OWN[0], "--into", tmp_path / "db").stdout
    assert recorded == f"1 run, 1 message, 0 tool calls recorded; {rate}\n"


def test_record_tells_where_a_file_is_malformed_and_keeps_the_rest(run, run_json, tmp_path):
    path = write_runs(tmp_path / "runs.json", [user("fine")], [user("fine"), {"content": "who?"}])

    result = run("record", path, "--into", tmp_path / "db")

    assert result.exit_code == 1
    assert result.stderr == f'inmem: error: {path}: item 1, messages[1]: "role" is missing\n'
    assert result.stdout.startswith("1 run, 1 message, 0 tool calls recorded")
    (only,) = run_json("runs", tmp_path / "db")
    assert (only["status"], only["events"]) == ("Completed", 1)


def test_record_of_a_conversation_without_messages_says_that_there_is_a_run(run, run_json, tmp_path):
    (tmp_path / "quiet.json").write_text('{"messages": []}')

    for _ in ("once", "and again"):
        result = run("record", tmp_path / "quiet.json", "--into", tmp_path / "db")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("1 run, 0 messages, 0 tool calls recorded; ")
        assert [(each["status"], each["events"]) for each in run_json("runs", tmp_path / "db")] == [("Completed", 0)]


def test_a_transcript_that_has_grown_is_recorded_as_another_run(run, run_json, tmp_path):
    path = tmp_path / "grows.jsonl"
    path.write_text(json.dumps(user("one")) + "\n")
    run("record", path, "--into", tmp_path / "db")
    with path.open("a") as file:
        file.write(json.dumps(user("two")) + "\n")
    run("record", path, "--into", tmp_path / "db")

    assert [each["events"] for each in run_json("runs", tmp_path / "db")] == [1, 2]


def test_record_of_nothing_leaves_nothing(run, tmp_path):
    (tmp_path / "bad.json").write_text("nonsense")
    (tmp_path / "empty.json").write_text("[]")

    result = run("record", tmp_path / "bad.json", tmp_path / "empty.json", "--into", tmp_path / "db")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"inmem: error: {tmp_path / 'bad.json'}: line 1, column 1: not JSON: Expecting value",
        f"inmem: error: {tmp_path / 'empty.json'}: there is no conversation in it",
    ]
    assert not (tmp_path / "db").exists()
    result = run("record", os.devnull, "--into", tmp_path / "db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"inmem: error: {os.devnull}: the file is empty\n"
    assert not (tmp_path / "db").exists()

    inmem.open(tmp_path / "db").close()
    result = run("record", tmp_path / "bad.json", "--into", tmp_path / "db")
    assert (result.exit_code, result.stdout) == (1, "nothing recorded\n")
    # Whether the database is there already, it is the same mistake.
    result = run("record", tmp_path / "empty.json", OWN[0], "--into", tmp_path / "db")
    assert result.exit_code == 1
    assert result.stderr == f"inmem: error: {tmp_path / 'empty.json'}: there is no conversation in it\n"
    assert result.stdout.startswith("3 runs, ")


def test_record_into_something_else(run, tmp_path):
    (tmp_path / "file").write_text("hello")

    result = run("record", OWN[0], "--into", tmp_path / "file")

    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
