"""What can be said about a start, and the request that says it."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack

from google.protobuf import duration_pb2, timestamp_pb2

from runcast.client.payload import Parameters, to_payload
from runcast.v1 import run_service_pb2, run_spec_pb2

_BATCH = 1000
_BATCH_BYTES = 3 * 1024 * 1024


class StartOptions(TypedDict, total=False):
    """How to start a run; everything is optional.

    request_id: makes the start safe to repeat, also by a later program: the same id and request answer with the first
        run. Default: a new one, so that only this call's own retries are covered.
    run_id: the id that the run is to have. Default: the server makes one.
    use_existing: where `run_id` is taken, the run that has it is the answer. Default: AlreadyExists is raised.
    labels: words to find the run by; they win over the task's.
    start_after: not before this time (with a time zone), or this long from now. Default: at once.
    overrides: what the run goes by instead of what the task or provider says; `run_spec` makes one.
    overrides_mask: the fields of `overrides` that count, such as `timeouts.run`. Default: those that are set.
    parent_run: the id of the run that this one is a child of.
    survives_parent: it goes on where its parent is cancelled. Default: it is cancelled too.
    """

    request_id: str
    run_id: str
    use_existing: bool
    labels: Mapping[str, str]
    start_after: datetime | timedelta
    overrides: run_spec_pb2.RunSpec
    overrides_mask: Sequence[str]
    parent_run: str
    survives_parent: bool


def start_request(
    provider: str | None = None,
    parameters: Parameters | None = None,
    *,
    task: str | None = None,
    **options: Unpack[StartOptions],
) -> run_service_pb2.StartRunRequest:
    """One start of a provider or of a task, for `Client.start_many`; ValueError unless exactly one is named."""
    if (provider is None) == (task is None):
        raise ValueError("name either a provider or a task")
    start = run_service_pb2.StartRunRequest
    existing, survives = options.get("use_existing"), options.get("survives_parent")
    after = options.get("start_after")
    request = start(
        request_id=options.get("request_id") or str(uuid.uuid4()),
        run_id=options.get("run_id", ""),
        conflict_policy=start.CONFLICT_POLICY_USE_EXISTING if existing else start.CONFLICT_POLICY_UNSPECIFIED,
        input=to_payload(parameters),
        overrides=options.get("overrides"),
        parent_run=options.get("parent_run", ""),
        parent_close_policy=start.PARENT_CLOSE_POLICY_SURVIVE
        if survives
        else start.PARENT_CLOSE_POLICY_UNSPECIFIED,
        start_after=None if after is None else timestamp(after),
        labels=options.get("labels"),
    )
    if provider is not None:
        request.provider = provider
    else:
        request.task = task or ""
    if "overrides_mask" in options:
        request.overrides_mask.paths.extend(options["overrides_mask"])
    return request


def repeatable(request: run_service_pb2.StartRunRequest) -> run_service_pb2.StartRunRequest:
    """The request with a request id: itself, or a copy where it has none."""
    if request.request_id:
        return request
    copy = run_service_pb2.StartRunRequest()
    copy.CopyFrom(request)
    copy.request_id = str(uuid.uuid4())
    return copy


def batches(
    requests: Iterable[run_service_pb2.StartRunRequest],
) -> Iterator[run_service_pb2.BatchStartRunsRequest]:
    """The requests in calls that a server takes: by number, and by size."""
    batch, size = run_service_pb2.BatchStartRunsRequest(), 0
    for request in requests:
        more = request.ByteSize() + 8
        if batch.requests and (len(batch.requests) == _BATCH or size + more > _BATCH_BYTES):
            yield batch
            batch, size = run_service_pb2.BatchStartRunsRequest(), 0
        batch.requests.append(request)
        size += more
    if batch.requests:
        yield batch


def run_spec(
    *,
    queue: str = "",
    priority: int | None = None,
    concurrency_key: str = "",
    max_attempts: int = 0,
    queue_timeout: float | None = None,
    attempt_timeout: float | None = None,
    run_timeout: float | None = None,
    heartbeat_timeout: float | None = None,
    cancel_grace: float | None = None,
    recovery: run_spec_pb2.RecoveryPolicy.ValueType = run_spec_pb2.RECOVERY_POLICY_UNSPECIFIED,
    max_failures: int | None = None,
    retention: float | None = None,
) -> run_spec_pb2.RunSpec:
    """The overrides that are said most often, times in seconds. What is not given stays as task or provider say."""
    spec = run_spec_pb2.RunSpec(
        queue=queue,
        priority=priority,
        concurrency_key=concurrency_key,
        recovery=recovery,
        max_failures=max_failures,
        retention=duration(retention),
    )
    times = {
        "queue": queue_timeout,
        "attempt": attempt_timeout,
        "run": run_timeout,
        "heartbeat": heartbeat_timeout,
        "cancel_grace": cancel_grace,
    }
    for name, seconds in times.items():
        if seconds is not None:
            getattr(spec.timeouts, name).FromTimedelta(timedelta(seconds=seconds))
    if max_attempts:
        spec.retry.max_attempts = max_attempts
    return spec


def duration(seconds: float | None) -> duration_pb2.Duration | None:
    """Seconds as a message, rounded to microseconds; None stays None."""
    if seconds is None:
        return None
    message = duration_pb2.Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def timestamp(when: datetime | timedelta) -> timestamp_pb2.Timestamp:
    """A time, or a distance from now, as a message; ValueError for a time without a zone."""
    moment = datetime.now(UTC) + when if isinstance(when, timedelta) else when
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message
