"""A run that is followed: each event exactly once, whatever happens to the stream."""

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from runcast.client import (
    Client,
    ClientClosed,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    RpcError,
    RunCancelled,
    RunFailed,
    RunNotFinal,
    RunStream,
    RunTimedOut,
    Unavailable,
    kind,
    state_name,
)
from runcast.v1 import event_pb2, run_pb2, run_service_pb2
from tests.client.conftest import QUICK
from tests.client.scripted import (
    RUN,
    Cut,
    EndsEarly,
    FallsSilent,
    Fault,
    GoesAway,
    Refuses,
    ScriptedServer,
    logs,
    status,
)

ALL = [1, 2, 3, 4, 5, 6, 7]
# Snapshot, four batches of the seven events, caught up, completed.
FRAMES = 7
ALREADY = grpc.StatusCode.RESOURCE_EXHAUSTED
DRAINING = Refuses(status(grpc.StatusCode.UNAVAILABLE, "DRAINING"))


async def sequences(run: RunStream) -> list[int]:
    """The sequences of the events that the loop is given."""
    return [event.sequence async for event in run]


async def test_a_run_that_is_executed_gives_its_events_its_id_and_its_result(client: Client) -> None:
    async with client.execute("greet", {"name": "Ada"}) as run:
        assert (run.id, run.created) == (RUN, True)
        assert await sequences(run) == ALL
        assert run.final
        assert run.result() == {"big": 12345678901234567890}
        assert (state_name(run.state), run.snapshot.id, run.gaps, run.reconnects) == ("SUCCEEDED", RUN, (), 0)


async def test_what_is_executed_is_sent_as_exact_json_with_a_request_id(
    client: Client, server: ScriptedServer
) -> None:
    async with client.execute("greet", {"n": 2**70, "name": "Ädä"}, labels={"team": "a"}):
        pass
    (request,) = server.requests
    assert isinstance(request, run_service_pb2.ExecuteRunRequest)
    assert request.start.input.json == '{"n":1180591620717411303424,"name":"Ädä"}'
    assert request.start.provider == "greet"
    assert request.start.labels == {"team": "a"}
    assert request.start.request_id


