"""What callers and the clock do to a run: starting, claiming, pausing, resuming, cancelling, timing out."""

import pytest
from msgspec.structs import replace

from runcast.server.model import lifecycle
from runcast.server.model.call import Stopped
from runcast.server.model.errors import FailedPrecondition, WrongState
from runcast.server.model.event import AttemptStarted, CancelRequested, SaveCheckpoint, StateChanged
from runcast.server.model.run import (
    AttemptState,
    CancelOutcome,
    Error,
    Initiator,
    Recovery,
    State,
    StopCause,
    Timeouts,
)
from tests.model.life import BOOT_ID, BROKEN, SECOND, START, Life, definition, retries

GRACE = 10 * SECOND
NO_LIMIT = Timeouts(attempt=None)


def timed(**timeouts: int) -> Life:
    """A run with some timeouts."""
    return Life(definition(timeouts=replace(NO_LIMIT, **timeouts), pausable=True, retry=retries(3)))


def test_a_scheduled_run_is_queued_the_instant_its_time_comes_and_not_before() -> None:
    life = Life(start_in=60 * SECOND)
    assert life.run.wake_time == START + 60 * SECOND
    assert life.after(60 * SECOND - 1).expire() is None
    assert life.after(1).expire() is not None
    assert (life.run.state, life.run.queue_time) == (State.QUEUED, START + 60 * SECOND)


def test_a_claim_names_its_owner_and_begins_the_next_attempt() -> None:
    life = Life()
    life.claim()
    run = life.run
    assert (run.state, run.owner, run.attempt, run.start_time) == (State.RUNNING, BOOT_ID, 1, START)
    assert [event.body for event in life.events[1:]] == [
        StateChanged(State.QUEUED, State.RUNNING),
        AttemptStarted(BOOT_ID),
    ]


def test_a_run_is_claimed_once() -> None:
    life = Life().running()
    with pytest.raises(WrongState):
        life.claim("boot_of_another")


def test_a_claim_moves_the_attempt_before_into_a_row_with_its_error_and_traceback() -> None:
    life = Life(definition(retry=retries(2))).running()
    life.end(BROKEN)
    life.wakes()
    change = life.claim()
    assert change is not None
    (closed,) = change.closed
    assert (closed.number, closed.state) == (1, AttemptState.FAILED)
    assert (closed.error, closed.traceback) == (BROKEN.error, BROKEN.traceback)
    assert (life.run.outcome.attempt_error, life.run.outcome.traceback) == (None, "")


def test_a_start_time_is_that_of_the_first_attempt() -> None:
    life = Life().running()
    life.lose()
    life.running()
    assert life.run.start_time == START


def test_a_paused_run_goes_back_to_wait_for_its_start() -> None:
    life = Life(start_in=60 * SECOND).after(SECOND)
    life.pause(reason="not yet")
    assert life.events[-1].body == StateChanged(State.SCHEDULED, State.PAUSED, "not yet")
    assert (life.run.state, life.run.wake_time) == (State.PAUSED, None)
    life.after(SECOND).resume()
    assert (life.run.state, life.run.wake_time) == (State.SCHEDULED, START + 60 * SECOND)


def test_a_paused_run_goes_back_to_wait_for_its_next_attempt_and_the_event_says_until_when() -> None:
    life = Life(definition(retry=retries(2, 60 * SECOND))).running()
    life.end()
    at = life.run.next_attempt_time
    life.pause()
    life.after(SECOND).resume()
    assert life.events[-1].body == StateChanged(State.PAUSED, State.BACKING_OFF, next_attempt_time=at)
    assert life.run.wake_time == at


def test_a_run_whose_time_came_while_it_was_paused_is_queued_when_it_is_resumed() -> None:
    life = Life(start_in=60 * SECOND)
    life.pause()
    life.after(60 * SECOND).resume()
    assert (life.run.state, life.run.queue_time) == (State.QUEUED, life.now)


def test_an_interrupted_run_is_resumed_once() -> None:
    life = Life(definition(recovery=Recovery.RESUME_ON_WATCH)).running()
    life.lose()
    life.resume()
    assert life.run.state is State.QUEUED
    with pytest.raises(WrongState):
        life.resume()


