import json
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import (
    CorruptionError,
    FormatVersionError,
    InvariantError,
    StorageError,
    UnfinishedSalvageError,
)
from inmem.engine.keys import shard_of
from inmem.engine.log import recovered_state, recovery_progress
from inmem.engine.log.checkpoint_format import CheckpointHeader, encode_checkpoint
from inmem.engine.log.file_header import HEADER_BYTES, HEADER_BYTES_MAX, encode_header
from inmem.engine.log.frame_reader import WINDOW_BYTES
from inmem.engine.log.log_folder import MANIFEST_NAME, checkpoint_name, segment_name
from inmem.engine.log.log_format import SEGMENT_FORMATS, FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.log_records import CommitRecord, DropRun, TableWrites
from inmem.engine.log.manifest import Manifest
from inmem.engine.log.recovered_state import Recovery
from inmem.engine.log.recovery import TornFile, recover
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.log_builder import LogBuilder, apply_to_model, put, tables_of
from tests.engine.memory_disk import CountedDisk, MemoryDisk, content_of
from tests.golden import make
from tests.golden.make import expectation

GOLDEN = Path(__file__).parents[1] / "golden"

RUNS = st.sampled_from(["", "run-1", "run-2", "läufe"])
WRITES = st.lists(
    st.tuples(st.sampled_from([b"", b"a", b"b", b"c"]), st.none() | st.binary(max_size=4), st.integers(0, 9)),
    max_size=3,
    unique_by=lambda write: write[0],
).map(tuple)
OPERATIONS = st.builds(TableWrites, RUNS, st.integers(1, 2), WRITES) | st.builds(DropRun, RUNS)
COMMITS = st.lists(OPERATIONS, min_size=1, max_size=3).map(tuple)
STEPS = st.lists(
    COMMITS | st.sampled_from(["sync", "roll", "checkpoint", "checkpoint and keep", "crash", "torn", "close", "skip"]),
    max_size=25,
)


def state(disk):
    recovered, position = recover(disk, 1)
    return (
        recovered.version,
        recovered.transaction_id_max,
        recovered.time_floor_us,
        tables_of(recovered),
        recovered.outcomes,
    ), position


LAST = segment_name(3)


def small_database():
    """Three segments, the last of them not closed, with the state after each version."""
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run-1", b"a", b"1"))
    log.commit(put("run-1", b"b", b"2"), put("run-2", b"a", b"3"))
    log.close()
    log = LogBuilder(disk, salt=2)
    log.commit(put("run-1", b"a", None))
    log.roll()
    log.commit(DropRun("run-2"), put("run-2", b"z", b"4"))
    log.sync()
    log.commit(put("run-3", b"a", b"5"))
    log.commit(put("run-3", b"b", b"6"))
    return disk


def prefixes(disk):
    """Every state that a prefix of the last segment's frames leads to, by version."""
    name = LAST
    states = {}
    content = disk.content()
    for size in range(64, len(content[name]) + 1):
        found, position = state(MemoryDisk(content | {name: content[name][:size]}))
        assert position.end <= size
        states[found[0]] = found
    return states


@given(STEPS)
def test_recovery_is_the_fold_of_all_commits(steps):
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    model, outcomes, openings = {}, {}, 1
    for step in steps:
        match step:
            case tuple():
                version = log.commit(*step)
                apply_to_model(model, version, step)
                outcomes[log.salt, log.transaction_id] = version
            case "sync":
                log.sync()
            case "roll":
                log.roll()
            case "checkpoint" | "checkpoint and keep":
                log.checkpoint(remove_obsolete=step == "checkpoint")
            case _:
                if step == "close":
                    log.close()
                elif step == "torn":
                    log.file.append(b"\xd5\xf7\x01torn")
                openings += 1
                log = LogBuilder(disk, salt=openings, skip_versions=3 if step == "skip" else 0)
    before = disk.content()
    for shards in (1, 3):
        recovered, position = recover(disk, shards)
        assert tables_of(recovered) == model
        assert recovered.version == position.version == log.version
        assert recovered.transaction_id_max == log.transaction_id
        assert recovered.outcomes == outcomes
        assert recovered.outcomes_since == 0
        assert recovered.keys == sum(entry[1] is not None for table in model.values() for entry in table.values())
        assert len(recovered.roots) == shards
        assert all(shard_of(run, shards) == i for i, root in enumerate(recovered.roots) for run, _ in root.as_dict())
        assert (position.segment, position.end) == (log.header.number, log.file.size)
        assert (position.torn, position.damaged) == ((), ())
    assert disk.content() == before


