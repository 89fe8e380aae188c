"""Transactions as users write them: by hand, with `with`, as a function that is run again, and as single operations."""

import contextlib
import copy
import functools
import gc
import itertools
import math
import os
import pickle
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inmem
from inmem import (
    ConflictError,
    Key,
    RetriesExhaustedError,
    RetryPolicy,
    TransactionClosedError,
    TransactionTimeoutError,
    WriteConflict,
)
from inmem.engine.commits.commit_token import CommitToken
from tests.actors.faulty_disk import FaultyDisk, open_on
from tests.actors.stage import in_threads
from tests.actors.workload import until

FAILSAFE_S = 60.0
AT_ONCE = RetryPolicy(base_delay=0, max_delay=0)


def disturbed(db, times, key="x"):
    """Return a function for `transaction` that loses against another commit so many times, and a list of its calls."""
    calls = []

    def work(txn):
        calls.append(txn)
        value = txn.get(key) or 0
        if len(calls) <= times:
            db.put("run", key, value + 100)
        txn.put(key, value + 1)
        return f"attempt {len(calls)}"

    return work, calls


# By hand.


def test_commit_returns_the_version_and_makes_it_visible(any_db):
    db = any_db
    txn = db.begin("run")
    assert (txn.status, txn.run_id, txn.start_version) == ("active", "run", 0)
    txn.put("x", 1)
    assert db.get("run", "x") is None
    assert txn.commit() == 1
    assert txn.status == "committed"
    assert db.get("run", "x") == 1
    assert db.version == 1


def test_abort_leaves_nothing(any_db):
    db = any_db
    txn = db.begin("run")
    txn.put("x", 1)
    txn.events.append("type")
    txn.abort()
    assert txn.status == "aborted"
    assert (db.get("run", "x"), db.events.len("run"), db.version) == (None, 0, 0)


def test_with_commits_on_a_clean_exit(any_db):
    with any_db.begin("run") as txn:
        txn.put("x", 1)
        assert txn.status == "active"
    assert txn.status == "committed"
    assert any_db.get("run", "x") == 1


