"""A file that the user names by its path or has opened, to read it or to write it whole.

Why not with actors/files/durable_files.py, which also writes, syncs, renames and syncs the folder: that works through a
`Disk`, in a folder that the store owns, has locked and may list, with names of its own, and refusals are StorageErrors.
Here the folder is somebody else's. Nothing in it is locked or listed, the temporary name is one that nobody else has, a
link is followed, a pipe is written to as it is, and the caller gets the operating system's own error.
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
    """Open what is given by its path; what is given open stays open.

    Raises:
        UsageError: `file` is neither a path nor a file open for reading bytes.
        OSError: it cannot be opened.
    """
    source = _checked_file(file, "readline")
    with Path(source).open("rb") if isinstance(source, str) else nullcontext(source) as opened:
        yield opened


@contextmanager
def opened_for_writing(file: File) -> Generator[BinaryIO]:
    """Open what is given by its path; a file appears under it only once it is whole, and is durable there at the end.

    Raises:
        UsageError: `file` is neither a path nor a file open for writing bytes.
        OSError: it cannot be opened, or not be made durable: then its name may be the older file's after a power cut.
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
        # A pipe or a device cannot be replaced by a file that is whole. Under the name that was given: /dev/fd/1 leads
        # to a pipe, but by no other path.
        with Path(target).open("wb") as opened:
            yield opened
        return
    # A symbolic link stays one: what it leads to is what is written.
    path = Path(os.path.realpath(target))
    # Beside it, so that giving it its name is one step. Without its name, which may be as long as a name can be.
    hidden = path.with_name(f".inmem-{os.urandom(8).hex()}")
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None
    try:
        with os.fdopen(descriptor, "wb") as opened:
            if older is not None:
                # Who may read it has been decided. A new one is for its owner only, as the database is.
                os.fchmod(descriptor, stat.S_IMODE(older.st_mode))
            yield opened
            opened.flush()
            os.fsync(descriptor)
        hidden.replace(path)
        # Until then a power cut could take the name back, and whoever exports a run may delete it next.
        sync_folder(str(path.parent))
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise


@contextmanager
def _named(target: str) -> Generator[None]:
    """Have errors of writing name the file, as those of opening it do."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, target) from error


def write_whole(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`, of which a raw file may take less at a time.

    Raises:
        OSError: it cannot be written; what was taken before that stays written.
    """
    taken = file.write(data)
    while isinstance(file, RawIOBase) and taken != len(data):
        if not taken:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = data[taken:]
        taken = file.write(data)


def _checked_file(file: File, method: str) -> str | BinaryIO:
    """Return a path as a str, and what has the method of a file of bytes as it is."""
    if isinstance(file, (str, os.PathLike)):
        return checked_path("file", file)
    given: object = file
    if isinstance(given, TextIOBase) or not callable(getattr(given, method, None)):
        purpose = "reading" if method == "readline" else "writing"
        raise UsageError(f"file: must be a path, or a file open for {purpose} bytes, not {shown(file)}")
    return file
