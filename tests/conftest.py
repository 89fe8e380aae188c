"""Hypothesis profiles; HYPOTHESIS_PROFILE names the one to use.

None has a deadline: how long an example takes says more about the machine than about the code.
"""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.log_events import LogEvents, captured_events

settings.register_profile("default", deadline=None, max_examples=50, stateful_step_count=30)
settings.register_profile("quick", deadline=None, max_examples=10, stateful_step_count=20)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    stateful_step_count=50,
    # New examples in every run; the blob, and the example database where it is kept, bring a failure back.
    derandomize=False,
    print_blob=True,
)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=2000)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a background job of a shell. The programs that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set here, in the process that starts the others, so that all of them have the same one.
os.environ.setdefault("INMEM_FRESH_START", str(time.time_ns() // 1_000_000))


def pytest_report_header(config: pytest.Config) -> str:
    return f"fresh seeds from INMEM_FRESH_START={os.environ['INMEM_FRESH_START']}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # At once, and not only in the summary: where the run is cut short there is none.
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        # A failure may show what no encoding has a character for, such as half a surrogate pair.
        text = report.longreprtext.encode("utf-8", "backslashreplace").decode()
        sys.stdout.write(f"\n{report.nodeid}: {report.when} failed\n{text}\n")
        sys.stdout.flush()


def pytest_sessionstart(session: pytest.Session) -> None:
    # Coverage measures the processes of pytest itself (`make coverage`), not the victims that tests start and kill.
    if os.environ.get("PYTEST_XDIST_WORKER") or not session.config.getoption("numprocesses", None):
        os.environ.pop("COVERAGE_PROCESS_START", None)


def pytest_collection_finish() -> None:
    # Modules and tests stay to the end. Many tests ask for a look at all garbage, which need not go through them.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run what is marked `unmeasured` without coverage, which makes it take two to five times as long."""
    if item.get_closest_marker("unmeasured") is None:
        return (yield)
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])


@pytest.fixture
def events() -> Iterator[LogEvents]:
    """Log events, as an application sees them that has configured structlog."""
    with captured_events() as seen:
        yield seen
