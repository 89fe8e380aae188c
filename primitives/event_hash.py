"""The hash that chains a run's events, in a form that any language can compute in ten lines.

The hash of an event is the SHA-256 of seven concatenated fields, each preceded by its length in bytes as a 4-byte
integer. All integers are big endian:

    field           bytes
    format          8: the number 1
    run id          UTF-8
    sequence        8
    event type      UTF-8
    payload         the payload in msgpack, exactly as stored
    timestamp       8: microseconds since the epoch
    previous hash   32: the hash of the previous event; zeros for the first

The lengths make the encoding unambiguous: no two different events have the same bytes. Anybody who can write the files
could forge a whole chain. To rule that out, keep the head's hash elsewhere.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

FORMAT: Final = 1
HASH_BYTES: Final = 32
FIRST_PREVIOUS_HASH: Final = bytes(HASH_BYTES)

_NUMBER_BYTES: Final = 8
_LENGTH: Final = Struct(">I").pack
# A number with its length before it, and the length of the next field after it.
_NUMBER_LENGTH: Final = Struct(">IQI").pack


def event_hash(run: str, sequence: int, event_type: str, payload: bytes, timestamp: int, previous_hash: bytes) -> bytes:
    """Return the 32 bytes of an event's hash; `payload` is its stored encoding. O(len(payload))."""
    run_bytes = run.encode()
    type_bytes = event_type.encode()
    return sha256(
        b"".join(
            (
                _NUMBER_LENGTH(_NUMBER_BYTES, FORMAT, len(run_bytes)),
                run_bytes,
                _NUMBER_LENGTH(_NUMBER_BYTES, sequence, len(type_bytes)),
                type_bytes,
                _LENGTH(len(payload)),
                payload,
                _NUMBER_LENGTH(_NUMBER_BYTES, timestamp, HASH_BYTES),
                previous_hash,
            )
        )
    ).digest()