def test_an_empty_folder_is_an_empty_database():
    recovered, position = recover(
        MemoryDisk({"LOCK": b"", "notes.txt": b"", "1.wal": b"?", "000000000000.wal": b"?"}), 2
    )
    assert (recovered.version, recovered.keys, len(recovered.roots)) == (0, 0, 2)
    assert (position.segment, position.end, position.version, position.is_clean) == (0, 0, 0, True)
    assert (position.torn, position.obsolete) == ((), ())


def test_a_clean_close_is_recognised():
    disk = MemoryDisk()
    log = LogBuilder(disk)
    assert not recover(disk, 1)[1].is_clean
    log.commit(put("run", b"a", b"1"))
    assert not recover(disk, 1)[1].is_clean
    log.close()
    assert recover(disk, 1)[1].is_clean
    log.file.append(b"x")
    position = recover(disk, 1)[1]
    assert not position.is_clean
    assert position.torn[0][:3] == (segment_name(1), log.file.size - 1, 1)


def test_a_log_cut_at_any_byte_gives_a_prefix_and_goes_on_from_there():
    whole = small_database()
    name = LAST
    content = whole.content()
    states = prefixes(whole)
    assert sorted(states) == [3, 4, 5, 6]
    for size in range(HEADER_BYTES, len(content[name]) + 1):
        disk = MemoryDisk(content | {name: content[name][:size]})
        found, position = state(disk)
        assert found == states[found[0]]
        torn = position.torn
        assert sum(part.size for part in torn) == size - position.end
        log = LogBuilder(disk, salt=77)
        assert state(disk)[0] == found
        version = log.commit(put("run-9", b"later", b"7"))
        assert version == found[0] + 1
        for salt in (78, 79):
            again, position = state(disk)
            assert again[0] == version
            assert again[3] == found[3] | {("run-9", 1): {b"later": (version, b"7", 0)}}
            assert position.torn == ()
            LogBuilder(disk, salt=salt)
        kept = {n: content_of(disk, n) for n in disk.names() if ".torn-" in n}
        assert kept == {f"{part.name}.torn-{part.offset}": content[name][part.offset : size] for part in torn}


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_no_altered_byte_ever_leads_to_other_data(mask):
    disk = small_database()
    whole, _ = state(disk)
    states = prefixes(disk)
    content = disk.content()
    names = disk.names()
    # Version 4 was called durable by the frame of version 5.
    proven = 4
    refused = tails = 0
    for name in names:
        for at in range(len(content[name])):
            altered = bytearray(content[name])
            altered[at] ^= mask
            try:
                found, position = state(MemoryDisk(content | {name: bytes(altered)}))
            except (CorruptionError, FormatVersionError):
                refused += 1
                continue
            assert name == LAST
            assert proven < found[0] + 1 <= whole[0]
            assert found == states[found[0]]
            assert position.torn[0].name == name
            tails += 1
    assert refused > tails > 0


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_no_altered_byte_of_a_closed_database_goes_unnoticed(mask):
    disk = small_database()
    log = LogBuilder(disk, salt=5)
    log.commit(put("run-1", b"a", b"7"))
    log.checkpoint(remove_obsolete=True)
    log.commit(put("run-1", b"b", b"8"))
    log.close()
    content = disk.content()
    for name in disk.names():
        for at in range(len(content[name])):
            altered = bytearray(content[name])
            altered[at] ^= mask
            with pytest.raises(CorruptionError) as caught:
                recover(MemoryDisk(content | {name: bytes(altered)}), 1)
            assert caught.value.path == f"/memory/{name}"
            assert caught.value.offset <= at


