"""Every limit that `inmem.open` takes: its error, its default, and that reading knows no limits."""

import tracemalloc

import pykka
import pytest

import inmem
from inmem import messages
from inmem.actors.messages import edge
from inmem.actors.messages.control import Resume
from inmem.engine import limits as constants
from inmem.engine.commits import transaction
from tests.actors.faulty_disk import FaultyDisk, open_on

FAILSAFE_S = 60
SMALL = 100
NAMES = sorted(constants.GREATEST)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "db"


@pytest.fixture
def small(path):
    with inmem.open(path, limits=inmem.Limits(value_bytes_max=SMALL)) as db:
        db.runs.create_run("run")
        db.cells.init("run", "cell", 1)
        yield db


TOO_LARGE = "x" * SMALL
WRITES = {
    "value of 'k'": [
        lambda db: db.put("run", "k", TOO_LARGE),
        lambda db: db.cas("run", "k", 0, TOO_LARGE),
        lambda db: db.kv.futures.put("run", "k", TOO_LARGE).get(timeout=FAILSAFE_S),
        lambda db: db.transaction("run", lambda txn: txn.put("k", TOO_LARGE)),
        lambda db: db.transaction("run", lambda txn: txn.kv.cas("k", 0, TOO_LARGE)),
    ],
    "value": [
        lambda db: db.cells.init("run", "new", TOO_LARGE),
        lambda db: db.cells.cas("run", "cell", 1, TOO_LARGE),
        lambda db: db.cells.set("run", "cell", [TOO_LARGE]),
    ],
    "new_value": [lambda db: db.cells.transition("run", "cell", lambda state: (TOO_LARGE, None))],
    "initial": [lambda db: db.cells.transition_or_init("run", "new", TOO_LARGE, lambda state: (1, None))],
    "payload": [
        lambda db: db.events.append("run", "type", TOO_LARGE),
        lambda db: db.transaction("run", lambda txn: txn.events.append("type", {"a": TOO_LARGE})),
    ],
    r"events\[1\].payload": [
        lambda db: db.transaction("run", lambda txn: txn.events.append_many([("type", 1), ("type", TOO_LARGE)]))
    ],
    "ToolCall.arguments": [
        lambda db: db.traces.record("run", inmem.ToolCall("tool", TOO_LARGE)),
        lambda db: db.transaction("run", lambda txn: txn.traces.record(inmem.ToolCall("tool", TOO_LARGE))),
    ],
    "metadata": [
        lambda db: db.traces.record_with_options("run", inmem.Thought("hm"), metadata={"a": TOO_LARGE}),
        lambda db: db.begin_run(metadata={"a": TOO_LARGE}),
        lambda db: db.runs.update_metadata("run", {"a": TOO_LARGE}),
    ],
    "error": [lambda db: db.runs.fail_run("run", TOO_LARGE)],
}


@pytest.mark.parametrize("where", WRITES)
def test_a_larger_value_is_refused_wherever_it_is_written(small, where):
    before = small.version
    for write in WRITES[where]:
        with pytest.raises(inmem.InvalidValueError, match=f"^{where}: larger than {SMALL} bytes when encoded"):
            write(small)
    assert small.version == before
    small.put("run", "k", "x" * (SMALL - 2))


def test_several_events_are_refused_as_one(small):
    with pytest.raises(inmem.InvalidValueError, match="larger than"):
        small.events.append_many("run", [("type", 1), ("type", TOO_LARGE)])
    assert small.events.len("run") == 0


def test_a_message_that_was_told_cannot_hurt_either(small):
    store = small._client.directory.supervisor
    # Those with a thread of their own arrive in their own time.
    mailboxes = [ref.mailbox for ref in small._client.directory.mailboxes.values() if not ref.mailbox.own_thread]
    actors = [mailbox.actor for mailbox in mailboxes]
    store.tell(messages.PutKey("run", "k", TOO_LARGE))
    with pytest.raises(inmem.InvalidValueError):
        store.ask(messages.PutKey("run", "k", TOO_LARGE))
    assert small.get("run", "k") is None
    assert [mailbox.actor for mailbox in mailboxes] == actors


