"""The result of reading a damaged database: what was found of its files and its commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.log.recovery import TornFile
    from inmem.engine.version_ranges import Range


class LostRange(NamedTuple):
    """Bytes of a file that cannot be read: `size` bytes from `offset`, and the reason."""

    offset: int
    size: int
    reason: str


class SalvagedFile(NamedTuple):
    """What was found in one file: its size, the number of commits taken from it, and the lost ranges."""

    name: str
    size_bytes: int
    commits: int
    lost: tuple[LostRange, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a damaged database still contains.

    Attributes:
        recovered: the state, in one shard.
        is_whole: whether no damage was found up to the end of the log.
        prefix_version: all commits up to this version are in the state.
        last_version: the greatest version seen anywhere; versions of new commits must be greater.
        taken_beyond: commits after the damage that are in the state.
        left_out: commits after the damage that are readable but not in the state.
        missing: commits that existed but cannot be read.
        parts_of: damaged checkpoints with parts in the state, which include writes of some of the missing commits.
        parts_left_out: damaged checkpoints with readable parts that are not in the state.
        files: what was found in each file, by name.
        torn: what interrupted writes left; it contains nothing that was acknowledged.
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
