"""msgpack packers, used again and again: making one for each call would cost more than most of what they pack."""

# msgpack comes without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgpack  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

PACKED_BYTES_MAX: Final = 128 * 1024
"""A packer never gives its buffer back, so one that grew past its first 256 KiB is not kept."""


class _Packer(Protocol):
    def pack(self, obj: object, /) -> bytes: ...


class Packers:
    """Packers that are made alike.

    Args:
        options: those of `msgpack.Packer`.

    Attributes:
        idle: those that nobody is using. One is taken out while it works: two threads, or a finalizer that the garbage
            collector runs in the middle of packing, would write into the same buffer.
    """

    __slots__ = ("_new", "_options", "idle")

    def __init__(self, **options: Any) -> None:
        self._new = cast("Callable[..., _Packer]", msgpack.Packer)
        self._options = options
        self.idle: list[_Packer] = []

    def pack(self, value: object) -> bytes:
        """Return the msgpack of `value`, or raise what msgpack does: nothing is checked before. O(bytes)."""
        try:
            # This and `append` are one step each to other threads.
            packer = self.idle.pop()
        except IndexError:
            packer = self._new(**self._options)
        data = packer.pack(value)
        if len(data) <= PACKED_BYTES_MAX:
            self.idle.append(packer)
        return data


pack: Final = Packers().pack
"""Pack what the store has put together itself, tuples of valid fields; named tuples become arrays too."""
