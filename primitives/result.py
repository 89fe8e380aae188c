"""The base class of what operations return: immutable values, equal if their fields are.

They are structs because reading a log makes thousands of them, and constructing a frozen dataclass of six fields takes
0.7 µs, but a struct 0.1. To their readers they are dataclasses too: `fields`, `asdict` and `replace` accept them.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields, make_dataclass
from functools import cache
from typing import Any, ClassVar

from msgspec import Struct


@cache
def _dataclass_fields(kind: type[Result]) -> dict[str, Field[Any]]:
    names = kind.__struct_fields__
    defaults = dict(zip(reversed(names), reversed(kind.__struct_defaults__), strict=False))
    types = kind.__annotations__
    given = [(name, types[name], field(default=defaults.get(name, MISSING))) for name in names]
    twin = make_dataclass(kind.__name__, given)
    return {each.name: each for each in fields(twin)}


class _DataclassFields:
    """The attribute by which `dataclasses` tells what the fields are; computed when it is first asked for."""

    def __get__(self, _: Result | None, kind: type[Result]) -> dict[str, Field[Any]]:
        return _dataclass_fields(kind)


class Result(Struct, frozen=True):
    """Base class of the results of operations."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = _DataclassFields()  # type: ignore[assignment]
