"""The primitive actors of a store, by the names of their mailboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.cell_actor import CellActor
from inmem.actors.event_actor import EventActor
from inmem.actors.kv_actor import KVActor
from inmem.actors.run_actor import RunActor
from inmem.actors.trace_actor import TraceActor

if TYPE_CHECKING:
    from inmem.actors.primitive_actor import PrimitiveActor

PRIMITIVE_ACTORS: dict[str, type[PrimitiveActor]] = {
    "kv": KVActor,
    "events": EventActor,
    "cells": CellActor,
    "traces": TraceActor,
    "runs": RunActor,
}
