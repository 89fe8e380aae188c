"""The checks that requests put their arguments through; see request.py for why.

Each takes an argument as the caller gave it and returns what the message holds: immutable, and such that carrying the
request out can only succeed or be refused. The rules are those of the primitives.
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
from inmem.primitives.labels import encoded_metadata, encoded_new_metadata
from inmem.primitives.paging import at_most
from inmem.primitives.runs import checked_error
from inmem.primitives.trace_kinds import pack_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem.primitives.trace_kinds import Kind, PackedKind

Check: TypeAlias = "Callable[[Any], Any]"


class _Accepted:
    """A request is made before it is known whose it will be: what no store of this process takes is refused at once.

    A store with a smaller limit refuses the rest when the request is carried out.
    """

    value_bytes_max = VALUE_BYTES_MAX


_accepted = _Accepted()


def accept_values_up_to(bytes_max: int) -> None:
    """Let requests hold values of that size: a store has been opened that takes them."""
    _accepted.value_bytes_max = max(_accepted.value_bytes_max, bytes_max)


def optional(check: Check) -> Check:
    """Return a check that lets None pass and puts everything else through `check`."""

    def checked(argument: Any) -> Any:
        return None if argument is None else check(argument)

    return checked


def name(where: str) -> Check:
    """Return the check of a str that is, or could be, a key; the caller calls it `where`."""

    def checked(argument: str) -> str:
        user_key(argument, where=where)
        return argument

    return checked


def value(where: str = "value") -> Check:
    """Return the check that encodes a value; the caller calls it `where`."""

    def encoded(argument: object) -> Encoded:
        return Encoded(encode_value(argument, where, _accepted.value_bytes_max))

    return encoded


def time_us(where: str) -> Check:
    """Return the check of a time in microseconds since the epoch."""

    def checked(argument: int) -> int:
        time_bound(argument, where)
        return argument

    return checked


def metadata(argument: object) -> Encoded:
    """Return a metadata dict encoded."""
    return Encoded(encoded_metadata(argument, _accepted.value_bytes_max))


def new_metadata(argument: object) -> Encoded:
    """Return the metadata dict of something new encoded; None stands for an empty one."""
    return Encoded(encoded_new_metadata(argument, _accepted.value_bytes_max))


def kind(argument: Kind) -> PackedKind:
    """Return what a trace records, with its fields encoded."""
    return pack_kind(argument, _accepted.value_bytes_max)


def error(argument: str) -> str:
    """Return the reason for which a run failed."""
    return checked_error(argument, _accepted.value_bytes_max)


def keys(argument: Iterable[str]) -> tuple[str, ...]:
    """Return several keys."""
    return tuple(map(name("key"), several("keys", argument)))


def limit(argument: int | None) -> int | None:
    """Return the greatest number of results wanted."""
    at_most((), argument)
    return argument


def ttl_s(argument: float | None) -> float | None:
    """Return a time to live in seconds. A deadline out of reach shows only when the request is carried out."""
    deadline_us(0, argument)
    return argument


def sequence(argument: int) -> int:
    """Return the sequence of an event, or the last that there could ever be if it is beyond that."""
    return sequence_of(bounded_event_key(argument))


def events(argument: Iterable[tuple[str, object]]) -> tuple[tuple[str, Encoded], ...]:
    """Return (type, payload) pairs with the payloads encoded."""
    return tuple([(kind, Encoded(payload)) for kind, payload in encoded_events(argument, _accepted.value_bytes_max)])


def actor_ref(argument: pykka.ActorRef[Any]) -> pykka.ActorRef[Any]:
    """Return the ref of an actor."""
    if not issubclass(type(argument), pykka.ActorRef):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"ref: must be a pykka.ActorRef, not {type_name(argument)}")
    return argument


def primitive(argument: str | None) -> str | None:
    """Return the name of a primitive, or None."""
    tag_of(argument)
    return argument


def expected(argument: int) -> int:
    """Return the version that a compare-and-swap on a cell expects."""
    return checked_version(argument, "expected")


def version(argument: int) -> int:
    """Return a version of the database."""
    return checked_version(argument, "after_version")
