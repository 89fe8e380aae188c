"""The primitive actors of a store, by the names of their mailboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.actors.requests.cell_actor import CellActor
from inmem.actors.requests.event_actor import EventActor
from inmem.actors.requests.kv_actor import KVActor
from inmem.actors.requests.run_actor import RunActor
from inmem.actors.requests.trace_actor import TraceActor

if TYPE_CHECKING:
    from inmem.actors.requests.primitive_actor import PrimitiveActor

PRIMITIVE_ACTORS: dict[str, type[PrimitiveActor]] = {
    "kv": KVActor,
    "events": EventActor,
    "cells": CellActor,
    "traces": TraceActor,
    "runs": RunActor,
}
