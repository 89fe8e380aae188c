"""The chain, checked by code that shares nothing with the package, and tampered with in every way."""

import hashlib
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag, event_key
from inmem.primitives.event_chain import ChainVerification
from inmem.primitives.event_hash import event_hash
from tests.primitives.machine import names, values
from tests.primitives.store import Store

# What an outsider needs: msgpack, SHA-256 and the table in the docstring of event_hash.py. Ten lines.


def outsider_verifies(run, records):
    previous = bytes(32)
    for sequence, data in enumerate(records):
        event_type, payload, timestamp, prev_hash, own_hash = msgpack.unpackb(data)
        number = lambda value: value.to_bytes(8, "big")  # noqa: E731
        fields = [number(1), run.encode(), number(sequence), event_type.encode(), payload, number(timestamp), prev_hash]
        digest = hashlib.sha256(b"".join(struct.pack(">I", len(field)) + field for field in fields)).digest()
        if prev_hash != previous or own_hash != digest:
            return False
        previous = own_hash
    return True


def records(store, run="run"):
    return [entry[1] for _, entry in store.snapshot.table(run, Tag.EVENT).range()]


@given(names, st.lists(st.tuples(names, values), min_size=1, max_size=4))
def test_an_outsider_verifies_the_chain(run, pairs):
    store = Store()
    store.do(lambda txn: store.events(run, txn).append_many(pairs))
    assert outsider_verifies(run, records(store, run))
    assert not outsider_verifies(run + "x", records(store, run))


def test_the_format_does_not_change():
    digest = event_hash("run-1", 2, "tool_call", b"\x01", 1_700_000_000_000_000, bytes(range(32)))
    assert digest.hex() == "52df80518304d1ef9aeba29461015731041630d0bfa3c0868180df39548e34b2"


FIELDS = ["type", "payload", "timestamp", "previous hash", "hash"]
CHANGED = ["another", msgpack.packb("another"), 1, b"\x01" * 32, b"\x01" * 32]
LENGTH = 5


@pytest.fixture
def store():
    store = Store()
    for number in range(LENGTH):
        store.do(lambda txn, number=number: store.events(txn=txn).append(f"type {number}", {"number": number}))
        store.now_us += 1_000
    assert store.events().verify_chain() == ChainVerification(True, LENGTH)
    return store


@pytest.mark.parametrize("sequence", range(LENGTH))
@pytest.mark.parametrize("field", range(5), ids=FIELDS)
def test_a_change_of_any_field_of_any_event_is_reported_with_its_sequence(store, field, sequence):
    record = msgpack.unpackb(records(store)[sequence])
    record[field] = CHANGED[field]
    store.tamper("run", Tag.EVENT, event_key(sequence), msgpack.packb(record))
    verification = store.events().verify_chain()
    assert (verification.is_valid, verification.length, verification.first_invalid) == (False, LENGTH, sequence)
    assert f"event {sequence} " in verification.error
    with pytest.raises(InvariantError, match=f"event {sequence} "):
        store.events().check()


@pytest.mark.parametrize("sequence", range(LENGTH - 1))
def test_an_event_whose_hash_was_made_to_fit_breaks_the_next_one(store, sequence):
    event_type, _, timestamp, prev_hash, _ = msgpack.unpackb(records(store)[sequence])
    forged = event_hash("run", sequence, event_type, b"\x01", timestamp, prev_hash)
    store.tamper(
        "run", Tag.EVENT, event_key(sequence), msgpack.packb((event_type, b"\x01", timestamp, prev_hash, forged))
    )
    assert store.events().verify_chain().first_invalid == sequence + 1


@pytest.mark.parametrize("sequence", range(LENGTH - 1))
def test_a_missing_event_is_reported(store, sequence):
    store.tamper("run", Tag.EVENT, event_key(sequence), None)
    assert store.events().verify_chain() == ChainVerification(
        False, LENGTH - 1, sequence, f"event {sequence} is missing"
    )


def test_swapped_events_are_reported(store):
    second, third = records(store)[1:3]
    store.tamper("run", Tag.EVENT, event_key(1), third)
    store.tamper("run", Tag.EVENT, event_key(2), second)
    assert store.events().verify_chain().first_invalid == 1


def test_an_event_under_an_odd_key_is_reported(store):
    store.tamper("run", Tag.EVENT, event_key(1) + b"x", records(store)[1])
    verification = store.events().verify_chain()
    assert (verification.length, verification.first_invalid) == (LENGTH + 1, 2)


def test_time_that_goes_back_is_reported_even_in_an_unbroken_chain(store):
    event_type, payload, _, prev_hash, _ = msgpack.unpackb(records(store)[LENGTH - 1])
    forged = event_hash("run", LENGTH - 1, event_type, payload, 1, prev_hash)
    store.tamper("run", Tag.EVENT, event_key(LENGTH - 1), msgpack.packb((event_type, payload, 1, prev_hash, forged)))
    verification = store.events().verify_chain()
    assert (verification.first_invalid, verification.error) == (4, "event 4 is earlier than the event before it")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91",
        msgpack.packb(None),
        msgpack.packb([]),
        msgpack.packb(["x", b"", 1, bytes(32)]),
        msgpack.packb([b"x", b"", 1, bytes(32), bytes(32)]),
        msgpack.packb(["x", b"", -1, bytes(32), bytes(32)]),
        msgpack.packb(["x", b"", 2**63, bytes(32), bytes(32)]),
        msgpack.packb(["x", b"", True, bytes(32), bytes(32)]),
        msgpack.packb(["x", b"", 1, bytes(31), bytes(32)]),
        msgpack.packb(["x", b"", 1, bytes(32), None]),
        msgpack.packb(["x", b"", 1, bytes(32), bytes(32)]) + b"\x00",
        b"\x95\xa1\xff",
    ],
)
def test_what_is_no_event_at_all_is_reported(store, data):
    store.tamper("run", Tag.EVENT, event_key(2), data)
    verification = store.events().verify_chain()
    assert (verification.is_valid, verification.length, verification.first_invalid) == (False, LENGTH, 2)
    assert verification.error.startswith("event 2 ")
