"""The fuzz targets: functions that take any bytes and return, or raise if something happens that must never happen.

Checksums would reject almost every mutation. So the log and checkpoint targets mend the checksums first, as an attacker
would, to test the code behind them. The first byte of the input says whether to mend.
"""

import contextlib
from collections.abc import Callable
from struct import Struct
from zlib import crc32

from inmem.actors.environment import SystemClock
from inmem.actors.files.log_opening import open_log
from inmem.engine.codec import MalformedValueError, decode_value, encode_value
from inmem.engine.commits.reader import Reader
from inmem.engine.errors import CorruptionError, FormatVersionError
from inmem.engine.keys import Tag, event_key
from inmem.engine.log.checkpoint_format import CHECKPOINT_FORMAT, CHECKPOINT_MAGIC, CheckpointHeader
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.following import Bookmark, read_on
from inmem.engine.log.log_folder import MANIFEST_NAME, checkpoint_name, segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, SEGMENT_FORMAT, SEGMENT_MAGIC, SegmentHeader
from inmem.engine.log.log_records import unpack_untrusted
from inmem.engine.log.manifest import Manifest, ManifestState
from inmem.engine.log.recovered_state import Recovered
from inmem.engine.log.recovery import recover
from inmem.engine.log.verification import verify
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from inmem.primitives.cells import CellOperations
from inmem.primitives.events import EventOperations
from inmem.primitives.kv import KVOperations
from inmem.primitives.runs import RunOperations
from inmem.primitives.traces import TraceOperations
from tests.engine.canonical import check_encoded
from tests.engine.memory_disk import MemoryDisk

MENDED = 1
"""First byte of an input whose checksums are to be mended; any other byte leaves them unchanged."""

_IDENTITY = Struct("<8sHH")
_FRAME_FACTS = Struct("<HBBIQQI")
_BLOCK_FACTS = Struct("<BxxxI")
_END_PAYLOAD = Struct("<QQI")
_CHECKSUM = Struct("<I")
_ENTRIES, _END = 1, 3


def fuzz_codec(data: bytes) -> None:
    """Check that bytes are decoded or refused with the right error, and that canonical bytes survive a round trip."""
    try:
        check_encoded(data)
    except MalformedValueError:
        is_canonical = False
    else:
        is_canonical = True
    try:
        value = decode_value(data)
    except MalformedValueError:
        assert not is_canonical
    else:
        assert not is_canonical or encode_value(value) == data


def fuzz_log(data: bytes) -> None:
    """Check a folder with these bytes as its first segment."""
    content = mended_segment(data[1:]) if data[:1] == bytes([MENDED]) else data[1:]
    _check_folder(_folder_of(content))
    _check_following(content, len(content) * data[-1] // 256 if data else 0)


def fuzz_checkpoint(data: bytes) -> None:
    """Check a folder with these bytes as a checkpoint, and the segment that follows it."""
    content = mended_checkpoint(data[1:]) if data[:1] == bytes([MENDED]) else data[1:]
    version = 0
    with contextlib.suppress(CorruptionError, FormatVersionError):
        version = CheckpointHeader.decode(content, "").version
    log = SegmentHeader(2, 1, version, 0, version, 0).encode()
    _check_folder({checkpoint_name(2): content} | _folder_of(log, 2))


def fuzz_records(data: bytes) -> None:
    """Check that each primitive reads these bytes as a record, or refuses them with the right error."""
    record = data[1:]
    for tag, key, read in READS:
        table = Table.build({key: (1, record, 0)})
        reader = Reader(Snapshot(1, (persistent({("run", int(tag)): table}),)), 0)
        with contextlib.suppress(CorruptionError):
            read(reader)


READS: tuple[tuple[Tag, bytes, Callable[[Reader], object]], ...] = (
    (Tag.KV, b"k", lambda reader: KVOperations(reader, "run").list_with_values()),
    (Tag.EVENT, event_key(0), lambda reader: EventOperations(reader, "run").head()),
    (Tag.EVENT, event_key(0), lambda reader: EventOperations(reader, "run").verify_chain()),
    (Tag.STATE, b"c", lambda reader: CellOperations(reader, "run").read("c")),
    (Tag.STATE, b"c", lambda reader: CellOperations(reader, "run").list()),
    (Tag.TRACE, b"t", lambda reader: TraceOperations(reader, "run").get("t")),
    (Tag.RUN, b"", lambda reader: RunOperations(reader).get_run("run")),
)
"""Functions that read a stored record, with its table and key."""


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": fuzz_codec,
    "log": fuzz_log,
    "checkpoint": fuzz_checkpoint,
    "records": fuzz_records,
}