class Unrelated(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("error", [ValueError("mine"), Unrelated("mine")])
def test_with_aborts_on_an_exception_and_passes_it_on(any_db, error):
    with pytest.raises(type(error)) as caught, any_db.begin("run") as txn:  # noqa: PT012  (raised in the block)
        txn.put("x", 1)
        raise error
    assert caught.value is error
    assert txn.status == "aborted"
    assert any_db.get("run", "x") is None


def test_with_raises_the_conflict(any_db):
    with pytest.raises(ConflictError), any_db.begin("run") as txn:  # noqa: PT012  (raised at its end)
        txn.put("x", 1)
        any_db.put("run", "x", 2)
    assert txn.status == "aborted"


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_with_lets_the_block_end_the_transaction(any_db, end):
    with any_db.begin("run") as txn:
        txn.put("x", 1)
        getattr(txn, end)()
    assert any_db.get("run", "x") == (1 if end == "commit" else None)


USES = {
    "get": lambda txn: txn.get("x"),
    "get Key": lambda txn: txn.get(Key.kv("other", "x")),
    "get_versioned": lambda txn: txn.get_versioned("x"),
    "put": lambda txn: txn.put("x", 1),
    "delete": lambda txn: txn.delete("x"),
    "cas": lambda txn: txn.cas("x", 0, 1),
    "scan": lambda txn: list(txn.scan()),
    "commit": lambda txn: txn.commit(),
    "abort": lambda txn: txn.abort(),
    "on": lambda txn: txn.on("other"),
    "kv": lambda txn: txn.kv.get("x"),
    "kv list": lambda txn: txn.kv.list(),
    "events": lambda txn: txn.events.append("type"),
    "events len": lambda txn: txn.events.len(),
    "cells": lambda txn: txn.cells.set("c", 1),
    "traces": lambda txn: txn.traces.record(inmem.Thought("x")),
    "runs": lambda txn: txn.runs.create_run(),
    "runs get": lambda txn: txn.runs.get_run("run"),
    "enter": lambda txn: txn.__enter__(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("end", ["committed", "read only", "aborted", "refused"])
def test_an_ended_transaction_refuses_everything(db, use, end):
    txn = db.begin("run")
    for touched in (txn.kv, txn.events):
        touched.len() if touched is txn.events else touched.list()
    if end != "read only":
        txn.put("y", 1)
    if end == "refused":
        db.put("run", "y", 2)
        with pytest.raises(ConflictError):
            txn.commit()
    elif end == "aborted":
        txn.abort()
    else:
        txn.commit()
    status = {"read only": "committed", "refused": "aborted"}.get(end, end)
    version = db.version
    with pytest.raises(TransactionClosedError, match=f"this transaction is {status}") as caught:
        USES[use](txn)
    assert caught.value.status == txn.status == status
    assert db.version == version


def test_accessors_taken_before_the_end_are_closed_too(db):
    txn = db.begin("run")
    kv, other = txn.kv, txn.on("other").events
    kv.put("x", 1)
    other.append("type")
    scan = txn.scan()
    txn.commit()
    for use in (lambda: kv.get("x"), lambda: kv.put("x", 2), other.len, lambda: other.append("type"), scan.__next__):
        with pytest.raises(TransactionClosedError):
            use()


def test_leaving_the_block_after_an_abort_and_an_exception_passes_the_exception_on(db):
    def block():
        with db.begin("run") as txn:
            txn.put("x", 1)
            txn.abort()
            raise LookupError

    with pytest.raises(LookupError):
        block()
    assert db.get("run", "x") is None


def test_a_read_only_transaction_always_commits_and_takes_no_version(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run", isolation="serializable")
    txn.get("x")
    list(txn.scan())
    db.put("run", "x", 2)
    assert txn.commit() == txn.start_version == 1
    assert db.version == 2


@pytest.mark.parametrize("isolation", ["", "SNAPSHOT", "read committed", None, 1])
def test_an_unknown_isolation_is_refused(db, isolation):
    with pytest.raises(inmem.UsageError, match="isolation: must be one of snapshot, serializable"):
        db.begin("run", isolation=isolation)
    with pytest.raises(inmem.UsageError, match="isolation"):
        db.transaction("run", lambda txn: None, isolation=isolation)
    db.begin("run", isolation=inmem.Isolation.SERIALIZABLE).abort()


@pytest.mark.parametrize("timeout", [-1, "1", float("nan"), True])
def test_a_bad_timeout_is_refused_and_leaves_no_transaction(db, timeout):
    with pytest.raises(inmem.UsageError, match="timeout"):
        db.begin("run", timeout=timeout)
    with pytest.raises(inmem.UsageError, match="timeout"):
        db.transaction("run", lambda txn: None, timeout=timeout)
    assert db.stats().active_transactions == 0


@pytest.mark.parametrize("timeout", [math.inf, 1e10, pytest.param(10**400, id="10**400")])
def test_a_timeout_longer_than_a_thread_can_wait_is_none(tmp_path, timeout):
    """Waiting for it raised OverflowError, and the commit went through all the same."""
    with inmem.open(tmp_path) as db:
        work, _ = disturbed(db, 1)
        assert db.transaction("run", work, retry=AT_ONCE, timeout=timeout) == "attempt 2"
        with db.begin("run", timeout=timeout) as txn:
            txn.put("y", 1)
        changes = db.watch(after_version=0, timeout=timeout)
        assert [next(changes).version for _ in range(3)] == [1, 2, 3]
        writer = threading.Timer(0, db.put, ["run", "z", 1])
        writer.start()
        assert next(changes).version == 4
        writer.join()


class Name(str):
    """Equal to a run id, and none."""

    __slots__ = ()


@pytest.mark.parametrize("run", ["", "x" * 256, None, 7, b"run", Name("run")])
def test_a_bad_run_is_refused(db, run):
    db.put("run", "k", 1)
    assert db.get("run", "k") == 1
    for use in (
        lambda: db.begin(run),
        lambda: db.transaction(run, lambda txn: None),
        lambda: db.put(run, "k", 1),
        lambda: db.get(run, "k"),
    ):
        with pytest.raises(inmem.InvalidKeyError):
            use()
    assert db.stats().active_transactions == 0


def test_it_prints_what_it_is(db):
    txn = db.begin("run")
    assert repr(txn) == f"<Transaction {txn.id} of run 'run', active>"
    txn.abort()
    assert repr(txn) == f"<Transaction {txn.id} of run 'run', aborted>"


WAYS = [copy.copy, copy.deepcopy, *(functools.partial(pickle.dumps, protocol=number) for number in range(6))]


@pytest.mark.parametrize("way", WAYS, ids=["copy", "deepcopy", *(f"pickle {number}" for number in range(6))])
def test_it_is_neither_copied_nor_pickled_and_nor_is_its_database(db, way, capsys):
    txn = db.begin("run")
    txn.put("x", 1)
    # A copy of an accessor would buffer writes that belong to no transaction.
    accessors = (txn.kv, txn.events, txn.cells, txn.traces, txn.runs, txn.on("other").kv)
    proxies = (db.kv, db.events, db.cells, db.traces, db.runs, db.kv.futures, db.watch())
    for handle in (txn, db, txn.on("other"), txn._lease, *accessors, *proxies):
        with pytest.raises(TypeError, match=f"^{re.escape(repr(handle))} cannot be copied or pickled$"):
            way(handle)
    gc.collect()
    assert capsys.readouterr().err == ""
    assert db.stats().active_transactions == 1
    txn.commit()
    assert db.get("run", "x") == 1


def test_a_value_that_cannot_be_stored_leaves_the_transaction_usable(db):
    with db.begin("run") as txn:
        txn.put("x", 1)
        with pytest.raises(inmem.InvalidValueError, match="value"):
            txn.put("x", object())
        with pytest.raises(inmem.InvalidKeyError):
            txn.put("k" * 1025, 1)
        assert txn.get("x") == 1
    assert db.get("run", "x") == 1


# Reading one's own writes.


def test_own_writes_are_read(any_db):
    db = any_db
    db.put("run", "a", "old")
    db.put("run", "b", "old")
    with db.begin("run") as txn:
        txn.put("a", "new")
        assert txn.get("a") == "new"
        assert txn.delete("b")
        assert txn.get("b") is None
        assert not txn.delete("b")
        txn.cas("c", 0, "swapped")
        assert txn.get("c") == "swapped"
        assert list(txn.scan()) == [("a", "new"), ("c", "swapped")]
        txn.put("b", "again")
        txn.delete("a")
        assert list(txn.scan()) == [("b", "again"), ("c", "swapped")]
        assert txn.events.append("type").sequence == 0
        assert txn.events.append("type").sequence == 1
        assert txn.events.len() == 2
        assert txn.cells.init("cell", 1) == 1
        assert txn.cells.set("cell", 2) == 2
    assert db.kv.list_with_values("run") == [("b", "again"), ("c", "swapped")]
    assert db.events.len("run") == 2
    assert db.cells.read("run", "cell").version == 2
    assert db.version == 3


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "get", "scan"]), st.sampled_from("abcd"), st.integers(0, 3)),
    max_size=20,
)


@given(before=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)), operations=OPERATIONS, commit=st.booleans())
@settings(max_examples=40)
def test_a_transaction_behaves_like_a_dict(before, operations, commit):
    with inmem.open(":memory:") as db:
        with db.begin("run") as txn:
            for key, value in before.items():
                txn.put(key, value)
        model = dict(before)
        txn = db.begin("run")
        for operation, key, value in operations:
            match operation:
                case "put":
                    txn.put(key, value)
                    model[key] = value
                case "delete":
                    assert txn.delete(key) == (model.pop(key, None) is not None)
                case "get":
                    assert txn.get(key) == model.get(key)
                case _:
                    assert list(txn.scan()) == sorted(model.items())
        if commit:
            txn.commit()
        else:
            txn.abort()
        assert db.kv.list_with_values("run") == sorted((model if commit else before).items())


