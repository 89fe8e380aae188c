"""The other stores, behind the same few operations as inmem, so that all do the same work.

If the peer stores bytes, values are encoded with msgpack, as in inmem; a peer with its own encoding (pickle in ZODB and
diskcache) uses that. If the peer has connections, each client has its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from _thread import LockType, allocate_lock
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import msgpack

from benchmarks.contender import key_name

if TYPE_CHECKING:
    from pathlib import Path

pack = msgpack.packb
unpack = msgpack.unpackb


class Sqlite:
    """sqlite3 of the standard library, in WAL mode."""

    package = None

    def __init__(self, synchronous: str) -> None:
        self.name = f"sqlite {synchronous}"
        self.synchronous = synchronous

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        folder.mkdir(parents=True)
        self._path = folder / "peer.sqlite"
        self._sessions: list[SqliteSession] = []
        connection = self.session().connection
        connection.execute("create table kv (key text primary key, value blob) without rowid")

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        connection = self._sessions[0].connection
        data = pack(value)
        connection.execute("begin")
        connection.executemany("insert into kv values (?, ?)", ((key_name(number), data) for number in range(count)))
        connection.execute("commit")

    def session(self) -> SqliteSession:
        """Return a new client with its own connection."""
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {self.synchronous}")
        self._sessions.append(SqliteSession(connection))
        return self._sessions[-1]

    def close(self) -> None:
        """Close the store."""
        for session in self._sessions:
            session.connection.close()


@dataclass(frozen=True, slots=True)
class SqliteSession:
    """One connection."""

    connection: sqlite3.Connection

    def increment(self, key: str) -> object:
        """See Session."""
        execute = self.connection.execute
        execute("begin immediate")
        value = unpack(execute("select value from kv where key = ?", (key,)).fetchone()[0])
        execute("insert or replace into kv values (?, ?)", (key, pack(value + 1)))
        return execute("commit")

    def put(self, key: str, value: Any) -> object:
        """See Session."""
        return self.connection.execute("insert or replace into kv values (?, ?)", (key, pack(value)))

    def get(self, key: str) -> Any:
        """See Session."""
        return unpack(self.connection.execute("select value from kv where key = ?", (key,)).fetchone()[0])

    def scan(self, prefix: str) -> int:
        """See Session."""
        rows = self.connection.execute(
            "select key, value from kv where key >= ? and key < ? order by key", (prefix, prefix + "\uffff")
        )
        return len([(key, unpack(value)) for key, value in rows])


class Lmdb:
    """Lmdb, with or without a sync per commit."""

    package = "lmdb"

    def __init__(self, *, sync: bool) -> None:
        self.name = "lmdb sync" if sync else "lmdb no sync"
        self._sync = sync

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        import lmdb  # noqa: PLC0415  (an optional peer)

        folder.mkdir(parents=True)
        self.environment = lmdb.open(str(folder), map_size=1 << 32, sync=self._sync, max_readers=256)

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        data = pack(value)
        with self.environment.begin(write=True) as txn:
            for number in range(count):
                txn.put(key_name(number).encode(), data)

    def session(self) -> Lmdb:
        """Return this object, as one environment serves any number of threads."""
        return self

    def increment(self, key: str) -> object:
        """See Session."""
        name = key.encode()
        with self.environment.begin(write=True) as txn:
            return txn.put(name, pack(unpack(txn.get(name)) + 1))

    def put(self, key: str, value: Any) -> object:
        """See Session."""
        with self.environment.begin(write=True) as txn:
            return txn.put(key.encode(), pack(value))

    def get(self, key: str) -> Any:
        """See Session. Uses a transaction per read, which lmdb needs to see the newest state."""
        with self.environment.begin() as txn:
            return unpack(txn.get(key.encode()))

    def scan(self, prefix: str) -> int:
        """See Session."""
        start = prefix.encode()
        found: list[tuple[str, Any]] = []
        with self.environment.begin() as txn:
            cursor = txn.cursor()
            cursor.set_range(start)
            for key, value in cursor:
                if not key.startswith(start):
                    break
                found.append((key.decode(), unpack(value)))
        return len(found)

    def close(self) -> None:
        """Close the store."""
        self.environment.close()


class LmdbSnapshot(Lmdb):
    """Lmdb at its fastest: all reads are in one open transaction, which sees no newer commits."""

    def __init__(self) -> None:
        super().__init__(sync=False)
        self.name = "lmdb, one snapshot"

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`, and open the transaction."""
        super().load(count, value)
        self._txn = self.environment.begin()

    def get(self, key: str) -> Any:
        """See Session."""
        return unpack(self._txn.get(key.encode()))

    def close(self) -> None:
        """Close the store."""
        self._txn.abort()
        super().close()


