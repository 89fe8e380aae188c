"""Whatever is passed to a public call, by mistake or on purpose: refused with an error of the store's, and no more."""

import inspect
import io
from collections.abc import Iterator

import pykka
import pytest

import inmem
from inmem import Key
from inmem.actors.messages.request import Request
from inmem.engine.keys import Tag
from tests.arguments import ACCEPTED
from tests.hostile import HOSTILE, HUGE, MetaclassRaises, NoRepr, Nothing
from tests.log_events import SECRET, told

RUN = "run"
GOOD = ACCEPTED | {
    "run_id": RUN,
    "initial": 1,
    "batch_size": 2,
    "id": None,
    "parent_id": "i",
    "isolation": "snapshot",
    "timeout": 0.5,
    "retry": inmem.RetryPolicy(),
    "token": "a-1-1",
    "primitive": "kv",
    "after_version": 0,
    "fn": lambda _: (1, 2),
    "on_progress": None,
}
"""What is accepted by the calls that are no requests too."""

CODE = {"fn", "on_progress"}
"""Parameters that take the caller's own code: what it raises is passed on."""

FLAGS = {"include_archived", "newest_first"}
"""Anything is true or false, and is asked by its own code."""


def public_methods(thing, *without):
    return {
        name: method
        for name, method in inspect.getmembers(thing, callable)
        if not name.startswith("_") and name not in without
    }


def of_the_handle(db):
    names = ("put", "get", "get_versioned", "delete", "cas", "begin_run", "end_run", "begin", "transaction", "outcome")
    yield from ((f"db.{name}", getattr(db, name)) for name in (*names, "watch"))
    yield "db.export_run", lambda run=RUN: db.export_run(run, io.BytesIO())
    for accessor in ("kv", "events", "cells", "traces", "runs"):
        proxy = getattr(db, accessor)
        for name, method in public_methods(proxy, "futures").items():
            yield f"db.{accessor}.{name}", method
        for name, method in public_methods(proxy.futures).items():
            yield f"db.{accessor}.futures.{name}", method


def of_a_transaction(db):
    for name in ("get", "get_versioned", "put", "delete", "cas", "scan", "on"):
        yield f"txn.{name}", in_transaction(db, lambda txn, name=name: getattr(txn, name))
    txn = db.begin(RUN)
    for accessor in ("kv", "events", "cells", "traces", "runs"):
        for name in public_methods(getattr(txn, accessor), "check"):
            method = in_transaction(db, lambda txn, a=accessor, name=name: getattr(getattr(txn, a), name))
            yield f"txn.{accessor}.{name}", method
    txn.abort()


def in_transaction(db, method_of):
    """Return the method of a transaction as a call that commits what it does."""

    def call(**arguments):
        with db.begin(RUN) as txn:
            result = method_of(txn)(**arguments)
            return list(result) if isinstance(result, Iterator) else result

    txn = db.begin(RUN)
    call.__signature__ = inspect.signature(method_of(txn))
    txn.abort()
    return call


def of_the_module(_):
    for name in ("kv", "event", "state", "trace", "run", "decode"):
        yield f"Key.{name}", getattr(Key, name)
    for name in ("Key", "RetryPolicy", "Limits", "ToolCall", "Decision", "Query", "Thought", "ErrorTrace", "Custom"):
        yield name, getattr(inmem, name)
    yield "connect", inmem.connect
    yield "salvage", inmem.salvage
    yield "open", inmem.open


def of_the_messages(_):
    for name, kind in vars(inmem.messages).items():
        if isinstance(kind, type) and issubclass(kind, Request):
            yield f"messages.{name}", made_of(kind)


def made_of(kind):
    """Return the making of a request, with a signature: that of a struct cannot be asked for."""

    def make(**arguments):
        return kind(**arguments)

    needed = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    make.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if at < needed else None
            )
            for at, name in enumerate(kind.__struct_fields__)
        ]
    )
    return make


PLACES = [of_the_handle, of_a_transaction, of_the_module, of_the_messages]


