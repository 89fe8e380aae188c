"""What is one thing, wherever it is held."""

from __future__ import annotations

from typing import NoReturn


class NonCopyable:
    """Copying and pickling raise TypeError, rather than leave half of a twin behind. Costs nothing in use."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied or pickled")
