"""Each kind of conflict with its facts; and a refused commit names all of its conflicts, not just the first."""

import pytest

import inmem
from inmem import CasConflict, ConflictError, Key, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.keys import Tag


def refused(txn):
    """Commit, which must fail, and return the conflicts."""
    with pytest.raises(ConflictError) as caught:
        txn.commit()
    assert txn.status == "aborted"
    assert caught.value.retryable or isinstance(caught.value, inmem.CasConflictError)
    return caught.value.conflicts


def test_read_conflict(any_db):
    db = any_db
    read_version = db.put("run", "x", 1)
    txn = db.begin("run")
    txn.get("x")
    current = db.put("run", "x", 2)
    txn.put("y", 1)
    (conflict,) = refused(txn)
    assert conflict == ReadConflict(Key.kv("run", "x"), read_version, current)
    assert (conflict.key, conflict.read_version, conflict.current_version) == (Key.kv("run", "x"), 1, 2)
    assert str(conflict) == "kv('run', 'x') was read at version 1 and is at 2 now"


def test_read_conflict_with_a_creation(any_db):
    db = any_db
    txn = db.begin("run")
    assert txn.get("x") is None
    current = db.put("run", "x", 1)
    txn.put("y", 1)
    assert refused(txn) == (ReadConflict(Key.kv("run", "x"), 0, current),)


