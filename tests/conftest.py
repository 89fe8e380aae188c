"""Hypothesis profiles, chosen with HYPOTHESIS_PROFILE, and hooks for the whole suite.

No profile has a deadline: the time of an example says more about the machine than about the code.
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
    # New examples in every run. The printed blob, or a kept example database, reproduces a failure.
    derandomize=False,
    print_blob=True,
)
settings.register_profile("thorough", parent=settings.get_profile("ci"), max_examples=2000)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # SIGINT is ignored in background jobs of a shell, and the programs that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set in the first process, so that all worker processes inherit the same value.
os.environ.setdefault("INMEM_FRESH_START", str(time.time_ns() // 1_000_000))


def pytest_report_header(config: pytest.Config) -> str:
    return f"fresh seeds from INMEM_FRESH_START={os.environ['INMEM_FRESH_START']}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Print a failure at once, not only in the summary, which is missing if the run is cut short.
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        # A failure may show characters that cannot be encoded, such as half a surrogate pair.
        text = report.longreprtext.encode("utf-8", "backslashreplace").decode()
        sys.stdout.write(f"\n{report.nodeid}: {report.when} failed\n{text}\n")
        sys.stdout.flush()


def pytest_sessionstart(session: pytest.Session) -> None:
    # Coverage measures the processes of pytest itself (`make coverage`), not the victims that tests start and kill.
    if os.environ.get("PYTEST_XDIST_WORKER") or not session.config.getoption("numprocesses", None):
        os.environ.pop("COVERAGE_PROCESS_START", None)


def pytest_collection_finish() -> None:
    # Modules and tests live until the end. Many tests run a full collection, which need not traverse them.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests marked `unmeasured` without coverage, with which they would take two to five times as long."""
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
    """The store's log events, as seen by an application that has configured structlog."""
    with captured_events() as seen:
        yield seen
