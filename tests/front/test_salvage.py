"""`inmem.salvage`: a new, sound database out of a damaged one, which is only read."""

import os
import shutil
from pathlib import Path

import pytest

import inmem
from inmem import Thought
from inmem.actors.files.folder_disk import FolderDisk
from inmem.engine.log.log_folder import segment_name
from inmem.salvaging import _copy
from tests.integration.five import everything

RUNS = ["a", "b", "c"]


def fill(path: Path) -> list[object]:
    """Ten commits behind a checkpoint; returns the state after each version from the checkpoint on."""
    with inmem.open(path) as db:
        for run in RUNS:
            db.begin_run(run, tags=["kept"])
            db.events.append(run, "began", run)
        db.checkpoint()
        states = [everything(db)]
        for number in range(2):
            for run in RUNS:
                with db.begin(run) as txn:
                    txn.events.append("step", number)
                    txn.traces.record(
                        Thought(f"{number}"),
                    )
                    txn.kv.put("number", number)
                    txn.cells.set("phase", number)
                states.append(everything(db))
        for run in RUNS:
            db.runs.complete_run(run)
            states.append(everything(db))
        db.put("a", "last", True)
        states.append(everything(db))
    return states


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[Path, list[object]]:
    """The third commit behind the checkpoint, of run c, is damaged."""
    path = tmp_path / "damaged"
    states = fill(path)
    segment = path / segment_name(2)
    data = bytearray(segment.read_bytes())
    at = [at for at in range(len(data)) if data.startswith(b"number", at)][2]
    data[at] ^= 1
    segment.write_bytes(data)
    return path, states


def test_the_prefix_before_the_damage_is_kept_and_goes_on(damaged, tmp_path):
    path, states = damaged
    before = content(path)
    report = inmem.salvage(path, tmp_path / "saved")
    assert content(path) == before
    assert (report.path, report.into) == (str(path), str(tmp_path / "saved"))
    assert (report.prefix_version, report.version, report.commits) == (8, 16, 2)
    assert (report.left_out, report.missing, report.taken_beyond) == (((10, 16),), ((9, 9),), ())
    assert not report.is_complete
    assert (report.runs, report.events, report.broken_chains, report.indices_repaired) == (3, 5, (), 0)
    with inmem.open(tmp_path / "saved") as db:
        assert everything(db) == states[2]
        assert db.verify().is_valid
        # As `inmem stat` counts and names them.
        assert db.stats().keys == report.entries
        assert sum(len(db.kv.list(run)) for run in db.runs.list_runs()) == report.keys
        # Above every version that the damaged database had given out.
        assert db.put("a", "new", 1) == 17
        with db.begin("a") as txn:
            assert txn.id > 16
    with inmem.open(tmp_path / "saved") as db:
        assert (db.version, db.get("a", "new")) == (17, 1)


def test_what_lies_beyond_is_taken_on_request_and_what_that_breaks_is_told(damaged, tmp_path):
    path, _ = damaged
    report = inmem.salvage(path, tmp_path / "saved", beyond_damage=True)
    assert (report.prefix_version, report.version) == (8, 16)
    assert (report.taken_beyond, report.left_out, report.missing) == (((10, 16),), (), ((9, 9),))
    [(run, chain)] = report.broken_chains
    assert (run, chain.first_invalid) == ("c", 1)
    with inmem.open(tmp_path / "saved") as db:
        assert (db.get("a", "last"), db.get("c", "number")) == (True, 1)
        assert [event.payload for event in db.events.read_range("c", 0, 9)] == ["c", 1]
        assert db.events.verify_chain("a").is_valid
        assert db.runs.get_stats().completed_runs == 3
        verification = db.verify()
        assert verification.broken_chains == report.broken_chains
        assert (verification.wrong_indices, verification.problems) == ((), ())
        assert db.events.append("c", "goes on").sequence == 3


def test_an_index_whose_commit_is_lost_is_written_anew(tmp_path):
    path = tmp_path / "damaged"
    with inmem.open(path) as db:
        db.begin_run("r")
        db.put("r", "before", 1)
        db.runs.pause_run("r")
        db.runs.cancel_run("r")
    segment = path / segment_name(1)
    data = bytearray(segment.read_bytes())
    # The commit of the pause: it alone says Paused.
    data[data.index(b"Paused")] ^= 1
    segment.write_bytes(data)
    report = inmem.salvage(path, tmp_path / "saved", beyond_damage=True)
    assert report.indices_repaired == 1
    with inmem.open(tmp_path / "saved") as db:
        assert db.runs.get_run("r").status == "Cancelled"
        # Its entry among the active runs was to go with the lost commit.
        assert [run.run_id for run in db.runs.query_runs(status="Active")] == []
        assert [run.run_id for run in db.runs.query_runs(status="Cancelled")] == ["r"]
        with db.begin("r") as txn:
            txn.runs.check()
        assert db.verify().is_valid


