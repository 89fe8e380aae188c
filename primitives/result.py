"""The base class of what operations return: immutable values, equal if their fields are.

They are structs because reading a log makes thousands of them, and constructing a frozen dataclass of six fields takes
0.7 µs, but a struct 0.1. To their readers they are dataclasses all the same, for the functions of `dataclasses`, and
for whatever else looks for dataclasses, such as pprint and pytest.
"""

from __future__ import annotations

from dataclasses import Field, field, make_dataclass
from functools import cache
from inspect import get_annotations
from typing import Any, ClassVar

from msgspec import NODEFAULT, Struct


@cache
def _twin(kind: type[Result]) -> type[Any]:
    """Return a dataclass with the fields of `kind`."""
    # A subclass that a user has made inherits fields, and may add some that are required after some that are not.
    types = {name: type_ for base in reversed(kind.__mro__) for name, type_ in get_annotations(base).items()}
    names = kind.__struct_fields__
    defaults = kind.__struct_defaults__
    required = len(names) - len(defaults)
    given = [
        (name, types[name], _field(default))
        for name, default in zip(names, (NODEFAULT,) * required + defaults, strict=True)
    ]
    return make_dataclass(kind.__name__, given, repr=False, frozen=True, kw_only=NODEFAULT in defaults)


def _field(default: Any) -> Any:
    if default is NODEFAULT:
        return field()
    # What msgspec stores for a default that is made anew each time, such as a list.
    factory = getattr(default, "factory", None)
    return field(default=default) if factory is None else field(default_factory=factory)


class _OfTwin:
    """An attribute by which a dataclass is recognized: that of the twin, which is made when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _: Result | None, kind: type[Result]) -> Any:
        return getattr(_twin(kind), self._name)


class Result(Struct, frozen=True):
    """Base class of the results of operations."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __dataclass_params__: ClassVar[Any]

    def __init_subclass__(cls, **_: Any) -> None:
        # In each class, as `dataclass` does it: orjson, for one, does not look for them in base classes.
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, name, _OfTwin(name))
