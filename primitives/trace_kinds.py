"""The six kinds of trace: what a step of an agent can be.

Fields for user values accept anything storable and are checked when the trace is recorded. All other fields are checked
when the kind is constructed. Errors name the field.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from inmem.engine.codec import Encoded, decode_value, encode_value
from inmem.engine.errors import InvalidValueError, UsageError
from inmem.engine.limits import INT_MAX, INT_MIN, VALUE_BYTES_MAX
from inmem.engine.shown import shown, type_name
from inmem.engine.value_copy import INT_REASON
from inmem.primitives.arguments import one_of
from inmem.primitives.result import Result

_TEXT: Final = (str,)
_OPTIONAL_TEXT: Final = (str, type(None))
_OPTIONAL_NUMBER: Final = (int, float, type(None))
_OPTIONAL_COUNT: Final = (int, type(None))
_FLAG: Final = (bool,)


class ToolCall(Result, frozen=True):
    """A tool was called.

    Attributes:
        trace_type: "ToolCall".
        tool_name: the tool's name.
        arguments: any value.
        result: any value.
        duration_ms: milliseconds, or None.
    """

    trace_type: ClassVar[str] = "ToolCall"

    tool_name: str
    arguments: Any = None
    result: Any = None
    duration_ms: float | None = None

    def __post_init__(self) -> None:
        _check(self, "tool_name", _TEXT)
        _check(self, "duration_ms", _OPTIONAL_NUMBER)
        _check_not_negative(self, "duration_ms")


class Decision(Result, frozen=True):
    """One of several options was chosen.

    Attributes:
        trace_type: "Decision".
        question: what was to be decided.
        options: any values, kept as a list.
        chosen: any value.
        reasoning: why, or None.
    """

    trace_type: ClassVar[str] = "Decision"

    question: str
    options: list[Any] | tuple[Any, ...]
    chosen: Any
    reasoning: str | None = None

    def __post_init__(self) -> None:
        _check(self, "question", _TEXT)
        _check(self, "options", (list, tuple))
        force_setattr(self, "options", [*self.options])
        _check(self, "reasoning", _OPTIONAL_TEXT)


class Query(Result, frozen=True):
    """Something was looked up.

    Attributes:
        trace_type: "Query".
        query_type: where or how it was looked up.
        query: any value.
        results_count: number of results, or None.
    """

    trace_type: ClassVar[str] = "Query"

    query_type: str
    query: Any
    results_count: int | None = None

    def __post_init__(self) -> None:
        _check(self, "query_type", _TEXT)
        _check(self, "results_count", _OPTIONAL_COUNT)
        _check_not_negative(self, "results_count")


class Thought(Result, frozen=True):
    """The agent thought.

    Attributes:
        trace_type: "Thought".
        content: what it thought.
        confidence: on any scale the agent uses, or None.
    """

    trace_type: ClassVar[str] = "Thought"

    content: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        _check(self, "content", _TEXT)
        _check(self, "confidence", _OPTIONAL_NUMBER)


class ErrorTrace(Result, frozen=True):
    """Something went wrong.

    Attributes:
        trace_type: "Error", unlike the name of this class.
        error_type: for example the exception's name.
        message: what happened.
        recoverable: whether the agent could go on.
    """

    trace_type: ClassVar[str] = "Error"

    error_type: str
    message: str
    recoverable: bool = False

    def __post_init__(self) -> None:
        _check(self, "error_type", _TEXT)
        _check(self, "message", _TEXT)
        _check(self, "recoverable", _FLAG)


class Custom(Result, frozen=True):
    """Anything else.

    Attributes:
        trace_type: "Custom", whatever `name` is.
        name: chosen by the user.
        data: any value.
    """

    trace_type: ClassVar[str] = "Custom"

    name: str
    data: Any = None

    def __post_init__(self) -> None:
        _check(self, "name", _TEXT)


Kind: TypeAlias = ToolCall | Decision | Query | Thought | ErrorTrace | Custom

KINDS: Final[dict[str, type[Kind]]] = {
    kind.trace_type: kind for kind in (ToolCall, Decision, Query, Thought, ErrorTrace, Custom)
}
"""The kinds by their trace type."""

_FIELDS: Final = {
    kind: tuple((name, f"{kind.__name__}.{name}") for name in kind.__struct_fields__) for kind in KINDS.values()
}
_METACLASS: Final[type[Any]] = type(Result)


class PackedKind(Struct, frozen=True):
    """A kind with its fields already encoded, accepted wherever a kind is. Immutable, so it can be in a message."""

    trace_type: str
    fields: tuple[bytes, ...]


def pack_kind(kind: Kind | PackedKind, bytes_max: int = VALUE_BYTES_MAX) -> PackedKind:
    """Return the kind with every field encoded, each in at most `bytes_max` bytes. O(encoded size).

    Raises:
        InvalidValueError: a field cannot be stored; the error names it, as in ``ToolCall.arguments["x"]``.
        UsageError: `kind` is not one of the six kinds.
    """
    if type(kind) is PackedKind:
        for (_, where), data in zip(_FIELDS[KINDS[kind.trace_type]], kind.fields, strict=True):
            encode_value(Encoded(data), where, bytes_max)
        return kind
    given: type[Any] = type(kind)
    # A class with another metaclass is not one of the kinds, and may not even be hashable.
    names = _FIELDS.get(given) if type(given) is _METACLASS else None
    if names is None:
        raise UsageError(f"kind: must be one of {_names_of_classes()}, not {type_name(kind)}")
    return PackedKind(
        kind.trace_type, tuple([encode_value(getattr(kind, name), where, bytes_max) for name, where in names])
    )


def unpack_kind(packed: PackedKind) -> Kind:
    """Return a fresh kind decoded from the result of `pack_kind`."""
    return KINDS[packed.trace_type](*[decode_value(field) for field in packed.fields])  # type: ignore[arg-type]


def trace_type_of(kind: str | type[Kind]) -> str:
    """Return the trace type given by name or class.

    Raises:
        UsageError: `kind` is not a kind of trace.
    """
    if type(kind) is _METACLASS and kind in _FIELDS:
        return kind.trace_type
    return one_of("trace type", kind, KINDS, also=", or its class")


def _names_of_classes() -> str:
    return ", ".join(kind.__name__ for kind in KINDS.values())


def _check(kind: Kind, name: str, allowed: tuple[type, ...]) -> None:
    value: object = getattr(kind, name)
    given = type(value)
    for each in allowed:
        if given is each:
            break
    else:
        wanted = " or ".join("None" if each is type(None) else each.__name__ for each in allowed)
        raise InvalidValueError(f"{type(kind).__name__}.{name}", f"must be {wanted}, not {type_name(value)}")
    # What would be refused when it is recorded is refused now, while it is known where it comes from.
    if isinstance(value, str):
        if not value.isascii():
            _check_encoding(kind, name, value)
    elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise InvalidValueError(f"{type(kind).__name__}.{name}", INT_REASON)


def _check_encoding(kind: Kind, name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"{type(kind).__name__}.{name}", "str has a lone surrogate") from None


def _check_not_negative(kind: ToolCall | Query, name: str) -> None:
    value = getattr(kind, name)
    # `not value >= 0` also refuses NaN.
    if value is not None and not value >= 0:
        raise InvalidValueError(f"{type(kind).__name__}.{name}", f"must be at least 0, not {shown(value)}")
