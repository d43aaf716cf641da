"""The file store's disk with failpoints: between the two halves of a write, around each sync and each rename."""

from pathlib import Path

from runcast.server.repository.file.disk import Disk, File
from tests.torture.failpoints import Fuse


class MortalDisk(Disk):
    """The file system of this machine, until the fuse burns."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def create(self, path: Path, like: Path) -> File:
        if path.name.endswith(".journal.new"):
            self._fuse.burn("before-new-journal")
        return _MortalFile(super().create(path, like), self._fuse)

    def update(self, path: Path) -> File:
        return _MortalFile(super().update(path), self._fuse)

    def rename(self, old: Path, new: Path) -> None:
        what = "journal" if new.name.endswith(".journal") else "snapshot"
        self._fuse.burn(f"before-{what}-rename")
        super().rename(old, new)
        self._fuse.burn(f"after-{what}-rename")


class _MortalFile(File):
    def __init__(self, inner: File, fuse: Fuse) -> None:
        super().__init__(-1)
        self._inner = inner
        self._fuse = fuse

    def write(self, offset: int, data: bytes) -> None:
        half = len(data) // 2 if offset else 0
        self._inner.write(offset, data[:half])
        if half > 1:
            self._fuse.burn("torn-snapshot")
        self._inner.write(offset + half, data[half:])

    def append(self, offset: int, data: bytes) -> None:
        half = len(data) // 2
        self._inner.write(offset, data[:half])
        self._fuse.burn("torn-append")
        self._inner.write(offset + half, data[half:])
        self._fuse.burn("after-append")
        self._inner.sync()
        self._fuse.burn("after-sync")

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def sync(self) -> None:
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()
