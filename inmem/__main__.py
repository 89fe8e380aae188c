"""Entry point of ``python -m inmem``, and of the command ``inmem`` after `inmem_command`, see inmem/command/.

Python imports the store before this module runs. The command handles Ctrl-C during that time; under ``python -m``
nothing can, so it shows a traceback, as in any program.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from inmem.actors.dispatch import first_ctrl_c, interrupts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_INTERRUPTED: Final = 130
"""Equals `inmem.cli.errors.INTERRUPTED`; that module may not be imported yet."""


def main(until_now: Callable[[int, FrameType | None], None] | None = None) -> None:
    """Run the command line, or report the packages it needs. Ctrl-C ends it, however often it is pressed.

    Args:
        until_now: the SIGINT handler that the caller may have installed; it is replaced.
    """
    try:
        interrupts.install(until_now)
        first_ctrl_c.end_program_at_first(_INTERRUPTED)
        _run()
    except KeyboardInterrupt:
        # Ctrl-C came before a command began or after it ended.
        sys.exit(_INTERRUPTED)
    finally:
        first_ctrl_c.ignore_those_after_the_first()


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