def mended_segment(data: bytes) -> bytes:
    """Return `data` with the identity and all checksums set to those of segment 1."""
    header = _mended_header(data, SEGMENT_MAGIC, SEGMENT_FORMAT)
    header = _with_number(header, 1)
    seed = crc32(header[16:32])
    pieces = [header]
    offset = HEADER_BYTES
    while offset + FRAME_HEADER_BYTES <= len(data):
        magic, kind, flags, length, version, synced, _ = _FRAME_FACTS.unpack_from(data, offset)
        payload = data[offset + FRAME_HEADER_BYTES : offset + FRAME_HEADER_BYTES + length]
        facts = _FRAME_FACTS.pack(magic, kind, flags, length, version, synced, crc32(payload, seed))
        pieces += facts, _CHECKSUM.pack(crc32(facts, seed)), payload
        offset += FRAME_HEADER_BYTES + len(payload)
    pieces.append(data[offset:])
    return b"".join(pieces)


def mended_checkpoint(data: bytes) -> bytes:
    """Return `data` with the identity and all checksums, including the END block's, set to those of checkpoint 2."""
    header = _with_number(_mended_header(data, CHECKPOINT_MAGIC, CHECKPOINT_FORMAT), 2)
    seed = checksum = crc32(header)
    pieces = [header]
    offset = HEADER_BYTES
    blocks = entries = 0
    while offset + 12 <= len(data):
        kind, length = _BLOCK_FACTS.unpack_from(data, offset)
        payload = data[offset + 12 : offset + 12 + length]
        if kind == _END and len(payload) == _END_PAYLOAD.size:
            payload = _END_PAYLOAD.pack(blocks, entries, checksum)
        facts = _BLOCK_FACTS.pack(kind, length)
        block = b"".join((facts, _CHECKSUM.pack(crc32(payload, crc32(facts, seed))), payload))
        pieces.append(block)
        checksum = crc32(block, checksum)
        offset += len(block)
        blocks += 1
        entries += _entries_in(payload) if kind == _ENTRIES else 0
    pieces.append(data[offset:])
    return b"".join(pieces)


def _entries_in(payload: bytes) -> int:
    try:
        return len(unpack_untrusted(payload)[2])
    except (ValueError, TypeError, IndexError):
        return 0


def _mended_header(data: bytes, magic: bytes, file_format: int) -> bytes:
    if len(data) < HEADER_BYTES:
        return data
    identity = _IDENTITY.pack(magic, file_format, HEADER_BYTES)
    return identity + data[12:HEADER_BYTES]


def _with_number(header: bytes, number: int) -> bytes:
    """Return the header with its first field set to `number`, and the matching checksum."""
    if len(header) < HEADER_BYTES:
        return header
    facts = number.to_bytes(8, "little") + header[24:HEADER_BYTES]
    return header[:12] + _CHECKSUM.pack(crc32(facts, crc32(header[:12]))) + facts


def _folder_of(content: bytes, number: int = 1) -> dict[str, bytes]:
    """Return a folder with the segment, and with the manifest that its writer left if it has written any frame."""
    files = {segment_name(number): content}
    if len(content) > HEADER_BYTES:
        salt = int.from_bytes(content[24:32], "little")
        files[MANIFEST_NAME] = Manifest(ManifestState.OPEN, number, salt, 0, 0, 0).encode()
    return files


def _check_folder(files: dict[str, bytes]) -> None:
    """Recover the folder, and check that all its readers agree and that a writer can continue it."""
    disk = MemoryDisk(files)
    try:
        recovered, _ = recover(disk, 1)
    except (CorruptionError, FormatVersionError) as error:
        assert disk.content() == files
        _check_verification_refuses(disk, error)
        return
    state = _state(recovered)
    assert verify(disk).version == recovered.version
    opened, _ = open_log(disk, 1, SystemClock())
    assert _state(opened) == state
    again, position = recover(disk, 1)
    assert _state(again) == state
    assert not position.torn


def _check_following(content: bytes, cut: int) -> None:
    """Check that reading the segment in two steps, split at `cut`, is the same as reading it at once."""
    try:
        first, position = recover(MemoryDisk(_folder_of(content[:cut])), 1)
        whole, _ = recover(MemoryDisk(_folder_of(content)), 1)
    except (CorruptionError, FormatVersionError):
        return
    bookmark = Bookmark.at(MemoryDisk(_folder_of(content[:cut])), position)
    if bookmark is None:
        return
    progress = read_on(MemoryDisk(_folder_of(content)), bookmark, Snapshot(first.version, first.roots))
    assert progress is not None
    progress.snapshot.check()
    assert _tables(progress.snapshot) == _tables(Snapshot(whole.version, whole.roots))
    assert progress.snapshot.version == whole.version
    assert first.outcomes | progress.outcomes == whole.outcomes


def _check_verification_refuses(disk: MemoryDisk, error: Exception) -> None:
    try:
        report = verify(disk)
    except FormatVersionError:
        assert type(error) is FormatVersionError
    else:
        assert not report.is_valid


def _state(recovered: Recovered) -> object:
    snapshot = Snapshot(recovered.version, recovered.roots)
    snapshot.check()
    facts = recovered.version, recovered.transaction_id_max, recovered.time_floor_us, recovered.outcomes
    return *facts, _tables(snapshot)


def _tables(snapshot: Snapshot) -> object:
    return [(run, tag, list(table.range())) for run, tag, table in snapshot.tables()]
