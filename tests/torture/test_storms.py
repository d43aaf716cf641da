"""The storms at a length that every change can wait for; `make torture` goes on for as long as you like."""

import asyncio
from pathlib import Path

import pytest

from tests.torture.failpoints import points_of
from tests.torture.storm import BACKENDS, SQLITE, Plan, crash_storm, deaths, zombie_storm

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(180)]
_BY_CHANCE = 6


async def test_nothing_is_lost_in_a_crash_storm(tmp_path: Path, seed: int) -> None:
    async with asyncio.TaskGroup() as group:  # one storm on each kind of store, at once: they mostly wait
        for storage in BACKENDS:
            group.create_task(one_storm(tmp_path / storage.partition(":")[0], storage, seed))


async def one_storm(folder: Path, storage: str, seed: int) -> None:
    """Each of the failpoints, and some deaths by chance."""
    folder.mkdir()
    points = points_of(storage)
    kills = len(points) + _BY_CHANCE
    ends = deaths(kills, seed, points, share=len(points) / kills)
    verdict = await crash_storm(Plan(folder, seed, storage), ends)
    verdict.require(
        acknowledged=len(ends), events=10 * len(ends), attempts=len(ends), lost=10, checkpoints=20, connections=70,
        failpoints=len(points) // 2, kills=_BY_CHANCE // 2, streams_of_owners=5, owners_that_left=1,
    )  # fmt: skip
    assert verdict, f"{storage}, seed {seed}: {verdict}"


async def test_a_server_that_stood_still_beyond_its_lease_writes_nothing_more(
    tmp_path: Path, seed: int
) -> None:
    verdict = await zombie_storm(Plan(tmp_path, seed, SQLITE), freezes=3)
    verdict.require(acknowledged=10, lost=1, freezes=3)
    assert verdict, f"seed {seed}: {verdict}"
