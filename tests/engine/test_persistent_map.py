"""All versions of a table share one dict: each must stay what it is, whoever holds which of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inmem.engine.tables import persistent_map, table
from inmem.engine.tables.entry import PACKED_VALUE_BYTES_MAX, entry_of
from inmem.engine.tables.persistent_map import JOINED_MAX, SPAN, STEPS_MAX, persistent
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.engine.commits.part import Write
    from inmem.engine.tables.entry import Entry, StoredEntry

LARGE = b"v" * (PACKED_VALUE_BYTES_MAX + 1)
KEYS = [b"a", b"b", b"c", b"d", b"e"]
WRITES = st.tuples(st.sampled_from(KEYS), st.sampled_from([None, b"", b"x", LARGE]), st.sampled_from([0, 7]))


@pytest.fixture(params=[(1, STEPS_MAX, JOINED_MAX), (2, 0, 1), (SPAN, 0, JOINED_MAX)], ids=str)
def sizes(request, monkeypatch):
    """How long a span is, and when readers put together what they pass through."""
    set_sizes(monkeypatch.setattr, *request.param)


def set_sizes(setattr_: Callable[[object, str, int], None], span: int, steps_max: int, joined_max: int) -> None:
    setattr_(persistent_map, "SPAN", span)
    setattr_(table, "SPAN", span)
    setattr_(persistent_map, "STEPS_MAX", steps_max)
    setattr_(persistent_map, "JOINED_MAX", joined_max)


Shown = TypeVar("Shown")


class HoldingMachine(RuleBasedStateMachine, Generic[Shown]):
    """Changes the newest version mostly, and holds any of them for a while, each with its model."""

    newest: tuple[Shown, dict[bytes, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Shown, dict[bytes, Any]]] = []

    @initialize(span=st.integers(1, 5), steps_max=st.integers(0, 3), joined_max=st.integers(1, 3))
    def begin(self, span: int, steps_max: int, joined_max: int) -> None:
        set_sizes(setattr, span, steps_max, joined_max)

    def teardown(self) -> None:
        set_sizes(setattr, SPAN, STEPS_MAX, JOINED_MAX)

    @rule()
    def hold(self) -> None:
        self.held.append(self.newest)

    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        if self.held:
            del self.held[data.draw(st.integers(0, len(self.held) - 1))]

    @rule(data=st.data())
    def go_on_from_another(self, data: st.DataObject) -> None:
        if self.held:
            self.newest = data.draw(st.sampled_from(self.held))


class VersionsMachine(HoldingMachine[Table]):
    """Commits, and compares the tables with their models."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.newest = (Table.EMPTY, {})

    def commit(self, writes: list[Write]) -> None:
        self.version += 1
        shown, model = self.newest
        written = {key: (self.version, value, expiry) for key, value, expiry in writes}
        self.newest = shown.apply(writes, self.version), {**model, **written}

    @rule(write=WRITES)
    def commit_one(self, write: Write) -> None:
        self.commit([write])

    @rule(writes=st.lists(WRITES, min_size=2, max_size=8))
    def commit_several(self, writes: list[Write]) -> None:
        self.commit(writes)

    @invariant()
    def each_is_what_it_was(self) -> None:
        for shown, model in (*self.held, self.newest):
            assert {key: shown.get(key) for key in KEYS if key in model} == model
            assert [key for key in KEYS if shown.get(key) is None] == [key for key in KEYS if key not in model]
            assert dict(shown.range()) == model
            assert {key: entry_of(stored) for key, stored in shown.as_dict().items()} == model
            shown.check()


TestVersions = VersionsMachine.TestCase


