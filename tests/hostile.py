"""Arguments that nobody passes on purpose, and that must not do more harm than being refused."""

from math import inf, nan

HUGE = 10**5000
"""More digits than Python writes out."""


class HarmError(Exception):
    """Raised by the arguments themselves: it is no answer of the store's."""


def _raises(*_):
    raise HarmError


class NoRepr:
    """Cannot show itself."""

    __repr__ = __str__ = __format__ = _raises


class Nothing(NoRepr):
    """Can do nothing at all. Nor can it be iterated over: whoever passes an iterator has its code run."""

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _raises
    __len__ = __bool__ = __index__ = __int__ = __float__ = _raises


class _Meta(type):
    __hash__ = __eq__ = __repr__ = __instancecheck__ = __subclasscheck__ = _raises

    @property
    def __name__(cls):
        raise HarmError


class MetaclassRaises(metaclass=_Meta):
    """Its type can neither be hashed, nor compared, nor named."""


class StrOfItsOwn(str):
    """A str that does nothing as a str does it."""

    __slots__ = ()
    __repr__ = __str__ = __format__ = __eq__ = __hash__ = __len__ = __iter__ = __getitem__ = _raises
    encode = split = join = isprintable = _raises


class IntOfItsOwn(int):
    """An int that does nothing as an int does it."""

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
"""By what they are."""