def test_read_conflict_with_a_deletion(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run")
    txn.get("x")
    db.delete("run", "x")
    txn.put("y", 1)
    assert refused(txn) == (ReadConflict(Key.kv("run", "x"), 1, 2),)


def test_write_conflict(any_db):
    db = any_db
    db.put("run", "other", 1)
    txn = db.begin("run")
    txn.put("x", 1)
    current = db.put("run", "x", 2)
    (conflict,) = refused(txn)
    assert conflict == WriteConflict(Key.kv("run", "x"), txn.start_version, current)
    assert (conflict.key, conflict.start_version, conflict.current_version) == (Key.kv("run", "x"), 1, 2)
    assert str(conflict) == ("kv('run', 'x') was written here from a snapshot at version 1 and by another commit at 2")


def test_deleting_what_was_changed_conflicts_as_read_and_as_written(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run")
    assert txn.delete("x")
    db.put("run", "x", 2)
    key = Key.kv("run", "x")
    assert set(refused(txn)) == {ReadConflict(key, 1, 2), WriteConflict(key, 1, 2)}


def test_cas_conflict(any_db):
    db = any_db
    db.put("run", "x", 1)
    db.put("run", "x", 2)
    txn = db.begin("run")
    txn.cas("x", 1, "new")
    with pytest.raises(inmem.CasConflictError) as caught:
        txn.commit()
    error = caught.value
    assert error.conflicts == (CasConflict(Key.kv("run", "x"), 1, 2),)
    assert (error.expected, error.actual, error.name, error.retryable) == (1, 2, "kv('run', 'x')", False)
    (conflict,) = error.conflicts
    assert (conflict.key, conflict.expected_version, conflict.current_version) == (Key.kv("run", "x"), 1, 2)
    assert str(conflict) == "kv('run', 'x') was expected at version 1 and is at 2"


def test_cas_conflict_of_a_single_operation(any_db):
    any_db.put("run", "x", 1)
    with pytest.raises(inmem.CasConflictError) as caught:
        any_db.cas("run", "x", 0, "new")
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert any_db.get("run", "x") == 1


def test_cas_conflict_on_a_tombstone(any_db):
    db = any_db
    db.put("run", "x", 1)
    db.delete("run", "x")
    with pytest.raises(inmem.CasConflictError) as caught:
        db.cas("run", "x", 0, "new")
    assert caught.value.actual == 2
    assert db.cas("run", "x", 2, "new") == 3


def test_cas_conflict_of_a_cell(any_db):
    db = any_db
    db.cells.init("run", "phase", "a")
    db.cells.set("run", "phase", "b")
    with pytest.raises(inmem.CasConflictError) as caught:
        db.cells.cas("run", "phase", 1, "c")
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert db.cells.read("run", "phase").value == "b"


def test_two_expectations_of_one_key_cannot_both_hold(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run")
    txn.cas("x", 0, "first")
    txn.cas("x", 1, "second")
    assert refused(txn) == (CasConflict(Key.kv("run", "x"), 0, 1),)


def test_scan_conflict(any_db):
    db = any_db
    db.put("run", "p/a", 1)
    txn = db.begin("run", isolation="serializable")
    assert list(txn.scan("p/")) == [("p/a", 1)]
    current = db.put("run", "p/b", 2)
    txn.put("elsewhere", 1)
    (conflict,) = refused(txn)
    assert isinstance(conflict, ScanConflict)
    assert conflict.prefix == Key.kv("run", "p/")
    assert conflict.end == b"p0"
    assert conflict.key == Key.kv("run", "p/b")
    assert (conflict.start_version, conflict.current_version) == (1, current)
    assert "kv('run', 'p/b')" in str(conflict)


def test_all_conflicts_are_reported_at_once(any_db):
    db = any_db
    for key in ("read", "swapped", "s/scanned"):
        db.put("run", key, 0)
    txn = db.begin("run", isolation="serializable")
    txn.get("read")
    txn.get("missing")
    txn.put("written", 1)
    txn.cas("swapped", 2, 1)
    assert [key for key, _ in txn.scan("s/")] == ["s/scanned"]
    txn.on("other").kv.put("written", 1)
    txn.cells.init("cell", 1)

    changed = db.begin("run")
    for key in ("read", "missing", "written", "swapped", "s/new"):
        changed.put(key, 2)
    changed.on("other").kv.put("written", 2)
    changed.cells.init("cell", 2)
    current = changed.commit()

    kv = lambda key: Key.kv("run", key)  # noqa: E731
    conflicts = refused(txn)
    assert set(conflicts) == {
        ReadConflict(kv("read"), 1, current),
        ReadConflict(kv("missing"), 0, current),
        WriteConflict(kv("written"), 3, current),
        CasConflict(kv("swapped"), 2, current),
        ScanConflict(kv("s/"), b"s0", 3, kv("s/new"), current),
        WriteConflict(Key.kv("other", "written"), 3, current),
        ReadConflict(Key.state("run", "cell"), 0, current),
        WriteConflict(Key.state("run", "cell"), 3, current),
    }
    assert len(conflicts) == 8


def test_the_error_lists_them_in_its_text(any_db):
    db = any_db
    txn = db.begin("run")
    txn.put("x", 1)
    txn.put("y", 1)
    for key in ("x", "y"):
        db.put("run", key, 2)
    with pytest.raises(ConflictError, match=r"kv\('run', 'x'\).*; kv\('run', 'y'\)"):
        txn.commit()


@pytest.mark.parametrize("exhausted", [False, True])
def test_conflicts_on_keys_that_a_user_can_read_come_first(any_db, exhausted):
    db = any_db
    run = db.begin_run()
    db.put(run, "seen", 0)

    def work(txn):
        # Each of the three leaves entries in indices, which are read and written, and other keys behind them.
        txn.runs.add_tags(run, ["busy"])
        txn.runs.list_runs()
        txn.events.append("type")
        txn.put("seen", txn.get("seen") + 1)
        db.runs.pause_run(run)
        db.events.append(run, "type")
        db.put(run, "seen", 5)
        db.runs.resume_run(run)

    retry = inmem.RetryPolicy(max_retries=1, base_delay=0) if exhausted else inmem.RetryPolicy(max_retries=0)
    with pytest.raises(inmem.RetriesExhaustedError) as caught:
        db.transaction(run, work, isolation="serializable", retry=retry)
    error = caught.value
    own = [conflict.key.is_the_stores_own for conflict in error.conflicts]
    assert set(own) == {False, True}
    assert own == sorted(own)
    texts = [str(conflict) for conflict in error.conflicts]
    assert str(error).endswith("; ".join(texts))
    with db.begin(run) as txn:
        for conflict in error.conflicts[: own.index(True)]:
            txn.get(conflict.key)
        with pytest.raises(inmem.InvalidKeyError, match="belongs to the store"):
            txn.get(error.conflicts[-1].key)


def test_otherwise_the_order_is_that_of_validation():
    conflicts = [
        ReadConflict(Key("run", Tag.RUN_INDEX, b"\x00"), 1, 2),
        ReadConflict(Key.kv("run", "b"), 1, 2),
        ReadConflict(Key("run", Tag.EVENT_INDEX, b"\x00"), 1, 2),
        WriteConflict(Key.kv("run", "a"), 1, 2),
    ]
    error = ConflictError(conflicts)
    assert error.conflicts == (conflicts[1], conflicts[3], conflicts[0], conflicts[2])
    assert str(error).startswith("kv('run', 'b') was read")


def test_several_failed_swaps_are_a_conflict_error_with_all_of_them(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run")
    txn.cas("x", 7, 1)
    txn.cas("y", 7, 1)
    with pytest.raises(ConflictError) as caught:
        txn.commit()
    assert not isinstance(caught.value, inmem.CasConflictError)
    assert set(caught.value.conflicts) == {CasConflict(Key.kv("run", "x"), 7, 1), CasConflict(Key.kv("run", "y"), 7, 0)}


@pytest.mark.parametrize("in_run", ["get", "put", "delete", "append", "cas", "cell"])
def test_whatever_was_done_in_a_run_deleted_meanwhile_conflicts(any_db, in_run):
    db = any_db
    run = db.begin_run()
    db.put(run, "x", 1)
    txn = db.begin(run)
    match in_run:
        case "get":
            txn.get("x")
            txn.on("other").kv.put("y", 1)
        case "put":
            txn.put("x", 2)
        case "delete":
            txn.delete("x")
        case "append":
            txn.events.append("type")
        case "cas":
            txn.cas("x", txn.start_version, 2)
        case _:
            txn.cells.init("cell", 1)
    db.runs.delete_run(run)
    refused(txn)
    assert db.get(run, "x") is None
    assert db.events.len(run) == 0
    assert db.cells.list(run) == []


def test_deleting_a_run_that_was_changed_meanwhile_conflicts(any_db):
    db = any_db
    run = db.begin_run()
    txn = db.begin("other")
    txn.runs.delete_run(run)
    current = db.put(run, "x", 1)
    conflicts = refused(txn)
    assert WriteConflict(Key.run(run), 1, current) in conflicts
    assert db.get(run, "x") == 1


def test_a_refused_commit_leaves_nothing(any_db):
    db = any_db
    txn = db.begin("run")
    txn.put("x", 1)
    txn.put("y", 1)
    txn.events.append("type")
    txn.on("other").kv.put("z", 1)
    version = db.put("run", "x", 2)
    refused(txn)
    assert db.version == version
    assert (db.get("run", "x"), db.get("run", "y"), db.get("other", "z"), db.events.len("run")) == (2, None, None, 0)


def test_a_compare_and_swap_has_to_succeed_even_if_its_key_is_deleted_after_it(any_db):
    db = any_db
    txn = db.begin("run")
    txn.cas("k", 5, 1)
    assert txn.delete("k") is True
    assert refused(txn) == (CasConflict(Key.kv("run", "k"), 5, 0),)
    with db.begin("run") as txn:
        txn.cas("k", 0, 1)
        assert txn.delete("k") is True
    assert db.get("run", "k") is None
