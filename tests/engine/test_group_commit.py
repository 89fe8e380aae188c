"""GroupCommit before a disk that does what the test says: answers, order, durability, and the bytes themselves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack_from

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inmem.engine.errors import DiskFullError, InvariantError, StorageError
from inmem.engine.log import group_commit as group_commit_module
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.group_commit import RETRIES_PER_SEGMENT, SEGMENTS_MAX, Durability, GroupCommit
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, SegmentHeader
from tests.engine.memory_disk import BytesFile

GROUP_BYTES = 150
SEGMENT_BYTES = 600
FULL = DiskFullError("full")


@pytest.fixture(autouse=True, scope="module")
def small_groups_and_segments():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_commit_module, "GROUP_BYTES_MAX", GROUP_BYTES)
        patch.setattr(group_commit_module, "SEGMENT_BYTES_MAX", SEGMENT_BYTES)
        yield


@dataclass
class Segment:
    header: SegmentHeader
    content: bytearray
    durable: int
    commits_end: int = 0
    vouched: int = 0
    """What the last mark says is durable."""


@dataclass
class WaitingFlush:
    required: frozenset[int]
    """Records taken before it that were not durable yet."""
    syncs_allowed: int


@dataclass
class Disk:
    """The log's files, and every answer that GroupCommit gave. Its `LogOutbox`."""

    durability: Durability
    version: int = 0
    previous_end: int = 0
    previous_version: int = 0
    number: int = 0
    segments: list[Segment] = field(default_factory=list)
    syncing: bool = False
    starting: SegmentHeader | None = None
    full: bool = False
    taken: list[int] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Record → number of its segment, and the byte there at which it ends."""
    refused_ids: list[int] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)
    flushes: dict[int, WaitingFlush] = field(default_factory=dict)
    flushed_count: int = 0
    rotations_asked: int = 0
    rotated_count: int = 0
    not_rotated_count: int = 0
    marks_refused: int = 0
    segments_found: int = 0

    def group(self) -> GroupCommit:
        return GroupCommit(
            self,
            self.durability,
            number=self.number,
            end=self.previous_end,
            version=self.version,
            previous_version=self.previous_version,
            segments=self.segments_found,
        )

    @property
    def current(self) -> Segment:
        return self.segments[-1]

    def is_durable(self, record: int) -> bool:
        if record not in self.places:
            return False
        number, end = self.places[record]
        return number < self.current.header.number or end <= self.current.durable

    def write(self, data: bytes) -> None:
        assert self.starting is None, "written to a segment that is being replaced"
        assert not (self.syncing and self.durability is Durability.ALWAYS), "written while a sync runs"
        if self.full:
            raise FULL
        segment = self.current
        at = 0
        while at < len(data):
            length, version, synced = unpack_from("<IQQ", data, at + 4)
            assert synced <= segment.durable, "a frame takes for durable what is not"
            self.version += 1
            assert version == self.version, "a hole in the versions"
            payload = data[at + FRAME_HEADER_BYTES : at + FRAME_HEADER_BYTES + length]
            at += FRAME_HEADER_BYTES + length
            self.places[int(payload[:8])] = (segment.header.number, len(segment.content) + at)
        segment.content += data
        segment.commits_end = len(segment.content)

    def mark(self, data: bytes) -> bool:
        assert len(data) == FRAME_HEADER_BYTES
        version, synced = unpack_from("<QQ", data, 8)
        segment = self.current
        assert (version, synced) == (self.version, segment.durable), "a mark takes for durable what is not"
        assert not self.waiting_records, "the next frame would have said it"
        if self.full:
            self.marks_refused += 1
            return False
        segment.content += data
        segment.vouched = synced
        return True

    def sync(self) -> None:
        assert not self.syncing, "two syncs at once"
        assert self.starting is None
        self.syncing = True
        self.sync_end = len(self.current.content)

    def start_segment(self, number: int, base_version: int, previous_end: int, previous_version: int) -> None:
        assert self.starting is None
        assert not self.syncing
        if self.segments:
            previous = (self.number, len(self.current.content), self.version)
        else:
            previous = (self.number, self.previous_end, self.previous_version)
        assert (number - 1, previous_end, previous_version) == previous
        assert base_version == self.version
        self.starting = SegmentHeader(number, 77, base_version, previous_end, previous_version, 0)

    def appended(self, first_version: int, transaction_ids: tuple[int, ...]) -> None:
        assert transaction_ids
        for version, record in enumerate(transaction_ids, first_version):
            assert record not in self.refused_ids
            assert record not in self.answered, "answered twice"
            assert record in self.places, "answered before it is in the log"
            if self.durability is Durability.ALWAYS:
                assert self.is_durable(record), "answered before it is durable"
            self.answered[record] = version

    def refused(self, transaction_ids: tuple[int, ...], error: StorageError) -> None:
        assert error is FULL
        assert self.full or not self.segments, "refused although there is room in the open segment"
        assert transaction_ids
        for record in transaction_ids:
            assert record not in self.places, "refused although the log has it"
            assert record not in self.refused_ids, "refused twice"
            self.refused_ids.append(record)

    def flushed(self, ticket: object) -> None:
        waiting = self.flushes.pop(ticket)
        assert not self.lacking(waiting), "flushed although something is not durable"
        self.flushed_count += 1

    def rotated(self, number: int, base_version: int) -> None:
        assert (number, base_version) == (self.current.header.number, self.version)
        self.rotated_count += 1

    def not_rotated(self, error: StorageError) -> None:
        assert error is FULL
        self.not_rotated_count += 1

    def lacking(self, flush: WaitingFlush) -> list[int]:
        return [record for record in flush.required if record not in self.refused_ids and not self.is_durable(record)]

    @property
    def waiting_records(self) -> list[int]:
        return [record for record in self.taken if record not in self.places and record not in self.refused_ids]

    def logged(self) -> Iterator[tuple[int, int]]:
        """Read all segments back: (version, record)."""
        for index, segment in enumerate(self.segments):
            following = self.segments[index + 1].header if index + 1 < len(self.segments) else None
            data = bytes(segment.content)
            header = SegmentHeader.decode(data, "log", is_last=following is None)
            assert header == segment.header
            reader = FrameReader(BytesFile(data), header, "log", None if following is None else following.previous_end)
            for frame in reader:
                if frame.payload:
                    yield frame.version, int(frame.payload[:8])
            assert reader.torn is None


class GroupCommitMachine(RuleBasedStateMachine):
    """Records, flushes and rotations against syncs and new segments that end well or not, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(Durability.ALWAYS)
        self.group = self.disk.group()
        self.flush_count = 0
        self.sync_was_due = False

    @initialize(
        durability=st.sampled_from(Durability),
        number=st.integers(0, 3),
        previous_version=st.integers(0, 9),
        skipped=st.sampled_from([0, 0, 5]),
        found=st.sampled_from([1, SEGMENTS_MAX, SEGMENTS_MAX + 1]),
    )
    def open(self, durability: Durability, number: int, previous_version: int, skipped: int, found: int) -> None:
        if number:
            version = previous_version + skipped
            self.disk = Disk(durability, version, 64 + number, previous_version, number, segments_found=found)
        else:
            self.disk = Disk(durability)
        self.first_version = self.disk.version + 1
        self.group = self.disk.group()
        assert self.group.close_frame() is None

    @rule(count=st.integers(1, 6), padding=st.sampled_from([0, 0, 60, 200]))
    def append(self, count: int, padding: int) -> None:
        for _ in range(count):
            record = len(self.disk.taken) + 1
            self.disk.taken.append(record)
            self.sync_was_due = False
            self.group.append(record, b"%08d" % record + bytes(padding))

    @rule()
    def flush(self) -> None:
        self.flush_count += 1
        disk = self.disk
        required = frozenset(
            record for record in disk.taken if record not in disk.refused_ids and not disk.is_durable(record)
        )
        # The sync that runs may have begun too early; then one for each group that is still ahead.
        disk.flushes[self.flush_count] = WaitingFlush(required, 2 + len(disk.waiting_records))
        self.group.flush(self.flush_count)

    @rule()
    def rotate(self) -> None:
        self.disk.rotations_asked += 1
        self.group.rotate()

    @rule()
    def sync_due(self) -> None:
        # It covers what was written; the write of what waits sets the timer again.
        self.sync_was_due = not self.disk.waiting_records
        self.group.sync_due()

    @rule(full=st.booleans())
    def change_the_space_on_the_disk(self, full: bool) -> None:
        self.disk.full = full

    @precondition(lambda self: self.disk.syncing)
    @rule()
    def sync_ends(self) -> None:
        disk = self.disk
        disk.syncing = False
        disk.current.durable = disk.sync_end
        for flush in disk.flushes.values():
            flush.syncs_allowed -= 1
        self.group.synced()

    @precondition(lambda self: self.disk.starting is not None)
    @rule(refuse=st.booleans())
    def segment_is_started_or_refused(self, refuse: bool = False) -> None:
        disk = self.disk
        header, disk.starting = disk.starting, None
        assert header is not None
        if disk.full or refuse:
            # The previous one may or may not be durable now: nothing was promised. No descriptor may be left for
            # another file; that keeps nobody from writing to the one that is open.
            self.group.segment_refused(FULL)
        else:
            content = bytearray(header.encode())
            disk.number = header.number
            disk.segments.append(Segment(header, content, len(content)))
            self.group.segment_started(header, len(content))

    @invariant()
    def keeps_its_promises(self) -> None:
        disk, group = self.disk, self.group
        group.check()
        assert group.version == disk.version
        runs = disk.syncing or disk.starting is not None
        assert group.is_idle == (not runs and not disk.waiting_records and not disk.flushes)
        assert not disk.waiting_records or runs, "records wait for nothing"
        for waiting in disk.flushes.values():
            assert waiting.syncs_allowed > 0, "others are served for ever, and a flush is not"
            assert disk.lacking(waiting), "a flush waits for nothing"
            assert runs
        if disk.durability is not Durability.ALWAYS:
            assert disk.places.keys() == disk.answered.keys()

    def teardown(self) -> None:
        disk, group = self.disk, self.group
        while disk.syncing or disk.starting is not None:
            if disk.syncing:
                self.sync_ends()
            else:
                self.segment_is_started_or_refused()
            self.keeps_its_promises()
        assert group.is_idle
        assert not disk.flushes
        assert disk.flushed_count == self.flush_count
        assert disk.answered.keys() | set(disk.refused_ids) == set(disk.taken)
        logged = list(disk.logged())
        assert logged == [(version, record) for record, version in disk.answered.items()], "not what was answered"
        assert [version for version, _ in logged] == list(range(self.first_version, self.first_version + len(logged)))
        assert [record for _, record in logged] == sorted(disk.answered)
        if disk.rotations_asked:
            assert disk.rotated_count or disk.not_rotated_count
        if disk.segments_found > SEGMENTS_MAX and disk.segments:
            assert disk.rotated_count
        if disk.segments:
            self.close()

    def close(self) -> None:
        disk, group = self.disk, self.group
        segment = disk.current
        is_durable = segment.durable >= segment.commits_end
        if self.sync_was_due:
            assert is_durable, "the sync that was due never came"
        assert group.unsynced_bytes == max(0, segment.commits_end - segment.durable)
        if is_durable and not (disk.refused_ids or disk.not_rotated_count or disk.marks_refused):
            assert segment.vouched >= segment.commits_end, "nothing in the log says that the last commits are durable"
        frame = group.close_frame()
        assert frame is not None
        assert unpack_from("<Q", frame, 16)[0] <= segment.durable
        assert group.position == (segment.header.number, len(segment.content))
        segment.content += frame
        reader = FrameReader(BytesFile(bytes(segment.content)), segment.header, "log", None)
        assert len(list(reader)) > 0
        assert (reader.is_closed, reader.version) == (True, disk.version)


