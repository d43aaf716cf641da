"""What an attempt does to its run, from its first report to its end or loss; pure functions like those of `lifecycle`."""

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.change import Change, Part
from runcast.server.model.errors import Fenced
from runcast.server.model.event import (
    AttemptFinished,
    Body,
    CancelAcknowledged,
    CheckpointSaved,
    Report,
    SaveCheckpoint,
    StateChanged,
    Summary,
)
from runcast.server.model.lifecycle import (
    DEADLINE_EXCEEDED,
    cancelled_error,
    finish,
    next_version,
    requeue,
    stand,
)
from runcast.server.model.run import (
    Attempt,
    AttemptState,
    CancelOutcome,
    Checkpoint,
    EntityRef,
    Error,
    Failure,
    Payload,
    Progress,
    Run,
    State,
    StopCause,
)
from runcast.server.model.timers import backoff, recovered_state

_K = TypeVar("_K", Failure, EntityRef)
KEPT_FAILURES = 1_000
KEPT_REFS = 1_000
_KEPT_BYTES = 512 * 1024
_ABORTED = 10
_TIMEOUTS = {
    StopCause.ATTEMPT_TIMEOUT: ("TIMEOUT_ATTEMPT", "the attempt timeout passed"),
    StopCause.HEARTBEAT_TIMEOUT: (
        "TIMEOUT_HEARTBEAT",
        "the provider reported nothing for the heartbeat timeout",
    ),
}


def fence(run: Run, attempt: int) -> None:
    """Raise Fenced unless `attempt` is the run's current one and executing."""
    if run.attempt != attempt or not run.state.executing:
        message = (
            f"attempt {attempt} of run {run.id} is over (the run is {run.state.name}, attempt {run.attempt})"
        )
        raise Fenced(message)


def report(run: Run, attempt: int, reports: Sequence[Report], now: int) -> Change:
    """What the attempt told, in order, as events; progress, failures, refs and the checkpoint also on the run."""
    fence(run, attempt)
    bodies: list[Body] = []
    fields: dict[str, Any] = {"current": _current(run, heartbeat_time=now)}
    failures: list[Failure] = []
    refs: list[EntityRef] = []
    summary: str | None = None
    checkpoint: Checkpoint | None = None
    for told in reports:
        if isinstance(told, Summary):
            summary = told.text
        elif isinstance(told, SaveCheckpoint):
            number = (checkpoint.number if checkpoint else run.checkpoint_number) + 1
            checkpoint = Checkpoint(number, told.data, told.schema_version)
            bodies.append(CheckpointSaved(number, len(told.data), told.schema_version))
        else:
            bodies.append(told)
            if isinstance(told, Progress):
                fields["progress"] = told
            elif isinstance(told, Failure):
                failures.append(told)
            elif isinstance(told, EntityRef):
                refs.append(told)
    if checkpoint is not None:
        fields["checkpoint_number"] = checkpoint.number
    parts = Part.NONE
    if failures or refs or summary is not None:
        parts = Part.OUTCOME
        fields["failure_count"] = run.failure_count + len(failures)
        fields["outcome"] = replace(
            run.outcome,
            failures=_kept(run.outcome.failures, failures, KEPT_FAILURES),
            refs=_kept(run.outcome.refs, refs, KEPT_REFS),
            summary=run.outcome.summary if summary is None else summary,
        )
    return next_version(run, now, tuple(bodies), parts=parts, checkpoint=checkpoint, **fields)


def _kept(before: tuple[_K, ...], told: Sequence[_K], most: int) -> tuple[_K, ...]:
    """What the run itself keeps of them: the first `most`, as long as they are not too large for an answer. All are in
    the journal."""
    if not told or len(before) >= most:
        return before
    room = _KEPT_BYTES - sum(map(_length, before))
    kept: list[_K] = list(before)
    for one in told:
        room -= _length(one)
        if room < 0 or len(kept) >= most:
            break
        kept.append(one)
    return tuple(kept)


def _length(told: Failure | EntityRef) -> int:
    """At most so many bytes in UTF-8, and a little around them."""
    if isinstance(told, Failure):
        texts = (told.target, told.code, told.message)
    else:
        texts = (told.type, told.id, told.error)
    return 16 + sum(len(text) if text.isascii() else 4 * len(text) for text in texts)


