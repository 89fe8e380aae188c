"""The store as part of an actor system: refs, messages, plain pykka actors beside it, and pykka's own shutdown."""

import asyncio
import inspect
import pydoc
import threading
import typing

import pykka
import pytest

import inmem
import inmem.aio
from inmem import messages
from inmem.actors.files.folder_disk import FolderDisk
from inmem.engine.log.recovery import recover
from tests.log_events import told

FAILSAFE_S = 30.0


@pytest.fixture(params=["caller", "threads"])
def ref(request, tmp_path):
    ref = inmem.spawn(tmp_path / "db", dispatcher=request.param, durability="never")
    yield ref
    ref.stop(timeout=FAILSAFE_S)


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S) == []


def was_closed_cleanly(path):
    return recover(FolderDisk(str(path), read_only=True), 1)[1].is_clean


class Agent(pykka.ThreadingActor):
    """A plain pykka actor that does its work through the store's ref."""

    use_daemon_thread = True

    def __init__(self, store):
        super().__init__()
        self._store = store

    def on_receive(self, message):
        match message:
            case ("append", run, number):
                self._store.tell(messages.AppendEvent(run, "step", {"agent": self.actor_urn, "number": number}))
                return None
            case ("count", run):
                return self._store.ask(messages.CountEvents(run))
            case ("future", run):
                return self._store.ask(messages.CountEvents(run), block=False)
            case ("connect", run):
                with inmem.connect(self._store) as db, db.begin(run) as txn:
                    txn.put("connected", True)
                return db
        raise AssertionError(message)


def test_the_ref_is_a_pykka_ref(ref):
    assert isinstance(ref, pykka.ActorRef)
    assert ref.is_alive()
    assert ref in pykka.ActorRegistry.get_all()
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert pykka.ActorRegistry.get_by_class_name("Supervisor") == [ref]
    assert str(ref).startswith("supervisor of '")


def test_only_the_supervisor_is_registered(ref):
    inmem.connect(ref).put("run", "k", 1)
    assert pykka.ActorRegistry.get_all() == [ref]


def test_ask_and_tell(ref):
    assert ref.ask(messages.PutKey("run", "k", [1])) == 1
    assert ref.ask(messages.GetKey("run", "k")) == [1]
    assert ref.ask(messages.GetKey("run", "k"), block=False).get(timeout=FAILSAFE_S) == [1]
    assert ref.tell(messages.AppendEvent("run", "type", {"n": 1})) is None
    event = ref.ask(messages.ReadEvent("run", 0))
    assert (event.event_type, event.payload) == ("type", {"n": 1})
    assert ref.ask(messages.InitCell("run", "phase", "a")) == 1
    trace = ref.ask(messages.RecordTrace("run", inmem.Thought("hm")))
    assert ref.ask(messages.GetTrace("run", trace.id)) == trace
    created = ref.ask(messages.CreateRun("registered"))
    assert ref.ask(messages.GetRun("registered")) == created


def test_what_is_told_is_done_in_order(ref):
    for number in range(200):
        ref.tell(messages.AppendEvent("run", "type", number))
        ref.tell(messages.PutKey("run", "k", number))
    events = ref.ask(messages.ReadEvents("run", 0, 1000))
    assert [event.payload for event in events] == list(range(200))
    assert ref.ask(messages.GetKey("run", "k")) == 199


def test_a_request_that_fails_goes_back_to_who_asked(ref):
    ref.ask(messages.PutKey("run", "k", 1))
    with pytest.raises(inmem.CasConflictError):
        ref.ask(messages.CasKey("run", "k", 99, 2))
    with pytest.raises(inmem.CellNotFoundError):
        ref.ask(messages.CasCell("run", "missing", 1, 2))
    with pytest.raises(inmem.RunNotFoundError):
        ref.ask(messages.CompleteRun("missing"))
    # Nobody hears of these; the store goes on.
    ref.tell(messages.CasKey("run", "k", 99, 2))
    ref.tell(messages.CasCell("run", "missing", 1, 2))
    assert ref.ask(messages.GetKey("run", "k")) == 1


