"""A run is held: followed and steered over one stream, which is taken up again as the same attachment."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.message import Message

from runcast.client import (
    AttachedRun,
    Client,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    Run,
    RunNotFinal,
    is_final,
    kind,
    start_request,
    state_name,
)
from runcast.v1 import run_service_pb2, watch_pb2
from tests.client.answering import Answering, says
from tests.client.proxy import Proxy
from tests.client.scripted import logs, status

Request = run_service_pb2.AttachRunRequest
Response = run_service_pb2.AttachRunResponse
Frame = watch_pb2.WatchFrame
Ownership = run_service_pb2.Ownership
LOST = status(grpc.StatusCode.UNAVAILABLE)
WRONG_STATE = status(grpc.StatusCode.FAILED_PRECONDITION, "RUN_STATE")
RUN = Run(id="run_1", state=Run.STATE_RUNNING)
OPENED = Response(opened=Response.Opened(attachment_id="mine", run=RUN, created=True))
SNAPSHOT = Response(frame=Frame(resume_sequence=0, snapshot=Frame.Snapshot(run=RUN)))
EVENTS = Response(frame=Frame(resume_sequence=2, batch=Frame.Batch(events=logs([1, 2]))))
MORE = Response(frame=Frame(resume_sequence=3, batch=Frame.Batch(events=logs([3]))))
COMPLETED = Response(
    frame=Frame(resume_sequence=3, completed=Frame.Completed(run=Run(id="run_1", state=Run.STATE_SUCCEEDED)))
)


async def until_line(run: AttachedRun, line: str) -> None:
    """Follow until this line was logged."""
    async with asyncio.timeout(20):
        async for event in run:
            if event.log.message == line:
                return
    raise AssertionError(f"it never said {line!r}")


async def until_state(run: AttachedRun, state: str) -> None:
    """Follow until the run is in this state."""
    async with asyncio.timeout(20):
        async for _ in run:
            if state_name(run.state) == state:
                return
    raise AssertionError(f"it never was {state}")


def asked(answering: Answering) -> list[Request]:
    return [Request.FromString(each) for each in answering.requests["AttachRun"]]


# -------------------------------------------------------------------------------------------------------- real server
async def test_a_run_is_started_and_followed_to_its_end(direct: Client) -> None:
    async with direct.attach(start=start_request("chatter", {"lines": 3})) as run:
        assert run.created
        assert run.attachment_id
        lines = [event.log.message async for event in run if kind(event) == "log"]
        assert run.final
        assert run.result() == 3
    assert lines == ["line 0", "line 1", "line 2"]


async def test_commands_inside_of_the_loop_are_answered(direct: Client) -> None:
    async with direct.attach(start=start_request("counter", {"to": 1000})) as run:
        await until_line(run, "counted 2")
        assert state_name((await run.pause("lunch")).state) in {"PAUSING", "PAUSED"}
        await until_state(run, "PAUSED")
        with pytest.raises(FailedPrecondition) as caught:
            await run.pause()
        assert caught.value.reason == "RUN_STATE"
        assert state_name((await run.resume()).state) in {"QUEUED", "RUNNING"}
        await until_state(run, "RUNNING")
        await run.cancel("enough", immediate=True)
        assert [event async for event in run]
        assert run.snapshot.cancellation.reason == "enough"
        assert run.reconnects == 0
        assert (await run.cancel()).id == run.id
        with pytest.raises(FailedPrecondition):
            await run.pause()


async def test_commands_of_other_tasks_are_answered_while_the_loop_waits(direct: Client) -> None:
    async with direct.attach(start=start_request("until_cancelled")) as run:
        await until_line(run, "ready")
        reading = asyncio.create_task(until_state(run, "CANCELLED"))
        # Nothing follows on this answer, which the loop's task reads: whoever asked must not wait for more.
        for _ in range(3):
            with pytest.raises(FailedPrecondition):
                await asyncio.wait_for(run.pause(), 5)
        paused, cancelled = await asyncio.gather(run.pause(), run.cancel("both"), return_exceptions=True)
        assert isinstance(paused, FailedPrecondition)
        assert isinstance(cancelled, Run)
        await reading
        assert run.reconnects == 0


async def test_whoever_detaches_leaves_the_run_alone(direct: Client) -> None:
    async with direct.attach(start=start_request("until_cancelled")) as run:
        await until_line(run, "ready")
        await run.detach()
        assert [event async for event in run] == []
        with pytest.raises(RunNotFinal):
            run.result()
    async with direct.attach(run.id, after_sequence=1) as again:
        assert not again.created
        assert (await anext(again)).sequence == 2
        assert not is_final((await direct.get(run.id)).state)
        await again.cancel(immediate=True)
        await until_state(again, "CANCELLED")


async def test_an_owner_that_leaves_ends_its_run_and_one_that_detaches_does_not(direct: Client) -> None:
    start = start_request("until_cancelled")
    async with direct.attach(start=start, on_disconnect="cancel", grace=0.0) as left:
        await anext(aiter(left))
    assert state_name((await direct.wait(left.id)).state) == "CANCELLED"
    start = start_request("until_cancelled")
    async with direct.attach(start=start, on_disconnect="cancel", grace=0.0) as detached:
        await anext(aiter(detached))
        await detached.detach()
    assert not is_final((await direct.wait(detached.id, timeout=0.5)).state)
    await direct.cancel(detached.id)


async def test_an_owner_whose_line_is_cut_comes_back_within_its_grace(
    shaky: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend(1200 + 700 * number for number in range(4))
    async with shaky.attach(
        start=start_request("counter", {"to": 150}), on_disconnect="cancel", grace=30.0
    ) as run:
        async for _ in run:
            pass
        assert run.result() == 150
        assert run.reconnects >= 2


async def test_events_come_exactly_once_over_a_line_that_is_cut_again_and_again(
    shaky: Client, direct: Client, proxy: Proxy
) -> None:
    proxy.limits.extend(1200 + 700 * number for number in range(8))
    async with shaky.attach(start=start_request("counter", {"to": 150})) as run:
        events = [event async for event in run]
        assert run.result() == 150
        assert run.reconnects >= 3
    assert events == [event async for event in direct.events(run.id)]


async def test_a_command_survives_a_line_that_is_cut(shaky: Client, proxy: Proxy) -> None:
    async with shaky.attach(start=start_request("until_cancelled")) as run:
        await until_line(run, "ready")
        proxy.cut()
        await run.cancel("enough")
        assert [event async for event in run]
        assert run.snapshot.cancellation.reason == "enough"


async def test_what_the_server_refuses_is_raised_as_what_it_is(direct: Client) -> None:
    with pytest.raises(NotFound):
        async with direct.attach("run_0"):
            pass
    done = await direct.start("chatter", {"lines": 0})
    with pytest.raises(OutOfRange):
        async with direct.attach(done.id, after_sequence=1000):
            pass
    with pytest.raises(ValueError, match="either"):
        direct.attach()
    with pytest.raises(ValueError, match="on_disconnect"):
        direct.attach("run_0", on_disconnect="explode")  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- faults
async def test_before_the_run_is_known_the_same_start_is_repeated(
    asking: Client, answering: Answering
) -> None:
    answering.streams["AttachRun"].extend([says(LOST), says(OPENED, SNAPSHOT, EVENTS, MORE, COMPLETED)])
    async with asking.attach(start=start_request("greet"), on_disconnect="pause", grace=5.0) as run:
        assert [event.sequence async for event in run] == [1, 2, 3]
    first, again = asked(answering)
    assert first == again
    assert first.open.start.request_id
    assert first.open.ownership.policy == Ownership.DISCONNECT_POLICY_PAUSE
    assert first.open.ownership.attachment_id


async def test_afterwards_the_same_attachment_is_taken_up_behind_the_last_frame(
    asking: Client, answering: Answering
) -> None:
    answering.streams["AttachRun"].extend(
        [says(OPENED, LOST), says(OPENED, SNAPSHOT, EVENTS), says(OPENED, MORE, COMPLETED)]
    )
    async with asking.attach("run_1", after_sequence=0, on_disconnect="cancel") as run:
        assert [event.sequence async for event in run] == [1, 2, 3]
        assert (run.reconnects, run.attachment_id) == (2, "mine")
    opens = [each.open for each in asked(answering)]
    assert [each.after_sequence for each in opens] == [0, 0, 2]
    assert [each.ownership.attachment_id for each in opens][1:] == ["mine", "mine"]
    assert {each.run_id for each in opens} == {"run_1"}


async def test_a_break_before_the_first_frame_forgets_no_wish(asking: Client, answering: Answering) -> None:
    answering.streams["AttachRun"].extend([says(OPENED, LOST), says(OPENED, MORE, COMPLETED)])
    async with asking.attach("run_1", after_sequence=2, observe_only=True) as run:
        assert [event.sequence async for event in run] == [3]
    assert [(each.open.after_sequence, each.open.observe_only) for each in asked(answering)] == [
        (2, True)
    ] * 2


async def test_a_command_whose_answer_was_lost_is_sent_again_and_found_done(
    asking: Client, answering: Answering
) -> None:
    async def loses(sent: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        await anext(sent)
        yield OPENED
        await anext(sent)
        yield LOST

    async def refuses(sent: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        await anext(sent)
        yield OPENED
        command = Request.FromString(await anext(sent)).command
        yield Response(
            command_result=Response.CommandResult(command_id=command.command_id, status=WRONG_STATE)
        )
        yield COMPLETED

    paused = run_service_pb2.GetRunResponse(run=Run(id="run_1", state=Run.STATE_PAUSED))
    answering.streams["AttachRun"].extend([loses, refuses])
    answering.unary["GetRun"].append(paused)
    async with asking.attach("run_1") as run:
        assert (await run.pause("lunch")).state == Run.STATE_PAUSED
        assert [event async for event in run] == []
    commands = [each.command for each in asked(answering) if each.WhichOneof("message") == "command"]
    assert commands[0] == commands[1]


async def test_a_detachment_whose_answer_was_lost_is_repeated(asking: Client, answering: Answering) -> None:
    def detaching(*answers: Message) -> object:
        async def script(sent: AsyncIterator[bytes]) -> AsyncIterator[Message]:
            await anext(sent)
            yield OPENED
            assert Request.FromString(await anext(sent)).WhichOneof("message") == "detach"
            for answer in answers:
                yield answer

        return script

    answering.streams["AttachRun"].extend([detaching(EVENTS, LOST), detaching()])  # type: ignore[list-item]
    async with asking.attach("run_1") as run:
        await run.detach()
        assert [event.sequence async for event in run] == [1, 2]
        assert not run.final


async def test_leaving_ends_the_stream_and_what_fed_it(asking: Client, answering: Answering) -> None:
    answering.streams["AttachRun"].append(says(OPENED, SNAPSHOT, stays=True))
    async with asking.attach("run_1") as run:
        assert run.id == "run_1"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.pause(), 0.05)
    with pytest.raises(RuntimeError, match="inside"):
        await run.resume()
