import gc
import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def untraced() -> Iterator[None]:
    """Run a test without tracers, callbacks of the garbage collector, and other tests' garbage.

    For tests that raise asynchronous exceptions in threads. Hypothesis installs a callback of the collector, and
    garbage has finalizers: Python drops an exception raised in either.

    Coverage takes a lock in its tracer, and an asynchronous exception raised there leaves it locked for ever. Besides,
    in CPython 3.11, while such an exception is pending for another thread, a traced thread that enters a function loops
    in the interpreter until the other thread has run. If that one waits for the traced thread, the loop never ends.
    """
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    gc.collect()
    yield
    gc.callbacks[:] = callbacks
    sys.settrace(tracers[0])
    threading.settrace(tracers[1])
