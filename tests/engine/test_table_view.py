"""TableView and Transaction against plain dicts: every read, every buffered write, and what is remembered of them."""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inmem.engine.commits.part import Slice
from inmem.engine.commits.table_view import TableView
from inmem.engine.commits.transaction import Isolation, Transaction, TransactionStatus
from inmem.engine.errors import TransactionClosedError
from inmem.engine.keys import Tag
from inmem.engine.tables.entry import Entry, stored_entry, version_of
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.seeded_entropy import SeededEntropy

NOW_US = 100
START_VERSION = 20
TABLES = [("a", Tag.KV), ("a", Tag.STATE), ("b", Tag.KV)]

KEYS = st.sampled_from([b"", b"a", b"a\x00", b"b", b"c", b"d", b"e"])
BOUNDS = st.one_of(st.none(), KEYS)
VALUES = st.sampled_from([b"", b"1", b"2"])
EXPIRIES = st.sampled_from([0, 0, 0, 1, NOW_US - 1, NOW_US, NOW_US + 1])
VERSIONS = st.integers(0, START_VERSION)
ENTRIES = st.dictionaries(KEYS, st.tuples(st.integers(1, START_VERSION), st.one_of(st.none(), VALUES), EXPIRIES))
VIEWS = st.sampled_from(TABLES)

TableId = tuple[str, int]
Pair = tuple[bytes, bytes]


def is_live(value: bytes | None, expires_at: int) -> bool:
    return value is not None and not 0 < expires_at <= NOW_US


def table_of(entries: dict[bytes, Entry]) -> Table:
    return Table.build({key: stored_entry(*entry) for key, entry in entries.items()})


@dataclass
class Model:
    """One table as a transaction must see it."""

    base: dict[bytes, Entry]
    dropped: bool = False
    own: dict[bytes, tuple[bytes | None, int, bool]] = field(default_factory=dict)
    expected: set[tuple[bytes, int, bool]] = field(default_factory=set)
    reads: dict[bytes, int] = field(default_factory=dict)
    scans: dict[tuple[bytes, bytes | None], None] = field(default_factory=dict)

    def committed(self, key: bytes) -> Entry:
        return (0, None, 0) if self.dropped else self.base.get(key, (0, None, 0))

    def remember(self, key: bytes) -> None:
        if not self.dropped:
            self.reads[key] = self.committed(key)[0]

    def pairs(self, start: bytes = b"", end: bytes | None = None) -> list[Pair]:
        base = {} if self.dropped else self.base
        values = {key: (value, expiry) for key, (_, value, expiry) in base.items()}
        values |= {key: (value, expiry) for key, (value, expiry, _) in self.own.items()}
        in_range = sorted(key for key in values if start <= key and (end is None or key < end))
        return [(key, value) for key in in_range for value in [values[key][0]] if is_live(*values[key])]

    def get(self, key: bytes) -> bytes | None:
        if key not in self.own:
            self.remember(key)
        return dict(self.pairs()).get(key)