def test_a_closed_database_that_has_lost_bytes_or_files_is_refused():
    disk = small_database()
    log = LogBuilder(disk, salt=5)
    log.commit(put("run-1", b"a", b"7"))
    log.close()
    content = disk.content()
    for size in range(len(content[log.name])):
        with pytest.raises(CorruptionError) as caught:
            recover(MemoryDisk(content | {log.name: content[log.name][:size]}), 1)
        assert caught.value.path == f"/memory/{log.name}"
    for name in disk.names():
        others = {other: data for other, data in content.items() if other != name}
        with pytest.raises(CorruptionError) as caught:
            recover(MemoryDisk(others), 1)
        # Without the first segment, a checkpoint could be missing as well.
        assert caught.value.path == f"/memory/{checkpoint_name(2) if name == segment_name(1) else name}"
    with pytest.raises(CorruptionError):
        recover(MemoryDisk({MANIFEST_NAME: content[MANIFEST_NAME]}), 1)


def test_an_open_database_whose_last_segment_or_its_header_is_gone_is_refused():
    content = small_database().content()
    for size in range(HEADER_BYTES):
        with pytest.raises(CorruptionError):
            recover(MemoryDisk(content | {LAST: content[LAST][:size]}), 1)
    del content[LAST]
    with pytest.raises(CorruptionError, match="the segment is missing"):
        recover(MemoryDisk(content), 1)


def test_a_segment_that_the_manifest_does_not_know_yet_may_be_there():
    """The writer died between creating it and saying so: whatever it had begun with counts."""
    disk = small_database()
    log = LogBuilder(disk, salt=5)
    log.close()
    closed = content_of(disk, MANIFEST_NAME)
    later = LogBuilder(disk, salt=6)
    for frames in (b"", encode_frame(FrameKind.COMMIT, 7, 0, b"\x93\x63\x01\x90", later.header.seed)):
        later.file.append(frames)
        found = state(MemoryDisk(disk.content() | {MANIFEST_NAME: closed}))[0]
        assert found[0] == 6 + bool(frames)


def test_of_a_manifest_only_as_much_is_read_as_a_header_can_have():
    disk = CountedDisk(small_database().content())
    disk.files[MANIFEST_NAME] += bytes(1_000_000)
    with pytest.raises(CorruptionError, match="something follows the manifest"):
        recover(disk, 1)
    assert max(size for _, _, size in disk.places) == HEADER_BYTES_MAX
    assert disk.open_files == 0


def test_a_segment_of_another_history_is_refused():
    disk = small_database()
    other = MemoryDisk({segment_name(number): content_of(disk, segment_name(number)) for number in (1, 2)})
    other.files[MANIFEST_NAME] = bytearray(Manifest(1, 2, 2, 0, 2, 0).encode())
    LogBuilder(other, salt=9).commit(put("run-1", b"a", b"from elsewhere"))
    with pytest.raises(CorruptionError, match="not the segment that the manifest names"):
        recover(MemoryDisk(disk.content() | {LAST: content_of(other, LAST)}), 1)


def test_a_mark_lets_nothing_before_it_pass_for_an_interrupted_write():
    disk = MemoryDisk()
    log = LogBuilder(disk)
    log.commit(put("run", b"a", b"1"))
    first_end = log.file.size
    log.mark()
    log.commit(put("run", b"b", b"2"))
    second_end = log.file.size
    log.mark()
    whole, position = state(disk)
    assert (whole[0], position.end, position.is_clean) == (2, second_end + 32, False)
    content = disk.content()
    for at in range(HEADER_BYTES, log.file.size):
        altered = bytearray(content[log.name])
        altered[at] ^= 0x20
        files = MemoryDisk(content | {log.name: bytes(altered)})
        if at < second_end:
            with pytest.raises(CorruptionError) as caught:
                recover(files, 1)
            assert caught.value.offset in {HEADER_BYTES, first_end, first_end + 32}
        else:
            # The mark itself holds no data, so nothing is lost with it.
            assert state(files)[0] == whole


def test_a_half_made_salvage_is_not_taken_for_a_database():
    disk = small_database()
    disk.files[MANIFEST_NAME] = bytearray(Manifest(3, 1, 0, 0, 0, 0).encode())
    with pytest.raises(UnfinishedSalvageError) as caught:
        recover(disk, 1)
    assert caught.value.path == "/memory"


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (Manifest(1, 3, 2, 0, 0, 0).encode() + b"x", 64),
        (Manifest(4, 3, 2, 0, 0, 0).encode(), 16),
        (b"INMEM", 5),
    ],
)
def test_a_manifest_that_makes_no_sense_is_damage(data, offset):
    with pytest.raises(CorruptionError) as caught:
        recover(MemoryDisk(small_database().content() | {MANIFEST_NAME: data}), 1)
    assert (caught.value.path, caught.value.offset) == (f"/memory/{MANIFEST_NAME}", offset)