@pytest.mark.parametrize("message", ["a str", None, 7, {"command": "put"}, object(), ("PutKey", "run", "k", 1)])
def test_what_is_no_message_is_refused_at_the_call(ref, message, events):
    for send in (ref.ask, ref.tell, lambda message: ref.ask(message, block=False)):
        with pytest.raises(
            inmem.UsageError, match=rf"must be a message of inmem\.messages, not {type(message).__name__}"
        ):
            send(message)
    assert ref.ask(messages.PutKey("run", "k", 1)) == 1
    assert told(events, "error", "supervisor_error") == []


def test_the_class_of_a_message_is_refused_at_the_call(ref):
    for send in (ref.ask, ref.tell, lambda message: ref.ask(message, block=False)):
        with pytest.raises(inmem.UsageError, match=r"CountEvents is a class: send CountEvents\(…\)"):
            send(messages.CountEvents)


def test_messages_are_immutable(ref):
    value = {"list": [1]}
    message = messages.PutKey("run", "k", value)
    value["list"].append(2)
    for name in message.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(message, name, "changed")
    with pytest.raises(AttributeError):
        message.new = 1
    ref.ask(message)
    assert ref.ask(messages.GetKey("run", "k")) == {"list": [1]}
    # One message may be sent again, and to several stores.
    assert ref.ask(message) == 2


def test_every_public_message_is_immutable():
    for name in messages.__all__:
        kind = getattr(messages, name)
        assert kind.__struct_config__.frozen, name
        assert "__dict__" not in dir(kind), name


def test_help_shows_the_fields_of_every_public_message():
    assert str(inspect.signature(messages.PutKey)) == (
        "(run: str | uuid.UUID, key: str, value: Any, ttl: float | None = None)"
    )
    for name in messages.__all__:
        kind = getattr(messages, name)
        assert tuple(inspect.signature(kind).parameters) == kind.__struct_fields__
        assert typing.get_type_hints(kind).keys() >= set(kind.__struct_fields__)
        assert name in pydoc.render_doc(kind, renderer=pydoc.plaintext)


def test_a_bad_message_is_refused_where_it_is_made():
    with pytest.raises(inmem.InvalidValueError):
        messages.PutKey("run", "k", object())
    with pytest.raises(inmem.InvalidKeyError):
        messages.AppendEvent("", "type", 1)


def test_plain_pykka_actors_use_the_store(ref):
    agents = [Agent.start(ref) for _ in range(4)]
    for number in range(50):
        for agent in agents:
            agent.tell(("append", "run", number))
    counts = [agent.ask(("count", "run"), timeout=FAILSAFE_S) for agent in agents]
    assert max(counts) == 200
    inner = agents[0].ask(("future", "run"), timeout=FAILSAFE_S)
    assert inner.get(timeout=FAILSAFE_S) == 200
    with inmem.connect(ref) as db:
        assert db.events.verify_chain("run").is_valid
        for agent in agents:
            mine = [e.payload["number"] for e in db.events.iter("run") if e.payload["agent"] == agent.actor_urn]
            assert mine == list(range(50))
    for agent in agents:
        agent.stop(timeout=FAILSAFE_S)


def test_an_actor_may_connect(ref):
    agent = Agent.start(ref)
    closed = agent.ask(("connect", "run"), timeout=FAILSAFE_S)
    with pytest.raises(inmem.DatabaseClosedError):
        closed.get("run", "connected")
    assert ref.ask(messages.GetKey("run", "connected")) is True
    agent.stop(timeout=FAILSAFE_S)


def test_a_handle_can_be_connected_to_in_place_of_its_store(ref):
    first = inmem.connect(ref)
    with inmem.connect(first) as second:
        second.put("run", "k", 1)
    assert first.get("run", "k") == 1
    first.close()
    with pytest.raises(inmem.DatabaseClosedError):
        inmem.connect(first)
    for nothing in (None, "agent.db", ref.proxy()):
        with pytest.raises(
            inmem.UsageError, match=r"^ref: must be what inmem\.spawn has returned, or an inmem\.Database, not"
        ):
            inmem.connect(nothing)