def end(run: Run, attempt: int, how: End, now: int, dice: float) -> Change:
    """The attempt is over: what that makes of the run, by its state and by why it was asked to stop, if it was."""
    fence(run, attempt)
    if isinstance(how, Returned):
        return _succeed(run, how, now)
    if run.state is State.CANCELLING:
        return _cancelled(run, how, now)
    # What fails by itself while its server drains has failed: to hide that would run it again for ever.
    genuine = isinstance(how, Raised) and not how.while_stopping
    if run.stop_cause is StopCause.RELEASE and not genuine:
        return _release(run, now)
    if (
        run.state is State.PAUSING
        and isinstance(how, Stopped | Abandoned)
        and run.stop_cause is StopCause.PAUSE
    ):
        current = _close(run, AttemptState.PAUSED, now)
        return stand(run, now, State.PAUSED, _finished(AttemptState.PAUSED), current=current)
    error, traceback, final = _failure(run, how)
    return _fail(run, error, traceback, now=now, dice=dice, final=final)


def _failure(run: Run, how: End) -> tuple[Error, str, State]:
    """Why an attempt failed, its traceback, and the final state that it leads to where it is not retried."""
    traceback = how.traceback if isinstance(how, Raised) else ""
    if run.stop_cause in _TIMEOUTS:
        reason, message = _TIMEOUTS[run.stop_cause]
        return Error(DEADLINE_EXCEEDED, reason, message), traceback, State.TIMED_OUT
    if isinstance(how, Raised):
        return how.error, traceback, State.FAILED
    error = Error(_ABORTED, "PROVIDER_STOPPED", "the provider's code stopped although nobody asked it to")
    return error, traceback, State.FAILED


def _succeed(run: Run, how: Returned, now: int) -> Change:
    state = State.SUCCEEDED_WITH_ERRORS if run.failure_count else State.SUCCEEDED
    fields: dict[str, Any] = {
        "current": _close(run, AttemptState.SUCCEEDED, now),
        "outcome": replace(run.outcome, output=Payload(json=how.output)),
    }
    if run.cancellation is not None:
        fields["cancellation"] = replace(run.cancellation, outcome=CancelOutcome.TOO_LATE)
    return finish(run, now, state, _finished(AttemptState.SUCCEEDED), parts=Part.OUTCOME, **fields)


def _cancelled(run: Run, how: End | None, now: int) -> Change:
    """CANCELLING → its end; `how` is None where the owner was lost."""
    asked, acknowledged, outcome = run.cancellation, None, CancelOutcome.KILLED
    bodies: tuple[Body, ...] = ()
    if isinstance(how, Abandoned):
        outcome = CancelOutcome.ABANDONED
    elif isinstance(how, Raised) or (isinstance(how, Stopped) and not how.killed):
        outcome, acknowledged = CancelOutcome.ACKNOWLEDGED, now
        bodies = (CancelAcknowledged(),)
    timed_out = run.stop_cause is StopCause.RUN_TIMEOUT
    state = State.TIMED_OUT if timed_out else State.CANCELLED
    ended = AttemptState.TIMED_OUT if timed_out else AttemptState.CANCELLED
    ended = AttemptState.LOST if how is None else ended
    error = (
        Error(DEADLINE_EXCEEDED, "TIMEOUT_RUN", "the run timeout passed")
        if timed_out
        else cancelled_error(asked.reason if asked else "")
    )
    kill_time = None if acknowledged else (run.kill_time or now)
    cancellation = asked and replace(
        asked, outcome=outcome, acknowledge_time=acknowledged, kill_time=kill_time
    )
    attempt_error = error if ended is AttemptState.TIMED_OUT else None
    traceback = how.traceback if isinstance(how, Raised) else ""
    outcomes = replace(run.outcome, error=error, attempt_error=attempt_error, traceback=traceback)
    return finish(
        run,
        now,
        state,
        (*bodies, AttemptFinished(ended, attempt_error)),
        parts=Part.OUTCOME,
        outcome=outcomes,
        cancellation=cancellation,
        current=_close(run, ended, now),
    )


