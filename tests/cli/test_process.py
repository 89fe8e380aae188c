"""The command as a process of its own: pipes, terminals, signals, missing extras."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import inmem
from inmem.demo.recording_process import recorded_in
from tests.recorder.transcripts import OWN, user

INMEM = (sys.executable, "-m", "inmem")


@pytest.fixture
def environment(monkeypatch):
    """The environment of a plain terminal, with the package found as it was found here."""
    found_in = str(Path(inmem.__file__).parent.parent)
    changed = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in changed}
    return {**kept, "PYTHONPATH": found_in, "TERM": "xterm", "COLUMNS": "100"}


def run(*arguments, environment, **options):
    command = [str(each) for each in arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def test_an_error_is_one_line_and_nothing_else(environment, tmp_path):
    result = run(*INMEM, "runs", tmp_path / "none", environment=environment)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"inmem: error: there is no database at {tmp_path / 'none'}\n"


@pytest.mark.parametrize("line_count", [2, 200_000], ids=["fits the pipe", "does not fit"])
def test_a_reader_that_has_seen_enough_is_no_error(environment, tmp_path, line_count):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "lines", "line\n" * line_count)
    command = [*INMEM, "get", str(tmp_path / "db"), "run", "lines"]
    reading, writing = os.pipe()
    with subprocess.Popen(command, env=environment, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        if line_count > 2:
            assert os.read(reading, 1) == b"l"
        os.close(reading)
        _, stderr = process.communicate()

    assert (process.returncode, stderr) == (141, b"")


@pytest.mark.parametrize("command", [("--help",), ("runs", "--help")])
def test_nor_is_one_of_a_help(environment, command):
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*INMEM, *command], env=environment, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, stderr = process.communicate()

    assert (process.returncode, stderr) == (141, b"")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_of_a_long_list_may_stop_at_any_line(environment, tmp_path, options):
    with inmem.open(tmp_path / "db", durability="never") as db:
        db.events.append_many("run", [("e", "x" * 100)] * 2_000)
    command = [*INMEM, "events", str(tmp_path / "db"), "run", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() in (b"[", b"#  TIME (UTC)               TYPE  PAYLOAD")
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate()

    assert (process.returncode, stderr) == (141, b"")


def redirected(command, redirection, environment):
    """Run a command as a shell does with a redirection; return (exit code, what it said on stderr)."""
    line = f"exec {shlex.join(map(str, [*INMEM, *command]))} {redirection}"
    result = subprocess.run(
        ["sh", "-c", line], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stderr


OUTPUT_LOST = [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]


@pytest.mark.parametrize(("redirection", "reason"), OUTPUT_LOST, ids=["closed", "full"])
@pytest.mark.parametrize("command", ["stat", "runs", "export", "checkpoint", "--help"])
def test_output_that_cannot_be_written_is_one_line(environment, tmp_path, command, redirection, reason):
    with inmem.open(tmp_path / "db") as db:
        db.begin_run("run")
    arguments = {"--help": []}.get(command, [tmp_path / "db", *(["run"] if command == "export" else [])])

    told = redirected([command, *arguments], redirection, environment)

    assert told == (1, f"inmem: error: the standard output: {reason}\n")
    with inmem.open(tmp_path / "db", create=False, read_only=True) as db:
        assert db.verify().is_valid


@pytest.mark.parametrize("command", [("get", "run", "k"), ("events", "run"), ("export", "run")])
def test_long_output_that_cannot_be_written_is_one_line_too(environment, tmp_path, command):
    """What is longer than the buffer is not kept to be tried once more."""
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", "x" * 100_000)
        db.events.append("run", "e", "x" * 100_000)
    name, *more = command

    told = redirected([name, tmp_path / "db", *more], ">/dev/full", environment)

    assert told == (1, "inmem: error: the standard output: No space left on device\n")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_command_that_prints_nothing_needs_no_output(environment, tmp_path, redirection):
    with inmem.open(tmp_path / "db") as db:
        db.begin_run("run")
    code, said = redirected(["export", tmp_path / "db", "run", "--out", tmp_path / "run"], redirection, environment)

    assert (code, said) == (0, f"{tmp_path / 'run'}: 0 keys, 0 events, 0 cells, 0 traces\n")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"])
def test_an_error_that_cannot_be_told_leaves_the_exit_code(environment, tmp_path, redirection):
    assert redirected(["runs", tmp_path / "none"], redirection, environment) == (2, "")


def test_the_standard_input_is_recorded_once(environment, tmp_path):
    content = json.dumps([user("hello")])
    file = tmp_path / "-"
    file.write_text("[]")  # a file of that name is another one
    command = [*INMEM, "record", "-", "--into", "db", "--json"]
    first, again = [
        json.loads(run(*command, environment=environment, input=content, cwd=tmp_path).stdout) for _ in range(2)
    ]

    assert (first["runs"], first["already_recorded"]) == (1, 0)
    assert (again["runs"], again["already_recorded"]) == (1, 1)
    with inmem.open(tmp_path / "db", create=False, read_only=True) as db:
        [run_id] = db.runs.list_runs()
    assert run_id.startswith("stream/0000-")
    for database in ("db", "none"):
        told = redirected(["record", "-", "--into", tmp_path / database], "<&-", environment)
        assert told == (1, "inmem: error: -: cannot be read: Bad file descriptor\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("content", "fault"), [("", "the file is empty"), ("[]", "there is no conversation in it")])
def test_a_pipe_that_has_no_conversation_leaves_no_database(environment, tmp_path, content, fault):
    """Whoever was to write into it may have failed."""
    recording = run(*INMEM, "record", "-", "--into", tmp_path / "db", environment=environment, input=content)

    assert (recording.returncode, recording.stdout) == (1, "")
    assert recording.stderr == f"inmem: error: -: {fault}\n"
    assert not (tmp_path / "db").exists()


def test_a_pipe_that_has_none_keeps_no_other_file_from_being_recorded(environment, tmp_path):
    file = tmp_path / "file"
    file.write_text(json.dumps([user("hello")]))
    command = [*INMEM, "record", "-", file, "--into", tmp_path / "db", "--json"]
    recording = run(*command, environment=environment, input="[]")

    assert recording.returncode == 1
    assert json.loads(recording.stdout)["runs"] == 1
    assert recording.stderr == "inmem: error: -: there is no conversation in it\n"


def test_input_that_is_closed_is_one_line(environment, tmp_path):
    told = redirected(["import", "-", "--into", tmp_path / "db"], "<&-", environment)

    assert told == (1, "inmem: error: [Errno 9] Bad file descriptor\n")
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_encoding_does_not_have_is_no_error(environment, odd, encoding):
    for command in (("get", "run-1", "lines"), ("trace", "run-1"), ("runs",)):
        name, *more = command
        result = run(*INMEM, name, odd, *more, environment={**environment, "PYTHONIOENCODING": encoding})

        assert result.returncode == 0
        assert result.stderr in ("", f"1 unregistered run; to list: inmem runs {odd} --unregistered\n")
        assert result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("command", [("cells", "cells"), ("events", "events", "--follow", "--limit", "1")])
def test_json_is_json_in_every_encoding(environment, tmp_path, encoding, command):
    value = "é🎉日本\x80"
    with inmem.open(tmp_path / "db") as db:
        db.cells.init("cells", "c", value)
        db.events.append("events", "e", value)
    name, run_id, *options = command
    result = run(
        *INMEM, name, tmp_path / "db", run_id, "--json", *options,
        environment={**environment, "PYTHONIOENCODING": encoding}, encoding=encoding,
    )  # fmt: skip
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert (found[0]["value"] if name == "cells" else found["payload"]) == value
    assert ("🎉" in result.stdout) == (encoding == "utf-8")


def test_without_its_libraries_the_command_says_what_it_needs(environment):
    for name in ("click", "rich"):
        program = f"import sys; sys.modules[{name!r}] = None; from inmem.__main__ import main; main()"

        result = run(sys.executable, "-c", program, environment=environment)

        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == (
            "inmem: error: the command line needs click and rich: pip install '.[cli]' in a clone of inmem\n"
        )


STRUCK = """
import sys

