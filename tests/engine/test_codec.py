import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import pathlib
import struct
import sys
import threading
import tracemalloc
import uuid

import msgpack
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from inmem.engine import codec, packing
from inmem.engine.codec import Encoded, MalformedValueError, decode_value, encode_value
from inmem.engine.errors import InvalidValueError
from inmem.engine.limits import VALUE_BYTES_MAX
from tests.engine.canonical import check_encoded

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
BOUNDARY_INTS = st.sampled_from(
    [sign * 2**bits + offset for sign in (1, -1) for bits in (5, 7, 8, 15, 16, 31, 32, 62) for offset in (-1, 0, 1)]
)
DOUBLES = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack(">d", struct.pack(">Q", bits))[0])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), BOUNDARY_INTS, st.floats(), DOUBLES, TEXT, st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner) | st.lists(inner).map(tuple), max_leaves=20
)


class Text(str):
    __slots__ = ()


class Numbers(list):
    pass


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Plain(enum.Enum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int


class Opaque:
    def __init__(self):
        self.touched = 0

    def __repr__(self):
        self.touched += 1
        raise RuntimeError("never to be called")


def exact(value):
    """A form of a value in which == also compares types, float bits and the order of keys."""
    if type(value) is float:
        return ("float", struct.pack(">d", value))
    if type(value) in {list, tuple}:
        return ("list", [exact(item) for item in value])
    if type(value) is dict:
        return ("dict", [(exact(key), exact(item)) for key, item in value.items()])
    return (type(value).__name__, value)


def nested(levels, innermost=None):
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


def refusal(value, where="value", **options):
    with pytest.raises(InvalidValueError) as caught:
        encode_value(value, where, **options)
    return str(caught.value)


@given(VALUES)
@example({"a": (1, (2,)), "": {"": []}})
@example([True, 1, 1.0, False, 0, -0.0])
def test_decode_gives_back_the_value_types_included(value):
    data = encode_value(value)
    assert exact(decode_value(data)) == exact(value)
    check_encoded(data)


@given(VALUES)
def test_a_value_has_one_encoding(value):
    data = encode_value(value)
    assert encode_value(decode_value(data)) == data


@pytest.mark.parametrize(
    "bits",
    [
        0x8000000000000000,
        0x0000000000000001,
        0x7FF0000000000000,
        0xFFF0000000000000,
        0x7FF0000000000001,
        0x7FF8000000000000,
        0x7FF8DEADBEEF0001,
        0xFFF8000000000000,
        0xFFFFFFFFFFFFFFFF,
    ],
    ids=hex,
)
def test_floats_keep_every_bit(bits):
    raw = struct.pack(">Q", bits)
    (number,) = struct.unpack(">d", raw)
    for value in (number, [number], {"x": number}):
        data = encode_value(value)
        assert raw in data
        check_encoded(data)
    assert struct.pack(">d", decode_value(encode_value(number))) == raw


def test_bool_int_and_float_stay_apart():
    assert [type(item) for item in decode_value(encode_value([True, 1, 1.0]))] == [bool, int, float]
    assert math.copysign(1, decode_value(encode_value(-0.0))) == -1


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (127, "7f"),
        (-32, "e0"),
        (-33, "d0df"),
        (128, "cc80"),
        (2**63 - 1, "cf7fffffffffffffff"),
        (-(2**63), "d38000000000000000"),
        (2**31, "ce80000000"),
        (1.5, "cb3ff8000000000000"),
        ("é", "a2c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"\x00", "c40100"),
        ([], "90"),
        ((1, 2), "920102"),
        ({"b": 1, "a": [None]}, "82a16201a16191c0"),
    ],
)
def test_the_encoding_is_frozen(value, data):
    assert encode_value(value).hex() == data


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (set(), "value: set cannot be stored; store a list"),
        (frozenset(), "value: frozenset cannot be stored; store a list"),
        (dt.datetime.now(dt.UTC), "value: datetime cannot be stored; store its isoformat()"),
        (dt.date.min, "value: date cannot be stored; store its isoformat()"),
        (uuid.UUID(int=1), "value: UUID cannot be stored; store its str()"),
        (decimal.Decimal("0.1"), "value: Decimal cannot be stored; store its str()"),
        (Plain.ONE, "value: Plain cannot be stored; store its .value"),
        (Point(1), "value: Point cannot be stored; store its dataclasses.asdict()"),
        (bytearray(b"x"), "value: bytearray cannot be stored; store its bytes()"),
        (memoryview(b"x"), "value: memoryview cannot be stored; store its bytes()"),
        (1j, "value: complex cannot be stored"),
        (object, "value: type cannot be stored"),
        (range(3), "value: range cannot be stored; store a list"),
        (collections.deque(), "value: deque cannot be stored; store a list"),
        ({}.keys(), "value: dict_keys cannot be stored; store a list"),
        (dt.timedelta(1), "value: timedelta cannot be stored; store its total_seconds()"),
        (pathlib.PosixPath("x"), "value: PosixPath cannot be stored; store its str()"),
        (msgpack.ExtType(1, b""), "value: ExtType cannot be stored, only tuple itself"),
        (msgpack.Timestamp(1), "value: Timestamp cannot be stored"),
        (Text("x"), "value: Text cannot be stored, only str itself"),
        (Colour.RED, "value: Colour cannot be stored; store its .value"),
        (Level.LOW, "value: Level cannot be stored; store its .value"),
        (Numbers(), "value: Numbers cannot be stored, only list itself"),
        (collections.OrderedDict(), "value: OrderedDict cannot be stored, only dict itself"),
        (2**63, "value: int does not fit in 64 bits"),
        (-(2**63) - 1, "value: int does not fit in 64 bits"),
        (10**400, "value: int does not fit in 64 bits"),
        ("a\ud800", "value: str has a lone surrogate"),
        ({1: 2}, "value: dict key must be str, not int"),
        ({None: 2}, "value: dict key must be str, not NoneType"),
        ({True: 2}, "value: dict key must be str, not bool"),
        ({b"k": 2}, "value: dict key must be str, not bytes"),
        ({("a",): 2}, "value: dict key must be str, not tuple"),
        ({Text("k"): 2}, "value: dict key must be str, not Text"),
        ({Colour.RED: 2}, "value: dict key must be str, not Colour"),
        ({"\udc80": 1}, 'value["\\udc80"]: str has a lone surrogate'),
        (Encoded, "value: StructMeta cannot be stored"),
        ([Encoded(b"\xc0")], "value[0]: Encoded cannot be stored"),
    ],
)
def test_refused(value, message):
    assert refusal(value) == message


