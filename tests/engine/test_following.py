"""Reading on gives what reading everything gives, whatever the owner has done meanwhile."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inmem.engine.errors import CorruptionError
from inmem.engine.log.following import Bookmark, read_on
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_folder import FolderContents, segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind
from inmem.engine.log.log_records import DropRun
from inmem.engine.log.numbered_files import linked_segments
from inmem.engine.log.recovery import recover
from inmem.engine.tables.snapshot import Snapshot
from tests.engine.log_builder import LogBuilder, put
from tests.engine.memory_disk import CountedDisk, MemoryDisk
from tests.engine.test_recovery import COMMITS

SHARDS = 2


class Reader:
    """Follows a folder as the actors do: reads on where that is possible, and anew where it is not."""

    def __init__(self, disk):
        self.disk = disk
        self.anew = 0
        self.recover()

    def recover(self):
        self.anew += 1
        recovered, position = recover(self.disk, SHARDS)
        self.since, self.retained = None, recovered.retained
        self.bookmark = Bookmark.at(self.disk, position)
        self.snapshot = Snapshot(recovered.version, recovered.roots)
        self.outcomes = recovered.outcomes
        self.time_floor_us = recovered.time_floor_us

    def look(self):
        progress = None if self.bookmark is None else read_on(self.disk, self.bookmark, self.snapshot)
        if progress is None:
            self.recover()
        else:
            self.since, self.retained = self.snapshot.version, progress.retained
            self.snapshot = progress.snapshot
            self.bookmark = progress.bookmark
            self.outcomes |= progress.outcomes
            self.time_floor_us = max(self.time_floor_us, progress.time_floor_us)

    def check(self):
        """Compare with what somebody sees who opens the folder now."""
        self.snapshot.check()
        recovered, position = recover(self.disk, SHARDS)
        whole = Snapshot(recovered.version, recovered.roots)
        assert self.snapshot.version == whole.version
        assert tables(self.snapshot) == tables(whole)
        assert self.outcomes == recovered.outcomes
        assert self.time_floor_us == recovered.time_floor_us
        assert self.bookmark == Bookmark.at(self.disk, position)
        self.retained.check()
        if self.since is not None:
            # What was read last time, and nothing else: the commits that the log has behind it.
            assert (self.retained.since, self.retained.version) == (self.since, whole.version)
            assert commits_after(self.retained, self.since) == logged_after(self.disk, self.since)


def commits_after(retained, version):
    commits = []
    while (found := retained.after(version)) is not None:
        version, _ = found
        commits.append(found)
    return commits


def logged_after(disk, version):
    """The commits of the log behind `version`; where two segments have the same one, the later one counts."""
    commits = {}
    for segment, following in linked_segments(disk, FolderContents.of(disk.names()).segments, 0):
        if segment.header is not None:
            valid_end = None if following is None or following.header is None else following.header.previous_end
            frames = FrameReader(segment.file, segment.header, segment.path, valid_end)
            commits |= {frame.version: frame.payload for frame in frames if frame.kind == FrameKind.COMMIT}
    return sorted(commit for commit in commits.items() if commit[0] > version)


def tables(snapshot):
    return [(run, tag, list(table.range())) for run, tag, table in snapshot.tables()]


@given(
    st.lists(
        COMMITS
        | st.sampled_from(
            ["look", "look", "sync", "roll", "checkpoint", "checkpoint and keep", "half", "close", "skip"]
        ),
        max_size=30,
    )
)
@example([(put("run", b"a", b"1"),), "look", "skip", "look"])
def test_reading_on_is_reading_everything(steps):
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    reader = Reader(disk)
    removed = False
    openings = 1
    for step in steps:
        match step:
            case tuple():
                log.commit(*step)
            case "look":
                seen, before = reader.anew, tables(reader.snapshot)
                old = reader.snapshot
                reader.look()
                reader.check()
                assert tables(old) == before
                # Only a segment that is gone is a reason to begin anew.
                assert reader.anew == seen or removed
                removed = False
            case "sync":
                log.sync()
            case "roll":
                log.roll()
            case "checkpoint":
                log.checkpoint()
                removed = True
            case "checkpoint and keep":
                log.checkpoint(remove_obsolete=False)
            case _:
                if step == "close":
                    log.close()
                elif step == "half":
                    log.file.append(b"\xd5\xf7\x01half a frame")
                    reader.look()
                openings += 1
                log = LogBuilder(disk, salt=openings, skip_versions=3 if step == "skip" else 0)
    reader.look()
    reader.check()


def followed():
    """A log with one commit, and a reader that has seen it."""
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run", b"a", b"1"))
    return disk, log, Reader(disk)


def test_without_news_the_very_same_state_is_shown():
    _, _, reader = followed()
    before = reader.snapshot
    reader.look()
    assert reader.snapshot is before
    assert reader.anew == 1


def test_only_what_was_appended_is_read():
    disk, log, reader = followed()
    disk = reader.disk = CountedDisk()
    disk.files = log.disk.files
    second_frame = log.file.size
    log.commit(put("run", b"b", b"2"))
    reader.look()
    assert {name for name, *_ in disk.places} == {log.name}
    assert min(offset for _, offset, _ in disk.places) == 64
    disk.places.clear()
    reader.look()
    assert min(offset for _, offset, _ in disk.places) == second_frame


def test_half_a_group_is_not_there_yet():
    disk, log, reader = followed()
    start = log.file.size
    log.commit(put("run", b"b", b"2"))
    whole = disk.files[log.name]
    before = reader.snapshot
    for size in range(start, len(whole)):
        disk.files[log.name] = whole[:size]
        reader.look()
        assert reader.snapshot is before
    disk.files[log.name] = whole
    reader.look()
    reader.check()
    assert (reader.snapshot.version, reader.anew) == (2, 1)


def test_a_commit_that_is_taken_back_is_not_shown_any_more():
    """The disk was full after one of two commits: the owner cuts the group off and writes something else there."""
    disk, log, reader = followed()
    size = log.file.size
    log.commit(put("run", b"b", b"2"))
    reader.look()
    assert reader.snapshot.version == 2
    log.version = 1
    disk.truncate(log.name, size)
    reader.look()
    reader.check()
    assert reader.snapshot.version == 1
    log.commit(put("run", b"b", b"2"))
    reader.look()
    disk.truncate(log.name, size)
    log.version = 1
    log.commit(put("run", b"c", b"3"))
    reader.look()
    reader.check()
    assert reader.anew == 3


def test_the_commit_that_was_read_last_may_have_lost_its_end():
    """As after a power failure: its header is still there, by which it is known again, and it is none any more."""
    disk, log, _ = followed()
    start = log.file.size
    log.commit(put("run", b"b", b"2"))
    whole = disk.files[log.name]
    for size in range(start + FRAME_HEADER_BYTES, len(whole)):
        disk.files[log.name] = whole
        reader = Reader(disk)
        disk.files[log.name] = whole[:size]
        reader.look()
        reader.check()
        assert (reader.snapshot.version, reader.anew) == (1, 2)


def test_a_tail_that_was_carried_over_is_read_from_its_new_place():
    """After a failed sync the next segment says that less of this one counts, and carries the rest."""
    _, log, reader = followed()
    size = log.file.size
    log.commit(put("run", b"b", b"2"))
    log.commit(put("run", b"c", b"3"))
    reader.look()
    log._open_segment(2, size, 1, 1)
    log.commit(put("run", b"b", b"2"))
    log.commit(put("run", b"c", b"3"))
    log.commit(put("run", b"d", b"4"))
    reader.look()
    reader.check()
    assert (reader.snapshot.version, reader.anew) == (4, 2)


def test_a_segment_that_is_being_created_is_not_there_yet():
    disk, log, reader = followed()
    log.roll()
    whole = disk.files[log.name]
    for size in (0, 7, 63):
        disk.files[log.name] = whole[:size]
        reader.look()
        assert (reader.snapshot.version, reader.bookmark.header.number) == (1, 1)
    disk.files[log.name] = whole
    log.commit(put("run", b"b", b"2"))
    reader.look()
    reader.check()
    assert (reader.bookmark.header.number, reader.anew) == (2, 1)


def test_another_database_in_its_place_is_noticed():
    disk, _, reader = followed()
    other = MemoryDisk()
    log = LogBuilder(other, salt=2)
    log.commit(put("run", b"x", b"9"))
    disk.files = other.files
    reader.look()
    reader.check()
    assert reader.anew == 2


def test_another_database_with_fewer_segments_in_its_place_is_noticed():
    disk, log, reader = followed()
    backup = {name: bytearray(content) for name, content in disk.files.items()}
    log.roll()
    reader.look()
    disk.files = backup
    reader.look()
    reader.check()
    assert reader.anew == 2


def test_what_is_damaged_is_not_read():
    disk, log, reader = followed()
    at = log.file.size + 40
    log.commit(put("run", b"b", b"2"))
    log.sync()
    log.commit(put("run", b"c", b"3"))
    disk.files[log.name][at] ^= 1
    before = reader.snapshot
    with pytest.raises(CorruptionError, match=rf"{segment_name(1)}, byte {at - 40}: .* frame at {log.synced} followed"):
        reader.look()
    assert reader.snapshot is before


def test_a_dropped_run_is_gone():
    _, log, reader = followed()
    log.commit(DropRun("run"), put("run", b"z", b"1"))
    reader.look()
    reader.check()
    assert reader.snapshot.table("run", 1).get(b"a") is None