TestGroupCommitMachine = GroupCommitMachine.TestCase
TestGroupCommitMachine.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


def opened(durability: Durability) -> tuple[Disk, GroupCommit]:
    machine = GroupCommitMachine()
    machine.disk = Disk(durability)
    machine.group = machine.disk.group()
    machine.rotate()
    machine.segment_is_started_or_refused()
    return machine.disk, machine.group


def append(disk: Disk, group: GroupCommit, *records: int) -> None:
    for record in records:
        disk.taken.append(record)
        group.append(record, b"%08d" % record)


def end_sync(disk: Disk, group: GroupCommit) -> None:
    disk.syncing = False
    disk.current.durable = disk.sync_end
    group.synced()


def test_commits_that_wait_for_one_sync_share_the_next() -> None:
    disk, group = opened(Durability.ALWAYS)
    append(disk, group, 1, 2, 3)
    assert disk.places.keys() == {1}
    end_sync(disk, group)
    assert disk.answered == {1: 1}
    assert disk.places.keys() == {1, 2, 3}
    end_sync(disk, group)
    assert disk.answered == {1: 1, 2: 2, 3: 3}
    assert group.is_idle


@pytest.mark.parametrize("durability", Durability)
def test_a_flush_is_answered_under_constant_load(durability: Durability) -> None:
    disk, group = opened(durability)
    append(disk, group, 1)
    disk.flushes[1] = WaitingFlush(frozenset({1}), 2)
    group.flush(1)
    for record in (2, 3):
        if disk.flushes:
            append(disk, group, record)
            end_sync(disk, group)
    assert not disk.flushes


