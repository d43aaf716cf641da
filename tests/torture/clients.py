"""Clients of a server that keeps dying: they repeat what was not answered, come back to their cursor, and write it all down."""

import asyncio
import base64
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc

from runcast.v1 import run_pb2, run_service_pb2, watch_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.torture.history import History
from tests.torture.owners import CANCEL, OWNED, PAUSABLE, PAUSE, Owner

pb: Any = run_service_pb2
PATIENCE = 4.0
_AGAIN = 0.05
_SILENCE = 1.5  # where another server writes, nobody here is told of it: look again
_AWAY = (
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)  # fmt: skip
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 30),
    ("grpc.min_reconnect_backoff_ms", 30),
    ("grpc.max_reconnect_backoff_ms", 150),
    ("grpc.use_local_subchannel_pool", 1),
]
PROVIDERS = ("again", "climb", "climb_in_thread", "climb_in_process", "hold", "fail", "watched")
STANDING = (run_pb2.Run.STATE_PAUSED, run_pb2.Run.STATE_INTERRUPTED)


def is_final(state: int) -> bool:
    """Whether a run in this state has ended."""
    return state >= run_pb2.Run.STATE_SUCCEEDED


class Door:
    """RunService of whichever server answers, each call repeated until it is; several addresses are taken in turns."""

    def __init__(self, addresses: Sequence[str], random: random.Random) -> None:
        self._random = random
        self._channels = [grpc.aio.insecure_channel(address, options=_OPTIONS) for address in addresses]
        self._stubs: list[Any] = [RunServiceStub(channel) for channel in self._channels]

    @property
    def stub(self) -> Any:
        """One of the servers."""
        return self._random.choice(self._stubs)

    async def call(self, method: str, request: Any) -> Any:
        """The answer; any error but that of a server that is away is raised."""
        while True:
            try:
                call = getattr(self.stub, method)(request, timeout=PATIENCE, wait_for_ready=True)
                return await call
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AWAY:
                    raise
                await asyncio.sleep(_AGAIN * self._random.random())

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            await channel.close()


