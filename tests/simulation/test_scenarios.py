"""What the main workload leaves out, one scenario each."""

import contextlib
from collections import Counter

import pykka
import pytest

import inmem
from inmem.engine.log import group_commit
from inmem.simulation import Faults, Simulation, explore
from inmem.simulation.trace import Answer
from tests.simulation.workload import Workload

CRASHES = Faults.crashes()


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_every_durability_on_any_number_of_shards(durability, shards):
    explore(lambda sim: Workload(sim, durability=durability, shards=shards).run(), seeds=12, faults=CRASHES)
    explore(lambda sim: Workload(sim, durability=durability, shards=shards).run(), seeds=6, faults=Faults.everything())


def test_checkpoints_and_tiny_segments_lose_nothing(monkeypatch):
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 600)
    # After a crash the next opening begins with one.
    monkeypatch.setattr(group_commit, "SEGMENTS_MAX", 1)
    seen = set()

    def scenario(sim):
        Workload(sim).run()
        seen.update(step.text for step in sim.steps if step.sender == "disk")

    explore(scenario, seeds=40, faults=CRASHES)
    explore(scenario, seeds=40, faults=Faults.everything())
    assert {"create 000000000003.wal", "remove 000000000001.wal"} <= seen


def test_primitive_actors_carry_crowds_out_in_groups():
    groups = []

    def scenario(sim):
        db = sim.open()

        def crowd(name):
            futures = [db.events.futures.append("run", "said", [name, index]) for index in range(6)]
            assert [future.get().payload for future in futures] == [[name, index] for index in range(6)]

        for name in ("a", "b"):
            sim.spawn(crowd, name)
        sim.run()
        said = [event.payload for event in db.events.read_range("run", 0, 99)]
        assert [index for name, index in said if name == "a"] == list(range(6))
        assert len(said) == 12
        groups.append(db.version)

    explore(scenario, seeds=40)
    assert min(groups) < 12, "some requests shared a commit"


def test_a_request_is_answered_once_whatever_fails_meanwhile():
    def scenario(sim):
        db = sim.open()
        answered = []

        def asker(name):
            for index in range(4):
                with contextlib.suppress(inmem.TransactionAbortedError, inmem.StoreFailedError):
                    db.kv.put("run", f"{name}{index}", index)
                answered.append((name, index))

        sim.spawn(asker, "a")
        sim.spawn(asker, "b")
        sim.run()
        assert len(answered) == 8

    explore(scenario, seeds=150, faults=Faults(actor_crash=True))


def test_delete_run_against_writers_leaves_nothing_behind_and_brings_nothing_back():
    def scenario(sim):
        db = sim.open(shards=1 + sim.seed % 3)
        db.runs.create_run("doomed")
        before = db.begin("doomed")
        before.get("k")

        def writes_all_five(txn):
            txn.kv.put("k", 1)
            txn.events.append("e")
            txn.cells.set("c", 1)
            txn.traces.record(inmem.Thought("t"))
            txn.runs.add_tags("doomed", ["tag"])

        def writer():
            with contextlib.suppress(inmem.RunNotFoundError):
                for _ in range(2):
                    db.transaction("doomed", writes_all_five)

        sim.spawn(writer)
        sim.spawn(writer)
        sim.spawn(db.runs.delete_run, "doomed", name="deleter")
        sim.run()
        # Whoever wrote had to find the run registered, so nothing can have come after its deletion.
        assert db.runs.get_run("doomed") is None
        assert db.kv.list("doomed") == []
        assert (db.events.len("doomed"), db.cells.list("doomed"), db.traces.count("doomed")) == (0, [], 0)
        before.put("k", 2)
        with pytest.raises(inmem.ConflictError):
            before.commit()

    explore(scenario, seeds=80)


def expiring_keys(sim, db, written):
    for index in range(3):
        db.put("run", f"k{index}", index, ttl=1800.0)
        written.add(index)
        sim.sleep(600.0)


def test_an_expired_key_never_comes_back_however_the_clock_jumps():
    def scenario(sim):
        db = sim.open()
        written, gone = set(), set()

        def reader():
            for _ in range(6):
                for index in range(3):
                    was_written = index in written
                    value = db.get("run", f"k{index}")
                    if value is None and was_written:
                        gone.add(index)
                    assert value is None or index not in gone, "an expired key came back to life"
                sim.sleep(700.0)

        sim.spawn(expiring_keys, sim, db, written)
        sim.spawn(reader)
        sim.run()

    explore(scenario, seeds=100, faults=Faults(clock_jumps=0.2))


