"""What the server says, as plain data for JSON: the contract's names, RFC 3339 times in UTC, whole numbers, short enums."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Message(Protocol):
    """A protobuf message, as far as it is read here."""

    @property
    def DESCRIPTOR(self) -> Any: ...  # noqa: N802 - protobuf's name
    def ListFields(self) -> Any: ...  # noqa: N802 - protobuf's name


def record(message: Message) -> dict[str, Any]:
    """A message as a dict; what is not set is left out."""
    return {field.name: _field(message, field, value) for field, value in message.ListFields()}


def event_record(event: Any) -> dict[str, Any]:
    """An event of a run, with its kind under `type`: what `jq 'select(.type == "log")'` looks for."""
    kind: str = event.WhichOneof("event") or "unknown"
    return {"type": kind, **record(event)}


def run_record(run: Any) -> dict[str, Any]:
    """A run, with its state in any case."""
    return {"id": run.id, "state": enum_name(run, "state"), **record(run)}


def enum_name(message: Message, field: str) -> str:
    """The name of an enum field's value without what all names of that enum begin with: `SUCCEEDED`, `ASYNC`."""
    return _enum(message.DESCRIPTOR.fields_by_name[field].enum_type, getattr(message, field))


def status_record(status: Any) -> dict[str, Any]:
    """An error: its gRPC code by name, its reason, and what else it says."""
    from runcast.client.errors import error_of

    error = error_of(status)
    said = {
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "violations": [{"field": v.subject, "description": v.description} for v in error.violations],
    }
    return {key: value for key, value in said.items() if value}


def payload_value(payload: Any) -> Any:
    """What a payload holds: the JSON value; bytes as base64 and an artifact by its id, each in an object."""
    match payload.WhichOneof("content"):
        case "json":
            return json.loads(payload.json)
        case "data":
            return {"content_type": payload.content_type, "data": base64.b64encode(payload.data).decode()}
        case "artifact":
            return {"content_type": payload.content_type, "artifact": payload.artifact}
        case _:
            return None


def _field(message: Message, field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if message.DESCRIPTOR.full_name == "runcast.v1.Provider" and field.name.endswith("_schema"):
        return json.loads(value)
    if field.is_repeated:
        return [_value(field, each) for each in value]
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        read: Callable[[Any], Any] = _SPECIAL.get(field.message_type.full_name, record)
        return read(value)
    if field.enum_type is not None:
        return _enum(field.enum_type, value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _enum(kind: Any, value: int) -> str:
    known = kind.values_by_number.get(value)
    prefix: str = kind.values[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix)) if known else f"{prefix}{value}"


def _written(message: Any) -> str:
    return str(message.ToJsonString())


_SPECIAL: Mapping[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _written,
    "google.protobuf.Duration": _written,
    "google.rpc.Status": status_record,
    "runcast.v1.Payload": payload_value,
}
