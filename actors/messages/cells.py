"""Requests to the StateCell actor.

`transition` has none: the function that it takes runs in the caller's thread and never crosses a message.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id

_NAMED: Final[dict[str, edge.Check]] = {"run": normalize_run_id, "name": edge.name("cell name")}


class InitCell(Request, frozen=True):
    """Create a cell. Answered by its version, or refused with CellExistsError."""

    run: str | UUID
    name: str
    value: Any

    EDGE: ClassVar = {**_NAMED, "value": edge.value()}


class ReadCell(Request, frozen=True):
    """Answered by the cell's State, or None."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class CasCell(Request, frozen=True):
    """Replace the value of a cell that is at version `expected`.

    Answered by the new version, or refused with CasConflictError or CellNotFoundError.
    """

    run: str | UUID
    name: str
    expected: int
    value: Any

    EDGE: ClassVar = {**_NAMED, "expected": edge.expected, "value": edge.value()}


class SetCell(Request, frozen=True):
    """Set a cell, creating it if need be. Answered by its new version."""

    run: str | UUID
    name: str
    value: Any

    EDGE: ClassVar = {**_NAMED, "value": edge.value()}


class DeleteCell(Request, frozen=True):
    """Delete a cell. Answered by whether it existed."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class CellExists(Request, frozen=True):
    """Answered by whether there is such a cell."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class ListCells(Request, frozen=True):
    """Answered by the names of the cells that start with `prefix`, in order."""

    run: str | UUID
    prefix: str | None = None
    limit: int | None = None
    after: str | None = None

    EDGE: ClassVar = {
        "run": normalize_run_id,
        "prefix": edge.optional(edge.name("prefix")),
        "limit": edge.limit,
        "after": edge.optional(edge.name("after")),
    }
