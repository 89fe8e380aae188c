"""From the files of a database to its state: the newest good checkpoint, and every commit after it in log order.

`Recovery` is the fold; `recover` drives it over a folder and says where the log has to be continued. Versions are taken
as recorded and nothing is validated again, so that recovering twice, or elsewhere, gives the identical state. Nothing
here writes: what is to be cut or removed is reported to the caller. Files are read in pieces, never whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from immutables import Map

from inmem.engine.checkpoint_format import CheckpointReader
from inmem.engine.errors import CorruptionError, InvariantError
from inmem.engine.file_header import HEADER_BYTES
from inmem.engine.frame_reader import read_frames
from inmem.engine.keys import shard_of
from inmem.engine.log_folder import FolderContents, checkpoint_name, linked_segments, path_of, segment_name
from inmem.engine.log_format import FrameKind
from inmem.engine.log_records import CommitRecord, TableWrites, decode_commit
from inmem.engine.manifest import MANIFEST_NAME, Manifest, ManifestState, read_manifest
from inmem.engine.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem.engine.log_folder import SegmentFile
    from inmem.engine.log_format import SegmentHeader
    from inmem.engine.ports import Disk
    from inmem.engine.snapshot import Root, TableId
    from inmem.engine.table import Entry

OUTCOMES_MAX: Final = 10_000
"""Commits whose outcome can be asked for after reopening: far more than can have been in flight at once."""

PROGRESS_BYTES: Final = 64 * 1024 * 1024
"""How often recovery tells how far it is: about once a second, and not at all for a small database."""


class Progress(NamedTuple):
    """How far a recovery has come.

    Attributes:
        bytes_read: of the files that it reads.
        bytes_total: of them all.
        commits: replayed from the log so far.
    """

    bytes_read: int
    bytes_total: int
    commits: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state that the files prove.

    Attributes:
        version: of the last commit; the next one is at least one more.
        transaction_id_max: greatest transaction id in use so far.
        time_floor_us: latest timestamp of any commit, microseconds since the epoch.
        roots: one per shard, each run's tables in the shard that `shard_of` names.
        outcomes: (salt, transaction id) → version of the newest commits, in order of their versions.
        outcomes_since: every commit after this version is in `outcomes`; one that is not there did not happen.
        commits: commits replayed from the log.
        keys: live keys, expired ones included.
        last_drop_version: of the last replayed commit that dropped a run, 0 if none did.
    """

    version: int
    transaction_id_max: int
    time_floor_us: int
    roots: tuple[Root, ...]
    outcomes: dict[tuple[int, int], int]
    outcomes_since: int
    commits: int
    keys: int
    last_drop_version: int = 0


