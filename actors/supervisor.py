"""The supervisor: starts the actors, replaces those that fail, and shuts the store down.

Its ref is the one address that outsiders need. Requests sent to it are passed on to whoever handles them.

When an actor of the core fails (coordinator, shards, log writer, log disk, checkpointer), the whole core is rebuilt:

    1  the others are told to halt; each hands over what it owes
    2  when all have halted, the state is recovered from the log, into a new segment if need be
    3  new actors are put behind the old addresses and the recovered state is published
    4  commits that were in flight are answered from what the log proves
    5  everything else that was owed is asked again

A primitive actor is replaced alone; its requests, the waiting ones and those in flight, pass to its successor. When
failures come too fast, or the log cannot be recovered, the store goes on for readers only and refuses writes with
`StoreFailedError`.
"""

from __future__ import annotations

import gc
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka

from inmem.actors.actor import LATER, Owed, StoreActor
from inmem.actors.core import CoreMailboxes, CoreState, start_core
from inmem.actors.directory import Directory
from inmem.actors.environment import StoreClock
from inmem.actors.event_log import QuietLogger
from inmem.actors.log_opening import open_log, reopen_log
from inmem.actors.mailbox import AsMessage, Mailbox
from inmem.actors.messages.control import (
    ActorFailed,
    Close,
    Connect,
    Halt,
    Halted,
    LogCloseFailed,
    Open,
    PrimitiveDrained,
    Recover,
    Resume,
    Retire,
)
from inmem.actors.messages.core import Checkpoint, CloseLog, Flush, LogClosed
from inmem.actors.messages.transactions import (
    Begin,
    CancelCommit,
    Commit,
    CommitAborted,
    CommitDecided,
    Committed,
    Drain,
    Drained,
    End,
    ReadOutcome,
    ReadStats,
)
from inmem.actors.primitive_actor import PrimitiveActor, RetryDue
from inmem.actors.primitive_actors import PRIMITIVE_ACTORS
from inmem.actors.published import Published
from inmem.engine.errors import (
    CommitOutcomeUnknownError,
    InmemError,
    InvariantError,
    ReadOnlyError,
    StorageError,
    StoreFailedError,
    TransactionAbortedError,
    UsageError,
)
from inmem.engine.outcomes import Outcomes
from inmem.engine.recovery import Recovered, recover
from inmem.engine.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.coordinator import Coordinator
    from inmem.actors.dispatcher import Dispatcher
    from inmem.actors.mailbox import MailboxRef, ReplyTo
    from inmem.actors.options import Options
    from inmem.engine.ports import Clock, Disk, Entropy
    from inmem.engine.recovery import LogPosition

RESTARTS_MAX = 5
RESTART_WINDOW_S = 10.0
"""More than `RESTARTS_MAX` failures within `RESTART_WINDOW_S` seconds, and the store gives up: whatever is wrong
will not be mended by trying again."""

READ_ONLY_ATTEMPTS = 10
"""How often a reader beside the owner looks at the folder anew because files changed under it."""

FREEZE_KEYS_MIN = 50_000
"""A store recovered with more keys than this is taken out of the garbage collector's sight."""

log = QuietLogger("inmem.supervisor")


