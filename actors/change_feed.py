"""What has been committed lately, for whoever follows it, and the bell that rings when there is more.

Watchers are never sent anything: they read what is retained, each at its own pace, and wait when there is nothing new.
So nobody who commits ever waits for a watcher, and a watcher that is too slow costs nothing: it learns that what it
wants is not retained any more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from inmem.engine.retained_commits import RetainedCommits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem.actors.dispatch.mailbox import ReplyTo
    from inmem.engine.commits.pipeline import InFlight


class ChangeFeed:
    """The newest commits of one store, restarts of its core included. The coordinator adds; anybody may read and wait.

    Attributes:
        commits: what is retained. Replaced when there is a gap: then it begins after it; and by another history's.
    """

    __slots__ = ("_waiting", "commits")

    def __init__(self) -> None:
        self.commits = RetainedCommits(0)
        self._waiting: deque[ReplyTo] = deque()

    def extend(self, commits: Sequence[tuple[InFlight[Any], int]]) -> None:
        """Add commits that have just been published, and wake whoever waits."""
        add = self.commits.add
        for in_flight, version in commits:
            add(version, in_flight.record)
        if self._waiting:
            self.wake()

    def catch_up(self, recovered: RetainedCommits, version: int) -> None:
        """Go on from what has been recovered, without gap or repetition where that is possible.

        Args:
            recovered: what the log has.
            version: that of the published snapshot from here on.
        """
        if recovered.version < self.commits.version:
            # Something published is lost, as weaker durability modes allow: nobody may go on as if nothing was.
            self.skip_to(version)
        elif recovered.since > self.commits.version:
            recovered.history = self.commits.history
            self.commits = recovered
        else:
            self.commits.add_newer(recovered)
        self.wake()

    def skip_to(self, version: int) -> None:
        """Go on behind `version`, with nothing before it: whoever has not come that far learns that it lags."""
        empty = RetainedCommits(version)
        empty.history = self.commits.history
        self.commits = empty
        self.wake()

    def begin_anew(self, recovered: RetainedCommits) -> None:
        """Go on with the commits of another history; whoever follows the one so far learns of it."""
        recovered.history = self.commits.history + 1
        self.commits = recovered
        self.wake()

    def wait(self, reply_to: ReplyTo) -> None:
        """Have `reply_to` set, once, when there may be something new. After this call, look again before waiting."""
        self._waiting.append(reply_to)

    def forget(self, reply_to: ReplyTo) -> None:
        """Take a `wait` back, if it has not been answered."""
        try:
            self._waiting.remove(reply_to)
        except ValueError:
            return

    def wake(self) -> None:
        """Wake everybody who waits now."""
        waiting = self._waiting
        for _ in range(len(waiting)):
            try:
                reply_to = waiting.popleft()
            except IndexError:
                return
            reply_to.set(None)
