"""Recorded histories of list-append transactions, and the detection of anomalies in them.

Every transaction appends unique elements to lists and reads whole lists. The contents of a list show the order of its
appends, which gives the dependencies between transactions without knowledge of the store's internals. Source:
Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020; the names of the
anomalies are Adya's ("Weak Consistency", MIT 1999).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from inmem.simulation.promises import BrokenPromise
from tests.simulation.cycles import Edge, Graph, shortest_cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Append(NamedTuple):
    """An element was appended to a list."""

    key: str
    element: int


class Read(NamedTuple):
    """A list was read, including the transaction's own appends."""

    key: str
    elements: tuple[int, ...]


class Ending(Enum):
    """The outcome of a transaction, as far as its client knows."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Observed:
    """One transaction as its client saw it.

    Attributes:
        name: its name in messages.
        begun_at: a point in time before its beginning.
        ended_at: a point in time after its end; None if the client never saw the end.
        operations: its operations, in program order.
        ending: its outcome; unknown until the client reports it.
    """

    name: str
    begun_at: int
    ended_at: int | None = None
    operations: list[Append | Read] = field(default_factory=list[Append | Read])
    ending: Ending = Ending.UNKNOWN

    @property
    def appends(self) -> list[Append]:
        """The transaction's appends."""
        return [operation for operation in self.operations if isinstance(operation, Append)]

    @property
    def reads(self) -> list[Read]:
        """The transaction's reads."""
        return [operation for operation in self.operations if isinstance(operation, Read)]


class History:
    """A history that collects transactions while a scenario runs, and checks them afterwards.

    Args:
        now: returns the current point in time: any number that never decreases, such as ``len(sim.steps)``.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._elements = 0
        self.transactions: list[Observed] = []

    def begin(self, client: str) -> Observed:
        """Record that a client begins a transaction. Until `end` is called, its outcome is unknown."""
        observed = Observed(f"{client}#{len(self.transactions)}", self._now())
        self.transactions.append(observed)
        return observed

    def element(self) -> int:
        """Return an element that no other append uses."""
        self._elements += 1
        return self._elements

    def end(self, observed: Observed, ending: Ending) -> None:
        """Record the outcome that the client has learned."""
        observed.ending = ending
        observed.ended_at = self._now()

    def check(self, final: dict[str, Sequence[int]] | None = None) -> None:
        """Check that the history is serializable in an order that agrees with real time.

        That is stronger than snapshot isolation; for reads and writes of single keys, both isolation levels of inmem
        guarantee it.

        Args:
            final: the final contents of the lists.

        Raises:
            BrokenPromise: it is not; the message names the anomaly and shows the cycle.
        """
        self._check_cycles(final, _serializable)

    def check_snapshot_isolation(self, final: dict[str, Sequence[int]] | None = None) -> None:
        """Check that the history is possible under snapshot isolation, where write skew is the only allowed anomaly.

        Raises:
            BrokenPromise: it is not possible.
        """
        self._check_cycles(final, _snapshot_isolated)

    def _check_cycles(
        self, final: dict[str, Sequence[int]] | None, rule: Callable[[list[Edge]], Iterable[Edge]]
    ) -> None:
        orders = self._orders(final)
        writers = self._writers()
        edges = [*self._edges(orders, writers), *self._real_time()]
        cycle = shortest_cycle(Graph(rule(edges)))
        if cycle:
            shown = "\n".join(f"  {edge.source} -> {edge.target}: {edge.reason}" for edge in cycle)
            raise BrokenPromise(f"{_anomaly(cycle)}:\n{shown}")

    def _writers(self) -> dict[int, Observed]:
        return {append.element: observed for observed in self.transactions for append in observed.appends}

    def _orders(self, final: dict[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
        """Return the order of each list's elements, and do the checks that need no graph."""
        orders: dict[str, tuple[int, ...]] = {key: tuple(elements) for key, elements in (final or {}).items()}
        seen = [
            (observed, read)
            for observed in self.transactions
            if observed.ending is not Ending.ABORTED
            for read in observed.reads
        ]
        for observed, read in seen:
            shared = _without_own(observed, read)
            order = orders.setdefault(read.key, ())
            longer, shorter = (shared, order) if len(shared) > len(order) else (order, shared)
            if final is not None and longer is not order:
                raise BrokenPromise(
                    f"{observed.name} read {list(shared)} of {read.key}, in the end it is {list(order)}"
                )
            if longer[: len(shorter)] != shorter:
                raise BrokenPromise(f"incompatible orders of {read.key}: {list(longer)} and {list(shorter)}")
            orders[read.key] = longer
        self._check_elements(orders, complete=final is not None)
        for observed, read in seen:
            self._check_intermediate(observed, read)
        return orders

    def _check_elements(self, orders: dict[str, tuple[int, ...]], *, complete: bool) -> None:
        writers = self._writers()
        for key, order in orders.items():
            if len(set(order)) != len(order):
                raise BrokenPromise(f"{key} holds an element twice: {list(order)}")
            for element in order:
                writer = writers.get(element)
                if writer is None:
                    raise BrokenPromise(f"{key} holds {element}, which nobody appended")
                if writer.ending is Ending.ABORTED:
                    raise BrokenPromise(f"G1a, aborted read: {key} holds {element} of {writer.name}, which aborted")
        for observed in self.transactions:
            if not complete or observed.ending is Ending.ABORTED:
                continue
            there = [append.element in orders.get(append.key, ()) for append in observed.appends]
            if observed.ending is Ending.COMMITTED and not all(there):
                raise BrokenPromise(f"lost update: {observed.name} committed, what it appended is not all there")
            if any(there) and not all(there):
                raise BrokenPromise(f"half of {observed.name} is there")

    def _check_intermediate(self, observed: Observed, read: Read) -> None:
        shared = _without_own(observed, read)
        if not shared:
            return
        writer = self._writers()[shared[-1]]
        last = [append.element for append in writer.appends if append.key == read.key][-1]
        if shared[-1] != last:
            raise BrokenPromise(f"G1b, intermediate read: {observed.name} read {list(shared)} of {read.key}")

    def _edges(self, orders: dict[str, tuple[int, ...]], writers: dict[int, Observed]) -> Iterable[Edge]:
        """Yield write-write, write-read and read-write dependencies."""
        for key, order in orders.items():
            for before, after in pairwise(order):
                if writers[before] is not writers[after]:
                    reason = f"appended {before} to {key} before {after}"
                    yield Edge(writers[before].name, writers[after].name, "ww", reason)
        for observed in self.transactions:
            if observed.ending is not Ending.COMMITTED:
                continue
            for read in observed.reads:
                shared = _without_own(observed, read)
                order = orders[read.key]
                if shared and writers[shared[-1]] is not observed:
                    yield Edge(
                        writers[shared[-1]].name, observed.name, "wr", f"{shared[-1]} of {read.key} was read by it"
                    )
                following = order[len(shared)] if len(order) > len(shared) else None
                if following is not None and writers[following] is not observed:
                    reason = f"read {read.key} without {following}"
                    yield Edge(observed.name, writers[following].name, "rw", reason)

    def _real_time(self) -> Iterable[Edge]:
        """Yield an edge from every transaction to each one that began after its end.

        Quadratic, so it suits histories of a few hundred transactions.
        """
        committed = [observed for observed in self.transactions if observed.ending is Ending.COMMITTED]
        for before in committed:
            for after in committed:
                if before.ended_at is not None and before.ended_at < after.begun_at:
                    yield Edge(before.name, after.name, "rt", "ended before it began")


