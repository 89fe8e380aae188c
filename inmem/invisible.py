"""Invisible characters, which are more than those that Python calls unprintable, and their escapes.

The ranges have Unicode's property Default_Ignorable_Code_Point: they are not displayed unless a font supports them.
Source: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt

A few further characters are drawn as blank space although they are not spaces, judging by their names in
https://www.unicode.org/Public/UCD/latest/ucd/NamesList.txt
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

SUSPECT: Final = re.compile(r"[^ -~]")
"""A character that may need an escape: everything but printable ASCII. Most text has none of them."""

EMOJI_FORM: Final = "\ufe0f"
"""The variation selector that follows a symbol to show it as an emoji."""

_JOINER: Final = "\u200d"
"""The zero-width joiner, which makes one emoji of two, as in a family."""

_SYMBOLS: Final = ("So", "Sm")

_SKIN_TONES: Final = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""They follow an emoji and change its colour; Unicode does not count them among the symbols above."""

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


def escape_of(char: str) -> str:
    """Return the escape sequence of a character in a Python string."""
    return char.encode("unicode_escape").decode()


def shows_in_value(match: re.Match[str]) -> bool:
    """Return whether a suspect character is shown unchanged in a value: it is visible, a space, or part of an emoji."""
    char, start, text = match[0], match.start(), match.string
    if char == EMOJI_FORM:
        return start > 0 and _is_symbol(text[start - 1])
    if char == _JOINER:
        before = text[max(start - 2, 0) : start].removesuffix(EMOJI_FORM)[-1:]
        after = text[start + 1 : start + 2]
        return before != "" and after != "" and _is_symbol(before) and _is_symbol(after)
    # Spaces of all widths are harmless, though Python does not count them as printable.
    return is_seen(char) or unicodedata.category(char) == "Zs"


def _is_symbol(char: str) -> bool:
    return (unicodedata.category(char) in _SYMBOLS and is_seen(char)) or char in _SKIN_TONES


def printable(text: str) -> str:
    """Return a text, which is no name, on one line with every invisible character as its escape."""
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return SUSPECT.sub(lambda match: match[0] if shows_in_value(match) else escape_of(match[0]), text)


def printable_json(written: str) -> str:
    """Return a JSON document with every invisible character as its JSON escape, line breaks between items excepted."""
    if written.replace("\n", "").isprintable() and not _INVISIBLE.search(written):
        return written
    # They occur only within strings, where JSON has escapes for them, and for line breaks too.
    return SUSPECT.sub(
        lambda match: match[0] if match[0] == "\n" or shows_in_value(match) else json.dumps(match[0])[1:-1], written
    )
