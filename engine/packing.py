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


def packing_with(**options: Any) -> Callable[[object], bytes]:
    """Return a function that packs with packers of these options, which are those of `msgpack.Packer`.

    It raises what msgpack does, and checks nothing before. O(bytes).
    """
    new_packer = cast("Callable[..., _Packer]", msgpack.Packer)
    # A packer is taken out while it works: two threads, or a finalizer that the garbage collector runs in the middle of
    # packing, would write into the same buffer. `pop` and `append` are one step each to other threads.
    idle: list[_Packer] = []

    def pack(value: object) -> bytes:
        try:
            packer = idle.pop()
        except IndexError:
            packer = new_packer(**options)
        data = packer.pack(value)
        if len(data) <= PACKED_BYTES_MAX:
            idle.append(packer)
        return data

    return pack


pack: Final = packing_with()
"""Pack what the store has put together itself, tuples of valid fields; named tuples become arrays too."""
