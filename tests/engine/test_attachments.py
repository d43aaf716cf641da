"""Runs that depend on their owner's stream: its lease, its grace, and what a server's end does to both."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

import pytest

from runcast.server.model.call import Returned, Stopped
from runcast.server.model.errors import NotFound, Unavailable
from runcast.server.model.run import Initiator, OnDisconnect, Run, State, StopCause
from runcast.server.rpc.owners import Owner, owned
from tests.engine.conftest import Serve, on_each_store
from tests.engine.server import Server

GRACE, HOLD, MOMENT = 30.0, 60.0, 0.001
"""In seconds."""


async def stored(server: Server) -> None:
    """Until what became of ended streams is stored."""
    await server.engine.attachments.close()


async def attached(
    server: Server,
    run: Run,
    policy: OnDisconnect = OnDisconnect.CANCEL,
    *,
    owner: str = "me",
    grace: float = GRACE,
) -> AsyncExitStack:
    """An open stream of an owner; closing it is the client's going."""
    stack = AsyncExitStack()
    await stack.enter_async_context(
        server.engine.attachments.stream(run.id, owner, policy, int(grace * 1_000_000))
    )
    return stack


@on_each_store
async def test_a_run_is_cancelled_once_its_owners_stream_is_gone_for_the_grace(server: Server) -> None:
    run, attempt = await server.running()
    stream = await attached(server, run)
    await stream.aclose()
    await stored(server)
    server.clock.advance(GRACE - MOMENT)
    await server.sweep()
    assert (await server.engine.get(run.id)).state is State.RUNNING
    server.clock.advance(MOMENT)
    await server.sweep()
    assert (await attempt.is_asked())[0] is StopCause.CANCEL
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.initiator is Initiator.DISCONNECT
    assert ended.attachment is None


async def test_an_open_stream_keeps_its_run_for_as_long_as_it_is_open(server: Server) -> None:
    run, attempt = await server.running("holding")
    stream = await attached(server, run)
    for _ in range(5):
        server.clock.advance(HOLD / 2)
        await server.sweep()
        await stored(server)
        now = await server.engine.get(run.id)
        assert now.attachment is not None
        assert now.attachment.gone_time is None
        assert now.attachment.held_until > server.clock.now()
    await stream.aclose()
    attempt.end(Returned("1"))
    assert (await server.final(run.id)).state is State.SUCCEEDED
    await stored(server)


async def test_coming_back_with_the_same_id_within_the_grace_clears_it(server: Server) -> None:
    run, attempt = await server.running()
    await (await attached(server, run)).aclose()
    await stored(server)
    server.clock.advance(GRACE / 2)
    stream = await attached(server, run)
    server.clock.advance(GRACE)
    await server.sweep()
    assert (await server.engine.get(run.id)).state is State.RUNNING
    attempt.end(Returned("1"))
    await server.final(run.id)
    await stream.aclose()
    await stored(server)


async def test_of_two_streams_of_one_owner_the_last_to_go_begins_the_grace(server: Server) -> None:
    run, attempt = await server.running()
    first, second = await attached(server, run), await attached(server, run)
    await first.aclose()
    await stored(server)
    server.clock.advance(GRACE * 2)
    await server.sweep()
    await stored(server)
    assert (await server.engine.get(run.id)).state is State.RUNNING
    await second.aclose()
    await stored(server)
    server.clock.advance(GRACE)
    await server.sweep()
    assert (await server.engine.get(run.id)).state is State.CANCELLING
    attempt.end(Stopped())
    await server.final(run.id)


async def test_a_later_owner_takes_the_place_of_an_earlier_one(server: Server) -> None:
    run, attempt = await server.running()
    early, late = await attached(server, run, owner="early"), await attached(server, run, owner="late")
    await early.aclose()
    await stored(server)
    now = await server.engine.get(run.id)
    assert now.attachment is not None
    assert (now.attachment.id, now.attachment.gone_time) == ("late", None)
    await late.aclose()
    await server.engine.attachments.detach(run.id, "late")
    attempt.end(Returned("1"))
    await server.final(run.id)
    await stored(server)


async def test_detaching_lets_the_run_go_on_by_itself(server: Server) -> None:
    run, attempt = await server.running()
    stream = await attached(server, run)
    await server.engine.attachments.detach(run.id, "somebody else")
    assert (await server.engine.get(run.id)).attachment is not None
    await server.engine.attachments.detach(run.id, "me")
    assert (await server.engine.get(run.id)).attachment is None
    server.clock.advance(GRACE * 3)
    await server.sweep()
    assert (await server.engine.get(run.id)).state is State.RUNNING
    attempt.end(Returned("1"))
    await server.final(run.id)
    await stream.aclose()
    await stored(server)


async def test_with_the_policy_to_pause_a_run_that_can_pause_does_and_another_goes_on(server: Server) -> None:
    pausing, pausing_attempt = await server.running("pausing")
    working, working_attempt = await server.running()
    for run in (pausing, working):
        await (await attached(server, run, OnDisconnect.PAUSE)).aclose()
    await stored(server)
    server.clock.advance(GRACE)
    await server.sweep()
    assert (await server.engine.get(pausing.id)).state is State.PAUSING
    going_on = await server.engine.get(working.id)
    assert (going_on.state, going_on.attachment) == (State.RUNNING, None)
    pausing_attempt.end(Stopped())
    await server.becomes(pausing.id, State.PAUSED)
    working_attempt.end(Returned("1"))
    await server.final(working.id)


