"""A folder in memory: the Disk protocol without faults."""

from contextlib import AbstractContextManager, nullcontext

from inmem.engine.ports import AppendFile, Folder


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

    def read(self, name: str, offset: int = 0) -> bytes:
        return bytes(self.files[name][offset:])

    def view(self) -> AbstractContextManager[Folder]:
        return nullcontext(self)

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
