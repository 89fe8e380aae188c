"""What all threads of the store have in common."""

from __future__ import annotations

import threading


def start_thread(thread: threading.Thread) -> bool:
    """Start a thread; return False if the program is ending and Python starts no more threads.

    Python 3.12 refuses to start threads from functions that `atexit` runs; closing a forgotten store is one of them.

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
