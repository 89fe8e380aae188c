"""Requests become transactions, and crowds become few of them: what a primitive actor decides, without its messages.

A request is carried out on a transaction that begins at the newest snapshot. While the commit of one group is in
flight, further requests wait; then they are carried out together, in the order in which they came, on one transaction.
Fifty agents that append to one log at once cost a handful of commits.

Inside a group each request stands alone: one that fails is taken back to its mark, and the others go on. One that
writes what a neighbour has written opens the next group: two writes of a key never have one version. Answers, refusals
included, go out when the group has committed, because a refusal may rest on what a neighbour wrote. When the group
loses against another commit, its requests are carried out again on a fresh snapshot.

A group loses when any of its requests does, so among transactions that each write one of its keys, a large one might
lose for ever. Each loss halves the next groups, down to a single request, which loses only for what it does itself;
each success doubles them again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from msgspec import Struct

from inmem.engine.commits.retry import RetryPolicy
from inmem.engine.errors import InmemError, InvariantError, TransactionAbortedError, UsageError
from inmem.engine.shown import shown_failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.engine.commits.transaction import CommitRequest, Transaction
    from inmem.engine.ports import Entropy

GROUP_REQUESTS_MAX = 256
"""Requests carried out on one transaction: a longer group would make its first request wait for its last."""

BACKOFF_AFTER = 8
"""Lost attempts after which there is a pause before the next: until then it is quicker to try again at once."""

ABORTS_MAX = 20
"""How often in a row the store may abort a group, without a conflict, before its requests are refused."""

COMMIT_VERSION: Final = object()
"""The result of a request whose answer is the version that its group will have committed as."""

_BACKOFF = RetryPolicy()


class Postpone(Exception):  # noqa: N818  (not an error: it never leaves this module and those who carry requests out)
    """Raised while a request is carried out: it needs a version that its group has not got yet; it opens the next."""


class Pending(Protocol):
    """A request, and whoever waits for its answer. Answering twice is a no-op after the first time."""

    @property
    def message(self) -> Any:
        """The request."""
        ...

    def answer(self, value: Any) -> None:
        """Answer with a value."""
        ...

    def refuse(self, error: BaseException) -> None:
        """Answer with an error."""
        ...


class RequestOutbox(Protocol):
    """What requests need of the one who takes them."""

    def begin(self) -> Transaction:
        """Return a transaction on the newest snapshot."""
        ...

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry one request out; return its answer or `COMMIT_VERSION`, or raise what the caller is to get."""
        ...

    def commit(self, request: CommitRequest, attempt: int, group: int) -> None:
        """Send a group's transaction off; `committed`, `lost` or `aborted` reports what becomes of it.

        The same group may be sent again, and must then not be committed twice.
        """
        ...

    def pause(self, delay_s: float, group: int) -> None:
        """Call `retry` for the group after a while."""
        ...

    def rest(self) -> None:
        """Nothing waits, and nothing is in flight."""
        ...


class Refusal(Struct, frozen=True):
    """The answer to a request that failed."""

    error: InmemError


PendingT = TypeVar("PendingT", bound=Pending)


