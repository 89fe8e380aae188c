"""A base class for objects that cannot be copied."""

from __future__ import annotations

from typing import NoReturn


class NonCopyable:
    """Makes copying and pickling raise TypeError instead of producing an incomplete copy. Has no run-time cost."""

    __slots__ = ()

    def __copy__(self) -> NoReturn:
        # msgspec's structs, which some subclasses are, have a `__copy__` of their own.
        self.__reduce__()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied or pickled")
