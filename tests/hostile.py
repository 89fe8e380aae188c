"""Hostile arguments, which must be refused without doing harm."""

from math import inf, nan

HUGE = 10**5000
"""A number with more digits than Python converts to a string."""


class HarmError(Exception):
    """Raised by the arguments themselves, never by the store."""


def _raises(*_):
    raise HarmError


class NoRepr:
    """An object without a repr."""

    __repr__ = __str__ = __format__ = _raises


class Nothing(NoRepr):
    """An object whose operations all raise. It is not iterable either, since an iterator's own code would run."""

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _raises
    __len__ = __bool__ = __index__ = __int__ = __float__ = _raises


class _Meta(type):
    __hash__ = __eq__ = __repr__ = __instancecheck__ = __subclasscheck__ = _raises

    @property
    def __name__(cls):
        raise HarmError


class MetaclassRaises(metaclass=_Meta):
    """An object whose type cannot be hashed, compared or named."""


class StrOfItsOwn(str):
    """A subclass of str whose methods all raise."""

    __slots__ = ()
    __repr__ = __str__ = __format__ = __eq__ = __hash__ = __len__ = __iter__ = __getitem__ = _raises
    encode = split = join = isprintable = _raises


class IntOfItsOwn(int):
    """A subclass of int whose methods all raise."""

    __repr__ = __str__ = __format__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __bool__ = _raises


HOSTILE = {
    "a huge int": HUGE,
    "a huge negative int": -HUGE,
    "an int of 65 bits": 2**64,
    "minus one": -1,
    "nan": nan,
    "inf": inf,
    "minus inf": -inf,
    "a float that scales to inf": 1e305,
    "True": True,
    "None": None,
    "bytes": b"text",
    "a bytearray": bytearray(b"text"),
    "a lone surrogate": "\ud800",
    "a text with NUL": "\0",
    "an empty text": "",
    "a long text": "x" * 5000,
    "a text of digits": "9" * 5000,
    "a str of its own": StrOfItsOwn("text"),
    "an int of its own": IntOfItsOwn(5),
    "no repr": NoRepr(),
    "nothing": Nothing(),
    "a metaclass that raises": MetaclassRaises(),
    "such a class itself": MetaclassRaises,
    "a list of them": [HUGE, NoRepr(), MetaclassRaises()],
    "a list of nothing": [Nothing()],
    "a tuple of huge ints": (HUGE, HUGE),
    "a pair": ("text", MetaclassRaises()),
    "a dict of them": {"a": HUGE, "b": MetaclassRaises()},
    "a dict with such keys": {HUGE: 1},
    "a type": dict,
}
"""The arguments, by description."""
