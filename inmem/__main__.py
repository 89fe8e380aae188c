"""Entry point of ``python -m inmem`` and of the command ``inmem``."""

from __future__ import annotations

import sys
from typing import Final

from inmem.actors.dispatch import interrupts

_INTERRUPTED: Final = 130
"""Equals `inmem.cli.errors.INTERRUPTED`; that module may not be imported yet."""


def main() -> None:
    """Run the command line, or report the packages it needs. Ctrl-C ends it, however often it is pressed."""
    interrupts.install()
    interrupts.end_program_at_first(_INTERRUPTED)
    try:
        _run()
    except KeyboardInterrupt:
        # Ctrl-C came before a command began or after it ended.
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
    app()


if __name__ == "__main__":
    main()
