"""Show names so that no two look alike because of characters that cannot be seen.

A name is shown unchanged if it holds only visible characters, with single plain spaces between them. Any other name,
and one that begins with a quote, is shown as a quoted Python string, in which every space but the plain one is an
escape. Names that look the same may still differ: an accented letter can be one character or two, and some letters of
different scripts have the same shape.
"""

from __future__ import annotations

import re
from typing import Final

from inmem.invisible import SUSPECT, escape_of, is_seen

_TO_QUOTE: Final = re.compile(r'^[ "]|  | $|^$')
"""What is quoted although it is printable: spaces that a browser would not show, a leading quote, the empty name."""

_QUOTED_ASCII: Final = str.maketrans({'"': '\\"', "\\": "\\\\"})


def plain_name(name: str) -> str:
    """Return the name as it is shown. O(len(name))."""
    return name if is_plain(name) else _quoted(name)


def plain_word(name: str) -> str:
    """Return the name as it is shown beside others: as `plain_name`, but also quoted if it holds a blank."""
    return name if is_plain(name) and " " not in name else _quoted(name)


def _quoted(name: str) -> str:
    return SUSPECT.sub(lambda match: match[0] if shows_in_name(match) else escape_of(match[0]), in_quotes(name))


def is_plain(name: str) -> bool:
    """Return whether a name can be shown unchanged: no other name looks like it because of invisible characters."""
    return not _TO_QUOTE.search(name) and all(map(shows_in_name, SUSPECT.finditer(name)))


def shows_in_name(match: re.Match[str]) -> bool:
    """Return whether a suspect character is visible."""
    return is_seen(match[0])


def in_quotes(name: str) -> str:
    """Return the name as a Python string literal in which invisible characters are not escaped yet."""
    return f'"{name.translate(_QUOTED_ASCII)}"'
