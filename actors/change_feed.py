"""The latest commits, for watchers to follow, and the bell that rings when there are more.

Nothing is sent to watchers: they read what is retained, each at its own pace, and wait when there is nothing new. So no
commit ever waits for a watcher, and a watcher that is too slow costs nothing: it learns that the commits it wants are
no longer retained.
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
    """The newest commits of one store, across restarts of its core. The coordinator adds; any thread may read and wait.

    Attributes:
        commits: the retained commits. Replaced at a gap, by those that follow it, and when the history changes.
    """

    __slots__ = ("_waiting", "commits")

    def __init__(self) -> None:
        self.commits = RetainedCommits(0)
        self._waiting: deque[ReplyTo] = deque()

    def extend(self, commits: Sequence[tuple[InFlight[Any], int]]) -> None:
        """Add commits that have just been published, and wake all that wait."""
        add = self.commits.add
        for in_flight, version in commits:
            add(version, in_flight.record)
        if self._waiting:
            self.wake()

    def catch_up(self, recovered: RetainedCommits, version: int) -> None:
        """Continue with the recovered commits, without gap or repetition where that is possible.

        Args:
            recovered: the commits in the log.
            version: the version of the published snapshot from here on.
        """
        if recovered.version < self.commits.version:
            # Published commits are lost, as weaker durability modes allow: no watcher may go on as if they were not.
            self.skip_to(version)
        elif recovered.since > self.commits.version:
            recovered.history = self.commits.history
            self.commits = recovered
        else:
            self.commits.add_newer(recovered)
        self.wake()

    def skip_to(self, version: int) -> None:
        """Continue after `version`, with nothing before it: a watcher that has not come so far learns that it lags."""
        empty = RetainedCommits(version)
        empty.history = self.commits.history
        self.commits = empty
        self.wake()

    def begin_anew(self, recovered: RetainedCommits) -> None:
        """Continue with the commits of another history; watchers of the previous one learn of it."""
        recovered.history = self.commits.history + 1
        self.commits = recovered
        self.wake()

    def wait(self, reply_to: ReplyTo) -> None:
        """Set `reply_to`, once, when there may be something new. After this call, look again before waiting."""
        self._waiting.append(reply_to)

    def forget(self, reply_to: ReplyTo) -> None:
        """Cancel a `wait`, if it has not been answered."""
        try:
            self._waiting.remove(reply_to)
        except ValueError:
            return

    def wake(self) -> None:
        """Wake all that wait now."""
        waiting = self._waiting
        for _ in range(len(waiting)):
            try:
                reply_to = waiting.popleft()
            except IndexError:
                return
            reply_to.set(None)