NOW = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"items": [1, 2, 3, NOW]}, 'payload["items"][3]: datetime cannot be stored; store its isoformat()'),
        (
            {"items": [1, 2, 3, {"when": NOW}]},
            'payload["items"][3]["when"]: datetime cannot be stored; store its isoformat()',
        ),
        ({"k": NOW}, 'payload["k"]: datetime cannot be stored; store its isoformat()'),
        ((0, (1, {2})), "payload[1][1]: set cannot be stored; store a list"),
        ([{}, {1: 1}], "payload[1]: dict key must be str, not int"),
        ({"n": 2**64}, 'payload["n"]: int does not fit in 64 bits'),
        ([[0, 2**63]], "payload[0][1]: int does not fit in 64 bits"),
        (
            {"a": {str(number): number for number in range(20)} | {"b": {0}}},
            'payload["a"]["b"]: set cannot be stored; store a list',
        ),
        ({"a": ["ok", {"b": "\ud800"}]}, 'payload["a"][1]["b"]: str has a lone surrogate'),
        ({"a": ["ok", {"\ud800": 1}]}, 'payload["a"][1]["\\ud800"]: str has a lone surrogate'),
        ({'say "hi"\n': {0}}, 'payload["say \\"hi\\"\\n"]: set cannot be stored; store a list'),
        ({"🤖\udc80": {0}}, 'payload["🤖\\udc80"]: set cannot be stored; store a list'),
        ({"": {0}}, 'payload[""]: set cannot be stored; store a list'),
        ({"k" * 1000: {0}}, f'payload["{"k" * 40}…"]: set cannot be stored; store a list'),
        ([[{0}], [1]], "payload[0][0]: set cannot be stored; store a list"),
    ],
)
def test_the_error_names_the_place(value, message):
    assert refusal(value, "payload") == message
    message.encode()


def test_the_error_carries_its_facts():
    with pytest.raises(InvalidValueError) as caught:
        encode_value({"a": [{1}]}, "arguments")
    assert caught.value.path == 'arguments["a"][0]'
    assert caught.value.reason == "set cannot be stored; store a list"


@given(VALUES, st.sampled_from([set(), NOW, 2**63, "\ud800", Text("x"), Level.LOW, bytearray()]), st.data())
def test_one_bad_part_anywhere_is_found_and_named(value, bad, data):
    """The path in the message leads from the value to the bad part."""
    value = [value, bad] if data.draw(st.booleans()) else {"good": value, "bad": bad}
    for _ in range(data.draw(st.integers(0, 4))):
        value = [0, value] if data.draw(st.booleans()) else {"x": 1, "y": value}
    with pytest.raises(InvalidValueError) as caught:
        encode_value(value, "value")
    assert eval(caught.value.path, {"value": value}) is bad


