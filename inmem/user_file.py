"""Read a file, or write it completely, that the user gives by its path or has opened.

actors/files/durable_files.py also writes, syncs, renames and syncs the folder, but it is no substitute. It works
through a `Disk`, in a folder that the store owns, has locked and may list, under the store's own file names, and it
raises StorageErrors. Here the folder belongs to somebody else: nothing in it is locked or listed, the temporary name is
unique, links are followed, a pipe is written to directly, and the caller gets the operating system's own error.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, nullcontext
from io import RawIOBase, TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from inmem.actors.files.system_calls import FILE_MODE, sync_folder
from inmem.actors.options import checked_path
from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Generator

File: TypeAlias = "str | os.PathLike[str] | BinaryIO"


@contextmanager
def opened_for_reading(file: File) -> Generator[BinaryIO]:
    """Open a file that is given by its path. A file that is given open stays open.

    Raises:
        UsageError: `file` is neither a path nor a file open for reading bytes.
        OSError: the file cannot be opened.
    """
    source = _checked_file(file, "readline")
    with Path(source).open("rb") if isinstance(source, str) else nullcontext(source) as opened:
        yield opened


@contextmanager
def opened_for_writing(file: File) -> Generator[BinaryIO]:
    """Open a file that is given by its path. It appears there only when complete, and is durable at the end.

    Raises:
        UsageError: `file` is neither a path nor a file open for writing bytes.
        OSError: the file cannot be opened; or it cannot be made durable, and after a power cut the path may lead to
            the older file.
    """
    target = _checked_file(file, "write")
    if not isinstance(target, str):
        yield target
        return
    with _named(target):
        yield from _opened_at(target)


def _opened_at(target: str) -> Generator[BinaryIO]:
    try:
        older = Path(target).stat()
    except FileNotFoundError:
        older = None
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    if older is not None and not stat.S_ISREG(older.st_mode):
        # A pipe or a device cannot be replaced by a complete file. Open it by the path as given: /dev/fd/1 leads to a
        # pipe that has no other path.
        with Path(target).open("wb") as opened:
            yield opened
        return
    # A symbolic link is kept, and its target is written.
    path = Path(os.path.realpath(target))
    # In the same folder, so that the rename is atomic. The file's own name is not part of the temporary one: it may
    # already have the maximum length.
    hidden = path.with_name(f".inmem-{os.urandom(8).hex()}")
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    try:
        with os.fdopen(descriptor, "wb") as opened:
            if older is not None:
                # Keep the older file's permissions. A new file is accessible to its owner only, as the database is.
                os.fchmod(descriptor, stat.S_IMODE(older.st_mode))
            yield opened
            opened.flush()
            os.fsync(descriptor)
        hidden.replace(path)
        # Until the folder is synced, a power cut could undo the rename, and a user who exports a run may delete the run
        # next.
        sync_folder(str(path.parent))
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


@contextmanager
def _named(target: str) -> Generator[None]:
    """Make write errors name the file, as errors on opening do."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, target) from error


def write_whole(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`, also to a raw file, which may take only a part at a time.

    Raises:
        OSError: the data cannot be written; the part that was taken before stays written.
    """
    taken = file.write(data)
    while isinstance(file, RawIOBase) and taken != len(data):
        if not taken:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = data[taken:]
        taken = file.write(data)


def _checked_file(file: File, method: str) -> str | BinaryIO:
    """Return a path as a str, and a binary file that has the method `method` as it is."""
    if isinstance(file, (str, os.PathLike)):
        return checked_path("file", file)
    given: object = file
    if isinstance(given, TextIOBase) or not callable(getattr(given, method, None)):
        purpose = "reading" if method == "readline" else "writing"
        raise UsageError(f"file: must be a path, or a file open for {purpose} bytes, not {shown(file)}")
    return file
