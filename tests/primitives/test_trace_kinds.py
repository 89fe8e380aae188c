import math
from dataclasses import MISSING, fields

import pytest

from inmem.engine.errors import InvalidValueError, UsageError
from inmem.primitives.trace_kinds import (
    KINDS,
    Custom,
    Decision,
    ErrorTrace,
    Query,
    Thought,
    ToolCall,
    pack_kind,
    trace_type_of,
    unpack_kind,
)

EXAMPLES = [
    ToolCall("search"),
    ToolCall("search", {"q": "x"}, ["a"], 12.5),
    Decision("which?", ["a", "b"], "a"),
    Decision("which?", [{"a": 1}, None], None, "because"),
    Query("vector", "x"),
    Query("sql", {"select": "*"}, 3),
    Thought("hm"),
    Thought("hm", 0.5),
    ErrorTrace("Timeout", "too slow"),
    ErrorTrace("Timeout", "too slow", True),
    Custom("mine"),
    Custom("mine", b"\x00"),
]


@pytest.mark.parametrize("kind", EXAMPLES, ids=repr)
def test_a_kind_comes_back_equal_and_fresh(kind):
    again = unpack_kind(pack_kind(kind))
    assert again == kind
    assert again is not kind
    assert pack_kind(pack_kind(kind)) == pack_kind(kind)


def test_every_kind_is_among_the_examples():
    assert {type(kind) for kind in EXAMPLES} == set(KINDS.values())


def test_options_are_copied_to_a_list():
    options = ["a"]
    decision = Decision("which?", options, "a")
    options.append("b")
    assert decision == Decision("which?", ("a",), "a")
    assert decision.options == ["a"]


def test_type_names():
    assert list(KINDS) == ["ToolCall", "Decision", "Query", "Thought", "Error", "Custom"]
    assert trace_type_of(ErrorTrace) == trace_type_of("Error") == "Error"


def test_the_nesting_limit_is_that_of_the_field_itself():
    deep = []
    for _ in range(63):
        deep = [deep]
    assert unpack_kind(pack_kind(Custom("deep", deep))).data == deep
    with pytest.raises(InvalidValueError, match=r"^Custom\.data"):
        pack_kind(Custom("deeper", [deep]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ToolCall(1), "ToolCall.tool_name: must be str, not int"),
        (lambda: ToolCall("t", duration_ms="1"), "ToolCall.duration_ms: must be int or float or None, not str"),
        (lambda: ToolCall("t", duration_ms=-1), "ToolCall.duration_ms: must be at least 0, not -1"),
        (lambda: ToolCall("t", duration_ms=math.nan), "ToolCall.duration_ms: must be at least 0, not nan"),
        (lambda: Decision(None, [], 1), "Decision.question: must be str, not NoneType"),
        (lambda: Decision("q", "ab", 1), "Decision.options: must be list or tuple, not str"),
        (lambda: Decision("q", [], 1, 2), "Decision.reasoning: must be str or None, not int"),
        (lambda: Query(b"", "q"), "Query.query_type: must be str, not bytes"),
        (lambda: Query("t", "q", 1.0), "Query.results_count: must be int or None, not float"),
        (lambda: Query("t", "q", True), "Query.results_count: must be int or None, not bool"),
        (lambda: Query("t", "q", -1), "Query.results_count: must be at least 0, not -1"),
        (lambda: Thought(["x"]), "Thought.content: must be str, not list"),
        (lambda: Thought("x", "high"), "Thought.confidence: must be int or float or None, not str"),
        (lambda: ErrorTrace(ValueError, "m"), "ErrorTrace.error_type: must be str, not the class ValueError"),
        (lambda: ErrorTrace("t", ValueError()), "ErrorTrace.message: must be str, not ValueError"),
        (lambda: ErrorTrace("t", "m", 1), "ErrorTrace.recoverable: must be bool, not int"),
        (lambda: Custom(None), "Custom.name: must be str, not NoneType"),
        (lambda: pack_kind(Decision("q", [1, {2}], 1)), "Decision.options[1]: set cannot be stored; store a list"),
    ],
)
def test_a_wrong_field_is_named(make, message):
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert str(caught.value) == message


TEXTS = [(kind, field.name) for kind in KINDS.values() for field in fields(kind) if field.type in {"str", "str | None"}]
NUMBERS = [(ToolCall, "duration_ms"), (Query, "results_count"), (Thought, "confidence")]


def made_with(kind, name, value):
    """Return a kind with this in one field, and something acceptable in those that need it."""
    needed = {
        field.name: [] if field.name == "options" else "é🚢" for field in fields(kind) if field.default is MISSING
    }
    return kind(**(needed | {name: value}))


def test_every_text_is_among_those_that_are_tried():
    assert len(TEXTS) == 8
    assert {kind for kind, _ in TEXTS} == set(KINDS.values())


@pytest.mark.parametrize(("kind", "name"), TEXTS)
def test_a_text_that_cannot_be_stored_is_refused_when_the_kind_is_made(kind, name):
    with pytest.raises(InvalidValueError, match=rf"^{kind.__name__}\.{name}: str has a lone surrogate$"):
        made_with(kind, name, "é\ud800")
    assert getattr(unpack_kind(pack_kind(made_with(kind, name, "é🚢"))), name) == "é🚢"


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_a_number_that_cannot_be_stored_is_refused_when_the_kind_is_made(kind, name):
    with pytest.raises(InvalidValueError, match=rf"^{kind.__name__}\.{name}: int does not fit in 64 bits$"):
        made_with(kind, name, 2**63)
    assert getattr(unpack_kind(pack_kind(made_with(kind, name, 2**63 - 1))), name) == 2**63 - 1


@pytest.mark.parametrize("kind", [None, "Thought", Thought, object()])
def test_what_is_no_kind_is_refused(kind):
    with pytest.raises(
        UsageError, match=r"^kind: must be one of ToolCall, Decision, Query, Thought, ErrorTrace, Custom"
    ):
        pack_kind(kind)
