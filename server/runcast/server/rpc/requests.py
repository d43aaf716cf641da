"""From the contract's messages to the model, with an InvalidArgument for each field that cannot be read."""

import hashlib
import json
import math
from typing import Any

from google.protobuf.struct_pb2 import Value

from runcast.server.engine.request import Start
from runcast.server.model.errors import FeatureOff, InvalidArgument
from runcast.server.model.run import EntityRef, ParentClose, Payload, RunFilter, State
from runcast.server.rpc import specs
from runcast.server.rpc.units import bounded, instant, known
from runcast.v1 import payload_pb2, run_pb2, run_service_pb2

_EXACT = 2**53 - 1
_NO_INPUT = Payload(json="")
_USE_EXISTING = run_service_pb2.StartRunRequest.CONFLICT_POLICY_USE_EXISTING
_DEPTH = 30
_STATES, _LABELS, _TEXT = 32, 64, 255


def run_id_of(run_id: str) -> str:
    """A run's id that must be given."""
    if not run_id:
        raise InvalidArgument.of("run_id", "required: the id of a run, as StartRun answers it")
    return run_id


def start_of(request: run_service_pb2.StartRunRequest, *, principal: str = "", prefix: str = "") -> Start:
    """A start request; `prefix` stands before the fields' names in errors (`start.`)."""
    target = request.WhichOneof("target")
    if target is None or not getattr(request, target):
        raise InvalidArgument.of(f"{prefix}provider", "required: name a provider or a task")
    if request.labels:
        bounded(f"{prefix}labels", len(request.labels), _LABELS)
    overrides: dict[str, Any] = {}
    if request.HasField("overrides") or request.HasField("overrides_mask"):
        mask = list(request.overrides_mask.paths)
        overrides = specs.overrides(
            request.overrides, mask, field=f"{prefix}overrides", mask_field=f"{prefix}overrides_mask"
        )
    after = request.start_after if request.HasField("start_after") else None
    return Start(
        provider=request.provider,
        task=request.task,
        input=input_of(request.input, f"{prefix}input") if request.HasField("input") else _NO_INPUT,
        overrides=overrides,
        labels=dict(request.labels),
        run_id=request.run_id,
        use_existing=known(request, "conflict_policy", prefix) == _USE_EXISTING,
        request_id=request.request_id,
        digest=_digest(request) if request.request_id else b"",
        principal=principal,
        start_after=None if after is None else instant(after, f"{prefix}start_after"),
        validate_only=request.validate_only,
        parent_run=request.parent_run,
        parent_close=ParentClose(known(request, "parent_close_policy", prefix) or ParentClose.CANCEL),
    )


def _digest(request: run_service_pb2.StartRunRequest) -> bytes:
    """What tells requests of one id apart: all that was asked but how long to wait for it."""
    canonical = run_service_pb2.StartRunRequest()
    canonical.CopyFrom(request)
    canonical.ClearField("wait")
    return hashlib.blake2b(canonical.SerializeToString(deterministic=True), digest_size=16).digest()


def input_of(payload: payload_pb2.Payload, field: str) -> Payload:
    """Parameters as JSON text."""
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


def filter_of(message: run_pb2.RunFilter) -> RunFilter:
    """Which runs to list."""
    bounded("filter.states", len(message.states), _STATES)
    bounded("filter.labels", len(message.labels), _LABELS)
    if len(message.text) > _TEXT:
        raise InvalidArgument.of("filter.text", f"{len(message.text)} characters; at most {_TEXT}")
    ref = EntityRef(message.ref.type, message.ref.id) if message.HasField("ref") else None
    if ref is not None and not ref.type:
        raise InvalidArgument.of("filter.ref.type", "required: the kind of thing, such as `file`")
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
