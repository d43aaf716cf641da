"""However a run's events are read, they are the same bytes."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.torture.clients import Door, is_final, pb
from tests.torture.storm import BACKENDS, FOLD
from tests.torture.world import World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
RUNS = 150
AT_ONCE = 40


async def watched(door: Door, run_id: str, after: int = 0) -> list[bytes]:
    """What a watch shows, as bytes."""
    seen: list[bytes] = []
    async for response in door.stub.WatchRun(pb.WatchRunRequest(run_id=run_id, after_sequence=after)):
        frame = response.frame
        seen += [event.SerializeToString(deterministic=True) for event in frame.batch.events]
        if frame.HasField("completed"):
            assert is_final(frame.completed.run.state)
            assert frame.resume_sequence == frame.completed.run.last_sequence == after + len(seen)
            return seen
    raise AssertionError("the stream ended before the run")


async def listed(door: Door, run_id: str, page_size: int) -> list[bytes]:
    """What a list shows, page by page."""
    seen: list[bytes] = []
    token = ""
    while True:
        request = pb.ListRunEventsRequest(run_id=run_id, page_size=page_size, page_token=token)
        page = await door.call("ListRunEvents", request)
        seen += [event.SerializeToString(deterministic=True) for event in page.events]
        token = page.next_page_token
        if not token:
            return seen


@pytest.mark.parametrize("storage", BACKENDS)
async def test_live_replayed_resumed_and_listed_events_are_the_same_bytes(
    tmp_path: Path, storage: str, seed: int
) -> None:
    chance = random.Random(seed)
    with World(storage.format(folder=tmp_path), flags=["--fold", str(FOLD)]) as world:
        await world.start()
        door = Door([world.address], chance)
        free = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> tuple[str, list[bytes]]:
            provider = chance.choice(("again", "climb", "climb_in_thread"))
            steps = chance.randint(3, 40)
            parameters = f'{{"steps": {steps}, "pause": {chance.choice((0, 0.001, 0.003))}}}'
            async with free:
                start = pb.StartRunRequest(
                    provider=provider, input={"json": parameters}, request_id=f"{number}"
                )
                run_id = (await door.call("StartRun", start)).run.id
                live = await watched(door, run_id)
                point = chance.randrange(len(live))
                assert len(live) > steps
                assert await watched(door, run_id) == live
                assert await watched(door, run_id, point) == live[point:]
                assert await listed(door, run_id, chance.randint(1, 60)) == live
                return run_id, live

        lives = await asyncio.gather(*[one(number) for number in range(RUNS)])
        await world.kill()
        await world.start()
        for run_id, live in lives:
            assert await listed(door, run_id, 1_000) == live, f"seed {seed}"
            point = chance.randrange(len(live))
            assert await watched(door, run_id, point) == live[point:], f"seed {seed}"
        await door.close()
        assert await world.stop() == 0