def test_what_no_store_takes_is_refused_at_the_call(monkeypatch):
    # Another test of this process may have opened a store that takes more.
    monkeypatch.setattr(edge._accepted, "value_bytes_max", constants.VALUE_BYTES_MAX)
    too_large = b"x" * constants.VALUE_BYTES_MAX
    with inmem.open(":memory:") as db:
        for write in (messages.PutKey, db.kv.futures.put, db.put):
            with pytest.raises(inmem.InvalidValueError, match=f"larger than {constants.VALUE_BYTES_MAX} bytes"):
                write("run", "k", too_large)


def test_larger_limits_let_larger_values_in_and_smaller_ones_let_them_out(path, monkeypatch):
    monkeypatch.setattr(edge._accepted, "value_bytes_max", constants.VALUE_BYTES_MAX)
    large = b"x" * (constants.VALUE_BYTES_MAX + 1)
    with inmem.open(path, limits=inmem.Limits(value_bytes_max=2 * len(large))) as db:
        db.put("run", "put", large)
        db.events.append("run", "type", large)
    with inmem.open(path) as db:
        db.checkpoint()
    tiny = inmem.Limits(value_bytes_max=1, transaction_bytes_max=64, transaction_reads_max=1)
    for options in ({"limits": tiny}, {"limits": tiny, "read_only": True}):
        with inmem.open(path, **options) as db:
            assert db.get("run", "put") == db.events.head("run").payload == large
            with db.begin("run") as txn:
                assert [key for key, _ in txn.scan()] == ["put"]
                assert txn.get("a") is txn.get("b") is None
            assert db.verify().is_valid
    with inmem.open(path, limits=tiny) as db:
        assert db.delete("run", "put")


def test_a_transaction_that_writes_too_much_is_refused_at_its_commit():
    with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=1000)) as db:
        txn = db.begin("run")
        for number in range(10):
            txn.put(str(number), b"x" * 100)
        with pytest.raises(inmem.UsageError, match=r"writes 10\d\d bytes, at most 1000"):
            txn.commit()
        assert db.version == 0


def test_a_transaction_that_takes_too_much_of_the_log_is_refused_at_its_commit(path, monkeypatch):
    """Run ids and the form of a record count there too: millions of small writes fill a frame beyond their bytes."""
    monkeypatch.setattr(transaction, "FRAME_BYTES_MAX", 10_000)

    def write(txn, runs):
        for number in range(runs):
            txn.on(f"{number:250}").kv.put("k", None)

    with inmem.open(path) as db:
        with pytest.raises(inmem.UsageError, match=r"takes 1\d{5} bytes in the log, at most 10000"):
            db.transaction("run", lambda txn: write(txn, 500))
        db.transaction("run", lambda txn: write(txn, 37))
        with pytest.raises(inmem.UsageError, match="bytes in the log"):
            db.events.append_many("run", [("type", None)] * 100)
        # Found out by the log writer, it would have cost the store its core, at each attempt.
        assert db.put("run", "k", 1) == 2
        assert len(db.events.append_many("run", [("type", None)] * 10)) == 10


def test_a_transaction_that_has_read_too_much_may_not_write():
    with inmem.open(":memory:", limits=inmem.Limits(transaction_reads_max=10)) as db:
        for number in range(11):
            db.put("run", str(number), number)
        with db.begin("run") as txn:
            assert len(list(txn.scan())) == 11
        txn = db.begin("run")
        assert len(list(txn.scan())) == 11
        txn.put("k", 1)
        with pytest.raises(inmem.UsageError, match=r"has read 1[12] keys, at most 10"):
            txn.commit()
        assert len(db.kv.list_with_values("run")) == 11


@pytest.fixture(params=["caller", "threads"])
def flooded(request, path):
    """A store whose log stands still, so that whatever is sent to it waits, and the gate that lets it go on."""
    disk = FaultyDisk(path)
    limits = inmem.Limits(waiting_requests_max=1_000, waiting_bytes_max=4 * 2**20)
    with open_on(disk, dispatcher=request.param, limits=limits) as db:
        db.put("run", "ready", 1)
        db.runs.create_run("run")
        gate = disk.gate("sync", ".wal")
        first = db.kv.futures.put("run", "first", 1)
        assert gate.arrived.wait(FAILSAFE_S)
        yield db, gate
        gate.open()
        first.get(timeout=FAILSAFE_S)
        assert db.put("run", "last", 1)


