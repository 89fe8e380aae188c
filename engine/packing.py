"""Writing msgpack, the encoding of the log, the checkpoints and the primitives' records.

There is no shared function for reading: input is untrusted, and each reader checks the types that it expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

pack: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
"""Return the msgpack encoding of values with valid types; tuples, including named ones, become arrays. O(bytes).

Lengths and numbers take their shortest form. msgspec writes the same bytes as msgpack in a third of the time, and its
encoder keeps no state between calls, so threads can share it, and so can finalizers that run during a call.
"""