def arguments_of(name, call):
    """Return an argument for each parameter of a call that has a good one, and the names of those to be tried."""
    given, tried = {}, []
    for parameter in inspect.signature(call).parameters.values():
        assert parameter.kind is not parameter.VAR_POSITIONAL
        if parameter.name in CODE | FLAGS and parameter.name != "retry":
            if parameter.default is parameter.empty:
                given[parameter.name] = GOOD[parameter.name]
            continue
        tried.append(parameter.name)
        if parameter.default is parameter.empty or parameter.name in {"timeout", "expected_version", "expected"}:
            given[parameter.name] = GOOD.get(parameter.name)
    assert tried or not given, name
    return given, tried


def answer(call, arguments):
    """Call, and see to the end what comes of it."""
    result = call(**arguments)
    if isinstance(result, pykka.Future):
        result = result.get(timeout=10)
    if isinstance(result, Iterator) and not isinstance(result, inmem.Watcher):
        list(result)
    if isinstance(result, (inmem.Database, inmem.Watcher)):
        result.close()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A text may be a path: then it is one in here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        db.runs.create_run(RUN)
        db.put(RUN, "k", 1)
        db.events.append(RUN, "type", 1)
        db.traces.record_with_options(RUN, inmem.Thought("t"), id="i")
        db.cells.set(RUN, "c", 1)
        yield db


