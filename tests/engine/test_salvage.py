"""What is read of a damaged database: whatever was done to the files, a state that it had, and every claim is true."""

import itertools
from struct import pack
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import UnfinishedSalvageError
from inmem.engine.log.file_header import HEADER_BYTES, encode_header
from inmem.engine.log.log_folder import MANIFEST_NAME, checkpoint_name, segment_name
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind
from inmem.engine.log.log_records import DropRun
from inmem.engine.log.manifest import Manifest
from inmem.engine.log.salvage import read_damaged
from inmem.engine.version_ranges import count, gaps_between, merged
from tests.engine.log_builder import LogBuilder, apply_to_model, put, tables_of
from tests.engine.memory_disk import MemoryDisk

OLD, NEW = checkpoint_name(3), checkpoint_name(5)
BLOCK_HEADER_BYTES = 12
CHECKPOINT_END_BYTES = BLOCK_HEADER_BYTES + 20
SALT_AT = 24
"""In the header of a segment."""
VALUE = b"v" * 30

COMMITS = [
    (put("run-1", b"a", b"1"),),
    (put("run-1", b"b", b"2"), put("run-2", b"a", b"3")),
    (put("run-1", b"a", None),),
    (DropRun("run-2"), put("run-2", b"z", b"4")),
    (put("run-3", b"a", b"5"), put("run-3", b"b", VALUE)),
    (put("run-3", b"b", b"6"), put("run-3", b"b", b"7")),
    (DropRun("run-3"),),
    (put("run-4", b"a", b"8"),),
]


def states():
    """The tables after every version, and every entry that was ever written."""
    model, written, found = {}, set(), [{}]
    for version, operations in enumerate(COMMITS, 1):
        apply_to_model(model, version, operations)
        for table_id, entries in model.items():
            written |= {(table_id, key, entry) for key, entry in entries.items()}
        found.append({table_id: dict(entries) for table_id, entries in model.items() if entries})
    return found, written


STATES, WRITTEN = states()


def database(*, keep: bool, closed: bool):
    """Two checkpoints and five segments, of which some are superfluous, if they are kept at all."""
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(*COMMITS[0])
    log.mark()
    log.commit(*COMMITS[1])
    log.close()
    log = LogBuilder(disk, salt=2)
    log.checkpoint(remove_obsolete=not keep)
    log.commit(*COMMITS[2])
    log.roll()
    log.commit(*COMMITS[3])
    log.checkpoint(remove_obsolete=not keep)
    for operations in COMMITS[4:7]:
        log.commit(*operations)
        log.mark()
    log.commit(*COMMITS[7])
    if closed:
        log.close()
    else:
        log.mark()
    return disk


def check(disk, *, beyond_damage=False):
    """Every claim that holds whatever happened to the files; returns what was found."""
    before = disk.content()
    found = read_damaged(disk, beyond_damage=beyond_damage)
    assert disk.content() == before
    tables = tables_of(found.recovered)
    beyond = count((*found.taken_beyond, *found.left_out))
    claimed = merged([*found.taken_beyond, *found.left_out, *found.missing])
    assert count(claimed) == beyond + count(found.missing), "a commit is claimed twice"
    assert claimed in {(), ((found.prefix_version + 1, found.last_version),)}
    assert found.last_version <= len(COMMITS)
    if beyond_damage:
        assert {(table_id, key, entry) for table_id, entries in tables.items() for key, entry in entries.items()} <= (
            WRITTEN
        )
        assert not found.left_out
    else:
        assert tables == STATES[found.prefix_version]
        assert not found.taken_beyond
    for file in found.files:
        places = [(lost.offset, lost.offset + lost.size) for lost in file.lost]
        assert all(0 <= start <= end <= max(file.size_bytes, 64) for start, end in places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))
        assert len(set(file.lost)) == len(file.lost)
    return found


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_of_a_sound_database_everything_is_kept(keep, closed):
    for beyond_damage in (False, True):
        found = check(database(keep=keep, closed=closed), beyond_damage=beyond_damage)
        assert found.is_whole
        assert found.prefix_version == found.last_version == 8
        assert tables_of(found.recovered) == STATES[8]
        assert not [file for file in found.files if file.lost]


def lost_places(found):
    """What is lost, by file, as (offset, size)."""
    return {file.name: [(lost.offset, lost.size) for lost in file.lost] for file in found.files if file.lost}


