"""How a store is opened: the options of `inmem.open` and `inmem.spawn`, checked once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from inmem.engine.errors import UsageError
from inmem.engine.group_commit import Durability
from inmem.engine.limits import DEFAULT_LIMITS, Limits

MEMORY = ":memory:"
SHARDS_MAX = 64
"""More shards than that only add messages: all of them share one interpreter."""


def checked_path(where: str, path: str | os.PathLike[str]) -> str:
    """Return the argument named `where`, a path, as a str.

    Raises:
        UsageError: it is none that could name a file or folder.
    """
    try:
        name = os.fspath(path)
    except TypeError:
        name = ""
    if type(name) is not str or not name or "\0" in name:
        raise UsageError(f"{where}: must be a non-empty str or os.PathLike of str, not {path!r}")
    return name


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
        limits: of what may be written and what may wait.
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
        durability: str = "always",
        sync_interval: float = 0.1,
        shards: int = 1,
        dispatcher: str = "caller",
        read_only: bool = False,
        create: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Options:
        """Return the options.

        Raises:
            UsageError: one of them is not acceptable; the message names it.
        """
        folder = checked_path("path", path)
        if durability not in tuple(Durability):
            raise UsageError(f"durability: must be one of {', '.join(Durability)}, not {durability!r}")
        if type(sync_interval) not in (int, float) or not 0 < sync_interval < 3600:
            raise UsageError(f"sync_interval: must be a number of seconds between 0 and 3600, not {sync_interval!r}")
        if type(shards) is not int or not 1 <= shards <= SHARDS_MAX:
            raise UsageError(f"shards: must be an int from 1 to {SHARDS_MAX}, not {shards!r}")
        if dispatcher not in ("caller", "threads"):
            raise UsageError(f'dispatcher: must be "caller" or "threads", not {dispatcher!r}')
        for name, flag in (("read_only", read_only), ("create", create)):
            if type(flag) is not bool:
                raise UsageError(f"{name}: must be a bool, not {flag!r}")
        if folder == MEMORY and read_only:
            raise UsageError("read_only: a database in memory begins empty, so there would be nothing to read")
        if not isinstance(limits, Limits):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"limits: must be an inmem.Limits, not {limits!r}")
        return cls(folder, Durability(durability), float(sync_interval), shards, dispatcher, read_only, create, limits)
