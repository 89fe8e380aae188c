"""A scenario that would test nothing is refused, and so is what a simulation cannot run."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import inmem
import inmem.aio
from inmem import UsageError
from inmem.simulation import Faults, ScenarioError, Simulation, explore, replay, search
from inmem.simulation.hypothesis_choices import hypothesis_test
from tests.simulation.test_exploration import increment, racy, sound

FORGOTTEN = r"the scenario has ended without a sim\.run\(\) after it had spawned left, right"


def never_run(sim):
    db = sim.open(memory=True)
    sim.spawn(increment, sim, db, name="left")
    sim.spawn(increment, sim, db, name="right")


async def asynchronous(sim):
    racy(sim)


def generator(sim):
    racy(sim)
    yield


async def asynchronous_generator(sim):
    racy(sim)
    yield


def factory(agent):
    def scenario(sim):
        sim.open(memory=True)
        agent(sim)

    return scenario


def answers(sim):
    db = sim.open(memory=True)
    return db.events.len("run") == 1


@pytest.mark.parametrize(
    "look",
    [
        explore,
        search,
        lambda scenario: replay(scenario, choices=[]),
        lambda scenario: Simulation(0).check(scenario),
        lambda scenario: hypothesis_test(scenario)(),
    ],
    ids=["explore", "search", "replay", "check", "hypothesis"],
)
class TestScenariosThatWouldTestNothing:
    def test_clients_that_are_never_run(self, look):
        with pytest.raises(UsageError, match=FORGOTTEN):
            look(never_run)

    @pytest.mark.parametrize(
        ("scenario", "kind"),
        [(asynchronous, "coroutine"), (generator, "generator"), (asynchronous_generator, "async generator")],
    )
    def test_functions_that_do_not_run_when_they_are_called(self, look, scenario, kind):
        with pytest.raises(UsageError, match=f"the scenario has returned an? {kind}, of which nothing has run"):
            look(scenario)

    def test_functions_that_make_scenarios(self, look):
        with pytest.raises(UsageError, match=r"has returned a function, of which nothing has run: .* call it"):
            look(factory)

    def test_answers_that_nobody_would_look_at(self, look):
        with pytest.raises(UsageError, match="the scenario has returned False: a scenario returns None, and asserts"):
            look(answers)

    @pytest.mark.parametrize("scenario", [lambda: None, lambda sim, db: None])
    def test_functions_that_do_not_take_a_simulation(self, look, scenario):
        with pytest.raises(UsageError, match=r"^a scenario takes one argument, the Simulation: [\w.<>]+ takes \("):
            look(scenario)

    def test_functions_that_use_nothing_of_the_simulation(self, look):
        with pytest.raises(UsageError, match=r"ended without a sim\.open\(\), a sim\.spawn\(\) or an actor"):
            look(lambda sim: None)

    def test_clients_that_do_not_run_when_they_are_called(self, look):
        async def client():
            raise AssertionError

        def scenario(sim):
            sim.spawn(client, name="Ada")
            sim.run()

        with pytest.raises(UsageError, match="the client Ada has returned a coroutine, of which nothing has run"):
            look(scenario)


def test_a_client_that_is_spawned_after_the_last_run_is_named():
    def scenario(sim):
        racy_but_once(sim)
        sim.spawn(lambda: None, name="late")

    with pytest.raises(UsageError, match="spawned late") as caught:
        explore(scenario)
    assert caught.value.__notes__ == ["found by seed 0"]


def racy_but_once(sim):
    db = sim.open(memory=True)
    sim.spawn(increment, sim, db, name="alone")
    sim.run()


def test_a_client_may_spawn_another_one():
    def scenario(sim):
        done = []
        sim.spawn(lambda: sim.spawn(done.append, 1))
        sim.run()
        assert done == [1]

    assert explore(scenario, seeds=20) == 20


def test_a_client_may_return_the_future_of_what_it_has_asked_for():
    def scenario(sim):
        db = sim.open(memory=True)
        sim.spawn(lambda: db.kv.futures.put("run", "k", 1))
        sim.run()
        assert db.get("run", "k") == 1

    assert explore(scenario, seeds=20) == 20


@pytest.mark.parametrize("seeds", [0, -1, 2.0, True, "5"])
def test_exploring_without_seeds_is_refused(seeds):
    with pytest.raises(UsageError, match="seeds: must be an int of at least 1, not "):
        explore(sound, seeds=seeds)


def test_searching_without_runs_is_refused():
    with pytest.raises(UsageError, match="runs_max: must be an int of at least 1, not 0"):
        search(sound, runs_max=0)
    with pytest.raises(UsageError, match="deviations_max: must be an int of at least 0, not -1"):
        search(sound, deviations_max=-1)
    with pytest.raises(UsageError, match=r"first_seed: must be an int, not 0\.5"):
        explore(sound, first_seed=0.5)


@pytest.mark.parametrize("name", ["failed_sync", "slow_sync", "full_disk", "clock_jumps"])
@pytest.mark.parametrize("value", [5, -0.5, 1.01, float("nan"), True, "0.5", None])
def test_odds_that_are_none_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: must be odds, a number from 0 to 1, not "):
        Faults(**{name: value})


def test_other_faults_of_no_sense_are_refused():
    for value in (-1, 1.0, True):
        with pytest.raises(UsageError, match="crashes_max: must be an int of at least 0, not "):
            Faults(crash=True, crashes_max=value)
    with pytest.raises(UsageError, match="crash: must be a bool, not 1"):
        Faults(crash=1)
    assert Faults(failed_sync=1, crashes_max=0).failed_sync == 1


@pytest.mark.parametrize("faults", [3, 0, "crash", {"crash": True}, Faults])
def test_faults_that_are_none_are_refused(faults):
    for look in (
        lambda: explore(sound, faults=faults),
        lambda: search(sound, faults=faults),
        lambda: replay(sound, choices=[], faults=faults),
        lambda: hypothesis_test(sound, faults=faults),
        lambda: Simulation(0, faults),
    ):
        with pytest.raises(UsageError, match=r"^faults: must be a Faults, not "):
            look()


@pytest.mark.parametrize("seed", ["x", None, 1.0, True])
def test_seeds_that_are_none_are_refused(seed):
    with pytest.raises(UsageError, match=r"^seed: must be an int, not "):
        Simulation(seed)
    with pytest.raises(UsageError, match=r"^seed: must be an int, not "):
        replay(sound, seed=seed, choices=[])
    with pytest.raises(UsageError, match=r"^first_seed: must be an int, not "):
        explore(sound, first_seed=seed)


def in_a_client(call):
    def scenario(sim):
        sim.spawn(call, sim)
        sim.run()

    return scenario


@pytest.mark.parametrize("seconds", [-1, "x", None, True, float("nan"), float("inf"), 10**400])
def test_times_that_cannot_pass_are_refused(seconds):
    with pytest.raises(UsageError, match=r"^seconds: must be a number from 0 to 1e\+09, not ") as caught:
        explore(in_a_client(lambda sim: sim.sleep(seconds)))
    assert type(caught.value) is ScenarioError


def test_what_no_story_could_show_is_refused():
    with pytest.raises(UsageError, match=r"^text: must be a str, not 5"):
        explore(in_a_client(lambda sim: sim.note(5)))
    with pytest.raises(UsageError, match=r"^name: must be a str, not 5"):
        explore(lambda sim: sim.spawn(racy, name=5))
    with pytest.raises(UsageError, match=r"^restart: must be a bool, not 'x'"):
        explore(lambda sim: sim.spawn(racy, restart="x"))


def test_an_agent_that_pauses_may_be_called_by_the_scenario_itself():
    def scenario(sim):
        db = sim.open()

        def agent():
            sim.pause()
            db.put("run", "k", 1)

        agent()
        sim.spawn(agent)
        sim.run()
        sim.pause()
        assert db.get("run", "k") == 1

    assert explore(scenario, 5) == 5


def test_a_store_has_the_limits_that_it_was_opened_with():
    def scenario(sim):
        db = sim.open(limits=inmem.Limits(value_bytes_max=10))
        with pytest.raises(inmem.InvalidValueError):
            db.put("run", "k", "a value of more than ten bytes")

    explore(scenario, seeds=1)
    with pytest.raises(UsageError, match=r"^limits: must be an inmem\.Limits"):
        Simulation(0).open(limits=5)


@pytest.mark.parametrize("choices", [1, "01", [0.0], [-1], [True], {0, 1}])
def test_choices_that_are_none_are_refused(choices):
    with pytest.raises(UsageError, match=r"^choices: must be a list of ints of at least 0, not "):
        replay(sound, choices=choices)


@pytest.mark.parametrize("scenario", [None, "sound", 5])
def test_scenarios_that_are_no_functions_are_refused(scenario):
    for look in (explore, search, hypothesis_test, Simulation().check, lambda it: replay(it, choices=[])):
        with pytest.raises(UsageError, match=r"^scenario: must be a function, not "):
            look(scenario)
    with pytest.raises(UsageError, match=r"^function: must be a function, not "):
        explore(lambda sim: [sim.spawn(scenario), sim.run()])


def with_a_loop(work):
    """Return a client that does `work` with an async handle, as one might be tempted to."""

    def client(db):
        async def main():
            async with inmem.aio.connect(db) as handle:
                await work(handle)

        asyncio.run(main())

    return client


async def put(handle):
    await handle.kv.put("run", "k", 1)


async def watch(handle):
    async for _ in handle.watch():
        pass


def in_a_thread(call):
    def client(db):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(call, db).result()

    return client


@pytest.mark.parametrize(
    "client",
    [
        with_a_loop(put),
        with_a_loop(watch),
        in_a_thread(lambda db: db.put("run", "k", 1)),
        in_a_thread(lambda db: db.get("run", "k")),
        in_a_thread(lambda db: db.begin("run")),
        in_a_thread(lambda db: db.kv.futures.put("run", "k", 1).get()),
    ],
    ids=["loop put", "loop watch", "put", "get", "begin", "future"],
)
@pytest.mark.parametrize("is_client", [True, False], ids=["client", "scenario"])
def test_threads_and_event_loops_are_refused_at_once(client, is_client):
    def scenario(sim):
        db = sim.open(memory=True)
        if is_client:
            sim.spawn(client, db)
            sim.run()
        else:
            client(db)

    with pytest.raises(UsageError, match=r"the thread '[\w-]+' is no part of the simulation"):
        explore(scenario, seeds=5)


def unheard_thread(db):
    thread = threading.Thread(target=db.put, args=("run", "k", 1), name="unheard")
    thread.start()
    thread.join()


def unheard_pool(db):
    with ThreadPoolExecutor(1, "unheard") as pool:
        pool.submit(db.put, "run", "k", 1)


def swallowed(db):
    with contextlib.suppress(inmem.InmemError):
        in_a_thread(lambda handle: handle.put("run", "k", 1))(db)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("client", [unheard_thread, unheard_pool, swallowed])
@pytest.mark.parametrize("is_client", [True, False], ids=["client", "scenario"])
def test_threads_whose_errors_nobody_hears_of_are_refused(client, is_client):
    ended = []

    def scenario(sim):
        db = sim.open(memory=True)
        if is_client:
            sim.spawn(client, db)
            sim.spawn(db.put, "run", "k", 2)
            sim.run()
        else:
            client(db)
        ended.append(True)
        assert db.get("run", "k") == 2, "an error that only says that the thread was refused"

    with pytest.raises(UsageError, match=r"the thread '[\w-]+' is no part of the simulation"):
        explore(scenario, seeds=5)
    assert ended == ([] if is_client else [True])


def open_as_the_readme_does(path):
    inmem.open(path)


def open_and_recover(path):
    with contextlib.suppress(inmem.InmemError):
        inmem.open(path)


async def open_in_a_loop(path):
    async with inmem.aio.open(path):
        pass


@pytest.mark.parametrize(
    "opens",
    [open_as_the_readme_does, open_and_recover, inmem.spawn, lambda path: asyncio.run(open_in_a_loop(path))],
    ids=["open", "suppressed", "spawn", "aio"],
)
@pytest.mark.parametrize("path", [":memory:", "real.db"])
@pytest.mark.parametrize("is_client", [True, False], ids=["client", "scenario"])
def test_stores_that_would_not_be_simulated_are_refused(opens, path, is_client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def scenario(sim):
        if is_client:
            sim.spawn(opens, path)
            sim.run()
        else:
            opens(path)

    with pytest.raises(UsageError, match=r"^in a simulation, open with sim\.open\(name\)"):
        explore(scenario, seeds=5)
    assert list(tmp_path.iterdir()) == []
    with inmem.open(path) as db:
        db.put("run", "k", 1)


def test_a_simulation_may_run_in_any_thread():
    sim = Simulation(3)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(sim.check, sound).result()
