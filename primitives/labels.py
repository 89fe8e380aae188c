"""Tags, metadata, errors: what a caller attaches to a trace or a run to find or explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.engine.codec import Encoded, decode_value, encode_value
from inmem.engine.errors import InvalidKeyError, InvalidValueError
from inmem.engine.keys import user_key
from inmem.engine.shown import type_name
from inmem.primitives.arguments import several

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_METADATA = encode_value({})
"""The encoded metadata of a trace or run that was given none."""


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags in the given order, without duplicates. Any str that is a valid key may be a tag.

    Raises:
        InvalidKeyError: a tag is not a valid key, or `tags` is itself a str or not iterable.
    """
    checked: dict[str, None] = {}
    for tag in several("tags", tags, InvalidKeyError):
        user_key(tag, where="tag")
        checked[tag] = None
    return tuple(checked)


def encoded_new_metadata(metadata: object, bytes_max: int) -> bytes:
    """Return the encoded metadata of a new trace or run. None means that none was given; it becomes an empty dict.

    Raises:
        InvalidValueError: see `encoded_metadata`.
    """
    return NO_METADATA if metadata is None else encoded_metadata(metadata, bytes_max)


def encoded_metadata(metadata: object, bytes_max: int) -> bytes:
    """Return the encoded metadata dict, at most `bytes_max` bytes.

    Raises:
        InvalidValueError: `metadata` is not a dict with str keys, contains a value that cannot be stored, or is too
            large.
    """
    value: Any = decode_value(metadata.data) if type(metadata) is Encoded else metadata
    if type(value) is not dict:
        raise InvalidValueError("metadata", f"must be a dict, not {type_name(value)}")
    return encode_value(metadata, "metadata", bytes_max)


def checked_error(error: str, bytes_max: int) -> str:
    """Return the reason why a run failed, at most `bytes_max` bytes.

    Raises:
        InvalidValueError: `error` is not a storable str.
    """
    if type(error) is not str:
        raise InvalidValueError("error", f"must be a str, not {type_name(error)}")
    encode_value(error, "error", bytes_max)
    return error
