"""Cancelling: in every state, once or twice, politely or at once."""

import asyncio

import pytest

from runcast.server.model.call import Abandoned, Raised, Returned, Stopped
from runcast.server.model.errors import InvalidArgument, NotFound, Unavailable
from runcast.server.model.event import CancelAcknowledged, CancelRequested, StateChanged
from runcast.server.model.run import CancelOutcome, Error, Initiator, State, StopCause
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle


@on_each_store
async def test_a_running_run_is_asked_to_stop_and_ends_cancelled(server: Server) -> None:
    run, attempt = await server.running()
    answer = await server.engine.control.cancel(run.id, reason="enough")
    assert answer.state is State.CANCELLING
    assert await attempt.is_asked() == (StopCause.CANCEL, 10.0)
    assert attempt.kills == 0
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.ACKNOWLEDGED
    assert ended.cancellation.reason == "enough"
    told = await server.told(run.id)
    assert told[3] == CancelRequested(Initiator.CLIENT, "enough")
    assert CancelAcknowledged() in told
    assert told[-1] == StateChanged(State.CANCELLING, State.CANCELLED, "CANCELLED")


async def test_a_queued_run_is_cancelled_at_once_and_never_begins(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    run = await server.start()
    assert (await server.engine.control.cancel(run.id)).state is State.CANCELLED
    attempt.end()
    await server.sweep()
    assert server.coroutines.idle
    assert server.coroutines.taken == 0


async def test_a_scheduled_run_is_cancelled_at_once(server: Server) -> None:
    run = await server.start(start_after=server.clock.now() + 5_000_000)
    assert (await server.engine.control.cancel(run.id)).state is State.CANCELLED
    await server.later(10)
    assert server.coroutines.idle


async def test_a_run_that_backs_off_is_cancelled_at_once_and_not_retried(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(Raised(Error(2, "X", "x")))
    await server.becomes(run.id, State.BACKING_OFF)
    assert (await server.engine.control.cancel(run.id)).state is State.CANCELLED
    await server.later(60)
    assert server.coroutines.idle


async def test_a_run_is_cancelled_while_its_end_is_being_stored_and_keeps_its_true_end(
    server: Server,
) -> None:
    run, attempt = await server.running()
    server.store.hold()
    attempt.end(Returned('"done"'))
    await within(server.store.arrived.wait())
    cancelling = asyncio.create_task(server.engine.control.cancel(run.id))
    await settle()
    server.store.release()
    assert (await cancelling).state is State.SUCCEEDED
    assert (await server.final(run.id)).cancellation is None


async def test_a_run_that_is_asked_to_stop_and_succeeds_has_succeeded(server: Server) -> None:
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id)
    attempt.end()
    ended = await server.final(run.id)
    assert ended.state is State.SUCCEEDED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.TOO_LATE


async def test_a_run_that_is_asked_to_stop_and_fails_is_cancelled_and_not_retried(server: Server) -> None:
    run, attempt = await server.running("retrying")
    await server.engine.control.cancel(run.id)
    attempt.end(Raised(Error(2, "X", "x")))
    assert (await server.final(run.id)).state is State.CANCELLED


@on_each_store
async def test_a_run_whose_claim_is_being_stored_is_cancelled_and_its_code_ends(serve: Serve) -> None:
    server = await serve(slots=1)
    _, first = await server.running()
    run = await server.start()
    first.end()
    await server.until(lambda: server.coroutines.taken == 0 or not server.coroutines.idle)
    server.store.hold()
    cancelling = asyncio.create_task(server.engine.control.cancel(run.id))
    await settle()
    server.store.release()
    assert (await cancelling).state in (State.CANCELLED, State.CANCELLING)
    await settle()
    if not server.coroutines.idle:
        attempt = await server.attempt()
        await attempt.is_asked()
        attempt.end(Stopped())
    assert (await server.final(run.id)).state is State.CANCELLED


@on_each_store
async def test_a_start_under_way_can_be_cancelled_by_the_id_that_was_chosen(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start(run_id="mine"))
    await within(server.store.arrived.wait())
    with pytest.raises(NotFound):
        await server.engine.control.cancel("mine")
    server.store.release()
    await starting
    assert (await server.engine.control.cancel("mine")).state is State.CANCELLING
    (await server.attempt()).end(Stopped())
    assert (await server.final("mine")).state is State.CANCELLED


async def test_cancelling_twice_is_cancelling_once(server: Server) -> None:
    run, attempt = await server.running()
    first = await server.engine.control.cancel(run.id)
    assert await server.engine.control.cancel(run.id) == first
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert await server.engine.control.cancel(run.id, immediate=True) == ended
    assert len(attempt.stops) == 1
    assert attempt.kills == 0


async def test_many_cancel_at_the_same_time(server: Server) -> None:
    run, attempt = await server.running()
    answers = await asyncio.gather(*[server.engine.control.cancel(run.id) for _ in range(20)])
    assert {answer.state for answer in answers} == {State.CANCELLING}
    assert len([body for body in await server.told(run.id) if isinstance(body, CancelRequested)]) == 1
    attempt.end(Stopped())
    await server.final(run.id)


async def test_many_cancel_a_queued_run_at_the_same_time(serve: Serve) -> None:
    server = await serve(slots=1)
    await server.running()
    run = await server.start()
    answers = await asyncio.gather(*[server.engine.control.cancel(run.id) for _ in range(20)])
    assert {answer.state for answer in answers} == {State.CANCELLED}
    assert len(await server.told(run.id)) == 3


async def test_cancelling_at_once_kills_at_once(server: Server) -> None:
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id, immediate=True)
    await attempt.is_killed()
    assert attempt.stops == []
    ended = await server.final(run.id)
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.KILLED
    assert attempt.kills == 1


