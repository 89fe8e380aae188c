"""The main workload: clients that use all features, and checks that must hold afterwards in any case.

The seed of a run determines the clients' programs; its choices determine the order of events and the faults.
"""

import contextlib
import random
from collections.abc import Iterator

import inmem
from inmem.simulation import BrokenPromise, Faults, Simulation
from tests.simulation.histories import Append, Ending, History, Observed, Read
from tests.simulation.linearizability import CellModel, Operation, check_linearizable

RUNS = ("red", "green", "blue")
"""With two or three shards, these runs are not all on the same shard."""

ALWAYS_FINE = (inmem.ConflictError,)
FINE_WITH_FAULTS = (inmem.TransactionAbortedError, inmem.DiskFullError, inmem.StoreFailedError)


class Workload:
    """The clients of one simulation run, and their observations."""

    def __init__(self, sim: Simulation, *, durability: str | None = None, shards: int | None = None) -> None:
        self.sim = sim
        self.random = random.Random(sim.seed)
        self.shards = shards or 1 + self.random.randrange(3)
        self.durability = durability or self.random.choice(("always", "always", "always", "interval", "never"))
        self.history = History(lambda: len(sim.steps))
        self.cell: list[Operation] = []
        self.faulty = sim.faults != Faults()
        self.restarts = sim.faults.actor_crash or sim.faults.failed_sync
        self.tolerated = ALWAYS_FINE + (FINE_WITH_FAULTS if self.faulty else ())
        self.db = sim.open("db", durability=self.durability, shards=self.shards)

    def run(self) -> None:
        self.db.runs.create_run("doomed")
        for index in range(2):
            program = [self.random.random() for _ in range(24)]
            self.sim.spawn(self.lists, f"lists-{index}", program, restart=True, name=f"lists-{index}")
        self.sim.spawn(self.cells, [self.random.random() for _ in range(6)], restart=True, name="cells-0")
        self.sim.spawn(self.cells, [self.random.random() for _ in range(6)], restart=True, name="cells-1")
        others = [self.pairs, self.deleter, self.tombstones, self.tracer, self.checkpoints, self.mayflies]
        for other in self.random.sample(others, 2):
            self.sim.spawn(other, restart=True)
        self.sim.run()
        self.check()

    def check(self) -> None:
        with contextlib.suppress(inmem.StoreFailedError):
            self.db.put("probe", "k", 0)
        if self.faulty:
            self.db.recover()
        for run in RUNS:
            assert self.db.events.verify_chain(run).is_valid
        doomed = dict(self.db.kv.list_with_values("doomed"))
        assert doomed.get("left") == doomed.get("right"), "half of a transaction is there"
        if not self.sim.lost:
            self.history.check(self.lists_now())
            check_linearizable(self.cell, CellModel.INITIAL)

    # List-append: KV lists that are read and rewritten, and event logs that are appended to without reading.

    def lists_now(self) -> dict[str, list[int]]:
        lists = {f"kv {run}": self.db.get(run, "list") or [] for run in RUNS}
        return lists | {f"events {run}": [e.payload for e in self.db.events.read_range(run, 0, 99)] for run in RUNS}

    def lists(self, name: str, program: list[float]) -> None:
        numbers = iter(program)
        for number in numbers:
            observed = self.history.begin(name)
            with self.judged(observed):
                if number < 0.2:
                    self.single(observed, RUNS[int(number * 15)])
                elif number < 0.3:
                    self.look(observed)
                else:
                    self.transaction(observed, number, [next(numbers, 0.5), next(numbers, 0.5)])

    def single(self, observed: Observed, run: str) -> None:
        element = self.history.element()
        observed.operations.append(Append(f"events {run}", element))
        self.db.events.append(run, "appended", element)

    def look(self, observed: Observed) -> None:
        run = RUNS[0]
        observed.operations.append(Read(f"kv {run}", tuple(self.db.get(run, "list") or ())))

    def transaction(self, observed: Observed, number: float, rest: list[float]) -> None:
        # A range of events is a predicate: only serializable isolation covers events added to it later.
        isolation = "serializable" if number > 0.8 or max(rest) >= 0.85 else "snapshot"
        txn = self.db.begin(RUNS[0], isolation=isolation, timeout=0.001 if number < 0.4 else None)
        try:
            for choice in rest:
                run = RUNS[int(choice * 300) % 3]
                if choice < 0.3:
                    elements = txn.on(run).kv.get("list") or []
                    observed.operations.append(Read(f"kv {run}", tuple(elements)))
                elif choice < 0.7:
                    elements = txn.on(run).kv.get("list") or []
                    element = self.history.element()
                    observed.operations += [Read(f"kv {run}", tuple(elements)), Append(f"kv {run}", element)]
                    txn.on(run).kv.put("list", [*elements, element])
                elif choice < 0.85:
                    element = self.history.element()
                    observed.operations.append(Append(f"events {run}", element))
                    txn.on(run).events.append("appended", element)
                else:
                    events = txn.on(run).events.read_range(0, 99)
                    observed.operations.append(Read(f"events {run}", tuple(e.payload for e in events)))
                self.sim.pause()
        except BaseException:
            txn.abort()
            raise
        txn.commit()

    @contextlib.contextmanager
    def judged(self, observed: Observed) -> Iterator[None]:
        try:
            yield
        except inmem.CommitOutcomeUnknownError:
            self.recover()
        except (*self.tolerated, inmem.TransactionTimeoutError) as error:
            self.history.end(observed, Ending.ABORTED)
            if isinstance(error, inmem.StoreFailedError):
                self.recover()
        else:
            self.history.end(observed, Ending.COMMITTED)

    def recover(self) -> None:
        with contextlib.suppress(inmem.StoreFailedError):
            self.db.recover()

    # One cell used by several clients: the answers must be linearizable.

    def cells(self, program: list[float]) -> None:
        known = 0
        for number in program:
            called_at = len(self.sim.steps)
            value = int(number * 1e6)
            if number < 0.3:
                name, apply = "read", CellModel.read
            elif number < 0.6:
                name, apply = f"set {value}", CellModel.set(value)
            elif number < 0.9:
                name, apply = f"cas {known} {value}", CellModel.cas(known, value)
            else:
                name, apply = "delete", CellModel.delete
            index = len(self.cell)
            self.cell.append(Operation(name, apply, None, called_at, None))
            try:
                result = self.use_cell(name.split()[0], known, value)
            except (inmem.CasConflictError, inmem.CellNotFoundError):
                result = "refused"
            except inmem.CommitOutcomeUnknownError:
                continue
            except self.tolerated as error:
                self.cell[index] = Operation("nothing", lambda state: (state, None), None, called_at, None)
                if isinstance(error, inmem.StoreFailedError):
                    self.recover()
                continue
            if isinstance(result, tuple):
                known = result[0]
            elif type(result) is int:
                known = result
            self.cell[index] = Operation(name, apply, result, called_at, len(self.sim.steps) + 1)

    def use_cell(self, operation: str, known: int, value: int) -> object:
        cells = self.db.cells
        match operation:
            case "read":
                state = cells.read("red", "cell")
                return None if state is None else (state.version, state.value)
            case "set":
                return cells.set("red", "cell", value)
            case "cas":
                return cells.cas("red", "cell", known, value)
            case _:
                return cells.delete("red", "cell")

    # Other clients. Their effects are checked by the store's own structures, and at the end.

    def pairs(self) -> None:
        for index in range(4):
            with self.tolerant():
                self.db.transaction("doomed", lambda txn, index=index: self.write_pair(txn, index))

    def write_pair(self, txn: inmem.Transaction, index: int) -> None:
        txn.put("left", index)
        txn.traces.record(inmem.Thought("both or neither"))
        self.sim.pause()
        txn.put("right", index)

    def deleter(self) -> None:
        for _ in range(2):
            with self.tolerant(inmem.RunNotFoundError):
                self.db.runs.delete_run("doomed")
            with self.tolerant(inmem.RunExistsError):
                self.db.runs.create_run("doomed", tags=("again",))

    def tombstones(self) -> None:
        for index in range(3):
            with self.tolerant():
                self.db.put("green", "mayfly", index)
            with self.tolerant():
                self.db.delete("green", "mayfly")
            with self.tolerant():
                self.db.cas("green", "mayfly", 0, "was never there")
                assert not index, "cas(0) succeeded on a tombstone"

    def tracer(self) -> None:
        for index in range(3):
            with self.tolerant(*((inmem.TraceNotFoundError,) if self.durability != "always" else ())):
                root = self.db.traces.record_with_options("blue", inmem.Thought(str(index)), tags=("a",))
                self.db.traces.record_child("blue", root.id, inmem.Query("q", "?", index))
            with self.tolerant():
                self.db.kv.put("blue", "short-lived", index, ttl=0.01)
        assert all(trace.tags == ("a",) for trace in self.db.traces.query_by_tag("blue", "a"))

    def mayflies(self) -> None:
        for index in range(2):
            key = f"mayfly {index} {self.sim.crashes}"
            with self.tolerant():
                self.db.kv.put("blue", key, index, ttl=0.5)
            try:
                self.see_mayfly(key)
            except inmem.ConflictError as error:
                # A rebuilt core no longer knows which runs were deleted, so it refuses transactions begun before.
                if not self.restarts:
                    raise BrokenPromise(f"somebody touched what a running transaction could see: {error}") from error
            except (*FINE_WITH_FAULTS, inmem.CommitOutcomeUnknownError):
                if not self.faulty:
                    raise
                self.recover()
            if self.db.get("blue", key) is None:
                self.sim.sleep(0.2)
                assert self.db.get("blue", key) is None, "an expired key came back to life"

    def see_mayfly(self, key: str) -> None:
        with self.db.begin("blue") as txn:
            seen = txn.kv.get(key)
            self.sim.sleep(1.0)
            assert txn.kv.get(key) == seen, "a key expired under a running transaction"
            if seen is not None:
                txn.on("mayflies").kv.put(key, seen)

    def checkpoints(self) -> None:
        refusals = (inmem.StorageError,) if self.faulty else ()
        for _ in range(2):
            with self.tolerant(*refusals):
                self.db.checkpoint()
            with self.tolerant(*refusals):
                self.db.flush()

    @contextlib.contextmanager
    def tolerant(self, *errors: type[Exception]) -> Iterator[None]:
        try:
            yield
        except inmem.StoreFailedError:
            if not self.faulty:
                raise
            self.recover()
        except inmem.CommitOutcomeUnknownError:
            if not self.faulty:
                raise
            self.recover()
        except (*self.tolerated, *errors):
            return


def workload(sim: Simulation) -> None:
    Workload(sim).run()


def durable_workload(sim: Simulation) -> None:
    Workload(sim, durability="always").run()
