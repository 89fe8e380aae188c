"""``python -m inmem``, and what the command ``inmem`` goes on with, whose beginning is in command/.

Before this module Python imports the store. Ctrl-C meanwhile ends the command with one line; under ``python -m`` nobody
is there yet to see to that, and it shows a traceback, as in any program.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from inmem.actors.dispatch import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_INTERRUPTED: Final = 130
"""`inmem.cli.errors.INTERRUPTED`, which may not be loaded yet."""


def main(until_now: Callable[[int, FrameType | None], None] | None = None) -> None:
    """Run the command line, or say what it needs. Ctrl-C ends it, however often it comes.

    Args:
        until_now: the handler that may have had Ctrl-C before.
    """
    try:
        interrupts.install(until_now)
        interrupts.end_program_at_first(_INTERRUPTED)
        _run()
    except KeyboardInterrupt:
        # Before a command had begun, or after its end.
        sys.exit(_INTERRUPTED)
    finally:
        interrupts.ignore_those_after_the_first()


def _run() -> None:
    try:
        from inmem.cli.app import app  # noqa: PLC0415  it is an extra: without it this is the place to say so
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write(
            "inmem: error: the command line needs click and rich: pip install '.[cli]' in a clone of inmem\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("inmem: error: interrupted\n")
        raise
    app()


if __name__ == "__main__":
    main()
