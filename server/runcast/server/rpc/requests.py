"""From the contract's messages to the model, with an InvalidArgument for each field that cannot be read."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from runcast.server.engine.request import Start
from runcast.server.model.errors import FeatureOff, InvalidArgument
from runcast.server.model.run import EntityRef, Payload, Recovery, RunFilter, Spec, State
from runcast.v1 import payload_pb2, run_pb2, run_service_pb2, run_spec_pb2

_EXACT = 2**53 - 1
_NO_INPUT = Payload(json="")
_USE_EXISTING = run_service_pb2.StartRunRequest.CONFLICT_POLICY_USE_EXISTING
_DEPTH = 30
_MASK, _STATES, _REASONS, _REASON, _LABELS = 64, 32, 64, 255, 64
_LONGEST = 10 * 365 * 86_400 * 1_000_000


def micros(length: Duration, field: str) -> int:
    """A duration that may be 0 but not negative."""
    total = length.seconds * 1_000_000 + length.nanos // 1_000
    if not 0 <= total <= _LONGEST:
        raise InvalidArgument.of(field, f"{total / 1e6:g} s: a duration from 0 s to 10 years")
    return total


def instant(time: Timestamp, field: str) -> int:
    """An instant from 1970 on."""
    total = time.seconds * 1_000_000 + time.nanos // 1_000
    if not 0 <= total < 253_402_300_800_000_000:
        raise InvalidArgument.of(field, "a time from 1970 to 9999")
    return total


def run_id_of(run_id: str) -> str:
    """A run's id that must be given."""
    if not run_id:
        raise InvalidArgument.of("run_id", "required: the id of a run, as StartRun answers it")
    return run_id


def start_of(request: run_service_pb2.StartRunRequest, *, principal: str = "", prefix: str = "") -> Start:
    """A start request; `prefix` stands before the fields' names in errors (`start.`)."""
    target = request.WhichOneof("target")
    _refuse_what_is_off(request, target)
    if target is None:
        raise InvalidArgument.of(f"{prefix}provider", "required: name a provider or a task")
    if request.labels:
        _bounded(f"{prefix}labels", len(request.labels), _LABELS)
    overrides: dict[str, Any] = {}
    if request.HasField("overrides") or request.HasField("overrides_mask"):
        _bounded(f"{prefix}overrides_mask", len(request.overrides_mask.paths), _MASK)
        overrides = _overrides(request.overrides, list(request.overrides_mask.paths), prefix)
    after = request.start_after if request.HasField("start_after") else None
    return Start(
        provider=request.provider,
        input=_input(request.input, f"{prefix}input") if request.HasField("input") else _NO_INPUT,
        overrides=overrides,
        labels=dict(request.labels),
        run_id=request.run_id,
        use_existing=request.conflict_policy == _USE_EXISTING,
        request_id=request.request_id,
        digest=_digest(request) if request.request_id else b"",
        principal=principal,
        start_after=None if after is None else instant(after, f"{prefix}start_after"),
        validate_only=request.validate_only,
    )


def _refuse_what_is_off(request: run_service_pb2.StartRunRequest, target: str | None) -> None:
    if target == "task":
        raise FeatureOff("stored tasks are not switched on here: start a provider")
    if request.parent_run:
        raise FeatureOff("child runs are not switched on here: start it without parent_run")


def _digest(request: run_service_pb2.StartRunRequest) -> bytes:
    """What tells requests of one id apart: all that was asked but how long to wait for it."""
    canonical = run_service_pb2.StartRunRequest()
    canonical.CopyFrom(request)
    canonical.ClearField("wait")
    return hashlib.blake2b(canonical.SerializeToString(deterministic=True), digest_size=16).digest()


def _input(payload: payload_pb2.Payload, field: str) -> Payload:
    content = payload.WhichOneof("content")
    if content is None:
        return Payload(json="")
    if content == "json":
        return Payload(json=payload.json)
    if content == "value":
        return Payload(json=json.dumps(_plain(payload.value, field, 0), ensure_ascii=False))
    if content == "artifact":
        raise FeatureOff("artifacts are not switched on here: give the parameters as `json` or `value`")
    raise InvalidArgument.of(field, "bytes are not parameters: give `json` or `value`")


def _plain(value: Value, field: str, depth: int) -> Any:
    if depth > _DEPTH:
        raise InvalidArgument.of(field, f"nested more than {_DEPTH} deep")
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return _number(value.number_value, field)
    if kind == "struct_value":
        members = value.struct_value.fields.items()
        return {name: _plain(member, f"{field}.{name}", depth + 1) for name, member in members}
    if kind == "list_value":
        items = enumerate(value.list_value.values)
        return [_plain(item, f"{field}[{index}]", depth + 1) for index, item in items]
    return getattr(value, kind) if kind in ("string_value", "bool_value") else None


def _number(number: float, field: str) -> int | float:
    if not math.isfinite(number):
        raise InvalidArgument.of(field, f"{number}: JSON has only finite numbers")
    if abs(number) > _EXACT:
        expected = f"{number:.17g}: `value` holds numbers exactly below 2^53 only; send this one in `json`"
        raise InvalidArgument.of(field, expected, reason="INEXACT_NUMBER")
    return int(number) if number.is_integer() and (number or math.copysign(1, number) > 0) else number


