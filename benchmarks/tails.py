"""Tails: the slowest commits and reads on a large store, and the pauses of the garbage collector."""

from __future__ import annotations

import gc
import random
import threading
import time
from itertools import chain

import inmem
from benchmarks.contender import RUN, Inmem, key_name
from benchmarks.measure import CollectorPauses, Figure, Result, Settings, Subject, Target, percentile

VALUE = "v" * 80
CLIENTS = 4


def _mixed_load(db: inmem.Database, keys: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the latencies of commits and of reads in seconds, ascending; there are four reads for each commit."""
    commits: list[list[float]] = [[] for _ in range(CLIENTS)]
    reads: list[list[float]] = [[] for _ in range(CLIENTS)]

    def client(index: int) -> None:
        choose = random.Random(index)
        clock = time.perf_counter
        until = clock() + seconds
        while clock() < until:
            for _ in range(4):
                key = key_name(choose.randrange(keys))
                started = clock()
                db.get(RUN, key)
                reads[index].append(clock() - started)
            key = key_name(choose.randrange(keys))
            started = clock()
            db.transaction(RUN, lambda txn, key=key: txn.put(key, (txn.get(key) or VALUE)[:80]))
            commits[index].append(clock() - started)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(chain.from_iterable(commits)), sorted(chain.from_iterable(reads))


def _tails(settings: Settings) -> Result:
    keys = settings.pick(1_000_000, 100_000)
    folder = settings.folder / "tails"
    store = Inmem("never")
    store.open(folder)
    store.load(keys, VALUE)
    store.db.checkpoint()
    store.close()
    del store
    gc.collect()
    result = Result(notes=[f"{keys:,} keys, {CLIENTS} threads, interval, 4 reads for each read-modify-write commit"])
    with inmem.open(folder, durability="interval") as db:
        for during in ("", ", checkpoint running"):
            stop = threading.Event()
            checkpoints = threading.Thread(target=_checkpoint_until, args=(db, stop)) if during else None
            if checkpoints is not None:
                checkpoints.start()
            with CollectorPauses() as collector:
                commits, reads = _mixed_load(db, keys, max(2.0, settings.seconds * settings.rounds))
            stop.set()
            if checkpoints is not None:
                checkpoints.join()
            for name, latencies in (("commit", commits), ("read", reads)):
                for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
                    value_ms = percentile(latencies, share) * 1000
                    result.figures.append(Figure(f"{name} {label}{during}", "ms", [value_ms]))
            pauses = sorted(collector.pauses_s) or [0.0]
            result.figures.append(Figure(f"longest collection{during}", "ms", [pauses[-1] * 1000]))
            result.notes.append(
                f"{len(commits):,} commits and {len(reads):,} reads; {len(pauses)} garbage collections took "
                f"{sum(pauses) * 1000:.0f} ms together{during}"
            )
    return result


def _checkpoint_until(db: inmem.Database, stop: threading.Event) -> None:
    while not stop.is_set():
        db.checkpoint()


SUBJECTS = (
    Subject(
        "tails",
        "latencies under mixed load on a large store",
        _tails,
        (Target("commit p99.9", at_most=20), Target("commit p99.9, checkpoint running", at_most=20)),
    ),
)
