"""Pausing and resuming: in every state, against an end, a cancellation or a failure that comes at the same time."""

import asyncio

import pytest

from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.errors import FailedPrecondition, NotFound, RuncastError, WrongState
from runcast.server.model.event import AttemptStarted, SaveCheckpoint, StateChanged
from runcast.server.model.run import AttemptState, Error, State, StopCause
from tests.engine.conftest import Serve, on_each_store
from tests.engine.server import Server

BROKEN = Raised(Error(2, "X", "x"))


@on_each_store
async def test_a_pause_stops_the_code_and_a_resume_goes_on_from_its_checkpoint_in_a_new_attempt(
    server: Server,
) -> None:
    run, attempt = await server.running("pausing")
    answer = await server.engine.control.pause(run.id, reason="lunch")
    assert (answer.state, answer.stop_cause) == (State.PAUSING, StopCause.PAUSE)
    assert await attempt.is_asked() == (StopCause.PAUSE, 10.0)
    await attempt.sink.commit(SaveCheckpoint(b"half"))
    attempt.end(Stopped())
    paused = await server.becomes(run.id, State.PAUSED)
    assert (paused.owner, paused.wake_time, paused.checkpoint_number) == ("", None, 1)
    assert server.coroutines.taken == 0
    assert (await server.engine.control.resume(run.id)).state is State.QUEUED
    await server.sweep()
    again = await server.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)
    assert again.call.checkpoint is not None
    assert again.call.checkpoint.data == b"half"
    again.end(Returned('"done"'))
    ended = await server.final(run.id)
    assert (ended.state, ended.tries) == (State.SUCCEEDED, 0)
    told = await server.told(run.id)  # dense from 1, over both attempts
    assert StateChanged(State.RUNNING, State.PAUSING, "lunch") in told
    assert AttemptStarted(server.engine.boot_id, True) in told
    states = [attempt.state for attempt in await server.engine.attempts(run.id)]
    assert states == [AttemptState.PAUSED, AttemptState.SUCCEEDED]


async def test_a_queued_run_is_paused_at_once_and_waits_again_when_it_is_resumed(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    run = await server.start()
    assert (await server.engine.control.pause(run.id)).state is State.PAUSED
    attempt.end()
    await server.sweep()
    assert server.coroutines.idle
    assert (await server.engine.control.resume(run.id)).state is State.QUEUED
    await server.sweep()
    (await server.attempt()).end()
    assert (await server.final(run.id)).state is State.SUCCEEDED


async def test_a_scheduled_run_that_was_paused_goes_back_to_its_time_or_to_the_queue(server: Server) -> None:
    at = server.clock.now() + 5_000_000
    early, late = [await server.start(start_after=at) for _ in range(2)]
    for run in (early, late):
        assert (await server.engine.control.pause(run.id)).state is State.PAUSED
    resumed = await server.engine.control.resume(early.id)
    assert (resumed.state, resumed.next_attempt_time) == (State.SCHEDULED, at)
    await server.later(10)
    assert (await server.attempt()).call.run_id == early.id
    assert (await server.get(late.id)).state is State.PAUSED
    assert (await server.engine.control.resume(late.id)).state is State.QUEUED
    await server.sweep()
    assert (await server.attempt()).call.run_id == late.id


async def test_a_run_that_backs_off_keeps_the_time_of_its_next_attempt_over_a_pause(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(BROKEN)
    waiting = await server.becomes(run.id, State.BACKING_OFF)
    assert (await server.engine.control.pause(run.id)).state is State.PAUSED
    await server.later(1)
    resumed = await server.engine.control.resume(run.id)
    assert (resumed.state, resumed.next_attempt_time) == (State.BACKING_OFF, waiting.next_attempt_time)
    await server.later(60)
    await server.sweep()
    assert (await server.attempt()).call.attempt == 2


async def test_a_failure_while_pausing_that_would_be_retried_leaves_the_run_paused(server: Server) -> None:
    run, attempt = await server.running(
        "pausing", overrides={"retry": {"max_attempts": 3, "initial_backoff": 8_000_000, "jitter": 0.0}}
    )
    await server.engine.control.pause(run.id)
    attempt.end(BROKEN)
    paused = await server.becomes(run.id, State.PAUSED)
    due = server.clock.now() + 8_000_000
    assert (paused.tries, paused.next_attempt_time) == (1, due)
    await server.later(1)
    resumed = await server.engine.control.resume(run.id)
    assert (resumed.state, resumed.next_attempt_time) == (State.BACKING_OFF, due)
    await server.later(10)
    await server.sweep()
    assert (await server.attempt()).call.attempt == 2


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (Returned("null"), State.SUCCEEDED),
        (BROKEN, State.FAILED),
        (Stopped(killed=True), State.PAUSED),
        (Abandoned(), State.PAUSED),
    ],
)
async def test_how_the_code_ends_while_pausing_decides(server: Server, end: End, state: State) -> None:
    run, attempt = await server.running("pausing")
    await server.engine.control.pause(run.id)
    attempt.end(end)
    assert (await server.becomes(run.id, state)).state is state