FAULTS: list[Fault] = [
    *(Cut(after) for after in range(FRAMES)),
    *(EndsEarly(after) for after in range(FRAMES)),
    *(GoesAway(after) for after in range(FRAMES)),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("executed", [True, False], ids=["executed", "watched"])
async def test_a_stream_that_breaks_anywhere_is_taken_up_without_gap_or_duplicate(
    client: Client, server: ScriptedServer, fault: Fault, executed: bool
) -> None:
    server.faults.append(fault)
    async with client.execute("greet") if executed else client.watch(RUN) as run:
        assert await sequences(run) == ALL
        assert run.result() == {"big": 12345678901234567890}
        assert run.resume_sequence == 7
    assert len(server.requests) == 2
    assert len(server.started) == int(executed)


async def test_a_stream_that_breaks_after_every_frame_still_gives_each_event_once(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.extend([Cut(2), EndsEarly(2), GoesAway(2), Cut(2), Cut(2), EndsEarly(1), Cut(1)])
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL
        assert run.reconnects == 7


@pytest.mark.parametrize("code", ["UNKNOWN", "INTERNAL", "CANCELLED", "DEADLINE_EXCEEDED"])
async def test_a_failure_that_some_proxy_made_of_a_broken_stream_is_a_disconnect_too(
    client: Client, server: ScriptedServer, code: str
) -> None:
    server.faults.append(Cut(3, grpc.StatusCode[code]))
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL


async def test_an_execution_that_breaks_before_its_first_frame_is_repeated_as_the_same_request(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.extend([Cut(0), DRAINING, GoesAway(0)])
    async with client.execute("greet", {"name": "Ada"}) as run:
        assert await sequences(run) == ALL
    assert len(server.requests) == 4
    assert all(request == server.requests[0] for request in server.requests)


async def test_an_execution_that_breaks_later_is_watched_behind_the_last_frame(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.append(Cut(3))
    async with client.execute("greet") as run:
        assert await sequences(run) == ALL
    assert server.requests[1:] == [run_service_pb2.WatchRunRequest(run_id=RUN, after_sequence=4)]


async def test_a_watch_that_breaks_keeps_its_other_wishes(client: Client, server: ScriptedServer) -> None:
    server.faults.append(Cut(2))
    async with client.watch(RUN, last_events=3, event_types=["log"], observe_only=True) as run:
        assert await sequences(run) == [5, 6, 7]
    first = run_service_pb2.WatchRunRequest(run_id=RUN, last_events=3, event_types=["log"], observe_only=True)
    again = run_service_pb2.WatchRunRequest(
        run_id=RUN, after_sequence=6, event_types=["log"], observe_only=True
    )
    assert server.requests == [first, again]


async def test_a_watch_begins_behind_a_sequence(client: Client) -> None:
    async with client.watch(RUN, after_sequence=4) as run:
        assert await sequences(run) == [5, 6, 7]


async def test_a_watch_cannot_begin_at_two_places(client: Client) -> None:
    with pytest.raises(ValueError, match="either"):
        client.watch(RUN, after_sequence=1, last_events=1)


async def test_trimmed_events_are_told_as_a_gap(client: Client, server: ScriptedServer) -> None:
    server.trimmed = 3
    async with client.watch(RUN) as run:
        assert await sequences(run) == [4, 5, 6, 7]
        assert [(gap.first_missing_sequence, gap.last_missing_sequence) for gap in run.gaps] == [(1, 3)]


async def test_where_the_server_says_when_to_come_back_nobody_comes_sooner(server: ScriptedServer) -> None:
    waits: list[float] = []
    target = f"127.0.0.1:{server.port}"
    server.faults.append(GoesAway(2, retry_after=0.05))
    impatient = Client(target, backoff=QUICK, on_retry=lambda error, wait: waits.append(wait))
    async with impatient as client, client.watch(RUN) as run:
        assert await sequences(run) == ALL
    assert waits == [0.05]


async def test_a_run_that_is_not_there_is_not_asked_for_twice(client: Client, server: ScriptedServer) -> None:
    server.faults.append(Refuses(status(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")))
    with pytest.raises(NotFound) as caught:
        async with client.watch("run_0"):
            pass
    assert caught.value.reason == "RUN_NOT_FOUND"
    assert len(server.requests) == 1


async def test_a_cursor_beyond_the_journal_ends_the_watch_also_after_a_break(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.extend([Cut(3), Refuses(status(grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD"))])
    with pytest.raises(OutOfRange):
        async with client.watch(RUN) as run:
            await sequences(run)
    assert len(server.requests) == 2


async def test_a_bug_of_the_server_is_told_and_not_taken_for_a_disconnect(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.append(Refuses(status(grpc.StatusCode.INTERNAL, "INTERNAL"), after=3))
    with pytest.raises(RpcError) as caught:
        async with client.watch(RUN) as run:
            await sequences(run)
    assert (caught.value.code, caught.value.reason) == ("INTERNAL", "INTERNAL")
    assert len(server.requests) == 1


async def test_too_many_streams_are_waited_out_once_the_run_is_known_but_told_before(
    client: Client, server: ScriptedServer
) -> None:
    soon = RetryInfo(retry_delay=Duration(nanos=1_000_000))
    crowded = Refuses(status(ALREADY, "LIMIT_REACHED", soon))
    server.faults.extend([Cut(3), crowded])
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL
    server.faults.append(crowded)
    with pytest.raises(ResourceExhausted) as caught:
        async with client.watch(RUN):
            pass
    assert caught.value.retry_after == 0.001


async def test_patience_ends_with_the_last_error(server: ScriptedServer) -> None:
    server.faults.extend([Cut(3), *[DRAINING] * 1000])
    impatient = Client(f"127.0.0.1:{server.port}", backoff=QUICK, patience=0.05)
    async with impatient as client, client.watch(RUN) as run:
        with pytest.raises(Unavailable) as caught:
            await sequences(run)
    assert caught.value.reason == "DRAINING"
    assert 2 < len(server.requests) < 100


async def test_without_patience_a_broken_stream_is_not_taken_up(server: ScriptedServer) -> None:
    server.faults.append(Cut(3))
    async with Client(f"127.0.0.1:{server.port}", patience=0) as client, client.watch(RUN) as run:
        with pytest.raises(Unavailable):
            await sequences(run)
    assert len(server.requests) == 1


async def test_a_stream_that_was_given_up_can_be_taken_up_by_another_loop(server: ScriptedServer) -> None:
    server.faults.append(Cut(3))
    async with Client(f"127.0.0.1:{server.port}", patience=0) as client, client.watch(RUN) as run:
        with pytest.raises(Unavailable):
            await sequences(run)
        assert run.resume_sequence == 4
        assert await sequences(run) == [5, 6, 7]


async def test_a_stream_without_a_sign_of_life_is_replaced(server: ScriptedServer) -> None:
    server.faults.extend([FallsSilent(3), FallsSilent(0)])
    async with Client(f"127.0.0.1:{server.port}", backoff=QUICK, timeout=0.05) as client:
        async with client.watch(RUN, heartbeat=0.02) as run:
            assert await sequences(run) == ALL
        await asyncio.wait_for(server.streams_end(), 5)


async def test_leaving_the_loop_and_the_context_ends_the_call_and_not_the_run(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    async with client.watch(RUN) as run:
        async for event in run:
            if event.sequence == 3:
                break
        assert server.open_streams == 1
        assert run.resume_sequence == 3
        assert not run.final
        with pytest.raises(RunNotFinal):
            run.result()
    await asyncio.wait_for(server.streams_end(), 5)
    assert not any(isinstance(request, run_service_pb2.CancelRunRequest) for request in server.requests)


async def test_a_loop_that_was_left_goes_on_where_it_was(client: Client) -> None:
    async with client.watch(RUN) as run:
        async for event in run:
            if event.sequence == 3:
                break
        assert await sequences(run) == [4, 5, 6, 7]
        assert await sequences(run) == []


async def test_a_wait_for_the_next_event_that_was_given_up_loses_nothing(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    async with client.watch(RUN) as run:
        seen = [(await anext(run)).sequence for _ in ALL]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(run), 0.01)
        server.events += logs([8, 9])
        await server.finish()
        assert seen + await sequences(run) == [*ALL, 8, 9]


async def test_a_task_that_follows_can_be_cancelled(client: Client, server: ScriptedServer) -> None:
    server.final = False
    caught_up = asyncio.Event()

    async def follow() -> None:
        async with client.watch(RUN) as run:
            async for event in run:
                if event.sequence == len(ALL):
                    caught_up.set()

    task = asyncio.create_task(follow())
    await asyncio.wait_for(caught_up.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.streams_end(), 5)


async def test_closing_the_client_ends_its_streams_with_an_error_that_says_so(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    async with client.watch(RUN) as run:
        for _ in ALL:
            await anext(run)
        waiting = asyncio.create_task(anext(run))
        await asyncio.wait_for(server.idle.wait(), 5)
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting


async def test_a_cancelled_run_ends_the_loop_and_its_result_says_why(
    client: Client, server: ScriptedServer
) -> None:
    server.final = False
    async with client.execute("greet") as run:
        async for event in run:
            if event.sequence == 7:
                await run.cancel("enough", immediate=True)
        with pytest.raises(RunCancelled, match="enough") as caught:
            run.result()
    assert caught.value.run.state == run_pb2.Run.STATE_CANCELLED
    request = server.requests[-1]
    assert isinstance(request, run_service_pb2.CancelRunRequest)
    assert request.mode == run_service_pb2.CancelRunRequest.MODE_IMMEDIATE


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (run_pb2.Run.STATE_FAILED, RunFailed),
        (run_pb2.Run.STATE_TIMED_OUT, RunTimedOut),
        (99, RunFailed),
    ],
)
async def test_a_run_without_a_result_raises_what_became_of_it(
    client: Client, server: ScriptedServer, state: int, error: type[Exception]
) -> None:
    server.outcome = run_pb2.Run()
    server.outcome.MergeFromString(bytes([0x10, state]))
    server.outcome.error.CopyFrom(status(grpc.StatusCode.ABORTED, "PROVIDER_EXCEPTION", message="boom"))
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL
        with pytest.raises(error, match="boom") as caught:
            run.result()
    assert getattr(caught.value, "reason", "") == "PROVIDER_EXCEPTION"


async def test_state_and_progress_move_with_the_loop_and_never_back(
    client: Client, server: ScriptedServer
) -> None:
    running, cancelling = run_pb2.Run.STATE_RUNNING, run_pb2.Run.STATE_CANCELLING
    server.final = False
    queued = event_pb2.StateChanged(to_state=run_pb2.Run.STATE_QUEUED)
    server.events = [event_pb2.RunEvent(sequence=1, state_changed=queued)]
    server.faults.append(EndsEarly(3))
    async with client.watch(RUN) as run:
        assert kind(await anext(run)) == "state_changed"
        assert run.state == running
        snapshot = server.run()
        server.events += [
            event_pb2.RunEvent(sequence=2, progress=run_pb2.Progress(completed=5)),
            event_pb2.RunEvent(sequence=3, state_changed=event_pb2.StateChanged(to_state=cancelling)),
        ]
        server.run = lambda: snapshot  # type: ignore[method-assign]
        await anext(run)
        assert (run.state, run.progress.completed) == (running, 5)
        await anext(run)
        assert run.state == cancelling


async def test_a_stream_outside_of_its_context_says_how_it_is_used(client: Client) -> None:
    run = client.watch(RUN)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(run)
    async with run:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await anext(run)
    with pytest.raises(RuntimeError, match="once"):
        await run.__aenter__()


async def test_a_frame_of_a_kind_that_is_not_known_yet_is_passed_over(
    client: Client, server: ScriptedServer
) -> None:
    server.events[2] = event_pb2.RunEvent(sequence=3)
    async with client.watch(RUN) as run:
        kinds = [kind(event) async for event in run]
    assert kinds == ["log", "log", "", "log", "log", "log", "log"]
