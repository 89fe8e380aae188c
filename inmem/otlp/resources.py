"""The resources of recorded spans. Each is stored once, at the topmost trace with it: most processes have only one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.otlp.spans import span_kept_by

if TYPE_CHECKING:
    from inmem.actors.client.run_access import RunAccess
    from inmem.otlp.spans import ScopeRecord, SpanRecord


class Resources:
    """The resources that an export would use for spans whose traces store none, as seen by one transaction."""

    def __init__(self) -> None:
        # By run and trace. None below a root trace that came from no span: an export uses its own resource there.
        self._above: dict[tuple[str, str], ScopeRecord | None] = {}

    def is_inherited(self, here: RunAccess, span: SpanRecord, parent_id: str | None) -> bool:
        """Return whether a span about to be recorded inherits its resource (or its lack of one) and need not store it.

        If it does not inherit, the caller calls `note_kept` after recording it.

        Args:
            here: the run in which it is recorded.
            span: the span as it arrived.
            parent_id: the id of its parent trace, which exists, or None.

        Complexity: O(traces above it); each is read once.
        """
        above: ScopeRecord | None = {} if parent_id is None else self._at(here, parent_id)
        resource = span.get("resource")
        if resource is None and above and "refused" in span:
            # There was no room for the resource. The parent's resource is a better guess than none.
            inherited = True
        else:
            # Attributes keep the order in which they were set, so equal descriptions have equal reprs. Reprs are
            # compared because True == 1.
            inherited = repr(resource or {}) == repr(above)
        if inherited:
            self._above[here.run_id, span["span_id"]] = above
        return inherited

    def note_kept(self, here: RunAccess, recorded: SpanRecord) -> None:
        """Note the resource stored with a span that does not inherit: there may have been no room for it."""
        self._above[here.run_id, recorded["span_id"]] = recorded.get("resource", {})

    def _at(self, here: RunAccess, trace_id: str) -> ScopeRecord | None:
        way: list[tuple[str, str]] = []
        found: ScopeRecord | None = None
        pending: str | None = trace_id
        while pending is not None:
            place = here.run_id, pending
            if place in self._above:
                found = self._above[place]
                break
            way.append(place)
            trace = here.traces.get(pending)
            pending = None
            if trace is not None:
                span = span_kept_by(trace)
                if span is not None and (trace.parent_id is None or "resource" in span):
                    found = span.get("resource", {})
                else:
                    pending = trace.parent_id
        self._above.update(dict.fromkeys(way, found))
        return found