def commits_taken(found):
    return {file.name: file.commits for file in found.files if file.commits}


def piece_at(content, at, header_bytes):
    """The frame of a segment, or the block of a checkpoint, that the byte belongs to: where it begins and ends."""
    start, end = 0, HEADER_BYTES
    while end <= at:
        # Both have the length of their payload at the same place.
        start, end = end, end + header_bytes + int.from_bytes(content[end + 4 : end + 8], "little")
    return start, end


def check_altered_segment(sound, at, found, more, *, is_closed):
    """The one that everything kept comes from: marks and commits by turns, and then the mark of the close."""
    name = segment_name(5)
    size = len(sound)
    start, end = piece_at(sound, at, FRAME_HEADER_BYTES)
    kind = sound[start + 2]
    if at < HEADER_BYTES:
        # The salt is what every checksum begins with.
        is_readable = not SALT_AT <= at < SALT_AT + 8
        assert lost_places(found) == {
            name: [(0, HEADER_BYTES)] + [(HEADER_BYTES, size - HEADER_BYTES)] * (not is_readable)
        }
        assert (commits_taken(found), commits_taken(more)) == ({}, {name: 4} if is_readable else {})
    elif end == size and not is_closed:
        # As after an interrupted write.
        assert lost_places(found) == {}
        assert [(torn.name, torn.offset, torn.size) for torn in found.torn] == [(name, start, end - start)]
        assert commits_taken(found) == commits_taken(more) == {name: 4}
    else:
        assert lost_places(found) == {name: [(start, end - start)]}
        before = found.prefix_version - 4
        assert commits_taken(found) == ({name: before} if before else {})
        assert commits_taken(more) == {name: 3 if kind == FrameKind.COMMIT else 4}
        assert before == (4 if kind != FrameKind.COMMIT else sound[start + 8] - 5)
    assert lost_places(more) == lost_places(found)


def check_altered_checkpoint(sound, at, found, more, *, keep):
    size = len(sound)
    start, end = piece_at(sound, at, BLOCK_HEADER_BYTES)
    [lost] = lost_places(found)[NEW]
    # The rest of it, at opening; of its own name each byte is a place.
    assert lost in ((start, size - start), (at, size - at))
    assert lost[0] == start or at < HEADER_BYTES
    if keep:
        assert lost_places(found) == lost_places(more) == {NEW: [lost]}
        taken = {segment_name(3): 1, segment_name(4): 1, segment_name(5): 4}
        assert commits_taken(found) == commits_taken(more) == taken
        return
    # The log before it is gone, and was removed on purpose.
    assert lost_places(found) == {NEW: [lost]}
    assert (commits_taken(found), commits_taken(more)) == ({}, {segment_name(5): 4})
    first, *others = lost_places(more)[NEW]
    if at < HEADER_BYTES:
        assert (first, others) == ((0, HEADER_BYTES), [])
        assert tables_of(more.recovered) == STATES[8]
    elif start <= at < start + 4 or start + 8 <= at:
        assert (first, others) == ((start, end - start), [])
    else:
        # Where the next block begins is not known then.
        assert first[0] <= at < first[0] + first[1]


@pytest.mark.unmeasured
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_any_altered_byte_is_lost_with_what_it_belongs_to_and_nothing_else(keep, closed):
    content = database(keep=keep, closed=closed).content()
    for name, sound in content.items():
        for at in range(len(sound)):
            altered = bytearray(sound)
            altered[at] ^= 0x41
            disk = MemoryDisk(content | {name: bytes(altered)})
            found, more = check(disk), check(disk, beyond_damage=True)
            if name == segment_name(5):
                check_altered_segment(sound, at, found, more, is_closed=closed)
            elif name == NEW:
                check_altered_checkpoint(sound, at, found, more, keep=keep)
            else:
                # Superfluous, but for their headers; those of older checkpoints are not even looked at.
                is_lost = at < HEADER_BYTES and name != OLD
                assert lost_places(found) == lost_places(more) == ({name: [(0, HEADER_BYTES)]} if is_lost else {})
                assert commits_taken(found) == commits_taken(more) == {segment_name(5): 4}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_any_altered_byte(keep, closed):
    content = database(keep=keep, closed=closed).content()
    kept = set()
    for name in content:
        for at in range(len(content[name])):
            altered = bytearray(content[name])
            altered[at] ^= 0x41
            disk = MemoryDisk(content | {name: bytes(altered)})
            found = check(disk)
            kept.add(found.prefix_version)
            if not found.is_whole:
                assert any(file.lost for file in found.files)
            more = check(disk, beyond_damage=True)
            assert more.recovered.version >= found.recovered.version
            assert more.taken_beyond == found.left_out
            assert more.is_whole == found.is_whole
    # Without the log before it, nothing is proven if the checkpoint is damaged.
    assert kept == ({4, 5, 6, 7, 8} | (set() if keep else {0}))


