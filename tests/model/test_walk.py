"""A random walk over lives of runs, each change judged, with an account of its own of who asked for the end first."""

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runcast.server.model import attempts, lifecycle
from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.change import Change, fold
from runcast.server.model.errors import FailedPrecondition, Fenced, WrongState
from runcast.server.model.event import LogLine, Report, Severity
from runcast.server.model.run import (
    AttemptState,
    CancelOutcome,
    Definition,
    Initiator,
    Recovery,
    Run,
    State,
    StopCause,
)
from tests.model import strategies as some
from tests.model.history import CENTURY, Store
from tests.model.life import BOOT_ID, Life, blank

WAITING = (State.SCHEDULED, State.QUEUED, State.BACKING_OFF)
STANDING = (State.PAUSED, State.INTERRUPTED)
RECOVERED = {
    Recovery.RESUME: State.QUEUED,
    Recovery.HOLD: State.INTERRUPTED,
    Recovery.RESUME_ON_WATCH: State.INTERRUPTED,
    Recovery.FAIL: State.FAILED,
}
LINE = LogLine(Severity.INFO, "from the grave")


class Walk(RuleBasedStateMachine):
    """Runs, one after the other, to which anything may happen at any time; `History` judges every change."""

    passed: ClassVar[Counter[tuple[State | None, State]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.asked_first: Initiator | None = None
        self.changes: list[Change] = []

    @property
    def run(self) -> Run:
        """The run as it stands."""
        return self.life.run

    def note(self, before: Run | None, change: Change | None) -> None:
        """Keep a committed change, and who was the first to ask for the end."""
        if change is None:
            assert before == self.run
            return
        if self.run.state is State.CANCELLING and self.asked_first is None:
            assert self.run.cancellation is not None
            self.asked_first = self.run.cancellation.initiator
        self.changes.append(change)
        Walk.passed[before.state if before else None, self.run.state] += 1

    @initialize(what=some.definitions, start_in=some.start_times)
    def somebody_starts_it(self, what: Definition, start_in: int | None) -> None:
        self.begin(what, start_in)

    def begin(self, what: Definition, start_in: int | None) -> None:
        """Go on with a new run."""
        self.life, self.asked_first, self.changes = Life(what, start_in), None, []
        self.note(None, self.life.created)
        later = start_in is not None and start_in > 0
        assert self.run.state is (State.SCHEDULED if later else State.QUEUED)

    # Time.

    @rule(step=some.steps)
    def time_passes(self, step: int) -> None:
        self.life.after(step)

    @precondition(lambda self: not self.run.state.final)
    @rule(step=some.steps)
    def somebody_looks_at_the_clock(self, step: int) -> None:
        before, wake = self.run, self.run.wake_time
        change = self.life.after(step).expire()
        assert (change is not None) == (wake is not None and wake <= self.life.now)
        self.note(before, change)

    @precondition(lambda self: self.run.wake_time is not None and not self.run.state.final)
    @rule()
    def the_next_timer_fires(self) -> None:
        before = self.run
        self.life.now = max(self.life.now, before.wake_time or 0)
        change = self.life.expire()
        assert change is not None
        self.note(before, change)

    @precondition(lambda self: self.run.state in (*WAITING, *STANDING))
    @rule(step=some.steps)
    def it_goes_on(self, step: int) -> None:
        """What leads on, so that a walk does not only stand about."""
        self.life.after(step)
        if self.run.state in STANDING:
            self.somebody_resumes_it()
        elif self.run.state is State.QUEUED:
            self.a_server_claims_it()
        else:
            self.the_next_timer_fires()

    # Calls.

    @precondition(lambda self: self.run.state is State.QUEUED)
    @rule()
    def a_server_claims_it(self) -> None:
        before = self.run
        self.note(before, self.life.claim())
        assert self.run.attempt == before.attempt + 1

    @precondition(lambda self: not self.run.state.final)
    @rule(who=some.initiators, immediate=st.booleans(), grace=some.graces, sure=some.sure)
    def somebody_cancels_it(self, who: Initiator, immediate: bool, grace: int | None, sure: bool) -> None:
        before = self.run
        if not sure and before.state is not State.CANCELLING:
            return
        self.note(before, self.life.cancel(who, reason="enough", immediate=immediate, grace=grace))
        after = self.run
        if before.state is State.CANCELLING:
            assert after.stop_cause is before.stop_cause
        else:
            assert after.state is (State.CANCELLING if before.state.executing else State.CANCELLED)
        if before.stop_deadline is not None:
            overdue = max(before.stop_deadline, self.life.now)
            assert (after.stop_deadline or 0) <= overdue, "it became less urgent"

    @precondition(lambda self: self.run.state in (*WAITING, State.RUNNING))
    @rule(needs_checkpoint=st.booleans())
    def somebody_pauses_it(self, needs_checkpoint: bool) -> None:
        before = self.run
        no_checkpoint = needs_checkpoint and not before.checkpoint_number
        if before.state is State.RUNNING and (no_checkpoint or not before.definition.pausable):
            with pytest.raises(FailedPrecondition):
                self.life.pause(require_checkpoint=needs_checkpoint)
            return
        self.note(before, self.life.pause(require_checkpoint=needs_checkpoint))
        assert self.run.state is (State.PAUSING if before.state is State.RUNNING else State.PAUSED)

    @precondition(lambda self: self.run.state in STANDING)
    @rule()
    def somebody_resumes_it(self) -> None:
        before = self.run
        self.note(before, self.life.resume())
        ahead = (before.next_attempt_time or 0) > self.life.now
        waits = State.BACKING_OFF if before.attempt else State.SCHEDULED
        assert self.run.state is (waits if ahead else State.QUEUED)

    # What executes.

    @precondition(lambda self: self.run.state.executing)
    @rule(told=some.reports)
    def it_reports(self, told: list[Report]) -> None:
        before = self.run
        self.note(before, self.life.report(*told))
        assert self.run.state is before.state

    @precondition(lambda self: self.run.state is State.RUNNING)
    @rule(grace=some.graces)
    def the_server_drains(self, grace: int | None) -> None:
        before = self.run
        self.note(before, self.life.ask_to_stop(StopCause.RELEASE, grace))
        assert self.run.stop_cause is (before.stop_cause or StopCause.RELEASE)
        if before.stop_deadline is not None:
            assert (self.run.stop_deadline or 0) <= before.stop_deadline

    @precondition(lambda self: self.run.state.executing)
    @rule(how=some.ends, dice=some.dice)
    def it_ends(self, how: End, dice: float) -> None:
        before = self.run
        self.note(before, self.life.end(how, dice))
        self.judge_end(before, how)

    @precondition(lambda self: self.run.state.executing)
    @rule(told=some.reports, how=some.ends, dice=some.dice)
    def it_reports_and_ends_in_one_change(self, told: list[Report], how: End, dice: float) -> None:
        now, number = self.life.now, self.run.attempt
        last_words = attempts.report(self.run, number, told, now)
        end = attempts.end(last_words.run, number, how, now, dice)
        before, change = self.run, fold([last_words, end])
        self.life.commit(change)
        self.note(before, change)
        self.judge_end(last_words.run, how)

    @precondition(lambda self: self.run.state.executing)
    @rule()
    def its_owner_is_lost(self) -> None:
        before = self.run
        self.note(before, self.life.lose())
        after = self.run
        assert (after.tries, after.crashes) == (before.tries, before.crashes + 1)
        if before.state is State.PAUSING:
            assert after.state is State.PAUSED
        elif before.state is State.CANCELLING:
            self.judge_end(before, Stopped(killed=True))
        elif after.crashes >= 5:
            assert after.state is State.FAILED
            assert after.outcome.error is not None
            assert after.outcome.error.reason == "POISON"
        else:
            assert after.state is RECOVERED[before.spec.recovery]

    def judge_end(self, before: Run, how: End) -> None:
        """What an end must have made of the run, told apart by the state and the first cause."""
        after = self.run
        if isinstance(how, Returned):
            errors = before.failure_count > 0
            assert after.state is (State.SUCCEEDED_WITH_ERRORS if errors else State.SUCCEEDED)
        elif before.state is State.CANCELLING:
            late = self.asked_first is Initiator.DEADLINE
            assert after.state is (State.TIMED_OUT if late else State.CANCELLED)
            assert after.cancellation is not None
            abandoned = after.cancellation.outcome is CancelOutcome.ABANDONED
            assert abandoned == isinstance(how, Abandoned)
        elif before.stop_cause is StopCause.RELEASE and not isinstance(how, Raised):
            assert after.tries == before.tries
            assert after.current is not None
            assert after.current.state is AttemptState.RELEASED
            again = before.definition.idempotent or before.definition.checkpointing
            if before.state is State.PAUSING:
                assert after.state is State.PAUSED
            else:
                assert after.state is (State.QUEUED if again else RECOVERED[before.spec.recovery])
        elif before.stop_cause is StopCause.PAUSE and isinstance(how, Stopped | Abandoned):
            assert after.state is State.PAUSED
        else:
            self.judge_failure(before, after)

    def judge_failure(self, before: Run, after: Run) -> None:
        """A failure that counts is followed by another attempt exactly where there is one left and it may be, after a pause
        that was asked for."""
        retry, error = before.spec.retry, after.outcome.attempt_error
        assert error is not None
        may = error.reason not in retry.non_retryable_reasons and error.metadata.get("retryable") != "false"
        again = may and before.tries + 1 < retry.max_attempts
        waits = State.PAUSED if before.state is State.PAUSING else State.BACKING_OFF
        assert (after.state is waits) == again
        if again:
            wait = (after.next_attempt_time or 0) - self.life.now
            assert 0 <= wait <= retry.max_backoff
        else:
            assert after.state in (State.FAILED, State.TIMED_OUT)

    # What must not be.

    @invariant()
    def an_attempt_that_is_not_current_is_fenced(self) -> None:
        run, now = self.run, self.life.now
        for number in range(run.attempt - 2, run.attempt + 3):
            if number == run.attempt and run.state.executing:
                continue
            with pytest.raises(Fenced):
                attempts.report(run, number, [LINE], now)
            with pytest.raises(Fenced):
                attempts.end(run, number, Returned("null"), now, 0.5)

    @invariant()
    def what_the_state_forbids_is_refused(self) -> None:
        run, now = self.run, self.life.now
        verbs: dict[Callable[[], object], tuple[State, ...]] = {
            lambda: lifecycle.claim(run, BOOT_ID, now): (State.QUEUED,),
            lambda: lifecycle.pause(run, now): (*WAITING, State.RUNNING),
            lambda: lifecycle.resume(run, now): STANDING,
            lambda: lifecycle.ask_to_stop(run, now, StopCause.RELEASE): (State.RUNNING,),
        }
        for verb, states in verbs.items():
            if run.state not in states:
                with pytest.raises(WrongState):
                    verb()
        if not run.state.executing:
            with pytest.raises(Fenced):
                attempts.lose(run, now)
        if run.state.final:
            assert lifecycle.cancel(run, now, Initiator.CLIENT, immediate=True) is None
            assert lifecycle.expire(run, now + CENTURY) is None

    @invariant()
    def the_first_cause_stands(self) -> None:
        run = self.run
        if run.state is State.CANCELLING:
            assert (run.stop_cause is StopCause.RUN_TIMEOUT) == (self.asked_first is Initiator.DEADLINE)

    # One after the other, and all at once.

    @precondition(lambda self: self.run.state.final)
    @rule(
        what=some.definitions,
        start_in=some.start_times,
        ends=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    )
    def another_is_started(self, what: Definition, start_in: int | None, ends: tuple[int, int]) -> None:
        first, last = sorted(end % (len(self.changes) + 1) for end in ends)
        if first < last:
            self.folds_like_single_changes(first, last)
        self.begin(what, start_in)

    def teardown(self) -> None:
        if self.changes:
            self.folds_like_single_changes(0, len(self.changes))

    def folds_like_single_changes(self, first: int, last: int) -> None:
        """Committed as one change, a stretch leaves behind what it leaves behind change by change."""
        singly, at_once = Store(), Store()
        for change in self.changes[:first]:
            singly.save(change)
            at_once.save(change)
        for change in self.changes[first:last]:
            singly.save(change)
        folded = fold(self.changes[first:last])
        at_once.save(folded)
        assert folded.run.version == first
        assert blank(at_once.read()) == blank(singly.read())
        assert at_once.events == singly.events
        assert at_once.closed == singly.closed
        assert at_once.checkpoint == singly.checkpoint


# Passes in seconds. A walk that fails is made short before it is shown, and that takes its time.
QUICK = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


@pytest.mark.timeout(400)
def test_no_walk_breaks_a_promise() -> None:
    Walk.passed.clear()
    run_state_machine_as_test(Walk, settings=QUICK)
    assert sum(Walk.passed.values()) > 400, "a walk that hardly moves proves nothing"
    assert len({state for _, state in Walk.passed}) > 9
