"""Recovering a database's state from its files: the newest good checkpoint, then every later commit in log order.

`recover` feeds a folder's files to `Recovery` (engine/log/recovered_state.py) and returns where the log continues. This
module does not write: it reports to the caller what must be cut off or removed. Files are read in pieces, never whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.errors import CorruptionError
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.frame_reader import FrameReader, is_blank
from inmem.engine.log.log_folder import (
    FIRST_SEGMENT,
    MANIFEST_NAME,
    FolderContents,
    checkpoint_name,
    path_of,
    segment_name,
)
from inmem.engine.log.log_format import FrameKind
from inmem.engine.log.log_records import decode_commit
from inmem.engine.log.manifest import Manifest, known_end, read_manifest
from inmem.engine.log.numbered_files import checkpoint_in, linked_segments
from inmem.engine.log.recovered_state import Recovery
from inmem.engine.log.recovery_progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.log.numbered_files import SegmentFile
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.log.recovery_progress import RecoveryProgress
    from inmem.engine.ports import Folder


_COMMIT: Final = int(FrameKind.COMMIT)


class TornFile(NamedTuple):
    """What an interrupted write left in the file `name`: `size` bytes from `offset`.

    Before continuing the log, the caller saves them as `torn_name(name, offset)` and cuts the file at `offset`; if
    `offset` is 0, it renames the file instead.
    """

    name: str
    offset: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where the log ends, and what must be done before it continues in segment `segment + 1`.

    Attributes:
        segment: number of the last segment that counts, 0 if there is none.
        end: bytes of that segment that count: `previous_end` of the next one.
        version: the last version in the log: `previous_version` of the next segment.
        last_frame: where the last frame before `end` begins, 0 if the segment has none.
        is_clean: whether the last frame is a CLOSE and nothing follows it, or there is no log at all.
        torn: a torn tail of the last segment, if any, then a segment whose creation was interrupted, if any.
        damaged: checkpoints that were skipped in favour of an older one.
        obsolete: names of files that are no longer needed, in the order in which to remove them.
        segments: the number of segments since the newest good checkpoint.
    """

    segment: int
    end: int
    version: int
    last_frame: int
    is_clean: bool
    torn: tuple[TornFile, ...]
    damaged: tuple[CorruptionError, ...]
    obsolete: tuple[str, ...]
    segments: int


def recover(
    disk: Folder, shards: int, tell: Callable[[RecoveryProgress], None] | None = None
) -> tuple[Recovered, LogPosition]:
    """Return the state that the files prove, and where the log continues. Does not change any file.

    Args:
        disk: the folder.
        shards: the number of roots into which to split the state.
        tell: called with the progress every PROGRESS_BYTES.

    Raises:
        CorruptionError: data that counts is damaged or missing.
        FormatVersionError: a file has a newer format, or the folder contains no inmem database.
        UnfinishedSalvageError: the database was written by a salvage that did not complete.

    Complexity: O(bytes) in time; in memory the state, and a few windows or the longest commit.
    """
    # Read the manifest before the names and the segments, so that it is not newer than they are.
    manifest = read_manifest(disk)
    contents = FolderContents.of(disk.names())
    meter = Meter(0 if tell is None else _size_of(disk, contents), tell)
    recovery, chosen, damaged = _load_checkpoint(disk, contents, meter)
    numbers = _segments_from(disk, contents, chosen or FIRST_SEGMENT, manifest, damaged)
    position = _replay(disk, numbers, recovery, chosen, manifest, meter)
    if manifest is not None:
        # Reads may have used a later time than the last commit. An entry that had expired for them must stay expired.
        recovery.note_time(manifest.written_at_us)
    obsolete = (*contents.temporary, *contents.before(chosen))
    return recovery.result(shards), replace(position, damaged=tuple(damaged), obsolete=obsolete)


def _size_of(disk: Folder, contents: FolderContents) -> int:
    """Return the bytes of the files that recovery will read if none is damaged."""
    newest = contents.checkpoints[-1:]
    first = newest[0] if newest else FIRST_SEGMENT
    total = 0
    for name in (*map(checkpoint_name, newest), *(segment_name(n) for n in contents.segments if n >= first)):
        file = disk.open(name)
        total += file.size
        file.close()
    return total


