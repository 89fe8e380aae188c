"""msgpack, written: what the log, the checkpoints and the primitives' records are made of.

Reading is another matter: what is read is untrusted, and each place checks the types that it expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

pack: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
"""Return the msgpack of values whose types are valid already; tuples, named ones too, become arrays. O(bytes).

Lengths and numbers take the shortest form there is. msgspec writes the very bytes that msgpack does, in a third of the
time, and keeps nothing between two calls: threads, and finalizers that run in the middle of one, have an encoding each.
"""