def test_pausing_leaves_the_owner_until_its_code_has_stopped() -> None:
    life = timed().running()
    life.pause(reason="lunch")
    run = life.run
    assert (run.state, run.owner, run.stop_cause) == (State.PAUSING, BOOT_ID, StopCause.PAUSE)
    assert run.wake_time == run.stop_deadline == life.now + GRACE
    life.end(Stopped())
    assert (life.run.state, life.run.owner) == (State.PAUSED, "")
    assert life.run.current is not None
    assert life.run.current.state is AttemptState.PAUSED


def test_a_provider_that_cannot_pause_says_so() -> None:
    life = Life(definition(pausable=False)).running()
    with pytest.raises(FailedPrecondition) as refused:
        life.pause()
    assert refused.value.reason == "NOT_PAUSABLE"


def test_a_pause_that_needs_a_checkpoint_waits_until_there_is_one() -> None:
    life = timed().running()
    with pytest.raises(FailedPrecondition) as refused:
        life.pause(require_checkpoint=True)
    assert refused.value.reason == "NO_CHECKPOINT"
    life.report(SaveCheckpoint(b"here"))
    assert life.pause(require_checkpoint=True) is not None


def test_what_does_not_execute_is_cancelled_at_once_and_says_why() -> None:
    life = Life()
    life.cancel(Initiator.PARENT, reason="the parent was cancelled")
    assert life.events[-2].body == CancelRequested(Initiator.PARENT, "the parent was cancelled")
    assert life.run.state is State.CANCELLED
    assert life.run.outcome.error == Error(1, "CANCELLED", "the parent was cancelled")
    assert life.run.cancellation is not None
    assert life.run.cancellation.outcome is CancelOutcome.ACKNOWLEDGED


def test_a_graceful_cancel_kills_when_the_grace_is_over_and_not_before() -> None:
    life = timed().running()
    life.cancel()
    assert life.after(GRACE - 1).expire() is None
    assert life.after(1).expire() is not None
    assert (life.run.state, life.run.kill_time) == (State.CANCELLING, life.now)
    assert life.run.wake_time is None


def test_an_immediate_cancel_kills_at_once() -> None:
    life = timed().running()
    life.cancel(immediate=True)
    assert (life.run.state, life.run.kill_time) == (State.CANCELLING, life.now)


def test_a_second_cancel_may_shorten_the_grace_but_never_lengthen_it() -> None:
    life = timed().running()
    life.cancel()
    asked = life.run
    assert life.cancel(grace=GRACE) is None
    assert life.cancel(grace=GRACE + 1) is None
    assert life.cancel(grace=SECOND) is not None
    assert (life.run.stop_deadline, life.run.cancellation) == (life.now + SECOND, asked.cancellation)


def test_a_second_cancel_may_escalate_to_a_kill_but_a_third_changes_nothing() -> None:
    life = timed().running()
    life.cancel(reason="first")
    life.after(SECOND).cancel(immediate=True, reason="now!")
    assert life.events[-1].body == CancelRequested(Initiator.CLIENT, "now!", immediate=True)
    assert life.run.kill_time == life.now
    assert life.run.cancellation is not None
    assert (life.run.cancellation.reason, life.run.cancellation.immediate) == ("first", True)
    assert life.cancel(immediate=True) is None


def test_a_cancel_does_not_give_code_that_was_asked_to_stop_more_time() -> None:
    life = timed().running()
    life.pause()
    deadline = life.run.stop_deadline
    life.after(SECOND).cancel()
    assert life.run.stop_deadline == deadline


def test_a_kill_keeps_the_time_at_which_it_came_first() -> None:
    life = timed().running()
    life.pause()
    life.wakes()
    killed = life.run.kill_time
    life.after(SECOND).cancel(immediate=True)
    assert life.run.kill_time == killed


def test_a_final_run_is_not_cancelled_and_that_is_no_error() -> None:
    life = Life()
    life.cancel()
    assert life.cancel(immediate=True) is None


