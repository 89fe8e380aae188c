"""KeyIndex against a sorted list, in chunks small enough that every kind of split happens."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inmem.engine.errors import InvariantError
from inmem.engine.tables.key_index import Branch, KeyIndex


class TinyIndex(KeyIndex, frozen=True, eq=False):
    """Splits at four keys, so that a hundred keys make a tree of several levels."""

    chunk_max = 4


class OddIndex(KeyIndex, frozen=True, eq=False):
    """An odd size, where the halves of a split differ."""

    chunk_max = 3
    few_max = 1


KEYS = st.one_of(
    st.integers(0, 99).map(lambda number: number.to_bytes(8, "big")),
    st.binary(max_size=2),
)
ENDS = st.one_of(st.none(), KEYS)


def model_range(keys: list[bytes], start: bytes, end: bytes | None) -> list[bytes]:
    return [key for key in keys if start <= key and (end is None or key < end)]


class IndexMachine(RuleBasedStateMachine):
    """Grows indices from any earlier version and compares all that exist with their models."""

    index_type: type[KeyIndex] = TinyIndex

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[tuple[KeyIndex, list[bytes]]] = [(self.index_type.empty(), [])]

    @property
    def current(self) -> tuple[KeyIndex, list[bytes]]:
        return self.versions[-1]

    def grow(self, index: KeyIndex, added: set[bytes]) -> None:
        self.versions.append((index, sorted({*self.current[1], *added})))

    @rule(key=KEYS)
    def insert(self, key: bytes) -> None:
        index, model = self.current
        inserted = index.insert(key)
        assert (inserted is index) == (key in model)
        self.grow(inserted, {key})

    @rule(keys=st.sets(KEYS, max_size=40))
    def insert_many(self, keys: set[bytes]) -> None:
        index, model = self.current
        inserted = index.insert_many(sorted(keys))
        assert (inserted is index) == keys.issubset(model)
        self.grow(inserted, keys)

    @rule(count=st.integers(1, 20), at_once=st.booleans())
    def append(self, count: int, at_once: bool) -> None:
        index, model = self.current
        last = model[-1] if model else b""
        keys = [last + bytes([number]) for number in range(count)]
        if at_once:
            index = index.insert_many(keys)
        else:
            for key in keys:
                index = index.insert(key)
        self.grow(index, set(keys))

    @rule(back=st.integers(0, 10))
    def return_to_an_earlier_version(self, back: int) -> None:
        self.versions.append(self.versions[max(0, len(self.versions) - 1 - back)])

    @rule(start=KEYS, end=ENDS)
    def scan(self, start: bytes, end: bytes | None) -> None:
        index, model = self.current
        expected = model_range(model, start, end)
        assert list(index.range(start, end)) == expected
        assert all(index.chunks(start, end))
        assert list(chain.from_iterable(index.chunks(start, end, reverse=True))) == expected[::-1]

    @rule(key=KEYS)
    def contains(self, key: bytes) -> None:
        index, model = self.current
        assert (key in index) == (key in model)

    @invariant()
    def newest_is_sound(self) -> None:
        index, model = self.current
        index.check()
        assert len(index) == len(model)
        assert index.last() == (model[-1] if model else None)

    def teardown(self) -> None:
        for index, model in self.versions:
            index.check()
            assert list(index.range()) == model


class OddIndexMachine(IndexMachine):
    """The same with chunks of three."""

    index_type = OddIndex


TestIndexMachine = IndexMachine.TestCase
TestOddIndexMachine = OddIndexMachine.TestCase
for case in (TestIndexMachine, TestOddIndexMachine):
    case.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@given(st.sets(KEYS, max_size=200))
def test_from_sorted_holds_exactly_the_keys(keys: set[bytes]) -> None:
    index = TinyIndex.from_sorted(sorted(keys))
    index.check()
    assert list(index.range()) == sorted(keys)
    assert all(key in index for key in keys)


def test_appending_in_order_leaves_full_chunks() -> None:
    keys = [number.to_bytes(8, "big") for number in range(1000)]
    index = KeyIndex.empty()
    for key in keys:
        index = index.insert(key)
    index.check()
    assert {len(chunk) for chunk in list(index.chunks())[:-1]} == {KeyIndex.chunk_max}


def test_inserting_in_descending_order_fills_half_of_each_chunk_at_least() -> None:
    index = KeyIndex.empty()
    for number in reversed(range(1000)):
        index = index.insert(number.to_bytes(8, "big"))
    index.check()
    assert len(list(index.chunks())) <= 2 * 1000 // KeyIndex.chunk_max + 1


def test_an_insert_shares_all_but_one_chunk() -> None:
    keys = [number.to_bytes(8, "big") for number in range(0, 1000, 2)]
    before = KeyIndex.from_sorted(keys[:-1]).insert(keys[-1])
    after = before.insert(keys[-1] + b"!")
    chunks = list(before.chunks())
    assert [old is new for old, new in zip(chunks, after.chunks(), strict=True)] == [
        *[True] * (len(chunks) - 1),
        False,
    ]


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (TinyIndex((b"b", b"a"), 2), "not strictly ascending"),
        (TinyIndex((b"a", b"a"), 2), "not strictly ascending"),
        (TinyIndex((b"a",), 2), "counted as"),
        (TinyIndex((b"a", b"b", b"c", b"d", b"e"), 5), "a node of 5 items"),
        (TinyIndex(Branch((), ((b"a",),)), 1), "single child"),
        (TinyIndex(Branch((b"b",), ((b"a",), (b"b",))), 2), "a node of 1 items"),
        (TinyIndex(Branch((b"b",), ((b"a", b"b"), (b"c",))), 3), "is not bytes in"),
        (TinyIndex(Branch((b"c",), ((b"a", b"b"), (b"b",))), 3), "is not bytes in"),
        (TinyIndex(Branch((), ((b"a", b"b"), (b"c",))), 3), "0 splits for 2 children"),
        (
            TinyIndex(Branch((b"c",), ((b"a", b"b"), Branch((b"d",), ((b"c", b"c"), (b"d",))))), 5),
            "different depths",
        ),
        (TinyIndex((bytearray(b"a"),), 1), "is not bytes in"),  # type: ignore[arg-type]
    ],
)
def test_check_finds_damage(damaged: KeyIndex, complaint: str) -> None:
    with pytest.raises(InvariantError, match=complaint):
        damaged.check()
