"""Builds the core: coordinator, shards, log writer and their helpers, all from one recovered state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inmem.actors.core.checkpointer import Checkpointer
from inmem.actors.core.coordinator import Coordinator
from inmem.actors.core.fileless_log_writer import FilelessLogWriter
from inmem.actors.core.log_disk import LogDisk
from inmem.actors.core.log_writer import LogWriter
from inmem.actors.core.shard_actor import ShardActor
from inmem.actors.dispatch.mailbox import Mailbox
from inmem.actors.messages.control import Resume
from inmem.engine.tables.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.actors.core.transaction_registry import TransactionRegistry
    from inmem.actors.dispatch.actor import StoreActor
    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.actors.options import Options
    from inmem.actors.published import Published
    from inmem.engine.errors import InmemError
    from inmem.engine.log.recovery import LogPosition
    from inmem.engine.outcomes import Outcomes
    from inmem.engine.ports import Clock, Disk
    from inmem.engine.version_ranges import Range


@dataclass(frozen=True, slots=True)
class CoreMailboxes:
    """The addresses of the core. They stay when the actors behind them are replaced."""

    coordinator: Mailbox
    shards: tuple[Mailbox, ...]
    writer: Mailbox
    disk: Mailbox
    checkpointer: Mailbox

    @classmethod
    def create(cls, dispatcher: Dispatcher, shards: int) -> CoreMailboxes:
        """Return fresh addresses; messages sent to them wait for the first core."""
        return cls(
            Mailbox("coordinator", dispatcher),
            tuple(Mailbox(f"shard-{index}", dispatcher) for index in range(shards)),
            Mailbox("log-writer", dispatcher),
            Mailbox("log-disk", dispatcher, own_thread=True, lends_itself=True),
            Mailbox("checkpointer", dispatcher, own_thread=True),
        )

    def __iter__(self) -> Iterator[Mailbox]:
        return iter((*self.shards, self.disk, self.checkpointer, self.writer, self.coordinator))


@dataclass(frozen=True, slots=True)
class CoreState:
    """What a core starts from.

    Attributes:
        number: number of the core, counting up.
        salt: salt of the opening.
        outcomes: outcomes of the newest commits.
        position: the log's end; None without a log.
        lost_versions: see `Coordinator`.
        refusal: why there will be no writes, or None.
    """

    number: int
    salt: int
    outcomes: Outcomes
    position: LogPosition | None
    lost_versions: tuple[Range, ...]
    refusal: InmemError | None


class Core(NamedTuple):
    """The parts of a running core that the supervisor uses."""

    coordinator: Coordinator
    writer: LogWriter | FilelessLogWriter
    members: tuple[Mailbox, ...]
    """The addresses that have an actor behind them."""


def start_core(
    mailboxes: CoreMailboxes,
    state: CoreState,
    *,
    supervisor: MailboxRef,
    options: Options,
    published: Published,
    clock: StoreClock,
    system_clock: Clock,
    disk: Disk | None,
    reaper: MailboxRef,
    registry: TransactionRegistry,
) -> Core:
    """Put new actors behind the addresses of the core: all of them, or none if one of them cannot be made.

    The actors of an incomplete core would go on using the files beside the next core.
    """
    # A core that commits nothing must not keep old tables alive: a reader moves on to newer snapshots.
    start = published.snapshot if state.refusal is None else Snapshot.empty(len(mailboxes.shards))
    shards = _make_shards(mailboxes, state, supervisor, published, start, registry.last_drop_version)
    writer, helpers = _make_writer(
        mailboxes,
        state,
        supervisor=supervisor,
        options=options,
        version=published.snapshot.version,
        clock=clock,
        system_clock=system_clock,
        disk=disk,
    )
    coordinator = Coordinator(
        mailboxes.coordinator,
        supervisor,
        state.number,
        shards=mailboxes.shards,
        writer=mailboxes.writer,
        checkpointer=mailboxes.checkpointer.ref if helpers else None,
        reaper=reaper,
        published=published,
        start=start,
        clock=clock,
        outcomes=state.outcomes,
        salt=state.salt,
        registry=registry,
        lost_versions=state.lost_versions,
        refusal=state.refusal,
    )
    # Shards first and the coordinator last: the messages waiting in its mailbox make it send to them at once.
    actors: tuple[StoreActor, ...] = (*shards, *helpers, writer, coordinator)
    for actor in actors:
        actor.ref.tell(Resume(actor))
    return Core(coordinator, writer, tuple(actor.mailbox for actor in actors))


def _make_shards(
    mailboxes: CoreMailboxes,
    state: CoreState,
    supervisor: MailboxRef,
    published: Published,
    start: Snapshot,
    dropped_up_to: int,
) -> list[ShardActor]:
    return [
        ShardActor(
            mailbox,
            supervisor,
            state.number,
            index,
            root,
            forgotten_version=dropped_up_to,
            first_version=published.snapshot.version,
            coordinator=mailboxes.coordinator.ref,
        )
        for index, (mailbox, root) in enumerate(zip(mailboxes.shards, start.roots, strict=True))
    ]


def _make_writer(
    mailboxes: CoreMailboxes,
    state: CoreState,
    *,
    supervisor: MailboxRef,
    options: Options,
    version: int,
    clock: StoreClock,
    system_clock: Clock,
    disk: Disk | None,
) -> tuple[LogWriter | FilelessLogWriter, tuple[StoreActor, ...]]:
    """Return the log writer, and the actors that it needs where there are files to write to."""
    number = state.number
    coordinator = mailboxes.coordinator.ref
    if disk is None or state.position is None or state.refusal is not None:
        return FilelessLogWriter(mailboxes.writer, supervisor, number, coordinator, version, state.refusal), ()
    writer = LogWriter(
        mailboxes.writer,
        supervisor,
        number,
        coordinator=coordinator,
        log_disk=mailboxes.disk.ref,
        disk=disk,
        clock=clock,
        durability=options.durability,
        sync_interval_s=options.sync_interval,
        salt=state.salt,
        position=state.position,
        version=version,
    )
    log_disk = LogDisk(mailboxes.disk, supervisor, number, disk, system_clock, writer.ref)
    checkpointer = Checkpointer(mailboxes.checkpointer, supervisor, number, disk, clock, writer.ref)
    return writer, (log_disk, checkpointer)
