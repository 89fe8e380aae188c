"""The checks that a request applies to its arguments; request.py says why.

Each check takes the caller's argument and returns the field of the message: immutable, and valid enough that executing
the request either succeeds or is refused. The rules are those of the primitives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

from inmem.engine.codec import Encoded, encode_value
from inmem.engine.errors import UsageError
from inmem.engine.keys import sequence_of, user_key
from inmem.engine.limits import VALUE_BYTES_MAX
from inmem.engine.shown import type_name
from inmem.primitives.arguments import checked_version, several
from inmem.primitives.change import tag_of
from inmem.primitives.events import bounded_event_key, encoded_events
from inmem.primitives.index_key import time_bound
from inmem.primitives.kv import deadline_us
from inmem.primitives.labels import checked_error, encoded_metadata, encoded_new_metadata
from inmem.primitives.paging import at_most
from inmem.primitives.trace_kinds import pack_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem.primitives.trace_kinds import Kind, PackedKind

Check: TypeAlias = "Callable[[Any], Any]"


class _Accepted:
    """The largest value that any store in this process accepts.

    A request is constructed before it is known which store will receive it, so only a value that is too large for all
    of them is refused at once. A store with a smaller limit refuses the value when it executes the request.
    """

    value_bytes_max = VALUE_BYTES_MAX


_accepted = _Accepted()


def accept_values_up_to(bytes_max: int) -> None:
    """Let requests hold values of up to `bytes_max` bytes. Called when a store that accepts them is opened."""
    _accepted.value_bytes_max = max(_accepted.value_bytes_max, bytes_max)


def optional(check: Check) -> Check:
    """Return a check that passes None through and applies `check` to everything else."""

    def checked(argument: Any) -> Any:
        return None if argument is None else check(argument)

    return checked


def name(where: str) -> Check:
    """Return a check that its argument is a valid key or name; `where` names the argument in errors."""

    def checked(argument: str) -> str:
        user_key(argument, where=where)
        return argument

    return checked


def value(where: str = "value") -> Check:
    """Return a check that encodes a value; `where` names the argument in errors."""

    def encoded(argument: object) -> Encoded:
        return Encoded(encode_value(argument, where, _accepted.value_bytes_max))

    return encoded


def time_us(where: str) -> Check:
    """Return a check of a time in microseconds since the epoch; `where` names the argument in errors."""

    def checked(argument: int) -> int:
        time_bound(argument, where)
        return argument

    return checked


def metadata(argument: object) -> Encoded:
    """Return the metadata dict, encoded."""
    return Encoded(encoded_metadata(argument, _accepted.value_bytes_max))


def new_metadata(argument: object) -> Encoded:
    """Return the metadata of a new trace or run, encoded; None means an empty dict."""
    return Encoded(encoded_new_metadata(argument, _accepted.value_bytes_max))


def kind(argument: Kind) -> PackedKind:
    """Return the kind of a trace with its fields encoded."""
    return pack_kind(argument, _accepted.value_bytes_max)


def error(argument: str) -> str:
    """Return the reason why a run failed, checked."""
    return checked_error(argument, _accepted.value_bytes_max)


def keys(argument: Iterable[str]) -> tuple[str, ...]:
    """Return the keys as a tuple, each checked."""
    return tuple(map(name("key"), several("keys", argument)))


def limit(argument: int | None) -> int | None:
    """Return the maximum number of results, checked; None means all."""
    at_most((), argument)
    return argument


def ttl_s(argument: float | None) -> float | None:
    """Return a time to live in seconds, checked. The deadline may still prove out of range at execution."""
    deadline_us(0, argument)
    return argument


def sequence(argument: int) -> int:
    """Return the sequence of an event, checked and capped at the highest possible sequence."""
    return sequence_of(bounded_event_key(argument))


def events(argument: Iterable[tuple[str, object]]) -> tuple[tuple[str, Encoded], ...]:
    """Return the (type, payload) pairs with the payloads encoded."""
    return tuple([(kind, Encoded(payload)) for kind, payload in encoded_events(argument, _accepted.value_bytes_max)])


def actor_ref(argument: pykka.ActorRef[Any]) -> pykka.ActorRef[Any]:
    """Return the ref of an actor, checked."""
    if not issubclass(type(argument), pykka.ActorRef):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"ref: must be a pykka.ActorRef, not {type_name(argument)}")
    return argument


def primitive(argument: str | None) -> str | None:
    """Return the name of a primitive, checked, or None."""
    tag_of(argument)
    return argument


def expected(argument: int) -> int:
    """Return the version that a compare-and-swap on a cell expects, checked."""
    return checked_version(argument, "expected")


def version(argument: int) -> int:
    """Return a version of the database, checked."""
    return checked_version(argument, "after_version")