def _fail(run: Run, error: Error, traceback: str, *, now: int, dice: float, final: State) -> Change:
    """A failed or timed out attempt: another one later where the policy allows it, else the run's end.

    Where the run was to pause, it stands still now, and resumes no earlier than that other one was due.
    """
    timed_out = final is State.TIMED_OUT
    ended = AttemptState.TIMED_OUT if timed_out else AttemptState.FAILED
    tries, retry = run.tries + 1, run.spec.retry
    outcome = replace(run.outcome, attempt_error=error, traceback=traceback)
    fields: dict[str, Any] = {"tries": tries, "current": _close(run, ended, now), "outcome": outcome}
    may_retry = error.reason not in retry.non_retryable_reasons and error.metadata.get("retryable") != "false"
    if may_retry and tries < retry.max_attempts and run.state is not State.CANCELLING:
        at = now + backoff(retry, tries, dice)
        if run.state is State.PAUSING:
            bodies = (AttemptFinished(ended, error),)
            fields |= {"parts": Part.OUTCOME, "next_attempt_time": at}
            return stand(run, now, State.PAUSED, bodies, error.reason, **fields)
        changed = StateChanged(run.state, State.BACKING_OFF, error.reason, at)
        rest = {"owner": "", "stop_cause": None, "stop_deadline": None, "kill_time": None}
        return next_version(
            run,
            now,
            (AttemptFinished(ended, error), changed),
            parts=Part.OUTCOME,
            state=State.BACKING_OFF,
            next_attempt_time=at,
            **(rest | fields),
        )
    fields["outcome"] = replace(outcome, error=error)
    return finish(run, now, final, (AttemptFinished(ended, error),), parts=Part.OUTCOME, **fields)


def _release(run: Run, now: int) -> Change:
    """The server drains and the code has stopped: back to the queue, uncounted, or by the recovery policy."""
    definition = run.definition
    current = _close(run, AttemptState.RELEASED, now)
    if run.state is State.PAUSING:
        return stand(run, now, State.PAUSED, _finished(AttemptState.RELEASED), current=current)
    if definition.idempotent or definition.checkpointing:
        return requeue(run, now, _finished(AttemptState.RELEASED), current=current)
    return _recover(run, now, AttemptState.RELEASED)


def lose(run: Run, now: int) -> Change:
    """The owner is lost, its code with it: by the recovery policy, or to the end that was asked for."""
    if not run.state.executing:
        raise Fenced(f"run {run.id} is {run.state.name}: it has no owner to lose")
    run = replace(run, crashes=run.crashes + 1)
    if run.state is State.CANCELLING:
        return _cancelled(run, None, now)
    if run.state is State.PAUSING:
        current = _close(run, AttemptState.LOST, now)
        return stand(run, now, State.PAUSED, _finished(AttemptState.LOST), current=current)
    return _recover(run, now, AttemptState.LOST)


def _recover(run: Run, now: int, ended: AttemptState) -> Change:
    state = recovered_state(run)
    bodies, current = _finished(ended), _close(run, ended, now)
    if state is State.QUEUED:
        return requeue(run, now, bodies, current=current)
    if state is State.INTERRUPTED:
        return stand(run, now, state, bodies, reason="OWNER_LOST", current=current)
    poison = run.crashes >= 5
    error = Error(
        _ABORTED,
        "POISON" if poison else "OWNER_LOST",
        f"the run took its server down {run.crashes} times"
        if poison
        else "the server that executed it was lost",
    )
    outcome = replace(run.outcome, error=error)
    return finish(run, now, State.FAILED, bodies, parts=Part.OUTCOME, outcome=outcome, current=current)


_FINISHED: dict[AttemptState, tuple[Body, ...]] = {state: (AttemptFinished(state),) for state in AttemptState}


def _finished(state: AttemptState) -> tuple[Body, ...]:
    return _FINISHED[state]


def _close(run: Run, state: AttemptState, now: int) -> Attempt:
    return _current(run, state=state, end_time=now)


def _current(run: Run, **fields: Any) -> Attempt:
    if run.current is None:
        raise Fenced(f"run {run.id} has no attempt")
    return replace(run.current, **fields)
