"""What the executor on the loop owes beyond the others: it is thin, and says who blocks the loop."""

import asyncio
import logging
import time

import pytest

from runcast.provider.reporter import Channel
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.executor.watchdog import Watchdog
from runcast.server.model.call import Call, End, Returned
from tests.executor.code import run_async
from tests.executor.recorder import Recorder, eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_leaks")]


async def test_who_blocks_the_loop_is_told_once_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(patience=0.05)

    async def spin() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass

    await asyncio.create_task(spin(), name="run 17")
    watchdog.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "by run 17" in record.getMessage()
    assert "in spin" in record.getMessage()


async def test_a_loop_that_is_only_busy_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(patience=0.2)
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        await asyncio.sleep(0)
    watchdog.close()
    assert caplog.records == []


async def test_a_second_of_attempts_that_do_nothing_holds_thousands() -> None:
    executor, recorder = AsyncExecutor(run_async, 100), Recorder()
    call, number = Call("run-1", 1, "answer", "null"), 5_000
    begin = time.perf_counter()
    for _ in range(number // executor.slots):
        while executor.acquire():
            executor.start(call, recorder)
        await recorder.until(lambda: executor.taken == 0)
    took = time.perf_counter() - begin
    assert recorder.ends == [Returned("42")] * number
    assert number / took > 3_000  # a fifth of what an idle machine does
    await executor.close()


async def test_an_attempt_does_not_wait_for_the_turn_of_another() -> None:
    order: list[str] = []

    async def run(call: Call, _channel: Channel) -> End:
        order.append(call.run_id)
        await asyncio.sleep(0)
        order.append(call.run_id)
        return Returned("null")

    executor, recorder = AsyncExecutor(run), Recorder()
    for name in ("a", "b"):
        executor.acquire()
        executor.start(Call(name, 1, "any", "null"), recorder)
    await eventually(lambda: executor.taken == 0)
    assert order == ["a", "b", "a", "b"]