class Recovery:
    """Folds a checkpoint and commits into a state, held in plain dicts until `result` freezes it.

    Attributes:
        version: of the last commit folded in.
        commits: folded in.
    """

    def __init__(self) -> None:
        self.version = 0
        self.commits = 0
        self._transaction_id_max = 0
        self._time_floor_us = 0
        self._tables: dict[str, dict[int, dict[bytes, Entry]]] = {}
        self._outcomes: deque[tuple[int, int, int]] = deque(maxlen=OUTCOMES_MAX)
        self._outcomes_since = 0
        self._last_drop_version = 0

    def load_checkpoint(self, checkpoint: CheckpointReader, meter: Meter | None = None) -> None:
        """Begin with the checkpoint. If it turns out to be damaged, this object is of no further use. O(bytes).

        Raises:
            CorruptionError: the checkpoint is incomplete or altered.
        """
        for run, tag, entries in checkpoint:
            self._tables.setdefault(run, {}).setdefault(tag, {}).update(entries)
            if meter is not None and checkpoint.offset >= meter.due_at:
                meter.tell(checkpoint.offset, 0)
        header = checkpoint.header
        self.version = header.version
        self._transaction_id_max = header.transaction_id_max
        self._time_floor_us = header.time_floor_us
        self._outcomes_since = header.outcomes_since
        for version, (salt, transaction_id) in sorted(
            (v, transaction) for transaction, v in checkpoint.outcomes.items()
        ):
            self._remember(version, salt, transaction_id)

    def apply(self, version: int, record: CommitRecord, salt: int) -> None:
        """Fold in the next commit. O(its writes), and O(tables of the run) for a dropped run.

        Args:
            version: of the commit.
            record: what it did.
            salt: of the opening that made it.

        Raises:
            InvariantError: the version is not beyond those folded in before.
        """
        if version <= self.version:
            raise InvariantError(f"version {version} is folded in after {self.version}")
        tables = self._tables
        transaction_id, timestamp_us, operations = record
        for operation in operations:
            if type(operation) is TableWrites:
                run, tag, writes = operation
                tables_of_run = tables.get(run)
                if tables_of_run is None:
                    tables_of_run = tables[run] = {}
                table = tables_of_run.get(tag)
                if table is None:
                    table = tables_of_run[tag] = {}
                for key, value, expires_at_us in writes:
                    table[key] = (version, value, expires_at_us)
            else:
                tables.pop(operation.run, None)
                self._last_drop_version = version
        self.version = version
        self.commits += 1
        self._transaction_id_max = max(self._transaction_id_max, transaction_id)
        self._time_floor_us = max(self._time_floor_us, timestamp_us)
        self._remember(version, salt, transaction_id)

    def apply_late(self, version: int, record: CommitRecord, salt: int) -> None:
        """Fold in a commit although commits before it are missing: of each key the newest entry wins.

        For salvage alone. What comes of it is a state that the database need not ever have had.
        """
        tables = self._tables
        for operation in record.operations:
            if type(operation) is TableWrites:
                run, tag, writes = operation
                self.merge(run, tag, [(key, (version, value, expires_at)) for key, value, expires_at in writes])
            else:
                for entries in tables.get(operation.run, {}).values():
                    for key in [key for key, entry in entries.items() if entry[0] < version]:
                        del entries[key]
        self.version = max(self.version, version)
        self.commits += 1
        self.note_ids(record)
        self._remember(version, salt, record.transaction_id)

    def merge(self, run: str, tag: int, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Take over entries of which newer ones may be known. For salvage alone."""
        table = self._tables.setdefault(run, {}).setdefault(tag, {})
        for key, entry in entries:
            known = table.get(key)
            # A commit may write a key twice; its later operation wins.
            if known is None or known[0] <= entry[0]:
                table[key] = entry
            self.version = max(self.version, entry[0])

    def note_ids(self, record: CommitRecord) -> None:
        """See to it that ids and times go on behind those of a commit, whether it is folded in or not."""
        self._transaction_id_max = max(self._transaction_id_max, record.transaction_id)
        self._time_floor_us = max(self._time_floor_us, record.timestamp_us)

    def forget_outcomes_up_to(self, version: int) -> None:
        """Say nothing about commits up to `version` that are not there: they may have happened, and been lost."""
        self._outcomes_since = max(self._outcomes_since, version)

    def _remember(self, version: int, salt: int, transaction_id: int) -> None:
        outcomes = self._outcomes
        if len(outcomes) == OUTCOMES_MAX:
            self._outcomes_since = outcomes[0][0]
        outcomes.append((version, salt, transaction_id))

    def result(self, shards: int) -> Recovered:
        """Return the state, its tables frozen and split among `shards`. O(n) for tables written in key order."""
        roots: list[dict[TableId, Table]] = [{} for _ in range(shards)]
        keys = 0
        for run, tables_of_run in self._tables.items():
            root = roots[shard_of(run, shards)]
            for tag, entries in tables_of_run.items():
                if entries:
                    table = root[run, tag] = Table.build(entries)
                    keys += table.live_count
        return Recovered(
            self.version,
            self._transaction_id_max,
            self._time_floor_us,
            tuple(Map(root) for root in roots),
            {(salt, transaction_id): version for version, salt, transaction_id in self._outcomes},
            self._outcomes_since,
            self.commits,
            keys,
            self._last_drop_version,
        )


class Meter:
    """Tells how far recovery is, by bytes, so that a slow disk is told apart from a long log.

    Attributes:
        due_at: offset in the current file from which on to call `tell`.
    """

    def __init__(self, total: int, tell: Callable[[Progress], None] | None) -> None:
        self._total = total
        self._tell = tell
        self._before = 0
        self._due_bytes = PROGRESS_BYTES
        self.due_at: float = PROGRESS_BYTES if tell is not None else float("inf")

    def tell(self, offset: int, commits: int) -> None:
        """Tell it, and when to tell again."""
        if self._tell is not None:
            self._tell(Progress(self._before + offset, self._total, commits))
            self._due_bytes = self._before + offset + PROGRESS_BYTES
            self.due_at = self._due_bytes - self._before

    def next_file(self, size: int) -> None:
        """Go on to the next file; that one had `size` bytes."""
        self._before += size
        if self._tell is not None:
            self.due_at = self._due_bytes - self._before


class TornFile(NamedTuple):
    """What an interrupted write left behind in the file `name`: `size` bytes from `offset` on.

    The caller keeps them aside under `torn_name(name, offset)` before it goes on: it cuts the file at `offset`, and
    renames the whole file where that is 0.
    """

    name: str
    offset: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where the log ends, and what is to be done before it is continued in segment `segment + 1`.

    Attributes:
        segment: number of the last segment that counts, 0 if there is none.
        end: bytes of it that count: `previous_end` of the next one.
        version: the last one: `previous_version` of the next segment.
        is_clean: the last frame is a CLOSE and nothing lies behind it, or there is no log at all.
        torn: at most a torn tail of the last segment, then a segment whose creation was interrupted.
        damaged: checkpoints that were passed over in favour of an older one.
        obsolete: names of files that are not needed any more, in the order in which to remove them.
    """

    segment: int
    end: int
    version: int
    is_clean: bool
    torn: tuple[TornFile, ...]
    damaged: tuple[CorruptionError, ...]
    obsolete: tuple[str, ...]


def recover(disk: Disk, shards: int, tell: Callable[[Progress], None] | None = None) -> tuple[Recovered, LogPosition]:
    """Return the state that the files prove, and where the log is to be continued. Changes nothing.

    Args:
        disk: the folder.
        shards: how many roots to split the state into.
        tell: called every PROGRESS_BYTES.

    Raises:
        CorruptionError: something that counted is damaged or missing.
        FormatVersionError: a file is not ours, or of a newer format.
        UnfinishedSalvageError: the database is half of what a salvage was going to write.

    Complexity: O(bytes) in time; in memory the state, and a few windows or the longest commit.
    """
    # Before the names and the segments: what it says of them is then no newer than what is read.
    manifest = read_manifest(disk)
    contents = FolderContents.of(disk.names())
    meter = Meter(0 if tell is None else _size_of(disk, contents), tell)
    recovery, chosen, damaged = _load_checkpoint(disk, contents, meter)
    numbers = _segments_from(disk, contents, chosen or 1, manifest, damaged)
    position = _replay(disk, numbers, recovery, chosen, manifest, meter)
    obsolete = (
        *contents.temporary,
        *(checkpoint_name(number) for number in contents.checkpoints if number < chosen),
        *(segment_name(number) for number in contents.segments if number < chosen),
    )
    recovered = recovery.result(shards)
    return recovered, LogPosition(*position, damaged=tuple(damaged), obsolete=obsolete)


def _size_of(disk: Disk, contents: FolderContents) -> int:
    """Return the bytes of the files that recovery will read if none is damaged."""
    newest = contents.checkpoints[-1:]
    first = newest[0] if newest else 1
    total = 0
    for name in (*map(checkpoint_name, newest), *(segment_name(n) for n in contents.segments if n >= first)):
        file = disk.open(name)
        total += file.size
        file.close()
    return total


def _load_checkpoint(disk: Disk, contents: FolderContents, meter: Meter) -> tuple[Recovery, int, list[CorruptionError]]:
    """Return a fold that begins with the newest good checkpoint, that one's number or 0, and what was passed over."""
    damaged: list[CorruptionError] = []
    for number in reversed(contents.checkpoints):
        name = checkpoint_name(number)
        path = path_of(disk, name)
        recovery = Recovery()
        file = disk.open(name)
        try:
            checkpoint = CheckpointReader(file, path)
            if checkpoint.header.first_segment != number:
                raise CorruptionError(
                    path, 16, f"the header says that this is checkpoint {checkpoint.header.first_segment}"
                )
            recovery.load_checkpoint(checkpoint, meter)
        except CorruptionError as error:
            damaged.append(error)
            continue
        finally:
            file.close()
        meter.next_file(file.size)
        return recovery, number, damaged
    return Recovery(), 0, damaged


def _segments_from(
    disk: Disk, contents: FolderContents, first: int, manifest: Manifest | None, damaged: list[CorruptionError]
) -> list[int]:
    """Return the numbers of all segments from `first` on, without a gap.

    Raises:
        CorruptionError: one is missing; if that is because of a damaged checkpoint, the damage.
    """
    numbers = [number for number in contents.segments if number >= first]
    # Every checkpoint was written after the segment it is named for, the manifest after the one it names.
    known = (0 if manifest is None else manifest.segment, *contents.checkpoints)
    last = max([*numbers, *known], default=0)
    if last and len(numbers) != last - first + 1:
        if damaged:
            raise damaged[0]
        missing = next((want for want, have in enumerate(numbers, start=first) if want != have), first + len(numbers))
        raise CorruptionError(path_of(disk, segment_name(missing)), 0, "the segment is missing")
    return numbers


def _replay(
    disk: Disk, numbers: list[int], recovery: Recovery, chosen: int, manifest: Manifest | None, meter: Meter
) -> tuple[int, int, int, bool, tuple[TornFile, ...]]:
    """Fold in all commits of the segments `numbers`; return the first five fields of a LogPosition."""
    checkpoint_version = recovery.version
    last = end = version = 0
    path = ""
    is_clean = True
    torn: list[TornFile] = []
    for segment, following in linked_segments(disk, numbers, 0 if manifest is None else manifest.segment):
        header = segment.header
        if header is None:
            torn.append(TornFile(segment.name, 0, segment.file.size, "its creation was interrupted"))
            continue
        path = segment.path
        check_link(header, path, last, version if last else checkpoint_version, chosen)
        valid_end = end_of_segment(disk, segment, following, manifest)
        frames = read_frames(segment.file, header, path, valid_end)
        salt = header.salt
        for frame in frames:
            if frame.kind == FrameKind.COMMIT and frame.version > checkpoint_version:
                recovery.apply(frame.version, decode_commit(frame.payload, path, frame.offset), salt)
            if frame.offset >= meter.due_at:
                meter.tell(frame.offset, recovery.commits)
        meter.next_file(segment.file.size)
        if frames.torn is not None:
            torn.append(TornFile(segment.name, *frames.torn))
        elif (following is None or following.header is None) and frames.end < segment.file.size:
            size = segment.file.size - frames.end
            torn.append(TornFile(segment.name, frames.end, size, "it follows the end of a database that was closed"))
        last, end, version, is_clean = header.number, frames.end, frames.version, frames.is_closed
    if chosen and last == 0:
        raise CorruptionError(path_of(disk, segment_name(chosen)), 0, "the header is damaged")
    if version < checkpoint_version:
        raise CorruptionError(path, end, f"the log ends at version {version}, the checkpoint has {checkpoint_version}")
    recovery.version = version
    return last, end, version, is_clean and not torn, tuple(torn)


def end_of_segment(
    disk: Disk, segment: SegmentFile, following: SegmentFile | None, manifest: Manifest | None
) -> int | None:
    """Return where the segment is known to end, by the next one or by the manifest, or None.

    Raises:
        CorruptionError: the manifest is missing, or names another segment of this number.
    """
    header = segment.header
    if header is None:
        return None
    if manifest is None and header.format > 1 and segment.file.size > HEADER_BYTES:
        # It was written before the first frame was.
        raise CorruptionError(path_of(disk, MANIFEST_NAME), 0, "the manifest is missing")
    if manifest is not None:
        manifest.check_names(header, segment.path)
    if following is not None and following.header is not None:
        return following.header.previous_end
    if manifest is None or manifest.segment != header.number or manifest.state != ManifestState.CLOSED:
        return None
    return manifest.end


def check_link(header: SegmentHeader, path: str, last: int, version: int, chosen: int) -> None:
    """Raise CorruptionError unless the segment continues what was read before it.

    Args:
        header: of the segment.
        path: of the segment.
        last: number of the segment before, 0 if none was read.
        version: last version of that segment, or of the checkpoint.
        chosen: number of the checkpoint, or 0.
    """
    if last:
        if header.previous_version != version:
            raise CorruptionError(
                path, 48, f"it follows version {header.previous_version}, the segment before ends at {version}"
            )
    elif chosen:
        if header.previous_version > version:
            raise CorruptionError(
                path, 48, f"it follows version {header.previous_version}, the checkpoint ends at {version}"
            )
    elif header.previous_version or header.previous_end:
        raise CorruptionError(path, 40, "the first segment says that another one came before it")
