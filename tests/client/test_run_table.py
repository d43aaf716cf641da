"""All runs that match are followed: a table that stays right over broken lines and new servers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from runcast.client import (
    Client,
    InvalidArgument,
    Run,
    RunTable,
    TableChange,
    TableStream,
    Unavailable,
    start_request,
    state_name,
)
from runcast.v1 import run_service_pb2, watch_pb2
from tests.client.answering import Answering, says
from tests.client.conftest import QUICK
from tests.client.product import serving
from tests.client.proxy import Proxy
from tests.client.scripted import status

Response = run_service_pb2.WatchRunsResponse
LOST = status(grpc.StatusCode.UNAVAILABLE)
ONE, TWO = Run(id="run_1"), Run(id="run_2")
RESYNC = Response(resume_token="t0", resync=Response.Resync())
BOTH = Response(resume_token="t1", changes=Response.Changes(runs=[ONE, TWO]))
CAUGHT_UP = Response(resume_token="t2", caught_up=watch_pb2.WatchFrame.CaughtUp())
GONE = Response(resume_token="t3", changes=Response.Changes(removed=["run_1"]))
WHOLE = [
    TableChange(resync=True),
    TableChange(runs=(ONE, TWO)),
    TableChange(caught_up=True),
    TableChange(removed=("run_1",)),
]


async def until(table: RunTable, changes: TableStream, right: Callable[[], bool]) -> None:
    """Apply changes until the table is as it should be."""
    async with asyncio.timeout(20):
        while not (table.complete and right()):
            table.apply(await anext(changes))


def states(table: RunTable) -> set[str]:
    return {state_name(run.state) for run in table.values()}


# -------------------------------------------------------------------------------------------------------------- table
def test_a_table_shows_the_old_runs_until_the_new_ones_are_complete() -> None:
    table = RunTable()
    assert table.complete
    for change in WHOLE[:2]:
        table.apply(change)
        assert (len(table), table.complete) == (0, False)
    table.apply(WHOLE[2])
    assert (set(table), table.complete) == ({"run_1", "run_2"}, True)
    table.apply(WHOLE[3])
    assert set(table) == {"run_2"}
    table.apply(TableChange(resync=True, reason="too far behind"))
    table.apply(TableChange(runs=(ONE,)))
    assert (set(table), table.complete) == ({"run_2"}, False)
    table.apply(TableChange(caught_up=True))
    assert (set(table), table["run_1"], table.complete) == ({"run_1"}, ONE, True)


# -------------------------------------------------------------------------------------------------------- real server
async def test_runs_are_seen_as_they_stand_and_as_they_change(direct: Client) -> None:
    done = await direct.wait((await direct.start("chatter", {"lines": 0}, labels={"see": "1"})).id)
    table = RunTable()
    async with direct.watch_runs(labels={"see": "1"}, full=True) as changes:
        await until(table, changes, lambda: set(table) == {done.id})
        assert table[done.id].output.json == "0"
        started = await direct.start("until_cancelled", labels={"see": "1"})
        await direct.start("chatter", {"lines": 0}, labels={"see": "2"})
        await until(table, changes, lambda: set(table) == {done.id, started.id})
        await direct.cancel(started.id, immediate=True)
        await until(table, changes, lambda: states(table) == {"SUCCEEDED", "CANCELLED"})
        await direct.delete(done.id)
        await until(table, changes, lambda: set(table) == {started.id})
        token = changes.resume_token
    late = await direct.start("chatter", {"lines": 0}, labels={"see": "1"})
    async with direct.watch_runs(labels={"see": "1"}, full=True, resume_token=token) as changes:
        await until(table, changes, lambda: late.id in table)
    assert set(table) == {started.id, late.id}


async def test_a_token_that_is_wrong_is_told_on_entering(direct: Client) -> None:
    with pytest.raises(InvalidArgument):
        async with direct.watch_runs(resume_token="nonsense"):
            pass


async def test_a_table_stays_right_over_a_line_that_is_cut_again_and_again(
    shaky: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend(900 + 500 * number for number in range(12))
    starts = [start_request("chatter", {"lines": 3}, labels={"cut": "1"}) for _ in range(150)]
    table = RunTable()
    async with shaky.watch_runs(labels={"cut": "1"}) as changes:
        starting = asyncio.create_task(direct.start_many(starts))
        await until(table, changes, lambda: len(table) == 150 and states(table) == {"SUCCEEDED"})
        assert changes.reconnects >= 3
        proxy.cut()
        last = await direct.start("chatter", {"lines": 0}, labels={"cut": "1"})
        await until(table, changes, lambda: last.id in table)
    await starting
    listed = {run.id: run async for run in direct.list(labels={"cut": "1"})}
    assert set(table) == set(listed)
    assert all(table[run_id] == run for run_id, run in listed.items() if run_id != last.id)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "drained"])
async def test_a_table_outlives_its_server(tmp_path: Path, nothing_leaks: None, killed: bool) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"
    table = RunTable()
    async with serving(store) as first, Proxy(first.port) as proxy:
        client = Client(f"127.0.0.1:{proxy.port}", backoff=QUICK, patience=30)
        async with client, client.watch_runs() as changes:
            run = await client.wait((await client.start("chatter", {"lines": 0})).id)
            await until(table, changes, lambda: states(table) == {"SUCCEEDED"})
            first.kill() if killed else await first.drain()
            async with serving(store) as second:
                proxy.target = second.port
                later = await client.start("chatter", {"lines": 0})
                await until(table, changes, lambda: set(table) == {run.id, later.id})


# -------------------------------------------------------------------------------------------------------------- faults
async def test_a_stream_that_breaks_is_taken_up_with_the_last_token(
    asking: Client, answering: Answering
) -> None:
    away = Response(
        resume_token="t2",
        going_away=watch_pb2.WatchFrame.GoingAway(reason=watch_pb2.WatchFrame.GoingAway.REASON_DRAINING),
    )
    answering.streams["WatchRuns"].extend(
        [says(RESYNC, LOST), says(BOTH), says(CAUGHT_UP, away), says(LOST), says(GONE, stays=True)]
    )
    async with asking.watch_runs(provider="greet") as changes:
        assert [await anext(changes) for _ in range(4)] == WHOLE
        assert changes.reconnects == 4
        assert changes.resume_token == "t3"
    asked = [run_service_pb2.WatchRunsRequest.FromString(each) for each in answering.requests["WatchRuns"]]
    assert [each.resume_token for each in asked] == ["", "t0", "t1", "t2", "t2"]
    assert {each.filter.provider for each in asked} == {"greet"}


async def test_a_server_that_does_not_know_the_token_is_asked_for_the_whole_table(
    asking: Client, answering: Answering
) -> None:
    unknown = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    answering.streams["WatchRuns"].extend(
        [says(RESYNC, BOTH, CAUGHT_UP, LOST), says(unknown), says(RESYNC, stays=True)]
    )
    async with asking.watch_runs() as changes:
        assert [await anext(changes) for _ in range(4)] == [*WHOLE[:3], TableChange(resync=True)]
    tokens = [
        run_service_pb2.WatchRunsRequest.FromString(each).resume_token
        for each in answering.requests["WatchRuns"]
    ]
    assert tokens == ["", "t2", ""]


async def test_the_token_is_that_of_the_change_that_was_handed_out(
    asking: Client, answering: Answering
) -> None:
    beat = Response(resume_token="t9", heartbeat=watch_pb2.WatchFrame.Heartbeat())
    answering.streams["WatchRuns"].append(says(RESYNC, BOTH, beat, CAUGHT_UP, stays=True))
    async with asking.watch_runs(resume_token="mine") as changes:
        assert changes.resume_token == "mine"
        tokens = [(await anext(changes), changes.resume_token)[1] for _ in range(3)]
    assert tokens == ["t0", "t1", "t2"]


async def test_a_loop_that_was_interrupted_goes_on(asking: Client, answering: Answering) -> None:
    answering.streams["WatchRuns"].extend([says(RESYNC, stays=True), says(BOTH, stays=True)])
    async with asking.watch_runs() as changes:
        await anext(changes)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 0.05)
        assert await anext(changes) == WHOLE[1]
    with pytest.raises(RuntimeError, match="inside"):
        await anext(changes)


async def test_patience_ends_with_the_last_error(answering: Answering) -> None:
    answering.streams["WatchRuns"].extend([says(RESYNC, LOST), *[says(LOST)] * 1000])
    impatient = Client(f"127.0.0.1:{answering.port}", backoff=QUICK, patience=0.05)
    async with impatient as client, client.watch_runs() as changes:
        await anext(changes)
        with pytest.raises(Unavailable):
            await anext(changes)
