"""How often a database is looked at that another process writes."""

from __future__ import annotations

from typing import Final

_RESTS_PER_LOOK: Final = 4
"""It rests so many times as long as the last look took, so that a large database does not keep it busy."""


def rest_s(look_s: float, least_s: float) -> float:
    """Return for how long to rest after a look that took `look_s`, at least `least_s`; all in seconds."""
    return max(least_s, _RESTS_PER_LOOK * look_s)
