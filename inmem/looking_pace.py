"""How often to poll a database that another process writes."""

from __future__ import annotations

from typing import Final

_RESTS_PER_LOOK: Final = 4
"""Each rest is this many times as long as the last look took, so a large database does not keep the reader busy."""


def rest_s(look_s: float, least_s: float) -> float:
    """Return how long to rest after a look that took `look_s`, at least `least_s`; all in seconds."""
    return max(least_s, _RESTS_PER_LOOK * look_s)