@pytest.mark.parametrize("name", [segment_name(1), LAST, MANIFEST_NAME, checkpoint_name(5)])
def test_a_foreign_header_is_damage_where_another_file_proves_that_the_database_is_ours(name):
    disk = small_database()
    if name == checkpoint_name(5):
        LogBuilder(disk, salt=5).checkpoint()
    content = disk.content()
    whole = content[name]
    for data in (bytes(64) + whole[64:], b"SQLite format 3\0" * 8, whole[:8] + bytes(56) + whole[64:], b"[package]"):
        disk = MemoryDisk(content | {name: data})
        with pytest.raises(CorruptionError, match="the header is damaged") as caught:
            recover(disk, 1)
        assert (caught.value.path, caught.value.offset) == (f"/memory/{name}", 0)
        assert data[:8].hex(" ") in caught.value.reason


def test_a_foreign_header_is_named_as_such_where_nothing_else_is_ours():
    content = small_database().content()
    foreign = b"SQLite format 3\0" * 8
    for name in (segment_name(1), MANIFEST_NAME, checkpoint_name(5)):
        with pytest.raises(FormatVersionError):
            recover(MemoryDisk({name: foreign, "notes.txt": content[MANIFEST_NAME]}), 1)
    with pytest.raises(FormatVersionError):
        recover(MemoryDisk(dict.fromkeys(content, foreign)), 1)


def test_a_checkpoint_whose_header_was_wiped_is_passed_over_like_any_that_is_damaged():
    disk = small_database()
    LogBuilder(disk, salt=5).checkpoint(remove_obsolete=False)
    whole, _ = state(disk)
    disk.files[checkpoint_name(5)][:64] = bytes(64)
    found, position = state(disk)
    assert found == whole
    assert [error.path for error in position.damaged] == [f"/memory/{checkpoint_name(5)}"]


@pytest.mark.parametrize("header_bytes", [64, 80])
def test_a_newer_manifest_is_named_as_such(header_bytes):
    newer = bytearray(encode_header(b"INMEMMAN", 2, (1, 3, 2, 0, 0, 0)) + bytes(header_bytes - 64))
    newer[10:12] = header_bytes.to_bytes(2, "little")
    newer[12:16] = crc32(newer[16:], crc32(newer[:12])).to_bytes(4, "little")
    with pytest.raises(FormatVersionError, match="format 2"):
        recover(MemoryDisk(small_database().content() | {MANIFEST_NAME: bytes(newer)}), 1)


def test_recovery_holds_no_more_than_the_state_and_a_few_windows():
    """A log and a checkpoint of many times that size, for a state of next to nothing."""
    disk = MemoryDisk()
    log = LogBuilder(disk)
    value = b"v" * 50_000
    for _ in range(100):
        log.commit(put("run", b"overwritten", value))
    log.roll()
    for number in range(100):
        log.commit(put("run", b"%03d" % number, value))
    log.checkpoint(remove_obsolete=False)
    for _ in range(100):
        log.commit(DropRun("run"), put("run", b"overwritten", value))
    log.close()
    pieces = CountedDisk(disk.content())
    recovered, _ = recover(pieces, 1)
    assert recovered.keys == 1
    read = sum(size for *_, size in pieces.places)
    assert read > 10_000_000
    assert max(size for *_, size in pieces.places) <= WINDOW_BYTES
    assert pieces.open_max <= 2
    assert pieces.open_files == 0


def test_progress_is_told_by_bytes(monkeypatch):
    monkeypatch.setattr(recovery_progress, "PROGRESS_BYTES", 1000)
    disk = small_database()
    log = LogBuilder(disk, salt=9)
    for _ in range(50):
        log.commit(put("run", b"k", b"v" * 100))
    log.checkpoint()
    for _ in range(50):
        log.commit(put("run", b"k", b"v" * 100))
    told = []
    recover(disk, 1, told.append)
    total = sum(len(data) for name, data in disk.content().items() if name != MANIFEST_NAME)
    assert {progress.bytes_total for progress in told} == {total}
    assert [progress.bytes_read for progress in told] == sorted({progress.bytes_read for progress in told})
    assert len(told) == total // 1000 or len(told) == total // 1000 - 1
    assert 0 < told[-1].commits <= 50
    monkeypatch.setattr(recovery_progress, "PROGRESS_BYTES", total + 1)
    told.clear()
    recover(disk, 1, told.append)
    assert not told


