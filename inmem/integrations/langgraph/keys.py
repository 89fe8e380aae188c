"""The KVStore keys of checkpoints and items.

    langgraph/c/NAMESPACE/ID            a checkpoint
    langgraph/w/NAMESPACE/ID/TASK/INDEX one write of a task, pending on that checkpoint
    langgraph/b/DIGEST                  the value of a channel
    langgraph/r/RUN/NAMESPACE/ID        an entry for each checkpoint that a LangGraph run made
    langgraph/registered                whether the saver created the thread's run or only tagged it, if it did either

    langgraph-store/LABEL#LABEL##KEY    an item of the store; as no label is empty, the `##` before KEY ends the labels

In a checkpoint's key each name is one component, with `%` and `/` written as `%25` and `%2F`. So `/` only ever ends a
component, and the text of one component cannot extend into the next. The ID is the checkpoint's id with its bytes
complemented, in hex. LangGraph's ids grow, so keys in ascending order list the checkpoints from the newest to the
oldest, and the newest is found without visiting the others.

Item keys sort like (namespace, key) as tuples of str: in a label, `%` and all characters below it are written as `%`
and two hex digits, so `#`, which only ever ends a label, sorts below every character that can continue a label. The KEY
is stored unescaped.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

PREFIX: Final = "langgraph/"
CHECKPOINTS: Final = "langgraph/c/"
WRITES: Final = "langgraph/w/"
BLOBS: Final = "langgraph/b/"
RUNS: Final = "langgraph/r/"
REGISTERED: Final = "langgraph/registered"
ITEMS: Final = "langgraph-store/"

_COMPLEMENT: Final = bytes(range(255, -1, -1))
_LOW: Final = re.compile(r"[\x00-%]")


def component(name: str) -> str:
    """Return the name escaped as one component, without any `/`."""
    return name.replace("%", "%25").replace("/", "%2F")


def name_of(text: str) -> str:
    """Return the name that `component` escaped to `text`."""
    return text.replace("%2F", "/").replace("%25", "%")


def behind(prefix: str) -> str:
    """Return a cursor after every key that starts with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _descending(checkpoint_id: str) -> str:
    # `~` is greater than any hex digit: in the reversed order an id sorts after the longer ids that begin with it.
    return checkpoint_id.encode().translate(_COMPLEMENT).hex() + "~"


def in_namespace(kind: str, namespace: str) -> str:
    """Return the prefix of a namespace's keys under `kind`, which is CHECKPOINTS or WRITES."""
    return f"{kind}{component(namespace)}/"


def checkpoint_key(namespace: str, checkpoint_id: str) -> str:
    """Return the key of a checkpoint."""
    return in_namespace(CHECKPOINTS, namespace) + _descending(checkpoint_id)


def writes_prefix(namespace: str, checkpoint_id: str) -> str:
    """Return the prefix of a checkpoint's pending writes."""
    return f"{in_namespace(WRITES, namespace)}{_descending(checkpoint_id)}/"


def write_key(namespace: str, checkpoint_id: str, task_id: str, index: int) -> str:
    """Return the key of one write of a task."""
    return f"{writes_prefix(namespace, checkpoint_id)}{component(task_id)}/{index}"


def run_prefix(run_id: str) -> str:
    """Return the prefix of the entries of one LangGraph run."""
    return f"{RUNS}{component(run_id)}/"


def run_key(run_id: str, namespace: str, checkpoint_id: str) -> str:
    """Return the key of the entry that records which LangGraph run made a checkpoint."""
    return f"{run_prefix(run_id)}{component(namespace)}/{_descending(checkpoint_id)}"


def labels_prefix(labels: tuple[str, ...]) -> str:
    """Return the prefix of all items at or below a namespace of the store."""
    return ITEMS + "".join(f"{_LOW.sub(_escaped, label)}#" for label in labels)


def item_key(labels: tuple[str, ...], key: str) -> str:
    """Return the key of an item of the store. Item keys sort like (labels, key)."""
    return f"{labels_prefix(labels)}#{key}"


def labels_and_key(text: str) -> tuple[tuple[str, ...], str]:
    """Return the labels and the key of the item whose key in the KVStore is `text`."""
    labels, _, key = text.removeprefix(ITEMS).partition("##")
    return tuple(unquote(label) for label in labels.split("#")), key


def _escaped(char: re.Match[str]) -> str:
    return f"%{ord(char[0]):02X}"
