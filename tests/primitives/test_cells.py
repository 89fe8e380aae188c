import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from inmem.engine.commits.conflicts import CasConflict, ReadConflict
from inmem.engine.errors import (
    CasConflictError,
    CellExistsError,
    CellNotFoundError,
    InvalidKeyError,
    InvalidValueError,
    UsageError,
)
from inmem.engine.keys import Key
from inmem.primitives.cells import CellOperations, State
from tests.primitives.machine import TransactionMachine, by_bytes, limits, names, picks, values
from tests.primitives.store import Store


class CellMachine(TransactionMachine):
    """The model maps a name to its last State and whether the cell is alive."""

    clock_steps_back = True

    def cells(self) -> CellOperations:
        return CellOperations(self.txn, "run")

    def state(self, name):
        state, alive = self.model.get(name, (None, False))
        return state if alive else None

    def change(self, name, value, version):
        last, _ = self.model.get(name, (State(None, 0, 0), False))
        assert version == last.version + 1
        self.model[name] = (State(value, version, max(self.txn.now_us, last.updated_at)), True)

    @rule(name=names, value=values)
    def init(self, name, value):
        if self.state(name) is None:
            self.change(name, value, self.cells().init(name, value))
        else:
            with pytest.raises(CellExistsError):
                self.cells().init(name, value)

    @rule(name=names, value=values)
    def set(self, name, value):
        self.change(name, value, self.cells().set(name, value))

    @rule(at=picks, value=values, off_by=st.sampled_from([0, 0, -1, 1]))
    def cas(self, at, value, off_by):
        name = self.pick(at)
        state = self.state(name)
        if state is None:
            with pytest.raises(CellNotFoundError):
                self.cells().cas(name, abs(off_by), value)
        elif off_by:
            with pytest.raises(CasConflictError) as caught:
                self.cells().cas(name, state.version + off_by, value)
            error = caught.value
            assert (error.name, error.expected, error.actual) == (name, state.version + off_by, state.version)
            assert error.conflicts == (CasConflict(Key.state("run", name), error.expected, error.actual),)
        else:
            self.change(name, value, self.cells().cas(name, state.version, value))

    @rule(at=picks)
    def delete(self, at):
        name = self.pick(at)
        state = self.state(name)
        assert self.cells().delete(name) == (state is not None)
        if state is not None:
            self.model[name] = (State(None, state.version, max(self.txn.now_us, state.updated_at)), False)

    @rule(at=picks, value=values)
    def transition(self, at, value):
        name = self.pick(at)
        if self.state(name) is None:
            with pytest.raises(CellNotFoundError):
                self.cells().transition(name, lambda state: (value, state))
        else:
            assert self.cells().transition(name, lambda state: (value, state)) == self.state(name)
            self.change(name, value, self.state(name).version + 1)

    @rule(name=names, initial=values, value=values)
    def transition_or_init(self, name, initial, value):
        seen = self.cells().transition_or_init(name, initial, lambda state: (value, state))
        if self.state(name) is None:
            self.change(name, initial, seen.version)
        assert seen == self.state(name)
        self.change(name, value, seen.version + 1)

    @rule(prefix=st.none() | names, after=st.none() | names, limit=limits)
    def page(self, prefix, after, limit):
        expected = [
            name
            for name in by_bytes(self.model)
            if self.state(name) is not None
            and name.startswith(prefix or "")
            and (after is None or name.encode() > after.encode())
        ]
        assert self.cells().list(prefix, limit, after) == expected[:limit]

    def check(self):
        cells = self.cells()
        for name in self.model:
            assert cells.read(name) == self.state(name)
            assert cells.exists(name) == (self.state(name) is not None)


TestStateCell = pytest.mark.unmeasured(CellMachine.TestCase)


@pytest.fixture
def store():
    store = Store()
    store.do(lambda txn: store.cells(txn=txn).init("cell", "first"))
    return store


def test_versions_go_on_after_delete_and_init(store):
    assert store.do(lambda txn: store.cells(txn=txn).cas("cell", 1, "second")) == 2
    assert store.do(lambda txn: store.cells(txn=txn).delete("cell"))
    assert store.cells().read("cell") is None
    assert store.do(lambda txn: store.cells(txn=txn).init("cell", "third")) == 3
    with pytest.raises(CasConflictError):
        store.cells().cas("cell", 1, "stale")


