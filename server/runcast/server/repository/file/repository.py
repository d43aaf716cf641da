"""The file repository: a state in memory, and a log that every change is in before the state has it."""

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runcast.server.model.change import Durability, Group, Refused, Result, Saved
from runcast.server.model.errors import ResourceExhausted, Unavailable
from runcast.server.repository import locking
from runcast.server.repository.file import records
from runcast.server.repository.file.disk import Disk
from runcast.server.repository.file.log import Log
from runcast.server.repository.file.opening import explain, look, refusal
from runcast.server.repository.file.records import Asked, Did, Entry, Kept, Pruned, Removed, Told, Written
from runcast.server.repository.memory import MemoryRepository, monotonic
from runcast.server.repository.workers import Workers

T = TypeVar("T")
log = logging.getLogger(__name__)

LIMIT = 256 << 20
_SMALLEST = 4 << 20
_CHUNK = 256 << 10
_EVENTS_AT_ONCE = 500
_REMOVED_AT_ONCE = 200  # so that no save waits long behind a removal
_RETRY_LATER = 60_000_000


class FileRepository(MemoryRepository):
    """The store in the file `path`, with its journal and its lock beside it, and all of it in memory.

    `clock` is what leases go by, in microseconds. Beyond `limit` bytes on disk new runs and documents are refused;
    those that are there can still be brought to their end. A journal is folded into the snapshot once it is larger than
    both the snapshot and `smallest`; calls that write wait meanwhile.
    """

    scheme = "file"
    durability = Durability.SYNCED

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] = monotonic,
        disk: Disk | None = None,
        limit: int = LIMIT,
        smallest: int = _SMALLEST,
    ) -> None:
        super().__init__(clock=clock)
        self._path = path
        self._disk = disk or Disk()
        self._limit = limit
        self._smallest = smallest
        self._freed = 0
        self._fold_at = 0
        self._last: asyncio.Future[Any] | None = None
        self._folds = False
        self._writer: Workers[_Held] = Workers(
            "runcast-file-writer", 1, lambda: _Held(path, self._disk, self._take, self._entries), _Held.close
        )

    async def open(self) -> None:
        self._clear()
        try:
            await self._writer.start()
        except BaseException:
            self._clear()
            raise
        self._log = await self._writer.run(lambda held: held.log)
        self._freed = 0
        self._fold_at = self._smallest
        await super().open()

    async def close(self) -> None:
        was_open, self._is_open = self._is_open, False  # nothing new; those who came before are done first
        await self._in_turn(partial(self._close, was_open))

    async def _close(self, was_open: bool) -> None:
        if was_open:
            try:
                await self._writer.run(lambda held: held.log.seal(self._entries))
            except OSError as error:
                log.warning("%s: it is left with its journal: %s", self._path, error)
        await self._writer.stop()
        self._clear()

    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        return await self._writing(partial(self._save, groups))

    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        wanted = [*dict.fromkeys(run_ids)]
        removed: list[str] = []
        for start in range(0, len(wanted), _REMOVED_AT_ONCE):
            removed += await self._writing(
                partial(self._remove_some, wanted[start : start + _REMOVED_AT_ONCE])
            )
        return removed

    async def prune_requests(self, now: int) -> int:
        return await self._writing(partial(self._prune_expired, now))

    async def _writing(self, work: Callable[[], Awaitable[T]]) -> T:
        self._require_open()
        return await self._in_turn(work)

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """Work that writes, after all that came before; it is finished also where nobody waits for it any more."""
        return await asyncio.shield(self._queue_up(work))

    def _queue_up(self, work: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":
        task = asyncio.ensure_future(_after(self._last, work))
        task.add_done_callback(_heard)
        self._last = task
        return task

    async def _save(self, groups: Sequence[Group]) -> Sequence[Result]:
        results = self._judged(groups)
        stored = [group for group, result in zip(groups, results, strict=True) if result.__class__ is Saved]
        if stored:
            await self._do(Did.of(stored))
        return results

    async def _remove_some(self, run_ids: Sequence[str]) -> Sequence[str]:
        final = [run_id for run_id in run_ids if (run := self._runs.get(run_id)) and run.state.final]
        if final:
            freed = sum(len(entry) for run_id in final for entry in self._run_entries(run_id))
            await self._do(Removed(tuple(final)))
            self._freed += freed
        return final

    async def _prune_expired(self, now: int) -> int:
        before = len(self._requests)
        if any(request.expire_time <= now for request in self._requests.values()):
            await self._do(Pruned(now))
        return before - len(self._requests)

    async def _do(self, entry: Entry) -> None:
        """Make the entry durable, then part of the state."""
        payload = records.encode((entry,))
        # What is applied is what was written, as it will be read: what cannot be read is never written.
        (entry,) = records.decode(payload)
        if self._log.broken:
            await self._fold()
        await self._on_disk(lambda held: held.log.append(payload))
        self._apply_entry(entry)
        if self._must_fold() and not self._folds:
            self._folds = True
            _ = self._queue_up(self._fold_by_itself)

    async def _on_disk(self, job: "Callable[[_Held], None]") -> None:
        try:
            await self._writer.run(job)
        except OSError as error:
            raise Unavailable(f"file store {self._path}: {error}", retry_after=1_000_000) from error

    def _refusal(self, group: Group) -> Refused | None:
        is_new = any(not change.run.version for change in group.changes) or any(
            not written.document.version for written in group.documents
        )
        if not is_new or self._size() <= self._limit:
            return None
        limit = f"{self._limit >> 20} MiB" if self._limit >> 20 else f"{self._limit} bytes"
        message = (
            f"file store {self._path} is at its limit of {limit} and takes nothing new: "
            f"delete old runs, or shorten their retention, or move to sqlite:///"
        )
        return Refused(ResourceExhausted("storage", message, retry_after=_RETRY_LATER, reason="STORAGE_FULL"))

    def _size(self) -> int:
        """About the size of a snapshot taken now: never less, and little more."""
        return self._log.snapshot_size + self._log.journal_size - self._freed

    def _must_fold(self) -> bool:
        """Whether to fold: the journal has outgrown the snapshot, or there is an eighth of the limit to be won."""
        journal = self._log.journal_size
        if journal > max(self._fold_at, self._log.snapshot_size):
            return True
        return self._size() > self._limit and journal + self._freed > max(self._fold_at, self._limit // 8)

    async def _fold_by_itself(self) -> None:
        self._folds = False
        try:
            await self._fold()
        except Unavailable as error:
            # The journal goes on; it is tried again when that has grown.
            self._fold_at = self._log.journal_size + self._smallest
            log.warning("the journal is not folded into its snapshot: %s", error)

    async def _fold(self) -> None:
        """A new generation: a snapshot of the state as it is, and an empty journal."""
        await self._on_disk(lambda held: held.log.renew(self._entries()))
        self._freed = 0
        self._fold_at = self._smallest

    def _entries(self) -> Iterator[bytes]:
        """The state as payloads. Nobody may write meanwhile."""
        chunk: list[bytes] = []
        size = 0
        for entry in self._each_entry():
            chunk.append(entry)
            size += len(entry)
            if size >= _CHUNK:
                yield records.together(chunk)
                chunk, size = [], 0
        if chunk:
            yield records.together(chunk)

    def _each_entry(self) -> Iterator[bytes]:
        for run_id in self._keys:  # in the order of their creation
            yield from self._run_entries(run_id)
        for kind, documents in [*self._documents.items()]:
            for document in documents.values():
                yield records.encode(Written(kind, document))
        for request in self._requests.values():
            yield records.encode(Asked.of(request))

    def _run_entries(self, run_id: str) -> Iterator[bytes]:
        attempts = tuple(self._attempts.get(run_id, {}).values())
        yield records.encode(
            Kept.of(self._runs[run_id], self._checkpoints.get(run_id), attempts, self._refs.get(run_id, {}))
        )
        journal = self._journals.get(run_id, [])
        for start in range(0, len(journal), _EVENTS_AT_ONCE):
            yield records.encode(Told(run_id, tuple(journal[start : start + _EVENTS_AT_ONCE])))

    def _take(self, payload: memoryview) -> None:
        """Apply what is stored, while the store is opened."""
        for entry in records.decode(payload):
            self._apply_entry(entry)

    def _apply_entry(self, entry: Entry) -> None:
        if isinstance(entry, Did):
            for group in entry.groups:
                self._store(group)
        elif isinstance(entry, Kept):
            self._put(entry.run, entry.checkpoint, entry.attempts, entry.refs)
        elif isinstance(entry, Told):
            self._journals[entry.run_id].extend(entry.events)
        elif isinstance(entry, Asked):
            self._requests[entry.principal, entry.request_id] = entry.request
        elif isinstance(entry, Written):
            self._documents[entry.kind][entry.document.id] = entry.document
        elif isinstance(entry, Removed):
            for run_id in entry.run_ids:
                self._remove(run_id)
        else:
            self._prune(entry.now)


class _Held:
    """The files and the lock of a store that is open; made and dropped on the thread that writes."""

    def __init__(
        self,
        path: Path,
        disk: Disk,
        apply: Callable[[memoryview], None],
        entries: Callable[[], Iterable[bytes]],
    ) -> None:
        look(path)
        # A rename would replace a link and not what it leads to.
        real = path.resolve()
        self._lock = locking.lock(real, refusal)
        self.log = Log(real, disk, partial(os.urandom, 16))
        try:
            with _without_collections():
                self.log.open(apply, entries)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise explain(path, error) from error
            raise

    def close(self) -> None:
        """Let go of both."""
        try:
            with suppress(OSError):
                self.log.close()
        finally:
            os.close(self._lock)


@contextmanager
def _without_collections() -> Iterator[None]:
    """What is read is all kept, and there are no cycles in it: looking for some takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _after(last: "asyncio.Future[Any] | None", work: Callable[[], Awaitable[T]]) -> T:
    if last is not None and not last.done():
        await asyncio.wait([last])
    del last
    return await work()


def _heard(task: "asyncio.Future[T]") -> None:
    """Whoever waited may have left: what went wrong is then told to nobody."""
    if not task.cancelled():
        task.exception()