@pytest.mark.unmeasured
@given(st.data())
def test_no_cut_or_insertion_ever_leads_to_other_data(data):
    disk = small_database()
    states = prefixes(disk)
    content = disk.content()
    name = data.draw(st.sampled_from(disk.names()))
    at = data.draw(st.integers(0, len(content[name])))
    gone = data.draw(st.integers(0, 40))
    inserted = data.draw(st.binary(max_size=40) | st.just(content[name][at : at + gone]))
    altered = content[name][:at] + inserted + content[name][at + gone :]
    try:
        found, _ = state(MemoryDisk(content | {name: altered}))
    except StorageError:
        return
    assert found == states[found[0]]


def test_stale_frames_of_another_opening_are_ignored():
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run", b"a", b"1"))
    other = SegmentHeader(1, 2, 0, 0, 0, 0)
    log.file.append(encode_frame(FrameKind.COMMIT, 2, log.file.size, b"stale", other.seed))
    recovered, position = recover(disk, 1)
    assert recovered.version == 1
    assert position.torn == (
        TornFile(log.name, position.end, log.file.size - position.end, "the frame header does not match its checksum"),
    )


def test_an_interrupted_creation_is_reported_and_ignored():
    disk = small_database()
    whole, before = state(disk)
    for content in (b"", b"INMEM", bytes(64), b"INMEMWAL" + bytes(56)):
        disk.files[segment_name(4)] = bytearray(content)
        found, position = state(disk)
        assert found == whole
        assert position.torn == (TornFile(segment_name(4), 0, len(content), "its creation was interrupted"),)
        assert (position.segment, position.end) == (before.segment, before.end)
    LogBuilder(disk).commit(put("run-1", b"a", b"9"))
    assert state(disk)[0][0] == whole[0] + 1
    assert content_of(disk, segment_name(4) + ".torn-0") == b"INMEMWAL" + bytes(56)


def test_the_very_first_creation_may_have_been_interrupted():
    disk = MemoryDisk({segment_name(1): b"INM"})
    recovered, position = recover(disk, 1)
    assert (recovered.version, position.segment, position.is_clean) == (0, 0, False)
    LogBuilder(disk).commit(put("run", b"a", b"1"))
    assert recover(disk, 1)[0].version == 1


def test_a_missing_segment_is_damage():
    disk = small_database()
    disk.remove(segment_name(2))
    with pytest.raises(CorruptionError) as caught:
        recover(disk, 1)
    assert caught.value.path == f"/memory/{segment_name(2)}"


@pytest.mark.parametrize(("number", "before"), [(2, "segment 1"), (3, "the segments before 3")])
def test_where_the_log_begins_later_the_checkpoint_is_named_that_must_be_there(number, before):
    disk = small_database()
    for missing in range(1, number):
        disk.remove(segment_name(missing))
    with pytest.raises(CorruptionError, match=f"either this checkpoint or {before}$") as caught:
        recover(disk, 1)
    assert (caught.value.path, caught.value.offset) == (f"/memory/{checkpoint_name(number)}", 0)


def test_a_segment_under_another_number_is_damage():
    disk = small_database()
    disk.files[segment_name(4)] = disk.files[segment_name(3)]
    with pytest.raises(CorruptionError) as caught:
        recover(disk, 1)
    assert (caught.value.path, caught.value.offset) == (f"/memory/{segment_name(4)}", 16)


@pytest.mark.parametrize(
    ("number", "header"),
    [
        (1, SegmentHeader(1, 1, 5, 0, 5, 0)),
        (1, SegmentHeader(1, 1, 0, 64, 0, 0)),
        (2, SegmentHeader(2, 2, 9, 0, 9, 0)),
        (2, SegmentHeader(2, 2, 9, 64, 1, 0)),
        (2, SegmentHeader(2, 2, 9, 10_000, 0, 0)),
    ],
)
def test_a_segment_that_does_not_continue_the_one_before_is_damage(number, header):
    files = {} if number == 1 else {segment_name(1): SegmentHeader(1, 1, 0, 0, 0, 0).encode()}
    with pytest.raises(CorruptionError):
        recover(MemoryDisk(files | {segment_name(number): header.encode()}), 1)


