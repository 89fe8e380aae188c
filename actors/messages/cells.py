"""Requests to the StateCell actor.

There is none for `transition`: its function runs in the caller's thread and is never sent in a message.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from inmem.actors.messages import edge
from inmem.actors.messages.request import Request
from inmem.engine.keys import normalize_run_id

_NAMED: Final[dict[str, edge.Check]] = {"run": normalize_run_id, "name": edge.name("cell name")}


class InitCell(Request, frozen=True):
    """Create a cell. The reply is its version, or a CellExistsError."""

    run: str | UUID
    name: str
    value: Any

    EDGE: ClassVar = {**_NAMED, "value": edge.value()}


class ReadCell(Request, frozen=True):
    """Read a cell. The reply is its State, or None."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class CasCell(Request, frozen=True):
    """Replace a cell's value if its version is `expected`.

    The reply is the new version, or a CasConflictError or CellNotFoundError.
    """

    run: str | UUID
    name: str
    expected: int
    value: Any

    EDGE: ClassVar = {**_NAMED, "expected": edge.expected, "value": edge.value()}


class SetCell(Request, frozen=True):
    """Set a cell, creating it if it does not exist. The reply is its new version."""

    run: str | UUID
    name: str
    value: Any

    EDGE: ClassVar = {**_NAMED, "value": edge.value()}


class DeleteCell(Request, frozen=True):
    """Delete a cell. The reply is whether it existed."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class CellExists(Request, frozen=True):
    """Ask whether a cell exists. The reply is a bool."""

    run: str | UUID
    name: str

    EDGE: ClassVar = _NAMED


class ListCells(Request, frozen=True):
    """List cells. The reply is the list of names that start with `prefix`, in order."""

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
