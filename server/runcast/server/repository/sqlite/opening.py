"""What happens before a SQLite file is used: is it there, ours, known to this version, writable and unused?"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from runcast.server.model.errors import StorageError
from runcast.server.repository import locking

APPLICATION_ID = int.from_bytes(b"RunC", "big")
MIGRATION_SET = "runcast"
MIGRATIONS = ("0001_runs", "0002_documents", "0003_finding", "0004_damaged")
"""The names of all migrations that this version knows, in order."""

_STATEMENTS = 512  # prepared ones kept by a connection: each bulk statement exists in some twenty sizes
_BUSY_SECONDS = 5.0
_CHECKPOINT_PAGES = 4000


def refusal(path: Path, cause: str, remedy: str) -> StorageError:
    """The error that names the store, the cause and the remedy."""
    return StorageError(f"sqlite store {path}: {cause}; {remedy}")


def look(path: Path) -> None:
    """StorageError where no store can be at `path` or something else is. Changes nothing, not even beside it."""
    try:
        if not path.parent.is_dir():
            raise refusal(path, f"the folder {path.parent} does not exist", "create it, or name another one")
        if path.is_dir():
            raise refusal(path, "it is a folder", "name a file in it")
        # Beside a rollback journal the file may be half written: SQLite restores it once it is opened to write.
        if not path.exists() or not path.stat().st_size or Path(f"{path}-journal").exists():
            return
        # Read by SQLite: whoever else closes a file drops the locks that this process has on it. As if it could not
        # change, so that no log is made or folded in beside it; whose it is stands in the file from the first.
        with closing(_connect(path, "ro&immutable=1")) as connection:
            if _application(connection) != APPLICATION_ID:
                raise _foreign(path)
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        remedy = "let the server's user read and write it"
        raise refusal(path, f"it cannot be looked at: {error.strerror}", remedy) from error


def lock(path: Path) -> int:
    """The descriptor that holds the store's lock until it is closed. StorageError where another server holds it."""
    return locking.lock(path, refusal)


def connect_writer(path: Path, *, void_leases: bool) -> sqlite3.Connection:
    """The connection that writes, on a store that is ours, migrated and writable. StorageError."""
    try:
        is_new = _check(path)
        connection = _connect(path, "rwc")
        try:
            _prepare(path, connection, is_new=is_new)
            # Not only for the leases: a file that cannot be written is refused now, not at the first run.
            connection.execute("BEGIN IMMEDIATE")
            if void_leases:
                connection.execute("DELETE FROM leases")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read, on a store that is open."""
    return _connect(path, "ro")


@contextmanager
def visiting(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, on a store that another process may have open. StorageError, also for all that
    SQLite refuses meanwhile."""
    try:
        look(path)
        if not path.exists() or _check(path):
            raise refusal(path, "there is no store", "name the file that `runcast serve --storage` names")
        with closing(_connect(path, "ro")) as connection:
            yield connection
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def pending(connection: sqlite3.Connection) -> list[str]:
    """The migrations that are not applied yet."""
    applied = _applied(connection)
    return [name for name in MIGRATIONS if name not in applied]


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file://{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
        cached_statements=_STATEMENTS,
    )


def _check(path: Path) -> bool:
    """Whether the store is new; StorageError where it is not ours or newer than this program. Reads only."""
    if not path.exists():
        return True
    with closing(_connect(path, "ro")) as connection:
        application = _application(connection)
        if application != APPLICATION_ID:
            if application or _tables(connection):
                raise _foreign(path)
            return True
        newer = sorted(set(_applied(connection)) - set(MIGRATIONS))
        if newer:
            cause = f"a newer version of this program wrote it (it knows {', '.join(newer)})"
            raise refusal(path, cause, "start that version, or name another file")
        return False


def _application(connection: sqlite3.Connection) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return int(application)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _applied(connection: sqlite3.Connection) -> list[str]:
    if "_sqlite_migrations" not in _tables(connection):
        return []
    sql = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
    return [name for (name,) in connection.execute(sql, (MIGRATION_SET,))]


def _prepare(path: Path, connection: sqlite3.Connection, *, is_new: bool) -> None:
    if is_new:
        # Before anything else, and before the write-ahead log: from its first page on, the file says whose it is.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise refusal(
            path, f"its file system keeps no write-ahead log (got {mode})", "put it on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")
    if set(MIGRATIONS) - set(_applied(connection)):
        from runcast.server.repository.sqlite.schema import migrate

        migrate(connection)


def _foreign(path: Path) -> StorageError:
    return refusal(
        path, "it is a database of another program", "name another file; nothing in it was changed"
    )


def _explain(path: Path, error: sqlite3.Error) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    remedies = {
        sqlite3.SQLITE_READONLY: "let the server's user write to it and its folder, on a file system that is not read-only",
        sqlite3.SQLITE_CANTOPEN: "let the server's user write to it and its folder",
        sqlite3.SQLITE_FULL: "make room on its disk",
        sqlite3.SQLITE_IOERR: "put it on a local disk that works and has room",
        sqlite3.SQLITE_PROTOCOL: "put it on a local disk",
        sqlite3.SQLITE_BUSY: "stop whatever else uses it",
        sqlite3.SQLITE_NOTADB: "name another file, or move this one away",
        sqlite3.SQLITE_CORRUPT: "restore it from a backup, or name another file",
    }
    return refusal(path, str(error), remedies.get(code, "name another file, or report this"))
