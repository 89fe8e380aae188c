"""What was found in a damaged database: of its files, and of its commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.log.recovery import TornFile
    from inmem.engine.version_ranges import Range


class LostRange(NamedTuple):
    """Bytes of a file that nothing can be read from: `size` of them from `offset` on, and why."""

    offset: int
    size: int
    reason: str


class SalvagedFile(NamedTuple):
    """What became of one file: its size, the commits that were taken from it, and what of it is lost."""

    name: str
    size_bytes: int
    commits: int
    lost: tuple[LostRange, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a damaged database still holds.

    Attributes:
        recovered: the state, in one shard.
        is_whole: no damage was met on the way to the end of the log.
        prefix_version: up to here, all commits are in it.
        last_version: the greatest that was seen anywhere; new ones must be greater.
        taken_beyond: commits behind the damage that are in it.
        left_out: commits behind the damage that can be read and are not in it.
        missing: commits that there were and that cannot be read.
        parts_of: damaged checkpoints of which there are parts in it, with what some of the missing commits wrote.
        parts_left_out: damaged checkpoints of which there could have been.
        files: what became of each file, by name.
        torn: the end of an interrupted write, which nobody was promised.
    """

    recovered: Recovered
    is_whole: bool
    prefix_version: int
    last_version: int
    taken_beyond: tuple[Range, ...]
    left_out: tuple[Range, ...]
    missing: tuple[Range, ...]
    parts_of: tuple[str, ...]
    parts_left_out: tuple[str, ...]
    files: tuple[SalvagedFile, ...]
    torn: tuple[TornFile, ...]
