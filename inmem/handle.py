"""What is passed for a database: told apart where it is passed, not at the first write."""

from __future__ import annotations

from inmem.database import Database
from inmem.engine.errors import UsageError
from inmem.engine.shown import type_name


def plain_handle(db: object, argument: str) -> Database:
    """Return `db` if it is an `inmem.Database`, open or closed.

    Args:
        db: what the caller was given.
        argument: what the caller calls it.

    Raises:
        UsageError: it is something else. Calling a handle of `inmem.aio` without awaiting would lose every write
            without a word, so its error names what to pass instead.
    """
    if isinstance(db, Database):
        return db
    if isinstance(getattr(db, "plain", None), Database):
        raise UsageError(f"{argument}: must be an inmem.Database, not one of inmem.aio: pass {argument}.plain")
    raise UsageError(f"{argument}: must be an inmem.Database, as inmem.open returns it, not {type_name(db)}")
