"""A server with trees of processes, killed again and again: nothing of it lives on."""

import asyncio
import random
from pathlib import Path

from tests.torture.clients import Door, pb
from tests.torture.oracle import Verdict
from tests.torture.storm import Plan
from tests.torture.world import World

DEAF = str(Path(__file__).with_name("deaf.py"))
_FAIL = 4
_TREES = 9


async def hygiene(plan: Plan, kills: int) -> Verdict:
    """Kill a server at any instant while it has, and starts, processes that have bred others."""
    chance = random.Random(f"hygiene {plan.seed}")
    verdict = Verdict()
    with World(plan.url, [DEAF], flags=["--max-concurrent", "64", *plan.flags]) as world:
        door = Door([world.address], chance)
        for _ in range(kills):
            await world.start()  # on the same port: nobody has inherited the socket of the one before
            for provider in ("breeds", "deaf_to_signals", "breeds"):
                await door.call("StartRun", _start(provider))
            # server, forkserver, and the three with the four that two of them have bred
            async with asyncio.timeout(10):
                while len(world.left()) < _TREES:
                    await asyncio.sleep(0.005)
            starting = [asyncio.create_task(door.call("StartRun", _start("breeds"))) for _ in range(3)]
            await asyncio.sleep(chance.random() * 0.03)
            await world.kill()
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            took = await world.emptied()
            verdict.figures["kills"] += 1
            if took is None:
                verdict.say("hygiene", f"{len(world.left())} processes outlived their server by 2 s")
            else:
                slowest = max(verdict.figures["slowest end, ms"], int(took * 1_000))
                verdict.figures["slowest end, ms"] = slowest
        await door.close()
    return verdict


def _start(provider: str) -> object:
    return pb.StartRunRequest(
        provider=provider, input={"json": '{"path": "/nowhere"}'}, overrides={"recovery": _FAIL}
    )