def test_a_sync_that_is_due_while_another_runs_follows_it() -> None:
    # The timer rings once for all that was written; were it not remembered, the last writes would never be synced.
    disk, group = opened(Durability.INTERVAL)
    append(disk, group, 1)
    group.sync_due()
    append(disk, group, 2)
    group.sync_due()
    end_sync(disk, group)
    assert disk.syncing
    end_sync(disk, group)
    assert group.unsynced_bytes == 0
    assert not disk.syncing


def test_a_due_sync_with_nothing_to_sync_is_no_sync() -> None:
    disk, group = opened(Durability.INTERVAL)
    group.sync_due()
    assert not disk.syncing
    append(disk, group, 1)
    assert not disk.syncing


def test_what_the_disk_refused_costs_no_version() -> None:
    disk, group = opened(Durability.NEVER)
    disk.full = True
    append(disk, group, 1)
    disk.full = False
    append(disk, group, 2)
    assert (disk.refused_ids, disk.answered) == ([1], {2: 1})


def test_a_full_segment_goes_on_while_no_other_can_be_created() -> None:
    """No descriptor may be left, say. Trying again is left for later, not for every record."""
    disk, group = opened(Durability.NEVER)
    records = iter(range(1, 1000))
    while disk.starting is None:
        append(disk, group, next(records))
    for _ in range(2):
        waiting = next(records)
        append(disk, group, waiting)
        assert waiting not in disk.places
        refused_at = len(disk.current.content)
        disk.starting = None
        group.segment_refused(FULL)
        assert disk.answered[waiting] == waiting
        while disk.starting is None:
            append(disk, group, next(records))
        assert len(disk.current.content) - refused_at > SEGMENT_BYTES // RETRIES_PER_SEGMENT
    assert disk.refused_ids == []
    assert (len(disk.segments), disk.not_rotated_count) == (1, 2)


