"""Opening, closing and reopening a database, and everything that can be wrong with it."""

import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import tracemalloc

import pykka
import pytest
import structlog

import inmem
from inmem.actors.environment import SystemClock
from inmem.actors.files.log_file import LogFile
from inmem.actors.messages.control import Close
from inmem.actors.messages.core import Checkpoint
from inmem.engine.log import recovery_progress
from inmem.engine.log.frame_reader import WINDOW_BYTES
from inmem.engine.log.log_folder import segment_name
from inmem.messages import PutKey
from tests.actors.faulty_disk import FaultyDisk, open_on
from tests.actors.workload import in_parallel
from tests.log_events import SECRET, facts, told

FAILSAFE_S = 60.0


def run_python(code, *arguments):
    """Run a program in a process of its own and return what it printed; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=FAILSAFE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.db"


# The folder.


@pytest.mark.parametrize("kind", [str, pathlib.Path, lambda path: str(path) + "/"])
def test_a_path_is_a_str_or_a_path(path, kind):
    with inmem.open(kind(path)) as db:
        db.put("run", "k", 1)
        assert db.path == os.fspath(kind(path))
    assert path.is_dir()


def test_a_relative_path_is_seen_from_here(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with inmem.open(path.name) as db:
        db.put("run", "k", 1)
    assert path.is_dir()


def test_missing_folders_above_are_made_too(path):
    with inmem.open(path / "deep" / "deeper") as db:
        db.put("run", "k", 1)
    with inmem.open(path / "deep" / "deeper") as db:
        assert db.get("run", "k") == 1


def test_an_empty_folder_becomes_a_database(path):
    path.mkdir()
    with inmem.open(path) as db:
        db.put("run", "k", 1)
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1


@pytest.mark.parametrize("name", ["with space", "ünïcödé 🐍", "new\nline", "%s{}", "x" * 200])
def test_any_name_will_do(tmp_path, name):
    with inmem.open(tmp_path / name) as db:
        db.put("run", "k", 1)
    with inmem.open(tmp_path / name) as db:
        assert db.get("run", "k") == 1


def test_nobody_else_may_read_it(path):
    before = os.umask(0)
    try:
        with inmem.open(path) as db:
            db.put("run", "k", 1)
            db.checkpoint()
            db.put("run", "k", 2)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    files = list(path.iterdir())
    assert len(files) >= 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_is_refused_and_left_alone(path):
    path.write_text("mine")
    with pytest.raises(inmem.StorageError, match=r"agent\.db is a file; a database is a folder"):
        inmem.open(path)
    assert path.read_text() == "mine"


def test_a_dangling_link_is_refused(path):
    path.symlink_to(path.parent / "nowhere")
    with pytest.raises(inmem.StorageError):
        inmem.open(path)


def test_a_link_to_a_database_is_that_database(path, tmp_path):
    with inmem.open(path) as db:
        db.put("run", "k", 1)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(inmem.DatabaseLockedError):
            inmem.open(tmp_path / "link")
    with inmem.open(tmp_path / "link") as db:
        assert db.get("run", "k") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(path):
    path.mkdir(0o500)
    with pytest.raises(inmem.ReadOnlyError):
        inmem.open(path)


def test_create_false_wants_a_database(path):
    with pytest.raises(inmem.DatabaseNotFoundError, match=r"there is no database at .*agent\.db") as caught:
        inmem.open(path, create=False)
    assert caught.value.path == str(path)
    assert isinstance(caught.value, LookupError)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(inmem.DatabaseNotFoundError):
        inmem.open(path, create=False)
    assert list(path.iterdir()) == []
    inmem.open(path).close()
    with inmem.open(path, create=False) as db:
        db.put("run", "k", 1)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_failed_opening_leaves_nothing_running(path, dispatcher):
    path.write_text("a file")
    actors, threads = pykka.ActorRegistry.get_all(), threading.active_count()
    for _ in range(3):
        with pytest.raises(inmem.StorageError):
            inmem.open(path, dispatcher=dispatcher)
    assert pykka.ActorRegistry.get_all() == actors
    for thread in threading.enumerate():
        if thread.name.startswith("inmem-supervisor"):
            thread.join(FAILSAFE_S)
    assert threading.active_count() <= threads


# Options.


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("path", bad) for bad in (None, 3, b"bytes", "", "a\0b", ["list"])),
        *(("durability", bad) for bad in ("", "ALWAYS", "sometimes", None, 1, ["always"])),
        *(("sync_interval", bad) for bad in (0, -1, 3600, float("nan"), float("inf"), "1", None, True)),
        *(("shards", bad) for bad in (0, -1, 65, 1.0, "1", None, True)),
        *(("dispatcher", bad) for bad in ("", "simulated", None, 1, [])),
        *(("read_only", bad) for bad in ("yes", 1, None)),
        *(("create", bad) for bad in ("yes", 0, None)),
    ],
)
def test_every_bad_option_is_refused_by_name(path, name, bad):
    options = {"path": path, name: bad}
    for opener in (inmem.open, inmem.spawn):
        with pytest.raises(inmem.UsageError, match=f"^{name}: "):
            opener(options["path"], **{key: value for key, value in options.items() if key != "path"})
    assert not path.exists()


def test_an_unknown_option_is_refused(path):
    with pytest.raises(TypeError, match="colour"):
        inmem.open(path, colour="green")


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "always"},
        {"durability": "interval", "sync_interval": 0.001},
        {"durability": "interval", "sync_interval": 1},
        {"durability": "never"},
        {"shards": 64},
        {"dispatcher": "threads"},
        {"dispatcher": "threads", "durability": "interval", "shards": 3},
    ],
)
def test_every_good_option_keeps_data(path, options):
    with inmem.open(path, **options) as db:
        for number in range(20):
            db.put(f"run {number % 3}", f"k{number}", number)
        assert db.get("run 1", "k1") == 1
    with inmem.open(path) as db:
        assert [db.get(f"run {number % 3}", f"k{number}") for number in range(20)] == list(range(20))
        assert db.version == 20


def test_options_may_change_from_one_opening_to_the_next(path):
    for round_, options in enumerate([{"shards": 3}, {"shards": 1}, {"shards": 7, "dispatcher": "threads"}, {}]):
        with inmem.open(path, **options) as db:
            assert [db.get(f"run {number}", "k") for number in range(10)] == [round_ or None] * 10
            for number in range(10):
                db.put(f"run {number}", "k", round_ + 1)


# In memory.


def test_a_database_in_memory_has_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with inmem.open(":memory:") as db, inmem.open(":memory:") as other:
        db.put("run", "k", 1)
        assert other.get("run", "k") is None
        assert db.path == ":memory:"
        db.flush()
        assert db.checkpoint() == 1
        assert db.verify().is_valid
    assert list(tmp_path.iterdir()) == []


def test_a_database_in_memory_cannot_be_opened_for_reading():
    with pytest.raises(inmem.UsageError, match="read_only"):
        inmem.open(":memory:", read_only=True)


# Closing and reopening.


def test_everything_is_there_after_reopening(path):
    with inmem.open(path) as db:
        run = db.begin_run(tags=["t"])
        db.put(run, "k", {"a": [1, 2.5, None, b"x"]})
        db.events.append(run, "type", {"n": 1})
        db.cells.init(run, "phase", "a")
        trace = db.traces.record(run, inmem.Thought("hm"))
        db.end_run(run)
        version = db.version
    with inmem.open(path) as db:
        assert db.version == version
        assert db.get(run, "k") == {"a": [1, 2.5, None, b"x"]}
        assert db.events.read(run, 0).payload == {"n": 1}
        assert db.cells.read(run, "phase").value == "a"
        assert db.traces.get(run, trace.id) == trace
        assert db.runs.get_run(run).status is inmem.RunStatus.COMPLETED
        assert db.verify().is_valid


def test_the_version_never_goes_down(path):
    seen = [0]
    for round_ in range(6):
        with inmem.open(path, durability=["always", "interval", "never"][round_ % 3]) as db:
            assert db.version == seen[-1]
            assert db.begin("run").start_version == seen[-1]
            for number in range(3):
                assert db.put("run", f"{number}", round_) == seen[-1] + 1
                seen.append(db.version)
            db.delete("run", "0")
            seen.append(db.version)
            if round_ % 2:
                db.checkpoint()
    assert seen == list(range(25))


def test_transaction_ids_are_never_used_again(path):
    last = 0
    for _ in range(3):
        with inmem.open(path) as db:
            txn = db.begin("run")
            assert txn.id > last
            last = txn.id
            txn.put("k", 1)
            txn.commit()


def test_opening_and_closing_writes_nothing(path):
    inmem.open(path).close()
    before = sorted((file.name, file.read_bytes()) for file in path.iterdir())
    for _ in range(3):
        with inmem.open(path) as db:
            assert db.version == 0
    assert sorted((file.name, file.read_bytes()) for file in path.iterdir()) == before


def test_close_is_idempotent(path):
    db = inmem.open(path)
    db.put("run", "k", 1)
    for _ in range(3):
        db.close()
    with inmem.open(path) as db:
        db.close()
    inmem.open(path).close()


def test_an_exception_closes_as_well(path):
    with pytest.raises(ZeroDivisionError), inmem.open(path) as db:  # noqa: PT012  (it is raised in the block)
        db.put("run", "k", 1)
        1 / 0  # noqa: B018
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.get("run", "k"),
        lambda db: db.put("run", "k", 1),
        lambda db: db.delete("run", "k"),
        lambda db: db.cas("run", "k", 0, 1),
        lambda db: db.kv.list("run"),
        lambda db: db.kv.futures.put("run", "k", 1).get(),
        lambda db: db.events.append("run", "type"),
        lambda db: db.events.head("run"),
        lambda db: db.cells.set("run", "c", 1),
        lambda db: db.traces.record("run", inmem.Thought("x")),
        lambda db: db.runs.create_run(),
        lambda db: db.begin("run"),
        lambda db: db.transaction("run", lambda txn: txn.put("k", 1)),
        lambda db: db.begin_run(),
        lambda db: db.flush(),
        lambda db: db.checkpoint(),
        lambda db: db.recover(),
        lambda db: db.stats(),
        lambda db: db.verify(),
        lambda db: db.version,
        lambda db: db.outcome("0-1-2"),
        lambda db: db.__enter__(),
    ],
)
def test_a_closed_database_refuses_everything(path, use):
    db = inmem.open(path)
    db.close()
    with pytest.raises(inmem.DatabaseClosedError, match="closed"):
        use(db)
    assert repr(db) == f"<inmem.Database {str(path)!r}, closed>"


def test_a_handle_on_a_store_that_somebody_has_closed_is_not_entered(path):
    ref = inmem.spawn(path)
    db = inmem.connect(ref)
    ref.stop(timeout=FAILSAFE_S)
    with pytest.raises(inmem.DatabaseClosedError), db:
        pytest.fail("the block is run")
    # Closed by its block, and closed for good.
    with inmem.open(":memory:") as other:
        pass
    with pytest.raises(inmem.DatabaseClosedError), other:
        pytest.fail("the block is run")


def test_a_transaction_that_was_running_cannot_commit_any_more(path):
    db = inmem.open(path)
    txn = db.begin("run")
    txn.put("k", 1)
    db.close()
    with pytest.raises(inmem.DatabaseClosedError):
        txn.commit()
    assert txn.status == "aborted"
    with inmem.open(path) as db:
        assert db.get("run", "k") is None


READS = {
    "get": lambda txn: txn.get("k"),
    "get Key": lambda txn: txn.get(inmem.Key.event("run", 0)),
    "get Key of another run": lambda txn: txn.get(inmem.Key.kv("other", "k")),
    "get_versioned": lambda txn: txn.get_versioned("k"),
    "scan": lambda txn: list(txn.scan()),
    "scan Key": lambda txn: list(txn.scan(inmem.Key.kv("other", ""))),
    "on": lambda txn: txn.on("other"),
    "kv": lambda txn: txn.kv.list(),
    "events": lambda txn: txn.events.len(),
    "cells": lambda txn: txn.cells.list(),
    "traces": lambda txn: txn.traces.list(),
    "runs": lambda txn: txn.runs.list_runs(),
    "empty commit": lambda txn: txn.commit(),
}


@pytest.mark.parametrize("use", READS)
@pytest.mark.parametrize("closed_by", ["this handle", "somebody else"])
def test_a_transaction_does_not_outlive_its_store(path, use, closed_by):
    """Its snapshot is still in memory, but what it would say of a store that may be somebody else's by now is stale."""
    ref = inmem.spawn(path)
    db = inmem.connect(ref)
    db.put("run", "k", 1)
    txn, unused = db.begin("run"), db.begin("run")
    assert txn.get("k") == 1
    if closed_by == "this handle":
        db.close()
    else:
        ref.stop(timeout=FAILSAFE_S)
    with pytest.raises(inmem.DatabaseClosedError):
        READS[use](txn)
    assert txn.status == ("aborted" if use == "empty commit" else "active")
    if txn.status == "active":
        txn.abort()
    with pytest.raises(LookupError), unused:
        raise LookupError
    assert unused.status == "aborted"
    ref.stop(timeout=FAILSAFE_S)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_closing_answers_everybody_and_keeps_what_was_acknowledged(path, dispatcher, durability):
    """Several threads go on committing while the store is closed under them."""
    db = inmem.open(path, dispatcher=dispatcher, durability=durability, sync_interval=0.001)
    started = threading.Barrier(5)
    acknowledged = [0] * 4

    def work(number):
        started.wait(FAILSAFE_S)
        try:
            for count in range(1, 100_000):
                db.put(f"run {number}", "k", count)
                acknowledged[number] = count
        except inmem.DatabaseClosedError:
            return

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    started.wait(FAILSAFE_S)
    checkpoint = db._client.directory.writer.ask(Checkpoint(), block=False)
    futures = [db.kv.futures.put("futures", f"{number}", number) for number in range(50)]
    db.close()
    for thread in threads:
        thread.join(FAILSAFE_S)
    assert not any(thread.is_alive() for thread in threads)
    stored = []
    for future in (checkpoint, *futures):
        try:
            stored.append(future.get(timeout=FAILSAFE_S))
        except inmem.DatabaseClosedError:
            stored.append(None)
    with inmem.open(path) as db:
        for number, count in enumerate(acknowledged):
            # One more may have been stored whose success nobody was told of.
            assert db.get(f"run {number}", "k") in {count or None, count + 1}
        for number, version in enumerate(stored[1:]):
            assert version is None or db.get("futures", f"{number}") == number
        assert db.verify().is_valid


