"""Keys: a run id, a type tag and a user key; and an order-preserving encoding of all three as bytes.

A table is found by run and tag, and an entry in it by its user key, so the store itself never uses encoded keys.
`Key.encode` is for sorting keys of different runs or kinds as bytes: the run id in UTF-8 with every 00 written as 00
FF, then 00 00, then the tag byte, then the user key unchanged. Comparing encoded keys compares run, tag and user key in
that order, because the terminator sorts below every continuation of a run id. The escape is that of FoundationDB's
tuple layer, https://github.com/apple/foundationdb/blob/main/design/tuple.md.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from inmem.engine.errors import InvalidKeyError, InvariantError
from inmem.engine.limits import INT_MAX, RUN_ID_CHARS_MAX, USER_KEY_BYTES_MAX
from inmem.engine.shown import shown, type_name

if TYPE_CHECKING:
    from typing import Self

_EVENT_KEY_BYTES: Final = 8
_FIRST_OWN_TAG: Final = 0x10


class Tag(IntEnum):
    """The kind of data that a key belongs to; one byte, in key order. Tags from 0x10 are for the store's own data."""

    KV = 0x01
    EVENT = 0x02
    STATE = 0x03
    TRACE = 0x04
    RUN = 0x05
    EVENT_INDEX = 0x12
    TRACE_INDEX = 0x14
    RUN_INDEX = 0x15
    # One table per run status: a table knows its size, so counting runs by status needs no counters.
    RUN_ACTIVE = 0x20
    RUN_COMPLETED = 0x21
    RUN_FAILED = 0x22
    RUN_CANCELLED = 0x23
    RUN_PAUSED = 0x24
    RUN_ARCHIVED = 0x25


TAGS: Final = range(1, 256)
"""The possible tags of tables: any byte but 0. A later version may have written tags that are not in `Tag`."""


def normalize_run_id(run: str | UUID) -> str:
    """Return the run id as the exact str under which its data is stored.

    Raises:
        InvalidKeyError: the run id is not a str or UUID, is empty, is longer than 255 characters, or has a lone
            surrogate.
    """
    if type(run) is str and 0 < len(run) <= RUN_ID_CHARS_MAX and run.isascii():
        return run
    name: Any = str(run) if type(run) is not str and issubclass(type(run), UUID) else run
    if type(name) is not str:
        raise InvalidKeyError("run id", f"must be a str or a uuid.UUID, not {type_name(name)}")
    if not name:
        raise InvalidKeyError("run id", "must not be empty")
    if len(name) > RUN_ID_CHARS_MAX:
        raise InvalidKeyError("run id", f"{len(name)} characters, at most {RUN_ID_CHARS_MAX} are accepted")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidKeyError("run id", "has a lone surrogate") from None
    return name


def user_key(key: str, *, where: str = "key") -> bytes:
    """Return a user's key as bytes. Any str is valid, including the empty one, up to 1024 bytes of UTF-8.

    Args:
        key: the key as passed by the user.
        where: the caller's name for the key; error messages start with it.

    Raises:
        InvalidKeyError: the key is not exactly a str, is too long, or has a lone surrogate.
    """
    if type(key) is not str:
        raise InvalidKeyError(where, f"must be a str, not {type_name(key)}")
    try:
        data = key.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(where, "has a lone surrogate") from None
    if len(data) > USER_KEY_BYTES_MAX:
        raise InvalidKeyError(where, f"{len(data)} bytes of UTF-8, at most {USER_KEY_BYTES_MAX} are accepted")
    return data


def event_key(sequence: int) -> bytes:
    """Return the key of an event: its sequence as 8 big-endian bytes, so that byte order is sequence order.

    Raises:
        InvalidKeyError: the sequence is not exactly an int, or not in [0, 2^63 - 1].
    """
    if type(sequence) is not int:
        raise InvalidKeyError("sequence", f"must be an int, not {type_name(sequence)}")
    if not 0 <= sequence <= INT_MAX:
        raise InvalidKeyError("sequence", f"must be in [0, 2^63 - 1], not {shown(sequence)}")
    return sequence.to_bytes(_EVENT_KEY_BYTES, "big")


def sequence_of(key: bytes) -> int:
    """Return the sequence whose `event_key` is `key`."""
    if len(key) != _EVENT_KEY_BYTES:
        raise InvariantError(f"an event key has {len(key)} bytes instead of {_EVENT_KEY_BYTES}")
    return int.from_bytes(key, "big")


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the smallest byte string greater than every string that starts with `prefix`; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return None
    return stem[:-1] + bytes((stem[-1] + 1,))


