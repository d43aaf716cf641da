"""A stream that breaks is taken up again: each event exactly once, or an error that says why not."""

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from runcast.client import (
    Backoff,
    Client,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    RpcError,
    Unavailable,
)
from runcast.v1 import run_service_pb2
from tests.client.conftest import QUICK
from tests.client.scripted import (
    ALL,
    RUN,
    Cut,
    EndsEarly,
    FallsSilent,
    Fault,
    GoesAway,
    Refuses,
    ScriptedServer,
    logs,
    sequences,
    status,
)

# Snapshot, four batches of the seven events, caught up, completed.
FRAMES = 7
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
DRAINING = Refuses(status(grpc.StatusCode.UNAVAILABLE, "DRAINING"))


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


async def test_a_farewell_for_a_reason_that_is_not_known_yet_is_a_farewell(
    client: Client, server: ScriptedServer
) -> None:
    server.faults.append(GoesAway(3, reason=99))
    async with client.watch(RUN) as run:
        assert await sequences(run) == ALL


async def test_a_gap_is_told_once_whatever_happens_to_the_stream(
    client: Client, server: ScriptedServer
) -> None:
    server.trimmed = 3
    server.faults.extend([Cut(1), Cut(2), Cut(2)])
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
    crowded = Refuses(status(EXHAUSTED, "LIMIT_REACHED", soon))
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


async def test_an_idle_stream_that_some_proxy_keeps_cutting_is_taken_up_for_ever_but_ever_more_rarely(
    server: ScriptedServer,
) -> None:
    waits: list[float] = []
    server.final = False
    server.faults.extend([Cut(6), *[Cut(2)] * 8])
    slower = Backoff(first=0.001, longest=10)
    impatient = Client(
        f"127.0.0.1:{server.port}",
        backoff=slower,
        patience=0.3,
        on_retry=lambda error, wait: waits.append(wait),
    )
    async with impatient as client, client.watch(RUN) as run:
        for _ in ALL:
            await anext(run)
        rest = asyncio.create_task(sequences(run))
        await asyncio.wait_for(server.idle.wait(), 5)
        server.events += logs([8])
        await server.finish()
        assert await rest == [8]
    assert sum(waits) > 0.1
    assert waits == sorted(waits)
    assert len(waits) == 9


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
