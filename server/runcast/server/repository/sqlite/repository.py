"""The SQLite repository: a thread that writes, some that read, and what their errors mean."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from runcast.server.model.change import Durability, Group, Result
from runcast.server.model.document import Document, Kind
from runcast.server.model.errors import DataLoss, Unavailable
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Page, Run, RunFilter
from runcast.server.repository.abc import Repository
from runcast.server.repository.selection import require_sound
from runcast.server.repository.sqlite.opening import connect_reader
from runcast.server.repository.sqlite.reading import Reader
from runcast.server.repository.sqlite.writing import Writer
from runcast.server.repository.upkeep import Upkeep
from runcast.server.repository.workers import Workers

R = TypeVar("R")
T = TypeVar("T")

_PRUNED_AT_ONCE = 5_000  # so that no save waits long behind a prune
_REMOVED_AT_ONCE = 200  # for the same reason
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TROUBLE = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
)  # fmt: skip


def _monotonic() -> int:
    return time.monotonic_ns() // 1000


class SQLiteRepository(Repository):
    """The store in the file `path`, with its write-ahead log and its lock beside it.

    `clock` is what leases go by, in microseconds. `exclusive` False leaves out the lock, and with it that `open` voids
    older leases: for tests that let two servers at one file.
    """

    scheme = "sqlite"
    durability = Durability.SYNCED

    def __init__(self, path: Path, *, exclusive: bool = True, clock: Callable[[], int] = _monotonic) -> None:
        self.exclusive = exclusive
        self._path = path
        self._clock = clock
        self._writer = Workers(
            "runcast-sqlite-writer", 1, lambda: Writer(path, exclusive=exclusive), Writer.close
        )
        self._readers = Workers(
            "runcast-sqlite-reader", 2, lambda: Reader(connect_reader(path)), Reader.close
        )
        # A filter that selects few of many runs is slow to list; nothing else is to wait behind it.
        self._lister = Workers(
            "runcast-sqlite-lister", 1, lambda: Reader(connect_reader(path)), Reader.close, optional=True
        )

    def upkeep(self) -> Upkeep:
        from runcast.server.repository.sqlite.upkeep import SQLiteUpkeep

        return SQLiteUpkeep(self._path)

    async def open(self) -> None:
        await self._writer.start()
        try:
            await self._readers.start()
            await self._lister.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        # The writer goes last: whoever closes the last connection folds the write-ahead log into the file.
        await self._lister.stop()
        await self._readers.stop()
        await self._writer.stop()

    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        return await self._run(self._writer, lambda writer: writer.save(groups))

    async def get(self, run_id: str) -> Run:
        return await self._run(self._readers, lambda reader: reader.get(run_id))

    async def due(self, now: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        return await self._run(self._readers, lambda reader: reader.due(now, self._clock(), capacity, limit))

    async def set_aside(self, run_id: str, now: int) -> Run | None:
        error = await self._run(self._writer, lambda writer: writer.set_aside(run_id, now))
        if error is None:
            return None
        return await self._run(self._readers, lambda reader: reader.stand_in(run_id, error))

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        return await self._run(self._readers, lambda reader: reader.events(run_id, after, limit))

    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        return await self._run(self._readers, lambda reader: reader.attempts(run_id))

    async def checkpoint(self, run_id: str) -> Checkpoint | None:
        return await self._run(self._readers, lambda reader: reader.checkpoint(run_id))

    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        require_sound(filter)
        return await self._run(self._lister, lambda reader: reader.list(filter, page))

    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        wanted = [*dict.fromkeys(run_ids)]
        removed: list[str] = []
        for start in range(0, len(wanted), _REMOVED_AT_ONCE):
            removed += await self._remove_some(wanted[start : start + _REMOVED_AT_ONCE])
        return removed

    async def document(self, kind: Kind, document_id: str) -> Document:
        return await self._run(self._readers, lambda reader: reader.document(kind, document_id))

    async def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        return await self._run(self._lister, lambda reader: reader.documents(kind, page))

    async def beat(self, boot_id: str, ttl: int) -> None:
        await self._run(self._writer, lambda writer: writer.beat(boot_id, self._clock() + ttl))

    async def retire(self, boot_id: str) -> None:
        await self._run(self._writer, lambda writer: writer.retire(boot_id))

    async def prune_requests(self, now: int) -> int:
        total = pruned = await self._prune_some(now)
        while pruned == _PRUNED_AT_ONCE:
            total += (pruned := await self._prune_some(now))
        return total

    async def _prune_some(self, now: int) -> int:
        return await self._run(self._writer, lambda writer: writer.prune_requests(now, _PRUNED_AT_ONCE))

    async def _remove_some(self, run_ids: Sequence[str]) -> Sequence[str]:
        return await self._run(self._writer, lambda writer: writer.remove(run_ids))

    async def _run(self, workers: Workers[R], job: Callable[[R], T]) -> T:
        try:
            return await workers.run(job)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> Exception:
        """What the error means to a caller; itself where it is a mistake in this program."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE:
            return DataLoss(f"sqlite store {self._path} is damaged: {error}")
        if code in _TROUBLE:
            return Unavailable(f"sqlite store {self._path}: {error}")
        return error