class Supervisor(StoreActor):
    """Parent of all actors of one store.

    Args:
        mailbox: its address.
        options: how the store was opened.
        clock: the machine's.
        entropy: the machine's.
        open_disk: opens, and locks, the database's folder.
    """

    def __init__(
        self, mailbox: Mailbox, options: Options, clock: Clock, entropy: Entropy, open_disk: Callable[[], Disk]
    ) -> None:
        super().__init__(mailbox, None)
        self._options = options
        self._system_clock = clock
        self._entropy = entropy
        self._open_disk = open_disk
        self._disk: Disk | None = None
        dispatcher = mailbox.dispatcher
        self._core_mailboxes = CoreMailboxes.create(dispatcher, options.shards)
        self._primitives = {name: Mailbox(name, dispatcher) for name in PRIMITIVE_ACTORS}
        self._clock = StoreClock(clock, 0)
        self._published = Published(Snapshot(0, ()))
        self._coordinator: Coordinator | None = None
        self._members: tuple[Mailbox, ...] = ()
        self._directory = self._make_directory(dispatcher)
        self._routes: dict[type, MailboxRef] = dict(self._directory.routes)
        self._core = 0
        self._salt = 0
        self._failures: deque[float] = deque(maxlen=RESTARTS_MAX + 1)
        self._halting: set[str] = set()
        self._core_debts: list[Owed] = []
        self._failed_because: BaseException | None = None
        self._recovering: list[Owed] = []
        self._closers: list[Owed] = []
        self._undrained: set[str] = set()

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        route = self._routes.get(type(message))
        if route is not None:
            route.send(message, self._reply_to)
            return LATER
        match message:
            case Connect():
                return self._directory
            case ActorFailed():
                self._replace(message)
            case Halted(name, core, owed):
                self._note_halted(name, core, owed)
            case Open():
                self._open()
                return self._directory
            case Close():
                self._closers.append(self.owe(message))
                self._start_closing()
                return LATER
            case PrimitiveDrained(name):
                self._undrained.discard(name)
                if not self._undrained:
                    self._ask(self._directory.coordinator, Drain())
            case Drained():
                self._ask(self._directory.writer, CloseLog())
            case LogClosed():
                self._finish_closing(None)
            case LogCloseFailed(error):
                self._finish_closing(error)
            case Recover():
                self._recovering.append(self.owe(message))
                self._fail_core(None, None)
                return LATER
            case _:
                raise UsageError(f"the store does not handle {type(message).__name__}")
        return None

    def on_pykka_message(self, message: Any) -> Any:
        """A stop from outside, by `ref.stop()` or `ActorRegistry.stop_all()`, is a clean close."""
        if type(message).__name__ == "_ActorStop":
            return self.on_receive(Close())
        return super().on_pykka_message(message)

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Nobody supervises the supervisor: it answers, and goes on for as long as it can."""
        log.error("supervisor_error", message=type(message).__name__, error=repr(error), exc_info=error)
        if reply_to is not None:
            reply_to.set_exception((type(error), error, error.__traceback__))

    # Start.

    def _make_directory(self, dispatcher: Dispatcher) -> Directory:
        core = self._core_mailboxes
        routes: dict[type, MailboxRef] = {
            request: self._primitives[name].ref
            for name, actor_class in PRIMITIVE_ACTORS.items()
            for request in actor_class.HANDLES
        }
        routes |= dict.fromkeys((Begin, Commit, CancelCommit, End, ReadOutcome, ReadStats), core.coordinator.ref)
        routes |= dict.fromkeys((Flush, Checkpoint), core.writer.ref)
        return Directory(
            path=self._options.path,
            dispatcher=dispatcher,
            clock=self._clock,
            entropy=self._entropy,
            published=self._published,
            supervisor=self.ref,
            coordinator=core.coordinator.ref,
            writer=core.writer.ref,
            mailboxes={mailbox.name: mailbox.ref for mailbox in (self.mailbox, *core, *self._primitives.values())},
            routes=routes,
        )

    def _open(self) -> None:
        started_s = self._system_clock.monotonic_s()
        shards = self._options.shards
        refusal: InmemError | None = None
        position: LogPosition | None = None
        if self._options.in_memory:
            recovered = Recovered(0, 0, 0, Snapshot.empty(shards).roots, {}, 0, 0, 0)
        else:
            self._disk = self._open_disk()
            try:
                with _PausedCollection():
                    if self._options.read_only:
                        recovered = _read_beside_owner(self._disk, shards)
                        refusal = ReadOnlyError(f"{self._options.path} was opened for reading")
                    else:
                        recovered, position = open_log(self._disk, shards)
            except BaseException:
                self._disk.close()
                raise
        if recovered.keys > FREEZE_KEYS_MIN and gc.isenabled():
            # A full collection would walk through all of it, for nothing: half a second at a million keys.
            gc.freeze()
        self._published.snapshot = Snapshot(recovered.version, recovered.roots)
        self._clock.floor_us = recovered.time_floor_us
        self._start_core(recovered, position, None, refusal)
        for name, mailbox in self._primitives.items():
            mailbox.ref.tell(Resume(self._make_primitive(name, None)))
        log.info(
            "opened",
            path=self._options.path,
            durability=str(self._options.durability),
            version=recovered.version,
            commits_replayed=recovered.commits,
            keys=recovered.keys,
            clean=position is None or position.is_clean,
            torn_bytes=0 if position is None else sum(torn.size for torn in position.torn),
            seconds=round(self._system_clock.monotonic_s() - started_s, 4),
        )

    def _start_core(
        self,
        recovered: Recovered,
        position: LogPosition | None,
        lost_after: int | None,
        refusal: InmemError | None,
    ) -> None:
        self._core += 1
        self._salt = self._entropy.bits(64)
        state = CoreState(
            number=self._core,
            salt=self._salt,
            transaction_id=recovered.transaction_id_max,
            outcomes=Outcomes(recovered.outcomes, recovered.outcomes_since),
            position=position,
            lost_after=lost_after,
            refusal=refusal,
        )
        self._coordinator, self._members = start_core(
            self._core_mailboxes,
            state,
            supervisor=self.ref,
            options=self._options,
            published=self._published,
            clock=self._clock,
            system_clock=self._system_clock,
            disk=self._disk,
            predecessor=self._coordinator,
        )

    def _make_primitive(self, name: str, predecessor: PrimitiveActor | None) -> PrimitiveActor:
        return PRIMITIVE_ACTORS[name](
            self._primitives[name],
            self.ref,
            coordinator=self._directory.coordinator,
            published=self._published,
            clock=self._clock,
            entropy=self._entropy,
            predecessor=predecessor,
        )

    # Failure.

    def _replace(self, failed: ActorFailed) -> None:
        log.error("actor_failed", actor=failed.name, error=repr(failed.error), exc_info=failed.error)
        if failed.name in self._primitives:
            predecessor = failed.actor
            if not isinstance(predecessor, PrimitiveActor):
                raise InvariantError(f"{failed.name} is not a primitive actor")
            self._failures.append(self._system_clock.monotonic_s())
            mailbox = self._primitives[failed.name]
            successor = self._make_primitive(failed.name, predecessor)
            if self._is_storm():
                successor.give_up(StoreFailedError(f"the {failed.name} actor keeps failing: {failed.error!r}"))
            mailbox.ref.tell(Resume(successor))
            if isinstance(failed.message, CommitDecided):
                mailbox.ref.tell(failed.message)
            mailbox.ref.tell(RetryDue(None))
        elif failed.core == self._core:
            self._fail_core(failed.name, failed.error)
            self._note_halted(failed.name, failed.core, tuple(failed.actor.owed))

    def _fail_core(self, name: str | None, error: BaseException | None) -> None:
        """Step 1."""
        if self._halting:
            return
        self._failed_because = error
        if error is not None:
            self._failures.append(self._system_clock.monotonic_s())
        # Those too that have not been resumed yet: their Halt arrives behind their Resume.
        self._halting = {mailbox.name for mailbox in self._members}
        for mailbox in self._members:
            if mailbox.name != name:
                mailbox.ref.tell(Halt(self._core))

    def _note_halted(self, name: str, core: int, owed: tuple[Owed, ...]) -> None:
        if core != self._core or name not in self._halting:
            return
        self._halting.discard(name)
        self._core_debts.extend(owed)
        if not self._halting:
            self._rebuild()

    def _rebuild(self) -> None:
        """Steps 2 to 5."""
        published_version = self._published.snapshot.version
        old_salt = self._salt
        refusal: InmemError | None = None
        position: LogPosition | None = None
        proven = True
        recovered: Recovered | None = None
        if self._disk is not None and not self._options.read_only:
            try:
                if self._is_storm():
                    raise StoreFailedError(f"actors keep failing, the last time with {self._failed_because!r}")
                with _PausedCollection():
                    recovered, position = reopen_log(
                        self._disk,
                        self._options.shards,
                        salt=self._entropy.bits(64),
                        now_us=self._clock.now_us(),
                    )
            except (StorageError, OSError) as error:
                refusal = error if isinstance(error, StoreFailedError) else StoreFailedError(str(error))
                proven = False
        elif self._options.read_only:
            refusal = ReadOnlyError(f"{self._options.path} was opened for reading")
        lost_after: int | None = None
        if recovered is None:
            # Without a log, or with one that cannot be trusted, the published state is what there is.
            recovered = Recovered(published_version, 0, 0, self._published.snapshot.roots, {}, 0, 0, 0)
        else:
            version = recovered.version
            if version < published_version:
                lost_after, version = version, published_version + 1
            self._published.snapshot = Snapshot(version, recovered.roots)
            self._clock.floor_us = max(self._clock.floor_us, recovered.time_floor_us)
        log.warning(
            "restarted" if refusal is None else "failed",
            version=self._published.snapshot.version,
            because=repr(self._failed_because),
            in_flight=len(self._core_debts),
        )
        self._start_core(recovered, position, lost_after, refusal)
        debts, self._core_debts = self._core_debts, []
        for owed in debts:
            self._pay(owed, recovered, old_salt, proven=proven)
        recovering, self._recovering = self._recovering, []
        for owed in recovering:
            if refusal is None:
                owed.answer(None)
            else:
                owed.refuse(refusal)

    def _pay(self, owed: Owed, recovered: Recovered, salt: int, *, proven: bool) -> None:
        if isinstance(owed.message, CloseLog):
            self._directory.writer.send(owed.message, owed.reply_to)
            return
        if not isinstance(owed.message, Commit):
            self._routes.get(type(owed.message), self._directory.coordinator).send(owed.message, owed.reply_to)
            return
        version = recovered.outcomes.get((salt, owed.transaction_id))
        if version is not None:
            owed.answer(Committed(version))
        elif proven or owed.transaction_id == 0:
            owed.answer(CommitAborted(TransactionAbortedError("the store restarted before it was committed")))
        else:
            token = f"{salt:016x}-{owed.transaction_id}-{owed.message.request.start_version}"
            owed.answer(CommitAborted(CommitOutcomeUnknownError(token, "the log cannot be read")))

    def _is_storm(self) -> bool:
        failures = self._failures
        return len(failures) > RESTARTS_MAX and failures[-1] - failures[0] <= RESTART_WINDOW_S

    # End.

    def _start_closing(self) -> None:
        if len(self._closers) > 1:
            return
        self._undrained = set(self._primitives)
        for name, mailbox in self._primitives.items():
            mailbox.ref.send(Drain(), AsMessage(self.ref, lambda _value, _error, name=name: PrimitiveDrained(name)))

    def _ask(self, ref: MailboxRef, message: Any) -> None:
        ref.send(message, AsMessage(self.ref, lambda value, error: value if error is None else LogCloseFailed(error)))

    def _finish_closing(self, error: BaseException | None) -> None:
        for mailbox in (*self._primitives.values(), *self._core_mailboxes):
            if mailbox.actor is not None:
                mailbox.ref.tell(Retire())
            mailbox.stopped = True
        if self._disk is not None:
            self._disk.close()
        log.info("closed", path=self._options.path, version=self._published.snapshot.version, error=repr(error))
        pykka.ActorRegistry.unregister(self.ref)
        closers, self._closers = self._closers, []
        self.retire()
        self.mailbox.dispatcher.shut_down()
        for owed in closers:
            if error is None:
                owed.answer(None)
            else:
                owed.refuse(error)


def _read_beside_owner(disk: Disk, shards: int) -> Recovered:
    """Recover from a folder that its owner may be changing: when files change while they are read, look again."""
    for _ in range(READ_ONLY_ATTEMPTS - 1):
        names = disk.names()
        try:
            return recover(disk, shards)[0]
        except StorageError:
            if disk.names() == names:
                break
    return recover(disk, shards)[0]


class _PausedCollection:
    """Keeps the garbage collector from walking again and again through what recovery is building."""

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
