"""The position of one watcher in the feed, and its filter: what all kinds of watchers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.messages import edge
from inmem.engine.errors import WatchGapError
from inmem.engine.keys import normalize_run_id
from inmem.primitives.change import changes_of, tag_of

if TYPE_CHECKING:
    from typing import Self
    from uuid import UUID

    from inmem.actors.change_feed import ChangeFeed
    from inmem.actors.published import Published
    from inmem.primitives.change import Change, PrimitiveName

COMMITS_PER_LOOK = 256
"""Commits looked at in one go: a watcher interested in few of them must not keep its thread from everything else."""


class WatchCursor:
    """A position in the order of commits. For one thread.

    Args:
        run: the only run to follow; None for all.
        primitive: the only primitive to follow; None for all.
        version: the version to begin after.
        history: the history of the feed that this version belongs to.

    Attributes:
        version: everything of interest up to this version has been handed out.
        at_end: whether the last look reached the end of the feed.
    """

    __slots__ = ("_history", "_looked_at", "_named", "_pending", "_run", "_tag", "at_end", "version")

    def __init__(self, run: str | UUID | None, primitive: PrimitiveName | None, version: int, history: int) -> None:
        self._run = None if run is None else normalize_run_id(run)
        # The record of a commit to the run has these bytes in it; any record has those of "all runs".
        self._named = b"" if self._run is None else self._run.encode()
        self._tag = tag_of(primitive)
        # The remaining changes of the commit `_looked_at`, the next one last.
        self._pending: list[Change] = []
        self._looked_at = version
        self._history = history
        self.version = version
        self.at_end = False

    @classmethod
    def open(
        cls, published: Published, run: str | UUID | None, primitive: PrimitiveName | None, after_version: int | None
    ) -> Self:
        """Return a cursor after `after_version`, or, if that is None, after the newest commit.

        Raises:
            WatchGapError: the commits after it are no longer retained, or the store has not reached it.
            UsageError, InvalidKeyError: an argument is not acceptable.
        """
        # In this order: the snapshot is replaced first, so it never has an older history than the commits.
        commits = published.feed.commits
        newest = published.snapshot.version
        version = newest if after_version is None else edge.version(after_version)
        cursor = cls(run, primitive, version, commits.history)
        if version > newest:
            raise WatchGapError(version, newest, f"the store ends at version {newest}")
        commits.after(version)
        return cursor

    def rewind(self, version: int) -> None:
        """Go back to a version at which this cursor has been."""
        self._pending = []
        self.version = self._looked_at = version

    def next(self, feed: ChangeFeed) -> Change | None:
        """Return the next change; None if there is none, or none in the next `COMMITS_PER_LOOK` commits.

        Raises:
            WatchLaggedError: the next commit is no longer retained; the cursor stays where it is.
            WatchGapError: the feed has another history now; the cursor stays where it is, too.
        """
        if not self._pending and not self._look(feed):
            return None
        change = self._pending.pop()
        if not self._pending:
            self.version = self._looked_at
        return change

    def take(self, feed: ChangeFeed, count: int) -> tuple[Change, ...]:
        """Return the next changes, in whole commits: `count` or a few more, or as many as there are; see `next`."""
        changes: list[Change] = []
        while len(changes) < count and self._look(feed):
            changes += reversed(self._pending)
            self._pending = []
            self.version = self._looked_at
        return tuple(changes)

    def _look(self, feed: ChangeFeed) -> bool:
        """Look for the next commit of interest; return whether there was one."""
        self.at_end = False
        for _ in range(COMMITS_PER_LOOK):
            commits = feed.commits
            if commits.history != self._history:
                raise WatchGapError(self.version, commits.since, "the files hold another history now, as of a backup")
            found = commits.after(self._looked_at)
            if found is None:
                self.at_end = True
                return False
            version, record = found
            changes = changes_of(version, record, self._run, self._tag) if self._named in record else []
            self._looked_at = version
            if changes:
                changes.reverse()
                self._pending = changes
                return True
            self.version = version
        return False