def settled(futures):
    """Return the answers of the futures, and the errors of those that had to wait and were not let in."""
    answers, errors = [], []
    for future in futures:
        try:
            answers.append(future.get(timeout=FAILSAFE_S))
        except inmem.OverloadedError as error:
            errors.append(error)
        except inmem.InvalidStatusTransitionError as error:
            # Of a run that fails again: it was let in.
            answers.append(error)
    return answers, errors


def test_a_flood_of_requests_is_refused_past_the_limit(flooded):
    db, gate = flooded
    futures = [db.kv.futures.put("run", "k", number) for number in range(3_000)]
    gate.open()
    values, errors = settled(futures)
    assert len(values) == 1_000
    assert {(error.mailbox, error.limit, error.unit, error.retryable) for error in errors} == {
        ("kv", 1_000, "requests", True)
    }


# Of each kind of payload the mailbox it goes to, and one request that carries it.
PAYLOADS = {
    "value of a key": ("kv", lambda db, text: db.kv.futures.put("run", "k", text)),
    "value of a cell": ("cells", lambda db, text: db.cells.futures.set("run", "c", text)),
    "payload of an event": ("events", lambda db, text: db.events.futures.append("run", "type", text)),
    "several events": ("events", lambda db, text: db.events.futures.append_many("run", [("a", 1), ("b", text)])),
    "kind of a trace": ("traces", lambda db, text: db.traces.futures.record("run", inmem.Thought(text))),
    "metadata of a trace": (
        "traces",
        lambda db, text: db.traces.futures.record_with_options("run", inmem.Thought("t"), metadata={"m": text}),
    ),
    "metadata of a run": ("runs", lambda db, text: db.runs.futures.create_run(metadata={"m": text})),
    "reason of a failure": ("runs", lambda db, text: db.runs.futures.fail_run("run", text)),
}