def require_alive(db):
    """Every actor carries out what it is asked."""
    assert db.get(RUN, "alive") is None
    db.put(RUN, "alive", 1)
    assert db.delete(RUN, "alive")
    db.events.append(RUN, "alive")
    db.cells.set(RUN, "alive", 1)
    db.traces.record(RUN, inmem.Thought("alive"))
    db.runs.delete_run(db.begin_run())
    assert db.verify().is_valid


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_argument_of_every_call_is_accepted_or_refused_by_name(db, place):
    wrong = []
    tried = 0
    for name, call in place(db):
        good, parameters = arguments_of(name, call)
        for parameter in parameters:
            for what, hostile in HOSTILE.items():
                tried += 1
                try:
                    answer(call, {**good, parameter: hostile})
                except (inmem.InvariantError, inmem.TransactionAbortedError, inmem.StoreFailedError) as error:
                    wrong.append(f"{name}, {what} for {parameter}: {type(error).__name__}: {error}")
                except inmem.InmemError as error:
                    if not str(error).isprintable() or len(str(error)) > 20_000:
                        wrong.append(f"{name}, {what} for {parameter}: an error that cannot be shown")
                except Exception as error:  # noqa: BLE001  (whatever it is, it is listed)
                    wrong.append(f"{name}, {what} for {parameter}: {type(error).__name__}")
        if not db.runs.get_run(RUN):
            db.runs.create_run(RUN)
    assert not wrong, "\n".join(wrong)
    assert tried > 500
    require_alive(db)


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_version_that_none_can_be_is_refused_at_the_call_however_often(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        db.cells.set("r", "c", 1)
        txn = db.begin("r")
        for call in (
            lambda: db.cas("r", "k", HUGE, 1),
            lambda: db.cells.cas("r", "c", HUGE, 1),
            lambda: db.kv.futures.cas("r", "k", 2**63, 1),
            lambda: txn.cas("k", HUGE, 1),
            lambda: txn.kv.cas("k", HUGE, 1),
            lambda: txn.cells.cas("c", HUGE, 1),
            lambda: inmem.messages.CasKey("r", "k", HUGE, 1),
            lambda: inmem.messages.CasCell("r", "c", -1, 1),
        ):
            for _ in range(30):
                with pytest.raises(inmem.UsageError, match="must be an int from 0 to"):
                    call()
        txn.abort()
        assert db.cas("r", "k", 0, 1) == 2
        assert db.cells.cas("r", "c", 1, 2) == 2


def test_a_storm_of_refusals_is_logged_whatever_was_expected(events):
    with inmem.open(":memory:") as db:
        for _ in range(250):
            txn = db.begin("r")
            txn.cas("k", 2**63 - 1, SECRET)
            with pytest.raises(inmem.CasConflictError):
                txn.commit()
        assert db.put("r", "k", 1) == 1
    storms = told(events, "warning", "conflict_storm")
    assert [storm["refused_in_a_row"] for storm in storms] == [100, 100]
    assert all(len(storm["latest"]) == 1 and "'k'" in storm["latest"][0] for storm in storms)


OTHER_KEYS = {
    "no UTF-8": [Key("r", tag, b"\xff") for tag in (Tag.KV, Tag.STATE, Tag.TRACE)],
    "no sequence": [Key("r", Tag.EVENT, b"abc"), Key("r", Tag.EVENT, b""), Key("r", Tag.EVENT, b"\xff" * 8)],
    "too long": [Key("r", tag, b"z" * 2000) for tag in (Tag.KV, Tag.STATE, Tag.TRACE)],
    "more than a run": [Key("r", Tag.RUN, b"zz")],
    "the store's own": [Key("r", tag, b"\xff") for tag in Tag if tag >= 0x10],
    "no run": [Key("", tag, b"abcdefgh") for tag in Tag],
}


@pytest.mark.parametrize("what", OTHER_KEYS)
@pytest.mark.parametrize("operation", ["get", "get_versioned", "put", "delete", "cas", "scan"])
def test_a_key_that_no_entry_can_have_is_refused(db, operation, what):
    arguments = {"put": (1,), "cas": (0, 1)}.get(operation, ())
    with db.begin("r") as txn:
        for key in OTHER_KEYS[what]:
            with pytest.raises(inmem.InvalidKeyError):
                getattr(txn, operation)(key, *arguments)
    require_alive(db)


@pytest.mark.parametrize("result", ["huge", "no repr", "metaclass", "a huge value", "a value of no type"])
def test_what_a_function_returns_is_an_argument_too(db, result):
    made = {
        "huge": HUGE,
        "no repr": NoRepr(),
        "metaclass": MetaclassRaises(),
        "a huge value": (HUGE, 1),
        "a value of no type": (MetaclassRaises(), 1),
    }[result]
    with pytest.raises(inmem.UsageError):
        db.cells.transition(RUN, "c", lambda _: made)
    assert db.cells.read(RUN, "c").version == 1


def test_the_place_of_a_value_of_no_type_is_named(db):
    for value, place in (
        (MetaclassRaises(), "value"),
        ([MetaclassRaises()], "value[0]"),
        ({"a": MetaclassRaises()}, 'value["a"]'),
    ):
        with pytest.raises(inmem.InvalidValueError, match="MetaclassRaises cannot be stored") as caught:
            db.put(RUN, "k", value)
        assert caught.value.path == place
    with pytest.raises(inmem.InvalidValueError, match="dict key must be str, not MetaclassRaisesKey"):
        db.put(RUN, "k", {MetaclassRaisesKey(): 1})


class MetaclassRaisesKey(metaclass=type(MetaclassRaises)):
    """In a dict, so it has to have a hash of its own."""


def test_an_error_that_cannot_show_itself_brings_nobody_else_down(db):
    class UnspeakableError(Exception):
        __repr__ = __str__ = Nothing.__repr__

    def fail(_):
        raise UnspeakableError

    with pytest.raises(UnspeakableError):
        db.transaction(RUN, fail)
    with pytest.raises(UnspeakableError):
        db.cells.transition(RUN, "c", fail)
    require_alive(db)


def test_a_pause_of_any_length_can_be_asked_for(db):
    for policy in (
        inmem.RetryPolicy(base_delay=1e300, max_delay=1e305, jitter=0),
        inmem.RetryPolicy(base_delay=HUGE, max_delay=HUGE, jitter=0),
        inmem.RetryPolicy(max_retries=HUGE, base_delay=0, max_delay=HUGE),
    ):
        assert 0 <= policy.delay_s(5, 0.5) <= 1e9
