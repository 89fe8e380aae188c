"""Completion, asked for as the shells ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

import inmem
from inmem.cli.app import app


def completed(*words):
    """Return what the last word may become."""
    *args, incomplete = map(str, words)
    made = BashComplete(app, {}, "inmem", "_INMEM_COMPLETE").get_completions(args, incomplete)
    return [each.value if each.type == "plain" else each.type for each in made]


def test_commands_and_options():
    assert completed("e") == ["events", "export"]
    assert set(completed("")) == set(app.commands)
    assert completed("events", "--li") == ["--limit"]
    assert completed("runs", "--status", "f") == ["failed"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]


def test_databases_are_folders():
    assert completed("events", "x") == ["dir"]
    assert completed("record", "file", "--into", "x") == ["dir"]


def test_runs_and_keys_come_from_the_database(odd, recorded):
    assert completed("events", odd, "") == ["run-1", "run-10", "old", "unregistered"]
    assert completed("get", odd, "unreg", "") == ["k"]
    assert completed("trace", recorded, "night") == [
        "night-watch/0000-storm-9ed722da",
        "night-watch/0001-drifting-dinghy-cd2fcc6b",
        "night-watch/0002-fog-signal-178550d2",
    ]
    assert completed("get", odd, "run-1", "l") == ["lines"]
    assert completed("get", odd, "run-1", "--prefix", "l") == ["lines"]
    assert completed("get", odd, "run-1", "--prefix=l") == ["lines"]
    assert completed("get", odd, "unreg", "--json", "--prefix", "") == ["k"]
    assert completed("get", odd, "run-1", "--p") == ["--prefix"]
    assert completed("get", "--prefix", "l") == [], "the database is not known yet"


HARMLESS = ("plain", "night-watch/0000-storm", "user:42", "a@b.c", "50%", "x=1", "a_b+c", "日本🚢", "é")
NOT_OFFERED = (
    *("new\nline", "\x1b[31mred", "\u202ertl", "two words", "tab\there", "wide\u3000space", "filler\u3164"),
    *("$(touch hacked)", "`touch hacked`", "x;touch hacked", "x&touch hacked", "x|sh", "x>hacked", "<hacked", "(x)"),
    *("$HOME", "~root", "*", "a?", "[ab]", "{a,b}", "a,b", "it's", 'say "x"', "back\\slash", "!!", "#1", "^a^b", "a^b"),
    *("-rf", "--all", "=ls"),
)


def test_names_that_no_shell_could_show_or_write_are_left_out(odd, tmp_path):
    assert completed("get", odd, "run-1", "") == ["bytes", "lines", "nan"]
    with inmem.open(tmp_path) as db:
        for name in (*HARMLESS, *NOT_OFFERED):
            db.begin_run(name)
            db.put("plain", name, 1)
    assert completed("events", tmp_path, "") == [*HARMLESS]
    assert completed("get", tmp_path, "plain", "") == sorted(HARMLESS, key=str.encode)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_every_name_that_is_offered_for_itself(tmp_path):
    for name in HARMLESS:
        told = subprocess.run(
            ["bash", "-c", f"printf %s {name}"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert told.stdout == name


def test_nothing_can_be_said_of_what_cannot_be_read(tmp_path, odd):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        assert completed("events", path, "") == []
    assert completed("get", odd, "nobody", "") == []
    assert completed("get", odd, "run", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_INMEM_COMPLETE" in result.stdout
    assert f"{shell}_complete" in result.stdout


def test_an_unknown_shell(run):
    result = run("completion", "tcsh")
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


def test_no_shell_at_all(run):
    result = run("completion")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "inmem: error: Missing argument 'SHELL'. Choose from: bash, zsh, fish. Try: inmem completion --help\n"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_a_real_bash(odd, tmp_path):
    (tmp_path / "inmem").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m inmem "$@"\n')
    (tmp_path / "inmem").chmod(0o755)
    script = f"""
        eval "$(inmem completion bash)"
        compopt() {{ :; }}
        COMP_WORDS=(inmem events "{odd}" run-)
        COMP_CWORD=3
        _inmem_completion inmem
        echo "${{COMPREPLY[@]}}"
    """
    found_in = str(Path(inmem.__file__).parent.parent)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": found_in}

    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == ("run-1 run-10\n", "")