@pytest.mark.parametrize(("mailbox", "send"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_flood_of_bytes_stays_within_bounded_memory(flooded, mailbox, send):
    db, gate = flooded
    tracemalloc.start()
    try:
        futures = [send(db, chr(ord("a") + number % 26) * 2**17) for number in range(1_000)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    gate.open()
    taken, errors = settled(futures)
    # As many wait as fit into four MiB with their few bytes of names, behind one in flight: the KVStore's is the first.
    assert len(taken) == (32 if mailbox == "kv" else 33)
    assert {(error.mailbox, error.limit, error.unit) for error in errors} == {(mailbox, 4 * 2**20, "bytes")}
    assert peak < 4 * 4 * 2**20


# Requests of very many parts: what holds those together takes a hundred times the memory that they take themselves.
CRUMBS = {
    "events": ("events", lambda db: db.events.futures.append_many("run", [("t", None)] * 250)),
    "keys": ("kv", lambda db: db.kv.futures.get_many("run", map(str, range(1_000)))),
    "tags": ("runs", lambda db: db.runs.futures.add_tags("run", map(str, range(1_000)))),
}


@pytest.mark.parametrize(("mailbox", "send"), CRUMBS.values(), ids=CRUMBS)
def test_a_flood_of_crumbs_stays_within_bounded_memory(flooded, mailbox, send):
    db, gate = flooded
    tracemalloc.start()
    try:
        futures = [send(db) for _ in range(400)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    gate.open()
    _, errors = settled(futures)
    assert {(error.mailbox, error.limit, error.unit) for error in errors} == {(mailbox, 4 * 2**20, "bytes")}
    assert peak < 2 * 4 * 2**20


def test_told_requests_past_the_limit_are_dropped_and_the_actor_lives(flooded):
    db, gate = flooded
    mailbox = db._client.directory.mailboxes["kv"].mailbox
    actor = mailbox.actor
    for number in range(999):
        mailbox.ref.send(messages.PutKey("run", f"taken {number}", number), None)
    last = db.kv.futures.put("run", "last of all", 1)
    for number in range(500):
        mailbox.ref.send(messages.PutKey("run", f"dropped {number}", number), None)
    gate.open()
    last.get(timeout=FAILSAFE_S)
    assert len(db.kv.list("run", "taken")) == 999
    assert db.kv.list("run", "dropped") == []
    assert mailbox.actor is actor


def bring_back(actor):
    """Put an actor behind its address again that was taken away; whom it was taken away for would be another one."""
    actor.has_begun = False
    actor.ref.send(Resume(actor), None)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_what_is_passed_on_is_refused_where_it_comes_in(dispatcher):
    """The supervisor, whose ref actors are given, passes requests on without delay: they pile up behind it."""
    limits = inmem.Limits(waiting_requests_max=50)
    with inmem.open(":memory:", dispatcher=dispatcher, limits=limits) as db:
        directory = db._client.directory
        supervisor = directory.supervisor
        mailbox = directory.mailboxes["kv"].mailbox
        actor = mailbox.actor
        mailbox.suspend()
        for number in range(50):
            supervisor.tell(messages.PutKey("run", "k", number))
            while directory.dispatcher.depth(supervisor.mailbox):
                pass
        while directory.dispatcher.depth(mailbox) < 50:
            pass
        with pytest.raises(inmem.OverloadedError, match="kv"):
            supervisor.tell(messages.PutKey("run", "k", 50))
        with pytest.raises(inmem.OverloadedError, match="kv"):
            supervisor.ask(messages.PutKey("run", "k", 50), block=False).get(timeout=FAILSAFE_S)
        # What goes elsewhere is let in.
        supervisor.ask(messages.AppendEvent("run", "type"), timeout=FAILSAFE_S)
        bring_back(actor)
        assert mailbox.ref.ask(messages.GetKey("run", "k"), timeout=FAILSAFE_S) == 49


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_the_door_is_closed_while_nobody_is_behind_it(dispatcher):
    """Between the failure of an actor and its replacement requests pile up in the mailbox."""
    limits = inmem.Limits(waiting_requests_max=50)
    with inmem.open(":memory:", dispatcher=dispatcher, limits=limits) as db:
        db.put("run", "k", 1)
        mailbox = db._client.directory.mailboxes["kv"].mailbox
        actor = mailbox.actor
        mailbox.suspend()
        refused = 0
        futures = []
        for number in range(80):
            try:
                mailbox.ref.tell(messages.PutKey("run", "k", number))
            except inmem.OverloadedError:
                refused += 1
            futures.append(db.kv.futures.put("run", "k", number))
        assert 20 <= refused <= 80
        bring_back(actor)
        values, errors = settled(futures)
        assert len(values) + 80 - refused <= 50 + 2
        assert len(errors) == 80 - len(values)
        assert db.put("run", "k", 2)


def test_a_read_is_never_refused(flooded):
    db, _ = flooded
    for number in range(1_100):
        db.kv.futures.put("run", "k", number)
    assert db.get("run", "ready") == 1
    with db.begin("run") as txn:
        assert txn.get("ready") == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [0, -1, 1.0, "1", True, None, 2**64])
def test_a_limit_out_of_range_is_refused(name, bad):
    with pytest.raises(inmem.UsageError, match=f"limits: {name} must be an int from 1 to {constants.GREATEST[name]}"):
        inmem.Limits(**{name: bad})


@pytest.mark.parametrize("name", NAMES)
def test_the_extremes_are_accepted(name):
    for limit in (1, constants.GREATEST[name]):
        with inmem.open(":memory:", limits=inmem.Limits(**{name: limit})) as db:
            assert db.get("run", "k") is None


def test_limits_are_limits_and_nothing_else(tmp_path):
    for bad in (None, 5, {"value_bytes_max": 5}):
        with pytest.raises(inmem.UsageError, match=r"limits: must be an inmem\.Limits"):
            inmem.open(tmp_path / "db", limits=bad)
    with pytest.raises(TypeError):
        inmem.Limits(5)
    with pytest.raises(AttributeError):
        inmem.Limits().value_bytes_max = 5


def test_spawn_takes_them_too():
    store = inmem.spawn(":memory:", limits=inmem.Limits(value_bytes_max=SMALL))
    with pytest.raises(inmem.InvalidValueError):
        store.ask(messages.PutKey("run", "k", TOO_LARGE))
    store.stop()
    with pytest.raises(pykka.ActorDeadError):
        store.ask(messages.GetKey("run", "k"))


def test_an_import_keeps_to_the_limits_of_the_store_it_goes_to(tmp_path):
    file = tmp_path / "run.jsonl"
    with inmem.open(":memory:") as source:
        run = source.begin_run("run")
        source.events.append(run, "type", TOO_LARGE)
        source.export_run(run, file)
    with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=SMALL)) as db:
        with pytest.raises(inmem.InmemError, match=f"payload: larger than {SMALL} bytes"):
            db.import_run(file)
        assert db.version == 0
