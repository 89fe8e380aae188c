"""Preparing a database's files for further writing: at opening, and after a failure inside the process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inmem.actors.event_log import QuietLogger
from inmem.actors.files.durable_files import create_segment, remove_if_present, write_file, write_new
from inmem.engine.errors import StorageError
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.frame_reader import WINDOW_BYTES, FrameReader
from inmem.engine.log.log_folder import path_of, segment_name, torn_name
from inmem.engine.log.log_format import FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.numbered_files import open_segment
from inmem.engine.log.recovery import recover

if TYPE_CHECKING:
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.log.recovery import LogPosition, TornFile
    from inmem.engine.log.recovery_progress import RecoveryProgress
    from inmem.engine.ports import Clock, Disk

log = QuietLogger("inmem.recovery")


def open_log(disk: Disk, shards: int, clock: Clock) -> tuple[Recovered, LogPosition]:
    """Recover a database that no process has open, and clean up after its last owner.

    The remains of an interrupted write are copied to their own file and cut off. Obsolete files are removed. The last
    segment gives back its reserved space and is made durable, because the next segment will vouch for it. If
    interrupted at any point, this can be repeated.

    Args:
        disk: the folder.
        shards: how many roots to split the state into.
        clock: measures the speed that is logged.

    Raises:
        CorruptionError, FormatVersionError: the files were left untouched.
        StorageError: the operating system refused an operation.
    """
    started_s = clock.monotonic_s()

    def tell(progress: RecoveryProgress) -> None:
        elapsed_s = max(clock.monotonic_s() - started_s, 1e-6)
        log.info(
            "recovering",
            path=disk.path,
            bytes_read=progress.bytes_read,
            bytes_total=progress.bytes_total,
            commits=progress.commits,
            commits_per_s=round(progress.commits / elapsed_s),
        )

    recovered, position = recover(disk, shards, tell)
    _set_torn_creation_aside(disk, position)
    for torn in position.torn:
        log.warning("torn_tail", file=torn.name, offset=torn.offset, bytes=torn.size, reason=torn.reason)
        if torn.offset == 0:
            continue
        aside = torn_name(torn.name, torn.offset)
        remove_if_present(disk, aside)
        _copy(disk, torn, aside)
        disk.sync_names()
        disk.truncate(torn.name, torn.offset)
    for damaged in position.damaged:
        log.warning("checkpoint_passed_over", error=str(damaged))
    _remove_obsolete(disk, position, insists=True)
    if position.segment and not position.is_clean:
        disk.truncate(segment_name(position.segment), position.end)
    return recovered, position


def rewrite_tail(disk: Disk, position: LogPosition, now_us: int) -> LogPosition:
    """Make durable what was recovered after a failure inside this process; return where the log continues.

    After a failed sync, bytes that can be read may not be on the disk, and syncing them again proves nothing. So
    everything after the last position known to be durable is written again, to a new segment, before anything relies on
    it. In the old segment it is then void. The new segment keeps the old one's salt, because the outcomes of its
    commits are looked up under that salt.

    Obsolete files, such as a half-written checkpoint, are removed if possible. So no other actor may still be writing.

    Args:
        disk: the folder.
        position: the end of the log, as `recover` found it.
        now_us: the time, in microseconds since the epoch.

    Raises:
        CorruptionError, StorageError, OSError: the log could not be made durable.
    """
    _set_torn_creation_aside(disk, position)
    _remove_obsolete(disk, position, insists=False)
    if position.segment == 0:
        return position
    # The manifest may not name this segment yet, but recovery has read it.
    last = open_segment(disk, position.segment, is_last=False)
    if last.header is None:
        return position
    path = path_of(disk, last.name)
    try:
        reader = FrameReader(last.file, last.header, path, position.end)
        for _ in reader:
            pass
        durable_end = max(reader.synced, HEADER_BYTES)
        # Read a second time, to hold in memory only the frames that must be written.
        again = FrameReader(last.file, last.header, path, position.end)
        carried = [frame for frame in again if frame.offset >= durable_end and frame.kind == FrameKind.COMMIT]
    finally:
        last.file.close()
    if reader.end == HEADER_BYTES:
        # Perhaps creating this segment failed, and so did removing it: then not even its header is known to be durable.
        write_file(disk, last.name, last.header.encode())
    if not carried:
        # MARK frames may follow `durable_end`. They may not be durable, so they must not count.
        return replace(position, end=durable_end)
    number = position.segment + 1
    base_version = carried[0].version - 1
    header = SegmentHeader(number, last.header.salt, base_version, durable_end, base_version, now_us)
    copies = [
        encode_frame(FrameKind.COMMIT, frame.version, HEADER_BYTES, frame.payload, header.seed) for frame in carried
    ]
    file = create_segment(disk, header, b"".join(copies))
    file.close()
    log.warning("tail_rewritten", segment=number, commits=len(carried), file=last.name, offset=durable_end)
    return replace(position, segment=number, end=file.size, version=carried[-1].version, torn=())


def _remove_obsolete(disk: Disk, position: LogPosition, *, insists: bool) -> None:
    if position.obsolete:
        # The name of the file that makes them obsolete may not be durable yet.
        disk.sync_names()
        for name in position.obsolete:
            try:
                disk.remove(name)
            except StorageError as error:
                if insists:
                    raise
                # No reason to refuse writes. The remaining files stay too: files must be removed in order.
                log.warning("file_not_removed", file=name, error=str(error))
                break
        disk.sync_names()


def _copy(disk: Disk, torn: TornFile, aside: str) -> None:
    """Copy a torn tail, which may be long, to its own file. Its content is durable afterwards, its name is not."""
    source = disk.open(torn.name)
    end = torn.offset + torn.size
    starts = range(torn.offset, end, WINDOW_BYTES)
    try:
        write_new(disk, aside, (source.read_at(at, min(WINDOW_BYTES, end - at)) for at in starts))
    finally:
        source.close()


def _set_torn_creation_aside(disk: Disk, position: LogPosition) -> None:
    """Rename a segment whose creation was interrupted, to free its name for the next segment."""
    for torn in position.torn:
        if torn.offset == 0:
            disk.rename(torn.name, torn_name(torn.name, 0))
            disk.sync_names()
