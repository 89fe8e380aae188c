"""`inmem export` and `import`, by pipe and by file."""

import contextlib
import json
import shlex
import subprocess
import sys
from hashlib import sha256

import click
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
    way_on = f"import it into another database, or delete it first: inmem delete {tmp_path / 'db'} {imported['run_id']}"
    assert again.stderr == f"inmem: error: {storm}: run {imported['run_id']!r} exists already; {way_on}\n"


def test_deleted_cells_are_counted_in_the_same_way_everywhere(run, run_json, tmp_path):
    """They go on counting their versions, so they travel with the run."""
    with inmem.open(tmp_path / "db") as db:
        for name in ("a", "b", "c"):
            db.cells.init("run", name, 1)
        db.cells.delete("run", "a")
        db.cells.delete("run", "b")
    held = "0 keys, 0 events, 3 cells (2 of them deleted), 0 traces\n"

    assert "cells    3 (2 of them deleted)" in run("stat", tmp_path / "db").stdout
    told = run_json("stat", tmp_path / "db")
    assert (told["cells"], told["deleted_cells"]) == (3, 2)
    assert [found["name"] for found in run_json("cells", tmp_path / "db", "run")] == ["c"]
    file = tmp_path / "run.jsonl"
    assert run("export", tmp_path / "db", "run", "--out", file).stderr == f"{file}: {held}"
    assert run("verify-export", file).stdout.startswith(f"{file}: run: {held}")
    assert run("import", file, "--into", tmp_path / "copy").stdout == f"run: {held}"


def test_import_in_json(run_json, storm, tmp_path):
    [told] = run_json("import", storm, "--into", tmp_path / "db")
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


def test_a_file_that_is_missing_keeps_no_other_from_being_read(run, recorded, tmp_path):
    run("export", recorded, "lamp", "--out", tmp_path / "lamp")
    (tmp_path / "folder").mkdir()
    files = [tmp_path / "none", tmp_path / "folder", tmp_path / "lamp"]
    for command in (["import", *files, "--into", tmp_path / "db"], ["verify-export", *files]):
        result = run(*command)
        assert result.exit_code == 2
        assert result.stderr.splitlines() == [
            f"inmem: error: {tmp_path / 'none'}: No such file or directory",
            f"inmem: error: {tmp_path / 'folder'}: Is a directory",
        ]
        assert "lamp-controller/0000" in result.stdout


