"""The checkpoints of one LangGraph thread, as operations inside one transaction.

A thread is the run of the same id. Its checkpoints are in the run's KVStore, under the keys described in keys.py:

- A checkpoint is a record: its id and its parent's, LangGraph's checkpoint without the channel values, the metadata,
  the LangGraph run that made it, and the version and the value's digest for each channel that has a value.
- A channel's value is stored under the digest of its bytes. Checkpoints between which a channel has not changed share
  its value. Forks of a thread may give one version number to two values; they cannot overwrite each other's value.
- Each pending write of a checkpoint is its own entry, so parallel tasks never conflict.

A put reads the parent whose values it inherits, and every value that it finds present. collection.py, which removes
unneeded values, relies on these reads.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, get_checkpoint_metadata, writes_sort_key

import inmem
from inmem.integrations.langgraph import keys
from inmem.integrations.work import register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        DeltaChannelHistory,
        PendingWrite,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

TAG: Final = "langgraph"
"""The tag, in the RunIndex, of the runs that are threads."""

PAGE: Final = 100
"""The most checkpoints that a listing reads at once: enough to make each seek cheap, few enough to hold in memory."""

DIGEST_BYTES: Final = 32
"""Values with equal digests are stored as one. 256 bits rule out collisions, accidental or deliberate."""


class ThreadCheckpoints:
    """The checkpoints of one thread.

    Args:
        txn: the transaction for all reads and writes.
        thread_id: the id of the thread and of the run that holds it.
        serde: the serializer of values.

    Attributes:
        kv: the KVStore of the run.
    """

    def __init__(self, txn: inmem.Transaction, thread_id: str, serde: SerializerProtocol) -> None:
        self.txn = txn
        self.kv = txn.on(thread_id).kv
        self._serde = serde
        self.thread_id = thread_id

    def config(self, namespace: str, checkpoint_id: str) -> RunnableConfig:
        """Return the configuration that names a checkpoint."""
        named = {"thread_id": self.thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}
        return {"configurable": named}

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> CheckpointTuple:
        """Store a checkpoint, and return it with the values as given; a later read may return plainer types."""
        namespace, parent_id = place_of(config)
        full_metadata = get_checkpoint_metadata(config, metadata)
        made_by = full_metadata.get("run_id")
        run_id = None if made_by is None else str(made_by)
        rest = {name: part for name, part in checkpoint.items() if name != "channel_values"}
        record = {
            "id": checkpoint["id"],
            "parent": parent_id,
            "run": run_id,
            "checkpoint": self._dump(rest),
            "metadata": self._dump(full_metadata),
            "channels": self._put_channels(namespace, parent_id, checkpoint, new_versions),
        }
        _register(self.txn, self.thread_id)
        self.kv.put(keys.checkpoint_key(namespace, checkpoint["id"]), record)
        if run_id is not None:
            self.kv.put(keys.run_key(run_id, namespace, checkpoint["id"]), None)
        parent_config = self.config(namespace, parent_id) if parent_id else None
        return CheckpointTuple(self.config(namespace, checkpoint["id"]), checkpoint, full_metadata, parent_config)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Store the writes of a task. An existing ordinary write stays; a special one (an error, …) is replaced."""
        namespace, checkpoint_id = place_of(config)
        if checkpoint_id is None:
            raise KeyError("checkpoint_id")
        _register(self.txn, self.thread_id)
        for position, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, position)
            key = keys.write_key(namespace, checkpoint_id, task_id, index)
            if index < 0 or not self.kv.exists(key):
                write = {"task": task_id, "path": task_path, "index": index, "channel": channel}
                self.kv.put(key, {**write, "value": self._dump(value)})

    def get(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names, or the newest of its namespace; None if there is none."""
        namespace, checkpoint_id = place_of(config)
        record = self._record(namespace, checkpoint_id) if checkpoint_id else self._newest(namespace)
        return None if record is None else self.read(namespace, record)

    def read(self, namespace: str, record: dict[str, Any]) -> CheckpointTuple:
        """Return the checkpoint of a record, with its channel values and pending writes."""
        values = {channel: self._value(digest) for channel, (_, digest) in record["channels"].items()}
        checkpoint: Any = {**self._load(record["checkpoint"]), "channel_values": values}
        writes = self._writes(namespace, record["id"])
        return CheckpointTuple(
            config=self.config(namespace, record["id"]),
            checkpoint=checkpoint,
            metadata=self.metadata(record),
            parent_config=self.config(namespace, record["parent"]) if record["parent"] else None,
            pending_writes=[(write["task"], write["channel"], self._load(write["value"])) for write in writes],
        )

    def metadata(self, record: dict[str, Any]) -> CheckpointMetadata:
        """Return the metadata in a record."""
        metadata: CheckpointMetadata = self._load(record["metadata"])
        return metadata

    def namespaces(self) -> Iterator[str]:
        """Iterate over the namespaces that have checkpoints, without visiting every checkpoint. O(log n) each."""
        after = None
        while found := self.kv.list(keys.CHECKPOINTS, limit=1, after=after):
            text = found[0].removeprefix(keys.CHECKPOINTS).partition("/")[0]
            yield keys.name_of(text)
            after = keys.behind(f"{keys.CHECKPOINTS}{text}/")

    def newest_first(
        self, namespace: str, checkpoint_id: str | None = None, before: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Iterate over the records of a namespace. Never reads ahead more records than it has yielded.

        Args:
            namespace: the checkpoint namespace.
            checkpoint_id: only the checkpoint with this id.
            before: only checkpoints older than the one with this id.

        Complexity: O(log n), and O(1) per record yielded.
        """
        if checkpoint_id is not None:
            record = self._record(namespace, checkpoint_id)
            if record is not None and (before is None or checkpoint_id < before):
                yield record
            return
        after = None if before is None else keys.checkpoint_key(namespace, before)
        prefix = keys.in_namespace(keys.CHECKPOINTS, namespace)
        # A listing of all threads takes the first record of each, and for most threads no other.
        size = 1
        while page := self.kv.list_with_values(prefix, limit=size, after=after):
            yield from (record for _, record in page)
            after = page[-1][0]
            size = min(2 * size, PAGE)

    def ancestors(self, namespace: str, record: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Iterate over the stored ancestors of a checkpoint, the parent first."""
        while record is not None and record["parent"]:
            record = self._record(namespace, record["parent"])
            if record is not None:
                yield record

    def delta_history(self, config: RunnableConfig, channels: Sequence[str]) -> dict[str, DeltaChannelHistory]:
        """Return for each channel the value of the nearest ancestor with one, and the writes since, oldest first."""
        namespace, checkpoint_id = place_of(config)
        record = self._record(namespace, checkpoint_id) if checkpoint_id else self._newest(namespace)
        histories: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
        wanted = set(channels)
        for ancestor in self.ancestors(namespace, record):
            if not wanted:
                break
            step: dict[str, list[PendingWrite]] = {channel: [] for channel in wanted}
            for write in self._writes(namespace, ancestor["id"]):
                if write["channel"] in wanted:
                    step[write["channel"]].append((write["task"], write["channel"], self._load(write["value"])))
            for channel, writes in step.items():
                histories[channel]["writes"] = writes + histories[channel]["writes"]
            for channel in wanted & ancestor["channels"].keys():
                histories[channel]["seed"] = self._value(ancestor["channels"][channel][1])
                wanted.remove(channel)
        return histories

    def copy_to(self, target_id: str) -> None:
        """Copy all entries into another thread, which keeps its own. Write nothing if there are none."""
        # How the source was registered says nothing of the target.
        entries = [entry for entry in self.kv.list_with_values(keys.PREFIX) if entry[0] != keys.REGISTERED]
        target = self.txn.on(target_id).kv
        for key, value in entries:
            target.put(key, value)
        if entries:
            _register(self.txn, target_id)

    def _put_channels(
        self, namespace: str, parent_id: str | None, checkpoint: Checkpoint, new_versions: ChannelVersions
    ) -> dict[str, list[Any]]:
        """Store the channels' values and return [version, digest] for each channel that has a value."""
        parent = self._record(namespace, parent_id) if parent_id else None
        inherited: dict[str, list[Any]] = {} if parent is None else parent["channels"]
        values = checkpoint["channel_values"]
        channels: dict[str, list[Any]] = {}
        for channel, version in checkpoint["channel_versions"].items():
            old = inherited.get(channel)
            if channel not in new_versions and old is not None and old[0] == version:
                channels[channel] = old
            elif channel in values:
                channels[channel] = [version, self._put_value(values[channel])]
        return channels

    def _put_value(self, value: object) -> str:
        kind, data = self._dump(value)
        digest = blake2b(data, digest_size=DIGEST_BYTES, key=kind.encode()).hexdigest()
        if not self.kv.exists(keys.BLOBS + digest):
            self.kv.put(keys.BLOBS + digest, [kind, data])
        return digest

    def _value(self, digest: str) -> Any:
        stored = self.kv.get(keys.BLOBS + digest)
        if stored is None:
            raise inmem.InvariantError(f"thread {self.thread_id!r}: the value {keys.BLOBS}{digest} is not there")
        return self._load(stored)

    def _record(self, namespace: str, checkpoint_id: str) -> dict[str, Any] | None:
        record: dict[str, Any] | None = self.kv.get(keys.checkpoint_key(namespace, checkpoint_id))
        return record

    def _newest(self, namespace: str) -> dict[str, Any] | None:
        found = self.kv.list_with_values(keys.in_namespace(keys.CHECKPOINTS, namespace), limit=1)
        return found[0][1] if found else None

    def _writes(self, namespace: str, checkpoint_id: str) -> list[dict[str, Any]]:
        """Return the pending writes of a checkpoint in the order in which a running graph would apply them."""
        found = self.kv.list_with_values(keys.writes_prefix(namespace, checkpoint_id))
        writes: list[dict[str, Any]] = [write for _, write in found]
        return sorted(writes, key=lambda write: writes_sort_key(write["path"], write["task"], write["index"]))

    def _dump(self, value: object) -> list[Any]:
        kind, data = self._serde.dumps_typed(value)
        return [kind, bytes(data)]

    def _load(self, encoded: list[Any]) -> Any:
        kind, data = encoded
        return self._serde.loads_typed((kind, data))


def place_of(config: RunnableConfig) -> tuple[str, str | None]:
    """Return the namespace and the checkpoint id of a configuration; the id is None if it has none."""
    named = config.get("configurable", {})
    return named.get("checkpoint_ns") or "", named.get("checkpoint_id") or None


def _register(txn: inmem.Transaction, thread_id: str) -> None:
    """Register the thread's run and note what that took, for `collection.delete`."""
    done = register(txn, thread_id, TAG)
    kv = txn.on(thread_id).kv
    # Whoever takes the tag off a run that the saver has created does not make it somebody else's.
    if done is not None and not kv.exists(keys.REGISTERED):
        kv.put(keys.REGISTERED, done)
