"""The simulated disk, and the faults that it may commit.

It MAY, when the process crashes:

- lose what was appended to a file since its last sync: all of it, or, with `Faults.torn_writes`, any suffix, which may
  begin in the middle of a record;
- with `Faults.reordered_writes`, keep later unsynced bytes and lose earlier ones, which then read as zeros;
- with `Faults.lost_names`, undo any suffix of the creations, renames and removals since the last sync of the folder.

It MAY, while the process runs:

- with `Faults.failed_sync`, fail a sync. The unsynced bytes may or may not survive a later crash, and later syncs of
  the same file do not make them durable. They may also be lost at once, replaced by zeros from some byte on: Linux
  marks the pages clean and is free to drop them;
- with `Faults.full_disk`, refuse to append or to create;
- with `Faults.slow_sync`, take seconds for a sync. Even without it, any number of messages between other actors may be
  delivered before a sync begins and before its end is noticed.

It MAY NOT:

- lose or alter what was synced, or a name whose folder was synced;
- return from a successful sync before the bytes are durable;
- alter bytes at rest. The checksum tests cover that: they flip every byte of real files.
"""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from inmem.engine.errors import DiskFullError, StorageError
from inmem.simulation.faults import SLOW_SYNC_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from inmem.engine.ports import Folder
    from inmem.simulation.choices import Chooser
    from inmem.simulation.faults import FaultInjector


class _Content:
    """A file's content: all bytes written, how many of them are durable, and whether a sync has failed."""

    __slots__ = ("data", "synced", "tainted")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.tainted = False


class _NameChange(NamedTuple):
    """One change of the folder that is not durable yet."""

    kind: str
    name: str
    new_name: str
    content: _Content


