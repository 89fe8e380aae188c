"""An in-memory folder that implements the Disk protocol without faults."""

from contextlib import AbstractContextManager, nullcontext

from inmem.engine.ports import AppendFile, Folder, ReadFile


class MemoryFile:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def append(self, data: bytes) -> None:
        self._content += data

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class BytesFile:
    """A readable file made of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._data[offset : offset + size]
        assert len(data) == size, "read past the end"
        return data

    def close(self) -> None:
        pass


class MemoryDisk:
    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {name: bytearray(content) for name, content in (files or {}).items()}

    @property
    def path(self) -> str:
        return "/memory"

    def content(self) -> dict[str, bytes]:
        return {name: bytes(content) for name, content in self.files.items()}

    def names(self) -> list[str]:
        return sorted(self.files)

    def view(self) -> AbstractContextManager[Folder]:
        return nullcontext(self)

    def open(self, name: str) -> ReadFile:
        return BytesFile(bytes(self.files[name]))

    def create(self, name: str) -> AppendFile:
        if name in self.files:
            raise FileExistsError(name)
        self.files[name] = bytearray()
        return MemoryFile(self.files[name])

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        del self.files[name]

    def truncate(self, name: str, size: int) -> None:
        del self.files[name][size:]

    def sync(self, name: str) -> None:
        pass

    def sync_names(self) -> None:
        pass

    def close(self) -> None:
        pass


def content_of(folder: Folder, name: str) -> bytes:
    """Return all bytes of a file in any folder."""
    file = folder.open(name)
    try:
        return file.read_at(0, file.size)
    finally:
        file.close()


class CountedDisk(MemoryDisk):
    """A disk that records all reads.

    Attributes:
        places: (name, offset, size in bytes) of each read, in order.
        open_files: the number of files open now.
        open_max: the largest number of files open at one time.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(files)
        self.places: list[tuple[str, int, int]] = []
        self.open_files = 0
        self.open_max = 0

    def open(self, name: str) -> ReadFile:
        self.open_files += 1
        self.open_max = max(self.open_max, self.open_files)
        return CountedFile(self, name, bytes(self.files[name]))


class CountedFile(BytesFile):
    def __init__(self, disk: CountedDisk, name: str, data: bytes) -> None:
        super().__init__(data)
        self._disk = disk
        self._name = name
        self._is_open = True

    def read_at(self, offset: int, size: int) -> bytes:
        self._disk.places.append((self._name, offset, size))
        return super().read_at(offset, size)

    def close(self) -> None:
        self._disk.open_files -= self._is_open
        self._is_open = False
