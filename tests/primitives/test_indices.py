"""The indices as the records ask for them, beside those that are there."""

import pytest

import inmem
from inmem import Thought
from inmem.engine.keys import Tag
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.indices import INDEX_TAGS, true_indices, with_true_indices, wrong_indices


@pytest.fixture
def snapshot():
    """A store in which every kind of index entry has come and gone."""
    with inmem.open(":memory:") as db:
        for run in ("a", "a\x00", "b"):
            db.begin_run(run, tags=["x", "y"], parent=None if run == "a" else "a")
            parent = db.traces.record(run, Thought("first"))
            db.traces.record_with_options(run, Thought("second"), parent_id=parent.id, tags=["t"])
            db.events.append(run, "one")
            db.events.append(run, "one\x00")
            db.runs.pause_run(run)
            db.runs.resume_run(run)
        db.runs.complete_run("b")
        db.runs.archive_run("b")
        db.begin_run("gone")
        db.events.append("gone", "one")
        db.runs.delete_run("gone")
        return db._client.snapshot()


def test_a_store_writes_what_its_records_ask_for(snapshot):
    assert wrong_indices(snapshot) == []
    assert with_true_indices(snapshot) == (snapshot, [])
    asked = {table_id for table_id, _ in true_indices(snapshot)}
    there = {(run, tag) for run, tag, table in snapshot.tables() if tag in INDEX_TAGS and table.live_count}
    assert asked == there
    assert len(asked) == 6 + 3


@pytest.mark.parametrize("mistake", ["missing entry", "entry too many", "missing table", "table too many"])
def test_an_index_that_does_not_agree_is_named_and_written_anew(snapshot, mistake):
    tables = snapshot.roots[0].as_dict()
    for table_id in [table_id for table_id, _ in true_indices(snapshot)]:
        spoilt = dict(tables)
        entries = dict(tables[table_id].range())
        live = next(key for key, entry in entries.items() if entry[1] is not None)
        wrong = table_id
        match mistake:
            case "missing entry":
                del entries[live]
                spoilt[table_id] = Table.build(entries)
                if not entries:
                    del spoilt[table_id]
            case "entry too many":
                entries[live + b"\x00"] = entries[live]
                spoilt[table_id] = Table.build(dict(sorted(entries.items())))
            case "missing table":
                del spoilt[table_id]
            case _:
                wrong = ("c", Tag.EVENT_INDEX)
                spoilt[wrong] = tables[table_id]
        damaged = Snapshot(snapshot.version, (persistent(spoilt),))
        assert wrong_indices(damaged) == [wrong]
        mended, repaired = with_true_indices(damaged)
        assert repaired == [wrong]
        assert wrong_indices(mended) == []
        mended.check()
