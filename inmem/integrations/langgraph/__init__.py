"""LangGraph's checkpointer and store, kept in an inmem database: `InmemSaver` and `InmemStore`."""

from __future__ import annotations

from inmem.extras import needing

with needing("langgraph", "langgraph", "langchain_core"):
    from inmem.integrations.langgraph.saver import InmemSaver
    from inmem.integrations.langgraph.serializer import StrictSerializer
    from inmem.integrations.langgraph.store import InmemStore

__all__ = ["InmemSaver", "InmemStore", "StrictSerializer"]
