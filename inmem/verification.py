"""Check a store from top to bottom: its files, tables and records, and every run's event chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inmem.actors.files.folder_disk import FolderDisk
from inmem.amounts import in_columns
from inmem.engine.commits.reader import Reader
from inmem.engine.keys import Tag
from inmem.engine.log.verification import verify as verify_files
from inmem.findings import findings_of_files, findings_of_state
from inmem.primitives.events import EventOperations
from inmem.primitives.indices import wrong_indices
from inmem.primitives.orphans import orphans
from inmem.primitives.unreadable import unreadable_records

if TYPE_CHECKING:
    from inmem.actors.client.client import Client
    from inmem.engine.errors import CorruptionError
    from inmem.engine.log.verification import VerifyReport
    from inmem.engine.tables.snapshot import Snapshot, TableId
    from inmem.primitives.event_chain import ChainVerification
    from inmem.primitives.orphans import Orphan
    from inmem.primitives.unreadable import UnreadableRecord


@dataclass(frozen=True, slots=True)
class Verification:
    """What a full check of a store found.

    Attributes:
        is_valid: whether nothing is wrong.
        version: the version that was checked.
        files: what reading every byte of every file found; None for a database in memory.
        problems: damaged places in files.
        chains: number of runs whose event chain was checked.
        events: number of events in these chains.
        broken_chains: (run, what is wrong) of the chains that are not intact.
        wrong_indices: (run, tag) of index tables that do not agree with the records they lead to; "" is all runs.
        unreadable: records that cannot be read, so something other than this store wrote them.
        orphans: (run, trace, parent) of traces whose parent is lost, so no tree shows them.
    """

    is_valid: bool
    version: int
    files: VerifyReport | None
    problems: tuple[CorruptionError, ...]
    chains: int
    events: int
    broken_chains: tuple[tuple[str, ChainVerification], ...]
    wrong_indices: tuple[TableId, ...]
    unreadable: tuple[UnreadableRecord, ...]
    orphans: tuple[Orphan, ...]

    def __str__(self) -> str:
        """Return the findings as `inmem verify` prints them: files, chains, and below each what is wrong."""
        of_files = () if self.files is None else findings_of_files(self.files)
        return in_columns(
            [
                (subject, f"{verdict}{'  ' if verdict else ''}{', '.join(facts)}")
                for subject, verdict, facts in (*of_files, *findings_of_state(self))
            ]
        )


def verify_folder(path: str) -> VerifyReport:
    """Check the files of a database as they are now, even while it is open. O(bytes).

    Raises:
        FormatVersionError: no file is a database's, or one has a newer format.
        StorageError: the folder or a file cannot be read.
    """
    with FolderDisk(path, read_only=True).view() as folder:
        return verify_files(folder)


class CheckedState(NamedTuple):
    """What a check of a state found; the fields are those of `Verification`."""

    chains: int
    events: int
    broken_chains: tuple[tuple[str, ChainVerification], ...]
    wrong_indices: tuple[TableId, ...]
    unreadable: tuple[UnreadableRecord, ...]
    orphans: tuple[Orphan, ...]

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.broken_chains or self.wrong_indices or self.unreadable or self.orphans)


class CheckedChains(NamedTuple):
    """What a check of every event chain found: the number of chains and of their events, and the broken chains."""

    chains: int
    events: int
    broken: tuple[tuple[str, ChainVerification], ...]


def verify_chains(snapshot: Snapshot) -> CheckedChains:
    """Recompute the hash of every event of every run. O(events), one event at a time."""
    reader = Reader(snapshot, 0)
    chains = events = 0
    broken: list[tuple[str, ChainVerification]] = []
    for run, tag, _ in snapshot.tables():
        if tag == Tag.EVENT:
            result = EventOperations(reader, run).verify_chain()
            chains += 1
            events += result.length
            if not result.is_valid:
                broken.append((run, result))
    return CheckedChains(chains, events, tuple(broken))


def verify_state(snapshot: Snapshot) -> CheckedState:
    """Check every invariant of a state. O(everything).

    Raises:
        InvariantError: a structure in memory contradicts itself.
    """
    snapshot.check()
    return CheckedState(
        *verify_chains(snapshot),
        tuple(wrong_indices(snapshot)),
        tuple(unreadable_records(snapshot)),
        tuple(orphans(snapshot)),
    )


def verify_store(client: Client) -> Verification:
    """Check the newest snapshot, and the store's files if there are any. O(everything), while commits go on."""
    snapshot = client.snapshot()
    state = verify_state(snapshot)
    files: VerifyReport | None = None
    view_files = client.directory.view_files
    if view_files is not None:
        with view_files() as folder:
            files = verify_files(folder)
    problems = () if files is None else files.problems
    return Verification(state.is_valid and not problems, snapshot.version, files, problems, *state)
