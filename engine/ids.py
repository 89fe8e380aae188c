"""Time-ordered identifiers: UUID version 7 (RFC 9562, section 5.7), from an injected clock and entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inmem.engine.ports import Entropy


def time_ordered_id(now_us: int, entropy: Entropy) -> str:
    """Return a fresh UUIDv7 string: an id from a later microsecond sorts later; 64 random bits distinguish the others.

    Args:
        now_us: microseconds since the epoch; the id contains the whole milliseconds and, as RFC 9562 allows, the
            remaining microseconds in `rand_a`.
        entropy: source of the random bits.
    """
    milliseconds, microseconds = divmod(now_us, 1000)
    random_bits = entropy.bits(64)
    rand_a = (microseconds << 2) | (random_bits >> 62)
    rand_b = random_bits & (2**62 - 1)
    number = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
