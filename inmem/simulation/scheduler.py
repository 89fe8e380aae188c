"""The simulated dispatcher: every message waits until the chooser picks it.

What one sender has sent to one receiver stays in order; everything else may happen in any order. Client code runs under
the scheduler too. Nothing here, and nothing below, looks at the machine's clock, at threads, at hashes or at addresses.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedKeyList

from inmem.actors.future import ReplyFuture
from inmem.simulation.clients import SimulatedClient, current
from inmem.simulation.trace import Step, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.mailbox import Mailbox, ReplyTo
    from inmem.simulation.choices import Chooser

STEPS_MAX = 100_000
"""A run that has not come to rest after so many steps never will."""


class Endless(Exception):  # noqa: N818  (a finding about the scenario, reported by Simulation)
    """The run does not come to rest."""


class SimulatedFuture(ReplyFuture[Any]):
    """A future whose reply is announced to the scheduler."""

    __slots__ = ("scheduler", "waiter")

    def __init__(self, waiting: Scheduler | None = None) -> None:
        super().__init__(waiting)
        self.scheduler = waiting
        self.waiter: SimulatedClient | None = None

    def nudge(self) -> None:
        """The reply is there: whoever waits for it can go on."""
        if self.waiter is not None:
            self.waiter.wake()


class Scheduler:
    """Messages, timers and clients of one run, and the loop that picks among them.

    Args:
        chooser: picks.
    """

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser
        self.now_us = 0
        self.steps: list[Step] = []
        self.clients: list[SimulatedClient] = []
        self.observers: list[Callable[[Mailbox, Any], None]] = []
        self.before_delivery: Callable[[Mailbox, Any, ReplyTo | None], bool] | None = None
        self.crashed = False
        self.calm = False
        """While this is set, everything happens in the order in which it was caused."""
        self._sender = "main"
        self._queues: dict[tuple[str, str], deque[tuple[Mailbox, Any, ReplyTo | None]]] = {}
        self._timers: SortedKeyList[tuple[int, int, str, Callable[[], None]]] = SortedKeyList(
            key=lambda timer: timer[:2]
        )
        self._timer_count = 0

    # The Dispatcher protocol.

    def future(self) -> SimulatedFuture:
        """Return an empty future."""
        return SimulatedFuture(self)

    def post(self, mailbox: Mailbox, message: Any, reply_to: ReplyTo | None) -> None:
        """Put a message on its way."""
        if self.crashed:
            return
        sender = self._sender if current.client is None else current.client.name
        queue = self._queues.get((sender, mailbox.name))
        if queue is None:
            queue = self._queues[sender, mailbox.name] = deque()
        queue.append((mailbox, message, reply_to))

    def post_and_run(self, mailbox: Mailbox, message: Any, future: ReplyFuture[Any]) -> None:
        """Put a message on its way; waiting for its reply lets others run."""
        self.post(mailbox, message, future)

    def post_later(self, delay_s: float, mailbox: Mailbox, message: Any) -> None:
        """Put a message on its way when the virtual clock says so."""
        self.call_later(delay_s, mailbox.name, lambda: self.post(mailbox, message, None))

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Let others run until the reply is there or virtual time has passed."""
        client = current.client
        timed_out = [False]

        def expire() -> None:
            timed_out[0] = True
            if client is not None:
                client.wake()

        if timeout_s is not None:
            self.call_later(timeout_s, "main" if client is None else client.name, expire)
        if client is None:
            self.run_until(lambda: future.done or timed_out[0])
            return
        if isinstance(future, SimulatedFuture):
            future.waiter = client
        while not future.done and not timed_out[0]:
            client.pause("a reply", ready=False)

    def sleep(self, delay_s: float) -> None:
        """Let virtual time pass."""
        client = current.client
        over = [False]

        def wake() -> None:
            over[0] = True
            if client is not None:
                client.wake()

        self.call_later(delay_s, "main" if client is None else client.name, wake)
        if client is None:
            self.run_until(lambda: over[0])
            return
        while not over[0]:
            client.pause("time to pass", ready=False)

    def depth(self, mailbox: Mailbox) -> int:
        """Count the messages on their way to a mailbox."""
        return sum(len(queue) for (_, name), queue in self._queues.items() if name == mailbox.name)

    def close(self, mailbox: Mailbox) -> None:
        """Nothing to let go of."""

    def shut_down(self) -> None:
        """Nothing to stop."""

    # What the simulation does with it.

    def call_later(self, delay_s: float, name: str, action: Callable[[], None]) -> None:
        """Have `action` called when the virtual clock has advanced by `delay_s` seconds."""
        self._timer_count += 1
        self._timers.add((self.now_us + round(delay_s * 1e6), self._timer_count, name, action))

    def breathe(self) -> None:
        """From client code, at a place where others may run: let them."""
        client = current.client
        if client is not None:
            client.pause("its turn", ready=True)

    def note(self, sender: str, receiver: str, text: str) -> None:
        """Add a step to the trace."""
        self.steps.append(Step(sender, receiver, text))

    def note_client(self, text: str) -> None:
        """Add a step of the client whose turn it is to the trace."""
        client = current.client
        if client is not None:
            self.steps.append(Step(client.name, client.name, text))

    def run_until(self, done: Callable[[], bool]) -> None:
        """Make steps until `done()`.

        Raises:
            Endless: it never will be.
        """
        while not done():
            if self.crashed:
                return
            if not self.step():
                raise Endless("everything has come to rest, and what main waits for has not happened")

    def run(self) -> None:
        """Make steps until everything has come to rest."""
        while not self.crashed and self.step():
            pass

    def stuck(self) -> list[SimulatedClient]:
        """Return the clients that wait for something that will not happen."""
        return [client for client in self.clients if not client.done and not client.daemon]

    def step(self) -> bool:
        """Make one step; return False when nothing can happen any more."""
        if len(self.steps) > STEPS_MAX:
            raise Endless(f"not at rest after {STEPS_MAX} steps")
        pairs = [pair for pair, queue in self._queues.items() if queue]
        clients = [client for client in self.clients if client.ready and not client.done]
        count = len(pairs) + len(clients)
        alternatives = count + bool(self._timers)
        if alternatives == 0:
            return False
        labels = [receiver for _, receiver in pairs]
        labels += [client.name for client in clients]
        if self._timers:
            labels.append("timer")
        choice = 0 if self.calm else self.chooser.choose(alternatives, labels)
        if choice < len(pairs):
            self._deliver(pairs[choice])
        elif choice < count:
            clients[choice - len(pairs)].run()
        else:
            self._fire()
        return True

    def clear(self) -> None:
        """After a crash: forget every message, timer and client."""
        for client in self.clients:
            client.kill()
        self.clients = []
        self._queues = {}
        self._timers.clear()
        self._sender = "main"

    def _deliver(self, pair: tuple[str, str]) -> None:
        queue = self._queues[pair]
        mailbox, message, reply_to = queue.popleft()
        if not queue:
            del self._queues[pair]
        self.steps.append(Step(pair[0], pair[1], describe(message)))
        self._sender = mailbox.name
        for observe in self.observers:
            observe(mailbox, message)
        if self.before_delivery is None or self.before_delivery(mailbox, message, reply_to):
            mailbox.deliver(message, reply_to)
        self._sender = "main"

    def _fire(self) -> None:
        due_us, _, name, action = self._timers.pop(0)
        self.now_us = max(self.now_us, due_us)
        self.note("timer", name, f"at {self.now_us} us")
        self._sender = "timer"
        action()
        self._sender = "main"