class Zodb:
    """ZODB on a FileStorage: one persistent object per key, in one BTree."""

    name = "ZODB"
    package = "ZODB"

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        import transaction  # noqa: PLC0415  (an optional peer)
        from BTrees.OOBTree import OOBTree  # noqa: PLC0415
        from ZODB import DB, FileStorage  # noqa: PLC0415

        folder.mkdir(parents=True)
        self._db = DB(FileStorage.FileStorage(str(folder / "peer.fs")), pool_size=100)
        self._transaction = transaction
        connection = self._db.open()
        connection.root()["kv"] = OOBTree()
        transaction.commit()
        connection.close()

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        from persistent.mapping import PersistentMapping  # noqa: PLC0415

        connection = self._db.open()
        tree = connection.root()["kv"]
        for number in range(count):
            tree[key_name(number)] = PersistentMapping(value=value)
        self._transaction.commit()
        connection.close()

    def session(self) -> ZodbSession:
        """Return a new client with its own connection."""
        manager = self._transaction.TransactionManager()
        return ZodbSession(manager, self._db.open(manager))

    def close(self) -> None:
        """Close the store."""
        self._db.close()


class ZodbSession:
    """One connection with its own transaction manager."""

    def __init__(self, manager: Any, connection: Any) -> None:
        from ZODB.POSException import ConflictError  # noqa: PLC0415  (an optional peer)

        self._manager = manager
        self._tree = connection.root()["kv"]
        self._conflict = ConflictError

    def increment(self, key: str) -> object:
        """See Session."""
        while True:
            try:
                self._manager.begin()
                self._tree[key]["value"] += 1
                return self._manager.commit()
            except self._conflict:
                self._manager.abort()

    def put(self, key: str, value: Any) -> object:
        """See Session."""
        self._manager.begin()
        self._tree[key]["value"] = value
        return self._manager.commit()

    def get(self, key: str) -> Any:
        """See Session."""
        self._manager.begin()
        return self._tree[key]["value"]

    def scan(self, prefix: str) -> int:
        """See Session."""
        self._manager.begin()
        items = self._tree.items(prefix, prefix + "\uffff")
        return len([(key, item["value"]) for key, item in items])


class DiskCache:
    """diskcache, a cache on top of sqlite3, with its default settings but without eviction."""

    name = "diskcache"
    package = "diskcache"

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        import diskcache  # noqa: PLC0415  (an optional peer)

        self._cache = diskcache.Cache(str(folder), eviction_policy="none", timeout=60)

    def load(self, count: int, value: Any) -> None:
        """Set the first `count` keys to `value`."""
        with self._cache.transact():
            for number in range(count):
                self._cache[key_name(number)] = value

    def session(self) -> DiskCache:
        """Return this object, as the cache itself keeps a connection per thread."""
        return self

    def increment(self, key: str) -> object:
        """See Session."""
        with self._cache.transact():
            return self._cache.set(key, self._cache[key] + 1)

    def put(self, key: str, value: Any) -> object:
        """See Session."""
        return self._cache.set(key, value)

    def get(self, key: str) -> Any:
        """See Session."""
        return self._cache.get(key)

    def scan(self, prefix: str) -> int:
        """See Session."""
        raise NotImplementedError(f"diskcache has no order to scan {prefix} in")

    def close(self) -> None:
        """Close the store."""
        self._cache.close()


class BareFile:
    """The floor: append a record as long as inmem's, and fdatasync. Not a store; it only has `increment`."""

    name = "write + fdatasync"
    package = None
    RECORD_BYTES: ClassVar[int] = 85

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        folder.mkdir(parents=True)
        self._file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def load(self, count: int, value: Any) -> None:
        """Do nothing, as no values are kept."""

    def session(self) -> Any:
        """Return this object."""
        return self

    def increment(self, _: str) -> object:
        """Make one record durable."""
        os.write(self._file, bytes(self.RECORD_BYTES))
        return os.fdatasync(self._file)

    def close(self) -> None:
        """Close the store."""
        os.close(self._file)


class CrowdedFile(BareFile):
    """The floor of many threads: a queue, and a thread that writes and syncs all queued records at once.

    Its only costs are handing over between Python's threads, and the disk.
    """

    name = "queue + write + fdatasync"

    def open(self, folder: Path) -> None:
        """Create the store, empty."""
        super().open(folder)
        self._queue: deque[LockType | None] = deque()
        self._filled = threading.Semaphore(0)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def session(self) -> CrowdedSession:
        """Return a client with its own lock to wait on."""
        return CrowdedSession(self)

    def post(self, done: LockType | None) -> None:
        """Have one record made durable and then `done` released; None ends the writer thread."""
        self._queue.append(done)
        self._filled.release()

    def _write(self) -> None:
        while True:
            self._filled.acquire()
            crowd = [self._queue.popleft() for _ in range(len(self._queue))]
            if not crowd:
                continue
            os.write(self._file, bytes(self.RECORD_BYTES * len(crowd)))
            os.fdatasync(self._file)
            for done in crowd:
                if done is None:
                    return
                done.release()

    def close(self) -> None:
        """Close the store."""
        self.post(None)
        self._writer.join()
        super().close()


class CrowdedSession:
    """One client of a `CrowdedFile`; it only has `increment`."""

    def __init__(self, file: CrowdedFile) -> None:
        self._post = file.post
        self._done = allocate_lock()
        self._done.acquire()

    def increment(self, _: str) -> object:
        """Make one record durable."""
        self._post(self._done)
        return self._done.acquire()