# Several runs, and Keys.


def test_one_commit_over_several_runs_and_primitives(any_db):
    db = any_db
    db.runs.create_run("run")
    with db.begin("run") as txn:
        txn.kv.put("k", 1)
        txn.events.append("type", {"n": 1})
        txn.cells.init("phase", "a")
        trace = txn.traces.record(inmem.Thought("hm"))
        txn.runs.update_status("run", inmem.RunStatus.COMPLETED)
        for number in range(5):
            other = txn.on(f"other {number}")
            assert other.run_id == f"other {number}"
            other.kv.put("k", number)
            other.events.append("type", number)
            other.cells.init("phase", number)
    assert db.version == 2
    assert db.traces.get("run", trace.id) == trace
    assert db.runs.get_run("run").status is inmem.RunStatus.COMPLETED
    for number in range(5):
        run = f"other {number}"
        assert (db.get(run, "k"), db.events.head(run).payload, db.cells.read(run, "phase").value) == (number,) * 3


def test_every_reader_sees_all_of_a_commit_or_none(any_db):
    """Across runs, whichever shards they live on."""
    db = any_db
    stop = threading.Event()

    def write():
        for number in range(1, 150):
            with db.begin("run 0") as txn:
                for run in range(5):
                    txn.on(f"run {run}").kv.put("k", number)
        stop.set()

    def read():
        seen = [0]
        for _ in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            with db.begin("run 0") as txn:
                values = {txn.on(f"run {run}").kv.get("k") or 0 for run in range(5)}
            assert len(values) == 1
            seen += values
        assert seen == sorted(seen)

    in_threads(*[write, read, read])


def test_keys_reach_every_primitive(any_db):
    db = any_db
    with db.begin("run") as txn:
        txn.put(Key.kv("other", "x"), 1)
        txn.put(Key.kv("run", "x"), 2)
        event = txn.on("other").events.append("type", {"n": 1})
        txn.on("other").cells.init("phase", "a")
        trace = txn.on("other").traces.record(inmem.Thought("hm"))
        created = txn.runs.create_run("registered")
        assert txn.get(Key.kv("other", "x")) == 1
    assert (db.get("other", "x"), db.get("run", "x")) == (1, 2)
    with db.begin("run") as txn:
        assert txn.get(Key.kv("run", "x")) == txn.get("x") == 2
        assert txn.get(Key.event("other", 0)) == event
        assert txn.get(Key.event("other", 1)) is None
        assert txn.get(Key.state("other", "phase")).value == "a"
        assert txn.get(Key.trace("other", trace.id)) == trace
        assert txn.get(Key.run("registered")) == created
        assert txn.get(Key.run("unknown")) is None
        assert txn.get_versioned(Key.kv("other", "x")).version == 1
        assert txn.get_versioned(Key.state("other", "phase")).version == 1
        assert txn.get_versioned(Key.state("other", "none")) is None
        assert list(txn.scan(Key.kv("other", ""))) == [(Key.kv("other", "x"), 1)]
        txn.cas(Key.kv("other", "x"), 1, 3)
        assert txn.delete(Key.kv("run", "x"))
    assert (db.get("other", "x"), db.get("run", "x")) == (3, None)


@pytest.mark.parametrize("key", [Key.event("run", 0), Key.state("run", "c"), Key.trace("run", "t"), Key.run("run")])
def test_only_kv_keys_are_written_directly(db, key):
    txn = db.begin("run")
    for write in (
        lambda: txn.put(key, 1),
        lambda: txn.delete(key),
        lambda: txn.cas(key, 0, 1),
    ):
        with pytest.raises(inmem.InvalidKeyError, match="is written through its own primitive"):
            write()
    txn.abort()


def test_scan_yields_cells_and_traces_as_get_returns_them(any_db):
    db = any_db
    names = ["", "a", "a/2", "a/1", "ä", "b"]
    for name in (*names, "a/gone"):
        db.cells.init("other", name, name)
        db.traces.record_with_options("other", inmem.Thought(name), id=name)
    db.cells.delete("other", "a/gone")
    db.put("other", "a/kv", 1)
    db.cells.init("run", "a/of another run", 1)
    with db.begin("run") as txn:
        txn.on("other").cells.set("a/3", 3)
        txn.on("other").cells.delete("a/2")
        txn.on("other").traces.record_with_options(inmem.Thought("new"), id="a/3")
        wanted = {Key.state: ["a/1", "a/3"], Key.trace: ["a/1", "a/2", "a/3", "a/gone"]}
        scans = {kind: txn.scan(kind("other", "a/")) for kind in wanted}
        everything = [key for key, _ in txn.scan(Key.state("other", ""))]
        found = {kind: list(scan) for kind, scan in scans.items()}
        for kind, ids in wanted.items():
            keys = [kind("other", each) for each in ids]
            assert found[kind] == [(key, txn.get(key)) for key in keys]
            assert None not in dict(found[kind]).values()
        assert everything == [Key.state("other", name) for name in ["", "a", "a/1", "a/3", "b", "ä"]]
        # Neither does what is written meanwhile change what a scan yields.
        scan = txn.scan(Key.state("other", "a/"))
        txn.on("other").cells.set("a/1", "later")
        assert [state.value for _, state in scan] == ["a/1", 3]


@pytest.mark.parametrize("kind", [Key.state, Key.trace])
def test_a_scan_of_cells_or_traces_is_validated(db, kind):
    def add():
        db.cells.init("other", "a/new", 1)
        db.traces.record_with_options("other", inmem.Thought("new"), id="a/new")

    txn = db.begin("run", isolation="serializable")
    assert list(txn.scan(kind("other", "a/"))) == []
    txn.put("k", 1)
    add()
    with pytest.raises(inmem.ConflictError, match="the range scanned"):
        txn.commit()