def shard_of(run: str, shards: int) -> int:
    """Return the index of the shard, out of `shards`, that holds the run; the same in all processes and machines."""
    return zlib.crc32(run.encode()) % shards


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Key:
    """One key of the store. Keys are validated on construction, and compare in the order of their encodings.

    Make keys with `kv`, `event`, `state`, `trace` and `run`. The constructor itself also accepts the store's own tags,
    keys of any length, and the run id "", which is the namespace of data that spans runs.

    Attributes:
        run_id: the namespace.
        tag: the primitive that the key belongs to.
        user_key: the key within that primitive, as bytes.

    Raises:
        InvalidKeyError: from the constructor and from every class method that makes a key.
    """

    # UTF-8 and str both sort by code point, so comparing the fields is equivalent to comparing the encodings.
    run_id: str
    tag: Tag
    user_key: bytes

    def __post_init__(self) -> None:
        if type(self.run_id) is not str or self.run_id:
            name = normalize_run_id(self.run_id)
            if name is not self.run_id:
                object.__setattr__(self, "run_id", name)
        if type(self.tag) is not Tag:
            raise InvalidKeyError("tag", f"must be a Tag, not {type_name(self.tag)}")
        if type(self.user_key) is not bytes:
            raise InvalidKeyError("user key", f"must be bytes, not {type_name(self.user_key)}")

    @classmethod
    def kv(cls, run: str | UUID, key: str) -> Self:
        """Return the key of an entry in the run's KVStore."""
        return cls(normalize_run_id(run), Tag.KV, user_key(key))

    @classmethod
    def event(cls, run: str | UUID, sequence: int) -> Self:
        """Return the key of an event in the run's EventLog."""
        return cls(normalize_run_id(run), Tag.EVENT, event_key(sequence))

    @classmethod
    def state(cls, run: str | UUID, name: str) -> Self:
        """Return the key of one of the run's StateCells."""
        return cls(normalize_run_id(run), Tag.STATE, user_key(name, where="cell name"))

    @classmethod
    def trace(cls, run: str | UUID, trace_id: str) -> Self:
        """Return the key of a trace in the run's TraceStore."""
        return cls(normalize_run_id(run), Tag.TRACE, user_key(trace_id, where="trace id"))

    @classmethod
    def run(cls, run: str | UUID) -> Self:
        """Return the key of the run itself in the RunIndex."""
        return cls(normalize_run_id(run), Tag.RUN, b"")

    @property
    def is_the_stores_own(self) -> bool:
        """Whether the key is for the store's own data, such as an index. Operations do not accept such keys."""
        return self.tag >= _FIRST_OWN_TAG

    def require_form(self) -> None:
        """Raise unless an entry of a primitive can have this key. The constructor does not check this.

        Raises:
            InvalidKeyError: no entry can have this key; the message says why.
        """
        normalize_run_id(self.run_id)
        if self.tag is Tag.EVENT:
            if len(self.user_key) != _EVENT_KEY_BYTES:
                raise InvalidKeyError("key", f"{self} is no sequence in {_EVENT_KEY_BYTES} bytes")
        elif self.tag is Tag.RUN:
            if self.user_key:
                raise InvalidKeyError("key", f"{self} is more than the run")
        elif not self.is_the_stores_own:
            try:
                self.user_key.decode()
            except UnicodeDecodeError:
                raise InvalidKeyError("key", f"{self} is not UTF-8") from None

    def encode(self) -> bytes:
        """Return the order-preserving encoding: ``a.encode() < b.encode()`` exactly if ``a < b``."""
        namespace = self.run_id.encode().replace(b"\x00", b"\x00\xff")
        return b"%b\x00\x00%c%b" % (namespace, self.tag, self.user_key)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the key whose encoding is `data`.

        Raises:
            InvalidKeyError: no key has this encoding.
        """
        if type(data) is not bytes:
            raise InvalidKeyError("encoded key", f"must be bytes, not {type_name(data)}")
        namespace, terminator, rest = data.partition(b"\x00\x00")
        if not terminator or not rest:
            raise InvalidKeyError("encoded key", "cut off")
        try:
            run_id = namespace.replace(b"\x00\xff", b"\x00").decode()
            tag = Tag(rest[0])
        except ValueError as error:
            raise InvalidKeyError("encoded key", f"{error}") from error
        key = cls(run_id, tag, rest[1:])
        if key.encode() != data:
            raise InvalidKeyError("encoded key", "a 00 in the run id is not escaped")
        return key

    def __str__(self) -> str:
        """Return the call that makes the key, without ``Key.``; show the user key as bytes if no such call exists."""
        place = f"{self.tag.name.lower()}({self.run_id!r}"
        if self.tag is Tag.RUN and not self.user_key:
            return f"{place})"
        return f"{place}, {self._shown_user_key()!r})"

    def __repr__(self) -> str:
        return f"Key.{self}"

    def _shown_user_key(self) -> str | int | bytes:
        if self.tag is Tag.EVENT and len(self.user_key) == _EVENT_KEY_BYTES:
            return sequence_of(self.user_key)
        if self.tag in {Tag.KV, Tag.STATE, Tag.TRACE}:
            try:
                return self.user_key.decode()
            except UnicodeDecodeError:
                return self.user_key
        return self.user_key
