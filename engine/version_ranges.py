"""Inclusive ranges of versions, which describe many commits with few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Range: TypeAlias = tuple[int, int]


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the same versions in as few ranges as possible, ascending. O(n log n)."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def gaps_between(first: int, last: int, present: tuple[Range, ...]) -> tuple[Range, ...]:
    """Return the versions of [first, last] that are in none of the `merged` ranges."""
    gaps: list[Range] = []
    for begin, end in present:
        if begin > last:
            break
        if begin > first:
            gaps.append((first, begin - 1))
        first = max(first, end + 1)
    if first <= last:
        gaps.append((first, last))
    return tuple(gaps)


def count(ranges: Iterable[Range]) -> int:
    """Return how many versions the ranges contain."""
    return sum(last - first + 1 for first, last in ranges)
