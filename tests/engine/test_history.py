import pytest

from inmem.engine.errors import CorruptionError
from inmem.engine.log.history import KeyChange, read_change, read_history
from inmem.engine.log.log_folder import segment_name
from inmem.engine.log.log_records import DropRun
from tests.engine.log_builder import LogBuilder, put
from tests.engine.memory_disk import MemoryDisk

_EPOCH = 1_700_000_000_000_000


def change(version, value, expires_at_us=0):
    return KeyChange(version, _EPOCH + version, value, expires_at_us)


@pytest.fixture
def disk():
    return MemoryDisk()


def history(disk, key=b"k", limit=10, keep=lambda change: change, tag=1, **options):
    return read_history(disk, "run", tag, key, limit, keep, **options)


def test_every_change_of_the_key_is_found_across_segments(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"), put("run", b"other", b"x"))
    log.commit(put("other", b"k", b"run"), put("run", b"k", b"cell", tag=3))
    log.commit(put("run", b"k", b"two", expires_at_us=7))
    log.roll()
    log.commit(put("run", b"k", None))
    log.commit(put("run", b"k", b"three"))
    log.close()

    found = history(disk)

    assert found.changes == (change(1, b"one"), change(3, b"two", 7), change(4, None), change(5, b"three"))
    assert (found.omitted, found.kept_since) == (0, 0)
    assert history(disk, b"never").changes == ()
    assert history(disk, tag=3).changes == (change(2, b"cell"),)


def test_only_the_newest_changes_are_kept_and_the_others_counted(disk):
    log = LogBuilder(disk)
    for at in range(5):
        log.commit(put("run", b"k", b"%d" % at))

    found = history(disk, limit=2)

    assert found.changes == (change(4, b"3"), change(5, b"4"))
    assert found.omitted == 3


def test_a_dropped_run_ends_the_key_once(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"))
    log.commit(DropRun("other"))
    log.commit(DropRun("run"), put("run", b"k", b"again"))
    log.commit(DropRun("run"))
    log.commit(DropRun("run"))

    assert history(disk).changes == (change(1, b"one"), change(3, None), change(3, b"again"), change(4, None))


def test_what_a_checkpoint_has_swallowed_is_said_to_be_gone(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"))
    log.checkpoint()
    log.commit(put("run", b"k", b"two"))
    log.commit(DropRun("run"))

    found = history(disk)

    assert found.changes == (change(2, b"two"), change(3, None))
    assert found.kept_since == 1
    # Whether this one had been there is not known, so its end is told.
    assert history(disk, b"older").changes == (change(3, None),)


def test_what_is_kept_of_a_change_is_for_the_caller_to_say(disk):
    log = LogBuilder(disk)
    for at in range(3):
        log.commit(put("run", b"k", b"%d" % at))
    log.commit(DropRun("run"))

    found = history(disk, limit=2, keep=lambda change: change.version)

    assert (found.changes, found.omitted) == ((3, 4), 2)


def test_one_change_is_read_from_its_segment_alone(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"))
    log.commit(put("run", b"other", b"x"))
    log.roll()
    log.commit(put("run", b"k", None))
    log.commit(DropRun("run"), put("run", b"k", b"again"))
    log.roll()
    log.commit(put("run", b"k", b"last"))

    def found(version):
        return read_change(disk, "run", 1, b"k", version)

    assert found(1) == change(1, b"one")
    assert found(4) == change(4, b"again")
    assert found(5) == change(5, b"last")
    assert [found(version) for version in (0, 2, 3, 6)] == [None] * 4
    # Damage in one segment is met by those who look for what it holds.
    disk.files[segment_name(2)][100] ^= 1
    assert (found(1), found(5)) == (change(1, b"one"), change(5, b"last"))
    with pytest.raises(CorruptionError):
        found(4)


def test_an_empty_folder_has_no_history(disk):
    assert history(disk) == type(history(disk))((), 0, 0)


def test_a_torn_tail_counts_as_nothing_and_damage_is_refused(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"))
    log.sync()
    log.commit(put("run", b"k", b"two"))
    disk.files[segment_name(1)] += b"torn"
    assert [each.value for each in history(disk).changes] == [b"one", b"two"]

    disk.files[segment_name(1)][100] ^= 1
    with pytest.raises(CorruptionError):
        history(disk)


def test_progress_is_told_and_can_end_the_reading(disk):
    log = LogBuilder(disk)
    log.commit(put("run", b"k", b"one"))
    log.roll()
    told = []
    history(disk, on_progress=lambda *facts: told.append(facts))
    assert told == [(0, 2), (1, 2)]

    def give_up(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        history(disk, on_progress=give_up)
