"""A request to start a run in plain values, and what must hold of it before anything is stored."""

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from runcast.server.engine.limits import PARAMETERS
from runcast.server.model.errors import InvalidArgument, Violation
from runcast.server.model.run import Attachment, ParentClose, Payload, Recovery, Spec

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_LABELS, _LABEL_VALUE, _REQUEST_ID, _QUEUE, _KEY = 64, 256, 128, 63, 255


class Start(Struct, frozen=True, kw_only=True):
    """A request to start a run.

    `overrides` are the fields of the provider's default spec to change, nested as they are there. `digest` tells
    requests of one id apart. `start_after` is in microseconds since 1970. With `task`, the id of one, the provider and
    what the request leaves open come from there. The priority is raised to `least_priority`. A new run depends on the
    owner in `attachment` from its first commit on.
    """

    provider: str = ""
    task: str = ""
    input: Payload = Payload(json="")
    overrides: Mapping[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    use_existing: bool = False
    request_id: str = ""
    digest: bytes = b""
    principal: str = ""
    start_after: int | None = None
    validate_only: bool = False
    trace_parent: str = ""
    parent_run: str = ""
    parent_close: ParentClose = ParentClose.CANCEL
    least_priority: int | None = None
    attachment: Attachment | None = None


def check(start: Start) -> None:
    """InvalidArgument with a violation for each field that can never be right, whatever the provider."""
    wrong: list[Violation] = []
    if not start.provider:
        wrong.append(Violation("provider", "name what to run: a provider or a task"))
    if start.run_id and not _ID.fullmatch(start.run_id):
        wrong.append(
            Violation("run_id", f"{start.run_id!r}: 1 to 128 of A-Z a-z 0-9 . _ -, first a letter or digit")
        )
    if start.request_id:
        wrong.extend(wrong_request_id(start.request_id))
    if start.labels:
        wrong.extend(wrong_labels(start.labels))
    wrong.extend(wrong_input(start.input))
    if wrong:
        raise InvalidArgument(wrong)


def wrong_request_id(request_id: str) -> list[Violation]:
    """What is wrong with a request id, which may be empty."""
    if len(request_id) <= _REQUEST_ID:
        return []
    return [Violation("request_id", f"{len(request_id)} characters; at most {_REQUEST_ID}")]


def wrong_labels(labels: Mapping[str, str], field: str = "labels") -> list[Violation]:
    """What is wrong with the labels in this field."""
    wrong: list[Violation] = []
    if len(labels) > _LABELS:
        wrong.append(Violation(field, f"{len(labels)} labels; at most {_LABELS}, with those of a task"))
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            wrong.append(Violation(f"{field}[{key[:80]!r}]", "a key is 1 to 63 of A-Z a-z 0-9 . _ / -"))
        if len(value) > _LABEL_VALUE:
            wrong.append(
                Violation(f"{field}[{key[:80]!r}]", f"{len(value)} characters; at most {_LABEL_VALUE}")
            )
    return wrong


def wrong_input(payload: Payload) -> list[Violation]:
    """What is wrong with parameters whose provider nobody has asked yet."""
    if payload.json is None:
        return [Violation("input", "parameters are JSON: give `json` or `value`")]
    if len(payload.json) > PARAMETERS // 4:
        size = len(payload.json.encode())
        if size > PARAMETERS:
            return [
                Violation("input", f"{size:,} bytes; at most {PARAMETERS:,}: pass large input by reference")
            ]
    return []


def merged(defaults: Spec, overrides: Mapping[str, Any], field: str = "overrides") -> Spec:
    """The spec with some of its fields changed, which stand in `field`. InvalidArgument where the result makes no sense.

    They may come from a store, which keeps neither tuples nor enumerations.
    """
    if not overrides:
        return defaults
    changes = dict(overrides)
    for part in ("timeouts", "retry"):
        if part in changes:
            changes[part] = replace(getattr(defaults, part), **_told(changes[part]))
    if "recovery" in changes:
        changes["recovery"] = Recovery(changes["recovery"])
    spec = replace(defaults, **changes)
    wrong = [Violation(f"{field}.{name}", text) for holds, name, text in _rules(spec) if not holds]
    if wrong:
        raise InvalidArgument(wrong)
    return spec


def _told(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}


def _rules(spec: Spec) -> list[tuple[bool, str, str]]:
    """Whether each holds, of which field, and what to say where it does not."""
    retry, queue, failures = spec.retry, len(spec.queue), spec.max_failures
    return [
        (
            retry.max_attempts >= 1,
            "retry.max_attempts",
            f"{retry.max_attempts}; at least 1, the first attempt",
        ),
        (1 <= retry.multiplier < math.inf, "retry.multiplier", f"{retry.multiplier}; at least 1"),
        (0 <= retry.jitter <= 1, "retry.jitter", f"{retry.jitter}; from 0 to 1"),
        (1 <= queue <= _QUEUE, "queue", f"{queue} characters; 1 to {_QUEUE}"),
        (len(spec.concurrency_key) <= _KEY, "concurrency_key", f"more than {_KEY} characters"),
        (len(spec.rate_limit_key) <= _KEY, "rate_limit_key", f"more than {_KEY} characters"),
        (failures >= 0, "max_failures", f"{failures}; 0 (any number) or more"),
    ]
