"""The answers still owed by the actors of a core that is down, and how they are settled.

The numbered steps are those of `supervisor.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from inmem.actors.core.coordinator import outcome_unknown
from inmem.actors.messages.transactions import Commit, CommitAborted, Committed
from inmem.engine.errors import TransactionAbortedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inmem.actors.core.transaction_registry import TransactionRegistry
    from inmem.actors.dispatch.actor import Owed
    from inmem.engine.errors import InmemError
    from inmem.engine.outcomes import CommitVersions


class Settlement:
    """Takes over debts from halted actors, judges them before the next core begins, and pays them once it has begun.

    A method that is interrupted can be called again: no debt is forgotten, and none counts twice.
    """

    def __init__(self) -> None:
        # Each with whether it has been noted as a commit. An OrderedDict finds its first item at once; a dict looks at
        # the place of every item removed before.
        self._debts: OrderedDict[Owed, bool] = OrderedDict()
        self._is_judged = False
        self._known: CommitVersions | None = None
        self._salt = 0
        self._version = 0

    def __len__(self) -> int:
        return len(self._debts)

    def take_over(self, owed: Iterable[Owed]) -> None:
        """Step 1: take over what a halted actor owes."""
        for each in owed:
            self._debts.setdefault(each, False)

    def judge(self, known: CommitVersions | None, salt: int, version: int, registry: TransactionRegistry) -> None:
        """Step 2: note the outcomes of the commits, while nothing else uses the registry.

        Args:
            known: the outcomes of all commits that may have happened; None if they cannot be known.
            salt: the salt of the core that is down.
            version: the newest version that there will be.
            registry: the registry of the coordinators.
        """
        self._known, self._salt, self._version = known, salt, version
        for owed, is_noted in self._debts.items():
            message = owed.message
            if not isinstance(message, Commit):
                continue
            committed_version = self._committed_version(owed)
            if committed_version is not None and not is_noted:
                registry.note_committed(message.request, committed_version)
                self._debts[owed] = True
            # Whatever its outcome, the transaction no longer runs; and if the commit of a group is sent again, it must
            # not be carried out.
            registry.end(owed.transaction_id)
            if message.group is not None:
                registry.note_group(*message.group)
        self._is_judged = True

    def settle(self, refusal: InmemError | None, *, gave_up: bool) -> None:
        """Steps 4 and 5, if the debts have been judged.

        Args:
            refusal: why the next core accepts no writes, or None.
            gave_up: whether that is because the cores keep failing.
        """
        if not self._is_judged:
            return
        while self._debts:
            owed = next(iter(self._debts))
            if isinstance(owed.message, Commit):
                self._pay(owed, refusal)
            elif gave_up and refusal is not None:
                owed.refuse(refusal)
            else:
                owed.mailbox.ref.send(owed.message, owed.reply_to)
            del self._debts[owed]
        self._is_judged = False

    def abandon(self) -> None:
        """Answer everything still owed, because the store ends."""
        for owed in self._debts:
            owed.abandon()
        self._debts.clear()

    def _committed_version(self, owed: Owed) -> int | None:
        """Return the version of a commit that certainly happened, for good; otherwise None."""
        version = None if self._known is None else self._known.get((self._salt, owed.transaction_id))
        return None if version is None or version > self._version else version

    def _pay(self, owed: Owed, refusal: InmemError | None) -> None:
        """Step 4."""
        version = self._committed_version(owed)
        known = self._known
        if version is not None:
            owed.answer(Committed(version))
        elif owed.transaction_id == 0 or (known is not None and (self._salt, owed.transaction_id) not in known):
            restarted = TransactionAbortedError("the store restarted before it was committed")
            owed.answer(CommitAborted(restarted if refusal is None else refusal))
        else:
            reason = "the log cannot be read" if known is None else "the log cannot be made durable"
            owed.answer(CommitAborted(outcome_unknown(owed, self._salt, reason)))
