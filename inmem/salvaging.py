"""Salvage what a damaged database still holds: read it, change nothing, write a new database.

The new folder is marked as unfinished before anything else is written to it. At the very end, the mark of a clean close
replaces that mark. So an interrupted salvage leaves a folder that cannot be opened, and that the next salvage may
overwrite. The damaged database is only read.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inmem.actors.environment import SystemEntropy
from inmem.actors.files.durable_files import write_manifest, write_new
from inmem.actors.files.folder_disk import FolderDisk
from inmem.actors.files.folder_lock import LOCK_NAME
from inmem.actors.files.system_calls import absolute, storage_error
from inmem.actors.garbage import paused_collection
from inmem.actors.options import MEMORY, checked_path
from inmem.engine.commits.reader import Reader
from inmem.engine.errors import DatabaseNotFoundError, InvariantError, StorageError, UnfinishedSalvageError, UsageError
from inmem.engine.keys import Tag
from inmem.engine.log.checkpoint_format import CheckpointHeader, encode_checkpoint
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.log_folder import MANIFEST_NAME, TEMPORARY_SUFFIX, checkpoint_name, segment_name
from inmem.engine.log.log_format import FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.manifest import Manifest, ManifestState, read_manifest
from inmem.engine.log.salvage import read_damaged
from inmem.engine.log.verification import verify as verify_files
from inmem.engine.shown import shown
from inmem.engine.tables.snapshot import Snapshot
from inmem.primitives.indices import with_true_indices
from inmem.primitives.orphans import with_orphans_as_roots
from inmem.verification import verify_chains

if TYPE_CHECKING:
    from inmem.engine.log.recovered_state import Recovered
    from inmem.engine.log.recovery import TornFile
    from inmem.engine.log.salvaged import SalvagedFile
    from inmem.engine.ports import Disk
    from inmem.engine.version_ranges import Range
    from inmem.primitives.event_chain import ChainVerification
    from inmem.primitives.orphans import Orphan

FIRST = 1
"""Number of the new database's only segment and checkpoint."""


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What a salvage recovered, and what it did not.

    Attributes:
        path: the folder of the damaged database, which is unchanged.
        into: the folder of the new database.
        is_complete: whether nothing that mattered was found missing or damaged.
        version: the version of the new database, which is the highest version seen in the old one.
        prefix_version: every commit up to this version was recovered.
        commits: number of commits taken from the log, on top of the checkpoint if there was one.
        taken_beyond: (first, last) versions of the commits after the damage that were taken, on request.
        left_out: (first, last) versions of the commits after the damage that could have been taken.
        missing: (first, last) versions of the commits that are lost. Later commits may be lost without a trace.
        parts_of: damaged checkpoints of which parts were taken, on request: what they hold of the missing commits is
            in the new database.
        parts_left_out: damaged checkpoints of which parts could have been taken.
        runs: number of runs in the new database's RunIndex.
        keys: number of keys in all KVStores.
        events: number of events in all chains.
        entries: number of live entries of all kinds, including index entries.
        broken_chains: (run, what is wrong) of event chains that do not verify.
        orphans: (run, trace, parent) of traces whose parent is lost. They are roots now; nothing else records this.
        indices_repaired: number of index tables that no longer agreed with their records and were rewritten.
        files: what happened to each file of the old database.
        torn: incomplete data that an interrupted write left at the end of a file; no acknowledged commit.
    """

    path: str
    into: str
    is_complete: bool
    version: int
    prefix_version: int
    commits: int
    taken_beyond: tuple[Range, ...]
    left_out: tuple[Range, ...]
    missing: tuple[Range, ...]
    parts_of: tuple[str, ...]
    parts_left_out: tuple[str, ...]
    runs: int
    keys: int
    events: int
    entries: int
    broken_chains: tuple[tuple[str, ChainVerification], ...]
    orphans: tuple[Orphan, ...]
    indices_repaired: int
    files: tuple[SalvagedFile, ...]
    torn: tuple[TornFile, ...]


def salvage(
    path: str | os.PathLike[str], into: str | os.PathLike[str], *, beyond_damage: bool = False
) -> SalvageReport:
    """Write a new, sound database with what can be recovered from a damaged one, and report what was recovered.

    The new database has a state that the old one once had: every commit up to the first one that cannot be read. The
    old database is only read.

    Args:
        path: the damaged database's folder.
        into: the new folder, which must be missing, empty, or left by an interrupted salvage.
        beyond_damage: also take what can be read after the damage, although commits before it are missing. The old
            database may never have had the resulting state: broken event chains are reported, traces whose parent is
            lost are reported and become roots, and indices that no longer agree with their records are rewritten.

    Raises:
        DatabaseNotFoundError: there is no database at `path`.
        DatabaseLockedError: one of the two databases is in use.
        UnfinishedSalvageError: an interrupted salvage left `path` itself.
        UsageError: `into` already holds something else or lies inside the damaged database, or an argument is not
            acceptable: `":memory:"` is not a folder.
        StorageError: the new database could not be written.
    """
    if type(beyond_damage) is not bool:
        raise UsageError(f"beyond_damage: must be a bool, not {shown(beyond_damage)}")
    source_path, target_path = _folder("path", path), _folder("into", into)
    if not os.path.isdir(source_path):  # noqa: PTH112  (as the disk does)
        raise DatabaseNotFoundError(source_path)
    damaged = os.path.realpath(source_path)
    if os.path.commonpath((damaged, os.path.realpath(target_path))) == damaged:
        raise UsageError(f"into: {target_path} is the damaged database itself, or inside it")
    _require_free(target_path)
    source = FolderDisk(source_path, read_only=True)
    try:
        source.keep_owners_away()
        target = FolderDisk(target_path)
        try:
            _require_free(target_path)
            with paused_collection():
                return _copy(source, target, beyond_damage=beyond_damage)
        except OSError as error:
            raise storage_error(error, target_path) from error
        finally:
            target.close()
    finally:
        source.close()


def _copy(source: Disk, target: Disk, *, beyond_damage: bool) -> SalvageReport:
    saved = read_damaged(source, beyond_damage=beyond_damage)
    recovered = saved.recovered
    snapshot, orphans = with_orphans_as_roots(Snapshot(recovered.version, recovered.roots))
    snapshot, repaired = with_true_indices(snapshot)
    chains = verify_chains(snapshot)
    _write(target, recovered, snapshot, saved.last_version)
    tables = list(snapshot.tables())
    # What the store has once taken for expired stays so, whatever the clock says now.
    reader = Reader(snapshot, max(time.time_ns() // 1000, recovered.time_floor_us))
    return SalvageReport(
        path=source.path,
        into=target.path,
        is_complete=saved.is_whole,
        version=saved.last_version,
        prefix_version=saved.prefix_version,
        commits=recovered.commits,
        taken_beyond=saved.taken_beyond,
        left_out=saved.left_out,
        missing=saved.missing,
        parts_of=saved.parts_of,
        parts_left_out=saved.parts_left_out,
        runs=sum(table.live_count for _, tag, table in tables if tag == Tag.RUN),
        keys=sum(1 for run, tag, _ in tables if tag == Tag.KV for _ in reader.view(run, tag).scan()),
        events=chains.events,
        entries=sum(table.live_count for _, _, table in tables),
        broken_chains=chains.broken,
        orphans=tuple(orphans),
        indices_repaired=len(repaired),
        files=saved.files,
        torn=saved.torn,
    )


def _write(target: Disk, recovered: Recovered, snapshot: Snapshot, last_version: int) -> None:
    """Write one checkpoint and one empty, closed segment, then the manifest that turns them into a database."""
    now_us = time.time_ns() // 1000
    salt = SystemEntropy().bits(64)
    unfinished = Manifest(ManifestState.UNFINISHED, FIRST, salt, 0, snapshot.version, now_us)
    write_manifest(target, unfinished)
    for name in target.names():
        if name not in {LOCK_NAME, MANIFEST_NAME}:
            target.remove(name)
    header = SegmentHeader(FIRST, salt, last_version, 0, snapshot.version, now_us)
    frame = encode_frame(FrameKind.CLOSE, last_version, HEADER_BYTES, b"", header.seed)
    checkpoint = CheckpointHeader(
        FIRST,
        snapshot.version,
        recovered.transaction_id_max,
        recovered.time_floor_us,
        recovered.outcomes_since,
        now_us,
    )
    for name, pieces in (
        (segment_name(FIRST), (header.encode(), frame)),
        (checkpoint_name(FIRST), encode_checkpoint(checkpoint, snapshot, recovered.outcomes)),
    ):
        write_new(target, name, pieces)
    target.sync_names()
    end = HEADER_BYTES + len(frame)
    write_manifest(target, Manifest(ManifestState.CLOSED, FIRST, salt, end, last_version, now_us))
    report = verify_files(target)
    if not report.is_valid:
        raise InvariantError(f"the salvaged database is not sound: {report.problems[0]}")


def _folder(where: str, path: str | os.PathLike[str]) -> str:
    """Return the argument named `where` as an absolute path, or raise UsageError."""
    folder = checked_path(where, path)
    if folder == MEMORY:
        raise UsageError(f"{where}: must be a folder; {MEMORY} is none")
    return absolute(folder)


def _require_free(path: str) -> None:
    """Raise UsageError unless a new database may be written to the folder."""
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path):  # noqa: PTH112  (as the disk does)
        raise UsageError(f"into: {path} is a file; a database is a folder")
    names = set(os.listdir(path)) - {LOCK_NAME, MANIFEST_NAME + TEMPORARY_SUFFIX}  # noqa: PTH208  (as the disk does)
    if not names:
        return
    disk = FolderDisk(path, read_only=True) if LOCK_NAME in os.listdir(path) else None  # noqa: PTH208
    try:
        if disk is not None:
            read_manifest(disk)
    except UnfinishedSalvageError:
        return
    except StorageError:
        # Whatever this is, no salvage left it.
        pass
    raise UsageError(f"into: {path} is not empty")
