"""Showing arguments and exceptions in error messages: briefly, on one line, whatever the object's own repr does.

An argument has no known type until it has been checked, and building the message that refuses it must not fail: an int
of more than 4300 digits cannot be converted to text, and an object's repr is foreign code.
"""

from __future__ import annotations

from reprlib import Repr
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENT_CHARS_MAX: Final = 80
"""Enough to recognize an argument without showing all of it."""

INT_BITS_MAX: Final = 128
"""The store has no larger ints. Converting one to text takes quadratic time, and Python refuses beyond 4300 digits."""

FAILURE_CHARS_MAX: Final = 1_000
"""Longer than for arguments: an exception says what went wrong, and may quote something long."""

# Returns the real `__name__` of a class, which a metaclass cannot override.
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
    """Return the argument as text for a message, in at most ARGUMENT_CHARS_MAX characters. Never raises."""
    return _printable(argument, _argument_repr.repr, ARGUMENT_CHARS_MAX)


def shown_failure(error: BaseException | None) -> str:
    """Return the repr of an exception, with its file name, in at most FAILURE_CHARS_MAX characters. Never raises."""
    return _printable(error, _with_file, FAILURE_CHARS_MAX)


def type_name(argument: object) -> str:
    """Return the name of the argument's type, or which class it is, if it is one. See `class_name`."""
    kind: Any = type(argument)
    if issubclass(kind, type):
        of_argument: Any = argument
        return f"the class {class_name(of_argument)}"
    return class_name(kind)


def class_name(kind: type[Any]) -> str:
    """Return the real name of a type, whatever its metaclass says, in at most ARGUMENT_CHARS_MAX characters."""
    return _cut(_name_of(kind), ARGUMENT_CHARS_MAX)


def _with_file(error: object) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        # Python's own repr omits the file name.
        return f"{class_name(type(error))}({error.errno}, {error.strerror!r}, {error.filename!r})"
    return repr(error)


def _printable(part: object, represent: Callable[[object], str], chars_max: int) -> str:
    try:
        return _cut(represent(part), chars_max)
    except Exception:  # noqa: BLE001  (whatever the object's own code raises)
        return f"an object of type {type_name(part)}"


def _cut(text: str, chars_max: int) -> str:
    # `text` may be an instance of a str subclass with methods of its own.
    plain = _shortened(str.__str__(text), chars_max)
    if plain.isprintable():
        return plain
    # Escape line breaks, and lone surrogates, which cannot be printed at all.
    return _shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in plain), chars_max)


def _shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
