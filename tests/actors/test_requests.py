"""Requests are sealed when they are made, there is one for each operation, and none can bring an actor down."""

import copy
import pickle
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from inmem import messages
from inmem.actors.messages import cells, events, kv, runs, traces
from inmem.actors.messages.request import Request
from inmem.actors.proxies.cells import StateCell
from inmem.actors.proxies.events import EventLog
from inmem.actors.proxies.kv import KVStore
from inmem.actors.proxies.runs import RunIndex
from inmem.actors.proxies.traces import TraceStore
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from inmem.engine.codec import decode_value
from inmem.engine.commits.request_groups import Postpone
from inmem.engine.errors import InmemError, InvalidValueError, InvariantError, UsageError
from inmem.primitives.run_status import RunStatus
from inmem.primitives.trace_kinds import Custom, Decision, ErrorTrace, Query, Thought, ToolCall
from tests.arguments import ACCEPTED
from tests.engine.seeded_entropy import SeededEntropy
from tests.primitives.store import Store

# Operation → the request that it sends, and arguments that both take.
OPERATIONS = {
    KVStore: {
        "put": (messages.PutKey, ("run", "k", [1], 2.5), {}),
        "get": (messages.GetKey, ("run", "k"), {}),
        "get_versioned": (messages.GetVersionedKey, ("run", "k"), {}),
        "get_many": (messages.GetKeys, ("run", ["k", "l"]), {}),
        "exists": (messages.KeyExists, ("run", "k"), {}),
        "list": (messages.ListKeys, ("run", "p", 3, "pa"), {}),
        "list_with_values": (messages.ListKeysWithValues, ("run", "p", 3, "pa"), {}),
        "delete": (messages.DeleteKey, ("run", "k"), {}),
        "cas": (messages.CasKey, ("run", "k", 7, [1], 2.5), {}),
    },
    EventLog: {
        "append": (messages.AppendEvent, ("run", "type", {"x": 1}), {}),
        "append_many": (messages.AppendEvents, ("run", [("type", 1), ("type", 2)]), {}),
        "read": (messages.ReadEvent, ("run", 3), {}),
        "read_range": (messages.ReadEvents, ("run", 3, 5), {}),
        "head": (messages.HeadEvent, ("run",), {}),
        "tail": (messages.TailEvents, ("run", 3), {}),
        "len": (messages.CountEvents, ("run",), {}),
        "read_by_type": (messages.ReadEventsByType, ("run", "type", 3, 4), {}),
        "types": (messages.ListEventTypes, ("run", 3, "pa"), {}),
        "verify_chain": (messages.VerifyEvents, ("run",), {}),
    },
    StateCell: {
        "init": (messages.InitCell, ("run", "c", [1]), {}),
        "read": (messages.ReadCell, ("run", "c"), {}),
        "cas": (messages.CasCell, ("run", "c", 7, [1]), {}),
        "set": (messages.SetCell, ("run", "c", [1]), {}),
        "delete": (messages.DeleteCell, ("run", "c"), {}),
        "exists": (messages.CellExists, ("run", "c"), {}),
        "list": (messages.ListCells, ("run", "p", 3, "pa"), {}),
    },
    TraceStore: {
        "record": (messages.RecordTrace, ("run", Thought("t")), {}),
        "record_child": (messages.RecordTrace, ("run",), {"parent_id": "p", "kind": Thought("t")}),
        "record_with_options": (
            messages.RecordTrace,
            ("run", Thought("t")),
            {"id": "i", "parent_id": "p", "tags": ["a"], "metadata": {"m": 1}},
        ),
        "get": (messages.GetTrace, ("run", "i"), {}),
        "query_by_type": (messages.QueryTracesByType, ("run", Thought, 3, "i"), {}),
        "query_by_tag": (messages.QueryTracesByTag, ("run", "a", 3, "i"), {}),
        "query_by_time": (messages.QueryTracesByTime, ("run", 1, 2, 3), {}),
        "get_children": (messages.GetTraceChildren, ("run", "i", 3, "i"), {}),
        "get_tree": (messages.GetTraceTree, ("run", "i"), {}),
        "roots": (messages.ListRootTraces, ("run", 3, "i"), {}),
        "list": (messages.ListTraces, ("run", 3), {}),
        "count": (messages.CountTraces, ("run",), {}),
    },
    RunIndex: {
        "create_run": (messages.CreateRun, ("run",), {"parent": "p", "tags": ["a"], "metadata": {"m": 1}}),
        "get_run": (messages.GetRun, ("run",), {}),
        "update_status": (messages.UpdateRunStatus, ("run", "Paused"), {}),
        "complete_run": (messages.CompleteRun, ("run",), {}),
        "fail_run": (messages.FailRun, ("run", "because"), {}),
        "cancel_run": (messages.CancelRun, ("run",), {}),
        "pause_run": (messages.PauseRun, ("run",), {}),
        "resume_run": (messages.ResumeRun, ("run",), {}),
        "archive_run": (messages.ArchiveRun, ("run",), {}),
        "delete_run": (messages.DeleteRun, ("run",), {}),
        "add_tags": (messages.AddRunTags, ("run", ["a"]), {}),
        "remove_tags": (messages.RemoveRunTags, ("run", ["a"]), {}),
        "update_metadata": (messages.UpdateRunMetadata, ("run", {"m": 1}), {}),
        "query_runs": (
            messages.QueryRuns,
            (),
            {
                "status": RunStatus.PAUSED,
                "tags": ["a"],
                "created_after": 1,
                "created_before": 2,
                "parent": "p",
                "include_archived": True,
                "limit": 3,
                "after": "p",
                "newest_first": True,
            },
        ),
        "list_runs": (messages.ListRuns, (), {"include_archived": True, "limit": 3}),
        "get_child_runs": (messages.GetChildRuns, ("run",), {"include_archived": True, "limit": 3}),
        "get_stats": (messages.GetRunStats, (), {}),
    },
}

