"""The stored forms of the primitives: what is written reads back, and what nobody could have written is refused."""

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.codec import MalformedValueError, decode_value, encode_value
from inmem.engine.packing import pack
from inmem.primitives.cell_record import CellRecord, unpack_cell
from inmem.primitives.event_record import EventRecord, unpack_event
from inmem.primitives.run_record import RunRecord, unpack_run
from inmem.primitives.run_status import RunStatus
from inmem.primitives.trace_record import TraceRecord, unpack_trace

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
BYTES = st.binary(max_size=40)
HASHES = st.binary(min_size=32, max_size=32)
POSITIONS = st.binary(min_size=28, max_size=28)
TIMES = st.integers(0, 2**63 - 1)
LABELS = st.lists(TEXT, max_size=3).map(tuple)

FORMS = {
    "cell": (unpack_cell, st.builds(CellRecord, st.integers(1, 2**63 - 1), TIMES, st.none() | BYTES)),
    "event": (unpack_event, st.builds(EventRecord, TEXT, BYTES, TIMES, HASHES, HASHES)),
    "run": (
        unpack_run,
        st.builds(
            RunRecord,
            POSITIONS,
            st.none() | TEXT,
            st.sampled_from(RunStatus),
            TIMES,
            st.none() | TIMES,
            LABELS,
            BYTES,
            st.none() | TEXT,
        ),
    ),
    "trace": (
        unpack_trace,
        st.builds(
            TraceRecord, POSITIONS, st.none() | TEXT, TEXT, LABELS, BYTES, st.lists(BYTES, max_size=3).map(tuple)
        ),
    ),
}
EXAMPLES = {
    "cell": [3, 5, b"\xc0"],
    "event": ["type", b"\xc0", 5, bytes(32), bytes(32)],
    "run": [bytes(28), None, "Active", 5, None, ["tag"], b"\x80", None],
    "trace": [bytes(28), "parent", "Thought", ["tag"], b"\x80", [b"\xa1x", b"\xc0"]],
}
# For each form: the place of a field, and what must not stand there.
WRONG = {
    "cell": [(0, 0), (0, -1), (0, "1"), (0, True), (0, 2**63), (1, -1), (1, 1.0), (1, None), (2, "text"), (2, 0)],
    "event": [
        (0, b"type"),
        (0, None),
        (1, "text"),
        (2, -1),
        (2, 2**63),
        (2, False),
        (3, b""),
        (3, bytes(33)),
        (4, None),
    ],
    "run": [
        (0, bytes(27)),
        (1, 1),
        (2, "paused?"),
        (2, None),
        (3, -1),
        (4, "x"),
        (5, "tag"),
        (5, [1]),
        (6, {}),
        (7, b""),
    ],
    "trace": [(0, bytes(29)), (1, b"parent"), (2, 1), (3, None), (3, [b"tag"]), (4, ""), (5, b"xx"), (5, [None])],
}


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_what_is_written_reads_back(name, data):
    unpack, records = FORMS[name]
    record = data.draw(records)
    packed = pack(record)
    assert unpack(packed) == record
    assert type(unpack(packed)) is type(record)
    # Any msgpack reads it, and so does the codec.
    assert msgpack.unpackb(packed) == decode_value(packed)


@pytest.mark.parametrize("name", FORMS)
def test_the_form_is_an_array_of_the_fields_in_their_order(name):
    unpack, _ = FORMS[name]
    fields = EXAMPLES[name]
    assert pack(unpack(encode_value(fields))) == encode_value(fields)


@pytest.mark.parametrize(("name", "at", "wrong"), [(name, *case) for name, cases in WRONG.items() for case in cases])
def test_a_field_of_another_form_is_refused_and_its_place_named(name, at, wrong):
    unpack, _ = FORMS[name]
    fields = list(EXAMPLES[name])
    fields[at] = wrong
    with pytest.raises(MalformedValueError, match=rf"does not have the form of an? {name}: .*\$\[{at}\]"):
        unpack(msgpack.packb(fields))


@pytest.mark.parametrize("name", FORMS)
def test_anything_else_is_refused(name):
    unpack, _ = FORMS[name]
    fields = EXAMPLES[name]
    whole = encode_value(fields)
    others = [fields[:-1], [*fields, None], [], {}, None, "text", dict(enumerate(fields))]
    for data in (*map(msgpack.packb, others), b"", whole[:-1], whole + b"\x00", b"\xc1"):
        with pytest.raises(MalformedValueError, match=f"does not have the form of an? {name}: "):
            unpack(data)


@pytest.mark.parametrize("name", FORMS)
def test_lengths_without_content_take_no_memory(name):
    unpack, _ = FORMS[name]
    bombs = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
    packed = [msgpack.packb(field) for field in EXAMPLES[name]]
    head = bytes([0x90 + len(packed)])
    tracemalloc.start()
    try:
        for bomb in bombs:
            for at in range(len(packed)):
                with pytest.raises(MalformedValueError):
                    unpack(head + b"".join([*packed[:at], bomb, *packed[at + 1 :]]))
            with pytest.raises(MalformedValueError):
                unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