@pytest.mark.parametrize(
    ("key", "instead"),
    [(Key.event("run", 0), "read_range, iter and tail"), (Key.run("run"), "query_runs and list_runs")],
)
def test_what_is_no_prefix_is_refused_with_what_to_use_instead(db, key, instead):
    with db.begin("run") as txn, pytest.raises(inmem.InvalidKeyError, match=instead):
        txn.scan(key)


@pytest.mark.parametrize("key", [None, 1, b"bytes", ("run", "k")])
def test_something_else_is_no_key(db, key):
    txn = db.begin("run")
    for use in (lambda: txn.get(key), lambda: txn.put(key, 1), lambda: txn.get_versioned(key), lambda: txn.scan(key)):
        with pytest.raises(inmem.InvalidKeyError):
            use()
    txn.abort()


def test_scan_yields_in_key_order_with_the_prefix(any_db):
    keys = ["", "a", "a/", "a/1", "a/2", "a0", "b", "ä", "\x00", "🐍"]
    with any_db.begin("run") as txn:
        for key in reversed(keys):
            txn.put(key, key)
    with any_db.begin("run") as txn:
        assert [key for key, _ in txn.scan()] == sorted(keys, key=str.encode)
        assert list(txn.scan("a/")) == [("a/", "a/"), ("a/1", "a/1"), ("a/2", "a/2")]
        assert list(txn.scan("zzz")) == []


# As a function.


def test_it_returns_what_the_function_returns(any_db):
    assert any_db.transaction("run", lambda txn: txn.put("x", 1) or "result") == "result"
    assert any_db.get("run", "x") == 1


def test_it_runs_in_the_callers_thread(any_db):
    idents = []
    work, _ = disturbed(any_db, 2)

    def noting(txn):
        idents.append(threading.get_ident())
        return work(txn)

    any_db.transaction("run", noting)
    assert idents == [threading.get_ident()] * 3


def test_after_a_conflict_it_runs_again_on_a_fresh_snapshot(any_db):
    work, calls = disturbed(any_db, 3)
    assert any_db.transaction("run", work) == "attempt 4"
    assert any_db.get("run", "x") == 301
    assert [txn.status for txn in calls] == ["aborted"] * 3 + ["committed"]
    assert len({txn.id for txn in calls}) == 4
    assert [txn.start_version for txn in calls] == [0, 1, 2, 3]
    assert any_db.stats().retries == 3


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_n_retries_are_n_plus_one_attempts(any_db, retries):
    work, calls = disturbed(any_db, 1000)
    with pytest.raises(RetriesExhaustedError, match=f"gave up after {retries + 1} attempts") as caught:
        any_db.transaction("run", work, retry=RetryPolicy(max_retries=retries, base_delay=0, max_delay=0))
    error = caught.value
    assert len(calls) == error.attempts == retries + 1
    key = Key.kv("run", "x")
    assert set(error.conflicts) == {
        WriteConflict(key, calls[-1].start_version, retries + 1),
        inmem.ReadConflict(key, calls[-1].start_version, retries + 1),
    }
    assert error.retryable
    assert isinstance(error.__cause__, ConflictError)
    assert any_db.get("run", "x") == 100 * (retries + 1)


def test_by_default_there_are_ten_retries(db):
    work, calls = disturbed(db, 1000)
    with pytest.raises(RetriesExhaustedError):
        db.transaction("run", work)
    assert len(calls) == 11


def test_the_pauses_grow_up_to_a_bound(db, monkeypatch):
    pauses = []
    monkeypatch.setattr(db._client.directory.dispatcher, "sleep", pauses.append)
    work, _ = disturbed(db, 1000)
    with pytest.raises(RetriesExhaustedError):
        db.transaction("run", work, retry=RetryPolicy(max_retries=6, base_delay=0.01, max_delay=0.1, jitter=0))
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.1, 0.1]
    pauses.clear()
    work, _ = disturbed(db, 1000)
    with pytest.raises(RetriesExhaustedError):
        db.transaction("run", work, retry=RetryPolicy(max_retries=50, base_delay=0.01, max_delay=0.01, jitter=0.5))
    assert all(0.005 <= pause <= 0.01 for pause in pauses)
    assert len(set(pauses)) > 1


@pytest.mark.parametrize(
    "bad",
    [
        {"max_retries": 1.5},
        {"max_retries": True},
        {"max_retries": "3"},
        {"base_delay": "1"},
        {"max_delay": None},
        {"jitter": float("nan")},
        {"max_retries": -1},
        {"base_delay": -1},
        {"base_delay": 1, "max_delay": 0.5},
        {"jitter": 1.5},
        {"jitter": -0.1},
    ],
)
def test_a_bad_retry_policy_is_refused(bad):
    with pytest.raises(inmem.UsageError, match=next(iter(bad))):
        RetryPolicy(**bad)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        Unrelated("mine"),
        ConflictError((), "raised by hand"),
        inmem.TransactionAbortedError("raised by hand"),
        TransactionTimeoutError(1.0),
        inmem.CasConflictError("cell", 1, 2),
    ],
)
def test_an_exception_of_the_function_is_passed_on_and_never_retried(any_db, error):
    calls = []

    def work(txn):
        calls.append(txn)
        txn.put("x", 1)
        raise error

    with pytest.raises(type(error)) as caught:
        any_db.transaction("run", work)
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert [txn.status for txn in calls] == ["aborted"]
    assert any_db.get("run", "x") is None
    assert any_db.stats().active_transactions == 0


def test_an_exception_of_a_later_attempt_is_passed_on_too(any_db):
    work, calls = disturbed(any_db, 1)

    def fails_then(txn):
        if calls:
            raise LookupError("second attempt")
        return work(txn)

    with pytest.raises(LookupError):
        any_db.transaction("run", fails_then)
    assert len(calls) == 1


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_the_function_may_end_the_transaction_itself(any_db, end):
    def work(txn):
        txn.put("x", 1)
        getattr(txn, end)()
        return "ended by hand"

    assert any_db.transaction("run", work) == "ended by hand"
    assert any_db.get("run", "x") == (1 if end == "commit" else None)


