"""The command `inmem`, from its first moment on: Ctrl-C ends it with one line while it is still being imported, too.

Installed under a name of its own, `inmem_command`: below `inmem` this module would come after the whole store, and for
as long as that takes a Ctrl-C would show a traceback. So it imports nothing that Python has not imported by then.
"""

import _signal  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  (`signal` brings others along)
import os

_INTERRUPTED = 130
"""What shells report of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line."""
    # If somebody else has the signal, as a shell that ignores it for what runs in the background, it stays with him.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # pyright: ignore[reportUnknownMemberType]
        _signal.signal(_signal.SIGINT, end_at_once)  # pyright: ignore[reportUnknownMemberType]
    from inmem.__main__ import main as run  # noqa: PLC0415  (see above)

    run(until_now=end_at_once)


def end_at_once(_number: int, _frame: object) -> None:
    """End the process: nothing has been begun. An exception might be caught by what is being imported, or be lost."""
    try:
        os.write(2, b"inmem: error: interrupted\n")
    except OSError:
        # The exit code is left to tell of it.
        pass
    finally:
        os._exit(_INTERRUPTED)