class TransactionMachine(RuleBasedStateMachine):
    """All operations on three tables of two runs, marks and drops included."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[TableId, Model] = {}
        self.dropped: dict[str, None] = {}
        self.marks: list[tuple[int, dict[TableId, Model], dict[str, None]]] = []

    @initialize(entries=st.tuples(ENTRIES, ENTRIES, ENTRIES), isolation=st.sampled_from(Isolation))
    def begin(self, entries: tuple[dict[bytes, Entry], ...], isolation: Isolation) -> None:
        self.models = {table_id: Model(base) for table_id, base in zip(TABLES, entries, strict=True)}
        root = persistent({table_id: table_of(model.base) for table_id, model in self.models.items() if model.base})
        self.txn = Transaction(3, Snapshot(START_VERSION, (root,)), NOW_US, SeededEntropy(), isolation)
        self.tracks_scans = isolation is Isolation.SERIALIZABLE

    def at(self, table_id: TableId) -> tuple[TableView, Model]:
        return self.txn.view(*table_id), self.models[table_id]

    def track(self, model: Model, start: bytes, end: bytes | None) -> None:
        if self.tracks_scans and not model.dropped:
            model.scans[start, end] = None

    @rule(at=VIEWS, key=KEYS)
    def get(self, at: TableId, key: bytes) -> None:
        view, model = self.at(at)
        assert view.get(key) == model.get(key)

    @rule(at=VIEWS, key=KEYS)
    def get_entry(self, at: TableId, key: bytes) -> None:
        view, model = self.at(at)
        value = model.get(key)
        expected = None
        if value is not None:
            model.remember(key)
            version, _, expiry = model.committed(key)
            expected = (version, value, model.own[key][1] if key in model.own else expiry)
        assert view.get_entry(key) == expected

    @rule(at=VIEWS, key=KEYS)
    def version(self, at: TableId, key: bytes) -> None:
        view, model = self.at(at)
        model.remember(key)
        assert view.version(key) == model.committed(key)[0]

    @rule(at=VIEWS, key=KEYS, value=VALUES, expiry=EXPIRIES)
    def put(self, at: TableId, key: bytes, value: bytes, expiry: int) -> None:
        view, model = self.at(at)
        view.put(key, value, expiry)
        model.own[key] = (value, expiry, True)

    @rule(at=VIEWS, keys=st.lists(KEYS), value=VALUES)
    def put_all(self, at: TableId, keys: list[bytes], value: bytes) -> None:
        view, model = self.at(at)
        view.put_all(keys, value)
        model.own.update(dict.fromkeys(keys, (value, 0, True)))

    @rule(at=VIEWS, key=KEYS)
    def delete(self, at: TableId, key: bytes) -> None:
        view, model = self.at(at)
        was_live = model.get(key) is not None
        is_expected = any(expected[0] == key for expected in model.expected)
        if was_live and (model.committed(key)[1] is not None or is_expected):
            model.own[key] = (None, 0, True)
        elif was_live:
            model.remember(key)
            del model.own[key]
        assert view.delete(key) is was_live

    @rule(at=VIEWS, key=KEYS, before=st.integers(0, NOW_US))
    def remove_expired(self, at: TableId, key: bytes, before: int) -> None:
        view, model = self.at(at)
        _, value, expiry = model.committed(key)
        removes = value is not None and 0 < expiry <= before and key not in model.own
        if removes:
            model.remember(key)
            model.own[key] = (None, 0, True)
        assert view.remove_expired(key, before) is removes

    @rule(at=VIEWS, key=KEYS, expected=VERSIONS, value=VALUES, expiry=EXPIRIES)
    def cas(self, at: TableId, key: bytes, expected: int, value: bytes, expiry: int) -> None:
        view, model = self.at(at)
        view.cas(key, expected, value, expiry)
        model.own[key] = (value, expiry, key in model.own and model.own[key][2])
        model.expected.add((key, expected, model.dropped))

    @rule(at=VIEWS, start=KEYS, end=BOUNDS, reverse=st.booleans(), count=st.integers(0, 8), written=KEYS)
    def scan(self, at: TableId, start: bytes, end: bytes | None, reverse: bool, count: int, written: bytes) -> None:
        view, model = self.at(at)
        pairs = model.pairs(start, end)
        if reverse:
            pairs.reverse()
        yielded = pairs[:count]
        for key, _ in yielded:
            if key not in model.own:
                model.remember(key)
        self.track(model, start, end)
        scan = view.scan(start, end, reverse=reverse)
        before, after = count // 2, count - count // 2
        found = [pair for _, pair in zip(range(before), scan, strict=False)]
        # A write in the middle of it must not show.
        self.put(at, written, b"2", 0)
        found += [pair for _, pair in zip(range(after), scan, strict=False)]
        assert found == yielded

    @rule(at=VIEWS)
    def last(self, at: TableId) -> None:
        view, model = self.at(at)
        found = model.pairs()[-1:]
        for key, _ in found:
            if key not in model.own:
                model.remember(key)
        self.track(model, found[0][0] if found else b"", None)
        assert view.last() == (found[0] if found else None)

    @rule(at=VIEWS)
    def count(self, at: TableId) -> None:
        view, model = self.at(at)
        self.track(model, b"", None)
        committed = {} if model.dropped else model.base
        values = {key: entry[1] for key, entry in committed.items()} | {key: own[0] for key, own in model.own.items()}
        assert view.count() == sum(value is not None for value in values.values())

    @rule(run=st.sampled_from(["a", "b"]))
    def drop_run(self, run: str) -> None:
        self.txn.drop_run(run)
        self.dropped[run] = None
        for (run_of_table, _), model in self.models.items():
            if run_of_table == run:
                model.dropped = True
                model.own = {}

    @rule()
    def mark(self) -> None:
        self.marks.append((self.txn.mark(), deepcopy(self.models), dict(self.dropped)))

    @precondition(lambda self: self.marks)
    @rule(data=st.data())
    def rollback_to(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.marks) - 1))
        mark, models, dropped = self.marks[index]
        del self.marks[index:]
        self.txn.rollback_to(mark)
        for table_id, earlier in models.items():
            model = self.models[table_id]
            model.own, model.expected, model.dropped = earlier.own, earlier.expected, earlier.dropped
        self.dropped = dropped

    @invariant()
    def knows_whether_it_writes(self) -> None:
        if self.models:
            assert self.txn.has_writes == bool(self.dropped or any(model.own for model in self.models.values()))

    def teardown(self) -> None:
        if not self.models:
            return
        for table_id, model in self.models.items():
            if self.txn._views.get(table_id) is not None:
                view = self.txn.view(*table_id)
                assert all(view.wrote(key) == (key in model.own) for key in model.own.keys() | model.base.keys())
        request = self.txn.seal()
        assert (request.transaction_id, request.start_version, request.timestamp_us) == (3, START_VERSION, NOW_US)
        assert request.dropped_runs == tuple(self.dropped)
        slices = {part.table_id: part for part in request.slices}
        assert len(slices) == len(request.slices)
        for table_id, model in self.models.items():
            found = slices.get(table_id, Slice(table_id, (), (), (), (), ()))
            assert {key: version_of(seen) for key, seen in found.reads} == model.reads
            assert len(found.reads) == len(model.reads)
            assert found.scans == tuple(model.scans)
            assert set(found.expected) == model.expected
            assert len(found.expected) == len(model.expected)
            assert found.judged == [key for key, _, _ in found.writes if model.own[key][2]]
            assert {key: (value, expiry) for key, value, expiry in found.writes} == {
                key: own[:2] for key, own in model.own.items()
            }


TestTransactionMachine = TransactionMachine.TestCase
TestTransactionMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def begin(base: dict[bytes, Entry] | None = None, isolation: Isolation = Isolation.SNAPSHOT) -> Transaction:
    root = persistent({("r", Tag.KV): table_of(base)}) if base else persistent({})
    return Transaction(1, Snapshot(START_VERSION, (root,)), NOW_US, SeededEntropy(), isolation)


OPERATIONS = {
    "get": lambda view: view.get(b"k"),
    "get_entry": lambda view: view.get_entry(b"k"),
    "version": lambda view: view.version(b"k"),
    "wrote": lambda view: view.wrote(b"k"),
    "put": lambda view: view.put(b"k", b"1"),
    "delete": lambda view: view.delete(b"k"),
    "delete what was put": lambda view: view.delete(b"own"),
    "remove_expired": lambda view: view.remove_expired(b"k", NOW_US),
    "cas": lambda view: view.cas(b"k", 0, b"1"),
    "scan": lambda view: view.scan(),
    "last": lambda view: view.last(),
    "count": lambda view: view.count(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
@pytest.mark.parametrize("status", [TransactionStatus.VALIDATING, TransactionStatus.ABORTED])
def test_a_closed_view_refuses_every_operation_and_changes_nothing(operation, status) -> None:
    txn = begin({b"k": (1, b"x", 0)})
    view = txn.view("r", Tag.KV)
    view.put(b"own", b"1")
    txn.finish(status)
    before = view.slice()
    with pytest.raises(TransactionClosedError) as caught:
        operation(view)
    assert caught.value.status == status
    assert view.slice() == before


@pytest.mark.parametrize("own", [(), (b"a",), (b"a", b"b", b"c"), (b"b", b"c"), (b"c",)])
@pytest.mark.parametrize("base", [(), (b"a",), (b"a", b"b", b"c"), (b"b", b"c"), (b"c",)])
@pytest.mark.parametrize("consumed", [0, 1, 2, 3])
def test_a_scan_that_outlives_its_transaction_raises_wherever_it_was(own, base, consumed: int) -> None:
    txn = begin(dict.fromkeys(base, (1, b"base", 0)))
    view = txn.view("r", Tag.KV)
    for key in own:
        view.put(key, b"own")
    scan = view.scan()
    pairs = [pair for _, pair in zip(range(consumed), scan, strict=False)]
    txn.finish(TransactionStatus.ABORTED)
    if len(pairs) == consumed:
        with pytest.raises(TransactionClosedError):
            next(scan)
    else:
        assert next(scan, None) is None, "it had ended before"


def test_a_scan_yields_what_was_there_at_the_call_even_after_a_drop() -> None:
    txn = begin({b"k": (4, b"x", 0)})
    scan = txn.view("r", Tag.KV).scan()
    txn.drop_run("r")
    assert list(scan) == [(b"k", b"x")]


def test_reads_below_a_drop_are_not_remembered_once_the_drop_is_taken_back() -> None:
    # Remembered as "has never existed", they would make every later commit of the group conflict, for ever.
    txn = begin({b"k": (4, b"x", 0)})
    mark = txn.mark()
    txn.drop_run("r")
    view = txn.view("r", Tag.KV)
    assert (view.get(b"k"), view.version(b"k"), view.get_entry(b"k"), view.last()) == (None, 0, None, None)
    txn.rollback_to(mark)
    assert view.slice().reads == ()
    assert view.get(b"k") == b"x"


def test_an_expectation_of_a_cas_taken_back_is_gone() -> None:
    txn = begin({b"k": (4, b"x", 0)})
    view = txn.view("r", Tag.KV)
    view.cas(b"k", 4, b"1")
    mark = txn.mark()
    view.cas(b"k", 9, b"2")
    txn.rollback_to(mark)
    assert view.slice() == Slice(("r", Tag.KV), (), (b"k",), ((b"k", 4, False),), (), ((b"k", b"1", 0),))


def test_an_expectation_outlives_the_drop_of_its_run() -> None:
    # "Delete the run if the key is still at version 3" must not become "delete the run".
    txn = begin({b"k": (4, b"x", 0)})
    txn.view("r", Tag.KV).cas(b"k", 3, b"1")
    txn.drop_run("r")
    txn.view("r", Tag.KV).cas(b"k", 4, b"2")
    assert txn.seal().slices[0].expected == ((b"k", 3, False), (b"k", 4, True))


def test_the_order_of_own_writes_follows_what_is_taken_back() -> None:
    txn = begin()
    view = txn.view("r", Tag.KV)
    view.put(b"a", b"1")
    assert list(view.scan()) == [(b"a", b"1")]
    mark = txn.mark()
    view.put(b"b", b"1")
    view.delete(b"a")
    assert list(view.scan()) == [(b"b", b"1")]
    txn.rollback_to(mark)
    assert list(view.scan()) == [(b"a", b"1")]
    assert view.last() == (b"a", b"1")


def test_a_view_first_used_after_a_drop_shows_an_empty_table() -> None:
    txn = begin({b"k": (4, b"x", 0)}, Isolation.SERIALIZABLE)
    txn.drop_run("r")
    view = txn.view("r", Tag.KV)
    assert (view.get(b"k"), list(view.scan()), view.count(), view.last()) == (None, [], 0, None)
    assert view.slice() == Slice(("r", Tag.KV), (), (), (), (), ())
