"""Whatever statement of the core's handlers raises, callers learn the truth and the store goes on.

A first life counts the statements that a few commits take; then each is made to raise in a store of its own. Traced are
the actors that a commit passes and the state machines that decide for them, not the machinery that carries messages.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import inmem
from inmem import Database
from inmem.actors.core import coordinator, log_disk, log_writer, shard_actor
from inmem.actors.requests import primitive_actor
from inmem.engine import outcomes
from inmem.engine.commits import pipeline, request_groups, shard
from inmem.engine.log import group_commit
from tests.actors.faulty_disk import FaultyDisk, open_on
from tests.actors.workload import Worker, in_parallel, state_of

TRACED = frozenset(
    module.__file__
    for module in (
        *(coordinator, log_disk, log_writer, primitive_actor, shard_actor),
        *(group_commit, outcomes, pipeline, request_groups, shard),
    )
)
STRIDE = int(os.environ.get("INMEM_STATEMENTS_STRIDE", "7"))
"""Every n-th statement is made to raise; 1 means all of them."""


class StatementError(Exception):
    """Raised in place of a statement."""


class Tracer:
    """Counts the statements executed in `TRACED`, in any thread, and raises before one of them.

    Args:
        raise_at: which one, counted from 1; 0 for none.
    """

    def __init__(self, raise_at: int) -> None:
        self._raise_at = raise_at
        self._lock = threading.Lock()
        self.is_active = False
        self.count = 0
        self.where = ""

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace this thread and those that it starts."""
        before, before_in_threads = sys.gettrace(), threading.gettrace()
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(before_in_threads)

    def _call(self, frame: FrameType, _event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename in TRACED else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and self.is_active:
            with self._lock:
                self.count += 1
                strikes = self.count == self._raise_at
            if strikes:
                self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                raise StatementError(self.where)
        return self._line


def work(db: Database, worker: Worker, appended: list[int]) -> None:
    worker.do(2)
    db.kv.put("run", "k", 1)
    appended.append(db.events.append("run", "once").sequence)
    appended.append(db.events.append("run", "once").sequence)
    db.flush()


def live(db: Database, tracer: Tracer) -> Worker:
    """Commit with the tracer at work, then go on without it, and check what was promised."""
    worker = Worker(db, "ada")
    worker.do(1)
    appended: list[int] = []
    tracer.is_active = True
    try:
        in_parallel(lambda: work(db, worker, appended))
    except inmem.TransactionAbortedError:
        # Of the put, an append or the flush: an answer.
        assert tracer.where
    tracer.is_active = False
    in_parallel(lambda: db.put("run", "after", 1))
    assert not worker.unknown
    assert list(range(db.events.len("run"))) == appended
    worker.check(db)
    stats = db.stats()
    assert stats.in_flight == 0
    # A beginning that was noted down and could not be answered may stay noted until its traceback is gone.
    assert stats.active_transactions <= 1
    return worker


@pytest.mark.parametrize("storage", ["disk", "memory"])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_any_statement_raises(tmp_path, storage, dispatcher):
    statements, at = 1, 0
    while at < statements:
        tracer = Tracer(at)
        with tracer.tracing():
            path = tmp_path / str(at)
            db = (
                open_on(FaultyDisk(path), dispatcher=dispatcher)
                if storage == "disk"
                else inmem.open(":memory:", dispatcher=dispatcher)
            )
            try:
                worker = live(db, tracer)
                state = state_of(db)
                db.close()
                if storage == "disk":
                    with inmem.open(path) as again:
                        assert state_of(again) == state
                        worker.check(again)
            except BaseException as error:
                error.add_note(f"statement {at}: {tracer.where}")
                raise
        if at == 0:
            statements = tracer.count
            assert statements > 100
        at += STRIDE