# What only the blocking proxy has: iterators and closures are no answers and no arguments of messages.
BLOCKING_ONLY = {
    KVStore: {"mapping"},
    EventLog: {"iter"},
    StateCell: {"transition", "transition_or_init"},
    TraceStore: set(),
    RunIndex: set(),
}

WATCHING = {"Changed", "Unwatch", "Watch", "WatchEnded"}
"""No requests to a primitive: see test_watch_actor.py."""

REQUESTS = [getattr(messages, name) for name in messages.__all__ if name not in WATCHING]

NO_NAMES = [5, None, b"k", ["k"], "k" * 1025, "\ud800"]
NO_VALUES = [object(), {1, 2}, {1: 2}, [[object()]], 2**63, "\ud800"]
REFUSED = {
    "run": [5, "", b"run", "r" * 256, "\ud800", ["run"]],
    "key": NO_NAMES,
    "keys": ["k", [5], ["k", "\ud800"]],
    "name": NO_NAMES,
    "value": NO_VALUES,
    "ttl": [0, -1, float("nan"), float("inf"), "1", True, 1e300],
    "expected_version": [-1, None, True, 1.0, "1"],
    "expected": [None, True, 1.0, "1"],
    "prefix": [5, b"p", ["p"], "\ud800"],
    "limit": [-1, True, 1.0, "1"],
    "event_type": ["", *NO_NAMES],
    "payload": NO_VALUES,
    "events": ["type", ["type"], [("type",)], [("", 1)], [("type", object())], [("type", 1, 2)], [("a", 1), (5, 1)]],
    "count": [-1, None, True, 1.0, "1"],
    "sequence": [-1, None, True, 1.0, "1"],
    "kind": [None, "Thought", Thought, {"content": "t"}, Custom("n", object()), Decision("q", [{1}], None)],
    "id": [5, b"i", "i" * 1025, "\ud800"],
    "trace_id": NO_NAMES,
    "parent_id": [5, b"i", "i" * 1025, "\ud800"],
    "tags": ["a", [5], ["a" * 1025], ["\ud800"]],
    "tag": NO_NAMES,
    "metadata": [5, "m", ["m"], {"m": object()}, {5: 1}],
    "trace_type": ["thought", "", 5, None, str],
    "parent": [5, "", "\ud800"],
    "status": ["paused", "", 5, object()],
    "error": [None, 5, b"because", "\ud800"],
    "created_after": [True, 1.0, "1"],
    "created_before": [True, 1.0, "1"],
}


