"""The contenders: stores behind a common set of operations, including inmem, and the work of their clients.

Every store starts with the same keys.
"""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

import inmem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUN = "bench"
KEYS_PER_CLIENT = 1000
LOAD_BATCH = 10_000


def key_name(number: int) -> str:
    """Return the name of a key; names sort like their numbers."""
    return f"key-{number:08}"


class Session(Protocol):
    """One client of one store."""

    def increment(self, key: str) -> object:
        """Read a number, add one and write it back, in one transaction that cannot lose an update."""
        ...

    def put(self, key: str, value: Any) -> object:
        """Set one key, in its own transaction."""
        ...

    def get(self, key: str) -> Any:
        """Return the newest committed value of one key."""
        ...

    def scan(self, prefix: str) -> int:
        """Read all keys and values with a prefix; return their number."""
        ...


class Store(Protocol):
    """A store on disk."""

    name: str
    package: str | None

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        ...

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        ...

    def session(self) -> Session:
        """Return a new client."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


class Inmem:
    """The store of this project."""

    package = None

    def __init__(
        self, durability: str = "interval", *, dispatcher: str = "caller", shards: int = 1, name: str | None = None
    ) -> None:
        self.name = name or f"inmem {durability}" + (f", {dispatcher}" if dispatcher != "caller" else "")
        self._options: dict[str, Any] = {"durability": durability, "dispatcher": dispatcher, "shards": shards}

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        self.db = inmem.open(folder, **self._options)

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        for first in range(0, count, LOAD_BATCH):
            with self.db.begin(RUN) as txn:
                for number in range(first, min(first + LOAD_BATCH, count)):
                    txn.put(key_name(number), value)

    def session(self) -> Inmem:
        """Return this object, as any number of threads can use one handle."""
        return self

    def increment(self, key: str) -> object:
        """See Session."""
        return self.db.transaction(RUN, lambda txn: txn.put(key, txn.get(key) + 1))

    def put(self, key: str, value: Any) -> object:
        """See Session."""
        return self.db.put(RUN, key, value)

    def get(self, key: str) -> Any:
        """See Session."""
        return self.db.get(RUN, key)

    def scan(self, prefix: str) -> int:
        """See Session."""
        return len(self.db.kv.list_with_values(RUN, prefix))

    def close(self) -> None:
        """Close the store."""
        self.db.close()


@dataclass(frozen=True, slots=True)
class Doing:
    """A contender: a store together with the work of its clients.

    Attributes:
        store: the store.
        keys: the number of keys loaded first, or None for `KEYS_PER_CLIENT` per client.
        value: the value of the loaded keys.
        work: makes the work of one client from its session, its number and the number of loaded keys.
    """

    store: Store
    work: Callable[[Any, int, int], Callable[[], object]]
    keys: int | None = None
    value: Any = 0

    @property
    def name(self) -> str:
        """The name of the store."""
        return self.store.name

    def missing(self) -> str | None:
        """Return the name of a required package that is not installed, or None."""
        package = self.store.package
        return package if package is not None and importlib.util.find_spec(package) is None else None

    @contextmanager
    def clients(self, folder: Path, count: int) -> Iterator[list[Callable[[], object]]]:
        """Open and load the store, and return the work of `count` clients."""
        self.store.open(folder)
        try:
            keys = self.keys if self.keys is not None else KEYS_PER_CLIENT * count
            self.store.load(keys, self.value)
            yield [self.work(self.store.session(), client, keys) for client in range(count)]
        finally:
            self.store.close()


def own_keys(client: int) -> Iterator[str]:
    """Return an endless iterator over the keys that only this client uses."""
    return cycle([key_name(client * KEYS_PER_CLIENT + number) for number in range(KEYS_PER_CLIENT)])


def increments(session: Session, client: int, _: int) -> Callable[[], object]:
    """Return work that does a read-modify-write on the client's own keys in turn."""
    keys = own_keys(client)
    return lambda: session.increment(next(keys))


def one_counter(session: Session, _: int, __: int) -> Callable[[], object]:
    """Return work that does a read-modify-write on one key shared by all clients."""
    key = key_name(0)
    return lambda: session.increment(key)


def puts(session: Session, client: int, _: int) -> Callable[[], object]:
    """Return work that sets the client's own keys in turn."""
    keys = own_keys(client)
    return lambda: session.put(next(keys), 1)


def gets(session: Session, client: int, _: int) -> Callable[[], object]:
    """Return work that reads the client's own keys in turn."""
    keys = own_keys(client)
    return lambda: session.get(next(keys))
