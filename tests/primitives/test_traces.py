import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from inmem.engine.commits.conflicts import ReadConflict
from inmem.engine.errors import (
    InvalidKeyError,
    InvalidValueError,
    InvariantError,
    TraceExistsError,
    TraceNotFoundError,
    UsageError,
)
from inmem.engine.keys import Key, Tag
from inmem.primitives import trace_index
from inmem.primitives.index_key import POSITION_BYTES, PRESENT
from inmem.primitives.trace_kinds import KINDS, Custom, Decision, ErrorTrace, Query, Thought, ToolCall, pack_kind
from inmem.primitives.traces import Trace, TraceOperations
from tests.primitives.machine import HOSTILE_NAMES, TransactionMachine, limits, name_sets, names, picks, values
from tests.primitives.store import Store

kinds = st.one_of(
    st.builds(ToolCall, names, values, values, st.none() | st.integers(0, 9)),
    st.builds(Decision, names, st.lists(values, max_size=2), values),
    st.builds(Query, names, values, st.none() | st.integers(0, 9)),
    st.builds(Thought, names, st.none() | st.floats(0, 1)),
    st.builds(ErrorTrace, names, names, st.booleans()),
    st.builds(Custom, names, values),
)


class TraceMachine(TransactionMachine):
    """The model maps ids to traces, in the order of recording. The names of everything are the same hostile ones."""

    def traces(self) -> TraceOperations:
        return TraceOperations(self.txn, "run")

    @rule(
        kind=kinds,
        trace_id=st.none() | names,
        parent_at=st.none() | picks,
        tags=name_sets,
        metadata=st.none() | st.dictionaries(names, values, max_size=2),
    )
    def record(self, kind, trace_id, parent_at, tags, metadata):
        parent = None if parent_at is None else self.pick(parent_at)

        def record():
            return self.traces().record_with_options(kind, id=trace_id, parent_id=parent, tags=tags, metadata=metadata)

        if parent is not None and parent not in self.model:
            with pytest.raises(TraceNotFoundError):
                record()
        elif trace_id in self.model:
            with pytest.raises(TraceExistsError):
                record()
        else:
            trace = record()
            assert trace_id in {None, trace.id}
            assert trace == Trace(
                trace.id,
                parent,
                type(kind).trace_type,
                self.txn.now_us,
                tuple(dict.fromkeys(tags)),
                metadata or {},
                kind,
            )
            self.model[trace.id] = trace

    @rule(at=picks, kind=kinds)
    def record_child(self, at, kind):
        parent = self.pick(at)
        if parent in self.model:
            trace = self.traces().record_child(parent, kind)
            assert (trace.parent_id, trace.kind) == (parent, kind)
            self.model[trace.id] = trace

    @rule(kind=kinds)
    def record_root(self, kind):
        trace = self.traces().record(kind)
        self.model[trace.id] = trace

    @rule(name=names, at=picks, trace_type=st.sampled_from(list(KINDS)), limit=limits)
    def query(self, name, at, trace_type, limit):
        traces, every = self.traces(), list(self.model.values())
        parent = self.pick(at)
        assert traces.query_by_tag(name, limit) == [trace for trace in every if name in trace.tags][:limit]
        assert traces.get_children(parent, limit) == [trace for trace in every if trace.parent_id == parent][:limit]
        expected = [trace for trace in every if trace.trace_type == trace_type][:limit]
        assert traces.query_by_type(trace_type, limit) == expected
        assert traces.query_by_type(KINDS[trace_type], limit) == expected
        assert traces.roots(limit) == [trace for trace in every if trace.parent_id is None][:limit]
        assert traces.list(limit) == [trace.id for trace in every][:limit]

    @rule(name=names, at=picks, trace_type=st.sampled_from(list(KINDS)), limit=limits)
    def query_behind(self, name, at, trace_type, limit):
        traces, every = self.traces(), list(self.model.values())
        last = self.pick(at)
        if last not in self.model:
            with pytest.raises(TraceNotFoundError):
                traces.roots(after=last)
            return
        later = every[every.index(self.model[last]) + 1 :]
        assert traces.roots(limit, last) == [trace for trace in later if trace.parent_id is None][:limit]
        assert traces.query_by_tag(name, limit, last) == [trace for trace in later if name in trace.tags][:limit]
        of_type = [trace for trace in later if trace.trace_type == trace_type]
        assert traces.query_by_type(trace_type, limit, last) == of_type[:limit]
        parent = self.model[last].parent_id
        if parent is not None:
            siblings = [trace for trace in later if trace.parent_id == parent]
            assert traces.get_children(parent, limit, last) == siblings[:limit]

    @rule(before=st.integers(0, 20), length=st.integers(-1, 20), limit=limits)
    def query_time(self, before, length, limit):
        start = self.txn.now_us - before
        expected = [trace for trace in self.model.values() if start <= trace.timestamp < start + length]
        assert self.traces().query_by_time(start, start + length, limit) == expected[:limit]

    @rule(at=picks)
    def tree(self, at):
        name = self.pick(at)
        if name not in self.model:
            with pytest.raises(TraceNotFoundError):
                self.traces().get_tree(name)
            return

        def expected(trace_id, depth):
            yield depth, self.model[trace_id]
            for trace in self.model.values():
                if trace.parent_id == trace_id:
                    yield from expected(trace.id, depth + 1)

        assert list(self.traces().get_tree(name).walk()) == list(expected(name, 0))

    def check(self):
        traces = self.traces()
        assert traces.count() == len(self.model)
        for trace_id in [*self.model, *HOSTILE_NAMES]:
            assert traces.get(trace_id) == self.model.get(trace_id)
        traces.check()


