"""The demonstration, and that it notices when something is not as it says."""

import pytest

import inmem
from inmem.demo import story
from inmem.demo.recording_process import DemoError, Recorded, RecordingProcess
from inmem.recorder import read_conversations
from tests.recorder.transcripts import OWN, expect_recorded


def test_the_demonstration(run, tmp_path):
    result = run("demo", "--keep", tmp_path / "kept")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("kill -9 when") == 2
    assert "decision Transmitter 1 is dead. What now?" in result.stdout
    assert "Killed twice: nothing lost, nothing duplicated." in result.stdout
    shown = result.stdout.splitlines()
    assert shown == [line.rstrip() for line in shown]
    assert any(line.startswith("Each message is") and line.endswith("midway, twice.") for line in shown)
    with inmem.open(tmp_path / "kept" / "harbour.db", create=False) as db:
        expect_recorded(db, [conversation for path in OWN for conversation in read_conversations(path)])

    again = run("demo", "--keep", tmp_path / "kept")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists already" in again.stderr
    assert "inmem runs " in shown[-1]


def test_a_demonstration_is_kept_in_a_folder_only(run, tmp_path):
    (tmp_path / "file").touch()

    result = run("demo", "--keep", tmp_path / "file")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("is a file.\n")


def test_a_demonstration_that_leaves_nothing_says_how_to_keep_it(run, monkeypatch):
    monkeypatch.setattr(story._Story, "tell", lambda _story: None)

    assert run("demo").stdout.endswith("To keep and explore one: inmem demo --keep demo\n")


def test_a_demonstration_that_goes_wrong_says_so(run, monkeypatch):
    monkeypatch.setattr(story, "recorded_in", lambda _db: Recorded({}))

    result = run("demo")

    assert result.exit_code == 1
    assert "The demonstration failed: messages were lost in " in result.stdout


def test_a_recording_that_fails_is_noticed(tmp_path):
    (tmp_path / "bad.json").write_text("oops")

    with (
        RecordingProcess([tmp_path / "bad.json"], tmp_path / "a", agents=1, pace_s=0) as process,
        pytest.raises(DemoError, match=r"ended too early: inmem: error: .*bad\.json: line 1, column 1: not JSON"),
    ):
        process.watch_until(lambda recorded: recorded.total > 0)
    with (
        RecordingProcess([tmp_path / "bad.json"], tmp_path / "b", agents=1, pace_s=0) as process,
        pytest.raises(DemoError, match=r"the recording failed: inmem: error: .*bad\.json"),
    ):
        process.finish()
