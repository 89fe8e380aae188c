"""Scans of entries with str names: by prefix, after a cursor, and up to a limit."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from inmem.engine.codec import MalformedValueError, decode_value
from inmem.engine.errors import UsageError
from inmem.engine.keys import prefix_end, user_key
from inmem.engine.limits import INT_MAX
from inmem.engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.engine.commits.view import View

T = TypeVar("T")


def scan_names(view: View, prefix: str | None, after: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (name, encoded value) of the live entries whose name starts with `prefix`, in order of UTF-8 bytes.

    Args:
        view: a table whose keys are UTF-8.
        prefix: None means all names.
        after: a cursor: only names greater than it. It need not exist or start with the prefix.

    Raises:
        InvalidKeyError: `prefix` or `after` is not a valid key.
    """
    return _named(_live(view, prefix, after))


def scan_values(view: View, prefix: str | None, after: str | None = None) -> Iterator[tuple[str, Any]]:
    """Yield (name, decoded value), otherwise like `scan_names`. Saves a generator step per entry."""
    return _decoded(_live(view, prefix, after))


def _live(view: View, prefix: str | None, after: str | None) -> Iterator[tuple[bytes, bytes]]:
    start = b"" if prefix is None else user_key(prefix, where="prefix")
    end = prefix_end(start)
    if after is not None:
        start = max(start, user_key(after, where="after") + b"\x00")
    return view.scan(start, end)


def _named(entries: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[str, bytes]]:
    try:
        for key, value in entries:
            yield key.decode(), value
    except UnicodeDecodeError as error:
        raise MalformedValueError(f"a key is not UTF-8: {error}") from error


def _decoded(entries: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[str, Any]]:
    try:
        for key, value in entries:
            yield key.decode(), decode_value(value)
    except UnicodeDecodeError as error:
        raise MalformedValueError(f"a key is not UTF-8: {error}") from error


def at_most(items: Iterable[T], limit: int | None) -> list[T]:
    """Return the first `limit` items, or all if it is None. The remaining items are not consumed.

    Raises:
        UsageError: `limit` is not a non-negative int.
    """
    if limit is not None and (type(limit) is not int or limit < 0):
        raise UsageError(f"limit: must be an int of at least 0, or None, not {shown(limit)}")
    return list(islice(items, None if limit is None else min(limit, INT_MAX)))
