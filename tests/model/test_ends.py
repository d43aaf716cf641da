"""What an attempt tells of itself, how it ends, and what becomes of its run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runcast.server.model import attempts
from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.errors import Fenced
from runcast.server.model.event import (
    AttemptFinished,
    CancelAcknowledged,
    CheckpointSaved,
    SaveCheckpoint,
    StateChanged,
    Summary,
)
from runcast.server.model.run import (
    AttemptState,
    CancelOutcome,
    Checkpoint,
    EntityRef,
    Error,
    Failure,
    Initiator,
    Progress,
    Recovery,
    State,
    StopCause,
    Timeouts,
)
from tests.model.life import BROKEN, SECOND, Life, definition, retries

DONE = Returned('"done"')
LATE = Timeouts(attempt=None, run=60 * SECOND)


def running(**flags: Any) -> Life:
    """A run in its first attempt."""
    return Life(definition(pausable=True, **flags)).running()


def outcome_of_cancel(life: Life) -> CancelOutcome | None:
    """What came of the cancellation."""
    cancellation = life.run.cancellation
    return cancellation.outcome if cancellation else None


def reason(life: Life) -> str:
    """Why the run did not succeed."""
    error = life.run.outcome.error
    return error.reason if error else ""


def test_a_report_becomes_events_in_order_and_a_summary_becomes_none() -> None:
    life = running()
    life.report(
        Progress(0.5), Summary("half"), Failure("a"), EntityRef("file", "b"), SaveCheckpoint(b"123", 7)
    )
    bodies = [event.body for event in life.events[3:]]
    assert bodies == [Progress(0.5), Failure("a"), EntityRef("file", "b"), CheckpointSaved(1, 3, 7)]
    run = life.run
    assert (run.progress, run.outcome.summary, run.failure_count) == (Progress(0.5), "half", 1)
    assert (run.outcome.failures, run.outcome.refs) == ((Failure("a"),), (EntityRef("file", "b"),))


def test_of_several_checkpoints_in_one_change_the_last_is_kept_and_each_is_numbered() -> None:
    life = running()
    change = life.report(SaveCheckpoint(b"a"), SaveCheckpoint(b"b"))
    assert change is not None
    assert change.checkpoint == Checkpoint(2, b"b")
    assert life.run.checkpoint_number == 2


def test_the_first_thousand_failures_are_kept_and_all_are_counted() -> None:
    life = running()
    life.report(*[Failure(str(n)) for n in range(attempts.KEPT_FAILURES + 5)])
    assert life.run.failure_count == 1_005
    assert [failure.target for failure in life.run.outcome.failures] == [str(n) for n in range(1_000)]


def test_the_next_attempt_goes_on_from_the_checkpoint_and_says_so() -> None:
    life = running()
    life.report(SaveCheckpoint(b"half"))
    life.lose()
    life.running()
    assert life.run.current is not None
    assert life.run.current.from_checkpoint


def test_a_write_of_the_attempt_before_is_fenced() -> None:
    life = running()
    life.lose()
    life.running()
    with pytest.raises(Fenced):
        attempts.end(life.run, 1, DONE, life.now, 0.5)
    with pytest.raises(Fenced):
        attempts.report(life.run, 1, [SaveCheckpoint(b"zombie")], life.now)


def test_an_attempt_ends_once() -> None:
    life = running()
    life.end(DONE)
    with pytest.raises(Fenced):
        life.end(DONE)


def test_a_run_that_came_to_its_end_is_too_late_to_be_cancelled() -> None:
    life = running()
    life.cancel()
    life.end(DONE)
    assert (life.run.state, outcome_of_cancel(life)) == (State.SUCCEEDED, CancelOutcome.TOO_LATE)


def test_a_run_that_came_to_its_end_with_failed_targets_is_too_late_as_well() -> None:
    life = running()
    life.report(Failure("a"))
    life.cancel()
    life.end(DONE)
    assert life.run.state is State.SUCCEEDED_WITH_ERRORS
    assert outcome_of_cancel(life) is CancelOutcome.TOO_LATE


def test_a_run_that_came_to_its_end_beats_its_own_run_timeout() -> None:
    life = running(timeouts=LATE).wakes()
    life.end(DONE)
    assert (life.run.state, outcome_of_cancel(life)) == (State.SUCCEEDED, CancelOutcome.TOO_LATE)


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        (Stopped(), CancelOutcome.ACKNOWLEDGED),
        (BROKEN, CancelOutcome.ACKNOWLEDGED),
        (Stopped(killed=True), CancelOutcome.KILLED),
        (Abandoned(), CancelOutcome.ABANDONED),
    ],
)
def test_a_cancelled_run_says_how_its_code_went(how: End, outcome: CancelOutcome) -> None:
    life = running(retry=retries(5))
    life.cancel(reason="enough")
    life.after(SECOND).end(how)
    run = life.run
    assert run.cancellation is not None
    acknowledged = outcome is CancelOutcome.ACKNOWLEDGED
    assert (run.state, run.cancellation.outcome) == (State.CANCELLED, outcome)
    assert run.outcome.error == Error(1, "CANCELLED", "enough")
    assert (run.cancellation.acknowledge_time is not None) == acknowledged
    assert (run.cancellation.kill_time is None) == acknowledged
    assert any(isinstance(event.body, CancelAcknowledged) for event in life.events) == acknowledged


def test_a_cancelled_run_whose_owner_is_lost_went_down_with_it() -> None:
    life = running()
    life.cancel()
    life.lose()
    assert (life.run.state, outcome_of_cancel(life)) == (State.CANCELLED, CancelOutcome.KILLED)
    assert life.run.current is not None
    assert life.run.current.state is AttemptState.LOST


def test_a_run_timeout_before_a_cancel_ends_timed_out() -> None:
    life = running(timeouts=LATE).wakes()
    life.cancel(immediate=True)
    life.end(Stopped(killed=True))
    assert (life.run.state, reason(life)) == (State.TIMED_OUT, "TIMEOUT_RUN")
    assert life.run.cancellation is not None
    assert life.run.cancellation.initiator is Initiator.DEADLINE


def test_a_cancel_before_the_run_timeout_ends_cancelled() -> None:
    life = running(timeouts=LATE)
    life.cancel()
    life.after(60 * SECOND).expire()
    life.end(Stopped(killed=True))
    assert (life.run.state, reason(life)) == (State.CANCELLED, "CANCELLED")


def test_an_attempt_that_ran_into_the_run_timeout_says_so() -> None:
    life = running(timeouts=LATE).wakes()
    life.end(Stopped())
    error = Error(4, "TIMEOUT_RUN", "the run timeout passed")
    assert life.events[-2].body == AttemptFinished(AttemptState.TIMED_OUT, error)
    assert life.run.outcome.attempt_error == error


def test_a_failure_that_is_retried_says_when() -> None:
    life = running(retry=retries(2, 7 * SECOND))
    life.end(BROKEN)
    at = life.now + 7 * SECOND
    expected = StateChanged(State.RUNNING, State.BACKING_OFF, "PROVIDER_EXCEPTION", at)
    assert life.events[-1].body == expected
    assert life.run.wake_time == at
    assert life.run.outcome.error is None


def test_a_provider_may_say_that_its_failure_is_not_to_be_retried() -> None:
    life = running(retry=retries(5))
    life.end(Raised(Error(3, "PROVIDER_EXCEPTION", "no use", {"retryable": "false"})))
    assert life.run.state is State.FAILED


def test_an_attempt_timeout_is_retried_and_the_last_one_ends_timed_out() -> None:
    life = running(retry=retries(2), timeouts=Timeouts(attempt=5 * SECOND)).wakes()
    life.end(Stopped())
    assert life.run.state is State.BACKING_OFF
    life.running().wakes().end(BROKEN)
    assert (life.run.state, reason(life)) == (State.TIMED_OUT, "TIMEOUT_ATTEMPT")


def test_code_that_stops_unasked_has_failed() -> None:
    life = running()
    life.end(Stopped())
    assert (life.run.state, reason(life)) == (State.FAILED, "PROVIDER_STOPPED")


def test_a_pausing_run_that_fails_for_good_goes_as_from_running() -> None:
    life = running()
    life.pause()
    life.end(BROKEN)
    assert life.run.state is State.FAILED


@pytest.mark.parametrize("late", [False, True])
def test_a_pausing_run_that_fails_is_paused_and_keeps_the_time_of_its_next_attempt(late: bool) -> None:
    life = running(retry=retries(2), timeouts=Timeouts(run=1_000 * SECOND))
    life.pause(reason="later")
    life.end(BROKEN)
    due = life.run.next_attempt_time
    assert due is not None
    assert (life.run.state, life.run.tries, life.run.wake_time) == (State.PAUSED, 1, None)
    assert (life.run.owner, life.run.stop_cause, life.run.run_deadline) == ("", None, None)
    assert life.run.outcome.attempt_error == BROKEN.error
    assert life.events[-1].body == StateChanged(State.PAUSING, State.PAUSED, BROKEN.error.reason)
    life.now = due if late else due - 1
    life.resume()
    assert life.run.state is (State.QUEUED if late else State.BACKING_OFF)
    assert life.run.next_attempt_time == (None if late else due)


def test_a_pausing_run_whose_owner_is_lost_is_paused() -> None:
    life = running(recovery=Recovery.FAIL)
    life.pause()
    life.lose()
    assert (life.run.state, life.run.owner, life.run.crashes) == (State.PAUSED, "", 1)


@pytest.mark.parametrize("safe", ["idempotent", "checkpointing"])
def test_a_drained_run_that_may_run_again_is_released_and_not_counted(safe: str) -> None:
    life = running(recovery=Recovery.FAIL, **{safe: True})
    life.ask_to_stop(StopCause.RELEASE)
    life.end(Stopped())
    run = life.run
    assert (run.state, run.tries, run.crashes) == (State.QUEUED, 0, 0)
    assert life.events[-2].body == AttemptFinished(AttemptState.RELEASED)


@pytest.mark.parametrize(
    ("how", "attempts", "state", "ended", "tries"),
    [
        (BROKEN, 1, State.FAILED, AttemptState.FAILED, 1),
        (BROKEN, 2, State.BACKING_OFF, AttemptState.FAILED, 1),
        (replace(BROKEN, while_stopping=True), 1, State.QUEUED, AttemptState.RELEASED, 0),
        (Stopped(killed=True), 1, State.QUEUED, AttemptState.RELEASED, 0),
        (Abandoned(), 1, State.QUEUED, AttemptState.RELEASED, 0),
        (Returned("1"), 1, State.SUCCEEDED, AttemptState.SUCCEEDED, 0),
    ],
)
def test_a_drained_run_is_judged_by_how_its_code_really_ended(
    how: End, attempts: int, state: State, ended: AttemptState, tries: int
) -> None:
    life = running(idempotent=True, retry=retries(attempts))
    life.ask_to_stop(StopCause.RELEASE)
    life.end(how)
    assert (life.run.state, life.run.tries) == (state, tries)
    finished = [event.body for event in life.events if isinstance(event.body, AttemptFinished)]
    assert finished[-1].state is ended


def test_a_drained_run_that_was_being_paused_is_paused() -> None:
    life = running(idempotent=True)
    life.ask_to_stop(StopCause.RELEASE)
    life.pause()
    life.end(Stopped())
    assert life.run.state is State.PAUSED


def test_a_drained_run_that_is_cancelled_is_finished_and_never_requeued() -> None:
    life = running(idempotent=True)
    life.ask_to_stop(StopCause.RELEASE)
    life.cancel()
    life.end(Stopped())
    assert life.run.state is State.CANCELLED


def test_an_attempt_that_timed_out_counts_although_its_server_drains_meanwhile() -> None:
    life = running(idempotent=True, timeouts=Timeouts(attempt=5 * SECOND)).wakes()
    life.ask_to_stop(StopCause.RELEASE)
    life.end(Stopped())
    assert (life.run.state, reason(life)) == (State.TIMED_OUT, "TIMEOUT_ATTEMPT")


def test_a_run_that_may_not_outlive_its_owner_fails_with_owner_lost() -> None:
    life = running(recovery=Recovery.FAIL, retry=retries(9))
    life.lose()
    assert (life.run.state, reason(life)) == (State.FAILED, "OWNER_LOST")
    assert life.events[-1].body == StateChanged(State.RUNNING, State.FAILED, "OWNER_LOST")


@pytest.mark.parametrize("policy", [Recovery.RESUME, Recovery.HOLD, Recovery.RESUME_ON_WATCH])
def test_the_fifth_crash_is_poison_and_no_crash_is_a_retry(policy: Recovery) -> None:
    life = running(recovery=policy, retry=retries(2))
    for _ in range(4):
        life.lose()
        if policy is not Recovery.RESUME:
            life.resume()
        assert life.run.state is State.QUEUED
        life.running()
    assert (life.run.tries, life.run.crashes) == (0, 4)
    life.lose()
    assert (life.run.state, reason(life), life.run.attempt) == (State.FAILED, "POISON", 5)


def test_what_is_queued_has_no_owner_to_lose() -> None:
    with pytest.raises(Fenced):
        Life().lose()


@given(
    st.integers(1, 6),
    st.lists(st.sampled_from(["lost", "released", "paused", "failed", "failed"]), max_size=20),
)
def test_whatever_else_happens_n_attempts_fail_and_not_one_more(allowed: int, story: list[str]) -> None:
    life = running(retry=retries(allowed), idempotent=True)
    failed = 0
    for chapter in [*story, *["failed"] * allowed]:
        if life.run.state.final or (chapter == "lost" and life.run.crashes == 4):
            continue
        if life.run.state is not State.RUNNING:
            life.running()
        if chapter == "failed":
            failed += 1
            life.end(BROKEN)
        elif chapter == "lost":
            life.lose()
        elif chapter == "released":
            life.ask_to_stop(StopCause.RELEASE)
            life.end(Stopped())
        else:
            life.pause()
            life.end(Stopped())
            life.resume()
        assert life.run.tries == failed
    assert (life.run.state, failed) == (State.FAILED, allowed)
