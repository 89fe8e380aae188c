import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import CorruptionError, FormatVersionError, InvariantError
from inmem.engine.keys import shard_of
from inmem.engine.log import checkpoint_format
from inmem.engine.log.checkpoint_format import CheckpointHeader, CheckpointReader, encode_checkpoint
from inmem.engine.tables.entry import entry_of
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.memory_disk import BytesFile

UINT64 = st.integers(0, 2**64 - 1)
VERSION = 1000
ENTRIES = st.tuples(st.integers(1, VERSION), st.none() | st.binary(max_size=40), UINT64)
TABLES = st.dictionaries(
    st.tuples(st.sampled_from(["", "run-1", "run-1\0", "läufe", "\U0001f3c3"]), st.integers(1, 255)),
    st.dictionaries(st.binary(max_size=4), ENTRIES, min_size=1, max_size=8),
    max_size=5,
)
OUTCOMES = st.dictionaries(st.tuples(UINT64, UINT64), st.integers(1, VERSION), max_size=5)


def header(version=VERSION):
    return CheckpointHeader(4, version, 77, 1_700_000_000_000_000, 3, 1_700_000_000_000_001)


def snapshot(tables, shards=1, version=VERSION):
    roots = [{} for _ in range(shards)]
    for (run, tag), entries in tables.items():
        roots[shard_of(run, shards)][run, tag] = Table.build(entries)
    return Snapshot(version, tuple(persistent(root) for root in roots))


def encode(tables, outcomes=None, shards=1):
    return b"".join(encode_checkpoint(header(), snapshot(tables, shards), outcomes or {}))


def read(data):
    reader = CheckpointReader(BytesFile(data), "x.checkpoint")
    tables = {}
    for run, tag, entries in reader:
        table = tables.setdefault((run, tag), {})
        assert not table.keys() & dict(entries).keys()
        table.update((key, entry_of(stored)) for key, stored in entries)
    return reader, tables


def crafted(*blocks, entries=0, count=None):
    """A checkpoint of which every checksum holds, of blocks given as (kind, payload)."""
    data = header().encode()
    seed = checkpoint_format.crc32(data)
    data += b"".join(checkpoint_format._block(kind, payload, seed) for kind, payload in blocks)
    count = len(blocks) if count is None else count
    end = checkpoint_format._END_PAYLOAD.pack(count, entries, checkpoint_format.crc32(data))
    return data + checkpoint_format._block(3, end, seed)


SMALL = {
    ("run-1", 1): {b"a": (1, b"one", 0), b"b": (2, None, 0), b"c": (3, b"three", 99)},
    ("run-2", 2): {b"\0" * 8: (4, b"event", 0)},
}


@given(TABLES, OUTCOMES, st.integers(1, 4), st.sampled_from([1, 60, 2**20]))
def test_a_checkpoint_reads_back_as_it_was(tables, outcomes, shards, block_bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_format, "BLOCK_BYTES", block_bytes)
        data = encode(tables, outcomes, shards)
    reader, found = read(data)
    assert found == tables
    assert list(found) == sorted(tables)
    assert all(list(entries) == sorted(entries) for entries in found.values())
    assert reader.header == header()
    assert reader.outcomes == outcomes
    assert reader.entry_count == sum(map(len, tables.values()))


def test_the_number_of_shards_leaves_no_trace():
    assert encode(SMALL, shards=3) == encode(SMALL)


def test_writing_holds_no_more_than_a_block_at_a_time():
    value = b"v" * 1000
    tables = {("run", 1): {b"%08d" % i: (1, value, 0) for i in range(5000)}}
    sizes = [len(chunk) for chunk in encode_checkpoint(header(), snapshot(tables), {})]
    assert max(sizes) < checkpoint_format.BLOCK_BYTES + 2000
    assert sum(sizes[1:-1]) / len(sizes[1:-1]) > 0.9 * checkpoint_format.BLOCK_BYTES


def test_a_header_of_another_version_than_the_snapshot_is_refused():
    with pytest.raises(InvariantError):
        list(encode_checkpoint(header(5), snapshot({}), {}))


def test_a_checkpoint_cut_at_any_byte_is_damage():
    data = encode(SMALL, {(1, 2): 3})
    for size in range(len(data)):
        with pytest.raises(CorruptionError) as caught:
            read(data[:size])
        assert caught.value.path == "x.checkpoint"
        assert caught.value.offset <= size


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_checkpoint_altered_at_any_byte_is_refused(mask):
    data = encode(SMALL, {(1, 2): 3})
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= mask
        with pytest.raises((CorruptionError, FormatVersionError)):
            read(bytes(altered))


