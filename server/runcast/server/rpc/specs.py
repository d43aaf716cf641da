"""Specs of which only some fields are stated, as in a start's overrides and in a task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runcast.server.model.errors import InvalidArgument, Violation
from runcast.server.model.run import Recovery, Spec
from runcast.server.rpc.messages import duration
from runcast.server.rpc.units import bounded, micros
from runcast.v1 import run_spec_pb2

_MASK, _REASONS, _REASON = 64, 64, 255

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
    bounded(field, len(reasons), _REASONS)
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


PATHS = tuple(_FIELDS)
"""What a mask may name, beside whole parts of it."""


def stated(spec: run_spec_pb2.RunSpec, field: str) -> dict[str, Any]:
    """The fields that are set, nested as in the model's Spec; `field` is where the spec stands."""
    changes: dict[str, Any] = {}
    wrong: list[Violation] = []
    for path in PATHS:
        if is_set(spec, path):
            try:
                _put(changes, path, _FIELDS[path](spec, f"{field}.{path}"))
            except InvalidArgument as error:
                wrong.extend(error.violations)
    if wrong:
        raise InvalidArgument(wrong)
    return changes


def overrides(
    spec: run_spec_pb2.RunSpec, mask: Sequence[str], *, field: str, mask_field: str
) -> dict[str, Any]:
    """The same; of a mask, the fields that it names, where one that is not set gets the server's default."""
    bounded(mask_field, len(mask), _MASK)
    if not mask:
        return stated(spec, field)
    changes: dict[str, Any] = {}
    default = Spec()
    for path in _masked(mask, mask_field):
        value = _FIELDS[path](spec, f"{field}.{path}") if is_set(spec, path) else _at(default, path)
        _put(changes, path, value)
    return changes


def _masked(mask: Sequence[str], field: str) -> list[str]:
    paths: list[str] = []
    for wanted in dict.fromkeys(mask):
        found = [path for path in PATHS if path == wanted or path.startswith(f"{wanted}.")]
        if not found:
            raise InvalidArgument.of(field, f"no field {wanted!r}; there are {', '.join(PATHS)}")
        paths.extend(found)
    return paths


def replaced(changes: Mapping[str, Any], wanted: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The changes with those at `paths` as they are wanted, or not at all; all others as they were."""
    result: dict[str, Any] = {}
    for path in PATHS:
        part, _, name = path.rpartition(".")
        source = wanted if path in paths else changes
        there = source.get(part, {}) if part else source
        if name in there:
            _put(result, path, there[name])
    return result


def _put(changes: dict[str, Any], path: str, value: Any) -> None:
    part, _, name = path.rpartition(".")
    (changes.setdefault(part, {}) if part else changes)[name] = value


def partial_message(changes: Mapping[str, Any]) -> run_spec_pb2.RunSpec:
    """What `stated` read, as a message: a limit that is None is 0 s, without limit."""
    message = run_spec_pb2.RunSpec()
    for path in PATHS:
        part, _, name = path.rpartition(".")
        there = changes.get(part, {}) if part else changes
        if name in there:
            _fill(getattr(message, part) if part else message, name, there[name])
    return message


def _fill(message: Any, name: str, value: Any) -> None:
    kind = message.DESCRIPTOR.fields_by_name[name]
    if kind.message_type is not None:
        getattr(message, name).CopyFrom(duration(value or 0))
    elif isinstance(value, list | tuple):
        getattr(message, name).extend(value)
    else:
        setattr(message, name, value)


def _at(spec: Spec, path: str) -> Any:
    part, _, name = path.rpartition(".")
    return getattr(getattr(spec, part) if part else spec, name)


def is_set(spec: run_spec_pb2.RunSpec, path: str) -> bool:
    """Whether the message sets the field at a path."""
    part, _, name = path.rpartition(".")
    if part and not spec.HasField(part):  # type: ignore[arg-type]
        return False
    message: Any = getattr(spec, part) if part else spec
    return any(field.name == name for field, _ in message.ListFields())
