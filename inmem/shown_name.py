"""Names as they are shown: no two look alike by what cannot be seen in them.

A name that is shown as it is holds only what can be seen: characters with a mark of their own, and single plain spaces
between them. Any other, and one that begins with a quote, is shown as a Python string in quotes, in which every space
but the plain one is an escape. Names that are seen to be the same may still differ: a letter with its accent can be one
character or two, and some letters of different scripts have one shape.
"""

from __future__ import annotations

import re
from typing import Final

from inmem.invisible import is_seen

# What may need an escape: everything but printable ASCII. Most text never gets past this.
SUSPECT: Final = re.compile(r"[^ -~]")

_TO_QUOTE: Final = re.compile(r'^[ "]|  | $|^$')
"""Spaces that a browser would not show, nothing at all, and what would look like quotes of ours."""

_QUOTED_ASCII: Final = str.maketrans({'"': '\\"', "\\": "\\\\"})


def plain_name(name: str) -> str:
    """Return the name as it is shown. O(len(name))."""
    return name if is_plain(name) else _quoted(name)


def plain_word(name: str) -> str:
    """Return the name as it is shown beside others: as `plain_name`, and in quotes where it holds a blank."""
    return name if is_plain(name) and " " not in name else _quoted(name)


def _quoted(name: str) -> str:
    return SUSPECT.sub(lambda match: match[0] if shows_in_name(match) else escape_of(match[0]), in_quotes(name))


def is_plain(name: str) -> bool:
    """Return whether a name can be seen as it is, so that no other looks like it."""
    return not _TO_QUOTE.search(name) and all(map(shows_in_name, SUSPECT.finditer(name)))


def shows_in_name(match: re.Match[str]) -> bool:
    """Return whether a character that is suspect can be seen."""
    return is_seen(match[0])


def in_quotes(name: str) -> str:
    """Return the name as a Python string literal, but for what is not to be seen in it."""
    return f'"{name.translate(_QUOTED_ASCII)}"'


def escape_of(char: str) -> str:
    """Return the escape of a character in a Python string."""
    return char.encode("unicode_escape").decode()
