"""A persistent mapping: every version stays readable, although all versions share one dict.

The dict holds the newest version. When a version is superseded, it keeps the previous values of the keys that its
successor changed, and a link to the successor; a key that is not among them has the same value in both versions. So
reading the newest version costs as much as reading a dict, and since versions refer only to newer ones, a version that
is no longer referenced leaves nothing behind. (Baker 1991, "Shallow binding makes functional arrays fast".)

An old version that is still referenced would keep alive the record of every change made after it. So a line of versions
is divided into spans. The changes of spans without a referenced version are merged, each key once. This happens when a
new span begins, but only after a few spans since the last merge, plus a sixteenth of the number of spans with a
referenced version.

The advantage over a tree that copies changed paths: a table of a million keys is one object to Python's garbage
collector, and the collector does not traverse it as long as it holds only `bytes`.
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
"""The number of changes in a span. A longer span costs less time, but an old version then keeps more obsolete values
alive."""

STEPS_MAX = 16
"""A read that takes more steps than this towards the newest version shortens the chain for later reads."""

JOINED_MAX = 1_000
"""The most changes that are merged to shorten a chain, in addition to the separate copies that others may still use."""


# Versions refer only to newer ones, so there are no reference cycles and the garbage collector need not track these
# objects.
class Past(Struct, Generic[K, V], eq=False, gc=False):
    """How one version differs from later ones: a link in the chain from an old version to the newest.

    A read of any older version may pass through this object, in any thread at any time. So its record of changes only
    grows, and only by changes that the objects after it in the chain record.

    Attributes:
        number: how many changes were made up to this version; replacing a large value counts as many changes.
        state: the previous values of the keys that later versions changed, None for a key that was absent, and the
            `Past` of the first version whose changes are not included. Both are set in one assignment, because other
            threads may be reading. None as long as the version is the newest.
    """

    number: int
    state: _State[K, V] | None = None


if TYPE_CHECKING:
    _State: TypeAlias = tuple[dict[K, V | None], Past[K, V]]


class Span(Struct, Generic[K, V], eq=False, weakref=True):
    """Consecutive versions that all refer to this object, which therefore lives as long as any of them is referenced.

    Attributes:
        line: the line to which the versions belong.
        number: the number of the first version.
        last: the `Past` of the last version, once the span has ended.
    """

    line: Line[K, V]
    number: int
    last: Past[K, V] | None = None


class Line(Struct, Generic[K, V], eq=False, gc=False):
    """The versions that share one dict. Used only by the thread that makes the next version.

    Attributes:
        spans: the spans that have ended, oldest first, some of them perhaps dead. None until the first one ends.
        spans_max: the length of `spans` beyond which dead spans are looked for.
    """

    spans: list[ref[Span[K, V]]] | None = None
    spans_max: int = 1

    def span_after(self, span: Span[K, V], number: int) -> Span[K, V]:
        """End `span` and return the next one, which begins with version `number`. Amortized O(changes)."""
        following: Span[K, V] = Span(self, number)
        if self.spans is None:
            self.spans = []
        before = self.spans[-1]() if self.spans else None
        if before is not None:
            # A read that passes through many referenced spans then takes one step for each.
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
    """Add to `past` the changes recorded after it, up to version `number` or `JOINED_MAX` changes.

    Any thread may do this at any time: all threads make the same changes, and those are right whatever other threads
    have done in between.
    """
    while (state := past.state) is not None:
        changed, later = state
        if later.state is None or later.number >= number:
            return
        also_changed, beyond = later.state
        if len(changed) + len(also_changed) > JOINED_MAX:
            return
        # A concurrent read that has not found its key here continues to `later`, as before, and finds it there.
        for key, value in also_changed.copy().items():
            changed.setdefault(key, value)
        past.state = changed, beyond


def _join(past: Past[K, V], number: int) -> None:
    """Add to `past` all changes recorded after it, up to version `number`: no version in between is referenced.

    Only for the thread that makes the next version. O(changes of the smaller of each two).
    """
    while (state := past.state) is not None:
        changed, later = state
        if later.state is None or later.number >= number:
            return
        also_changed, beyond = later.state
        if len(also_changed) > len(changed):
            # Safe for a concurrent read that continues to `later`: it has already looked into `changed`.
            also_changed.update(changed)
            changed = also_changed
        else:
            for key, value in also_changed.copy().items():
                changed.setdefault(key, value)
        past.state = changed, beyond


class PersistentMap(Struct, Generic[K, V], eq=False, gc=False):
    """An immutable mapping to values other than None. A subclass adds whatever else belongs to a version.

    Any thread may read any version at any time. New versions are made by one thread at a time, each from the newest
    version, whose `past.state` is None. The writer first sets that `past.state` and then changes the dict.

    Attributes:
        newest: the dict of the newest version. Code that reads it directly must check `past` afterwards.
        past: the link to later versions; its `state` is None as long as this version is the newest.
        span: the span to which the version belongs; None for the first version until it is superseded.
    """

    newest: dict[K, V]
    past: Past[K, V]
    span: Span[K, V] | None

    def stored(self, key: K) -> V | None:
        """Return the value of the key, or None. O(1), plus amortized O(1) for each later change."""
        value = self.newest.get(key)
        # In this order: a writer records the previous value before it changes the dict.
        return value if self.past.state is None else self.as_it_was(key, value)

    def as_it_was(self, key: K, value: V | None) -> V | None:
        """Return the value of the key in this version, given the value just read from the dict."""
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
        """Return False only if no later version changed any of the keys. Where the chain is long, True may be wrong."""
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
            # The changes after the span are merged once, for all of its versions.
            _shorten(self.past, last.number)
            _shorten(last, sys.maxsize)

    def as_dict(self) -> dict[K, V]:
        """Return a copy. O(n)."""
        # Not `dict.copy`: in CPython 3.11 other threads can change the original before its length is copied.
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
        """Return the span for version `number`, which is about to supersede this one. Amortized O(changes)."""
        span = self.span
        if span is None:
            line: Line[K, V] = Line()
            self.span = span = Span(line, 0)
        if number < span.number + SPAN:
            return span
        span.last = self.past
        return span.line.span_after(span, number)


class PersistentDict(PersistentMap[K, V], eq=False, gc=False):
    """A persistent map that is nothing else, and whose values are not None."""

    def __len__(self) -> int:
        """Return the number of keys. O(1), O(n) if this is not the newest version of its line."""
        return len(self.newest if self.past.state is None else self.as_dict())

    def changed(self, values: dict[K, V], replaced: dict[K, V | None]) -> PersistentDict[K, V]:
        """Return the map after a change. It takes ownership of `replaced`.

        Args:
            values: the values of the keys that get one.
            replaced: what those keys had before, None if nothing; and the same of keys to remove.

        Complexity: amortized O(changes), O(n) if this is not the newest version of its line.
        """
        if self.past.state is not None:
            return persistent(self.as_dict()).changed(values, replaced)
        newest = self.newest
        number = self.past.number + len(replaced)
        span = self.span
        if span is None or number >= span.number + SPAN:
            span = self.next_span(number)
        newer: Past[K, V] = Past(number)
        # In this order, because other threads may be reading.
        self.past.state = replaced, newer
        newest.update(values)
        if len(values) < len(replaced):
            for key in replaced.keys() - values.keys():
                newest.pop(key, None)
        return PersistentDict(newest, newer, span)


def persistent(content: dict[K, V]) -> PersistentDict[K, V]:
    """Return the first version of a new line. O(1): it takes ownership of `content`."""
    return PersistentDict(content, Past(0), None)
