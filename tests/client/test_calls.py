"""Calls that answer once: repeated where that is safe, filled in where a request wants it."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from runcast.client import (
    Client,
    ClientClosed,
    DeadlineExceeded,
    FeatureOff,
    NotFound,
    RpcError,
    RunFailed,
    RunNotFinal,
    Unavailable,
    run_spec,
    start_request,
)
from runcast.v1 import run_pb2, run_service_pb2
from tests.client.conftest import QUICK
from tests.client.scripted import RUN, Refuses, ScriptedServer, status

DRAINING = status(grpc.StatusCode.UNAVAILABLE, "DRAINING")
RUNNING = run_pb2.Run(id=RUN, state=run_pb2.Run.STATE_RUNNING)


async def test_a_start_whose_answer_was_lost_is_repeated_and_starts_one_run(
    client: Client, server: ScriptedServer
) -> None:
    server.unary_faults.extend([Refuses(DRAINING), Refuses(DRAINING, stores=True)])
    run = await client.start("greet", {"name": "Ada"})
    assert run.id == RUN
    assert len(server.requests) == 3
    assert all(request == server.requests[0] for request in server.requests)
    assert len(server.started) == 1


async def test_two_starts_are_two_requests(client: Client, server: ScriptedServer) -> None:
    await client.start("greet")
    await client.start("greet")
    assert len(server.started) == 2


async def test_a_start_says_all_that_it_was_told(client: Client, server: ScriptedServer) -> None:
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    await client.start(
        task="nightly",
        request_id="request",
        run_id="mine",
        use_existing=True,
        labels={"team": "a"},
        start_after=noon,
        overrides=run_spec(queue="slow", priority=0, run_timeout=1.5, max_attempts=3),
        overrides_mask=["priority", "timeouts.run"],
        parent_run="parent",
        survives_parent=True,
    )
    (sent,) = server.requests
    start = run_service_pb2.StartRunRequest
    expected = start(
        task="nightly",
        request_id="request",
        run_id="mine",
        conflict_policy=start.CONFLICT_POLICY_USE_EXISTING,
        labels={"team": "a"},
        parent_run="parent",
        parent_close_policy=start.PARENT_CLOSE_POLICY_SURVIVE,
    )
    expected.start_after.FromDatetime(noon)
    expected.overrides.queue = "slow"
    expected.overrides.priority = 0
    expected.overrides.retry.max_attempts = 3
    expected.overrides.timeouts.run.FromTimedelta(timedelta(seconds=1.5))
    expected.overrides_mask.paths.extend(["priority", "timeouts.run"])
    assert sent == expected


@pytest.mark.parametrize(("provider", "task"), [(None, None), ("greet", "nightly")])
def test_a_start_names_either_a_provider_or_a_task(provider: str | None, task: str | None) -> None:
    with pytest.raises(ValueError, match="either"):
        start_request(provider, task=task)


def test_a_start_may_wait_for_a_distance_of_time_but_not_for_a_time_without_a_zone() -> None:
    soon = start_request("greet", start_after=timedelta(hours=1)).start_after.ToDatetime(UTC)
    assert timedelta(minutes=59) < soon - datetime.now(UTC) <= timedelta(hours=1)
    with pytest.raises(ValueError, match="zone"):
        start_request("greet", start_after=datetime(2030, 1, 1))  # noqa: DTZ001 - what is refused


async def test_many_starts_answer_one_by_one_in_order(client: Client, server: ScriptedServer) -> None:
    names = ["refused" if number == 700 else "greet" for number in range(1500)]
    starts = [start_request(name, {"n": n}, run_id=f"run_{n}") for n, name in enumerate(names)]
    answers = await client.start_many(starts)
    assert len(answers) == 1500
    assert isinstance(answers[700], NotFound)
    runs = [answer.id for answer in answers if isinstance(answer, run_pb2.Run)]
    assert runs == [f"run_{n}" for n in range(1500) if n != 700]
    assert [len(each.requests) for each in server.requests] == [1000, 500]  # type: ignore[attr-defined]


async def test_many_large_starts_are_sent_in_calls_that_a_server_takes(
    client: Client, server: ScriptedServer
) -> None:
    starts = [start_request("greet", {"text": "x" * 250_000}, run_id=str(n)) for n in range(30)]
    answers = await client.start_many(starts)
    assert [getattr(answer, "id", "") for answer in answers] == [str(n) for n in range(30)]
    assert all(request.ByteSize() < 4 * 1024 * 1024 for request in server.requests)


async def test_a_run_for_its_result_is_one_call_where_it_is_short(
    client: Client, server: ScriptedServer
) -> None:
    assert await client.run("greet") == {"big": 12345678901234567890}
    (request,) = server.requests
    assert isinstance(request, run_service_pb2.StartRunRequest)
    assert request.wait == Duration(seconds=30)


async def test_a_run_for_its_result_is_waited_for_where_it_is_long(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    server.outcome = run_pb2.Run(state=run_pb2.Run.STATE_FAILED)
    server.outcome.error.message = "boom"
    server.waits.extend([RUNNING, run_pb2.Run(id=RUN, state=run_pb2.Run.STATE_FAILED, summary="boom")])
    with pytest.raises(RunFailed, match="boom"):
        await client.run("greet")
    assert len(server.requests) == 3


async def test_a_run_that_takes_longer_than_its_caller_waits_goes_on(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    with pytest.raises(RunNotFinal) as caught:
        await client.run("greet", timeout=0)
    assert caught.value.run.id == RUN
    assert caught.value.state == "RUNNING"


async def test_a_wait_asks_again_until_the_run_is_final_whatever_happens_between(
    client: Client, server: ScriptedServer
) -> None:
    server.waits.extend([RUNNING, RUNNING])
    server.unary_faults.extend([None, Refuses(DRAINING), None])
    run = await client.wait(RUN)
    assert run.state == run_pb2.Run.STATE_SUCCEEDED


async def test_a_wait_ends_with_its_timeout_and_answers_the_run_as_it_stands(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    run = await client.wait(RUN, timeout=0)
    assert run.state == run_pb2.Run.STATE_RUNNING
    assert len(server.requests) == 1
    request = server.requests[0]
    assert isinstance(request, run_service_pb2.WaitRunRequest)
    assert request.HasField("timeout")
    assert request.timeout == Duration()


async def test_a_wait_without_a_server_ends_with_its_timeout_too(
    client: Client, server: ScriptedServer
) -> None:
    server.unary_faults.extend([Refuses(DRAINING)] * 1000)
    with pytest.raises(Unavailable):
        await client.wait(RUN, timeout=0.02)


async def test_the_server_says_when_a_call_may_be_repeated(server: ScriptedServer) -> None:
    waits: list[tuple[str, float]] = []
    soon = RetryInfo(retry_delay=Duration(nanos=20_000_000))
    server.unary_faults.append(Refuses(status(grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE", soon)))

    def note(error: RpcError, wait: float) -> None:
        waits.append((error.reason, wait))

    async with Client(f"127.0.0.1:{server.port}", backoff=QUICK, on_retry=note) as client:
        await client.get(RUN)
    assert waits == [("STORAGE_UNAVAILABLE", 0.02)]


async def test_a_server_that_wants_more_time_than_the_call_has_is_not_waited_for(
    server: ScriptedServer,
) -> None:
    late = RetryInfo(retry_delay=Duration(seconds=60))
    server.unary_faults.append(Refuses(status(grpc.StatusCode.UNAVAILABLE, "DRAINING", late)))
    async with Client(f"127.0.0.1:{server.port}", timeout=5) as client:
        with pytest.raises(Unavailable) as caught:
            await client.get(RUN)
    assert caught.value.retry_after == 60
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name not in ("OK", "UNAVAILABLE")])
async def test_no_other_failure_is_repeated(
    client: Client, server: ScriptedServer, code: grpc.StatusCode
) -> None:
    server.unary_faults.append(Refuses(status(code)))
    with pytest.raises(RpcError) as caught:
        await client.get(RUN)
    assert caught.value.code == code.name
    assert len(server.requests) == 1


async def test_nobody_listens() -> None:
    async with Client("127.0.0.1:1", backoff=QUICK, patience=0.05) as client:
        with pytest.raises(Unavailable) as caught:
            await client.get(RUN)
        assert caught.value.reason == ""
        with pytest.raises(Unavailable):
            async with client.watch(RUN):
                pass
        with pytest.raises(Unavailable):
            await client.health()


async def test_a_call_ends_with_its_timeout(server: ScriptedServer) -> None:
    server.final = False
    async with Client(f"127.0.0.1:{server.port}", timeout=0.05) as client:
        server.stuck = True
        with pytest.raises(DeadlineExceeded):
            await client.get(RUN)


async def test_a_call_that_is_cancelled_is_over(client: Client, server: ScriptedServer) -> None:
    server.stuck = True
    call = asyncio.create_task(client.get(RUN))
    await asyncio.wait_for(server.idle.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_closing_the_client_ends_its_calls_with_an_error_that_says_so(
    client: Client, server: ScriptedServer
) -> None:
    server.stuck = True
    call = asyncio.create_task(client.get(RUN))
    await asyncio.wait_for(server.idle.wait(), 5)
    await client.close()
    with pytest.raises(ClientClosed):
        await call


async def test_a_cancel_says_why_how_urgent_and_how_long(client: Client, server: ScriptedServer) -> None:
    await client.cancel(RUN, "enough", grace=2.5)
    cancel = run_service_pb2.CancelRunRequest
    expected = cancel(run_id=RUN, reason="enough", mode=cancel.MODE_GRACEFUL)
    expected.grace.FromTimedelta(timedelta(seconds=2.5))
    assert server.requests == [expected]


async def test_a_list_fetches_its_pages_as_the_loop_goes_on(client: Client, server: ScriptedServer) -> None:
    server.pages = {"": (["a", "b"], "next"), "next": ([], "last"), "last": (["c", "d"], "")}
    runs = client.list()
    assert (await anext(runs)).id == "a"
    assert len(server.requests) == 1
    assert [run.id async for run in runs] == ["b", "c", "d"]
    assert len(server.requests) == 3


async def test_a_list_ends_at_its_limit(client: Client, server: ScriptedServer) -> None:
    server.pages = {"": (["a", "b"], "next"), "next": (["c", "d"], "")}
    assert [run.id async for run in client.list(limit=3)] == ["a", "b", "c"]
    assert [run.id async for run in client.list(limit=0)] == []


async def test_a_list_asks_for_what_it_was_told(client: Client, server: ScriptedServer) -> None:
    server.pages = {"": ([], "")}
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    asked = client.list(
        states=["running", "STATE_FAILED", run_pb2.Run.STATE_QUEUED],
        provider="greet",
        labels={"team": "a"},
        ref=("file", "/x"),
        created_after=noon,
        oldest_first=True,
        full=True,
    )
    assert [run async for run in asked] == []
    (request,) = server.requests
    assert isinstance(request, run_service_pb2.ListRunsRequest)
    assert list(request.filter.states) == [3, 18, 2]
    assert request.filter.created_after.ToDatetime(UTC) == noon
    assert (request.filter.ref.type, request.filter.ref.id) == ("file", "/x")
    assert request.view == run_pb2.RUN_VIEW_FULL
    assert request.order_by == run_service_pb2.ListRunsRequest.ORDER_BY_CREATE_TIME_ASC


async def test_what_a_server_does_not_serve_is_a_feature_that_is_off(client: Client) -> None:
    with pytest.raises(FeatureOff):
        await client.attempts(RUN)


async def test_a_token_goes_with_every_call(server: ScriptedServer) -> None:
    async with Client(f"127.0.0.1:{server.port}", token="secret") as client:
        await client.get(RUN)
        async with client.watch(RUN):
            pass
    assert [call["authorization"] for call in server.metadata] == ["Bearer secret"] * 2


@pytest.mark.parametrize("target", ["example.org:7433", "127.evil.org:7433", "10.0.0.1:7433", "dns:///x:1"])
async def test_a_token_does_not_leave_the_machine_in_clear_text(target: str) -> None:
    with pytest.raises(ValueError, match="clear text"):
        await Client(target, token="secret").open()


@pytest.mark.parametrize("target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/x", "ipv4:127.0.0.1:1"])
async def test_a_token_may_be_used_on_this_machine_without_tls(target: str) -> None:
    async with Client(target, token="secret"):
        pass


async def test_a_client_is_opened_once_and_closed_any_number_of_times() -> None:
    client = Client("127.0.0.1:1")
    with pytest.raises(ClientClosed, match="async with"):
        await client.get(RUN)
    await client.close()
    async with client:
        with pytest.raises(RuntimeError, match="open"):
            await client.open()
        await client.close()
    with pytest.raises(ClientClosed):
        client.watch(RUN)


async def test_a_client_can_be_opened_again(server: ScriptedServer) -> None:
    client = Client(f"127.0.0.1:{server.port}")
    for _ in range(2):
        async with client:
            assert (await client.get(RUN)).id == RUN
    gc.collect()
