"""A deploy cancels nothing: an owner whose server went away, for longer than hold and grace, comes back to its run."""

import asyncio
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runcast.v1 import run_pb2
from tests.torture import truth
from tests.torture.clients import Door, pb
from tests.torture.oracle import by_disconnect, judge_journals
from tests.torture.owners import CANCEL, PAUSE
from tests.torture.storm import BACKENDS
from tests.torture.world import PROVIDERS, World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
HOLD, GRACE = 0.3, 1.0
Run = run_pb2.Run
STOPPED = {CANCEL: Run.STATE_CANCELLED, PAUSE: Run.STATE_PAUSED}
"""What each policy makes of the run once its owner has left."""


async def attached(door: Door, run_id: str, policy: int) -> Any:
    """The owner's open stream; the server knows of it."""
    ownership = pb.Ownership(attachment_id=f"owner of {run_id}", policy=policy)
    ownership.grace.FromMilliseconds(int(GRACE * 1_000))
    opening = pb.AttachRunRequest(open=pb.AttachRunRequest.Open(run_id=run_id, ownership=ownership))
    call = door.stub.AttachRun(wait_for_ready=True)
    async with asyncio.timeout(GRACE + 20):
        await call.write(opening)  # and no end of the messages, which would be a disconnect
        assert (await call.read()).opened.run.id == run_id
    return call


async def runs_of(door: Door, ids: dict[int, str]) -> dict[int, run_pb2.Run]:
    """The runs as they stand, by policy."""
    return {
        policy: (await door.call("GetRun", pb.GetRunRequest(run_id=run_id))).run
        for policy, run_id in ids.items()
    }


async def deploy(folder: Path, storage: str, *, gently: bool) -> None:
    """Two owners see their server end and the next one begin, and stay; then they leave."""
    folder.mkdir()
    with World(storage.format(folder=folder), [PROVIDERS], flags=["--hold", f"{HOLD}"]) as world:
        await world.start()
        door = Door([world.address], random.Random(1))
        start = pb.StartRunRequest(provider="climb", input={"json": '{"steps": 4000, "pause": 0.02}'})
        ids = {policy: str((await door.call("StartRun", start)).run.id) for policy in STOPPED}
        calls = [await attached(door, run_id, policy) for policy, run_id in ids.items()]
        await (world.stop() if gently else world.kill())
        await asyncio.sleep(HOLD + GRACE + 0.2)  # it is the time itself that must do nothing
        for call in calls:
            call.cancel()
        await world.start()
        calls = await asyncio.gather(*[attached(door, run_id, policy) for policy, run_id in ids.items()])
        await asyncio.sleep(HOLD + GRACE + 0.2)
        for run in (await runs_of(door, ids)).values():
            assert run.state == Run.STATE_RUNNING, f"{storage}, gently: {gently}: {run}"
        for stored in (await truth.ask(door)).values():
            assert not any(by_disconnect(event) for event in stored.events)
        for call in calls:
            call.cancel()
        async with asyncio.timeout(GRACE + HOLD + 5):
            while {policy: run.state for policy, run in (await runs_of(door, ids)).items()} != STOPPED:
                await asyncio.sleep(0.05)
        verdict = judge_journals(await truth.ask(door))
        assert verdict, f"{verdict}"
        await door.close()
        assert await world.stop() == 0


async def test_a_deploy_cancels_nothing_and_an_owner_that_leaves_is_missed(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        for number, (storage, gently) in enumerate(product(BACKENDS, (True, False))):
            group.create_task(deploy(tmp_path / f"{number}", storage, gently=gently))
