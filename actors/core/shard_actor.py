"""The actor of a storage shard: validates and applies commits for the runs assigned to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.dispatch.actor import StoreActor
from inmem.actors.messages.core import Applied, Apply, Release, Validate, Validated
from inmem.engine.commits.shard import Shard
from inmem.engine.errors import InvariantError

if TYPE_CHECKING:
    from inmem.actors.dispatch.mailbox import Mailbox, MailboxRef
    from inmem.engine.tables.snapshot import Root


class ShardActor(StoreActor):
    """Steps 2, 4 and 5 of the commit protocol (`engine/commits/pipeline.py`), for one shard.

    Args:
        mailbox: its address.
        supervisor: told of failures.
        core: number of the core it belongs to.
        index: number of the shard.
        root: the tables to start with.
        forgotten_version: up to this version, runs may have been dropped whose names are no longer known.
        first_version: version of the tables to start with.
        coordinator: gets the answers.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        supervisor: MailboxRef,
        core: int,
        index: int,
        root: Root,
        *,
        forgotten_version: int,
        first_version: int,
        coordinator: MailboxRef,
    ) -> None:
        super().__init__(mailbox, supervisor, core)
        self._index = index
        self._shard = Shard(root, forgotten_version, first_version)
        self._coordinator = coordinator.mailbox

    def on_receive(self, message: Any) -> Any:
        """Handle one message."""
        # The two messages of every commit are recognised by their exact type, as in the coordinator.
        kind = message.__class__
        if kind is Validate:
            part = message.part
            verdict = self._shard.prepare(part)
            validated = Validated(self.core, self._index, part.transaction_id, verdict)
            self._dispatcher.pass_on(self._coordinator, validated)
        elif kind is Apply:
            for transaction_id, version in message.commits:
                self._shard.apply(transaction_id, version)
            applied = Applied(self.core, self._index, message.batch_version, self._shard.root)
            self._dispatcher.pass_on(self._coordinator, applied)
        elif kind is Release:
            self._shard.release(message.transaction_id)
        else:
            raise InvariantError(f"a shard cannot handle {type(message).__name__}")