def test_foreign_code_in_a_value_is_not_run():
    opaque = Opaque()
    assert refusal([opaque]) == "value[0]: Opaque cannot be stored"
    assert opaque.touched == 0


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: [inner], lambda inner: (inner,), lambda inner: {"k": inner}],
    ids=["list", "tuple", "dict"],
)
def test_64_levels_are_stored_and_65_are_not(wrap):
    value = 7
    for _ in range(64):
        value = wrap(value)
    data = encode_value(value)
    check_encoded(data)
    assert exact(decode_value(data)) == exact(value)
    with pytest.raises(InvalidValueError) as caught:
        encode_value(wrap(value), "value")
    assert caught.value.reason == "nested deeper than 64 levels"


def test_the_depth_error_names_the_first_container_too_deep():
    assert refusal(nested(64, [])) == f"value{'[0]' * 64}: nested deeper than 64 levels"


def test_depth_is_refused_without_recursion():
    depth = 100_000
    assert refusal(nested(depth)) == f"value{'[0]' * 64}: nested deeper than 64 levels"


def test_a_value_is_encoded_even_where_the_stack_is_nearly_used_up():
    value = nested(64)
    expected = encode_value(value)

    def sink(left):
        return sink(left - 1) if left else encode_value(value)

    frames = 0
    frame = sys._getframe()
    while frame is not None:
        frames += 1
        frame = frame.f_back
    # Room for the handful of frames that encoding a flat value takes, not for one frame per level.
    assert sink(sys.getrecursionlimit() - frames - 20) == expected


def test_what_cannot_be_stored_is_refused_even_where_the_stack_is_nearly_used_up():
    value = "\ud800"
    for _ in range(40):
        value = [value]

    def sink(left):
        return sink(left - 1) if left else refusal(value)

    frames = 0
    frame = sys._getframe()
    while frame is not None:
        frames += 1
        frame = frame.f_back
    assert sink(sys.getrecursionlimit() - frames - 30).endswith("str has a lone surrogate")


def test_cycles_are_named():
    own = []
    own.append(own)
    assert refusal(own) == "value[0]: cyclic, the same object as value"

    node = {"children": [{"name": "leaf"}]}
    node["children"][0]["parent"] = node
    assert refusal({"root": node}, "payload") == (
        'payload["root"]["children"][0]["parent"]: cyclic, the same object as payload["root"]'
    )

    inside = ([],)
    inside[0].append(inside)
    assert refusal(inside) == "value[0][0]: cyclic, the same object as value"


def test_a_cycle_with_many_ways_round_is_found_at_once():
    """Walked breadth first, this one would reach 8^64 parts before it is too deep."""
    own = []
    own.extend([own] * 8)
    tracemalloc.start()
    try:
        assert "cyclic" in refusal(own)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_shared_parts_are_no_cycle():
    shared = {"a": [1]}
    assert decode_value(encode_value([shared, shared, {"again": shared}])) == [shared, shared, {"again": shared}]


def test_the_size_limit_is_exact():
    assert len(encode_value(b"x" * (VALUE_BYTES_MAX - 5))) == VALUE_BYTES_MAX
    assert refusal(b"x" * (VALUE_BYTES_MAX - 4)) == f"value: larger than {VALUE_BYTES_MAX} bytes when encoded"


@pytest.mark.parametrize("value", ["x" * 11, b"x" * 11, "é" * 5, [0] * 11, {"x" * 9: 0}], ids=repr)
def test_one_byte_too_large(value):
    assert refusal(value, bytes_max=10) == "value: larger than 10 bytes when encoded"


@given(VALUES)
def test_the_size_limit_is_the_size_of_the_encoding(value):
    size = len(encode_value(value))
    assert encode_value(value, bytes_max=size) == encode_value(value)
    assert refusal(value, bytes_max=size - 1) == f"value: larger than {size - 1} bytes when encoded"
    check_encoded(encode_value(value), size)
    with pytest.raises(MalformedValueError):
        check_encoded(encode_value(value), size - 1)


def expanding(leaf):
    value = leaf
    for _ in range(40):
        value = [value, value]
    return value


