"""Reading beside the owner: a consistent prefix of its commits, moved forward by `refresh`."""

import gc
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

import inmem
from inmem.actors.files import log_file
from inmem.engine import outcomes
from inmem.engine.commits.commit_token import CommitToken
from inmem.engine.log import recovered_state
from inmem.engine.log.log_folder import segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES
from inmem.engine.tables.persistent_map import SPAN
from tests.log_events import told

ROOT = Path(__file__).parents[2]
FAILSAFE_S = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "db"


@pytest.fixture
def both(path):
    """An owner and a reader in one process; what is between them is the folder alone."""
    with inmem.open(path, durability="never") as owner:
        owner.put("run", "k", 1)
        with inmem.open(path, read_only=True) as reader:
            yield owner, reader


def test_a_refresh_shows_what_was_committed_since(both):
    owner, reader = both
    assert reader.refresh() == 1
    owner.put("run", "k", 2)
    owner.events.append("run", "type")
    assert (reader.get("run", "k"), reader.version) == (1, 1)
    assert reader.refresh() == 3 == reader.version
    assert (reader.get("run", "k"), reader.events.len("run")) == (2, 1)
    with reader.begin("run") as txn:
        assert (txn.start_version, txn.get("k")) == (3, 2)
    assert reader.stats().keys == owner.stats().keys
    assert reader.verify().is_valid


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_primitive_moves_on(path, shards, dispatcher):
    with (
        inmem.open(path, durability="never") as owner,
        inmem.open(path, read_only=True, shards=shards, dispatcher=dispatcher) as reader,
    ):
        assert reader.refresh() == 0
        run = owner.begin_run(tags=["tag"])
        owner.cells.init(run, "phase", "first")
        owner.traces.record(run, inmem.Thought("hm"))
        gone = owner.begin_run()
        owner.put(gone, "k", 1)
        reader.refresh()
        assert reader.runs.query_runs(tags=["tag"])[0].run_id == run
        assert reader.get(gone, "k") == 1
        owner.runs.delete_run(gone)
        owner.cells.set(run, "phase", "second")
        reader.refresh()
        assert reader.cells.read(run, "phase").value == "second"
        assert reader.traces.count(run) == 1
        assert (reader.get(gone, "k"), reader.runs.get_run(gone)) == (None, None)


def test_what_has_begun_before_a_refresh_stays_as_it_was(both):
    owner, reader = both
    txn = reader.begin("run")
    keys = txn.scan()
    owner.put("run", "k", 2)
    owner.put("run", "l", 2)
    reader.refresh()
    assert txn.get("k") == 1
    assert list(keys) == [("k", 1)]
    assert txn.commit() == 1
    assert reader.get("run", "k") == 2


def test_a_refresh_after_a_checkpoint_reads_anew(both):
    owner, reader = both
    for number in range(3):
        owner.put("run", "k", number)
        owner.checkpoint()
        owner.put("run", "l", number)
        reader.refresh()
        assert (reader.get("run", "k"), reader.get("run", "l"), reader.version) == (number, number, owner.version)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_refresh_tells_watchers_what_it_has_read(path, dispatcher):
    """The same changes that watchers beside the owner were told of, and not before."""
    with (
        inmem.open(path, durability="never") as owner,
        inmem.open(path, read_only=True, dispatcher=dispatcher) as reader,
    ):
        beside_the_owner = owner.watch(timeout=0)
        watcher, one_run = reader.watch(timeout=0), reader.watch("other", timeout=0)
        for number in range(4):
            run = owner.begin_run(tags=[f"{number}"])
            with owner.begin(run) as txn:
                txn.put("k", number, ttl=3600)
                txn.events.append("type", {"n": number})
                txn.on("other").kv.put("k", number)
            owner.delete("other", "k")
            owner.runs.delete_run(run)
            changes = list(beside_the_owner)
            assert list(watcher) == list(one_run) == []
            assert reader.refresh() == owner.version
            assert list(watcher) == changes
            assert list(one_run) == [change for change in changes if change.run == "other"]
            assert watcher.version == owner.version
            assert reader.refresh() == owner.version
            assert list(watcher) == []
            if number % 2:
                # It removes what the reader has read, and no commit that it has not.
                owner.checkpoint()