def test_what_cannot_be_exported_or_imported(run, recorded, tmp_path):
    (tmp_path / "bad").write_text("bad\n")

    def refused(code, *arguments):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        return result.stderr.removeprefix("inmem: error: ").rstrip()

    into = ("--into", tmp_path / "db")
    assert refused(2, "import", tmp_path / "bad", *into) == f"{tmp_path / 'bad'}: not a run that inmem has exported"
    for command in (["import", *into], ["verify-export"]):
        assert refused(2, *command, tmp_path / "none") == f"{tmp_path / 'none'}: No such file or directory"
    assert refused(1, "export", recorded, "nobody") == f"no run matches 'nobody'. Try: inmem runs {recorded}"
    missing = tmp_path / "missing" / "file"
    assert refused(1, "export", recorded, "lamp", "--out", missing) == f"{missing}: No such file or directory"
    assert refused(1, "export", recorded, "lamp", "--out", "/dev/full") == "/dev/full: No space left on device"
    otlp = ("--format", "otlp", "--out", "/dev/full")
    assert refused(1, "export", recorded, "lamp", *otlp) == "/dev/full: No space left on device"
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
    imported = run("import", *files, "--into", tmp_path / "restored")
    assert (imported.exit_code, len(imported.stdout.splitlines())) == (0, 4)
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
    assert result.stderr == "inmem: error: name a RUN, or export every run with --all FOLDER and without --out\n"
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_all_runs_is_not_mixed_with_what_is_there(run, recorded, tmp_path):
    (tmp_path / "file").touch()
    result = run("export", recorded, "--all", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"inmem: error: {tmp_path} is not empty\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_refused_does_not_keep_the_others_from_being_imported(run, run_json, recorded, storm, tmp_path):
    run("export", recorded, "lamp", "--out", tmp_path / "lamp.jsonl")
    (tmp_path / "bad").write_text("bad\n")
    changed = tmp_path / "changed.jsonl"
    changed.write_text(storm.read_text().replace("storm", "strom", 1))
    files = (tmp_path / "bad", changed, storm, storm, tmp_path / "lamp.jsonl")

    told = run("import", *files, "--into", tmp_path / "db")

    [lamp_id, storm_id] = [each["run_id"] for each in run_json("runs", tmp_path / "db")]
    assert told.exit_code == 2
    assert [line.partition(": ")[0] for line in told.stdout.splitlines()] == [storm_id, lamp_id]
    lines = told.stderr.splitlines()
    assert [*lines[:-1], lines[-1].partition("; ")[0]] == [
        f"inmem: error: {tmp_path / 'bad'}: not a run that inmem has exported",
        f"inmem: error: {changed}, line 1: was changed, or does not follow the line that is before it",
        f"inmem: error: {storm}: run {storm_id!r} exists already",
    ]
    assert run("import", tmp_path / "bad", changed, "--into", tmp_path / "none").exit_code == 2
    assert not (tmp_path / "none").exists()


def test_traces_that_were_exported_alone_are_said_to_be_that(run, recorded, tmp_path):
    run("export", recorded, "lamp", "--format", "otlp", "--out", tmp_path / "lamp.json")
    told = run("import", tmp_path / "lamp.json", "--into", tmp_path / "db")
    why = "not a run that inmem has exported, but traces as OTLP JSON, which is not enough of a run to import"
    assert (told.exit_code, told.stderr) == (2, f"inmem: error: {tmp_path / 'lamp.json'}: {why}\n")


@pytest.mark.parametrize("arguments", [["import", "--into", "new"], ["verify-export"]])
def test_a_folder_is_no_exported_run(run, tmp_path, arguments):
    told = run(*arguments, tmp_path)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == f"inmem: error: {tmp_path}: Is a directory\n"


def test_the_name_of_a_run_is_shown_as_everywhere(run, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("lamp ", "k", 1)
        db.export_run("lamp ", tmp_path / "file")
    assert run("import", tmp_path / "file", "--into", tmp_path / "new").stdout.startswith('"lamp ": 1 key, ')
    assert run("verify-export", tmp_path / "file").stdout.startswith(f'{tmp_path / "file"}: "lamp ": 1 key, ')


def test_a_database_that_cannot_be_written_ends_an_import_at_once(run, storm, tmp_path):
    with inmem.open(tmp_path / "db"):
        told = run("import", storm, storm, "--into", tmp_path / "db")
    assert (told.exit_code, told.stdout, len(told.stderr.splitlines())) == (1, "", 1)
    assert "is in use by process" in told.stderr


def test_an_export_is_verified_without_importing_it(run, run_json, recorded, storm, tmp_path):
    digest = json.loads(storm.read_text().splitlines()[-1])["line_hash"]
    told = run("verify-export", storm, storm)
    assert (told.exit_code, told.stderr) == (0, "")
    name = run_json("runs", recorded, "--tag", "agent-osk")[0]["run_id"]
    line = f"{storm}: {name}: 1 key, 18 events, 1 cell, 17 traces"
    assert told.stdout.splitlines() == [line, f"  digest {digest}"] * 2
    [as_json] = run_json("verify-export", storm)
    assert as_json.keys() == {"file"} | set(inmem.RunExport.__dataclass_fields__)
    assert (as_json["file"], as_json["digest"]) == (str(storm), digest)

    (tmp_path / "bad").write_text("bad\n")
    changed = tmp_path / "changed.jsonl"
    changed.write_text(storm.read_text().replace("storm", "strom", 1))
    told = run("verify-export", changed, storm)
    assert (told.exit_code, len(told.stdout.splitlines())) == (1, 2)
    assert told.stderr == (
        f"inmem: error: {changed}, line 1: was changed, or does not follow the line that is before it\n"
    )
    assert run("verify-export", storm, tmp_path / "bad", changed).exit_code == 2


def rewritten(path, change):
    """Write an export anew, as whoever forges one would: every line follows the one before again."""
    previous, made = bytes(32), []
    for line in path.read_bytes().splitlines():
        body = json.dumps(change(json.loads(line)), separators=(",", ":")).encode()
        body = body[: body.rindex(b',"line_hash"')]
        previous = sha256(previous + body).digest()
        made.append(body + b',"line_hash":"' + previous.hex().encode() + b'"}\n')
    path.write_bytes(b"".join(made))


def test_an_export_whose_lines_are_sound_and_whose_events_are_not_is_no_good(run, storm):
    def change(line):
        return {**line, "event_type": "forged"} if line.get("sequence") == 3 else line

    rewritten(storm, lambda line: line)
    assert run("verify-export", storm).exit_code == 0
    rewritten(storm, change)
    told = run("verify-export", storm)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "hash" in told.stderr


def test_an_export_of_larger_values_than_usual_is_verified(run, tmp_path):
    large = inmem.Limits(value_bytes_max=64 * 1024 * 1024)
    with inmem.open(tmp_path / "db", limits=large, durability="never") as db:
        db.put("run", "k", "x" * 17 * 1024 * 1024)
        db.export_run("run", tmp_path / "run.jsonl")
    assert run("verify-export", tmp_path / "run.jsonl").exit_code == 0
    assert run("import", tmp_path / "run.jsonl", "--into", tmp_path / "new").exit_code == 2


@pytest.mark.parametrize(
    ("name", "advised"),
    [
        ("plain", "inmem delete {db} plain"),
        ("two words", "inmem delete {db} 'two words'"),
        ("-dash", "inmem delete -- {db} -dash"),
        ("--yes", "inmem delete -- {db} --yes"),
        ("it's", "inmem delete {db} 'it'\"'\"'s'"),
        # Shown with its escape, this would be the name of another run.
        ("tab\tname", None),
        ("filler\u3164", None),
    ],
)
def test_what_is_advised_is_about_that_very_run(run, tmp_path, name, advised):
    with inmem.open(tmp_path / "db") as db:
        for each in (name, name.encode("unicode_escape").decode()):
            db.put(each, "k", 1)
        db.export_run(name, tmp_path / "file.jsonl")
    missing = run("get", "--", tmp_path / "db", name, "no key").stderr
    assert ("Try: inmem get" in missing) == (advised is not None)

    told = run("import", tmp_path / "file.jsonl", "--into", tmp_path / "db").stderr
    assert "; import it into another database, or delete it first" in told
    if advised is None:
        assert "inmem delete" not in told
    else:
        command = advised.format(db=tmp_path / "db")
        assert told.endswith(f": {command}\n")
        _, delete, *rest = shlex.split(command)
        assert run(delete, "--yes", *rest).exit_code == 0
        with inmem.open(tmp_path / "db") as db:
            assert db.get(name, "k") is None


@pytest.mark.parametrize(
    ("path", "runs", "unregistered", "salvage"),
    [
        ("plain.db", "plain.db", "plain.db --unregistered", "plain.db --into NEW"),
        ("-dash.db", "-- -dash.db", "--unregistered -- -dash.db", "--into NEW -- -dash.db"),
        ("es\x1bc.db", None, None, None),
    ],
)
def test_what_is_advised_is_about_that_very_database(run, tmp_path, monkeypatch, path, runs, unregistered, salvage):
    monkeypatch.chdir(tmp_path)
    with inmem.open(path) as db:
        db.put("run", "k", 1)
    for command in (("events", "--", path, "nobody"), ("delete", "--yes", "--", path, "nobody")):
        told = run(*command)
        assert told.exit_code == 1
        assert told.stderr.partition(". ")[2] == ("" if runs is None else f"Try: inmem runs {runs}\n")
    listed = run("runs", "--", path).stderr.splitlines()[-1]
    assert listed == "1 unregistered run" + (f"; to list: inmem runs {unregistered}" if unregistered else "")

    (log,) = (tmp_path / path).glob("*.wal")
    log.write_bytes(b"")
    damaged = run("events", "--", path, "run").stderr
    assert damaged.endswith("; restore a backup" + (f", or: inmem salvage {salvage}\n" if salvage else "\n"))


@pytest.mark.parametrize("option", ["--all", "--out"])
def test_an_empty_path_does_not_mean_the_current_folder(run, recorded, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    told = run("export", recorded, *([] if option == "--all" else ["night-watch/0000"]), option, "")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "the path is empty" in told.stderr
    told = run("demo", "--keep", "")
    assert (told.exit_code, told.stdout) == (2, "")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["import", "verify-export"])
def test_nothing_is_printed_while_a_progress_bar_is_shown(run, storm, tmp_path, monkeypatch, command):
    shown, printed = [], []

    @contextlib.contextmanager
    def bar(doing, **_):
        shown.append(doing)
        try:
            yield lambda *_: None
        finally:
            shown.pop()

    echo = click.echo

    def echoed(*arguments, **options):
        printed.append(arguments)
        assert not shown
        echo(*arguments, **options)

    monkeypatch.setattr("inmem.cli.imports.progress", bar)
    monkeypatch.setattr("click.echo", echoed)
    into = ["--into", tmp_path / "db"] if command == "import" else []
    assert run(command, storm, tmp_path / "none", *into, storm).exit_code == 2
    assert len(printed) >= 3
