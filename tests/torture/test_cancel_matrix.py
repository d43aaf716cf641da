"""Every kind of code, cancelled at every moment: it ends once, leaves no process, and gives its slot back when it has ended."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runcast.v1 import run_pb2
from tests.torture import truth
from tests.torture.clients import Door, pb
from tests.torture.oracle import judge_journals
from tests.torture.world import World

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

DEAF = str(Path(__file__).with_name("deaf.py"))
ACKNOWLEDGED, KILLED, ABANDONED, TOO_LATE = 2, 3, 4, 5
KINDS = {
    "obeys": ACKNOWLEDGED, "swallows": ABANDONED, "spins": ACKNOWLEDGED, "obeys_in_thread": ACKNOWLEDGED,
    "deaf_in_thread": ABANDONED, "plain": ACKNOWLEDGED, "deaf_to_signals": KILLED, "breeds": ACKNOWLEDGED,
}  # fmt: skip
"""What a cancellation in the middle leads to."""
SLOTS = {"obeys": 40, "obeys_in_thread": 32, "plain": 6}
ROUNDS = 3
GRACE = 0.4


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server with 40 slots for coroutines, 32 for threads and 6 for processes."""
    storage = f"sqlite:///{tmp_path / 'runs.db'}"
    flags = ["--coroutines", "40", "--max-concurrent", "6"]
    with World(storage, [DEAF], flags=flags) as world:
        await world.start()
        yield world


class Cancelling:
    """One run of one kind, cancelled at one moment."""

    def __init__(self, door: Door, folder: Path, kind: str, number: int) -> None:
        self.door = door
        self.kind = kind
        self.name = f"{kind}-{number}"
        self.gate = folder / self.name
        self.chance = random.Random(self.name)

    async def start(self, **fields: Any) -> str:
        """The run's id."""
        return str((await self.door.call("StartRun", self.request(**fields))).run.id)

    def request(self, **fields: Any) -> Any:
        """Its start."""
        return pb.StartRunRequest(
            provider=self.kind, input={"json": f'{{"path": "{self.gate}"}}'}, request_id=self.name,
            labels={"request": self.name}, **fields,
        )  # fmt: skip

    async def cancel(self, run_id: str, grace: float = GRACE) -> run_pb2.Run:
        """The run at its end."""
        asked = pb.CancelRunRequest(run_id=run_id, grace={"nanos": int(grace * 1e9)})
        await self.door.call("CancelRun", asked)
        return await self.ended(run_id, grace)

    async def ended(self, run_id: str, grace: float) -> run_pb2.Run:
        """The run at its end, which comes within this grace and a bit."""
        begin = asyncio.get_running_loop().time()
        waiting = pb.WaitRunRequest(run_id=run_id, timeout={"seconds": 3})
        run: run_pb2.Run = (await self.door.call("WaitRun", waiting)).run
        assert run.state >= run_pb2.Run.STATE_SUCCEEDED, f"{self.name} does not end: {run}"
        took = asyncio.get_running_loop().time() - begin
        assert took < grace + 2 + 1, f"{self.name} took {took:.1f} s"
        return run

    async def begun(self, run_id: str) -> None:
        """Return once its code runs."""
        async with asyncio.timeout(20):
            call = self.door.stub.WatchRun(pb.WatchRunRequest(run_id=run_id, event_types=["log"]))
            async for response in call:
                if response.frame.HasField("batch"):
                    break
            call.cancel()

    async def before(self) -> None:
        """Before its code begins."""
        run_id = await self.start(start_after={"seconds": 4_000_000_000})
        run = await self.cancel(run_id)
        assert run.state == run_pb2.Run.STATE_CANCELLED
        assert run.attempt == 0

    async def during(self) -> None:
        """While its code is in the middle of it."""
        run_id = await self.start()
        await self.begun(run_id)
        run = await self.cancel(run_id)
        assert run.state == run_pb2.Run.STATE_CANCELLED, f"{self.name}: {run}"
        assert run.cancellation.outcome == KINDS[self.kind], f"{self.name}: {run.cancellation}"
        self.gate.touch()

    async def at_the_end(self) -> None:
        """At the instant of its end: either may come first, and one does."""
        run_id = await self.start()
        await self.begun(run_id)
        self.gate.touch()
        await asyncio.sleep(self.chance.random() * 0.02)
        run = await self.cancel(run_id)
        if run.state == run_pb2.Run.STATE_SUCCEEDED:
            assert run.output.json == '"through"'
            assert not run.HasField("cancellation") or run.cancellation.outcome == TOO_LATE
        else:
            assert run.state == run_pb2.Run.STATE_CANCELLED, f"{self.name}: {run}"

    async def by_disconnect(self) -> None:
        """In the middle, by nothing but the end of its owner's stream."""
        request = self.request(overrides={"timeouts": {"cancel_grace": {"nanos": int(GRACE * 1e9)}}})
        ownership = pb.Ownership(policy=pb.Ownership.DISCONNECT_POLICY_CANCEL, grace={"nanos": 100_000_000})
        call = self.door.stub.ExecuteRun(
            pb.ExecuteRunRequest(start=request, ownership=ownership), wait_for_ready=True
        )
        async with asyncio.timeout(20):
            run_id = (await call.read()).frame.snapshot.run.id
            await self.begun(run_id)
        call.cancel()
        run = await self.ended(run_id, 0.1 + GRACE)
        assert run.state == run_pb2.Run.STATE_CANCELLED, f"{self.name}: {run}"
        assert run.cancellation.initiator == run_pb2.Cancellation.INITIATOR_DISCONNECT
        assert run.cancellation.outcome == KINDS[self.kind], f"{self.name}: {run.cancellation}"
        self.gate.touch()