BIG = "x" * 100_000


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "value",
    [
        expanding([]),
        expanding({"k": 1}),
        [BIG] * 1000,
        [[BIG.encode()]] * 1000,
        [{BIG: 0}] * 1000,
        {str(number): BIG for number in range(1000)},
        [[0] * 100_000] * 1000,
        [[0]] * 1_000_000,
    ],
    ids=["lists", "dicts", "one str", "one bytes", "one key", "flat dict", "one list", "one small list"],
)
def test_a_value_that_would_encode_to_very_much_is_refused_before_it_is_encoded(value):
    """The parts are few, but each appears so often that encoding them all takes 100 MB and more."""
    tracemalloc.start()
    try:
        assert refusal(value, bytes_max=200_000) == "value: larger than 200000 bytes when encoded"
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@given(VALUES)
@example({"k": [1.5, -0.0, None, True, "é", b"\x00", 2**63 - 1, -(2**63)]})
def test_an_encoding_is_what_the_msgpack_package_makes_of_the_value(value):
    """Log and checkpoints are to be read by any msgpack there is."""
    assert encode_value(value) == msgpack.packb(value)


def test_changing_the_original_changes_no_encoding():
    value = {"list": [1, {"k": 2}], "tuple": ([3],)}
    data = encode_value(value)
    first = decode_value(data)
    value["list"][1]["k"] = value["tuple"][0][0] = 99
    first["list"].append(99)
    assert decode_value(data) == {"list": [1, {"k": 2}], "tuple": [[3]]}


def test_encoding_leaves_the_original_alone():
    value = {"a": (1, [2, (3,)]), "b": {"c": ()}, "d": [{"e": ()}]}
    encode_value(value)
    # Unlike `exact`, repr tells a tuple from a list.
    assert repr(value) == "{'a': (1, [2, (3,)]), 'b': {'c': ()}, 'd': [{'e': ()}]}"


@pytest.mark.parametrize(
    "value",
    [{"a": 1}, [0], {"a": {"b": {}}}, {"a": [{}]}, [[0], {"a": 0}], ({"a": []},)],
    ids=repr,
)
def test_what_was_checked_is_what_is_encoded(monkeypatch, value):
    """As if another thread changed the value after it was checked and before it is packed."""

    def pack(part):
        spoil(value)
        return packing.pack(part)

    def spoil(part):
        for item in list(part.values() if type(part) is dict else part):
            if type(item) in {dict, list}:
                spoil(item)
        if type(part) is dict:
            part[1] = set()
        elif type(part) is list:
            part.append(set())

    expected = encode_value(value)
    monkeypatch.setattr(codec, "pack", pack)
    assert encode_value(value) == expected
    with pytest.raises(InvalidValueError):
        encode_value(value)


