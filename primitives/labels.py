"""What a caller attaches to a trace or a run to find it again or to explain it: tags and metadata."""

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
"""The metadata of what has none."""


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags in the order given, each once. Any str that could be a key may be a tag.

    Raises:
        InvalidKeyError: a tag is not of that form, or `tags` is itself a str or not iterable.
    """
    checked: dict[str, None] = {}
    for tag in several("tags", tags, InvalidKeyError):
        user_key(tag, where="tag")
        checked[tag] = None
    return tuple(checked)


def encoded_new_metadata(metadata: object, bytes_max: int) -> bytes:
    """Return the encoding of the metadata that something new gets. None, for none given, is stored as an empty dict.

    Raises:
        InvalidValueError: see `encoded_metadata`.
    """
    return NO_METADATA if metadata is None else encoded_metadata(metadata, bytes_max)


def encoded_metadata(metadata: object, bytes_max: int) -> bytes:
    """Return the encoding of a metadata dict, of at most `bytes_max` bytes.

    Raises:
        InvalidValueError: it is not a dict with str keys, or holds something that cannot be stored.
    """
    value: Any = decode_value(metadata.data) if type(metadata) is Encoded else metadata
    if type(value) is not dict:
        raise InvalidValueError("metadata", f"must be a dict, not {type_name(value)}")
    return encode_value(metadata, "metadata", bytes_max)
