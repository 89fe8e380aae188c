"""The MANIFEST: which segment the log has reached, so that the loss of a file is detected.

It is a single 64-byte file header (see file_header):

     0  8  magic b"INMEMMAN"
     8  2  format, 1
    10  2  header size, 64
    12  4  CRC-32 of all other bytes
    16  8  state: 1 OPEN, 2 CLOSED, 3 UNFINISHED
    24  8  number of the newest segment
    32  8  salt of that segment
    40  8  end: bytes of that segment that count if CLOSED, else 0
    48  8  version: the last one if CLOSED, else that segment's base version
    56  8  written at, microseconds: the latest time that the store had used

The file is replaced as a whole, by a rename: after a segment has been created and before the first frame is written to
it, and after a clean close. A close that wrote nothing else changes only the time. So if a segment up to that number is
missing, or shorter than a close has left it, data has been lost. UNFINISHED means that the database was being written
by a salvage that did not complete.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from inmem.engine.errors import CorruptionError, UnfinishedSalvageError
from inmem.engine.log.file_header import HEADER_BYTES, decode_header, encode_header
from inmem.engine.log.log_folder import MANIFEST_NAME, corrupt_if_folder_is_ours, start_of

if TYPE_CHECKING:
    from inmem.engine.log.log_format import SegmentHeader
    from inmem.engine.ports import Folder

MANIFEST_MAGIC: Final = b"INMEMMAN"
MANIFEST_FORMAT: Final = 1


class ManifestState(IntEnum):
    """The state in which the last writer left the database."""

    OPEN = 1
    CLOSED = 2
    UNFINISHED = 3


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of the file; the module docstring describes the fields."""

    state: int
    segment: int
    salt: int
    end: int
    version: int
    written_at_us: int

    def encode(self) -> bytes:
        """Return the 64 bytes of the file."""
        return encode_header(MANIFEST_MAGIC, MANIFEST_FORMAT, astuple(self))

    @classmethod
    def decode(cls, data: bytes, path: str) -> Manifest:
        """Return the manifest encoded in `data`.

        Raises:
            FormatVersionError: the file is not a manifest, or has a newer format.
            CorruptionError: the manifest is damaged.
        """
        _, facts = decode_header(data, path, MANIFEST_MAGIC, (MANIFEST_FORMAT,))
        manifest = cls(*facts)
        if len(data) != HEADER_BYTES:
            raise CorruptionError(path, HEADER_BYTES, "something follows the manifest")
        if manifest.state not in tuple(ManifestState):
            raise CorruptionError(path, 16, f"there is no state {manifest.state}")
        return manifest

    def check_names(self, header: SegmentHeader, path: str) -> None:
        """Raise CorruptionError if the segment has the manifest's segment number but a different salt."""
        if self.segment == header.number and self.salt != header.salt:
            raise CorruptionError(path, 24, "this is not the segment that the manifest names")


def known_end(number: int, following: SegmentHeader | None, manifest: Manifest | None) -> int | None:
    """Return the offset at which a segment ends, or None if it is unknown: then this segment was being written.

    Args:
        number: the segment's number.
        following: header of the next segment, if there is one.
        manifest: the folder's manifest, if it has one.
    """
    if following is not None:
        return following.previous_end
    if manifest is None or manifest.segment != number or manifest.state != ManifestState.CLOSED:
        return None
    return manifest.end


def read_manifest(disk: Folder) -> Manifest | None:
    """Return the folder's manifest, or None if it has none, as was the case before segment format 2.

    A process that reads while the owner writes must list the folder afterwards: the listing then includes the segment
    that the manifest names.

    Raises:
        UnfinishedSalvageError: the manifest says that the database is incomplete.
        FormatVersionError, CorruptionError: as `Manifest.decode`.
    """
    if MANIFEST_NAME not in disk.names():
        return None
    path = f"{disk.path}/{MANIFEST_NAME}"
    with corrupt_if_folder_is_ours(disk, MANIFEST_NAME, MANIFEST_MAGIC):
        manifest = Manifest.decode(start_of(disk, MANIFEST_NAME), path)
    if manifest.state == ManifestState.UNFINISHED:
        raise UnfinishedSalvageError(disk.path)
    return manifest
