"""Blocking client code under the scheduler: each client has a real thread, and only one of them runs at a time.

A client runs until it has to wait: for a reply, for time to pass, or for a message to its own inbox. It also pauses
whenever it looks at the store's newest snapshot, so that anything can happen between two reads.
"""

from __future__ import annotations

import threading
from _thread import LockType, allocate_lock
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar

from inmem.simulation import stalls
from inmem.simulation.scenario import ScenarioError
from inmem.simulation.stalls import StallWatch, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable

KILLS_MAX = 1000
"""How often `ClientKilled` is raised in one client at most. Each `finally` that uses the store consumes one; only code
that catches everything and goes on consumes this many."""


class ClientKilled(BaseException):
    """Unwinds a client whose process has crashed. Not an Exception, so client code does not catch it as an error."""


class _Worker:
    """A thread that runs one client after another: starting a thread costs more than a small scenario."""

    idle: ClassVar[list[_Worker]] = []

    def __init__(self) -> None:
        self.go = _baton()
        self.client: SimulatedClient | None = None
        threading.Thread(target=self._loop, name="simulated-client", daemon=True).start()

    @classmethod
    def start(cls, client: SimulatedClient) -> None:
        worker = cls.idle.pop() if cls.idle else cls()
        worker.client = client
        worker.go.release()

    def _loop(self) -> None:
        while True:
            self.go.acquire()
            client, self.client = self.client, None
            if client is not None:
                client.work()
                self.idle.append(self)
                paused = client.paused
                # This may be the last reference: finalizers must run while this thread has the turn.
                del client
                paused.release()


class SimulatedClient:
    """One piece of blocking client code and its state.

    Args:
        name: unique in the run.
        function: the code to run.
        daemon: whether the run may end while the client still waits, as an actor may wait for its next message.
        ready: whether it may begin; if not, it has to be woken.

    Attributes:
        ready: whether it can go on when it gets the turn.
        done: whether it has returned, raised or been killed.
        error: the exception that it raised.
        waits_for: what it waits for, in words, while it is not ready.
        thread: ident of the worker thread that runs it; 0 before it begins.
        is_lost: whether its thread was given up, because it does not return. Its later requests are refused.
    """

    def __init__(self, name: str, function: Callable[[], Any], *, daemon: bool = False, ready: bool = True) -> None:
        self.name = name
        self.daemon = daemon
        self.ready = ready
        self.done = False
        self.error: BaseException | None = None
        self.waits_for = ""
        self.thread = 0
        self.is_lost = False
        self.paused = _baton()
        self._function = function
        self._killed = False
        self._kills = 0
        self._started = False
        self._turn = _baton()

    def run(self) -> None:
        """Let the client run until it pauses or ends. Called by the scheduler.

        Raises:
            ScenarioError: the client does neither.
        """
        current.client = self
        try:
            if self._started:
                self._turn.release()
            else:
                self._started = True
                _Worker.start(self)
            self._await_pause()
        except BaseException:
            # Also after Ctrl-C: nothing may wait for this client again.
            self._lose()
            raise
        finally:
            current.client = None

    def pause(self, waits_for: str, *, ready: bool) -> None:
        """Let others run. Called by the client. If it is not ready, it does not run again before `wake`."""
        if self._killed:
            self._die()
        self.ready = ready
        self.waits_for = waits_for
        self.paused.release()
        self._turn.acquire()
        if self._killed:
            self._die()

    def wake(self) -> None:
        """Make the client ready: what it waits for has happened. Called by the scheduler."""
        self.ready = not self.done

    def kill(self) -> None:
        """Unwind the client. Called by the scheduler.

        Raises:
            ScenarioError: the client cannot be unwound.
        """
        self._killed = True
        if not self._started:
            self.done = True
        while not (self.done or self.is_lost):
            self.run()
            if self.is_lost:
                raise ScenarioError(
                    f"the client {self.name} cannot be ended: it catches what ends it when its process crashes, as a "
                    f"bare except does. Let it catch Exception. It is here:\n{stack_of(self.thread)}"
                )

    def work(self) -> None:
        """Run the client from beginning to end, in a worker's thread."""
        __tracebackhide__ = True
        self.thread = threading.get_ident()
        try:
            # The thread may have run another client before, whose context variables must not be visible to this one.
            Context().run(self._function)
        except ClientKilled:
            self._killed = True
        except BaseException as error:  # noqa: BLE001  (kept for the scheduler, which raises it)
            self.error = error
        self.done = True
        self.ready = False

    def _await_pause(self) -> None:
        watch: StallWatch | None = None
        while not self.paused.acquire(timeout=stalls.LOOK_EVERY_S):
            watch = watch or StallWatch(self.thread)
            if watch.is_stalled():
                raise ScenarioError(
                    f"the client {self.name} has the turn and does not give it back: it waits for something that the "
                    "simulation does not decide, such as a lock that another client holds, a queue, an event, a thread "
                    f"or a real sleep. It is here:\n{stack_of(self.thread)}"
                )

    def _die(self) -> None:
        self._kills += 1
        if self._kills <= KILLS_MAX:
            raise ClientKilled
        # A thread cannot be ended from outside. This one blocks here for good, and the run goes on and reports it.
        self._lose()
        self.paused.release()
        self._turn.acquire()

    def _lose(self) -> None:
        self.is_lost = self._killed = True
        self.ready = False


class _Current:
    """The client whose turn it is. One variable is enough: only one thread of a simulation runs at a time."""

    client: SimulatedClient | None = None


current = _Current()


def _baton() -> LockType:
    """Return a lock that is already held: `acquire` blocks until another thread calls `release`."""
    lock = allocate_lock()
    lock.acquire()
    return lock
