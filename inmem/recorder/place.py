"""Places in a transcript file, and the checks and errors that refer to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from inmem import InmemError, InvalidValueError
from inmem.engine.codec import encode_value
from inmem.engine.limits import INT_MAX, INT_MIN

T = TypeVar("T")

OBJECT: Final[type[dict[str, Any]]] = dict
"""The type of a JSON object, for `expect` and `field`."""

LIST: Final[type[list[Any]]] = list
"""The type of a JSON list, for `expect` and `field`."""


_JSON_NAMES: Final[dict[type[Any], str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class TranscriptError(InmemError):
    """A transcript cannot be read further; `path` and `where` tell the file and the place, `reason` why."""

    def __init__(self, path: str, where: str, reason: str) -> None:
        super().__init__(": ".join(part for part in (path, where, reason) if part))
        self.path = path
        self.where = where
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file.

    Attributes:
        path: the path of the file, for errors.
        where: a line and column, or a path through the JSON, as in ``item 7, traj[3]``.
        file_name: the name of the file, for the ids and metadata of its runs.
    """

    path: str
    where: str = ""
    file_name: str = ""

    def at(self, step: str) -> Place:
        """Return the place one step further in."""
        return Place(self.path, f"{self.where}, {step}" if self.where else step, self.file_name)

    def below(self, step: str) -> Place:
        """Return the place one step further in, without a separator: ``traj[3]`` + ``.tool_calls[0]``."""
        return Place(self.path, self.where + step, self.file_name)

    def error(self, reason: str) -> TranscriptError:
        """Return an error that names this place."""
        return TranscriptError(self.path, self.where, reason)

    def expect(self, value: object, kind: type[T]) -> T:
        """Return `value` if it is of exactly the type `kind`.

        Raises:
            TranscriptError: it is of another type.
        """
        if type(value) is not kind:
            raise self.error(f"expected {_JSON_NAMES[kind]}, found {_JSON_NAMES[type(value)]}")
        return value

    def field(self, record: dict[str, Any], name: str, kind: type[T]) -> T:
        """Return the field `name` of a JSON object, which must be present and of type `kind`.

        Raises:
            TranscriptError: it is missing or of another type.
        """
        if name not in record:
            raise self.error(f'"{name}" is missing')
        return self._typed(name, record[name], kind)

    def optional(self, record: dict[str, Any], name: str, kind: type[T]) -> T | None:
        """Return the field `name` like `field`, or None if it is missing or null."""
        value = record.get(name)
        return None if value is None else self._typed(name, value, kind)

    def optional_number(self, record: dict[str, Any], name: str) -> float | None:
        """Return the field `name` if it is a number that can be stored, None if it is missing or null."""
        value = record.get(name)
        if type(value) is not int:
            return self.optional(record, name, float)
        if not INT_MIN <= value <= INT_MAX:
            raise self.error(f'"{name}" does not fit in 64 bits')
        return value

    def encoded(self, value: object) -> bytes:
        """Return the value in the store's encoding, to detect values that cannot be stored while reading.

        Raises:
            TranscriptError: the value cannot be stored; the error names the place inside it.
        """
        try:
            return encode_value(value, "")
        except InvalidValueError as error:
            raise TranscriptError(self.path, self.where + error.path, error.reason) from None

    def _typed(self, name: str, value: object, kind: type[T]) -> T:
        if type(value) is not kind:
            raise self.error(f'"{name}" must be {_JSON_NAMES[kind]}, not {_JSON_NAMES[type(value)]}')
        return value
