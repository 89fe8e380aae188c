"""Check an argument that must be a database where it is passed, not at the first write."""

from __future__ import annotations

from inmem.database import Database
from inmem.engine.errors import UsageError
from inmem.engine.shown import type_name


def plain_handle(db: object, argument: str) -> Database:
    """Return `db` if it is an `inmem.Database`, open or closed.

    Args:
        db: the value to check.
        argument: the name of the caller's parameter, for the message.

    Raises:
        UsageError: `db` is something else. Code that calls a handle of `inmem.aio` without awaiting would silently
            lose every write, so for such a handle the message names what to pass instead.
    """
    if isinstance(db, Database):
        return db
    if isinstance(getattr(db, "plain", None), Database):
        raise UsageError(f"{argument}: must be an inmem.Database, not one of inmem.aio: pass {argument}.plain")
    raise UsageError(f"{argument}: must be an inmem.Database, as inmem.open returns it, not {type_name(db)}")


def require_function_or_none(argument: str, given: object) -> None:
    """Raise UsageError unless the argument is something to call, or None."""
    if given is not None and not callable(given):
        raise UsageError(f"{argument}: must be a function or None, not {type_name(given)}")
