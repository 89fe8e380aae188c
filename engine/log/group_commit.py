"""When to write, when to sync and when to answer: the log writer's decisions, without its I/O.

    durability   a commit is answered   written               synced
    always       after its sync         when no sync runs     after every write, one sync for all that were written
    interval     after its write        at once               when told to, by a timer
    never        after its write        at once               on flush and close only

While a sync runs under `always`, records pile up; when it ends they are written with one call and synced with one
call. That is group commit, and it is why many clients together commit faster than one.

When a sync has ended and nothing is to be written at once, a MARK says so in the log. The header of the next frame
would say it as well; until there is one, only the mark tells the newest commits from an interrupted write. It costs a
write of 32 bytes and no sync: a killed process leaves it behind, and a power failure that takes it takes a witness, no
commit.

Versions are given here, in the order of the records in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar

from inmem.engine.errors import InvariantError, StorageError
from inmem.engine.log.log_format import FrameKind, encode_frame

if TYPE_CHECKING:
    from inmem.engine.log.log_format import SegmentHeader

GROUP_BYTES_MAX = 8 * 1024 * 1024
"""Bytes written with one call: larger groups would make the first commit in them wait for the last."""

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
"""A segment that has grown past this is followed by a new one, and by a checkpoint: recovery reads about this much."""

SEGMENTS_MAX = 32
"""An opening that finds more begins with a checkpoint: every opening that writes adds a segment, however short."""

RETRIES_PER_SEGMENT = 16
"""A segment whose successor cannot be created goes on; so often per length of a segment it is tried again."""

TicketT = TypeVar("TicketT")
TicketT_contra = TypeVar("TicketT_contra", contravariant=True)


class Durability(StrEnum):
    """What success of a commit promises: durable, durable soon, or written."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


DurabilityName: TypeAlias = Durability | Literal["always", "interval", "never"]
"""What `inmem.open` takes as its durability: [what each promises](../durability.md#modes)."""


class LogOutbox(Protocol[TicketT_contra]):
    """What the writer wants done, and what it has to tell.

    `write` and `mark` are done when they return; how `sync` and `start_segment` have ended is reported later. The
    others are announcements.
    """

    def write(self, data: bytes) -> None:
        """Append to the segment, or leave it as it was and raise `StorageError`."""
        ...

    def mark(self, data: bytes) -> bool:
        """Append to the segment if that can be done; the mark is wanted, not needed."""
        ...

    def sync(self) -> None:
        """Start making the segment durable; `GroupCommit.synced` reports the end."""
        ...

    def start_segment(self, number: int, base_version: int, previous_end: int, previous_version: int) -> None:
        """Start creating a segment, the previous one made durable first; `GroupCommit.segment_started` reports it."""
        ...

    def appended(self, first_version: int, transaction_ids: tuple[int, ...]) -> None:
        """These transactions are in the log, as durable as the mode promises."""
        ...

    def refused(self, transaction_ids: tuple[int, ...], error: StorageError) -> None:
        """These transactions are not in the log and never will be."""
        ...

    def flushed(self, ticket: TicketT_contra) -> None:
        """Everything appended before that flush is durable."""
        ...

    def rotated(self, number: int, base_version: int) -> None:
        """A new segment has taken over from one that had grown too long, or from too many, or for a checkpoint."""
        ...

    def not_rotated(self, error: StorageError) -> None:
        """The new segment could not be created; the old one goes on."""
        ...


@dataclass(slots=True)
class PendingFlush(Generic[TicketT]):
    """Somebody who waits until what had been taken when they asked is durable."""

    ticket: TicketT
    records_ahead: int
    """How many of the records that were waiting then are still not written."""
    end: int | None
    """Once they are: where in the current segment they end."""