async def test_code_that_does_not_stop_for_a_pause_is_killed_after_the_grace(server: Server) -> None:
    run, attempt = await server.running("pausing")
    await server.engine.control.pause(run.id)
    await attempt.is_asked()
    await server.later(11)
    await attempt.is_killed()
    await server.becomes(run.id, State.PAUSED)


async def test_a_pausing_run_can_be_cancelled_and_the_cancellation_wins(server: Server) -> None:
    run, attempt = await server.running("pausing")
    pausing, cancelling = await asyncio.gather(
        server.engine.control.pause(run.id), server.engine.control.cancel(run.id)
    )
    assert {pausing.state, cancelling.state} == {State.CANCELLING}  # both were stored in one change
    attempt.end(Stopped())
    assert (await server.final(run.id)).state is State.CANCELLED


async def test_a_pause_that_comes_with_the_end_is_refused_or_lost_to_it_and_never_both(
    server: Server,
) -> None:
    run, attempt = await server.running("pausing")
    attempt.end(Returned("null"))
    with pytest.raises(WrongState):
        await server.engine.control.pause(run.id)
    assert (await server.final(run.id)).state is State.SUCCEEDED


async def test_of_two_that_resume_at_once_one_is_refused(server: Server) -> None:
    run = await server.start(start_after=server.clock.now() + 5_000_000)
    await server.engine.control.pause(run.id)
    answers = await asyncio.gather(
        *[server.engine.control.resume(run.id) for _ in range(2)], return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Run", "WrongState"]


async def test_what_cannot_be_paused_or_resumed_says_why(server: Server) -> None:
    unable, _ = await server.running("work")
    able, attempt = await server.running("pausing")
    control = server.engine.control
    refusals: list[RuncastError] = []
    for asked in (
        control.pause(unable.id),
        control.pause(able.id, require_checkpoint=True),
        control.resume(able.id),
        control.pause("nobody"),
        control.resume("nobody"),
    ):
        with pytest.raises((FailedPrecondition, NotFound)) as refused:
            await asked
        refusals.append(refused.value)
    assert [error.reason for error in refusals] == [
        "NOT_PAUSABLE", "NO_CHECKPOINT", "RUN_STATE", "RUN_NOT_FOUND", "RUN_NOT_FOUND",
    ]  # fmt: skip
    await attempt.sink.commit(SaveCheckpoint(b"some"))
    assert (await control.pause(able.id, require_checkpoint=True)).state is State.PAUSING


async def test_a_paused_run_stands_still_over_a_restart(serve: Serve) -> None:
    server = await serve()
    run, attempt = await server.running("pausing")
    await server.engine.control.pause(run.id)
    attempt.end(Stopped())
    await server.becomes(run.id, State.PAUSED)
    await server.engine.close()
    server = await serve()
    await server.later(1_000)
    assert (await server.get(run.id)).state is State.PAUSED
    await server.engine.control.resume(run.id)
    await server.sweep()
    assert (await server.attempt()).call.attempt == 2
