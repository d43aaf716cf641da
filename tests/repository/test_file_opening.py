"""File: what is refused when it is opened, with what words, and that nothing was changed."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runcast.server.model.change import Saved
from runcast.server.model.errors import StorageError
from runcast.server.repository.file import FileRepository
from runcast.server.repository.file.framing import FORMAT
from tests.repository.builders import a_run, following, group, save
from tests.repository.test_sqlite_opening import closed_folder, nobody_at, readonly_file, secret_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store may be."""
    return tmp_path / "runs"


async def refused(path: Path) -> str:
    """What the refusal says, twice the same; nothing but the lock was changed."""
    before = files(path.parent)
    repository = FileRepository(path)
    with pytest.raises(StorageError) as first:
        await repository.open()
    with pytest.raises(StorageError) as second:
        await repository.open()
    await repository.close()
    assert str(first.value) == str(second.value)
    assert f"file store {path}: " in str(first.value)
    assert files(path.parent) == before
    return str(first.value)


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, locks aside."""
    if not folder.is_dir() or not os.access(folder, os.R_OK):
        return {}
    found = (file for file in folder.iterdir() if file.is_file() and file.suffix != ".lock")
    return {file.name: file.read_bytes() for file in found if os.access(file, os.R_OK, effective_ids=True)}


async def made(path: Path) -> None:
    """A store with one run in it."""
    repository = FileRepository(path)
    await repository.open()
    await save(repository, a_run("run"))
    await repository.close()


async def made_again(path: Path) -> None:
    """The store is opened, and its run goes on."""
    repository = FileRepository(path)
    await repository.open()
    assert await save(repository, following(await repository.get("run"))) == Saved()
    await repository.close()


async def left(path: Path) -> None:
    """A store as a kill leaves it, with one run in its snapshot and one in its journal."""
    await made(path)
    repository = FileRepository(path)
    await repository.open()
    await save(repository, a_run("other"))
    there = path.parent / "there"
    there.mkdir()
    for name in (path.name, f"{path.name}.journal"):
        shutil.copy(path.with_name(name), there)
    await repository.close()
    for file in there.iterdir():
        file.replace(path.with_name(file.name))
    there.rmdir()


def journal(path: Path) -> Path:
    """The journal of the store."""
    return path.with_name(f"{path.name}.journal")


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist; create it" in await refused(tmp_path / "missing" / "runs")
    assert files(tmp_path) == {}


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "it is a folder; name a file in it" in await refused(tmp_path)


async def test_a_pipe_is_no_store(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StorageError, match="it is no ordinary file; name another one"):
        await FileRepository(path).open()


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0", b"\0" * 5000], ids=range(3))
async def test_a_file_of_another_program_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    said = await refused(path)
    assert "a file of another program" in said
    assert "name another file" in said
    assert [file.name for file in path.parent.iterdir()] == ["runs"]


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    await made(path)
    await made_again(path)


async def test_a_store_that_was_refused_opens_once_the_cause_is_gone(path: Path) -> None:
    path.write_bytes(b"hello")
    repository = FileRepository(path)
    with pytest.raises(StorageError):
        await repository.open()
    path.unlink()
    await repository.open()
    assert await save(repository, a_run("run")) == Saved()
    await repository.close()


@pytest.mark.parametrize("which", [lambda path: path, journal], ids=["snapshot", "journal"])
async def test_a_newer_format_is_refused(path: Path, which: Callable[[Path], Path]) -> None:
    await left(path)
    content = bytearray(which(path).read_bytes())
    content[8:10] = (FORMAT + 1).to_bytes(2, "big")
    which(path).write_bytes(content)
    said = await refused(path)
    assert f"a newer version of this program wrote it (format {FORMAT + 1}); start that version" in said


async def test_a_missing_journal_is_refused(path: Path) -> None:
    await left(path)
    journal(path).rename(path.with_name("away"))
    said = await refused(path)
    assert f"its journal {journal(path)} is missing, and with it what was stored last; put it back" in said
    path.with_name("away").rename(journal(path))
    await made_again(path)


async def test_a_missing_snapshot_is_refused(path: Path) -> None:
    await left(path)
    path.rename(path.with_name("away"))
    said = await refused(path)
    assert f"its snapshot is missing, and its journal {journal(path)} is there; put the snapshot back" in said
    path.with_name("away").rename(path)
    await made_again(path)


async def test_a_journal_of_a_newer_snapshot_is_refused(path: Path) -> None:
    await made(path)
    shutil.copy(path, path.with_name("old"))
    await made_again(path)
    repository = FileRepository(path)
    await repository.open()
    shutil.copy(journal(path), path.with_name("newer"))
    await repository.close()
    path.with_name("newer").rename(journal(path))
    path.with_name("old").rename(path)
    said = await refused(path)
    assert "belongs to another snapshot (generation" in said
    assert "put back the snapshot and the journal that belong together" in said


async def test_a_journal_of_another_store_is_refused(path: Path) -> None:
    other = path.with_name("other")
    await left(path)
    await left(other)
    journal(other).replace(journal(path))
    assert "belongs to another store; put back" in await refused(path)


async def test_what_a_crash_left_half_made_is_removed(path: Path) -> None:
    await left(path)
    for file in (path, journal(path)):
        file.with_name(f"{file.name}.new").write_bytes(b"half")
    await made_again(path)
    assert sorted(files(path.parent)) == ["runs"]


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a%20b", "a#b", "é", "file:a", "'a\".db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    await made(tmp_path / name)
    await made_again(tmp_path / name)
    assert sorted(file.name for file in tmp_path.iterdir()) == [name, f"{name}.lock"]


async def test_a_link_stays_a_link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    real = path.with_name("elsewhere") / "real"
    path.symlink_to(real)
    await made(path)
    await made_again(path)
    assert path.is_symlink()
    await made_again(real)


async def test_a_store_keeps_its_permissions(path: Path) -> None:
    await made(path)
    path.chmod(0o600)
    repository = FileRepository(path)
    await repository.open()
    await save(repository, a_run("other"))
    assert journal(path).stat().st_mode & 0o777 == 0o600
    await repository.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_store_that_another_server_uses_is_refused_until_that_one_closes(path: Path) -> None:
    store = FileRepository(path)
    await store.open()
    await save(store, a_run("run"))
    assert "in use by another server; stop that one, or name another file" in await refused(path)
    assert [*await store.save([group(a_run("other"))])] == [Saved()]
    await store.close()
    await made_again(path)


HOLD = """
import asyncio, sys
from pathlib import Path
from runcast.server.repository.file import FileRepository
async def hold():
    store = FileRepository(Path(sys.argv[1]))
    await store.open()
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


@pytest.mark.parametrize("forbid", [closed_folder, readonly_file, secret_file])
async def test_what_the_servers_user_may_not_write_is_refused(forbid: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "runs"
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


async def test_a_folder_without_locks_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    assert "no file locks: No locks available; put it on a local disk" in await refused(path)