_Reader = Callable[[run_spec_pb2.RunSpec, str], Any]


def _limit(part: str, name: str, *, zero: int | None = None) -> _Reader:
    """A duration of the spec, in which 0 s means `zero`."""

    def read(spec: run_spec_pb2.RunSpec, field: str) -> int | None:
        message = getattr(spec, part) if part else spec
        return micros(getattr(message, name), field) or zero

    return read


def _recovery(value: int, field: str) -> Recovery:
    try:
        return Recovery(value)
    except ValueError:
        known = ", ".join(f"{policy.value} {policy.name}" for policy in Recovery)
        raise InvalidArgument.of(field, f"{value} is no recovery policy; there are {known}") from None


def _reasons(reasons: Sequence[str], field: str) -> tuple[str, ...]:
    _bounded(field, len(reasons), _REASONS)
    if any(len(reason) > _REASON for reason in reasons):
        raise InvalidArgument.of(field, f"a reason of more than {_REASON} characters")
    return tuple(reasons)


_FIELDS: dict[str, _Reader] = {
    "timeouts.queue": _limit("timeouts", "queue"),
    "timeouts.attempt": _limit("timeouts", "attempt"),
    "timeouts.run": _limit("timeouts", "run"),
    "timeouts.heartbeat": _limit("timeouts", "heartbeat"),
    "timeouts.cancel_grace": _limit("timeouts", "cancel_grace", zero=0),
    "retry.max_attempts": lambda spec, _: spec.retry.max_attempts,
    "retry.initial_backoff": _limit("retry", "initial_backoff", zero=0),
    "retry.max_backoff": _limit("retry", "max_backoff", zero=0),
    "retry.multiplier": lambda spec, _: spec.retry.multiplier,
    "retry.jitter": lambda spec, _: spec.retry.jitter,
    "retry.non_retryable_reasons": lambda spec, field: _reasons(spec.retry.non_retryable_reasons, field),
    "recovery": lambda spec, field: _recovery(spec.recovery, field),
    "queue": lambda spec, _: spec.queue,
    "priority": lambda spec, _: spec.priority,
    "concurrency_key": lambda spec, _: spec.concurrency_key,
    "rate_limit_key": lambda spec, _: spec.rate_limit_key,
    "max_failures": lambda spec, _: spec.max_failures,
    "retention": _limit("", "retention"),
}


def _overrides(spec: run_spec_pb2.RunSpec, mask: list[str], prefix: str) -> dict[str, Any]:
    """The fields that count, nested as in the model's Spec; a masked field that is not set gets the server's default."""
    paths = _masked(mask, prefix) if mask else [path for path in _FIELDS if _set(spec, path)]
    changes: dict[str, Any] = {}
    default = Spec()
    for path in paths:
        part, _, name = path.rpartition(".")
        where = changes.setdefault(part, {}) if part else changes
        if _set(spec, path):
            where[name] = _FIELDS[path](spec, f"{prefix}overrides.{path}")
        else:
            where[name] = getattr(getattr(default, part) if part else default, name)
    return changes


def _bounded(field: str, count: int, most: int) -> None:
    """Refuse what is too many before it is looked at: work on the loop is everybody's time."""
    if count > most:
        raise InvalidArgument.of(field, f"{count:,} entries; at most {most}")


def _masked(mask: list[str], prefix: str) -> list[str]:
    paths: list[str] = []
    for wanted in dict.fromkeys(mask):
        found = [path for path in _FIELDS if path == wanted or path.startswith(f"{wanted}.")]
        if not found:
            known = ", ".join(_FIELDS)
            raise InvalidArgument.of(f"{prefix}overrides_mask", f"no field {wanted!r}; there are {known}")
        paths.extend(found)
    return paths


def _set(spec: run_spec_pb2.RunSpec, path: str) -> bool:
    part, _, name = path.rpartition(".")
    if part and not spec.HasField(part):  # type: ignore[arg-type]
        return False
    message: Any = getattr(spec, part) if part else spec
    return any(field.name == name for field, _ in message.ListFields())


def filter_of(message: run_pb2.RunFilter) -> RunFilter:
    """Which runs to list."""
    _bounded("filter.states", len(message.states), _STATES)
    _bounded("filter.labels", len(message.labels), _LABELS)
    ref = EntityRef(message.ref.type, message.ref.id) if message.HasField("ref") else None
    after = message.created_after if message.HasField("created_after") else None
    before = message.created_before if message.HasField("created_before") else None
    try:
        states = frozenset(State(state) for state in message.states)
    except ValueError:
        raise InvalidArgument.of("filter.states", "a state that does not exist") from None
    return RunFilter(
        states=states,
        provider=message.provider,
        task=message.task,
        schedule=message.schedule,
        parent_run=message.parent_run,
        queue=message.queue,
        labels=dict(message.labels),
        ref=ref,
        created_after=None if after is None else instant(after, "filter.created_after"),
        created_before=None if before is None else instant(before, "filter.created_before"),
        text=message.text,
        interrupted_only=message.interrupted_only,
    )
