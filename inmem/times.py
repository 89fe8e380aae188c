"""Format times and durations, mostly for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_us: int) -> str:
    """Return a stored time in UTC, to the millisecond; past the calendar's end, a number of microseconds."""
    time = _time(time_us)
    return f"{time_us} µs" if time is None else f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}"


def iso(time_us: int) -> str:
    """Return a stored time in ISO 8601 format for programs, or "" if it lies past the calendar's end."""
    time = _time(time_us)
    return "" if time is None else time.isoformat()


def duration(span_us: float) -> str:
    """Return a duration, given in microseconds; below a minute with three digits, for comparison in a list."""
    if span_us == inf:
        return "∞"
    seconds = span_us / 1_000_000
    if seconds < 0:
        return f"-{duration(-span_us)}"
    if seconds < 0.001:
        return f"{span_us:.0f} µs"
    if seconds < 1:
        return f"{_three_digits(seconds * 1000)} ms" if seconds < 0.9995 else "1.00 s"
    if seconds < 60:
        return f"{_three_digits(seconds)} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    hours = int(seconds // 3600)
    if hours < 48:
        return f"{hours} h {int(seconds % 3600 // 60)} min"
    return f"{hours // 24:,} d {hours % 24} h"


def _three_digits(number: float) -> str:
    return f"{number:#.3g}".removesuffix(".")


def _time(time_us: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return None
