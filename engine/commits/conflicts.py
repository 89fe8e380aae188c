"""The four ways in which a transaction can conflict with one that committed first.

Dataclasses, not named tuples, so that a `ReadConflict` never equals a `WriteConflict` with the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem.engine.shown import shown

if TYPE_CHECKING:
    from inmem.engine.keys import Key


@dataclass(frozen=True, slots=True)
class ReadConflict:
    """A key that the transaction read has a different version now.

    Attributes:
        key: the key that was read.
        read_version: the version that the transaction saw; 0 if the key had never existed.
        current_version: the key's version now.
    """

    key: Key
    read_version: int
    current_version: int

    def __str__(self) -> str:
        return f"{self.key} was read at version {self.read_version} and is at {self.current_version} now"


@dataclass(frozen=True, slots=True)
class WriteConflict:
    """Another commit wrote a key that this transaction put or deleted, after this transaction began.

    Attributes:
        key: the key that was written.
        start_version: the version of the transaction's snapshot.
        current_version: the key's version now.
    """

    key: Key
    start_version: int
    current_version: int

    def __str__(self) -> str:
        return (
            f"{self.key} was written here from a snapshot at version {self.start_version}"
            f" and by another commit at {self.current_version}"
        )


@dataclass(frozen=True, slots=True)
class CasConflict:
    """A compare-and-swap expected a different version.

    Attributes:
        key: the key that was to be swapped.
        expected_version: the version that the caller expected; 0 means "has never existed".
        current_version: the key's version now. When a state cell's own check failed, both are versions of the cell.
    """

    key: Key
    expected_version: int
    current_version: int

    def __str__(self) -> str:
        return f"{self.key} was expected at version {shown(self.expected_version)} and is at {self.current_version}"


@dataclass(frozen=True, slots=True)
class ScanConflict:
    """A key in a scanned range was created, changed or deleted after the snapshot (serializable transactions only).

    Attributes:
        prefix: the key at which the scanned range starts.
        end: the first user key after the range; None if the range extends to the end of the table.
        start_version: the version of the transaction's snapshot.
        key: the first key found changed.
        current_version: the version of that key now.
    """

    prefix: Key
    end: bytes | None
    start_version: int
    key: Key
    current_version: int

    def __str__(self) -> str:
        return (
            f"the range scanned from {self.prefix} at version {self.start_version}"
            f" has {self.key} changed at {self.current_version}"
        )


KIND_NAMES = {
    ReadConflict: "read",
    WriteConflict: "write",
    CasConflict: "cas",
    ScanConflict: "scan",
}
"""The name of each kind in statistics and log events."""

Conflict = ReadConflict | WriteConflict | CasConflict | ScanConflict
"""One reason why a transaction was refused."""
