"""Stored bytes are data: whatever they say, nothing is imported or called that was not allowed beforehand."""

import enum
import inspect
import sys
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

import inmem

pytest.importorskip("langgraph.checkpoint", reason="the extra langgraph is not installed")

import ormsgpack
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Send
from pydantic import BaseModel

from inmem.integrations.langgraph import InmemSaver, StrictSerializer

CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
OPTION = ormsgpack.OPT_NON_STR_KEYS


def extension(code, *content):
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(content, option=OPTION)), option=OPTION)


def hostile(target, marker):
    """Return encodings that, read by a serializer that trusts them, import a module or touch a file."""
    touch = f"touch {marker}"
    lc2 = f'{{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["{touch}"]}}'
    lc1 = f'{{"lc": 1, "type": "constructor", "id": ["{target}", "Thing"], "kwargs": {{}}}}'
    return {
        "one argument": ("msgpack", extension(0, "os", "system", touch)),
        "import only": ("msgpack", extension(0, target, "Thing", 1)),
        "positional arguments": ("msgpack", extension(1, "os", "system", (touch,))),
        "keyword arguments": ("msgpack", extension(2, "os", "system", {"command": touch})),
        "method": ("msgpack", extension(3, "os", "path", touch, "system")),
        "method of a safe type": ("msgpack", extension(3, "pathlib", "Path", str(marker), "touch")),
        "pydantic 1": ("msgpack", extension(4, "os", "system", {"command": touch})),
        "pydantic 2": ("msgpack", extension(5, target, "Thing", {}, "model_validate_json")),
        "nested": ("msgpack", extension(7, [ormsgpack.Ext(0, ormsgpack.packb(("os", "system", touch)))])),
        "inside a safe type": (
            "msgpack",
            extension(0, "builtins", "set", [ormsgpack.Ext(0, ormsgpack.packb(("os", "system", touch)))]),
        ),
        "pickle": ("pickle", f"cos\nsystem\n(S'{touch}'\ntR.".encode()),
        "json 2": ("json", lc2.encode()),
        "json 1": ("json", lc1.encode()),
        "unknown": ("yaml", b"!!python/object/apply:os.system [1]"),
    }


NAMES = list(hostile("x", "y"))


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that must never be imported, and the name of a file that must never be."""
    (tmp_path / "trapped_module.py").write_text("class Thing:\n    def __init__(self, *args, **kwargs): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "trapped_module", tmp_path / "touched"
    sys.modules.pop("trapped_module", None)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_bytes_in_a_channel_call_nothing(trap, name):
    target, marker = trap
    encoded = hostile(target, marker)[name]
    with inmem.open(":memory:") as db:
        saver = InmemSaver(db)
        checkpoint = {**empty_checkpoint(), "channel_values": {"a": "good"}, "channel_versions": {"a": 1}}
        config = saver.put(CONFIG, checkpoint, {}, {"a": 1})
        [key] = db.kv.list("t", "langgraph/b/")
        db.put("t", key, list(encoded))

        if encoded[0] == "msgpack":
            assert type(saver.get_tuple(config).checkpoint["channel_values"]["a"]).__module__ in {
                "builtins",
                "langgraph.checkpoint.serde.types",
            }
        else:
            with pytest.raises(inmem.InvalidValueError, match="never read"):
                saver.get_tuple(config)
    assert target not in sys.modules
    assert not marker.exists()


def test_the_trap_works(trap):
    """The same bytes do harm when they are read as LangGraph reads them by default."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    target, marker = trap
    trusting = JsonPlusSerializer(pickle_fallback=True, allowed_msgpack_modules=True)
    trusting.loads_typed(hostile(target, marker)["import only"])
    assert target in sys.modules
    trusting.loads_typed(hostile(target, marker)["pickle"])
    assert marker.exists()


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int


class Model(BaseModel):
    n: int


class Stamp(datetime):
    pass


class Place(enum.Enum):
    OSLO = (59, 10)


@dataclass
class Counted:
    name: str
    count: int = field(init=False, default=0)


SAFE = [
    None,
    True,
    1,
    1.5,
    "é",
    b"\x00",
    bytearray(b"x"),
    [1, [2]],
    {"a": {1: 2}},
    {1, 2},
    Decimal("1.50"),
    UUID(int=7),
    date(2026, 1, 2),
    datetime(2026, 1, 2, tzinfo=UTC),
    timedelta(seconds=3),
    Path("a/b"),
    HumanMessage("hi", id="1"),
    AIMessage("", tool_calls=[{"name": "t", "args": {"a": [1]}, "id": "1", "type": "tool_call"}]),
    ToolMessage("done", tool_call_id="1"),
    Send("node", {"a": 1}),
]


