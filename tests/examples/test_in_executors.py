"""The examples do in a server's executors what they do on their own, and really stop there."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runcast.examples import fingerprint
from runcast.provider import SyncContext
from runcast.provider.loading import load
from runcast.provider.runner import run_async
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.executor.process import ProcessExecutor
from runcast.server.model.call import Call, End, Returned, Stopped
from runcast.server.model.event import Report
from runcast.server.model.run import Progress, StopCause
from tests.provider.channels import AsyncChannel, call

STDLIB_JSON = Path(json.__file__).parent


class Sink(AsyncChannel):
    """A channel that is told the end, and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.progressed = asyncio.Event()
        self.on_report = self._look

    def ended(self, end: End) -> None:
        self.end.set_result(end)

    def _look(self, report: Report) -> None:
        if isinstance(report, Progress) and report.fraction:
            self.progressed.set()


def example(name: str, **given: Any) -> Call:
    text = load(["examples"]).validate(name, json.dumps(given))
    made = call(text)
    return Call(made.run_id, made.attempt, name, text)


@pytest.fixture
async def processes() -> AsyncIterator[ProcessExecutor]:
    executor = ProcessExecutor(["examples"], 2)
    await executor.open()
    yield executor
    await executor.close()


def start(executor: ProcessExecutor | AsyncExecutor, call: Call, sink: Sink) -> Any:
    assert executor.acquire()
    return executor.start(call, sink)


async def test_a_folder_is_fingerprinted_in_a_process_as_it_is_here(processes: ProcessExecutor) -> None:
    sink = Sink()
    start(processes, example("fingerprint", path=str(STDLIB_JSON)), sink)
    end = await sink.end
    here = fingerprint.call(SyncContext.testing(), path=str(STDLIB_JSON))
    assert end == Returned(fingerprint.result.text(here))
    assert sink.of(Progress)[-1].fraction == 1


async def test_a_spinning_function_really_stops(processes: ProcessExecutor) -> None:
    sink = Sink()
    running = start(processes, example("spin", seconds=3600), sink)
    await sink.progressed.wait()
    running.stop(StopCause.CANCEL, 0.5)
    assert await sink.end == Stopped()


async def test_a_countdown_on_the_loop_is_cancelled_where_it_sleeps() -> None:
    registry = load(["examples"])
    executor = AsyncExecutor(lambda call, channel: run_async(registry.get(call.provider), call, channel))
    sink = Sink()
    running = start(executor, example("countdown", seconds=3600), sink)
    while not sink.reports:
        await asyncio.sleep(0)
    running.stop(StopCause.CANCEL, 10)
    assert await sink.end == Stopped()
    await executor.close()