class Striking:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Striking())
from inmem.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["click", "inmem.cli.ui"])
def test_ctrl_c_while_the_command_line_is_loaded_ends_it_with_one_line(environment, name):
    result = run(sys.executable, "-c", STRUCK.format(name=name), environment=environment)

    assert (result.returncode, result.stdout, result.stderr) == (130, "", "inmem: error: interrupted\n")


STRUCK_EARLY = """
import os, signal, sys

class Striking:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Striking())
{before}
from inmem_command import main
main()
"""


@pytest.fixture
def command_environment(environment, tmp_path):
    """An environment in which the command's first module is found, in a checkout as where it is installed."""
    checkout = Path(inmem.__file__).parent / "command"
    if not checkout.exists():
        return environment
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "inmem_command").symlink_to(checkout)
    return {**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path / "path"), environment["PYTHONPATH"]])}


# From the first module that it imports to the last one.
@pytest.mark.parametrize(
    "name", ["inmem", "inmem.engine", "msgspec", "pykka", "inmem.database", "inmem.__main__", "rich", "inmem.cli.ui"]
)
def test_ctrl_c_ends_the_command_with_one_line_whatever_it_imports(command_environment, name):
    program = STRUCK_EARLY.format(name=name, before="")
    result = run(sys.executable, "-c", program, environment=command_environment)

    assert (result.returncode, result.stdout, result.stderr) == (130, "", "inmem: error: interrupted\n")


