"""Invisible characters: more than those that Python calls unprintable.

The ranges have Unicode's property Default_Ignorable_Code_Point: they are not displayed unless a font supports them.
Source: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt

A few further characters are drawn as blank space although they are not spaces, judging by their names in
https://www.unicode.org/Public/UCD/latest/ucd/NamesList.txt
"""

from __future__ import annotations

import re
from typing import Final

_IGNORABLE: Final = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian selectors and vowel separator
    (0x200B, 0x200F),  # zero-width space, joiners, directional marks
    (0x202A, 0x202E),  # directional embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, directional isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # tags, more variation selectors
)

_BLANK: Final = (
    (0x2800, 0x2800),  # Braille pattern blank
    (0x13441, 0x13442),  # Egyptian hieroglyph full blank, half blank
    (0x16FE4, 0x16FE4),  # Khitan small script filler
    (0x1D159, 0x1D159),  # musical symbol null notehead
)

_INVISIBLE: Final = re.compile(f"[{''.join(f'{chr(low)}-{chr(high)}' for low, high in (*_IGNORABLE, *_BLANK))}]")


def is_seen(char: str) -> bool:
    """Return whether a character is visible, or is the plain space. O(1)."""
    return char.isprintable() and not _INVISIBLE.match(char)
