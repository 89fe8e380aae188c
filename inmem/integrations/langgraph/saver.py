"""InmemSaver: LangGraph's checkpointer on an inmem database."""

from __future__ import annotations

import random
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

import inmem
from inmem.aio.offload import finish_in_thread, run_in_thread
from inmem.handle import require_function_or_none
from inmem.integrations.langgraph import collection
from inmem.integrations.langgraph.checkpoints import TAG, ThreadCheckpoints, place_of
from inmem.integrations.langgraph.keys import run_prefix
from inmem.integrations.langgraph.serializer import StrictSerializer
from inmem.integrations.work import Bindable, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

T = TypeVar("T")

AHEAD: Final = 10
"""Checkpoints that an async listing reads at a time. More would save thread switches, but read states nobody uses."""


class InmemSaver(Bindable, BaseCheckpointSaver[int]):
    """Keeps the checkpoints of LangGraph threads; each call is one transaction, as durable as the database makes it.

    A thread is the run of the same id, tagged "langgraph"; its checkpoints are in the run's KVStore under
    `langgraph/`. May be used from any number of threads and tasks. The async methods do the same work in a thread.

    Args:
        db: an open database, which the caller closes.
        allowed_types: classes that stored values may be read back as, in addition to LangGraph's safe types. State that
            holds other classes is refused when written.
        serde: a serializer to use, unchanged, in place of the default one.
        on_put: `on_put(txn, saved)` is called in the transaction that stores each checkpoint: its writes through `txn`
            are committed with the checkpoint or not at all. The run of `txn` is the thread's; in a bound saver it is
            the run of the bound transaction. The function may run again after a conflict; if it raises, the put fails.
            `saved` holds the values exactly as the graph put them, before any type is lost, and no pending writes.

    Raises:
        UsageError: `db` is not an `inmem.Database`, `allowed_types` holds something else than classes, `on_put` cannot
            be called, or both `allowed_types` and `serde` are given.
    """

    def __init__(
        self,
        db: inmem.Database,
        *,
        allowed_types: Iterable[type | tuple[str, ...]] = (),
        serde: SerializerProtocol | None = None,
        on_put: Callable[[inmem.Transaction, CheckpointTuple], object] | None = None,
    ) -> None:
        types = _checked_types(allowed_types)
        require_function_or_none("on_put", on_put)
        if serde is not None and types:
            raise inmem.UsageError("allowed_types: belongs to the default serializer; give it or `serde`")
        super().__init__(serde=StrictSerializer(types) if serde is None else serde)
        self._work = Work(db)
        self._on_put = on_put

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names, or the newest of its namespace, or None; from one snapshot."""
        return self._on_thread(config, lambda thread: thread.get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Generator[CheckpointTuple]:
        """Iterate over checkpoints, newest first, all from the snapshot taken at the first step.

        Args:
            config: the thread, and optionally the namespace and the checkpoint; None or {} means all threads.
            filter: entries that the metadata must contain.
            before: only checkpoints older than the one it names.
            limit: the maximum number of checkpoints.

        Complexity: O(log n) per thread and namespace, plus O(1) per checkpoint visited; values are read only for the
        checkpoints returned.
        """
        before_id = None if before is None else place_of(before)[1]
        with self._work.reading(_thread_of(config) if config else TAG) as txn:
            found = (
                thread.read(namespace, record)
                for record, namespace, thread in self._records(txn, config, before_id)
                if not filter or _has(thread.metadata(record), filter)
            )
            yield from islice(found, None if limit is None else max(limit, 0))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint atomically and return the configuration that names it.

        Raises:
            InvalidValueError: a value cannot be stored, or would be read back as something else.
            InvalidKeyError: the thread's id is not a run id (at most 255 characters), or the namespace is too long.
        """

        def store(txn: inmem.Transaction) -> RunnableConfig:
            saved = self._thread(txn, _thread_of(config)).put(config, checkpoint, metadata, new_versions)
            if self._on_put is not None:
                self._on_put(txn, saved)
            return saved.config

        return self._work.do(_thread_of(config), store)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's pending writes on a checkpoint, all of them or none."""
        self._on_thread(config, lambda thread: thread.put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Remove the thread's checkpoints and writes, and its run if only the saver has used it.

        A run that stays, such as one that you have registered, loses the tag "langgraph" if the saver has added it.

        Complexity: O(entries).
        """
        self._collect(thread_id, collection.delete)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints and writes of these LangGraph runs in all threads, with one commit per thread.

        Raises:
            UsageError: `run_ids` is a str; nothing was removed.
        """
        self._work.require_own()
        wanted = [str(run_id) for run_id in _several(run_ids, "run_ids")]
        with self._work.reading(TAG) as txn:
            concerned = [
                thread_id
                for thread_id in _threads(txn)
                if any(txn.on(thread_id).kv.list(run_prefix(run_id), limit=1) for run_id in wanted)
            ]
        for thread_id in concerned:
            self._collect(thread_id, lambda thread: collection.delete_runs(thread, wanted))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes in one commit; the target keeps the ones it has."""
        # Ids are used as str everywhere.
        source, target = str(source_thread_id), str(target_thread_id)
        self._work.do(source, lambda txn: self._thread(txn, source).copy_to(target))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove old checkpoints of each thread, in one commit per thread.

        Args:
            thread_ids: the threads.
            strategy: "keep_latest" keeps the newest checkpoint of each namespace and, for graphs with delta channels,
                the earlier ones that hold parts of its state; "delete" keeps nothing.

        Raises:
            UsageError: the strategy is unknown, or `thread_ids` is a str; nothing was removed.
        """
        match strategy:
            case "keep_latest":
                removal = collection.keep_newest
            case "delete":
                removal = collection.delete
            case _:
                raise inmem.UsageError(f"strategy: must be 'keep_latest' or 'delete', not {strategy!r}")
        self._work.require_own()
        for thread_id in _several(thread_ids, "thread_ids"):
            self._collect(thread_id, removal)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the parts that make up the values of delta channels at a checkpoint, from one snapshot."""
        return self._on_thread(config, lambda thread: thread.delta_history(config, channels))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `get_tuple`."""
        return await run_in_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See `list`."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        try:
            while batch := await run_in_thread(lambda: tuple(islice(found, AHEAD))):
                for saved in batch:
                    yield saved
        except BaseException:
            # The iteration ended early: release its snapshot in any case, however often this task is cancelled.
            await finish_in_thread(found.close)
            raise

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `put`."""
        return await run_in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `put_writes`."""
        await run_in_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """See `delete_thread`."""
        await run_in_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See `delete_for_runs`."""
        await run_in_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See `copy_thread`."""
        await run_in_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See `prune`."""
        await run_in_thread(self.prune, thread_ids, strategy=strategy)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See `get_delta_channel_history`."""
        return await run_in_thread(self.get_delta_channel_history, config=config, channels=channels)

    def get_next_version(self, current: float | str | None, channel: None) -> Any:
        """Return the next version of a channel, of the thread's version type: int for threads begun with this saver.

        Args:
            current: the greatest version so far; a str in a thread begun with another checkpointer, as most use str.
            channel: unused.
        """
        if isinstance(current, str):
            # The form shared by the checkpointers with str versions: zero-padded, so strs compare like the numbers.
            chance = random.random()  # noqa: S311  (sets the versions of forks apart; nobody has to guess it)
            return f"{int(current.split('.')[0]) + 1:032}.{chance:016}"
        return super().get_next_version(cast("int | None", current), channel)

    def _thread(self, txn: inmem.Transaction, thread_id: str) -> ThreadCheckpoints:
        return ThreadCheckpoints(txn, thread_id, self.serde)

    def _on_thread(self, config: RunnableConfig, fn: Callable[[ThreadCheckpoints], T]) -> T:
        thread_id = _thread_of(config)
        return self._work.do(thread_id, lambda txn: fn(self._thread(txn, thread_id)))

    def _collect(self, thread_id: str, fn: Callable[[ThreadCheckpoints], None]) -> None:
        self._work.do_alone(str(thread_id), lambda txn: fn(self._thread(txn, str(thread_id))))

    def _records(
        self, txn: inmem.Transaction, config: RunnableConfig | None, before_id: str | None
    ) -> Iterator[tuple[dict[str, Any], str, ThreadCheckpoints]]:
        """Iterate over (record, namespace, thread) of the checkpoints that `config` names, newest first."""
        named: dict[str, Any] = config.get("configurable", {}) if config else {}
        namespace, checkpoint_id = named.get("checkpoint_ns"), named.get("checkpoint_id") or None

        def stream(thread: ThreadCheckpoints, of: str) -> Iterator[tuple[dict[str, Any], str, ThreadCheckpoints]]:
            return ((record, of, thread) for record in thread.newest_first(of, checkpoint_id, before_id))

        thread_ids = [_thread_of(config)] if config else _threads(txn)
        threads = [self._thread(txn, thread_id) for thread_id in thread_ids]
        streams = [
            stream(thread, of)
            for thread in threads
            for of in (thread.namespaces() if namespace is None else (namespace,))
        ]
        return merge(*streams, key=lambda found: found[0]["id"], reverse=True)


def _thread_of(config: RunnableConfig) -> str:
    return str(config.get("configurable", {})["thread_id"])


def _several(ids: Sequence[str], argument: str) -> Sequence[str]:
    """Return the ids, but refuse a single str: its characters would be taken as ids, and nothing would be removed."""
    if isinstance(ids, (str, bytes)):
        raise inmem.UsageError(f"{argument}: must be several ids, not {ids!r} alone")
    return ids


def _threads(txn: inmem.Transaction) -> Iterable[str]:
    return [run.run_id for run in txn.runs.query_runs(tags=[TAG], include_archived=True)]


def _has(metadata: CheckpointMetadata, wanted: dict[str, Any]) -> bool:
    return all(metadata.get(name) == value for name, value in wanted.items())


def _is_name(given: object) -> bool:
    """Return whether a type is given as (module, name)."""
    parts = cast("tuple[object, ...]", given) if isinstance(given, tuple) else ()
    return len(parts) == 2 and all(isinstance(part, str) for part in parts)


def _checked_types(allowed: Iterable[type | tuple[str, ...]]) -> tuple[type | tuple[str, ...], ...]:
    try:
        types = tuple(allowed)
    except TypeError:
        raise inmem.UsageError(f"allowed_types: must be several classes, not {allowed!r}") from None
    for at, each in enumerate(types):
        if not isinstance(each, type) and not _is_name(each):
            raise inmem.UsageError(f"allowed_types[{at}]: must be a class, or (module, name) of one, not {each!r}")
    return types
