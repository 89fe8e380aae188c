"""The scheduler: every message, timer and client waits until the chooser picks it.

Messages from one sender to one receiver stay in order; everything else may happen in any order. Client code runs under
the scheduler too. Nothing here, and nothing below, depends on the machine's clock, on hashes or on addresses. Threads
are looked at only to refuse those that take no part in the run.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from sortedcontainers import SortedKeyList

from inmem.simulation.clients import current
from inmem.simulation.endless import without_end
from inmem.simulation.futures import SimulatedFuture
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.scenario import ScenarioError
from inmem.simulation.trace import MAIN, TIMER, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.actors.dispatch.future import ReplyFuture
    from inmem.actors.dispatch.mailbox import ReplyTo
    from inmem.simulation.choices import Chooser
    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.trace import Answer

STEPS_MAX = 20_000
"""A run that is not at rest after this many steps never will be: small scenarios take a hundred, large ones 2,000."""

IDLE_TIMERS_MAX = 30
"""How often housekeeping may set a timer: a schedule that prefers timers would otherwise get to nothing else."""

EARLY_TIMEOUTS = 0.25
"""The share of timeouts that may expire at any step. A call takes a dozen steps: if every timeout could expire before
each of them, hardly any call would end in time."""

PATIENCE_STEPS = 200
"""The other timeouts expire when nothing else can happen, or after this many steps if something goes on forever."""

A_REPLY = "a reply"
"""What a client waits for after it has asked an actor."""

A_CHANGE = "a change that nobody will make (give its db.watch a timeout=)"
"""What a watcher waits for, as reported when a run is over: only a watcher without a timeout still waits then."""


class Timer(NamedTuple):
    """An action that is due when virtual time reaches `due_us`. The number tells timers apart."""

    due_us: int
    number: int
    name: str
    action: Callable[[], None]
    idle: bool
    """Whether it is housekeeping, for which the run does not wait."""
    patient_until: int
    """Before this many steps of the run, it fires only if nothing else can happen."""


class Carrier(Protocol):
    """Hands a message over when the scheduler decides that it arrives."""

    def deliver(self, target: Any, message: Any, reply_to: ReplyTo | None) -> None:
        """Hand the message over."""
        ...


class Scheduler:
    """Messages, timers and clients of one run, and the loop that picks among them.

    Args:
        chooser: picks what happens next.
        steps_max: a run that takes more steps counts as endless.

    Attributes:
        now_us: virtual time since the beginning, in microseconds.
        steps: what has happened so far.
        clients: the clients started since the last crash, including those that are done.
        outsiders: the names of all clients of the run, and of the scenario itself.
        handling: the name of the actor whose message is being handled; "timer" while a timer fires, otherwise "main".
        crashed: whether the simulated process is dead; then nothing happens any more.
        calm: while set, everything happens in the order in which it was caused.
        thread: ident of the scenario's thread, in which actors run too.
        refused: the error for the first thing done outside the simulation. It was also raised where that was done,
            perhaps in a thread where nobody sees it.
        client_error: the last client error that a step raised.
        unheard: the first client error that was raised out of an unrelated call of the scenario, which may have
            swallowed it.
    """

    def __init__(self, chooser: Chooser, steps_max: int = STEPS_MAX) -> None:
        self.chooser = chooser
        self._steps_max = steps_max
        self.now_us = 0
        self.steps: list[Step] = []
        self.clients: list[SimulatedClient] = []
        self.outsiders: set[str] = {MAIN}
        self.handling = MAIN
        self.crashed = False
        self.calm = False
        self.thread = threading.get_ident()
        self.refused: ScenarioError | None = None
        self.client_error: BaseException | None = None
        self.unheard: BaseException | None = None
        # Messages on their way, by (sender, receiver). Pairs without any are left out; the others are in the order in
        # which their queues began.
        self._queues: dict[tuple[str, str], deque[tuple[Carrier, Any, Any, ReplyTo | None]]] = {}
        self._timers: SortedKeyList[Timer, tuple[int, int]] = SortedKeyList(key=lambda timer: timer[:2])
        self._timer_count = 0
        self._urgent_timers = 0
        self._idle_timers_left = IDLE_TIMERS_MAX
        self._silent_turns = 0  # turns of clients that added no step, such as those that end with sim.pause()

    # For dispatchers, inboxes and clocks.

    def post(self, receiver: str, carrier: Carrier, target: Any, message: Any, reply_to: ReplyTo | None) -> None:
        """Put a message on its way."""
        if self.crashed:
            return
        client = self.whose_turn()
        sender = self.handling if client is None else client.name
        pair = (sender, receiver)
        queue = self._queues.get(pair)
        if queue is None:
            queue = self._queues[pair] = deque()
        queue.append((carrier, target, message, reply_to))

    def wait(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Let others run until the reply arrives or the timeout passes in virtual time."""
        self._wait_for_reply(future, timeout_s, A_REPLY)

    def idle(self, future: ReplyFuture[Any], timeout_s: float | None) -> None:
        """Wait as `wait` does, for a reply that may never come."""
        self._wait_for_reply(future, timeout_s, A_CHANGE)

    def sleep(self, delay_s: float) -> None:
        """Let virtual time pass."""
        self._wait_for(lambda: False, delay_s, "time to pass")

    def call_later(
        self, delay_s: float, name: str, action: Callable[[], None], *, idle: bool = False, patient_until: int = 0
    ) -> Timer:
        """Call `action` when the virtual clock has advanced by `delay_s` seconds.

        A run is at rest when only `idle` timers are left: time does not pass for them alone.
        """
        self._timer_count += 1
        timer = Timer(self.now_us + ceil(delay_s * 1e6), self._timer_count, name, action, idle, patient_until)
        if not idle:
            self._urgent_timers += 1
        elif self._idle_timers_left:
            self._idle_timers_left -= 1
        else:
            return timer
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer, unless it has fired."""
        if timer in self._timers:
            self._timers.remove(timer)
            self._urgent_timers -= not timer.idle

    def breathe(self) -> None:
        """Let others run. Called by client code where they may."""
        client = self.whose_turn()
        if client is not None:
            client.pause("its turn", ready=True)

    def depth(self, receiver: str) -> int:
        """Count the messages on their way to a receiver."""
        return sum(len(queue) for (_, name), queue in self._queues.items() if name == receiver)

    def whose_turn(self) -> SimulatedClient | None:
        """Return the client that calls this, or None for the scenario and the actors.

        Raises:
            ScenarioError: the caller is in none of their threads. The scheduler cannot make such a thread wait: it
                would run beside the simulation, and code that waits for it would wait forever.
        """
        if not self.is_calling():
            self.refuse(
                f"the thread {threading.current_thread().name!r} is no part of the simulation: a scenario runs plain "
                "functions and pykka actors; it starts no threads, and no event loop with a handle of inmem.aio"
            )
        return current.client

    def is_calling(self) -> bool:
        """Return whether the caller is the scenario, one of its actors or the client whose turn it is."""
        client = current.client
        return threading.get_ident() == (self.thread if client is None else client.thread)

    def refuse(self, what: str) -> NoReturn:
        """Refuse something that would not be simulated, and remember the error.

        Raises:
            ScenarioError: always.
        """
        error = ScenarioError(what)
        self._remember(error)
        raise error

    def require_all_simulated(self) -> None:
        """Raise the first refusal, if there was one: the run has not tested what it seems to have tested.

        Raises:
            ScenarioError: something was refused.
        """
        if self.refused is not None:
            raise self.refused

    # The trace.

    def note(self, sender: str, receiver: str, what: Any) -> None:
        """Add a step to the trace."""
        self.steps.append(Step(sender, receiver, what))

    def note_client(self, text: str) -> None:
        """Add a step to the trace for the client whose turn it is."""
        name = MAIN if current.client is None else current.client.name
        self.steps.append(Step(name, name, text))

    def note_answer(self, asker: str, answer: Answer) -> None:
        """Add to the trace that `asker` gets an answer."""
        sender = self.handling if current.client is None else current.client.name
        self.steps.append(Step(sender, asker, answer))

    # For the simulation.

    def run_until(self, done: Callable[[], bool], waits_for: str) -> None:
        """Make steps until `done()`, which the scenario waits for.

        Raises:
            BrokenPromise: nothing more can happen, and `done()` is still false.
            Endless: as `step`.
        """
        while not done() and not self.crashed:
            try:
                can_go_on = self.step()
            except BaseException as error:
                # The scenario may catch this error, because it expects such an error from the call it made.
                if self.unheard is None and error is self.client_error:
                    self.unheard = error
                raise
            if not can_go_on:
                raise BrokenPromise(f"everything has come to rest, yet {MAIN} waits for {waits_for}")

    def run(self) -> None:
        """Make steps until everything has come to rest."""
        __tracebackhide__ = True
        while not self.crashed and self.step():
            pass

    def stuck(self) -> list[SimulatedClient]:
        """Return the clients that wait for something that will not happen; of daemons, those that wait for a reply."""
        return [each for each in self.clients if not each.done and (not each.daemon or each.waits_for == A_REPLY)]

    def step(self) -> bool:
        """Make one step; return False when nothing can happen any more.

        Raises:
            Endless: there were too many steps, and clients took part in the last ones.
            BrokenPromise: there were too many steps, and clients took no part in the last ones.
            BaseException: whatever a client raised.
        """
        __tracebackhide__ = True
        if max(len(self.steps), self._silent_turns) > self._steps_max:
            raise without_end(self.steps, self.clients, self._silent_turns)
        ready = [client for client in self.clients if client.ready]
        messages = len(self._queues)
        count = messages + len(ready)
        if count == 0 and self._urgent_timers == 0:
            return False
        alternatives = count + (bool(self._timers) and (count == 0 or self._is_time_up()))
        choice = 0
        if alternatives > 1 and not self.calm:
            choice = self.chooser.choose(alternatives, self._labels)
        if choice < messages:
            self._deliver(next(islice(self._queues, choice, None)))
        elif choice < count:
            client = ready[choice - messages]
            self._give_turn(client)
            if client.error is not None:
                self.client_error = client.error
                raise client.error
        else:
            self._fire()
        return True

    def clear(self) -> None:
        """Forget every message, timer and client, after a crash.

        Raises:
            ScenarioError: a client cannot be ended; the others have been.
        """
        unended: ScenarioError | None = None
        for client in self.clients:
            try:
                client.kill()
            except ScenarioError as error:
                unended = unended or error
        self.clients = []
        self._queues = {}
        self._timers.clear()
        self._idle_timers_left = IDLE_TIMERS_MAX
        self._urgent_timers = 0
        self.handling = MAIN
        if unended is not None:
            self._remember(unended)
            raise unended

    def _give_turn(self, client: SimulatedClient) -> None:
        __tracebackhide__ = True
        steps = len(self.steps)
        try:
            client.run()
        except ScenarioError as error:
            self._remember(error)
            raise
        self._silent_turns += len(self.steps) == steps

    def _remember(self, refusal: ScenarioError) -> None:
        if self.refused is None:
            self.refused = refusal

    def _is_time_up(self) -> bool:
        """Return whether the next timer may fire although something else can happen."""
        return len(self.steps) >= self._timers[0].patient_until

    def _patience(self) -> int:
        """Decide whether a new timeout may expire at once; return its `patient_until`."""
        return 0 if not self.calm and self.chooser.chance(EARLY_TIMEOUTS) else len(self.steps) + PATIENCE_STEPS

    def _labels(self) -> list[str]:
        receivers = [receiver for _, receiver in self._queues]
        return [*receivers, *[client.name for client in self.clients if client.ready], TIMER]

    def _wait_for_reply(self, future: ReplyFuture[Any], timeout_s: float | None, waits_for: str) -> None:
        client = self.whose_turn()
        if isinstance(future, SimulatedFuture):
            future.waiter = client
        self._wait_for(lambda: future.done, timeout_s, waits_for, 0 if timeout_s is None else self._patience())

    def _wait_for(
        self, done: Callable[[], bool], timeout_s: float | None, waits_for: str, patient_until: int = 0
    ) -> None:
        client = self.whose_turn()
        timed_out = False

        def expire() -> None:
            nonlocal timed_out
            timed_out = True
            if client is not None:
                client.wake()

        timer = None
        if timeout_s is not None:
            name = MAIN if client is None else client.name
            timer = self.call_later(timeout_s, name, expire, patient_until=patient_until)
        if client is None:
            self.run_until(lambda: done() or timed_out, waits_for)
        else:
            while not (done() or timed_out):
                client.pause(waits_for, ready=False)
        if timer is not None:
            self.cancel(timer)

    def _deliver(self, pair: tuple[str, str]) -> None:
        queue = self._queues[pair]
        carrier, target, message, reply_to = queue.popleft()
        if not queue:
            del self._queues[pair]
        self.steps.append(Step(pair[0], pair[1], message))
        self.handling = pair[1]
        try:
            carrier.deliver(target, message, reply_to)
        finally:
            self.handling = MAIN

    def _fire(self) -> None:
        timer = self._timers[0]
        self.cancel(timer)
        self.now_us = max(self.now_us, timer.due_us)
        self.note(TIMER, timer.name, f"at {_seconds(self.now_us)} s")
        self.handling = TIMER
        try:
            timer.action()
        finally:
            self.handling = MAIN


def _seconds(time_us: int) -> str:
    return f"{time_us / 1e6:.6f}".rstrip("0").rstrip(".")
