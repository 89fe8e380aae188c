"""Format amounts for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 run``, ``1,200 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(byte_count: int) -> str:
    """Return a number of bytes in a readable unit: ``999 bytes``, ``1.2 MB``."""
    if byte_count < 1000:
        return f"{byte_count} bytes"
    amount, unit = byte_count / 1000, "kB"
    while amount >= 1000 and unit != "GB":
        amount, unit = amount / 1000, {"kB": "MB", "MB": "GB"}[unit]
    return f"{amount:.1f} {unit}"


def in_columns(rows: list[tuple[str, str]]) -> str:
    """Return one line per (name, text), with the texts aligned. A row without a name continues the one above."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)
