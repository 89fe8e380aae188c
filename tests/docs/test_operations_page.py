"""The backup of docs/operations.md: whole and verified, or not there."""

import runpy
import sys
from pathlib import Path

import pytest

import inmem
from tests.docs.page import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def back_up(tmp_path, monkeypatch):
    """Run the page's program for a database in the test's folder; all that it may leave there is the backup."""
    (block,) = [block for block in blocks_of(PAGE.read_text("utf-8")) if block.option == 'title="backup.py"']
    program = tmp_path / "backup.py"
    program.write_text(block.text, "utf-8")

    def back_up(source):
        monkeypatch.setattr(sys, "argv", ["backup.py", str(source), str(tmp_path / "backup.db")])
        before = {*tmp_path.iterdir()}
        try:
            runpy.run_path(str(program))
        finally:
            assert {*tmp_path.iterdir()} - before <= {tmp_path / "backup.db"}
        return tmp_path / "backup.db"

    return back_up


def test_a_run_whose_last_key_expires_meanwhile_is_left_out(back_up, tmp_path, monkeypatch):
    with inmem.open(tmp_path / "db") as db:
        db.put("kept", "k", 1)
    with monkeypatch.context() as patched:
        patched.setattr(inmem.Database, "unregistered_runs", lambda _db: ["expired", "kept"])
        backup = back_up(tmp_path / "db")

    with inmem.open(backup, create=False, read_only=True) as db:
        assert db.unregistered_runs() == ["kept"]
        assert db.get("kept", "k") == 1


def test_nothing_is_left_of_a_backup_that_fails(back_up, tmp_path):
    with inmem.open(tmp_path / "damaged") as db:
        db.put("first", "k", 1)
        for at in range(3):
            db.events.append("run", "e", f"number {at}")
    (segment,) = (tmp_path / "damaged").glob("*.wal")
    segment.write_bytes(segment.read_bytes().replace(b"number 1", b"number x"))
    saved = inmem.salvage(tmp_path / "damaged", tmp_path / "db", beyond_damage=True)
    assert [run for run, _ in saved.broken_chains] == ["run"]

    with pytest.raises(inmem.RunFileError):
        back_up(tmp_path / "db")
    assert not (tmp_path / "backup.db").exists()