def test_a_run_that_nobody_claims_in_time_says_which_timeout_passed() -> None:
    life = timed(queue=5 * SECOND, run=60 * SECOND).wakes()
    assert life.run.outcome.error == Error(
        4, "TIMEOUT_QUEUE", "the queue timeout passed before a server had a free slot"
    )
    assert life.events[-1].body == StateChanged(State.QUEUED, State.TIMED_OUT, "TIMEOUT_QUEUE")


def test_the_queue_timeout_counts_anew_each_time_it_is_queued() -> None:
    life = timed(queue=5 * SECOND).after(4 * SECOND).running()
    life.lose()
    assert life.run.wake_time == life.now + 5 * SECOND


def test_the_run_timeout_stands_still_while_it_is_paused() -> None:
    life = timed(run=60 * SECOND).after(10 * SECOND)
    life.pause()
    assert (life.run.run_budget, life.run.wake_time) == (50 * SECOND, None)
    life.after(3_600 * SECOND).resume()
    assert life.run.run_deadline == life.now + 50 * SECOND


def test_the_run_timeout_stands_still_while_it_is_interrupted() -> None:
    what = definition(timeouts=replace(NO_LIMIT, run=60 * SECOND), recovery=Recovery.HOLD)
    life = Life(what).after(9 * SECOND).running()
    life.lose()
    life.after(3_600 * SECOND).resume()
    assert life.run.run_deadline == life.now + 50 * SECOND


def test_the_run_timeout_goes_on_through_retries_and_begins_only_when_it_is_queued() -> None:
    what = definition(timeouts=replace(NO_LIMIT, run=60 * SECOND), retry=retries(3))
    life = Life(what, start_in=100 * SECOND)
    assert (life.run.state, life.run.run_deadline) == (State.SCHEDULED, None)
    life.wakes()
    deadline = START + 160 * SECOND
    life.running().end()
    assert (life.run.state, life.run.run_deadline) == (State.BACKING_OFF, deadline)
    life.running()
    assert life.run.run_deadline == deadline


def test_a_run_paused_too_late_times_out_as_soon_as_it_is_resumed() -> None:
    life = timed(run=60 * SECOND).after(61 * SECOND)
    life.pause()
    life.after(SECOND).resume()
    assert life.run.wake_time == life.now
    life.wakes()
    assert life.run.state is State.TIMED_OUT


def test_the_run_timeout_wakes_a_run_whose_code_was_killed_and_has_not_ended_yet() -> None:
    life = timed(run=60 * SECOND).running()
    life.pause()
    life.wakes()
    assert life.run.kill_time is not None
    assert life.run.wake_time == START + 60 * SECOND
    life.wakes()
    assert (life.run.state, life.run.stop_cause) == (State.CANCELLING, StopCause.RUN_TIMEOUT)
    assert life.run.kill_time is not None


def test_a_heartbeat_is_any_report() -> None:
    life = timed(heartbeat=5 * SECOND).running().after(3 * SECOND)
    life.report()
    assert life.run.wake_time == life.now + 5 * SECOND
    life.wakes()
    assert (life.run.state, life.run.stop_cause) == (State.RUNNING, StopCause.HEARTBEAT_TIMEOUT)


def test_the_first_cause_for_which_an_attempt_is_asked_to_stop_decides() -> None:
    life = timed(attempt=5 * SECOND).running().wakes()
    deadline = life.run.stop_deadline
    life.after(SECOND).ask_to_stop(StopCause.RELEASE)
    assert (life.run.stop_cause, life.run.stop_deadline) == (StopCause.ATTEMPT_TIMEOUT, deadline)
    life.ask_to_stop(StopCause.RELEASE, grace=SECOND)
    assert life.run.stop_deadline == life.now + SECOND


def test_a_final_run_wakes_when_it_is_to_be_removed() -> None:
    life = Life(definition(retention=3_600 * SECOND))
    life.cancel()
    assert life.run.wake_time == life.run.expire_time == START + 3_600 * SECOND
    assert lifecycle.expire(life.run, START + 7_200 * SECOND) is None


def test_without_a_retention_a_final_run_is_kept_for_good() -> None:
    life = Life()
    life.cancel()
    assert life.run.wake_time is None
