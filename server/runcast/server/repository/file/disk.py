"""The few things a store asks of a file system; tests put one in its place that forgets, tears and fails."""

import os
import stat
from contextlib import suppress
from pathlib import Path

_WRITTEN_THROUGH = getattr(os, "RWF_DSYNC", 0)
_sync_data = getattr(os, "fdatasync", os.fsync)


class File:
    """A file that is open for writing. OSError from any method means that nobody knows what is on the disk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it; durable once `sync` has returned."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            offset, rest = offset + written, rest[written:]

    def append(self, offset: int, data: bytes) -> None:
        """Write all of it at the file's end, durable on return."""
        if not _WRITTEN_THROUGH:
            self.write(offset, data)
            _sync_data(self._descriptor)
            return
        # One call that writes and syncs: each return from the system has to win the interpreter back, which takes
        # milliseconds while the event loop is busy.
        rest = memoryview(data)
        while rest:
            written = os.pwritev(self._descriptor, [rest], offset, _WRITTEN_THROUGH)
            offset, rest = offset + written, rest[written:]

    def truncate(self, size: int) -> None:
        """Cut what is behind; durable once `sync` has returned."""
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Make durable what was written and cut."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of it; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Disk:
    """The file system of this machine."""

    def read(self, path: Path) -> bytes | None:
        """All of the file; None where there is none."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def create(self, path: Path, like: Path) -> File:
        """A new, empty file in place of what was at `path`, with the permissions of `like` where there is one."""
        self.remove(path)
        file = File(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        with suppress(OSError):
            path.chmod(stat.S_IMODE(like.stat().st_mode))
        return file

    def update(self, path: Path) -> File:
        """The file at `path`, as it is."""
        return File(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, old: Path, new: Path) -> None:
        """Put `old` in the place of `new`; durable once `sync_folder` has returned."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Drop the file if there is one; durable once `sync_folder` has returned."""
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Make durable which files there are in the folder."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