@pytest.mark.parametrize("value", SAFE, ids=lambda value: type(value).__name__)
def test_what_langgraph_counts_as_safe_comes_back_as_it_was(value):
    serde = StrictSerializer()
    read = serde.loads_typed(serde.dumps_typed(value))
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("value", [Colour.RED, Point(1), Model(n=1), Stamp(2026, 1, 1)], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [{"deep": (v,)}], lambda v: Send("n", v)])
def test_a_type_of_the_applications_own_is_refused_unless_it_was_named(value, wrap):
    with pytest.raises(inmem.InvalidValueError, match=f"{type(value).__name__} would not be read back as itself"):
        StrictSerializer().dumps_typed(wrap(value))
    if isinstance(value, Stamp):
        return  # Rebuilt by a method, and methods cannot be named.
    serde = StrictSerializer([type(value)])
    assert serde.loads_typed(serde.dumps_typed([value])) == [value]


@pytest.mark.parametrize(
    "value",
    [Place.OSLO, Counted("a"), {("a", 1)}, frozenset({(1, 2)}), {frozenset({(1, 2)})}],
    ids=["enumeration of a tuple", "field without init", "set of tuples", "frozenset of tuples", "nested"],
)
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [{"deep": (v,)}], lambda v: Send("n", v), lambda v: deque([v])]
)
def test_what_cannot_be_built_again_is_refused_although_its_class_is_known(value, wrap):
    """LangGraph gives back what it consists of: a list, or a dict."""
    with pytest.raises(inmem.InvalidValueError, match="would not be read back as itself: what it consists of"):
        StrictSerializer([Place, Counted]).dumps_typed(wrap(value))


@pytest.mark.parametrize(
    "value",
    ["a\ud800b", {"\ud800": 1}, [{1: ("\udfff",)}], Send("n", {"x": "\ud800"}), {"\ud800"}, HumanMessage("\ud800")],
    ids=["text", "key", "nested", "part", "set", "message"],
)
def test_lone_surrogates_are_refused_as_everywhere(value):
    """LangGraph stores a question mark instead."""
    with pytest.raises(inmem.InvalidValueError, match="has a lone surrogate"):
        StrictSerializer().dumps_typed(value)


def test_what_has_no_encoding_is_a_type_error_still():
    with pytest.raises(TypeError, match="not msgpack serializable: object"):
        StrictSerializer().dumps_typed({"a": object(), "b": "\ud800"})


def test_arrays_come_back_whole_or_are_refused():
    """Of objects None came back, and of records the bytes."""
    numpy = pytest.importorskip("numpy")
    serde = StrictSerializer()
    for array in (
        numpy.arange(6).reshape(2, 3),
        numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        numpy.zeros((2, 0)),
        numpy.array(["ab", "c"]),
        numpy.array(5.5),
    ):
        read = serde.loads_typed(serde.dumps_typed([array]))[0]
        assert (read.dtype, read.shape, read.tolist()) == (array.dtype, array.shape, array.tolist())
    for array in (
        numpy.array([{"a": 1}, None], dtype=object),
        numpy.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ):
        with pytest.raises(inmem.InvalidValueError, match=r"a numpy array of the dtype .* would not be read back"):
            serde.dumps_typed({"rows": array})


def test_what_is_no_object_to_langgraph_comes_back_as_plain_data():
    """As the documentation says; a version of LangGraph that keeps more of it is welcome."""
    value = [ValueError("x"), {date(2026, 1, 2): 1, Colour.RED: 2}, deque([1], maxlen=2), (1,)]
    serde = StrictSerializer()
    read = serde.loads_typed(serde.dumps_typed(value))
    assert read == ["ValueError('x')", {"2026-01-02": 1, "red": 2}, deque([1]), [1]]
    assert read[2].maxlen is None


def test_a_class_that_would_not_be_found_again_cannot_be_named():
    class Local(BaseModel):
        pass

    with pytest.raises(inmem.UsageError, match="has no Local at its top level"):
        StrictSerializer([Local])


def test_langgraph_may_add_to_the_types():
    """What `compile` does with a saver when LANGGRAPH_STRICT_MSGPACK is set."""
    with inmem.open(":memory:") as db:
        saver = InmemSaver(db, allowed_types=[Colour]).with_allowlist({(Point.__module__, "Point")})
        value = [Colour.RED, Point(1)]
        assert isinstance(saver, InmemSaver)
        assert saver.serde.loads_typed(saver.serde.dumps_typed(value)) == value
        with pytest.raises(inmem.InvalidValueError, match="Model"):
            saver.serde.dumps_typed(Model(n=1))


def test_the_private_parts_of_langgraph_that_are_built_upon_are_as_they_were():
    """Its function is built again with ours in the place of the one that it calls: so it must call it by that name."""
    function = jsonplus._msgpack_default
    assert "_msgpack_enc" in function.__code__.co_names
    assert callable(jsonplus._msgpack_enc)
    # Only the code and the globals are taken over.
    assert (function.__code__.co_freevars, function.__defaults__, function.__kwdefaults__) == ((), None, None)
    assert inspect.signature(function).parameters.keys() == {"obj"}
    assert isinstance(jsonplus._option, int)
