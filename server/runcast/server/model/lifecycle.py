"""The life of a run as pure functions, Run → Change: the whole state table, decided without I/O or a clock.

Everyone who changes a run goes through here. `now` is in microseconds, `dice` a random number from 0 to 1. What the
table does not allow raises WrongState; a write by an attempt that is not the current one raises Fenced.
What happens to an attempt once it has begun is in `attempts.py`.
"""

from typing import Any

from msgspec.structs import force_setattr, replace

from runcast.server.model.change import Change, Part
from runcast.server.model.errors import FailedPrecondition, WrongState
from runcast.server.model.event import (
    AttemptFinished,
    AttemptStarted,
    Body,
    CancelRequested,
    ChildLinked,
    Event,
    StateChanged,
)
from runcast.server.model.run import (
    Attachment,
    Attempt,
    AttemptState,
    Cancellation,
    CancelOutcome,
    Checkpoint,
    Definition,
    Error,
    Initiator,
    OnDisconnect,
    Run,
    State,
    StopCause,
)
from runcast.server.model.timers import after, due_stop, earliest, interest_end, passed, wake_time

_WAITING = (State.SCHEDULED, State.QUEUED, State.BACKING_OFF)
_STANDING = (State.PAUSED, State.INTERRUPTED)
_CLOSING = (State.CANCELLING, State.CANCELLED, State.TIMED_OUT)
_CANCELLED = 1
DEADLINE_EXCEEDED = 4
DATA_LOSS = "DATA_LOSS"
"""The reason of the error of a stand-in."""
_CREATED = StateChanged(None, State.QUEUED)
_CLAIMED = StateChanged(State.QUEUED, State.RUNNING)


def next_version(
    run: Run,
    now: int,
    bodies: tuple[Body, ...],
    *,
    parts: int = Part.NONE,
    checkpoint: Checkpoint | None = None,
    closed: tuple[Attempt, ...] = (),
    **fields: Any,
) -> Change:
    """The run's next version with `fields` set and `bodies` numbered behind its journal."""
    last = run.last_sequence
    number = fields.get("attempt", run.attempt)
    events = tuple([Event(sequence, now, number, body) for sequence, body in enumerate(bodies, last + 1)])
    fields["version"] = run.version + 1
    fields["last_sequence"] = last + len(events)
    changed = replace(run, **fields)
    if changed.children and changed.state in _CLOSING and run.state not in _CLOSING:
        force_setattr(changed, "cascading", True)
    force_setattr(changed, "wake_time", wake_time(changed))
    return Change(changed, events, parts, checkpoint, closed)


