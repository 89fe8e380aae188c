"""Bugs of kinds that have caused data loss elsewhere, planted into the store on purpose, one at a time.

Each replaces one small piece of the product with a faulty version. The simulation must find every one of them.
"""

import contextlib
import dataclasses
import queue
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from inmem.actors import supervisor
from inmem.actors.core import core, log_disk
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.dispatch.actor import Owed
from inmem.actors.reaper import Reaper
from inmem.engine.commits.pipeline import CommitPipeline
from inmem.engine.commits.shard import Shard
from inmem.engine.commits.table_view import TableView
from inmem.engine.keys import Tag
from inmem.engine.log.group_commit import GroupCommit
from inmem.engine.log.log_folder import segment_name
from inmem.engine.log.recovery import recover
from inmem.engine.packing import pack
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.event_record import unpack_event
from inmem.primitives.events import EventOperations
from inmem.simulation import Faults
from tests.engine.memory_disk import content_of

Plant = Callable[[pytest.MonkeyPatch], Callable[[], None]]


@dataclasses.dataclass(frozen=True)
class PlantedBug:
    """One bug, and how it must be found.

    Attributes:
        plant: plants the bug; returns a function to call at the start of each run.
        faults: the faults needed to expose the bug.
        seeds: the number of seeds within which it must be found.
        finding: a regular expression for the expected failure, as ``Type: message``: the harm done by the bug. Any
            other failure means that the bug was not planted, for instance because the product has changed.
    """

    name: str
    plant: Plant
    faults: Faults
    seeds: int
    finding: str


def _nothing() -> None:
    """Do nothing: the bug keeps no state between runs."""


def acknowledge_before_sync(monkeypatch):
    start_sync = GroupCommit._start_sync

    def mistaken(self):
        start_sync(self)
        if self._unanswered is not None:
            unanswered, self._unanswered = self._unanswered, None
            self._out.appended(*unanswered)

    monkeypatch.setattr(GroupCommit, "_start_sync", mistaken)
    return _nothing


def publish_before_apply(monkeypatch):
    appended = CommitPipeline.appended

    def mistaken(self, *args, **named):
        appended(self, *args, **named)
        self._publish(self._logged_version, self._applying.pop(self._logged_version))

    def applied(self, shard, _batch_version, root):
        roots = list(self._published.roots)
        roots[shard] = root
        self._published = Snapshot(self._published.version, tuple(roots))
        self._out.publish(self._published, ())

    monkeypatch.setattr(CommitPipeline, "appended", mistaken)
    monkeypatch.setattr(CommitPipeline, "applied", applied)
    return _nothing


def validate_without_prepared_writes(monkeypatch):
    def unreserve(self, part):
        for part_slice in part.slices:
            for key, _, _ in part_slice.writes:
                self._prepared_keys.pop((*part_slice.table_id, key), None)
        for run in part.dropped_runs:
            self._prepared_drops.pop(run, None)

    monkeypatch.setattr(Shard, "_blockers", lambda self, part: iter(()))
    monkeypatch.setattr(Shard, "_unreserve", unreserve)
    return _nothing


def skip_the_directory_fsync(monkeypatch):
    create_segment = log_disk.create_segment

    class Forgetful:
        def __init__(self, disk):
            self._disk = disk

        def __getattr__(self, name):
            return getattr(self._disk, name)

        def sync_names(self):
            """Do nothing: this is the bug."""

    monkeypatch.setattr(
        log_disk, "create_segment", lambda disk, *args, **named: create_segment(Forgetful(disk), *args, **named)
    )
    return _nothing


def continue_after_a_torn_tail(monkeypatch):
    def mistaken(disk, shards, *_args, **_named):
        recovered, position = recover(disk, shards)
        if not position.segment:
            return recovered, position
        name = segment_name(position.segment)
        # The segment is made durable with its torn tail.
        disk.truncate(name, len(content_of(disk, name)))
        for torn in position.torn:
            if torn.offset == 0:
                disk.remove(torn.name)
        disk.sync_names()
        return recovered, dataclasses.replace(position, end=len(content_of(disk, name)), torn=())

    monkeypatch.setattr(supervisor, "open_log", mistaken)
    return _nothing


def reuse_a_version_after_recovery(monkeypatch):
    init = LogWriter.__init__

    def mistaken(self, *args, version, **named):
        init(self, *args, version=max(0, version - 1), **named)

    monkeypatch.setattr(LogWriter, "__init__", mistaken)
    return _nothing


def drop_one_shards_abort(monkeypatch):
    release = Coordinator.release

    def mistaken(self, shard, transaction_id):
        if shard == 0:
            release(self, shard, transaction_id)

    monkeypatch.setattr(Coordinator, "release", mistaken)
    return _nothing