def test_an_expired_key_never_comes_back_once_that_is_told_however_the_clock_jumps_and_the_process_dies():
    """Time that was only read is forgotten by a crash (docs/reliability.md); what is committed afterwards keeps it."""
    looked_after_crashes = []

    def scenario(sim):
        db = sim.open()
        written, told = set(), {}

        def reader():
            for _ in range(6):
                for index in range(3):
                    was_written = index in written
                    value = db.get("run", f"k{index}")
                    assert value is None or index not in told, "an expired key came back to life"
                    if index in told and sim.crashes > told[index]:
                        looked_after_crashes.append(index)
                    if value is None and was_written and index not in told:
                        db.events.append("run", "gone", index)
                        told[index] = sim.crashes
                sim.sleep(700.0)

        sim.spawn(expiring_keys, sim, db, written)
        sim.spawn(reader, restart=True)
        sim.run()

    explore(scenario, seeds=200, faults=Faults(clock_jumps=0.2, crash=True, torn_writes=True))
    assert looked_after_crashes


def test_event_times_never_decrease_however_the_clock_jumps_and_the_process_dies():
    def scenario(sim):
        db = sim.open()

        def appender():
            for _ in range(5):
                db.events.append("run", "tick")

        sim.spawn(appender, restart=True)
        sim.spawn(appender)
        sim.run()
        times = [event.timestamp for event in db.events.iter("run")]
        assert times == sorted(times)

    explore(scenario, seeds=80, faults=Faults(clock_jumps=0.2, crash=True, torn_writes=True))


@pytest.mark.parametrize("faults", [Faults(), CRASHES], ids=["no faults", "crashes"])
def test_closing_while_busy_answers_everybody_and_loses_nothing(faults):
    def scenario(sim: Simulation) -> None:
        acked = {}
        options = {"durability": ("always", "interval", "never")[sim.seed % 3], "shards": 1 + sim.seed % 2}

        def busy(name):
            try:
                for index in range(5):
                    sim.open_handle.put("run", name, index)
                    acked[name] = index
            except inmem.DatabaseClosedError:
                return

        sim.open_handle = sim.open(**options)
        sim.spawn(busy, "a")
        sim.spawn(busy, "b")
        sim.spawn(sim.open_handle.close, name="closer")
        sim.run()
        with contextlib.suppress(inmem.DatabaseClosedError):
            sim.open_handle.get("run", "a")
            assert sim.crashes, "a closed store was read"
        db = sim.open(**options)
        if not sim.crashes:
            assert all(db.get("run", name) >= index for name, index in acked.items())
        elif sim.seed % 3 == 0:
            assert all((db.get("run", name) or 0) >= index for name, index in acked.items())

    explore(scenario, seeds=90, faults=faults)


class Echo(pykka.ThreadingActor):
    def on_receive(self, message):
        return message


@pytest.mark.parametrize(
    "ask",
    [
        lambda db: db.kv.futures.put("run", "k", 1).get(timeout=100),
        lambda db: db.transaction("run", lambda txn: txn.put("k", 1), timeout=100),
        lambda _: Echo.start().ask("heard", timeout=100),
    ],
    ids=["a future", "a transaction", "an actor of the user's"],
)
def test_a_timeout_may_expire_and_may_not(ask):
    ended = Counter()
    for seed in range(40):

        def scenario(sim):
            db = sim.open("db")
            try:
                ask(db)
            except (pykka.Timeout, inmem.TransactionTimeoutError):
                ended["too late"] += 1
            else:
                ended["in time"] += 1
            sim.run()

        Simulation(seed).check(scenario)
    assert min(ended["too late"], ended["in time"]) >= 3


def test_a_timeout_expires_although_others_go_on_for_ever():
    def scenario(sim):
        db = sim.open("db")
        done = []

        def busy():
            while not done:
                db.put("run", "k", 1)

        sim.spawn(busy)
        with pytest.raises(pykka.Timeout):
            Echo.start().actor_class._create_future().get(timeout=0.1)
        done.append(True)
        sim.run()

    for seed in range(10):
        Simulation(seed).check(scenario)


