"""File: steps that fail, full disks, stores at their limit, and damage that is told."""

import asyncio
import errno
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runcast.server.model.change import Group, Refused, Saved
from runcast.server.model.document import DocumentChange
from runcast.server.model.errors import NotFound, ResourceExhausted, StorageError, Unavailable
from runcast.server.model.run import Definition, Page, Payload, Run, RunFilter, State
from runcast.server.model.task import Task
from runcast.server.repository.file import FileRepository
from runcast.server.repository.file.disk import Disk, File
from tests.repository.builders import NOW, a_request, a_run, change, following, group, save

ALL = RunFilter()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store may be."""
    return tmp_path / "runs"


def big(run_id: str, size: int = 100_000) -> Run:
    """A run of a hundred kilobytes."""
    return a_run(run_id, of=Definition(provider="echo", input=Payload(json="x" * size)))


class FailingDisk(Disk):
    """The real one, but for the calls that `fails` raises at; it is asked before each, by name.

    No power is lost here, so nothing is synced: that would take most of the time.
    """

    def __init__(self, fails: Callable[[str], None]) -> None:
        self.fails = fails

    def create(self, path: Path, like: Path) -> File:
        self.fails("create")
        return self._failing(super().create(path, like))

    def update(self, path: Path) -> File:
        self.fails("update")
        return self._failing(super().update(path))

    def read(self, path: Path) -> bytes | None:
        self.fails("read")
        return super().read(path)

    def rename(self, old: Path, new: Path) -> None:
        self.fails("rename")
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self.fails("remove")
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self.fails("sync folder")

    def _failing(self, file: File) -> File:
        fails = self.fails

        class Failing(File):
            def write(self, offset: int, data: bytes) -> None:
                fails("write")
                super().write(offset, data)

            def append(self, offset: int, data: bytes) -> None:
                try:
                    fails("append")
                except OSError:
                    super().write(offset, data[: len(data) // 2])
                    raise
                super().write(offset, data)

            def truncate(self, size: int) -> None:
                fails("truncate")
                super().truncate(size)

            def sync(self) -> None:
                fails("sync")

        file.__class__ = Failing
        return file


@pytest.mark.parametrize("times", [1, 2, 1000])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
async def test_the_first_the_second_each_step_fails_and_nothing_acknowledged_is_lost(
    path: Path, code: int, times: int
) -> None:
    for first in itertools.count():
        at = path.with_name(f"{first}")
        steps = itertools.count()
        failed: list[str] = []

        def fail(step: str, steps: Any = steps, failed: list[str] = failed, first: int = first) -> None:
            if first <= next(steps) < first + times:
                failed.append(step)
                raise OSError(code, os.strerror(code))

        disk = FailingDisk(fail)
        acknowledged = await lived(FileRepository(at, disk=disk, smallest=400))
        if not failed:
            assert first > 30
            break
        again = FileRepository(at)
        await again.open()
        for run_id, version in acknowledged.items():
            assert (await again.get(run_id)).version >= version, f"{failed}: {run_id}"
        assert len(await again.list(ALL, Page(99))) <= 8
        await again.close()


async def lived(store: FileRepository) -> dict[str, int]:
    """What was acknowledged of runs that are made, changed and folded, whatever fails."""
    acknowledged: dict[str, int] = {}
    for _ in range(2):
        try:
            await store.open()
        except StorageError:
            continue
        for n in range(4):
            run_id = f"{len(acknowledged)}-{n}"
            try:
                run = a_run(run_id)
                if await save(store, run) == Saved():
                    acknowledged[run_id] = 0
                if await save(store, change(following(run), events=3)) == Saved():
                    acknowledged[run_id] = 1
            except Unavailable:
                pass
            # Readers see what was acknowledged, and nothing else, through all of it.
            for one in await store.list(ALL, Page(99)):
                assert acknowledged[one.id] == one.version
        await store.close()
    return acknowledged


async def test_a_save_that_failed_stored_nothing_and_the_next_one_works(path: Path) -> None:
    fails = False

    def fail(step: str) -> None:
        if fails and step == "append":
            raise OSError(errno.EIO, "Input/output error")

    store = FileRepository(path, disk=FailingDisk(fail))
    await store.open()
    await save(store, a_run("run"))
    fails = True
    with pytest.raises(Unavailable, match=f"file store {path}: .*Input/output error"):
        await save(store, following(a_run("run")), request=a_request("id", "run"))
    with pytest.raises(NotFound):
        await store.get("other")
    assert (await store.get("run")).version == 0
    fails = False
    generation = store._log._generation
    assert await save(store, following(a_run("run")), request=a_request("id", "run")) == Saved()
    assert store._log._generation == generation + 1  # nobody trusts the old journal's end any more
    await store.close()


async def test_a_store_whose_snapshot_cannot_be_renewed_goes_on_with_its_journal(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(step: str) -> None:
        if step == "create" and store._is_open:
            raise OSError(errno.ENOSPC, "No space left on device")

    store = FileRepository(path, disk=FailingDisk(fail), smallest=2_000)
    await store.open()
    for n in range(40):
        assert await save(store, a_run(f"{n}")) == Saved()
    assert 1 <= caplog.text.count("is not folded into its snapshot") <= 10
    await store.close()
    again = FileRepository(path)
    await again.open()
    assert len(await again.list(ALL, Page(99))) == 40
    await again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def fill(store: FileRepository, stored: set[str]) -> None:
    """Store runs until it raises."""
    for n in itertools.count(len(stored)):
        assert await save(store, big(f"{n}", 50_000)) == Saved()
        stored.add(f"{n}")


async def test_a_full_disk_stores_nothing_of_the_call_and_room_mends_it(small_disk: Path) -> None:
    path = small_disk / "runs"
    for _ in range(5):
        store = FileRepository(path)
        await store.open()
        (small_disk / "other").write_bytes(b"x" * 500_000)
        stored = {run.id for run in await store.list(ALL, Page(99))}
        with pytest.raises(Unavailable, match="No space left on device"):
            await fill(store, stored)
        assert {run.id for run in await store.list(ALL, Page(99))} == stored
        small = following(await store.get(next(iter(stored))), state=State.SUCCEEDED)
        assert await save(store, small) == Saved()  # what still has room is stored
        (small_disk / "other").unlink()
        assert await save(store, big("after", 50_000)) == Saved()
        await store.close()
        await store.open()
        assert {run.id for run in await store.list(ALL, Page(99))} == {*stored, "after"}
        gone = [following(run, state=State.FAILED) for run in await store.list(ALL, Page(99))]
        assert {*await store.save([group(run) for run in gone])} == {Saved()}
        assert len(await store.remove([run.id for run in gone])) == len(gone)
        await store.close()


def a_task(task_id: str, version: int = 0) -> Group:
    """A task's next version."""
    return Group((), documents=(DocumentChange(Task(task_id, version, NOW, NOW, "echo")),))