MOMENTS: list[list[Callable[[Cancelling], Any]]] = [
    [Cancelling.before, Cancelling.during, Cancelling.by_disconnect], [Cancelling.at_the_end],
]  # fmt: skip
"""Those in one list come at once: they need no more slots than there are."""


async def test_cancelling_stops_every_kind_of_code_at_every_moment(world: World, tmp_path: Path) -> None:
    door = Door([world.address], random.Random(1))
    alone = len(world.left())
    number = 0
    for _ in range(ROUNDS):
        for moments in MOMENTS:
            number += len(moments)
            async with asyncio.TaskGroup() as group:
                for (place, moment), kind in product(enumerate(moments), KINDS):
                    group.create_task(moment(Cancelling(door, tmp_path, kind, number - place)))
    async with asyncio.timeout(2):
        while len(world.left()) > alone:
            await asyncio.sleep(0.01)
    await all_slots_are_free(door, tmp_path)
    verdict = judge_journals(await truth.ask(door))
    assert verdict, f"{verdict}"
    await door.close()
    assert await world.stop() == 0


async def all_slots_are_free(door: Door, folder: Path) -> None:
    """As many runs of a kind begin at once as there are slots, and the next one waits until one of them has ended."""
    for kind, slots in SLOTS.items():
        gate = folder / f"slots-{kind}"
        start = pb.StartRunRequest(provider=kind, input={"json": f'{{"path": "{gate}"}}'})
        asked = pb.BatchStartRunsRequest(requests=[start] * (slots + 1))
        results = (await door.call("BatchStartRuns", asked)).results
        ids = [result.started.run.id for result in results]
        async with asyncio.timeout(10):
            while await states(door, ids) != [run_pb2.Run.STATE_RUNNING] * slots + [run_pb2.Run.STATE_QUEUED]:
                await asyncio.sleep(0.02)
        gate.touch()
        async with asyncio.timeout(20):
            while await states(door, ids) != [run_pb2.Run.STATE_SUCCEEDED] * (slots + 1):
                await asyncio.sleep(0.02)


async def states(door: Door, ids: list[str]) -> list[int]:
    """The states of runs."""
    return [(await door.call("GetRun", pb.GetRunRequest(run_id=run_id))).run.state for run_id in ids]