@pytest.fixture
def parentless(tmp_path: Path) -> Path:
    """The commit of a trace is damaged, those of the traces below it are not."""
    path = tmp_path / "damaged"
    with inmem.open(path) as db:
        db.begin_run("r")
        db.traces.record_with_options("r", Thought("that is lost"), id="p")
        for name in ("c0", "c1"):
            db.traces.record_with_options("r", Thought(name), id=name, parent_id="p")
        db.traces.record_with_options("r", Thought("deeper"), id="deeper", parent_id="c1")
    segment = path / segment_name(1)
    data = bytearray(segment.read_bytes())
    data[data.index(b"that is lost")] ^= 1
    segment.write_bytes(data)
    return path


def test_traces_whose_parent_is_lost_are_named_and_become_roots(parentless, tmp_path):
    report = inmem.salvage(parentless, tmp_path / "saved", beyond_damage=True)
    assert report.orphans == (("r", "c0", "p"), ("r", "c1", "p"))
    assert not report.is_complete
    with inmem.open(tmp_path / "saved") as db, inmem.open(":memory:") as other:
        assert [(trace.id, trace.parent_id) for trace in db.traces.roots("r")] == [("c0", None), ("c1", None)]
        assert [tree.root.id for tree in db.traces.get_tree("r", "c1").children] == ["deeper"]
        with db.begin("r") as txn:
            txn.traces.check()
        assert (db.verify().is_valid, db.verify().orphans) == (True, ())
        exported = db.export_run("r", tmp_path / "r.jsonl")
        assert exported.traces == 3
        assert other.import_run(tmp_path / "r.jsonl") == exported