def test_skipped_versions_are_never_given_out_again():
    disk = MemoryDisk()
    LogBuilder(disk, salt=1).commit(put("run", b"a", b"1"))
    LogBuilder(disk, salt=2, skip_versions=10)
    assert recover(disk, 1)[0].version == 11
    assert LogBuilder(disk, salt=3).commit(put("run", b"a", b"2")) == 12
    recovered, _ = recover(disk, 1)
    assert tables_of(recovered) == {("run", 1): {b"a": (12, b"2", 0)}}


def test_what_a_later_segment_does_not_count_is_void():
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run", b"a", b"1"))
    end = log.file.size
    log.commit(put("run", b"a", b"never acknowledged"))
    header = SegmentHeader(2, 2, 2, end, 1, 0)
    disk.create(segment_name(2)).append(header.encode())
    recovered, position = recover(disk, 1)
    assert tables_of(recovered) == {("run", 1): {b"a": (1, b"1", 0)}}
    assert (recovered.version, position.torn) == (2, ())


def test_a_checkpoint_makes_what_lies_before_it_obsolete():
    disk = small_database()
    log = LogBuilder(disk, salt=5)
    log.checkpoint(remove_obsolete=False)
    log.commit(put("run-1", b"c", b"7"))
    log.checkpoint(remove_obsolete=False)
    disk.create("000000000009.checkpoint.tmp").append(b"half")
    whole, position = state(disk)
    assert position.obsolete == (
        "000000000009.checkpoint.tmp",
        checkpoint_name(5),
        *(segment_name(number) for number in range(1, 6)),
    )
    for name in position.obsolete:
        disk.remove(name)
        assert state(disk)[0][:4] == whole[:4]
    assert disk.names() == [checkpoint_name(6), segment_name(6), MANIFEST_NAME]


def test_commits_that_a_checkpoint_holds_already_are_not_folded_in_again():
    disk = MemoryDisk()
    log = LogBuilder(disk)
    log.commit(put("run", b"a", b"1"))
    log.roll()
    log.commit(put("run", b"b", b"2"))
    log.commit(DropRun("run"))
    log.commit(put("run", b"c", b"4"))
    # Taken while segment 2 was being written: it holds the first two of the three commits there.
    entries = {b"d": (3, b"as the checkpoint has it", 0)}
    snapshot = Snapshot(3, (persistent({("run", 1): Table.build(entries)}),))
    header = CheckpointHeader(2, 3, 0, 0, 3, 0)
    disk.create(checkpoint_name(2)).append(b"".join(encode_checkpoint(header, snapshot, {})))
    recovered, _ = recover(disk, 1)
    assert tables_of(recovered) == {("run", 1): entries | {b"c": (4, b"4", 0)}}
    assert (recovered.version, recovered.commits, recovered.outcomes_since) == (4, 1, 3)


def test_a_damaged_checkpoint_is_passed_over_only_while_the_log_before_it_exists():
    disk = small_database()
    log = LogBuilder(disk, salt=5)
    log.checkpoint(remove_obsolete=False)
    log.commit(put("run-1", b"c", b"7"))
    log.checkpoint(remove_obsolete=False)
    log.commit(put("run-1", b"d", b"8"))
    whole, _ = state(disk)
    newest = checkpoint_name(6)
    disk.files[newest][100] ^= 1
    found, position = state(disk)
    assert found == whole
    assert [error.path for error in position.damaged] == [f"/memory/{newest}"]
    assert newest not in position.obsolete
    for needed in (segment_name(5), segment_name(6)):
        content = disk.content()
        del content[needed]
        with pytest.raises(CorruptionError) as caught:
            recover(MemoryDisk(content), 1)
        assert caught.value.path == f"/memory/{newest}"
    disk.files[checkpoint_name(5)][100] ^= 1
    assert state(disk)[0] == whole
    disk.remove(segment_name(1))
    with pytest.raises(CorruptionError):
        recover(disk, 1)


def test_a_checkpoint_of_a_newer_format_is_never_passed_over():
    disk = small_database()
    LogBuilder(disk, salt=5).checkpoint(remove_obsolete=False)
    disk.files[checkpoint_name(5)][:64] = encode_header(b"INMEMCKP", 2, (5, 6, 0, 0, 0, 0))
    with pytest.raises(FormatVersionError):
        recover(disk, 1)