def test_a_conflict_of_a_commit_by_hand_is_the_functions_own_exception(any_db):
    calls = []

    def work(txn):
        calls.append(txn)
        txn.put("x", 1)
        any_db.put("run", "x", 2)
        txn.commit()

    with pytest.raises(ConflictError) as caught:
        any_db.transaction("run", work)
    assert not isinstance(caught.value, RetriesExhaustedError)
    assert len(calls) == 1


def test_the_transaction_is_closed_once_the_function_has_returned(any_db):
    txn = any_db.transaction("run", lambda txn: txn)
    with pytest.raises(TransactionClosedError):
        txn.get("x")


def test_serializable_is_retried_on_phantoms(any_db):
    calls = []

    def work(txn):
        calls.append([key for key, _ in txn.scan("p/")])
        if len(calls) == 1:
            any_db.put("run", "p/1", 1)
        txn.put("count", len(calls[-1]))

    any_db.transaction("run", work, isolation="serializable")
    assert calls == [[], ["p/1"]]
    assert any_db.get("run", "count") == 1


# Time.


def test_a_transaction_whose_time_is_up_does_not_commit(any_db):
    txn = any_db.begin("run", timeout=0)
    txn.put("x", 1)
    with pytest.raises(TransactionTimeoutError, match="nothing was committed") as caught:
        txn.commit()
    assert caught.value.timeout_s == 0
    assert caught.value.retryable
    assert txn.status == "aborted"
    assert (any_db.get("run", "x"), any_db.version) == (None, 0)
    assert any_db.stats().active_transactions == 0


def test_enough_time_is_no_obstacle(any_db):
    with any_db.begin("run", timeout=FAILSAFE_S) as txn:
        txn.put("x", 1)
    assert any_db.transaction("run", lambda txn: txn.get("x"), timeout=FAILSAFE_S) == 1


def test_no_time_at_all_is_too_little(any_db):
    with pytest.raises(TransactionTimeoutError):
        any_db.transaction("run", lambda txn: txn.put("x", 1), timeout=0)
    assert any_db.get("run", "x") is None


class Clock:
    """The store's clock, to be moved by hand."""

    def __init__(self, db, monkeypatch):
        self.now_s = 1000.0
        monkeypatch.setattr(db._client, "monotonic_s", lambda: self.now_s)
        monkeypatch.setattr(db._client.directory.dispatcher, "sleep", self.sleep)

    def sleep(self, delay_s):
        self.now_s += delay_s


def test_the_timeout_bounds_all_attempts_together(db, monkeypatch):
    clock = Clock(db, monkeypatch)
    work, calls = disturbed(db, 1000)

    def slow(txn):
        clock.now_s += 1
        return work(txn)

    with pytest.raises(TransactionTimeoutError) as caught:
        db.transaction("run", slow, timeout=3.5, retry=AT_ONCE)
    assert caught.value.timeout_s == 3.5
    assert len(calls) == 4
    assert db.get("run", "x") == 400


def test_a_pause_does_not_outlast_the_timeout(db, monkeypatch):
    clock = Clock(db, monkeypatch)
    work, _ = disturbed(db, 1000)
    with pytest.raises(TransactionTimeoutError):
        db.transaction("run", work, timeout=2, retry=RetryPolicy(base_delay=50, max_delay=50, jitter=0))
    assert clock.now_s == 1002


def test_the_function_may_take_too_long(db, monkeypatch):
    clock = Clock(db, monkeypatch)

    def slow(txn):
        txn.put("x", 1)
        clock.now_s += 10

    with pytest.raises(TransactionTimeoutError):
        db.transaction("run", slow, timeout=5)
    assert db.get("run", "x") is None


def test_without_writes_a_transaction_commits_however_late_but_a_call_is_over_when_its_time_is(db, monkeypatch):
    clock = Clock(db, monkeypatch)
    with db.begin("run", timeout=1) as txn:
        txn.get("x")
        clock.now_s += 10
    assert txn.status == "committed"

    def slow(txn):
        txn.get("x")
        clock.now_s += 10

    with pytest.raises(TransactionTimeoutError):
        db.transaction("run", slow, timeout=1)
    assert db.stats().active_transactions == 0


def test_a_transaction_that_is_too_large_ends_with_its_block():
    def too_large(txn):
        txn.put("x", "v" * 200)
        seen.append(txn)

    seen: list[inmem.Transaction] = []
    with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=100)) as db:
        with pytest.raises(inmem.UsageError, match="at most 100 are allowed"), db.begin("run") as txn:
            too_large(txn)
        with pytest.raises(inmem.UsageError, match="at most 100 are allowed"):
            db.transaction("run", too_large)
        assert [txn.status for txn in seen] == ["aborted"] * 2
        assert db.stats().active_transactions == 0


def test_a_generator_function_is_refused_as_its_body_would_run_after_the_commit(db):
    def in_steps(txn):
        txn.put("x", 1)
        yield 1

    async def in_async_steps(txn):
        txn.put("x", 1)
        yield 1

    for fn in (in_steps, in_async_steps, functools.partial(in_steps)):
        with pytest.raises(inmem.UsageError, match="fn: must not be a generator function"):
            db.transaction("run", fn)
    assert db.transaction("run", lambda _: (n for n in (1, 2))).__next__() == 1
    assert db.stats().active_transactions == 0


def test_every_use_of_a_transaction_on_a_closed_store_is_refused():
    with inmem.open(":memory:") as db:
        txn = db.begin("run")
        txn.put("x", 1)
    for use in (lambda: txn.put("x", 2), lambda: txn.get("x"), lambda: txn.kv, txn.commit):
        with pytest.raises(inmem.DatabaseClosedError):
            use()


