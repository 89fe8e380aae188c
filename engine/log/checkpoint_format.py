"""The byte layout of a checkpoint: the whole database at one version, readable without the log before it.

A checkpoint is a 64-byte header (see file_header) followed by blocks without gaps, little-endian throughout.

    header                                      block header (12 bytes, the payload follows)
     0  8  magic b"INMEMCKP"                     0  1  kind: 1 ENTRIES, 2 OUTCOMES, 3 END
     8  2  format, 1                             1  3  zeros
    10  2  header size, 64                       4  4  payload length
    12  4  CRC-32 of all other header bytes      8  4  CRC-32 of the 8 bytes before and the payload
    16  8  first segment to replay on top
    24  8  version
    32  8  greatest transaction id              payloads, msgpack but for END
    40  8  time floor, microseconds              ENTRIES   [run, tag, [[key, value | nil, version, expires_at_us], ...]]
    48  8  outcomes since version                OUTCOMES  [[salt, transaction_id, version], ...]
    56  8  created at, microseconds              END       blocks before it u64, entries u64, CRC-32 of all before it

The checksums of the blocks continue the CRC-32 of the header, so a block of another checkpoint is never accepted. A
table larger than a block takes several consecutive blocks, with its keys ascending throughout. Tables are in key order.
END is the last block, and nothing follows it: a checkpoint without it is incomplete.
"""

# The values that msgpack returns have no known type until they have been checked.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import astuple, dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from inmem.engine.errors import CorruptionError, FormatVersionError, InvariantError
from inmem.engine.limits import FRAME_BYTES_MAX
from inmem.engine.log.crc_seed import seed_of
from inmem.engine.log.file_header import HEADER_BYTES, decode_header, encode_header, header_checksum_holds
from inmem.engine.log.log_records import check_table_id, unpack_untrusted
from inmem.engine.packing import pack
from inmem.engine.tables.entry import VALUE, packed_version, stored_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.engine.outcomes import CommitVersions
    from inmem.engine.ports import ReadFile
    from inmem.engine.tables.entry import StoredEntry
    from inmem.engine.tables.snapshot import Snapshot

CHECKPOINT_MAGIC: Final = b"INMEMCKP"
CHECKPOINT_FORMAT: Final = 1

BLOCK_BYTES: Final = 32 * 1024
"""A block ends with the entry that brings it to this length. Between two blocks other threads can run."""

BLOCK_BYTES_MAX: Final = BLOCK_BYTES + FRAME_BYTES_MAX
"""A block ends with the entry that brings it to BLOCK_BYTES, and no entry is larger than a commit."""

_ENTRIES: Final = 1
_OUTCOMES: Final = 2
_END: Final = 3
_KINDS: Final = frozenset({_ENTRIES, _OUTCOMES, _END})

_UINT64_MAX: Final = 2**64 - 1

_BLOCK_FACTS = Struct("<BxxxI")
_BLOCK_HEADER = Struct("<BxxxII")
_CHECKSUM = Struct("<I")
_END_PAYLOAD = Struct("<QQI")


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """The facts at the start of a checkpoint.

    Attributes:
        first_segment: number of the first segment to replay on top.
        version: the snapshot's version.
        transaction_id_max: no transaction up to the snapshot has a greater id.
        time_floor_us: no commit up to the snapshot has a later timestamp; microseconds since the epoch.
        outcomes_since: the outcome of every commit after this version is in the checkpoint or the log on top of it.
        created_at_us: microseconds since the epoch.
    """

    first_segment: int
    version: int
    transaction_id_max: int
    time_floor_us: int
    outcomes_since: int
    created_at_us: int

    def encode(self) -> bytes:
        """Return the first 64 bytes of the checkpoint."""
        return encode_header(CHECKPOINT_MAGIC, CHECKPOINT_FORMAT, astuple(self))

    @classmethod
    def decode(cls, data: bytes, path: str) -> CheckpointHeader:
        """Return the header of a checkpoint. `data` is at least its first 64 bytes, or all of it if it is shorter.

        Raises:
            FormatVersionError: the file is not a checkpoint, or has a newer format.
            CorruptionError: the header is damaged.
        """
        return cls(*decode_header(data, path, CHECKPOINT_MAGIC, (CHECKPOINT_FORMAT,))[1])


def encode_checkpoint(header: CheckpointHeader, snapshot: Snapshot, outcomes: CommitVersions) -> Iterator[bytes]:
    """Yield the checkpoint in pieces, each about as long as BLOCK_BYTES or one value.

    Args:
        header: the header, with the snapshot's version.
        snapshot: the state to write, tombstones included.
        outcomes: the outcomes of all commits after `header.outcomes_since` up to the snapshot.

    Raises:
        InvariantError: the header's version is not the snapshot's.

    Complexity: O(entries) in time; O(BLOCK_BYTES + longest value) in memory.
    """
    if header.version != snapshot.version:
        raise InvariantError(f"a checkpoint of version {header.version} from a snapshot of {snapshot.version}")
    encoded = header.encode()
    seed = checksum = crc32(encoded)
    yield encoded
    blocks = entries = 0
    for kind, count, payload in _payloads(snapshot, outcomes):
        block = _block(kind, payload, seed)
        checksum = crc32(block, checksum)
        blocks += 1
        entries += count
        yield block
    yield _block(_END, _END_PAYLOAD.pack(blocks, entries, checksum), seed)