def test_a_checkpoint_without_its_log_is_damage():
    disk = small_database()
    LogBuilder(disk, salt=5).checkpoint()
    content = disk.content()
    checkpoint = {checkpoint_name(5): content[checkpoint_name(5)]}
    for files in (
        checkpoint,
        checkpoint | {segment_name(5): b""},
        checkpoint | {segment_name(6): SegmentHeader(6, 1, 6, 64, 6, 0).encode()},
        checkpoint | {segment_name(5): SegmentHeader(5, 1, 7, 64, 7, 0).encode()},
        checkpoint | {segment_name(5): SegmentHeader(5, 1, 5, 64, 5, 0).encode()},
    ):
        with pytest.raises(CorruptionError) as caught:
            recover(MemoryDisk(files), 1)
        assert caught.value.path == f"/memory/{segment_name(5)}"


def test_a_checkpoint_under_another_number_is_passed_over_as_damaged():
    disk = small_database()
    LogBuilder(disk, salt=5).checkpoint(remove_obsolete=False)
    disk.rename(checkpoint_name(5), checkpoint_name(4))
    recovered, position = recover(disk, 1)
    assert recovered.commits == 6
    assert [(error.path, error.offset) for error in position.damaged] == [(f"/memory/{checkpoint_name(4)}", 16)]


def test_a_stray_number_costs_no_memory():
    disk = MemoryDisk({"999999999999.checkpoint": b"", segment_name(1): SegmentHeader(1, 1, 0, 0, 0, 0).encode()})
    with pytest.raises(CorruptionError):
        recover(disk, 1)


def test_the_newest_outcomes_are_kept_and_say_since_when(monkeypatch):
    monkeypatch.setattr(recovered_state, "OUTCOMES_MAX", 3)
    recovery = Recovery()
    for version in range(1, 4):
        recovery.apply(version, CommitRecord(version + 100, 0, ()), 7)
    assert recovery.result(1).outcomes_since == 0
    recovery.apply(10, CommitRecord(110, 0, ()), 8)
    recovered = recovery.result(1)
    assert recovered.outcomes == {(7, 102): 2, (7, 103): 3, (8, 110): 10}
    assert recovered.outcomes_since == 1


def test_versions_are_folded_in_ascending_order_only():
    recovery = Recovery()
    recovery.apply(5, CommitRecord(1, 0, ()), 0)
    for version in (4, 5):
        with pytest.raises(InvariantError):
            recovery.apply(version, CommitRecord(1, 0, ()), 0)


def test_ids_and_times_never_fall_behind_what_was_recovered():
    recovery = Recovery()
    for version, (transaction_id, timestamp_us) in enumerate([(5, 50), (9, 20), (7, 30)], start=1):
        recovery.apply(version, CommitRecord(transaction_id, timestamp_us, ()), 0)
    recovered = recovery.result(1)
    assert (recovered.transaction_id_max, recovered.time_floor_us) == (9, 50)


@pytest.mark.parametrize(
    "name", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir() and path.name[0] != "_")
)
def test_golden_files_open_to_the_recorded_state(name):
    folder = GOLDEN / name
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}
    assert expectation(MemoryDisk(files)) == expected


@pytest.mark.parametrize("name", ["closed", "crashed", "checkpoint"])
def test_golden_files_are_what_is_written(name):
    """Those of format 1 by way of the field that keeps it; every byte, so that no format changes unnoticed."""
    for file_format in SEGMENT_FORMATS:
        folder = GOLDEN / (name if file_format == 1 else f"{name}-{file_format}")
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}
        assert getattr(make, name)(file_format).content() == files


def test_a_database_of_format_1_is_continued_in_format_2():
    for name in ("closed", "crashed", "checkpoint"):
        files = {path.name: path.read_bytes() for path in (GOLDEN / name).iterdir() if path.suffix != ".json"}
        disk = MemoryDisk(files)
        before, _ = state(disk)
        log = LogBuilder(disk, salt=7)
        version = log.commit(put("run-9", b"new", b"1"))
        log.close()
        after, position = state(disk)
        assert (after[0], position.is_clean) == (version, True)
        assert after[3] == before[3] | {("run-9", 1): {b"new": (version, b"1", 0)}}
        assert set(files) <= set(disk.names())