async def test_a_second_request_may_make_it_more_urgent(server: Server) -> None:
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id)
    assert await attempt.is_asked() == (StopCause.CANCEL, 10.0)
    await server.engine.control.cancel(run.id, grace=3_000_000)
    assert attempt.stops[-1] == (StopCause.CANCEL, 3.0)
    await server.engine.control.cancel(run.id, grace=60_000_000)
    assert len(attempt.stops) == 2
    await server.engine.control.cancel(run.id, immediate=True)
    await attempt.is_killed()
    assert (await server.final(run.id)).state is State.CANCELLED


async def test_when_the_grace_has_passed_the_code_is_killed(server: Server) -> None:
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id, grace=4_000_000)
    await server.later(3.9)
    assert attempt.kills == 0
    await server.later(0.1)
    await attempt.is_killed()
    ended = await server.final(run.id)
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.KILLED


async def test_code_that_cannot_be_killed_is_abandoned_and_keeps_its_slot(server: Server) -> None:
    server.coroutines.unkillable = True
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id, immediate=True)
    ended = await server.final(run.id)
    assert attempt.told == Abandoned()
    assert ended.state is State.CANCELLED
    assert ended.cancellation is not None
    assert ended.cancellation.outcome is CancelOutcome.ABANDONED
    assert server.coroutines.taken == 1
    assert len(server.engine._ownership.outlived()) == 1
    attempt.gone()
    assert server.coroutines.taken == 0
    assert len(server.engine._ownership.outlived()) == 0


async def test_a_negative_grace_is_refused(server: Server) -> None:
    run, _ = await server.running()
    with pytest.raises(InvalidArgument):
        await server.engine.control.cancel(run.id, grace=-1)


async def test_nobody_cannot_be_cancelled(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.engine.control.cancel("nobody")


async def test_a_cancellation_that_could_not_be_stored_is_an_error_and_asks_nobody(server: Server) -> None:
    run, attempt = await server.running()
    server.store.fail("save", Unavailable("away"))
    with pytest.raises(Unavailable):
        await server.engine.control.cancel(run.id)
    await settle()
    assert attempt.stops == []
    assert (await server.engine.control.cancel(run.id)).state is State.CANCELLING


async def test_whoever_stops_waiting_for_a_cancellation_leaves_nothing(server: Server) -> None:
    run, attempt = await server.running()
    server.store.hold()
    cancelling = asyncio.create_task(server.engine.control.cancel(run.id))
    await within(server.store.arrived.wait())
    cancelling.cancel()
    await asyncio.wait([cancelling])
    server.store.release()
    await attempt.is_asked()
    assert (await server.get(run.id)).state is State.CANCELLING


async def test_reports_made_while_code_stops_are_stored(server: Server) -> None:
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id)
    attempt.log("cleaning up")
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.last_sequence == 3 + 2 + 1 + 3
