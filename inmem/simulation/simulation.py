"""One simulated run: a scenario, the stores it opens, the clients it spawns, and the faults that hit them."""

# pyright: reportPrivateUsage=false
# pykka has no public way to empty its registry.

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import pykka

from inmem.actors.options import Options
from inmem.engine.errors import InmemError
from inmem.engine.limits import DEFAULT_LIMITS
from inmem.simulation.choices import SeededChooser
from inmem.simulation.clients import SimulatedClient, current
from inmem.simulation.disk import SimulatedDisk
from inmem.simulation.dispatcher import StoreDispatcher
from inmem.simulation.environment import SimulatedClock, SimulatedEntropy
from inmem.simulation.faults import FaultInjector, SimulatedCrash, allowed_faults
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.real_stores import no_real_stores
from inmem.simulation.scenario import (
    ScenarioError,
    require_bool,
    require_count,
    require_function,
    require_int,
    require_nothing,
    require_ran,
    require_scenario,
    require_seconds,
    require_text,
)
from inmem.simulation.scheduler import STEPS_MAX, Scheduler
from inmem.simulation.store import SimulatedStore
from inmem.simulation.trace import MAIN, WORLD, OwnLine, is_taken
from inmem.simulation.user_actors import UserActors

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.database import Database
    from inmem.engine.limits import Limits
    from inmem.engine.log.group_commit import DurabilityName
    from inmem.simulation.choices import Chooser
    from inmem.simulation.faults import Faults
    from inmem.simulation.trace import Step


RECOVERIES_MAX = 20
"""How many times in a row the stores may fail to open because of injected faults."""

_running = threading.Lock()
"""One simulation runs at a time: it replaces state of the whole process, such as the runtime of pykka's actors."""