def test_connections_share_the_store_and_close_by_themselves(ref):
    one, other = inmem.connect(ref), inmem.connect(ref)
    one.put("run", "k", 1)
    assert other.get("run", "k") == 1
    one.close()
    one.close()
    with pytest.raises(inmem.DatabaseClosedError):
        one.get("run", "k")
    assert ref.is_alive()
    other.put("run", "k", 2)
    other.close()
    assert ref.ask(messages.GetKey("run", "k")) == 2


def test_stopping_the_ref_closes_cleanly(ref, tmp_path):
    db = inmem.connect(ref)
    futures = [db.events.futures.append("run", "type", number) for number in range(100)]
    assert ref.stop(timeout=FAILSAFE_S) is True
    assert not ref.is_alive()
    assert [future.get(timeout=FAILSAFE_S).sequence for future in futures] == list(range(100))
    assert was_closed_cleanly(tmp_path / "db")
    assert ref.stop(timeout=FAILSAFE_S) is False
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(messages.GetKey("run", "k"))
    with pytest.raises(pykka.ActorDeadError):
        inmem.connect(ref)
    with pytest.raises(inmem.DatabaseClosedError):
        db.events.len("run")
    with pytest.raises(inmem.DatabaseClosedError):
        db.events.append("run", "type")
    with inmem.open(tmp_path / "db") as again:
        assert again.events.len("run") == 100


def test_stopping_without_waiting_closes_too(ref, tmp_path):
    ref.ask(messages.PutKey("run", "k", 1))
    stopping = ref.stop(block=False)
    assert stopping.get(timeout=FAILSAFE_S) is True
    assert was_closed_cleanly(tmp_path / "db")


def test_stop_all_closes_cleanly(ref, tmp_path):
    agents = [Agent.start(ref) for _ in range(2)]
    for number in range(20):
        agents[number % 2].ask(("append", "run", number), timeout=FAILSAFE_S)
    assert all(pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S))
    assert not ref.is_alive()
    assert was_closed_cleanly(tmp_path / "db")
    with inmem.open(tmp_path / "db") as db:
        assert db.events.len("run") == 20
        assert db.verify().is_valid


def test_stop_all_closes_what_open_has_opened(tmp_path):
    db = inmem.open(tmp_path / "db", durability="interval", sync_interval=3599)
    db.put("run", "k", 1)
    pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S)
    assert was_closed_cleanly(tmp_path / "db")
    with pytest.raises(inmem.DatabaseClosedError):
        db.put("run", "k", 2)
    with pytest.raises(inmem.DatabaseClosedError):
        db.events.futures.append("run", "type").get(timeout=FAILSAFE_S)
    db.close()


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_future_that_the_end_overtakes_is_answered_with_the_stores_own_error(tmp_path, dispatcher):
    """Whichever actor it waits in: proxies answer DatabaseClosedError, which for pykka is an ActorDeadError too."""
    db = inmem.open(tmp_path / "db", dispatcher=dispatcher, durability="never")
    flooding = threading.Event()
    futures = []

    def flood():
        for number in range(3000):
            futures.append(db.events.futures.append("run", "type", number))
            if number == 500:
                flooding.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert flooding.wait(FAILSAFE_S)
    pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S)
    thread.join(FAILSAFE_S)
    assert len(futures) == 3000
    acknowledged = 0
    for future in (*futures, db.events.futures.append("run", "type")):
        try:
            future.get(timeout=FAILSAFE_S)
            acknowledged += 1
        except inmem.DatabaseClosedError:
            continue
    with inmem.open(tmp_path / "db") as again:
        assert again.events.len("run") == acknowledged


def test_stop_all_while_clients_work(ref, tmp_path):
    """Every client is told the truth: what was acknowledged is there after reopening."""
    started = threading.Barrier(4)
    acknowledged = {}

    def work(number):
        started.wait(FAILSAFE_S)
        try:
            for count in range(100_000):
                ref.ask(messages.AppendEvent(f"run {number}", "type", count))
                acknowledged[number] = count + 1
        except (pykka.ActorDeadError, inmem.DatabaseClosedError):
            return

    threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    started.wait(FAILSAFE_S)
    pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S)
    for thread in threads:
        thread.join(FAILSAFE_S)
    assert not any(thread.is_alive() for thread in threads)
    with inmem.open(tmp_path / "db") as db:
        for number, count in acknowledged.items():
            assert db.events.len(f"run {number}") in {count, count + 1}
        assert db.verify().is_valid


