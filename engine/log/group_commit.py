"""When to write, when to sync and when to answer: the log writer's decisions, without its I/O.

    durability   a commit is answered   written               synced
    always       after its sync         when no sync runs     after every write, one sync for all that were written
    interval     after its write        at once               when told to, by a timer
    never        after its write        at once               on flush and close only

While a sync runs under `always`, records accumulate; when it ends, they are written with one call and synced with one
call. This is group commit, and it is why many clients together commit faster than one.

When a sync has ended and no record is waiting, a MARK frame records what is durable. The header of the next frame would
do so too, but until there is one, only the MARK distinguishes the newest commits from an interrupted write. It costs a
write of 32 bytes and no sync. It survives when the process is killed; a power failure may lose it, but no commit with
it.

This module assigns the versions, in the order of the records in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from inmem.engine.errors import InvariantError, StorageError
from inmem.engine.log.log_format import FrameKind, encode_frame

if TYPE_CHECKING:
    from inmem.engine.log.log_format import SegmentHeader

GROUP_BYTES_MAX = 8 * 1024 * 1024
"""Bytes written with one call: in a larger group the first commit would wait long for the last."""

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""When a segment grows past this, a new segment and a checkpoint follow: recovery reads about this many bytes."""

SEGMENTS_MAX = 32
"""An opening that finds more segments begins with a checkpoint: every opening that writes adds one, however short."""

RETRIES_PER_SEGMENT = 16
"""If a segment's successor cannot be created, the segment stays in use, and creation is retried this many times per
SEGMENT_BYTES_MAX written."""

_COMMIT: Final = FrameKind.COMMIT

TicketT = TypeVar("TicketT")
TicketT_contra = TypeVar("TicketT_contra", contravariant=True)


