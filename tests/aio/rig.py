"""Tools of the asyncio tests: a store on a disk that can be blocked, and a record of what the loop's thread does."""

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager

import inmem.aio
from inmem.actors.dispatch.actor import StoreActor
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on


class WatchedLock:
    """A lock that records which threads have waited for it, or could have."""

    def __init__(self, lock, waited):
        self._lock = lock
        self._waited = waited

    def acquire(self, blocking=True, timeout=-1):
        if blocking:
            self._waited[threading.get_ident()] += 1
        return self._lock.acquire(blocking, timeout)

    def release(self):
        self._lock.release()

    def locked(self):
        return self._lock.locked()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


class WatchedDisk(FaultyDisk):
    """A disk that records which threads have used it."""

    def __init__(self, path):
        super().__init__(path)
        self.used = Counter()

    def fault(self, operation, name):
        self.used[threading.get_ident()] += 1
        return super().fault(operation, name)


class Witness:
    """A record of which threads have run actors or waited for a lock of the dispatcher."""

    def __init__(self):
        self.ran = Counter()
        self.waited = Counter()


@contextmanager
def witness(db):
    """Record the activity of threads in a store during the block."""
    seen = Witness()
    dispatcher = db.directory.dispatcher
    locks = {name: getattr(dispatcher, name) for name in ("_running", "_relieving") if hasattr(dispatcher, name)}
    for name, lock in locks.items():
        setattr(dispatcher, name, WatchedLock(lock, seen.waited))
    handle = StoreActor.handle

    def noting(self, message, reply_to):
        seen.ran[threading.get_ident()] += 1
        handle(self, message, reply_to)

    StoreActor.handle = noting
    try:
        yield seen
    finally:
        StoreActor.handle = handle


@asynccontextmanager
async def store_on(disk, **options):
    """Open a store on a disk, from an event loop."""
    plain = await asyncio.to_thread(open_on, disk, **options)
    try:
        async with inmem.aio.connect(plain) as db:
            yield db
    finally:
        await asyncio.to_thread(plain.close)


def let_pass(monkeypatch, db, seconds):
    """Advance the clock of time limits, and no other clock, by `seconds`."""
    monotonic_s = db._client.monotonic_s
    monkeypatch.setattr(db._client, "monotonic_s", lambda: monotonic_s() + seconds)


async def happens(event):
    """Wait for a threading.Event without blocking the loop."""
    assert await asyncio.to_thread(event.wait, FAILSAFE_S), "it does not happen"


async def until(condition):
    """Yield to the loop until the condition holds."""
    async with asyncio.timeout(FAILSAFE_S):
        while not condition():  # noqa: ASYNC110  (nobody would set an event)
            await asyncio.sleep(0)
