"""The items of LangGraph's store, as operations inside one transaction.

An item is an entry in the KVStore of a run, under its labels and key (keys.py): a dict of the value, the times of
its creation and last change in microseconds, and its time to live in seconds since the last access, or None. The
deadline is that of the KVStore entry, so an expired item is absent for every reader at once, and the store's reaper
removes it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)

import inmem
from inmem.integrations.langgraph import keys
from inmem.integrations.langgraph.filters import check_filter, passes
from inmem.integrations.work import register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langgraph.store.base import Op, Result

Labels = tuple[str, ...]

TAG: Final = "langgraph-store"
"""The tag, in the RunIndex, of a run that holds items."""

PAGE: Final = 100
"""Items that a search reads at once: enough to make each seek cheap, few enough to hold in memory."""

TTL_MINUTES_MAX: Final = 10**11
"""190,000 years: within the range of the store's deadlines, whatever the current time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


class Items:
    """The items that one run holds.

    Args:
        txn: the transaction for all reads and writes.
        run: the id of the run.
    """

    def __init__(self, txn: inmem.Transaction, run: str) -> None:
        self._txn = txn
        self._run = run
        self._kv = txn.on(run).kv

    def apply(self, ops: Sequence[Op]) -> list[Result]:
        """Execute operations and return their results: first all reads, from before the batch, then all writes.

        Raises:
            InvalidNamespaceError: a namespace has no label, is a str, or has a label that is empty, is not a str, or
                contains a period.
            InvalidValueError: a value cannot be stored.
            InvalidKeyError: a key is not a str.
            UsageError: not an operation, or its filter, limit, offset, depth or time to live is invalid.
        """
        for op in ops:
            _check(op)
        results: list[Result] = [self._read(op) for op in ops]
        for op in ops:
            if isinstance(op, PutOp):
                self._write(op)
        return results

    def _read(self, op: Op) -> Result:
        match op:
            case GetOp():
                return self._get(op)
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._list_namespaces(op)
            case PutOp():
                return None
            case _:
                raise inmem.UsageError(f"op: {type(op).__name__} is not an operation of a store")

    def _write(self, op: PutOp) -> None:
        if not op.namespace:
            raise InvalidNamespaceError("Namespace cannot be empty.")
        key = keys.item_key(op.namespace, op.key)
        if op.value is None:
            self._kv.delete(key)
            return
        now_us = (datetime.now(UTC) - _EPOCH) // _US
        old = self._kv.get(key)
        created_us = now_us if old is None else old["created_at"]
        ttl_s = None if op.ttl is None else op.ttl * 60
        register(self._txn, self._run, TAG)
        item = {"value": dict(op.value), "created_at": created_us, "updated_at": now_us, "ttl": ttl_s}
        self._kv.put(key, item, ttl_s)

    def _get(self, op: GetOp) -> Item | None:
        key = keys.item_key(op.namespace, op.key)
        stored = self._kv.get(key)
        if stored is None:
            return None
        self._touch(key, stored, refresh=op.refresh_ttl)
        return Item(
            value=stored["value"],
            key=op.key,
            namespace=op.namespace,
            created_at=_time(stored["created_at"]),
            updated_at=_time(stored["updated_at"]),
        )

    def _search(self, op: SearchOp) -> list[SearchItem]:
        matching = (
            (key, stored)
            for key, stored in self._scan(keys.labels_prefix(op.namespace_prefix))
            if not op.filter or passes(stored["value"], op.filter)
        )
        found: list[SearchItem] = []
        # A limit that means "all" may exceed sys.maxsize, which islice refuses. No list is longer than that.
        start, stop = (min(place, sys.maxsize) for place in (op.offset, op.offset + op.limit))
        for key, stored in list(islice(matching, start, stop)):
            self._touch(key, stored, refresh=op.refresh_ttl)
            labels, name = keys.labels_and_key(key)
            created_at, updated_at = _time(stored["created_at"]), _time(stored["updated_at"])
            found.append(SearchItem(labels, name, stored["value"], created_at, updated_at))
        return found

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Labels]:
        conditions = op.match_conditions or ()
        matching = (labels for labels in self._namespaces() if all(_matches(labels, each) for each in conditions))
        shown = sorted({labels[: op.max_depth] for labels in matching})
        return shown[op.offset : op.offset + op.limit]

    def _namespaces(self) -> Iterator[Labels]:
        """Iterate over the namespaces that hold items, without visiting every item. O(log n) each."""
        after = None
        while found := self._kv.list(keys.ITEMS, limit=1, after=after):
            labels, _ = keys.labels_and_key(found[0])
            yield labels
            after = keys.behind(keys.item_key(labels, ""))

    def _scan(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        after = None
        while page := self._kv.list_with_values(prefix, limit=PAGE, after=after):
            yield from page
            after = page[-1][0]

    def _touch(self, key: str, stored: dict[str, Any], *, refresh: bool) -> None:
        """If the item has a deadline, set it to the item's full time to live from now."""
        if refresh and stored["ttl"] is not None:
            self._kv.put(key, stored, stored["ttl"])


def checked_ttl(ttl: object, argument: str) -> float | None:
    """Return a valid time to live in minutes, or None for unlimited.

    Raises:
        UsageError: it is neither; the error names the argument.
    """
    if ttl is None:
        return None
    # The comparison also refuses NaN. Subclasses are refused because their products could not be stored.
    if (type(ttl) is int or type(ttl) is float) and 0 < ttl <= TTL_MINUTES_MAX:
        return ttl
    raise inmem.UsageError(
        f"{argument}: must be a positive number of minutes, at most {TTL_MINUTES_MAX}, or None, not {ttl!r}"
    )


def _check(op: Op) -> None:
    """Raise an error if an argument of the operation is invalid."""
    match op:
        case GetOp():
            _check_labels(op.namespace)
            _check_key(op.key)
        case PutOp():
            _check_labels(op.namespace)
            _check_key(op.key)
            checked_ttl(op.ttl, "ttl")
            _check_value(op.value)
        case SearchOp():
            _check_labels(op.namespace_prefix)
            check_filter(op.filter)
            _check_page(op)
        case ListNamespacesOp():
            for condition in op.match_conditions or ():
                _check_labels(condition.path)
            _check_page(op)
            if op.max_depth is not None:
                _check_count(op.max_depth, "max_depth")
    validate_op_namespace(op)


def _check_labels(labels: object) -> None:
    # LangGraph would accept a str and take each character as a label.
    if isinstance(labels, str):
        raise InvalidNamespaceError(f"Namespace must be a tuple of labels, such as ({labels!r},), not the str alone.")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise inmem.InvalidKeyError("key", f"must be a str, not {type(key).__name__}")


def _check_value(value: object) -> None:
    # None removes the item.
    if value is not None and not isinstance(value, Mapping):
        raise inmem.InvalidValueError("value", f"must be a dict, not {type(value).__name__}")


def _check_page(op: SearchOp | ListNamespacesOp) -> None:
    _check_count(op.limit, "limit")
    _check_count(op.offset, "offset")


def _check_count(count: object, argument: str) -> None:
    if type(count) is not int or count < 0:
        raise inmem.UsageError(f"{argument}: must be an int of at least 0, not {count!r}")


def _time(time_us: int) -> datetime:
    return _EPOCH + time_us * _US


def _matches(labels: Labels, condition: MatchCondition) -> bool:
    """Return whether the namespace has the prefix or suffix of the condition; `*` matches any one label."""
    path = condition.path
    if len(labels) < len(path):
        return False
    match condition.match_type:
        case "prefix":
            part = labels[: len(path)]
        case "suffix":
            part = labels[len(labels) - len(path) :]
        case _:
            raise inmem.UsageError(f"match_type: must be 'prefix' or 'suffix', not {condition.match_type!r}")
    return all(wanted in ("*", label) for label, wanted in zip(part, path, strict=True))
