"""CRC-32 run backwards: compute the initial value of a checksum from the checksum and the data.

The CRC of n bytes is linear in its initial value: it is that value times x**(8n), modulo the generator polynomial, plus
the CRC of the bytes alone. Every step is invertible, so the initial value is unique. The polynomial is primitive:
x**(2**32 - 1) is 1, hence multiplying by x**(2**32 - 1 - k) undoes k steps.

Sources: crc32_combine of zlib (crc32.c), from which the multiplication is taken; M. Stigge et al., "Reversing CRC:
Theory and Practice", 2006.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

_POLYNOMIAL: Final = 0xEDB88320
"""Bit 31 is the coefficient of x**0, as everywhere in this CRC."""

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