def test_a_ctrl_c_that_whoever_started_the_command_ignores_is_ignored(command_environment):
    program = STRUCK_EARLY.format(name="msgspec", before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    result = run(sys.executable, "-c", program, "--version", environment=command_environment)

    assert (result.returncode, result.stderr) == (0, "")
    assert "inmem" in result.stdout


def test_the_first_module_of_the_command_brings_nothing_along(command_environment):
    program = "import os, sys; before = set(sys.modules); import inmem_command; print(*set(sys.modules) - before)"
    result = run(sys.executable, "-c", program, environment=command_environment)

    assert result.stdout.split() == ["inmem_command"]


def in_terminal(command, environment):
    """Run a command in a terminal and return (exit code, what the terminal received)."""
    terminal, end = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        received = b""
        while chunk := _read(terminal):
            received += chunk
    os.close(terminal)
    return process.returncode, received.decode()


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:
        # How Linux tells that the other end is closed.
        return b""


def test_colours_on_a_terminal_or_where_they_are_asked_for(environment, recorded):
    arguments = [*INMEM, "runs", str(recorded)]

    code, shown = in_terminal(arguments, environment)
    piped = run(*arguments, environment=environment)
    forced = run(*arguments, environment={**environment, "FORCE_COLOR": "1"})
    _, plain = in_terminal(arguments, {**environment, "NO_COLOR": "1"})

    assert code == 0
    assert re.search(r"\x1b\[32mCompleted", shown)
    assert re.search(r"\x1b\[32mCompleted", forced.stdout)
    assert "\x1b" not in piped.stdout
    assert not re.search(r"\x1b\[3[0-9]m", plain)
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", forced.stdout)
    assert [line.rstrip() for line in uncoloured.splitlines()] == piped.stdout.splitlines()


def test_progress_is_shown_on_a_terminal_only(environment, tmp_path):
    options = ["--agents", "2", "--pace", "0.03"]

    code, shown = in_terminal([*INMEM, "record", *map(str, OWN), "--into", str(tmp_path / "a"), *options], environment)
    piped = run(*INMEM, "record", *OWN, "--into", tmp_path / "b", environment={**environment, "FORCE_COLOR": "1"})

    assert code == 0
    assert re.search(r"recording.*\d+ messages, .*/s", shown)
    assert "7 runs, 90 messages, 31 tool calls recorded; " in shown
    assert piped.stderr == ""


def patience(seconds):
    """Return the command that shows what it does once it has taken so long; whether it does is left to no clock."""
    setting = f"import inmem.cli.progress as progress; progress.PATIENCE_S = {seconds}"
    return [sys.executable, "-c", f"{setting}; from inmem.__main__ import main; main()"]


def test_all_that_may_take_long_shows_progress(environment, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    db, file = str(tmp_path / "db"), str(tmp_path / "run.jsonl")
    for arguments, doing in (
        (["runs", db], "opening"),
        (["verify", db], "verifying"),
        (["checkpoint", db], "writing a checkpoint"),
        (["export", db, "lamp", "--out", file], "exporting"),
        (["import", file, "--into", str(tmp_path / "copy")], "importing"),
        (["record", str(OWN[0]), "--into", str(tmp_path / "new")], "recording"),
    ):
        patient = in_terminal([*patience(3600), *arguments], environment) if "--into" not in arguments else (0, "")
        code, shown = in_terminal([*patience(0), *arguments], environment)

        assert (code, patient[0]) == (0, 0), shown
        assert doing in shown
        assert doing not in patient[1], "what is over at once shows nothing"
        assert "\x1b[?25" not in patient[1], "and leaves the cursor alone"


def test_ctrl_c_stops_between_two_messages(environment, tmp_path):
    command = [*INMEM, "record", *map(str, OWN), "--into", str(tmp_path / "db"), "--pace", "0.2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        try:
            with inmem.open(tmp_path / "db", create=False, read_only=True) as db:
                if recorded_in(db).total > 5:
                    break
        except inmem.DatabaseNotFoundError:
            pass

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()

    assert (process.returncode, stdout) == (130, "")
    assert stderr == "inmem: error: interrupted; run the same command again to resume\n"
    with inmem.open(tmp_path / "db", create=False) as db:
        assert 5 < recorded_in(db).total < 90
        assert db.verify().is_valid


def test_a_database_in_use_is_told_with_its_owner_and_what_to_do(environment, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    db = tmp_path / "db"
    file = tmp_path / "run.jsonl"
    assert run(*INMEM, "export", db, "lamp", "--out", file, environment=environment).returncode == 0
    with inmem.open(db):
        for arguments in (
            ["checkpoint", db],
            ["salvage", db, "--into", tmp_path / "saved"],
            ["import", file, "--into", db],
            ["record", *OWN, "--into", db],
        ):
            result = run(*INMEM, *arguments, environment=environment)

            assert (result.returncode, result.stdout) == (1, "")
            assert result.stderr == (
                f"inmem: error: {db} is in use by process {os.getpid()}; "
                "try again when it has been closed there; commands that only read need not wait\n"
            )
        assert run(*INMEM, "runs", db, environment=environment).returncode == 0
