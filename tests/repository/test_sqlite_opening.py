"""SQLite: what is refused when it is opened, with what words, and that nothing was changed."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runcast.server.model.change import Saved
from runcast.server.model.errors import StorageError
from runcast.server.repository.sqlite import SQLiteRepository, opening, schema
from tests.repository.builders import a_run, following, group, save

NOBODY = 65534


async def refused(path: Path) -> str:
    """What the refusal says; the repository can be closed, and be opened no better a second time."""
    repository = SQLiteRepository(path)
    with pytest.raises(StorageError) as first:
        await repository.open()
    with pytest.raises(StorageError) as second:
        await repository.open()
    await repository.close()
    assert str(first.value) == str(second.value)
    assert str(path) in str(first.value)
    return str(first.value)


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


async def made(path: Path) -> None:
    """A store with one run in it."""
    repository = SQLiteRepository(path)
    await repository.open()
    await save(repository, a_run("run"))
    await repository.close()


async def test_a_new_store_says_whose_it_is(path: Path) -> None:
    await made(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (opening.APPLICATION_ID,)
    assert path.read_bytes()[68:72] == b"RunC"


def test_the_migrations_are_those_that_opening_knows() -> None:
    assert tuple(migration.name for migration in schema.migrations._migrations) == opening.MIGRATIONS


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    said = await refused(tmp_path / "missing" / "runs.db")
    assert "does not exist; create it" in said
    assert files(tmp_path) == {}


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "it is a folder; name a file in it" in await refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"SQLite format 3\0", b"\0" * 5000, b"SQLite format 2\0" + b"\0" * 5000],
    ids=range(4),
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "file is not a database; name another file" in await refused(path)
    assert files(path.parent) == {"runs.db": content}


async def test_a_store_that_was_refused_opens_once_the_cause_is_gone(path: Path) -> None:
    path.write_bytes(b"hello")
    repository = SQLiteRepository(path)
    with pytest.raises(StorageError):
        await repository.open()
    path.unlink()
    await repository.open()
    assert await save(repository, a_run("run")) == Saved()
    await repository.close()


FOREIGN: dict[str, str] = {
    "tables": "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)",
    "same names": "CREATE TABLE runs (x)",
    "an application id": "PRAGMA application_id = 7",
    "a write-ahead log": "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)",
    "an emptied one": "CREATE TABLE theirs (x); DROP TABLE theirs; PRAGMA user_version = 3",
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path, kind: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FOREIGN[kind])
    before = files(path.parent)
    assert "database of another program; name another file; nothing in it was changed" in await refused(path)
    assert files(path.parent) == before


async def test_a_foreign_database_that_is_in_use_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)")
        before = files(path.parent)
        assert "database of another program" in await refused(path)
        assert files(path.parent) == before


async def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    await made(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('runcast', '0999_later', '')"
        )
    before = path.read_bytes()
    assert (
        "a newer version of this program wrote it (it knows 0999_later); start that version"
        in await refused(path)
    )
    assert path.read_bytes() == before


async def test_migrations_of_other_sets_are_not_ours_to_judge(path: Path) -> None:
    await made(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('theirs', '0999_later', '')"
        )
    await made_again(path)


async def made_again(path: Path) -> None:
    """The store is opened, and its run goes on."""
    repository = SQLiteRepository(path)
    await repository.open()
    assert await save(repository, following(await repository.get("run"))) == Saved()
    await repository.close()


@pytest.mark.parametrize("content", [None, b""])
async def test_an_empty_file_becomes_a_store(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    await made(path)
    await made_again(path)


async def test_a_store_whose_making_was_interrupted_is_finished(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}")
    await made(path)
    await made_again(path)


@pytest.mark.parametrize("name", ["a b.db", "a?b=c.db", "a%20b.db", "a#b.db", "é.db", "file:a.db", "'a\".db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    await made(tmp_path / name)
    assert sorted(files(tmp_path)) == [name, f"{name}.lock"]


async def test_a_relative_path_means_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await made(Path("runs.db"))
    await made_again(tmp_path / "runs.db")
    await made_again(Path(f"/{tmp_path}/runs.db"))


async def test_a_store_that_another_server_uses_is_refused_until_that_one_closes(
    sqlite: SQLiteRepository, path: Path
) -> None:
    await save(sqlite, a_run("run"))
    await sqlite.beat("boot", 10**9)
    assert "in use by another server; stop that one, or name another file" in await refused(path)
    assert [*await sqlite.save([group(a_run("other"))])] == [Saved()]
    await sqlite.close()
    await made_again(path)


HOLD = """
import asyncio, sys
from pathlib import Path
from runcast.server.repository.sqlite import SQLiteRepository
async def hold():
    await SQLiteRepository(Path(sys.argv[1])).open()
    print("open", flush=True)
    sys.stdin.read()
asyncio.run(hold())
"""


async def test_a_store_of_another_process_is_refused_until_that_is_killed(path: Path) -> None:
    await made(path)
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        assert "in use by another server" in await refused(path)
        other.kill()
    await made_again(path)


async def test_two_servers_without_the_lock_see_each_others_runs_and_leases(path: Path) -> None:
    one, two = (SQLiteRepository(path, exclusive=False) for _ in range(2))
    await one.open()
    await one.beat("boot", 10**9)
    await two.open()
    try:
        for n in range(20):
            assert {*await two.save([group(a_run(f"many-{n}-{m}")) for m in range(5)])} == {Saved()}
            assert await save(one, a_run(f"one-{n}", owner="boot")) == Saved()
            assert await save(two, a_run(f"two-{n}")) == Saved()
            assert await save(two, following(a_run(f"one-{n}", owner="boot"))) == Saved()
            assert await save(one, following(a_run(f"two-{n}"))) == Saved()
        assert [*await two.due(0, {}, 100)] == []
        with closing(sqlite3.connect(path)) as connection:
            keys = [key for (key,) in connection.execute("SELECT key FROM runs")]
        assert len({*keys}) == len(keys) == 140
    finally:
        await one.close()
        await two.close()


@contextmanager
def nobody_at(folder: Path) -> Iterator[None]:
    """As root, act as a user to whom permissions mean something."""
    if os.geteuid() != 0:
        yield
        return
    for place in (folder, *folder.iterdir()):
        os.chown(place, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def closed_folder(path: Path) -> None:
    """Its folder cannot be written."""
    path.parent.chmod(0o555)


def readonly_file(path: Path) -> None:
    """The file cannot be written."""
    path.chmod(0o444)


def secret_file(path: Path) -> None:
    """The file cannot be read."""
    path.chmod(0o000)


@pytest.mark.parametrize("forbid", [closed_folder, readonly_file, secret_file])
async def test_what_the_servers_user_may_not_write_is_refused(forbid: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "runs.db"
        await made(path)
        Path(f"{path}.lock").unlink()
        before = path.read_bytes()
        with nobody_at(path.parent):
            forbid(path)
            said = await refused(path)
            path.parent.chmod(0o755)
            path.chmod(0o644)
        assert "let the server's user" in said
        assert path.read_bytes() == before
        await made_again(path)


async def test_a_file_system_without_a_write_ahead_log_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(path: Path, mode: str) -> sqlite3.Connection:
        # It shares no memory between processes, like some network file systems.
        return sqlite3.connect(f"file:{path}?mode={mode}&vfs=unix-none", uri=True, isolation_level=None)

    monkeypatch.setattr(opening, "_connect", connect)
    assert "keeps no write-ahead log" in await refused(path)


async def test_a_folder_without_locks_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    assert "no file locks: No locks available; put it on a local disk" in await refused(path)