def _without_own(observed: Observed, read: Read) -> tuple[int, ...]:
    """Return the elements read without the transaction's own appends, which must come last."""
    own = [append.element for append in observed.appends if append.key == read.key and append.element in read.elements]
    if own and list(read.elements[-len(own) :]) != own:
        raise BrokenPromise(f"{observed.name} read {list(read.elements)} of {read.key}, its own {own} not at the end")
    return read.elements[: len(read.elements) - len(own)]


def _serializable(edges: list[Edge]) -> Iterable[Edge]:
    return edges


def _snapshot_isolated(edges: list[Edge]) -> Iterable[Edge]:
    """Return edges that have no cycle under snapshot isolation: dependencies, alone or before one anti-dependency.

    Source: Cerone and Gotsman, "Analysing Snapshot Isolation", PODC 2016, theorem 10.
    """
    anti: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.kind == "rw":
            anti.setdefault(edge.source, []).append(edge)
    for edge in edges:
        if edge.kind == "rw":
            continue
        yield edge
        for second in anti.get(edge.target, ()):
            reason = f"{edge.reason}; {second.source} {second.reason}"
            yield Edge(edge.source, second.target, f"{edge.kind}+rw", reason)


def _anomaly(cycle: list[Edge]) -> str:
    kinds = [edge.kind for edge in cycle]
    anti = sum(kind.endswith("rw") for kind in kinds)
    suffix = ", against real time" if any(kind.startswith("rt") for kind in kinds) else ""
    if anti > 1:
        return f"G2-item, write skew{suffix}"
    if anti:
        return f"G-single, read skew or lost update{suffix}"
    return f"{'G1c, circular information flow' if any('wr' in kind for kind in kinds) else 'G0, dirty write'}{suffix}"
