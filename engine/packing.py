"""msgpack for what the store has put together itself: no checks, and no packer made for each call."""

# msgpack comes without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

import msgpack  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKED_BYTES_MAX: Final = 128 * 1024
"""A packer never gives its buffer back, so one that grew past its first 256 KiB is not kept."""


class _Packer(Protocol):
    def pack(self, obj: object, /) -> bytes: ...


_new_packer: Final = cast("Callable[[], _Packer]", msgpack.Packer)

_idle: Final[list[_Packer]] = []
"""A packer is taken out while it works, for the reason given in codec.py."""


def pack(trusted: object) -> bytes:
    """Return the msgpack of a tuple of valid fields; named tuples become arrays too. O(bytes)."""
    try:
        packer = _idle.pop()
    except IndexError:
        packer = _new_packer()
    data = packer.pack(trusted)
    if len(data) <= _PACKED_BYTES_MAX:
        _idle.append(packer)
    return data
