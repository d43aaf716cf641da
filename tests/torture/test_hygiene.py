"""A server that is killed leaves no child, no zombie and no socket."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.torture.clients import Door, pb
from tests.torture.test_cancel_matrix import DEAF, Cancelling
from tests.torture.world import World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
KILLS = 5


async def test_nothing_of_a_killed_server_lives_two_seconds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with World(f"sqlite:///{tmp_path / 'runs.db'}", [DEAF], flags=["--max-concurrent", "64"]) as world:
        door = Door([world.address], chance)
        for number in range(KILLS):
            await world.start()  # on the same port: nobody has inherited the socket of the one before
            runs = [
                Cancelling(door, tmp_path, kind, number) for kind in ("breeds", "deaf_to_signals", "breeds")
            ]
            for copy, run in enumerate(runs):
                run.name += f"-{copy}"
                await run.begun(await run.start(overrides={"recovery": 4}))
            # server, forkserver, and the three with the four that two of them have bred
            async with asyncio.timeout(5):
                while len(world.left()) < 9:
                    await asyncio.sleep(0.005)
            starting = [asyncio.create_task(run.door.call("StartRun", _more())) for run in runs]
            await asyncio.sleep(chance.random() * 0.03)
            await world.kill()
            for task in starting:
                task.cancel()
            assert await world.emptied(2.0) is not None, f"seed {seed}: {world.left()}"
            await asyncio.gather(*starting, return_exceptions=True)
        await door.close()


def _more() -> object:
    return pb.StartRunRequest(
        provider="breeds", input={"json": '{"path": "/nowhere"}'}, overrides={"recovery": 4}
    )
