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
`StoreFailedError`, until `Recover` asks for another try.

A close goes on through failures: what was asked of an actor that has failed is asked of its successor.
"""

from __future__ import annotations

import gc
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from inmem.actors.actor import LATER, Owed, StoreActor
from inmem.actors.core import CoreMailboxes, CoreState, start_core
from inmem.actors.directory import Directory
from inmem.actors.environment import StoreClock
from inmem.actors.event_log import QuietLogger
from inmem.actors.folder_disk import storage_error
from inmem.actors.log_opening import open_log, rewrite_tail
from inmem.actors.log_writer import MemoryLogWriter
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
from inmem.actors.messages.reaping import FindExpiring
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
from inmem.actors.primitive_actor import PrimitiveActor, RetryDue, StandIn
from inmem.actors.primitive_actors import PRIMITIVE_ACTORS
from inmem.actors.published import Published
from inmem.actors.reaper import Reaper
from inmem.engine.errors import (
    CommitOutcomeUnknownError,
    DatabaseClosedError,
    InmemError,
    InvariantError,
    ReadOnlyError,
    StorageError,
    StoreFailedError,
    TransactionAbortedError,
    UsageError,
)
from inmem.engine.group_commit import Durability
from inmem.engine.outcomes import Outcomes
from inmem.engine.recovery import Recovered, recover
from inmem.engine.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inmem.actors.core import Core
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


class NotDrained(NamedTuple):
    """To the supervisor: that primitive actor has failed over its `Drain`."""

    name: str


class Caretaker(StoreActor):
    """Behind an address without an actor when the store is closed: refuses whatever has piled up."""

    def on_receive(self, message: Any) -> Any:  # noqa: ARG002
        """Handle one message."""
        if self._reply_to is not None:
            raise DatabaseClosedError


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
        self._reaper = Mailbox("reaper", dispatcher)
        self._clock = StoreClock(clock, 0)
        self._published = Published(Snapshot(0, ()))
        self._running: Core | None = None
        self._outcomes = Outcomes({}, 0)
        self._refusal: InmemError | None = None
        self._stand_ins: dict[str, StandIn] = {}
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
        self._closing: tuple[MailboxRef, Any] | None = None
        self._undrained: set[str] = set()

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        route = self._routes.get(message.__class__)
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
                    self._close_next(self._directory.coordinator, Drain())
            case NotDrained(name):
                self._drain(name)
            case Drained():
                self._close_next(self._directory.writer, CloseLog())
            case LogClosed():
                self._finish_closing(self._lost_on_close())
            case LogCloseFailed(error):
                if isinstance(error, StorageError):
                    self._finish_closing(error)
                elif self._closing is not None:
                    # That actor has failed; its successor finds the question in its mailbox.
                    self._close_next(*self._closing)
            case Recover():
                self._recovering.append(self.owe(message))
                self._failures.clear()
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
            mailboxes={
                mailbox.name: mailbox.ref for mailbox in (self.mailbox, *core, *self._primitives.values(), self._reaper)
            },
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
            except OSError as error:
                self._disk.close()
                raise storage_error(error, self._options.path) from error
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
        self._start_reaper()
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
        self._refusal = refusal
        self._outcomes = Outcomes(recovered.outcomes, recovered.outcomes_since)
        state = CoreState(
            number=self._core,
            salt=self._salt,
            transaction_id=recovered.transaction_id_max,
            outcomes=self._outcomes,
            position=position,
            last_drop_version=recovered.last_drop_version,
            lost_after=lost_after,
            refusal=refusal,
        )
        self._running = start_core(
            self._core_mailboxes,
            state,
            supervisor=self.ref,
            options=self._options,
            published=self._published,
            clock=self._clock,
            system_clock=self._system_clock,
            disk=self._disk,
            reaper=None if self._options.read_only else self._reaper.ref,
            predecessor=None if self._running is None else self._running.coordinator,
        )

    def _start_reaper(self) -> None:
        if not self._options.read_only:
            reaper = Reaper(
                self._reaper,
                self.ref,
                coordinator=self._directory.coordinator,
                published=self._published,
                clock=self._clock,
                entropy=self._entropy,
            )
            self._reaper.ref.tell(Resume(reaper))
            self._reaper.ref.tell(FindExpiring())

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

    def _make_stand_in(self, name: str, predecessor: PrimitiveActor) -> StandIn:
        return StandIn(
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
            if not isinstance(failed.actor, PrimitiveActor):
                raise InvariantError(f"{failed.name} is not a primitive actor")
            self._failures.append(self._system_clock.monotonic_s())
            self._replace_primitive(failed, failed.actor)
        elif failed.name == self._reaper.name:
            self._failures.append(self._system_clock.monotonic_s())
            if not self._is_storm():
                self._start_reaper()
        elif failed.core == self._core:
            self._fail_core(failed.name, failed.error)
            self._note_halted(failed.name, failed.core, tuple(failed.actor.owed))

    def _replace_primitive(self, failed: ActorFailed, predecessor: PrimitiveActor) -> None:
        name, ref = failed.name, self._primitives[failed.name].ref
        if self._is_storm():
            refusal = StoreFailedError(f"the {name} actor keeps failing, the last time with {failed.error!r}")
            log.error("gave_up", actor=name)
            self._stand_ins[name] = stand_in = self._make_stand_in(name, predecessor)
            stand_in.refuse_all(refusal)
            ref.tell(Resume(stand_in))
        else:
            ref.tell(Resume(self._make_primitive(name, predecessor)))
        if isinstance(failed.message, CommitDecided):
            ref.tell(failed.message)
        ref.tell(RetryDue(None))

    def _fail_core(self, name: str | None, error: BaseException | None) -> None:
        """Step 1."""
        if self._halting or self._running is None:
            return
        self._failed_because = error
        if error is not None:
            self._failures.append(self._system_clock.monotonic_s())
        # Those too that have not been resumed yet: their Halt arrives behind their Resume.
        members = self._running.members
        self._halting = {mailbox.name for mailbox in members}
        for mailbox in members:
            if mailbox.name != name:
                mailbox.ref.tell(Halt(self._core))

    def _note_halted(self, name: str, core: int, owed: tuple[Owed, ...]) -> None:
        if name in self._stand_ins:
            stand_in = self._stand_ins.pop(name)
            self._primitives[name].ref.tell(Resume(self._make_primitive(name, stand_in)))
            self._primitives[name].ref.tell(RetryDue(None))
        if core != self._core or name not in self._halting:
            return
        self._halting.discard(name)
        self._core_debts.extend(owed)
        if not self._halting:
            self._rebuild()

    def _rebuild(self) -> None:
        """Steps 2 to 5."""
        if self._running is not None:
            self._running.writer.release()
        published = self._published.snapshot
        old_salt = self._salt
        logged, position, refusal = self._read_log()
        lost_after: int | None = None
        if logged is not None and refusal is None:
            recovered, version = logged, logged.version
            if version < published.version:
                lost_after, version = version, published.version + 1
            self._published.snapshot = Snapshot(version, recovered.roots)
            self._clock.floor_us = max(self._clock.floor_us, recovered.time_floor_us)
        else:
            recovered = self._what_is_published()
        known = logged.outcomes if logged is not None else None if self._disk is not None else recovered.outcomes
        log.warning(
            "restarted" if refusal is None else "failed",
            version=self._published.snapshot.version,
            because=repr(self._failed_because),
            in_flight=len(self._core_debts),
        )
        self._start_core(recovered, position, lost_after, refusal)
        debts, self._core_debts = self._core_debts, []
        for owed in debts:
            self._pay(owed, known, old_salt)
        recovering, self._recovering = self._recovering, []
        if recovering:
            self._dismiss_stand_ins()
        for owed in recovering:
            if refusal is None:
                owed.answer(None)
            else:
                owed.refuse(refusal)
        if self._closing is not None and self._is_storm():
            self._finish_closing(refusal)

    def _read_log(self) -> tuple[Recovered | None, LogPosition | None, InmemError | None]:
        """Step 2: return what the log holds, if it can be read, where it goes on, and why it does not."""
        refusal: InmemError | None = None
        if self._is_storm():
            refusal = StoreFailedError(f"actors keep failing, the last time with {self._failed_because!r}")
        if self._disk is None:
            return None, None, refusal
        if self._options.read_only:
            return None, None, ReadOnlyError(f"{self._options.path} was opened for reading")
        logged: Recovered | None = None
        position: LogPosition | None = None
        try:
            with _PausedCollection():
                logged, position = recover(self._disk, self._options.shards)
            if refusal is None:
                position = rewrite_tail(self._disk, position, self._clock.now_us())
        except Exception as error:
            # Whatever it is, callers wait for the end of this.
            log.warning("log_unusable", error=repr(error), exc_info=error)
            refusal = refusal or StoreFailedError(str(error) or repr(error))
        return logged, position, refusal

    def _what_is_published(self) -> Recovered:
        """Return the state of a store without a log, or with one that it cannot go on with.

        The log may hold commits that are not published, and then nothing is said about commits that are not known.
        """
        published = self._published.snapshot
        is_whole = self._disk is None or self._options.read_only
        since = self._outcomes.since if is_whole else published.version + 1
        outcomes = self._outcomes.up_to(published.version)
        if self._running is not None and isinstance(self._running.writer, MemoryLogWriter):
            # Published, and perhaps not recorded yet: callers who wait for those have committed.
            numbered = self._running.writer.numbered
            outcomes |= {(self._salt, number): version for number, version in numbered if version <= published.version}
        return Recovered(published.version, 0, 0, published.roots, outcomes, since, 0, 0)

    def _pay(self, owed: Owed, known: Mapping[tuple[int, int], int] | None, salt: int) -> None:
        """Steps 4 and 5. `known` are the outcomes of all commits that may have happened, None if nobody can tell."""
        message = owed.message
        if not isinstance(message, Commit):
            if self._is_storm() and self._refusal is not None:
                owed.refuse(self._refusal)
            elif isinstance(message, CloseLog):
                self._directory.writer.send(message, owed.reply_to)
            else:
                self._routes.get(message.__class__, self._directory.coordinator).send(message, owed.reply_to)
            return
        version = None if known is None else known.get((salt, owed.transaction_id))
        if version is not None and version <= self._published.snapshot.version:
            owed.answer(Committed(version))
        elif owed.transaction_id == 0 or (known is not None and version is None):
            restarted = TransactionAbortedError("the store restarted before it was committed")
            owed.answer(CommitAborted(restarted if self._refusal is None else self._refusal))
        else:
            token = f"{salt:016x}-{owed.transaction_id}-{message.request.start_version}"
            reason = "the log cannot be read" if known is None else "the log cannot be made durable"
            owed.answer(CommitAborted(CommitOutcomeUnknownError(token, reason)))
        # Whatever became of it, that transaction does not run any more.
        self._directory.coordinator.send(End(owed.transaction_id), None)

    def _dismiss_stand_ins(self) -> None:
        """Give primitive actors that had been given up another chance; see `_note_halted`."""
        for name in self._stand_ins:
            self._primitives[name].ref.tell(Halt(0))

    def _is_storm(self) -> bool:
        failures = self._failures
        return len(failures) > RESTARTS_MAX and failures[-1] - failures[0] <= RESTART_WINDOW_S

    # End.

    def _start_closing(self) -> None:
        if len(self._closers) > 1:
            return
        self._undrained = set(self._primitives)
        for name in self._primitives:
            self._drain(name)

    def _drain(self, name: str) -> None:
        self._primitives[name].ref.send(Drain(), AsMessage(self.ref, _drained(name)))

    def _close_next(self, ref: MailboxRef, message: Any) -> None:
        self._closing = ref, message
        ref.send(message, AsMessage(self.ref, lambda value, error: value if error is None else LogCloseFailed(error)))

    def _lost_on_close(self) -> BaseException | None:
        """A failed store that had acknowledged before it was durable has to own up."""
        if isinstance(self._refusal, StoreFailedError) and self._options.durability is not Durability.ALWAYS:
            return None if self._disk is None else self._refusal
        return None

    def _finish_closing(self, error: BaseException | None) -> None:
        for mailbox in (*self._primitives.values(), *self._core_mailboxes, self._reaper):
            if mailbox.actor is None:
                # Somebody has to tell those who wait there, and let go of the thread.
                mailbox.ref.tell(Resume(Caretaker(mailbox, None)))
            mailbox.ref.tell(Retire())
            mailbox.stopped = True
        self._published.is_closed = True
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


def _drained(name: str) -> Callable[[Any, BaseException | None], PrimitiveDrained | NotDrained]:
    return lambda _value, error: PrimitiveDrained(name) if error is None else NotDrained(name)


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
