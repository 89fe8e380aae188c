"""A mapping of which every version stays as it is, although all of them share one dict.

The dict is that of the newest version. A version that has been followed by another keeps what that one changed, as it
was before, and knows the next: what it does not have itself has not changed between the two. So the newest version is
read at the price of a dict, and one that nobody holds any more leaves nothing behind, since versions refer to newer
ones only. (Baker 1991, "Shallow binding makes functional arrays fast".)

An old version that is held would hold with it all that was ever written after it. So a line of versions is cut into
spans, and what was changed in spans of which nobody holds a version any more is put together, each key once. That is
done when a new span begins, each time after a few, and a sixteenth as many as there are spans with a version held.

What this saves over a tree whose changed paths are copied: a table of a million keys is one object to Python's garbage
collector, and one that it does not look into as long as it holds nothing but `bytes`.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, TypeVar, cast
from weakref import ref

from msgspec import Struct

if TYPE_CHECKING:
    from typing import TypeAlias

K = TypeVar("K")
V = TypeVar("V")

SPAN = 64
"""Changes in a span. More of them cost less, and an old version then holds more of what is gone."""

STEPS_MAX = 16
"""Where a read takes more steps than this to the newest version, it shortens the way for those that follow."""

JOINED_MAX = 1_000
"""So many changes are put together for a shorter way, beside those who still need them one by one."""


# Nothing here is part of a cycle, as versions refer to newer ones only: so the collector need not know of it.
class Past(Struct, Generic[K, V], eq=False, gc=False):
    """What one version has, and later ones have not.

    Any older version may be passed through it, and any thread may be on its way there. So what it tells only grows, and
    only by what those behind it tell.

    Attributes:
        number: how many changes were made up to this version; one that replaces something large counts for many.
        state: what the versions after this one have changed, as it was, None for what was not there; and the past of
            the first version that it does not tell of. Both in one assignment, as other threads may be reading. None
            as long as the version is the newest.
    """

    number: int
    state: _State[K, V] | None = None


if TYPE_CHECKING:
    _State: TypeAlias = tuple[dict[K, V | None], Past[K, V]]


class Span(Struct, Generic[K, V], eq=False, weakref=True):
    """Some versions in a row, each of which refers to this: it is there as long as somebody holds one of them.

    Attributes:
        line: that they are in.
        number: of the first version.
        last: the past of the last of them, once it is known which that is.
    """

    line: Line[K, V]
    number: int
    last: Past[K, V] | None = None


class Line(Struct, Generic[K, V], eq=False, gc=False):
    """The versions that share one dict, for whoever makes the next one.

    Attributes:
        spans: those that have ended, oldest first; some may be gone. None until one has.
        spans_max: so many are kept before it is looked which of them are gone.
    """

    spans: list[ref[Span[K, V]]] | None = None
    spans_max: int = 1

    def span_after(self, span: Span[K, V], number: int) -> Span[K, V]:
        """Return the span that follows `span` and begins with the version of that number. Amortized O(changes)."""
        following: Span[K, V] = Span(self, number)
        if self.spans is None:
            self.spans = []
        before = self.spans[-1]() if self.spans else None
        if before is not None:
            # Who passes through many spans that are held takes one step for each.
            _shorten(cast("Past[K, V]", before.last), cast("Past[K, V]", span.last).number)
        self.spans.append(ref(span))
        if len(self.spans) > self.spans_max:
            living = [living for reference in self.spans if (living := reference()) is not None]
            for earlier, later in pairwise((*living, following)):
                _join(cast("Past[K, V]", earlier.last), later.number)
            self.spans = [ref(living) for living in living]
            self.spans_max = 2 + len(living) + len(living) // 16
        return following


def _shorten(past: Past[K, V], number: int) -> None:
    """Let a past tell what those behind it do, up to the version of that number, or until it is too much.

    Any thread may do so at any time: each does the same, and what it does is true whatever others have done meanwhile.
    """
    while (state := past.state) is not None:
        changed, later = state
        if later.state is None or later.number >= number:
            return
        also_changed, beyond = later.state
        if len(changed) + len(also_changed) > JOINED_MAX:
            return
        # Who reads meanwhile, and has not found a key here, goes on to `later` as before, and finds it there.
        for key, value in also_changed.copy().items():
            changed.setdefault(key, value)
        past.state = changed, beyond


def _join(past: Past[K, V], number: int) -> None:
    """Let a past tell all that those behind it do, up to the version of that number: nobody holds those between.

    O(changes of the smaller of each two). For whoever makes the next version.
    """
    while (state := past.state) is not None:
        changed, later = state
        if later.state is None or later.number >= number:
            return
        also_changed, beyond = later.state
        if len(also_changed) > len(changed):
            # Who passes through has looked into `changed` before.
            also_changed.update(changed)
            changed = also_changed
        else:
            for key, value in also_changed.copy().items():
                changed.setdefault(key, value)
        past.state = changed, beyond


class PersistentMap(Struct, Generic[K, V], eq=False, gc=False):
    """An immutable mapping to values other than None, for a class that says what else there is to a version.

    Any thread may read any version at any time. Versions that follow one another are made by one thread at a time: each
    from the one before it, whose `past.state` is None until then. It is set first, and then the dict is changed.

    Attributes:
        newest: the dict of the newest version. Who reads it directly has to look at `past` afterwards.
        past: its `state` is None as long as this is the newest version.
        span: that the version belongs to; None for the first version until it is followed.
    """

    newest: dict[K, V]
    past: Past[K, V]
    span: Span[K, V] | None

    def stored(self, key: K) -> V | None:
        """Return the value of the key, or None. O(1), plus amortized O(1) for each change since."""
        value = self.newest.get(key)
        # In this order: who changes the dict says before that what was there.
        return value if self.past.state is None else self.as_it_was(key, value)

    def as_it_was(self, key: K, value: V | None) -> V | None:
        """Return the value of the key in this version, given what the dict had for it a moment ago."""
        state = self.past.state
        steps = 0
        while state is not None:
            changed, later = state
            if key in changed:
                value = changed[key]
                break
            state = later.state
            steps += 1
        if steps > STEPS_MAX:
            self._shorten_way()
        return value

    def has_changed(self, keys: tuple[K, ...]) -> bool:
        """Return False if none of the keys has been changed since. True may be wrong where the way is long."""
        state = self.past.state
        steps = 0
        while state is not None:
            changed, later = state
            steps += 1
            if steps > STEPS_MAX or not changed.keys().isdisjoint(keys):
                return True
            state = later.state
        return False

    def _shorten_way(self) -> None:
        last = None if self.span is None else self.span.last
        if last is None:
            _shorten(self.past, sys.maxsize)
        else:
            # What is behind the span is put together once for all of its versions.
            _shorten(self.past, last.number)
            _shorten(last, sys.maxsize)

    def as_dict(self) -> dict[K, V]:
        """Return a copy. O(n)."""
        # Not its `copy`, which lets others change the original before it takes over the length (CPython 3.11).
        content = dict(self.newest)
        changes: list[dict[K, V | None]] = []
        state = self.past.state
        while state is not None:
            changed, later = state
            changes.append(changed.copy())
            state = later.state
        for changed in reversed(changes):
            for key, value in changed.items():
                if value is None:
                    content.pop(key, None)
                else:
                    content[key] = value
        return content

    def next_span(self, number: int) -> Span[K, V]:
        """Return the span of the version of that number, which is going to follow this one. Amortized O(changes)."""
        span = self.span
        if span is None:
            line: Line[K, V] = Line()
            self.span = span = Span(line, 0)
        if number < span.number + SPAN:
            return span
        span.last = self.past
        return span.line.span_after(span, number)
