import itertools
import subprocess
import sys
import uuid
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inmem.engine.errors import InvalidKeyError, InvariantError
from inmem.engine.keys import (
    Key,
    Tag,
    event_key,
    normalize_run_id,
    prefix_end,
    sequence_of,
    shard_of,
    user_key,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Short names over the bytes that the encoding treats specially make collisions and near misses likely.
TRICKY_NAMES = st.text(st.sampled_from("\x00\x01\x02aÿ\u07ff\uffff\U0010ffff"), min_size=1, max_size=5)
RUN_IDS = TRICKY_NAMES | TEXT.filter(lambda name: 0 < len(name) <= 255)
USER_KEYS = st.text("\x00\x01\x05a\xff", max_size=4) | TEXT.filter(lambda key: len(key.encode()) <= 1024)
RAW_KEYS = st.builds(
    Key,
    st.just("") | RUN_IDS,
    st.sampled_from(Tag),
    st.binary(max_size=12) | st.lists(st.sampled_from([b"\x00", b"\x01", b"\xff", b"\x00\xff"])).map(b"".join),
)
MADE_KEYS = st.one_of(
    st.builds(Key.kv, RUN_IDS, USER_KEYS),
    st.builds(Key.event, RUN_IDS, st.integers(0, 2**63 - 1)),
    st.builds(Key.state, RUN_IDS, USER_KEYS),
    st.builds(Key.trace, RUN_IDS, USER_KEYS),
    st.builds(Key.run, RUN_IDS),
)
KEYS = RAW_KEYS | MADE_KEYS
HOSTILE_NAMES = ["", "\x00", "a\x00", "\x00\xff", "\x00\x00\x01", "__idx__", "../x", "/etc/passwd", "🤖", "x" * 1024]


class Name(str):
    __slots__ = ()


class Count(int):
    pass


@given(KEYS, KEYS)
@example(Key.kv("a", "b"), Key.kv("a\x00", "b"))
@example(Key.kv("a\x00", "b"), Key.kv("a\x00\x00", "b"))
@example(Key.kv("a\x01", ""), Key.kv("a", "\x01"))
@example(Key.kv("\uffff", "k"), Key.kv("\U00010000", "k"))
def test_keys_and_their_encodings_compare_alike(left, right):
    assert (left < right) == (left.encode() < right.encode())
    assert (left == right) == (left.encode() == right.encode())
    assert (left <= right) == (left.encode() <= right.encode())


@given(st.lists(KEYS, max_size=20))
def test_sorting_keys_sorts_by_run_then_tag_then_user_key(keys):
    by_parts = sorted(keys, key=lambda key: (key.run_id.encode(), int(key.tag), key.user_key))
    assert sorted(keys) == by_parts
    assert [key.encode() for key in by_parts] == sorted(key.encode() for key in keys)


@given(KEYS)
def test_decode_gives_back_what_was_encoded(key):
    decoded = Key.decode(key.encode())
    assert decoded == key
    assert hash(decoded) == hash(key)
    assert type(decoded.tag) is Tag


@given(st.binary(max_size=20) | st.lists(st.sampled_from([b"a", b"\x00", b"\x01", b"\xff"])).map(b"".join))
def test_decode_accepts_only_encodings(data):
    try:
        key = Key.decode(data)
    except InvalidKeyError:
        return
    assert key.encode() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"run",
        b"run\x00\x00",
        b"run\x00\x01key",
        b"run\x00\x00\x00key",
        b"run\x00\x00\x06key",
        b"run\x00\x00\xffkey",
        b"a\x00b\x00\x00\x01key",
        b"\xff\x00\x00\x01key",
        b"\xed\xa0\x80\x00\x00\x01key",
        b"a" * 256 + b"\x00\x00\x01key",
    ],
)
def test_decode_refuses(data):
    with pytest.raises(InvalidKeyError):
        Key.decode(data)


