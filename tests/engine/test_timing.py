"""What the passing of time does: timeouts, retries, and a grace that ends."""

from typing import Any

import pytest

from runcast.server.model import lifecycle
from runcast.server.model.call import Abandoned, Raised, Stopped
from runcast.server.model.event import AttemptFinished, StateChanged
from runcast.server.model.run import AttemptState, Error, State, StopCause
from tests.engine.clock import SECOND
from tests.engine.conftest import Serve, on_each_store
from tests.engine.server import Server, settle

FAILURE = Raised(Error(2, "X", "it broke"), "the traceback")


def timeouts(**seconds: float) -> dict[str, Any]:
    """Overrides of timeouts."""
    return {"overrides": {"timeouts": {name: int(value * SECOND) for name, value in seconds.items()}}}


@on_each_store
async def test_a_run_that_waits_too_long_in_the_queue_times_out(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    run = await server.start(**timeouts(queue=30))
    await server.later(29)
    assert (await server.get(run.id)).state is State.QUEUED
    await server.later(1)
    ended = await server.get(run.id)
    assert ended.state is State.TIMED_OUT
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "TIMEOUT_QUEUE"
    attempt.end()
    await server.sweep()
    assert server.coroutines.idle


async def test_an_attempt_that_takes_too_long_is_asked_to_stop_and_the_run_times_out(server: Server) -> None:
    run, attempt = await server.running(**timeouts(attempt=60))
    await server.later(59.9)
    assert attempt.stops == []
    await server.later(0.1)
    assert await attempt.is_asked() == (StopCause.ATTEMPT_TIMEOUT, 10.0)
    assert (await server.get(run.id)).state is State.RUNNING
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.state is State.TIMED_OUT
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "TIMEOUT_ATTEMPT"


async def test_an_attempt_that_takes_too_long_and_does_not_stop_is_killed(server: Server) -> None:
    run, attempt = await server.running()
    await server.later(60)
    await server.later(10)
    await attempt.is_killed()
    assert (await server.final(run.id)).state is State.TIMED_OUT


@on_each_store
async def test_an_attempt_that_timed_out_is_retried_after_the_backoff(server: Server) -> None:
    run, attempt = await server.running("retrying")
    await server.later(60)
    await attempt.is_asked()
    attempt.end(Stopped())
    backing_off = await server.becomes(run.id, State.BACKING_OFF)
    assert backing_off.next_attempt_time == server.clock.now() + 8 * SECOND
    await server.later(7.9)
    assert server.coroutines.idle
    await server.later(0.1)
    await server.sweep()
    again = await server.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)
    again.end()
    assert (await server.final(run.id)).state is State.SUCCEEDED
    changes = [body for body in await server.told(run.id) if isinstance(body, StateChanged)]
    assert [change.to_state for change in changes] == [
        State.QUEUED, State.RUNNING, State.BACKING_OFF, State.QUEUED, State.RUNNING, State.SUCCEEDED,
    ]  # fmt: skip


async def test_silence_beyond_the_heartbeat_timeout_ends_the_attempt(server: Server) -> None:
    run, attempt = await server.running(**timeouts(heartbeat=10))
    for _ in range(3):
        await server.later(9)
        attempt.log("alive")
        await settle()
    assert attempt.stops == []
    await server.later(10)
    assert await attempt.is_asked() == (StopCause.HEARTBEAT_TIMEOUT, 10.0)
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "TIMEOUT_HEARTBEAT"


async def test_the_run_timeout_holds_over_all_attempts(server: Server) -> None:
    run, attempt = await server.running("retrying", **timeouts(run=20))
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    await server.later(8)
    await server.sweep()
    attempt = await server.attempt()
    await server.later(12)
    assert (await attempt.is_asked())[0] is StopCause.RUN_TIMEOUT
    assert (await server.get(run.id)).state is State.CANCELLING
    attempt.end(Stopped())
    ended = await server.final(run.id)
    assert ended.state is State.TIMED_OUT
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "TIMEOUT_RUN"


async def test_the_run_timeout_ends_a_run_that_backs_off(server: Server) -> None:
    run, attempt = await server.running("retrying", **timeouts(run=5))
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    await server.later(5)
    assert (await server.get(run.id)).state is State.TIMED_OUT
    await server.later(10)
    assert server.coroutines.idle


@on_each_store
async def test_a_run_that_fails_is_tried_exactly_as_often_as_it_may_be(server: Server) -> None:
    run, attempt = await server.running("retrying")
    for number in (1, 2):
        attempt.end(FAILURE)
        backing_off = await server.becomes(run.id, State.BACKING_OFF)
        assert backing_off.next_attempt_time == server.clock.now() + 8 * SECOND * number
        await server.later(8 * number)
        await server.sweep()
        attempt = await server.attempt()
        assert attempt.call.attempt == number + 1
    attempt.end(FAILURE)
    ended = await server.final(run.id)
    assert ended.state is State.FAILED
    assert ended.tries == 3
    await server.later(3_600)
    assert server.coroutines.idle
    attempts = await server.engine.attempts(run.id)
    assert [(one.number, one.state, one.error, one.traceback) for one in attempts] == [
        (number, AttemptState.FAILED, FAILURE.error, "the traceback") for number in (1, 2, 3)
    ]


