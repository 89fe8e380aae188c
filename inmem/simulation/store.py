"""One database of a simulation: its disk, which survives crashes, and the actors that run it at the moment."""

# pyright: reportPrivateUsage=false
# After a crash a handle must lead to a new store. Only simulations need that, so it is not public.

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inmem.actors.client.client import clients_of
from inmem.actors.messages.control import Connect
from inmem.actors.system import start_supervisor
from inmem.database import Database
from inmem.engine.log.group_commit import Durability
from inmem.simulation.environment import PausingPublished
from inmem.simulation.ledger import CommitLedger
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.store_checks import check_store

if TYPE_CHECKING:
    from inmem.actors.options import Options
    from inmem.engine.ports import Clock, Entropy
    from inmem.simulation.disk import SimulatedDisk
    from inmem.simulation.dispatcher import StoreDispatcher
    from inmem.simulation.scheduler import Scheduler


class SimulatedStore:
    """A store under simulation.

    Args:
        options: how it is opened.
        disk: holds its files, unless it is opened in memory.
        scheduler: the scheduler of the run.

    Attributes:
        options: how it was opened if it is open, otherwise how it is opened next.
    """

    def __init__(self, options: Options, disk: SimulatedDisk, scheduler: Scheduler) -> None:
        self.options = options
        self.disk = disk
        self._scheduler = scheduler
        self._dispatcher: StoreDispatcher | None = None
        self._ledger_of_disk = CommitLedger()
        self._ledger = self._ledger_of_disk
        self.handle: Database | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened and has not been closed."""
        return self.handle is not None and self.handle._client.is_open  # noqa: SLF001

    @property
    def lost(self) -> bool:
        """Whether it has lost acknowledged commits. In memory, nothing is promised across a crash."""
        return self._ledger_of_disk.lost

    def other_than(self, options: Options) -> list[str]:
        """Return the names of the options in which `options` differs from those it was opened with."""
        compared = {"durability": "durability", "shards": "shards", "limits": "limits", "memory": "in_memory"}
        return [name for name, field in compared.items() if getattr(self.options, field) != getattr(options, field)]

    def start(self, dispatcher: StoreDispatcher, clock: Clock, entropy: Entropy) -> None:
        """Start the store's actors, behind the existing handle if that is still open.

        Raises:
            InmemError: the store could not be opened.
        """
        in_memory = self.options.in_memory
        self._dispatcher = dispatcher
        # In memory, every opening begins empty, and so does its ledger.
        self._ledger = ledger = CommitLedger() if in_memory else self._ledger_of_disk
        ledger.durable = in_memory or self.options.durability is Durability.ALWAYS
        ledger.published = None
        dispatcher.on_message = ledger.observe
        dispatcher.on_answer = ledger.answered
        of_the_dead = clients_of(self.handle.directory) if self.handle is not None and self.is_open else []
        ref = start_supervisor(self.options, dispatcher, clock, entropy, self._open_disk)
        directory = ref.ask(Connect())
        ledger.published = directory.published
        # Other handles that connect through this one also get this directory, and so pause when they look at the store.
        directory = replace(directory, published=PausingPublished(directory.published, self._scheduler))
        if self.handle is None or not self.is_open:
            self.handle = Database(directory, owner=True)
        for client in of_the_dead:
            client.connect(directory)

    def crash(self) -> None:
        """Forget the actors, which died with the process, and let the disk lose what it may."""
        self._dispatcher = None
        self.disk.crash()

    def check_at_rest(self) -> None:
        """Check everything that must hold when nothing is in progress.

        Raises:
            BrokenPromise: something does not hold.
        """
        if self._dispatcher is not None:
            self._dispatcher.check_answers()
        if self.is_open and self._ledger.published is not None:
            self._ledger.check_visible()
            check_store(self._ledger.published.snapshot)

    def _open_disk(self) -> SimulatedDisk:
        if self.options.in_memory:
            raise BrokenPromise("a database in memory looked for a disk")
        return self.disk