class Durability(StrEnum):
    """What a successful commit guarantees: durable, durable soon, or written."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


DurabilityName: TypeAlias = Durability | Literal["always", "interval", "never"]
"""The durability argument of `inmem.open`: [what each mode promises](../durability.md#modes)."""


class LogOutbox(Protocol[TicketT_contra]):
    """Where `GroupCommit` sends its requests for I/O and its announcements.

    `write` and `mark` are complete when they return; the results of `sync` and `start_segment` are reported later. The
    other methods are announcements.
    """

    def write(self, data: bytes) -> None:
        """Append to the segment, or raise `StorageError` and leave the segment unchanged."""
        ...

    def mark(self, data: bytes) -> bool:
        """Append a MARK to the segment if possible, and return whether it was. A failure has no consequences."""
        ...

    def sync(self) -> None:
        """Start making the segment durable; `GroupCommit.synced` reports completion."""
        ...

    def start_segment(self, number: int, base_version: int, previous_end: int, previous_version: int) -> None:
        """Start creating a segment, after making the previous one durable; `GroupCommit.segment_started` reports it."""
        ...

    def appended(self, first_version: int, transaction_ids: tuple[int, ...]) -> None:
        """These transactions are in the log, as durable as the mode promises."""
        ...

    def refused(self, transaction_ids: tuple[int, ...], error: StorageError) -> None:
        """These transactions are not in the log and never will be."""
        ...

    def flushed(self, ticket: TicketT_contra) -> None:
        """Everything appended before the flush is durable."""
        ...

    def rotated(self, number: int, base_version: int) -> None:
        """A new segment is in use: the old one was too long, there were too many, or a checkpoint needs one."""
        ...

    def not_rotated(self, error: StorageError) -> None:
        """The new segment could not be created; the old one stays in use."""
        ...


@dataclass(slots=True)
class PendingFlush(Generic[TicketT]):
    """A flush: it waits until every record accepted before it is durable."""

    ticket: TicketT
    records_ahead: int
    """How many records accepted before the flush are not written yet."""
    end: int | None
    """Where those records end in the current segment, once all are written; None before."""


class GroupCommit(Generic[TicketT]):
    """The state of the log's end: what is to be written, what is to be synced, and which callers wait for it.

    Args:
        outbox: carries out the decisions.
        durability: one of the three modes.
        number: number of the last existing segment, 0 if there is none.
        end: bytes of that segment that count.
        version: the last version in the log, or a higher one from which to continue.
        previous_version: the last version in the log.
        segments: the number of segments since the last checkpoint.
    """

    def __init__(
        self,
        outbox: LogOutbox[TicketT],
        durability: Durability,
        *,
        number: int,
        end: int,
        version: int,
        previous_version: int,
        segments: int,
    ) -> None:
        self._out = outbox
        self._always = durability is Durability.ALWAYS
        self._number = number
        self._previous_end = end
        self._previous_version = previous_version
        self._version = version
        self._seed = 0
        self._end = 0
        # Where the last commit ends. No caller waits for a MARK after it to become durable.
        self._commit_end = 0
        self._synced_end = 0
        # Where this segment ended at the last failure to create its successor.
        self._refused_at = 0
        self._open = False
        self._starting = False
        self._rotate = False
        # If true, the first segment started here is reported as a rotation, as if the previous one had been too long.
        self._has_many_segments = segments > SEGMENTS_MAX
        self._syncing_to: int | None = None
        self._sync_owed = False
        self._pending: list[tuple[int, bytes]] = []
        # Written but not answered yet, `always` only: the first version and the transactions of one group.
        self._unanswered: tuple[int, tuple[int, ...]] | None = None
        self._flushes: list[PendingFlush[TicketT]] = []

    @property
    def version(self) -> int:
        """The last version assigned."""
        return self._version

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of commits in the current segment that are not known to be durable."""
        return max(0, self._commit_end - self._synced_end)

    @property
    def is_idle(self) -> bool:
        """Whether no record or flush waits, and no sync or segment creation is running."""
        return not (self._pending or self._starting or self._syncing_to is not None or self._flushes)

    @property
    def is_rotating(self) -> bool:
        """Whether a new segment has been asked for that does not exist yet."""
        return self._rotate

    def append(self, transaction_id: int, record: bytes) -> None:
        """Accept a record. It is written at once, or with the next group."""
        self._pending.append((transaction_id, record))
        self._advance()

    def flush(self, ticket: TicketT) -> None:
        """Make all records accepted so far durable, in any mode."""
        self._flushes.append(PendingFlush(ticket, len(self._pending), None if self._pending else self._commit_end))
        self._advance()

    def sync_due(self) -> None:
        """`interval` mode: sync what has been written, now or when the operation in progress has ended."""
        self._sync_owed = True
        self._advance()

    def rotate(self) -> None:
        """Start a new segment as soon as the current one is durable."""
        self._rotate = True
        self._advance()

    def synced(self) -> None:
        """The requested sync has succeeded."""
        if self._syncing_to is None:
            raise InvariantError("a sync ended that nobody had asked for")
        self._synced_end = self._syncing_to
        self._syncing_to = None
        if not self._pending and not self._rotate and self._synced_end >= self._commit_end:
            # Before any caller learns that these commits are durable.
            self._write_mark()
        if self._unanswered is not None:
            first_version, transaction_ids = self._unanswered
            self._unanswered = None
            self._out.appended(first_version, transaction_ids)
        self._advance()

    def segment_started(self, header: SegmentHeader, size: int) -> None:
        """The requested segment exists durably and contains its header."""
        rotated = self._rotate or self._has_many_segments
        self._number = header.number
        self._seed = header.seed
        self._end = self._commit_end = self._synced_end = size
        self._refused_at = 0
        self._open = True
        self._starting = False
        self._rotate = self._has_many_segments = False
        for flush in self._flushes:
            if flush.end is not None:
                flush.end = 0
        if rotated:
            self._out.rotated(header.number, header.base_version)
        self._advance()

    def segment_refused(self, error: StorageError) -> None:
        """The segment could not be created.

        An open segment stays in use, past its maximum size if necessary. If none is open, the waiting records are
        refused, and the next record tries again.
        """
        self._starting = False
        self._refused_at = self._end
        if self._rotate:
            self._rotate = False
            self._out.not_rotated(error)
        if not self._open and self._pending:
            refused = tuple(transaction_id for transaction_id, _ in self._pending)
            self._pending = []
            self._note_written(len(refused))
            self._out.refused(refused, error)
        self._advance()

    def synced_for_close(self) -> None:
        """Everything written has been made durable by a sync that this object did not request."""
        self._synced_end = self._end

    @property
    def position(self) -> tuple[int, int]:
        """The current segment's number, and its length in bytes."""
        return self._number, self._end

    def close_frame(self) -> bytes | None:
        """Return the frame that marks a clean close, or None if this opening never wrote anything.

        The frame states what is known to be durable. Call this only once that is everything.
        """
        if not self._open:
            return None
        return encode_frame(FrameKind.CLOSE, self._version, self._synced_end, b"", self._seed)

    def check(self) -> None:
        """Raise `InvariantError` unless the positions are consistent and no group or record waits without reason."""
        if not (self._synced_end <= self._end and self._commit_end <= self._end):
            raise InvariantError("more is synced than was written")
        if self._unanswered is not None and self._syncing_to is None:
            raise InvariantError("a group waits for a sync that is not running")
        if self._pending and self._open and not self._starting and self._syncing_to is None:
            raise InvariantError("records wait although nothing is in their way")

    def _advance(self) -> None:
        """Do everything that can be done now; called after every change of state."""
        while not self._starting and not (self._always and self._syncing_to is not None):
            if not self._open:
                if not self._pending and not self._rotate:
                    break
                self._start_segment(self._number + 1, self._previous_end, self._previous_version)
                break
            if self._rotate or (self._end > SEGMENT_BYTES_MAX and self._is_rotation_due()):
                if self._syncing_to is None:
                    self._rotate = True
                    self._start_segment(self._number + 1, self._end, self._version)
                break
            if not self._pending:
                break
            self._write_group()
        if self._flushes or self._sync_owed:
            self._answer_flushes()

    def _is_rotation_due(self) -> bool:
        """Whether to try now to create a successor of this segment, which is long enough for one."""
        return self._end - self._refused_at > SEGMENT_BYTES_MAX // RETRIES_PER_SEGMENT

    def _start_segment(self, number: int, previous_end: int, previous_version: int) -> None:
        self._starting = True
        self._out.start_segment(number, self._version, previous_end, previous_version)

    def _write_group(self) -> None:
        version, size_bytes = self._version, 0
        frames: list[bytes] = []
        transaction_ids: list[int] = []
        for transaction_id, record in self._pending:
            version += 1
            frame = encode_frame(_COMMIT, version, self._synced_end, record, self._seed)
            frames.append(frame)
            transaction_ids.append(transaction_id)
            size_bytes += len(frame)
            if size_bytes >= GROUP_BYTES_MAX:
                break
        group = len(frames)
        del self._pending[:group]
        try:
            self._out.write(b"".join(frames))
        except StorageError as error:
            self._note_written(group)
            self._out.refused(tuple(transaction_ids), error)
            return
        first_version = self._version + 1
        self._version = version
        self._end += size_bytes
        self._commit_end = self._end
        if self._flushes:
            self._note_written(group)
        if self._always:
            self._unanswered = (first_version, tuple(transaction_ids))
            self._start_sync()
        else:
            self._out.appended(first_version, tuple(transaction_ids))

    def _note_written(self, records: int) -> None:
        for flush in self._flushes:
            if flush.end is None:
                flush.records_ahead = max(0, flush.records_ahead - records)
                flush.end = None if flush.records_ahead else self._commit_end

    def _write_mark(self) -> None:
        frame = encode_frame(FrameKind.MARK, self._version, self._synced_end, b"", self._seed)
        if self._out.mark(frame):
            self._end += len(frame)

    def _start_sync(self) -> None:
        self._syncing_to = self._end
        self._sync_owed = False
        self._out.sync()

    def _answer_flushes(self) -> None:
        """Answer the flushes whose records are durable; start a sync if one is due or a flush still needs one."""
        synced_end = self._synced_end
        if synced_end >= self._commit_end:
            self._sync_owed = False
        if self._flushes:
            done = [flush for flush in self._flushes if flush.end is not None and flush.end <= synced_end]
            self._flushes = [flush for flush in self._flushes if flush.end is None or flush.end > synced_end]
            for flush in done:
                self._out.flushed(flush.ticket)
        if self._starting or self._syncing_to is not None:
            return
        if self._sync_owed or (self._flushes and any(flush.end is not None for flush in self._flushes)):
            self._start_sync()