@pytest.mark.parametrize("policy", OnDisconnect)
async def test_a_queued_run_is_ended_or_paused_at_once_when_the_grace_is_over(
    serve: Serve, policy: OnDisconnect
) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    waiting = await server.start()
    await (await attached(server, waiting, policy, grace=0)).aclose()
    await stored(server)
    await server.sweep()
    expected = State.CANCELLED if policy is OnDisconnect.CANCEL else State.PAUSED
    assert (await server.engine.get(waiting.id)).state is expected
    attempt.end(Returned("1"))
    await server.becomes(waiting.id, expected)


@on_each_store
async def test_the_grace_of_a_stream_that_its_server_lost_begins_when_a_server_is_there_again(
    serve: Serve,
) -> None:
    first = await serve()
    run, _ = await first.running("resuming")
    stream = first.engine.attachments.stream(run.id, "me", OnDisconnect.CANCEL, int(GRACE * 1_000_000))
    held = await stream.__aenter__()
    await first.crash()
    held.kept = True  # nobody is left to see it end
    first.clock.advance(HOLD * 100)  # nobody is there for long
    second = await serve()
    again = await second.attempt()
    await second.sweep()
    now = await second.engine.get(run.id)
    assert now.state is State.RUNNING
    assert now.attachment is not None
    assert now.attachment.gone_time == second.clock.now()
    second.clock.advance(GRACE)
    await second.sweep()
    assert (await again.is_asked())[0] is StopCause.CANCEL
    again.end(Stopped())
    assert (await second.final(run.id)).state is State.CANCELLED
    await stream.__aexit__(None, None, None)


async def test_a_stream_that_ends_with_the_servers_drain_or_with_the_run_begins_no_grace(
    server: Server,
) -> None:
    run, attempt = await server.running()
    async with server.engine.attachments.stream(run.id, "me", OnDisconnect.CANCEL, 0) as held:
        held.kept = True
    await stored(server)
    await server.sweep()
    now = await server.engine.get(run.id)
    assert now.attachment is not None
    assert (now.state, now.attachment.gone_time) == (State.RUNNING, None)
    attempt.end(Returned("1"))
    assert (await server.final(run.id)).attachment is None


async def test_an_owner_that_leaves_before_it_was_known_is_taken_at_its_word(server: Server) -> None:
    run, attempt = await server.running()
    server.store.hold()
    entering = asyncio.create_task(attached(server, run, grace=0))
    await server.store.arrived.wait()
    entering.cancel()
    await asyncio.wait([entering])
    server.store.release()
    await stored(server)
    await server.sweep()
    assert (await attempt.is_asked())[0] is StopCause.CANCEL
    attempt.end(Stopped())
    assert (await server.final(run.id)).state is State.CANCELLED


async def test_nobody_can_own_a_run_that_is_not_there_and_a_final_one_stays_as_it_is(server: Server) -> None:
    run, attempt = await server.running()
    attempt.end(Returned("1"))
    ended = await server.final(run.id)
    await (await attached(server, ended)).aclose()
    await stored(server)
    assert (await server.engine.get(run.id)).version == ended.version
    with pytest.raises(NotFound):
        async with server.engine.attachments.stream("nobody", "me", OnDisconnect.CANCEL, 0):
            pass
    await stored(server)


@on_each_store
async def test_a_new_run_depends_on_its_owner_from_its_first_commit_on(serve: Serve) -> None:
    first = await serve()
    interest = first.engine.attachments.interest("me", OnDisconnect.CANCEL, int(GRACE * 1_000_000))
    run, _ = await first.running("resuming", attachment=interest)
    await first.crash()  # before its stream was told of it
    second = await serve()
    again = await second.attempt()
    second.clock.advance(HOLD)
    await second.sweep()
    second.clock.advance(GRACE)
    await second.sweep()
    assert (await again.is_asked())[0] is StopCause.CANCEL
    again.end(Stopped())
    assert (await second.final(run.id)).state is State.CANCELLED


async def test_an_owner_that_was_followed_by_another_one_who_let_the_run_go_does_not_come_back(
    server: Server,
) -> None:
    run, attempt = await server.running()
    early, late = await attached(server, run, owner="early"), await attached(server, run, owner="late")
    await server.engine.attachments.detach(run.id, "late")
    await late.aclose()
    await early.aclose()
    await stored(server)
    assert (await server.engine.get(run.id)).attachment is None
    attempt.end(Returned("1"))
    await server.final(run.id)


async def test_a_stream_that_ends_because_the_store_is_away_begins_no_grace(server: Server) -> None:
    run, attempt = await server.running()

    async def frames() -> AsyncGenerator[str, None]:
        yield "snapshot"
        raise Unavailable("the store is away")

    owner = Owner("me", named=True, policy=OnDisconnect.CANCEL, grace=0)
    async with aclosing(owned(server.engine, run.id, owner, frames())) as stream:
        with pytest.raises(Unavailable):
            [frame async for frame in stream]
    await stored(server)
    now = await server.engine.get(run.id)
    assert now.attachment is not None
    assert now.attachment.gone_time is None
    attempt.end(Returned("1"))
    await server.final(run.id)
