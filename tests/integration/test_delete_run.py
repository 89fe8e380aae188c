"""Deleting a run: all of it in one commit, whatever its size, whoever else is at work, and for good."""

import shutil
import sys
import threading
from itertools import count

import pytest

import inmem
from inmem import (
    ConflictError,
    ReadConflict,
    RunNotFoundError,
    RunStatus,
    Thought,
    ToolCall,
    WriteConflict,
)
from inmem.actors.files import log_file
from tests.actors.stage import FAILSAFE_S, in_threads
from tests.integration.five import (
    Content,
    Registered,
    Step,
    everything,
    expect,
    expect_everywhere,
    tables_of,
)

THREADS = 4


def fill(txn, run, size=1, parent=None):
    """Give a run something in all five primitives, `size` of each kind."""
    on = txn.on(run)
    for at in range(size):
        on.kv.put(f"k{at}", at)
        on.cells.init(f"c{at}", at)
        on.traces.record_with_options(Thought(f"{at}"), id=f"t{at}", tags=("x",))
    on.events.append_many([("happened", at) for at in range(size)])
    on.runs.create_run(run, parent=parent, tags=(f"tag of {run}", "shared"))


def filled(run, size=1, parent=None):
    return Content(
        kv={f"k{at}": at for at in range(size)},
        events=[("happened", at) for at in range(size)],
        cells={f"c{at}": (at, 1) for at in range(size)},
        traces={f"t{at}": Step(Thought(f"{at}"), None, ("x",)) for at in range(size)},
        runs=Registered(parent=parent, tags=(f"tag of {run}", "shared")),
    )


def create(db, run, size=1, parent=None):
    db.transaction(run, lambda txn: fill(txn, run, size, parent))


def live(tables):
    return sum(value is not None for entries in tables.values() for _, value, _ in entries.values())


@pytest.fixture(params=[{}, {"dispatcher": "threads"}, {"shards": 3}], ids=["caller", "threads", "shards"])
def db(request):
    with inmem.open(":memory:", **request.param) as database:
        yield database


def test_one_commit_removes_all_five_primitives_and_the_index_entries(db):
    create(db, "parent")
    create(db, "doomed", 3, "parent")
    create(db, "child", 1, "doomed")
    create(db, "doomed!")
    others = {run: tables_of(db, run) for run in ("parent", "child", "doomed!")}
    version = db.version

    with db.begin("doomed") as earlier:
        db.runs.delete_run("doomed")
        assert db.version == version + 1
        # A snapshot of the time before still has all of it.
        assert [key for key, _ in earlier.scan()] == ["k0", "k1", "k2"]
        assert earlier.events.len() == 3
        assert earlier.runs.get_run("doomed").parent_run == "parent"

    expect_everywhere(db, "doomed", Content())
    assert live(tables_of(db, "doomed")) == 0
    assert {run for run, _ in everything(db)} == {"", *others}
    assert {run: tables_of(db, run) for run in others} == others
    expect_everywhere(db, "child", filled("child", 1, "doomed"))
    assert db.runs.query_runs(tags=["tag of doomed"], include_archived=True) == []
    assert [run.run_id for run in db.runs.query_runs(tags=["shared"])] == ["parent", "child", "doomed!"]
    assert db.runs.get_child_runs("parent") == []
    assert db.runs.get_stats().total_runs == 3
    with db.begin("any") as txn:
        txn.runs.check()
    with pytest.raises(RunNotFoundError):
        db.runs.delete_run("doomed")


def test_an_aborted_deletion_leaves_everything(db):
    create(db, "kept", 2)
    before = everything(db)
    with db.begin("kept") as txn:
        txn.runs.delete_run("kept")
        expect(txn, "kept", Content())
        txn.abort()
    assert everything(db) == before


def test_a_run_created_again_starts_afresh(db):
    create(db, "again", 3)
    db.cells.set("again", "c0", "much later")
    db.kv.delete("again", "k1")
    db.runs.delete_run("again")
    create(db, "again", 1)
    expect_everywhere(db, "again", filled("again", 1))
    assert db.cas("again", "k1", 0, "new") == db.version
    assert db.events.append("again", "more").sequence == 1
    assert db.cells.init("again", "c1", 0) == 1


def test_deleted_and_created_again_in_one_transaction(db):
    create(db, "again", 3)
    with db.begin("other") as txn:
        txn.runs.delete_run("again")
        fill(txn, "again", 2)
    expect_everywhere(db, "again", filled("again", 2))
    assert {entry[0] for entries in tables_of(db, "again").values() for entry in entries.values() if entry[1]} == {
        db.version
    }


