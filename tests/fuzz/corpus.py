"""The initial inputs of fuzzing: the golden databases, and values of every kind."""

from pathlib import Path

from inmem.engine.codec import encode_value
from inmem.engine.packing import pack
from tests.fuzz.targets import MENDED

GOLDEN = Path(__file__).parents[1] / "golden"

VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    -33,
    2**63 - 1,
    -(2**63),
    1.5,
    "",
    "grüße 🦜",
    "x" * 40,
    b"\x00\xff",
    b"y" * 300,
    [],
    {},
    [[[[1]]], {"a": [None, {"b": b""}]}],
    {"a": 1, "b": [2, 3], "": {"": {}}},
    list(range(20)),
    {str(number): number for number in range(20)},
)

BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xffa",
    b"\xc6\xff\xff\xff\xffa",
    b"\x91" * 2000,
    b"\x81\xa1a" * 2000,
    b"\x82\xa1a\x01\xa1a\x02",
    b"\xc7\x01\x05a",
    b"\xd4\x05a",
    b"\xca\x00\x00\x00\x00",
    b"\x01\x01",
)
"""Encodings only an attacker would write: lengths without content, deep nesting, duplicate keys, extension types."""


_HASH = bytes(32)
_POSITION = bytes(28)
RECORDS = tuple(
    pack(fields)
    for fields in (
        ("type", encode_value({"a": 1}), 1, _HASH, _HASH),
        (1, 2, encode_value("value")),
        (2, 3, None),
        (_POSITION, None, "Thought", ("tag",), encode_value({}), (encode_value("hm"), encode_value(0.5))),
        (_POSITION, "parent", "Error", (), encode_value({"a": 1}), (b"\xa1e", b"\xa1m", b"\xc3")),
        (_POSITION, "parent", "Active", 1, None, ("tag",), encode_value({}), None),
        (_POSITION, None, "Failed", 1, 2, (), encode_value({"a": 1}), "error"),
    )
)
"""One record of each form stored by a primitive."""


def seeds(target: str) -> list[bytes]:
    """Return the initial inputs of a target."""
    if target == "codec":
        return [*map(encode_value, VALUES), *BOMBS]
    if target == "records":
        return [bytes([0]) + data for data in (*RECORDS, *map(encode_value, VALUES), *BOMBS)]
    suffix = "*.wal" if target == "log" else "*.checkpoint"
    files = [path.read_bytes() for path in sorted(GOLDEN.rglob(suffix))]
    return [bytes([mode]) + content for content in files for mode in (0, MENDED)]
