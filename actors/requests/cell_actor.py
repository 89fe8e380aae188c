"""The StateCell actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.actors.messages.cells import CasCell, CellExists, DeleteCell, InitCell, ListCells, ReadCell, SetCell
from inmem.actors.requests.primitive_actor import PrimitiveActor
from inmem.engine.errors import InvariantError
from inmem.primitives.cells import CellOperations

if TYPE_CHECKING:
    from inmem.engine.commits.transaction import Transaction


class CellActor(PrimitiveActor):
    """Carries out StateCell requests. A cell counts its own versions, so each answer is known before the commit."""

    HANDLES = (InitCell, ReadCell, CasCell, SetCell, DeleteCell, CellExists, ListCells)

    def perform(self, txn: Transaction, message: Any) -> Any:
        """Carry out one request."""
        cells = CellOperations(txn, message.run)
        match message:
            case CasCell(_, name, expected, value):
                return cells.cas(name, expected, value)
            case SetCell(_, name, value):
                return cells.set(name, value)
            case InitCell(_, name, value):
                return cells.init(name, value)
            case ReadCell(_, name):
                return cells.read(name)
            case DeleteCell(_, name):
                return cells.delete(name)
            case CellExists(_, name):
                return cells.exists(name)
            case ListCells(_, prefix, limit, after):
                return cells.list(prefix, limit, after)
            case _:
                raise InvariantError(f"the StateCell cannot handle {type(message).__name__}")
