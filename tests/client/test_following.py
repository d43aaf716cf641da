"""A run that is followed: its events, how it stands, its end, and how to leave it."""

import asyncio

import grpc
import pytest

from runcast.client import (
    Client,
    ClientClosed,
    RunCancelled,
    RunFailed,
    RunNotFinal,
    RunTimedOut,
    kind,
    state_name,
)
from runcast.v1 import event_pb2, run_pb2, run_service_pb2
from tests.client.scripted import (
    ALL,
    RUN,
    EndsEarly,
    ScriptedServer,
    logs,
    sequences,
    status,
)


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


async def test_an_event_of_a_kind_that_is_not_known_yet_is_handed_on(
    client: Client, server: ScriptedServer
) -> None:
    server.events[2] = event_pb2.RunEvent(sequence=3)
    async with client.watch(RUN) as run:
        kinds = [kind(event) async for event in run]
    assert kinds == ["log", "log", "", "log", "log", "log", "log"]


async def test_a_frame_of_a_kind_that_is_not_known_yet_is_passed_over(
    client: Client, server: ScriptedServer
) -> None:
    server.strange = True
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL
