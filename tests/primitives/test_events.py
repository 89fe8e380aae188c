import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from inmem.engine.codec import Encoded, encode_value
from inmem.engine.commits.conflicts import ReadConflict, WriteConflict
from inmem.engine.errors import InvalidKeyError, InvalidValueError, InvariantError, UsageError
from inmem.engine.keys import Key, Tag, event_key
from inmem.primitives.event_chain import ChainVerification
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH
from inmem.primitives.events import BATCH_SIZE, Event, EventOperations
from inmem.primitives.index_key import PRESENT
from tests.primitives.machine import TransactionMachine, limits, names, values
from tests.primitives.store import Store


class EventMachine(TransactionMachine):
    """The model is the list of events."""

    clock_steps_back = True

    def new_model(self):
        return []

    def events(self) -> EventOperations:
        return EventOperations(self.txn, "run")

    @rule(event_type=names, payload=values)
    def append(self, event_type, payload):
        event = self.events().append(event_type, payload)
        assert (event.event_type, event.payload) == (event_type, payload)
        self.extend([event])

    @rule(pairs=st.lists(st.tuples(names, values), max_size=4))
    def append_many(self, pairs):
        events = self.events().append_many(pairs)
        assert [(event.event_type, event.payload) for event in events] == pairs
        self.extend(events)

    def extend(self, events):
        for event in events:
            assert event.sequence == len(self.model)
            assert event.prev_hash == (self.model[-1].hash if self.model else FIRST_PREVIOUS_HASH)
            assert event.timestamp == max(self.txn.now_us, self.model[-1].timestamp if self.model else 0)
            self.model.append(event)

    @rule(start=st.integers(0, 12), count=st.integers(-2, 12), batch_size=st.integers(1, 4))
    def read(self, start, count, batch_size):
        events = self.events()
        assert events.read_range(start, max(start + count, 0)) == self.model[start : max(start + count, 0)]
        assert list(events.iter(start, batch_size=batch_size)) == self.model[start:]
        assert events.read(start) == (self.model[start] if start < len(self.model) else None)

    @rule(count=st.integers(0, 12) | st.just(2**70))
    def tail(self, count):
        assert self.events().tail(count) == self.model[max(len(self.model) - count, 0) :]

    @rule(event_type=names, limit=limits, after=st.none() | st.integers(0, 12))
    def by_type(self, event_type, limit, after):
        expected = [event for event in self.model if event.event_type == event_type]
        if after is not None:
            expected = [event for event in expected if event.sequence > after]
        assert self.events().read_by_type(event_type, limit, after) == expected[:limit]

    @rule(limit=limits, after=names)
    def types(self, limit, after):
        expected = sorted({event.event_type for event in self.model}, key=str.encode)
        assert self.events().types(limit) == expected[:limit]
        if after:
            behind = [each for each in expected if each.encode() > after.encode()]
            assert self.events().types(limit, after) == behind[:limit]

    def check(self):
        events = self.events()
        assert events.len() == len(self.model)
        assert events.head() == (self.model[-1] if self.model else None)
        assert events.verify_chain() == ChainVerification(True, len(self.model))
        events.check()


TestEventLog = pytest.mark.unmeasured(EventMachine.TestCase)


@pytest.fixture
def store():
    return Store()


def append(store, *pairs, run="run"):
    return store.do(lambda txn: store.events(run, txn).append_many(pairs))


def test_concurrent_appenders_conflict_on_the_sequence_they_both_take(store):
    append(store, ("x", 0))
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        store.events(txn=txn).append("x", 1)
    store.commit(first)
    key = Key.event("run", 1)
    indexed = Key("run", Tag.EVENT_INDEX, b"x\x00\x00" + key.user_key)
    assert store.conflicts(second) == (WriteConflict(key, 1, 2), WriteConflict(indexed, 1, 2))


READ_THE_HEAD = {
    "head": lambda events: events.head(),
    "len": lambda events: events.len(),
    "tail": lambda events: events.tail(1),
    "a tail of nothing": lambda events: events.tail(0),
}


@pytest.mark.parametrize("reading", READ_THE_HEAD)
def test_an_append_meanwhile_conflicts_with_whoever_read_the_head(store, reading):
    append(store, ("x", 0))
    txn = store.begin()
    READ_THE_HEAD[reading](store.events(txn=txn))
    store.kv(txn=txn).put("seen", True)
    append(store, ("x", 1))
    assert store.conflicts(txn) == (ReadConflict(Key.event("run", 1), 0, 2),)


def test_reading_events_that_are_there_does_not_conflict_with_appends(store):
    append(store, ("x", 0))
    txn = store.begin()
    store.events(txn=txn).read(0)
    store.events(txn=txn).read_range(0, 10)
    store.events(txn=txn).read_by_type("x")
    store.kv(txn=txn).put("seen", True)
    append(store, ("x", 1))
    assert store.conflicts(txn) == ()


def test_aborted_appends_burn_no_sequence(store):
    store.events().append("x", 0)
    assert append(store, ("x", 1))[0].sequence == 0


def test_timestamps_never_decrease(store):
    append(store, ("x", 0))
    later = store.now_us
    store.now_us -= 5_000_000
    event = append(store, ("x", 1))[0]
    assert event.timestamp == later
    assert store.events().verify_chain().is_valid