def test_a_flush_does_not_wait_for_records_that_the_disk_refused() -> None:
    disk, group = opened(Durability.ALWAYS)
    append(disk, group, 1, 2)
    disk.flushes[1] = WaitingFlush(frozenset({1, 2}), 3)
    group.flush(1)
    disk.full = True
    end_sync(disk, group)
    assert (disk.answered, disk.refused_ids, disk.flushes) == ({1: 1}, [2], {})


@pytest.mark.parametrize("durability", Durability)
def test_a_close_claims_no_more_than_was_synced(durability: Durability) -> None:
    disk, group = opened(durability)
    synced = len(disk.current.content)
    append(disk, group, 1)
    frame = group.close_frame()
    assert frame is not None
    assert unpack_from("<Q", frame, 16)[0] == synced


def test_a_sync_for_the_close_lets_the_close_vouch_for_everything() -> None:
    disk, group = opened(Durability.NEVER)
    append(disk, group, 1)
    group.synced_for_close()
    frame = group.close_frame()
    assert frame is not None
    assert unpack_from("<Q", frame, 16)[0] == len(disk.current.content)


def test_the_end_of_a_sync_that_nobody_asked_for_is_a_bug() -> None:
    _, group = opened(Durability.ALWAYS)
    with pytest.raises(InvariantError):
        group.synced()


def test_check_notices_marks_out_of_order() -> None:
    for spoil in (
        lambda group: setattr(group, "_synced_end", group._end + 1),
        lambda group: setattr(group, "_unanswered", (1, (1,))),
        lambda group: group._pending.append((1, b"")),
    ):
        _, group = opened(Durability.ALWAYS)
        spoil(group)
        with pytest.raises(InvariantError):
            group.check()
