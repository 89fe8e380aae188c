"""The addresses and shared facts of one running store, all that a client needs to use it, as one immutable value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from inmem.actors.dispatch.dispatcher import Dispatcher
    from inmem.actors.dispatch.mailbox import MailboxRef
    from inmem.actors.environment import StoreClock
    from inmem.actors.published import Published
    from inmem.engine.limits import Limits
    from inmem.engine.ports import Entropy, Folder


@dataclass(frozen=True, slots=True)
class Directory:
    """Addresses and shared facts of a running store. Valid until the store is closed, restarts included.

    Attributes:
        path: path of the database, or ":memory:".
        limits: bounds on what may be written and what may wait.
        dispatcher: runs the actors.
        clock: the store's time.
        entropy: for ids and jitter.
        published: holds the newest snapshot.
        supervisor, coordinator, writer: refs of those actors.
        mailboxes: the ref of every mailbox, by name.
        routes: request class → ref of the actor that handles it.
        is_read_only: whether the database was opened for reading beside its owner.
        view_files: opens the database's files as they are now, to read them beside the actors; None without files.
    """

    path: str
    limits: Limits
    dispatcher: Dispatcher
    clock: StoreClock
    entropy: Entropy
    published: Published
    supervisor: MailboxRef
    coordinator: MailboxRef
    writer: MailboxRef
    mailboxes: Mapping[str, MailboxRef]
    routes: Mapping[type, MailboxRef]
    is_read_only: bool = False
    view_files: Callable[[], AbstractContextManager[Folder]] | None = None