TestTraceStore = pytest.mark.unmeasured(TraceMachine.TestCase)


@pytest.fixture
def store():
    return Store()


def test_traces_of_one_microsecond_keep_the_order_in_which_transactions_began(store):
    first, second = store.begin(), store.begin()
    two = store.traces(txn=second).record(Thought("two"))
    one = store.traces(txn=first).record(Thought("one"))
    store.commit(second)
    store.commit(first)
    assert store.traces().roots() == [one, two]


def test_the_order_of_recording_survives_a_rollback(store):
    txn = store.begin()
    recorded = [store.traces(txn=txn).record(Thought(str(number))) for number in range(5)]
    mark = txn.mark()
    store.traces(txn=txn).record(Thought("taken back"))
    txn.rollback_to(mark)
    recorded += [store.traces(txn=txn).record(Thought(str(number))) for number in range(5)]
    store.commit(txn)
    assert store.traces().roots() == recorded
    store.traces().check()


def test_recorders_of_one_run_do_not_conflict(store):
    parent = store.do(lambda txn: store.traces(txn=txn).record(Thought("parent")))
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        store.traces(txn=txn).record_child(parent.id, Thought("child"))
    assert store.conflicts(first) == store.conflicts(second) == ()
    assert len(store.traces().get_children(parent.id)) == 2


def test_of_two_that_take_one_id_one_loses(store):
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        store.traces(txn=txn).record_with_options(Thought("mine"), id="id")
    store.commit(first)
    assert ReadConflict(Key.trace("run", "id"), 0, 1) in store.conflicts(second)


def test_a_parent_must_be_of_the_same_run(store):
    elsewhere = store.do(lambda txn: store.traces("elsewhere", txn).record(Thought("parent")))
    with pytest.raises(TraceNotFoundError):
        store.traces().record_child(elsewhere.id, Thought("child"))
    with pytest.raises(TraceNotFoundError):
        store.traces().record_with_options(Thought("own parent"), id="x", parent_id="x")


