"""A store for one run, and a judge that objects to every change which breaks a promise about histories."""

import msgspec
from msgspec.structs import replace

from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Part
from runcast.server.model.event import (
    AttemptFinished,
    AttemptStarted,
    CancelRequested,
    CheckpointSaved,
    Event,
    StateChanged,
)
from runcast.server.model.run import (
    Attempt,
    AttemptState,
    CancelOutcome,
    Checkpoint,
    Definition,
    Outcome,
    Run,
    State,
)

HOT_ROW_BYTES = 1024
CENTURY = 100 * 365 * 86_400 * 1_000_000
CLOCK_RUNS = (State.QUEUED, State.RUNNING, State.BACKING_OFF, State.PAUSING, State.CANCELLING)
CLOCK_STANDS = (State.PAUSED, State.INTERRUPTED)
SUCCESSES = (State.SUCCEEDED, State.SUCCEEDED_WITH_ERRORS)


def hot_row(run: Run) -> Run:
    """The part of a run that is written with every change."""
    return replace(run, definition=Definition(), outcome=Outcome())


class Store:
    """What a repository keeps of one run: of the parts, only those that a change says it rewrites."""

    def __init__(self) -> None:
        self.hot: Run | None = None
        self.definition = Definition()
        self.outcome = Outcome()
        self.events: list[Event] = []
        self.closed: list[Attempt] = []
        self.checkpoint: Checkpoint | None = None

    def save(self, change: Change) -> None:
        """Store a change without judging it."""
        if change.parts & Part.DEFINITION:
            self.definition = change.run.definition
        if change.parts & Part.OUTCOME:
            self.outcome = change.run.outcome
        self.hot = hot_row(change.run)
        self.events.extend(change.events)
        self.closed.extend(change.closed)
        self.checkpoint = change.checkpoint or self.checkpoint

    def read(self) -> Run:
        """The run, put together from its parts."""
        assert self.hot is not None
        return replace(self.hot, definition=self.definition, outcome=self.outcome)