def test_the_data_of_a_run_can_be_put_back_by_nobody_who_began_before(db):
    """Created anew with the same content, the run is another one to whoever knew the old one."""
    create(db, "again")
    with db.begin("elsewhere") as txn:
        assert txn.on("again").kv.get("k0") == 0
        txn.kv.put("copied", 0)
        db.runs.delete_run("again")
        create(db, "again")
        with pytest.raises(ConflictError):
            txn.commit()


TOUCHES = {
    "read": lambda on: on.kv.get("k0"),
    "read_of_an_absent_key": lambda on: on.kv.get("absent"),
    "exists": lambda on: on.kv.exists("absent"),
    "blind_write": lambda on: on.kv.put("k0", "new"),
    "blind_write_of_an_absent_key": lambda on: on.kv.put("absent", "new"),
    "write_with_ttl": lambda on: on.kv.put("absent", "new", 60.0),
    "delete": lambda on: on.kv.delete("k0"),
    "delete_of_an_absent_key": lambda on: on.kv.delete("absent"),
    "cas": lambda on: on.kv.cas("k0", 1, "new"),
    "cas_of_an_absent_key": lambda on: on.kv.cas("absent", 0, "new"),
    "scan": lambda on: list(on.kv.scan()),
    "list": lambda on: on.kv.list(limit=1),
    "append": lambda on: on.events.append("late"),
    "head": lambda on: on.events.head(),
    "tail": lambda on: on.events.tail(1),
    "len": lambda on: on.events.len(),
    "event": lambda on: on.events.read(0),
    "event_not_there_yet": lambda on: on.events.read(7),
    "events_by_type": lambda on: on.events.read_by_type("happened"),
    "verify_chain": lambda on: on.events.verify_chain(),
    "cell": lambda on: on.cells.read("c0"),
    "cell_init": lambda on: on.cells.init("new", 0),
    "cell_set": lambda on: on.cells.set("c0", 0),
    "cell_cas": lambda on: on.cells.cas("c0", 1, 0),
    "cell_delete": lambda on: on.cells.delete("c0"),
    "transition": lambda on: on.cells.transition("c0", lambda state: (state.value, None)),
    "trace": lambda on: on.traces.get("t0"),
    "trace_not_there": lambda on: on.traces.get("absent"),
    "record": lambda on: on.traces.record(Thought("late")),
    "record_child": lambda on: on.traces.record_child("t0", ToolCall("late", {})),
    "tree": lambda on: on.traces.get_tree("t0"),
    "traces_by_tag": lambda on: on.traces.query_by_tag("x"),
    "count_of_traces": lambda on: on.traces.count(),
    "get_run": lambda on: on.runs.get_run("doomed"),
    "status": lambda on: on.runs.complete_run("doomed"),
    "tags": lambda on: on.runs.add_tags("doomed", ["late"]),
    "metadata": lambda on: on.runs.update_metadata("doomed", {"late": True}),
    "child_run": lambda on: on.runs.create_run("late child", parent="doomed"),
    "query_runs": lambda on: on.runs.query_runs(tags=["tag of doomed"]),
    "list_runs": lambda on: on.runs.list_runs(),
    "delete_run": lambda on: on.runs.delete_run("doomed"),
}

TOUCHES_OF_RANGES = {
    "empty_scan": lambda on: list(on.kv.scan("absent")),
    "no_events_of_that_type": lambda on: on.events.read_by_type("never"),
    "no_such_cells": lambda on: on.cells.list("absent"),
    "no_children": lambda on: on.traces.get_children("t0"),
    "run_stats": lambda on: on.runs.get_stats(),
}
"""What depends on no single entry, so that only serializable transactions remember it."""


def touch_and_commit(db, touch, isolation, between):
    with db.begin("elsewhere", isolation=isolation) as txn:
        touch(txn.on("doomed"))
        txn.kv.put("written", True)
        between()
        return txn.commit()


@pytest.mark.parametrize("isolation", ["snapshot", "serializable"])
@pytest.mark.parametrize("comes_back", [False, True], ids=["gone", "created_again"])
@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_who_began_before_the_deletion_and_touched_the_run_conflicts(touch, comes_back, isolation):
    with inmem.open(":memory:") as db:
        create(db, "doomed")

        def between():
            db.runs.delete_run("doomed")
            if comes_back:
                create(db, "doomed")

        with pytest.raises(ConflictError) as refused:
            touch_and_commit(db, touch, isolation, between)
        assert refused.value.conflicts
        assert db.kv.list("elsewhere") == []
        expect_everywhere(db, "doomed", filled("doomed") if comes_back else Content())
        assert db.runs.get_run("late child") is None


