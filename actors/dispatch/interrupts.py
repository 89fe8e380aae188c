"""Ctrl-C waits until the actors are between two messages.

Under the `caller` dispatcher the main thread runs handlers itself, and Python raises KeyboardInterrupt between any two
bytecodes of the main thread. An interrupted handler would leave its actor half-changed. So, as in trio, a SIGINT
handler looks at the interrupted stack. Inside a function marked `uninterrupted` it only notes the interrupt, and the
caller of that function acts on the note with `raise_pending`. Elsewhere KeyboardInterrupt is raised as usual.

The handler is installed when a store is opened from the main thread while Python's own handler is in place. It never
replaces a handler of the program's. Such a handler may raise anything anywhere, so while there is one, the main thread
is called exposed, and runs no actor at all: see `is_exposed`.

A program may declare that its first Ctrl-C ends it, as the command line does: see `end_program_at_first`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  (typeshed has none)
import inspect
import os
import signal
import sys
import threading
import time
from _thread import get_ident
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inmem.actors.dispatch.reentrancy import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")

# The signals whose handlers programs use to raise exceptions. Checking each one costs time in every commit.
_SIGNALS = tuple(
    int(getattr(signal, name))
    for name in (
        "SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "SIGVTALRM",
        "SIGPROF", "SIGXCPU", "SIGCONT", "SIGWINCH",
    )
    if hasattr(signal, name)
)  # fmt: skip
# The wrapper `signal.getsignal` costs ten times as much as this.
_handler_of: Callable[[int], Any] = _signal.getsignal  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

_PROTECTED: set[CodeType] = set()

IMPATIENT_AFTER_S: Final = 1.0
"""A second Ctrl-C this long after the first is deliberate; an earlier one repeats the first. `timeout -s INT` sends it
both to the process and to its group, and a key held down repeats it."""

_STRIKES_AGAIN_AFTER_S: Final = 0.001

STRIKES_MAX: Final = 8
"""Exceptions in a row that count as meant for a thread that has not been told of the first yet: another thread may
raise them until this one is dead. An actor that raises more has failed itself, and must not be replaced for ever."""

pending: dict[int, tuple[threading.Thread, BaseException, int]] = {}
"""The exceptions kept back: by thread ident, the thread, the first exception, and how many there were. When this is
not empty, the caller of an uninterrupted function calls `raise_pending` once that function has returned."""


def uninterrupted(function: FunctionT) -> FunctionT:
    """Keep KeyboardInterrupt out of `function` and everything it calls."""
    _PROTECTED.add(function.__code__)
    return function


def raise_pending() -> None:
    """Raise the exception kept back for this thread; inside uninterrupted functions do nothing."""
    ident = get_ident()
    if ident in pending and not _is_protected(inspect.currentframe()):
        thread, error, _ = pending.pop(ident)
        # The thread it was meant for may have ended, and the system may have given its ident to this one.
        if thread is threading.current_thread():
            raise error


def keep_back(error: BaseException) -> bool:
    """Keep an exception that is meant to end the thread, and not just a handler, until `raise_pending`.

    Such exceptions are KeyboardInterrupt, and those that other threads raise in this one, such as SystemExit. Only the
    first is kept. Nothing from outside may end the store's own threads.

    Returns:
        Whether the exception was meant for the thread; False if it is the actor's own failure.
    """
    ident = get_ident()
    if isinstance(error, Exception) or ident in own_threads:
        return False
    thread = threading.current_thread()
    kept = pending.get(ident)
    count = 1
    if kept is not None and kept[0] is thread:
        _, error, before = kept
        count += before
    pending[ident] = thread, error, count
    return count <= STRIKES_MAX


def install(until_now: Callable[[int, FrameType | None], None] | None = None) -> None:
    """Take over SIGINT, if this is the main thread and the handler is Python's own, or is `until_now`."""
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler or (handler is until_now and until_now is not None):
        signal.signal(signal.SIGINT, _on_sigint)


def end_program_at_first(exit_code: int) -> None:
    """Have the first Ctrl-C end the program, and no later one keep it from stopping what it has started.

    A Ctrl-C more than `IMPATIENT_AFTER_S` after the first ends the process at once, with `exit_code`, as `kill -9`
    does: acknowledged commits are safe, and nothing else is waited for.
    """
    global _exit_code  # noqa: PLW0603  (there is one program)
    _exit_code = exit_code
    sys.unraisablehook = _strike_again_if_lost


def ignore_those_after_the_first() -> None:
    """Ignore SIGINT if the first has ended the program: the interpreter removes its handlers before it exits."""
    if _first_at is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


_exit_code: int | None = None
_first_at: float | None = None
_is_in_hook = False


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
    signal.pthread_kill(_main_ident, signal.SIGINT)


def _is_first() -> bool:
    """Return whether to tell the program of this Ctrl-C; a late one that is not the first ends the process."""
    global _first_at  # noqa: PLW0603  (there is one program)
    if _exit_code is None:
        return True
    now = time.monotonic()
    if _first_at is None:
        _first_at = now
        return True
    if now - _first_at > IMPATIENT_AFTER_S:
        os._exit(_exit_code)
    return False


def is_exposed() -> bool:
    """Return whether the calling thread is exposed: a signal handler that is not ours could raise an exception in it.

    Python runs signal handlers in the main thread only. Costs a third of a microsecond there, a tenth of one elsewhere.
    """
    global _seen, _seen_exposed  # noqa: PLW0603  (what was found last time, most often still true)
    if get_ident() != _main_ident:
        return False
    handlers = [*map(_handler_of, _SIGNALS)]
    if handlers != _seen:
        _seen_exposed = any(callable(handler) and handler is not _on_sigint for handler in handlers)
        _seen = handlers
    return _seen_exposed


_seen: list[Any] = []
_seen_exposed = False
_main_ident = threading.main_thread().ident or 0


def _note_main_thread() -> None:
    global _main_ident  # noqa: PLW0603  (whichever thread has forked is the child's main thread)
    _main_ident = get_ident()


os.register_at_fork(after_in_child=_note_main_thread)


def _on_sigint(signum: int, frame: FrameType | None) -> None:
    if not _is_first():
        return
    if _is_protected(frame):
        pending[get_ident()] = threading.current_thread(), KeyboardInterrupt(), 1
        return
    pending.pop(get_ident(), None)
    signal.default_int_handler(signum, frame)


def _is_protected(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _PROTECTED:
            return True
        frame = frame.f_back
    return False
