"""What the simulation checks of a store at rest: each defect that a table can have is found, and named."""

import pytest

import inmem
from inmem.engine.keys import Tag
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.indices import INDEX_TAGS
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.store_checks import check_store


@pytest.fixture(scope="module")
def snapshot():
    with inmem.open(":memory:") as db:
        db.begin_run("run", tags=["tag"])
        db.events.append_many("run", [("a", 1), ("b", 2)])
        db.traces.record_with_options("run", inmem.Thought("hm"), tags=["t"])
        db.cells.init("run", "cell", 1)
        db.put("run", "key", 1)
        return db._client.snapshot()


def changed(snapshot, run, tag, change):
    """Return the snapshot with one table as `change` makes it of the entries by key; None leaves no table."""
    (root,) = snapshot.roots
    tables = root.as_dict()
    entries = change(tables.pop((run, int(tag))).as_dict())
    if entries is not None:
        tables[run, int(tag)] = Table.build(entries)
    return Snapshot(snapshot.version, (persistent(tables),))


def test_a_sound_store_passes(snapshot):
    check_store(snapshot)


def index_tables():
    with inmem.open(":memory:") as db:
        db.begin_run("run", tags=["tag"])
        db.events.append("run", "a", 1)
        db.traces.record("run", inmem.Thought("hm"))
        return sorted((run, tag) for run, tag, _ in db._client.snapshot().tables() if tag in INDEX_TAGS)


@pytest.mark.parametrize(("run", "tag"), index_tables())
@pytest.mark.parametrize("change", [lambda _: None, lambda _: {}, lambda entries: {b"\x00": min(entries.values())}])
def test_an_index_that_is_lost_or_leads_elsewhere_is_found(snapshot, run, tag, change):
    with pytest.raises(BrokenPromise, match=rf"run '{run}': index table {tag} "):
        check_store(changed(snapshot, run, tag, change))


@pytest.mark.parametrize(("tag", "index"), [(Tag.EVENT, Tag.EVENT_INDEX), (Tag.TRACE, Tag.TRACE_INDEX)])
def test_an_index_of_nothing_is_found(snapshot, tag, index):
    with pytest.raises(BrokenPromise, match=f"index table {index} "):
        check_store(changed(snapshot, "run", tag, lambda _: None))


def test_a_broken_chain_is_found(snapshot):
    with pytest.raises(BrokenPromise, match=r"^run 'run': event 0 "):
        check_store(changed(snapshot, "run", Tag.EVENT, lambda entries: dict([max(entries.items())])))


def test_a_trace_whose_parent_is_lost_is_found():
    with inmem.open(":memory:") as db:
        db.traces.record_with_options("run", inmem.Thought("lost"), id="p")
        db.traces.record_with_options("run", inmem.Thought("hm"), id="c", parent_id="p")
        snapshot = db._client.snapshot()
    without = changed(snapshot, "run", Tag.TRACE, lambda entries: {b"c": entries[b"c"]})
    with pytest.raises(BrokenPromise, match=r"run 'run': the parent 'p' of trace 'c' is lost"):
        check_store(without)


@pytest.mark.parametrize("tag", [Tag.KV, Tag.EVENT, Tag.STATE, Tag.TRACE, Tag.RUN])
def test_a_record_that_nobody_can_read_is_found(snapshot, tag):
    def unreadable(entries):
        key = min(entries)
        return {**entries, key: (1, b"\xc1", 0)}

    with pytest.raises(BrokenPromise, match=rf"run 'run': b'.*' of table {tag}: |run 'run': event 0 "):
        check_store(changed(snapshot, "run", tag, unreadable))
