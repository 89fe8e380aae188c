"""What the program has the store call, in the middle of its own work, may ask but not wait."""

import gc
import sys

import pytest
import structlog

import inmem
from tests.actors.stage import DISPATCHERS, in_threads


@pytest.fixture(params=DISPATCHERS)
def db(request, tmp_path):
    with inmem.open(tmp_path / "db", dispatcher=request.param) as opened:
        yield opened


def test_a_finalizer_that_the_collector_runs_inside_an_actor_does_not_stop_the_store(db, monkeypatch):
    refused = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: refused.append(unraisable.exc_value))

    class Session:
        def __init__(self, number):
            # A cycle, so that it is the collector who runs its finalizer: at any moment.
            self.itself = self
            self.number = number

        def __del__(self):
            db.put("closed", f"s{self.number % 10}", self.number)

    def work():
        for number in range(500):
            Session(number)
            db.put("run", "k", number)

    threshold = gc.get_threshold()
    gc.set_threshold(20)
    try:
        in_threads(work)
    finally:
        gc.set_threshold(*threshold)
    assert db.get("run", "k") == 499
    assert all(isinstance(error, inmem.UsageError) for error in refused)
    assert any("finalizer" in str(error) for error in refused)
    # What was asked for is done all the same.
    assert len(db.kv.list("closed")) == 10


def test_a_processor_that_keeps_the_log_in_the_store_does_not_stop_it(db, monkeypatch):
    kept = []

    def keep(_logger, _method, event):
        kept.append(event["event"])
        db.events.append("log", event["event"])
        return event

    structlog.configure(processors=[keep, structlog.processors.KeyValueRenderer()])
    complaints = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: complaints.append(error))
    try:
        in_threads(lambda: lose_many(db))
    finally:
        structlog.reset_defaults()
    assert "conflict_storm" in kept
    assert db.put("run", "k", 1) == db.version


def lose_many(db):
    transactions = [db.begin("run") for _ in range(150)]
    for txn in transactions:
        txn.put("k", txn.get("k"))
        try:
            txn.commit()
        except inmem.ConflictError:
            continue