def test_two_stores_at_once(tmp_path):
    refs = [inmem.spawn(tmp_path / "one"), inmem.spawn(tmp_path / "two", dispatcher="threads"), inmem.spawn(":memory:")]
    for number, ref in enumerate(refs):
        ref.ask(messages.PutKey("run", "k", number))
    assert [ref.ask(messages.GetKey("run", "k")) for ref in refs] == [0, 1, 2]
    assert len({ref.actor_urn for ref in refs}) == 3
    refs[0].stop(timeout=FAILSAFE_S)
    with inmem.connect(refs[1]) as db:
        db.put("run", "k", "still here")
    assert refs[1].ask(messages.GetKey("run", "k")) == "still here"
    assert pykka.ActorRegistry.stop_all(timeout=FAILSAFE_S) == [True, True]


def test_one_store_can_be_told_by_another_ones_thread(tmp_path):
    """Under the caller dispatcher a thread runs the actors of both."""
    with inmem.open(tmp_path / "one") as one, inmem.open(tmp_path / "two") as two:

        def copy(txn):
            value = (two.get("run", "k") or 0) + 1
            two.put("run", "k", value)
            txn.put("k", value)

        for _ in range(10):
            one.transaction("run", copy)
        assert one.get("run", "k") == two.get("run", "k") == 10


def test_a_timed_out_ask_is_carried_out_all_the_same(tmp_path):
    with inmem.open(tmp_path / "db", dispatcher="threads") as db:
        ref = db._client.directory.supervisor
        with pytest.raises(pykka.Timeout):
            ref.ask(messages.PutKey("run", "k", 1), timeout=0)
        assert ref.ask(messages.GetKey("run", "k")) == 1


def test_what_may_be_passed_by_position_may_be_so_wherever_the_operation_is_offered():
    thought = inmem.Thought("why")

    async def awaited():
        async with inmem.aio.open(":memory:") as db:
            await db.runs.create_run("run", tags=["t"])
            (found,) = await db.runs.query_runs("Active", ["t"], 0, 2**62, None, False, 1)
            assert await db.runs.list_runs(False, 1) == ["run"]
            trace = await db.traces.record_with_options("run", thought, "id", None, ["t"], {"m": 1})
            return found, trace

    with inmem.open(":memory:") as db:
        db.runs.create_run("parent")
        made = db.runs.create_run("run", parent="parent", tags=["t"])
        query = ("Active", ["t"], made.created_at, made.created_at + 1, "parent", False, 1)
        with db.begin("run") as txn:
            for runs in (db.runs, txn.runs):
                assert runs.query_runs(*query) == [made]
                assert runs.list_runs(True, 1) == ["parent"]
            in_txn = txn.traces.record_with_options(thought, "1", None, ["t"], {"m": 1})
        assert db.runs.futures.query_runs(*query).get(timeout=FAILSAFE_S) == [made]
        assert db.runs.futures.list_runs(True, 1).get(timeout=FAILSAFE_S) == ["parent"]
        plain = db.traces.record_with_options("run", thought, "2", "1", ["t"], {"m": 1})
        sent = db.traces.futures.record_with_options("run", thought, "3", "1", ["t"], {"m": 1}).get(timeout=FAILSAFE_S)
    found, in_loop = asyncio.run(awaited())
    assert found.run_id == "run"
    assert [trace.parent_id for trace in (in_txn, plain, sent, in_loop)] == [None, "1", "1", None]
    assert [trace.id for trace in (in_txn, plain, sent, in_loop)] == ["1", "2", "3", "id"]
    assert {(trace.tags, trace.metadata["m"]) for trace in (in_txn, plain, sent, in_loop)} == {(("t",), 1)}