class Client:
    """Starts one run after the other, each followed to its end, until it is told that it is enough."""

    def __init__(
        self,
        name: str,
        door: Door,
        history: History,
        seed: str,
        *,
        providers: Sequence[str],
        pauses: Sequence[float],
    ) -> None:
        self.name = name
        self.door = door
        self.history = history
        self.random = random.Random(seed)
        self.providers = providers
        self.pauses = pauses
        self.enough = asyncio.Event()
        self.ended = 0
        self.task: asyncio.Task[None] | None = None

    async def work(self) -> None:
        """Run after run."""
        number = 0
        while not self.enough.is_set():
            number += 1
            await self.one(f"{self.name}-{number}")
            self.ended += 1

    async def one(self, request_id: str) -> None:
        """A run from its start to its end, with a second watcher and, by chance, an owner or somebody who interferes."""
        request = self.request(request_id)
        what = (
            "" if request.provider not in OWNED else self.random.choice(("stay", "stay", "leave", *[""] * 7))
        )
        if what == "leave":  # longer than anybody waits: only its owner's absence ends it
            request.input.json = '{"steps": 2000, "pause": 0.03}'
        run_id = await self.start(request)
        policies = (CANCEL, PAUSE) if request.provider in PAUSABLE else (CANCEL,)
        policy = self.random.choice(policies)
        owner = Owner(self.door, self.history, self.random, start=request, run_id=run_id, policy=policy)
        beside = [self.keep_going(run_id, request.provider), self.interfere(run_id)]
        if what:
            for unwanted in beside if what == "leave" else ():
                unwanted.close()
            beside = [owner.leave()] if what == "leave" else [*beside, owner.stay()]
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.watch(run_id, f"{request_id}-a", breaks=0.0))
            group.create_task(self.watch(run_id, f"{request_id}-b", breaks=0.2))
            tasks = [group.create_task(one) for one in beside]
            await watching
            for task in tasks:
                task.cancel()
        run = (await self.door.call("GetRun", pb.GetRunRequest(run_id=run_id))).run
        self.saw_end(run, "got")

    def request(self, request_id: str) -> Any:
        """A start of any of the providers."""
        steps, provider = self.random.randint(8, 40), self.random.choice(self.providers)
        parameters = f'{{"steps": {steps}, "pause": {self.random.choice(self.pauses)}}}'
        return pb.StartRunRequest(
            request_id=request_id, provider=provider, input={"json": parameters},
            labels={"request": request_id}, overrides={"timeouts": {"cancel_grace": {"seconds": 1}}},
        )  # fmt: skip

    async def start(self, request: Any) -> str:
        """Start a run, now and then twice at once under its one request id; answers its id."""
        request_id = request.request_id
        self.history.note("sent", request=request_id, provider=request.provider, input=request.input.json)
        answers = [self.door.call("StartRun", request) for _ in range(2 if self.random.random() < 0.2 else 1)]
        for started in await asyncio.gather(*answers):
            self.history.note("started", request=request_id, run=started.run.id, created=started.created)
        return str(started.run.id)

    async def interfere(self, run_id: str) -> None:
        """By chance cancel the run, or let it pause."""
        what = self.random.choice(("cancel", "cancel now", "pause", *[""] * 7))
        await asyncio.sleep(self.random.random() * 0.5)
        with suppress(grpc.aio.AioRpcError):
            if what.startswith("cancel"):
                self.history.note("cancel", run=run_id)
                mode = pb.CancelRunRequest.MODE_IMMEDIATE if what.endswith("now") else 0
                asked = pb.CancelRunRequest(run_id=run_id, mode=mode)
                run = (await self.door.call("CancelRun", asked)).run
                self.history.note("cancelled", run=run_id, state=run.state)
            elif what == "pause":
                run = (await self.door.call("PauseRun", pb.PauseRunRequest(run_id=run_id))).run
                self.history.note("paused", run=run_id, state=run.state)

    async def keep_going(self, run_id: str, provider: str) -> None:
        """Resume the run whenever it stands still, unless its watchers are to do that."""
        while True:
            await asyncio.sleep(0.15)
            run = (await self.door.call("GetRun", pb.GetRunRequest(run_id=run_id))).run
            if run.state in STANDING and (provider != "watched" or run.state == run_pb2.Run.STATE_PAUSED):
                with suppress(grpc.aio.AioRpcError):
                    run = (await self.door.call("ResumeRun", pb.ResumeRunRequest(run_id=run_id))).run
                    self.history.note("resumed", run=run_id, state=run.state)

    async def watch(self, run_id: str, name: str, breaks: float) -> None:
        """Follow the run to its end from one cursor, over all connections; `breaks` is how likely a frame is the last of one."""
        cursor = 0
        while True:
            request = pb.WatchRunRequest(run_id=run_id, after_sequence=cursor)
            self.history.note("watch", watch=name, run=run_id, after=cursor)
            call = self.door.stub.WatchRun(request, wait_for_ready=True)
            try:
                async with asyncio.timeout(PATIENCE) as patience:
                    async for response in call:
                        patience.reschedule(asyncio.get_running_loop().time() + _SILENCE)
                        frame = response.frame
                        cursor = frame.resume_sequence
                        self.saw(name, run_id, frame)
                        if frame.HasField("completed"):
                            return
                        if self.random.random() < breaks:
                            break
            except (TimeoutError, grpc.aio.AioRpcError) as error:
                if isinstance(error, grpc.aio.AioRpcError) and error.code() not in _AWAY:
                    facts = {"watch": name, "run": run_id, "after": cursor, "why": str(error.details())}
                    self.history.note("refused", **facts)
                    return
            finally:
                call.cancel()
            await asyncio.sleep(_AGAIN * self.random.random())

    def saw(self, name: str, run_id: str, frame: watch_pb2.WatchFrame) -> None:
        """Write down what a frame shows."""
        if frame.HasField("batch"):
            events = [
                (event.sequence, base64.b64encode(event.SerializeToString(deterministic=True)).decode())
                for event in frame.batch.events
            ]
            self.history.note("saw", watch=name, run=run_id, resume=frame.resume_sequence, events=events)
        elif frame.HasField("gap"):
            self.history.note("gap", watch=name, run=run_id)
        elif frame.HasField("completed"):
            self.history.note("completed", watch=name, run=run_id, resume=frame.resume_sequence)
            self.saw_end(frame.completed.run, name)

    def saw_end(self, run: run_pb2.Run, by: str) -> None:
        """Write down how a run ended, byte by byte."""
        whole = base64.b64encode(run.SerializeToString(deterministic=True)).decode()
        self.history.note("ended", run=run.id, by=by, state=run.state, output=run.output.json, whole=whole)
