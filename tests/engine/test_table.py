"""Table against a plain dict, with an index in chunks small enough to split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inmem.engine.commits.part import Write
from inmem.engine.errors import InvariantError
from inmem.engine.tables.entry import Entry
from inmem.engine.tables.key_index import KeyIndex
from inmem.engine.tables.key_order import KeyOrder
from inmem.engine.tables.table import Table


class TinyIndex(KeyIndex, frozen=True, eq=False):
    """Splits at four keys."""

    chunk_max = 4


KEYS = st.binary(max_size=2)
VALUES = st.one_of(st.none(), st.binary(max_size=2))
WRITES = st.tuples(KEYS, VALUES, st.integers(0, 5))
ENTRIES = st.dictionaries(KEYS, st.tuples(st.integers(1, 9), VALUES, st.integers(0, 5)), max_size=50)


def model_range(model: dict[bytes, Entry], start: bytes, end: bytes | None) -> list[tuple[bytes, Entry]]:
    return [(key, model[key]) for key in sorted(model) if start <= key and (end is None or key < end)]


class TableMachine(RuleBasedStateMachine):
    """Applies commits to any earlier version and compares all that exist with their models."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        empty = Table.of({}, KeyOrder.of(TinyIndex.empty()), 0, 0)
        self.versions: list[tuple[Table, dict[bytes, Entry]]] = [(empty, {})]

    @property
    def current(self) -> tuple[Table, dict[bytes, Entry]]:
        return self.versions[-1]

    @rule(writes=st.lists(WRITES, max_size=30))
    def commit(self, writes: list[Write]) -> None:
        table, model = self.current
        self.version += 1
        written = {key: (self.version, value, expiry) for key, value, expiry in writes}
        self.versions.append((table.apply(writes, self.version), {**model, **written}))

    @rule(write=WRITES)
    def commit_one_write(self, write: Write) -> None:
        self.commit([write])

    @rule(data=st.data(), value=VALUES)
    def rewrite_an_existing_key(self, data: st.DataObject, value: bytes | None) -> None:
        table, model = self.current
        if model:
            self.commit([(data.draw(st.sampled_from(sorted(model))), value, 0)])
            assert self.current[0].keys is table.keys

    @rule(back=st.integers(0, 10))
    def return_to_an_earlier_version(self, back: int) -> None:
        self.versions.append(self.versions[max(0, len(self.versions) - 1 - back)])

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        table, model = self.current
        assert table.get(key) == model.get(key)

    @rule(start=KEYS, end=st.one_of(st.none(), KEYS), age=st.integers(0, 5))
    def scan(self, start: bytes, end: bytes | None, age: int) -> None:
        table, model = self.current
        expected = model_range(model, start, end)
        assert list(table.range(start, end)) == expected
        assert list(table.range(start, end, reverse=True)) == expected[::-1]
        since = max(0, self.version - age)
        newer = [key for key, entry in expected if entry[0] > since]
        assert table.changed_since(start, end, since) == (newer[0] if newer else None)

    @invariant()
    def newest_is_sound(self) -> None:
        table, model = self.current
        table.check()
        items = model_range(model, b"", None)
        assert table.live_count == sum(entry[1] is not None for _, entry in items)
        assert table.keys.last() == (items[-1][0] if items else None)
        assert table.last_version == max((entry[0] for entry in model.values()), default=0)

    def teardown(self) -> None:
        for table, model in self.versions:
            table.check()
            assert dict(table.range()) == model


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(ENTRIES)
def test_build_holds_exactly_the_entries(entries: dict[bytes, Entry]) -> None:
    table = Table.build(entries)
    table.check()
    assert list(table.range()) == sorted(entries.items())


def test_build_keeps_nothing_of_the_callers_dict() -> None:
    entries: dict[bytes, Entry] = {b"a": (1, b"x", 0)}
    table = Table.build(entries)
    entries[b"b"] = (2, b"y", 0)
    table.check()
    assert list(table.range()) == [(b"a", (1, b"x", 0))]


def test_of_several_writes_to_one_key_the_last_wins() -> None:
    table = Table.EMPTY.apply([(b"k", b"1", 7), (b"k", None, 0), (b"k", b"2", 0)], 1)
    table.check()
    assert table.get(b"k") == (1, b"2", 0)
    assert table.live_count == 1


def test_a_tombstone_keeps_its_key_and_version() -> None:
    table = Table.EMPTY.apply([(b"a", b"1", 0), (b"b", b"1", 0)], 1).apply([(b"b", None, 0)], 2)
    table.check()
    assert table.get(b"b") == (2, None, 0)
    assert table.live_count == 1
    assert table.keys.last() == b"b"


def test_applying_no_writes_changes_nothing() -> None:
    assert Table.EMPTY.apply([], 5) is Table.EMPTY


def test_changed_since_counts_only_later_versions_in_the_range() -> None:
    table = Table.EMPTY
    for version, key in enumerate([b"a", b"b", b"c"], start=1):
        table = table.apply([(key, b"x", 0)], version)
    table = table.apply([(b"b", None, 0)], 4)
    assert table.changed_since(b"", None, 2) == b"b"
    assert table.changed_since(b"a", b"b", 1) is None
    assert table.changed_since(b"c", None, 3) is None
    assert table.changed_since(b"c", None, 2) == b"c"
    assert table.changed_since(b"", None, 4) is None


def test_versions_never_go_down() -> None:
    table = Table.EMPTY.apply([(b"a", b"1", 0)], 5)
    with pytest.raises(InvariantError, match="version 4 applied after 5"):
        table.apply([(b"a", b"2", 0)], 4)


ONE = KeyOrder.of(KeyIndex.from_sorted([b"a"]))


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (Table.of({}, ONE, 0, 0), "1 keys for 0 entries"),
        (Table.of({b"b": (1, b"x", 0)}, ONE, 1, 1), "has no entry"),
        (Table.of({b"a": (0, b"x", 0)}, ONE, 1, 0), "malformed"),
        (Table.of({b"a": (1, b"x", -1)}, ONE, 1, 1), "malformed"),
        (Table.of({b"a": (1, "x", 0)}, ONE, 1, 1), "malformed"),  # type: ignore[arg-type]
        (Table.of({b"a": [1, b"x", 0]}, ONE, 1, 1), "neither bytes nor a tuple"),  # type: ignore[arg-type]
        (Table.of({b"a": (1, b"x", 0)}, ONE, 0, 1), "live keys counted"),
        (Table.of({b"a": (1, None, 0)}, ONE, 1, 1), "live keys counted"),
        (Table.of({b"a": (1, b"x", 0)}, ONE, 1, 2), "newest entry 1, recorded 2"),
    ],
)
def test_check_finds_damage(damaged: Table, complaint: str) -> None:
    with pytest.raises(InvariantError, match=complaint):
        damaged.check()
