"""A scenario that tries a store which is not simulated is refused, and so is a second run of one simulation."""

import contextlib
import queue
import threading

import pykka
import pytest

import inmem
import inmem.aio
from inmem import UsageError
from inmem.actors.client.client import Client
from inmem.actors.dispatch.mailbox import MailboxRef
from inmem.simulation import Simulation, explore, search
from tests.simulation.test_exploration import sound
from tests.simulation.test_scenario import put, with_a_loop

NOT_SIMULATED = r"^in a simulation, use what sim\.open\(name\) returns"


@pytest.fixture
def db():
    """As docs/simulation.md shows it for what one agent does alone."""
    with inmem.open(":memory:") as db:
        yield db


def quietly(db):
    with contextlib.suppress(inmem.InmemError):
        db.get("run", "k")


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.get("run", "k"),
        lambda db: db.put("run", "k", 1),
        lambda db: db.kv.futures.put("run", "k", 1),
        lambda db: db.begin("run"),
        lambda db: db.transaction("run", lambda txn: txn.kv.put("k", 1)),
        lambda db: list(db.runs.query_runs()),
        lambda db: next(iter(db.watch(timeout=0)), None),
        quietly,
        with_a_loop(put),
    ],
    ids=["get", "put", "future", "begin", "transaction", "query", "watch", "swallowed", "loop"],
)
@pytest.mark.parametrize("is_client", [True, False], ids=["client", "scenario"])
def test_a_real_handle_is_refused(db, use, is_client):
    def scenario(sim):
        if is_client:
            sim.spawn(use, db)
            sim.run()
        else:
            use(db)

    with pytest.raises(UsageError, match=NOT_SIMULATED):
        explore(scenario, seeds=5)
    db.put("run", "k", 2)
    assert db.get("run", "k") == 2


@pytest.mark.parametrize(
    "use",
    [
        inmem.connect,
        lambda store: store.tell(inmem.messages.PutKey("run", "k", 1)),
        lambda store: store.ask(inmem.messages.PutKey("run", "k", 1), block=False),
    ],
    ids=["connect", "tell", "ask"],
)
def test_the_ref_of_a_real_store_is_refused(use):
    store = inmem.spawn(":memory:")

    def scenario(sim):
        sim.spawn(use, store)
        sim.run()

    with pytest.raises(UsageError, match=NOT_SIMULATED):
        explore(scenario, seeds=5)
    store.stop()


def test_the_race_of_the_page_does_not_pass_on_a_real_handle(db):
    def hasty(name):
        if db.cells.read("run", "task").value == "free":
            db.cells.set("run", "task", name)

    def scenario(sim):
        sim.spawn(hasty, "Ada")
        sim.spawn(hasty, "Ben")
        sim.run()

    db.cells.init("run", "task", "free")
    for look in (explore, search):
        with pytest.raises(UsageError, match=NOT_SIMULATED):
            look(scenario)


def test_a_users_actor_is_refused_with_a_real_store(db):
    class Agent(pykka.ThreadingActor):
        def on_receive(self, message):
            db.put("run", "k", message)

    def scenario(sim):
        Agent.start().tell(1)
        sim.run()

    with pytest.raises(UsageError, match=NOT_SIMULATED):
        explore(scenario, seeds=5)


def test_the_handle_of_another_simulation_is_refused():
    kept = []

    def scenario(sim):
        kept.append(sim.open(memory=True))
        sim.spawn(kept[0].put, "run", "k", 1)
        sim.run()

    with pytest.raises(UsageError, match=NOT_SIMULATED) as caught:
        explore(scenario, seeds=5)
    assert caught.value.__notes__ == ["found by seed 1"]


def test_threads_that_take_no_part_go_on_using_their_stores(db):
    wanted, done = queue.Queue(), queue.Queue()

    def beside():
        for number in iter(wanted.get, None):
            db.put("run", "k", number)
            done.put(db.get("run", "k"))

    def scenario(sim):
        simulated = sim.open(memory=True)
        sim.spawn(simulated.put, "run", "k", 1)
        sim.run()
        wanted.put(sim.seed)
        assert done.get() == sim.seed

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        assert explore(scenario, seeds=5) == 5
    finally:
        wanted.put(None)
        thread.join()


def test_nothing_of_the_watch_on_real_handles_stays_behind():
    before = dict(vars(MailboxRef))
    explore(sound, seeds=1)
    assert "_unusable" not in vars(Client)
    assert dict(vars(MailboxRef)) == before


def test_a_simulation_is_one_run():
    ran = []

    def scenario(sim):
        sim.spawn(ran.append, 1)
        sim.run()

    sim = Simulation(7)
    sim.check(scenario)
    with pytest.raises(UsageError, match=r"^a Simulation is one run: make another one for the next"):
        sim.check(scenario)
    assert ran == [1]