class Simulation:
    """Runs scenarios on the production actors, with every choice made by a seed.

    Args:
        seed: decides everything; the same seed gives the same run, message by message, on any machine.
        faults: what may go wrong besides the order of events.
        chooser: makes the choices instead of the seed.
        steps_max: a run that takes more steps counts as endless.

    Attributes:
        seed: as given, for scenarios that vary their parameters.
        faults: as given.

    Raises:
        UsageError: an argument is not acceptable.
    """

    def __init__(
        self,
        seed: int = 0,
        faults: Faults | None = None,
        *,
        chooser: Chooser | None = None,
        steps_max: int = STEPS_MAX,
    ) -> None:
        require_int("seed", seed)
        require_count("steps_max", steps_max, 1)
        self.seed = seed
        self.faults = allowed_faults(faults)
        self._chooser: Chooser = SeededChooser(seed) if chooser is None else chooser
        self._scheduler = Scheduler(self._chooser, steps_max)
        self._injector = FaultInjector(self.faults, self._chooser, self._scheduler)
        self._entropy = SimulatedEntropy(seed, self._scheduler)
        self._clock = SimulatedClock(self._scheduler, self._injector)
        self._stores: dict[str, SimulatedStore] = {}
        self._restarting: list[tuple[str, Callable[[], Any]]] = []
        self._names: dict[str, int] = {}
        self._not_run: list[SimulatedClient] = []
        self._has_run = False
        self._is_used = False
        self._actors = UserActors(self._scheduler, self._start_loop)

    # For scenarios.

    def open(
        self,
        name: str = "db",
        *,
        durability: DurabilityName = "always",
        shards: int = 1,
        limits: Limits = DEFAULT_LIMITS,
        memory: bool = False,
    ) -> Database:
        """Open a database by name and return a handle, which stays valid across simulated crashes.

        Args:
            name: the database's name. If it is already open, its handle is returned; if it was closed, it is opened
                again.
            durability: as for `inmem.open`.
            shards: as for `inmem.open`.
            limits: as for `inmem.open`.
            memory: without files, so nothing survives a crash or a close.

        Raises:
            UsageError: an option is not acceptable, or the database is open with other options.
        """
        options = Options.checked(":memory:" if memory else name, durability=durability, shards=shards, limits=limits)
        store = self._stores.get(name)
        if store is None:
            disk = SimulatedDisk(name, self._chooser, self._injector, self._take_time)
            store = self._stores[name] = SimulatedStore(options, disk, self._scheduler)
        if store.is_open:
            others = ", ".join(store.other_than(options))
            if others:
                told = f"{name} is open with other options ({others}): give the same, or close it first"
                self._scheduler.refuse(told)
        else:
            store.options = options
            # Opening a store outside of `run` only sets the scenario up, so its order is fixed and its steps are left
            # out. Every other opening is explored.
            calm = not self._injector.active
            steps = len(self._scheduler.steps)
            self._scheduler.calm = calm
            try:
                self._start(name)
            finally:
                self._scheduler.calm = False
            if calm:
                del self._scheduler.steps[steps:]
        if store.handle is None:
            raise BrokenPromise(f"{name} could not be opened")
        return store.handle

    def spawn(self, function: Callable[..., Any], *args: Any, restart: bool = False, name: str | None = None) -> None:
        """Run `function(*args)` as a client, concurrently with the others, from the next `run` on.

        Args:
            function: ordinary blocking code that uses handles of this simulation.
            args: the function's arguments.
            restart: whether it starts again, from the beginning, after a crash of the process.
            name: the client's name in the trace; by default the function's. A name that is taken, by another client or
                by an actor of the store such as `kv`, gets a number.

        Raises:
            UsageError: `function` cannot be called, or an argument is not acceptable.
        """
        require_function("function", function)
        require_bool("restart", restart)
        if name is not None:
            require_text("name", name)
        base: str = name or str(getattr(function, "__name__", "client"))

        def call() -> None:
            __tracebackhide__ = True
            require_ran(f"the client {named}", function(*args))

        # Before the next run, the scenario may have to wait for the store, and no client may interfere.
        client = self._new_client(base, call, daemon=False, ready=self._injector.active)
        named = client.name
        if restart:
            self._restarting.append((named, call))
        if not self._injector.active:
            self._not_run.append(client)

    def run(self) -> None:
        """Run messages, timers and clients until nothing more can happen, then check the stores.

        After a simulated crash of the process, the databases that were open are reopened and checked against what had
        been promised, and the clients spawned with ``restart=True`` start again.

        Raises:
            BrokenPromise: a store did something that it promises never to do, or a client waits forever.
            Endless: clients go on without end.
            UsageError: a client has called this, does not give its turn back, or cannot be ended.
            Exception: what a client raised, or an actor that was told something and has no `on_failure`.
        """
        __tracebackhide__ = True
        if self._scheduler.whose_turn() is not None:
            self._scheduler.refuse("sim.run() is for the scenario: a client that called it would wait for itself")
        self._injector.active = True
        for client in self._not_run:
            client.wake()
        self._not_run.clear()
        self._has_run = True
        try:
            self._scheduler.run()
            while self._scheduler.crashed:
                self._recover()
                self._scheduler.run()
        finally:
            self._injector.active = False
        self._scheduler.require_all_simulated()
        self._require_all_heard()
        stuck = self._scheduler.stuck()
        if stuck:
            waiting = ", ".join(f"{client.name} waits for {client.waits_for}" for client in stuck)
            raise BrokenPromise(f"everything has come to rest, yet {waiting}")
        for store in self._stores.values():
            store.check_at_rest()

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the calling client.

        Raises:
            UsageError: `seconds` is not a number from 0 to 1e9.
        """
        require_seconds("seconds", seconds)
        self._scheduler.sleep(seconds)

    def pause(self) -> None:
        """Let others run here: a place where your code could be interrupted, such as a call to a model.

        In the scenario itself this does nothing, because nothing else runs between its lines.
        """
        self._scheduler.breathe()

    def note(self, text: str) -> None:
        """Add a line to the trace in the name of the calling client, or of the scenario itself.

        Raises:
            UsageError: `text` is not a str.
        """
        require_text("text", text)
        self._scheduler.note_client(OwnLine(text))

    @property
    def crashes(self) -> int:
        """How often the simulated process has died."""
        return self._injector.crashes

    @property
    def lost(self) -> bool:
        """Whether a store has lost acknowledged commits, as durability modes other than `always` may."""
        return any(store.lost for store in self._stores.values())

    @property
    def steps(self) -> list[Step]:
        """What has happened so far."""
        return self._scheduler.steps

    @property
    def choices(self) -> list[int]:
        """The choices made so far: replaying them replays the run."""
        return list(self._chooser.made)

    @property
    def client_error(self) -> BaseException | None:
        """The last client error that ended a call of the scenario, such as `run`."""
        return self._scheduler.client_error

    @property
    def outsiders(self) -> frozenset[str]:
        """The names of all clients and users' actors."""
        return frozenset(self._scheduler.outsiders)

    @property
    def now(self) -> float:
        """Virtual time in seconds; for putting calls and returns in order, `len(sim.steps)` is finer."""
        return self._scheduler.now_us / 1e6

    # For code that runs scenarios.

    def check(self, scenario: Callable[[Simulation], Any]) -> None:
        """Run a scenario once. A simulation runs only one.

        Raises:
            UsageError: the scenario is not a plain function, has returned something, has opened and spawned nothing,
                has spawned clients without a `run` after that, has used a store outside the simulation, or waits for
                something that the simulation does not decide; this simulation has been used before; or another
                simulation runs in this process.
            Exception: whatever the scenario, its clients or the checkers found.
        """
        __tracebackhide__ = True
        require_scenario(scenario)
        if self._is_used:
            # Its stores, clock and choices belong to the finished run: nothing would happen any more.
            raise ScenarioError("a Simulation is one run: make another one for the next")
        if not _running.acquire(blocking=False):
            raise ScenarioError(
                "another simulation is running: a process runs one at a time, so a scenario explores no other one, and "
                "threads explore one after the other; processes do so side by side"
            )
        try:
            self._check(scenario)
        finally:
            _running.release()

    def _check(self, scenario: Callable[[Simulation], Any]) -> None:
        """Do the work of `check`, while `_running` is held."""
        __tracebackhide__ = True
        self._is_used = True
        self._scheduler.thread = threading.get_ident()
        # A garbage collection would come at unpredictable moments. It ends transactions that nothing refers to, and
        # runs the program's finalizers, which may use the store.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            with self._actors.simulated(), no_real_stores(self._scheduler):
                try:
                    returned: Any = scenario(self)
                    require_ran("the scenario", returned)
                    require_nothing(returned)
                    self._scheduler.require_all_simulated()
                    self._require_all_heard()
                    self._require_all_run()
                except Exception:
                    # A refusal comes first: errors after it may be its consequences.
                    self._scheduler.require_all_simulated()
                    raise
                finally:
                    self._scheduler.crashed = True
                    self._scheduler.clear()
                    current.client = None
        finally:
            if was_enabled:
                gc.enable()

    def _new_client(self, base: str, function: Callable[[], Any], *, daemon: bool, ready: bool) -> SimulatedClient:
        name = base
        while is_taken(name) or name in self._scheduler.outsiders:
            self._names[base] = count = self._names.get(base, 1) + 1
            name = f"{base}-{count}"
        client = SimulatedClient(name, function, daemon=daemon, ready=ready)
        self._scheduler.outsiders.add(name)
        self._scheduler.clients.append(client)
        return client

    def _start_loop(self, base: str, function: Callable[[], Any]) -> str:
        """Start the loop of an actor as a client for which the run does not wait, and return the client's name."""
        return self._new_client(base, function, daemon=True, ready=True).name

    def _require_all_heard(self) -> None:
        """Raise a client's error that came out of a call of the scenario, which may have swallowed it."""
        __tracebackhide__ = True
        if self._scheduler.unheard is not None:
            raise self._scheduler.unheard

    def _require_all_run(self) -> None:
        if self._not_run:
            names = ", ".join(client.name for client in self._not_run)
            raise ScenarioError(f"the scenario has ended without a sim.run() after it had spawned {names}")
        busy = self._actors.busy(has_run=self._has_run)
        if busy:
            names = ", ".join(busy)
            raise ScenarioError(f"the scenario has ended without a sim.run() while actors had something to do: {names}")
        if not (self._stores or self._scheduler.outsiders - {MAIN}):
            raise ScenarioError(
                "the scenario has ended without a sim.open(), a sim.spawn() or an actor: nothing was run"
            )

    def _start(self, name: str) -> None:
        prefix = "" if name == next(iter(self._stores)) else f"{name}/"
        dispatcher = StoreDispatcher(self._scheduler, prefix, self._injector.before_delivery)
        self._stores[name].start(dispatcher, self._clock, self._entropy)

    def _recover(self) -> None:
        """Recover from a crash: clear all that was in the process, let the disks lose what they may, open again."""
        failures = 0
        while self._scheduler.crashed or failures:
            self._scheduler.clear()
            pykka.ActorRegistry._actor_refs.clear()  # noqa: SLF001  (that of the simulation, see user_actors.py)
            for store in self._stores.values():
                store.crash()
            self._scheduler.crashed = False
            self._scheduler.note(WORLD, WORLD, "the process starts again")
            try:
                for name, store in self._stores.items():
                    if store.is_open:
                        self._start(name)
            except (SimulatedCrash, InmemError, pykka.ActorDeadError, pykka.Timeout):
                # Whatever kept the process from starting, start it again.
                failures += 1
                if failures > RECOVERIES_MAX:
                    raise
            else:
                failures = 0
        for name, function in self._restarting:
            self._scheduler.clients.append(SimulatedClient(name, function))

    def _take_time(self, duration_us: int) -> None:
        self._scheduler.now_us += duration_us
