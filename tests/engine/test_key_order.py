"""KeyOrder against sorted lists: all versions at once, whoever has asked for their order and whoever has not."""

import threading
from itertools import chain

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inmem.engine.errors import InvariantError
from inmem.engine.tables import key_order
from inmem.engine.tables.key_index import KeyIndex
from inmem.engine.tables.key_order import KeyOrder
from tests.engine.test_key_index import TinyIndex, model_range

KEYS = st.binary(max_size=2)
FEW = 3


@pytest.fixture(autouse=True)
def few_keys_wait(monkeypatch):
    monkeypatch.setattr(key_order, "WAITING_MAX", FEW)


class OrderMachine(RuleBasedStateMachine):
    """Adds to any version, and looks at any, so that some are brought up to date before they grow and some are not."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[tuple[KeyOrder, list[bytes]]] = [(KeyOrder.of(TinyIndex.empty()), [])]

    @property
    def current(self) -> tuple[KeyOrder, list[bytes]]:
        return self.versions[-1]

    @rule(keys=st.sets(KEYS, max_size=10))
    def add(self, keys: set[bytes]) -> None:
        order, model = self.current
        new = sorted(keys.difference(model))
        if new:
            self.versions.append((order.add(tuple(new)), sorted([*model, *new])))

    @rule()
    def append(self) -> None:
        order, model = self.current
        key = (model[-1] if model else b"") + b"x"
        self.versions.append((order.add((key,)), [*model, key]))

    @precondition(lambda self: len(self.versions) > 1)
    @rule(data=st.data())
    def return_to(self, data: st.DataObject) -> None:
        self.versions.append(data.draw(st.sampled_from(self.versions)))

    @rule(start=KEYS, end=st.one_of(st.none(), KEYS))
    def scan(self, start: bytes, end: bytes | None) -> None:
        order, model = self.current
        expected = model_range(model, start, end)
        assert list(order.range(start, end)) == expected
        assert list(chain.from_iterable(order.chunks(start, end, reverse=True))) == expected[::-1]

    @invariant()
    def what_needs_no_order_is_known(self) -> None:
        order, model = self.current
        assert len(order) == len(model)
        assert order.last() == (model[-1] if model else None)

    def teardown(self) -> None:
        for order, model in self.versions:
            order.check()
            assert list(order.range()) == model


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


INDEXED = [bytes([number, 0]) for number in range(10)]


def test_a_few_keys_wait_and_the_next_takes_all_of_them_into_the_index():
    order = KeyOrder.of(KeyIndex.from_sorted(INDEXED))
    for number in range(FEW):
        order = order.add((bytes([number, 1]),))
        assert len(order._state[0]) == len(INDEXED)
    assert len(order) == len(INDEXED) + FEW
    order = order.add((b"zz",))
    assert order._state[1] == ()
    assert len(order._state[0]) == len(order) == len(INDEXED) + FEW + 1


def test_looking_brings_a_version_up_to_date_once_and_those_made_from_it():
    first = KeyOrder.of(KeyIndex.from_sorted(INDEXED)).add((b"zz",))
    assert list(first.range()) == [*INDEXED, b"zz"]
    index = first._state[0]
    assert list(first.range()) == [*INDEXED, b"zz"]
    assert first._state[0] is index
    assert first.add((b"a",))._state[0] is index


def test_threads_that_look_at_a_version_and_add_to_it_all_see_the_same_keys():
    for _ in range(200):
        order = KeyOrder.of(KeyIndex.from_sorted(INDEXED)).add((b"xb", b"xd"))
        seen: list[list[bytes]] = []
        start = threading.Barrier(3)

        def look(order=order, seen=seen, start=start):
            start.wait()
            seen.append(list(order.range()))

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait()
        grown = order.add((b"xc",))
        for thread in threads:
            thread.join()
        assert seen == [[*INDEXED, b"xb", b"xd"]] * 2
        assert list(grown.range()) == [*INDEXED, b"xb", b"xc", b"xd"]


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (KeyOrder((KeyIndex.from_sorted([b"a"]), (b"a",)), b"a"), "1 keys counted as 2"),
        (KeyOrder((KeyIndex.from_sorted([b"a"]), ()), b"b"), "the last key is"),
        (KeyOrder((KeyIndex.from_sorted([b"b", b"a"]), ()), b"a"), "not strictly ascending"),
    ],
)
def test_check_finds_damage(damaged, complaint):
    with pytest.raises(InvariantError, match=complaint):
        damaged.check()