def test_a_timeout_means_that_nothing_was_committed():
    outcomes = set()

    def scenario(sim):
        db = sim.open()

        def hurried(name):
            try:
                db.transaction("run", lambda txn: txn.put(name, 1), timeout=0.5)
            except inmem.TransactionTimeoutError:
                outcomes.add("late")
                assert db.get("run", name) is None
            else:
                outcomes.add("in time")
                assert db.get("run", name) == 1

        def explicit(name):
            try:
                txn = db.begin("run", timeout=0.5)
            except inmem.TransactionTimeoutError:
                outcomes.add("too late to begin")
                return
            txn.put(name, 1)
            sim.sleep(0.4 if sim.seed % 2 else 0.6)
            try:
                txn.commit()
            except inmem.TransactionTimeoutError:
                assert db.get("run", name) is None
            else:
                assert sim.seed % 2, "it was late already when it asked for the commit"
                assert db.get("run", name) == 1

        sim.spawn(hurried, "hurried")
        sim.spawn(hurried, "too")
        sim.spawn(explicit, "explicit")
        sim.run()
        assert db.stats().active_transactions == 0, "a begin that nobody waited for is over as well"

    explore(scenario, seeds=120, faults=Faults(slow_sync=0.3))
    assert outcomes == {"late", "in time", "too late to begin"}


def test_a_commit_on_several_shards_is_never_half_visible_even_after_a_crash():
    runs = ("red", "green", "doomed")

    def scenario(sim):
        db = sim.open(shards=3)

        def writer(name):
            for index in range(3):

                def write(txn, index=index):
                    for run in runs:
                        txn.on(run).kv.put("k", [name, index])

                with contextlib.suppress(inmem.RetriesExhaustedError):
                    db.transaction("red", write)

        def reader():
            for _ in range(5):
                with db.begin("red") as txn:
                    seen = []
                    for run in runs:
                        seen.append(txn.on(run).kv.get("k"))
                        sim.pause()
                    assert seen[0] == seen[1] == seen[2]

        sim.spawn(writer, "a", restart=True)
        sim.spawn(writer, "b", restart=True)
        sim.spawn(reader, restart=True)
        sim.run()
        assert len({str(db.get(run, "k")) for run in runs}) == 1

    explore(scenario, seeds=40)
    explore(scenario, seeds=60, faults=CRASHES)


def test_every_fault_that_can_be_asked_for_does_happen():
    seen = set()

    def scenario(sim):
        Workload(sim, durability="always").run()
        seen.update(step.text.split(" ")[0] for step in sim.steps if step.sender == "world")
        seen.update(
            type(step.what.value).__name__
            for step in sim.steps
            if isinstance(step.what, Answer) and isinstance(step.what.value, Exception)
        )
        seen.add("slow" if sim.now > 5 else "")

    faults = Faults(
        crash=True, actor_crash=True, torn_writes=True, failed_sync=0.05, full_disk=0.05, slow_sync=0.1, clock_jumps=0.1
    )
    explore(scenario, seeds=60, faults=faults)
    assert {"the", "fails", "DiskFullError", "slow"} <= seen


@pytest.mark.parametrize("faults", [Faults(), Faults.crashes(), Faults(failed_sync=0.1, actor_crash=True)], ids=repr)
def test_verifying_reads_the_simulated_files_and_never_real_ones(tmp_path, monkeypatch, faults):
    monkeypatch.chdir(tmp_path)
    with inmem.open("real") as real:
        for number in range(7):
            real.put("run", str(number), number)

    def scenario(sim):
        for name in ("real", "nowhere"):
            db = sim.open(name)
            db.put("run", "k", 0)
            assert db.verify().files.commits == 1

            def writer(db=db):
                with contextlib.suppress(inmem.InmemError):
                    for number in range(3):
                        db.put("run", "k", number)
                        db.checkpoint()

            def verifier(db=db):
                with contextlib.suppress(inmem.TransactionError):
                    found = db.verify()
                    assert found.is_valid, found.problems
                    assert found.files.version >= found.version

            sim.spawn(writer)
            sim.spawn(verifier, restart=True)
        sim.run()

    explore(scenario, seeds=60, faults=faults)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real"]


def test_a_database_in_memory_has_no_files_by_whatever_name():
    def scenario(sim):
        for db in (sim.open(memory=True), sim.open(":memory:")):
            sim.spawn(lambda db=db: [db.put("run", "k", number) for number in range(10)], restart=True)
            sim.run()
            assert db.verify().files is None

    explore(scenario, seeds=40, faults=Faults(crash=True))