def deliver_a_reply_twice(monkeypatch):
    answer = Owed.answer

    def mistaken(self, value):
        answer(self, value)
        with contextlib.suppress(queue.Full):
            if self.reply_to is not None:
                self.reply_to.set(value)

    monkeypatch.setattr(Owed, "answer", mistaken)
    return _nothing


def restart_an_actor_with_stale_state(monkeypatch):
    roots: dict[Any, Any] = {}

    class Stale(ShardActor):
        def __init__(self, mailbox, supervisor, number, index, root, *args, **named):
            super().__init__(mailbox, supervisor, number, index, roots.setdefault(mailbox, root), *args, **named)

    monkeypatch.setattr(core, "ShardActor", Stale)
    return roots.clear


def forget_the_tombstone(monkeypatch):
    apply = Table.apply

    def mistaken(self, writes, version):
        table = apply(self, writes, version)
        if all(value is not None for _, value, _ in writes):
            return table
        return Table.build({key: entry for key, entry in table.range() if entry[1] is not None})

    monkeypatch.setattr(Table, "apply", mistaken)
    return _nothing


def event_hash_from_the_unpublished_head(monkeypatch):
    append, last = EventOperations._append, TableView.last
    heads: dict[str, bytes] = {}

    def remembering(self, events):
        appended = append(self, events)
        heads[self._run] = appended[-1].hash
        return appended

    def mistaken(self):
        found = last(self)
        if found is None or self.table_id[1] != Tag.EVENT or self.table_id[0] not in heads:
            return found
        key, record = found
        return key, pack(replace(unpack_event(record), hash=heads[self.table_id[0]]))

    monkeypatch.setattr(EventOperations, "_append", remembering)
    monkeypatch.setattr(TableView, "last", mistaken)
    return heads.clear


def reap_what_a_running_transaction_can_see(monkeypatch):
    reap = Reaper._reap
    monkeypatch.setattr(Reaper, "_reap", lambda self, _before_us: reap(self, self._clock.now_us()))
    return _nothing


CRASHES = Faults.crashes()
ACTOR_CRASHES = Faults(actor_crash=True)

PLANTED = [
    PlantedBug(
        "acknowledge before sync",
        acknowledge_before_sync,
        CRASHES,
        100,
        r"BrokenPromise: version \d+ was acknowledged, only \d+ was recovered",
    ),
    PlantedBug(
        "publish before apply",
        publish_before_apply,
        Faults(),
        20,
        r"BrokenPromise: version \d+ was acknowledged, yet .* shows version \d+",
    ),
    PlantedBug(
        "validate without prepared writes",
        validate_without_prepared_writes,
        Faults(),
        20,
        r"BrokenPromise: (lost update|incompatible orders)",
    ),
    PlantedBug(
        "skip the directory fsync",
        skip_the_directory_fsync,
        CRASHES,
        50,
        r"CorruptionError: .*the manifest is missing"
        r"|BrokenPromise: version \d+ was acknowledged, only \d+ was recovered",
    ),
    PlantedBug(
        "continue after a torn tail",
        continue_after_a_torn_tail,
        CRASHES,
        100,
        r"(CorruptionError|StoreFailedError): .*(the segment ends within|does not match its checksum)",
    ),
    PlantedBug(
        "reuse a version after recovery",
        reuse_a_version_after_recovery,
        CRASHES,
        50,
        r"BrokenPromise: the log numbered|CorruptionError: .*the base version lies below",
    ),
    PlantedBug(
        "drop one shard's abort",
        drop_one_shards_abort,
        Faults(),
        50,
        # A transaction that waits for the part that stays prepared waits for ever. If the aborted transaction itself is
        # tried again, its part is prepared twice, which no shard allows.
        r"BrokenPromise: the store is not at rest after|TransactionAbortedError: .*the store restarted",
    ),
    PlantedBug(
        "deliver a reply twice",
        deliver_a_reply_twice,
        Faults(),
        5,
        r"BrokenPromise: .* was answered 2 times",
    ),
    PlantedBug(
        "restart an actor with stale state",
        restart_an_actor_with_stale_state,
        ACTOR_CRASHES,
        50,
        r"BrokenPromise: (the state at version \d+ is not that of|incompatible orders|lost update)",
    ),
    PlantedBug(
        "forget the tombstone",
        forget_the_tombstone,
        Faults(),
        20,
        r"BrokenPromise: version \d+ was acknowledged, yet .* shows version 0",
    ),
    PlantedBug(
        "event hash from the unpublished head",
        event_hash_from_the_unpublished_head,
        Faults(),
        20,
        r"BrokenPromise: .*event \d+ does not name the hash of the event before it",
    ),
    PlantedBug(
        "reap what a running transaction can see",
        reap_what_a_running_transaction_can_see,
        Faults(),
        50,
        r"BrokenPromise: somebody touched what a running transaction could see",
    ),
]
