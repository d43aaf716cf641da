"""A thousand runs in flight, a kill, and the next server: each is owned again, or ends, as its recovery policy says."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runcast.v1 import run_pb2
from tests.torture.clients import Door, pb
from tests.torture.storm import BACKENDS
from tests.torture.test_cancel_matrix import DEAF
from tests.torture.world import World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
RUNS = 1_000
Run = run_pb2.Run
Standing = tuple[str, int, int]
_POLICIES = {"RESUME": 1, "HOLD": 2, "RESUME_ON_WATCH": 3, "FAIL": 4}
_AFTER = {
    "RESUME": Run.STATE_RUNNING, "HOLD": Run.STATE_INTERRUPTED, "RESUME_ON_WATCH": Run.STATE_INTERRUPTED,
    "FAIL": Run.STATE_FAILED,
}  # fmt: skip


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


@pytest.mark.parametrize("storage", BACKENDS)
async def test_a_thousand_runs_in_flight_are_owned_again_within_two_seconds(
    tmp_path: Path, storage: str
) -> None:
    gate, each = tmp_path / "gate", RUNS // 4
    flags = ["--coroutines", f"{RUNS}"]
    with World(storage.format(folder=tmp_path), [DEAF], flags=flags) as world:
        await world.start()
        door = Door([world.address], random.Random(1))
        for policy, number in _POLICIES.items():
            start = pb.StartRunRequest(
                provider="obeys", input={"json": f'{{"path": "{gate}"}}'}, labels={"policy": policy},
                overrides={"recovery": number},
            )  # fmt: skip
            await door.call("BatchStartRuns", pb.BatchStartRunsRequest(requests=[start] * each))
        await until(door, standing(each, dict.fromkeys(_POLICIES, Run.STATE_RUNNING)), 20)
        await world.kill()
        start_up = await world.start()
        recovered = standing(each, _AFTER, again=["RESUME"])
        took = await until(door, recovered, 2.0)
        await look_at(door, "RESUME_ON_WATCH")
        watched = _AFTER | {"RESUME_ON_WATCH": Run.STATE_RUNNING}
        await until(door, standing(each, watched, again=["RESUME", "RESUME_ON_WATCH"]), 2.0)
        gate.touch()
        done = dict.fromkeys(("RESUME", "RESUME_ON_WATCH"), Run.STATE_SUCCEEDED)
        await until(door, standing(each, _AFTER | done, again=[*done]), 20)
        await door.close()
        assert start_up + took < 10
        await world.stop()


def standing(each: int, states: Mapping[str, int], again: Sequence[str] = ()) -> Counter[Standing]:
    """So many runs of each policy in its state, those of some policies in their second attempt."""
    return Counter({(policy, state, 2 if policy in again else 1): each for policy, state in states.items()})


async def look_at(door: Door, policy: str) -> None:
    """Wait for the end of each of this policy's runs, but not for long; one that is only observed stays as it is."""
    page = await door.call("ListRuns", pb.ListRunsRequest(page_size=1_000))
    ids = [run.id for run in page.runs if run.labels["policy"] == policy]
    observed = pb.WaitRunRequest(run_id=ids[0], timeout={}, observe_only=True)
    assert (await door.call("WaitRun", observed)).run.state == Run.STATE_INTERRUPTED
    asked = [pb.WaitRunRequest(run_id=run_id, timeout={}) for run_id in ids]
    await asyncio.gather(*[door.call("WaitRun", one) for one in asked])
