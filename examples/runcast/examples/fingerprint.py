"""Hashes every file below a folder: progress, checkpoints, failed targets, and a result that stays small."""

import errno
import hashlib
import os
import stat
import time
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from pydantic import DirectoryPath, Field
from pydantic_core import to_json

from runcast.provider import SyncContext, Timeouts, provider

Algorithm = Literal["sha256", "blake2b"]
# The table of files holds the largest ones: never more than so many, in so many bytes of JSON (a result may have 2 MiB).
MOST_FILES = 1_000
MOST_BYTES = 512 * 1024
CHUNK = 1024 * 1024
CHECKPOINT_EVERY = 2.0
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass
class File:
    """One file: `path` below the folder, `size` in bytes, `digest` of its content in hex."""

    path: str
    size: int
    digest: str


@dataclass
class Fingerprint:
    """What was found. `digest` covers every file that could be read, whether `files` holds it or not.

    It is a chain, so that it can be continued: hash(the digest before, in hex + path + NUL + the file's digest, in hex),
    over the files in the order of their paths. `files` holds the largest ones, the largest first; `left_out` says how
    many it does not hold. `failed` could not be read, `skipped` are links and what is no file.
    """

    folder: str
    algorithm: Algorithm
    digest: str = ""
    file_count: int = 0
    byte_count: int = 0
    failed: int = 0
    skipped: int = 0
    left_out: int = 0
    files: list[File] = field(default_factory=list)


@dataclass
class Saved:
    """A checkpoint: all there is to say of the files up to `after`, and what could not even be listed."""

    so_far: Fingerprint
    after: str = ""
    unlisted: list[str] = field(default_factory=list)


class Found(NamedTuple):
    """A file that is to be read: its path below the folder as text, its real path, and its size when it was listed."""

    name: str
    path: str
    size: int


# A plain function gets a process of its own. Hashing would keep the server's loop from everything else, and a read that
# hangs, say on a network share that is gone, ends only with its process: so cancelling works whatever happens.
@provider(
    title="Fingerprint a folder",
    category="data",
    icon="🔏",
    tags=["files", "checksum"],
    checkpointing=True,
    idempotent=True,
    timeouts=Timeouts(attempt=24 * 3600),
)
def fingerprint(
    ctx: SyncContext,
    path: Annotated[DirectoryPath, Field(title="Folder")],
    algorithm: Algorithm = "sha256",
    exclude: Annotated[list[str], Field(max_length=100)] = [],  # noqa: B006 - shown as the default, never changed
    largest: Annotated[int, Field(ge=0, le=MOST_FILES)] = 20,
) -> Fingerprint:
    """Hash every file below a folder, and all of them together.

    Goes on where it was when it is resumed. What cannot be read becomes a failed target; links are not followed.

    Args:
        path: The folder, on the server.
        algorithm: How files are hashed.
        exclude: Names of folders to leave out, wherever they are, such as `.git`.
        largest: How many files the result lists, the largest first; the digest covers all of them.
    """
    folder = str(path.resolve())
    ctx.ref("folder", _text(folder))
    saved = ctx.restore(Saved) or Saved(Fingerprint(_text(folder), algorithm))
    if saved.after:
        ctx.log.info("going on after %s", saved.after, files=saved.so_far.file_count)
    reading = Reading(ctx, folder, saved, exclude=frozenset(exclude), largest=largest)
    reading.read(reading.find())
    result = saved.so_far
    ctx.summary(
        f"{result.file_count:,} files, {result.byte_count:,} bytes, {algorithm} {result.digest[:16]}…"
    )
    return result


class Reading:
    """One attempt at reading a folder; `saved` is brought up to date as it goes."""

    def __init__(
        self, ctx: SyncContext, folder: str, saved: Saved, *, exclude: frozenset[str], largest: int
    ) -> None:
        self.ctx = ctx
        self.exclude = exclude
        self.largest = largest
        self.folder = folder
        self.saved = saved
        self.result = saved.so_far
        self.bytes = sum(map(_cost, self.result.files))

    def find(self) -> list[Found]:
        """The files that are still to be read, in the order of their paths."""
        self.ctx.progress(0, stage="listing", unit="files")
        self.result.skipped = 0
        found: list[Found] = []
        for entry in self._entries():
            name = self._name(entry.path)
            try:
                found.append(Found(name, entry.path, entry.stat(follow_symlinks=False).st_size))
            except OSError as error:
                self._not_listed(name, error)
            self.ctx.progress(len(found))
        return sorted(one for one in found if one.name > self.saved.after)

    def read(self, files: list[Found]) -> None:
        """Read them all, and save now and then how far it is."""
        result, before = self.result, self.result.file_count
        total = result.byte_count + sum(file.size for file in files)
        self.ctx.progress(result.byte_count, total, stage="hashing", unit="bytes")
        last = time.monotonic()
        for number, file in enumerate(files, 1):
            self.ctx.progress(message=f"file {before + number:,} of {before + len(files):,}: {file.name}")
            try:
                size, digest = self._hash(file.path)
            except OSError as error:
                self._failed(file.name, error)
            else:
                self._add(File(file.name, size, digest))
            self.saved.after = file.name
            self.ctx.progress(result.byte_count)
            if time.monotonic() - last >= CHECKPOINT_EVERY:
                self.ctx.checkpoint(self.saved)
                last = time.monotonic()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        waiting = [self.folder]
        while waiting:
            self.ctx.raise_if_cancelled()
            here = waiting.pop()
            try:
                with os.scandir(here) as entries:
                    inside = list(entries)
            except OSError as error:
                self._not_listed(self._name(here), error)
                continue
            for entry in inside:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in self.exclude:
                        waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry
                else:
                    self.result.skipped += 1

    def _hash(self, path: str) -> tuple[int, str]:
        """The size that was read, and the digest; OSError also where it is no file any more."""
        state, size = hashlib.new(self.result.algorithm), 0
        with open(os.open(path, _OPEN), "rb", buffering=0) as file:  # noqa: PTH123 - pathlib cannot refuse links
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no file any more")
            while chunk := file.read(CHUNK):
                self.ctx.raise_if_cancelled()
                state.update(chunk)
                size += len(chunk)
                self.ctx.progress(self.result.byte_count + size)
        return size, state.hexdigest()

    def _add(self, file: File) -> None:
        result = self.result
        link = f"{result.digest}{file.path}\0{file.digest}"
        result.digest = hashlib.new(result.algorithm, link.encode()).hexdigest()
        result.file_count += 1
        result.byte_count += file.size
        insort(result.files, file, key=lambda one: (-one.size, one.path))
        self.bytes += _cost(file)
        while len(result.files) > self.largest or self.bytes > MOST_BYTES:
            self.bytes -= _cost(result.files.pop())
        result.left_out = result.file_count - len(result.files)

    def _not_listed(self, name: str, error: OSError) -> None:
        """Told once, although a resumed attempt lists anew."""
        if name not in self.saved.unlisted:
            self.saved.unlisted.append(name)
            self._failed(name, error)

    def _failed(self, name: str, error: OSError) -> None:
        self.result.failed += 1
        code = errno.errorcode.get(error.errno or 0, "ERROR")
        vanished = error.errno == errno.ENOENT
        self.ctx.target_failed(
            name, code, "it vanished meanwhile" if vanished else error.strerror or str(error)
        )

    def _name(self, path: str) -> str:
        return _text(os.path.relpath(path, self.folder))


def _text(path: str) -> str:
    """A path as valid text: bytes that are none are shown as \\xff."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _cost(file: File) -> int:
    """How many bytes of JSON a file takes in the result."""
    return len(to_json(file))