def _block(kind: int, payload: bytes, seed: int) -> bytes:
    facts = _BLOCK_FACTS.pack(kind, len(payload))
    return b"".join((facts, _CHECKSUM.pack(crc32(payload, crc32(facts, seed))), payload))


def _payloads(snapshot: Snapshot, outcomes: CommitVersions) -> Iterator[tuple[int, int, bytes]]:
    """Yield (block kind, number of entries, payload)."""
    for run, tag, table in snapshot.tables():
        size = 0
        entries: list[tuple[bytes, bytes | None, int, int]] = []
        for key, stored in table.stored_range():
            if isinstance(stored, bytes):
                entries.append((key, stored[VALUE], packed_version(stored)[0], 0))
                size += len(key) + 16 + len(stored)
            else:
                version, value, expires_at_us = stored
                entries.append((key, value, version, expires_at_us))
                size += len(key) + 24 + (0 if value is None else len(value))
            if size >= BLOCK_BYTES:
                yield _ENTRIES, len(entries), pack((run, tag, entries))
                size = 0
                entries = []
        if entries:
            yield _ENTRIES, len(entries), pack((run, tag, entries))
    if outcomes:
        yield _OUTCOMES, 0, pack([(*transaction, version) for transaction, version in outcomes.items()])


class CheckpointReader:
    """The content of a checkpoint, block by block. Iterate once.

    Only when the iteration has completed is it certain that what it yielded is undamaged and complete.

    Attributes:
        header: the checkpoint's header.
        outcomes: filled during iteration.
        entry_count: the number of entries yielded so far.
        offset: the offset up to which the file has been read.
    """

    __slots__ = ("_file", "_header_bytes", "_path", "entry_count", "header", "offset", "outcomes")

    def __init__(self, file: ReadFile, path: str) -> None:
        self._file: Final = file
        self._path: Final = path
        self._header_bytes: Final = file.read_at(0, min(file.size, HEADER_BYTES))
        self.header: Final = CheckpointHeader.decode(self._header_bytes, path)
        self.offset = HEADER_BYTES
        self.outcomes: Final[dict[tuple[int, int], int]] = {}
        self.entry_count = 0

    def __iter__(self) -> Iterator[tuple[str, int, list[tuple[bytes, StoredEntry]]]]:
        """Yield (run, tag, entries in key order); a table may come in several consecutive parts.

        Raises:
            CorruptionError: the checkpoint is incomplete or altered.

        Complexity: O(bytes) in time, O(block) in memory.
        """
        seed = checksum = crc32(self._header_bytes)
        done: set[tuple[str, int]] = set()
        table: tuple[str, int] | None = None
        last_key = b""
        blocks = 0
        while True:
            offset = self.offset
            kind, header, payload = _block_at(self._file, self._path, offset, seed)
            if kind == _END:
                self._check_end(offset, payload, blocks, checksum)
                return
            checksum = crc32(payload, crc32(header, checksum))
            try:
                if kind == _ENTRIES:
                    run, tag, entries = _decode_entries(payload, self.header.version)
                    if (run, tag) != table:
                        table = (run, tag)
                        if table in done:
                            raise ValueError("a table comes twice")
                        done.add(table)
                    elif entries[0][0] <= last_key:
                        raise ValueError("the keys are not in order")
                    last_key = entries[-1][0]
                    self.entry_count += len(entries)
                    yield run, tag, entries
                elif kind == _OUTCOMES:
                    self._add_outcomes(payload)
                else:
                    raise ValueError(f"there is no kind {kind}")
            except (ValueError, TypeError) as error:
                raise CorruptionError(self._path, offset, f"the block cannot be read: {error}") from error
            self.offset = offset + len(header) + len(payload)
            blocks += 1

    def _check_end(self, offset: int, payload: bytes, blocks: int, checksum: int) -> None:
        if payload != _END_PAYLOAD.pack(blocks, self.entry_count, checksum):
            raise CorruptionError(self._path, offset, "the END block does not match the blocks before it")
        end = offset + _BLOCK_HEADER.size + len(payload)
        if end != self._file.size:
            raise CorruptionError(self._path, end, "something follows the END block")

    def _add_outcomes(self, payload: bytes) -> None:
        for item in unpack_untrusted(payload):
            salt, transaction_id, version = item
            if type(salt) is not int or type(transaction_id) is not int or type(version) is not int:
                raise ValueError("a field of an outcome has a wrong type")
            self.outcomes[salt, transaction_id] = version


