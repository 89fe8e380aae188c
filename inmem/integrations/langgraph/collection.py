"""Removal of a thread's checkpoints, and of the values that no checkpoint needs any more.

These operations must run in serializable transactions. A removal scans all checkpoints of the thread, so it conflicts
with a put that commits first. A put reads the values it shares, so it conflicts with a removal that commits first. The
transaction that runs again sees the other one, so a removal never takes a value that a checkpoint needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import inmem
from inmem.integrations.langgraph import keys
from inmem.integrations.langgraph.checkpoints import TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inmem.integrations.langgraph.checkpoints import ThreadCheckpoints

Records = list[dict[str, Any]]

DELTAS: Final = "counters_since_delta_snapshot"
"""The metadata entry in which LangGraph names the channels whose value is spread over a checkpoint's ancestors."""


def delete_runs(thread: ThreadCheckpoints, run_ids: Iterable[str]) -> None:
    """Remove the checkpoints made by these LangGraph runs, their writes, and the values that only they need."""
    doomed = frozenset(run_ids)
    _keep(thread, lambda _namespace, records: [record for record in records if record["run"] not in doomed])


def keep_newest(thread: ThreadCheckpoints) -> None:
    """Remove all checkpoints except the newest of each namespace and the ancestors needed to rebuild it."""

    def newest_and_needed(namespace: str, records: Records) -> Records:
        kept = records[:1]
        metadata: Any = thread.metadata(kept[0])
        deltas: dict[str, Any] = metadata.get(DELTAS) or {}
        wanted = deltas.keys() - kept[0]["channels"].keys()
        for ancestor in thread.ancestors(namespace, kept[0]):
            if not wanted:
                break
            kept.append(ancestor)
            wanted -= ancestor["channels"].keys()
        return kept

    _keep(thread, newest_and_needed)


def delete(thread: ThreadCheckpoints) -> None:
    """Remove all data of the thread, and its run if the saver created it and nobody has used or changed it since.

    A run that stays loses the tag if the saver has added it. Runs in which the saver has noted nothing stay as they
    are.
    """
    registered = thread.kv.get(keys.REGISTERED)
    for key in thread.kv.list(keys.PREFIX):
        thread.kv.delete(key)
    known = thread.txn.runs.get_run(thread.thread_id)
    if known is None or registered is None:
        return
    if registered == "created" and _is_unused(thread, known):
        thread.txn.runs.delete_run(thread.thread_id)
    elif TAG in known.tags:
        thread.txn.runs.remove_tags(thread.thread_id, [TAG])


def _is_unused(thread: ThreadCheckpoints, known: inmem.RunMetadata) -> bool:
    """Return whether the run is as the saver created it, and empty."""
    if (known.tags, known.metadata, known.parent_run) != ((TAG,), {}, None):
        return False
    # Someone has set the run's status or error: keep that information.
    if known.status != inmem.RunStatus.ACTIVE or known.error is not None:
        return False
    if thread.txn.runs.get_child_runs(thread.thread_id, include_archived=True, limit=1):
        return False
    return not thread.txn.on(thread.thread_id).contents.holds_data()


def check(thread: ThreadCheckpoints) -> None:
    """Raise InvariantError unless every checkpoint has its values and the entry of its LangGraph run. O(n).

    It reads the whole thread, so only tests call it, after every removal.
    """
    for namespace in thread.namespaces():
        for record in thread.newest_first(namespace):
            missing = [key for key in sorted(_needed_by(namespace, record)) if not thread.kv.exists(key)]
            if missing:
                raise inmem.InvariantError(f"thread {thread.thread_id!r}: {record['id']} lacks {missing[0]}")


def _keep(thread: ThreadCheckpoints, choose: Callable[[str, Records], Records]) -> None:
    """Remove the checkpoints that `choose(namespace, records newest first)` omits, and all that only they need."""
    needed: set[str] = set()
    for namespace in list(thread.namespaces()):
        records = list(thread.newest_first(namespace))
        kept = {record["id"] for record in choose(namespace, records)}
        for record in records:
            if record["id"] in kept:
                needed |= _needed_by(namespace, record)
                continue
            for key in thread.kv.list(keys.writes_prefix(namespace, record["id"])):
                thread.kv.delete(key)
            thread.kv.delete(keys.checkpoint_key(namespace, record["id"]))
    for prefix in (keys.BLOBS, keys.RUNS):
        for key in thread.kv.list(prefix):
            if key not in needed:
                thread.kv.delete(key)


def _needed_by(namespace: str, record: dict[str, Any]) -> set[str]:
    """Return the keys of the checkpoint's values and of the LangGraph run's entry that refers to it."""
    needed = {keys.BLOBS + digest for _, digest in record["channels"].values()}
    if record["run"] is not None:
        needed.add(keys.run_key(record["run"], namespace, record["id"]))
    return needed
