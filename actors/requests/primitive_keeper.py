"""Keeps the primitive actors, the reaper and the watch actor: starts them together, replaces them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inmem.actors.dispatch.mailbox import Mailbox
from inmem.actors.event_log import QuietLogger
from inmem.actors.messages.control import GoOn, Halt, Resume
from inmem.actors.messages.reaping import FindExpiring
from inmem.actors.messages.transactions import CommitDecided
from inmem.actors.messages.watching import FeedGrown, Taken
from inmem.actors.reaper import Reaper, RestingReaper
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from inmem.actors.requests.stand_in import StandIn
from inmem.actors.restart_limit import RestartLimit
from inmem.actors.watch_actor import WatchActor
from inmem.engine.errors import InvariantError, StoreFailedError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.actors.dispatch.actor import StoreActor
    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.actors.messages.control import ActorFailed
    from inmem.actors.published import Published
    from inmem.engine.limits import Limits
    from inmem.engine.ports import Clock, Entropy

PrimitiveActorT = TypeVar("PrimitiveActorT", bound=PrimitiveActor)

log = QuietLogger("inmem.supervisor")


class PrimitiveKeeper:
    """The addresses of the primitive actors, the reaper and the watch actor, and the actors behind them.

    Args:
        dispatcher: runs the actors.
        supervisor: told of failures.
        coordinator: takes their commits.
        published: holds the newest snapshot.
        clock: the store's time.
        system_clock: the machine's clock.
        entropy: for ids and jitter.
        limits: bounds on what may be written and what may wait.
        reaper: the reaper's mailbox, which the core knows, too.

    Attributes:
        mailboxes: the mailboxes of the primitive actors, by name.
        reaper: the reaper's mailbox.
        watches: the watch actor's mailbox.
        restart_limits: by name, for all of these actors: decides when to give one up, whatever happens to the others.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        supervisor: MailboxRef,
        coordinator: MailboxRef,
        *,
        published: Published,
        clock: StoreClock,
        system_clock: Clock,
        entropy: Entropy,
        limits: Limits,
        reaper: Mailbox,
    ) -> None:
        self.mailboxes = {name: Mailbox(name, dispatcher, limits=limits) for name in PRIMITIVE_ACTORS}
        self.reaper = reaper
        self.watches = Mailbox("watches", dispatcher)
        self.restart_limits = {mailbox.name: RestartLimit(system_clock) for mailbox in self}
        self._supervisor = supervisor
        self._coordinator = coordinator
        self._published = published
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._stand_ins: set[str] = set()
        self._reaping = False
        self._reapers = 0
        self._reaper_rests = False

    def __iter__(self) -> Iterator[Mailbox]:
        return iter((*self.mailboxes.values(), self.reaper, self.watches))

    def start(self, *, reaping: bool) -> None:
        """Put an actor behind every address.

        Args:
            reaping: whether the reaper is to look for expired keys; beside another owner, it could not remove them.
        """
        self._reaping = reaping
        for name, mailbox in self.mailboxes.items():
            mailbox.ref.tell(Resume(self._make(PRIMITIVE_ACTORS[name], name, None)))
        self._start_reaper()
        self.watches.ref.tell(Resume(WatchActor(self.watches, self._supervisor, self._published)))

    def replace(self, failed: ActorFailed) -> None:
        """Put a successor behind the address of a failed actor.

        A primitive actor's requests pass to the successor, which is the same one if this is interrupted and repeated.
        After too many failures, the successor refuses everything with `StoreFailedError`, or, in place of the reaper,
        does nothing.
        """
        limit = self.restart_limits[failed.name]
        limit.note_failed(failed)
        give_up = limit.is_exceeded
        if failed.name == self.reaper.name:
            if give_up:
                log.error("gave_up", actor=failed.name)
                self._reaper_rests = True
                self.reaper.ref.tell(Resume(RestingReaper(self.reaper, self._supervisor)))
            else:
                self._start_reaper()
            return
        if isinstance(failed.actor, WatchActor):
            self._replace_watch_actor(failed.actor, failed, give_up=give_up)
            return
        if not isinstance(failed.actor, PrimitiveActor):
            raise InvariantError(f"{failed.name} is not a primitive actor")
        ref = self.mailboxes[failed.name].ref
        successor = failed.actor.successor
        if successor is None:
            if give_up:
                log.error("gave_up", actor=failed.name)
            actor_class = StandIn if give_up else PRIMITIVE_ACTORS[failed.name]
            successor = self._make(actor_class, failed.name, failed.actor)
        if isinstance(successor, StandIn):
            self._stand_ins.add(failed.name)
            successor.refuse_all(_failure_of(failed))
        ref.tell(Resume(successor))
        if isinstance(failed.message, CommitDecided):
            ref.tell(failed.message)
        ref.tell(GoOn())

    def dismiss_stand_ins(self) -> None:
        """Give all actors another chance; for those that had been given up, `note_halted` resumes real ones."""
        for limit in self.restart_limits.values():
            limit.forget()
        for name in self._stand_ins:
            self.mailboxes[name].ref.tell(Halt(0))
        self._stand_ins.clear()
        if self._reaper_rests:
            # A resting reaper owes nobody an answer, and need not halt first.
            self._reaper_rests = False
            self._start_reaper()

    def note_halted(self, actor: StoreActor) -> bool:
        """Put a real actor in place of a halted primitive actor. Return whether the halted actor is a primitive actor.

        Most likely it was a stand-in. But that may have failed before its Halt came, and then it has a successor.
        """
        if not isinstance(actor, PrimitiveActor):
            return False
        name = actor.mailbox.name
        ref = self.mailboxes[name].ref
        ref.tell(Resume(actor.successor or self._make(PRIMITIVE_ACTORS[name], name, actor)))
        ref.tell(GoOn())
        return True

    def _make(
        self, actor_class: type[PrimitiveActorT], name: str, predecessor: PrimitiveActor | None
    ) -> PrimitiveActorT:
        return actor_class(
            self.mailboxes[name],
            self._supervisor,
            coordinator=self._coordinator,
            published=self._published,
            clock=self._clock,
            entropy=self._entropy,
            limits=self._limits,
            predecessor=predecessor,
        )

    def _replace_watch_actor(self, actor: WatchActor, failed: ActorFailed, *, give_up: bool) -> None:
        if give_up:
            # The successor begins anew, with nothing that this actor may have failed on.
            actor.end_all(_failure_of(failed))
            self.restart_limits[failed.name].forget()
        self.watches.ref.tell(Resume(WatchActor(self.watches, self._supervisor, self._published, actor)))
        if isinstance(failed.message, Taken):
            self.watches.ref.tell(failed.message)
        self.watches.ref.tell(FeedGrown())

    def _start_reaper(self) -> None:
        self._reapers += 1
        reaper = Reaper(
            self.reaper,
            self._supervisor,
            coordinator=self._coordinator,
            published=self._published,
            clock=self._clock,
            entropy=self._entropy,
            generation=self._reapers,
        )
        self.reaper.ref.tell(Resume(reaper))
        if self._reaping:
            self.reaper.ref.tell(FindExpiring())


def _failure_of(failed: ActorFailed) -> StoreFailedError:
    reason = f"it keeps failing, the last time with {shown_failure(failed.error)}"
    return StoreFailedError(reason, actor=failed.name)
