"""`inmem events`: the last of them, and those that come."""

import json
import signal

import pytest

import inmem
from inmem.primitives import events as events_primitive

FAILSAFE_S = 60


@pytest.fixture
def sequences(run_json):
    def sequences(*arguments):
        return [event["sequence"] for event in run_json("events", *arguments)]

    return sequences


def test_the_last_of_all_and_of_a_type(sequences, tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append_many("run", [("rare" if at % 400 == 0 else "often", at) for at in range(1000)])
        db.put("without", "k", 1)

    assert sequences(tmp_path, "run", "--last", 2) == [998, 999]
    assert sequences(tmp_path, "run", "--last", 2, "--type", "often") == [998, 999]
    assert sequences(tmp_path, "run", "--last", 2, "--type", "rare") == [400, 800]
    assert sequences(tmp_path, "run", "--last", 9, "--type", "rare") == [0, 400, 800]
    assert sequences(tmp_path, "run", "--last", 9, "--type", "rare", "--start", 1) == [400, 800]
    assert sequences(tmp_path, "run", "--last", 9, "--start", 997) == [997, 998, 999]
    assert sequences(tmp_path, "run", "--last", 9, "--type", "never") == []
    assert sequences(tmp_path, "run", "--last", 0) == sequences(tmp_path, "run", "--last", 0, "--type", "rare") == []
    assert len(sequences(tmp_path, "run", "--last", 2**63 - 1)) == 1000
    assert sequences(tmp_path, "without", "--last", 1) == []


@pytest.mark.parametrize("chosen", [(), ("--type", "often")])
def test_the_last_are_found_without_reading_the_others(run, tmp_path, monkeypatch, chosen):
    with inmem.open(tmp_path, durability="never") as db:
        db.events.append_many("run", [("rare" if at % 400 == 0 else "often", at) for at in range(5000)])
    read = []
    event_of = events_primitive.event_of
    monkeypatch.setattr(events_primitive, "event_of", lambda *record: read.append(record) or event_of(*record))

    shown = run("events", tmp_path, "run", "--last", 10, *chosen)

    assert len(shown.stdout.splitlines()) == 11
    assert len(read) < 100


def test_the_first_and_the_last_are_not_asked_for_together(run, odd):
    refused = run("events", odd, "run-1", "--last", 1, "--limit", 1)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "inmem: error: --limit and --last cannot be combined\n"


def test_where_no_event_is_listed_it_is_said_what_there_is(run, run_json, tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append_many("run", [("asked", 0), ("tool call", 1), ("asked", 2)])
        db.events.append_many("many", [(f"type {at:02}", at) for at in range(30)])
        db.put("without", "k", 1)
    types = 'run run has no event of type typo; its types are: asked, "tool call"'
    for arguments, told in (
        (("run", "--type", "typo"), types),
        (("run", "--type", "typo", "--last", 2), types),
        (("run", "--type", "typo", "--start", 9), types),
        (("run", "--start", 5000), "run run has no event from 5000 onwards; its last event is 2"),
        (
            ("run", "--start", 2, "--type", "tool call"),
            "run run has no event of type tool call from 2 onwards; its last event is 2",
        ),
        (("without",), "run without has no events"),
        (("without", "--type", "typo"), "run without has no events"),
    ):
        shown = run("events", tmp_path, *arguments)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"{told}\n")
    many = run("events", tmp_path, "many", "--type", "typo").stderr
    assert many.endswith('"type 18", "type 19", …\n')
    assert run_json("events", tmp_path, "run", "--type", "typo") == []


@pytest.fixture
def follow(start, tmp_path):
    """Start following the run "run" of a database in a process of its own."""
    return lambda *options: start("events", tmp_path, "run", "--follow", *options)


def test_what_another_process_writes_is_followed_until_ctrl_c(follow, tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append_many("run", [("first", {"at": at}) for at in range(5)])
        process = follow("--last", 2)
        shown = [process.stdout.readline().split(maxsplit=4) for _ in range(3)]
        assert shown[0] == ["#", "TIME", "(UTC)", "TYPE", "PAYLOAD\n"]
        assert [(row[0], row[3], row[4]) for row in shown[1:]] == [
            ("3", "first", '{"at": 3}\n'),
            ("4", "first", '{"at": 4}\n'),
        ]

        for at in range(5, 8):
            db.events.append("run", "later\x1b", {"at": at})
            db.checkpoint()
            row = process.stdout.readline().split(maxsplit=4)
            assert (row[0], row[3], row[4]) == (str(at), '"later\\x1b"', f'{{"at": {at}}}\n')

    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=FAILSAFE_S) == ("", "\n")
    assert process.returncode == 130


def test_what_comes_later_stands_below_the_headings_though_it_is_wider(follow, tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append_many("run", [("asked", at) for at in range(10)])
        process = follow("--start", 9, "--limit", 2)
        shown = [process.stdout.readline() for _ in range(2)]
        db.events.append("run", "tool_call", 10)
        rest, _ = process.communicate(timeout=FAILSAFE_S)

    header, *rows = *shown, rest
    for row in rows:
        assert row[header.index("#")] in "09"
        assert row[header.index("#") + 1] == row[header.index("TYPE") - 1] == row[header.index("PAYLOAD") - 1] == " "
    assert rest[header.index("TYPE") :].split() == ["tool_call", "10"]
    assert rest.index("10\n") == header.index("PAYLOAD")


def test_following_ends_when_nobody_reads_any_more(follow, tmp_path):
    """Though nothing comes that would have to be written."""
    with inmem.open(tmp_path) as db:
        db.events.append("run", "first")
    process = follow("--last", 0)
    assert process.stdout.readline().split()[0] == "#"
    process.stdout.close()
    assert process.wait(timeout=FAILSAFE_S) == 141
    assert process.stderr.read() == ""


def test_one_type_is_followed_in_lines_of_json_up_to_a_limit(follow, tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append_many("run", [("wanted", 0), ("other", 1)])
        process = follow("--type", "wanted", "--json", "--limit", 2)
        assert json.loads(process.stdout.readline())["payload"] == 0
        db.events.append_many("run", [("other", 2), ("wanted", "\x1b"), ("wanted", 4)])
        stdout, stderr = process.communicate(timeout=FAILSAFE_S)

    assert (process.returncode, stderr, stdout.count("\n")) == (0, "", 1)
    assert "\x1b" not in stdout
    assert (json.loads(stdout)["sequence"], json.loads(stdout)["payload"]) == (3, "\x1b")


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_run_that_is_deleted_is_not_followed_any_more(follow, tmp_path, comes_back):
    with inmem.open(tmp_path) as db:
        db.begin_run("run")
        db.events.append_many("run", [("first", at) for at in range(3)])
        process = follow("--json")
        assert [json.loads(process.stdout.readline())["payload"] for _ in range(3)] == [0, 1, 2]
        with db.begin("run") as txn:
            txn.runs.delete_run("run")
        if comes_back:
            db.events.append_many("run", [("second", at) for at in range(5)])
        stdout, stderr = process.communicate(timeout=FAILSAFE_S)

    # Where it comes back before anybody has looked, its first events are other ones.
    assert (process.returncode, stdout) == (1, "")
    assert stderr == (
        "inmem: error: the events of run 'run' up to 2 no longer exist: "
        "the run was deleted, or its owner could not make them durable\n"
    )


def test_a_run_without_events_that_is_deleted_is_not_followed_any_more(follow, tmp_path):
    with inmem.open(tmp_path) as db:
        db.begin_run("run")
        process = follow()
        assert process.stdout.readline().split()[0] == "#"
        with db.begin("run") as txn:
            txn.runs.delete_run("run")
        stdout, stderr = process.communicate(timeout=FAILSAFE_S)

    assert (process.returncode, stdout) == (1, "")
    assert stderr == (
        "inmem: error: run 'run' no longer exists: it was deleted, its contents have expired, "
        "or its owner could not make it durable\n"
    )


@pytest.mark.parametrize("wanted", ["--limit", "--last"])
def test_where_no_event_is_asked_for_nothing_is_printed(run, run_json, odd, wanted):
    shown = run("events", odd, "run-1", wanted, 0)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "")
    assert run_json("events", odd, "run-1", wanted, 0) == []
    assert run("events", odd, "nobody", wanted, 0).exit_code == 1


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_nothing_is_followed_where_nothing_is_wanted(run, odd, form):
    shown = run("events", odd, "run-1", "--follow", "--limit", 0, *form)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "")


def test_on_a_terminal_each_event_that_is_followed_is_a_line_that_fits(run, long_payload, on_terminal):
    on_terminal(60)
    header, row = run("events", long_payload, "run", "--follow", "--limit", 1).stdout.splitlines()
    assert header.split() == ["#", "TIME", "(UTC)", "TYPE", "PAYLOAD"]
    assert len(row) == 60
    assert row.endswith("…")


@pytest.fixture
def long_payload(tmp_path):
    with inmem.open(tmp_path) as db:
        db.events.append("run", "event", "x" * 1000)
    return tmp_path


@pytest.mark.parametrize("columns", [20, 40])
def test_where_the_columns_do_not_fit_each_event_that_is_followed_is_a_block(run, odd, on_terminal, columns):
    on_terminal(columns)
    listed = run("events", odd, "run-1", "--type", "plain", "--limit", 2).stdout
    followed = run("events", odd, "run-1", "--type", "plain", "--limit", 2, "--follow").stdout
    if columns == 20:
        assert followed.split() == listed.split()
    assert [line.split()[0] for line in followed.splitlines() if "PAYLOAD" in line] == ["PAYLOAD"] * 2
    assert all(len(line) <= columns for line in followed.splitlines())