def test_a_watcher_learns_that_a_checkpoint_has_removed_what_it_was_to_be_told(both):
    owner, reader = both
    watcher = reader.watch(timeout=0)
    version = owner.put("run", "k", 2)
    owner.checkpoint()
    owner.put("run", "k", 3)
    reader.refresh()
    with pytest.raises(inmem.WatchLaggedError) as caught:
        next(watcher)
    assert (caught.value.version, caught.value.since) == (1, version)
    assert [change.value for change in reader.watch(after_version=version, timeout=0)] == [3]


def test_a_refresh_goes_on_from_one_owner_to_the_next(path):
    with inmem.open(path) as owner:
        owner.put("run", "k", 1)
        reader = inmem.open(path, read_only=True)
    with reader:
        assert reader.refresh() == 1
        with inmem.open(path) as owner:
            owner.put("run", "k", 2)
            assert reader.refresh() == owner.version
            assert reader.get("run", "k") == 2


def test_a_refresh_where_the_database_was_replaced_or_removed(both, path, tmp_path):
    owner, reader = both
    shutil.copytree(path, tmp_path / "backup")
    owner.close()
    with inmem.open(path) as owner:
        owner.put("run", "k", 2)
    assert reader.refresh() == 2
    shutil.rmtree(path)
    with pytest.raises(inmem.StorageError):
        reader.refresh()
    path.mkdir()
    with pytest.raises(inmem.DatabaseNotFoundError):
        reader.refresh()
    assert reader.get("run", "k") == 2, "it goes on showing what it did"
    path.rmdir()
    shutil.copytree(tmp_path / "backup", path)
    assert (reader.refresh(), reader.get("run", "k")) == (1, 1)


@pytest.mark.parametrize("looks", ["at the backup", "when more was written"])
def test_a_watcher_learns_that_the_folder_is_of_a_backup(path, tmp_path, looks):
    """Versions are given a second time then: going on from one of them would skip what has it now."""
    with inmem.open(path) as owner:
        owner.put("run", "k", 1)
    shutil.copytree(path, tmp_path / "backup")
    with inmem.open(path) as owner:
        salt = owner._client.directory.supervisor.mailbox.actor._core.salt
        txn = owner.begin("run")
        txn.put("k", 2)
        txn.commit()
        lost = str(CommitToken(salt, txn.id, txn.start_version))
        owner.put("run", "k", 3)
    with inmem.open(path, read_only=True) as reader:
        at_end, behind = reader.watch(timeout=0), reader.watch(after_version=1, timeout=0)
        assert next(behind).version == 2
        assert reader.outcome(lost) == "committed"
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "backup", path)
        if looks == "at the backup":
            assert reader.refresh() == 1
        else:
            with inmem.open(path) as owner:
                for number in range(4):
                    owner.put("run", "k", 10 + number)
            assert reader.refresh() == 5
        for watcher, version in ((at_end, 3), (behind, 2)):
            for _ in range(2):
                with pytest.raises(inmem.WatchGapError, match="another history") as caught:
                    next(watcher)
                assert caught.value.version == watcher.version == version
        with pytest.raises(inmem.ReadOnlyError):
            reader.outcome(lost)
        watcher = reader.watch(after_version=1, timeout=0)
        told = [(change.version, change.value) for change in watcher]
        assert told == ([] if looks == "at the backup" else [(2, 10), (3, 11), (4, 12), (5, 13)])
        with inmem.open(path) as owner:
            version = owner.put("run", "k", "new")
        reader.refresh()
        assert [(change.version, change.value) for change in watcher] == [(version, "new")]