def test_a_cas_that_was_right_at_the_call_conflicts_at_commit(store):
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        assert store.cells(txn=txn).cas("cell", 1, "mine") == 2
    store.commit(first)
    assert ReadConflict(Key.state("run", "cell"), 1, 2) in store.conflicts(second)
    with pytest.raises(CasConflictError):
        store.cells().cas("cell", 1, "mine")


def test_of_two_that_create_a_cell_one_loses(store):
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        assert store.cells(txn=txn).init("new", 1) == 1
    store.commit(first)
    assert ReadConflict(Key.state("run", "new"), 0, 2) in store.conflicts(second)


def test_updated_at_never_goes_back(store):
    created = store.now_us
    store.now_us -= 10
    store.do(lambda txn: store.cells(txn=txn).set("cell", 2))
    assert store.cells().read("cell").updated_at == created


@pytest.mark.parametrize("outcome", [None, 1, (), (1,), (1, 2, 3), [1, 2], "ab"])
def test_a_transition_must_return_a_pair(store, outcome):
    txn = store.begin()
    with pytest.raises(UsageError, match=r"must return \(new_value, result\)"):
        store.cells(txn=txn).transition("cell", lambda _: outcome)
    with pytest.raises(UsageError, match=r"must return \(new_value, result\)"):
        store.cells(txn=txn).transition_or_init("new", 0, lambda _: outcome)
    assert not txn.has_writes


def test_an_async_function_is_no_transition(store):
    async def fn(state):
        return state.value, None

    txn = store.begin()
    with pytest.raises(UsageError, match="fn: must be a plain function; an async one would run after the commit"):
        store.cells(txn=txn).transition("cell", fn)
    assert not txn.has_writes


def test_a_failing_transition_changes_nothing(store):
    def fail(state):
        raise KeyError(state.version)

    txn = store.begin()
    with pytest.raises(KeyError):
        store.cells(txn=txn).transition("cell", fail)
    with pytest.raises(KeyError):
        store.cells(txn=txn).transition_or_init("new", 0, fail)
    with pytest.raises(InvalidValueError, match=r"^new_value: set cannot be stored"):
        store.cells(txn=txn).transition("cell", lambda _: (set(), None))
    with pytest.raises(InvalidValueError, match=r"^initial: set cannot be stored"):
        store.cells(txn=txn).transition_or_init("new", set(), fail)
    assert not txn.has_writes


def test_what_is_wrong_with_a_transition_is_said_whether_or_not_there_is_a_cell(store):
    txn = store.begin()
    cells = store.cells(txn=txn)
    for name in ("cell", "new"):
        with pytest.raises(InvalidValueError, match=r"^initial: set cannot be stored"):
            cells.transition_or_init(name, set(), lambda _: (1, None))
        with pytest.raises(UsageError, match=r"^fn: must be a function that takes the cell's State, not int"):
            cells.transition_or_init(name, 0, 5)
        with pytest.raises(UsageError, match=r"^fn: must be a function that takes the cell's State, not NoneType"):
            cells.transition(name, None)
    assert not txn.has_writes


def test_a_result_need_not_be_storable(store):
    result = object()
    assert store.cells().transition("cell", lambda _: (1, result)) is result


def test_nothing_that_is_passed_in_or_read_out_is_the_stored_value(store):
    value = [1]
    txn = store.begin()
    cells = store.cells(txn=txn)
    cells.set("list", value)
    value.append(2)
    cells.read("list").value.append(3)
    assert cells.transition("list", lambda state: (state.value, state.value.append(4))) is None
    assert cells.read("list") == State([1, 4], 2, store.now_us)


def test_arguments_are_refused_by_name(store):
    cells = store.cells()
    with pytest.raises(InvalidKeyError, match=r"^cell name: must be a str"):
        cells.read(1)
    for expected in (True, "1", 1.0, None):
        with pytest.raises(UsageError, match=r"^expected: "):
            cells.cas("cell", expected, 1)
    with pytest.raises(InvalidValueError, match=r"^value: set cannot be stored"):
        cells.init("new", set())