def _load_checkpoint(
    disk: Folder, contents: FolderContents, meter: Meter
) -> tuple[Recovery, int, list[CorruptionError]]:
    """Return a `Recovery` from the newest good checkpoint, its number or 0, and the damage of those skipped."""
    damaged: list[CorruptionError] = []
    for number in reversed(contents.checkpoints):
        recovery = Recovery()
        file = disk.open(checkpoint_name(number))
        try:
            recovery.load_checkpoint(checkpoint_in(disk, number, file), meter)
        except CorruptionError as error:
            damaged.append(error)
            continue
        finally:
            file.close()
        meter.next_file(file.size)
        return recovery, number, damaged
    return Recovery(), 0, damaged


def _segments_from(
    disk: Folder, contents: FolderContents, first: int, manifest: Manifest | None, damaged: list[CorruptionError]
) -> list[int]:
    """Return the numbers of all segments from `first` on, without a gap.

    Raises:
        CorruptionError: a segment is missing, or the checkpoint with which the log begins; if a checkpoint is damaged,
            the damage is raised instead.
    """
    numbers = [number for number in contents.segments if number >= first]
    # A checkpoint is written after the segment with its number, and the manifest after the segment that it names.
    known = (0 if manifest is None else manifest.segment, *contents.checkpoints)
    last = max([*numbers, *known], default=0)
    if last and len(numbers) != last - first + 1:
        if damaged:
            raise damaged[0]
        missing = next((want for want, have in enumerate(numbers, start=first) if want != have), first + len(numbers))
        name, reason = contents.what_is_missing(missing)
        raise CorruptionError(path_of(disk, name), 0, reason)
    return numbers


def _replay(
    disk: Folder, numbers: list[int], recovery: Recovery, chosen: int, manifest: Manifest | None, meter: Meter
) -> LogPosition:
    """Apply all commits of the segments `numbers`; return where they end, with nothing damaged or obsolete."""
    checkpoint_version = recovery.version
    last = end = version = last_frame = 0
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
        frames = FrameReader(segment.file, header, path, valid_end)
        salt = header.salt
        for frame in frames:
            if frame.kind == _COMMIT and frame.version > checkpoint_version:
                recovery.apply(frame.version, decode_commit(frame.payload, path, frame.offset), salt)
                recovery.retained.add(frame.version, frame.payload)
            if frame.offset >= meter.due_at:
                meter.tell(frame.offset, recovery.commits)
        meter.next_file(segment.file.size)
        if frames.torn is not None:
            torn.append(TornFile(segment.name, *frames.torn))
        elif (
            # If the end of the segment is unknown, its writer may have continued to write after the frames were read.
            valid_end is not None
            and (following is None or following.header is None)
            and not is_blank(segment.file, frames.end)
        ):
            size = segment.file.size - frames.end
            torn.append(TornFile(segment.name, frames.end, size, "it follows the end of a database that was closed"))
        last, end, version, is_clean = header.number, frames.end, frames.version, frames.is_closed
        last_frame = frames.last
    if chosen and last == 0:
        raise CorruptionError(path_of(disk, segment_name(chosen)), 0, "the header is damaged")
    if version < checkpoint_version:
        raise CorruptionError(path, end, f"the log ends at version {version}, the checkpoint has {checkpoint_version}")
    recovery.version = version
    return LogPosition(
        segment=last,
        end=end,
        version=version,
        last_frame=last_frame,
        is_clean=is_clean and not torn,
        torn=tuple(torn),
        damaged=(),
        obsolete=(),
        segments=len(numbers),
    )


def end_of_segment(
    disk: Folder, segment: SegmentFile, following: SegmentFile | None, manifest: Manifest | None
) -> int | None:
    """Return where the segment ends according to the next one or the manifest, or None if neither says so.

    Raises:
        CorruptionError: the manifest is missing, or names a different segment with this number.
    """
    header = segment.header
    if header is None:
        return None
    if manifest is None and header.format > 1 and segment.file.size > HEADER_BYTES:
        # The manifest is written before a segment's first frame.
        raise CorruptionError(path_of(disk, MANIFEST_NAME), 0, "the manifest is missing")
    if manifest is not None:
        manifest.check_names(header, segment.path)
    return known_end(header.number, None if following is None else following.header, manifest)


def check_link(header: SegmentHeader, path: str, last: int, version: int, chosen: int) -> None:
    """Raise CorruptionError unless the segment continues what was read before it.

    Args:
        header: the segment's header.
        path: the segment's path.
        last: number of the previous segment, 0 if none was read.
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
