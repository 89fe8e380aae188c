"""The examples at the end of every command's help.

They can be run as shown: `inmem demo --keep demo` creates the files that they name.
"""

from __future__ import annotations


def example(command: str) -> str:
    """Return the end of a command's help: a working example on its own line."""
    # The backspace tells click not to rewrap the line.
    return f"\b\nExample: {command}"