class SimulatedFile:
    """A growing file on a `SimulatedDisk`."""

    def __init__(self, disk: SimulatedDisk, name: str, content: _Content) -> None:
        self._disk = disk
        self._name = name
        self._content = content

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return len(self._content.data)

    def append(self, data: bytes) -> None:
        """Append the data, or refuse it because the disk is full."""
        self._disk.step("append", self._name)
        self._disk.refuse_if_full(self._name)
        self._content.data += data

    def sync(self) -> None:
        """Make the written bytes durable, or fail."""
        self._disk.step("sync", self._name)
        if self._disk.sync_fails():
            self._disk.taint(self._content)
            raise OSError(errno.EIO, "simulated failure of a sync", self._name)
        if not self._content.tainted:
            self._content.synced = len(self._content.data)

    def require_name(self) -> None:
        """Do nothing: nobody else removes names here."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class SimulatedReadFile:
    """A read-only file on a `SimulatedDisk`, as it was when it was opened."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on."""
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class SimulatedDisk:
    """One folder. It survives crashes of the processes that use it.

    Args:
        path: the folder's name, for messages.
        chooser: decides what a fault does.
        injector: decides which faults happen.
        take_time: lets virtual time pass, in microseconds.
    """

    def __init__(self, path: str, chooser: Chooser, injector: FaultInjector, take_time: Callable[[int], None]) -> None:
        self._path = path
        self._chooser = chooser
        self._injector = injector
        self._faults = injector.faults
        self._take_time = take_time
        self._names: dict[str, _Content] = {}
        self._durable_names: dict[str, _Content] = {}
        self._changes: list[_NameChange] = []
        self.syncs = 0

    @property
    def path(self) -> str:
        """The folder's name."""
        return self._path

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        return sorted(self._names)

    def view(self) -> AbstractContextManager[Folder]:
        """Return the folder itself: nothing else happens while a simulated process reads it."""
        return nullcontext(self)

    def open(self, name: str) -> SimulatedReadFile:
        """Open a file for reading in pieces."""
        return SimulatedReadFile(bytes(self._find(name).data))

    def create(self, name: str) -> SimulatedFile:
        """Create a file."""
        self.step("create", name)
        self.refuse_if_full(name)
        if name in self._names:
            raise StorageError(f"{self._path}/{name}: exists already")
        content = self._names[name] = _Content()
        self._changes.append(_NameChange("create", name, "", content))
        return SimulatedFile(self, name, content)

    def rename(self, old: str, new: str) -> None:
        """Rename a file."""
        self.step("rename", old)
        content = self._find(old)
        del self._names[old]
        self._names[new] = content
        self._changes.append(_NameChange("rename", old, new, content))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.step("remove", name)
        content = self._find(name)
        del self._names[name]
        self._changes.append(_NameChange("remove", name, "", content))

    def truncate(self, name: str, size: int) -> None:
        """Truncate a file and make the rest durable, or fail."""
        self.step("truncate", name)
        content = self._find(name)
        del content.data[size:]
        content.synced = min(content.synced, size)
        try:
            SimulatedFile(self, name, content).sync()
        except OSError as error:
            raise StorageError(f"{self._path}/{name}: {error.strerror}") from error

    def sync_names(self) -> None:
        """Make the names durable."""
        self.step("sync_names", "")
        self._durable_names = dict(self._names)
        self._changes = []

    def close(self) -> None:
        """Do nothing: the simulated process owns the folder."""

    def crash(self) -> None:
        """Lose what the faults allow, and keep what a new process would find."""
        kept = self._chooser.choose(len(self._changes) + 1) if self._faults.lost_names else len(self._changes)
        names = dict(self._durable_names)
        for change in self._changes[:kept]:
            if change.kind == "create":
                names[change.name] = change.content
            elif change.kind == "rename":
                names.pop(change.name, None)
                names[change.new_name] = change.content
            else:
                names.pop(change.name, None)
        for content in names.values():
            self._tear(content)
        self._names = names
        self._durable_names = dict(names)
        self._changes = []

    def step(self, operation: str, name: str) -> None:
        """Announce an operation. The process may crash before it."""
        self._injector.before_disk_step(operation, name)
        if operation in ("sync", "sync_names"):
            self.syncs += 1
            if self._injector.chance(self._faults.slow_sync):
                self._take_time(SLOW_SYNC_US)

    def refuse_if_full(self, name: str) -> None:
        """Raise DiskFullError if the disk chooses to be full now."""
        if self._injector.chance(self._faults.full_disk):
            raise DiskFullError(f"{self._path}/{name}: simulated: no space left on device")

    def sync_fails(self) -> bool:
        """Whether a sync fails now."""
        return self._injector.chance(self._faults.failed_sync)

    def taint(self, content: _Content) -> None:
        """Record that a sync of this content failed: its unsynced bytes are no longer reliable."""
        content.tainted = True
        unsynced = len(content.data) - content.synced
        if unsynced and self._chooser.choose(2):
            gone = 1 + self._chooser.choose(unsynced)
            content.data[-gone:] = bytes(gone)

    def _tear(self, content: _Content) -> None:
        unsynced = len(content.data) - content.synced
        if unsynced:
            kept = self._how_much(unsynced)
            if self._faults.reordered_writes and kept == unsynced and self._chooser.choose(2):
                hole = self._chooser.choose(unsynced)
                start = content.synced + hole
                length = 1 + self._chooser.choose(unsynced - hole)
                content.data[start : start + length] = bytes(length)
            else:
                del content.data[content.synced + kept :]
        content.synced = len(content.data)
        content.tainted = False

    def _how_much(self, unsynced: int) -> int:
        """Return how many unsynced bytes survive. All and none, the interesting cases, each get a third or more."""
        if not self._faults.torn_writes:
            return unsynced if self._chooser.choose(2) == 0 else 0
        form = self._chooser.choose(3)
        if form < 2:
            return (unsynced, 0)[form]
        return self._chooser.choose(unsynced + 1)

    def _find(self, name: str) -> _Content:
        content = self._names.get(name)
        if content is None:
            raise StorageError(f"{self._path}/{name}: no such file")
        return content
