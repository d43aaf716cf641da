"""The client and the server that is delivered with it, over a network that breaks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runcast.client import (
    Client,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Run,
    RunCancelled,
    RunEvent,
    RunFailed,
    RunNotFinal,
    is_final,
    kind,
    start_request,
    state_name,
)
from tests.client.conftest import QUICK
from tests.client.product import Product, serving
from tests.client.proxy import Proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    """A client with a bad line to the server."""
    async with Client(f"127.0.0.1:{proxy.port}", backoff=QUICK, patience=20) as opened:
        yield opened


async def journal(client: Client, run_id: str) -> list[RunEvent]:
    """All events of a run, in one piece."""
    async with client.watch(run_id) as run:
        return [event async for event in run]


async def test_a_run_is_executed_and_gives_its_result(direct: Client) -> None:
    async with direct.execute("chatter", {"lines": 3}, labels={"team": "a"}) as run:
        assert run.created
        events = [event async for event in run]
        assert run.result() == 3
        assert state_name(run.state) == "SUCCEEDED"
        assert run.snapshot.labels == {"team": "a"}
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.log.message for event in events if kind(event) == "log"] == ["line 0", "line 1", "line 2"]


async def test_live_events_come_exactly_once_over_a_line_that_is_cut_again_and_again(
    client: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend(1200 + 700 * number for number in range(12))
    async with client.execute("chatter", {"lines": 400}) as run:
        events = [event async for event in run]
        assert run.result() == 400
        assert run.reconnects >= 3
    assert events == await journal(direct, run.id)
    assert run.gaps == ()


async def test_a_replay_comes_exactly_once_over_a_line_that_is_cut_again_and_again(
    client: Client, direct: Client, proxy: Proxy
) -> None:
    done = await direct.wait((await direct.start("chatter", {"lines": 2000, "pause": 0})).id)
    proxy.limits.extend(int(600 * 1.4**number) for number in range(16))
    async with client.watch(done.id) as run:
        events = [event async for event in run]
    assert proxy.cuts >= 5
    assert events == await journal(direct, done.id)
    assert len([event for event in events if kind(event) == "log"]) == 2000


async def test_events_behind_a_filter_come_exactly_once_over_a_bad_line(
    client: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend(1200 + 700 * number for number in range(8))
    started = await direct.start("chatter", {"lines": 200})
    async with client.watch(started.id, event_types=["log"]) as run:
        lines = [event.log.message async for event in run]
    assert lines == [f"line {number}" for number in range(200)]


async def test_calls_survive_a_line_that_breaks_before_their_answer(
    client: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend([0, 1, 30, 60, 90])
    run = await client.start("chatter", {"lines": 1}, labels={"one": "only"})
    assert proxy.cuts >= 3
    assert [each.id async for each in direct.list(labels={"one": "only"})] == [run.id]
    proxy.cut()
    assert (await client.wait(run.id)).id == run.id


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "drained"])
async def test_a_run_is_followed_over_the_end_of_its_server_to_the_next_one(
    tmp_path: Path, nothing_leaks: None, killed: bool
) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"
    async with serving(store) as first, Proxy(first.port) as proxy:
        client = Client(f"127.0.0.1:{proxy.port}", backoff=QUICK, patience=30)
        async with client, client.execute("chatter", {"lines": 100, "pause": 0.01}) as run:
            events = [await anext(run) for _ in range(20)]
            first.kill() if killed else await first.drain()
            async with serving(store) as second:
                proxy.target = second.port
                events += [event async for event in run]
                assert run.result() == 100
                assert run.snapshot.attempt == 2
                assert events == await journal(client, run.id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_run_is_cancelled_from_inside_its_stream(direct: Client) -> None:
    async with direct.execute("until_cancelled") as run:
        async for event in run:
            if event.log.message == "ready":
                await run.cancel("enough")
        with pytest.raises(RunCancelled, match="run_"):
            run.result()
        assert run.snapshot.cancellation.reason == "enough"


async def test_leaving_a_stream_leaves_the_run_alone(direct: Client) -> None:
    async with direct.execute("until_cancelled") as run:
        await anext(run)
    standing = await direct.get(run.id)
    assert not is_final(standing.state)
    await direct.cancel(run.id, immediate=True)
    assert state_name((await direct.wait(run.id)).state) == "CANCELLED"


async def test_a_result_is_awaited_in_one_call_and_a_failure_is_raised(direct: Client) -> None:
    assert await direct.run("chatter", {"lines": 2}) == 2
    with pytest.raises(RunFailed, match="it does not work") as caught:
        await direct.run("broken")
    assert caught.value.reason == "PROVIDER_EXCEPTION"
    (attempt,) = await direct.attempts(caught.value.run.id)
    assert "ValueError" in attempt.traceback


async def test_a_caller_who_cannot_wait_gets_the_run_to_come_back_to(direct: Client) -> None:
    with pytest.raises(RunNotFinal) as caught:
        await direct.run("until_cancelled", timeout=0.05)
    await direct.cancel(caught.value.run.id)
    assert is_final((await direct.wait(caught.value.run.id, timeout=10)).state)


async def test_what_the_server_refuses_is_raised_as_what_it_is(direct: Client) -> None:
    with pytest.raises(NotFound) as missing:
        await direct.start("nobody")
    assert missing.value.reason == "PROVIDER_NOT_FOUND"
    with pytest.raises(InvalidArgument) as wrong:
        await direct.start("chatter", {"lines": -1})
    assert [violation.subject for violation in wrong.value.violations] == ["input.lines"]
    with pytest.raises(NotFound):
        async with direct.watch("run_0"):
            pass
    run = await direct.start("chatter", {"lines": 0})
    with pytest.raises(OutOfRange):
        async with direct.watch(run.id, after_sequence=1000):
            pass
    with pytest.raises(NotFound):
        await direct.start(task="nightly")


async def test_runs_are_started_together_and_listed_page_by_page(direct: Client) -> None:
    starts = [start_request("chatter", {"lines": 0}, labels={"batch": "1"}) for _ in range(250)]
    started = [run.id for run in await direct.start_many(starts) if isinstance(run, Run)]
    again = [run.id for run in await direct.start_many(starts) if isinstance(run, Run)]
    listed = [run.id async for run in direct.list(labels={"batch": "1"}, oldest_first=True)]
    assert started == again
    assert sorted(listed) == sorted(started)
    assert len([run async for run in direct.list(limit=7)]) == 7


async def test_the_server_tells_what_it_is_and_what_it_can_run(direct: Client, product: Product) -> None:
    assert await direct.health() == await direct.health("runcast.v1.RunService") == "SERVING"
    with pytest.raises(NotFound):
        await direct.health("nobody")
    assert (await direct.server_info()).storage == "memory"
    assert [one.name for one in await direct.providers()] == [
        "broken",
        "chatter",
        "counter",
        "packer",
        "until_cancelled",
    ]
    assert (await direct.provider("chatter")).idempotent
    assert [one.name for one in await direct.providers(text="somebody ends")] == ["until_cancelled"]


async def test_many_watchers_see_the_same(direct: Client) -> None:
    run = await direct.start("chatter", {"lines": 100})
    journals = await asyncio.gather(*(journal(direct, run.id) for _ in range(10)))
    assert all(each == journals[0] for each in journals)
