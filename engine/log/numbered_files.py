"""Opening the numbered files of a log, and which segment follows which."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inmem.engine.errors import CorruptionError
from inmem.engine.log.checkpoint_format import CHECKPOINT_MAGIC, CheckpointReader
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.log_folder import checkpoint_name, corrupt_if_folder_is_ours, path_of, segment_name
from inmem.engine.log.log_format import SEGMENT_MAGIC, SegmentHeader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inmem.engine.ports import Folder, ReadFile


class SegmentFile(NamedTuple):
    """One segment, open. Its header is None if its creation was interrupted, which only the last segment's can be."""

    number: int
    name: str
    path: str
    header: SegmentHeader | None
    file: ReadFile


def open_segment(disk: Folder, number: int, *, is_last: bool) -> SegmentFile:
    """Open a segment and decode its header.

    Args:
        disk: the folder.
        number: the segment's number.
        is_last: whether this is the last segment, and nothing proves that its header was ever durable.

    Raises:
        FormatVersionError: the folder contains no inmem database, or the segment has a newer format.
        CorruptionError: the header is damaged, or contains another segment number.
    """
    name = segment_name(number)
    path = path_of(disk, name)
    file = disk.open(name)
    try:
        with corrupt_if_folder_is_ours(disk, name, SEGMENT_MAGIC):
            header = SegmentHeader.decode(file.read_at(0, min(file.size, HEADER_BYTES + 1)), path, is_last=is_last)
        if header is not None and header.number != number:
            raise CorruptionError(path, 16, f"the header says that this is segment {header.number}")
    except BaseException:
        file.close()
        raise
    return SegmentFile(number, name, path, header, file)


def checkpoint_in(disk: Folder, number: int, file: ReadFile) -> CheckpointReader:
    """Return a reader of an open checkpoint.

    Args:
        disk: the folder.
        number: the checkpoint's number.
        file: the checkpoint.

    Raises:
        FormatVersionError: the folder contains no inmem database, or the checkpoint has a newer format.
        CorruptionError: the header is damaged, or contains another number.
    """
    name = checkpoint_name(number)
    path = path_of(disk, name)
    with corrupt_if_folder_is_ours(disk, name, CHECKPOINT_MAGIC):
        reader = CheckpointReader(file, path)
    if reader.header.first_segment != number:
        raise CorruptionError(path, 16, f"the header says that this is checkpoint {reader.header.first_segment}")
    return reader


def linked_segments(
    disk: Folder, numbers: Sequence[int], proven: int
) -> Iterator[tuple[SegmentFile, SegmentFile | None]]:
    """Yield each segment together with the next one, opening every file once and keeping at most two open.

    Args:
        disk: the folder.
        numbers: consecutive segment numbers up to the last segment.
        proven: segments up to this number are known to have been created durably.

    Raises:
        FormatVersionError, CorruptionError: as `open_segment`.
    """
    opened: list[SegmentFile] = []
    try:
        for position, number in enumerate(numbers):
            opened.extend(
                open_segment(disk, near, is_last=near == numbers[-1] and near > proven)
                for near in numbers[position + len(opened) : position + 2]
            )
            yield opened[0], opened[1] if number != numbers[-1] else None
            opened.pop(0).file.close()
    finally:
        for segment in opened:
            segment.file.close()
