"""What threads have in common, whatever they are for."""

from __future__ import annotations

import contextlib
import threading


def unlock(nothing_new: threading.Lock) -> None:
    """Wake the thread that acquires this lock when there is nothing that it has not seen. For use by any thread."""
    if nothing_new.locked():
        # Somebody may have been quicker, between the look and the call: the thread is awake, which is the aim.
        with contextlib.suppress(RuntimeError):
            nothing_new.release()


def start_thread(thread: threading.Thread) -> bool:
    """Start a thread; return False if the program is ending and Python starts none any more.

    Python 3.12 refuses it to the functions that `atexit` runs, of which closing a forgotten store is one.

    Raises:
        RuntimeError: the system has no thread left.
    """
    try:
        thread.start()
    except RuntimeError:
        if threading.main_thread().is_alive():
            raise
        return False
    return True
