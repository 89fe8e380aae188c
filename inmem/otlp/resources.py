"""The resources of recorded spans. Each is kept once, by the topmost trace that has it: most processes have but one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.otlp.spans import span_kept_by

if TYPE_CHECKING:
    from inmem.actors.client.run_access import RunAccess
    from inmem.otlp.spans import ScopeRecord, SpanRecord


class Resources:
    """What an export would take for the resource of a span whose trace keeps none, as one transaction sees it."""

    def __init__(self) -> None:
        # By run and trace; None below a topmost trace that came from no span: an export names a resource for those.
        self._above: dict[tuple[str, str], ScopeRecord | None] = {}

    def is_inherited(self, here: RunAccess, span: SpanRecord, parent_id: str | None) -> bool:
        """Return whether a span that is about to be recorded need not keep its resource, or that it has none.

        When it has to, `note_kept` follows.

        Args:
            here: the run that it is recorded in.
            span: as it arrived.
            parent_id: of the trace above it, which is there, or None.

        Complexity: O(traces above it), of which each is looked at once.
        """
        above: ScopeRecord | None = {} if parent_id is None else self._at(here, parent_id)
        resource = span.get("resource")
        if resource is None and above and "refused" in span:
            # There was no room for it, and that of the trace above is more likely than none.
            inherited = True
        else:
            # Attributes are in the order in which they were set, so equal descriptions have equal reprs; True equals 1.
            inherited = repr(resource or {}) == repr(above)
        if inherited:
            self._above[here.run_id, span["span_id"]] = above
        return inherited

    def note_kept(self, here: RunAccess, recorded: SpanRecord) -> None:
        """Note what a span that does not inherit was recorded with: there may have been no room for its resource."""
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