class RequestGroups(Generic[PendingT]):
    """The requests of one primitive: those that wait, and the group whose commit is in flight.

    Args:
        name: of the actor, for messages.
        outbox: carries the decisions out.
        entropy: for the length of pauses.

    Attributes:
        waiting: requests that no commit in flight holds, in the order in which they came. For others to look at.
    """

    def __init__(self, name: str, outbox: RequestOutbox, entropy: Entropy) -> None:
        self.waiting: deque[PendingT] = deque()
        self._name = name
        self._out = outbox
        self._entropy = entropy
        self._in_flight: list[tuple[PendingT, Any]] | None = None
        self._sealed: CommitRequest | None = None
        self._group = 0
        self._attempt = 0
        self._aborts = 0
        self._requests_max = GROUP_REQUESTS_MAX
        self._refusal: InmemError | None = None
        # The request over which this has stopped, and what was raised.
        self._broken: tuple[PendingT, Exception] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is in flight."""
        return not self.waiting and self._in_flight is None

    def append(self, request: PendingT) -> None:
        """Take a request, and carry it out unless others are before it."""
        if self._refusal is not None:
            request.refuse(self._refusal)
            return
        self.waiting.append(request)
        if self._in_flight is None and self._attempt == 0:
            self._carry_out()

    def committed(self, group: int, version: int) -> None:
        """The commit of a group has succeeded: answer, and go on."""
        in_flight = self._in_flight
        if in_flight is not None and group == self._group:
            self._attempt = self._aborts = 0
            if self._requests_max < GROUP_REQUESTS_MAX:
                self._requests_max = min(2 * self._requests_max, GROUP_REQUESTS_MAX)
            self._answer(in_flight, version)
            self._in_flight = self._sealed = None
            self._carry_out()

    def lost(self, group: int) -> None:
        """The commit of a group has lost against another: carry its requests out again, half of them first."""
        in_flight = self._in_flight
        if in_flight is not None and group == self._group:
            self._aborts = 0
            self._requests_max = max(1, len(in_flight) // 2)
            self._repeat(in_flight)

    def aborted(self, group: int, error: InmemError) -> None:
        """The store could not take the commit of a group: after a restart it may, else the requests are refused."""
        in_flight = self._in_flight
        if in_flight is None or group != self._group:
            return
        if isinstance(error, TransactionAbortedError) and self._aborts < ABORTS_MAX:
            self._aborts += 1
            self._repeat(in_flight)
        else:
            self._attempt = self._aborts = 0
            self._refuse(in_flight, error)
            self._in_flight = self._sealed = None
            self._carry_out()

    def retry(self, group: int) -> None:
        """Carry out what waits, if it is still that group's turn."""
        if group == self._group and self._in_flight is None:
            self._carry_out()

    def go_on(self) -> None:
        """Do what `take_over` has left to be done: carry out what waits, or send what may not have been sent."""
        if self._in_flight is None:
            self._carry_out()
        elif self._sealed is not None:
            self._out.commit(self._sealed, self._attempt, self._group)

    def absolve(self) -> None:
        """This has stopped for want of room to run in, not over a request: the successor carries out that one too."""
        self._broken = None

    def refuse_all(self, refusal: InmemError) -> None:
        """Refuse what waits, and from now on whatever comes. A group in flight is answered as its commit goes."""
        self._refusal = refusal
        while self.waiting:
            self.waiting.popleft().refuse(refusal)

    def take_over(self, earlier: RequestGroups[PendingT], requests: Iterable[PendingT]) -> None:
        """Take the place of somebody who stopped, refuse what it has stopped over; `go_on` does the rest.

        Args:
            earlier: wherever it stopped; its waiting line may be incomplete.
            requests: all that have not been answered, in the order in which they came.
        """
        self._in_flight = earlier._in_flight
        self._sealed = earlier._sealed
        self._group = earlier._group
        self._attempt = earlier._attempt
        self._aborts = earlier._aborts
        self._requests_max = earlier._requests_max
        elsewhere = {request for request, _ in self._in_flight or ()}
        if earlier._broken is not None:
            # It has brought one actor down. It must not bring the successor down as well.
            broken, error = earlier._broken
            elsewhere.add(broken)
            broken.refuse(TransactionAbortedError(f"the {self._name} actor failed: {shown_failure(error)}"))
        self.waiting.extend(request for request in requests if request not in elsewhere)

    def _carry_out(self) -> None:
        """Carry out what waits, group by group, until one is in flight or nothing waits."""
        while self.waiting:
            txn = self._out.begin()
            group = self._perform_group(txn)
            self._group += 1
            if not group or not txn.has_writes:
                # What has lost may be refused the next time, or have nothing to write. The next group begins anew.
                self._attempt = self._aborts = 0
                self._answer(group, txn.start_version)
                continue
            try:
                request = txn.seal()
            except UsageError as error:
                self._split(group, error)
                continue
            # In flight before it is sent: whoever takes over cannot know whether that has happened, and sends it again.
            self._sealed = request
            self._in_flight = group
            self._out.commit(request, self._attempt, self._group)
            return
        # A group that lost may have nothing to write the next time: then there is nobody left to pause for.
        self._attempt = 0
        self._out.rest()

    def _split(self, group: list[tuple[PendingT, Any]], error: UsageError) -> None:
        """Together they write more than a transaction may: carry them out in smaller groups."""
        if len(group) == 1:
            self._attempt = self._aborts = 0
            group[0][0].refuse(error)
            return
        self.waiting.extendleft(request for request, _ in reversed(group))
        self._requests_max = len(group) // 2

    def _perform_group(self, txn: Transaction) -> list[tuple[PendingT, Any]]:
        """Carry out requests on `txn`, as many as may share it; none if the only one was refused."""
        group: list[tuple[PendingT, Any]] = []
        waiting = self.waiting
        # Whoever is alone can be refused at once, and the transaction thrown away: nothing has to be taken back.
        alone = len(waiting) == 1
        while waiting and len(group) < self._requests_max:
            request = waiting[0]
            mark = 0 if alone else txn.mark()
            try:
                result = self._out.perform(txn, request.message)
            except Postpone:
                if not group:
                    raise InvariantError("a request that opens its group postpones itself") from None
                break
            except Exception as error:
                if not isinstance(error, InmemError) or isinstance(error, InvariantError):
                    # Answered by the successor: whoever is told now might be told again when the actor fails.
                    self._broken = request, error
                    raise
                if alone:
                    waiting.popleft().refuse(error)
                    return []
                txn.rollback_to(mark)
                result = Refusal(error)
            else:
                if group and txn.wrote_over(mark):
                    # Each write of a key has a version of its own, by which others compare and swap.
                    txn.rollback_to(mark)
                    break
            group.append((waiting.popleft(), result))
        return group

    def _repeat(self, group: list[tuple[PendingT, Any]]) -> None:
        """Carry a group out again, after a pause if it has lost often; refuse it if everything is refused by now."""
        self._in_flight = self._sealed = None
        if self._refusal is not None:
            self._refuse(group, self._refusal)
            self._out.rest()
            return
        self.waiting.extendleft(request for request, _ in reversed(group))
        self._attempt += 1
        if self._attempt > BACKOFF_AFTER:
            delay_s = _BACKOFF.delay_s(self._attempt - BACKOFF_AFTER, self._entropy.uniform())
            self._out.pause(delay_s, self._group)
        else:
            self._carry_out()

    def _answer(self, group: list[tuple[PendingT, Any]], version: int) -> None:
        for request, result in group:
            if result is COMMIT_VERSION:
                request.answer(version)
            elif isinstance(result, Refusal):
                request.refuse(result.error)
            else:
                request.answer(result)

    @staticmethod
    def _refuse(group: list[tuple[PendingT, Any]], error: InmemError) -> None:
        # Those too that had been refused already: that may rest on what a neighbour wrote, which is not there.
        for request, _ in group:
            request.refuse(error)