def test_anything_behind_the_end_is_damage():
    data = encode(SMALL)
    for junk in (b"\0", data):
        with pytest.raises(CorruptionError) as caught:
            read(data + junk)
        assert caught.value.offset == len(data)


def test_a_missing_or_foreign_block_is_damage():
    chunks = list(encode_checkpoint(header(), snapshot(SMALL), {}))
    foreign = list(encode_checkpoint(CheckpointHeader(4, VERSION, 0, 0, 0, 0), snapshot(SMALL), {}))
    for damaged in (
        chunks[:1] + chunks[2:],
        [chunks[0], chunks[2], chunks[1], chunks[3]],
        [chunks[0], chunks[1], *chunks[1:]],
        [chunks[0], foreign[1], *chunks[2:]],
        [*chunks[:-1], foreign[-1]],
    ):
        with pytest.raises(CorruptionError):
            read(b"".join(damaged))


@pytest.mark.parametrize("data", [b"INMEMWAL" * 20, b"PK\x03\x04", b"\0" * 64])
def test_a_foreign_file_is_named_as_such(data):
    with pytest.raises(FormatVersionError):
        read(data)


def test_a_newer_format_is_named_as_such(monkeypatch):
    monkeypatch.setattr(checkpoint_format, "CHECKPOINT_FORMAT", 2)
    data = encode(SMALL)
    monkeypatch.undo()
    with pytest.raises(FormatVersionError, match="format 2"):
        read(data)


ENTRY = [b"k", b"v", 1, 0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["run", 1],
        ["run", 1, []],
        ["run", 1, None],
        ["run", 1, {b"k": ENTRY}],
        ["run", 1, [ENTRY], 0],
        [b"run", 1, [ENTRY]],
        ["run", 0, [ENTRY]],
        ["run", 256, [ENTRY]],
        ["run", 1, [None]],
        ["run", 1, [ENTRY[:3]]],
        ["run", 1, [["k", b"v", 1, 0]]],
        ["run", 1, [[b"k", "v", 1, 0]]],
        ["run", 1, [[b"k", b"v", 0, 0]]],
        ["run", 1, [[b"k", b"v", VERSION + 1, 0]]],
        ["run", 1, [[b"k", b"v", True, 0]]],
        ["run", 1, [[b"k", b"v", 1, -1]]],
        ["run", 1, [[b"k", b"v", 1, 0.0]]],
        ["run", 1, [[b"k", msgpack.ExtType(4, b"x"), 1, 0]]],
        ["run", 1, [ENTRY, ENTRY]],
        ["run", 1, [[b"l", b"v", 1, 0], ENTRY]],
    ],
    ids=repr,
)
def test_another_structure_is_damage(value):
    with pytest.raises(CorruptionError, match="the block cannot be read") as caught:
        read(crafted((1, msgpack.packb(value)), entries=1))
    assert caught.value.offset == 64


def test_the_crafted_checkpoint_is_otherwise_a_good_one():
    payload = msgpack.packb(["run", 1, [ENTRY]])
    assert read(crafted((1, payload), (2, msgpack.packb([[1, 2, 3]])), entries=1))[1] == {
        ("run", 1): {b"k": (1, b"v", 0)}
    }


def block(run, *keys):
    return 1, msgpack.packb([run, 1, [[key, b"v", 1, 0] for key in keys]])


@pytest.mark.parametrize(
    "blocks",
    [
        [block("run", b"a", b"b"), block("run", b"b")],
        [block("run", b"b"), block("run", b"a")],
        [block("run", b"a"), block("other", b"a"), block("run", b"b")],
        [(0, b"\x90")],
        [(4, b"\x90")],
        [(1, b"")],
        [(1, b"\xdd\xff\xff\xff\xff")],
        [(1, msgpack.packb(["run", 1, [ENTRY]]) + b"\xc0")],
        [(2, msgpack.packb([[1, 2]]))],
        [(2, msgpack.packb([[1, 2, None]]))],
        [(2, msgpack.packb([7]))],
    ],
)
def test_blocks_that_do_not_belong_together_are_damage(blocks):
    with pytest.raises(CorruptionError, match="the block cannot be read"):
        read(crafted(*blocks, entries=1))


def test_wrong_counts_in_the_end_block_are_damage():
    good = block("run", b"a")
    assert read(crafted(good, entries=1))[0].entry_count == 1
    for wrong in ({"entries": 2}, {"entries": 1, "count": 2}):
        with pytest.raises(CorruptionError, match="END block does not match"):
            read(crafted(good, **wrong))
    with pytest.raises(CorruptionError, match="END block does not match"):
        read(crafted((3, b"")))
