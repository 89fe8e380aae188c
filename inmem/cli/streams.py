"""The standard streams, in whatever state a command is given them: closed, full, or of a poor encoding."""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import TextIO

_STREAMS: Final = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
"""Each with the mode in which it is used, and the one in which the null device stands in for it.

The first two are opened the wrong way round, so that using them fails with an OSError, as in any other program. What is
written to a closed stderr is lost: there is nobody to tell.
"""


def prepare_streams() -> None:
    """See to it that all three streams are there, and that any text can be written."""
    for name, mode, flags in _STREAMS:
        if getattr(sys, name) is None:
            # Closed, as by `>&-`. Its number would go to the next file that is opened, which may be the database's.
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # Stored text may hold what the terminal's encoding has no character for.
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def takes_what_is_written(stream: TextIO) -> bool:
    """Return whether all that was written to the stream has gone out."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def rest_while_read(seconds: float) -> None:
    """Wait, unless nobody is left to read the standard output.

    Raises:
        BrokenPipeError: its pipe has no reader any more, or its terminal is gone.
    """
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        # No file, as where a program has replaced it.
        time.sleep(seconds)
        return
    poll = select.poll()
    # Errors are told of though nothing is asked for.
    poll.register(descriptor, 0)
    if poll.poll(seconds * 1000):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def drop_unwritten() -> None:
    """Drop what could not be written: at exit Python would try again, complain in its own words and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        if not takes_what_is_written(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
