"""The isolation table, row by row, by the names of the anomalies (Adya; Hermitage). T1 commits first unless said."""

import pytest

from inmem import CasConflictError, ConflictError


@pytest.fixture(params=["snapshot", "serializable"])
def begin(request, any_db):
    """Begin a transaction at the level under test."""
    begin = lambda: any_db.begin("run", isolation=request.param)  # noqa: E731
    begin.level = request.param
    return begin


@pytest.fixture
def xy(any_db):
    """The two rows that every case begins with, x in a run of its own so that shards differ."""
    with any_db.begin("run") as txn:
        txn.put("x", 10)
        txn.put("y", 20)
    return any_db


def values(db, *keys):
    with db.begin("run") as txn:
        return tuple(txn.get(key) for key in keys)


def aborts(txn):
    with pytest.raises(ConflictError):
        txn.commit()
    assert txn.status == "aborted"


def test_g0_dirty_write(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", 11)
    t2.put("x", 12)
    t1.put("y", 21)
    t1.commit()
    t2.put("y", 22)
    aborts(t2)
    assert values(xy, "x", "y") == (11, 21)


def test_g1a_aborted_read(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", 101)
    assert t2.get("x") == 10
    t1.abort()
    assert t2.get("x") == 10
    t2.commit()
    assert values(xy, "x") == (10,)


def test_g1b_intermediate_read(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", 101)
    assert t2.get("x") == 10
    t1.put("x", 11)
    t1.commit()
    assert t2.get("x") == 10
    t2.commit()
    assert begin().get("x") == 11


def test_g1c_circular_information_flow(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", 11)
    t2.put("y", 22)
    assert t1.get("y") == 20
    assert t2.get("x") == 10
    t1.commit()
    aborts(t2)
    assert values(xy, "x", "y") == (11, 20)


def test_otv_observed_transaction_vanishes(xy, begin):
    t1, t2, t3 = begin(), begin(), begin()
    t1.put("x", 11)
    t1.put("y", 19)
    t2.put("x", 12)
    t1.commit()
    assert t3.get("x") == 10
    t2.put("y", 18)
    assert t3.get("y") == 20
    aborts(t2)
    assert (t3.get("x"), t3.get("y")) == (10, 20)
    t3.commit()
    assert values(xy, "x", "y") == (11, 19)


def test_g_single_read_skew_of_a_reader(xy, begin):
    t1, t2 = begin(), begin()
    assert t2.get("x") == 10
    t1.put("x", 12)
    t1.put("y", 18)
    t1.commit()
    assert t2.get("y") == 20
    t2.commit()


def test_g_single_with_a_write(xy, begin):
    t1, t2 = begin(), begin()
    assert t2.get("x") == 10
    t1.put("x", 12)
    t1.put("y", 18)
    t1.commit()
    assert t2.delete("y")
    aborts(t2)
    assert values(xy, "x", "y") == (12, 18)


def test_p4_lost_update(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", t1.get("x") + 1)
    t2.put("x", t2.get("x") + 1)
    t1.commit()
    aborts(t2)
    assert values(xy, "x") == (11,)


def test_p4_lost_update_the_other_way_round(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("x", t1.get("x") + 1)
    t2.put("x", t2.get("x") + 1)
    t2.commit()
    aborts(t1)
    assert values(xy, "x") == (11,)


def test_read_x_other_commits_x_then_write_y(xy, begin):
    t1, t2 = begin(), begin()
    t2.get("x")
    t1.put("x", 11)
    t1.commit()
    t2.put("y", 21)
    aborts(t2)
    assert values(xy, "x", "y") == (11, 20)


def test_read_x_other_commits_x_no_writes(xy, begin):
    t1, t2 = begin(), begin()
    t2.get("x")
    t1.put("x", 11)
    t1.commit()
    assert t2.get("x") == 10
    assert t2.commit() == t2.start_version


def test_g2_item_write_skew_crossed(xy, begin):
    t1, t2 = begin(), begin()
    t1.put("y", t1.get("x") + 1)
    t2.put("x", t2.get("y") + 1)
    t1.commit()
    aborts(t2)
    assert values(xy, "x", "y") == (10, 11)


def test_g2_item_write_skew_read_both(xy, begin):
    t1, t2 = begin(), begin()
    for txn in (t1, t2):
        assert txn.get("x") + txn.get("y") == 30
    t1.put("x", -10)
    t2.put("y", -20)
    t1.commit()
    aborts(t2)
    assert values(xy, "x", "y") == (-10, 20)


def test_g2_item_write_skew_across_runs(xy, begin):
    xy.put("other run", "z", 0)
    t1, t2 = begin(), begin()
    for txn in (t1, t2):
        txn.get("x")
        txn.on("other run").kv.get("z")
    t1.put("x", 1)
    t2.on("other run").kv.put("z", 1)
    t1.commit()
    aborts(t2)


def test_g2_phantom_both_scan_and_insert_different_keys(xy, begin):
    t1, t2 = begin(), begin()
    for txn in (t1, t2):
        assert list(txn.scan("p/")) == []
    t1.put("p/1", 1)
    t2.put("p/2", 2)
    t1.commit()
    if begin.level == "snapshot":
        t2.commit()
        assert values(xy, "p/1", "p/2") == (1, 2)
    else:
        aborts(t2)
        assert values(xy, "p/1", "p/2") == (1, None)


def test_scan_other_inserts_in_range_then_write_elsewhere(xy, begin):
    xy.put("run", "p/1", 1)
    t1, t2 = begin(), begin()
    assert list(t2.scan("p/")) == [("p/1", 1)]
    t1.put("p/2", 2)
    t1.commit()
    assert list(t2.scan("p/")) == [("p/1", 1)]
    t2.put("y", 21)
    if begin.level == "snapshot":
        t2.commit()
    else:
        aborts(t2)


@pytest.mark.parametrize("change", ["change", "delete"])
def test_scan_other_changes_what_it_returned(xy, begin, change):
    """Not a phantom: the scan has read that very item, so both levels see it."""
    xy.put("run", "p/1", 1)
    t1, t2 = begin(), begin()
    assert list(t2.scan("p/")) == [("p/1", 1)]
    if change == "change":
        t1.put("p/1", 2)
    else:
        t1.delete("p/1")
    t1.commit()
    t2.put("y", 21)
    aborts(t2)


def test_scan_other_inserts_outside_the_range(xy, begin):
    t1, t2 = begin(), begin()
    assert list(t2.scan("p/")) == []
    t1.put("p0", 1)
    t1.put("p", 1)
    t1.commit()
    t2.put("y", 21)
    t2.commit()


def test_scan_other_inserts_no_writes(xy, begin):
    t1, t2 = begin(), begin()
    assert list(t2.scan("p/")) == []
    t1.put("p/1", 1)
    t1.commit()
    assert list(t2.scan("p/")) == []
    t2.commit()


def test_read_missing_other_creates(xy, begin):
    t1, t2 = begin(), begin()
    assert t2.get("new") is None
    t1.put("new", 1)
    t1.commit()
    t2.put("y", 21)
    aborts(t2)


def test_read_missing_other_creates_and_deletes(xy, begin):
    t2 = begin()
    assert t2.get("new") is None
    xy.put("run", "new", 1)
    xy.delete("run", "new")
    t2.put("y", 21)
    aborts(t2)


def test_read_tombstone_other_recreates(xy, begin):
    xy.delete("run", "x")
    t1, t2 = begin(), begin()
    assert t2.get("x") is None
    t1.put("x", 10)
    t1.commit()
    t2.put("y", 21)
    aborts(t2)


def test_other_rewrites_the_same_value(xy, begin):
    t1, t2 = begin(), begin()
    assert t2.get("x") == 10
    t1.put("x", 10)
    t1.commit()
    t2.put("y", 21)
    aborts(t2)


def test_cas_stale(xy, begin):
    t1, t2 = begin(), begin()
    version = t2.get_versioned("x").version
    t1.put("x", 11)
    t1.commit()
    t3 = begin()
    t3.cas("x", version, 12)
    with pytest.raises(CasConflictError):
        t3.commit()
    t2.cas("x", version, 12)
    aborts(t2)
    assert values(xy, "x") == (11,)


def test_cas_zero_on_a_tombstone(xy, begin):
    xy.delete("run", "x")
    t1 = begin()
    t1.cas("x", 0, 12)
    with pytest.raises(CasConflictError):
        t1.commit()
    assert values(xy, "x") == (None,)


def test_cas_is_not_judged_by_the_write_rule(xy, begin):
    """The version it expects may be newer than the snapshot; and it does not count as a read."""
    t2 = begin()
    current = xy.put("run", "x", 11)
    t2.cas("x", current, 12)
    t2.commit()
    assert values(xy, "x") == (12,)


def test_reads_are_repeatable(xy, begin):
    t1 = begin()
    before = (t1.get("x"), list(t1.scan()), t1.get("missing"), t1.events.len())
    xy.put("run", "x", 11)
    xy.put("run", "missing", 1)
    xy.delete("run", "y")
    xy.events.append("run", "type")
    assert (t1.get("x"), list(t1.scan()), t1.get("missing"), t1.events.len()) == before


def test_a_scan_in_progress_does_not_see_later_commits(xy, begin):
    for index in range(50):
        xy.put("run", f"p/{index:02}", index)
    t1 = begin()
    scan = t1.scan("p/")
    assert next(scan) == ("p/00", 0)
    xy.delete("run", "p/25")
    xy.put("run", "p/10x", "new")
    assert [value for _, value in scan] == list(range(1, 50))


def test_runs_are_isolated_from_each_other(xy, begin):
    t1 = begin()
    assert t1.get("x") == 10
    xy.put("other run", "x", 11)
    xy.events.append("other run", "type")
    t1.put("y", t1.events.len())
    t1.commit()
    assert values(xy, "x", "y") == (10, 0)


@pytest.mark.parametrize("reads", ["head", "tail", "len", "append"])
def test_event_log_other_appends(xy, begin, reads):
    """Head, tail and length are items, so that both levels see an append behind them."""
    t1, t2 = begin(), begin()
    {
        "head": t2.events.head,
        "tail": lambda: t2.events.tail(3),
        "len": t2.events.len,
        "append": lambda: t2.events.append("type"),
    }[reads]()
    t1.events.append("type")
    t1.commit()
    t2.put("y", 21)
    aborts(t2)
    assert xy.events.len("run") == 1
