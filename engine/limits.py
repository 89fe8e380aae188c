"""Limits on stored data, on requests waiting in mailboxes and on commits kept for watchers, each with its reason.

`Limits` are the ones that can be chosen when a database is opened. Limits of a single mechanism are defined in its own
module: the number of shards, the size of a segment, the outcomes and deleted runs that are remembered, the requests of
an event loop.

Limits on data are checked when it is written. Existing data can be read whatever limits the database is opened with.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

RUN_ID_CHARS_MAX: Final = 255
"""Run ids are names, not data: as long as a file name can be."""

USER_KEY_BYTES_MAX: Final = 1024
"""UTF-8 bytes of a key: long enough for paths and URLs, short enough that keys never dominate memory."""

VALUE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Encoded bytes of one value: a larger one would stall every commit in the same group."""

VALUE_DEPTH_MAX: Final = 64
"""Nesting of lists and dicts: deeper values are nearly always cycles or attacks, and recursion stays cheap."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
"""Integers are signed 64-bit: every other language that reads the log can represent them."""

TRANSACTION_BYTES_MAX: Final = 256 * 1024 * 1024
"""Encoded bytes written by one transaction: they become one log record, which is written and read whole."""

FRAME_BYTES_MAX: Final = TRANSACTION_BYTES_MAX + 16 * 1024 * 1024
"""Payload bytes of one log frame. A reader takes a greater length for damage and does not allocate it."""

TRANSACTION_READS_MAX: Final = 1_000_000
"""Keys read by a transaction that writes: validating them keeps all other commits waiting."""

WAITING_REQUESTS_MAX: Final = 100_000
"""Requests waiting in one primitive's actor or on their way to it: callers that send faster must be refused."""

WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""Memory taken by those requests: as much as the largest transaction that could carry them out."""

RETAINED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Newest commits kept for watchers: about 70,000 small ones, seconds of a writer at full speed."""

_COUNT_MAX: Final = 10**9
"""More than fits into any memory; can be passed to mean "no limit"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one opening of a database: `inmem.open(path, limits=inmem.Limits(value_bytes_max=1_000_000))`.

    Attributes:
        value_bytes_max: size of one encoded value; a larger one is refused with `InvalidValueError`. At most 256 MiB.
        transaction_bytes_max: size of all keys and values that one transaction writes; a larger transaction is refused
            at commit with `UsageError`. At most 256 MiB, which is what a reader of the log accepts.
        transaction_reads_max: keys that a transaction with writes has read; at commit, more are refused with
            `UsageError`. A transaction without writes may read any number of keys.
        waiting_requests_max: requests waiting in one primitive's actor; more are refused with `OverloadedError`.
        waiting_bytes_max: memory taken by those requests, mostly by their values; requests beyond it are refused with
            `OverloadedError`.

    Raises:
        UsageError: one of the limits is not an int from 1 to its maximum.
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
"""The greatest value of each limit. The log format determines the first two."""

DEFAULT_LIMITS: Final = Limits()