async def test_a_failure_that_says_so_is_not_retried(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(Raised(Error(2, "X", "x", {"retryable": "false"})))
    assert (await server.final(run.id)).state is State.FAILED


async def test_an_abandoned_attempt_is_retried_only_once_its_code_is_gone_and_holds_up_nobody(
    serve: Serve,
) -> None:
    server = await serve(slots=2)
    server.coroutines.unkillable = True
    run, attempt = await server.running("retrying")
    await server.later(60)
    await server.later(10)
    await server.becomes(run.id, State.BACKING_OFF)
    assert attempt.told == Abandoned()
    await server.later(8)
    await server.sweep()
    await server.sweep()
    assert (await server.get(run.id)).state is State.QUEUED
    assert server.coroutines.idle
    other, beside = await server.running_later()
    assert other.id != run.id
    beside.end()
    attempt.gone()
    again = await server.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)


async def test_code_that_is_gone_without_a_word_does_not_hold_up_the_queue(serve: Serve) -> None:
    server = await serve(slots=1)
    server.coroutines.unkillable = True
    run, attempt = await server.running()
    await server.engine.control.cancel(run.id, immediate=True)
    await server.final(run.id)
    waiting = await server.start()
    assert waiting.state is State.QUEUED
    attempt.gone()
    assert (await server.attempt()).call.run_id == waiting.id


async def test_time_is_looked_at_without_being_poked(server: Server) -> None:
    _, attempt = await server.running()
    server.clock.advance(60)
    assert (await attempt.is_asked())[0] is StopCause.ATTEMPT_TIMEOUT


async def test_a_final_run_whose_retention_has_passed_is_not_due_for_ever(server: Server) -> None:
    run, attempt = await server.running(overrides={"retention": 5 * SECOND})
    attempt.end()
    ended = await server.final(run.id)
    await server.later(5)
    saves = len(server.store.saved)
    for _ in range(3):
        assert not await server.engine._sweeper.sweep()
    assert len(server.store.saved) == saves
    kept = await server.get(run.id)
    assert (kept.state, kept.last_sequence, kept.expire_time) == (
        State.SUCCEEDED, ended.last_sequence, ended.expire_time,
    )  # fmt: skip
    assert len(await server.events(run.id)) == ended.last_sequence


async def test_many_expired_runs_neither_hide_what_is_due_nor_keep_the_server_busy(server: Server) -> None:
    server.coroutines.slots = 1_000
    server.coroutines.instantly = lambda call: Raised(Error(2, "X", "x"))
    for _ in range(450):
        await server.start(overrides={"retention": SECOND})
    server.coroutines.instantly = None
    await server.until(lambda: server.coroutines.taken == 0)
    server.coroutines._handed = len(server.coroutines.attempts)
    server.clock.advance(1)
    _, attempt = await server.running_later()
    server.clock.advance(60)
    for _ in range(4):
        await server.sweep()
    assert (await attempt.is_asked())[0] is StopCause.ATTEMPT_TIMEOUT
    assert not await server.engine._sweeper.sweep()


async def test_one_run_that_nothing_can_be_done_about_does_not_stop_the_others(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await server.start(start_after=server.clock.now() + SECOND)
    other = await server.start(start_after=server.clock.now() + 2 * SECOND)
    expire = lifecycle.expire

    def selectively(run, now):  # type: ignore[no-untyped-def]  # as expire
        if run.id == broken.id:
            raise ZeroDivisionError
        return expire(run, now)

    monkeypatch.setattr(lifecycle, "expire", selectively)
    await server.later(3)
    await server.sweep()
    assert (await server.attempt()).call.run_id == other.id
    assert any(broken.id in record.getMessage() for record in caplog.records)
    monkeypatch.undo()
    await server.sweep()
    assert (await server.attempt()).call.run_id == broken.id
    caplog.clear()


async def test_request_ids_are_forgotten_in_time(server: Server) -> None:
    forgotten: list[int] = []

    async def prune(now: int) -> int:
        forgotten.append(now)
        return 0

    server.store.prune_requests = prune  # type: ignore[method-assign]
    server.clock.skip(3_601)
    server.engine._sweeper.poke()
    await server.until(lambda: forgotten)
    assert forgotten == [server.clock.now()]


async def test_an_attempt_that_finished_says_how(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    assert AttemptFinished(AttemptState.FAILED, FAILURE.error) in await server.told(run.id)
