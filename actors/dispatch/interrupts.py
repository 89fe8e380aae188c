"""Ctrl-C waits until the actors are between two messages.

Under the `caller` dispatcher the main thread runs handlers itself, and Python raises KeyboardInterrupt between any two
bytecodes of the main thread. An interrupted handler would leave its actor half-changed. So, as in trio, a SIGINT
handler looks at the interrupted stack. Inside a function marked `uninterrupted` it only notes the interrupt, and the
caller of that function acts on the note with `raise_pending`. Elsewhere KeyboardInterrupt is raised as usual.

The handler is installed when a store is opened from the main thread while Python's own handler is in place. It never
replaces a handler of the program's. Such a handler may raise anything anywhere, so while there is one, the main thread
is called exposed, and runs no actor at all: see `is_exposed`.

A program may declare that its first Ctrl-C ends it, as the command line does: see `first_ctrl_c.py`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  (typeshed has none)
import inspect
import os
import signal
import threading
from _thread import get_ident
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

STRIKES_MAX: Final = 8
"""Exceptions in a row that count as meant for a thread that has not been told of the first yet: another thread may
raise them until this one is dead. An actor that raises more has failed itself, and must not be replaced for ever."""

pending: dict[int, tuple[threading.Thread, BaseException, int]] = {}
"""The exceptions kept back: by thread ident, the thread, the first exception, and how many there were. When this is
not empty, the caller of an uninterrupted function calls `raise_pending` once that function has returned."""


def _always() -> bool:
    return True


is_for_program: Callable[[], bool] = _always
"""Asked at every Ctrl-C: whether to tell the program of it. `first_ctrl_c.py` puts its own answer here."""


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
        Whether the exception was meant for the thread. False if it is the actor's own failure; it is taken for that in
        a thread of the store's own, too, and after `STRIKES_MAX` in a row.
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
    if not is_for_program():
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