class DictMachine(HoldingMachine["PersistentDict[bytes, int]"]):
    """The same for a map that is nothing else, such as the tables of a shard."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = (persistent({b"a": 0}), {b"a": 0})

    @rule(values=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9)), removed=st.sets(st.sampled_from(KEYS)))
    def change(self, values: dict[bytes, int], removed: set[bytes]) -> None:
        shown, model = self.newest
        replaced = {key: shown.stored(key) for key in {*values, *removed}}
        left = {key: value for key, value in model.items() if key not in removed}
        self.newest = shown.changed(values, replaced), left | values

    @invariant()
    def each_is_what_it_was(self) -> None:
        for shown, model in (*self.held, self.newest):
            assert {key: shown.stored(key) for key in KEYS} == {key: model.get(key) for key in KEYS}
            assert shown.as_dict() == model
            assert len(shown) == len(model)


TestDict = DictMachine.TestCase


class Versions:
    """A table with some history: a version that is held, one that is gone, one that is held, and the newest."""

    def __init__(self) -> None:
        self.version = 1
        self.newest = Table.build({b"a": (1, b"0", 0), b"b": (1, b"0", 0)})
        self.held = [(self.newest, dict(self.newest.range()))]
        self.commit([(b"a", b"1", 0)])
        self.commit([(b"b", b"2", 0), (b"c", LARGE, 0)])
        self.held.append((self.newest, dict(self.newest.range())))
        self.commit([(b"c", b"3", 0)])
        self.held.append((self.newest, dict(self.newest.range())))

    def commit(self, writes: list[Write]) -> None:
        self.version += 1
        self.newest = self.newest.apply(writes, self.version)

    def go_on(self) -> None:
        self.commit([(b"a", b"x", 0)])
        self.commit([(b"b", None, 0), (b"d", b"x", 0)])
        self.commit([(b"c", b"x", 0)])
        for _ in range(3):
            self.commit([(b"d", b"y", 0)])

    def check(self) -> None:
        for shown, model in self.held:
            for key in KEYS:
                assert shown.get(key) == model.get(key)
            assert dict(shown.range()) == model
            assert {key: entry_of(stored) for key, stored in shown.as_dict().items()} == model


READS: dict[str, Callable[[Table], dict[bytes, Entry | None]]] = {
    "get": lambda shown: {key: entry for key in KEYS if (entry := shown.get(key)) is not None},
    "range": lambda shown: dict(shown.range()),
    "copy": lambda shown: {key: entry_of(stored) for key, stored in shown.as_dict().items()},
}


class Strike(BaseException):
    """What strikes a thread from outside."""


def each_moment(do: Callable[[Versions], object], act: Callable[[Versions], None]) -> Iterator[Versions]:
    """Do it again and again with new versions, and act, or strike, each time at the next one of its opcodes."""
    at = 0
    while True:
        versions = Versions()
        left = at

        def trace(frame, event, _, versions=versions):
            nonlocal left
            frame.f_trace_opcodes = True
            if event == "opcode":
                left -= 1
                if left == -1:
                    sys.settrace(None)
                    try:
                        act(versions)
                    finally:
                        sys.settrace(trace)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            do(versions)
        except Strike:
            pass
        finally:
            sys.settrace(before)
        if left >= 0:
            return
        yield versions
        at += 1


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("read", READS)
def test_who_reads_while_others_commit_sees_the_version(read, which):
    seen = []
    for versions in each_moment(lambda it: seen.append(READS[read](it.held[which][0])), Versions.go_on):
        assert seen.pop() == versions.held[which][1]


@pytest.mark.usefixtures("sizes")
def test_who_reads_while_others_read_and_commit_sees_the_version():
    def act(versions: Versions) -> None:
        versions.check()
        versions.commit([(b"a", b"y", 0), (b"e", b"y", 0)])
        versions.check()

    for versions in each_moment(Versions.check, act):
        versions.check()
        versions.newest.check()


@pytest.mark.usefixtures("sizes")
def test_who_commits_while_others_read_shows_them_no_half_of_it():
    for versions in each_moment(Versions.go_on, Versions.check):
        versions.check()
        versions.newest.check()


@pytest.mark.usefixtures("sizes")
def test_a_commit_cut_short_anywhere_leaves_every_version_as_it_was():
    def commit(versions: Versions) -> None:
        versions.commit([(b"a", b"x", 0), (b"e", b"x", 0)])
        versions.commit([(b"a", b"y", 0)])

    def strike(_: Versions) -> None:
        raise Strike

    for versions in each_moment(commit, strike):
        versions.check()
        versions.newest.check()
        # Who goes on from what was there gets what was there.
        shown, model = versions.held[-1]
        again = shown.apply([(b"a", b"z", 0)], 10)
        assert dict(again.range()) == {**model, b"a": (10, b"z", 0)}
        again.check()
        versions.check()


def passed_by(shown: Table) -> Iterator[dict[bytes, StoredEntry | None]]:
    """What a read of the version may have to look through."""
    state = shown.past.state
    while state is not None:
        changed, later = state
        yield changed
        state = later.state


def held_by(shown: Table) -> int:
    """How many old entries a version holds, on its own and through those behind it."""
    return sum(map(len, passed_by(shown)))


@pytest.mark.parametrize("per_commit", [1, 10])
def test_a_version_that_is_held_for_long_holds_each_key_once(per_commit):
    keys = [b"%d" % number for number in range(20)]
    old = newest = Table.build(dict.fromkeys(keys, (1, b"old", 0)))
    for version in range(2, 5_000):
        writes = [(keys[(version + number) % len(keys)], b"new", 0) for number in range(per_commit)]
        newest = newest.apply(writes, version)
    assert held_by(old) < len(keys) + 6 * (SPAN + per_commit)
    assert [entry for _, entry in old.range()] == [(1, b"old", 0)] * len(keys)


def test_a_version_that_is_held_for_long_holds_few_large_values():
    old = newest = Table.build({b"k": (1, LARGE, 0)})
    for version in range(2, 1_000):
        newest = newest.apply([(b"k", LARGE, 0)], version)
    assert held_by(old) < 10


def test_what_is_replaced_is_let_go_with_the_last_version_that_has_it():
    large = bytes(bytearray(LARGE))
    unshared = sys.getrefcount(large)
    newest = Table.build({b"k": (1, large, 0)}).apply([(b"k", b"", 0)], 2)
    assert newest.get(b"k") == (2, b"", 0)
    assert sys.getrefcount(large) == unshared


def test_many_versions_end_at_once():
    held = [Table.build({b"k": (1, b"", 0)})]
    for version in range(2, 100_000):
        held.append(held[-1].apply([(b"k", b"", 0)], version))
    assert held[0].get(b"k") == (1, b"", 0)
    del held[1:]
    held.clear()


def test_an_old_version_is_read_at_the_price_of_a_new_one_however_many_are_held():
    held = [Table.build(dict.fromkeys([b"%d" % number for number in range(500)], (1, b"", 0)))]
    for version in range(2, 500):
        held.append(held[-1].apply([(b"%d" % version, b"x", 0)], version))
    oldest = held[0]
    assert [oldest.get(b"%d" % number) for number in range(500)] == [(1, b"", 0)] * 500
    assert len(list(passed_by(oldest))) <= persistent_map.STEPS_MAX + 1


def test_reading_many_versions_that_are_held_makes_no_copy_for_each_of_them():
    keys = [b"%d" % number for number in range(500)]
    held = [Table.build(dict.fromkeys(keys, (1, b"", 0)))]
    for version in range(2, 500):
        held.append(held[-1].apply([(keys[version], b"x", 0)], version))
    for shown in held:
        assert shown.get(keys[0]) == shown.get(keys[1]) == (1, b"", 0)
    own = [len(next(passed_by(shown), {})) for shown in held]
    assert sorted(own)[-len(held) // SPAN - 2] <= SPAN
    assert max(own) <= JOINED_MAX


def test_what_one_large_commit_has_replaced_is_not_copied_for_older_versions():
    keys = [b"%d" % number for number in range(10 * JOINED_MAX)]
    held = [Table.build(dict.fromkeys(keys, (1, b"", 0)))]
    for version in range(2, 40):
        held.append(held[-1].apply([(keys[version], b"x", 0)], version))
    newest = held[-1].apply([(key, b"y", 0) for key in keys], 40).apply([(b"0", b"z", 0)], 41)
    assert [shown.get(b"0") for shown in (*held, newest)] == [(1, b"", 0)] * len(held) + [(41, b"z", 0)]
    assert sum(len(next(passed_by(shown))) for shown in held[:-1]) <= len(held) * SPAN


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_versions_are_what_they_were_in_whatever_order_others_end(order):
    keys = [b"%d" % number for number in range(50)]
    newest, version = Table.build(dict.fromkeys(keys, (1, b"", 0))), 1
    held = []
    for _ in range(10):
        held.append((newest, dict(newest.range())))
        for _ in range(3 * SPAN):
            version += 1
            newest = newest.apply([(keys[version % len(keys)], b"x", 0)], version)
    while held:
        for shown, model in held:
            assert dict(shown.range()) == model
        del held[0 if order == "oldest first" else -1]
        for _ in range(10 * SPAN):
            version += 1
            newest = newest.apply([(keys[version % len(keys)], b"y", 0)], version)


def test_a_change_of_an_old_version_begins_a_line_of_its_own():
    old = Table.build({b"k": (1, b"old", 0)})
    one, other = old.apply([(b"k", b"one", 0)], 2), old.apply([(b"k", b"other", 0)], 2)
    assert [shown.get(b"k") for shown in (old, one, other)] == [(1, b"old", 0), (2, b"one", 0), (2, b"other", 0)]
    assert Table.EMPTY.apply([(b"k", b"", 0)], 1).newest is not Table.EMPTY.apply([(b"k", b"", 0)], 1).newest
