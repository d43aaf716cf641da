"""The small examples do what they say, and stop when they are told to."""

import asyncio
import json
import time

import pytest

from runcast.examples import countdown, greet, spin
from runcast.provider import Context, SyncContext
from runcast.provider.loading import load
from runcast.provider.runner import run_async
from runcast.server.model.call import Returned
from runcast.server.model.errors import InvalidArgument
from tests.provider.channels import AsyncChannel, call


def test_the_examples_are_loaded_by_their_name_and_described_for_people() -> None:
    registry = load(["examples"])
    assert {"countdown", "fingerprint", "greet", "spin"} <= set(registry.names)
    for described in registry.describe():
        assert described.title
        assert described.description
        assert described.category
        assert described.icon
        assert described.tags
        for field in json.loads(described.input_schema)["properties"].values():
            assert field["description"]


async def test_greet_says_hello() -> None:
    end = await run_async(greet, call(greet.validate('{"name": "Ada"}')), AsyncChannel())
    assert end == Returned('"Hello, Ada!"')


@pytest.mark.parametrize("text", ["", '{"name": ""}', '{"name": 3}'])
def test_greet_needs_a_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"input\.name"):
        greet.validate(text)


async def test_countdown_tells_every_second_and_takes_as_many() -> None:
    ctx = Context.testing()
    assert await countdown.call(ctx, seconds=3) == "lift-off"
    assert ctx.clock.monotonic() == 3
    assert [line.message for line in ctx.recorded.logs] == ["3 …", "2 …", "1 …"]
    assert [progress.completed for progress in ctx.recorded.progress] == [0, 1, 2, 3]


async def test_countdown_goes_on_where_it_was() -> None:
    ctx = Context.testing(restored=2)
    await countdown.call(ctx, seconds=3)
    assert ctx.clock.monotonic() == 1
    assert ctx.recorded.progress[0].completed == 2
    assert ctx.recorded.checkpoints == [3]


async def test_countdown_of_nothing_is_over_at_once() -> None:
    ctx = Context.testing()
    assert await countdown.call(ctx, seconds=0) == "lift-off"


@pytest.mark.parametrize("seconds", [-1, 86_401, 1.5, "long"])
def test_countdown_takes_whole_seconds_of_a_day(seconds: object) -> None:
    with pytest.raises(InvalidArgument, match=r"input\.seconds: must be"):
        countdown.validate(json.dumps({"seconds": seconds}))


async def test_countdown_is_cancelled_while_it_sleeps() -> None:
    channel = AsyncChannel()
    told = asyncio.Event()
    channel.on_report = lambda report: told.set()
    task = asyncio.create_task(run_async(countdown, call('{"seconds": 86400}'), channel))
    await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_spin_counts_for_as_long_as_it_is_told_to() -> None:
    begin = time.monotonic()
    assert spin.call(SyncContext.testing(), seconds=1) > 0
    assert time.monotonic() - begin >= 1
