"""The supervisor: starts the actors, replaces those that fail, and shuts the store down.

Its ref is the one address that outsiders need. It passes their requests on to the actors that handle them.

When an actor of the core fails (coordinator, shards, log writer, log disk, checkpointer), the whole core is rebuilt:

    1  the others are told to halt; each hands over what it owes
    2  when all have halted, the state is recovered from the log, into a new segment if need be, and published; commits
       that were in flight are judged by what the log proves
    3  new actors are put behind the old addresses
    4  the commits that were in flight are answered
    5  everything else that was owed is asked again

A primitive actor is replaced alone; its requests, waiting and in flight, pass to its successor. If it fails too often
in a short time, its requests are refused with `StoreFailedError`, and everything else goes on. If the actors of the
core, counted together, fail too often, or the log cannot be recovered, the store goes on for readers only and refuses
all writes. Both last until `Recover` asks for another try.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pykka

from inmem.actors.closing import Closing
from inmem.actors.core.core_keeper import CoreKeeper
from inmem.actors.directory import Directory
from inmem.actors.dispatch import interrupts
from inmem.actors.dispatch.actor import LATER, STOP, Owed, StoreActor, answer_all
from inmem.actors.dispatch.mailbox import Mailbox
from inmem.actors.dispatch.stack_room import has_room
from inmem.actors.environment import StoreClock
from inmem.actors.event_log import QuietLogger
from inmem.actors.files.follower import Follower
from inmem.actors.files.log_opening import open_log
from inmem.actors.files.system_calls import storage_error
from inmem.actors.garbage import paused_collection
from inmem.actors.messages.control import (
    ActorFailed,
    Close,
    CloseStepFailed,
    Connect,
    Halted,
    NotDrained,
    Open,
    PrimitiveDrained,
    Recover,
    Refresh,
    Retire,
)
from inmem.actors.messages.core import LogClosed
from inmem.actors.messages.transactions import Drained
from inmem.actors.published import Published
from inmem.actors.requests.primitive_keeper import PrimitiveKeeper
from inmem.actors.restart_limit import RESTARTS_MAX
from inmem.actors.routes import routes_of
from inmem.engine.errors import (
    InmemError,
    InvariantError,
    StorageError,
    StoreFailedError,
    UsageError,
)
from inmem.engine.log.group_commit import Durability
from inmem.engine.log.recovered_state import Recovered
from inmem.engine.shown import shown_failure
from inmem.engine.tables.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.dispatch.mailbox import ReplyTo
    from inmem.actors.options import Options
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.ports import Clock, Disk, Entropy


ATTEMPTS_MAX = 2 * RESTARTS_MAX
"""Attempts at one replacement, or recovery. From the `RESTARTS_MAX`th attempt on, an actor's replacement serves readers
only, which needs less."""

log = QuietLogger("inmem.supervisor")


class Supervisor(StoreActor):
    """Parent of all actors of one store.

    Args:
        mailbox: its address.
        options: how the store was opened.
        clock: the machine's clock.
        entropy: the machine's entropy.
        open_disk: opens and locks the database's folder.

    Attributes:
        has_let_go: whether the store could not be opened, and no actor below is running any more.
    """

    def __init__(
        self, mailbox: Mailbox, options: Options, clock: Clock, entropy: Entropy, open_disk: Callable[[], Disk]
    ) -> None:
        super().__init__(mailbox, None)
        self._options = options
        self._system_clock = clock
        self._entropy = entropy
        self._open_disk = open_disk
        self._clock = StoreClock(clock)
        self._published = Published(Snapshot(0, ()))
        reaper = Mailbox("reaper", mailbox.dispatcher)
        self._core = CoreKeeper(
            self.ref,
            options,
            published=self._published,
            clock=self._clock,
            system_clock=clock,
            entropy=entropy,
            reaper=reaper.ref,
        )
        self._primitives = PrimitiveKeeper(
            mailbox.dispatcher,
            self.ref,
            self._core.mailboxes.coordinator.ref,
            published=self._published,
            clock=self._clock,
            system_clock=clock,
            entropy=entropy,
            limits=options.limits,
            reaper=reaper,
        )
        self._directory = self._make_directory()
        mailbox.routes = self._directory.routes
        self._follower: Follower | None = None
        self._closers: list[Owed] = []
        self._closing: Closing | None = None
        self._attempts = 0
        self._unreplaced: list[StoreActor] = []
        self.has_let_go = False

    def handle(self, message: Any, reply_to: ReplyTo | None) -> None:
        """Handle one message; if the stack has no room for it, raise RecursionError instead, with nothing done."""
        if message.__class__ not in self._directory.routes and not has_room():
            raise RecursionError("no room to supervise on this stack")
        super().handle(message, reply_to)

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        route = self._directory.routes.get(message.__class__)
        if route is not None:
            route.send(message, self._reply_to)
            return LATER
        match message:
            case Connect():
                return self._directory
            case ActorFailed():
                self._replace(message)
                self._supervised()
            case Halted():
                self._note_halted(message)
                self._supervised()
            case Open():
                try:
                    self._open()
                except BaseException:
                    self.let_go()
                    raise
                return self._directory
            case Close():
                self._closers.append(self.owe(message))
                if self._closing is None:
                    self._start_closing()
                return LATER
            case PrimitiveDrained(name) if self._closing is not None:
                self._closing.primitive_drained(name)
            case NotDrained(name) if self._closing is not None:
                self._closing.drain_primitive(name)
            case Drained() if self._closing is not None:
                self._closing.coordinator_drained()
            case LogClosed():
                self._finish_closing(self._lost_on_close())
            case CloseStepFailed(error) if self._closing is not None:
                if isinstance(error, StorageError):
                    self._finish_closing(error)
                else:
                    self._closing.ask_again()
            case PrimitiveDrained() | NotDrained() | Drained() | CloseStepFailed():
                pass  # Late: the close that asked has failed, and no other one has begun yet.
            case Recover():
                self.owe(message)
                self._core.begin_anew()
                self._supervised()
                return LATER
            case Refresh():
                return self._refresh()
            case _:
                raise UsageError(f"the store does not handle {type(message).__name__}")
        return None

    def on_pykka_message(self, message: Any) -> Any:
        """Close the store cleanly if it is stopped from outside, by `ref.stop()` or `ActorRegistry.stop_all()`."""
        if type(message) is STOP:
            return self.on_receive(Close())
        return super().on_pykka_message(message)

    def fail(self, message: Any, reply_to: ReplyTo | None, error: BaseException) -> None:
        """Answer, and go on for as long as possible: nobody supervises the supervisor."""
        text = shown_failure(error)
        log.error("supervisor_error", message=type(message).__name__, error=text, exc_info=error)
        is_its_own = not interrupts.keep_back(error)
        is_owed = self._owes(reply_to)
        if isinstance(message, ActorFailed | Halted | Recover):
            self._try_again(message, None if is_owed else reply_to, error if is_its_own else None)
            return
        if not isinstance(error, InmemError) or isinstance(error, InvariantError):
            # Callers that wait for the end of a close or a recovery would wait for ever; asking again may help.
            self._closers.clear()
            self._closing = None
            for owed in tuple(self.owed):
                owed.refuse(StoreFailedError(f"the supervisor failed over {type(message).__name__}: {text}"))
        if reply_to is not None and not is_owed:
            if not isinstance(error, Exception):
                # The exception is meant for the thread that ran this, not for the sender of the request.
                error = StoreFailedError(f"the supervisor was cut short over {type(message).__name__} by {text}")
            reply_to.set_exception((type(error), error, error.__traceback__))

    def _try_again(
        self, message: ActorFailed | Halted | Recover, reply_to: ReplyTo | None, error: BaseException | None
    ) -> None:
        """Try again after a replacement of actors failed, or was interrupted by the end of the thread that ran it.

        Some actors may have halted by then, and nobody else would see to the others.
        """
        if not isinstance(message, Recover):
            self._unreplaced.append(message.actor)
        if error is not None:
            if not isinstance(message, Recover):
                self._primitives.restart_limits.get(message.name, self._core.limit).note(error)
            self._attempts += 1
        if error is None or self._attempts <= ATTEMPTS_MAX:
            self.ref.send(message, reply_to)
            return
        failure = StoreFailedError(f"the supervisor keeps failing, at last with {shown_failure(error)}")
        # Keep the folder: no actor was waited for, and one that is using a file must not meet its next owner.
        self._finish_closing(failure, gives_up_folder=False)
        if reply_to is not None:
            reply_to.set_exception((StoreFailedError, failure, None))
        self._core.give_up()
        for actor in self._unreplaced:
            actor.abandon()

    def abandon(self) -> None:
        """Answer all requests, except those for the end of the store: they are answered when it has come."""
        for owed in tuple(self.owed):
            if owed not in self._closers:
                owed.abandon()

    def _supervised(self) -> None:
        self._attempts = 0
        self._unreplaced.clear()

    def let_go(self) -> None:
        """Stop all actors below and give up the folder, at once, of a store that has not been opened."""
        self.has_let_go = True
        mailboxes = (*self._primitives, *self._core.mailboxes)
        for mailbox in mailboxes:
            # Before any is closed: actors that run already must not wake those that are stopped.
            mailbox.stopped = True
        for mailbox in mailboxes:
            mailbox.dispatcher.close(mailbox)
            mailbox.retire()
        if self._core.disk is not None:
            self._core.disk.close()

    # Start.

    def _make_directory(self) -> Directory:
        core = self._core.mailboxes
        return Directory(
            path=self._options.path,
            limits=self._options.limits,
            dispatcher=self.mailbox.dispatcher,
            clock=self._clock,
            entropy=self._entropy,
            published=self._published,
            supervisor=self.ref,
            coordinator=core.coordinator.ref,
            writer=core.writer.ref,
            mailboxes={mailbox.name: mailbox.ref for mailbox in (self.mailbox, *core, *self._primitives)},
            routes=routes_of(core, self._primitives),
        )

    def _open(self) -> None:
        started_s = self._system_clock.monotonic_s()
        recovered, position = self._read()
        self._published.snapshot = Snapshot(recovered.version, recovered.roots)
        self._published.feed.catch_up(recovered.retained, recovered.version)
        self._clock.floor_us = recovered.time_floor_us
        self._core.start(recovered, position, refusal=self._core.why_read_only)
        self._primitives.start(reaping=not self._options.read_only)
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

    def _read(self) -> tuple[Recovered, LogPosition | None]:
        shards = self._options.shards
        if self._options.in_memory:
            return Recovered.nothing(shards), None
        disk = self._core.disk = self._open_disk()
        self._directory = replace(self._directory, view_files=disk.view, is_read_only=self._options.read_only)
        try:
            with paused_collection():
                if not self._options.read_only:
                    return open_log(disk, shards, self._system_clock)
                self._follower = Follower(disk, shards)
                return self._follower.open(), None
        except OSError as error:
            raise storage_error(error, self._options.path) from error

    def _refresh(self) -> int:
        """Move on to what the owner has committed since. Transactions that have begun keep what they see."""
        if self._follower is not None:
            with paused_collection():
                advance = self._follower.advance()
            self._clock.floor_us = max(self._clock.floor_us, advance.time_floor_us)
            self._core.follow(advance)
        return self._published.snapshot.version

    # Failure.

    def _replace(self, failed: ActorFailed) -> None:
        log.error("actor_failed", actor=failed.name, error=shown_failure(failed.error), exc_info=failed.error)
        if failed.name in self._primitives.restart_limits:
            self._primitives.replace(failed)
        else:
            if failed.core == self._core.number:
                self._core.fail(failed)
            self._note_halted(failed)

    def _note_halted(self, halted: Halted | ActorFailed) -> None:
        if self._primitives.note_halted(halted.actor):
            return
        self._core.note_halted(halted.name, halted.core, tuple(halted.actor.owed))
        if self._core.is_down:
            return
        # The core has been rebuilt or given up.
        refusal = self._core.refusal
        recovering = [owed for owed in self.owed if isinstance(owed.message, Recover)]
        if recovering:
            self._primitives.dismiss_stand_ins()
            answer_all(recovering, refusal)
        if self._closing is not None and self._closing.waits_for_core and self._core.limit.is_exceeded:
            self._finish_closing(refusal)

    # End.

    def _start_closing(self) -> None:
        if self._core.number == 0:
            # The opening was interrupted before the store was asked to open.
            self.let_go()
        if self._core.mailboxes.coordinator.stopped:
            # A close that failed half-way is asked for again, or nothing was opened: there is nobody to drain.
            self._finish_closing(None)
            return
        core = self._core.mailboxes
        self._closing = Closing(self.ref, self._primitives.mailboxes, core.coordinator.ref, core.writer.ref)
        self._closing.begin()

    def _lost_on_close(self) -> BaseException | None:
        """Return the error of a failed store that acknowledged commits before they were durable, or lost its log."""
        refusal, is_safe = self._core.refusal, self._options.durability is Durability.ALWAYS
        if isinstance(refusal, StoreFailedError) and (not is_safe or self._core.log_is_deleted):
            return None if self._core.disk is None else refusal
        return None

    def _finish_closing(self, error: BaseException | None, *, gives_up_folder: bool = True) -> None:
        for mailbox in (*self._primitives, *self._core.mailboxes):
            if mailbox.stopped:
                continue
            mailbox.ref.tell(Retire())
            mailbox.stopped = True
        self._published.is_closed = True
        self._published.feed.wake()
        if self._core.disk is not None and gives_up_folder:
            self._core.disk.close()
        log.info("closed", path=self._options.path, version=self._published.snapshot.version, error=repr(error))
        pykka.ActorRegistry.unregister(self.ref)
        self.retire()
        self.mailbox.dispatcher.shut_down()
        answer_all(self._closers, error)
