"""The storms at a length that every change can wait for; `make torture` goes on for as long as you like."""

from pathlib import Path

import pytest

from tests.torture.failpoints import points_of
from tests.torture.storm import BACKENDS, SQLITE, Plan, crash_storm, deaths, zombie_storm

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(180)]
_BY_CHANCE = 6


@pytest.mark.parametrize("storage", BACKENDS)
async def test_nothing_is_lost_in_a_crash_storm(tmp_path: Path, storage: str, seed: int) -> None:
    points = points_of(storage)
    kills = len(points) + _BY_CHANCE
    ends = deaths(kills, seed, points, share=len(points) / kills)
    verdict = await crash_storm(Plan(tmp_path, seed, storage), ends)
    verdict.require(
        acknowledged=len(ends), events=10 * len(ends), attempts=len(ends), lost=10, checkpoints=20, connections=70,
        failpoints=len(points) // 2, kills=_BY_CHANCE,
    )  # fmt: skip
    assert verdict, f"seed {seed}: {verdict}"


async def test_a_server_that_stood_still_beyond_its_lease_writes_nothing_more(
    tmp_path: Path, seed: int
) -> None:
    verdict = await zombie_storm(Plan(tmp_path, seed, SQLITE), freezes=3)
    verdict.require(acknowledged=10, lost=1, freezes=3)
    assert verdict, f"seed {seed}: {verdict}"