def test_the_encoding_is_frozen():
    assert Key.kv("r\x001", "k\x00").encode() == b"r\x00\xff1\x00\x00\x01k\x00"
    assert Key.event("run", 258).encode() == b"run\x00\x00\x02\x00\x00\x00\x00\x00\x00\x01\x02"
    assert Key.state("é", "phase").encode() == b"\xc3\xa9\x00\x00\x03phase"
    assert Key.trace("run", "").encode() == b"run\x00\x00\x04"
    assert Key.run("run").encode() == b"run\x00\x00\x05"
    assert Key("", Tag.RUN_INDEX, b"x").encode() == b"\x00\x00\x15x"
    assert {tag.name: int(tag) for tag in Tag} == {
        "KV": 0x01,
        "EVENT": 0x02,
        "STATE": 0x03,
        "TRACE": 0x04,
        "RUN": 0x05,
        "EVENT_INDEX": 0x12,
        "TRACE_INDEX": 0x14,
        "RUN_INDEX": 0x15,
        "RUN_ACTIVE": 0x20,
        "RUN_COMPLETED": 0x21,
        "RUN_FAILED": 0x22,
        "RUN_CANCELLED": 0x23,
        "RUN_PAUSED": 0x24,
        "RUN_ARCHIVED": 0x25,
    }


@pytest.mark.parametrize("make", [Key.kv, Key.state, Key.trace])
def test_hostile_names_stay_in_their_run_and_primitive(make):
    own = Key("run", make("run", "x").tag, b"").encode()
    after_own = prefix_end(own)
    for name in HOSTILE_NAMES:
        key = make("run", name)
        assert Key.decode(key.encode()) == key
        assert key.user_key == name.encode()
        assert own <= key.encode() < after_own


def test_hostile_names_never_collide_across_runs_primitives_or_names():
    makers = (Key.kv, Key.state, Key.trace)
    runs = [name for name in HOSTILE_NAMES if 0 < len(name) <= 255]
    keys = [make(run, name) for make, run, name in itertools.product(makers, runs, HOSTILE_NAMES)]
    assert len({key.encode() for key in keys}) == len(keys)


@given(KEYS)
def test_keys_show_themselves_readably(key):
    assert repr(key) == f"Key.{key}"
    str(key).encode()


@given(MADE_KEYS)
def test_the_repr_of_a_users_key_makes_that_key(key):
    assert eval(repr(key), {"Key": Key}) == key


def test_the_shown_form():
    assert str(Key.kv("run-1", "k")) == "kv('run-1', 'k')"
    assert repr(Key.event("run-1", 3)) == "Key.event('run-1', 3)"
    assert str(Key.run("run-1")) == "run('run-1')"
    assert str(Key("run-1", Tag.TRACE_INDEX, b"\x00t")) == "trace_index('run-1', b'\\x00t')"
    assert str(Key("run-1", Tag.KV, b"\xff")) == "kv('run-1', b'\\xff')"
    assert str(Key("run-1", Tag.EVENT, b"short")) == "event('run-1', b'short')"
    assert str(Key("run-1", Tag.RUN, b"more")) == "run('run-1', b'more')"


def test_keys_are_immutable():
    key = Key.kv("run", "k")
    with pytest.raises(FrozenInstanceError):
        key.run_id = "other"


@pytest.mark.parametrize(
    ("run_id", "tag", "key"),
    [
        ("run", 1, b"k"),
        ("run", Tag.KV, "k"),
        ("run", Tag.KV, bytearray(b"k")),
        (None, Tag.KV, b"k"),
        (Name(""), Tag.KV, b"k"),
        ("x" * 256, Tag.KV, b"k"),
        ("\ud800", Tag.KV, b"k"),
    ],
    ids=["int tag", "str key", "bytearray key", "no run", "subclass of str", "long run", "surrogate"],
)
def test_the_constructor_refuses_what_could_not_be_encoded(run_id, tag, key):
    with pytest.raises(InvalidKeyError):
        Key(run_id, tag, key)


def test_a_uuid_is_the_run_of_its_string():
    class DriverUUID(uuid.UUID):
        """Database drivers return UUIDs of their own class."""

    number = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert normalize_run_id(number) == str(number)
    assert type(normalize_run_id(DriverUUID(str(number)))) is str
    assert Key.kv(number, "k") == Key.kv(str(number), "k") == Key(number, Tag.KV, b"k")


