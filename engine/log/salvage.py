"""Reading a damaged database: the state that it provably had, and the data that can be read beyond that.

By default the result is a prefix of the commit order: the newest undamaged checkpoint, and the log on top of it up to
the first unreadable commit. Commits are numbered without gaps, so damage between two consecutive commits has destroyed
no commit. Commits after a gap were built on commits that are missing, so they are left out and reported. With
`beyond_damage` they are included: every commit with valid checksums, and the readable parts of damaged checkpoints; for
each key the newest entry wins. This yields more data, but a state that the database may never have had.

This module does not write. Memory is bounded as in recovery, plus one number per commit after the damage.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from inmem.engine.errors import CorruptionError, FormatVersionError
from inmem.engine.log.checkpoint_format import CheckpointReader, readable_parts
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.frame_reader import FrameReader, intact_frame_headers, is_blank
from inmem.engine.log.log_folder import (
    FIRST_SEGMENT,
    MANIFEST_NAME,
    FolderContents,
    checkpoint_name,
    path_of,
    segment_name,
)
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind, SegmentHeader, salt_in, segment_seed
from inmem.engine.log.log_records import decode_commit
from inmem.engine.log.manifest import known_end, read_manifest
from inmem.engine.log.numbered_files import open_segment
from inmem.engine.log.recovered_state import Recovery
from inmem.engine.log.recovery import TornFile, check_link
from inmem.engine.log.salvaged import LostRange, Salvaged, SalvagedFile
from inmem.engine.tables.entry import version_of
from inmem.engine.version_ranges import Range, gaps_between, merged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.log.log_records import CommitRecord
    from inmem.engine.log.manifest import Manifest
    from inmem.engine.ports import Folder


class _Stop(NamedTuple):
    """The place of the first damage.

    Attributes:
        segment: the segment's number.
        offset: the offset in the segment; 0 if the segment as a whole is missing or does not fit the log.
        version: the version of the last frame before the damage.
    """

    segment: int
    offset: int
    version: int


def read_damaged(disk: Folder, *, beyond_damage: bool) -> Salvaged:
    """Return what can be recovered of the database in the folder `disk`, without changing it.

    Raises:
        UnfinishedSalvageError: the database was itself written by a salvage that did not complete.
        StorageError: the operating system refused an operation.

    Complexity: O(bytes).
    """
    return _Salvager(disk).salvage(beyond_damage=beyond_damage)


class _Salvager:
    """Reads one folder once."""

    def __init__(self, disk: Folder) -> None:
        self._disk = disk
        self._names = disk.names()
        self._contents = FolderContents.of(self._names)
        self._lost: dict[str, list[LostRange]] = {}
        self._sizes: dict[str, int] = {}
        self._commits: Counter[str] = Counter()
        self._torn: list[TornFile] = []
        self._last_version = 0
        self._skipped: list[Range] = []
        self._is_doubtful = False
        self._manifest = self._read_manifest()
        self._headers = {number: self._read_header(number) for number in self._contents.segments}

    def salvage(self, *, beyond_damage: bool) -> Salvaged:
        recovery, chosen, damaged = self._load_checkpoint()
        stop = self._fold_prefix(recovery, chosen)
        prefix_version = recovery.version
        self._see(prefix_version)
        readable = {} if stop is None else self._survey(stop, prefix_version, recovery)
        if stop is not None and stop.offset:
            self._fold_on(recovery, stop)
            prefix_version = recovery.version
            readable = {version: number for version, number in readable.items() if version > prefix_version}
        parts: tuple[str, ...] = ()
        if stop is not None:
            into = recovery if beyond_damage else None
            parts = tuple(name for number in damaged if (name := self._parts_of(number, prefix_version, into)))
        if stop is not None and beyond_damage:
            for salt, version, record, name in self._readable_commits(stop, prefix_version, readable):
                recovery.apply_late(version, record, salt)
                self._commits[name] += 1
        beyond = merged((version, version) for version in readable)
        missing = gaps_between(prefix_version + 1, self._last_version, merged([*beyond, *self._skipped]))
        is_whole = stop is None and not missing and not self._is_doubtful
        if not is_whole:
            recovery.forget_outcomes_up_to(self._last_version)
        files = [
            SalvagedFile(name, size, self._commits[name], tuple(self._lost.get(name, ())))
            for name, size in sorted((dict.fromkeys(self._lost, 0) | self._sizes).items())
        ]
        return Salvaged(
            recovery.result(1),
            is_whole,
            prefix_version,
            self._last_version,
            beyond if beyond_damage else (),
            () if beyond_damage else beyond,
            missing,
            parts if beyond_damage else (),
            () if beyond_damage else parts,
            tuple(files),
            tuple(self._torn),
        )

    def _lose(self, name: str, offset: int, size: int, reason: str) -> None:
        self._lost.setdefault(name, []).append(LostRange(offset, size, reason))

    def _see(self, version: int) -> None:
        self._last_version = max(self._last_version, version)

    # Headers and the manifest.

    def _read_manifest(self) -> Manifest | None:
        try:
            manifest = read_manifest(self._disk)
        except (CorruptionError, FormatVersionError) as error:
            self._lose(MANIFEST_NAME, 0, HEADER_BYTES, error.reason)
            self._is_doubtful = True
            return None
        if manifest is not None:
            self._see(manifest.version)
        return manifest

    def _read_header(self, number: int) -> SegmentHeader | None:
        """Return the header of a segment, or None if the header was never written or cannot be read."""
        name = segment_name(number)
        is_last = number == self._contents.segments[-1] and (self._manifest is None or number > self._manifest.segment)
        try:
            segment = open_segment(self._disk, number, is_last=is_last)
        except (CorruptionError, FormatVersionError) as error:
            file = self._disk.open(name)
            self._sizes[name] = file.size
            file.close()
            self._lose(name, 0, min(HEADER_BYTES, self._sizes[name]), error.reason)
            return None
        segment.file.close()
        self._sizes[name] = segment.file.size
        header = segment.header
        if header is None:
            self._torn.append(TornFile(name, 0, segment.file.size, "its creation was interrupted"))
            return None
        self._see(header.base_version)
        if header.base_version > header.previous_version:
            self._skipped.append((header.previous_version + 1, header.base_version))
        if self._manifest is None and header.format > 1 and segment.file.size > HEADER_BYTES:
            if MANIFEST_NAME not in self._names and not self._is_doubtful:
                self._lose(MANIFEST_NAME, 0, 0, "the manifest is missing")
            self._is_doubtful = True
        return header

    def _end_of(self, number: int) -> int | None:
        """Return where a segment ends according to the next one or the manifest, or None if neither says so."""
        return known_end(number, self._headers.get(number + 1), self._manifest)

    # The proven part.

    def _load_checkpoint(self) -> tuple[Recovery, int, list[int]]:
        """Return a `Recovery` from the newest undamaged checkpoint, its number or 0, and the damaged ones' numbers."""
        damaged: list[int] = []
        for number in reversed(self._contents.checkpoints):
            name = checkpoint_name(number)
            recovery = Recovery()
            file = self._disk.open(name)
            self._sizes[name] = file.size
            try:
                checkpoint = CheckpointReader(file, path_of(self._disk, name))
                self._see(checkpoint.header.version)
                recovery.load_checkpoint(checkpoint)
            except (CorruptionError, FormatVersionError) as error:
                damaged.append(number)
                at = error.offset if isinstance(error, CorruptionError) else 0
                self._lose(name, at, file.size - at, error.reason)
                continue
            finally:
                file.close()
            return recovery, number, damaged
        return Recovery(), 0, damaged

    def _fold_prefix(self, recovery: Recovery, chosen: int) -> _Stop | None:
        """Apply the log up to the first damage; return where that is, or None if there is none."""
        checkpoint_version = version = recovery.version
        last = 0
        number = chosen or FIRST_SEGMENT
        newest = max((0, *self._contents.segments, *self._contents.checkpoints))
        newest = max(newest, 0 if self._manifest is None else self._manifest.segment)
        torn_names = {torn.name for torn in self._torn}
        while number <= newest:
            name = segment_name(number)
            header = self._headers.get(number)
            if header is None:
                if name in torn_names:
                    return None
                self._miss(number)
                return _Stop(number, 0, version)
            path = path_of(self._disk, name)
            file = self._disk.open(name)
            frames = FrameReader(file, header, path, self._end_of(number))
            try:
                check_link(header, path, last, version, chosen)
                if self._manifest is not None and self._manifest.segment == number:
                    self._manifest.check_names(header, path)
                for frame in frames:
                    if frame.kind == FrameKind.COMMIT and frame.version > checkpoint_version:
                        recovery.apply(frame.version, decode_commit(frame.payload, path, frame.offset), header.salt)
                        self._commits[name] += 1
            except CorruptionError as error:
                # How much is lost is found later, by searching for the next readable frame.
                stop = _Stop(number, error.offset if error.offset >= HEADER_BYTES else 0, frames.version)
                if stop.offset == 0:
                    self._lose(name, error.offset, 8, error.reason)
                return stop
            finally:
                file.close()
            if frames.torn is not None:
                self._torn.append(TornFile(name, *frames.torn))
            last, version = number, frames.version
            number += 1
        if version < checkpoint_version:
            self._is_doubtful = True
            reason = f"the log ends at version {version}, the checkpoint has {checkpoint_version}"
            self._lose(segment_name(last or chosen), self._sizes.get(segment_name(last), 0), 0, reason)
        return None

    def _miss(self, number: int) -> None:
        """Record the missing file at which the log ends, unless the segment exists and its damage is recorded."""
        # Segments before a checkpoint were removed on purpose, even if the checkpoint is damaged now.
        wanted = max(number, min(self._contents.checkpoints, default=0))
        if segment_name(wanted) not in self._sizes:
            name, reason = self._contents.what_is_missing(wanted)
            self._lose(name, 0, 0, reason)

    def _fold_on(self, recovery: Recovery, stop: _Stop) -> None:
        """Apply the commits after the damage as long as their versions prove that none is missing."""
        start = version = max(recovery.version, stop.version)
        for number in self._contents.segments:
            header = self._headers[number]
            if number < stop.segment:
                continue
            if header is None:
                return
            if number > stop.segment:
                # Commits that the checkpoint contains may be missing from the log.
                if header.previous_version != version and not header.previous_version < version == start:
                    return
                version = max(version, header.base_version)
            for salt, found, record in self._good_frames(number, stop, note=False):
                if found > version + 1:
                    return
                if found == version + 1:
                    recovery.apply(found, record, salt)
                    name = segment_name(number)
                    self._commits[name] += 1
                    version = found

    # Beyond the damage.

    def _survey(self, stop: _Stop, prefix_version: int, recovery: Recovery) -> dict[int, int]:
        """Return version → segment of the readable commits after the damage; record the unreadable bytes."""
        readable: dict[int, int] = {}
        for number in self._contents.segments:
            if number < stop.segment:
                continue
            for _, version, record in self._good_frames(number, stop, note=True):
                recovery.note_ids(record)
                if version > prefix_version:
                    # If a later segment has the same version, the later one counts.
                    readable[version] = number
        return dict(sorted(readable.items()))

    def _readable_commits(
        self, stop: _Stop, prefix_version: int, readable: dict[int, int]
    ) -> Iterator[tuple[int, int, CommitRecord, str]]:
        """Yield (salt, version, record, segment name) of the commits that `_survey` found, in log order."""
        for number in self._contents.segments:
            if number >= stop.segment:
                for salt, version, record in self._good_frames(number, stop, note=False):
                    if version > prefix_version and readable.get(version) == number:
                        yield salt, version, record, segment_name(number)

    def _good_frames(self, number: int, stop: _Stop, *, note: bool) -> Iterator[tuple[int, int, CommitRecord]]:
        """Yield (salt, version, record) of every COMMIT frame after the damage whose checksums hold."""
        name = segment_name(number)
        path = path_of(self._disk, name)
        header = self._headers[number]
        file = self._disk.open(name)
        try:
            if file.size < HEADER_BYTES:
                return
            # Even in a damaged header the salt, from which the frames' checksums start, may be intact.
            salt = salt_in(file.read_at(0, HEADER_BYTES)) if header is None else header.salt
            seed = segment_seed(number, salt)
            at = max(HEADER_BYTES, stop.offset if number == stop.segment else 0)
            end = min(self._end_of(number) or file.size, file.size)
            for found in intact_frame_headers(file, at, end, seed):
                if note:
                    self._see(found.version)
                payload_at = found.offset + FRAME_HEADER_BYTES
                if found.offset < at or payload_at + found.length > end:
                    continue
                payload = file.read_at(payload_at, found.length)
                if crc32(payload, seed) != found.payload_crc:
                    continue
                record = None
                if found.kind == FrameKind.COMMIT:
                    try:
                        record = decode_commit(payload, path, found.offset)
                    except CorruptionError:
                        continue
                if note and found.offset > at:
                    self._lose(name, at, found.offset - at, "no frame can be read here")
                at = payload_at + found.length
                if record is not None:
                    yield salt, found.version, record
            if note and at < end and not (self._end_of(number) is None and is_blank(file, at)):
                self._lose(name, at, end - at, "no frame can be read here")
        finally:
            file.close()

    def _parts_of(self, number: int, prefix_version: int, into: Recovery | None) -> str | None:
        """Return the name of a damaged checkpoint if it has readable entries newer than the prefix, else None.

        If `into` is given, merge those entries into it.
        """
        name = checkpoint_name(number)
        file = self._disk.open(name)
        lost: list[LostRange] = []
        parts = readable_parts(
            file, path_of(self._disk, name), lambda offset, size, why: lost.append(LostRange(offset, size, why))
        )
        found = None
        try:
            for run, tag, entries in parts:
                # An older entry is part of the prefix, or a commit of the prefix has replaced or removed it.
                newer = [entry for entry in entries if version_of(entry[1]) > prefix_version]
                if newer:
                    found = name
                    if into is not None:
                        into.merge(run, tag, newer)
        except (CorruptionError, FormatVersionError):
            # The loss has already been recorded.
            return None
        finally:
            file.close()
        if into is not None and found is not None:
            self._lost[name] = lost
            self._see(into.version)
        return found