def test_a_database_that_was_salvaged_without_that_is_not_valid_and_is_mended(parentless, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("inmem.salvaging.with_orphans_as_roots", lambda snapshot: (snapshot, []))
        inmem.salvage(parentless, tmp_path / "old", beyond_damage=True)
    with inmem.open(tmp_path / "old") as db:
        verification = db.verify()
        assert not verification.is_valid
        assert verification.orphans == (("r", "c0", "p"), ("r", "c1", "p"))
        (tmp_path / "r.jsonl").write_text("an earlier export")
        with pytest.raises(inmem.StorageError, match=r"run 'r': 3 of its traces .*: trace 'c0' .* below 'p', which is"):
            db.export_run("r", tmp_path / "r.jsonl")
        assert (tmp_path / "r.jsonl").read_text() == "an earlier export"
    report = inmem.salvage(tmp_path / "old", tmp_path / "new")
    assert (report.is_complete, report.orphans) == (True, verification.orphans)
    with inmem.open(tmp_path / "new") as db:
        assert db.verify().is_valid
        assert db.export_run("r", tmp_path / "r.jsonl").traces == 3


def test_a_sound_database_is_copied_whole(tmp_path):
    states = fill(tmp_path / "sound")
    report = inmem.salvage(tmp_path / "sound", tmp_path / "saved")
    assert report.is_complete
    assert not any(file.lost for file in report.files)
    with inmem.open(tmp_path / "saved") as db:
        assert everything(db) == states[-1]
    # And again, from a folder whose LOCK somebody has deleted.
    (tmp_path / "saved" / "LOCK").unlink()
    before = content(tmp_path / "saved")
    assert inmem.salvage(tmp_path / "saved", tmp_path / "again").is_complete
    assert content(tmp_path / "saved") == before
    with inmem.open(tmp_path / "again") as db:
        assert everything(db) == states[-1]


def test_the_new_folder_must_be_free(damaged, tmp_path):
    path, _ = damaged
    fill(tmp_path / "other")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_bytes(b"")
    for into in (path, tmp_path / "other", tmp_path / "file", tmp_path / "full"):
        before = content(into) if into.is_dir() else {}
        with pytest.raises(inmem.UsageError, match="into: "):
            inmem.salvage(path, into)
        assert (content(into) if into.is_dir() else {}) == before
    (tmp_path / "empty").mkdir()
    inmem.salvage(path, tmp_path / "empty")


def test_nothing_is_written_inside_the_damaged_database(damaged, tmp_path):
    path, _ = damaged
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "other").mkdir()
    before = content(path)
    for into in (path / "inner", tmp_path / "link" / "a" / "b", tmp_path / "other" / ".." / path.name / "inner"):
        with pytest.raises(inmem.UsageError, match=r"into: .+ is the damaged database itself, or inside it"):
            inmem.salvage(path, into)
    assert content(path) == before
    # What only begins with the same letters is another folder.
    inmem.salvage(path, tmp_path / f"{path.name}.saved")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": 5}, "path: must be a non-empty str"),
        ({"path": b"bytes"}, "path: must be a non-empty str"),
        ({"path": ":memory:"}, "path: must be a folder; :memory: is none"),
        ({"into": None}, "into: must be a non-empty str"),
        ({"into": ""}, "into: must be a non-empty str"),
        ({"into": ":memory:"}, "into: must be a folder; :memory: is none"),
        ({"into": Path(":memory:")}, "into: must be a folder; :memory: is none"),
        ({"beyond_damage": 1}, "beyond_damage: must be a bool, not 1"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_name(damaged, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    arguments = {"path": damaged[0], "into": tmp_path / "saved", "beyond_damage": False} | change
    with pytest.raises(inmem.UsageError, match=message):
        inmem.salvage(**arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_there_must_be_a_database(tmp_path):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "notes.wal").write_bytes(b"not ours")
    for path in (tmp_path / "missing", tmp_path / "junk"):
        with pytest.raises(inmem.DatabaseNotFoundError):
            inmem.salvage(path, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_database_in_use_is_left_to_its_owner(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "k", 1)
        with pytest.raises(inmem.DatabaseLockedError, match="that is this very process") as caught:
            inmem.salvage(tmp_path / "db", tmp_path / "saved")
        assert caught.value.owner == f"process {os.getpid()}"
        (tmp_path / "db" / "LOCK").rename(tmp_path / "LOCK")
        with pytest.raises(inmem.DatabaseLockedError, match="though not its LOCK file"):
            inmem.salvage(tmp_path / "db", tmp_path / "saved")
        (tmp_path / "db" / "LOCK").write_text("process 1")
        with pytest.raises(inmem.DatabaseLockedError, match="though not its LOCK file"):
            inmem.salvage(tmp_path / "db", tmp_path / "saved")
        (tmp_path / "LOCK").rename(tmp_path / "db" / "LOCK")
        assert db.put("run", "k", 2) == 2
    inmem.salvage(tmp_path / "db", tmp_path / "saved")


class CopyingDisk(FolderDisk):
    """Copies the folder before each of its operations: what a killed salvage would leave."""

    def __init__(self, path: Path, copies: Path) -> None:
        super().__init__(str(path))
        self._copies = copies
        self.copied: list[Path] = []

    def _copy(self, operation: str) -> None:
        copy = self._copies / f"{len(self.copied):02}-{operation}"
        shutil.copytree(self.path, copy)
        self.copied.append(copy)

    def create(self, name):
        self._copy("create")
        return super().create(name)

    def rename(self, old, new):
        self._copy("rename")
        super().rename(old, new)

    def remove(self, name):
        self._copy("remove")
        super().remove(name)

    def sync_names(self):
        self._copy("sync_names")
        super().sync_names()


def test_a_salvage_that_was_killed_at_any_step_can_be_run_again(damaged, tmp_path):
    path, states = damaged
    source = FolderDisk(str(path), read_only=True)
    target = CopyingDisk(tmp_path / "saved", tmp_path / "copies")
    _copy(source, target, beyond_damage=False)
    target.close()
    refused = finished = 0
    for copy in target.copied:
        names = set(content(copy))
        if {"000000000001.wal", "MANIFEST"} <= names:
            try:
                with inmem.open(copy) as db:
                    assert everything(db) == states[2]
            except inmem.UnfinishedSalvageError:
                refused += 1
            else:
                finished += 1
                continue
        # Nothing, or half of it: written anew.
        report = inmem.salvage(path, copy)
        assert report.prefix_version == 8
        with inmem.open(copy) as db:
            assert everything(db) == states[2]
            assert db.verify().is_valid
        assert sorted(content(copy)) == ["000000000001.checkpoint", "000000000001.wal", "LOCK", "MANIFEST"]
    assert refused >= 3
    assert finished == 1
    assert len(target.copied) >= 8
