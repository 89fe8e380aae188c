"""Ctrl-C waits until the actors are between two messages.

Under the `caller` dispatcher the main thread runs handlers itself, and Python raises KeyboardInterrupt between any two
bytecodes of the main thread. A handler cut short would leave its actor half-changed. So, as trio does, a SIGINT handler
looks at the interrupted stack: inside a function marked `uninterrupted` it only takes a note, and whoever called that
function acts on the note with `raise_pending`; anywhere else KeyboardInterrupt is raised as ever.

The handler is installed when a store is opened from the main thread while Python's own is in place, and never
replaces anybody else's. A handler of the program's own may raise whatever it likes, wherever it likes, so while there
is one the main thread is exposed, and runs no actor at all: see `is_exposed`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  (typeshed has none)
import inspect
import os
import signal
import threading
from _thread import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from inmem.actors.reentrancy import handler_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")

# Those whose handlers programs use to raise something. Looking at each costs time in every commit.
_SIGNALS = tuple(
    int(getattr(signal, name))
    for name in (
        "SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "SIGVTALRM",
        "SIGPROF", "SIGXCPU", "SIGCONT", "SIGWINCH",
    )
    if hasattr(signal, name)
)  # fmt: skip
# The wrapper `signal.getsignal` costs ten times what it wraps.
_handler_of: Callable[[int], Any] = _signal.getsignal  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

_PROTECTED: set[CodeType] = set()

pending: dict[int, BaseException] = {}
"""What was kept back, by ident of the thread that it is for. When it is not empty, whoever called an uninterrupted
function, once that has returned, calls `raise_pending`."""


def uninterrupted(function: FunctionT) -> FunctionT:
    """Keep KeyboardInterrupt out of `function` and of everything that it calls."""
    _PROTECTED.add(function.__code__)
    return function


def raise_pending() -> None:
    """Raise what was kept back for this thread, outside uninterrupted functions; inside them do nothing."""
    ident = get_ident()
    if ident in pending and not _is_protected(inspect.currentframe()):
        raise pending.pop(ident)


def keep_back(error: BaseException) -> bool:
    """Keep an exception that must end the thread, and not just a handler, until `raise_pending`.

    Ctrl-C is one, and what other threads raise in this one, such as SystemExit. The first is kept; return whether this
    is it. A thread of the store's own is nobody's to end.
    """
    ident = get_ident()
    if isinstance(error, Exception) or (ident in handler_threads and ident != _main_ident):
        return False
    return pending.setdefault(ident, error) is error


def install() -> None:
    """Take over SIGINT, if this is the main thread and nobody but Python itself has it."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_sigint)


def is_exposed() -> bool:
    """Return whether a signal handler that is not ours could raise an exception in the calling thread.

    Python runs signal handlers in the main thread only. Costs a tenth of a microsecond elsewhere, a third of one there.
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
_main_ident = threading.main_thread().ident


def _note_main_thread() -> None:
    global _main_ident  # noqa: PLW0603  (whichever thread has forked is the child's main thread)
    _main_ident = get_ident()


os.register_at_fork(after_in_child=_note_main_thread)


def _on_sigint(signum: int, frame: FrameType | None) -> None:
    if _is_protected(frame):
        pending[get_ident()] = KeyboardInterrupt()
        return
    pending.pop(get_ident(), None)
    signal.default_int_handler(signum, frame)


def _is_protected(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _PROTECTED:
            return True
        frame = frame.f_back
    return False
