"""Heads of event chains, to be kept elsewhere: they reveal a chain that was rewritten as a whole or cut at its end.

Heads are kept as lines of JSON, one for each chain: the run, the number of its events, and the hash of the last one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from inmem.amounts import counted
from inmem.engine.errors import UsageError
from inmem.engine.keys import normalize_run_id
from inmem.engine.limits import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem import Transaction


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain of events.

    Attributes:
        run_id: the run of the chain.
        events: the number of its events, at least one.
        hash: the hash of the last event, in hexadecimal; it vouches for all earlier events.
    """

    run_id: str
    events: int
    hash: str


class Compared(NamedTuple):
    """The result of comparing chains with kept heads.

    Attributes:
        heads: the number of heads compared.
        grown: the number of chains that have more events now and still contain the kept head.
        broken: (head, fault) for each chain that no longer contains the kept head.
    """

    heads: int
    grown: int
    broken: tuple[tuple[Head, str], ...]


def heads_of(txn: Transaction, runs: Iterable[str]) -> Iterator[Head]:
    """Yield the heads of the runs that have events."""
    for run_id in runs:
        head = txn.on(run_id).events.head()
        if head is not None:
            yield Head(run_id, head.sequence + 1, head.hash.hex())


def compare(txn: Transaction, expected: Iterable[Head]) -> Compared:
    """Compare chains with kept heads. The caller has verified the chains. O(heads * log n)."""
    heads = grown = 0
    broken: list[tuple[Head, str]] = []
    for head in expected:
        heads += 1
        here = txn.on(head.run_id).events
        length = here.len()
        last = here.read(head.events - 1)
        if last is None and txn.on(head.run_id).contents.is_empty():
            broken.append((head, f"the run is gone; {counted(head.events, 'event')} expected"))
        elif last is None:
            broken.append((head, f"has {length:,} of {counted(head.events, 'expected event')}: its end was cut off"))
        elif last.hash.hex() != head.hash:
            broken.append((head, f"event {head.events - 1:,} is not the expected one: it was rewritten"))
        elif length > head.events:
            grown += 1
    return Compared(heads, grown, tuple(broken))


def line_of(head: Head) -> dict[str, Any]:
    """Return a head as the JSON object of its line."""
    return asdict(head)


def read_heads(path: str) -> list[Head]:
    """Return the heads in a file, or in the standard input if the path is ``-``.

    Raises:
        UsageError: a line is not a head, or there is no head.
    """
    with click.open_file(path, encoding="utf-8", errors="replace") as file:
        heads = [_head_of(path, number, line) for number, line in enumerate(file, 1) if line.strip()]
    if not heads:
        raise click.UsageError(f"{path} contains no chain heads")
    return heads


def _head_of(path: str, number: int, line: str) -> Head:
    try:
        match json.loads(line):
            case {"run_id": str(run_id), "events": events, "hash": str(digest)} as found:
                # `type(...) is int` excludes JSON's true, which Python considers equal to 1.
                is_count = type(events) is int and 1 <= events <= INT_MAX
                if len(found) == 3 and is_count and len(bytes.fromhex(digest)) == 32:
                    return Head(normalize_run_id(run_id), events, digest.lower())
            case _:
                pass
    except (ValueError, RecursionError, UsageError):
        pass
    raise click.UsageError(f"{path}, line {number}: not a chain head as printed by inmem verify --heads")