def test_many_threads_encode_at_once():
    wrong = []

    def work(number):
        value = {"n": number, "list": [number] * 50, "text": str(number) * 20}
        wrong.extend(value for _ in range(300) if decode_value(encode_value(value)) != value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_encoded_values_are_stored_as_they_are():
    data = encode_value({"a": 1})
    assert encode_value(Encoded(data)) is data


def test_encoded_does_not_show_its_content():
    encoded = Encoded(b"secret")
    assert repr(encoded) == str(encoded) == "Encoded(6 bytes)"
    assert pretty_repr(encoded) == "Encoded(size_bytes=6)"
    assert encoded == Encoded(b"secret")
    with pytest.raises(AttributeError):
        encoded.data = b""
    assert not hasattr(encoded, "__dict__")


REFUSED_BY_MSGPACK = {
    "empty": "",
    "never used": "c1",
    "cut str": "a3 61 62",
    "cut int": "cd 01",
    "cut float": "cb 3ff8",
    "cut bin": "c4 05 00",
    "cut list": "92 01",
    "cut dict": "81 a161",
    "trailing value": "01 01",
    "trailing junk": "c0 ff",
    "trailing after list": "90 c1",
    "not utf-8": "a1 ff",
    "surrogate in utf-8": "a3 eda080",
    "key not utf-8": "81 a1ff 01",
    "int key": "81 01 02",
    "nil key": "81 c0 02",
    "ext": "d4 01 61",
    "empty ext": "c7 00 05",
    "ext 32": "c9 00000001 01 00",
    "timestamp 32": "d6 ff 00000000",
    "timestamp 64": "d7 ff 0000000000000000",
    "timestamp 96": "c7 0c ff 00000000 0000000000000000",
    "ext inside": "91 d4 01 61",
    "length bomb str": "db ffffffff",
    "length bomb bin": "c6 ffffffff",
    "length bomb list": "dd ffffffff",
    "length bomb dict": "df ffffffff",
    "depth bomb": "91" * 5000,
    "depth bomb of dicts": "81a0" * 5000,
}
REFUSED_BY_THE_CHECK = {
    "bytes key": "81 c40161 01",
    "duplicate key": "82 a161 01 a161 02",
    "duplicate key inside": "91 82 a161 01 a161 01",
    "int above signed 64 bits": "cf 8000000000000000",
    "float 32": "ca 3f800000",
    "int 8 for a fixint": "d0 05",
    "uint 8 for a fixint": "cc 05",
    "uint 16 for 8 bits": "cd 00ff",
    "uint 32 for 16 bits": "ce 0000ffff",
    "uint 64 for 32 bits": "cf 00000000ffffffff",
    "int 16 for 8 bits": "d1 ff80",
    "int 64 for 32 bits": "d3 ffffffff80000000",
    "positive as int 64": "d3 0000000100000000",
    "str 8 for fixstr": "d9 01 61",
    "bin 16 for bin 8": "c5 0001 00",
    "list 16 for fixlist": "dc 0000",
    "dict 16 for fixdict": "de 0000",
    "65 levels": "91" * 65 + "c0",
}


@pytest.mark.parametrize("data", REFUSED_BY_MSGPACK.values(), ids=REFUSED_BY_MSGPACK)
def test_malformed_bytes_are_refused_by_both(data):
    data = bytes.fromhex(data)
    with pytest.raises(MalformedValueError) as caught:
        decode_value(data)
    assert str(caught.value)
    with pytest.raises(MalformedValueError):
        check_encoded(data)


@pytest.mark.parametrize("data", REFUSED_BY_THE_CHECK.values(), ids=REFUSED_BY_THE_CHECK)
def test_bytes_of_another_encoder_are_refused_by_the_check(data):
    with pytest.raises(MalformedValueError, match=r"byte \d+: "):
        check_encoded(bytes.fromhex(data))


def test_the_check_names_the_byte():
    with pytest.raises(MalformedValueError, match=r"byte 5: dict key occurs twice$"):
        check_encoded(bytes.fromhex("93 82 a161 01 a161 02 c0 c0"))
    with pytest.raises(MalformedValueError, match=r"byte 2: bytes after the end of the value$"):
        check_encoded(bytes.fromhex("91 c0 c0"))


def test_equal_keys_in_different_dicts_are_no_duplicates():
    data = encode_value({"a": {"a": 1, "b": [{"a": 2}]}, "b": {"a": 1}})
    check_encoded(data)


def test_key_like_strings_in_value_position_are_no_keys():
    check_encoded(encode_value({"a": "a", "b": "a", "c": ["a", "a"]}))


@given(VALUES.map(encode_value))
def test_no_proper_prefix_of_an_encoding_is_one(data):
    for size in range(len(data)):
        with pytest.raises(MalformedValueError):
            check_encoded(data[:size])
        with pytest.raises(MalformedValueError):
            decode_value(data[:size])


def accepted(data):
    try:
        check_encoded(data)
    except MalformedValueError:
        return False
    return True


# Made of bytes that open something and bytes that may follow, so that much of it is nearly well-formed.
PIECES = """
    80 81 82 90 91 92 a0 a161 a162 a1ff c0 c1 c2 ca3f800000 cb3ff8000000000000 cc cc80 cd0100 ce00010000
    cf0000000100000000 d0df d1 d40161 d90161 c400 c40161 dc0001 de0001 7f ff e0
"""
NEAR_MISSES = st.lists(st.sampled_from([bytes.fromhex(piece) for piece in PIECES.split()]), max_size=12).map(b"".join)


@given(NEAR_MISSES | st.binary(max_size=16))
def test_the_check_accepts_exactly_what_the_encoder_makes(data):
    try:
        same = encode_value(decode_value(data)) == data
    except (MalformedValueError, InvalidValueError):
        same = False
    assert accepted(data) == same


@given(VALUES.map(encode_value), st.data())
def test_a_flipped_bit_gives_another_value_or_is_refused(data, draw):
    assume(data)
    position = draw.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[position] ^= 1 << draw.draw(st.integers(0, 7))
    if accepted(bytes(flipped)):
        assert encode_value(decode_value(bytes(flipped))) == flipped != data


@pytest.mark.parametrize(
    "opening", [b"\xdd\x00\xff\xff\xff", b"\xdf\x00\x7f\xff\xff\xa1a", b"\x91", b"\xdb\x00\xff\xff\xff"]
)
def test_the_check_needs_little_memory_whatever_the_bytes_claim(opening):
    """Decoding the first of these would reserve gigabytes for lists that are not there."""
    data = opening * 500 + b"\xc0" * 1_000_000
    tracemalloc.start()
    try:
        assert not accepted(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
