"""What an error message shows of an argument or a failure: little, on one line, whatever the object's own repr does.

An argument is of no known type before it has been checked, and a message that says why it was refused must not fail
over it: an int of more than 4300 digits cannot be written out, and an object's repr is somebody else's code.
"""

from __future__ import annotations

from reprlib import Repr
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENT_CHARS_MAX: Final = 80
"""Enough to recognize what was passed; a message is no place for all of it."""

INT_BITS_MAX: Final = 128
"""Larger ints are none of the store's. To write one out takes quadratic time, and Python refuses beyond 4300 digits."""

FAILURE_CHARS_MAX: Final = 1_000
"""An exception says what went wrong, and its text may quote something long."""

# What `kind.__name__` is without a metaclass that has a say in it.
_name_of: Final[Callable[[type[Any]], str]] = vars(type)["__name__"].__get__


class _ArgumentRepr(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = ARGUMENT_CHARS_MAX

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002  (as reprlib calls it)
        return repr(x) if x.bit_length() <= INT_BITS_MAX else f"an int of {x.bit_length()} bits"


_argument_repr: Final = _ArgumentRepr()


def shown(argument: object) -> str:
    """Return the argument as a message may show it, in at most ARGUMENT_CHARS_MAX characters. Never raises."""
    return _printable(argument, _argument_repr.repr, ARGUMENT_CHARS_MAX)


def shown_failure(error: BaseException | None) -> str:
    """Return the repr of an exception, and its file, in at most FAILURE_CHARS_MAX characters. Never raises."""
    return _printable(error, _with_file, FAILURE_CHARS_MAX)


def type_name(argument: object) -> str:
    """Return the name of the argument's type. See `class_name`."""
    return class_name(type(argument))


def class_name(kind: type[Any]) -> str:
    """Return the name of a type, in at most ARGUMENT_CHARS_MAX characters, whatever its metaclass says of it."""
    return _cut(_name_of(kind), ARGUMENT_CHARS_MAX)


def _with_file(error: object) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        # Python's own repr leaves it out.
        return f"{class_name(type(error))}({error.errno}, {error.strerror!r}, {error.filename!r})"
    return repr(error)


def _printable(part: object, represent: Callable[[object], str], chars_max: int) -> str:
    try:
        return _cut(represent(part), chars_max)
    except Exception:  # noqa: BLE001  (whatever the object's own code raises)
        return f"an object of type {type_name(part)}"


def _cut(text: str, chars_max: int) -> str:
    # What calls itself a str may be a subclass of it, with methods of its own.
    plain = _shortened(str.__str__(text), chars_max)
    if plain.isprintable():
        return plain
    # Line breaks; and lone surrogates, which cannot be printed at all.
    return _shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in plain), chars_max)


def _shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