@pytest.mark.parametrize("touch", TOUCHES_OF_RANGES.values(), ids=TOUCHES_OF_RANGES.keys())
def test_who_saw_only_a_range_conflicts_if_serializable(touch):
    with inmem.open(":memory:") as db:
        create(db, "doomed")
        with pytest.raises(ConflictError):
            touch_and_commit(db, touch, "serializable", lambda: db.runs.delete_run("doomed"))
        create(db, "doomed")
        assert touch_and_commit(db, touch, "snapshot", lambda: db.runs.delete_run("doomed")) == db.version
        expect_everywhere(db, "doomed", Content())


NEXT_DOOR = {name: touch for name, touch in (TOUCHES | TOUCHES_OF_RANGES).items() if name != "list_runs"}
"""What does not read a list that has both runs in it."""


@pytest.mark.parametrize("touch", NEXT_DOOR.values(), ids=NEXT_DOOR.keys())
def test_who_touched_another_run_than_the_deleted_one_commits(touch):
    with inmem.open(":memory:") as db:
        create(db, "doomed")
        create(db, "next door")
        assert touch_and_commit(db, touch, "snapshot", lambda: db.runs.delete_run("next door")) == db.version
        assert db.kv.get("elsewhere", "written") is True


def test_a_read_only_transaction_sees_the_run_to_its_end(db):
    create(db, "doomed", 2)
    with db.begin("doomed", isolation="serializable") as txn:
        assert txn.kv.get("k0") == 0
        db.runs.delete_run("doomed")
        assert txn.kv.get("k1") == 1
        assert [event.payload for event in txn.events.iter()] == [0, 1]
        assert txn.commit() == txn.start_version


def test_a_deletion_conflicts_with_whatever_was_committed_to_the_run_meanwhile(db):
    create(db, "doomed")
    for interfere in (
        lambda: db.kv.put("doomed", "k", 1),
        lambda: db.events.append("doomed", "more"),
        lambda: db.cells.set("doomed", "c", 1),
        lambda: db.traces.record("doomed", Thought("more")),
        lambda: db.runs.add_tags("doomed", ["more"]),
    ):
        with db.begin("elsewhere") as txn:
            txn.runs.delete_run("doomed")
            interfere()
            with pytest.raises(ConflictError) as refused:
                txn.commit()
        assert {type(conflict) for conflict in refused.value.conflicts} <= {WriteConflict, ReadConflict}
        assert {conflict.key.run_id for conflict in refused.value.conflicts} <= {"doomed", ""}
    assert db.runs.get_run("doomed").tags[-1] == "more"


def test_of_two_deletions_one_wins(db):
    create(db, "doomed")

    def delete():
        try:
            db.runs.delete_run("doomed")
        except RunNotFoundError:
            return 0
        return 1

    assert sum(in_threads(*[delete] * 8)) == 1
    expect_everywhere(db, "doomed", Content())


ENTRIES = 100_000


def create_big(db, run):
    """Create a run of 100,000 entries in a few large transactions."""
    with db.begin(run) as txn:
        txn.runs.create_run(run, tags=("big",))
    for part in range(2):
        with db.begin(run) as txn:
            for at in range(25_000):
                txn.kv.put(f"{part}-{at}", at)
    with db.begin(run) as txn:
        txn.events.append_many([("happened", at) for at in range(12_500)])
    with db.begin(run) as txn:
        for at in range(5_000):
            txn.cells.init(f"{at}", at)
        for at in range(5_000):
            txn.traces.record_with_options(Thought("x"), id=f"{at}")
    assert live(tables_of(db, run)) >= ENTRIES