def readable_parts(
    file: ReadFile, path: str, lose: Callable[[int, int, str], None]
) -> Iterator[tuple[str, int, list[tuple[bytes, StoredEntry]]]]:
    """Yield what can be read of a damaged checkpoint, for salvage; call `lose(offset, size, reason)` for the rest.

    Every part has its own checksum, but nothing proves that the parts are complete. The checksums start from the CRC-32
    of the header or, if the header is damaged, from the initial value on which two consecutive blocks agree.

    Raises:
        CorruptionError, FormatVersionError: nothing can be read, because the header is damaged and no two blocks agree,
            or because it is a file of another kind.
    """
    header_bytes = file.read_at(0, min(file.size, HEADER_BYTES))
    seed: int | None
    try:
        newest = CheckpointHeader.decode(header_bytes, path).version
        seed = crc32(header_bytes)
    except (CorruptionError, FormatVersionError) as error:
        newest = _UINT64_MAX
        is_other = len(header_bytes) < HEADER_BYTES or header_checksum_holds(header_bytes)
        seed = None if is_other else _seed_of_blocks(file, path)
        if seed is None:
            raise
        lose(0, HEADER_BYTES, error.reason)
    offset = HEADER_BYTES
    size = file.size
    while offset < size:
        try:
            kind, header, payload = _block_at(file, path, offset, seed)
        except CorruptionError as error:
            # The block may be damaged in its header. Still use the length found there to find the next block.
            end = min(size, offset + _BLOCK_HEADER.size)
            if end - offset == _BLOCK_HEADER.size:
                _, length, _ = _BLOCK_HEADER.unpack(file.read_at(offset, _BLOCK_HEADER.size))
                end = min(end + length, size)
            lose(offset, end - offset, error.reason)
            offset = end
            continue
        if kind == _END:
            return
        try:
            if kind == _ENTRIES:
                yield _decode_entries(payload, newest)
            elif kind not in _KINDS:
                raise ValueError(f"there is no kind {kind}")
        except (ValueError, TypeError) as error:
            lose(offset, len(header) + len(payload), f"the block cannot be read: {error}")
        offset += len(header) + len(payload)


def _seed_of_blocks(file: ReadFile, path: str) -> int | None:
    """Return the initial value on which the checksums of two consecutive blocks agree, None if no two agree."""
    offset = HEADER_BYTES
    before: int | None = None
    while offset + _BLOCK_HEADER.size <= file.size:
        try:
            kind, header, payload, checksum = _unchecked_block_at(file, path, offset)
        except CorruptionError:
            return None
        if kind not in _KINDS or not payload:
            # Zeros would agree with each other.
            return None
        seed = seed_of(header[: _BLOCK_FACTS.size] + payload, checksum)
        if seed == before:
            return seed
        before = seed
        offset += len(header) + len(payload)
    return None


def _block_at(file: ReadFile, path: str, offset: int, seed: int) -> tuple[int, bytes, bytes]:
    """Return (kind, header, payload) of the block at `offset`."""
    kind, header, payload, checksum = _unchecked_block_at(file, path, offset)
    if crc32(payload, crc32(header[: _BLOCK_FACTS.size], seed)) != checksum:
        raise CorruptionError(path, offset, "the block does not match its checksum")
    return kind, header, payload


def _unchecked_block_at(file: ReadFile, path: str, offset: int) -> tuple[int, bytes, bytes, int]:
    """Return (kind, header, payload, checksum) of the block at `offset`; raise if its length is impossible."""
    payload_at = offset + _BLOCK_HEADER.size
    if payload_at > file.size:
        raise CorruptionError(path, offset, "the checkpoint ends without an END block")
    header = file.read_at(offset, _BLOCK_HEADER.size)
    kind, length, checksum = _BLOCK_HEADER.unpack(header)
    if payload_at + length > file.size or length > BLOCK_BYTES_MAX:
        raise CorruptionError(path, offset, "the block is longer than it can be")
    return kind, header, file.read_at(payload_at, length), checksum


def _decode_entries(payload: bytes, newest: int) -> tuple[str, int, list[tuple[bytes, StoredEntry]]]:
    run, tag, packed = unpack_untrusted(payload)
    check_table_id(run, tag)
    if type(packed) is not tuple or not packed:
        raise ValueError("the entries are not an array with something in it")
    entries: list[tuple[bytes, StoredEntry]] = []
    last_key: bytes | None = None
    for item in packed:
        if type(item) is not tuple:
            raise ValueError("an entry is not an array")
        key, value, version, expires_at_us = item
        if (
            type(key) is not bytes
            or (value is not None and type(value) is not bytes)
            or type(version) is not int
            or not 0 < version <= newest
            or type(expires_at_us) is not int
            or expires_at_us < 0
        ):
            raise ValueError("a field of an entry has a wrong type or value")
        if last_key is not None and key <= last_key:
            raise ValueError("the keys are not in order")
        last_key = key
        entries.append((key, stored_entry(version, value, expires_at_us)))
    return run, tag, entries
