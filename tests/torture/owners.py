"""Owners of a storm's runs: some stay and come back whatever breaks their stream, some leave for good."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any, Protocol

import grpc

from runcast.v1 import run_pb2, run_service_pb2
from tests.torture.history import History

pb: Any = run_service_pb2
CANCEL, PAUSE = 2, 3
LONG_GRACE, SHORT_GRACE = 20.0, 0.2
PAUSABLE = ("climb", "climb_in_thread", "climb_in_process")
OWNED = ("again", "watched", *PAUSABLE)
"""Providers whose runs end by nothing but their owner, their code or a person."""
_AGAIN = 0.1
_SILENCE = 1.5


class Door(Protocol):
    """The way to the server, whichever it is."""

    @property
    def stub(self) -> Any:
        """One of the servers."""

    async def call(self, method: str, request: Any) -> Any:
        """The answer."""


class Owner:
    """One owner of one run, under an id of its own."""

    def __init__(
        self, door: Door, history: History, chance: random.Random, *, start: Any, run_id: str, policy: int
    ) -> None:
        self.door = door
        self.history = history
        self.random = chance
        self.policy = policy
        self._start = start
        self._run_id = run_id
        self._id = f"owner of {run_id}"

    def _stream(self, grace: float) -> tuple[Any, Any]:
        """A call, and what is to be written to it: one whose messages end has hung up."""
        ownership = pb.Ownership(attachment_id=self._id, policy=self.policy)
        ownership.grace.FromMilliseconds(int(grace * 1_000))
        if self.random.random() < 0.5:
            request = pb.ExecuteRunRequest(start=self._start, ownership=ownership)
            return self.door.stub.ExecuteRun(request, wait_for_ready=True), None
        opening = pb.AttachRunRequest.Open(run_id=self._run_id, ownership=ownership)
        return self.door.stub.AttachRun(wait_for_ready=True), pb.AttachRunRequest(open=opening)

    async def stay(self) -> None:
        """Hold a stream until the run has ended; where it breaks, or by chance, come back within the grace."""
        while True:
            call, opening = self._stream(LONG_GRACE)
            begin = time.time()
            try:
                async with asyncio.timeout(_SILENCE) as patience:
                    if opening is not None:
                        await call.write(opening)
                    async for response in call:
                        if begin:
                            self.history.note("owned", run=self._run_id, policy=self.policy)
                            begin = 0.0
                        patience.reschedule(asyncio.get_running_loop().time() + _SILENCE)
                        if response.frame.HasField("completed"):
                            return
                        if self.random.random() < 0.1:
                            break
            except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass
            finally:
                call.cancel()
            await asyncio.sleep(_AGAIN * self.random.random())

    async def leave(self) -> None:
        """Hold a stream once, for a moment, and never come back; a run that then stands still is cancelled."""
        while True:
            (call, opening), begin = self._stream(SHORT_GRACE), time.time()
            try:
                async with asyncio.timeout(_SILENCE):
                    if opening is not None:
                        await call.write(opening)
                    response = await call.read()
                if response is not grpc.aio.EOF:
                    prompt = time.time() - begin < 0.4
                    await asyncio.sleep(0.2 * self.random.random())
                    self.history.note(
                        "left", run=self._run_id, policy=self.policy, wall=time.time(), prompt=prompt
                    )
                    break
            except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass
            finally:
                call.cancel()
            await asyncio.sleep(_AGAIN * self.random.random())
        while self.policy == PAUSE:
            run = (await self.door.call("GetRun", pb.GetRunRequest(run_id=self._run_id))).run
            if run.state == run_pb2.Run.STATE_PAUSED:
                with suppress(grpc.aio.AioRpcError):
                    await self.door.call("CancelRun", pb.CancelRunRequest(run_id=self._run_id))
                    return
            await asyncio.sleep(_AGAIN)