@given(st.data())
def test_any_files_cut_overwritten_or_gone(data):
    content = database(keep=data.draw(st.booleans()), closed=data.draw(st.booleans())).content()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(content)))
        at = data.draw(st.integers(0, len(content[name])))
        match data.draw(st.sampled_from(["cut", "overwrite", "remove", "insert"])):
            case "cut":
                content[name] = content[name][:at]
            case "overwrite":
                junk = data.draw(st.binary(min_size=1, max_size=40))
                content[name] = content[name][:at] + junk + content[name][at + len(junk) :]
            case "insert":
                content[name] = content[name][:at] + data.draw(st.binary(max_size=8)) + content[name][at:]
            case _:
                del content[name]
    disk = MemoryDisk(content)
    found = check(disk)
    more = check(disk, beyond_damage=True)
    assert more.recovered.version >= found.recovered.version


def test_a_damaged_commit_and_what_lies_behind_it():
    disk = database(keep=False, closed=True)
    segment = segment_name(5)
    # The value of the first commit behind the checkpoint.
    at = disk.files[segment].index(VALUE)
    disk.files[segment][at] ^= 1
    found = check(disk)
    assert (found.prefix_version, found.last_version, found.is_whole) == (4, 8, False)
    assert (found.left_out, found.missing) == (((6, 8),), ((5, 5),))
    [lost] = next(file.lost for file in found.files if file.name == segment)
    assert lost.offset == 64
    assert lost.offset <= at < lost.offset + lost.size
    # The prefix is what it was, so tokens of lost commits are not answered with "aborted".
    assert found.recovered.outcomes_since == 8
    more = check(disk, beyond_damage=True)
    assert (more.taken_beyond, more.recovered.version, more.recovered.commits) == (((6, 8),), 8, 3)
    assert tables_of(more.recovered) == STATES[8]


def test_without_the_newest_checkpoint_an_older_one_and_the_log_since_will_do():
    disk = database(keep=True, closed=True)
    disk.files[NEW][70] ^= 1
    found = check(disk)
    assert (found.prefix_version, found.is_whole) == (8, True)
    assert [file.name for file in found.files if file.lost] == [NEW]
    disk.files[OLD][70] ^= 1
    found = check(disk)
    assert (found.prefix_version, found.is_whole) == (8, True)
    assert [file.name for file in found.files if file.lost] == [OLD, NEW]


def test_of_a_damaged_checkpoint_alone_what_can_be_read_is_taken_on_request():
    disk = database(keep=False, closed=True)
    # Its last block: what is before it can still be read.
    disk.files[NEW][-1] ^= 1
    found = check(disk)
    assert (found.prefix_version, tables_of(found.recovered)) == (0, {})
    assert (found.left_out, found.missing) == (((5, 8),), ((1, 4),))
    assert [file.name for file in found.files if file.lost] == [NEW]
    more = check(disk, beyond_damage=True)
    assert tables_of(more.recovered) == STATES[8]
    assert (found.missing, found.parts_of, found.parts_left_out) == (((1, 4),), (), (NEW,))
    assert (more.missing, more.parts_of, more.parts_left_out) == (((1, 4),), (NEW,), ())
    # Of the block of run-1, which holds the tombstone of a, nothing can be read.
    at = disk.files[NEW].index(b"run-1")
    disk.files[NEW][at] ^= 1
    more = check(disk, beyond_damage=True)
    assert tables_of(more.recovered) == {table: entries for table, entries in STATES[8].items() if table[0] != "run-1"}
    assert next(file.lost for file in more.files if file.name == NEW)[0].offset == 64


