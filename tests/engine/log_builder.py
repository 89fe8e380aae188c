"""A writer of databases in the format of docs/log-format.md, with every number chosen by the test."""

from inmem.engine.log.checkpoint_format import CheckpointHeader, encode_checkpoint
from inmem.engine.log.log_folder import MANIFEST_NAME, checkpoint_name, segment_name, torn_name
from inmem.engine.log.log_format import SEGMENT_FORMAT, FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.log_records import CommitRecord, DropRun, TableWrites, encode_commit
from inmem.engine.log.manifest import Manifest, ManifestState
from inmem.engine.log.recovered_state import Recovered
from inmem.engine.log.recovery import recover
from inmem.engine.ports import Disk
from inmem.engine.tables.snapshot import Snapshot
from tests.engine.memory_disk import content_of

NOW_US = 1_700_000_000_000_000

Tables = dict[tuple[str, int], dict[bytes, tuple[int, bytes | None, int]]]


def put(run: str, key: bytes, value: bytes | None, *, tag: int = 1, expires_at_us: int = 0) -> TableWrites:
    return TableWrites(run, tag, ((key, value, expires_at_us),))


def apply_to_model(model: Tables, version: int, operations: tuple[TableWrites | DropRun, ...]) -> None:
    for operation in operations:
        if isinstance(operation, DropRun):
            for table_id in [table_id for table_id in model if table_id[0] == operation.run]:
                del model[table_id]
        elif operation.writes:
            table = model.setdefault((operation.run, operation.tag), {})
            for key, value, expires_at_us in operation.writes:
                table[key] = (version, value, expires_at_us)


def tables_of(recovered: Recovered) -> Tables:
    snapshot = Snapshot(recovered.version, recovered.roots)
    snapshot.check()
    return {(run, tag): dict(table.range()) for run, tag, table in snapshot.tables()}


class LogBuilder:
    """One opening of the database on `disk`, with a new segment. Commits count as synced once `sync` is called."""

    def __init__(
        self, disk: Disk, *, salt: int = 0x5A17, skip_versions: int = 0, file_format: int = SEGMENT_FORMAT
    ) -> None:
        self.disk = disk
        self.format = file_format
        self.salt = salt
        recovered, position = recover(disk, 1)
        for torn in position.torn:
            keep_aside(disk, torn.name, torn.offset)
        self.transaction_id = recovered.transaction_id_max
        self._open_segment(position.segment + 1, position.end, position.version, position.version + skip_versions)

    def _open_segment(self, number: int, previous_end: int, previous_version: int, base_version: int) -> None:
        self.version = base_version
        self.header = SegmentHeader(
            number, self.salt, base_version, previous_end, previous_version, NOW_US, self.format
        )
        self.name = segment_name(number)
        self.file = self.disk.create(self.name)
        self.file.append(self.header.encode())
        self.sync()
        self.write_manifest(ManifestState.OPEN, 0)

    def write_manifest(self, state: int, end: int) -> None:
        if self.format == 1:
            return
        if MANIFEST_NAME in self.disk.names():
            self.disk.remove(MANIFEST_NAME)
        manifest = Manifest(state, self.header.number, self.salt, end, self.version, NOW_US)
        self.disk.create(MANIFEST_NAME).append(manifest.encode())

    def sync(self) -> None:
        self.synced = self.file.size

    def commit(self, *operations: TableWrites | DropRun) -> int:
        self.version += 1
        self.transaction_id += 1
        record = CommitRecord(self.transaction_id, NOW_US + self.version, operations)
        frame = encode_frame(FrameKind.COMMIT, self.version, self.synced, encode_commit(record), self.header.seed)
        self.file.append(frame)
        return self.version

    def mark(self) -> None:
        """Write the mark that the log writer leaves when everything is durable and nothing waits."""
        self.sync()
        self.file.append(encode_frame(FrameKind.MARK, self.version, self.synced, b"", self.header.seed))

    def roll(self) -> None:
        self._open_segment(self.header.number + 1, self.file.size, self.version, self.version)

    def checkpoint(self, *, remove_obsolete: bool = True) -> None:
        self.roll()
        recovered, _ = recover(self.disk, 1)
        header = CheckpointHeader(
            self.header.number,
            recovered.version,
            recovered.transaction_id_max,
            recovered.time_floor_us,
            recovered.outcomes_since,
            NOW_US,
        )
        name = checkpoint_name(self.header.number)
        file = self.disk.create(name + ".tmp")
        for chunk in encode_checkpoint(header, Snapshot(recovered.version, recovered.roots), recovered.outcomes):
            file.append(chunk)
        self.disk.rename(name + ".tmp", name)
        if remove_obsolete:
            _, position = recover(self.disk, 1)
            for obsolete in position.obsolete:
                self.disk.remove(obsolete)

    def close(self) -> None:
        self.sync()
        self.file.append(encode_frame(FrameKind.CLOSE, self.version, self.synced, b"", self.header.seed))
        self.sync()
        self.write_manifest(ManifestState.CLOSED, self.file.size)


def keep_aside(disk: Disk, name: str, offset: int) -> None:
    if offset == 0:
        disk.rename(name, torn_name(name, 0))
        return
    disk.create(torn_name(name, offset)).append(content_of(disk, name)[offset:])
    disk.truncate(name, offset)
