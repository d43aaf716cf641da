"""A thousand runs in flight, a kill, and the next server: each is owned again, or ends, as its recovery policy says."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from runcast.v1 import run_pb2
from tests.torture.clients import Door, pb
from tests.torture.test_cancel_matrix import DEAF
from tests.torture.world import World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
RUNS = 1_000
Run = run_pb2.Run
Standing = tuple[str, int, int]
_POLICIES = {"RESUME": 1, "HOLD": 2, "FAIL": 4}
_AFTER = {"RESUME": Run.STATE_RUNNING, "HOLD": Run.STATE_INTERRUPTED, "FAIL": Run.STATE_FAILED}


async def counted(door: Door) -> Counter[Standing]:
    """How many runs there are of each policy, state and attempt."""
    page = await door.call("ListRuns", pb.ListRunsRequest(page_size=1_000))
    return Counter((run.labels["policy"], run.state, run.attempt) for run in page.runs)


async def until(door: Door, wanted: Counter[Standing], seconds: float) -> float:
    """How many seconds it takes until the runs stand like this."""
    begin = time.monotonic()
    while (found := await counted(door)) != wanted:
        assert time.monotonic() - begin < seconds, found
        await asyncio.sleep(0.02)
    return time.monotonic() - begin


async def test_a_thousand_runs_in_flight_are_owned_again_within_two_seconds(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    numbers = {"RESUME": RUNS - 2 * (RUNS // 3), "HOLD": RUNS // 3, "FAIL": RUNS // 3}
    with World(f"sqlite:///{tmp_path / 'runs.db'}", [DEAF], flags=["--coroutines", f"{RUNS}"]) as world:
        await world.start()
        door = Door([world.address], random.Random(1))
        for policy, number in numbers.items():
            start = pb.StartRunRequest(
                provider="obeys", input={"json": f'{{"path": "{gate}"}}'}, labels={"policy": policy},
                overrides={"recovery": _POLICIES[policy]},
            )  # fmt: skip
            await door.call("BatchStartRuns", pb.BatchStartRunsRequest(requests=[start] * number))
        running: Counter[Standing] = Counter(
            {(policy, Run.STATE_RUNNING, 1): number for policy, number in numbers.items()}
        )
        await until(door, running, 20)
        await world.kill()
        start_up = await world.start()
        recovered: Counter[Standing] = Counter({
            (policy, _AFTER[policy], 2 if policy == "RESUME" else 1): number
            for policy, number in numbers.items()
        })  # fmt: skip
        took = await until(door, recovered, 2.0)
        gate.touch()
        ended = Counter(
            {standing: number for standing, number in recovered.items() if standing[0] != "RESUME"}
        )
        ended["RESUME", Run.STATE_SUCCEEDED, 2] = numbers["RESUME"]
        await until(door, ended, 20)
        await door.close()
        assert start_up + took < 10
