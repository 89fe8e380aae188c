"""`inmem export` and `import`, by pipe and by file."""

import json
import subprocess
import sys

import pytest

import inmem


@pytest.fixture
def storm(run, recorded, tmp_path):
    """An exported run."""
    result = run("export", recorded, "night-watch/0000", "--out", tmp_path / "storm.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{tmp_path / 'storm.jsonl'}: 1 key, 18 events, 1 cell, 17 traces\n"
    return tmp_path / "storm.jsonl"


def test_a_run_travels(run, run_json, recorded, storm, tmp_path):
    told = run("import", storm, "--into", tmp_path / "db")

    assert (told.exit_code, told.stderr) == (0, "")
    [imported] = run_json("runs", tmp_path / "db")
    assert told.stdout == f"{imported['run_id']}: 1 key, 18 events, 1 cell, 17 traces\n"
    assert imported in run_json("runs", recorded)
    for command in ("events", "trace", "cells"):
        assert run_json(command, tmp_path / "db", "night") == run_json(command, recorded, "night-watch/0000")
    assert run_json("verify", tmp_path / "db")["is_valid"]

    again = run("import", storm, "--into", tmp_path / "db")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == f"inmem: error: run {imported['run_id']!r} exists already\n"


def test_import_in_json(run_json, storm, tmp_path):
    told = run_json("import", storm, "--into", tmp_path / "db")
    assert told.keys() == set(inmem.RunExport.__dataclass_fields__)
    assert told["digest"] == json.loads(storm.read_text().splitlines()[-1])["line_hash"]


def test_by_pipe(storm, recorded, tmp_path):
    inmem_command = [sys.executable, "-m", "inmem"]
    exported = subprocess.run([*inmem_command, "export", recorded, "night-watch/0000"], capture_output=True, check=True)
    assert (exported.stdout, exported.stderr) == (storm.read_bytes(), b"")

    arguments = [*inmem_command, "import", "-", "--into", tmp_path / "db"]
    imported = subprocess.run(arguments, input=exported.stdout, capture_output=True, check=True)
    assert imported.stdout.endswith(b": 1 key, 18 events, 1 cell, 17 traces\n")


@pytest.mark.parametrize("line", [2, 7, 39])
def test_a_changed_line_is_named_and_nothing_is_imported(run, storm, tmp_path, line):
    lines = storm.read_text().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace('":', '" :', 1)
    storm.write_text("".join(lines))

    result = run("import", storm, "--into", tmp_path / "db")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"inmem: error: {storm}, line {line}: was changed, or does not follow the line that is before it\n"
    )
    assert not (tmp_path / "db").exists()


def test_traces_as_otlp(run, run_json, recorded, tmp_path):
    to_pipe = run("export", recorded, "night-watch/0000", "--format", "otlp")
    to_file = run("export", recorded, "night-watch/0000", "--format", "otlp", "--out", tmp_path / "spans.json")

    assert (to_pipe.exit_code, to_pipe.stderr, to_file.exit_code) == (0, "", 0)
    assert to_file.stderr == f"{tmp_path / 'spans.json'}: 17 spans\n"
    assert (tmp_path / "spans.json").read_text() == to_pipe.stdout
    [resource] = json.loads(to_pipe.stdout)["resourceSpans"]
    [scope] = resource["scopeSpans"]
    assert len(scope["spans"]) == len(run_json("trace", recorded, "night-watch/0000")) == 17


def test_what_cannot_be_exported_or_imported(run, recorded, tmp_path):
    (tmp_path / "bad").write_text("bad\n")

    def refused(code, *arguments):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        return result.stderr.removeprefix("inmem: error: ").rstrip()

    into = ("--into", tmp_path / "db")
    assert refused(2, "import", tmp_path / "bad", *into) == f"{tmp_path / 'bad'}: not a run that inmem has exported"
    assert "does not exist" in refused(2, "import", tmp_path / "none", *into)
    assert refused(1, "export", recorded, "nobody") == f"there is no run 'nobody'. Try: inmem runs {recorded}"
    missing = tmp_path / "missing" / "file"
    assert refused(1, "export", recorded, "lamp", "--out", missing) == f"{missing}: No such file or directory"
    assert not (tmp_path / "db").exists()


def test_every_run_is_exported_from_one_snapshot_beside_the_writer(run, tmp_path):
    names = ["night/0000 storm", "night/0001", "日本", "loose"]
    with inmem.open(tmp_path / "db") as db:
        for name in names[:3]:
            db.begin_run(name)
            db.events.append(name, "of", name)
        db.runs.archive_run("night/0001")
        db.put("loose", "k", 1)

        exported = run("export", tmp_path / "db", "--all", tmp_path / "backup")

    assert (exported.exit_code, exported.stdout) == (0, "")
    assert exported.stderr == f"{tmp_path / 'backup'}: 4 runs\n"
    files = sorted((tmp_path / "backup").iterdir())
    assert [file.name for file in files] == [
        "000001-night-0000-storm.jsonl",
        "000002-night-0001.jsonl",
        "000003-.jsonl",
        "000004-loose.jsonl",
    ]
    for file in files:
        assert run("import", file, "--into", tmp_path / "restored").exit_code == 0
    with inmem.open(tmp_path / "restored") as db:
        assert [*db.runs.list_runs(include_archived=True), *db.unregistered_runs()] == names
        assert [db.events.head(name).payload for name in names[:3]] == names[:3]


def test_a_run_whose_last_key_expires_meanwhile_is_none_any_more(run, tmp_path, monkeypatch):
    with inmem.open(tmp_path / "db") as db:
        db.begin_run("kept")
    monkeypatch.setattr(inmem.Database, "unregistered_runs", lambda _db: ["expired"])
    exported = run("export", tmp_path / "db", "--all", tmp_path / "backup")
    assert (exported.exit_code, exported.stderr) == (0, f"{tmp_path / 'backup'}: 1 run\n")
    assert [file.name for file in (tmp_path / "backup").iterdir()] == ["000001-kept.jsonl"]


def test_every_run_as_otlp(run, recorded, tmp_path):
    assert run("export", recorded, "--all", tmp_path, "--format", "otlp").exit_code == 0
    files = sorted(tmp_path.iterdir())
    assert len(files) == 7
    for file in files:
        assert "resourceSpans" in json.loads(file.read_bytes())


@pytest.mark.parametrize("arguments", [(), ("lamp", "--all", "new"), ("--all", "new", "--out", "file")])
def test_one_run_or_all_of_them(run, recorded, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = run("export", recorded, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "inmem: error: name a RUN, or all of them with --all FOLDER, without --out\n"
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_all_runs_is_not_mixed_with_what_is_there(run, recorded, tmp_path):
    (tmp_path / "file").touch()
    result = run("export", recorded, "--all", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"inmem: error: {tmp_path} is not empty\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
