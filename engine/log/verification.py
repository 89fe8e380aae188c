"""Reading a whole database to check that it is undamaged, and to locate any damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inmem.engine.errors import CorruptionError, StorageError
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_folder import FolderContents, checkpoint_name
from inmem.engine.log.log_format import FrameKind
from inmem.engine.log.log_records import decode_commit
from inmem.engine.log.manifest import known_end, read_manifest
from inmem.engine.log.numbered_files import checkpoint_in, open_segment
from inmem.engine.log.recovery import recover

if TYPE_CHECKING:
    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.log.manifest import Manifest
    from inmem.engine.log.recovery import TornFile
    from inmem.engine.ports import Folder


class KeptAside(NamedTuple):
    """A file to which a torn tail was moved, with its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a full reading of a database found.

    Attributes:
        is_valid: whether there are no problems; a torn tail is not one.
        version: the version of the last commit, 0 if the database cannot be recovered.
        segments: the number of segments in the folder, obsolete ones included.
        checkpoints: the number of checkpoints in the folder, obsolete ones included.
        commits: the number of readable commits in all segments.
        keys: the number of live entries of all kinds, including index entries and expired ones; 0 if the database
            cannot be recovered.
        size_bytes: the total size of all segments and checkpoints.
        torn: what interrupted writes left, which the next owner cuts off.
        kept_aside: torn tails that earlier openings cut off, as (name, size in bytes); the files may be deleted.
        problems: the first damage in every file, sorted by path.
    """

    is_valid: bool
    version: int
    segments: int
    checkpoints: int
    commits: int
    keys: int
    size_bytes: int
    torn: tuple[TornFile, ...]
    kept_aside: tuple[KeptAside, ...]
    problems: tuple[CorruptionError, ...]


def verify(disk: Folder) -> VerifyReport:
    """Read every byte of every segment and checkpoint and report all damage. Does not change any file.

    Raises:
        FormatVersionError: a file has a newer format, or the folder contains no inmem database.

    Complexity: O(bytes) in time, reading every needed file twice; in memory as `recover`.
    """
    scan = _Scan(disk)
    scan.read_manifest()
    contents = FolderContents.of(disk.names())
    # First, because they may be deleted at any time.
    kept_aside = tuple(kept for name in contents.torn if (kept := _kept_aside(disk, name)) is not None)
    for number in contents.checkpoints:
        scan.read_checkpoint(number)
    # Backwards, because each segment records how much of the previous one counts.
    for number in reversed(contents.segments):
        scan.read_segment(number, is_last=number == contents.segments[-1])
    problems = {error.path: error for error in scan.problems}
    version = keys = 0
    torn: tuple[TornFile, ...] = ()
    try:
        recovered, position = recover(disk, 1)
    except CorruptionError as error:
        problems.setdefault(error.path, error)
    else:
        version, keys, torn = recovered.version, recovered.keys, position.torn
    return VerifyReport(
        not problems,
        version,
        len(contents.segments),
        len(contents.checkpoints),
        scan.commits,
        keys,
        scan.size_bytes,
        torn,
        kept_aside,
        tuple(problems[path] for path in sorted(problems)),
    )


def _kept_aside(disk: Folder, name: str) -> KeptAside | None:
    """Return the report's entry for the file, None if it has been deleted since it was listed."""
    try:
        file = disk.open(name)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    file.close()
    return KeptAside(name, file.size)


class _Scan:
    """Reads files one by one and continues after a damaged one."""

    def __init__(self, disk: Folder) -> None:
        self.problems: list[CorruptionError] = []
        self.commits = 0
        self.size_bytes = 0
        self._disk = disk
        self._manifest: Manifest | None = None
        self._following: SegmentHeader | None = None

    def read_manifest(self) -> None:
        try:
            self._manifest = read_manifest(self._disk)
        except CorruptionError as error:
            self.problems.append(error)

    def read_checkpoint(self, number: int) -> None:
        file = self._disk.open(checkpoint_name(number))
        self.size_bytes += file.size
        try:
            for _ in checkpoint_in(self._disk, number, file):
                pass
        except CorruptionError as error:
            self.problems.append(error)
        finally:
            file.close()

    def read_segment(self, number: int, *, is_last: bool) -> None:
        following, self._following = self._following, None
        manifest = self._manifest
        proven = 0 if manifest is None else manifest.segment
        try:
            segment = open_segment(self._disk, number, is_last=is_last and number > proven)
        except CorruptionError as error:
            self.problems.append(error)
            return
        self.size_bytes += segment.file.size
        header = segment.header
        try:
            if header is None:
                return
            self._following = header
            is_next = following is not None and following.number == number + 1
            valid_end = known_end(number, following if is_next else None, manifest)
            for frame in FrameReader(segment.file, header, segment.path, valid_end):
                if frame.kind == FrameKind.COMMIT:
                    decode_commit(frame.payload, segment.path, frame.offset)
                    self.commits += 1
        except CorruptionError as error:
            self.problems.append(error)
        finally:
            segment.file.close()