def names_of(request_class):
    return list(request_class.__struct_fields__)


def example(request_class, **other):
    arguments = {name: ACCEPTED[name] for name in names_of(request_class)}
    if request_class is messages.ReadEventsByType:
        arguments["after"] = 3
    return request_class(**{**arguments, **other})


def refused_for(request_class, name):
    if name in {"start", "end"}:
        return [None, True, 1.0, "1"]
    if name == "after" and request_class is messages.ReadEventsByType:
        return [-1, True, 1.0, "1"]
    if name == "status" and request_class is messages.UpdateRunStatus:
        return [None, *REFUSED["status"]]
    return REFUSED["prefix" if name == "after" else name]


class SentRequests:
    """A client that keeps what is sent."""

    def __init__(self):
        self.sent = []
        self.directory = SimpleNamespace(
            clock=SimpleNamespace(now_us=lambda: 1_700_000_000_000_000), entropy=SeededEntropy()
        )

    def now_us(self):
        return self.directory.clock.now_us()

    def send(self, request):
        self.sent.append(request)


def is_request(each):
    return isinstance(each, type) and issubclass(each, Request) and each is not Request


def public_methods(proxy_class):
    return {name for name, method in vars(proxy_class).items() if not name.startswith("_") and callable(method)}


@pytest.mark.parametrize("proxy_class", OPERATIONS)
def test_the_futures_twin_has_every_operation_that_a_message_can_carry(proxy_class):
    twin = proxy_class(SentRequests()).futures
    assert public_methods(proxy_class) == OPERATIONS[proxy_class].keys() | BLOCKING_ONLY[proxy_class]
    assert public_methods(type(twin)) == OPERATIONS[proxy_class].keys()


@pytest.mark.parametrize(
    ("proxy_class", "operation"),
    [(proxy_class, operation) for proxy_class, operations in OPERATIONS.items() for operation in operations],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_each_operation_sends_its_request_with_its_arguments(proxy_class, operation):
    request_class, arguments, options = OPERATIONS[proxy_class][operation]
    client = SentRequests()
    getattr(proxy_class(client).futures, operation)(*arguments, **options)
    assert client.sent == [request_class(*arguments, **options)]


def test_every_request_belongs_to_one_operation_and_is_handled_by_one_actor():
    sent = {request_class for operations in OPERATIONS.values() for request_class, _, _ in operations.values()}
    handled = [request_class for actor in PRIMITIVE_ACTORS.values() for request_class in actor.HANDLES]
    written = {
        each for module in (kv, events, cells, traces, runs) for each in vars(module).values() if is_request(each)
    }
    assert sent == set(REQUESTS) == set(handled) == written
    assert len(handled) == len(set(handled))


@pytest.mark.parametrize("request_class", REQUESTS)
def test_a_bad_argument_is_refused_where_the_request_is_made(request_class):
    for name in names_of(request_class):
        if name in {"include_archived", "newest_first"}:
            continue
        for bad in refused_for(request_class, name):
            with pytest.raises(UsageError):
                example(request_class, **{name: bad})


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: messages.PutKey("run", "k", bad), 'value["items"][3]'),
        (lambda bad: messages.SetCell("run", "c", bad), 'value["items"][3]'),
        (lambda bad: messages.AppendEvent("run", "type", bad), 'payload["items"][3]'),
        (lambda bad: messages.AppendEvents("run", [("a", 1), ("b", bad)]), 'events[1].payload["items"][3]'),
        (lambda bad: messages.RecordTrace("run", Custom("n", bad)), 'Custom.data["items"][3]'),
        (lambda bad: messages.RecordTrace("run", Thought("t"), metadata=bad), 'metadata["items"][3]'),
        (lambda bad: messages.UpdateRunMetadata("run", bad), 'metadata["items"][3]'),
    ],
)
def test_the_error_names_the_place_inside_the_argument(make, path):
    with pytest.raises(InvalidValueError) as caught:
        make({"items": [0, 1, 2, object()]})
    assert caught.value.path == path


def test_metadata_may_be_missing_where_something_is_made_and_only_there():
    assert messages.CreateRun("run") == messages.CreateRun("run", metadata={})
    assert messages.RecordTrace("run", Thought("t")) == messages.RecordTrace("run", Thought("t"), metadata={})
    with pytest.raises(InvalidValueError, match=r"^metadata: must be a dict, not NoneType"):
        messages.UpdateRunMetadata("run", None)