def test_a_big_run_goes_while_others_keep_committing(tmp_path):
    """No commit of the others fails, none is lost, and readers of the big run keep their snapshot."""
    with inmem.open(tmp_path, durability="never") as db:
        create_big(db, "big")
        for number in range(THREADS):
            create(db, f"run {number}")
        # The deletion falls between the halves of everybody's work, and the second half begins without waiting for it.
        half_way = threading.Barrier(THREADS + 1)
        rounds = 50

        def work(number):
            run = f"run {number}"
            for at in range(2 * rounds):
                if at == rounds:
                    half_way.wait(FAILSAFE_S)
                with db.begin(run) as txn:
                    txn.kv.put(f"{at}", at)
                    txn.events.append("worked", at)
                    txn.cells.transition_or_init("n", 0, lambda state: (state.value + 1, None))
                    txn.traces.record(Thought(f"{at}"))
                    txn.runs.update_metadata(run, {"at": at})

        def delete():
            with db.begin("big") as reader:
                half_way.wait(FAILSAFE_S)
                db.runs.delete_run("big")
                assert sum(1 for _ in reader.scan()) == 50_000
                assert reader.events.len() == 12_500

        aborts = db.stats().aborts
        in_threads(delete, *[lambda number=number: work(number) for number in range(THREADS)])
        assert db.stats().aborts == aborts

        assert db.kv.list("big") == []
        assert db.runs.list_runs() == [f"run {number}" for number in range(THREADS)]
        for number in range(THREADS):
            run = f"run {number}"
            assert db.events.len(run) == 1 + 2 * rounds
            assert db.cells.read(run, "n").value == 2 * rounds
            assert db.traces.count(run) == 1 + 2 * rounds
            assert db.runs.get_run(run).metadata == {"at": 2 * rounds - 1}
        assert db.verify().is_valid
        before = everything(db)
    with inmem.open(tmp_path) as db:
        assert everything(db) == before


def calls_of(work):
    """Count the calls, of Python functions and of others, that this thread makes in `work`."""
    calls = count()

    def profile(frame, event, argument):
        if event in ("call", "c_call"):
            next(calls)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(calls)


def test_deleting_a_big_run_is_as_little_work_as_deleting_a_small_one():
    """Under the `caller` dispatcher everybody's commits run in turn, so what is short for one stalls nobody."""
    with inmem.open(":memory:") as db:
        create_big(db, "big")
        tiny = 0
        for _ in range(3):
            create(db, "tiny")
            tiny = max(tiny, calls_of(lambda: db.runs.delete_run("tiny")))
        big = calls_of(lambda: db.runs.delete_run("big"))
        # The big run has one tag less. Another thread, with a timer's message, may do a part of either's work.
        assert 0 < big <= tiny + 100
        assert db.runs.list_runs() == []


def test_deleting_a_big_run_is_as_few_bytes_of_log_as_deleting_a_small_one(tmp_path, monkeypatch):
    # The segment is as long as what is in it.
    monkeypatch.setattr(log_file, "RESERVE_BYTES", 0)

    def log_bytes():
        db.flush()
        return sum(path.stat().st_size for path in tmp_path.glob("*.wal"))

    def bytes_of(work):
        before = log_bytes()
        work()
        return log_bytes() - before

    with inmem.open(tmp_path, durability="never") as db:
        create_big(db, "big")
        create(db, "tiny")
        big = bytes_of(lambda: db.runs.delete_run("big"))
        tiny = bytes_of(lambda: db.runs.delete_run("tiny"))
        assert 0 < big <= tiny < 500


def copy_of(folder, target):
    shutil.copytree(folder, target)
    return target


@pytest.mark.parametrize("checkpoint", [None, "before", "after"])
def test_recovery_finds_the_run_deleted(tmp_path, checkpoint):
    folder = tmp_path / "db"
    with inmem.open(folder, shards=2) as db:
        create(db, "kept", 2)
        create(db, "doomed", 3)
        create(db, "again", 3)
        if checkpoint == "before":
            db.checkpoint()
        db.runs.delete_run("doomed")
        with db.begin("any") as txn:
            txn.runs.delete_run("again")
            fill(txn, "again", 1)
        if checkpoint == "after":
            db.checkpoint()
        state, version = everything(db), db.version
        crashed = copy_of(folder, tmp_path / "crashed")
    for path in (folder, crashed):
        for shards in (1, 3):
            with inmem.open(path, shards=shards) as db:
                assert everything(db) == state
                assert db.version == version
                expect_everywhere(db, "doomed", Content())
                expect_everywhere(db, "again", filled("again", 1))
                expect_everywhere(db, "kept", filled("kept", 2))
                with db.begin("any") as txn:
                    txn.runs.check()
    with inmem.open(crashed) as db:
        create(db, "doomed", 1)
        expect_everywhere(db, "doomed", filled("doomed", 1))
        assert db.runs.update_status("doomed", RunStatus.PAUSED).status == "Paused"