class GroupCommit(Generic[TicketT]):
    """The state of the log's end: what waits to be written, what waits to be synced, who waits for which.

    Args:
        outbox: carries the decisions out.
        durability: one of the three modes.
        number: number of the last segment that exists, 0 if none does.
        end: how many bytes of it count.
        version: the last version in the log, or a higher one to continue from.
        previous_version: the last version in the log.
        segments: how many exist since the last checkpoint.
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
        # Where the last commit ends: nobody waits for a mark behind it to become durable.
        self._commit_end = 0
        self._synced_end = 0
        # Where this segment ended when its successor could last not be created.
        self._refused_at = 0
        self._open = False
        self._starting = False
        self._rotate = False
        # The first segment that is started here is taken for one that follows a segment that has grown too long.
        self._has_many_segments = segments > SEGMENTS_MAX
        self._syncing_to: int | None = None
        self._sync_owed = False
        self._pending: list[tuple[int, bytes]] = []
        # Written but not answered yet, `always` only: the first version and the transactions of one group.
        self._unanswered: tuple[int, tuple[int, ...]] | None = None
        self._flushes: list[PendingFlush[TicketT]] = []

    @property
    def version(self) -> int:
        """The last version given."""
        return self._version

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of commits in the current segment that are not known to be durable."""
        return max(0, self._commit_end - self._synced_end)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self._pending or self._starting or self._syncing_to is not None or self._flushes)

    def append(self, transaction_id: int, record: bytes) -> None:
        """Take a record. It is written at once, or with the next group."""
        self._pending.append((transaction_id, record))
        self._advance()

    def flush(self, ticket: TicketT) -> None:
        """Have everything taken so far made durable, in any mode."""
        self._flushes.append(PendingFlush(ticket, len(self._pending), None if self._pending else self._commit_end))
        self._advance()

    def sync_due(self) -> None:
        """`interval`: the time has come to sync what was written, at the latest when what runs now has ended."""
        self._sync_owed = True
        self._advance()

    def rotate(self) -> None:
        """Go on in a new segment as soon as the current one is durable."""
        self._rotate = True
        self._advance()

    def synced(self) -> None:
        """The sync that was asked for has ended well."""
        if self._syncing_to is None:
            raise InvariantError("a sync ended that nobody had asked for")
        self._synced_end = self._syncing_to
        self._syncing_to = None
        if not self._pending and not self._rotate and self._synced_end >= self._commit_end:
            # Before anybody learns that those commits are durable.
            self._write_mark()
        if self._unanswered is not None:
            first_version, transaction_ids = self._unanswered
            self._unanswered = None
            self._out.appended(first_version, transaction_ids)
        self._advance()

    def segment_started(self, header: SegmentHeader, size: int) -> None:
        """The segment that was asked for exists, durably, and holds its header."""
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

        An open one goes on, past its size if need be. Without one whoever waits is refused, and the next record tries
        again.
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
        """Everything written has been made durable, by a sync that was not started here."""
        self._synced_end = self._end

    @property
    def position(self) -> tuple[int, int]:
        """Number of the current segment, and how many bytes are in it."""
        return self._number, self._end

    def close_frame(self) -> bytes | None:
        """Return the frame that marks a clean close, or None when this opening never wrote anything.

        It vouches for what is known to be durable, so that has to be everything by now.
        """
        if not self._open:
            return None
        return encode_frame(FrameKind.CLOSE, self._version, self._synced_end, b"", self._seed)

    def check(self) -> None:
        """Raise `InvariantError` unless the marks are in order."""
        if not (self._synced_end <= self._end and self._commit_end <= self._end):
            raise InvariantError("more is synced than was written")
        if self._unanswered is not None and self._syncing_to is None:
            raise InvariantError("a group waits for a sync that is not running")
        if self._pending and self._open and not self._starting and self._syncing_to is None:
            raise InvariantError("records wait although nothing is in their way")

    def _advance(self) -> None:
        """Do whatever can be done now; called after every change."""
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
        """Whether to try for a successor of this segment, which is long enough, now or again."""
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
            frame = encode_frame(FrameKind.COMMIT, version, self._synced_end, record, self._seed)
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
        """Answer the flushes whose records are durable; start a sync when one is due or still waited for."""
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
