"""A disk that remembers what was never synced, so that every state a crash may leave of it can be made."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from runcast.server.repository.file.disk import Disk, File

_FEW = 2
"""Up to so many unsynced writes of a file are torn in all ways; of more, there would be too many states."""

Tree = Mapping[Path, bytes]


class _Write(NamedTuple):
    """A write, or a cut where `data` is None."""

    offset: int
    data: bytes | None

    def to(self, content: bytes) -> bytes:
        """The content after it."""
        if self.data is None:
            return content[: self.offset].ljust(self.offset, b"\0")
        content = content.ljust(self.offset, b"\0")
        return content[: self.offset] + self.data + content[self.offset + len(self.data) :]

    def torn(self, in_all_ways: bool) -> "Iterator[_Write | None]":
        """What may be left of it: nothing, all, a beginning; in all ways also an end, and only its length."""
        yield None
        yield self
        if self.data is None or len(self.data) < 2:
            return
        size = len(self.data)
        for cut in sorted({1, size // 2, size - 1} if in_all_ways else {size // 2}):
            yield _Write(self.offset, self.data[:cut])
            if in_all_ways:
                yield _Write(self.offset, b"\0" * cut + self.data[cut:])
        if in_all_ways:
            yield _Write(self.offset, b"\0" * size)


class _Inode:
    """What is durable of a file, and what was done to it since: each write with whether a crash must keep it."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.doubtful: list[tuple[_Write, bool]] = []
        self.dirty: list[_Write] = []

    def content(self) -> bytes:
        """What a reader sees."""
        return _written(self.durable, [*(write for write, _ in self.doubtful), *self.dirty])

    def left(self) -> set[bytes]:
        """All that may be of it after a crash; unsynced writes may be kept without those before them."""
        few = len(self.doubtful) + len(self.dirty) <= _FEW
        choices = [[write] if certain else [*write.torn(few)] for write, certain in self.doubtful]
        choices += [[*write.torn(few)] for write in self.dirty]
        return {_written(self.durable, kept) for kept in itertools.product(*choices)}

    def synced(self) -> None:
        """A sync has succeeded. What an earlier one lost stays in doubt: the system believes it is on the disk."""
        if self.doubtful:
            self.doubtful += [(write, True) for write in self.dirty]
        else:
            self.durable = self.content()
        self.dirty = []

    def not_synced(self) -> None:
        """A sync has failed, and no later one will try these writes again."""
        self.doubtful += [(write, False) for write in self.dirty]
        self.dirty = []


def _written(content: bytes, writes: Iterable[_Write | None]) -> bytes:
    for write in writes:
        content = content if write is None else write.to(content)
    return content


class _Link(NamedTuple):
    """A folder's entry is now this inode, and where it came from has none."""

    name: Path
    inode: _Inode | None
    source: Path | None = None


class SimulatedDisk(Disk):
    """Files in memory. `before` is called with a name of each step before it is done, and may raise OSError.

    A sync that fails loses: what was pending is still read, but no later sync makes it durable, and a crash may or may
    not keep it.
    """

    def __init__(self, tree: Tree, before: Callable[[str], None] = lambda step: None) -> None:
        self.before = before
        self._durable = {path: _Inode(content) for path, content in tree.items()}
        self._links: list[_Link] = []

    def _seen(self) -> dict[Path, _Inode]:
        return _linked(self._durable, self._links)

    def step(self, name: str) -> None:
        """Something is about to happen."""
        self.before(name)

    def tree(self) -> dict[Path, bytes]:
        """What a reader sees: also what a killed program leaves, as long as the machine runs."""
        return {path: inode.content() for path, inode in self._seen().items()}

    def crashed(self) -> Iterator[dict[Path, bytes]]:
        """Every state that a loss of power may leave. Changes of the folder may be kept without those before them."""
        for kept in itertools.product((True, False), repeat=len(self._links)):
            links = [link for link, keep in zip(self._links, kept, strict=True) if keep]
            files = _linked(self._durable, links)
            inodes = [*{id(inode): inode for inode in files.values()}.values()]
            for contents in itertools.product(*(inode.left() for inode in inodes)):
                by_inode = dict(zip(map(id, inodes), contents, strict=True))
                yield {path: by_inode[id(inode)] for path, inode in files.items()}

    def read(self, path: Path) -> bytes | None:
        self.step(f"read {path.name}")
        inode = self._seen().get(path)
        return None if inode is None else inode.content()

    def create(self, path: Path, like: Path) -> File:
        self.step(f"create {path.name}")
        inode = _Inode()
        self._links.append(_Link(path, inode))
        return _SimulatedFile(self, path, inode)

    def update(self, path: Path) -> File:
        self.step(f"update {path.name}")
        return _SimulatedFile(self, path, self._seen()[path])

    def rename(self, old: Path, new: Path) -> None:
        self.step(f"rename {old.name}")
        self._links.append(_Link(new, self._seen()[old], old))

    def remove(self, path: Path) -> None:
        self.step(f"remove {path.name}")
        if path in self._seen():
            self._links.append(_Link(path, None))

    def sync_folder(self, path: Path) -> None:
        self.step("sync folder")
        self._durable = self._seen()
        self._links = []


def _linked(durable: Mapping[Path, _Inode], links: list[_Link]) -> dict[Path, _Inode]:
    files = dict(durable)
    for link in links:
        if link.source is not None:
            files.pop(link.source, None)
        if link.inode is None:
            files.pop(link.name, None)
        else:
            files[link.name] = link.inode
    return files


class _SimulatedFile(File):
    def __init__(self, disk: SimulatedDisk, path: Path, inode: _Inode) -> None:
        super().__init__(-1)
        self._disk = disk
        self._name = path.name
        self._inode = inode

    def write(self, offset: int, data: bytes) -> None:
        try:
            self._disk.step(f"write {self._name}")
        except OSError:
            # Part of it is there already.
            self._inode.dirty.append(_Write(offset, data[: len(data) // 2]))
            raise
        self._inode.dirty.append(_Write(offset, data))

    def append(self, offset: int, data: bytes) -> None:
        self.write(offset, data)
        self.sync()

    def truncate(self, size: int) -> None:
        self._disk.step(f"truncate {self._name}")
        self._inode.dirty.append(_Write(size, None))

    def sync(self) -> None:
        try:
            self._disk.step(f"sync {self._name}")
        except OSError:
            self._inode.not_synced()
            raise
        self._inode.synced()

    def close(self) -> None:
        """Nothing is held."""
