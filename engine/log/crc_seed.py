"""CRC-32 run backwards: what a checksum began with, from the checksum and the data.

Running on over n bytes is linear in the value that it begins with: that value times x to the power of 8n, modulo the
generator polynomial, plus what the bytes alone give. Every step can be undone, so the beginning is unique. The
polynomial is primitive: x comes round to 1 after 2**32 - 1 steps, hence a step back is that many less one ahead.

Sources: crc32_combine of zlib (crc32.c), whose multiplication this is; M. Stigge et al., "Reversing CRC: Theory and
Practice", 2006.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

_POLYNOMIAL: Final = 0xEDB88320
"""Bit 31 is the coefficient of x to the power of 0, as everywhere in this CRC."""

_ORDER: Final = 2**32 - 1
_ONE: Final = 1 << 31
_X: Final = 1 << 30


def seed_of(data: bytes, checksum: int) -> int:
    """Return the only `seed` for which `crc32(data, seed) == checksum`. O(bytes), at the speed of `crc32`."""
    return _times(checksum ^ crc32(data), _power_of_x(-8 * len(data) % _ORDER))


def _power_of_x(exponent: int) -> int:
    power, square = _ONE, _X
    while exponent:
        if exponent & 1:
            power = _times(power, square)
        square = _times(square, square)
        exponent >>= 1
    return power


def _times(left: int, right: int) -> int:
    """Return the product of two polynomials modulo the generator."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product