def test_append_many_appends_all_or_nothing(store):
    txn = store.begin()
    events = store.events(txn=txn)
    with pytest.raises(InvalidValueError, match=r'^events\[1\]\.payload\["a"\]: set cannot be stored'):
        events.append_many([("x", 1), ("x", {"a": set()})])
    with pytest.raises(InvalidKeyError, match=r"^events\[1\]\.event_type: must not be empty"):
        events.append_many([("x", 1), ("", 1)])
    for odd in (("x",), "xy", ("x", 1, 2), None):
        with pytest.raises(UsageError, match=r"^events\[1\]: must be a pair"):
            events.append_many([("x", 1), odd])
    assert not txn.has_writes


def test_arguments_are_refused_by_name(store):
    events = store.events()
    with pytest.raises(InvalidValueError, match=r"^payload: set cannot be stored"):
        events.append("x", set())
    for event_type in ("", 1, None, "x" * 1025):
        with pytest.raises(InvalidKeyError, match=r"^event_type: "):
            events.append(event_type, 1)
        with pytest.raises(InvalidKeyError, match=r"^event_type: "):
            events.read_by_type(event_type)
    for sequence in (-1, True, 1.0, "1"):
        with pytest.raises(InvalidKeyError, match=r"^sequence: "):
            events.read(sequence)
        with pytest.raises(InvalidKeyError, match=r"^sequence: "):
            events.iter(sequence)
    for count in (-1, True, 1.0, None, "1"):
        with pytest.raises(UsageError, match=r"^count: must be an int of at least 0, not "):
            events.tail(count)
    for batch_size in (0, True, 1.0):
        with pytest.raises(UsageError, match=r"^batch_size: "):
            events.iter(batch_size=batch_size)


def test_beyond_the_greatest_sequence_there_are_no_events(store):
    [event] = append(store, ("x", 0))
    events = store.events()
    for beyond in (2**63 - 1, 2**63, 2**70):
        assert events.read(beyond) is None
        assert (events.read_range(0, beyond), events.read_range(beyond, beyond)) == ([event], [])
        assert (list(events.iter(beyond)), events.read_by_type("x", after=beyond)) == ([], [])


def test_iterating_yields_the_events_there_were_when_it_began(store):
    append(store, ("x", 0), ("x", 1))
    txn = store.begin()
    events = store.events(txn=txn)
    iterator = events.iter(batch_size=1)
    events.append("x", 2)
    assert [event.sequence for event in iterator] == [0, 1]


def test_what_is_read_out_is_not_the_stored_payload(store):
    payload = {"items": [1]}
    txn = store.begin()
    events = store.events(txn=txn)
    event = events.append("x", payload)
    payload["items"].append(2)
    event.payload["items"].append(3)
    events.read(0).payload["items"].append(4)
    assert events.read(0) == Event(0, "x", {"items": [1]}, store.now_us, FIRST_PREVIOUS_HASH, event.hash)
    assert events.verify_chain().is_valid


def test_an_event_shows_as_much_of_its_hashes_as_tells_them_apart(store):
    event = store.events().append("x", {"a": 1})
    hashes = f"prev_hash=00000000…, hash={event.hash.hex()[:8]}…"
    assert repr(event) == f"Event(sequence=0, event_type='x', payload={{'a': 1}}, timestamp={store.now_us}, {hashes})"


def test_an_encoded_payload_has_the_same_hash(store):
    plain = store.events().append("x", [1, "é"])
    assert store.events().append("x", Encoded(encode_value([1, "é"]))) == plain


def test_verifying_tells_how_far_it_has_come_and_can_be_given_up(store):
    append(store, *[("x", at) for at in range(2 * BATCH_SIZE + 1)])
    told = []
    assert store.events().verify_chain(told.append).is_valid
    assert told == [BATCH_SIZE, 2 * BATCH_SIZE]

    def give_up(count):
        raise RuntimeError(count)

    with pytest.raises(RuntimeError, match=str(BATCH_SIZE)):
        store.events().verify_chain(give_up)


def test_who_is_to_be_told_must_be_a_function_however_few_events_there_are(store):
    append(store, ("x", 1))
    with pytest.raises(UsageError, match=r"^on_progress: must be a function that takes the .*, or None, not int"):
        store.events().verify_chain(5)


def test_runs_have_chains_of_their_own(store):
    first = append(store, ("x", 1), run="first")[0]
    second = append(store, ("x", 1), run="second")[0]
    assert (first.sequence, second.sequence) == (0, 0)
    assert first.hash != second.hash


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (b"y\x00\x00" + event_key(7), PRESENT, "does not agree"),
        (b"x\x00\x00" + event_key(0), None, "does not agree"),
    ],
)
def test_check_finds_an_index_that_does_not_agree(store, key, value, complaint):
    append(store, ("x", 1))
    store.tamper("run", Tag.EVENT_INDEX, key, value)
    with pytest.raises(InvariantError, match=complaint):
        store.events().check()


def test_an_index_entry_without_its_event_is_our_bug(store):
    append(store, ("x", 1))
    store.tamper("run", Tag.EVENT_INDEX, b"x\x00\x00" + event_key(7), PRESENT)
    with pytest.raises(InvariantError, match="event 7, which does not exist"):
        store.events().read_by_type("x")