class History(Store):
    """A store that believes nothing: what it knows of attempts, checkpoints and time, it counts from the events."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0
        self.open: int | None = None
        self.ended: dict[int, AttemptFinished] = {}
        self.counted_tries = 0
        self.checkpoints = 0
        self.state: State | None = None
        self.asked = False
        self.time = 0
        self.ticked = 0

    def commit(self, change: Change, now: int) -> None:
        """Judge and store a change that was decided at `now` on the run as it stands."""
        before = self.read() if self.hot is not None else None
        self._numbers(before, change)
        for event in change.events:
            self._follow(event, now)
        run = change.run
        self.save(change)
        assert self.read() == run, "a part changed that the change does not name"
        assert self.state is run.state, "the state changed without its event"
        self._attempts(before, change)
        self._shape(run)
        self._outcome(run, change)
        self._run_clock(before, run, now)
        assert_wakes_exactly_when_something_is_due(run)
        assert len(msgspec.msgpack.encode(hot_row(run))) <= HOT_ROW_BYTES
        self.time = now

    def _numbers(self, before: Run | None, change: Change) -> None:
        run = change.run
        last, version = (before.last_sequence, before.version) if before else (0, -1)
        if before is not None:
            assert not before.state.final, "a final run changed"
            assert run.definition == before.definition
            assert (run.id, run.create_time) == (before.id, before.create_time)
        assert run.version == version + 1
        assert [event.sequence for event in change.events] == list(range(last + 1, run.last_sequence + 1))
        assert run.first_sequence == 1

    def _follow(self, event: Event, now: int) -> None:
        assert event.time == now
        body = event.body
        if isinstance(body, StateChanged):
            assert body.from_state is self.state, "the chain of states is broken"
            assert body.to_state is not self.state
            assert (body.next_attempt_time is not None) == (body.to_state is State.BACKING_OFF)
            self.state = body.to_state
        elif isinstance(body, AttemptStarted):
            assert self.open is None, "an attempt began before the last one ended"
            self.started += 1
            self.open = event.attempt
            assert event.attempt == self.started
            assert body.from_checkpoint == (self.checkpoints > 0)
        elif isinstance(body, AttemptFinished):
            assert self.open == event.attempt, "an attempt ended that was not running"
            assert body.state is not AttemptState.RUNNING
            self.counted_tries += self.state is not State.CANCELLING and body.error is not None
            self.ended[event.attempt] = body
            self.open = None
        elif isinstance(body, CheckpointSaved):
            self.checkpoints += 1
            assert body.number == self.checkpoints
        elif isinstance(body, CancelRequested):
            self.asked = True

    def _attempts(self, before: Run | None, change: Change) -> None:
        run = change.run
        assert run.attempt == self.started
        assert (self.open is not None) == run.state.executing
        assert [attempt.number for attempt in self.closed] == list(range(1, run.attempt))
        for attempt in change.closed:
            assert before is not None
            assert before.current is not None
            assert replace(attempt, error=None, traceback="") == before.current
            assert attempt.error == self.ended[attempt.number].error
        current = run.current
        if current is None:
            assert run.attempt == 0
            return
        assert current.number == run.attempt
        if run.state.executing:
            assert (current.state, current.owner, current.end_time) == (AttemptState.RUNNING, run.owner, None)
            return
        ended = self.ended[current.number]
        assert (current.state, run.outcome.attempt_error) == (ended.state, ended.error)
        assert current.end_time is not None
        failed = ended.state in (AttemptState.FAILED, AttemptState.TIMED_OUT)
        assert (ended.error is not None) == failed

    def _shape(self, run: Run) -> None:
        state = run.state
        assert bool(run.owner) == state.executing
        if state in (State.SCHEDULED, State.BACKING_OFF):
            assert run.next_attempt_time is not None
        elif state is not State.PAUSED:
            assert run.next_attempt_time is None
        if state in (State.PAUSING, State.CANCELLING):
            assert run.stop_cause is not None
        assert (run.stop_cause is None) == (run.stop_deadline is None)
        if run.stop_cause is None:
            assert run.kill_time is None
        assert run.stop_cause is None or state.executing
        lost = sum(ended.state is AttemptState.LOST for ended in self.ended.values())
        assert (run.tries, run.crashes) == (self.counted_tries, lost)
        assert run.tries <= run.spec.retry.max_attempts
        assert (self.checkpoint.number if self.checkpoint else 0) == run.checkpoint_number == self.checkpoints

    def _outcome(self, run: Run, change: Change) -> None:
        state, outcome, cancellation = run.state, run.outcome, run.cancellation
        assert (run.end_time is not None) == state.final
        assert (outcome.output is not None) == (state in SUCCESSES)
        assert (outcome.error is not None) == (state.final and state not in SUCCESSES)
        assert (cancellation is not None) == self.asked
        if cancellation is not None:
            assert (cancellation.outcome is CancelOutcome.PENDING) == (state is State.CANCELLING)
            assert (cancellation.outcome is CancelOutcome.TOO_LATE) == (state in SUCCESSES)
        if state.final:
            last = change.events[-1].body
            assert isinstance(last, StateChanged), "something stands behind the final state"
            assert last.to_state is state
            assert last.reason == (outcome.error.reason if outcome.error else "")

    def _run_clock(self, before: Run | None, run: Run, now: int) -> None:
        """The run timeout counts in every state but SCHEDULED, PAUSED and INTERRUPTED, over all attempts."""
        if before is not None and before.state in CLOCK_RUNS:
            self.ticked += now - self.time
        whole = run.spec.timeouts.run
        clock = (run.run_deadline, run.run_budget)
        if whole is None or run.queue_time is None or run.state.final:
            assert clock == (None, None)
        elif run.state in CLOCK_RUNS:
            assert clock == (now - self.ticked + whole, None)
        else:
            assert run.state in CLOCK_STANDS
            self.ticked = min(self.ticked, whole)
            assert clock == (None, whole - self.ticked)


def assert_wakes_exactly_when_something_is_due(run: Run) -> None:
    """`wake_time` is the first instant at which `expire` does something; a final run's is when it is removed."""
    wake = run.wake_time
    if run.state.final:
        assert wake == run.expire_time
        assert lifecycle.expire(run, run.create_time + CENTURY) is None
    elif wake is None:
        assert lifecycle.expire(run, run.create_time + CENTURY) is None, "nobody would wake it for that"
    else:
        assert lifecycle.expire(run, wake - 1) is None, "it wakes too late"
        assert lifecycle.expire(run, wake) is not None, "it wakes for nothing"
