"""One simulated run: a scenario, the stores it opens, the clients it spawns, and the faults that befall them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pykka

from inmem.actors.messages.control import Connect
from inmem.actors.options import Options
from inmem.actors.system import start_supervisor
from inmem.database import Database
from inmem.engine.errors import InmemError
from inmem.engine.group_commit import Durability
from inmem.simulation.checkers import BrokenPromise, CommitLedger, check_store
from inmem.simulation.choices import SeededChooser
from inmem.simulation.clients import SimulatedClient, current
from inmem.simulation.disk import SimulatedDisk
from inmem.simulation.environment import PausingPublished, SeededEntropy, SimulatedClock
from inmem.simulation.faults import CRASH_ODDS, Faults
from inmem.simulation.scheduler import Endless, Scheduler
from inmem.simulation.user_actors import simulated_actors

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.actor import StoreActor
    from inmem.actors.mailbox import Mailbox, MailboxRef, ReplyTo
    from inmem.simulation.choices import Chooser
    from inmem.simulation.trace import Step


RECOVERIES_MAX = 20
"""So many times in a row a store may fail to open because of injected faults."""


class SimulatedCrash(Exception):  # noqa: N818  (an end, not an error)
    """Ends whatever was running when the simulated process died."""


class ActorCrash(Exception):  # noqa: N818  (raised inside an actor, seen by nobody but the supervisor)
    """Makes an actor fail."""


class _Store:
    """A database of the simulation: its disk, which outlives crashes, and whoever runs it at the moment."""

    def __init__(self, name: str, options: Options, disk: SimulatedDisk | None) -> None:
        self.name = name
        self.options = options
        self.disk = disk
        self.ledger = CommitLedger(durable=options.durability is Durability.ALWAYS or disk is None)
        self.ref: MailboxRef | None = None
        self.handle: Database | None = None


class Simulation:
    """Runs scenarios on the production actors, with every choice made by a seed.

    Args:
        seed: decides everything; the same seed gives the same run, message by message, anywhere.
        faults: what may go wrong besides the order of events.
        chooser: instead of a seed, whatever else makes the choices.
    """

    def __init__(self, seed: int = 0, faults: Faults | None = None, *, chooser: Chooser | None = None) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self._chooser: Chooser = chooser or SeededChooser(seed)
        self._scheduler = Scheduler(self._chooser)
        self._scheduler.before_delivery = self._before_delivery
        self._entropy = SeededEntropy(seed)
        self._clock = SimulatedClock(self._scheduler, self.faults)
        self._stores: dict[str, _Store] = {}
        self._restarting: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = []
        self._names: dict[str, int] = {}
        self.crashes = 0
        self._running = False

    # For scenarios.

    def open(self, name: str = "db", *, durability: str = "always", shards: int = 1, memory: bool = False) -> Database:
        """Open a database by name and return a handle, which stays good over simulated crashes.

        Args:
            name: of the database; opening it again in the same run returns a handle on what is there.
            durability: as for `inmem.open`.
            shards: as for `inmem.open`.
            memory: without files, and so without anything that survives a crash.
        """
        store = self._stores.get(name)
        if store is None:
            path = ":memory:" if memory else name
            options = Options.checked(path, durability=durability, shards=shards)
            disk = None if memory else SimulatedDisk(name, self._chooser, self.faults, self._disk_step)
            store = self._stores[name] = _Store(name, options, disk)
            self._scheduler.observers.append(store.ledger.observe)
            # The first opening is not what a scenario is about. Every later one, after a crash, is explored.
            self._scheduler.calm = True
            self._start(store)
            self._scheduler.calm = False
            self._scheduler.steps.clear()
        if store.handle is None:
            raise BrokenPromise(f"{name} could not be opened")
        return store.handle

    def spawn(self, function: Callable[..., Any], *args: Any, restart: bool = False, name: str | None = None) -> None:
        """Have `function(*args)` run as a client, at the same time as the others, from the next `run` on.

        Args:
            function: ordinary blocking code that uses handles of this simulation.
            args: for it.
            restart: whether it is started again, from the beginning, after a crash of the process.
            name: for the trace; by default the function's.
        """
        base = name or getattr(function, "__name__", "client")
        self._names[base] = self._names.get(base, 0) + 1
        unique = base if self._names[base] == 1 else f"{base}-{self._names[base]}"
        self._add_client(unique, lambda: function(*args))
        if restart:
            self._restarting.append((unique, function, args))

    def run(self) -> None:
        """Let messages, timers and clients happen until nothing more can.

        After a simulated crash of the process all databases are opened again, checked against what had been promised,
        and the clients that were spawned with ``restart=True`` are started again.

        Raises:
            BrokenPromise: the store did what it promises not to do, or a client waits for ever.
            Exception: what a client raised.
        """
        self._running = True
        try:
            while True:
                self._scheduler.run()
                if not self._scheduler.crashed:
                    break
                self._recover()
        finally:
            self._running = False
        self._raise_client_errors()
        stuck = self._scheduler.stuck()
        if stuck:
            waiting = ", ".join(f"{client.name} waits for {client.waits_for}" for client in stuck)
            raise BrokenPromise(f"everything has come to rest, yet {waiting}")
        for store in self._stores.values():
            if store.handle is not None:
                check_store(store.handle._client.directory.published.snapshot)  # noqa: SLF001

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the calling client."""
        self._scheduler.sleep(seconds)

    def pause(self) -> None:
        """Let others run here: a place where your code could be interrupted, such as a call to a model."""
        self._scheduler.breathe()

    @property
    def steps(self) -> list[Step]:
        """What has happened so far."""
        return self._scheduler.steps

    @property
    def choices(self) -> list[int]:
        """The choices made so far: replaying them replays the run."""
        return list(getattr(self._chooser, "made", ()))

    # For whoever explores.

    def check(self, scenario: Callable[[Simulation], Any]) -> None:
        """Run a scenario once.

        Raises:
            Exception: whatever the scenario, its clients or the checkers found.
        """
        with simulated_actors(self), contextlib.ExitStack() as stack:
            stack.callback(self._end)
            try:
                scenario(self)
            except Endless as error:
                raise BrokenPromise(str(error)) from error

    def start_client(self, name: str, function: Callable[[], Any]) -> None:
        """Start a client that the run does not wait for: the loop of a user's own actor."""
        self._names[name] = self._names.get(name, 0) + 1
        unique = name if self._names[name] == 1 else f"{name}-{self._names[name]}"
        self._scheduler.clients.append(SimulatedClient(unique, function, daemon=True))

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of this run."""
        return self._scheduler

    def _add_client(self, name: str, function: Callable[[], Any]) -> None:
        self._scheduler.clients.append(SimulatedClient(name, function))

    def _start(self, store: _Store) -> None:
        """Start a store's actors; crashes during recovery count as crashes, and recovery begins anew."""
        disk = store.disk

        def open_disk() -> SimulatedDisk:
            if disk is None:
                raise BrokenPromise("a database in memory has no disk")
            return disk

        store.ref = start_supervisor(store.options, self._scheduler, self._clock, self._entropy, open_disk)
        directory = store.ref.ask(Connect())
        if store.handle is None:
            store.handle = Database(directory, owner=True)
        client = store.handle._client  # noqa: SLF001
        client.connect(directory, PausingPublished(directory.published, self._scheduler))

    def _recover(self) -> None:
        """After a crash: clear everything that was in the process, let the disks lose what they may, open again."""
        attempts = 0
        while True:
            self._scheduler.clear()
            for store in self._stores.values():
                if store.disk is not None:
                    store.disk.crash()
                if store.ref is not None:
                    pykka.ActorRegistry.unregister(store.ref)
            self._scheduler.crashed = False
            self._scheduler.note("world", "world", "the process starts again")
            try:
                for store in self._stores.values():
                    self._start(store)
            except (SimulatedCrash, InmemError, pykka.ActorDeadError, pykka.Timeout):
                # Whatever kept the process from starting, its supervisor starts it again.
                attempts += 1
                if self._scheduler.crashed or attempts < RECOVERIES_MAX:
                    continue
                raise
            if not self._scheduler.crashed:
                break
        for name, function, args in self._restarting:
            self._add_client(name, lambda function=function, args=args: function(*args))

    def _crash(self, where: str) -> None:
        self.crashes += 1
        self._scheduler.crashed = True
        self._scheduler.note("world", "world", f"the process dies {where}")

    def _may_crash(self) -> bool:
        return (
            self.faults.crash and self._running and not self._scheduler.calm and self.crashes < self.faults.crashes_max
        )

    def _before_delivery(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> bool:
        """Decide whether something bad happens instead of a delivery; return False if it did."""
        if self._may_crash() and self._chooser.chance(CRASH_ODDS):
            self._crash(f"before {mailbox.name} gets {type(message).__name__}")
            return False
        actor: StoreActor | None = mailbox.actor
        if (
            self.faults.actor_crash
            and not self._scheduler.calm
            and actor is not None
            and actor.supervisor is not None
            and self._chooser.chance(CRASH_ODDS / 4)
        ):
            self._scheduler.note("world", mailbox.name, f"fails at {type(message).__name__}")
            actor.fail(message, reply_to, ActorCrash(f"simulated failure of {mailbox.name}"))
            return False
        return True

    def _disk_step(self, operation: str, name: str) -> None:
        if self._scheduler.crashed:
            raise SimulatedCrash
        self._scheduler.note("disk", "disk", f"{operation} {name}".rstrip())
        if self._may_crash() and self._chooser.chance(CRASH_ODDS):
            self._crash(f"before {operation} {name}".rstrip())
            raise SimulatedCrash

    def _raise_client_errors(self) -> None:
        for client in self._scheduler.clients:
            if client.error is not None:
                raise client.error

    def _end(self) -> None:
        """Take everything down without a trace."""
        self._scheduler.crashed = True
        self._scheduler.clear()
        current.client = None
        for store in self._stores.values():
            if store.ref is not None:
                pykka.ActorRegistry.unregister(store.ref)
