"""The examples that every command's help ends with.

They can be tried as they stand: `inmem demo --keep demo` makes what they name.
"""

from __future__ import annotations


def example(command: str) -> str:
    """Return the end of a command's help: a command that works, on a line of its own."""
    # The backspace is how click is told to leave the line as it is.
    return f"\b\nExample: {command}"