async def test_a_store_at_its_limit_takes_nothing_new_and_ends_what_is_there(path: Path) -> None:
    store = FileRepository(path, limit=1 << 20, smallest=10_000)
    await store.open()
    await store.save([a_task("task")])
    stored: list[str] = []
    while (result := await save(store, big(n := f"{len(stored)}"), request=a_request(n, n))) == Saved():
        stored.append(n)
    assert 9 <= len(stored) <= 11
    assert isinstance(result, Refused)
    assert isinstance(result.error, ResourceExhausted)
    assert "is at its limit of 1 MiB and takes nothing new: delete old runs" in str(result.error)
    assert "sqlite:///" in str(result.error)
    ended = change(following(big("0"), state=State.SUCCEEDED), events=3)
    results = await store.save(
        [group(ended), group(a_run("new")), a_task("new"), a_task("task", 1), group(following(big("1")))]
    )
    assert [type(one) for one in results] == [Saved, Refused, Refused, Saved, Saved]
    again = await save(store, big("0"), request=a_request("0", "0"))
    assert type(again).__name__ == "Known"
    results = await store.save([group(following(big(one), state=State.FAILED)) for one in stored[2:5]])
    assert {*results} == {Saved()}
    assert await store.remove(stored[2:5]) == stored[2:5]
    assert await save(store, big("new")) == Saved()
    await store.close()
    assert path.stat().st_size < 1 << 20
    await store.open()
    assert {run.id for run in await store.list(ALL, Page(99))} == {"new", "0", "1", *stored[5:]}
    await store.close()


async def test_what_could_not_be_read_again_is_never_written(path: Path) -> None:
    store = FileRepository(path)
    await store.open()
    with pytest.raises(ValueError, match="Expected `str`"):
        await save(store, a_run("run", owner=7))
    assert await save(store, a_run("run")) == Saved()
    await store.close()
    await store.open()
    assert [run.id for run in await store.list(ALL, Page(9))] == ["run"]
    await store.close()


async def test_writes_that_come_together_are_stored_in_the_order_they_came(path: Path) -> None:
    store = FileRepository(path, smallest=3_000)
    await store.open()
    run = a_run("run")
    versions = [run]
    for _ in range(50):
        versions.append(following(versions[-1]))
    assert {*await asyncio.gather(*(save(store, one) for one in versions))} == {Saved()}
    await store.close()
    await store.open()
    assert (await store.get("run")).version == 50
    await store.close()