@given(RUN_IDS)
def test_a_run_id_of_the_accepted_form_is_kept_as_it_is(run):
    assert normalize_run_id(run) is run


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("", "must not be empty"),
        ("x" * 256, "256 characters, at most 255 are accepted"),
        ("ok\udc80", "has a lone surrogate"),
        (Name("run"), "must be a str or a uuid.UUID, not Name"),
        (b"run", "must be a str or a uuid.UUID, not bytes"),
        (None, "must be a str or a uuid.UUID, not NoneType"),
        (7, "must be a str or a uuid.UUID, not int"),
    ],
)
def test_run_ids_refused(run, reason):
    with pytest.raises(InvalidKeyError) as caught:
        normalize_run_id(run)
    assert str(caught.value) == f"run id: {reason}"


def test_a_run_id_is_measured_in_characters():
    assert normalize_run_id("🤖" * 255) == "🤖" * 255


@given(USER_KEYS)
def test_a_user_key_is_its_utf8(key):
    assert user_key(key) == key.encode()


def test_a_user_key_is_measured_in_bytes():
    assert user_key("🤖" * 256) == "🤖".encode() * 256
    with pytest.raises(InvalidKeyError):
        user_key("🤖" * 256 + "x")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("x" * 1025, "1025 bytes of UTF-8, at most 1024 are accepted"),
        ("x" * 2**20, "1048576 bytes of UTF-8, at most 1024 are accepted"),
        ("\ud83d", "has a lone surrogate"),
        (Name("key"), "must be a str, not Name"),
        (b"key", "must be a str, not bytes"),
        (None, "must be a str, not NoneType"),
        (1, "must be a str, not int"),
    ],
)
def test_user_keys_refused(key, reason):
    with pytest.raises(InvalidKeyError) as caught:
        user_key(key, where="cell name")
    assert str(caught.value) == f"cell name: {reason}"


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_event_keys_sort_by_sequence(left, right):
    assert (event_key(left) < event_key(right)) == (left < right)
    assert sequence_of(event_key(left)) == left


@pytest.mark.parametrize("sequence", [-1, 2**63, 2**64, True, 1.0, "1", None, Count(2)])
def test_sequences_refused(sequence):
    with pytest.raises(InvalidKeyError, match=r"^sequence: "):
        event_key(sequence)


@pytest.mark.parametrize("key", [b"", b"\x00" * 7, b"\x00" * 9])
def test_a_key_that_is_no_event_key_is_a_bug(key):
    with pytest.raises(InvariantError):
        sequence_of(key)


@given(st.binary(max_size=6), st.binary(max_size=6))
@example(b"a\xff\xff", b"")
@example(b"\xff", b"\xff")
def test_prefix_end_parts_the_prefix_from_what_is_above(prefix, key):
    end = prefix_end(prefix)
    assert key.startswith(prefix) == (prefix <= key and (end is None or key < end))
    extended = prefix + key
    assert end is None or prefix <= extended < end


def test_prefix_end_by_example():
    assert prefix_end(b"") is None
    assert prefix_end(b"\xff\xff") is None
    assert prefix_end(b"a") == b"b"
    assert prefix_end(b"a\xff\xff") == b"b"
    assert prefix_end(b"a\x00") == b"a\x01"


@given(RUN_IDS, st.integers(1, 64))
def test_a_run_has_one_shard(run, shards):
    assert 0 <= shard_of(run, shards) < shards
    assert shard_of(run, 1) == 0


def test_shards_are_the_same_in_every_process():
    script = "from inmem.engine.keys import shard_of; print([shard_of(f'run-{n}', 7) for n in range(20)])"
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == str([shard_of(f"run-{n}", 7) for n in range(20)])
    # The check value that every description of CRC-32 gives.
    assert shard_of("123456789", 2**32) == 0xCBF43926


def test_runs_spread_over_all_shards():
    counts = [0] * 8
    for number in range(8000):
        counts[shard_of(f"run-{number}", 8)] += 1
    assert min(counts) > 800
    assert max(counts) < 1200
