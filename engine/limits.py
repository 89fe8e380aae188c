"""The limits of what is stored, and of what may wait in a mailbox or is kept for watchers, each with its reason.

`Limits` are those that whoever opens a database may choose. Bounds of one mechanism stand beside it: the number of
shards, the size of a segment, the outcomes and deleted runs that are remembered, the requests of an event loop.

A limit is judged when something is written. What a database holds can be read, whatever limits it is opened with.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

RUN_ID_CHARS_MAX: Final = 255
"""Run ids are names, not data: as long as a file name may be."""

USER_KEY_BYTES_MAX: Final = 1024
"""UTF-8 bytes of a key: long enough for paths and URLs, short enough that keys never dominate memory."""

VALUE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Encoded bytes of one value: larger ones would stall every commit that shares a group with them."""

VALUE_DEPTH_MAX: Final = 64
"""Nesting of lists and dicts: deeper values are nearly always cycles or attacks, and recursion stays cheap."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
"""Integers are signed 64-bit: what every other language that reads the log can hold."""

TRANSACTION_BYTES_MAX: Final = 256 * 1024 * 1024
"""Encoded bytes buffered by one transaction: it becomes one log record, which is written and read whole."""

FRAME_BYTES_MAX: Final = TRANSACTION_BYTES_MAX + 16 * 1024 * 1024
"""Payload of one log frame; a longer length field is damage, not a reason to allocate."""

TRANSACTION_READS_MAX: Final = 1_000_000
"""Keys that a transaction has read when it wants to write: validating them keeps everybody else waiting."""

WAITING_REQUESTS_MAX: Final = 100_000
"""Requests that wait in one primitive's actor, or on their way there: whoever sends faster has to be told."""

WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""What those requests take in memory: as much as the largest transaction that could carry them out."""

RETAINED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Newest commits kept for watchers: about 70,000 small ones, seconds of a writer at full speed."""

_COUNT_MAX: Final = 10**9
"""More than this fits into no memory; whoever means "no limit" may say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one opening of a database: `inmem.open(path, limits=inmem.Limits(value_bytes_max=1_000_000))`.

    Attributes:
        value_bytes_max: of one value, encoded; more is refused with `InvalidValueError`. At most 256 MiB.
        transaction_bytes_max: of all keys and values that one transaction writes; more is refused with `UsageError`
            at its commit. At most 256 MiB, which is what a reader of the log accepts.
        transaction_reads_max: keys that a transaction has read when it commits writes; more: `UsageError`. A
            transaction without writes may read as many as there are.
        waiting_requests_max: requests that wait in one primitive's actor; more are refused with `OverloadedError`.
        waiting_bytes_max: memory that those requests take, above all the values in them; more: `OverloadedError`.

    Raises:
        UsageError: one of them is not an int from 1 to its maximum.
    """

    value_bytes_max: int = VALUE_BYTES_MAX
    transaction_bytes_max: int = TRANSACTION_BYTES_MAX
    transaction_reads_max: int = TRANSACTION_READS_MAX
    waiting_requests_max: int = WAITING_REQUESTS_MAX
    waiting_bytes_max: int = WAITING_BYTES_MAX

    def __post_init__(self) -> None:
        for field in fields(self):
            limit: object = getattr(self, field.name)
            most = GREATEST[field.name]
            if type(limit) is not int or not 1 <= limit <= most:
                raise UsageError(f"limits: {field.name} must be an int from 1 to {most}, not {shown(limit)}")


GREATEST: Final = {
    "value_bytes_max": TRANSACTION_BYTES_MAX,
    "transaction_bytes_max": TRANSACTION_BYTES_MAX,
    "transaction_reads_max": _COUNT_MAX,
    "waiting_requests_max": _COUNT_MAX,
    "waiting_bytes_max": INT_MAX,
}
"""The most that each limit can be set to: the first two are a matter of the log's format."""

DEFAULT_LIMITS: Final = Limits()
