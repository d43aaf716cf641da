"""From the model to the contract's messages."""

from functools import lru_cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runcast.server.model import event as events
from runcast.server.model import run as runs
from runcast.server.model.provider import Provider
from runcast.server.rpc.status import run_error
from runcast.v1 import event_pb2, payload_pb2, provider_pb2, run_pb2, run_spec_pb2


def timestamp(micros: int | None) -> Timestamp | None:
    """An instant; None stays unset."""
    return None if micros is None else _instant(micros)


def _instant(micros: int) -> Timestamp:
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def duration(micros: int | None) -> Duration | None:
    """A length of time; None stays unset."""
    if micros is None:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return Duration(seconds=seconds, nanos=rest * 1_000)


@lru_cache(maxsize=256)
def spec_message(spec: runs.Spec) -> run_spec_pb2.RunSpec:
    """A resolved spec. Shared: do not change it."""
    timeouts, retry = spec.timeouts, spec.retry
    return run_spec_pb2.RunSpec(
        timeouts=run_spec_pb2.Timeouts(
            queue=duration(timeouts.queue),
            attempt=duration(timeouts.attempt),
            run=duration(timeouts.run),
            heartbeat=duration(timeouts.heartbeat),
            cancel_grace=duration(timeouts.cancel_grace),
        ),
        retry=run_spec_pb2.RetryPolicy(
            max_attempts=retry.max_attempts,
            initial_backoff=duration(retry.initial_backoff),
            max_backoff=duration(retry.max_backoff),
            multiplier=retry.multiplier,
            jitter=retry.jitter,
            non_retryable_reasons=retry.non_retryable_reasons,
        ),
        recovery=spec.recovery,  # type: ignore[arg-type]  # the model's values are the wire's
        queue=spec.queue,
        priority=spec.priority,
        concurrency_key=spec.concurrency_key,
        rate_limit_key=spec.rate_limit_key,
        max_failures=spec.max_failures,
        retention=duration(spec.retention),
    )


def payload_message(payload: runs.Payload) -> payload_pb2.Payload:
    """Parameters or a result."""
    message = payload_pb2.Payload()
    _set_payload(message, payload)
    return message


def run_message(run: runs.Run, *, full: bool = True) -> run_pb2.Run:
    """A run; without spec, input, output, failures and refs where not `full`."""
    message = run_pb2.Run()
    fill_run(message, run, full=full)
    return message


def fill_run(message: run_pb2.Run, run: runs.Run, *, full: bool = True) -> None:
    """The same into an empty message, where it stands in another: putting a finished one there copies it."""
    definition, outcome = run.definition, run.outcome
    message.id = run.id
    message.state = run.state  # type: ignore[assignment]  # the model's values are the wire's
    message.provider = definition.provider
    message.attempt = run.attempt
    message.last_sequence = run.last_sequence
    message.etag = str(run.version)
    _set_instant(message.create_time, run.create_time)
    if run.queue_time is not None:
        _set_instant(message.queue_time, run.queue_time)
    if run.start_time is not None:
        _set_instant(message.start_time, run.start_time)
    if run.end_time is not None:
        _set_instant(message.end_time, run.end_time)
    if run.next_attempt_time is not None:
        _set_instant(message.next_attempt_time, run.next_attempt_time)
    if run.expire_time is not None:
        _set_instant(message.expire_time, run.expire_time)
    _add_what_is_rare(message, run)
    if full:
        message.spec.CopyFrom(spec_message(definition.spec))
        _set_payload(message.input, definition.input)
        if outcome.output is not None:
            _set_payload(message.output, outcome.output)
        if outcome.failures:
            message.failures.extend(failure_message(failure) for failure in outcome.failures)
        if outcome.refs:
            message.refs.extend(ref_message(ref) for ref in outcome.refs)


def _set_instant(message: Timestamp, micros: int) -> None:
    seconds, rest = divmod(micros, 1_000_000)
    message.seconds = seconds
    message.nanos = rest * 1_000
    if not micros:
        message.SetInParent()


def _add_what_is_rare(message: run_pb2.Run, run: runs.Run) -> None:
    definition, outcome = run.definition, run.outcome
    if outcome.error is not None:
        message.error.CopyFrom(run_error(outcome.error))
    if outcome.summary:
        message.summary = outcome.summary
    if run.progress is not None:
        message.progress.CopyFrom(progress_message(run.progress))
    if run.cancellation is not None:
        message.cancellation.CopyFrom(cancellation_message(run.cancellation))
    if definition.labels:
        message.labels.update(definition.labels)
    if run.failure_count:
        message.failure_count = run.failure_count
    if run.checkpoint_number:
        message.has_checkpoint = True
    if definition.task:
        message.task, message.task_generation = definition.task, definition.task_generation
    if definition.parent_run or definition.retry_of or definition.schedule:
        message.parent_run, message.retry_of = definition.parent_run, definition.retry_of
        message.schedule = definition.schedule


def _set_payload(message: payload_pb2.Payload, payload: runs.Payload) -> None:
    message.content_type = payload.content_type
    if payload.json is not None:
        message.json = payload.json
    elif payload.data is not None:
        message.data = payload.data
    else:
        message.artifact = payload.artifact or ""


def progress_message(progress: runs.Progress) -> run_pb2.Progress:
    """How far a run says it is."""
    return run_pb2.Progress(
        fraction=progress.fraction,
        completed=progress.completed,
        total=progress.total,
        unit=progress.unit,
        stage=progress.stage,
        message=progress.message,
        estimated_end_time=timestamp(progress.estimated_end_time),
    )


