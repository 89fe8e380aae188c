"""Keys: which run, which kind of data, which entry; and bytes that keep all of them in one order.

Tables are found by run and tag, an entry in its table by its user key: nothing of a key is stored encoded. For keys of
different runs or kinds in one order, as bytes, there is `Key.encode`: the run id in UTF-8 with every 00 written as 00
FF, then 00 00, then the tag byte, then the user key as it is. Comparing encoded keys as bytes compares run, tag and
user key in that order: the terminator sorts below every continuation of the run id. The escape is the one of
FoundationDB's tuple layer, https://github.com/apple/foundationdb/blob/main/design/tuple.md.
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
    """The kind of data a key belongs to; one byte, in key order. From 0x10 on, tags are the store's own."""

    KV = 0x01
    EVENT = 0x02
    STATE = 0x03
    TRACE = 0x04
    RUN = 0x05
    EVENT_INDEX = 0x12
    TRACE_INDEX = 0x14
    RUN_INDEX = 0x15
    # The runs of each status: a table knows its size, so counting them takes no counter.
    RUN_ACTIVE = 0x20
    RUN_COMPLETED = 0x21
    RUN_FAILED = 0x22
    RUN_CANCELLED = 0x23
    RUN_PAUSED = 0x24
    RUN_ARCHIVED = 0x25


TAGS: Final = range(1, 256)
"""What can tag a table: any byte but 0. A later version may have written tags that this one does not know."""


def normalize_run_id(run: str | UUID) -> str:
    """Return the run id as the exact str under which its data is kept.

    Raises:
        InvalidKeyError: not a str or UUID, empty, longer than 255 characters, or with a lone surrogate.
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
    """Return the bytes of a user's key. Any str will do, the empty one included, up to 1024 bytes of UTF-8.

    Args:
        key: the key as the user gave it.
        where: what the caller calls it; error messages start with it.

    Raises:
        InvalidKeyError: not exactly a str, too long, or with a lone surrogate.
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
    """Return the key of an event: its sequence in 8 bytes, big endian, so that byte order is sequence order.

    Raises:
        InvalidKeyError: not exactly an int, or not in [0, 2^63 - 1].
    """
    if type(sequence) is not int:
        raise InvalidKeyError("sequence", f"must be an int, not {type_name(sequence)}")
    if not 0 <= sequence <= INT_MAX:
        raise InvalidKeyError("sequence", f"must be in [0, 2^63 - 1], not {shown(sequence)}")
    return sequence.to_bytes(_EVENT_KEY_BYTES, "big")


def sequence_of(key: bytes) -> int:
    """Return the sequence that `event_key` made `key` from."""
    if len(key) != _EVENT_KEY_BYTES:
        raise InvariantError(f"an event key has {len(key)} bytes instead of {_EVENT_KEY_BYTES}")
    return int.from_bytes(key, "big")


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the smallest byte string above every string that starts with `prefix`; None if nothing is above them."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return None
    return stem[:-1] + bytes((stem[-1] + 1,))


def shard_of(run: str, shards: int) -> int:
    """Return which of `shards` shards holds the run: the same answer in every process and on every machine."""
    return zlib.crc32(run.encode()) % shards


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Key:
    """One key of the store; a Key that exists is valid. Keys compare as their encodings do.

    Make them with `kv`, `event`, `state`, `trace` and `run`. The constructor itself also takes the store's own tags,
    keys of any length, and the run id "", which is the namespace of what spans runs.

    Attributes:
        run_id: the namespace.
        tag: which primitive it belongs to.
        user_key: the key there, as bytes.

    Raises:
        InvalidKeyError: from the constructor and every way to make one.
    """

    # UTF-8 sorts as code points do, and so does str: comparing the fields is comparing the encodings.
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
        """Whether the store keeps something for itself there, such as an index: no operation takes such a key."""
        return self.tag >= _FIRST_OWN_TAG

    def require_form(self) -> None:
        """Return only if this is a key that an entry of a primitive can have: the constructor takes any bytes.

        Raises:
            InvalidKeyError: it is none; the message says why.
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
        """Return the ordered bytes: ``a.encode() < b.encode()`` exactly if ``a < b``."""
        namespace = self.run_id.encode().replace(b"\x00", b"\x00\xff")
        return b"%b\x00\x00%c%b" % (namespace, self.tag, self.user_key)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the key that `encode` made `data` from.

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
        """Return the call that makes the key, without ``Key.``; bytes are shown where no such call exists."""
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