def use_what_was_taken(txn, kv, pairs):
    """Use what was taken of a transaction before its store went away; return what could be done."""
    with pytest.raises(inmem.InmemError):
        txn.kv.get("x")
    with pytest.raises(inmem.InmemError):
        txn.on("other")
    assert kv.get("x") == 1
    kv.put("x", 2)
    assert kv.get("x") == 2
    assert list(pairs) == [("x", 1)]
    with pytest.raises(inmem.InmemError) as caught:
        txn.commit()
    return type(caught.value).__name__, str(txn.status)


def test_an_accessor_that_was_taken_before_the_close_shows_its_snapshot_and_commits_nothing(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "x", 1)
        txn = db.begin("run")
        kv, pairs = txn.kv, txn.scan()
    assert use_what_was_taken(txn, kv, pairs) == ("DatabaseClosedError", "aborted")
    with inmem.open(tmp_path / "db") as db:
        assert db.get("run", "x") == 1
        assert db.version == 1


def test_so_does_one_that_was_taken_before_a_fork(db):
    db.put("run", "x", 1)
    txn = db.begin("run")
    kv, pairs = txn.kv, txn.scan()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, repr(use_what_was_taken(txn, kv, pairs)).encode())
        except BaseException as error:  # noqa: BLE001  (the parent is to show it, and the child to end)
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1000) == b"('ForkedProcessError', 'aborted')"
    os.close(reader)
    os.close(writer)
    assert db.get("run", "x") == kv.get("x") == 1
    txn.abort()


def test_an_iterator_ends_with_its_transaction(db):
    db.events.append_many("run", [("e", n) for n in range(5)])
    txn = db.begin("run")
    events, pairs = txn.events.iter(), txn.scan()
    assert next(events).sequence == 0
    txn.abort()
    for use in (lambda: next(events), lambda: next(pairs), lambda: txn.kv.get_many([])):
        with pytest.raises(TransactionClosedError):
            use()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda db: db.begin_run(tags=[["a"]]), "tag: must be a str, not list"),
        (lambda db: db.begin_run(tags=None), "tags: must be iterable, not NoneType"),
        (lambda db: db.runs.add_tags("run", [{}]), "tag: must be a str, not dict"),
        (lambda db: db.runs.query_runs(tags=5), "tags: must be iterable, not int"),
        (lambda db: db.runs.get_child_runs(None), "run id: must be a str or a uuid.UUID, not NoneType"),
        (lambda db: db.runs.futures.get_child_runs(None), "run id: must be a str or a uuid.UUID, not NoneType"),
        (lambda db: db.traces.query_by_type("run", []), "trace type: must be one of "),
        (lambda db: db.kv.get_many("run", None), "keys: must be iterable, not NoneType"),
        (lambda db: db.kv.futures.get_many("run", 5), "keys: must be iterable, not int"),
        (lambda db: db.events.append_many("run", 5), "events: must be iterable, not int"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(db, call, expected):
    db.begin_run("run")
    with pytest.raises(inmem.UsageError) as caught:
        call(db)
    assert expected in str(caught.value)
    assert db.runs.list_runs() == ["run"]


def test_a_run_whose_keys_are_all_deleted_holds_no_data(db):
    db.put("run", "k", 1)
    assert db.stats().runs == 1
    db.delete("run", "k")
    assert (db.stats().runs, db.stats().keys) == (0, 0)


# Single operations.


def test_a_put_inside_an_open_transaction_is_a_commit_of_its_own(any_db):
    db = any_db
    txn = db.begin("run")
    txn.put("mine", 1)
    assert db.put("run", "separate", 2) == 1
    assert txn.get("separate") is None
    assert db.get("run", "mine") is None
    txn.abort()
    assert (db.get("run", "separate"), db.get("run", "mine")) == (2, None)


def test_transactions_may_be_nested_and_are_independent(any_db):
    db = any_db

    def outer(txn):
        txn.put("outer", 1)
        assert db.transaction("run", lambda inner: inner.put("inner", inner.get("outer")) or "inner") == "inner"
        assert txn.get("inner") is None
        return "outer"

    # The inner commit touches nothing that the outer one has written or, until then, read.
    with pytest.raises(RetriesExhaustedError):
        db.transaction("run", outer, retry=RetryPolicy(max_retries=1, base_delay=0, max_delay=0))
    assert (db.get("run", "inner"), db.get("run", "outer")) == (None, None)
    with db.begin("run") as first, db.begin("run") as second:
        first.put("first", 1)
        second.put("second", 2)
    assert (db.get("run", "first"), db.get("run", "second")) == (1, 2)


def test_a_put_never_fails_by_conflict(any_db):
    db = any_db
    versions = in_threads(
        *[lambda number=number: [db.put("run", "x", number) for _ in range(60)] for number in range(6)]
    )
    assert db.version == max(max(mine) for mine in versions)
    assert all(mine == sorted(mine) for mine in versions)
    assert db.get("run", "x") in range(6)


def test_every_commit_raises_the_version_by_one(any_db):
    db = any_db

    def work(number):
        return [db.transaction(f"run {number}", lambda txn, n=n: txn.put("k", n)) or db.version for n in range(50)]

    in_threads(*[lambda number=number: work(number) for number in range(4)])
    assert db.version == 200
    with db.begin("run 0") as txn:
        versions = [txn.get_versioned(Key.kv(f"run {number}", "k")).version for number in range(4)]
    assert len(set(versions)) == 4
    assert max(versions) == 200


def test_every_key_of_a_commit_carries_its_version(any_db):
    db = any_db
    with db.begin("run") as txn:
        for key in "abc":
            txn.put(key, 1)
        txn.on("other").kv.put("d", 1)
    versions = [db.get_versioned("run", key).version for key in "abc"]
    assert [*versions, db.get_versioned("other", "d").version, db.version] == [1] * 5


# Many threads.


@pytest.mark.unmeasured
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "never"])
def test_eight_threads_on_one_counter_lose_no_update(tmp_path, dispatcher, durability):
    retry = RetryPolicy(max_retries=100_000, base_delay=0.0001, max_delay=0.002)
    with inmem.open(tmp_path / "db", dispatcher=dispatcher, durability=durability) as db:

        def increment(txn):
            value = (txn.get("x") or 0) + 1
            txn.put("x", value)
            return value

        results = in_threads(*[lambda: [db.transaction("run", increment, retry=retry) for _ in range(40)]] * 8)
        assert sorted(itertools.chain(*results)) == list(range(1, 321))
        assert db.get("run", "x") == db.version == 320
    with inmem.open(tmp_path / "db") as db:
        assert db.get("run", "x") == 320


