"""Results are structs to the store, and dataclasses to those who read them."""

import copy
import pickle
import pprint
import subprocess
import sys
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from pathlib import Path

import msgspec
import pytest
from rich.pretty import pretty_repr

import inmem
from inmem import Change, ChangeKind, Event, RunMetadata, RunStatus, State, Thought, ToolCall, Trace, VersionedValue

ROOT = Path(__file__).resolve().parents[2]

RESULTS = [
    Event(3, "tool_call", {"q": [1]}, 5, b"\x01" * 32, b"\x02" * 32),
    State([1], 2, 3),
    VersionedValue({"a": 1}, 2, None),
    Trace("id", None, "ToolCall", 7, ("tag",), {"m": 1}, ToolCall("search", {"q": 1})),
    RunMetadata("run", None, RunStatus.ACTIVE, 1, 2, None, ("tag",), {}, None),
    Change(4, "run", "kv", "key", ChangeKind.PUT, 9, is_last=True, data=b"\x01"),
    ToolCall("search", {"q": 1}, [2], 1.5),
]
IDS = [type(result).__name__ for result in RESULTS]
each = pytest.mark.parametrize("result", RESULTS, ids=IDS)


@each
def test_the_functions_of_dataclasses_accept_a_result(result):
    kind = type(result)
    names = [field.name for field in fields(result)]
    assert is_dataclass(result)
    assert "__dataclass_fields__" in vars(kind), "orjson looks for it there"
    assert names == [field.name for field in fields(kind)] == [*typing.get_type_hints(kind)][-len(names) :]
    assert [*asdict(result)] == names == [*kind.__match_args__]
    assert replace(result) == result
    assert replace(result) is not result
    changed = replace(result, **{names[-2]: getattr(result, names[-2])})
    assert changed == result


def test_asdict_includes_what_a_trace_holds():
    [trace] = [result for result in RESULTS if type(result) is Trace]
    kind = {"tool_name": "search", "arguments": {"q": 1}, "result": None, "duration_ms": None}
    assert asdict(trace) == {
        "id": "id",
        "parent_id": None,
        "trace_type": "ToolCall",
        "timestamp": 7,
        "tags": ("tag",),
        "metadata": {"m": 1},
        "kind": kind,
    }


def test_a_default_is_a_default_of_the_field_too():
    defaults = {field.name: field.default for field in fields(ToolCall)}
    assert [*defaults.values()][1:] == [None, None, None]
    assert defaults["tool_name"] is not None


@each
def test_a_result_cannot_be_changed(result):
    for field in fields(result):
        with pytest.raises(AttributeError, match="immutable type"):
            setattr(result, field.name, None)
        with pytest.raises(AttributeError):
            delattr(result, field.name)
    with pytest.raises(AttributeError):
        result.other = 1


@each
def test_pprint_shows_a_result_that_does_not_fit_on_a_line(result):
    assert pprint.pformat([result], width=10) == f"[{result!r}]"


def test_pytest_explains_how_results_differ(tmp_path):
    """It shows them with a pprint of its own, which relies on what dataclasses have."""
    test = tmp_path / "test_own.py"
    test.write_text("""
import inmem

def test_that_fails():
    seen = inmem.State({"phase": "asked the harbour master for a berth"}, 1, 1_700_000_000_000_000)
    assert [seen, 1] == [seen, 2]
""")
    program = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test)]
    printed = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "At index 1 diff: 1 != 2" in printed
    assert "State(value={'phase': 'asked the harbour master for a berth'}, version=1" in printed
    assert "representation of details failed" not in printed


@each
def test_a_result_survives_pickling_and_copying(result):
    for twin in (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result)):
        assert twin == result
        assert repr(twin) == repr(result)


def test_results_of_different_types_differ_though_their_fields_agree():
    assert State(1, 2, 3) != VersionedValue(1, 2, 3)
    assert Thought("x") != inmem.Custom("x")
    assert hash(State(1, 2, 3)) == hash(State(1, 2, 3))


def test_neither_repr_nor_rich_shows_the_stored_form_of_a_change():
    [change] = [result for result in RESULTS if type(result) is Change]
    expected = (
        "Change(version=4, run='run', primitive='kv', key='key', kind=<ChangeKind.PUT: 'put'>, timestamp=9, "
        "expires_at=None, is_last=True)"
    )
    assert repr(change) == expected
    assert pretty_repr(change, max_width=200) == expected


def test_rich_shows_hashes_as_short_as_repr_does():
    [event] = [result for result in RESULTS if type(result) is Event]
    assert "prev_hash=01010101…, hash=02020202…" in repr(event)
    assert "prev_hash='01010101…', hash='02020202…'" in pretty_repr(event, max_width=200).replace("\n", "")


class Placed(Event):
    """What a user may add to a result."""

    at: str = "nowhere"
    notes: list[str] = msgspec.field(default_factory=list)


class Signed(Placed, kw_only=True):
    by: str


@pytest.mark.parametrize(
    ("kind", "own"), [(Placed, {}), (Placed, {"at": "home", "notes": ["a"]}), (Signed, {"by": "me"})]
)
def test_a_subclass_of_a_result_is_a_dataclass_too(kind, own):
    [event] = [result for result in RESULTS if type(result) is Event]
    placed = kind(*msgspec.structs.astuple(event), **own)
    assert is_dataclass(placed)
    assert [field.name for field in fields(placed)] == [*placed.__struct_fields__]
    expected = {**asdict(event), "at": "nowhere", "notes": [], **own}
    assert asdict(placed) == expected
    assert replace(placed, at="there", sequence=7) == kind(**{**expected, "at": "there", "sequence": 7})
    assert {
        field.name for field in fields(placed) if field.default is MISSING and field.default_factory is MISSING
    } == {
        *(field.name for field in fields(event)),
        *(["by"] if kind is Signed else []),
    }
