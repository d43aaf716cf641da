"""File: what was acknowledged is still there after a close, a fold, and a kill; nobody sees it before."""

import asyncio
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.change import Durability, Group, Known, Part, Saved, Stale
from runcast.server.model.document import DocumentChange, Kind
from runcast.server.model.errors import NotFound
from runcast.server.model.event import Event
from runcast.server.model.run import Checkpoint, EntityRef, Page, RunFilter, State
from runcast.server.model.task import Task
from runcast.server.repository.file import FileRepository
from runcast.server.repository.file.disk import Disk, File
from runcast.server.repository.memory import MemoryRepository
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, following, group, save
from tests.repository.conftest import HandClock
from tests.repository.killing import check_all, killed
from tests.repository.strategies import a_full_run, filled

ALL = RunFilter()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store may be."""
    return tmp_path / "runs"


@pytest.fixture
async def store(path: Path, clock: HandClock, nothing_leaks: None) -> AsyncIterator[FileRepository]:
    """A fresh file repository at `path`, open."""
    repository = FileRepository(path, clock=clock)
    await repository.open()
    yield repository
    await repository.close()


def names(path: Path) -> list[str]:
    """What is beside the store."""
    return sorted(file.name for file in path.parent.iterdir())


def content(repository: MemoryRepository) -> dict[str, Any]:
    """All that the repository holds, in its order."""
    return {
        "runs": [repository._runs[run_id] for run_id in repository._keys],
        "events": {run_id: [*events] for run_id, events in repository._journals.items() if events},
        "refs": repository._refs,
        "checkpoints": repository._checkpoints,
        "attempts": {run_id: one for run_id, one in repository._attempts.items() if one},
        "documents": {kind: one for kind, one in repository._documents.items() if one},
        "requests": repository._requests,
        "due": [repository._indexes.owned.entries and 1, len(repository._indexes.waking.entries)],
    }


async def fill(store: FileRepository) -> None:
    """Something of everything."""
    full = change(
        a_full_run("full"),
        events=5,
        parts=Part.OUTCOME,
        checkpoint=filled(Checkpoint),
        closed=(an_attempt(1),),
    )
    touched = Event(6, NOW, 1, EntityRef("file", "a"))
    full = structs.replace(
        full, events=(*full.events, touched), run=structs.replace(full.run, last_sequence=6)
    )
    await save(store, full, request=a_request("id", "full"))
    await save(store, a_run("request only"), request=a_request("old", "x", expires=5))
    await store.prune_requests(5)
    await store.save([group(a_run(f"{n}")) for n in range(20)])
    await store.save([group(following(a_run(f"{n}"), state=State.FAILED, last_sequence=0)) for n in range(4)])
    await store.remove(["0", "2"])
    await store.save(
        [Group((), documents=(DocumentChange(Task(name, 0, NOW, NOW, "echo")),)) for name in "ab"]
    )
    gone = DocumentChange(Task("b", 1, NOW, NOW, "echo"), removed=True)
    await store.save([Group((), documents=(gone,))])
    await store.document(Kind.TASK, "a")


async def test_a_store_that_is_opened_again_holds_the_same(store: FileRepository, path: Path) -> None:
    assert store.durability is Durability.SYNCED
    await fill(store)
    before = content(store)
    assert all(value for value in before.values())
    left = path.parent / "left"
    left.mkdir()
    for name in ("runs", "runs.journal"):
        shutil.copy(path.with_name(name), left)
    await store.close()
    assert names(path) == ["left", "runs", "runs.lock"]
    for at in (path, left / "runs"):  # from its snapshot, and from its journal
        again = FileRepository(at)
        await again.open()
        assert content(again) == before
        known = await save(again, a_run("new"), request=a_request("id", "new"))
        assert known == Known("full", b"digest of full", a_request("id", "full").expire_time)
        assert await save(again, a_run("3")) == Stale("3")
        await again.close()


async def test_a_closed_store_is_one_file_that_can_be_copied(store: FileRepository, path: Path) -> None:
    await fill(store)
    before = content(store)
    await store.close()
    copied = FileRepository(Path(shutil.copy(path, path.parent / "copy")))
    await copied.open()
    assert content(copied) == before
    await copied.close()
    assert names(path) == ["copy", "copy.lock", "runs", "runs.lock"]


async def test_a_store_that_nobody_wrote_to_keeps_its_bytes(store: FileRepository, path: Path) -> None:
    await fill(store)
    await store.close()
    before = path.read_bytes()
    await store.open()
    assert path.read_bytes() != before  # while it is open, it says that it is not alone
    await store.close()
    assert path.read_bytes() == before


async def test_a_journal_that_outgrew_its_snapshot_is_folded_into_it(path: Path) -> None:
    store = FileRepository(path, smallest=10_000)
    await store.open()
    run = a_run("run")
    await save(store, run)
    largest = folds = 0
    for _ in range(300):
        told = change(following(run), events=3)
        run = told.run
        before = path.stat().st_ino
        assert await save(store, told) == Saved()
        largest = max(largest, path.with_name("runs.journal").stat().st_size)
        folds += path.stat().st_ino != before
    assert folds >= 3
    assert largest < 10_000 + 2 * path.stat().st_size
    expected = content(store)
    await store.close()
    await store.open()
    assert content(store) == expected
    await store.close()


class BlockedDisk(Disk):
    """Its files take nothing until they may; `reached` once a record waits."""

    def __init__(self) -> None:
        self.blocks = False
        self.may, self.reached = threading.Event(), threading.Event()

    def create(self, path: Path, like: Path) -> File:
        disk, file = self, super().create(path, like)

        class Blocked(File):
            def append(self, offset: int, data: bytes) -> None:
                if disk.blocks:
                    disk.reached.set()
                    assert disk.may.wait(10)
                super().append(offset, data)

        file.__class__ = Blocked
        return file


async def test_nothing_is_seen_or_acknowledged_before_it_is_durable(path: Path) -> None:
    disk = BlockedDisk()
    store = FileRepository(path, disk=disk)
    await store.open()
    await save(store, a_run("old"))
    disk.blocks = True
    saving = asyncio.ensure_future(save(store, a_run("new"), following(a_run("old"))))
    await asyncio.to_thread(disk.reached.wait, 10)
    try:
        assert not saving.done()
        with pytest.raises(NotFound):
            await store.get("new")
        assert (await store.get("old")).version == 0
        assert [run.id for run in await store.list(ALL, Page(9))] == ["old"]
    finally:
        disk.may.set()
    assert await saving == Saved()
    assert (await store.get("old")).version == 1
    await store.close()


async def test_a_save_whose_caller_went_away_is_stored_all_the_same(store: FileRepository) -> None:
    saving = asyncio.ensure_future(save(store, a_run("run")))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await save(store, following(a_run("run"))) == Saved()


async def test_a_record_is_written_and_synced_by_one_call_of_the_system(
    store: FileRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = []
    written = os.pwritev

    def pwritev(descriptor: int, buffers: list[bytes], offset: int, how: int) -> int:
        flags.append(how)
        return written(descriptor, buffers, offset, how)

    monkeypatch.setattr("os.pwritev", pwritev)
    for n in range(3):
        await store.save([group(a_run(f"{n}-{m}")) for m in range(50)])
    assert flags == [os.RWF_DSYNC] * 3
    assert store._log._generation == 1  # also the first calls of a new store cost no more
    assert await save(store, a_run("0-0")) == Stale("0-0")
    assert len(flags) == 3  # what is not stored is not written


async def test_a_fold_syncs_each_file_before_its_rename_and_the_folder_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    synced, replaced = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        synced(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append(f"rename {self.name}")
        return replaced(self, target)

    store = FileRepository(path)
    await store.open()
    await save(store, a_run("run"))
    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    await store._in_turn(store._fold)
    folder = f"sync {path.parent.name}"
    assert steps == [
        "sync runs.new", "rename runs.new", folder, "sync runs.journal.new", "rename runs.journal.new", folder,
    ]  # fmt: skip
    await store.close()


@pytest.mark.crash
async def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    for kill in range(3):
        at = path.with_name(f"{kill}")
        acknowledged = killed("file", at, choose.uniform(0.0, 0.5))
        repository = FileRepository(at)
        await repository.open()
        try:
            await check_all(repository, acknowledged, f"seed {seed}, kill {kill}")
        finally:
            await repository.close()
        assert sorted(one.name for one in at.parent.glob(f"{kill}*")) == [f"{kill}", f"{kill}.lock"]
