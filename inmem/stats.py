"""Counters and state of a running store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem.amounts import counted, in_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inmem.actors.client.client import Client
    from inmem.actors.messages.transactions import CoordinatorStats


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since the store was opened, and its state at the time of the call.

    Attributes:
        version: the version of the newest published commit.
        commits: number of transactions that committed writes.
        aborts: number of commits that were refused or aborted.
        conflicts: refused commits by kind of conflict: read, write, cas, scan. One commit can count under several.
        retries: number of commits sent by a second or later attempt: of `db.transaction` and whatever uses it, such as
            `cells.transition`, or of a single operation, which the store repeats. Each attempt counts, however it
            ended; one that sent no commit does not, nor does a program's own loop around `db.begin`.
        conflict_rate: refused commits as a share of all attempted commits.
        group_sizes: number of commits logged together → how often. Under `always`, one group is one sync.
        in_flight: number of commits being validated or logged now.
        active_transactions: number of transactions that have begun and not ended.
        oldest_snapshot_version: the version that the oldest active transaction reads, or None.
        oldest_snapshot_age_s: how long ago that transaction began, in seconds.
        queue_depths: waiting messages by actor.
        keys: number of live entries of all kinds, including index entries and expired keys.
        runs: number of runs that are registered or hold data.
    """

    version: int
    commits: int
    aborts: int
    conflicts: Mapping[str, int]
    retries: int
    conflict_rate: float
    group_sizes: Mapping[int, int]
    in_flight: int
    active_transactions: int
    oldest_snapshot_version: int | None
    oldest_snapshot_age_s: float
    queue_depths: Mapping[str, int]
    keys: int
    runs: int

    def __str__(self) -> str:
        """Return everything as a few labelled lines."""
        refused = ", ".join(f"{count:,} {kind}" for kind, count in self.conflicts.items() if count)
        groups = sum(self.group_sizes.values())
        oldest = ""
        if self.oldest_snapshot_version is not None:
            oldest = f", the oldest for {self.oldest_snapshot_age_s:.1f} s at version {self.oldest_snapshot_version:,}"
        waiting = ", ".join(f"{count:,} for {actor}" for actor, count in self.queue_depths.items() if count)
        rows = [
            ("version", f"{self.version:,}"),
            ("commits", f"{self.commits:,}, logged in {counted(groups, 'group')}"),
            ("aborts", f"{self.aborts:,}"),
            ("retries", f"{self.retries:,}"),
            ("conflicts", f"{refused or 'none'}; {self.conflict_rate:.1%} of the commits refused"),
            ("transactions", f"{self.active_transactions:,} active{oldest}; {self.in_flight:,} being committed"),
            ("waiting", waiting or "nothing"),
            ("entries", f"{self.keys:,}, including index entries"),
            ("runs", f"{self.runs:,}"),
        ]
        return in_columns(rows)


def stats_of(client: Client, counted: CoordinatorStats) -> Stats:
    """Return the coordinator's counters, together with what can be read without asking an actor. O(tables)."""
    snapshot = client.snapshot()
    directory = client.directory
    tables = list(snapshot.tables())
    attempts = counted.commits + counted.aborts
    return Stats(
        version=snapshot.version,
        commits=counted.commits,
        aborts=counted.aborts,
        conflicts=dict(counted.conflicts),
        retries=counted.retries,
        conflict_rate=counted.refused / attempts if attempts else 0.0,
        group_sizes=dict(counted.groups),
        in_flight=counted.in_flight,
        active_transactions=counted.active_transactions,
        oldest_snapshot_version=counted.oldest_start_version,
        oldest_snapshot_age_s=counted.oldest_age_s,
        queue_depths={name: directory.dispatcher.depth(ref.mailbox) for name, ref in directory.mailboxes.items()},
        keys=sum(table.live_count for _, _, table in tables),
        runs=len({run for run, _, table in tables if run and table.live_count}),
    )
