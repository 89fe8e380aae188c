"""A file of the user's: whole under its name or not there, durable, and written to wherever its path leads."""

import errno
import io
import os
import stat
import threading

import pytest

import inmem
from inmem.user_file import opened_for_reading, opened_for_writing, write_whole


def write(target, data=b"all of it"):
    with opened_for_writing(target) as file:
        write_whole(file, data)


def test_it_appears_when_it_is_whole_for_its_owner_only(tmp_path):
    path = tmp_path / "file"
    with opened_for_writing(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_text() == "half and half"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o400])
def test_an_older_one_is_replaced_when_it_is_whole_and_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("an older one")
    path.chmod(mode)
    with opened_for_writing(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "an older one"
        file.write(b" and half")
    assert path.read_text() == "half and half"
    assert path.stat().st_mode & 0o777 == mode


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    for _ in range(2):
        write(path)
    assert path.read_bytes() == b"all of it"
    with pytest.raises(OSError, match="too long") as caught:
        write(tmp_path / f"{path.name}n")
    assert caught.value.errno == errno.ENAMETOOLONG


def test_links_that_go_round_in_a_circle_stay(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    with pytest.raises(OSError, match="symbolic links") as caught:
        write(one)
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, str(one))
    assert (one.is_symlink(), other.is_symlink()) == (True, True)


def test_of_one_that_was_not_written_to_its_end_nothing_is_left(tmp_path):
    path = tmp_path / "file"
    path.write_text("an older one")

    def interrupted():
        with opened_for_writing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "an older one"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_an_error_names_the_path_that_was_given(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write(str(tmp_path / "missing" / "file"))
    assert caught.value.filename == str(tmp_path / "missing" / "file")


def test_the_file_and_its_name_are_durable_at_the_end(tmp_path, monkeypatch):
    # Whoever exports a run may delete it next: a power cut must not take the file's name back.
    synced, sync = [], os.fsync

    def watched(descriptor):
        sync(descriptor)
        synced.append(("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file", target.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    target = tmp_path / "file"
    write(target)
    assert synced == [("file", False), ("folder", True)]


def test_a_symbolic_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "file"
    link.symlink_to(target)
    for _ in ("a missing file", "a file that is there"):
        write(link)
        assert link.is_symlink()
        assert target.read_bytes() == b"all of it"
        assert [each.name for each in target.parent.iterdir()] == ["file"]
        target.write_text("another")


def test_a_named_pipe_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write, args=(pipe,))
    writer.start()
    assert pipe.read_bytes() == b"all of it"
    writer.join()
    assert pipe.is_fifo()


def test_a_pipe_is_written_to_by_its_number():
    reading, writing = os.pipe()
    write(f"/dev/fd/{writing}")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"all of it"


def test_a_file_that_is_given_open_stays_open():
    target = io.BytesIO()
    write(target)
    assert target.getvalue() == b"all of it"
    target.seek(0)
    with opened_for_reading(target) as file:
        assert file.readline() == b"all of it"
    assert not target.closed


class ShortWriter(io.RawIOBase):
    """Takes a few bytes at a time, as a raw file may, and `room` in all."""

    def __init__(self, room, refusal):
        self.taken = b""
        self._room = room
        self._refusal = refusal

    def writable(self):
        return True

    def write(self, data):
        count = min(len(data), 7, self._room - len(self.taken))
        self.taken += bytes(data[:count])
        return count or self._refusal


def test_a_raw_file_that_takes_less_than_it_is_given_gets_all():
    file = ShortWriter(2**20, None)
    write(file, bytes(range(256)))
    assert file.taken == bytes(range(256))


@pytest.mark.parametrize("refusal", [None, 0])
def test_a_raw_file_that_takes_no_more_is_an_error(refusal):
    file = ShortWriter(100, refusal)
    with pytest.raises(BlockingIOError):
        write(file, bytes(range(256)))
    assert file.taken == bytes(range(100))


@pytest.mark.parametrize("opened", [opened_for_reading, opened_for_writing])
@pytest.mark.parametrize(
    "file", [None, 5, b"file", "", "nul\0", io.StringIO(), ["file"]], ids=lambda file: type(file).__name__
)
def test_what_is_no_file_is_refused_by_the_name_of_the_argument(opened, file):
    with pytest.raises(inmem.UsageError, match="file: must be a "), opened(file):
        pass