def failure_message(failure: runs.Failure) -> run_pb2.Failure:
    """One failed target."""
    return run_pb2.Failure(target=failure.target, code=failure.code, message=failure.message)


def ref_message(ref: runs.EntityRef) -> run_pb2.EntityRef:
    """Something that the run touched."""
    return run_pb2.EntityRef(type=ref.type, id=ref.id, error=ref.error)


def cancellation_message(cancellation: runs.Cancellation) -> run_pb2.Cancellation:
    """Who asked for the end, and what came of it."""
    return run_pb2.Cancellation(
        initiator=cancellation.initiator,  # type: ignore[arg-type]  # the model's values are the wire's
        reason=cancellation.reason,
        request_time=timestamp(cancellation.request_time),
        acknowledge_time=timestamp(cancellation.acknowledge_time),
        kill_time=timestamp(cancellation.kill_time),
        outcome=cancellation.outcome,  # type: ignore[arg-type]
        immediate=cancellation.immediate,
    )


def attempt_message(attempt: runs.Attempt) -> run_pb2.Attempt:
    """One try at a run."""
    return run_pb2.Attempt(
        number=attempt.number,
        state=attempt.state,  # type: ignore[arg-type]  # the model's values are the wire's
        owner=attempt.owner,
        error=run_error(attempt.error) if attempt.error else None,
        traceback=attempt.traceback,
        start_time=timestamp(attempt.start_time),
        end_time=timestamp(attempt.end_time),
        heartbeat_time=timestamp(attempt.heartbeat_time),
        from_checkpoint=attempt.from_checkpoint,
    )


def provider_message(provider: Provider) -> provider_pb2.Provider:
    """How a provider describes itself."""
    return provider_pb2.Provider(
        name=provider.name,
        title=provider.title,
        description=provider.description,
        category=provider.category,
        icon=provider.icon,
        tags=provider.tags,
        danger=provider.danger,
        expensive=provider.expensive,
        input_schema=provider.input_schema,
        output_schema=provider.output_schema,
        ui_schema=provider.ui_schema,
        execution=provider.execution,  # type: ignore[arg-type]  # the model's values are the wire's
        idempotent=provider.idempotent,
        checkpointing=provider.checkpointing,
        pausable=provider.pausable,
        defaults=spec_message(provider.defaults),
        schema_digest=provider.schema_digest,
    )


def event_message(event: events.Event) -> event_pb2.RunEvent:
    """One entry of a journal."""
    seconds, rest = divmod(event.time, 1_000_000)
    field, convert = _BODIES[type(event.body)]
    body: dict[str, Any] = {field: convert(event.body)}
    time = Timestamp(seconds=seconds, nanos=rest * 1_000)
    return event_pb2.RunEvent(sequence=event.sequence, time=time, attempt=event.attempt, **body)


def _state_changed(body: events.StateChanged) -> event_pb2.StateChanged:
    return event_pb2.StateChanged(
        from_state=body.from_state or 0,  # type: ignore[arg-type]  # the model's values are the wire's
        to_state=body.to_state,  # type: ignore[arg-type]
        reason=body.reason,
        next_attempt_time=timestamp(body.next_attempt_time),
    )


def _attempt_finished(body: events.AttemptFinished) -> event_pb2.AttemptFinished:
    error = run_error(body.error) if body.error else None
    return event_pb2.AttemptFinished(state=body.state, error=error)  # type: ignore[arg-type]


_BODIES: dict[type, tuple[str, Any]] = {
    events.StateChanged: ("state_changed", _state_changed),
    events.AttemptStarted: (
        "attempt_started",
        lambda body: event_pb2.AttemptStarted(owner=body.owner, from_checkpoint=body.from_checkpoint),
    ),
    events.AttemptFinished: ("attempt_finished", _attempt_finished),
    runs.Progress: ("progress", progress_message),
    events.LogLine: (
        "log",
        lambda body: event_pb2.LogLine(
            severity=body.severity, message=body.message, logger=body.logger, attributes=body.attributes
        ),
    ),
    events.OutputChunk: (
        "output",
        lambda body: event_pb2.OutputChunk(channel=body.channel, offset=body.offset, data=body.data),
    ),
    events.CheckpointSaved: (
        "checkpoint_saved",
        lambda body: event_pb2.CheckpointSaved(
            number=body.number, size_bytes=body.size_bytes, schema_version=body.schema_version
        ),
    ),
    events.ArtifactAdded: (
        "artifact_added",
        lambda body: event_pb2.ArtifactAdded(
            artifact=body.artifact, name=body.name, content_type=body.content_type, size_bytes=body.size_bytes
        ),
    ),
    runs.Failure: ("target_failed", failure_message),
    runs.EntityRef: ("ref_added", ref_message),
    events.CancelRequested: (
        "cancel_requested",
        lambda body: event_pb2.CancelRequested(
            initiator=body.initiator, reason=body.reason, immediate=body.immediate
        ),
    ),
    events.CancelAcknowledged: ("cancel_acknowledged", lambda body: event_pb2.CancelAcknowledged()),
    events.ChildLinked: ("child_linked", lambda body: event_pb2.ChildLinked(child_run=body.child_run)),
    events.PartialResult: ("partial_result", lambda body: payload_message(body.payload)),
}

EVENT_TYPES = {field: kind for kind, (field, _) in _BODIES.items()}
"""The event types by their field name in RunEvent."""
