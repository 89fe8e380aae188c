"""The file names in a database's folder, and whether the folder is one of ours.

    LOCK                                  held by the owner, never removed
    MANIFEST                              which segment the log has reached, and whether it was closed
    000000000001.wal                      segments, numbered from 1 without gaps
    000000000003.checkpoint               checkpoints, numbered by the first segment to be replayed on top
    000000000003.checkpoint.tmp           an unfinished file of one of the three kinds above
    000000000002.wal.torn-4711            a torn tail that was kept aside, with the offset at which it began

Files with names of any other form, such as `notes.tmp`, are foreign: they are neither read nor removed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from inmem.engine.errors import CorruptionError, FormatVersionError
from inmem.engine.log.file_header import HEADER_BYTES_MAX, MAGIC_START, is_intact_header

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from inmem.engine.ports import Folder

MANIFEST_NAME: Final = "MANIFEST"

TEMPORARY_SUFFIX: Final = ".tmp"

FIRST_SEGMENT: Final = 1

SEGMENT_SUFFIX: Final = ".wal"
_CHECKPOINT_SUFFIX: Final = ".checkpoint"
_TORN_INFIX: Final = ".torn-"
_NUMBER_DIGITS: Final = 12


def segment_name(number: int) -> str:
    """Return the file name of a segment; names sort in the order of their numbers."""
    return f"{number:0{_NUMBER_DIGITS}d}{SEGMENT_SUFFIX}"


def checkpoint_name(number: int) -> str:
    """Return the file name of the checkpoint that needs the segments from `number` on."""
    return f"{number:0{_NUMBER_DIGITS}d}{_CHECKPOINT_SUFFIX}"


def torn_name(name: str, offset: int) -> str:
    """Return the name for the torn tail cut from the file `name` at `offset`."""
    return f"{name}{_TORN_INFIX}{offset}"


@dataclass(frozen=True, slots=True)
class FolderContents:
    """The database files in a folder: numbers of segments and checkpoints, ascending; names of others, sorted."""

    segments: tuple[int, ...]
    checkpoints: tuple[int, ...]
    temporary: tuple[str, ...]
    torn: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> FolderContents:
        """Return the contents that `names`, in any order, represent."""
        return cls(
            tuple(_numbers(names, SEGMENT_SUFFIX)),
            tuple(_numbers(names, _CHECKPOINT_SUFFIX)),
            tuple(sorted(name for name in names if _is_temporary(name))),
            tuple(sorted(name for name in names if _is_torn(name))),
        )

    def before(self, first: int) -> tuple[str, ...]:
        """Return the files that checkpoint `first` makes obsolete, in the order in which to remove them."""
        checkpoints = (checkpoint_name(number) for number in self.checkpoints if number < first)
        segments = (segment_name(number) for number in self.segments if number < first)
        return (*checkpoints, *segments)

    def what_is_missing(self, number: int) -> tuple[str, str]:
        """Return which file is missing, and why it must have existed, when segment `number` is needed but absent.

        If the log begins later and there is no checkpoint, either the checkpoint or the earlier segments are missing;
        nothing shows which.
        """
        first = self.segments[0] if self.segments else 0
        if number >= first or self.checkpoints:
            return segment_name(number), "the segment is missing"
        before = "segment 1" if first == FIRST_SEGMENT + 1 else f"the segments before {first}"
        reason = (
            f"the file is missing: the log begins at segment {first}, which takes either this checkpoint or {before}"
        )
        return checkpoint_name(first), reason


def names_of_data(names: Sequence[str]) -> list[str]:
    """Return those of `names` that belong to files with data: checkpoints, then segments, and the manifest last."""
    contents = FolderContents.of(names)
    manifest = [MANIFEST_NAME] if MANIFEST_NAME in names else []
    return [*map(checkpoint_name, contents.checkpoints), *map(segment_name, contents.segments), *manifest]


def _is_temporary(name: str) -> bool:
    """Whether this is the name of an unfinished database file."""
    stem = name.removesuffix(TEMPORARY_SUFFIX)
    return stem != name and (
        stem == MANIFEST_NAME or bool(_numbers([stem], SEGMENT_SUFFIX) or _numbers([stem], _CHECKPOINT_SUFFIX))
    )


def _is_torn(name: str) -> bool:
    """Whether this is the name of a torn tail that was kept aside."""
    segment, infix, offset = name.partition(_TORN_INFIX)
    return bool(infix and offset.isascii() and offset.isdigit() and _numbers([segment], SEGMENT_SUFFIX))


def _numbers(names: Sequence[str], suffix: str) -> list[int]:
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(
        int(stem) for stem in stems if len(stem) == _NUMBER_DIGITS and stem.isascii() and stem.isdigit() and int(stem)
    )


def path_of(disk: Folder, name: str) -> str:
    """Return the path of the file, for messages."""
    return f"{disk.path}/{name}"


@contextmanager
def corrupt_if_folder_is_ours(disk: Folder, name: str, magic: bytes) -> Generator[None]:
    """Raise CorruptionError in place of FormatVersionError if another file has an intact header of ours.

    Then the folder is ours, so this file is, too, and its header is damaged. A header that is intact and only newer
    stays a FormatVersionError.

    Args:
        disk: the folder.
        name: the file whose header the `with` block decodes.
        magic: the magic with which that kind of file begins.
    """
    try:
        yield
    except FormatVersionError as error:
        data = start_of(disk, name)
        others = [other for other in names_of_data(disk.names()) if other != name]
        if is_intact_header(data, magic) or not any(
            is_intact_header(start_of(disk, other), MAGIC_START) for other in others
        ):
            raise
        found = data[: len(magic)].hex(" ") or "none"
        reason = f"the header is damaged: {error.reason}; its first bytes are {found}"
        raise CorruptionError(error.path, 0, reason) from error


def start_of(disk: Folder, name: str) -> bytes:
    """Return what a file begins with, as long as the longest header; all of it if the file is shorter."""
    file = disk.open(name)
    try:
        return file.read_at(0, min(file.size, HEADER_BYTES_MAX))
    finally:
        file.close()