@pytest.mark.parametrize("request_class", REQUESTS)
def test_requests_hold_nothing_that_can_change(request_class):
    request = example(request_class)
    # Hashable all the way down; lists, dicts and trace kinds that hold them are not.
    assert hash(request) == hash(example(request_class))
    for name in names_of(request_class):
        with pytest.raises(AttributeError):
            setattr(request, name, None)
        with pytest.raises(AttributeError):
            delattr(request, name)
    with pytest.raises(AttributeError):
        request.other = None
    assert not hasattr(request, "__dict__")


@pytest.mark.parametrize(
    "way",
    [copy.copy, copy.deepcopy, *(lambda each, p=p: pickle.loads(pickle.dumps(each, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle {p}" for p in range(6))],
)
@pytest.mark.parametrize("request_class", REQUESTS)
def test_requests_are_copied_and_pickled_as_they_are(request_class, way):
    request = example(request_class)
    twin = way(request)
    assert type(twin) is request_class
    assert twin == request
    assert hash(twin) == hash(request)
    assert repr(twin) == repr(request)


def test_changing_an_argument_afterwards_does_not_change_the_request():
    value = {"x": [1]}
    arguments = ToolCall("tool", value)
    pairs = [["type", value]]
    names = ["a"]
    made = [
        messages.PutKey("run", "k", value),
        messages.CasCell("run", "c", 1, value),
        messages.AppendEvent("run", "type", value),
        messages.AppendEvents("run", pairs),
        messages.RecordTrace("run", arguments, tags=names, metadata=value),
        messages.CreateRun("run", tags=names, metadata=value),
        messages.GetKeys("run", names),
        messages.QueryRuns(tags=names),
    ]
    before = [hash(request) for request in made]
    value["x"].append(2)
    pairs[0][0] = "other"
    pairs.append(["type", 2])
    names.append("b")
    assert [hash(request) for request in made] == before
    assert decode_value(made[0].value.data) == {"x": [1]}
    assert [(kind, decode_value(payload.data)) for kind, payload in made[3].events] == [("type", {"x": [1]})]
    assert decode_value(made[4].kind.fields[1]) == {"x": [1]}
    assert made[4].tags == made[6].keys == ("a",)


def test_iterators_are_read_once_when_the_request_is_made():
    assert messages.GetKeys("run", iter(["k", "l"])).keys == ("k", "l")
    assert messages.AddRunTags("run", (tag for tag in "aba")).tags == ("a", "b")
    assert messages.RemoveRunTags("run", (tag for tag in "aba")).tags == ("a", "b")
    assert len(messages.AppendEvents("run", (("type", n) for n in range(3))).events) == 3


def test_a_run_may_be_given_as_uuid_everywhere():
    run = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    for request_class in REQUESTS:
        for name in {"run", "parent"}.intersection(names_of(request_class)):
            assert getattr(example(request_class, **{name: run}), name) == str(run)


@pytest.mark.parametrize(
    "request_made",
    [
        messages.PutKey("run", "k", "SECRET"),
        messages.CasKey("run", "k", 1, {"SECRET": "SECRET"}),
        messages.AppendEvent("run", "type", ["SECRET"]),
        messages.AppendEvents("run", [("type", "SECRET")]),
        messages.InitCell("run", "c", b"SECRET"),
        messages.CasCell("run", "c", 1, "SECRET"),
        messages.SetCell("run", "c", "SECRET"),
        messages.RecordTrace("run", Thought("SECRET"), metadata={"m": "SECRET"}),
        messages.RecordTrace("run", ErrorTrace("SECRET", "SECRET")),
        messages.CreateRun("run", metadata={"m": "SECRET"}),
        messages.UpdateRunMetadata("run", {"m": "SECRET"}),
        messages.FailRun("run", "SECRET"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_values_do_not_show_in_logs(request_made):
    # structlog shows the variables of a traceback through rich, which does not ask for the repr.
    for shown in (repr(request_made), pretty_repr(request_made)):
        assert "SECRET" not in shown
        assert "'run'" in shown


def test_what_a_request_holds_is_shown_by_name_except_its_values():
    request = messages.RecordTrace("run", Thought("t"), parent_id="p", tags=["a"])
    assert repr(request) == "RecordTrace(run='run', id=None, parent_id='p', tags=('a',), metadata=Encoded(1 bytes))"
    assert repr(messages.PutKey("run", "k", "v", 2.5)) == "PutKey(run='run', key='k', value=Encoded(2 bytes), ttl=2.5)"
    assert repr(messages.FailRun("run", "because")) == "FailRun(run='run')"
    assert repr(messages.GetRunStats()) == "GetRunStats()"


TEXT_BYTES = 2**16

# Of each field that can hold more than a name does: the arguments with which it holds a text.
LARGE = {
    "value": lambda text: [text, text.encode(), {"x": [text]}],
    "payload": lambda text: [text, text.encode(), {"x": [text]}],
    "events": lambda text: [[("type", text)], [("type", piece) for piece in pieces(text)]],
    "kind": lambda text: [
        ToolCall("tool", text),
        ToolCall("tool", None, text),
        Decision(text, ["a"], "a"),
        Decision("q", [text], None),
        Query("type", text),
        Thought(text),
        ErrorTrace("type", text),
        Custom("name", text),
    ],
    "metadata": lambda text: [{"m": text}, {text: None}],
    "error": lambda text: [text],
    "tags": lambda text: [pieces(text)],
    "keys": lambda text: [pieces(text)],
}


def pieces(text):
    """Return the text in pieces so short, and so different, that each may be a tag."""
    return [f"{at}{text[at : at + 100]}" for at in range(0, len(text), 100)]


@pytest.mark.parametrize("character", ["x", "😀"])
@pytest.mark.parametrize(
    ("request_class", "name"),
    [(request_class, name) for request_class in REQUESTS for name in names_of(request_class) if name in LARGE],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_request_takes_no_less_memory_than_what_it_carries(request_class, name, character):
    text = character * (TEXT_BYTES // len(character.encode()))
    for argument in LARGE[name](text):
        assert example(request_class, **{name: argument}).size_bytes >= TEXT_BYTES


@pytest.mark.parametrize("request_class", REQUESTS)
def test_a_field_that_is_not_known_to_be_large_is_a_name_or_a_number(request_class):
    """So that no field is left out above: what is large is seen by the length of the pickle."""
    for name in set(names_of(request_class)) - set(LARGE):
        for argument in (each for make in LARGE.values() for each in make("x" * TEXT_BYTES)):
            try:
                request = example(request_class, **{name: argument})
            except UsageError:
                continue
            assert len(pickle.dumps(request)) < TEXT_BYTES


def test_a_run_without_an_id_gets_it_before_it_is_sent():
    client = SentRequests()
    twin = RunIndex(client).futures
    twin.create_run()
    twin.create_run()
    first, second = (request.run for request in client.sent)
    assert UUID(first).version == UUID(second).version == 7
    assert first != second


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=5),
    st.sampled_from(["\ud800", "a" * 2000, "Thought", "Archived", "run", "i", "", object(), Thought, str]),
    st.binary(max_size=3),
    st.lists(st.one_of(st.text(max_size=2), st.integers(), st.tuples(st.text(max_size=2), st.integers())), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=3),
    st.builds(Thought, st.text(st.characters(exclude_categories=()), max_size=3)),
    st.builds(Decision, st.just("q"), st.lists(st.integers()), st.floats()),
)

# For each request class: the actor that handles it.
HANDLERS = {request_class: actor for actor in PRIMITIVE_ACTORS.values() for request_class in actor.HANDLES}


@given(st.data())
def test_a_request_that_could_be_made_never_brings_its_actor_down(data):
    store = Store()
    txn = store.begin()
    for _ in range(10):
        request_class = data.draw(st.sampled_from(REQUESTS))
        junk_names = data.draw(st.sets(st.sampled_from(names_of(request_class) or [""]), max_size=2)) - {""}
        try:
            request = example(request_class, **{name: data.draw(junk) for name in junk_names})
        except (ValueError, TypeError):
            continue
        actor = HANDLERS[request_class]
        try:
            actor.perform(object.__new__(actor), txn, request)
        except InvariantError:
            raise
        except (InmemError, Postpone):
            continue
