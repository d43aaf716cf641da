"""Many runs at once: started together, and each handed out as it ends."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

from runcast.client.errors import RpcError
from runcast.client.followed import result_of
from runcast.client.starting import repeatable
from runcast.client.states import is_final
from runcast.client.steering import Steering
from runcast.v1 import run_pb2, run_service_pb2

Start = run_service_pb2.StartRunRequest
StartMany = Callable[[Iterable[Start]], Awaitable[tuple[run_pb2.Run | RpcError, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one start: its run, which has ended, or the error that refused it. Both where the run was started,
    and waiting for its end failed: it goes on."""

    request: Start
    run: run_pb2.Run | None = None
    error: RpcError | None = None

    def result(self) -> Any:
        """What the run returned, as a Python value; raises the error, or the RunError that says why there is none."""
        if self.error is not None:
            raise self.error
        assert self.run is not None
        return result_of(self.run)


class Outcomes(AsyncIterator[Outcome]):
    """Runs that are started together, as they end; made by `Client.execute_all`.

    Enter it with `async with`, and iterate over the outcomes, in the order in which the runs end. Leaving the context
    starts no more and leaves the runs alone that were started; `cancel` ends them. Where starting fails as a whole, the
    loop raises the error; iterating on tries the same starts again.
    """

    def __init__(
        self, starts: Iterable[Start], start_many: StartMany, steering: Steering, at_once: int
    ) -> None:
        if at_once < 1:
            raise ValueError(f"at_once is {at_once}: one run at least has to be under way")
        self._starts = iter(starts)
        self._start_many = start_many
        self._steering = steering
        self._at_once = at_once
        self._next: list[Start] = []
        self._ready: deque[Outcome] = deque()
        self._waiting: dict[asyncio.Task[Outcome], str] = {}
        self._ended: asyncio.Queue[asyncio.Task[Outcome]] = asyncio.Queue()
        self._end: Callable[[str], Awaitable[object]] | None = None
        self._exhausted = self._entered = self._left = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(
                "outcomes are entered once; execute again with the same starts to join their runs"
            )
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        waiting = list(self._waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if not self._entered or self._left:
            raise RuntimeError("iterate inside of `async with client.execute_all(…) as outcomes:`")
        # Half of them are started together, so that large batches stay large and what runs does not run dry.
        if not self._exhausted and self._under_way <= self._at_once // 2:
            await self._start()
        if not self._under_way:
            raise StopAsyncIteration
        if self._ready:
            return self._ready.popleft()
        return (await self._ended.get()).result()

    @property
    def _under_way(self) -> int:
        return len(self._waiting) + self._ended.qsize() + len(self._ready)

    async def _start(self) -> None:
        """Start as many as there is room for. What is to be started is kept until the server has answered for it."""
        room = self._at_once - self._under_way - len(self._next)
        self._next += [repeatable(request) for request in islice(self._starts, room)]
        if self._next:
            started = await self._start_many(self._next)
            for request, run in zip(self._next, started, strict=True):
                self._follow(request, run)
        self._exhausted = self._exhausted or not self._next
        self._next = []
        if self._end is not None:  # cancelled while these were started
            await self._end_all()

    def _follow(self, request: Start, run: run_pb2.Run | RpcError) -> None:
        if isinstance(run, RpcError):
            self._ready.append(Outcome(request=request, error=run))
        elif is_final(run.state):
            self._ready.append(Outcome(request=request, run=run))
        else:
            task = asyncio.create_task(self._wait(request, run))
            self._waiting[task] = run.id
            task.add_done_callback(self._note)

    async def _wait(self, request: Start, run: run_pb2.Run) -> Outcome:
        try:
            return Outcome(request=request, run=await self._steering.wait(run.id))
        except RpcError as error:
            return Outcome(request=request, run=run, error=error)

    def _note(self, task: asyncio.Task[Outcome]) -> None:
        del self._waiting[task]
        self._ended.put_nowait(task)

    async def cancel(self, reason: str = "", *, immediate: bool = False) -> None:
        """Start no more, and ask for the end of all runs that are under way; the loop goes on until they have ended."""
        self._exhausted = True
        self._end = lambda run: self._steering.cancel(run, reason, immediate=immediate)
        await self._end_all()

    async def _end_all(self) -> None:
        assert self._end is not None
        await asyncio.gather(*(self._end(each) for each in list(self._waiting.values())))