def test_money_is_neither_made_nor_lost(any_db):
    db = any_db
    accounts = [(f"run {number % 3}", f"account {number}") for number in range(6)]
    with db.begin("run 0") as txn:
        for run, key in accounts:
            txn.put(Key.kv(run, key), 100)

    def move(number):
        for step in range(40):
            source, target = accounts[(number + step) % 6], accounts[(number * 5 + step * 2 + 1) % 6]

            def transfer(txn, source=source, target=target, amount=step % 7):
                if source != target:
                    txn.put(Key.kv(*source), txn.get(Key.kv(*source)) - amount)
                    txn.put(Key.kv(*target), txn.get(Key.kv(*target)) + amount)

            db.transaction(
                "run 0", transfer, retry=RetryPolicy(max_retries=100_000, base_delay=0.0001, max_delay=0.002)
            )

    def audit():
        for _ in range(100):
            with db.begin("run 0") as txn:
                assert sum(txn.get(Key.kv(*account)) for account in accounts) == 600

    in_threads(*[*(lambda number=number: move(number) for number in range(4)), audit])
    assert sum(db.get(*account) for account in accounts) == 600


def test_a_commit_is_visible_to_every_later_begin_before_its_caller_learns(any_db):
    db = any_db
    told = [0]

    def write():
        for number in range(1, 200):
            with db.begin("run") as txn:
                txn.put("x", number)
            told[0] = number
        told[0] = 10**9

    def read():
        while (known := told[0]) < 10**9:
            with db.begin("run") as txn:
                assert (txn.get("x") or 0) >= known
            assert (db.get("run", "x") or 0) >= known

    in_threads(*[write, read, read])


def test_concurrent_appenders_all_succeed(any_db):
    db = any_db
    results = in_threads(
        *[lambda number=number: [db.events.append("run", "type", number) for _ in range(40)] for number in range(6)]
    )
    sequences = [event.sequence for events in results for event in events]
    assert sorted(sequences) == list(range(240))
    assert all([event.sequence for event in events] == sorted(event.sequence for event in events) for events in results)
    assert db.events.verify_chain("run").is_valid


def test_a_slow_transaction_blocks_nobody(any_db):
    db = any_db
    db.put("run", "x", 0)

    def slow(txn):
        before = txn.get("x")
        in_threads(*[lambda number=number: db.put("other", f"{number}", 1) for number in range(4)])
        assert txn.get("x") == before
        txn.put("y", 1)

    db.transaction("run", slow)
    assert db.kv.list("other") == ["0", "1", "2", "3"]
    assert db.get("run", "y") == 1


# Values are copies.


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def mutate(value):
    """Change every container in the value."""
    if isinstance(value, list):
        for inner in value:
            mutate(inner)
        value.append("mutated")
    elif isinstance(value, dict):
        for inner in value.values():
            mutate(inner)
        value["mutated"] = True


def copied(value):
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return value


@given(value=VALUES)
@settings(max_examples=60)
def test_changing_what_was_passed_in_or_read_out_changes_nothing(value):
    original = copied(value)
    with inmem.open(":memory:") as db:
        txn = db.begin("run")
        txn.put("in transaction", value)
        txn.events.append("type", value)
        txn.cells.set("cell", value)
        txn.traces.record_with_options(inmem.Custom("custom", value), id="t")
        future = db.kv.futures.put("run", "by future", value)
        mutate(value)
        mutate(txn.get("in transaction"))
        assert txn.get("in transaction") == original
        mutate(txn.events.head().payload)
        txn.commit()
        future.get(timeout=FAILSAFE_S)
        reads = [
            lambda: db.get("run", "in transaction"),
            lambda: db.get("run", "by future"),
            lambda: db.get_versioned("run", "in transaction").value,
            lambda: db.kv.get_many("run", ["in transaction"])["in transaction"],
            lambda: db.kv.list_with_values("run")[0][1],
            lambda: db.events.read("run", 0).payload,
            lambda: db.cells.read("run", "cell").value,
            lambda: db.traces.get("run", "t").kind.data,
            lambda: db.begin("run").get("in transaction"),
            lambda: next(db.begin("run").scan())[1],
        ]
        for read in reads:
            mutate(read())
            assert read() == original
        assert db.events.verify_chain("run").is_valid


# Counters.


def test_stats_count_commits_and_conflicts(any_db):
    db = any_db
    before = db.stats()
    assert (before.version, before.commits, before.aborts, before.retries, before.conflict_rate) == (0, 0, 0, 0, 0.0)
    assert (before.keys, before.runs, before.in_flight, before.active_transactions) == (0, 0, 0, 0)
    assert dict(before.conflicts) == {}

    db.put("run", "x", 1)
    work, _ = disturbed(db, 2)
    db.transaction("run", work)
    txn = db.begin("run")
    txn.cas("x", 1, 1)
    with pytest.raises(ConflictError):
        txn.commit()
    txn = db.begin("run", isolation="serializable")
    list(txn.scan("p"))
    db.put("run", "p", 1)
    txn.put("y", 1)
    with pytest.raises(ConflictError):
        txn.commit()
    db.begin("run").abort()
    with db.begin("run") as txn:
        txn.get("x")

    after = db.stats()
    assert after.version == after.commits == 5
    assert dict(after.conflicts) == {"read": 2, "write": 2, "cas": 1, "scan": 1}
    assert after.aborts == 4
    assert after.retries == 2
    assert after.conflict_rate == pytest.approx(4 / 9)
    assert sum(size * count for size, count in after.group_sizes.items()) == 5
    assert (after.keys, after.runs, after.in_flight) == (2, 1, 0)


