"""Grouping requests into transactions: the decisions of a primitive actor, without its messages.

A request is carried out on a transaction that begins at the newest snapshot. While the commit of one group is in
flight, further requests wait; then they are carried out together, in order of arrival, on one transaction. Fifty
agents that append to one log at the same time need only a handful of commits.

Within a group requests are independent: when one fails, its writes are rolled back to its mark, and the others go on. A
request that writes a key already written in its group is moved to the next group, because two writes of a key never
share a version. Answers, including refusals, are sent when the group has committed, because a refusal may depend on a
write of another request in the group. When the group's commit conflicts with another commit, its requests are carried
out again on a fresh snapshot.

A group conflicts if any of its requests does. Among transactions that each write one of its keys, a large group might
conflict for ever. Each conflict halves the size of the next groups, down to a single request, which conflicts only
because of its own keys; each success doubles it again.
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
"""The most requests carried out on one transaction: in a larger group the first would wait long for the last."""

BACKOFF_AFTER = 8
"""After this many failed attempts there is a pause before each further one: until then retrying at once is quicker."""

ABORTS_MAX = 20
"""How many times in a row the store may abort a group without a conflict before its requests are refused."""

COMMIT_VERSION: Final = object()
"""The result of a request whose answer is the version of its group's commit."""

_BACKOFF = RetryPolicy()


class Postpone(Exception):  # noqa: N818  (not an error: only `perform` raises it, only this module catches it)
    """Raised by a request that needs the version of its group's commit, not yet known: it moves to the next group."""