@pytest.mark.parametrize("damage", [b"\0" * HEADER_BYTES, b"INMEMCKP" + b"\xff" * 56])
def test_without_its_header_a_checkpoint_is_read_if_two_blocks_agree_on_what_it_was(damage):
    disk = database(keep=False, closed=True)
    disk.files[NEW][:HEADER_BYTES] = damage
    more = check(disk, beyond_damage=True)
    assert tables_of(more.recovered) == STATES[8]
    assert [lost[:2] for lost in next(file.lost for file in more.files if file.name == NEW)] == [(0, HEADER_BYTES)]
    disk.files[NEW][disk.files[NEW].index(b"run-2")] ^= 1
    more = check(disk, beyond_damage=True)
    # The outcomes and the end agree.
    assert tables_of(more.recovered) == {table: STATES[8][table] for table in STATES[8] if table[0] != "run-2"}
    disk.files[NEW][-CHECKPOINT_END_BYTES - 1] ^= 1
    more = check(disk, beyond_damage=True)
    assert {table[0] for table in tables_of(more.recovered)} == {"run-4"}
    assert [lost.size for lost in next(file.lost for file in more.files if file.name == NEW)] == [len(disk.files[NEW])]


def test_a_checkpoint_of_zeros_is_lost_as_a_whole():
    """Its blocks agree with each other: each is of no kind, has no length, and a checksum of nothing."""
    disk = database(keep=False, closed=True)
    disk.files[NEW] = bytearray(len(disk.files[NEW]))
    more = check(disk, beyond_damage=True)
    assert [lost[:2] for lost in next(file.lost for file in more.files if file.name == NEW)] == [
        (0, len(disk.files[NEW]))
    ]


def test_a_block_of_no_kind_is_lost_and_no_other():
    disk = database(keep=False, closed=True)
    data = disk.files[NEW]
    seed = crc32(data[:HEADER_BYTES])
    facts = pack("<BxxxI", 9, 4)
    data[HEADER_BYTES:HEADER_BYTES] = facts + pack("<I", crc32(b"what", crc32(facts, seed))) + b"what"
    more = check(disk, beyond_damage=True)
    assert tables_of(more.recovered) == STATES[8]
    assert [lost[:2] for lost in next(file.lost for file in more.files if file.name == NEW)] == [(HEADER_BYTES, 16)]


def test_an_old_checkpoint_without_its_header_brings_nothing_back_that_is_proven_gone():
    disk = database(keep=True, closed=True)
    # The checkpoint has run-2 as it was before it was dropped; the log says so whole, up to its last commit.
    for name in (OLD, NEW):
        disk.files[name][30] ^= 1
    end = len(disk.files[segment_name(5)]) - FRAME_HEADER_BYTES - 1
    disk.files[segment_name(5)][end] ^= 1
    more = check(disk, beyond_damage=True)
    assert not more.is_whole
    assert tables_of(more.recovered) == STATES[more.recovered.version]


def test_a_checkpoint_of_a_later_format_is_not_read():
    disk = database(keep=False, closed=True)
    disk.files[NEW][:HEADER_BYTES] = encode_header(b"INMEMCKP", 2, (0,) * 6)
    more = check(disk, beyond_damage=True)
    assert {table[0] for table in tables_of(more.recovered)} == {"run-4"}


def test_what_was_torn_is_no_loss():
    disk = database(keep=False, closed=False)
    disk.files[segment_name(5)] += b"\xd5\xf7\x01torn"
    disk.files[segment_name(6)] = bytearray(b"INM")
    found = check(disk)
    assert found.is_whole
    assert sorted(torn.size for torn in found.torn) == [3, 7]


@pytest.mark.parametrize("name", [segment_name(5), NEW, MANIFEST_NAME])
def test_a_file_that_is_gone(name):
    disk = database(keep=False, closed=True)
    disk.remove(name)
    found = check(disk)
    assert not found.is_whole
    assert found.prefix_version == {segment_name(5): 4, NEW: 0, MANIFEST_NAME: 8}[name]
    assert [file.name for file in found.files if file.lost] == [name]


def test_damage_in_which_no_commit_stood_ends_nothing():
    disk = database(keep=False, closed=True)
    segment = segment_name(5)
    marks = [at for at in range(len(disk.files[segment])) if disk.files[segment].startswith(b"\xd5\xf7\x03", at)]
    assert len(marks) == 3
    for at in marks:
        disk.files[segment][at] ^= 1
    for beyond_damage in (False, True):
        found = check(disk, beyond_damage=beyond_damage)
        assert (found.prefix_version, found.left_out, found.taken_beyond, found.missing) == (8, (), (), ())
        assert [lost.offset for file in found.files for lost in file.lost] == marks
        # What would tell of a commit behind the last one could have been lost as well.
        assert not found.is_whole