def test_tag_a_does_not_return_a__b(store):
    txn = store.begin()
    traces = store.traces(txn=txn)
    for tag in HOSTILE_NAMES:
        traces.record_with_options(Custom(tag), tags=[tag])
    for tag in HOSTILE_NAMES:
        assert [trace.kind.name for trace in traces.query_by_tag(tag)] == [tag]


def test_a_packed_kind_is_recorded_as_the_kind(store):
    kind = ToolCall("search", {"q": ["a"]})
    assert store.traces().record(pack_kind(kind)).kind == kind


def test_nothing_that_is_passed_in_or_read_out_is_the_stored_value(store):
    arguments, metadata = {"items": [1]}, {"items": [1]}
    txn = store.begin()
    traces = store.traces(txn=txn)
    trace = traces.record_with_options(ToolCall("t", arguments), id="id", metadata=metadata)
    for container in (arguments, metadata, trace.kind.arguments, trace.metadata, traces.get("id").kind.arguments):
        container["items"].append(2)
    assert traces.get("id").kind.arguments == traces.get("id").metadata == {"items": [1]}


def test_what_is_refused_leaves_nothing_behind(store):
    txn = store.begin()
    record = store.traces(txn=txn).record_with_options
    kind = Thought("x")
    with pytest.raises(UsageError, match=r"^kind: must be one of ToolCall, .*, not str"):
        record("Thought")
    with pytest.raises(InvalidValueError, match=r'^ToolCall\.arguments\["x"\]: set cannot be stored'):
        record(ToolCall("t", {"x": set()}))
    with pytest.raises(InvalidKeyError, match=r"^trace id: "):
        record(kind, id=1)
    with pytest.raises(InvalidKeyError, match=r"^parent id: "):
        record(kind, parent_id=1)
    with pytest.raises(InvalidKeyError, match=r"^parent id: must be a str, not NoneType"):
        store.traces(txn=txn).record_child(None, kind)
    with pytest.raises(InvalidKeyError, match=r"^tags: must be several str, not one"):
        record(kind, tags="abc")
    with pytest.raises(InvalidKeyError, match=r"^tag: must be a str, not int"):
        record(kind, tags=["a", 1])
    with pytest.raises(InvalidValueError, match=r"^metadata: must be a dict, not list"):
        record(kind, metadata=[1])
    with pytest.raises(InvalidValueError, match=r'^metadata\["a"\]: set cannot be stored'):
        record(kind, metadata={"a": set()})
    assert not txn.has_writes


def test_queries_refuse_what_cannot_be_meant(store):
    traces = store.traces()
    for trace_type in ("Though", "ErrorTrace", str, None, 1):
        with pytest.raises(UsageError, match=r"^trace type: must be one of ToolCall, "):
            traces.query_by_type(trace_type)
    for start, end in ((None, 1), (0, 1.0), (True, 1)):
        with pytest.raises(UsageError, match=r"^(start|end): must be an int"):
            traces.query_by_time(start, end)
    with pytest.raises(InvalidKeyError, match=r"^tag: "):
        traces.query_by_tag(1)
    with pytest.raises(InvalidKeyError, match=r"^trace id: "):
        traces.get_children(1)


def test_times_beyond_any_clock_are_ordinary_bounds(store):
    txn = store.begin()
    traces = store.traces(txn=txn)
    trace = traces.record(Thought("x"))
    assert traces.query_by_time(-(10**30), 10**30) == [trace]
    assert traces.query_by_time(10**30, -(10**30)) == []


def test_check_and_queries_find_an_index_that_does_not_agree(store):
    store.do(lambda txn: store.traces(txn=txn).record(Thought("x")))
    store.tamper("run", Tag.TRACE_INDEX, trace_index.ROOTS + bytes(POSITION_BYTES) + b"absent", PRESENT)
    with pytest.raises(InvariantError, match="does not agree"):
        store.traces().check()
    with pytest.raises(InvariantError, match="names trace b'absent'"):
        store.traces().roots()