class Pending(Protocol):
    """A request and the way to answer its caller. Only the first answer counts; further ones are no-ops."""

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
    """What `RequestGroups` needs from the actor that receives the requests."""

    def begin(self) -> Transaction:
        """Return a transaction on the newest snapshot."""
        ...

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request; return its answer or `COMMIT_VERSION`, or raise the error for its caller."""
        ...

    def commit(self, request: CommitRequest, attempt: int, group: int) -> None:
        """Send a group's transaction; `committed`, `lost` or `aborted` reports its outcome.

        The same group may be sent more than once, and must not be committed twice.
        """
        ...

    def pause(self, delay_s: float, group: int) -> None:
        """Call `retry` for the group after `delay_s` seconds."""
        ...

    def rest(self) -> None:
        """No request waits and no commit is in flight."""
        ...


class Refusal(Struct, frozen=True):
    """The answer to a request that failed."""

    error: InmemError


PendingT = TypeVar("PendingT", bound=Pending)


class RequestGroups(Generic[PendingT]):
    """The requests of one primitive: those that wait, and the group whose commit is in flight.

    Args:
        name: the actor's name, for messages.
        outbox: carries out the decisions.
        entropy: the source of randomness for the length of pauses.

    Attributes:
        waiting: requests that are not in the commit in flight, in order of arrival. Read-only for other classes.
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
        # The request that made this actor fail, and the exception it raised.
        self._broken: tuple[PendingT, Exception] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request waits and no commit is in flight."""
        return not self.waiting and self._in_flight is None

    def append(self, request: PendingT) -> None:
        """Accept a request, and carry it out unless others are ahead of it."""
        if self._refusal is not None:
            request.refuse(self._refusal)
            return
        self.waiting.append(request)
        if self._in_flight is None and self._attempt == 0:
            self._carry_out()

    def committed(self, group: int, version: int) -> None:
        """The commit of a group has succeeded: answer its requests and continue."""
        in_flight = self._in_flight
        if in_flight is not None and group == self._group:
            self._attempt = self._aborts = 0
            if self._requests_max < GROUP_REQUESTS_MAX:
                self._requests_max = min(2 * self._requests_max, GROUP_REQUESTS_MAX)
            self._answer(in_flight, version)
            self._in_flight = self._sealed = None
            self._carry_out()

    def lost(self, group: int) -> None:
        """The commit of a group conflicted with another: carry out its requests again, half of them first."""
        in_flight = self._in_flight
        if in_flight is not None and group == self._group:
            self._aborts = 0
            self._requests_max = max(1, len(in_flight) // 2)
            self._repeat(in_flight)

    def aborted(self, group: int, error: InmemError) -> None:
        """The store could not commit a group: try again if a restart may help, otherwise refuse its requests."""
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
        """End a group's pause: carry out the waiting requests, unless another group has been formed since."""
        if group == self._group and self._in_flight is None:
            self._carry_out()

    def go_on(self) -> None:
        """Resume after `take_over`: carry out the waiting requests, or send the commit that may not have been sent."""
        if self._in_flight is None:
            self._carry_out()
        elif self._sealed is not None:
            self._out.commit(self._sealed, self._attempt, self._group)

    def absolve(self) -> None:
        """Clear the request recorded as the cause: the stack was full, so the successor carries out that one too."""
        self._broken = None

    def refuse_all(self, refusal: InmemError) -> None:
        """Refuse the waiting requests and all later ones. A group in flight is answered according to its commit."""
        self._refusal = refusal
        while self.waiting:
            self.waiting.popleft().refuse(refusal)

    def take_over(self, earlier: RequestGroups[PendingT], requests: Iterable[PendingT]) -> None:
        """Replace the groups of a failed actor and refuse the request that made it fail; `go_on` does the rest.

        Args:
            earlier: the failed actor's groups, as the failure left them; `waiting` may be incomplete.
            requests: all requests that have not been answered, in order of arrival.
        """
        self._in_flight = earlier._in_flight
        self._sealed = earlier._sealed
        self._group = earlier._group
        self._attempt = earlier._attempt
        self._aborts = earlier._aborts
        self._requests_max = earlier._requests_max
        elsewhere = {request for request, _ in self._in_flight or ()}
        if earlier._broken is not None:
            # This request made one actor fail. It must not make the successor fail as well.
            broken, error = earlier._broken
            elsewhere.add(broken)
            broken.refuse(TransactionAbortedError(f"the {self._name} actor failed: {shown_failure(error)}"))
        self.waiting.extend(request for request in requests if request not in elsewhere)

    def _carry_out(self) -> None:
        """Carry out the waiting requests, group by group, until a group is in flight or no request waits."""
        while self.waiting:
            txn = self._out.begin()
            group = self._perform_group(txn)
            self._group += 1
            if not group or not txn.has_writes:
                # Requests that conflicted may be refused when repeated, or write nothing. The next group counts anew.
                self._attempt = self._aborts = 0
                self._answer(group, txn.start_version)
                continue
            try:
                request = txn.seal()
            except UsageError as error:
                self._split(group, error)
                continue
            # Record the group as in flight before sending it: a successor cannot know whether it was sent, and sends it
            # again.
            self._sealed = request
            self._in_flight = group
            self._out.commit(request, self._attempt, self._group)
            return
        # Requests that conflicted may write nothing when repeated; then no group is left to pause for.
        self._attempt = 0
        self._out.rest()

    def _split(self, group: list[tuple[PendingT, Any]], error: UsageError) -> None:
        """Split a group that writes more than a transaction may, to carry it out in smaller groups."""
        if len(group) == 1:
            self._attempt = self._aborts = 0
            group[0][0].refuse(error)
            return
        self.waiting.extendleft(request for request, _ in reversed(group))
        self._requests_max = len(group) // 2

    def _perform_group(self, txn: Transaction) -> list[tuple[PendingT, Any]]:
        """Carry out as many requests on `txn` as may share it; return them, or none if the only one was refused."""
        group: list[tuple[PendingT, Any]] = []
        waiting = self.waiting
        # A request that is alone can be refused at once and the transaction discarded, so it needs no mark.
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
                    # The actor now fails, and its successor refuses the request: answered here, it would get two
                    # answers.
                    self._broken = request, error
                    raise
                if alone:
                    waiting.popleft().refuse(error)
                    return []
                txn.rollback_to(mark)
                result = Refusal(error)
            else:
                if group and txn.wrote_over(mark):
                    # Each write of a key must have its own version, which other callers compare and swap.
                    txn.rollback_to(mark)
                    break
            group.append((waiting.popleft(), result))
        return group

    def _repeat(self, group: list[tuple[PendingT, Any]]) -> None:
        """Carry out a group again, after a pause if it has often failed; refuse it if `refuse_all` was called since."""
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
        # Including those with a refusal of their own: it may depend on a write of the group, which is not committed.
        for request, _ in group:
            request.refuse(error)
