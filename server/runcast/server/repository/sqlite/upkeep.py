"""Back-up and check of a SQLite store, by a connection that can only read."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from runcast.server.model.errors import StorageError
from runcast.server.repository.sqlite.checking import Check
from runcast.server.repository.sqlite.opening import visiting
from runcast.server.repository.upkeep import Copied, Report, Upkeep


class SQLiteUpkeep(Upkeep):
    """The store in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> Report:
        with visiting(self._path) as connection:
            return Check(connection).report()

    def backup(self, destination: Path, *, replace: bool = False) -> Copied:
        self._require_free(destination, replace=replace)
        part = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
        try:
            with visiting(self._path) as connection:
                runs = _copy(connection, part)
            size = _synced(part)
            _move(part, destination, replace=replace)
        except (OSError, sqlite3.Error) as error:
            raise _refusal(destination, f"it cannot be written: {error}", "name another place") from error
        finally:
            for left in (part, Path(f"{part}-journal")):
                left.unlink(missing_ok=True)
        return Copied(destination, size, runs)

    def _require_free(self, destination: Path, *, replace: bool) -> None:
        if not destination.parent.is_dir():
            raise _refusal(destination, f"the folder {destination.parent} does not exist", "create it")
        if destination.is_dir():
            raise _refusal(destination, "it is a folder", "name a file in it")
        if not destination.exists():
            return
        if not replace:
            raise _refusal(destination, "it exists", "name another file, or say --overwrite")
        if destination.samefile(self._path):
            raise _refusal(destination, "it is the store itself", "name another file")
        if any(Path(f"{destination}{end}").exists() for end in ("-wal", "-journal")):
            # What is in there belongs to the file as it is, and would be read into the one that takes its place.
            raise _refusal(destination, "a store that is in use or was not closed", "name another file")


def _copy(connection: sqlite3.Connection, part: Path) -> int:
    """All pages in one step, in one transaction of the reader: nobody who writes waits for it, nor begins it anew."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        connection.backup(copy, pages=-1)
        # One file that stands alone, until a server opens it.
        copy.execute("PRAGMA journal_mode = DELETE")
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            cause = f"the store is damaged: {verdict}"
            raise _refusal(part, cause, "see `runcast store check`; an older back-up may be whole")
        (runs,) = copy.execute("SELECT count(*) FROM runs").fetchone()
    return int(runs)


def _synced(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _move(part: Path, destination: Path, *, replace: bool) -> None:
    """Under its name, at once, and for good: not over a file that somebody made meanwhile."""
    if replace:
        part.replace(destination)
    else:
        try:
            os.link(part, destination)
        except FileExistsError:
            raise _refusal(destination, "it exists", "name another file, or say --overwrite") from None
    _synced(destination.parent)


def _refusal(path: Path, cause: str, remedy: str) -> StorageError:
    return StorageError(f"back-up {path}: {cause}; {remedy}")
