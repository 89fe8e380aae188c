"""Work that takes longer than a page may: it is done in the background, and the page asks how far it has come."""

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
"""More would only share the one interpreter with the pages."""

_KEPT_MAX: Final = 50
"""Results that are remembered: those that somebody has open, and a few more."""


class _CancelledError(Exception):
    """The explorer is being stopped."""


@dataclass(slots=True)
class Job:
    """One piece of work.

    Attributes:
        label: which state of the data it is about, as its starter counts.
        done: how much of it is done, in units of its own.
        total: of how much; 0 if that is not known.
        is_over: there is a result, or an error.
        result: what it came to.
        error: why it came to nothing, or None.
    """

    label: int
    done: int = 0
    total: int = 0
    is_over: bool = False
    result: Any = None
    error: str | None = None


class Jobs:
    """Pieces of work by key. From any thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="inmem-ui-job")
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._is_stopping = False

    def start(self, key: Hashable, label: int, work: Work) -> Job:
        """Return the job of that key, begun now if there is none, or if it came to nothing or was about another state.

        One that is under way goes on. Whoever only waits for a job asks with `find`: two that called this with labels
        of their own would begin it again in turn, and neither would see its end.

        Args:
            key: what it is about.
            label: which state of the data it is to be about.
            work: takes a function to call with (done, total) now and then.
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
        """Return the job of that key, if there is one."""
        with self._lock:
            return self._jobs.get(key)

    def stop(self) -> None:
        """Give up what is being done, and return when nothing is any more."""
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