@pytest.mark.parametrize("round_", range(5))
def test_a_checkpoint_under_way_is_finished_before_the_folder_is_let_go(path, round_):
    db = inmem.open(path, durability="never")
    for number in range(40 * round_):
        db.put("run", f"{number}", "x" * 1000)
    checkpoint = db._client.directory.writer.ask(Checkpoint(), block=False)
    db.close()
    assert checkpoint.get(timeout=FAILSAFE_S) == 40 * round_
    files = sorted(path.iterdir())
    with inmem.open(path) as db:
        assert db.version == 40 * round_
        assert sorted(path.iterdir()) == files


def test_two_threads_may_close_at_once(path):
    for _ in range(20):
        db = inmem.open(path, dispatcher="threads")
        db.put("run", "k", 1)
        threads = [threading.Thread(target=db.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FAILSAFE_S)
        assert not any(thread.is_alive() for thread in threads)
        db.close()


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_whoever_closes_returns_when_the_store_is_closed(path, dispatcher, monkeypatch):
    """However many threads close at once: the folder is free as soon as the first of their calls has returned."""
    disk = FaultyDisk(path)
    db = open_on(disk, dispatcher=dispatcher, durability="never")
    db.put("run", "k", 1)
    gate = disk.gate("sync")
    asked = threading.Semaphore(0)
    close_store = db._client.close_store

    def ask_to_close():
        asked.release()
        close_store()

    monkeypatch.setattr(db._client, "close_store", ask_to_close)

    def close():
        try:
            db.close()
            assert disk.history[-1] == ("close", "")
        finally:
            asked.release()

    def when_both_have_asked():
        assert asked.acquire(timeout=FAILSAFE_S)
        assert asked.acquire(timeout=FAILSAFE_S)
        gate.open()

    in_parallel(close, close, when_both_have_asked)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_everybody_who_waits_for_the_end_learns_that_it_failed(path, dispatcher):
    disk = FaultyDisk(path)
    db = open_on(disk, dispatcher=dispatcher, durability="never")
    db.put("run", "k", 1)
    gate = disk.gate("sync")
    disk.fail("sync", forever=True)

    def close():
        with pytest.raises(inmem.StorageError, match="durable"):
            db.close()

    def close_meanwhile():
        assert gate.arrived.wait(FAILSAFE_S)
        second = db._client.directory.supervisor.ask(Close(), block=False)
        gate.open()
        with pytest.raises(inmem.StorageError, match="durable"):
            second.get(timeout=FAILSAFE_S)

    in_parallel(close, close_meanwhile)
    db.close()


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_closing_ends_the_threads(path, dispatcher):
    before = set(threading.enumerate())
    with inmem.open(path, dispatcher=dispatcher, durability="interval", shards=3) as db:
        db.put("run", "k", 1)
        db.checkpoint()
        assert set(threading.enumerate()) - before
    for thread in set(threading.enumerate()) - before:
        thread.join(FAILSAFE_S)
        assert not thread.is_alive()


# One owner.


def test_a_second_opening_in_the_same_process_is_refused(path):
    with inmem.open(path) as db:
        for options in ({}, {"create": False}, {"dispatcher": "threads"}):
            with pytest.raises(inmem.DatabaseLockedError, match=f"in use by process {os.getpid()}") as caught:
                inmem.open(path, **options)
            assert caught.value.path == str(path)
            assert caught.value.owner == f"process {os.getpid()}"
        db.put("run", "k", 1)
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1


def test_deleting_the_lock_file_does_not_let_a_second_owner_in(path):
    with inmem.open(path) as db:
        db.put("run", "k", 1)
        (path / "LOCK").unlink()
        for _ in range(2):
            with pytest.raises(inmem.DatabaseLockedError, match="though not its LOCK file"):
                inmem.open(path)
        assert db.put("run", "k", 2) == 2
    with inmem.open(path) as db:
        assert db.get("run", "k") == 2


def test_another_process_is_refused_and_told_who_owns_it(path):
    with inmem.open(path) as db:
        db.put("run", "k", 1)
        printed = run_python(
            "import inmem, sys\n"
            "try: inmem.open(sys.argv[1])\n"
            "except inmem.DatabaseLockedError as error: print(error.owner)",
            path,
        )
        assert printed.strip() == f"process {os.getpid()}"
        db.put("run", "k", 2)
    assert run_python("import inmem, sys; print(inmem.open(sys.argv[1]).get('run', 'k'))", path).strip() == "2"


def test_this_process_is_refused_while_another_owns_it(path):
    owner = subprocess.Popen(
        [
            sys.executable,
            "-uc",
            "import inmem, sys; db = inmem.open(sys.argv[1]); db.put('run', 'k', 1); print('open'); input()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(inmem.DatabaseLockedError) as caught:
            inmem.open(path)
        assert caught.value.owner == f"process {owner.pid}"
        owner.send_signal(signal.SIGKILL)
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1


def test_a_reader_beside_the_owner_sees_the_state_as_of_opening(path):
    with inmem.open(path, durability="never") as db:
        db.put("run", "k", 1)
        with inmem.open(path, read_only=True) as reader, inmem.open(path, read_only=True) as other:
            db.put("run", "k", 2)
            assert (reader.get("run", "k"), other.get("run", "k"), reader.version) == (1, 1, 1)
            db.checkpoint()
            assert reader.get("run", "k") == 1
        with inmem.open(path, read_only=True) as reader:
            assert (reader.get("run", "k"), reader.version) == (2, 2)
        db.put("run", "k", 3)
    with inmem.open(path) as db:
        assert db.get("run", "k") == 3


def test_a_reader_beside_a_busy_owner_always_finds_a_whole_state(path):
    """Segments and checkpoints come and go while it looks."""
    with inmem.open(path, durability="never") as db:
        done = threading.Event()

        def write():
            number = 0
            while not done.is_set():
                number += 1
                with db.begin("run") as txn:
                    txn.put("a", number)
                    txn.put("b", number)
                if number % 20 == 0:
                    db.checkpoint()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            versions = [0]
            for _ in range(30):
                with inmem.open(path, read_only=True) as reader:
                    assert reader.get("run", "a") == reader.get("run", "b")
                    versions.append(reader.version)
        finally:
            done.set()
            writer.join(FAILSAFE_S)
        assert versions == sorted(versions)


def test_a_reader_writes_nothing(path):
    with inmem.open(path) as db:
        db.put("run", "k", 1)
    before = sorted((file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir())
    with inmem.open(path, read_only=True) as reader:
        for write in (
            lambda: reader.put("run", "k", 2),
            lambda: reader.events.append("run", "type"),
            lambda: reader.transaction("run", lambda txn: txn.put("k", 2)),
            reader.begin_run,
            reader.checkpoint,
            reader.flush,
        ):
            with pytest.raises(inmem.ReadOnlyError, match="opened for reading"):
                write()
        txn = reader.begin("run")
        assert txn.get("k") == 1
        txn.put("k", 2)
        with pytest.raises(inmem.ReadOnlyError):
            txn.commit()
        with reader.begin("run") as txn:
            assert list(txn.scan()) == [("k", 1)]
        assert reader.delete("run", "missing") is False
        assert reader.verify().is_valid
        assert reader.get("run", "k") == 1
    assert sorted((file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()) == before


def test_a_reader_wants_a_database(path):
    with pytest.raises(inmem.DatabaseNotFoundError):
        inmem.open(path, read_only=True)
    assert not path.exists()


# Other processes.


FORK = """
import gc, os, sys, threading, warnings
import inmem, pykka
from inmem.messages import PutKey

warnings.simplefilter("ignore")
ref = inmem.spawn(sys.argv[1], dispatcher=sys.argv[2])
db = inmem.connect(ref)
db.put("run", "k", 1)
db.events.append_many("run", [("e", 1), ("e", 2)])
events = db.events.iter("run")
next(events)
items = iter(db.kv.mapping("run").items())
txn = db.begin("run")
txn.put("k", 2)
spare = db.begin("run")
unused = db.begin("run")
accessor = txn.on("other")
answered = db.kv.futures.put("run", "answered", 1)
answered.get()

# A commit whose sync takes its time: at the fork nobody has been answered.
syncing, may_sync = threading.Event(), threading.Event()
fdatasync = os.fdatasync

def slow_fdatasync(descriptor):
    syncing.set()
    may_sync.wait()
    fdatasync(descriptor)

os.fdatasync = slow_fdatasync
pending = db.kv.futures.put("run", "pending", 1)
behind = db.kv.futures.put("run", "behind", 1)
syncing.wait()

child = os.fork()
if child == 0:
    code = 0
    os.fdatasync = fdatasync
    for use in (
        lambda: db.get("run", "k"),
        lambda: db.put("run", "k", 3),
        lambda: db.kv.futures.put("run", "k", 3),
        lambda: db.begin("run"),
        lambda: db.version,
        lambda: db.flush(),
        lambda: db.stats(),
        lambda: pending.get(),
        lambda: behind.get(timeout=1000),
        lambda: pykka.get_all([pending, behind]),
        lambda: txn.get("k"),
        lambda: txn.events.len(),
        lambda: accessor.kv.get("k"),
        lambda: txn.commit(),
        lambda: unused.commit(),
        lambda: next(events),
        lambda: next(items),
        lambda: ref.ask(PutKey("run", "k", 3)),
        lambda: ref.tell(PutKey("run", "k", 3)),
        lambda: inmem.connect(ref),
        lambda: ref.stop(),
    ):
        try:
            use()
            code = 1
        except inmem.ForkedProcessError:
            pass
    # What had been answered before can still be read, and ends are the parent's business.
    if answered.get() != 3:
        code = 4
    try:
        with spare:
            raise LookupError
    except LookupError:
        pass
    db.close()
    del spare, unused, txn
    gc.collect()
    if sys.argv[3] == "exit":
        try:
            inmem.open(sys.argv[1])
            code = 2
        except inmem.DatabaseLockedError:
            pass
    # A store of the child's own works.
    with inmem.open(sys.argv[1] + "-child") as own:
        own.put("run", "k", 4)
    inmem.open(sys.argv[1] + "-left-open", durability="interval").put("run", "k", 5)
    if sys.argv[3] == "exit":
        sys.exit(code)
    sys.stdin.read()
    os._exit(code)
if sys.argv[3] == "exit":
    assert os.waitpid(child, 0)[1] == 0
may_sync.set()
assert sorted([pending.get(), behind.get()]) == [4, 5]
assert next(events).payload == 2
db.put("run", "after", 1)
assert db.get("run", "k") == 1
assert db.version == 6
assert spare.get("k") == 1
txn.commit()
assert db.version == 7
ref.stop()
with inmem.open(sys.argv[1]) as again:
    assert again.get("run", "after") == 1
    assert again.verify().is_valid
print("fine", flush=True)
if sys.argv[3] != "exit":
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("child", ["exit", "stay"])
def test_a_forked_child_is_refused_and_the_owner_unharmed(path, dispatcher, child):
    """A child that lives on does not keep the parent from giving the database up."""
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(path), dispatcher, child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "fine\n", process.communicate(timeout=FAILSAFE_S)
        process.stdin.close()
        process.stdin = None
        assert process.wait(FAILSAFE_S) == 0
        assert process.stderr.read() == ""
    with inmem.open(path) as db:
        assert (db.get("run", "k"), db.get("run", "after"), db.version) == (2, 1, 7)
    if child == "exit":
        with inmem.open(f"{path}-left-open") as db:
            assert db.get("run", "k") == 5


FORK_IN_HANDLER = """
import os, sys, warnings
import inmem
from inmem.actors.core.coordinator import Coordinator

warnings.simplefilter("ignore")
db = inmem.open(sys.argv[1])
db.put("run", "a", 1)
forks = []

class Forking:
    def __del__(self):
        forks.append(os.fork())

commit = Coordinator._commit

def struck_by_the_collector(self, *arguments):
    if not forks:
        Forking()
    return commit(self, *arguments)

Coordinator._commit = struck_by_the_collector
try:
    db.put("run", "b", 2)
except inmem.ForkedProcessError:
    os._exit(0)
if forks == [0]:
    os._exit(1)
assert os.waitpid(forks[0], 0)[1] == 0
db.put("run", "c", 3)
db.close()
with inmem.open(sys.argv[1]) as again:
    assert again.kv.list("run") == ["a", "b", "c"]
    assert again.verify().is_valid
"""


def test_a_child_forked_in_the_middle_of_a_handler_writes_nothing(path):
    assert run_python(FORK_IN_HANDLER, path) == ""


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_program_that_forgets_to_close_loses_nothing(path, durability, dispatcher, events):
    printed = run_python(
        "import inmem, sys\n"
        "db = inmem.open(sys.argv[1], durability=sys.argv[2], dispatcher=sys.argv[3], sync_interval=3599)\n"
        "for number in range(100): db.put('run', 'k', number)\n"
        "txn = db.begin('run')\n"
        "txn.put('k', 'not committed')\n",
        path,
        durability,
        dispatcher,
    )
    assert printed == ""
    with inmem.open(path) as db:
        assert db.get("run", "k") == 99
        assert db.version == 100
    assert facts(events, "opened")[0]["clean"] is True


def test_a_program_that_fails_with_the_store_open_loses_nothing(path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import inmem, sys; inmem.open(sys.argv[1], durability='interval').put('run', 'k', 1); sys.exit(3)",
            str(path),
        ],
        timeout=FAILSAFE_S,
        check=False,
    )
    assert done.returncode == 3
    with inmem.open(path) as db:
        assert db.get("run", "k") == 1


# Log events.


def test_it_is_silent_unless_structlog_is_configured(path):
    code = (
        "import inmem, structlog, sys, threading\n"
        "assert 'structlog' in sys.modules\n"
        "for _ in range(2):\n"
        "    with inmem.open(sys.argv[1]) as db:\n"
        "        db.put('run', 'k', 1)\n"
        "        db.checkpoint()\n"
        "        for bad in (lambda: inmem.open(sys.argv[1]), lambda: db.cas('run', 'k', 99, 1)):\n"
        "            try: bad()\n"
        "            except inmem.InmemError: pass\n"
    )
    assert run_python(code, path) == ""


def test_log_events_tell_what_happened_and_never_what_a_value_holds(path, events):
    secret = SECRET
    with inmem.open(path, durability="interval") as db:
        db.put("run", "k", secret)
        db.events.append("run", "type", {"s": secret})
        db.cells.set("run", "c", [secret])
        db.traces.record("run", inmem.Thought(secret))
        txn = db.begin("run")
        txn.put("k", secret)
        db.put("run", "k", secret)
        with pytest.raises(inmem.ConflictError):
            txn.commit()
        for _ in range(100):
            with pytest.raises(inmem.CasConflictError):
                db.cas("run", "k", 99, secret)
        db.checkpoint()
        db.recover()
        version = db.version
    assert [event for _, event, _ in events] == ["opened", "checkpoint_written", "restarted", "closed"]
    (opened,) = facts(events, "opened")
    assert opened["path"] == str(path)
    assert opened["durability"] == "interval"
    assert (opened["version"], opened["clean"], opened["torn_bytes"]) == (0, True, 0)
    (written,) = facts(events, "checkpoint_written")
    assert written["version"] == version
    (closed,) = facts(events, "closed")
    assert closed["version"] == version


def test_a_reopening_says_what_it_found(path, events):
    db = inmem.open(path)
    db.put("run", "k", 1)
    db.put("run", "k", 2)
    db.close()
    inmem.open(path).close()
    _, again = facts(events, "opened")
    assert (again["version"], again["commits_replayed"], again["keys"], again["clean"]) == (2, 2, 1, True)


def test_what_was_cut_off_is_told(path, events):
    with inmem.open(path) as db:
        db.put("run", "k", SECRET)
    segment = path / "000000000001.wal"
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"\xd5\xf7\x01\x00" + SECRET.encode())
    inmem.open(path).close()
    (torn,) = told(events, "warning", "torn_tail")
    assert torn.pop("reason")
    assert torn == {"file": segment.name, "offset": size, "bytes": 4 + len(SECRET)}
    assert facts(events, "opened")[-1]["torn_bytes"] == 4 + len(SECRET)


def test_a_checkpoint_that_is_passed_over_is_told(path, events):
    with inmem.open(path) as db:
        db.put("run", "k", SECRET)
        files = {file.name: file.read_bytes() for file in path.iterdir() if file.suffix == ".wal"}
        db.checkpoint()
    for name, content in files.items():
        (path / name).write_bytes(content)
    checkpoint = path / "000000000002.checkpoint"
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)
    with inmem.open(path) as db:
        assert db.get("run", "k") == SECRET
    (passed,) = told(events, "warning", "checkpoint_passed_over")
    assert list(passed) == ["error"]
    assert f"{checkpoint}, byte " in passed["error"]


class StillClock(SystemClock):
    """Its monotonic time passes where the test lets it."""

    at_s = 0.0

    def monotonic_s(self):
        return self.at_s


def test_a_slow_sync_is_told(path, events):
    """One that has taken more than half a second, by the clock that the store goes by."""
    clock = StillClock()
    with open_on(FaultyDisk(path), clock=clock) as db:
        sync = LogFile.sync
        for took_s in (0.5, 0.7504):

            def slowly(file, took_s=took_s):
                sync(file)
                clock.at_s += took_s

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LogFile, "sync", slowly)
                db.put("run", "k", SECRET)
    assert told(events, "warning", "slow_sync") == [{"seconds": 0.75}]


def test_a_long_recovery_tells_how_far_it_is(path, events, monkeypatch):
    with inmem.open(path) as db:
        for number in range(40):
            db.put("run", "k", "v" * 1000 + str(number))
    monkeypatch.setattr(recovery_progress, "PROGRESS_BYTES", 10_000)
    inmem.open(path).close()
    told = facts(events, "recovering")
    size = (path / "000000000001.wal").stat().st_size
    assert [fact["bytes_total"] for fact in told] == [size] * 4
    assert [fact["bytes_read"] // 10_000 for fact in told] == [1, 2, 3, 4]
    assert [fact["commits"] for fact in told] == sorted({fact["commits"] for fact in told})
    assert all(fact["commits_per_s"] > 0 for fact in told)


def test_recovery_holds_the_state_and_not_the_files(path):
    """Counted by Python's own allocator: the log and the checkpoint are many times what is held at once."""
    value = b"v" * 100_000
    with inmem.open(path, durability="never") as db:
        for _ in range(150):
            db.put("run", "overwritten", value)
        for number in range(100):
            db.put("kept", f"{number}", value)
        db.checkpoint()
        db.runs.create_run("kept")
        db.runs.delete_run("kept")
        for _ in range(150):
            db.put("run", "overwritten", value)
        sizes = {file.name: file.stat().st_size for file in path.iterdir()}
    assert sum(sizes.values()) > 25_000_000
    tracemalloc.start()
    try:
        inmem.open(path, read_only=True).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The keys of the checkpoint are there until the log drops their run.
    assert 10_000_000 < peak < 10_000_000 + 8 * WINDOW_BYTES


def test_broken_logging_of_the_application_does_not_break_the_store(path, monkeypatch):
    def broken(_logger, _level, _event):
        raise RuntimeError("misconfigured")

    reported = []
    monkeypatch.setattr("sys.excepthook", lambda *error: reported.append(error[0]))
    structlog.configure(processors=[broken])
    try:
        with inmem.open(path) as db:
            db.put("run", "k", 1)
            db.recover()
            assert db.get("run", "k") == 1
    finally:
        structlog.reset_defaults()
    assert len(reported) >= 3
    assert set(reported) == {RuntimeError}
    inmem.open(path).close()


def test_asking_a_stopped_store_says_so(path):
    ref = inmem.spawn(path)
    db = inmem.connect(ref)
    ref.stop(timeout=FAILSAFE_S)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(PutKey("run", "k", 1))
    with pytest.raises(inmem.DatabaseClosedError):
        db.put("run", "k", 1)
    with pytest.raises(inmem.DatabaseClosedError):
        db.kv.futures.put("run", "k", 1).get(timeout=FAILSAFE_S)
    with pytest.raises(inmem.DatabaseClosedError):
        db.begin("run")
    db.close()


@pytest.mark.parametrize("bad", ["x", None, 5])
def test_only_a_store_can_be_connected_to(bad):
    with pytest.raises(inmem.UsageError, match=r"ref: must be what inmem\.spawn has returned"):
        inmem.connect(bad)


def test_another_actor_is_no_store():
    class Other(pykka.ThreadingActor):
        pass

    other = Other.start()
    with pytest.raises(inmem.UsageError, match=r"inmem\.spawn"):
        inmem.connect(other)
    other.stop()


def test_the_error_says_so_when_the_owner_is_this_very_process(path):
    with inmem.open(path) as db, pytest.raises(inmem.DatabaseLockedError, match="this very process: share the handle"):
        inmem.open(db.path)


def test_a_copy_without_its_lock_file_is_a_database_to_everybody(path):
    with inmem.open(path) as db:
        db.put("run", "k", 1)
    for options in ({"read_only": True}, {"create": False}, {}):
        (path / "LOCK").unlink(missing_ok=True)
        with inmem.open(path, **options) as db:
            assert db.get("run", "k") == 1


@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_of_something_else_is_no_database(tmp_path, read_only):
    (tmp_path / "notes.txt").write_text("not ours")
    with pytest.raises(inmem.DatabaseNotFoundError, match="the folder has neither a LOCK file nor a log"):
        inmem.open(tmp_path, create=False, read_only=read_only)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["000000000001.wal", "000000000001.checkpoint"])
def test_junk_under_our_names_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"junk" * 100)
    for options in ({}, {"read_only": True}):
        with pytest.raises(inmem.FormatVersionError, match=name):
            inmem.open(tmp_path, **options)
    assert (tmp_path / name).read_bytes() == b"junk" * 100


def test_a_database_stays_where_it_is_when_the_working_directory_changes(tmp_path, monkeypatch):
    """A checkpoint went to the folder of the same name there: it replaced what another database held."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with inmem.open("agent.db") as db:
            db.put("run", "place", name)
    monkeypatch.chdir(tmp_path / "here")
    with inmem.open("agent.db") as db, inmem.open("agent.db", read_only=True) as reader:
        monkeypatch.chdir(tmp_path / "there")
        db.put("run", "k", 1)
        assert db.checkpoint() == reader.refresh() == db.version
        assert db.verify().files.checkpoints == 1
        assert db.path == reader.path == str(tmp_path / "here" / "agent.db")
    for name in ("here", "there"):
        with inmem.open(tmp_path / name / "agent.db") as db:
            assert db.get("run", "place") == name


def test_a_path_is_not_normalized(tmp_path, monkeypatch):
    """Behind a symbolic link, `..` is the folder around what the link leads to."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    monkeypatch.chdir(tmp_path)
    inmem.open("link/../agent.db").close()
    assert (tmp_path / "a" / "agent.db").is_dir()


def test_a_relative_path_where_the_working_directory_was_removed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(inmem.StorageError, match=r"^agent.db: No such file or directory"):
        inmem.open("agent.db")


def test_a_folder_that_is_moved_while_its_database_is_open(tmp_path):
    """What is made in its place is not touched, and what was acknowledged is in the folder wherever it is now."""
    with inmem.open(tmp_path / "db") as db:
        db.put("run", "place", "moved")
        (tmp_path / "db").rename(tmp_path / "moved")
        with inmem.open(tmp_path / "db") as other:
            other.put("run", "place", "new")
            with pytest.raises(inmem.StorageError, match="moved or replaced while the database was open"):
                db.checkpoint()
            with pytest.raises(inmem.StorageError, match="moved or replaced while the database was open"):
                db.verify()
            db.put("run", "k", 1)
    with inmem.open(tmp_path / "db") as other:
        assert (other.get("run", "place"), other.get("run", "k")) == ("new", None)
    with inmem.open(tmp_path / "moved") as db:
        assert (db.get("run", "place"), db.get("run", "k")) == ("moved", 1)


@pytest.mark.parametrize("gone", ["folder", "files", "segment"])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_log_that_is_deleted_while_its_database_is_open(tmp_path, durability, gone):
    """What is written to it ends with the process: nobody is told that it is durable."""
    db = inmem.open(tmp_path / "db", durability=durability, sync_interval=FAILSAFE_S)
    db.put("run", "k", 1)
    if gone == "folder":
        shutil.rmtree(tmp_path / "db")
    else:
        # Without any files it is the folder of a new database.
        for file in (tmp_path / "db").iterdir():
            if gone == "files" or file.name == segment_name(1):
                file.unlink()
    deleted = re.escape(f"{tmp_path / 'db' / segment_name(1)}: was deleted while the database was open")
    if durability != "always":
        assert db.put("run", "l", 1) == 2, "this acknowledgement does not say that it is durable"
        with pytest.raises(inmem.StoreFailedError, match=deleted):
            db.flush()
    for write in (lambda: db.put("run", "l", 2), db.flush, lambda: db.events.append("run", "type"), db.recover):
        with pytest.raises(inmem.StoreFailedError, match=deleted):
            write()
    assert db.get("run", "k") == 1
    with pytest.raises(inmem.StorageError, match=deleted):
        db.close()
    db.close()


def test_why_a_store_has_failed_is_forgotten_when_it_goes_on(tmp_path):
    """The next failure has a cause of its own."""
    segment = tmp_path / "db" / segment_name(1)
    db = inmem.open(tmp_path / "db")
    db.put("run", "k", "value")
    shutil.copy(segment, tmp_path / "kept")
    segment.unlink()
    with pytest.raises(inmem.StoreFailedError, match="was deleted"):
        db.put("run", "k", 2)
    shutil.copy(tmp_path / "kept", segment)
    db.recover()
    db.put("run", "k", 3)
    content = bytearray(segment.read_bytes())
    content[content.index(b"value")] ^= 1
    segment.write_bytes(content)
    with pytest.raises(inmem.StoreFailedError, match="does not match its checksum"):
        db.recover()
    db.close()


@pytest.mark.parametrize("durability", ["always", "never"])
def test_a_close_does_not_vouch_for_a_log_whose_name_another_file_has(tmp_path, durability):
    """As after a tool that writes a copy and renames it: what was committed since is in a file without a name."""
    path = tmp_path / "db" / segment_name(1)
    db = inmem.open(tmp_path / "db", durability=durability)
    db.put("run", "k", 1)
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").rename(path)
    db.put("run", "k", 2)
    with pytest.raises(inmem.StorageError, match=re.escape(f"{path}: was deleted while the database was open")):
        db.close()


def test_a_close_does_not_vouch_for_a_log_that_was_deleted(tmp_path):
    db = inmem.open(tmp_path / "db")
    db.put("run", "k", 1)
    shutil.rmtree(tmp_path / "db")
    with pytest.raises(inmem.StorageError, match=r"\.wal: was deleted while the database was open"):
        db.close()
