"""Keeps the core alive: starts it, halts it when one of its actors fails, and rebuilds it from the log.

The numbered steps are those of `supervisor.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.core.core import CoreMailboxes, CoreState, start_core
from inmem.actors.core.fileless_log_writer import FilelessLogWriter
from inmem.actors.core.settlement import Settlement
from inmem.actors.core.transaction_registry import TransactionRegistry
from inmem.actors.event_log import QuietLogger
from inmem.actors.files.log_file import FileDeletedError
from inmem.actors.files.log_opening import rewrite_tail
from inmem.actors.files.system_calls import storage_error
from inmem.actors.garbage import paused_collection
from inmem.actors.messages.control import Halt
from inmem.actors.messages.reaping import FindExpiring
from inmem.actors.restart_limit import RestartLimit
from inmem.engine.errors import (
    InmemError,
    ReadOnlyError,
    StoreFailedError,
)
from inmem.engine.log.recovered_state import Recovered
from inmem.engine.log.recovery import recover
from inmem.engine.outcomes import Outcomes
from inmem.engine.retained_commits import RetainedCommits
from inmem.engine.shown import shown_failure
from inmem.engine.tables.snapshot import Snapshot

if TYPE_CHECKING:
    from inmem.actors.core.core import Core
    from inmem.actors.dispatch.actor import Owed
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.actors.files.follower import Advance
    from inmem.actors.messages.control import ActorFailed
    from inmem.actors.options import Options
    from inmem.actors.published import Published
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.outcomes import CommitVersions
    from inmem.engine.ports import Clock, Disk, Entropy
    from inmem.engine.version_ranges import Range

log = QuietLogger("inmem.supervisor")


class CoreKeeper:
    """The core of one store, through all its incarnations.

    Args:
        supervisor: told of failures.
        options: how the store was opened.
        published: where the state is made visible.
        clock: the store's time.
        system_clock: the machine's clock.
        entropy: the source of salts.
        reaper: told of keys that will expire.

    Attributes:
        limit: decides when to give up.
        mailboxes: the addresses of the core.
        disk: the database's folder, once it is open; None without files.
        number: number of the running core, counting up.
        salt: salt of the running core.
        refusal: why the core accepts no writes, or None.
        is_down: whether the core is being halted in order to be rebuilt.
    """

    def __init__(
        self,
        supervisor: MailboxRef,
        options: Options,
        *,
        published: Published,
        clock: StoreClock,
        system_clock: Clock,
        entropy: Entropy,
        reaper: MailboxRef,
    ) -> None:
        self.limit = RestartLimit(system_clock)
        self.mailboxes = CoreMailboxes.create(supervisor.mailbox.dispatcher, options.shards)
        self.disk: Disk | None = None
        self.number = 0
        self.salt = 0
        self.refusal: InmemError | None = None
        self._supervisor = supervisor
        self._options = options
        self._published = published
        self._clock = clock
        self._system_clock = system_clock
        self._entropy = entropy
        self._reaper = reaper
        self._running: Core | None = None
        self._outcomes = Outcomes({}, 0)
        self._registry = TransactionRegistry()
        # Incarnations begun: one that was not completed has used its number.
        self._begun = 0
        self.is_down = False
        self._halting: set[str] = set()
        self._settlement = Settlement()
        self._halted_because = ""
        # The salt of the core that is down: an interrupted rebuild may have begun the next core already.
        self._halted_salt = 0
        # The deleted log file, if that is why the core failed.
        self._deleted_file: FileDeletedError | None = None
        # Of published commits, kept for good: a transaction that saw one may commit any number of restarts later.
        self._lost_versions: list[Range] = []

    @property
    def log_is_deleted(self) -> bool:
        """Whether the core last failed because the log was deleted: committed data is in memory alone."""
        return self._deleted_file is not None

    @property
    def why_read_only(self) -> ReadOnlyError | None:
        """Why the store accepts no writes, if it was opened for reading."""
        return ReadOnlyError(f"{self._options.path} was opened for reading") if self._options.read_only else None

    def start(
        self,
        recovered: Recovered,
        position: LogPosition | None,
        *,
        refusal: InmemError | None = None,
    ) -> None:
        """Step 3: put new actors behind the addresses. The state is published already."""
        self._begun += 1
        salt = self._entropy.bits(64)
        self.refusal = refusal
        self._outcomes = Outcomes(recovered.outcomes, recovered.outcomes_since)
        registry = self._registry
        registry.transaction_id = max(recovered.transaction_id_max, registry.transaction_id)
        # Transactions may still run that began before a run was dropped under an earlier core, and a checkpoint may
        # have removed that deletion from the log.
        registry.last_drop_version = max(recovered.last_drop_version, registry.last_drop_version)
        state = CoreState(
            number=self._begun,
            salt=salt,
            outcomes=self._outcomes,
            position=position,
            lost_versions=tuple(self._lost_versions),
            refusal=refusal,
        )
        self._running = start_core(
            self.mailboxes,
            state,
            supervisor=self._supervisor,
            options=self._options,
            published=self._published,
            clock=self._clock,
            system_clock=self._system_clock,
            disk=self.disk,
            reaper=self._reaper,
            registry=registry,
        )
        self.number = self._begun
        self.salt = salt

    def follow(self, advance: Advance) -> None:
        """Show what the database's owner has committed since. Nothing is committed here: this concerns readers only."""
        known_to = self._published.snapshot.version
        if not advance.goes_on:
            self._outcomes.forget()
            known_to = 0
        for (salt, transaction_id), version in advance.outcomes.items():
            if version > known_to:
                self._outcomes.record(salt, transaction_id, version)
        self._published.snapshot = advance.snapshot
        if advance.goes_on:
            self._published.feed.catch_up(advance.retained, advance.snapshot.version)
        elif advance.goes_on is None:
            self._published.feed.skip_to(advance.snapshot.version)
        else:
            self._published.feed.begin_anew(advance.retained)

    def fail(self, failed: ActorFailed) -> None:
        """Step 1, because one of the core's actors has failed."""
        if not self.is_down:
            self.limit.note_failed(failed)
            self._deleted_file = failed.error if isinstance(failed.error, FileDeletedError) else None
        self._halt(shown_failure(failed.error), has_failed=failed.name)

    def begin_anew(self) -> None:
        """Step 1, because a client asks for another try."""
        self.limit.forget()
        self._halt("somebody asked for it")

    def _halt(self, because: str, *, has_failed: str = "") -> None:
        if self._running is None:
            return
        # Includes actors that have not been resumed yet: their Halt arrives after their Resume.
        members = self._running.members
        if not self.is_down:
            self._halted_because = because
            self._halting = {mailbox.name for mailbox in members}
            self._halted_salt = self.salt
            self.is_down = True
        # If this is interrupted, it is repeated: a second Halt means nothing to a halted actor, or to the next one.
        for mailbox in members:
            if mailbox.name in self._halting and mailbox.name != has_failed:
                mailbox.ref.tell(Halt(self.number))

    def note_halted(self, name: str, core: int, owed: tuple[Owed, ...]) -> None:
        """Note that one actor has halted; after the last one, rebuild the core.

        If this fails, it can be called again.
        """
        if core == self.number and name in self._halting:
            self._settlement.take_over(owed)
            self._halting.discard(name)
        if self.is_down:
            if self._halting:
                return
            self._rebuild()
        self._settlement.settle(self.refusal, gave_up=self.limit.is_exceeded)

    def _rebuild(self) -> None:
        """Steps 2 and 3."""
        if self.salt != self._halted_salt:
            # An interrupted call has done everything but this.
            self.is_down = False
            return
        if self._running is not None:
            self._running.writer.release()
        logged, position, refusal = self._read_log()
        if logged is not None and refusal is None:
            recovered = logged
            self._deleted_file = None
            self._published.snapshot = Snapshot(self._version_after(logged.version), recovered.roots)
            self._clock.floor_us = max(self._clock.floor_us, recovered.time_floor_us)
        else:
            recovered = self._what_is_published()
        self._published.feed.catch_up(recovered.retained, self._published.snapshot.version)
        known: CommitVersions | None = None
        if logged is not None:
            known = logged.outcomes
        elif self.disk is None or self.log_is_deleted:
            known = recovered.outcomes
        log.warning(
            "restarted" if refusal is None else "failed",
            version=self._published.snapshot.version,
            because=self._halted_because,
            in_flight=len(self._settlement),
        )
        self._settlement.judge(known, self._halted_salt, self._published.snapshot.version, self._registry)
        if refusal is None:
            # The reaper has not been told of the keys in commits that were in flight.
            self._reaper.send(FindExpiring(), None)
        self.start(recovered, position, refusal=refusal)
        self.is_down = False

    def _version_after(self, logged_version: int) -> int:
        """Return the version to continue from after a log that reaches this far. None is given twice, lost or not."""
        published_version = self._published.snapshot.version
        if logged_version >= published_version:
            return logged_version
        if self._lost_versions[-1:] == [(logged_version + 1, published_version - 1)]:
            # The loss is known already: nothing has been committed since.
            return published_version
        self._lost_versions.append((logged_version + 1, published_version))
        return published_version + 1

    def _read_log(self) -> tuple[Recovered | None, LogPosition | None, InmemError | None]:
        """Step 2: return the log's content if it can be read, its end, and the reason if it cannot be continued."""
        refusal: InmemError | None = None
        if self.limit.is_exceeded:
            refusal = StoreFailedError(f"actors keep failing, the last time with {self.limit.last_failure}")
        if self.disk is None:
            return None, None, refusal
        if self._options.read_only:
            return None, None, self.why_read_only
        logged: Recovered | None = None
        position: LogPosition | None = None
        try:
            with paused_collection():
                logged, position = recover(self.disk, self._options.shards)
            if self._deleted_file is not None and logged.version < self._published.snapshot.version:
                # These files are not the old log's: a folder without files, for example, is an empty database.
                logged = position = None
                raise self._deleted_file
            if refusal is None:
                position = rewrite_tail(self.disk, position, self._clock.now_us())
        except Exception as error:
            # Whatever the error, callers wait for the end of this.
            log.warning("log_unusable", error=shown_failure(error), exc_info=error)
            if self._deleted_file is not None and logged is None:
                # The deletion is the cause, whatever was found instead; commits that were in flight cannot be read.
                error = storage_error(self._deleted_file, self.disk.path)
            refusal = refusal or StoreFailedError(str(error) or shown_failure(error))
        return logged, position, refusal

    def _what_is_published(self) -> Recovered:
        """Return the state of a store without a log, or with a log that it cannot continue.

        The log may then hold commits that are not published, so nothing is said about commits that are not known.
        """
        published = self._published.snapshot
        is_whole = self.disk is None or self._options.read_only
        since = self._outcomes.since if is_whole else published.version + 1
        outcomes = self._outcomes.up_to(published.version)
        if self._running is not None and isinstance(self._running.writer, FilelessLogWriter):
            # Published, but perhaps not recorded yet: the callers that wait for these have committed.
            numbered = self._running.writer.numbered
            outcomes |= {(self.salt, number): version for number, version in numbered if version <= published.version}
        retained = RetainedCommits(published.version)
        return Recovered(
            version=published.version,
            transaction_id_max=0,
            time_floor_us=0,
            roots=published.roots,
            outcomes=outcomes,
            outcomes_since=since,
            commits=0,
            keys=0,
            retained=retained,
        )

    def give_up(self) -> None:
        """Answer everything still owed, because the store ends and this core may be incomplete."""
        self._settlement.abandon()
        if self.is_down and self._running is not None:
            self._running.coordinator.abandon()
            self._running.writer.abandon()
