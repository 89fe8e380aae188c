"""How a store is opened: the options of `inmem.open` and `inmem.spawn`, checked once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inmem.engine.errors import UsageError
from inmem.engine.limits import DEFAULT_LIMITS, Limits
from inmem.engine.log.group_commit import Durability, DurabilityName
from inmem.engine.shown import shown
from inmem.primitives.arguments import one_of

MEMORY = ":memory:"
DISPATCHERS = ("caller", "threads")
DispatcherName: TypeAlias = Literal["caller", "threads"]
"""What `inmem.open` takes as its dispatcher: [who runs the actors](../architecture.md#who-runs-the-actors)."""

SHARDS_MAX = 64
"""More shards than this only add messages: all of them share one interpreter."""


def checked_path(where: str, path: str | os.PathLike[str]) -> str:
    """Return the argument named `where`, a path, as a str.

    Raises:
        UsageError: it cannot name a file or folder.
    """
    try:
        name = os.fspath(path)
    except TypeError:
        name = ""
    if type(name) is not str or not name or "\0" in name or not _has_bytes(name):
        raise UsageError(f"{where}: must be a non-empty str or os.PathLike of str, not {shown(path)}")
    return name


def _has_bytes(name: str) -> bool:
    """Return whether the operating system can be given this name: lone surrogates must each stand for a byte."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one store.

    Attributes:
        path: the database's folder, or ":memory:".
        durability: see `Durability`.
        sync_interval: seconds between syncs in the `interval` mode.
        shards: how many storage shards; may change from one opening to the next.
        dispatcher: "caller" or "threads".
        read_only: look at the database without owning it.
        create: make the folder if it is missing.
        limits: bounds on what may be written and what may wait.
    """

    path: str
    durability: Durability
    sync_interval: float
    shards: int
    dispatcher: str
    read_only: bool
    create: bool
    limits: Limits

    @property
    def in_memory(self) -> bool:
        """Whether there are no files."""
        return self.path == MEMORY

    @classmethod
    def checked(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: DurabilityName = "always",
        sync_interval: float = 0.1,
        shards: int = 1,
        dispatcher: DispatcherName = "caller",
        read_only: bool = False,
        create: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Options:
        """Return the options.

        Raises:
            UsageError: one of them is not acceptable; the message names it.
        """
        folder = checked_path("path", path)
        mode = Durability(one_of("durability", durability, tuple(Durability)))
        kind = type(sync_interval)
        if (kind is not float and kind is not int) or not 0 < sync_interval < 3600:
            raise UsageError(
                f"sync_interval: must be a number of seconds between 0 and 3600, not {shown(sync_interval)}"
            )
        if type(shards) is not int or not 1 <= shards <= SHARDS_MAX:
            raise UsageError(f"shards: must be an int from 1 to {SHARDS_MAX}, not {shown(shards)}")
        threading = one_of("dispatcher", dispatcher, DISPATCHERS)
        for name, flag in (("read_only", read_only), ("create", create)):
            if type(flag) is not bool:
                raise UsageError(f"{name}: must be a bool, not {shown(flag)}")
        if folder == MEMORY and read_only:
            raise UsageError("read_only: a database in memory begins empty, so there would be nothing to read")
        if not issubclass(type(limits), Limits):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"limits: must be an inmem.Limits, not {shown(limits)}")
        return cls(folder, mode, float(sync_interval), shards, threading, read_only, create, limits)
