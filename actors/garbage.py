"""What the store asks of Python's garbage collector: not to walk through what it has recovered, which is no garbage."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = threading.RLock()
_freezes: set[Freeze] = set()
_is_ours = False
"""Whether nothing had been frozen before the first of them."""
_frozen = 0
"""How many objects were after the last of them; it can only become less, unless the application freezes some itself."""


def _after_fork_in_child() -> None:
    # The stores of the parent are nothing that a child could close.
    _freezes.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)


class Freeze:
    """Takes all that is alive out of the collector's sight, until the last of those who wanted that has had enough.

    It cannot be had for the store's data alone. So objects of the application's that are alive at `begin`, and become
    part of an unreachable cycle later, are not collected before the end. What the application has frozen itself, before
    or meanwhile, stays so, and the store's data with it.
    """

    def begin(self) -> None:
        """Freeze what is alive now, unless the application collects its garbage by hand. O(1)."""
        global _is_ours, _frozen  # noqa: PLW0603  (the collector is one for the whole process)
        if not gc.isenabled():
            return
        with _lock:
            if not _freezes:
                _is_ours = gc.get_freeze_count() == 0
            elif gc.get_freeze_count() > _frozen:
                _is_ours = False
            _freezes.add(self)
            gc.freeze()
            _frozen = gc.get_freeze_count()

    def end(self) -> None:
        """Thaw what is frozen once nobody wants it to be. A no-op without `begin`."""
        with _lock:
            if self in _freezes:
                _freezes.discard(self)
                if _is_ours and not _freezes and gc.get_freeze_count() <= _frozen:
                    gc.unfreeze()


@contextlib.contextmanager
def paused_collection() -> Generator[None]:
    """Keep the collector from walking again and again through what recovery is building."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
