"""Every limit of the store, each with the reason for its size."""

from __future__ import annotations

from typing import Final

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

RETAINED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Newest commits kept for watchers: about 70,000 small ones, seconds of a writer at full speed."""
