"""Background jobs, for work too slow for a page request. The page polls their progress."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inmem import InmemError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Progress: TypeAlias = Callable[[int, int], None]
    Work: TypeAlias = Callable[[Progress], Any]

_WORKERS: Final = 2
"""More workers would only compete with the pages for the interpreter."""

_KEPT_MAX: Final = 50
"""Results kept: enough for all open pages and a few more."""


class _CancelledError(Exception):
    """The explorer is being stopped."""


@dataclass(slots=True)
class Job:
    """One background job.

    Attributes:
        label: the state of the data that the job works on, as a number from its starter.
        done: the amount of work done, in the job's own units.
        total: the total amount of work; 0 if unknown.
        is_over: whether the job has ended, with a result or an error.
        result: the result.
        error: why the job failed, or None.
    """

    label: int
    done: int = 0
    total: int = 0
    is_over: bool = False
    result: Any = None
    error: str | None = None


class Jobs:
    """Background jobs by key. May be used from any thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="inmem-ui-job")
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._is_stopping = False

    def start(self, key: Hashable, label: int, work: Work) -> Job:
        """Return the job of a key; start it if there is none, or if the last one failed or had another label.

        A running job continues, whatever its label. Callers that only poll a job use `find`: two callers that polled
        with `start` and different labels would restart it in turn, and neither would see its result.

        Args:
            key: identifies the job.
            label: the state of the data that the job works on.
            work: does the job; it gets a function to call with (done, total) now and then.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or (job.is_over and (job.error is not None or job.label != label)):
                job = self._jobs[key] = Job(label)
                self._executor.submit(self._run, job, work)
                while len(self._jobs) > _KEPT_MAX:
                    self._jobs.popitem(last=False)
            self._jobs.move_to_end(key)
        return job

    def find(self, key: Hashable) -> Job | None:
        """Return the job of a key, or None."""
        with self._lock:
            return self._jobs.get(key)

    def stop(self) -> None:
        """Cancel all jobs, and return when none is running."""
        self._is_stopping = True
        self._executor.shutdown(cancel_futures=True)

    def _run(self, job: Job, work: Work) -> None:
        def progress(done: int, total: int) -> None:
            if self._is_stopping:
                raise _CancelledError
            job.done, job.total = done, total

        try:
            job.result = work(progress)
        except (InmemError, _CancelledError) as error:
            job.error = str(error) or type(error).__name__
        except BaseException as error:
            job.error = f"{type(error).__name__}: a bug of inmem's"
            raise
        finally:
            job.is_over = True