def test_stats_know_the_running_transactions(any_db):
    db = any_db
    db.put("run", "x", 1)
    first = db.begin("run")
    db.put("run", "x", 2)
    second, third = db.begin("run"), db.begin("run")
    stats = db.stats()
    assert (stats.active_transactions, stats.oldest_snapshot_version) == (3, 1)
    assert stats.oldest_snapshot_age_s >= 0
    first.abort()
    assert (db.stats().active_transactions, db.stats().oldest_snapshot_version) == (2, 2)
    second.commit()
    del third
    stats = db.stats()
    assert (stats.active_transactions, stats.oldest_snapshot_version, stats.oldest_snapshot_age_s) == (0, None, 0.0)


def test_stats_know_the_age_of_the_oldest_snapshot(db, monkeypatch):
    txn = db.begin("run")
    later_us = db._client.directory.clock.now_us() + 5_000_000
    db._client.directory.clock.floor_us = later_us
    assert db.stats().oldest_snapshot_age_s >= 5
    txn.abort()


def test_stats_know_what_waits(any_db):
    depths = any_db.stats().queue_depths
    assert {"supervisor", "coordinator", "shard-0", "log-writer", "kv", "events", "cells", "traces", "runs"} <= set(
        depths
    )
    assert all(depth >= 0 for depth in depths.values())


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_commits_that_come_together_are_logged_together(tmp_path, dispatcher):
    """While the disk syncs one group, the next one gathers: all commits that come until then, for one sync."""
    disk = FaultyDisk(tmp_path / "db")
    with open_on(disk, dispatcher=dispatcher) as db, ThreadPoolExecutor(5) as threads:
        # The first commit begins the log, which takes syncs of its own.
        assert db.put("run", "first", 1) == 1
        gate = disk.gate("sync", ".wal")
        try:
            ahead = db.kv.futures.put("run", "ahead", 1)
            assert gate.arrived.wait(FAILSAFE_S)
            txns = [db.begin(f"run {number}") for number in range(5)]
            for number, txn in enumerate(txns):
                txn.put("k", number)
            commits = [threads.submit(txn.commit) for txn in txns]
            group = db._client.directory.writer.mailbox.actor._group
            until(lambda: len(group._pending) == 5, "not all the commits reach the log writer")
            syncs = disk.counts["sync"]
            assert [commit.done() for commit in commits] == [False] * 5
        finally:
            gate.open()
        assert ahead.get(timeout=FAILSAFE_S) == 2
        assert sorted(commit.result(FAILSAFE_S) for commit in commits) == [3, 4, 5, 6, 7]
        assert dict(db.stats().group_sizes) == {1: 2, 5: 1}
        # The one that was held is counted when it goes on.
        assert disk.counts["sync"] == syncs + 2


# Unknown outcomes.


def test_a_token_that_is_none_is_refused(db):
    others = ("1-+2-3", "1-2_0-3", "1- 2-3", "1-2-3\n", "0x1-2-3", "1-2-\u0663", "1-" + 5_000 * "9" + "-1")
    for token in ("", "nonsense", "1-2", "x-1-1", "1-2-3-4", None, 7, *others):
        with pytest.raises(inmem.UsageError, match="token"):
            db.outcome(token)


@pytest.mark.parametrize("reopen", [False, True])
def test_outcome_tells_what_became_of_a_commit(tmp_path, reopen):
    """The token names the opening, the transaction and its start version."""
    path = tmp_path / "db"
    db = inmem.open(path)
    db.put("run", "x", 1)
    committed, aborted, open_one = db.begin("run"), db.begin("run"), db.begin("run")
    committed.put("x", 2)
    committed.commit()
    aborted.put("x", 3)
    with pytest.raises(ConflictError):
        aborted.commit()
    supervisor = db._client.directory.supervisor.mailbox.actor
    tokens = [
        str(CommitToken(supervisor._core.salt, txn.id, txn.start_version)) for txn in (committed, aborted, open_one)
    ]
    if reopen:
        db.close()
        db = inmem.open(path)
    with db:
        assert [db.outcome(token) for token in tokens] == ["committed", "aborted", "aborted"]
        assert db.outcome(tokens[0]) is inmem.TransactionStatus.COMMITTED


def test_a_transaction_that_outlives_a_restart_of_the_core_can_commit(any_db):
    db = any_db
    db.put("run", "x", 1)
    txn = db.begin("run")
    txn.put("y", txn.get("x"))
    db.recover()
    assert txn.commit() == 2
    assert db.get("run", "y") == 1


def test_time_of_a_transaction_never_decreases(db, monkeypatch):
    def now_us():
        return db._client.directory.clock.now_us()

    first = now_us()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert now_us() >= first
    event = db.events.append("run", "type")
    monkeypatch.undo()
    assert db.events.append("run", "type").timestamp >= event.timestamp >= first


@pytest.mark.parametrize("ends", ["commit", "no writes", "abort", "refused", "exception"])
def test_a_transaction_that_has_ended_keeps_no_old_state_alive(db, ends):
    db.put("run", "k", 0)
    with contextlib.suppress(inmem.ConflictError, ZeroDivisionError), db.begin("run") as txn:
        kv = txn.kv
        assert kv.get("k") == 0
        if ends != "no writes":
            kv.put("own", 1)
        if ends == "abort":
            txn.abort()
        elif ends == "refused":
            db.put("run", "k", 1)
        elif ends == "exception":
            _ = 1 / 0
    assert txn._engine.snapshot.version == 0
    assert not kv._view.writes
    with pytest.raises(inmem.TransactionClosedError):
        kv.get("k")
