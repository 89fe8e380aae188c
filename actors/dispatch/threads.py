"""What threads have in common, whatever they are for."""

from __future__ import annotations

import threading


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