def test_from_one_segment_to_the_next_nothing_may_be_missing_either():
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run", b"a", b"1"))
    log.mark()
    log.commit(put("run", b"b", VALUE))
    log.mark()
    log.roll()
    log.commit(put("run", b"c", b"3"))
    log.close()
    mark = disk.files[segment_name(1)].index(b"\xd5\xf7\x03")
    disk.files[segment_name(1)][mark] ^= 1
    assert read_damaged(disk, beyond_damage=False).prefix_version == 3
    disk.files[segment_name(1)][disk.files[segment_name(1)].index(VALUE)] ^= 1
    found = read_damaged(disk, beyond_damage=False)
    assert (found.prefix_version, found.missing, found.left_out) == (1, ((2, 2),), ((3, 3),))


def test_a_segment_of_another_history_is_not_taken_for_a_continuation():
    disk = MemoryDisk()
    LogBuilder(disk, salt=1).commit(put("run", b"a", b"1"))
    other = MemoryDisk(disk.content())
    LogBuilder(other, salt=3).commit(put("run", b"b", b"from elsewhere"))
    log = LogBuilder(disk, salt=2)
    log.commit(put("run", b"b", b"2"))
    log.close()
    disk.files[log.name] = other.files[log.name]
    found = read_damaged(disk, beyond_damage=False)
    assert (found.prefix_version, found.is_whole) == (1, False)


def test_room_that_was_claimed_ahead_is_not_lost():
    disk = database(keep=False, closed=False)
    segment = segment_name(5)
    disk.files[segment][disk.files[segment].index(VALUE)] ^= 1
    disk.files[segment] += bytes(5000)
    [lost] = next(file.lost for file in check(disk).files if file.name == segment)
    assert lost.offset == 64
    assert lost.size < 200


def test_versions_that_a_restart_had_skipped_are_not_missing():
    disk = MemoryDisk()
    LogBuilder(disk, salt=1).commit(put("run", b"a", b"1"))
    log = LogBuilder(disk, salt=2, skip_versions=10)
    log.commit(put("run", b"b", VALUE))
    log.commit(put("run", b"c", b"3"))
    log.close()
    disk.files[log.name][disk.files[log.name].index(VALUE)] ^= 1
    found = read_damaged(disk, beyond_damage=False)
    assert (found.prefix_version, found.last_version) == (1, 13)
    assert (found.missing, found.left_out) == (((12, 12),), ((13, 13),))


def test_a_segment_whose_header_is_damaged_may_still_be_read_on_request():
    disk = database(keep=False, closed=True)
    disk.files[segment_name(5)][40] ^= 1
    assert check(disk).left_out == ((5, 8),)
    more = check(disk, beyond_damage=True)
    assert tables_of(more.recovered) == STATES[8]


def test_a_commit_that_stands_in_two_segments_is_taken_from_the_later_one():
    """What a failed sync leaves: the tail was written once more, and the segment before says no more where it ends."""
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run", b"a", b"1"))
    end = log.file.size
    log.commit(put("run", b"a", b"never acknowledged"))
    disk.truncate(log.name, end + 70)
    log.roll()
    log.version = 1
    log.commit(put("run", b"a", b"2"))
    log.close()
    # Neither the header of the later segment, nor where the earlier one ends, can be read any more.
    disk.files[log.name][40] ^= 1
    more = read_damaged(disk, beyond_damage=True)
    assert tables_of(more.recovered)["run", 1][b"a"] == (2, b"2", 0)


def test_half_of_a_salvage_is_not_salvaged():
    disk = database(keep=False, closed=True)
    disk.files[MANIFEST_NAME] = bytearray(Manifest(3, 1, 0, 0, 0, 0).encode())
    with pytest.raises(UnfinishedSalvageError):
        read_damaged(disk, beyond_damage=False)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4))), st.integers(1, 20), st.integers(0, 25))
def test_ranges_are_sets_of_versions(pairs, first, last):
    ranges = [(start, start + more) for start, more in pairs]
    present = {version for start, end in ranges for version in range(start, end + 1)}

    def expand(found):
        assert all(end + 1 < start for (_, end), (start, _) in itertools.pairwise(found))
        return {version for start, end in found for version in range(start, end + 1)}

    assert expand(merged(ranges)) == present
    assert count(merged(ranges)) == len(present)
    assert expand(gaps_between(first, last, merged(ranges))) == set(range(first, last + 1)) - present
