import pytest

from inmem.actors.files.folder_view import FolderView
from inmem.engine.errors import FormatVersionError, StorageError
from inmem.engine.log.file_header import encode_header
from inmem.engine.log.log_folder import checkpoint_name, segment_name, torn_name
from inmem.engine.log.log_records import DropRun
from inmem.engine.log.verification import verify
from tests.engine.log_builder import LogBuilder, put
from tests.engine.memory_disk import MemoryDisk


def database():
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1)
    log.commit(put("run-1", b"a", b"1"), put("run-2", b"a", b"1"))
    log.checkpoint(remove_obsolete=False)
    log.commit(put("run-1", b"b", b"2"))
    log.roll()
    log.commit(DropRun("run-2"))
    log.commit(put("run-1", b"a", None))
    log.close()
    return disk


def test_a_sound_database_is_counted():
    disk = database()
    report = verify(disk)
    assert report.is_valid
    assert (report.version, report.segments, report.checkpoints, report.commits, report.keys) == (4, 3, 1, 4, 1)
    assert report.size_bytes == sum(len(data) for name, data in disk.content().items() if name != "MANIFEST")
    assert (report.torn, report.problems) == ((), ())


def test_an_empty_folder_is_sound():
    report = verify(MemoryDisk())
    assert report.is_valid
    assert (report.version, report.segments, report.size_bytes) == (0, 0, 0)


def test_a_checkpoint_under_the_name_of_another_is_a_problem():
    disk = database()
    [name] = [name for name in disk.names() if name.endswith(".checkpoint")]
    disk.files[checkpoint_name(1)] = bytearray(disk.files[name])
    report = verify(disk)
    assert not report.is_valid
    [problem] = report.problems
    assert (problem.path, problem.offset) == (f"{disk.path}/{checkpoint_name(1)}", 16)
    assert problem.reason == f"the header says that this is checkpoint {int(name.split('.')[0])}"


def test_a_torn_tail_is_no_problem():
    disk = database()
    disk.files[segment_name(3)] += b"torn"
    disk.files[segment_name(4)] = bytearray(b"INM")
    report = verify(disk)
    assert report.is_valid
    assert [torn.size for torn in report.torn] == [4, 3]


def test_what_was_kept_aside_is_told_and_no_problem():
    disk = database()
    disk.files[torn_name(segment_name(3), 299)] = bytearray(b"torn")
    disk.files[torn_name(segment_name(3), 0)] = bytearray()
    report = verify(disk)
    assert report.is_valid
    assert report.kept_aside == (("000000000003.wal.torn-0", 0), ("000000000003.wal.torn-299", 4))
    assert report.torn == ()


def test_what_was_kept_aside_and_is_deleted_meanwhile_is_left_out(tmp_path):
    gone, kept = torn_name(segment_name(3), 0), torn_name(segment_name(3), 299)
    for name, data in (database().content() | {gone: b"", kept: b"torn"}).items():
        (tmp_path / name).write_bytes(data)
    with FolderView(str(tmp_path)) as folder:
        (tmp_path / gone).unlink()
        report = verify(folder)
        assert report.is_valid
        assert report.kept_aside == ((kept, 4),)
        (tmp_path / kept).unlink()
        (tmp_path / kept).mkdir()
        with pytest.raises(StorageError):
            verify(folder)


def test_the_first_bad_byte_of_every_file_is_named():
    disk = database()
    first_end = len(disk.files[segment_name(1)])
    disk.files[segment_name(1)][first_end - 1] ^= 1
    disk.files[segment_name(2)][100] ^= 1
    disk.files[segment_name(3)][70] ^= 1
    disk.files[checkpoint_name(2)][70] ^= 1
    report = verify(disk)
    assert not report.is_valid
    assert (report.version, report.keys, report.commits) == (0, 0, 0)
    assert [(problem.path, problem.offset) for problem in report.problems] == [
        (f"/memory/{name}", 64) for name in sorted([checkpoint_name(2), *map(segment_name, (1, 2, 3))])
    ]


def test_damage_that_recovery_does_not_meet_is_a_problem_all_the_same():
    disk = database()
    disk.files[segment_name(1)][70] ^= 1
    report = verify(disk)
    assert not report.is_valid
    assert (report.version, report.keys, report.commits) == (4, 1, 3)
    assert [problem.path for problem in report.problems] == [f"/memory/{segment_name(1)}"]


def test_a_damaged_header_is_named_and_the_others_are_read_on():
    disk = database()
    disk.files[segment_name(2)][20] ^= 1
    report = verify(disk)
    assert [(problem.path, problem.offset) for problem in report.problems] == [(f"/memory/{segment_name(2)}", 0)]
    assert report.commits == 3


def test_a_missing_segment_is_a_problem():
    disk = database()
    disk.remove(segment_name(2))
    report = verify(disk)
    assert [problem.path for problem in report.problems] == [f"/memory/{segment_name(2)}"]


def test_a_foreign_file_among_ours_is_a_problem():
    disk = database()
    disk.files[segment_name(2)] = bytearray(b"SQLite format 3\0")
    report = verify(disk)
    assert [(problem.path, problem.offset) for problem in report.problems] == [(f"/memory/{segment_name(2)}", 0)]
    assert report.commits == 3


def test_a_newer_format_is_named_as_such():
    disk = database()
    disk.files[segment_name(2)][:64] = encode_header(b"INMEMWAL", 3, (2, 0, 0, 0, 0, 0))
    with pytest.raises(FormatVersionError, match="format 3"):
        verify(disk)


def test_verifying_changes_nothing():
    disk = database()
    disk.files[segment_name(3)] += b"torn"
    before = disk.content()
    verify(disk)
    assert disk.content() == before
