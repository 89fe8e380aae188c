"""The first Ctrl-C ends the program. One soon after it changes nothing; a later one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Final

from inmem.actors.dispatch import interrupts

IMPATIENT_AFTER_S: Final = 1.0
"""A second Ctrl-C this long after the first is deliberate; an earlier one repeats the first. `timeout -s INT` sends it
both to the process and to its group, and a key held down repeats it."""

_STRIKES_AGAIN_AFTER_S: Final = 0.001

_first_at: float | None = None
_is_in_hook = False


def end_program_at_first(exit_code: int) -> None:
    """Have the first Ctrl-C end the program, and let no repetition of it disturb the end.

    A Ctrl-C more than `IMPATIENT_AFTER_S` after the first ends the process at once, with `exit_code`, as `kill -9`
    does: acknowledged commits are safe, and nothing else is waited for.
    """
    interrupts.is_for_program = partial(_is_first, exit_code)
    sys.unraisablehook = _strike_again_if_lost


def ignore_those_after_the_first() -> None:
    """Ignore SIGINT if the first has ended the program: the interpreter removes its handlers before it exits."""
    if _first_at is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _strike_again_if_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise a KeyboardInterrupt again that Python dropped, as in a `__del__` method: there will be no second one."""
    global _first_at, _is_in_hook  # noqa: PLW0603  (there is one program)
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    _first_at = None
    _is_in_hook = True
    # At the end of the interpreter there is nothing left to interrupt, and no thread can be started.
    with suppress(RuntimeError):
        threading.Thread(target=_strike_again, daemon=True).start()
    _is_in_hook = False


def _strike_again() -> None:
    """Interrupt the main thread once it has left the hook, where the exception would be lost again."""
    while True:
        time.sleep(_STRIKES_AGAIN_AFTER_S)
        if not _is_in_hook:
            break
    # By a signal, because the main thread may be blocked in a system call by then, waiting for an answer for example.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _is_first(exit_code: int) -> bool:
    """Return whether to tell the program of this Ctrl-C; a late one that is not the first ends the process."""
    global _first_at  # noqa: PLW0603  (there is one program)
    now = time.monotonic()
    if _first_at is None:
        _first_at = now
        return True
    if now - _first_at > IMPATIENT_AFTER_S:
        os._exit(exit_code)
    return False
