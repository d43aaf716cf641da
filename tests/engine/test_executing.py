"""The engine with the executor of coroutines: what is asked of a run reaches its code, and its code the run."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runcast.provider.reporter import Channel
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.model.call import Call, End, Returned
from runcast.server.model.event import LogLine, SaveCheckpoint, Severity
from runcast.server.model.run import CancelOutcome, Execution, State
from tests.engine.clock import SECOND
from tests.engine.conftest import Serve
from tests.engine.scripted import within
from tests.engine.server import Server


class Code:
    """A coroutine that a test holds: it tells `begun`, and waits for `go`; a `deaf` one swallows its cancellation."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.go = asyncio.Event()
        self.deaf = False
        self.alive = 0
        self.most = 0

    async def run(self, call: Call, channel: Channel) -> End:
        """One attempt."""
        self.alive += 1
        self.most = max(self.most, self.alive)
        try:
            channel.report(LogLine(Severity.INFO, f"attempt {call.attempt}"))
            await channel.commit(SaveCheckpoint(str(call.attempt).encode()))
            self.begun.put_nowait(call.attempt)
            await self._wait()
            return Returned("null")
        finally:
            self.alive -= 1

    async def _wait(self) -> None:
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                if not self.deaf:
                    raise


@pytest.fixture
async def code() -> AsyncIterator[Code]:
    """What all providers do."""
    code = Code()
    yield code
    code.go.set()


@pytest.fixture
async def real(serve: Serve, code: Code) -> Server:
    """A server whose coroutines are real."""
    return await serve(executors={Execution.ASYNC: AsyncExecutor(code.run, 2)})


async def test_code_that_returns_has_succeeded(real: Server, code: Code) -> None:
    run = await real.start()
    await within(code.begun.get())
    code.go.set()
    assert (await real.final(run.id)).state is State.SUCCEEDED
    assert LogLine(Severity.INFO, "attempt 1") in await real.told(run.id)


async def test_code_that_awaits_is_cancelled(real: Server, code: Code) -> None:
    run = await real.start()
    await within(code.begun.get())
    await real.engine.control.cancel(run.id)
    ended = await real.final(run.id)
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.ACKNOWLEDGED
    assert code.alive == 0


async def test_code_that_will_not_stop_is_never_joined_by_a_new_attempt(real: Server, code: Code) -> None:
    code.deaf = True
    run = await real.start("retrying", overrides={"timeouts": {"attempt": SECOND, "cancel_grace": 0}})
    assert await code.begun.get() == 1
    await real.later(1)
    await real.sweep()
    await real.becomes(run.id, State.BACKING_OFF)
    await real.later(8)
    for _ in range(3):
        await real.sweep()
    assert (await real.get(run.id)).state is State.QUEUED
    assert (code.alive, code.most) == (1, 1)
    code.go.set()
    assert (await real.final(run.id)).attempt == 2
    assert code.most == 1


async def test_closing_ends_all_code(serve: Serve, code: Code) -> None:
    server = await serve(executors={Execution.ASYNC: AsyncExecutor(code.run, 2)})
    await server.start()
    await within(code.begun.get())
    await within(server.engine.close())
    assert code.alive == 0


async def test_a_released_run_goes_on_from_its_checkpoint_at_the_next_server(
    serve: Serve, code: Code
) -> None:
    first = await serve(executors={Execution.ASYNC: AsyncExecutor(code.run, 2)})
    run = await first.start("resuming")
    await within(code.begun.get())
    await within(first.engine.drain(25))
    await first.engine.close()
    second = await serve(executors={Execution.ASYNC: AsyncExecutor(code.run, 2)})
    async with asyncio.timeout(10):
        assert await code.begun.get() == 2
    code.go.set()
    ended = await second.final(run.id)
    assert (ended.attempt, ended.checkpoint_number) == (2, 2)
