import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import CorruptionError
from inmem.engine.limits import INT_MAX
from inmem.engine.log.log_records import (
    COMMIT_HEAD_BYTES_MAX,
    CommitRecord,
    DropRun,
    TableWrites,
    decode_commit,
    encode_commit,
    encode_operations,
)

UINT64 = st.integers(0, 2**64 - 1)
WRITES = st.lists(
    st.tuples(st.binary(max_size=20), st.none() | st.binary(max_size=40), UINT64), max_size=5, unique_by=lambda w: w[0]
).map(tuple)
RUNS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
OPERATIONS = st.builds(TableWrites, RUNS, st.integers(1, 255), WRITES) | st.builds(DropRun, RUNS)
RECORDS = st.builds(CommitRecord, UINT64, UINT64, st.lists(OPERATIONS, max_size=4).map(tuple))


@given(RECORDS)
def test_a_record_reads_back_as_it_was(record):
    read = decode_commit(encode_commit(record), "log", 0)
    assert read == record
    assert [type(operation) for operation in read.operations] == [type(operation) for operation in record.operations]


def test_the_payload_is_the_documented_msgpack():
    record = CommitRecord(7, 9, (TableWrites("r", 1, ((b"k", b"v", 5), (b"l", None, 0))), DropRun("s")))
    assert encode_commit(record) == bytes.fromhex("93 07 09 92  93 a1 72 01 92 93c4016bc4017605 93c4016cc000  91 a1 73")


@given(RECORDS)
def test_operations_that_were_encoded_before_make_the_same_record(record):
    operations = encode_operations(record.operations)
    assert encode_commit((record.transaction_id, record.timestamp_us, operations)) == encode_commit(record)
    assert len(encode_commit(record)) <= len(operations) + COMMIT_HEAD_BYTES_MAX


def test_the_head_of_a_record_is_as_large_as_stated():
    operations = encode_operations([])
    assert len(encode_commit((INT_MAX, INT_MAX, operations))) == len(operations) + COMMIT_HEAD_BYTES_MAX


@given(RECORDS.map(encode_commit), st.data())
def test_an_incomplete_or_longer_payload_is_damage(payload, data):
    cut = data.draw(st.integers(0, len(payload) - 1))
    for damaged in (payload[:cut], payload + b"\x00"):
        with pytest.raises(CorruptionError) as caught:
            decode_commit(damaged, "some.wal", 4711)
        assert (caught.value.path, caught.value.offset) == ("some.wal", 4711)


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers(0, 300) | st.binary(max_size=3), st.lists).map(msgpack.packb)
)
def test_arbitrary_bytes_are_a_record_or_damage(payload):
    try:
        record = decode_commit(payload, "log", 0)
    except CorruptionError:
        return
    assert decode_commit(encode_commit(record), "log", 0) == record


WRITE = [b"k", b"v", 0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        b"",
        "abc",
        {},
        {1: 2, 3: 4, 5: 6},
        [],
        [1, 2],
        [1, 2, [], 4],
        [-1, 2, []],
        [1, -2, []],
        [True, 2, []],
        [1, 2.0, []],
        ["1", 2, []],
        [1, 2, None],
        [1, 2, "ops"],
        [1, 2, [None]],
        [1, 2, [[]]],
        [1, 2, [[b"run"]]],
        [1, 2, [["run", 1]]],
        [1, 2, [["run", 1, [], 0]]],
        [1, 2, [[b"run", 1, [WRITE]]]],
        [1, 2, [["run", 0, [WRITE]]]],
        [1, 2, [["run", 256, [WRITE]]]],
        [1, 2, [["run", True, [WRITE]]]],
        [1, 2, [["run", 1, {}]]],
        [1, 2, [["run", 1, None]]],
        [1, 2, [["run", 1, ["abc"]]]],
        [1, 2, [["run", 1, [[b"k", b"v"]]]]],
        [1, 2, [["run", 1, [[b"k", b"v", 0, 0]]]]],
        [1, 2, [["run", 1, [["k", b"v", 0]]]]],
        [1, 2, [["run", 1, [[b"k", "v", 0]]]]],
        [1, 2, [["run", 1, [[b"k", False, 0]]]]],
        [1, 2, [["run", 1, [[b"k", b"v", -1]]]]],
        [1, 2, [["run", 1, [[b"k", b"v", None]]]]],
        [1, 2, [["run", 1, [WRITE, WRITE]]]],
        [1, 2, [["run", 1, [[msgpack.ExtType(5, b""), b"v", 0]]]]],
        [1, 2, [["run", 1, [[b"k", msgpack.ExtType(5, b"abc"), 0]]]]],
        [msgpack.Timestamp(1, 2), 2, []],
        msgpack.ExtType(1, b"abc"),
    ],
    ids=repr,
)
def test_another_structure_is_damage(value):
    with pytest.raises(CorruptionError):
        decode_commit(msgpack.packb(value), "log", 0)


def test_a_run_that_is_not_utf8_is_damage():
    with pytest.raises(CorruptionError):
        decode_commit(bytes.fromhex("93 01 02 91 91 a2 c328"), "log", 0)
    with pytest.raises(CorruptionError):
        decode_commit(bytes.fromhex("93 01 02 91 91 a3 eda080"), "log", 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x93\x01\x02\xdd\xff\xff\xff\xff",
        b"\x93\x01\x02\xdf\xff\xff\xff\xff",
        b"\x93\x01\x02\xc6\xff\xff\xff\xff",
        b"\x93\x01\x02\xdb\xff\xff\xff\xff",
        b"\x93\x01\x02\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 100_000,
        b"\xdd\x00\x01\x86\xa0" * 1000 + b"\xc0" * 100_000,
    ],
    ids=["array", "map", "bin", "str", "ext", "nesting", "nested arrays"],
)
def test_a_claimed_length_costs_no_memory(payload):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError):
            decode_commit(payload, "log", 0)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # msgpack reserves at most 10,000 items for each of at most 1,024 levels.
    assert peak_bytes < 100_000_000