def create(
    run_id: str,
    definition: Definition,
    now: int,
    start_after: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> Change:
    """A new run: SCHEDULED where `start_after` is ahead, else QUEUED. It goes on from `checkpoint`, of another run."""
    later = start_after is not None and start_after > now
    state = State.SCHEDULED if later else State.QUEUED
    blank = Run(run_id, -1, state, now, definition=definition)
    fields: dict[str, Any] = {"next_attempt_time": start_after} if later else _queue(blank, now)
    saved = _its_first(checkpoint)
    if saved is not None:
        fields["checkpoint_number"] = saved.number
    return next_version(
        blank, now, (StateChanged(None, state),), parts=Part.DEFINITION, checkpoint=saved, **fields
    )


def _its_first(checkpoint: Checkpoint | None) -> Checkpoint | None:
    return None if checkpoint is None else replace(checkpoint, number=1)


def create_claimed(
    run_id: str, definition: Definition, owner: str, now: int, checkpoint: Checkpoint | None = None
) -> Change:
    """A new run that RUNs at once: what `create` and `claim` by `owner` fold into."""
    saved = _its_first(checkpoint)
    goes_on = saved is not None
    run = Run(
        run_id,
        0,
        State.RUNNING,
        now,
        1,
        owner,
        last_sequence=3,
        current=Attempt(1, AttemptState.RUNNING, owner, now, from_checkpoint=goes_on),
        checkpoint_number=1 if goes_on else 0,
        queue_time=now,
        start_time=now,
        run_deadline=after(now, definition.spec.timeouts.run),
        definition=definition,
    )
    force_setattr(run, "wake_time", wake_time(run))
    events = (
        Event(1, now, 0, _CREATED),
        Event(2, now, 1, _CLAIMED),
        Event(3, now, 1, AttemptStarted(owner, goes_on)),
    )
    return Change(run, events, Part.DEFINITION, saved)


def claim(run: Run, owner: str, now: int) -> Change:
    """QUEUED → RUNNING: the server `owner` begins the next attempt. To be committed before any code starts."""
    _allow(run, "be claimed", State.QUEUED)
    from_checkpoint = run.checkpoint_number > 0
    number = run.attempt + 1
    parts, outcome = Part.NONE, run.outcome
    closed: tuple[Attempt, ...] = ()
    if run.current is not None:
        closed = (replace(run.current, error=outcome.attempt_error, traceback=outcome.traceback),)
        if outcome.attempt_error is not None:
            outcome, parts = replace(outcome, attempt_error=None, traceback=""), Part.OUTCOME
    return next_version(
        run,
        now,
        (_CLAIMED, AttemptStarted(owner, from_checkpoint)),
        parts=parts,
        closed=closed,
        state=State.RUNNING,
        attempt=number,
        owner=owner,
        current=Attempt(number, AttemptState.RUNNING, owner, now, from_checkpoint=from_checkpoint),
        start_time=run.start_time or now,
        outcome=outcome,
    )


def cancel(
    run: Run,
    now: int,
    initiator: Initiator,
    *,
    reason: str = "",
    immediate: bool = False,
    grace: int | None = None,
) -> Change | None:
    """Ask for the end; None where nothing changes (a final run, or a request no more urgent than one before).

    A run without an executor is CANCELLED at once, others become CANCELLING. A later request only escalates.
    """
    if run.state.final:
        return None
    if run.state is State.CANCELLING:
        return _escalate(run, now, initiator, reason=reason, immediate=immediate, grace=grace)
    asked = CancelRequested(initiator, reason, immediate)
    if not run.state.executing:
        ended = Cancellation(initiator, reason, now, CancelOutcome.ACKNOWLEDGED, now, immediate=immediate)
        outcome = replace(run.outcome, error=cancelled_error(reason))
        return finish(
            run, now, State.CANCELLED, (asked,), parts=Part.OUTCOME, cancellation=ended, outcome=outcome
        )
    return _cancelling(run, now, StopCause.CANCEL, asked, grace)


def cancelled_error(reason: str) -> Error:
    """What a CANCELLED run says it ended with; `reason` in the words of whoever asked, or empty."""
    return Error(_CANCELLED, "CANCELLED", reason or "the run was cancelled")


def _cancelling(run: Run, now: int, cause: StopCause, asked: CancelRequested, grace: int | None) -> Change:
    grace = run.spec.timeouts.cancel_grace if grace is None else grace
    return next_version(
        run,
        now,
        (asked, StateChanged(run.state, State.CANCELLING)),
        state=State.CANCELLING,
        cancellation=Cancellation(asked.initiator, asked.reason, now, immediate=asked.immediate),
        stop_cause=cause,
        stop_deadline=now if asked.immediate else earliest(now + grace, run.stop_deadline),
        kill_time=earliest(run.kill_time, now) if asked.immediate else run.kill_time,
    )


def _escalate(
    run: Run, now: int, initiator: Initiator, *, reason: str, immediate: bool, grace: int | None
) -> Change | None:
    if run.kill_time is not None or run.cancellation is None:
        return None
    asked = CancelRequested(initiator, reason, immediate)
    if immediate:
        fields: dict[str, Any] = {"stop_deadline": now, "kill_time": now, "cascading": run.children > 0}
        cancellation = replace(run.cancellation, immediate=True)
        return next_version(run, now, (asked,), cancellation=cancellation, **fields)
    deadline = after(now, grace)
    if deadline is None or run.stop_deadline is None or deadline >= run.stop_deadline:
        return None
    return next_version(run, now, (asked,), stop_deadline=deadline)


def link_child(run: Run, child_id: str, now: int) -> Change:
    """Count a child; to be committed with its creation. A cancelling or final run starts none."""
    if run.state.final or run.state is State.CANCELLING:
        message = f"run {run.id} is {run.state.name}: nothing is started under it any more"
        raise FailedPrecondition(run.id, message, reason="PARENT_CLOSED", state=run.state.name)
    return next_version(run, now, (ChildLinked(child_id),), children=run.children + 1)


def cascaded(run: Run, now: int) -> Change | None:
    """Its end has reached all children that it concerns; None where that is known."""
    return next_version(run, now, (), cascading=False) if run.cascading else None


def pause(run: Run, now: int, reason: str = "", require_checkpoint: bool = False) -> Change:
    """Let a run stand still: at once where no code runs, else PAUSING until its attempt has stopped."""
    _allow(run, "be paused", *_WAITING, State.RUNNING)
    if run.state is not State.RUNNING:
        return stand(run, now, State.PAUSED, (), reason)
    definition = run.definition
    if not definition.pausable:
        message = f"provider {definition.provider!r} is not pausable; cancel the run, or start it again later"
        raise FailedPrecondition(run.id, message, reason="NOT_PAUSABLE")
    if require_checkpoint and run.checkpoint_number == 0:
        raise FailedPrecondition(run.id, f"run {run.id} has saved no checkpoint yet", reason="NO_CHECKPOINT")
    return next_version(
        run,
        now,
        (StateChanged(State.RUNNING, State.PAUSING, reason),),
        state=State.PAUSING,
        stop_cause=run.stop_cause or StopCause.PAUSE,
        stop_deadline=run.stop_deadline or now + run.spec.timeouts.cancel_grace,
    )


def resume(run: Run, now: int) -> Change:
    """PAUSED or INTERRUPTED → QUEUED, or back to where it waited for a time that is still ahead."""
    _allow(run, "be resumed", *_STANDING)
    ahead = run.next_attempt_time is not None and run.next_attempt_time > now
    state = State.QUEUED
    if ahead:
        state = State.SCHEDULED if run.queue_time is None else State.BACKING_OFF
    if state is State.QUEUED:
        return requeue(run, now, ())
    at = run.next_attempt_time if state is State.BACKING_OFF else None
    changed = StateChanged(run.state, state, next_attempt_time=at)
    deadline = after(now, run.run_budget)
    return next_version(run, now, (changed,), state=state, run_deadline=deadline, run_budget=None)


def expire(run: Run, now: int) -> Change | None:
    """What the passing of time does to a run; None while its `wake_time` is ahead, and for a final run."""
    state = run.state
    attachment = run.attachment
    if attachment is not None and state is not State.CANCELLING and interest_end(attachment) <= now:
        return _lose_interest(run, attachment, now)
    if state.executing:
        return _expire_executing(run, now)
    if state in (State.QUEUED, State.BACKING_OFF) and passed(run.run_deadline, now):
        return _timed_out(run, now, "TIMEOUT_RUN", "the run timeout passed before it could end")
    if state in (State.SCHEDULED, State.BACKING_OFF) and passed(run.next_attempt_time, now):
        return requeue(run, now, ())
    if state is State.QUEUED and passed(after(run.queue_time, run.spec.timeouts.queue), now):
        return _timed_out(
            run, now, "TIMEOUT_QUEUE", "the queue timeout passed before a server had a free slot"
        )
    return None


def _lose_interest(run: Run, attachment: Attachment, now: int) -> Change:
    """The stream's lease ran out: its grace begins. The grace is over: what the owner wanted then."""
    if attachment.gone_time is None:
        return next_version(run, now, (), attachment=replace(attachment, gone_time=now))
    left = replace(run, attachment=None)
    reason = "its owner's stream was gone for longer than the grace"
    pausable = run.state in _WAITING or (run.state is State.RUNNING and run.definition.pausable)
    if attachment.policy is OnDisconnect.PAUSE and pausable:
        return pause(left, now, reason)
    cancelled = None
    if attachment.policy is OnDisconnect.CANCEL:
        cancelled = cancel(left, now, Initiator.DISCONNECT, reason=reason)
    return cancelled or next_version(left, now, ())


def _expire_executing(run: Run, now: int) -> Change | None:
    if run.state is not State.CANCELLING:
        cause = due_stop(run, now)
        if cause is StopCause.RUN_TIMEOUT:
            asked = CancelRequested(Initiator.DEADLINE, "run timeout")
            return _cancelling(run, now, cause, asked, None)
        if cause is not None and run.state is State.RUNNING:
            return ask_to_stop(run, now, cause)
    if run.kill_time is None and passed(run.stop_deadline, now):
        return next_version(run, now, (), kill_time=now)
    return None


def ask_to_stop(run: Run, now: int, cause: StopCause, grace: int | None = None) -> Change:
    """Record why a RUNNING attempt is asked to stop while the run goes on: a timeout of it, or the server's drain.

    The first cause decides: a later one can only bring the end of the grace nearer.
    """
    _allow(run, "be asked to stop", State.RUNNING)
    grace = run.spec.timeouts.cancel_grace if grace is None else grace
    deadline = earliest(now + grace, run.stop_deadline)
    return next_version(run, now, (), stop_cause=run.stop_cause or cause, stop_deadline=deadline)


def _timed_out(run: Run, now: int, reason: str, message: str) -> Change:
    outcome = replace(run.outcome, error=Error(DEADLINE_EXCEEDED, reason, message))
    return finish(run, now, State.TIMED_OUT, (), parts=Part.OUTCOME, outcome=outcome)


def requeue(run: Run, now: int, bodies: tuple[Body, ...], **fields: Any) -> Change:
    """Any state → QUEUED, without an owner."""
    bodies = (*bodies, StateChanged(run.state, State.QUEUED))
    return next_version(run, now, bodies, **(_REST | _queue(run, now) | fields))


def stand(
    run: Run, now: int, state: State, bodies: tuple[Body, ...], reason: str = "", **fields: Any
) -> Change:
    """Any state → PAUSED or INTERRUPTED, without an owner and with the run timeout standing still."""
    bodies = (*bodies, StateChanged(run.state, state, reason))
    budget = None if run.run_deadline is None else max(0, run.run_deadline - now)
    clock = {"state": state, "run_deadline": None, "run_budget": budget}
    return next_version(run, now, bodies, **(_REST | clock | fields))


def finish(
    run: Run, now: int, state: State, bodies: tuple[Body, ...], parts: int = Part.NONE, **fields: Any
) -> Change:
    """Any state → a final one; the change of state is the run's last event, its reason that of the run's error."""
    error = fields.get("outcome", run.outcome).error
    bodies = (*bodies, StateChanged(run.state, state, error.reason if error else ""))
    end = {
        **_REST,
        "state": state,
        "end_time": now,
        "run_deadline": None,
        "run_budget": None,
        "next_attempt_time": None,
        "expire_time": after(now, run.spec.retention),
        "attachment": None,
        **fields,
    }
    return next_version(run, now, bodies, parts=parts, **end)


def is_stand_in(run: Run) -> bool:
    """Whether this is what could be read of a run of which something is damaged, and not the run itself."""
    error = run.outcome.error
    return error is not None and error.reason == DATA_LOSS


def give_up(run: Run, now: int) -> Change:
    """A stand-in → FAILED, or as it ended; all parts are written anew, over what cannot be read."""
    whole = Part.DEFINITION | Part.OUTCOME
    if run.state.final:
        return Change(replace(run, version=run.version + 1, wake_time=None), parts=whole)
    if run.current is None or not run.state.executing:
        return finish(run, now, State.FAILED, (), parts=whole)
    lost = replace(run.current, state=AttemptState.LOST, end_time=now)
    return finish(run, now, State.FAILED, (AttemptFinished(AttemptState.LOST),), parts=whole, current=lost)


_REST: dict[str, Any] = {"owner": "", "stop_cause": None, "stop_deadline": None, "kill_time": None}


def _queue(run: Run, now: int) -> dict[str, Any]:
    deadline = run.run_deadline
    if deadline is None:
        budget = run.spec.timeouts.run if run.run_budget is None else run.run_budget
        deadline = after(now, budget)
    return {
        "state": State.QUEUED,
        "queue_time": now,
        "next_attempt_time": None,
        "run_deadline": deadline,
        "run_budget": None,
    }


def _allow(run: Run, verb: str, *states: State) -> None:
    if run.state not in states:
        raise WrongState(run.id, run.state.name, verb)
