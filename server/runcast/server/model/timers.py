"""When something must happen to a run although nobody calls: pure arithmetic over its state and its spec."""

from runcast.server.model.run import Attachment, Recovery, Retry, Run, State, StopCause

_POISON = 5


def earliest(*times: int | None) -> int | None:
    """The first of the instants that are set."""
    first: int | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first


def after(time: int | None, duration: int | None) -> int | None:
    """`time` + `duration`, or None where either is not set."""
    return None if time is None or duration is None else time + duration


def wake_time(run: Run) -> int | None:
    """The earliest instant at which `expire` would change the run, or its end is to reach its children: since it came."""
    if run.cascading:
        return run.end_time or (run.cancellation.request_time if run.cancellation else run.create_time)
    own = _own_wake_time(run)
    attachment = run.attachment
    return (
        own
        if attachment is None or run.state is State.CANCELLING
        else earliest(own, interest_end(attachment))
    )


def interest_end(attachment: Attachment) -> int:
    """When the owner's interest ends, as things stand: its stream's lease, or the grace after it."""
    gone = attachment.gone_time
    return attachment.held_until if gone is None else gone + attachment.grace


def _own_wake_time(run: Run) -> int | None:
    state = run.state
    if state.executing:
        return _executing_wake_time(run)
    if state is State.QUEUED:
        return earliest(after(run.queue_time, run.spec.timeouts.queue), run.run_deadline)
    if state is State.SCHEDULED:
        return run.next_attempt_time
    if state is State.BACKING_OFF:
        return earliest(run.next_attempt_time, run.run_deadline)
    return run.expire_time if state.final else None


def _executing_wake_time(run: Run) -> int | None:
    grace_end = run.stop_deadline if run.kill_time is None else None
    if run.state is State.CANCELLING:
        return grace_end
    if run.stop_cause is not None:
        return earliest(grace_end, run.run_deadline)
    return earliest(attempt_deadline(run), heartbeat_deadline(run), run.run_deadline)


def attempt_deadline(run: Run) -> int | None:
    """When the current attempt times out."""
    return after(run.current.start_time, run.spec.timeouts.attempt) if run.current else None


def heartbeat_deadline(run: Run) -> int | None:
    """When the current attempt has been silent for too long."""
    current = run.current
    if current is None:
        return None
    return after(current.heartbeat_time or current.start_time, run.spec.timeouts.heartbeat)


def passed(time: int | None, now: int) -> bool:
    """Whether an instant is set and has come."""
    return time is not None and time <= now


def due_stop(run: Run, now: int) -> StopCause | None:
    """Why a RUNNING attempt must be asked to stop now, if it must."""
    if passed(run.run_deadline, now):
        return StopCause.RUN_TIMEOUT
    if run.stop_cause is None and passed(attempt_deadline(run), now):
        return StopCause.ATTEMPT_TIMEOUT
    if run.stop_cause is None and passed(heartbeat_deadline(run), now):
        return StopCause.HEARTBEAT_TIMEOUT
    return None


def backoff(retry: Retry, tries: int, dice: float) -> int:
    """How long to wait after the attempt number `tries` failed; `dice` is 0 to 1, `jitter` the share it decides."""
    try:
        whole = min(retry.initial_backoff * retry.multiplier ** (tries - 1), retry.max_backoff)
    except OverflowError:
        whole = retry.max_backoff
    return int(whole * (1 - retry.jitter) + whole * retry.jitter * dice)


def recovered_state(run: Run) -> State:
    """Where a run goes whose owner is lost: by its policy, or FAILED once it took its server down too often."""
    if run.crashes >= _POISON:
        return State.FAILED
    return {
        Recovery.RESUME: State.QUEUED,
        Recovery.HOLD: State.INTERRUPTED,
        Recovery.RESUME_ON_WATCH: State.INTERRUPTED,
        Recovery.FAIL: State.FAILED,
    }[run.spec.recovery]
