"""The four ways in which a transaction can lose to one that committed first.

Dataclasses, not named tuples: a `ReadConflict` never equals a `WriteConflict` with the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem.engine.shown import shown

if TYPE_CHECKING:
    from inmem.engine.keys import Key


@dataclass(frozen=True, slots=True)
class ReadConflict:
    """A key that was read has another version now.

    Attributes:
        key: that was read.
        read_version: the version that was seen; 0: it had never existed.
        current_version: the version that it has now.
    """

    key: Key
    read_version: int
    current_version: int

    def __str__(self) -> str:
        return f"{self.key} was read at version {self.read_version} and is at {self.current_version} now"


@dataclass(frozen=True, slots=True)
class WriteConflict:
    """A key that was put or deleted was committed by somebody else after this transaction began.

    Attributes:
        key: that was written.
        start_version: the version that the transaction saw.
        current_version: the version that the key has now.
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
    """A compare-and-swap expected another version.

    Attributes:
        key: that was to be swapped.
        expected_version: by the caller; 0 means "has never existed".
        current_version: the version that it has. Both are versions of the cell where a cell found out by itself.
    """

    key: Key
    expected_version: int
    current_version: int

    def __str__(self) -> str:
        return f"{self.key} was expected at version {shown(self.expected_version)} and is at {self.current_version}"


@dataclass(frozen=True, slots=True)
class ScanConflict:
    """A key inside a scanned range was created, changed or deleted since (serializable transactions only).

    Attributes:
        prefix: where the scanned range starts.
        end: the first user key behind the range; None: it goes to the end of the table.
        start_version: the version that the transaction saw.
        key: the first key found changed.
        current_version: the version that this key has now.
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
"""How statistics and log events call each kind."""

Conflict = ReadConflict | WriteConflict | CasConflict | ScanConflict
"""One reason why a transaction was refused."""
