"""Recovery, from the log alone and from a checkpoint."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import inmem
from benchmarks.contender import RUN, Inmem, key_name
from benchmarks.measure import Figure, Result, Settings, Subject, Target, timed
from inmem.engine.log.file_header import HEADER_BYTES
from inmem.engine.log.log_folder import MANIFEST_NAME, segment_name
from inmem.engine.log.log_format import FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.log_records import CommitRecord, TableWrites, encode_commit
from inmem.engine.log.manifest import Manifest, ManifestState

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "v" * 80


def _open_seconds(folder: Path) -> float:
    gc.collect()
    opened: list[inmem.Database] = []
    seconds = timed(lambda: opened.append(inmem.open(folder, durability="never")))
    opened[0].close()
    return seconds


def _write_log(folder: Path, commits: int) -> None:
    """Write the log that `commits` puts would leave, without the time for making each put."""
    folder.mkdir(parents=True)
    header = SegmentHeader(1, 1, 0, 0, 0, 0)
    value = b"\xd9\x50" + VALUE.encode()
    with (folder / segment_name(1)).open("wb") as file:
        file.write(header.encode())
        for number in range(commits):
            writes = ((key_name(number).encode(), value, 0),)
            record = CommitRecord(number + 1, 1_700_000_000_000_000 + number, (TableWrites(RUN, 1, writes),))
            file.write(encode_frame(FrameKind.COMMIT, number + 1, HEADER_BYTES, encode_commit(record), header.seed))
    opened = Manifest(ManifestState.OPEN, header.number, header.salt, 0, header.base_version, header.created_at_us)
    (folder / MANIFEST_NAME).write_bytes(opened.encode())


def _from_log(settings: Settings) -> Result:
    commits = settings.pick(300_000, 60_000)
    figure = Figure("inmem", "commits/s", [])
    for attempt in range(settings.rounds):
        folder = settings.folder / f"log-{attempt}"
        _write_log(folder, commits)
        figure.rounds.append(commits / _open_seconds(folder))
    return Result([figure], notes=[f"{commits:,} commits of one key and 80 bytes"])


def _from_checkpoint(settings: Settings) -> Result:
    keys = settings.pick(1_000_000, 100_000)
    store = Inmem("never")
    folder = settings.folder / "checkpoint"
    store.open(folder)
    store.load(keys, VALUE)
    written = Figure("writing it", "s", [timed(store.db.checkpoint) for _ in range(settings.rounds)])
    store.close()
    del store
    opened = Figure("opening", "s", [_open_seconds(folder) for _ in range(settings.rounds)])
    return Result([opened, written], notes=[f"{keys:,} keys of 80 bytes"])


SUBJECTS = (
    Subject("recovery-log", "recovery from the log", _from_log, (Target("inmem", at_least=150_000),)),
    Subject(
        "recovery-checkpoint",
        "opening 1,000,000 keys from a checkpoint",
        _from_checkpoint,
        (Target("opening", at_most=5, full_only=True),),
    ),
)
