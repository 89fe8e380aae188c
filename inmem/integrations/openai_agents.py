"""InmemSession: the conversation memory of the OpenAI Agents SDK on an inmem database.

A session is the run of the same id, tagged "openai-agents". Its items are plain dicts in the run's KVStore, under
`openai-agents/NUMBER`; the StateCell `openai-agents` holds their number. Every change reads and writes that cell. So
changes of one session are serialized, whichever task, thread or session object makes them, and no two of them can pop
or add the same item.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import inmem
from inmem.aio.offload import run_in_thread
from inmem.extras import needing
from inmem.integrations.work import Bindable, Work, register

with needing("openai-agents", "agents"):
    from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings

T = TypeVar("T")

NAME: Final = "openai-agents"
"""The tag of a session's run in the RunIndex, the name of its cell, and the start of its keys."""


class InmemSession(Bindable):
    """Keeps the items of one conversation; each call is one transaction, as durable as the database makes it.

    Any number of sessions may be open under one id, in any threads and event loops: they share one conversation. The
    methods work in a thread, so the event loop never waits for a lock or a sync.

    Args:
        session_id: the id of the conversation and of the run that holds it: a str of at most 255 characters.
        db: an open database, which the caller closes.
        session_settings: the SDK's settings, or a dict of them; `limit` is the default limit of `get_items`.

    Raises:
        InvalidKeyError: `session_id` is not a run id.
        UsageError: `db` is not an `inmem.Database`; from a method, if the cell does not hold a number of items.
        TypeError: `session_settings` is neither settings nor a dict, or the SDK refuses it.

    Attributes:
        session_id: see above.
        session_settings: see above.
    """

    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        db: inmem.Database,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        self.session_id = inmem.Key.run(session_id).run_id
        self.session_settings = coerce_session_settings({} if session_settings is None else session_settings)
        self._work = Work(db)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items in the order they were added, all from one snapshot.

        Args:
            limit: return only the latest `limit` items. None means the limit in the session's settings, by default all.
                A negative limit means all, as in the SDK's own sessions.
        """
        count = resolve_session_limit(limit, self.session_settings)
        return await run_in_thread(self._do, lambda items: items.latest(count))

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all of them in one commit or none.

        Raises:
            UsageError: `items` is one item or a str instead of a list; nothing is stored.
            TypeError: an item cannot be represented in JSON.
            InvalidValueError: an item cannot be stored.
        """
        # Of a str or a dict, JSON would make a list of its characters or keys.
        if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise inmem.UsageError(f"items: must be a list of items, not one {type(items).__name__}: put it in a list")
        if items:
            # The SDK's contract is JSON. The round trip turns instances of subclasses into plain dicts, lists and strs.
            plain: list[Any] = json.loads(json.dumps(items))
            await run_in_thread(self._do, lambda stored: stored.add(plain))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the latest item and return it, or None if there is none. No item is returned twice."""
        return await run_in_thread(self._do, _Items.pop)

    async def clear_session(self) -> None:
        """Remove all items in one commit. Other data in the run stays."""
        await run_in_thread(self._do, _Items.clear)

    def _do(self, fn: Callable[[_Items], T]) -> T:
        return self._work.do(self.session_id, lambda txn: fn(_Items(txn, self.session_id)))


class _Items:
    """The items of one session inside one transaction, numbered from 0 up to the cell's value (exclusive)."""

    def __init__(self, txn: inmem.Transaction, session_id: str) -> None:
        run = txn.on(session_id)
        self._txn = txn
        self._session_id = session_id
        self._kv = run.kv
        self._cells = run.cells
        state = run.cells.read(NAME)
        count: object = 0 if state is None else state.value
        if type(count) is not int or count < 0:
            raise inmem.UsageError(
                f"session_id: the cell {NAME!r} of run {session_id!r} holds something else than a number of items"
            )
        self._count = count

    def latest(self, limit: int | None) -> list[Any]:
        start = 0 if limit is None or limit < 0 else max(0, self._count - limit)
        return list(self._kv.get_many(map(_key, range(start, self._count))).values())

    def add(self, items: list[Any]) -> None:
        register(self._txn, self._session_id, NAME)
        for number, item in enumerate(items, self._count):
            self._kv.put(_key(number), item)
        self._cells.set(NAME, self._count + len(items))

    def pop(self) -> Any:
        if not self._count:
            return None
        last = _key(self._count - 1)
        item = self._kv.get(last)
        self._kv.delete(last)
        self._cells.set(NAME, self._count - 1)
        return item

    def clear(self) -> None:
        for number in range(self._count):
            self._kv.delete(_key(number))
        if self._count:
            self._cells.set(NAME, 0)


def _key(number: int) -> str:
    # Leading zeros make a listing of the run's keys show the items in order.
    return f"{NAME}/{number:012}"