@pytest.mark.parametrize("commits", [0, 1])
def test_a_watcher_goes_on_where_the_log_was_read_anew(both, commits):
    """A checkpoint has removed what was read last; the commits are those that they were."""
    owner, reader = both
    watcher = reader.watch(timeout=0)
    for number in range(3):
        owner.checkpoint()
        for _ in range(commits):
            owner.put("run", "k", number)
        reader.refresh()
        assert [change.value for change in watcher] == [number] * commits


def test_a_watcher_whose_newest_commit_is_not_remembered_any_more_is_told_that_it_lags(monkeypatch, both):
    """Nobody can tell whether the files still hold what it was told: another history would be a guess."""
    monkeypatch.setattr(recovered_state, "OUTCOMES_MAX", 3)
    monkeypatch.setattr(outcomes, "OUTCOMES_MAX", 3)
    owner, reader = both
    watcher = reader.watch(timeout=0)
    for number in range(9):
        owner.put("run", "k", number)
    owner.checkpoint()
    owner.checkpoint()
    assert reader.refresh() == 10
    for _ in range(2):
        with pytest.raises(inmem.WatchLaggedError):
            next(watcher)
    assert watcher.version == 1
    newer = reader.watch(timeout=0)
    owner.put("run", "k", "new")
    reader.refresh()
    assert [change.value for change in newer] == ["new"]


def test_a_connected_handle_refreshes_its_store(path):
    with inmem.open(path) as owner:
        owner.put("run", "k", 1)
        store = inmem.spawn(path, read_only=True)
        reader, other = inmem.connect(store), inmem.connect(store)
        owner.put("run", "k", 2)
        assert reader.refresh() == 2
        assert other.get("run", "k") == 2
        store.stop()
        with pytest.raises(inmem.DatabaseClosedError):
            reader.refresh()


@pytest.mark.parametrize("where", [":memory:", "db"])
def test_the_owner_is_always_up_to_date(tmp_path, where):
    with inmem.open(where if where == ":memory:" else tmp_path / where) as db:
        assert db.refresh() == 0
        db.put("run", "k", 1)
        assert db.refresh() == 1 == db.version


def test_the_clock_of_a_reader_is_never_behind_what_it_shows(both):
    """An event of the owner's must not lie in the reader's future: deadlines are judged by the same time."""
    owner, reader = both
    floor = owner._client.directory.clock
    floor.floor_us += 3_600_000_000
    owner.put("run", "k", 2)
    reader.refresh()
    assert reader._client.directory.clock.now_us() >= floor.floor_us - 1_000_000


def test_a_reader_does_not_try_to_reap(both):
    """It could only be refused, again and again."""
    owner, _ = both
    owner.put("run", "short", 1, ttl=60)
    with inmem.open(owner.path, read_only=True) as reader:
        reaper = reader._client.directory.mailboxes["reaper"].mailbox.actor
        assert reader.get("run", "short") == 1
        assert not reaper._expiring
        assert not reaper._timer_runs


def test_an_outcome_that_was_read_since_is_known(both):
    owner, reader = both
    salt = owner._client.directory.supervisor.mailbox.actor._core.salt
    txn = owner.begin("run")
    txn.put("k", 2)
    token = str(CommitToken(salt, txn.id, txn.start_version))
    with pytest.raises(inmem.ReadOnlyError, match="may still commit"):
        reader.outcome(token)
    txn.commit()
    reader.refresh()
    assert reader.outcome(token) == "committed"


@pytest.fixture
def no_room_ahead(monkeypatch):
    """The log ends where its content does."""
    monkeypatch.setattr(log_file, "RESERVE_BYTES", 0)


def test_damage_is_refused_and_the_reader_goes_on_showing_what_it_did(no_room_ahead, both, path, events):
    owner, reader = both
    segment = path / segment_name(1)
    owner.put("run", "k", 2)
    owner.flush()
    end = segment.stat().st_size
    owner.put("run", "k", 3)
    sound = segment.read_bytes()
    data = bytearray(sound)
    # Behind the commit stands the mark of the flush.
    data[end - FRAME_HEADER_BYTES - 1] ^= 1
    segment.write_bytes(data)
    with pytest.raises(inmem.CorruptionError) as refused:
        reader.refresh()
    assert told(events, "info", "read_anew") == [{"error": str(refused.value)}]
    assert (reader.get("run", "k"), reader.version) == (1, 1)
    segment.write_bytes(sound)
    assert reader.refresh() == 3


