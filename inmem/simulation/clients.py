"""Blocking client code under the scheduler: a real thread each, of which only one runs at a time.

A client runs until it has to wait: for a reply, for time to pass, for a message to its own inbox. It also pauses
whenever it looks at the store's newest snapshot, so that anything can happen between two reads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class ClientKilled(BaseException):
    """Unwinds a client whose process has crashed. Not an Exception: client code must not take it for an error."""


class _Worker:
    """A thread that runs one function after another, kept for later clients because starting threads is slow."""

    idle: list[_Worker] = []

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)
        self._job: Callable[[], None] | None = None
        threading.Thread(target=self._loop, name="simulated-client", daemon=True).start()

    @classmethod
    def run(cls, job: Callable[[], None]) -> None:
        worker = cls.idle.pop() if cls.idle else cls()
        worker._job = job
        worker._go.release()

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            job, self._job = self._job, None
            if job is not None:
                job()


class SimulatedClient:
    """One piece of blocking code and where it stands.

    Args:
        name: unique in the run.
        function: what it does.
        daemon: whether the run may end while it still waits, as an actor may for its next message.
    """

    def __init__(self, name: str, function: Callable[[], Any], *, daemon: bool = False) -> None:
        self.name = name
        self.daemon = daemon
        self.ready = True
        self.done = False
        self.killed = False
        self.error: BaseException | None = None
        self.waits_for = ""
        self._function = function
        self._started = False
        self._turn = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)

    def run(self) -> None:
        """From the scheduler: let the client go on until it pauses or ends."""
        current.client = self
        if self._started:
            self._turn.release()
        else:
            self._started = True
            _Worker.run(self._main)
        self._paused.acquire()
        current.client = None

    def pause(self, waits_for: str, *, ready: bool) -> None:
        """From the client: let others run. A client that is not ready is not run again before `wake`."""
        if self.killed:
            raise ClientKilled
        self.ready = ready
        self.waits_for = waits_for
        self._paused.release()
        self._turn.acquire()
        if self.killed:
            raise ClientKilled

    def wake(self) -> None:
        """From the scheduler: what the client waits for has happened."""
        self.ready = True

    def kill(self) -> None:
        """From the scheduler: unwind the client."""
        if self.done:
            return
        self.killed = True
        if not self._started:
            self.done = True
            return
        while not self.done:
            self.run()

    def _main(self) -> None:
        try:
            self._function()
        except ClientKilled:
            self.killed = True
        except BaseException as error:  # noqa: BLE001  (kept for the scheduler, which raises it)
            self.error = error
        self.done = True
        self.ready = False
        self._paused.release()


class _Current:
    """The client whose turn it is. One variable will do: only one thread of a simulation runs at a time."""

    client: SimulatedClient | None = None


current = _Current()
