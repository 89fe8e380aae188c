"""The standard streams in any state in which a command may get them: closed, full, or with a limited encoding."""

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
"""Each stream's name, its mode, and the flags for opening the null device in its place if it is closed.

For stdin and stdout the flags are deliberately wrong, so that using them fails with an OSError, as in any other
program. Output to a closed stderr is dropped, as there is no way to report it.
"""


def prepare_streams() -> None:
    """Ensure that all three streams exist and that any text can be written."""
    for name, mode, flags in _STREAMS:
        if getattr(sys, name) is None:
            # Closed, as by `>&-`. The next file opened, perhaps the database's, would get its descriptor number.
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # Stored text may contain characters that the terminal's encoding lacks.
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def takes_what_is_written(stream: TextIO) -> bool:
    """Flush the stream; return whether that succeeded."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def rest_while_read(seconds: float) -> None:
    """Wait, but raise as soon as stdout has no reader.

    Raises:
        BrokenPipeError: stdout is a pipe without a reader, or its terminal is gone.
    """
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        # Not a file, for instance because a program has replaced `sys.stdout`.
        time.sleep(seconds)
        return
    poll = select.poll()
    # With an empty event mask, poll reports only errors and hang-ups.
    poll.register(descriptor, 0)
    if poll.poll(seconds * 1000):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def drop_unwritten() -> None:
    """Drop unwritten output: at exit Python would try to write it again, print its own error and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        if not takes_what_is_written(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
