import gc
import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def untraced() -> Iterator[None]:
    """Without coverage, callbacks of the garbage collector and other tests' garbage, for tests that raise from outside.

    Hypothesis has such a callback, and garbage has finalizers: Python drops an exception that strikes in either.

    Coverage takes a lock in a tracer, and an exception that strikes there leaves it locked for ever. And in CPython
    3.11 a traced thread that enters a function while such an exception waits for another thread goes round in the
    interpreter until that one has run; it never does if it waits for the first.
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