def test_many_threads_may_refresh_and_read_at_once(both):
    owner, reader = both
    done = threading.Event()
    finished = []

    def follow():
        last = 0
        while not done.is_set():
            version = reader.refresh()
            with reader.begin("run") as txn:
                assert txn.get("k") == txn.get("l")
                assert txn.start_version >= version >= last
            last = version
        finished.append(last)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    with owner.begin("run") as txn:
        txn.put("k", 0)
        txn.put("l", 0)
    reader.refresh()
    for thread in threads:
        thread.start()
    for number in range(100):
        with owner.begin("run") as txn:
            txn.put("k", number)
            txn.put("l", number)
    done.set()
    for thread in threads:
        thread.join(FAILSAFE_S)
    assert len(finished) == len(threads)
    assert reader.refresh() == owner.version


# The owner is another process, which commits and checkpoints without pause.


@pytest.fixture
def busy_owner(path):
    command = [sys.executable, "-m", "tests.crash.busy_owner", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait(FAILSAFE_S)
        process.stdin.close()
        process.stdout.close()


def whole_number(reader):
    """Return the number of the last commit that the reader shows, after making sure that it shows all of it."""
    with reader.begin("run") as txn:
        number = txn.get("a")
        head = txn.events.head()
        assert number == head.payload == head.sequence == txn.on("other").kv.get("a")
        assert txn.start_version == number + 1
    return number


@pytest.mark.parametrize("ending", ["close", "kill"])
def test_beside_an_owner_that_never_rests(path, busy_owner, ending):
    numbers = []
    with inmem.open(path, read_only=True) as reader:
        while len(numbers) < 300 or numbers[-1] < 100:
            version = reader.refresh()
            numbers.append(whole_number(reader))
            assert version == numbers[-1] + 1
        assert reader.verify().is_valid
        busy_owner.communicate(ending.encode() if ending == "kill" else b"", FAILSAFE_S)
        assert busy_owner.returncode == (-signal.SIGKILL if ending == "kill" else 0)
        reader.refresh()
        numbers.append(whole_number(reader))
    assert numbers == sorted(numbers)
    with inmem.open(path) as db:
        assert whole_number(db) == numbers[-1]
        assert db.verify().is_valid


def test_opening_beside_an_owner_that_never_rests(path, busy_owner):
    numbers = [0]
    while len(numbers) < 100 or numbers[-1] < 100:
        with inmem.open(path, read_only=True) as reader:
            numbers.append(whole_number(reader))
    assert numbers == sorted(numbers)
    assert busy_owner.poll() is None


def test_commands_look_at_a_store_that_is_in_use(path, busy_owner):
    pytest.importorskip("click", reason="the command line is the extra [cli]")
    for name, *arguments in (["verify"], ["stat", "--json"], ["events", "run", "--json"], ["get", "run", "a"]):
        result = subprocess.run(
            [sys.executable, "-m", "inmem", name, str(path), *arguments], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")
    assert busy_owner.poll() is None


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_what_a_refresh_has_replaced_is_forgotten(path, dispatcher):
    """A reader that follows for weeks has one state in memory, not that of its opening as well."""
    with inmem.open(path) as owner:
        owner.put("run", "k", 1)
        with inmem.open(path, read_only=True, dispatcher=dispatcher) as reader:
            root = reader.directory.published.snapshot.roots[0]
            for number in range(2 * SPAN):
                owner.put("run", "k", number)
                reader.refresh()
            # What all versions of the opening's span refer to: it lives as long as any of them does.
            opening = weakref.ref(root.span)
            assert opening() is not None
            del root
            gc.collect()
            assert opening() is None
