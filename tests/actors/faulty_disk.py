"""A disk that fails on demand, and a function to open a store on it.

It wraps a real folder. Operations on the folder and its files are counted by kind:

    create append sync sync_names rename remove read names truncate view

A `Fault` belongs to one kind of operation and strikes (raises its error) at the n-th call after it was set, once or
from then on. The test chooses what a failed sync leaves behind: the bytes as written, as most kernels do, or the file
cut back to its durable bytes, as kernels may do.
"""

import errno
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.threads_dispatcher import ThreadsDispatcher
from inmem.actors.environment import SystemClock, SystemEntropy
from inmem.actors.files.folder_disk import FolderDisk
from inmem.actors.messages.control import Connect
from inmem.actors.options import Options
from inmem.actors.system import start_supervisor
from inmem.database import Database
from inmem.engine.errors import DiskFullError, StorageError
from inmem.engine.ports import AppendFile, Clock, Disk, Folder, ReadFile

FAILSAFE_S = 30.0
"""Seconds that nothing here takes unless it hangs."""

ErrorMaker = Callable[[], BaseException]


def io_error() -> OSError:
    return OSError(errno.EIO, "injected: input/output error")


def disk_full() -> DiskFullError:
    return DiskFullError("injected: no space left on device")


def refused() -> StorageError:
    return StorageError("injected: input/output error")


@dataclass
class Fault:
    operation: str
    error: ErrorMaker
    at: int = 1
    forever: bool = False
    name_end: str = ""
    drops_unsynced: bool = False
    struck: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def strikes(self, operation: str, name: str) -> bool:
        if operation != self.operation or not name.endswith(self.name_end):
            return False
        self.calls += 1
        if self.calls == self.at or (self.forever and self.calls > self.at):
            self.struck.set()
            return True
        return False


class Gate:
    """A gate at which operations of one kind wait: `arrived` is set when one does, `open` lets all of them through."""

    def __init__(self, operation: str, name_end: str) -> None:
        self.operation = operation
        self.name_end = name_end
        self.arrived = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def pass_through(self, operation: str, name: str) -> None:
        if operation == self.operation and name.endswith(self.name_end):
            self.arrived.set()
            if not self._open.wait(FAILSAFE_S):
                raise TimeoutError(f"nobody opened the gate before {operation}")


class FaultyFile:
    def __init__(self, disk: "FaultyDisk", name: str, file: AppendFile) -> None:
        self._disk = disk
        self.name = name
        self._file = file
        self._synced = 0
        self.sync_failed = False

    @property
    def size(self) -> int:
        return self._file.size

    def append(self, data: bytes) -> None:
        if self.sync_failed and not self._disk.appends_overtake:
            self._disk.violations.append(f"append to {self.name} after its sync had failed")
        self._disk.call("append", self.name)
        self._file.append(data)

    def sync(self) -> None:
        if self.sync_failed:
            self._disk.violations.append(f"sync of {self.name} was retried")
        fault = self._disk.fault("sync", self.name)
        if fault is not None:
            self.sync_failed = True
            if fault.drops_unsynced:
                self._disk.inner.truncate(self.name, self._synced)
            raise fault.error()
        self._file.sync()
        self._synced = self._file.size

    def require_name(self) -> None:
        self._file.require_name()

    def close(self) -> None:
        self._file.close()


class FaultyDisk:
    """The Disk of a store under test.

    Attributes:
        inner: the real disk.
        counts: the number of calls by operation.
        history: all calls as (operation, name), in order.
        violations: forbidden acts of the store, such as using a file after its sync has failed.
        appends_overtake: whether the durability mode allows appends during a sync, and so also during one that fails.
    """

    def __init__(self, path: Path) -> None:
        self.inner: Disk = FolderDisk(str(path))
        self.counts: Counter[str] = Counter()
        self.history: list[tuple[str, str]] = []
        self.violations: list[str] = []
        self.appends_overtake = False
        self._faults: list[Fault] = []
        self._gates: list[Gate] = []
        self._lock = threading.Lock()
        self._files: dict[str, FaultyFile] = {}

    def fail(
        self,
        operation: str,
        error: ErrorMaker = io_error,
        *,
        at: int = 1,
        forever: bool = False,
        name_end: str = "",
        drops_unsynced: bool = False,
    ) -> Fault:
        """Fail the `at`-th call of `operation` from now on."""
        fault = Fault(operation, error, at, forever, name_end, drops_unsynced)
        self._faults.append(fault)
        return fault

    def repair(self) -> None:
        """Remove all faults and open all gates."""
        self._faults.clear()
        for gate in self._gates:
            gate.open()

    def gate(self, operation: str, name_end: str = "") -> Gate:
        """Hold every call of `operation` until the gate is opened."""
        gate = Gate(operation, name_end)
        self._gates.append(gate)
        return gate

    def fault(self, operation: str, name: str) -> Fault | None:
        """Record a call; return the fault that strikes it, if any."""
        for gate in tuple(self._gates):
            gate.pass_through(operation, name)
        with self._lock:
            self.counts[operation] += 1
            self.history.append((operation, name))
            return next((fault for fault in tuple(self._faults) if fault.strikes(operation, name)), None)

    def call(self, operation: str, name: str = "") -> None:
        fault = self.fault(operation, name)
        if fault is not None:
            raise fault.error()

    # The Disk protocol.

    @property
    def path(self) -> str:
        return self.inner.path

    def names(self) -> list[str]:
        self.call("names")
        return self.inner.names()

    def open(self, name: str) -> ReadFile:
        self.call("read", name)
        return self.inner.open(name)

    def view(self) -> AbstractContextManager[Folder]:
        self.call("view")
        return self.inner.view()

    def create(self, name: str) -> AppendFile:
        self.call("create", name)
        file = self._files[name] = FaultyFile(self, name, self.inner.create(name))
        return file

    def rename(self, old: str, new: str) -> None:
        self.call("rename", new)
        self.inner.rename(old, new)
        if old in self._files:
            self._files[new] = self._files.pop(old)
            self._files[new].name = new

    def remove(self, name: str) -> None:
        self.call("remove", name)
        self.inner.remove(name)

    def truncate(self, name: str, size: int) -> None:
        self.call("truncate", name)
        self.inner.truncate(name, size)

    def sync_names(self) -> None:
        self.call("sync_names")
        self.inner.sync_names()

    def close(self) -> None:
        self.inner.close()
        self.history.append(("close", ""))


def open_on(disk: Disk, *, dispatcher: str = "caller", clock: Clock | None = None, **others: Any) -> Database:
    """Open a store on the given disk and clock, with the options of `inmem.open`."""
    options = Options.checked(disk.path, dispatcher=dispatcher, **others)
    runs = CallerDispatcher() if dispatcher == "caller" else ThreadsDispatcher()
    ref = start_supervisor(options, runs, clock or SystemClock(), SystemEntropy(), lambda: disk)
    return Database(ref.ask(Connect()), owner=True)
