"""Tells actors what is committed: the change feed for actors that would rather be told than look.

A watcher is told as much as one message holds, and nothing more until it has handled that. One of pykka's own messages,
put into its inbox right behind, is answered when it has. So however slow a watcher is, only one message at a time waits
for it; its backlog stays in the feed, which is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from pykka._envelope import Envelope  # the only way to send a message whose answer is not waited for
from pykka.messages import ProxyGetAttr

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.dispatch.mailbox import AsMessage
from inmem.actors.event_log import QuietLogger
from inmem.actors.messages.watching import Changed, FeedGrown, LookOn, Taken, Unwatch, Watch, WatchEnded
from inmem.actors.watch_cursor import WatchCursor
from inmem.engine.errors import DatabaseClosedError, InvariantError, WatchGapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.actors.published import Published
    from inmem.engine.errors import InmemError

CHANGES_PER_MESSAGE = 256
"""The approximate number of changes in one `Changed`: enough for a watcher far behind, few enough for an inbox."""

log = QuietLogger("inmem.watch")


class Subscription:
    """One watcher, what it has been told, and what must come before it is told more.

    Attributes:
        version: everything of interest up to this version has been told.
        is_busy: whether it is still handling its last message; `Taken` ends that.
        looks_on: whether the last look stopped before the end of the feed; `LookOn` continues it.
    """

    __slots__ = ("cursor", "is_busy", "looks_on", "ref", "version")

    def __init__(self, ref: pykka.ActorRef[Any], cursor: WatchCursor) -> None:
        self.ref = ref
        self.cursor = cursor
        self.version = cursor.version
        self.is_busy = False
        self.looks_on = False


class WatchActor(StoreActor):
    """Follows the feed for actors that watch it.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        published: holds the feed.
        predecessor: the failed actor whose watchers this one takes over.

    Attributes:
        watches: the subscriptions, by number.
        count: the highest number given so far, by predecessors too.
        bell: waits in the feed for new commits; None once it has rung.
    """

    HANDLES: ClassVar = (Watch, Unwatch)

    def __init__(
        self, mailbox: Mailbox, supervisor: MailboxRef, published: Published, predecessor: WatchActor | None = None
    ) -> None:
        super().__init__(mailbox, supervisor)
        self._published = published
        self.watches: dict[int, Subscription] = {}
        self.count = 0
        self.bell: AsMessage | None = None
        if predecessor is not None:
            if predecessor.bell is not None:
                published.feed.forget(predecessor.bell)
            self.watches = predecessor.watches
            # An answer that belongs to a watcher that is gone must not be taken for that of another.
            self.count = predecessor.count
            for subscription in self.watches.values():
                # The predecessor may have failed between looking and telling.
                subscription.cursor.rewind(subscription.version)
                subscription.looks_on = False

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case FeedGrown():
                self.bell = None
                for number in tuple(self.watches):
                    self._advance(number)
            case LookOn(number):
                if number in self.watches:
                    self.watches[number].looks_on = False
                    self._advance(number)
            case Taken(number, is_dead):
                if is_dead:
                    self._forget(number)
                elif number in self.watches:
                    self.watches[number].is_busy = False
                    self._advance(number)
            case Watch():
                return self._begin(message)
            case Unwatch(ref):
                ended = [number for number, subscription in self.watches.items() if subscription.ref == ref]
                for number in ended:
                    del self.watches[number]
                return len(ended)
            case _:
                raise InvariantError(f"the watch actor cannot handle {type(message).__name__}")
        return None

    def end_all(self, error: InmemError) -> None:
        """Tell every watcher that nothing more will come."""
        for number in tuple(self.watches):
            self._end(number, error)

    def retire(self) -> None:
        """Tell the watchers everything that is left, and that the store is closed."""
        for subscription in tuple(self.watches.values()):
            self._tell_the_rest(subscription)
        self.end_all(DatabaseClosedError())
        super().retire()

    def _begin(self, watch: Watch) -> int | None:
        try:
            cursor = WatchCursor.open(self._published, watch.run, watch.primitive, watch.after_version)
        except WatchGapError as error:
            if self._reply_to is not None:
                raise
            _tell(watch.ref, WatchEnded(error.version, error))
            return None
        begins_after = cursor.version
        self.count += 1
        self.watches[self.count] = Subscription(watch.ref, cursor)
        self._advance(self.count)
        return begins_after

    def _advance(self, number: int) -> None:
        """Tell a watcher what is new, unless it is busy, or a look for it is to be continued."""
        subscription = self.watches[number]
        if subscription.looks_on:
            return
        if subscription.is_busy:
            if not subscription.ref.is_alive():
                self._forget(number)
            return
        if self.bell is None:
            # Before looking: commits added during the look ring it.
            self.bell = AsMessage(self.ref, lambda _value, _error: FeedGrown())
            self._published.feed.wait(self.bell)
        cursor = subscription.cursor
        try:
            changes = cursor.take(self._published.feed, CHANGES_PER_MESSAGE)
        except WatchGapError as error:
            self._end(number, error)
            return
        if not changes:
            # The watcher has passed the commits that do not concern it.
            subscription.version = cursor.version
            if not cursor.at_end:
                subscription.looks_on = True
                self.ref.tell(LookOn(number))
        elif _tell(subscription.ref, Changed(changes, cursor.version)):
            subscription.version = cursor.version
            taken: Any = AsMessage(self.ref, _taken(number))
            subscription.ref.actor_inbox.put(Envelope(ProxyGetAttr(attr_path=("actor_urn",)), reply_to=taken))
            subscription.is_busy = True
        else:
            del self.watches[number]

    def _tell_the_rest(self, subscription: Subscription) -> None:
        cursor = subscription.cursor
        try:
            while True:
                changes = cursor.take(self._published.feed, CHANGES_PER_MESSAGE)
                if changes:
                    _tell(subscription.ref, Changed(changes, cursor.version))
                subscription.version = cursor.version
                if cursor.at_end:
                    return
        except WatchGapError:
            # Its WatchEnded says which version it has reached.
            return

    def _forget(self, number: int) -> None:
        """Drop a watcher that no longer exists."""
        subscription = self.watches.pop(number, None)
        if subscription is not None:
            log.info("watcher_gone", ref=str(subscription.ref))

    def _end(self, number: int, error: InmemError) -> None:
        subscription = self.watches.pop(number)
        _tell(subscription.ref, WatchEnded(subscription.version, error))


def _tell(ref: pykka.ActorRef[Any], message: Changed | WatchEnded) -> bool:
    """Send a message to a watcher; return whether it still exists."""
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        log.info("watcher_gone", ref=str(ref))
        return False
    return True


def _taken(number: int) -> Callable[[Any, BaseException | None], Taken]:
    return lambda _value, error: Taken(number, error is not None)
