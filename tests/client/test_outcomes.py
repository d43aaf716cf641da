"""Many runs are executed at once: each outcome as it ends, never too many under way."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest

from runcast.client import (
    Client,
    NotFound,
    Run,
    RunCancelled,
    RunFailed,
    StartRunRequest,
    Unavailable,
    is_final,
    start_request,
)
from runcast.v1 import payload_pb2, run_service_pb2
from tests.client.answering import Answering
from tests.client.conftest import QUICK
from tests.client.proxy import Proxy
from tests.client.scripted import status

LOST = status(grpc.StatusCode.UNAVAILABLE)


def done(*ids: str) -> run_service_pb2.BatchStartRunsResponse:
    """Starts whose runs are over."""
    answer = run_service_pb2.BatchStartRunsResponse()
    for each in ids:
        run = answer.results.add().started.run
        run.id, run.state = each, Run.STATE_SUCCEEDED
        run.output.CopyFrom(payload_pb2.Payload(json="1"))
    return answer


async def test_outcomes_come_in_the_order_of_their_ends(direct: Client) -> None:
    starts = [start_request("chatter", {"lines": 1, "pause": pause}) for pause in (0.9, 0.0, 0.45)]
    async with direct.execute_all(starts) as outcomes:
        ended = [outcome.request async for outcome in outcomes]
    assert ended == [starts[1], starts[2], starts[0]]


async def test_what_is_refused_and_what_fails_is_an_outcome_like_any_other(direct: Client) -> None:
    starts = [start_request(name) for name in ("nobody", "broken")]
    starts.append(start_request("chatter", {"lines": 2}))
    async with direct.execute_all(starts) as outcomes:
        by_provider = {outcome.request.provider: outcome async for outcome in outcomes}
    assert isinstance(by_provider["nobody"].error, NotFound)
    assert by_provider["nobody"].run is None
    with pytest.raises(NotFound):
        by_provider["nobody"].result()
    with pytest.raises(RunFailed, match="it does not work"):
        by_provider["broken"].result()
    assert by_provider["chatter"].result() == 2


async def test_endless_starts_are_taken_only_as_runs_end(direct: Client) -> None:
    taken = 0

    def endless() -> Iterator[StartRunRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield start_request("chatter", {"lines": 0})

    handed = 0
    async with direct.execute_all(endless(), at_once=10) as outcomes:
        async for outcome in outcomes:
            assert outcome.result() == 0
            handed += 1
            assert taken - handed < 10
            if handed == 55:
                break


async def test_all_are_handed_out_once_over_a_bad_line(shaky: Client, direct: Client, proxy: Proxy) -> None:
    proxy.limits.extend([0, 40, 900, 300, 2000, 700, 1500, 4000])
    starts = [start_request("chatter", {"lines": 2}, labels={"bad": "1"}) for _ in range(60)]
    async with shaky.execute_all(starts, at_once=20) as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert [outcome.result() for outcome in ended] == [2] * 60
    listed = {run.id async for run in direct.list(labels={"bad": "1"})}
    assert {outcome.run.id for outcome in ended if outcome.run} == listed
    assert len(listed) == 60


async def test_leaving_leaves_the_runs_alone_and_cancelling_ends_them(direct: Client) -> None:
    starts = [start_request("until_cancelled", labels={"end": "1"}) for _ in range(6)]
    async with direct.execute_all(starts, at_once=3) as outcomes:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(outcomes), 0.2)
    left = [run async for run in direct.list(labels={"end": "1"})]
    assert [is_final(run.state) for run in left] == [False] * 3
    async with direct.execute_all(starts, at_once=3) as outcomes:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(outcomes), 0.2)
        await outcomes.cancel("enough", immediate=True)
        ended = [outcome async for outcome in outcomes]
    assert {outcome.run.id for outcome in ended if outcome.run} == {run.id for run in left}
    for outcome in ended:
        with pytest.raises(RunCancelled):
            outcome.result()


async def test_a_cancel_while_runs_are_started_starts_no_more_and_ends_those(direct: Client) -> None:
    taken = 0
    asked: list[asyncio.Task[None]] = []

    def endless() -> Iterator[StartRunRequest]:
        nonlocal taken
        while True:
            taken += 1
            if not asked:  # it runs once the first call is on its way
                asked.append(
                    asyncio.get_running_loop().create_task(outcomes.cancel("enough", immediate=True))
                )
            yield start_request("until_cancelled")

    async with direct.execute_all(endless(), at_once=5) as outcomes, asyncio.timeout(10):
        ended = [outcome async for outcome in outcomes]
        await asked[0]
    assert taken == len(ended) == 5
    for outcome in ended:
        with pytest.raises(RunCancelled):
            outcome.result()


async def test_a_start_that_fails_as_a_whole_is_tried_again_as_the_same(answering: Answering) -> None:
    answering.unary["BatchStartRuns"].extend([LOST, done("run_1", "run_2")])
    bare = [StartRunRequest(provider="greet"), start_request("greet")]
    impatient = Client(f"127.0.0.1:{answering.port}", backoff=QUICK, patience=0)
    async with impatient as client, client.execute_all(bare) as outcomes:
        with pytest.raises(Unavailable):
            await anext(outcomes)
        ended = [outcome async for outcome in outcomes]
    assert [outcome.result() for outcome in ended] == [1, 1]
    first, again = answering.requests["BatchStartRuns"]
    assert first == again
    asked = run_service_pb2.BatchStartRunsRequest.FromString(first)
    assert all(each.request_id for each in asked.requests)
    assert not bare[0].request_id


async def test_a_run_that_cannot_be_waited_for_is_an_outcome_with_run_and_error(
    asking: Client, answering: Answering
) -> None:
    started = run_service_pb2.BatchStartRunsResponse()
    started.results.add().started.run.id = "run_1"
    answering.unary["BatchStartRuns"].append(started)
    answering.unary["WaitRun"].append(status(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"))
    async with asking.execute_all([start_request("greet")]) as outcomes:
        (outcome,) = [each async for each in outcomes]
    assert isinstance(outcome.error, NotFound)
    assert outcome.run is not None
    assert outcome.run.id == "run_1"


async def test_no_starts_are_no_outcomes(asking: Client) -> None:
    async with asking.execute_all([]) as outcomes:
        assert [each async for each in outcomes] == []
    with pytest.raises(RuntimeError, match="inside"):
        await anext(outcomes)
    with pytest.raises(ValueError, match="at_once"):
        asking.execute_all([], at_once=0)
